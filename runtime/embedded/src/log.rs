//! The event log as one SQLite file: batches of records, one row each.
//!
//! A row per record would cost ten times as much to read. Append times are made strictly increasing
//! over the whole log inside the writing transaction, so the batches of all topics are in one total
//! order. Other processes may append and read while one runs.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use theatre_actors::ports::{
    Epoch, Error, EventLog, Lane, LanePublisher, LogRange, LogReader, Membership, NewRecord,
    Outgoing, Ownership, Result, SoleMember,
};
use theatre_actors::position::Partition;
use theatre_actors::time::{Clock, LogTime};

use super::{fault, lock, open, open_read_only};

mod block;
mod reader;

use reader::Reader;

const WHAT: &str = "event log";
/// A longer batch is stored as several blocks.
const BLOCK_BYTES: usize = 1 << 20;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS topic (name TEXT PRIMARY KEY, id INTEGER NOT NULL UNIQUE, partitions INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS log_range (topic INTEGER, partition INTEGER, start_offset INTEGER NOT NULL, end_offset INTEGER NOT NULL,
        PRIMARY KEY (topic, partition)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS block (topic INTEGER NOT NULL, partition INTEGER NOT NULL, end_offset INTEGER NOT NULL, base_offset INTEGER NOT NULL,
        append_time INTEGER NOT NULL, records BLOB NOT NULL, UNIQUE (topic, partition, end_offset)) STRICT;
    CREATE TABLE IF NOT EXISTS lane (partition INTEGER, lane TEXT, epoch INTEGER NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (partition, lane)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY CHECK (one = 1), last_append INTEGER NOT NULL) STRICT;
    INSERT OR IGNORE INTO clock VALUES (1, 0);
";

/// The embedded event log.
pub struct EmbeddedLog {
    writer: Arc<Mutex<Connection>>,
    path: std::path::PathBuf,
    clock: Arc<dyn Clock>,
}

impl EmbeddedLog {
    /// Opens or creates the log at `path`; `clock` gives append times.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let writer = Arc::new(Mutex::new(open(path, WHAT, SCHEMA)?));
        Ok(Self {
            writer,
            path: path.to_owned(),
            clock,
        })
    }

    /// Opens a log that another process may be writing; writes are refused.
    ///
    /// # Errors
    /// When there is none.
    pub fn open_read_only(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self {
            writer: Arc::new(Mutex::new(open_read_only(path, WHAT)?)),
            path: path.to_owned(),
            clock,
        })
    }

    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        write(&self.writer, work)
    }
}

fn write<T>(
    writer: &Mutex<Connection>,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let mut connection = lock(writer);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fault(WHAT))?;
    let done = work(&transaction)?;
    transaction.commit().map_err(fault(WHAT))?;
    Ok(done)
}

fn topic_id(connection: &Connection, topic: &str) -> Result<(i64, u32)> {
    let mut statement = connection
        .prepare_cached("SELECT id, partitions FROM topic WHERE name = ?1")
        .map_err(fault(WHAT))?;
    let found = statement
        .query_row([topic], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(fault(WHAT))?;
    found.ok_or_else(|| Error::Refused(format!("there is no topic '{topic}' in the log")))
}

fn checked(connection: &Connection, topic: &str, partition: Partition) -> Result<i64> {
    let (id, partitions) = topic_id(connection, topic)?;
    if partition >= partitions {
        return Err(Error::Refused(format!(
            "topic '{topic}' has {partitions} partitions, there is no partition {partition}"
        )));
    }
    Ok(id)
}

/// Appends inside a transaction, all records of all calls of it at one append time.
fn append(
    transaction: &Transaction<'_>,
    topic: &str,
    partition: Partition,
    records: &[NewRecord],
    at: i64,
) -> Result<u64> {
    let id = checked(transaction, topic, partition)?;
    let end: i64 = transaction
        .prepare_cached("SELECT end_offset FROM log_range WHERE topic = ?1 AND partition = ?2")
        .and_then(|mut statement| {
            statement
                .query_row(params![id, partition], |row| row.get(0))
                .optional()
        })
        .map_err(fault(WHAT))?
        .unwrap_or(0);
    let mut base = end;
    for part in block::split(records, BLOCK_BYTES) {
        let next = base + part.len() as i64;
        transaction
            .prepare_cached("INSERT INTO block (topic, partition, end_offset, base_offset, append_time, records) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .and_then(|mut statement| statement.execute(params![id, partition, next, base, at, block::encode(part)]))
            .map_err(fault(WHAT))?;
        base = next;
    }
    transaction
        .prepare_cached("INSERT INTO log_range VALUES (?1, ?2, 0, ?3) ON CONFLICT DO UPDATE SET end_offset = excluded.end_offset")
        .and_then(|mut statement| statement.execute(params![id, partition, base]))
        .map_err(fault(WHAT))?;
    Ok(end as u64)
}

/// The next append time: the clock's, but after every earlier one.
fn next_append_time(transaction: &Transaction<'_>, now: LogTime) -> Result<i64> {
    transaction
        .prepare_cached(
            "UPDATE clock SET last_append = max(last_append + 1, ?1) RETURNING last_append",
        )
        .and_then(|mut statement| statement.query_row([now.0], |row| row.get(0)))
        .map_err(fault(WHAT))
}

impl EventLog for EmbeddedLog {
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.write(|transaction| {
            for topic in topics {
                transaction
                    .execute("INSERT OR IGNORE INTO topic SELECT ?1, (SELECT coalesce(max(id), 0) + 1 FROM topic), ?2", params![topic, partitions])
                    .map_err(fault(WHAT))?;
                let (_, there) = topic_id(transaction, topic)?;
                if there != partitions {
                    return Err(Error::Refused(format!(
                        "topic '{topic}' has {there} partitions, the configuration says {partitions}: robots would move between owners; \
                         set partitions = {there}, or drain the topics and run `theatre state repartition`"
                    )));
                }
            }
            Ok(())
        })
    }

    fn grow_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.write(|transaction| {
            for topic in topics {
                match topic_id(transaction, topic) {
                    Ok((_, there)) if there > partitions => {
                        return Err(Error::Refused(format!("topic '{topic}' has {there} partitions already: it cannot have {partitions}")));
                    }
                    Ok((id, _)) => {
                        transaction.execute("UPDATE topic SET partitions = ?2 WHERE id = ?1", params![id, partitions]).map_err(fault(WHAT))?;
                    }
                    Err(Error::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        match topic_id(&lock(&self.writer), topic) {
            Ok((_, partitions)) => Ok(Some(partitions)),
            Err(Error::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn join(
        &self,
        _topics: &[String],
        partitions: u32,
        owner: Arc<dyn Ownership>,
    ) -> Result<Box<dyn Membership>> {
        Ok(SoleMember::join(partitions, &*owner))
    }

    fn append(&self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64> {
        let now = self.clock.now();
        self.write(|transaction| {
            let at = next_append_time(transaction, now)?;
            append(transaction, topic, partition, records, at)
        })
    }

    fn reader(&self, topic: &str, partition: Partition, from: u64) -> Result<Box<dyn LogReader>> {
        let connection = open_read_only(&self.path, WHAT)?;
        let id = checked(&connection, topic, partition)?;
        Ok(Box::new(Reader {
            connection,
            topic: topic.to_owned(),
            id,
            partition,
            next: from,
        }))
    }

    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange> {
        let connection = lock(&self.writer);
        let id = checked(&connection, topic, partition)?;
        range(&connection, id, partition)
    }

    fn offset_at(&self, topic: &str, partition: Partition, time: LogTime) -> Result<u64> {
        let connection = lock(&self.writer);
        let id = checked(&connection, topic, partition)?;
        let sql = "SELECT base_offset FROM block WHERE topic = ?1 AND partition = ?2 AND append_time >= ?3 ORDER BY end_offset LIMIT 1";
        let found: Option<i64> = connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row(params![id, partition, time.0], |row| row.get(0))
                    .optional()
            })
            .map_err(fault(WHAT))?;
        match found {
            Some(offset) => Ok(offset as u64),
            None => Ok(range(&connection, id, partition)?.end),
        }
    }

    fn open_lane(
        &self,
        partition: Partition,
        lane: Lane,
        epoch: Epoch,
    ) -> Result<Box<dyn LanePublisher>> {
        self.write(|transaction| {
            check_lane(transaction, partition, lane, epoch)?;
            transaction
                .execute(
                    "INSERT INTO lane VALUES (?1, ?2, ?3, 0) ON CONFLICT DO UPDATE SET epoch = excluded.epoch",
                    params![partition, lane.as_str(), epoch as i64],
                )
                .map_err(fault(WHAT))
        })?;
        Ok(Box::new(Publisher {
            writer: self.writer.clone(),
            clock: self.clock.clone(),
            partition,
            lane,
            epoch,
        }))
    }

    fn trim(&self, topic: &str, partition: Partition, before: u64) -> Result<()> {
        self.write(|transaction| {
            let id = checked(transaction, topic, partition)?;
            let before = i64::try_from(before).unwrap_or(i64::MAX);
            transaction
                .execute("DELETE FROM block WHERE topic = ?1 AND partition = ?2 AND end_offset <= ?3", params![id, partition, before])
                .map_err(fault(WHAT))?;
            transaction
                .execute(
                    "UPDATE log_range SET start_offset = coalesce(
                        (SELECT min(base_offset) FROM block WHERE topic = ?1 AND partition = ?2), end_offset) WHERE topic = ?1 AND partition = ?2",
                    params![id, partition],
                )
                .map_err(fault(WHAT))?;
            Ok(())
        })
    }
}

fn range(connection: &Connection, id: i64, partition: Partition) -> Result<LogRange> {
    let mut statement = connection
        .prepare_cached(
            "SELECT start_offset, end_offset FROM log_range WHERE topic = ?1 AND partition = ?2",
        )
        .map_err(fault(WHAT))?;
    let found: Option<(i64, i64)> = statement
        .query_row(params![id, partition], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(fault(WHAT))?;
    let (start, end) = found.unwrap_or((0, 0));
    Ok(LogRange {
        start: start as u64,
        end: end as u64,
    })
}

fn check_lane(
    connection: &Connection,
    partition: Partition,
    lane: Lane,
    epoch: Epoch,
) -> Result<()> {
    let current: Option<i64> = connection
        .query_row(
            "SELECT epoch FROM lane WHERE partition = ?1 AND lane = ?2",
            params![partition, lane.as_str()],
            |row| row.get(0),
        )
        .optional()
        .map_err(fault(WHAT))?;
    match current {
        Some(current) if current as u64 > epoch => Err(Error::StaleEpoch {
            partition,
            ours: epoch,
            current: current as u64,
        }),
        _ => Ok(()),
    }
}

struct Publisher {
    writer: Arc<Mutex<Connection>>,
    clock: Arc<dyn Clock>,
    partition: Partition,
    lane: Lane,
    epoch: Epoch,
}

impl LanePublisher for Publisher {
    fn position(&mut self) -> Result<u64> {
        let connection = lock(&self.writer);
        check_lane(&connection, self.partition, self.lane, self.epoch)?;
        let position: i64 = connection
            .query_row(
                "SELECT position FROM lane WHERE partition = ?1 AND lane = ?2",
                params![self.partition, self.lane.as_str()],
                |row| row.get(0),
            )
            .map_err(fault(WHAT))?;
        Ok(position as u64)
    }

    fn publish(&mut self, records: &[Outgoing], position: u64) -> Result<Vec<(usize, String)>> {
        let now = self.clock.now();
        write(&self.writer, |transaction| {
            check_lane(transaction, self.partition, self.lane, self.epoch)?;
            let at = next_append_time(transaction, now)?;
            let mut targets: Vec<(&str, Partition, Vec<NewRecord>)> = Vec::new();
            for outgoing in records {
                let same = targets.iter_mut().find(|(topic, partition, _)| {
                    *topic == outgoing.topic && *partition == outgoing.partition
                });
                match same {
                    Some((.., list)) => list.push(outgoing.record.clone()),
                    None => targets.push((
                        &outgoing.topic,
                        outgoing.partition,
                        vec![outgoing.record.clone()],
                    )),
                }
            }
            for (topic, partition, list) in targets {
                append(transaction, topic, partition, &list, at)?;
            }
            transaction
                .execute(
                    "UPDATE lane SET position = ?3 WHERE partition = ?1 AND lane = ?2",
                    params![self.partition, self.lane.as_str(), position as i64],
                )
                .map_err(fault(WHAT))?;
            Ok(Vec::new())
        })
    }
}
