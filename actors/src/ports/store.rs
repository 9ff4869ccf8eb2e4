//! The checkpoint store: processors, outputs, dead letters, lake files and the plan of loads.

use std::collections::BTreeMap;

use super::{
    CommitOutcome, DeadLetterStore, DeferredBatches, Epoch, Error, FileFilter, FileStage, LakeFile,
    LakeRegister, LoadBatch, PageStore, PartitionCommit, PastLayout, RegisteredFile, Repartition,
    Result, RowSelection, StoredDead, StoredOutput, StoredProcessor, StoredUndelivered, TableBatch,
    Undelivered,
};
use crate::outputs::OutputKind;
use crate::position::{Partition, Positions};
use crate::time::LogTime;

/// Where a partition stands, as the store knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Current epoch; 0 if never taken.
    pub epoch: Epoch,
    /// No processor needs a record below this.
    pub floor: Positions,
    /// Highest output sequence number, 0 if none.
    pub last_output: u64,
    /// Highest dead-letter sequence number, 0 if none.
    pub last_dead: u64,
    /// How far the consumers of the outbox are, as noted: what lies up to a consumer's position it
    /// does not need any more. A relay may be further, as the log knows.
    pub cursors: Cursors,
    /// The lake writer has registered everything below this.
    pub lake_positions: Positions,
    /// Number of lake cuts so far.
    pub lake_cuts: u64,
}

/// Positions in the outbox by the names of its consumers: the sequence number of the last output,
/// or dead letter, that a consumer has delivered; 0 before the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursors(BTreeMap<String, u64>);

impl Cursors {
    /// The position of a consumer.
    pub fn get(&self, consumer: &str) -> u64 {
        self.0.get(consumer).copied().unwrap_or(0)
    }

    /// Sets the position of a consumer.
    pub fn set(&mut self, consumer: &str, position: u64) {
        // A consumer that has delivered nothing is like one that never was.
        if position == 0 {
            self.0.remove(consumer);
        } else {
            self.0.insert(consumer.to_owned(), position);
        }
    }

    /// All consumers that have delivered something, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0
            .iter()
            .map(|(name, position)| (name.as_str(), *position))
    }
}

impl FromIterator<(String, u64)> for Cursors {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(positions: I) -> Self {
        let delivered = |(_, position): &(String, u64)| *position > 0;
        Self(positions.into_iter().filter(delivered).collect())
    }
}

/// A stored code that this build does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the checkpoint store holds {what} with code {code}, which this build does not know: run the newer build that wrote it, or restore a backup if there is none"
)]
pub struct UnknownCode {
    /// What has the code.
    pub what: &'static str,
    /// The code.
    pub code: i64,
}

impl From<UnknownCode> for Error {
    fn from(unknown: UnknownCode) -> Self {
        Self::Refused(unknown.to_string())
    }
}

/// A cut of the lake: every open file of a partition closed at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct LakeCut {
    /// Number of this cut, from 1: the one after the stored one.
    pub cut_number: u64,
    /// Everything below is in registered files.
    pub positions: Positions,
    /// The lake writer's own duplicate-check state.
    pub state: Vec<u8>,
    /// Files to register.
    pub files: Vec<LakeFile>,
}

/// Outputs that were written to lake files.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// The consumer whose position moves with the files.
    pub consumer: String,
    /// Outputs up to here were exported before: the consumer's position in the store.
    pub after: u64,
    /// The last output in the files.
    pub up_to: u64,
    /// Files to register.
    pub files: Vec<LakeFile>,
}

/// Which outputs to read back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputFilter {
    /// Only this kind.
    pub kind: Option<OutputKind>,
    /// Only this robot.
    pub robot_id: Option<String>,
    /// Only those with this id: of alerts, the transitions of one condition.
    pub id: Option<String>,
    /// Only this subject (window name, condition, procedure).
    pub subject: Option<String>,
    /// Event time at or after, microseconds UTC.
    pub from: Option<i64>,
    /// Event time before.
    pub until: Option<i64>,
    /// At most this many, the newest by commit; 0 = all.
    pub limit: usize,
}

/// A search for outputs that need not be kept any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Only outputs committed before this expire.
    pub before: LogTime,
    /// Only outputs above this sequence number are looked at.
    pub after: u64,
    /// Only outputs up to this sequence number are looked at.
    pub up_to: u64,
    /// Most outputs that are looked at.
    pub limit: usize,
}

/// The store in which everything is decided. Every write is one transaction, fenced by the
/// partition's epoch.
pub trait CheckpointStore: DeadLetterStore + LakeRegister + PageStore + Send + Sync {
    /// Records the input topics and the partition count at first start, and refuses a different
    /// count or topics in another order later (new topics may be added at the end).
    fn ensure_layout(&self, topics: &[String], partitions: u32) -> Result<()>;

    /// The recorded layout; `None` before the first start.
    fn layout(&self) -> Result<Option<(Vec<String>, u32)>>;

    /// Partition counts before the present one, oldest first.
    fn past_layouts(&self) -> Result<Vec<PastLayout>>;

    /// Changes the partition count: records the layout that ended, raises the epoch of every
    /// partition, old and new, and moves processors with their save numbers and homes. A claim of a
    /// home without a processor is forgotten: that robot settles where its next record is. Outputs,
    /// dead letters and files stay where they are. One whose new count is the store's is there
    /// already. `StaleEpoch` if a partition was taken since.
    fn repartition(&self, change: &Repartition) -> Result<()>;

    /// Takes a partition: raises its epoch and returns it.
    fn acquire(&self, partition: Partition) -> Result<Epoch>;

    /// Claims this partition as the home of robots that have none yet; returns every robot's home,
    /// in the order of `robots`. But for a repartition a home never changes: a robot's records
    /// elsewhere come from a producer with another partitioner.
    fn claim_homes(
        &self,
        partition: Partition,
        epoch: Epoch,
        robots: &[&str],
    ) -> Result<Vec<Partition>>;

    /// Where a partition stands.
    fn status(&self, partition: Partition) -> Result<PartitionStatus>;

    /// All stored processors of a partition.
    fn processors(&self, partition: Partition) -> Result<Vec<StoredProcessor>>;

    /// Number of the last save of each processor of a partition: a processor whose number is known
    /// has not changed.
    fn save_numbers(&self, partition: Partition) -> Result<Vec<(String, u64)>>;

    /// The processors of these names that are stored in a partition.
    fn processors_named(
        &self,
        partition: Partition,
        names: &[&str],
    ) -> Result<Vec<StoredProcessor>> {
        let one = |name: &&str| self.processor(partition, name).transpose();
        names.iter().filter_map(one).collect()
    }

    /// One stored processor.
    fn processor(&self, partition: Partition, processor: &str) -> Result<Option<StoredProcessor>>;

    /// Commits several partitions in one transaction; those with a stale epoch are left out and
    /// said so. `committed_at` is noted beside outputs. Outcomes are in the order of `commits`.
    fn commit(
        &self,
        commits: &[PartitionCommit],
        committed_at: LogTime,
    ) -> Result<Vec<CommitOutcome>>;

    /// Outputs of a partition with a sequence above `after`, in order, at most `limit`.
    fn outputs_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>>;

    /// Outputs of one kind after a number, in order.
    fn outputs_of_kind_after(
        &self,
        partition: Partition,
        kind: OutputKind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>>;

    /// Outputs after a number, in order, without those of some kinds.
    fn outputs_beside(
        &self,
        partition: Partition,
        left_out: &[OutputKind],
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        let (mut found, mut after) = (Vec::new(), after);
        loop {
            let outputs = self.outputs_after(partition, after, limit)?;
            let is_last = outputs.len() < limit;
            after = outputs.last().map_or(after, |last| last.sequence);
            let others = outputs.into_iter();
            found.extend(others.filter(|stored| !left_out.contains(&stored.output.kind)));
            if is_last || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }

    /// Dead letters of a partition with a sequence above `after`, in order, at most `limit`.
    fn dead_after(&self, partition: Partition, after: u64, limit: usize)
    -> Result<Vec<StoredDead>>;

    /// Notes how far a consumer of the outbox is; never moves back.
    fn advance_cursor(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        position: u64,
    ) -> Result<()>;

    /// Notes what a consumer could not deliver and moves its position over it, in one transaction;
    /// the position never moves back. An output that is noted already keeps what was said first.
    fn set_aside(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        undelivered: &Undelivered,
    ) -> Result<()>;

    /// What consumers could not deliver and the store still has, in order of consumer, partition
    /// and number; `consumer`: of this one only. At most `limit` (0 = all).
    fn undelivered(&self, consumer: Option<&str>, limit: usize) -> Result<Vec<StoredUndelivered>>;

    /// Takes an undelivered output off the list, once it was delivered after all or is not needed.
    /// It needs no epoch: the consumer is beyond it. False if it was not there.
    fn settle_undelivered(
        &self,
        partition: Partition,
        consumer: &str,
        sequence: u64,
    ) -> Result<bool>;

    /// Deletes expired outputs of the kinds that expire; the others stay. Returns the sequence
    /// number of the last output that was looked at and is old enough, or `after` if there is none:
    /// a search that goes on from there meets all that is left.
    fn expire_outputs(&self, partition: Partition, epoch: Epoch, expiry: Expiry) -> Result<u64>;

    /// The lake writer's saved duplicate-check state; empty before the first cut.
    fn lake_state(&self, partition: Partition) -> Result<Vec<u8>>;

    /// Registers a cut of the lake. It is [`Error::overtaken`] unless it is the one after the
    /// stored cut: the lake writer looks at the stored one without a lock, and a commit of
    /// unknown fate may come in after that, with other files.
    fn commit_cut(&self, partition: Partition, epoch: Epoch, cut: &LakeCut) -> Result<()>;

    /// Registers files that hold outputs and moves the consumer's position to their end, in one
    /// transaction. It is [`Error::overtaken`] unless the export begins at the stored position, for
    /// the same reason.
    fn commit_export(&self, partition: Partition, epoch: Epoch, export: &Export) -> Result<()>;

    /// Writes rows into the tables that people read and moves the consumer's position to their
    /// end, in one transaction. A row takes the place of one with the same key and a lower
    /// revision, or that of none. It is [`Error::overtaken`] unless the batch begins at the stored
    /// position, as for [`Self::commit_export`]. A store without such tables refuses it.
    fn commit_rows(&self, partition: Partition, epoch: Epoch, _: &TableBatch) -> Result<()> {
        Err(Error::Refused(format!(
            "this store has no tables for people to read: partition {partition} under epoch {epoch} needs none"
        )))
    }

    /// Rows of the table of a kind.
    fn row_count(&self, _kind: OutputKind) -> Result<u64> {
        Ok(0)
    }

    /// Deletes rows, at most `limit` of each table, of the kinds that expire, that were committed
    /// before a moment; returns how many there were. It needs no epoch: what is old enough is so
    /// for every owner.
    fn expire_rows(&self, _before: LogTime, _limit: usize) -> Result<u64> {
        Ok(0)
    }

    /// Rows of the table of a kind that are meant, as that table holds robots and times.
    fn meant_rows(&self, _kind: OutputKind, _rows: &RowSelection) -> Result<u64> {
        Ok(0)
    }

    /// Deletes some rows of the table of a kind that are meant; returns how many there were, none
    /// once there are no more. It needs no epoch: the consumer that writes the tables does not come
    /// back to outputs that it has written.
    fn erase_rows(&self, _kind: OutputKind, _rows: &RowSelection) -> Result<u64> {
        Ok(0)
    }

    /// Files of a partition in a stage, in order, at most `limit`.
    fn files(
        &self,
        partition: Partition,
        stage: FileStage,
        limit: usize,
    ) -> Result<Vec<RegisteredFile>>;

    /// Moves files from `Registered` to `Completed`; those further on stay there.
    fn mark_completed(&self, partition: Partition, epoch: Epoch, numbers: &[u64]) -> Result<()>;

    /// Sets a file aside that cannot be completed: from `Registered` to `Lost`, with a note; one
    /// that is further on stays there.
    fn mark_lost(&self, partition: Partition, epoch: Epoch, number: u64, note: &str) -> Result<()>;

    /// Plans completed, unplanned files of one dataset, at most `max_files`, into a batch, or
    /// returns the batch planned earlier and not yet settled. `None` when there is nothing to load.
    fn plan_load(
        &self,
        partition: Partition,
        epoch: Epoch,
        max_files: usize,
    ) -> Result<Option<LoadBatch>> {
        self.plan_load_beside(partition, epoch, max_files, &DeferredBatches::default())
    }

    /// The plan of the next load as in [`Self::plan_load`], beside batches that are passed over.
    fn plan_load_beside(
        &self,
        partition: Partition,
        epoch: Epoch,
        max_files: usize,
        passed_over: &DeferredBatches,
    ) -> Result<Option<LoadBatch>>;

    /// Settles a batch: its files are in the warehouse.
    fn mark_loaded(&self, partition: Partition, epoch: Epoch, batch: &str) -> Result<()>;

    /// Takes a refused batch apart: files in `bad` are quarantined with a note, the others become
    /// unplanned again. With `bad` empty the batch is split into halves that are planned at once,
    /// so that the bad file is found by bisection.
    fn split_load(
        &self,
        partition: Partition,
        epoch: Epoch,
        batch: &str,
        bad: &[(u64, String)],
    ) -> Result<()>;

    /// Puts all files back that were set aside, for an operator who has put right what was wrong:
    /// quarantined ones to be loaded, lost ones to be completed. Returns how many. It needs no
    /// epoch: it touches only what no owner has planned.
    fn requeue_quarantined(&self) -> Result<u64>;

    /// Outputs by filter, in order of event time and revision.
    fn find_outputs(&self, filter: &OutputFilter) -> Result<Vec<StoredOutput>>;

    /// Dead letters, newest first, at most `limit` (0 = all).
    fn find_dead(&self, limit: usize) -> Result<Vec<StoredDead>>;

    /// Registered files by filter, in order of partition and number. What it costs goes by how many
    /// files there are in the range and beside it, not by how many are registered.
    fn find_files(&self, filter: &FileFilter) -> Result<Vec<RegisteredFile>>;

    /// All registered files.
    fn all_files(&self) -> Result<Vec<RegisteredFile>>;
}
