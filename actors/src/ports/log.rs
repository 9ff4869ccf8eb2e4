//! The event log: what is consumed by partition and position, and published to by lanes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Epoch, Result};
use crate::position::{Partition, Positions};
use crate::time::LogTime;

/// A record to append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Key; the partition was chosen by it.
    pub key: Vec<u8>,
    /// Value, framed.
    pub value: Vec<u8>,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
}

/// A record as the log holds it, borrowed from the fetch buffer.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: u64,
    /// When it was appended. Never descending within a partition, unless the log takes its
    /// producers' times.
    pub append_time: LogTime,
    /// Key.
    pub key: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

/// How much one poll may bring. At least one record is brought if there is one, however large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollLimit {
    /// Most records.
    pub records: usize,
    /// Stop after this many bytes of values.
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

/// A place from which one topic partition is read forward.
pub trait LogReader: Send {
    /// Brings the next records, in order, to `visit`. Returns at once when there are none.
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd>;

    /// Has `wake` called, on any thread, whenever there may be something new to poll; now and then
    /// for nothing. False where nobody can tell: whoever waits then has to look again by itself.
    fn on_news(&mut self, wake: Arc<dyn Fn() + Send + Sync>) -> bool {
        drop(wake);
        false
    }
}

/// What a lane carries. A partition has one lane of each.
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

/// A record on its way out, and the topic it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Topic.
    pub topic: String,
    /// Partition of that topic.
    pub partition: Partition,
    /// The record.
    pub record: NewRecord,
}

/// The single publisher of a lane. Opening it fences whoever held it before.
pub trait LanePublisher: Send {
    /// The position the log holds for this lane: the highest sequence number published, 0 if none.
    fn position(&mut self) -> Result<u64>;

    /// Publishes records and moves the lane's position to `position`, both or neither. Fails with
    /// `StaleEpoch` once another has opened the lane. Records that the log refuses for good are
    /// left out, the rest goes on: returns their indices with the reason.
    fn publish(&mut self, records: &[Outgoing], position: u64) -> Result<Vec<(usize, String)>>;
}

/// What a process does as partitions come and go. The log's membership calls it, one call at a
/// time.
pub trait Ownership: Send + Sync {
    /// These are this process's from now on: take them. Told with none of them too when the members
    /// share without this process.
    fn assigned(&self, partitions: &[Partition]);

    /// These are to be handed over: stop reading them, save, publish, leave. Returns when that is
    /// done or its deadline has passed; what comes later is refused by the epoch of the next owner.
    fn revoked(&self, partitions: &[Partition]);

    /// These have another owner already, or nobody can say whose they are: drop what is not saved
    /// and leave at once.
    fn lost(&self, partitions: &[Partition]);

    /// How far the owned partitions are saved, for tools that watch the log's own notes of
    /// positions; they decide nothing.
    fn saved(&self) -> Vec<(Partition, Positions)>;

    /// How far the partitions were saved that were left in order since this was asked last: each is
    /// told once, for the next owner goes on from there.
    fn left(&self) -> Vec<(Partition, Positions)>;
}

/// This process's place among those that share a log.
pub trait Membership: Send {
    /// Leaves, once the owner has given up its partitions: others may take them. A process that
    /// will be back under the same name keeps its place.
    fn leave(self: Box<Self>) -> Result<()>;
}

/// The only process there is: it owns every partition from the beginning.
pub struct SoleMember;

impl SoleMember {
    /// Hands all partitions to the owner.
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
    /// Creates topics that are missing, with `partitions` each; refuses, before any is created, a
    /// different count for one that exists.
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()>;

    /// Gives topics that have fewer partitions so many; those that are not there stay away.
    /// Refuses, before any grows, if one has more: a log cannot take partitions back.
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

    /// Opens a reader at an offset. An offset below the start of the log fails with `Trimmed` at
    /// the first poll.
    fn reader(&self, topic: &str, partition: Partition, from: u64) -> Result<Box<dyn LogReader>>;

    /// The range of offsets held.
    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange>;

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
