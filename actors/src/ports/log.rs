//! The event log: records are consumed by partition and offset, and published through lanes.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Epoch, Result};
use crate::position::{Partition, Positions};
use crate::time::LogTime;

/// A record to append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Key; the partition was chosen by its hash.
    pub key: Vec<u8>,
    /// Value: a framed Avro datum.
    pub value: Vec<u8>,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
}

/// A record as the log holds it, borrowed from the fetch buffer.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: u64,
    /// When it was appended. Append times never decrease within a partition, unless the log is
    /// configured to keep its producers' times.
    pub append_time: LogTime,
    /// Key.
    pub key: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

/// How much one poll may return. If there is a record, at least one is returned, however large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollLimit {
    /// Maximum number of records.
    pub records: usize,
    /// The poll stops after this many bytes of values.
    pub bytes: usize,
}

/// How a poll ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollEnd {
    /// Offset of the next record to be polled.
    pub next_offset: u64,
    /// End of the log when polled: the offset the next appended record will get, or beyond it.
    pub end_offset: u64,
    /// True when nothing was left to read at that moment.
    pub at_end: bool,
}

/// Range of offsets a topic partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRange {
    /// First offset still there.
    pub start: u64,
    /// Offset the next record will get.
    pub end: u64,
}

/// A cursor that reads one topic partition forward.
pub trait LogReader: Send {
    /// Calls `visit` with the next records, in order. Returns at once when there are none, and
    /// while those that are there are still being fetched: only [`PollEnd::at_end`] tells these
    /// apart.
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd>;

    /// How long ago the log was asked that said last where it ends; nothing that was appended
    /// before is unknown to the reader. Zero where each poll asks. It is to be asked before the poll
    /// whose end it is about: an answer may come in between.
    fn end_age(&self) -> Duration {
        Duration::ZERO
    }

    /// Registers `wake` to be called, on any thread, whenever there may be new records to poll;
    /// some calls may be spurious. Returns false when the log cannot notify: the caller then has to
    /// poll at intervals.
    fn on_news(&mut self, wake: Arc<dyn Fn() + Send + Sync>) -> bool {
        drop(wake);
        false
    }
}

/// The kind of a lane: a stream of records that a partition publishes under its own position. A
/// partition has one lane of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// Alerts and outcomes.
    Results,
    /// Dead letters.
    DeadLetters,
}

impl Lane {
    /// Both lanes.
    pub const ALL: [Lane; 2] = [Lane::Results, Lane::DeadLetters];

    /// Name in ids and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Results => "results",
            Self::DeadLetters => "dead_letters",
        }
    }
}

/// A record to be published, and the topic partition it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Topic.
    pub topic: String,
    /// Partition of that topic.
    pub partition: Partition,
    /// The record.
    pub record: NewRecord,
}

/// The single publisher of a lane. Opening a lane fences its previous publisher.
pub trait LanePublisher: Send {
    /// The position the log holds for this lane: the highest sequence number published, 0 if none.
    fn position(&mut self) -> Result<u64>;

    /// Publishes records and moves the lane's position to `position`, both or neither. Fails with
    /// `StaleEpoch` once another publisher has opened the lane. Records that the log refuses for
    /// good are left out and the others are published: returns the indices of the refused ones with
    /// the reason.
    fn publish(&mut self, records: &[Outgoing], position: u64) -> Result<Vec<(usize, String)>>;
}

/// The only one that appends under its name ([`EventLog::open_appender`]).
pub trait Appender {
    /// Appends records in order and returns the first one's offset. A failed call may have appended
    /// some of them, the first ones. Fails for good once another has opened the name.
    fn append(&mut self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64>;
}

/// The appender of a log that belongs to one process.
struct Unfenced<'a, L: ?Sized>(&'a L);

impl<L: EventLog + ?Sized> Appender for Unfenced<'_, L> {
    fn append(&mut self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64> {
        self.0.append(topic, partition, records)
    }
}

/// How a process reacts to changes of its partition assignment. The log's membership calls it, one
/// call at a time.
pub trait Ownership: Send + Sync {
    /// These partitions are assigned to this process from now on. Called with an empty list as
    /// well, when the other members share all partitions among themselves.
    fn assigned(&self, partitions: &[Partition]);

    /// These partitions are to be handed over: the process stops reading them, saves a checkpoint,
    /// publishes and leaves them. Returns when that is done or its deadline has passed; later
    /// writes are refused by the epoch of the next owner.
    fn revoked(&self, partitions: &[Partition]);

    /// These partitions have another owner already, or their owner is unknown: the process drops
    /// what is not saved and leaves them at once.
    fn lost(&self, partitions: &[Partition]);

    /// The positions saved for the owned partitions. The log may store them for tools that watch
    /// consumer lag; Theatre itself never reads them back.
    fn saved(&self) -> Vec<(Partition, Positions)>;

    /// The positions saved for the partitions that were left in good order since the last call.
    /// Each partition is returned once, because from then on the next owner advances it.
    fn left(&self) -> Vec<(Partition, Positions)>;
}

/// The membership of this process among those that share a log's partitions.
pub trait Membership: Send {
    /// Leaves, after the owner has given up its partitions, so that other members may take them. A
    /// static member, which will be back under the same name, keeps its assignment.
    fn leave(self: Box<Self>) -> Result<()>;
}

/// The membership of a process that is alone: it owns every partition from the beginning.
pub struct SoleMember;

impl SoleMember {
    /// Assigns all partitions to the owner.
    pub fn join(partitions: u32, owner: &dyn Ownership) -> Box<dyn Membership> {
        owner.assigned(&(0..partitions).collect::<Vec<_>>());
        Box::new(Self)
    }
}

impl Membership for SoleMember {
    fn leave(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// An ordered, partitioned log of records.
pub trait EventLog: Send + Sync {
    /// Creates the missing topics with `partitions` partitions each. When an existing topic has
    /// another number, the call is refused before any topic is created.
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()>;

    /// Raises the number of partitions of existing topics to `partitions`; missing topics are not
    /// created. When a topic has more, the call is refused before any topic is changed: a log
    /// cannot remove partitions.
    fn grow_topics(&self, topics: &[String], partitions: u32) -> Result<()>;

    /// Number of partitions of a topic; `None` if there is no such topic.
    fn partitions(&self, topic: &str) -> Result<Option<u32>>;

    /// Shares the partitions of the input topics (co-partitioned: partition *p* of each has one
    /// owner) with the other processes that join.
    fn join(
        &self,
        topics: &[String],
        partitions: u32,
        owner: Arc<dyn Ownership>,
    ) -> Result<Box<dyn Membership>>;

    /// Appends records in order and returns the first one's offset. A failed call may have appended
    /// some of them, the first ones.
    fn append(&self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64>;

    /// Becomes the one that appends under `name`. One that did so before can append nothing more, and
    /// what it had under way is decided: it is in the log, or it never will be. A log that belongs
    /// to one process has no other, and appends as [`Self::append`] does.
    fn open_appender<'a>(&'a self, name: &str) -> Result<Box<dyn Appender + 'a>> {
        let _ = name;
        Ok(Box::new(Unfenced(self)))
    }

    /// Opens a reader at an offset. An offset below the start of the log fails with `Trimmed` at
    /// the first poll.
    fn reader(&self, topic: &str, partition: Partition, from: u64) -> Result<Box<dyn LogReader>>;

    /// The range of offsets of a topic partition that can be read.
    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange>;

    /// The offset that the next record will get. It lies beyond the end of [`Self::range`] as long
    /// as a transaction is open there, which hides what follows its beginning.
    fn written_end(&self, topic: &str, partition: Partition) -> Result<u64> {
        Ok(self.range(topic, partition)?.end)
    }

    /// Offset of the first record appended at `time` or later; the end of the log when there is
    /// none.
    fn offset_at(&self, topic: &str, partition: Partition, time: LogTime) -> Result<u64>;

    /// Becomes the publisher of a partition's lane under an epoch.
    fn open_lane(
        &self,
        partition: Partition,
        lane: Lane,
        epoch: Epoch,
    ) -> Result<Box<dyn LanePublisher>>;

    /// Deletes records below `before`, as far as the log allows; never those at or above it.
    fn trim(&self, topic: &str, partition: Partition, before: u64) -> Result<()>;
}
