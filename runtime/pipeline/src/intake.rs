//! Intake: reads a partition's input topics, decodes messages straight from the fetch buffer into
//! columns, and hands them on as chunks in one order.
//!
//! Called by the partition (and, with a reader of its own, by the lake writer and by recovery).
//! Topics are merged by their heads: of the next records of all topics the one with the lowest
//! (append time, topic) comes next, and a topic with unread data holds the others back. So on a log
//! that is not growing the order from any position on is a function of the log alone, also where
//! producers set the times and these descend. On one that grows, a topic at its end lets pass only
//! what was fetched before its end was looked for: so the end of a recording overtakes none of its
//! rows. A record that cannot be decoded becomes a dead letter in its place and stops nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use theatre_actors::outputs::DeadRow;
use theatre_actors::ports::{EventLog, LogReader, PollLimit, Result};
use theatre_actors::position::{Partition, Positions, TopicIndex};
use theatre_actors::time::LogTime;
use theatre_schemas::batch::Batch;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::{Registry, WriterSchema};

use super::Limits;
use crate::input_schemas::InputSchemas;
use decoder::Decoder;

mod decoder;
pub mod reread;

/// What intake needs to read any partition.
#[derive(Clone)]
pub struct IntakeParams {
    /// Input topics, in [`TopicIndex`] order.
    pub topics: Arc<Vec<String>>,
    /// Writer schemas of each topic.
    pub inputs: Arc<Vec<Arc<InputSchemas>>>,
    /// The datasets.
    pub registry: Arc<Registry>,
    /// Pseudonyms for marked fields, and the seal for bytes that could not be decoded.
    pub pseudonyms: Arc<Pseudonyms>,
    /// Poll and record limits.
    pub limits: Limits,
}

/// A row of a chunk, or the record that failed to become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Row `row` of batch `batch` of the chunk.
    Row {
        /// Index into [`Chunk::batches`].
        batch: u32,
        /// Row of that batch.
        row: u32,
    },
    /// Index into [`Chunk::dead`].
    Dead(u32),
}

/// A stretch of a partition's input, all topics merged.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Decoded columns, each of one topic and dataset. A batch may go on in the next chunk.
    pub batches: Vec<(TopicIndex, Arc<Batch>)>,
    /// Records that could not be decoded.
    pub dead: Vec<DeadRow>,
    /// Rows and failures, in order.
    pub entries: Vec<Entry>,
    /// Where the chunk begins.
    pub from: Positions,
    /// Where the next one begins.
    pub to: Positions,
    /// Append time of the last entry.
    pub last_append: Option<LogTime>,
    /// Topic and offset of the last entry.
    pub last_record: (TopicIndex, u64),
    /// True when nothing was left to read.
    pub caught_up: bool,
    /// True when that was found while this chunk was read, of all topics: then it has everything
    /// that was appended before.
    pub is_current: bool,
    /// How long before that a log was asked, at most, which said where it ends.
    pub end_age: Duration,
    /// Records not yet read, by the logs' ends.
    pub lag_records: u64,
}

struct Pending {
    append_time: i64,
    offset: u64,
    entry: Entry,
}

struct Source {
    reader: Box<dyn LogReader>,
    /// Schemas met, the last one first: records of one id after another find theirs without a lock.
    at_hand: Vec<Arc<WriterSchema>>,
    batches: Vec<Arc<Batch>>,
    dead: Vec<DeadRow>,
    pending: VecDeque<Pending>,
    next_offset: u64,
    end_offset: u64,
    at_end: bool,
    /// How long before the last poll the log was asked, at most, that said where it ends.
    end_age: Duration,
    /// Number of the fetch that brought what is pending, or found the end.
    fetched: u64,
}

/// Where reading begins: at a topic's position, or, where nothing was read yet, at the beginning of
/// what the log still has of it. A topic may be older than its retention when it is read for the
/// first time.
///
/// # Errors
/// When the log cannot be asked.
pub fn beginning(
    log: &dyn EventLog,
    topics: &[String],
    partition: Partition,
    positions: &Positions,
) -> Result<Positions> {
    let mut beginning = positions.clone();
    for (topic, name) in topics
        .iter()
        .enumerate()
        .filter(|(topic, _)| positions.get(*topic) == 0)
    {
        let start = log.range(name, partition)?.start;
        if start > 0 {
            tracing::warn!(
                topic = name,
                partition,
                start,
                "read for the first time from the beginning of what is left: older records were deleted"
            );
            beginning.advance(topic, start);
        }
    }
    Ok(beginning)
}

/// Reads one partition forward.
pub struct Intake {
    params: IntakeParams,
    sources: Vec<Source>,
    builders: Vec<Option<BatchBuilder>>,
    positions: Positions,
    /// How many fetches there were.
    fetches: u64,
}

impl Intake {
    /// Opens readers of all input topics of a partition at `start`.
    pub fn open(
        log: &dyn EventLog,
        partition: Partition,
        params: IntakeParams,
        start: &Positions,
    ) -> Result<Self> {
        let mut sources = Vec::with_capacity(params.topics.len());
        for (topic, name) in params.topics.iter().enumerate() {
            let from = start.get(topic);
            sources.push(Source {
                reader: log.reader(name, partition, from)?,
                at_hand: Vec::new(),
                batches: Vec::new(),
                dead: Vec::new(),
                pending: VecDeque::new(),
                next_offset: from,
                end_offset: from,
                at_end: false,
                end_age: Duration::ZERO,
                fetched: 0,
            });
        }
        Ok(Self {
            params,
            sources,
            builders: Vec::new(),
            positions: start.clone(),
            fetches: 0,
        })
    }

    /// Has `wake` called whenever there may be something to read; false when some reader cannot
    /// tell.
    pub fn on_news(&mut self, wake: &Arc<dyn Fn() + Send + Sync>) -> bool {
        // Every reader gets the callback, also after one that cannot notify.
        self.sources
            .iter_mut()
            .map(|source| source.reader.on_news(wake.clone()))
            .fold(true, |all, notifies| all & notifies)
    }

    /// The next chunk; empty when there is nothing to read. After an error the intake is to be
    /// opened anew.
    pub fn poll(&mut self) -> Result<Chunk> {
        let before = self.fetches;
        for topic in 0..self.sources.len() {
            if self.sources[topic].pending.is_empty() {
                self.fetch(topic)?;
            }
        }
        // Where a topic ended before another one's records were fetched, a record may have been
        // appended to it since that comes before those.
        let pending = self
            .sources
            .iter()
            .filter(|source| !source.pending.is_empty());
        let latest = pending.map(|source| source.fetched).max().unwrap_or(0);
        for topic in 0..self.sources.len() {
            let source = &self.sources[topic];
            if source.pending.is_empty() && source.fetched < latest {
                self.fetch(topic)?;
            }
        }
        let mut chunk = self.merge();
        let is_fresh = |source: &Source| source.fetched > before;
        // By the log's end, which lies behind records of a transaction that is open.
        chunk.is_current =
            chunk.caught_up && chunk.lag_records == 0 && self.sources.iter().all(is_fresh);
        let ages = self.sources.iter().map(|source| source.end_age);
        chunk.end_age = ages.max().unwrap_or_default();
        Ok(chunk)
    }

    fn fetch(&mut self, topic: TopicIndex) -> Result<()> {
        self.fetches += 1;
        let source = &mut self.sources[topic];
        source.fetched = self.fetches;
        source.batches.clear();
        source.dead.clear();
        let limits = &self.params.limits;
        let limit = PollLimit {
            records: limits.poll_records,
            bytes: limits.poll_bytes,
        };
        let mut decoder = Decoder {
            params: &self.params,
            topic,
            at_hand: &mut source.at_hand,
            builders: &mut self.builders,
            open: Vec::new(),
            pending: &mut source.pending,
            dead: &mut source.dead,
            stopped: None,
        };
        source.end_age = source.reader.end_age();
        let end = source
            .reader
            .poll(limit, &mut |record| decoder.take(record))?;
        if let Some(error) = decoder.stopped {
            return Err(error);
        }
        source.batches = decoder.finish();
        source.next_offset = end.next_offset;
        source.end_offset = end.end_offset;
        source.at_end = end.at_end;
        Ok(())
    }

    /// Takes what may go on from all sources, by their heads.
    fn merge(&mut self) -> Chunk {
        let mut chunk = Chunk {
            from: self.positions.clone(),
            ..Chunk::default()
        };
        let bases: Vec<(u32, u32)> = self
            .sources
            .iter()
            .enumerate()
            .map(|(topic, source)| chunk.adopt(topic, source))
            .collect();
        // Unread data of which nothing is known yet holds everything back.
        while self
            .sources
            .iter()
            .all(|source| source.at_end || !source.pending.is_empty())
        {
            let heads = self
                .sources
                .iter()
                .enumerate()
                .filter_map(|(topic, source)| {
                    let head = source.pending.front()?;
                    Some((head.append_time, topic))
                });
            let mut heads: Vec<(i64, TopicIndex)> = heads.collect();
            heads.sort_unstable();
            let Some(&(_, topic)) = heads.first() else {
                break;
            };
            let fetched = self.sources[topic].fetched;
            let ended_before =
                |source: &Source| source.pending.is_empty() && source.fetched < fetched;
            if self.sources.iter().any(ended_before) {
                break;
            }
            self.take_run(topic, heads.get(1).copied(), bases[topic], &mut chunk);
        }
        for (topic, source) in self.sources.iter().enumerate() {
            if source.pending.is_empty() {
                self.positions.advance(topic, source.next_offset);
            }
        }
        chunk.to = self.positions.clone();
        chunk.caught_up = self
            .sources
            .iter()
            .all(|source| source.at_end && source.pending.is_empty());
        chunk.lag_records = self
            .sources
            .iter()
            .enumerate()
            .map(|(topic, source)| source.end_offset.saturating_sub(self.positions.get(topic)))
            .sum();
        chunk
    }

    /// Takes the run of this topic that comes before every other topic's head; its own head does.
    fn take_run(
        &mut self,
        topic: TopicIndex,
        next_head: Option<(i64, TopicIndex)>,
        base: (u32, u32),
        chunk: &mut Chunk,
    ) {
        let pending = &mut self.sources[topic].pending;
        let after = |bound: (i64, TopicIndex)| {
            pending
                .iter()
                .position(|head| (head.append_time, topic) > bound)
        };
        let taken = next_head.and_then(after).unwrap_or(pending.len());
        if let Some(last) = taken.checked_sub(1).map(|last| &pending[last]) {
            chunk.last_append = Some(LogTime(last.append_time));
            chunk.last_record = (topic, last.offset);
            self.positions.advance(topic, last.offset + 1);
        }
        chunk
            .entries
            .extend(pending.drain(..taken).map(|head| match head.entry {
                Entry::Row { batch, row } => Entry::Row {
                    batch: batch + base.0,
                    row,
                },
                Entry::Dead(index) => Entry::Dead(index + base.1),
            }));
    }
}

impl Chunk {
    /// True when it holds nothing and moves no position.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.from == self.to
    }

    /// Topic and offset of a row.
    pub fn place(&self, batch: u32, row: u32) -> (TopicIndex, u64) {
        let (topic, batch) = &self.batches[batch as usize];
        (*topic, batch.offsets[row as usize])
    }

    /// Adds a source's batches and failures; returns where they begin.
    fn adopt(&mut self, topic: TopicIndex, source: &Source) -> (u32, u32) {
        let base = (self.batches.len() as u32, self.dead.len() as u32);
        if !source.pending.is_empty() {
            self.batches
                .extend(source.batches.iter().map(|batch| (topic, batch.clone())));
            self.dead.extend(source.dead.iter().cloned());
        }
        base
    }
}

#[cfg(test)]
mod tests;
