//! Reading a topic partition forward, block by block.

use rusqlite::{Connection, params};
use theatre_actors::ports::{Error, LogReader, PollEnd, PollLimit, RecordView, Result};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::super::fault;
use super::{WHAT, block, range};

/// A cursor on a connection of its own.
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) topic: String,
    pub(super) id: i64,
    pub(super) partition: Partition,
    pub(super) next: u64,
}

impl LogReader for Reader {
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        let held = range(&self.connection, self.id, self.partition)?;
        if self.next < held.start {
            return Err(Error::Trimmed {
                topic: self.topic.clone(),
                partition: self.partition,
                wanted: self.next,
                start: held.start,
            });
        }
        let (mut records, mut bytes, mut full) = (0, 0, false);
        let mut statement = self
            .connection
            .prepare_cached("SELECT base_offset, append_time, records FROM block WHERE topic = ?1 AND partition = ?2 AND end_offset > ?3 ORDER BY end_offset")
            .map_err(fault(WHAT))?;
        let mut rows = statement
            .query(params![self.id, self.partition, self.next as i64])
            .map_err(fault(WHAT))?;
        'blocks: while let Some(row) = rows.next().map_err(fault(WHAT))? {
            let base: i64 = row.get(0).map_err(fault(WHAT))?;
            if base as u64 > self.next {
                return Err(self.missing(base as u64)?);
            }
            let append_time = LogTime(row.get(1).map_err(fault(WHAT))?);
            let blob = row
                .get_ref(2)
                .map_err(fault(WHAT))?
                .as_blob()
                .map_err(|error| damaged(&self.topic, base, &error.to_string()))?;
            for (at, record) in block::decode(blob).enumerate() {
                let (key, value) = record.ok_or_else(|| {
                    damaged(
                        &self.topic,
                        base,
                        "the block ends in the middle of a record",
                    )
                })?;
                let offset = base as u64 + at as u64;
                if offset < self.next {
                    continue;
                }
                if records >= limit.records.max(1) || (records > 0 && bytes >= limit.bytes) {
                    full = true;
                    break 'blocks;
                }
                visit(RecordView {
                    offset,
                    append_time,
                    key,
                    value,
                });
                self.next = offset + 1;
                records += 1;
                bytes += value.len();
            }
        }
        if !full && self.next < held.end {
            return Err(self.missing(held.end)?);
        }
        // A later end than the one read above would call unread records read.
        let end_offset = held.end.max(self.next);
        Ok(PollEnd {
            next_offset: self.next,
            end_offset,
            at_end: !full && self.next >= end_offset,
        })
    }
}

impl Reader {
    /// Why the next record is not there, though the log goes on at `to`: it was deleted since the
    /// range was asked for, or it is lost.
    fn missing(&self, to: u64) -> Result<Error> {
        let start = range(&self.connection, self.id, self.partition)?.start;
        let (topic, from) = (self.topic.clone(), self.next);
        if from < start {
            return Ok(Error::Trimmed {
                topic,
                partition: self.partition,
                wanted: from,
                start,
            });
        }
        Ok(Error::Refused(format!(
            "topic '{topic}' partition {}: the records from offset {from} to before {to} were appended and are not there: restore the log from a backup",
            self.partition
        )))
    }
}

fn damaged(topic: &str, base: i64, why: &str) -> Error {
    Error::Refused(format!(
        "topic '{topic}': the block at offset {base} is damaged: {why}; restore the log from a backup"
    ))
}
