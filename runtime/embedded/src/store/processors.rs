//! Processors as they are stored.

use rusqlite::Row;
use theatre_actors::ports::StoredProcessor;
use theatre_actors::time::LogTime;

use super::decode;

/// The processors of a partition.
pub(super) const ALL: &str = "SELECT family, save_number, positions, state, saved_at FROM family WHERE partition = ?1 ORDER BY family";
/// One processor of a partition.
pub(super) const ONE: &str = "SELECT family, save_number, positions, state, saved_at FROM family WHERE partition = ?1 AND family = ?2";
/// The numbers of the last saves; the states, which are long, are not read.
pub(super) const NUMBERS: &str = "SELECT family, save_number FROM family WHERE partition = ?1";

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<StoredProcessor> {
    Ok(StoredProcessor {
        processor: row.get(0)?,
        save_number: row.get::<_, i64>(1)? as u64,
        positions: decode(row.get_ref(2)?.as_blob()?)?,
        state: row.get(3)?,
        saved_at: LogTime(row.get(4)?),
    })
}

pub(super) fn number(row: &Row<'_>) -> rusqlite::Result<(String, u64)> {
    Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
}
