//! Outputs that consumers could not deliver.

use rusqlite::{Row, Transaction, params};
use theatre_actors::ports::{Result, StoredUndelivered, Undelivered};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::{WHAT, fault, outputs};

/// All, or those of a consumer. The outputs' columns come first, as [`outputs::read`] takes them.
pub(super) const LIST: &str = "SELECT fact.partition, fact.sequence, committed_at, kind, robot_id, id, subject, revision, event_time, payload,
    consumer, reason, at
    FROM undelivered JOIN fact ON fact.partition = undelivered.partition AND fact.sequence = undelivered.sequence
    WHERE ?1 IS NULL OR consumer = ?1
    ORDER BY consumer, undelivered.partition, undelivered.sequence LIMIT ?2";

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<StoredUndelivered> {
    Ok(StoredUndelivered {
        output: outputs::read(row)?,
        consumer: row.get(10)?,
        reason: row.get(11)?,
        at: LogTime(row.get(12)?),
    })
}

/// Notes one, unless it is noted already.
pub(super) fn note(
    transaction: &Transaction<'_>,
    partition: Partition,
    consumer: &str,
    undelivered: &Undelivered,
) -> Result<()> {
    let (sequence, at) = (undelivered.sequence as i64, undelivered.at.0);
    let sql = "INSERT INTO undelivered VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let values = params![consumer, partition, sequence, undelivered.reason, at];
    transaction
        .execute(sql, values)
        .map(drop)
        .map_err(fault(WHAT))
}

/// Takes one off the list; false if it was not there.
pub(super) fn settle(
    transaction: &Transaction<'_>,
    partition: Partition,
    consumer: &str,
    sequence: u64,
) -> Result<bool> {
    let sql = "DELETE FROM undelivered WHERE consumer = ?1 AND partition = ?2 AND sequence = ?3";
    transaction
        .execute(sql, params![consumer, partition, sequence as i64])
        .map(|deleted| deleted == 1)
        .map_err(fault(WHAT))
}
