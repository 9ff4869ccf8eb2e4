//! The ports: what the actors' runtime asks of an event log, a checkpoint store, a lake and a
//! warehouse, and of those who may use the HTTP interface.
//!
//! All calls block; an adapter over an async client drives it on its own runtime, and every
//! component calls from a thread of its own. Each call may fail *after* having done its work:
//! callers repeat, and every write here is therefore idempotent or fenced. `runtime` implements
//! each port for embedded files and in memory, and one contract suite runs against all of them.

mod access;
mod commits;
mod dead_letters;
mod erasure;
mod lake;
mod lake_files;
mod layouts;
mod log;
mod pages;
mod schema_source;
mod store;
mod tables;
mod warehouse;

use crate::position::Partition;

pub use access::{AccessStore, AuditEntry, AuditFilter, Begun, Reservation, Role, StoredToken};
pub use commits::{
    CommitOutcome, PartitionCommit, ProcessorSave, StoredDead, StoredOutput, StoredProcessor,
    StoredUndelivered, Undelivered,
};
pub use dead_letters::{DeadLetterStore, DeadReplay, PlaceInLog};
pub use erasure::{
    ErasedBy, ErasedCount, ErasedRows, FileRevision, LakeRegister, RowSelection, TableErasure,
    add_erased,
};
pub use lake::{Lake, LakeBytes, LakeEntry, LakeUpload, attempts_of, is_outdated, outside};
pub use lake_files::{DeferredBatches, FileFilter, FileStage, LakeFile, LoadBatch, RegisteredFile};
pub use layouts::{PastLayout, ProcessorMove, Repartition};
pub use log::{
    Appender, EventLog, Lane, LanePublisher, LogRange, LogReader, Membership, NewRecord, Outgoing,
    Ownership, PollEnd, PollLimit, RecordView, SoleMember,
};
pub use pages::{OutputPage, OutputPlace, PageFilter, PageStore};
pub use schema_source::SchemaSource;
pub use store::{
    CheckpointStore, Cursors, Expiry, Export, LakeCut, OutputFilter, PartitionStatus, UnknownCode,
};
pub use tables::{ColumnValues, TableBatch, TableRows};
pub use warehouse::{
    ColumnType, LoadMode, LoadReceipt, QueryResult, TableLimits, TableSpec, Warehouse,
};

/// The ownership epoch of a partition: it grows by one each time the partition is taken, and writes
/// under an older epoch are refused.
pub type Epoch = u64;

/// Why a port call failed, by what the caller should do.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum Error {
    /// The component did not answer, or answered with a passing fault; the work may or may not have
    /// been done. Retry with back-off.
    #[error("{what} is unavailable: {why}")]
    Unavailable {
        /// The component and call.
        what: &'static str,
        /// The cause, without personal data.
        why: String,
    },
    /// The partition was taken by another owner. Drop everything since the last checkpoint and
    /// leave the partition.
    #[error("partition {partition} was taken over: epoch {ours} is stale, {current} is current")]
    StaleEpoch {
        /// The partition lost.
        partition: Partition,
        /// The epoch of the refused call.
        ours: Epoch,
        /// The epoch the store holds.
        current: Epoch,
    },
    /// The call was refused for good: a retry cannot help. The text says what was refused, where,
    /// and what to do.
    #[error("{0}")]
    Refused(String),
    /// A file that was handed over is refused for good: it is damaged, or fits no table. Others are
    /// not concerned. The text names the file when it is known.
    #[error("{0}")]
    BadFile(String),
    /// The call was refused for good because what it asked for no longer exists. The text says what
    /// that is, and where it was looked for.
    #[error("{0}")]
    Gone(String),
    /// The requested offset was trimmed from the log.
    #[error(
        "topic {topic} partition {partition}: offset {wanted} is gone, the log starts at {start}"
    )]
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

impl Error {
    /// The error for a write that was computed from a state the store no longer holds: an earlier
    /// attempt of the same caller, whose answer was lost, was committed after the caller had read
    /// that state. It is `Unavailable`, because a caller that reads again and retries succeeds.
    pub fn overtaken(partition: Partition, what: &str) -> Self {
        Self::Unavailable {
            what: "checkpoint store",
            why: format!(
                "partition {partition}: {what} was committed meanwhile by an earlier attempt"
            ),
        }
    }
}

/// Result of a port call.
pub type Result<T> = std::result::Result<T, Error>;
