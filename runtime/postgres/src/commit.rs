//! The group commit: processors, outputs and dead letters of many partitions in one transaction.
//!
//! Five round trips, however much is in it: begin, lock, processors, everything that is numbered,
//! commit. Rows are locked in order of their keys, so two processes that both believe to own some
//! partitions wait for each other, but never in a circle.

use std::collections::{BTreeMap, HashSet};

use sqlx::PgConnection;
use theatre_actors::outputs::{DeadRow, OutputEvent};
use theatre_actors::ports::{CommitOutcome, Epoch, Error, PartitionCommit, ProcessorSave};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::time::LogTime;

use super::failure::{Attempt, Failure};
use super::text::{read_text, stored};
use super::{decode, encode};

/// A partition whose row this transaction holds.
struct Held {
    epoch: Epoch,
    floor: Positions,
    last_output: u64,
    last_dead: u64,
}

/// What is numbered: outputs and dead letters with their partition and sequence.
#[derive(Default)]
struct Numbered<'a> {
    outputs: Vec<(Partition, u64, &'a OutputEvent)>,
    dead: Vec<(Partition, u64, &'a DeadRow)>,
}

pub(super) async fn commit(
    connection: &mut PgConnection,
    commits: &[PartitionCommit],
    at: LogTime,
) -> Attempt<Vec<CommitOutcome>> {
    let mut held = lock(connection, commits).await?;
    let current = |commit: &&PartitionCommit| {
        held.get(&commit.partition)
            .is_some_and(|held| held.epoch == commit.epoch)
    };
    let current: Vec<&PartitionCommit> = commits.iter().filter(current).collect();
    let mut numbered = Numbered::default();
    for round in rounds(&current) {
        let saved = save_processors(connection, &round, at).await?;
        for (partition, save) in round {
            if let Some(held) = held
                .get_mut(&partition)
                .filter(|_| saved.contains(&(partition, save.processor.clone())))
            {
                numbered.add(partition, held, save);
            }
        }
    }
    let ours: HashSet<Partition> = current.iter().map(|commit| commit.partition).collect();
    for commit in current {
        if let Some(held) = held.get_mut(&commit.partition) {
            held.floor = held.floor.highest(&commit.floor);
        }
    }
    if let Err(failure) = numbered
        .write(
            connection,
            held.iter()
                .filter(|(partition, _)| ours.contains(partition)),
            at,
        )
        .await
    {
        return Err(if failure.violates("fact_id") {
            numbered.there_already(connection).await
        } else {
            failure
        });
    }
    let outcome = |commit: &PartitionCommit| match held.get(&commit.partition) {
        Some(held) if held.epoch == commit.epoch => CommitOutcome::Committed {
            last_output: held.last_output,
            last_dead: held.last_dead,
        },
        held => CommitOutcome::Stale {
            current: held.map_or(0, |held| held.epoch),
        },
    };
    Ok(commits.iter().map(outcome).collect())
}

/// Locks the rows of all partitions, those with another owner too: their epoch is part of the
/// outcome.
async fn lock(
    connection: &mut PgConnection,
    commits: &[PartitionCommit],
) -> Attempt<BTreeMap<Partition, Held>> {
    let partitions: Vec<i32> = commits
        .iter()
        .map(|commit| commit.partition as i32)
        .collect();
    let sql = "SELECT number, epoch, floor, last_fact, last_dead FROM partition WHERE number = ANY($1) ORDER BY number FOR UPDATE";
    let found: Vec<(i32, i64, Vec<u8>, i64, i64)> = sqlx::query_as(sql)
        .bind(partitions)
        .fetch_all(connection)
        .await?;
    let held = |(number, epoch, floor, last_output, last_dead): (i32, i64, Vec<u8>, i64, i64)| {
        let held = Held {
            epoch: epoch as u64,
            floor: decode(&floor)?,
            last_output: last_output as u64,
            last_dead: last_dead as u64,
        };
        Ok((number as u32, held))
    };
    found.into_iter().map(held).collect()
}

/// All saves in order, cut so that none of the parts has a processor twice, which one statement
/// could not save. There is hardly ever more than one.
fn rounds<'a>(commits: &[&'a PartitionCommit]) -> Vec<Vec<(Partition, &'a ProcessorSave)>> {
    let mut rounds: Vec<Vec<(Partition, &ProcessorSave)>> = Vec::new();
    let mut seen = HashSet::new();
    for (partition, save) in commits.iter().flat_map(|commit| {
        commit
            .processors
            .iter()
            .map(|save| (commit.partition, save))
    }) {
        if !seen.insert((partition, save.processor.as_str())) || rounds.is_empty() {
            seen = HashSet::from([(partition, save.processor.as_str())]);
            rounds.push(Vec::new());
        }
        rounds
            .last_mut()
            .expect("one was pushed before the first save")
            .push((partition, save));
    }
    rounds
}

/// Saves processors unless this or a later save is there; says which were new.
async fn save_processors(
    connection: &mut PgConnection,
    round: &[(Partition, &ProcessorSave)],
    at: LogTime,
) -> Attempt<HashSet<(Partition, String)>> {
    let mut saves = round.to_vec();
    saves.sort_unstable_by_key(|(partition, save)| (*partition, save.processor.as_str()));
    let partitions: Vec<i32> = saves
        .iter()
        .map(|(partition, _)| *partition as i32)
        .collect();
    let names: Vec<_> = saves
        .iter()
        .map(|(_, save)| stored(&save.processor))
        .collect();
    let numbers: Vec<i64> = saves
        .iter()
        .map(|(_, save)| save.save_number as i64)
        .collect();
    let positions: Vec<Vec<u8>> = saves
        .iter()
        .map(|(_, save)| encode(&save.positions))
        .collect();
    let states: Vec<&[u8]> = saves
        .iter()
        .map(|(_, save)| save.state.as_slice())
        .collect();
    let sql = "INSERT INTO family (partition, name, save_number, positions, state, saved_at)
               SELECT *, $6 FROM UNNEST($1::integer[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[])
               ON CONFLICT (partition, name) DO UPDATE
               SET save_number = excluded.save_number, positions = excluded.positions, state = excluded.state, saved_at = excluded.saved_at
               WHERE family.save_number < excluded.save_number RETURNING partition, name";
    let query = sqlx::query_as(sql)
        .bind(partitions)
        .bind(names)
        .bind(numbers)
        .bind(positions)
        .bind(states)
        .bind(at.0);
    let saved: Vec<(i32, String)> = query.fetch_all(connection).await?;
    Ok(saved
        .into_iter()
        .map(|(partition, name)| (partition as u32, read_text(name)))
        .collect())
}

/// One statement for all that is numbered, and for the partitions' new numbers.
const WRITE: &str = "WITH facts AS (
        INSERT INTO fact (committed_at, partition, sequence, kind, robot_id, id, subject, revision, event_time, payload)
        SELECT $1, * FROM UNNEST($2::integer[], $3::bigint[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bytea[])
    ), letters AS (
        INSERT INTO dead (partition, sequence, letter) SELECT * FROM UNNEST($11::integer[], $12::bigint[], $13::bytea[])
    )
    UPDATE partition SET floor = new.floor, last_fact = new.last_fact, last_dead = new.last_dead
    FROM UNNEST($14::integer[], $15::bytea[], $16::bigint[], $17::bigint[]) AS new (number, floor, last_fact, last_dead)
    WHERE partition.number = new.number";

impl<'a> Numbered<'a> {
    fn add(&mut self, partition: Partition, held: &mut Held, save: &'a ProcessorSave) {
        for output in &save.outputs {
            held.last_output += 1;
            self.outputs.push((partition, held.last_output, output));
        }
        for dead in &save.dead {
            held.last_dead += 1;
            self.dead.push((partition, held.last_dead, dead));
        }
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        partitions: impl Iterator<Item = (&Partition, &Held)>,
        at: LogTime,
    ) -> Attempt<()> {
        let partitions: Vec<(&Partition, &Held)> = partitions.collect();
        // The arrays of each table come from one list: UNNEST fills up a shorter one with NULL,
        // without an error.
        let outputs = &self.outputs;
        let query = sqlx::query(WRITE)
            .bind(at.0)
            .bind(
                outputs
                    .iter()
                    .map(|(partition, _, _)| *partition as i32)
                    .collect::<Vec<i32>>(),
            )
            .bind(
                outputs
                    .iter()
                    .map(|(_, sequence, _)| *sequence as i64)
                    .collect::<Vec<i64>>(),
            )
            .bind(
                outputs
                    .iter()
                    .map(|(_, _, output)| i16::from(output.kind.code()))
                    .collect::<Vec<i16>>(),
            )
            .bind(
                outputs
                    .iter()
                    .map(|(_, _, output)| stored(&output.robot_id))
                    .collect::<Vec<_>>(),
            )
            .bind(
                outputs
                    .iter()
                    .map(|(_, _, output)| stored(&output.id))
                    .collect::<Vec<_>>(),
            )
            .bind(
                outputs
                    .iter()
                    .map(|(_, _, output)| stored(&output.subject))
                    .collect::<Vec<_>>(),
            )
            .bind(
                outputs
                    .iter()
                    .map(|(_, _, output)| i64::from(output.revision))
                    .collect::<Vec<i64>>(),
            )
            .bind(
                outputs
                    .iter()
                    .map(|(_, _, output)| output.event_time)
                    .collect::<Vec<i64>>(),
            )
            .bind(
                outputs
                    .iter()
                    .map(|(_, _, output)| output.payload.as_slice())
                    .collect::<Vec<&[u8]>>(),
            )
            .bind(
                self.dead
                    .iter()
                    .map(|(partition, _, _)| *partition as i32)
                    .collect::<Vec<i32>>(),
            )
            .bind(
                self.dead
                    .iter()
                    .map(|(_, sequence, _)| *sequence as i64)
                    .collect::<Vec<i64>>(),
            )
            .bind(
                self.dead
                    .iter()
                    .map(|(_, _, dead)| encode(*dead))
                    .collect::<Vec<Vec<u8>>>(),
            )
            .bind(
                partitions
                    .iter()
                    .map(|(partition, _)| **partition as i32)
                    .collect::<Vec<i32>>(),
            )
            .bind(
                partitions
                    .iter()
                    .map(|(_, held)| encode(&held.floor))
                    .collect::<Vec<Vec<u8>>>(),
            )
            .bind(
                partitions
                    .iter()
                    .map(|(_, held)| held.last_output as i64)
                    .collect::<Vec<i64>>(),
            )
            .bind(
                partitions
                    .iter()
                    .map(|(_, held)| held.last_dead as i64)
                    .collect::<Vec<i64>>(),
            );
        query.execute(connection).await?;
        Ok(())
    }

    /// The refusal of a commit with an output that the store, or the commit itself, has already;
    /// the failed transaction is given up to ask for it.
    async fn there_already(&self, connection: &mut PgConnection) -> Failure {
        match self.find_double(connection).await {
            Ok(Some(output)) => Failure::Decided(Error::Refused(format!(
                "output {:?} '{}' revision {} of robot '{}' is there already: two owners, or a conclusion that differs on replay; report this",
                output.kind, output.id, output.revision, output.robot_id
            ))),
            Ok(None) => Failure::damaged(&"the index of outputs knows one that is not there"),
            Err(failure) => failure,
        }
    }

    async fn find_double(&self, connection: &mut PgConnection) -> Attempt<Option<&'a OutputEvent>> {
        sqlx::raw_sql("ROLLBACK; BEGIN")
            .execute(&mut *connection)
            .await?;
        let key = |output: &'a OutputEvent| {
            (
                i16::from(output.kind.code()),
                stored(&output.id),
                i64::from(output.revision),
            )
        };
        let keys: Vec<_> = self
            .outputs
            .iter()
            .map(|(_, _, output)| key(output))
            .collect();
        let sql = "SELECT kind, id, revision FROM fact
                   WHERE (kind, id, revision) IN (SELECT * FROM UNNEST($1::smallint[], $2::text[], $3::bigint[])) LIMIT 1";
        let query = sqlx::query_as(sql)
            .bind(keys.iter().map(|key| key.0).collect::<Vec<i16>>())
            .bind(keys.iter().map(|key| key.1.as_ref()).collect::<Vec<&str>>())
            .bind(keys.iter().map(|key| key.2).collect::<Vec<i64>>());
        let found: Option<(i16, String, i64)> = query.fetch_optional(connection).await?;
        let mut seen: HashSet<_> = found
            .into_iter()
            .map(|(kind, id, revision)| (kind, id.into(), revision))
            .collect();
        let double = keys.into_iter().position(|key| !seen.insert(key));
        Ok(double.map(|index| self.outputs[index].2))
    }
}
