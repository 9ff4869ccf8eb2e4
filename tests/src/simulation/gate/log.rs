//! The log behind the gate: its readers and lanes, and what counts as trimmed.

use std::sync::Arc;

use theatre_actors::ports::*;
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::{Gate, Lanes, Trimmed};

pub(super) struct GatedLog {
    pub(super) inner: Arc<dyn EventLog>,
    pub(super) gate: Arc<Gate>,
    pub(super) trimmed: Arc<Trimmed>,
    pub(super) lanes: Arc<Lanes>,
}

impl EventLog for GatedLog {
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.gate
            .call(|| self.inner.ensure_topics(topics, partitions))
    }
    fn grow_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.gate
            .call(|| self.inner.grow_topics(topics, partitions))
    }
    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.gate.call(|| self.inner.partitions(topic))
    }
    fn join(
        &self,
        topics: &[String],
        partitions: u32,
        owner: Arc<dyn Ownership>,
    ) -> Result<Box<dyn Membership>> {
        self.gate
            .call(|| self.inner.join(topics, partitions, owner))
    }
    fn append(&self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64> {
        self.gate
            .call(|| self.inner.append(topic, partition, records))
    }
    fn reader(&self, topic: &str, partition: Partition, from: u64) -> Result<Box<dyn LogReader>> {
        let inner = self
            .gate
            .call(|| self.inner.reader(topic, partition, from))?;
        Ok(Box::new(GatedReader {
            inner,
            gate: self.gate.clone(),
            trimmed: self.trimmed.clone(),
            topic: topic.to_owned(),
            partition,
            next: from,
        }))
    }
    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange> {
        self.gate.call(|| {
            let range = self.inner.range(topic, partition)?;
            let start = range.start.max(self.trimmed.start(topic, partition));
            Ok(LogRange { start, ..range })
        })
    }
    fn written_end(&self, topic: &str, partition: Partition) -> Result<u64> {
        self.gate.call(|| self.inner.written_end(topic, partition))
    }
    fn offset_at(&self, topic: &str, partition: Partition, time: LogTime) -> Result<u64> {
        self.gate.call(|| {
            let offset = self.inner.offset_at(topic, partition, time)?;
            Ok(offset.max(self.trimmed.start(topic, partition)))
        })
    }
    fn open_lane(
        &self,
        partition: Partition,
        lane: Lane,
        epoch: Epoch,
    ) -> Result<Box<dyn LanePublisher>> {
        let inner = self.gate.call(|| {
            let opened = self.inner.open_lane(partition, lane, epoch)?;
            self.lanes.opened(partition, lane, epoch);
            Ok(opened)
        })?;
        Ok(Box::new(GatedLane {
            inner,
            gate: self.gate.clone(),
        }))
    }
    fn trim(&self, topic: &str, partition: Partition, before: u64) -> Result<()> {
        self.gate.call(|| {
            self.trimmed.trim(topic, partition, before);
            Ok(())
        })
    }
}

struct GatedReader {
    inner: Box<dyn LogReader>,
    gate: Arc<Gate>,
    trimmed: Arc<Trimmed>,
    topic: String,
    partition: Partition,
    next: u64,
}

impl LogReader for GatedReader {
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        let start = self.trimmed.start(&self.topic, self.partition);
        if self.next < start {
            return Err(Error::Trimmed {
                topic: self.topic.clone(),
                partition: self.partition,
                wanted: self.next,
                start,
            });
        }
        let (gate, inner, next) = (self.gate.clone(), &mut self.inner, &mut self.next);
        gate.call(|| {
            let end = inner.poll(limit, visit)?;
            *next = end.next_offset;
            Ok(end)
        })
    }
}

struct GatedLane {
    inner: Box<dyn LanePublisher>,
    gate: Arc<Gate>,
}

impl LanePublisher for GatedLane {
    fn position(&mut self) -> Result<u64> {
        let (gate, inner) = (self.gate.clone(), &mut self.inner);
        gate.call(|| inner.position())
    }
    fn publish(&mut self, records: &[Outgoing], position: u64) -> Result<Vec<(usize, String)>> {
        let (gate, inner) = (self.gate.clone(), &mut self.inner);
        gate.call(|| inner.publish(records, position))
    }
}
