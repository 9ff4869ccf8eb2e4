//! What is done about dead letters: records sent again, content erased.

use std::ops::Range;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use theatre_actors::outputs::DeadRow;
use theatre_actors::ports::{DeadLetterStore, DeadReplay, Error, PlaceInLog, Result};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::time::LogTime;

use super::{EmbeddedStore, WHAT, decode, encode, fault};
use crate::lock;

const OF_LETTER: &str =
    "SELECT partition, sequence, count, topic, to_partition, after_offset, copy_offset, begun_at
    FROM dead_replay WHERE partition = ?1 AND sequence = ?2";
const IN_DOUBT: &str =
    "SELECT partition, sequence, count, topic, to_partition, after_offset, copy_offset, begun_at
    FROM dead_replay WHERE copy_offset IS NULL ORDER BY partition, sequence";
const AT_PLACE: &str =
    "SELECT partition, sequence, count, topic, to_partition, after_offset, copy_offset, begun_at
    FROM dead_replay WHERE topic = ?1 AND to_partition = ?2 AND copy_offset = ?3";
const WITHIN: &str = "SELECT partition, sequence, count, topic, to_partition, after_offset, copy_offset, begun_at
    FROM dead_replay WHERE topic = ?1 AND to_partition = ?2 AND copy_offset >= ?3 AND copy_offset < ?4
    ORDER BY copy_offset";

impl DeadLetterStore for EmbeddedStore {
    fn begin_dead_replays(&self, replays: &[DeadReplay]) -> Result<Vec<(Partition, u64)>> {
        self.write(|transaction| {
            let mut erased = Vec::new();
            for replay in replays {
                if is_erased(transaction, replay)? {
                    erased.push((replay.partition, replay.sequence));
                } else {
                    begin(transaction, replay)?;
                }
            }
            Ok(erased)
        })
    }

    fn forget_dead_replays(&self, absent: &[(Partition, u64)]) -> Result<()> {
        self.write(|transaction| {
            for (partition, sequence) in absent {
                let sql = "DELETE FROM dead_replay
                    WHERE partition = ?1 AND sequence = ?2 AND copy_offset IS NULL";
                transaction
                    .prepare_cached(sql)
                    .and_then(|mut statement| {
                        statement.execute(params![partition, *sequence as i64])
                    })
                    .map_err(fault(WHAT))?;
            }
            Ok(())
        })
    }

    fn finish_dead_replays(&self, sent: &[(Partition, u64, u64)]) -> Result<()> {
        self.write(|transaction| {
            for (partition, sequence, offset) in sent {
                let sql = "UPDATE dead_replay SET copy_offset = ?3 WHERE partition = ?1 AND sequence = ?2";
                transaction
                    .prepare_cached(sql)
                    .and_then(|mut statement| {
                        statement.execute(params![partition, *sequence as i64, *offset as i64])
                    })
                    .map_err(fault(WHAT))?;
            }
            Ok(())
        })
    }

    fn dead_replays(&self, dead: &[(Partition, u64)]) -> Result<Vec<DeadReplay>> {
        let one = |(partition, sequence): &(Partition, u64)| {
            self.query(OF_LETTER, params![partition, *sequence as i64], read)
        };
        in_order(dead.iter().map(one))
    }

    fn dead_replays_in_doubt(&self) -> Result<Vec<DeadReplay>> {
        self.query(IN_DOUBT, [], read)
    }

    fn dead_replays_at(&self, places: &[PlaceInLog]) -> Result<Vec<DeadReplay>> {
        let one = |(topic, to, offset): &PlaceInLog| {
            self.query(AT_PLACE, params![*topic as i64, to, *offset as i64], read)
        };
        in_order(places.iter().map(one))
    }

    fn dead_replays_within(
        &self,
        topic: TopicIndex,
        to: Partition,
        offsets: Range<u64>,
    ) -> Result<Vec<DeadReplay>> {
        let bound = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
        let (from, until) = (bound(offsets.start), bound(offsets.end));
        self.query(WITHIN, params![topic as i64, to, from, until], read)
    }

    fn purge_dead(&self, dead: &[(Partition, u64)], at: LogTime) -> Result<u64> {
        // What is erased is overwritten in the file, too.
        lock(&self.writer)
            .pragma_update(None, "secure_delete", true)
            .map_err(fault(WHAT))?;
        self.write(|transaction| {
            let mut purged = 0;
            for (partition, sequence) in dead {
                purged += u64::from(purge(transaction, *partition, *sequence, at)?);
            }
            Ok(purged)
        })
    }
}

/// What several looks have found: each replay once, by partition and number.
fn in_order(found: impl Iterator<Item = Result<Vec<DeadReplay>>>) -> Result<Vec<DeadReplay>> {
    let mut all = Vec::new();
    for found in found {
        all.extend(found?);
    }
    all.sort_by_key(|replay| (replay.partition, replay.sequence));
    all.dedup();
    Ok(all)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DeadReplay> {
    let number = |index: usize| row.get::<_, i64>(index).map(|number| number as u64);
    Ok(DeadReplay {
        partition: row.get(0)?,
        sequence: number(1)?,
        count: row.get(2)?,
        topic: number(3)? as usize,
        to: row.get(4)?,
        after: number(5)?,
        offset: row.get::<_, Option<i64>>(6)?.map(|offset| offset as u64),
        begun_at: LogTime(row.get(7)?),
    })
}

/// Whether what the dead letter of a replay held is erased.
fn is_erased(transaction: &Transaction<'_>, replay: &DeadReplay) -> Result<bool> {
    let sql = "SELECT purged_at IS NOT NULL FROM dead WHERE partition = ?1 AND sequence = ?2";
    let known = transaction
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let letter = params![replay.partition, replay.sequence as i64];
            statement.query_row(letter, |row| row.get(0)).optional()
        })
        .map_err(fault(WHAT))?;
    Ok(known.unwrap_or(false))
}

fn begin(transaction: &Transaction<'_>, replay: &DeadReplay) -> Result<()> {
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO dead_replay VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                replay.partition,
                replay.sequence as i64,
                replay.count,
                replay.topic as i64,
                replay.to,
                replay.after as i64,
                replay.offset.map(|offset| offset as i64),
                replay.begun_at.0
            ])
        })
        .map_err(fault(WHAT))?;
    if inserted == 1 {
        Ok(())
    } else {
        Err(Error::overtaken(
            replay.partition,
            "the replay of a dead letter",
        ))
    }
}

/// Erases one; false if it is not there, or is erased already.
fn purge(
    transaction: &Transaction<'_>,
    partition: Partition,
    sequence: u64,
    at: LogTime,
) -> Result<bool> {
    let sql = "SELECT dead FROM dead WHERE partition = ?1 AND sequence = ?2 AND purged_at IS NULL";
    let found: Option<DeadRow> = transaction
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let row = params![partition, sequence as i64];
            let read = |row: &Row<'_>| decode(row.get_ref(0)?.as_blob()?);
            statement.query_row(row, read).optional()
        })
        .map_err(fault(WHAT))?;
    let Some(dead) = found else {
        return Ok(false);
    };
    let sql = "UPDATE dead SET dead = ?3, purged_at = ?4 WHERE partition = ?1 AND sequence = ?2";
    let erased = encode(&dead.erased());
    transaction
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![partition, sequence as i64, erased, at.0])
        })
        .map(|changed| changed == 1)
        .map_err(fault(WHAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_look_at_replays_goes_through_all_that_were_ever_made() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store")).unwrap();
        for (sql, index) in [
            (OF_LETTER, "PRIMARY KEY"),
            (IN_DOUBT, "dead_replay_in_doubt"),
            (AT_PLACE, "dead_replay_copy"),
            (WITHIN, "dead_replay_copy"),
        ] {
            let nothing = vec![0_i64; sql.matches('?').count()];
            let plan = store
                .query(
                    &format!("EXPLAIN QUERY PLAN {sql}"),
                    rusqlite::params_from_iter(nothing),
                    |row| row.get::<_, String>(3),
                )
                .unwrap();
            assert!(
                plan.len() == 1 && plan[0].contains(index),
                "{sql}: {plan:?}"
            );
        }
    }
    #[test]
    fn a_store_that_has_replays_and_no_indexes_of_them_gets_these() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(EmbeddedStore::open(&path).unwrap());
        let before = "DROP INDEX dead_replay_in_doubt; DROP INDEX dead_replay_copy;
            DROP INDEX fact_latest; DROP INDEX fact_subject; DROP INDEX fact_committed; ALTER TABLE family DROP COLUMN saved_at;
            DROP INDEX lake_file_times; ALTER TABLE lake_file DROP COLUMN event_time_min; ALTER TABLE lake_file DROP COLUMN event_time_max;
            INSERT INTO dead_replay VALUES (0, 1, 1, 0, 0, 4, NULL, 9);
            PRAGMA user_version = 3;";
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(before).unwrap();
        drop(connection);
        let applied = EmbeddedStore::migrate(&path).unwrap();
        assert_eq!(
            applied,
            ["0004_dead_replay_indexes", "0005_pages", "0006_file_times"]
        );
        let store = EmbeddedStore::open_read_only(&path).unwrap();
        assert_eq!(store.dead_replays_in_doubt().unwrap().len(), 1);
        assert!(EmbeddedStore::migrate(&path).unwrap().is_empty());
    }
}
