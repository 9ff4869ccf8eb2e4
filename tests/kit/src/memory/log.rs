//! An event log in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use theatre_actors::ports::{
    Epoch, Error, EventLog, Lane, LanePublisher, LogRange, LogReader, Membership, NewRecord,
    Outgoing, Ownership, PollEnd, PollLimit, RecordView, Result, SoleMember,
};
use theatre_actors::position::Partition;
use theatre_actors::time::{Clock, LogTime};

use super::lock;

#[derive(Default)]
struct PartitionLog {
    start: u64,
    records: VecDeque<(LogTime, Arc<NewRecord>)>,
    /// Where an open transaction begins: what stands there and above cannot be read.
    hidden_from: Option<u64>,
}

impl PartitionLog {
    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    /// The end of what can be read.
    fn readable_end(&self) -> u64 {
        self.hidden_from
            .map_or(self.end(), |from| from.min(self.end()))
    }
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Vec<PartitionLog>>,
    /// Epoch and position.
    lanes: BTreeMap<(Partition, Lane), (Epoch, u64)>,
    last_append: i64,
}

impl State {
    fn partition(&mut self, topic: &str, partition: Partition) -> Result<&mut PartitionLog> {
        let partitions = self
            .topics
            .get_mut(topic)
            .ok_or_else(|| Error::Refused(format!("there is no topic '{topic}' in the log")))?;
        let count = partitions.len();
        let none = || {
            Error::Refused(format!(
                "topic '{topic}' has {count} partitions, there is no partition {partition}"
            ))
        };
        partitions.get_mut(partition as usize).ok_or_else(none)
    }

    /// The next append time: the clock's, but after every earlier one.
    fn next_append_time(&mut self, now: LogTime) -> LogTime {
        self.last_append = now.0.max(self.last_append + 1);
        LogTime(self.last_append)
    }

    fn check_lane(&self, partition: Partition, lane: Lane, epoch: Epoch) -> Result<()> {
        match self.lanes.get(&(partition, lane)) {
            Some((current, _)) if *current > epoch => Err(Error::StaleEpoch {
                partition,
                ours: epoch,
                current: *current,
            }),
            _ => Ok(()),
        }
    }
}

/// Topics in memory.
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

impl MemoryLog {
    /// An empty log; `clock` gives append times.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Arc::default(),
            clock,
        }
    }

    /// What is appended from now on cannot be read until [`Self::end_transaction`], as beside
    /// another producer's open transaction.
    ///
    /// # Errors
    /// When there is no such topic partition.
    pub fn begin_transaction(&self, topic: &str, partition: Partition) -> Result<()> {
        let mut state = lock(&self.state);
        let log = state.partition(topic, partition)?;
        log.hidden_from = Some(log.readable_end());
        Ok(())
    }

    /// All that was appended can be read.
    ///
    /// # Errors
    /// When there is no such topic partition.
    pub fn end_transaction(&self, topic: &str, partition: Partition) -> Result<()> {
        lock(&self.state).partition(topic, partition)?.hidden_from = None;
        Ok(())
    }
}

impl EventLog for MemoryLog {
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        let mut state = lock(&self.state);
        if let Some((topic, there)) = topics
            .iter()
            .filter_map(|topic| Some((topic, state.topics.get(topic)?.len())))
            .find(|(_, there)| *there != partitions as usize)
        {
            return Err(Error::Refused(format!(
                "topic '{topic}' has {there} partitions, the configuration says {partitions}: set it back to {there}"
            )));
        }
        for topic in topics {
            state
                .topics
                .entry(topic.clone())
                .or_insert_with(|| (0..partitions).map(|_| PartitionLog::default()).collect());
        }
        Ok(())
    }

    fn grow_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        let mut state = lock(&self.state);
        let counts = topics
            .iter()
            .filter_map(|topic| Some((topic, state.topics.get(topic)?.len())));
        if let Some((topic, there)) = counts
            .into_iter()
            .find(|(_, there)| *there > partitions as usize)
        {
            return Err(Error::Refused(format!(
                "topic '{topic}' has {there} partitions already: it cannot have {partitions}"
            )));
        }
        for topic in topics {
            if let Some(known) = state.topics.get_mut(topic) {
                known.resize_with(partitions as usize, PartitionLog::default);
            }
        }
        Ok(())
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        Ok(lock(&self.state)
            .topics
            .get(topic)
            .map(|partitions| partitions.len() as u32))
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
        let mut state = lock(&self.state);
        state.partition(topic, partition)?;
        let at = state.next_append_time(now);
        let log = state.partition(topic, partition)?;
        let first = log.end();
        log.records
            .extend(records.iter().map(|record| (at, Arc::new(record.clone()))));
        Ok(first)
    }

    fn reader(&self, topic: &str, partition: Partition, from: u64) -> Result<Box<dyn LogReader>> {
        lock(&self.state).partition(topic, partition)?;
        Ok(Box::new(Reader {
            state: self.state.clone(),
            topic: topic.to_owned(),
            partition,
            next: from,
        }))
    }

    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange> {
        let mut state = lock(&self.state);
        let log = state.partition(topic, partition)?;
        Ok(LogRange {
            start: log.start,
            end: log.readable_end(),
        })
    }

    fn written_end(&self, topic: &str, partition: Partition) -> Result<u64> {
        Ok(lock(&self.state).partition(topic, partition)?.end())
    }

    fn offset_at(&self, topic: &str, partition: Partition, time: LogTime) -> Result<u64> {
        let mut state = lock(&self.state);
        let log = state.partition(topic, partition)?;
        Ok(log.start + log.records.partition_point(|(at, _)| *at < time) as u64)
    }

    fn open_lane(
        &self,
        partition: Partition,
        lane: Lane,
        epoch: Epoch,
    ) -> Result<Box<dyn LanePublisher>> {
        let mut state = lock(&self.state);
        state.check_lane(partition, lane, epoch)?;
        state.lanes.entry((partition, lane)).or_default().0 = epoch;
        Ok(Box::new(Publisher {
            state: self.state.clone(),
            clock: self.clock.clone(),
            partition,
            lane,
            epoch,
        }))
    }

    fn trim(&self, topic: &str, partition: Partition, before: u64) -> Result<()> {
        let mut state = lock(&self.state);
        let log = state.partition(topic, partition)?;
        while log.start < before && log.records.pop_front().is_some() {
            log.start += 1;
        }
        Ok(())
    }
}

struct Reader {
    state: Arc<Mutex<State>>,
    topic: String,
    partition: Partition,
    next: u64,
}

impl LogReader for Reader {
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        // Taken out first: the visitor may ask the log for something else.
        let (taken, readable_end, end_offset) = {
            let mut state = lock(&self.state);
            let log = state.partition(&self.topic, self.partition)?;
            if self.next < log.start {
                return Err(Error::Trimmed {
                    topic: self.topic.clone(),
                    partition: self.partition,
                    wanted: self.next,
                    start: log.start,
                });
            }
            let mut bytes = 0;
            let mut taken = Vec::new();
            let readable = log.readable_end().saturating_sub(self.next) as usize;
            let from_here = log.records.iter().skip((self.next - log.start) as usize);
            for (at, record) in from_here.take(readable) {
                if taken.len() >= limit.records.max(1)
                    || (!taken.is_empty() && bytes >= limit.bytes)
                {
                    break;
                }
                bytes += record.value.len();
                taken.push((*at, record.clone()));
            }
            (taken, log.readable_end(), log.end())
        };
        for (append_time, record) in taken {
            visit(RecordView {
                offset: self.next,
                append_time,
                key: &record.key,
                value: &record.value,
            });
            self.next += 1;
        }
        Ok(PollEnd {
            next_offset: self.next,
            end_offset,
            at_end: self.next >= readable_end,
        })
    }
}

struct Publisher {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    partition: Partition,
    lane: Lane,
    epoch: Epoch,
}

impl LanePublisher for Publisher {
    fn position(&mut self) -> Result<u64> {
        let state = lock(&self.state);
        state.check_lane(self.partition, self.lane, self.epoch)?;
        Ok(state
            .lanes
            .get(&(self.partition, self.lane))
            .map_or(0, |(_, position)| *position))
    }

    fn publish(&mut self, records: &[Outgoing], position: u64) -> Result<Vec<(usize, String)>> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        state.check_lane(self.partition, self.lane, self.epoch)?;
        for outgoing in records {
            state.partition(&outgoing.topic, outgoing.partition)?;
        }
        let at = state.next_append_time(now);
        for outgoing in records {
            state
                .partition(&outgoing.topic, outgoing.partition)?
                .records
                .push_back((at, Arc::new(outgoing.record.clone())));
        }
        state
            .lanes
            .entry((self.partition, self.lane))
            .or_default()
            .1 = position;
        Ok(Vec::new())
    }
}
