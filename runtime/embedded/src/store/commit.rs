//! A commit: processors with their outputs and dead letters, and the floor of their partition.

use rusqlite::{Transaction, params};
use theatre_actors::ports::{CommitOutcome, Error, PartitionCommit, ProcessorSave, Result};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::time::LogTime;

use super::partitions::current_epoch;
use super::{WHAT, decode, encode, fault};

/// Saves a processor unless this or a later save is there; returns the last numbers given out.
fn save_processor(
    transaction: &Transaction<'_>,
    partition: Partition,
    save: &ProcessorSave,
    at: LogTime,
    mut numbers: (i64, i64),
) -> Result<(i64, i64)> {
    let changed = transaction
        .prepare_cached(
            "INSERT INTO family VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
             SET save_number = excluded.save_number, positions = excluded.positions, state = excluded.state, saved_at = excluded.saved_at
             WHERE family.save_number < excluded.save_number",
        )
        .and_then(|mut statement| statement.execute(params![partition, save.processor, save.save_number as i64, encode(&save.positions), save.state, at.0]))
        .map_err(fault(WHAT))?;
    if changed == 0 {
        return Ok(numbers);
    }
    for output in &save.outputs {
        numbers.0 += 1;
        let inserted = transaction
            .prepare_cached("INSERT INTO fact VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
            .and_then(|mut statement| {
                statement.execute(params![
                    partition,
                    numbers.0,
                    at.0,
                    output.kind.code(),
                    output.robot_id,
                    output.id,
                    output.subject,
                    output.revision,
                    output.event_time,
                    output.payload
                ])
            });
        inserted.map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => Error::Refused(format!(
                "output {:?} '{}' revision {} of robot '{}' is there already: two owners, or a conclusion that differs on replay; report this",
                output.kind, output.id, output.revision, output.robot_id
            )),
            _ => fault(WHAT)(error),
        })?;
    }
    for dead in &save.dead {
        numbers.1 += 1;
        transaction
            .prepare_cached("INSERT INTO dead VALUES (?1, ?2, ?3, NULL)")
            .and_then(|mut statement| {
                statement.execute(params![partition, numbers.1, encode(dead)])
            })
            .map_err(fault(WHAT))?;
    }
    Ok(numbers)
}

/// Saves what has changed in a partition, unless it has another owner by now.
pub(super) fn commit_partition(
    transaction: &Transaction<'_>,
    commit: &PartitionCommit,
    at: LogTime,
) -> Result<CommitOutcome> {
    let current = current_epoch(transaction, commit.partition)?;
    if current != commit.epoch {
        return Ok(CommitOutcome::Stale { current });
    }
    let (floor, last_output, last_dead): (Vec<u8>, i64, i64) = transaction
        .query_row(
            "SELECT floor, last_fact, last_dead FROM partition WHERE partition = ?1",
            [commit.partition],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(fault(WHAT))?;
    let floor: Positions = decode(&floor).map_err(fault(WHAT))?;
    let mut numbers = (last_output, last_dead);
    for save in &commit.processors {
        numbers = save_processor(transaction, commit.partition, save, at, numbers)?;
    }
    transaction
        .prepare_cached(
            "UPDATE partition SET floor = ?2, last_fact = ?3, last_dead = ?4 WHERE partition = ?1",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                commit.partition,
                encode(&floor.highest(&commit.floor)),
                numbers.0,
                numbers.1
            ])
        })
        .map_err(fault(WHAT))?;
    Ok(CommitOutcome::Committed {
        last_output: numbers.0 as u64,
        last_dead: numbers.1 as u64,
    })
}
