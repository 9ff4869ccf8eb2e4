//! The ports: what the actors' runtime asks of an event log, a checkpoint store, a lake and a warehouse.
//!
//! All calls block; an adapter over an async client drives it on its own runtime, and every component calls from a
//! thread of its own. Each call may fail *after* having done its work: callers repeat, and every write here is
//! therefore idempotent or fenced. `runtime` implements each port for embedded files and in memory, and one contract
//! suite runs against all of them.

use serde::{Deserialize, Serialize};

use crate::effect::{DeadRow, Fact, FactKind};
use crate::position::{Partition, Positions};
use crate::time::LogTime;

/// Grows by one each time a partition is taken; a write under an older one is refused.
pub type Epoch = u64;

/// Why a port call failed, by what the caller should do.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum Error {
    /// Not answered, or answered with a passing fault; the work may or may not be done. Repeat with back-off.
    #[error("{what} is unavailable: {why}")]
    Unavailable {
        /// The component and call.
        what: &'static str,
        /// The cause, without personal data.
        why: String,
    },
    /// The partition was taken by another owner. Drop everything since the last save and leave the partition.
    #[error("partition {partition} was taken over: epoch {ours} is stale, {current} is current")]
    StaleEpoch {
        /// The partition lost.
        partition: Partition,
        /// The epoch of the refused call.
        ours: Epoch,
        /// The epoch the store holds.
        current: Epoch,
    },
    /// Refused for good: repeating cannot help. Says what, where and what to do.
    #[error("{0}")]
    Refused(String),
    /// The position asked for was trimmed away.
    #[error("topic {topic} partition {partition}: offset {wanted} is gone, the log starts at {start}")]
    Trimmed {
        /// Topic name.
        topic: String,
        /// Partition.
        partition: Partition,
        /// The offset asked for.
        wanted: u64,
        /// First offset still there.
        start: u64,
    },
}

/// Result of a port call.
pub type Result<T> = std::result::Result<T, Error>;

// ---------------------------------------------------------------------------------------------- event log

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
    /// When it was appended. Never descending within a partition.
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

    /// Publishes records and moves the lane's position to `position`, both or neither.
    /// Fails with `StaleEpoch` once another has opened the lane.
    fn publish(&mut self, records: &[Outgoing], position: u64) -> Result<()>;
}

/// An ordered, partitioned log of records.
pub trait EventLog: Send + Sync {
    /// Creates topics that are missing, with `partitions` each; refuses a different count for one that exists.
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()>;

    /// Number of partitions of a topic; `None` if there is no such topic.
    fn partitions(&self, topic: &str) -> Result<Option<u32>>;

    /// Appends records in one atomic batch and returns the first one's offset.
    fn append(&self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64>;

    /// Opens a reader at an offset. An offset below the start of the log fails with `Trimmed` at the first poll.
    fn reader(&self, topic: &str, partition: Partition, from: u64) -> Result<Box<dyn LogReader>>;

    /// The range of offsets held.
    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange>;

    /// Offset of the first record appended at `time` or later; the end of the log when there is none.
    fn offset_at(&self, topic: &str, partition: Partition, time: LogTime) -> Result<u64>;

    /// Becomes the publisher of a partition's lane under an epoch.
    fn open_lane(&self, partition: Partition, lane: Lane, epoch: Epoch) -> Result<Box<dyn LanePublisher>>;

    /// Deletes records below `before`, as far as the log allows; never those at or above it.
    fn trim(&self, topic: &str, partition: Partition, before: u64) -> Result<()>;
}

// -------------------------------------------------------------------------------------- checkpoint store

/// One family at one moment: its state, and all it concluded since its last save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilySave {
    /// The robot's id; empty for the partition's intake family (records that name no robot).
    pub family: String,
    /// Number of this save of this family, from 1. A save that is not newer than the stored one is already there and is
    /// skipped together with its facts.
    pub save_number: u64,
    /// What the state has seen.
    pub positions: Positions,
    /// Encoded, versioned state.
    pub state: Vec<u8>,
    /// Facts since the last save, in order.
    pub facts: Vec<Fact>,
    /// Dead letters since the last save, in order.
    pub dead: Vec<DeadRow>,
}

impl FamilySave {
    /// Rough size in bytes, for cutting commits.
    pub fn weight(&self) -> usize {
        let facts: usize = self.facts.iter().map(|fact| fact.payload.len() + 128).sum();
        let dead: usize = self.dead.iter().map(|dead| dead.payload.len() + 128).sum();
        self.state.len() + facts + dead + 64
    }
}

/// What one partition wants committed.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionCommit {
    /// The partition.
    pub partition: Partition,
    /// The epoch under which it is owned.
    pub epoch: Epoch,
    /// Families to save.
    pub families: Vec<FamilySave>,
    /// No family needs a record below this any more once this commit is in. Never moves back.
    pub floor: Positions,
}

/// What became of one partition's part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Committed (or had been already).
    Committed {
        /// Highest fact sequence number of the partition.
        last_fact: u64,
        /// Highest dead-letter sequence number of the partition.
        last_dead: u64,
    },
    /// Refused, nothing of it was written: the partition has another owner.
    Stale {
        /// The epoch the store holds.
        current: Epoch,
    },
}

/// A stored family.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFamily {
    /// The robot's id; empty for the intake family.
    pub family: String,
    /// Number of its last save.
    pub save_number: u64,
    /// What that save has seen.
    pub positions: Positions,
    /// Encoded state.
    pub state: Vec<u8>,
}

/// Where a partition stands, as the store knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Current epoch; 0 if never taken.
    pub epoch: Epoch,
    /// No family needs a record below this.
    pub floor: Positions,
    /// Highest fact sequence number, 0 if none.
    pub last_fact: u64,
    /// Highest dead-letter sequence number, 0 if none.
    pub last_dead: u64,
    /// Relayed up to here, as noted; the log's own lane position may be further.
    pub relayed_fact: u64,
    /// The same for dead letters.
    pub relayed_dead: u64,
    /// Facts up to here stand in registered lake files.
    pub exported_fact: u64,
    /// The lake writer has registered everything below this.
    pub lake_positions: Positions,
    /// Number of lake cuts so far.
    pub lake_cuts: u64,
}

/// A committed fact.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFact {
    /// Its partition.
    pub partition: Partition,
    /// Its number within the partition: dense, from 1, in order of commit.
    pub sequence: u64,
    /// When it was committed.
    pub committed_at: LogTime,
    /// The fact.
    pub fact: Fact,
}

/// A committed dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDead {
    /// Its partition.
    pub partition: Partition,
    /// Its number within the partition: dense, from 1.
    pub sequence: u64,
    /// The dead letter.
    pub dead: DeadRow,
}

/// A lake file whose parts are durable, to become visible once its registration is committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LakeFile {
    /// Path below the lake's root, final and unique: holds dataset, date, partition, positions, epoch.
    pub path: String,
    /// Handle of the upload that holds the parts.
    pub upload: String,
    /// Dataset, which is also the warehouse table.
    pub dataset: String,
    /// Rows in it.
    pub rows: u64,
    /// Exact length in bytes.
    pub bytes: u64,
    /// Lowest event time in it, microseconds UTC.
    pub event_time_min: i64,
    /// Highest event time in it.
    pub event_time_max: i64,
}

/// How far a lake file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileStage {
    /// Committed; its upload may not be completed yet.
    Registered = 1,
    /// Visible in the lake.
    Completed = 2,
    /// In the warehouse.
    Loaded = 3,
    /// Refused by the warehouse, set aside.
    Quarantined = 4,
}

/// A registered lake file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisteredFile {
    /// Number within the partition, dense, from 1.
    pub number: u64,
    /// Its partition.
    pub partition: Partition,
    /// The file.
    pub file: LakeFile,
    /// How far it has come.
    pub stage: FileStage,
    /// The load batch that it was planned into.
    pub batch: Option<String>,
    /// Why it was quarantined.
    pub note: Option<String>,
}

/// A cut of the lake: every open file of a partition closed at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct LakeCut {
    /// Number of this cut, from 1; a cut that is not newer than the stored one is already there.
    pub cut_number: u64,
    /// Everything below is in registered files.
    pub positions: Positions,
    /// The lake writer's own duplicate-check state.
    pub state: Vec<u8>,
    /// Files to register.
    pub files: Vec<LakeFile>,
}

/// Which facts to read back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FactFilter {
    /// Only this kind.
    pub kind: Option<FactKind>,
    /// Only this robot.
    pub robot_id: Option<String>,
    /// Only this subject (window name, condition, procedure).
    pub subject: Option<String>,
    /// Event time at or after, microseconds UTC.
    pub from: Option<i64>,
    /// Event time before.
    pub until: Option<i64>,
    /// At most this many, the newest by commit; 0 = all.
    pub limit: usize,
}

/// A set of files of one table to be loaded in one warehouse transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadBatch {
    /// Deterministic id: dataset, partition, file numbers.
    pub id: String,
    /// Target table.
    pub dataset: String,
    /// Partition all its files come from.
    pub partition: Partition,
    /// The files.
    pub files: Vec<RegisteredFile>,
}

/// The store in which everything is decided. Every write is one transaction, fenced by the partition's epoch.
pub trait CheckpointStore: Send + Sync {
    /// Records the input topics and the partition count at first start, and refuses a different count or topics
    /// in another order later (new topics may be added at the end).
    fn ensure_layout(&self, topics: &[String], partitions: u32) -> Result<()>;

    /// The recorded layout; `None` before the first start.
    fn layout(&self) -> Result<Option<(Vec<String>, u32)>>;

    /// Takes a partition: raises its epoch and returns it.
    fn acquire(&self, partition: Partition) -> Result<Epoch>;

    /// Where a partition stands.
    fn status(&self, partition: Partition) -> Result<PartitionStatus>;

    /// All stored families of a partition.
    fn families(&self, partition: Partition) -> Result<Vec<StoredFamily>>;

    /// One stored family.
    fn family(&self, partition: Partition, family: &str) -> Result<Option<StoredFamily>>;

    /// Commits several partitions in one transaction; those with a stale epoch are left out and said so.
    /// `committed_at` is noted beside facts. Outcomes are in the order of `commits`.
    fn commit(&self, commits: &[PartitionCommit], committed_at: LogTime) -> Result<Vec<CommitOutcome>>;

    /// Facts of a partition with a sequence above `after`, in order, at most `limit`.
    fn facts_after(&self, partition: Partition, after: u64, limit: usize) -> Result<Vec<StoredFact>>;

    /// Dead letters of a partition with a sequence above `after`, in order, at most `limit`.
    fn dead_after(&self, partition: Partition, after: u64, limit: usize) -> Result<Vec<StoredDead>>;

    /// Notes how far a lane was published; never moves back.
    fn note_relayed(&self, partition: Partition, epoch: Epoch, lane: Lane, sequence: u64) -> Result<()>;

    /// The lake writer's saved duplicate-check state; empty before the first cut.
    fn lake_state(&self, partition: Partition) -> Result<Vec<u8>>;

    /// Registers a cut of the lake.
    fn commit_cut(&self, partition: Partition, epoch: Epoch, cut: &LakeCut) -> Result<()>;

    /// Registers files that hold the facts up to `exported_fact`; an export not beyond the stored one is already there.
    fn commit_export(&self, partition: Partition, epoch: Epoch, exported_fact: u64, files: &[LakeFile]) -> Result<()>;

    /// Files of a partition in a stage, in order, at most `limit`.
    fn files(&self, partition: Partition, stage: FileStage, limit: usize) -> Result<Vec<RegisteredFile>>;

    /// Moves files from `Registered` to `Completed`; those further on stay there.
    fn mark_completed(&self, partition: Partition, epoch: Epoch, numbers: &[u64]) -> Result<()>;

    /// Plans completed, unplanned files of one dataset, at most `max_files`, into a batch, or returns the batch planned
    /// earlier and not yet settled. `None` when there is nothing to load.
    fn plan_load(&self, partition: Partition, epoch: Epoch, max_files: usize) -> Result<Option<LoadBatch>>;

    /// Settles a batch: its files are in the warehouse.
    fn mark_loaded(&self, partition: Partition, epoch: Epoch, batch: &str) -> Result<()>;

    /// Takes a refused batch apart: files in `bad` are quarantined with a note, the others become unplanned again.
    /// With `bad` empty the batch is split into halves that are planned at once, so that the bad file is found by bisection.
    fn split_load(&self, partition: Partition, epoch: Epoch, batch: &str, bad: &[(u64, String)]) -> Result<()>;

    /// Facts by filter, in order of event time and revision.
    fn find_facts(&self, filter: &FactFilter) -> Result<Vec<StoredFact>>;

    /// Dead letters, newest first, at most `limit` (0 = all).
    fn find_dead(&self, limit: usize) -> Result<Vec<StoredDead>>;

    /// All registered files.
    fn all_files(&self) -> Result<Vec<RegisteredFile>>;
}

// --------------------------------------------------------------------------------------------------- lake

/// A lake file being written. Dropping it without `seal` abandons it.
pub trait LakeUpload: Send {
    /// Adds bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes all parts durable without making the file visible, and returns the handle for [`Lake::complete`].
    fn seal(self: Box<Self>) -> Result<String>;
}

/// A completed file as a lister of the lake sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeEntry {
    /// Path below the root.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// A store of immutable files.
pub trait Lake: Send + Sync {
    /// Starts a file; invisible until completed. `attempt` makes concurrent writers of one path independent.
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>>;

    /// Makes a sealed file visible under its path; doing it again changes nothing. Refused when neither the parts nor the
    /// finished file are there.
    fn complete(&self, path: &str, upload: &str) -> Result<()>;

    /// All completed files under a prefix, sorted by path.
    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>>;

    /// The bytes of a completed file.
    fn read(&self, path: &str) -> Result<bytes::Bytes>;

    /// Removes uploads that are not in `keep` and whose name starts with `prefix`; returns how many.
    fn sweep(&self, prefix: &str, keep: &[String]) -> Result<usize>;
}

// ---------------------------------------------------------------------------------------------- warehouse

/// Type of a warehouse column; the physical types of a dataset.
pub use theatre_schemas::dataset::ColumnType;

/// How rows of a table meet rows that are there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadMode {
    /// Every row is new.
    Append,
    /// The row with the same key and a lower revision is replaced.
    MergeByRevision {
        /// Key columns.
        key: Vec<String>,
        /// Revision column.
        revision: String,
    },
}

/// A warehouse table; column order is the order in the files.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSpec {
    /// Name.
    pub name: String,
    /// Columns in file order.
    pub columns: Vec<(String, ColumnType)>,
    /// How loads meet what is there.
    pub mode: LoadMode,
}

/// The ledger's word on a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReceipt {
    /// Batch id.
    pub batch: String,
    /// Rows that were in its files.
    pub rows: u64,
}

/// Rows of a query, as JSON values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryResult {
    /// Column names.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<serde_json::Value>>,
}

/// A warehouse that loads whole files in a transaction with its own ledger.
pub trait Warehouse: Send + Sync {
    /// Creates tables, and appends new columns to those that are there; refuses any other change.
    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()>;

    /// Loads a batch, both rows and ledger row or neither. A batch already in the ledger changes nothing.
    /// `Refused` names the file at fault when it is known.
    fn load(&self, batch: &LoadBatch, lake: &dyn Lake) -> Result<LoadReceipt>;

    /// What the ledger says of a batch.
    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>>;

    /// Runs one read-only statement.
    fn query(&self, sql: &str) -> Result<QueryResult>;
}
