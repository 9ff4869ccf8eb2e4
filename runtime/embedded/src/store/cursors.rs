//! Positions of the outbox's consumers.

use rusqlite::{Row, Transaction, params};
use theatre_actors::ports::{Export, Result};
use theatre_actors::position::Partition;

use super::{WHAT, fault};

/// A consumer and its position, in two columns from `first` on; `None` where the row has none.
pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<(String, u64)>> {
    let Some(consumer) = row.get(first)? else {
        return Ok(None);
    };
    Ok(Some((consumer, row.get::<_, i64>(first + 1)? as u64)))
}

/// Moves a position, never back.
pub(super) fn advance(
    transaction: &Transaction<'_>,
    partition: Partition,
    consumer: &str,
    position: u64,
) -> Result<()> {
    let sql = "INSERT INTO cursor VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET position = max(position, excluded.position)";
    transaction
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(params![partition, consumer, position as i64]))
        .map(drop)
        .map_err(fault(WHAT))
}

/// Moves a position from where an export begins to where it ends; false if it is not there.
pub(super) fn compare_and_set(
    transaction: &Transaction<'_>,
    partition: Partition,
    export: &Export,
) -> Result<bool> {
    // A consumer without a row is at 0: it gets one first, so that there is one case only.
    advance(transaction, partition, &export.consumer, 0)?;
    let sql =
        "UPDATE cursor SET position = ?3 WHERE partition = ?1 AND consumer = ?2 AND position = ?4";
    let changed = transaction
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![
                partition,
                export.consumer,
                export.up_to as i64,
                export.after as i64
            ])
        })
        .map_err(fault(WHAT))?;
    Ok(changed == 1)
}
