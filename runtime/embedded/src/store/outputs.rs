//! Outputs and dead letters in the store: reading, and expiry.

use rusqlite::{Row, Transaction, params};
use theatre_actors::outputs::{ALL, DeadRow, OutputEvent, OutputKind};
use theatre_actors::ports::{Expiry, Result, StoredDead, StoredOutput};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::{WHAT, decode, fault, unknown};

pub(super) const COLUMNS: &str =
    "partition, sequence, committed_at, kind, robot_id, id, subject, revision, event_time, payload";

/// Outputs of a partition after another, in order.
pub(super) fn after() -> String {
    format!(
        "SELECT {COLUMNS} FROM fact WHERE partition = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3"
    )
}

/// The newest outputs that pass a filter, in order of event time.
pub(super) fn found() -> String {
    format!(
        "SELECT * FROM (SELECT {COLUMNS} FROM fact WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR robot_id = ?2)
         AND (?3 IS NULL OR subject = ?3) AND (?4 IS NULL OR event_time >= ?4) AND (?5 IS NULL OR event_time < ?5)
         AND (?7 IS NULL OR id = ?7)
         ORDER BY committed_at DESC, partition, sequence DESC LIMIT ?6) ORDER BY event_time, robot_id, kind, id, revision"
    )
}

/// Dead letters of a partition after another, in order.
pub(super) const DEAD_AFTER: &str = "SELECT partition, sequence, dead, purged_at FROM dead WHERE partition = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";
/// The newest dead letters.
pub(super) const LAST_DEAD: &str = "SELECT partition, sequence, dead, purged_at FROM dead ORDER BY sequence DESC, partition LIMIT ?1";

/// Outputs of a kind in a partition after another, in order. The index of those that are no windows
/// is used where the question says that it is of such.
pub(super) fn of_kind_after(kind: OutputKind) -> String {
    let beside = match kind {
        OutputKind::Window => "",
        _ => " AND kind <> 1",
    };
    format!(
        "SELECT {COLUMNS} FROM fact WHERE partition = ?1 AND sequence > ?2 AND kind = ?3{beside} ORDER BY sequence LIMIT ?4"
    )
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<StoredOutput> {
    let kind = OutputKind::from_code(row.get(3)?).map_err(unknown)?;
    Ok(StoredOutput {
        partition: row.get(0)?,
        sequence: row.get::<_, i64>(1)? as u64,
        committed_at: LogTime(row.get(2)?),
        output: OutputEvent {
            kind,
            robot_id: row.get(4)?,
            id: row.get(5)?,
            subject: row.get(6)?,
            revision: row.get(7)?,
            event_time: row.get(8)?,
            payload: row.get(9)?,
        },
    })
}

pub(super) fn read_dead(row: &Row<'_>) -> rusqlite::Result<StoredDead> {
    let dead: DeadRow = decode(row.get_ref(2)?.as_blob()?)?;
    Ok(StoredDead {
        partition: row.get(0)?,
        sequence: row.get::<_, i64>(1)? as u64,
        dead,
        purged_at: row.get::<_, Option<i64>>(3)?.map(LogTime),
    })
}

/// Deletes expired outputs of the kinds that expire; returns the last one that is old enough.
pub(super) fn expire(
    transaction: &Transaction<'_>,
    partition: Partition,
    expiry: Expiry,
) -> Result<u64> {
    let (after, up_to, before, limit) = (
        expiry.after as i64,
        expiry.up_to as i64,
        expiry.before.0,
        expiry.limit as i64,
    );
    let last = "SELECT max(sequence) FROM (SELECT sequence, committed_at FROM fact WHERE partition = ?1 AND sequence > ?2 AND sequence <= ?3
                ORDER BY sequence LIMIT ?4) WHERE committed_at < ?5";
    let delete = "DELETE FROM fact WHERE partition = ?1 AND sequence > ?2 AND sequence <= ?3 AND committed_at < ?4 AND kind IN (SELECT value FROM json_each(?5))";
    let reached: Option<i64> = transaction
        .query_row(
            last,
            params![partition, after, up_to, limit, before],
            |row| row.get(0),
        )
        .map_err(fault(WHAT))?;
    let Some(reached) = reached else {
        return Ok(expiry.after);
    };
    let expiring = ALL.iter().filter(|spec| spec.expires);
    let kinds: Vec<u8> = expiring.map(|spec| spec.kind.code()).collect();
    let kinds = serde_json::json!(kinds).to_string();
    transaction
        .execute(delete, params![partition, after, reached, before, kinds])
        .map_err(fault(WHAT))?;
    Ok(reached as u64)
}
