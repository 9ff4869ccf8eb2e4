//! The checkpoint store as one SQLite file.
//!
//! Every write is one transaction that checks the partition's epoch first. Outputs, dead letters
//! and files are numbered densely per partition inside that transaction.

use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    CheckpointStore, CommitOutcome, DeferredBatches, Epoch, Error, Expiry, Export, FileFilter,
    FileStage, LakeCut, LoadBatch, OutputFilter, PartitionCommit, PartitionStatus, PastLayout,
    RegisteredFile, Repartition, Result, StoredDead, StoredOutput, StoredProcessor,
    StoredUndelivered, Undelivered, UnknownCode,
};
use theatre_actors::position::Partition;
use theatre_actors::state::Stored;
use theatre_actors::time::LogTime;

use super::{lock, open, open_read_only};

mod commit;
mod cursors;
mod dead_letters;
mod files;
mod migrations;
mod outputs;
mod pages;
mod partitions;
mod processors;
mod repartition;
mod undelivered;

const WHAT: &str = "checkpoint store";

/// The embedded checkpoint store.
pub struct EmbeddedStore {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

impl EmbeddedStore {
    /// Opens or creates the store at `path`. A store of an earlier build is migrated in place.
    ///
    /// # Errors
    /// When the file cannot be opened, or comes from a later build.
    pub fn open(path: &Path) -> Result<Self> {
        let mut writer = open(path, WHAT, "")?;
        migrations::apply(&mut writer, path)?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: Mutex::new(open_read_only(path, WHAT)?),
        })
    }

    /// Brings a store to the version of this build, as [`Self::open`] does; says which migrations
    /// were missing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn migrate(path: &Path) -> Result<Vec<String>> {
        migrations::apply(&mut open(path, WHAT, "")?, path)
    }

    /// Opens a store that another process may be writing; writes are refused.
    ///
    /// # Errors
    /// When there is none, or when it is of another version: it is not migrated here, since a
    /// process of the earlier build may be writing it.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let reader = open_read_only(path, WHAT)?;
        migrations::check(&reader, path)?;
        Ok(Self {
            writer: Mutex::new(open_read_only(path, WHAT)?),
            reader: Mutex::new(reader),
        })
    }

    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = lock(&self.writer);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault(WHAT))?;
        let done = work(&transaction)?;
        transaction.commit().map_err(fault(WHAT))?;
        Ok(done)
    }

    /// One fenced transaction.
    fn fenced<T>(
        &self,
        partition: Partition,
        epoch: Epoch,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.write(|transaction| {
            let current = partitions::current_epoch(transaction, partition)?;
            if current != epoch {
                return Err(Error::StaleEpoch {
                    partition,
                    ours: epoch,
                    current,
                });
            }
            work(transaction)
        })
    }

    fn query<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let connection = lock(&self.reader);
        let mut statement = connection.prepare_cached(sql).map_err(fault(WHAT))?;
        let rows = statement
            .query_map(values, read)
            .and_then(Iterator::collect);
        rows.map_err(fault(WHAT))
    }
}

/// Encoded columns of this store that cannot be read are damage, not a passing fault.
fn decode<T: Stored>(bytes: &[u8]) -> rusqlite::Result<T> {
    theatre_actors::state::decode(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })
}

/// A column with a code that this build does not know.
fn unknown(error: UnknownCode) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Integer, Box::new(error))
}

/// What a failed statement is to the caller of the port: refused where a code is not known, since
/// no repetition changes that, else a passing fault.
fn fault(what: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| {
        if let rusqlite::Error::FromSqlConversionFailure(_, _, why) = &error
            && let Some(unknown) = why.downcast_ref::<UnknownCode>()
        {
            return (*unknown).into();
        }
        super::fault(what)(error)
    }
}

/// A limit of which 0 means none, as SQLite has it.
fn at_most(limit: usize) -> i64 {
    if limit == 0 { -1 } else { limit as i64 }
}

fn encode<T: Stored>(value: &T) -> Vec<u8> {
    theatre_actors::state::encode(value)
}

impl CheckpointStore for EmbeddedStore {
    fn ensure_layout(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.write(|transaction| partitions::ensure_layout(transaction, topics, partitions))
    }

    fn layout(&self) -> Result<Option<(Vec<String>, u32)>> {
        partitions::layout(&lock(&self.reader))
    }

    fn past_layouts(&self) -> Result<Vec<PastLayout>> {
        repartition::past_layouts(&lock(&self.reader))
    }

    fn repartition(&self, change: &Repartition) -> Result<()> {
        self.write(|transaction| repartition::repartition(transaction, change))
    }

    fn acquire(&self, partition: Partition) -> Result<Epoch> {
        self.write(|transaction| partitions::raise_epoch(transaction, partition))
    }

    fn claim_homes(
        &self,
        partition: Partition,
        epoch: Epoch,
        robots: &[&str],
    ) -> Result<Vec<Partition>> {
        self.fenced(partition, epoch, |transaction| {
            partitions::claim_homes(transaction, partition, robots)
        })
    }

    fn status(&self, partition: Partition) -> Result<PartitionStatus> {
        let found = self.query(partitions::STATUS, [partition], partitions::read_status)?;
        let (statuses, cursors): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Ok(PartitionStatus {
            cursors: cursors.into_iter().flatten().collect(),
            ..statuses.into_iter().next().unwrap_or_default()
        })
    }

    fn processors(&self, partition: Partition) -> Result<Vec<StoredProcessor>> {
        self.query(processors::ALL, [partition], processors::read)
    }

    fn save_numbers(&self, partition: Partition) -> Result<Vec<(String, u64)>> {
        self.query(processors::NUMBERS, [partition], processors::number)
    }

    fn processor(&self, partition: Partition, processor: &str) -> Result<Option<StoredProcessor>> {
        let found = self.query(
            processors::ONE,
            params![partition, processor],
            processors::read,
        );
        Ok(found?.pop())
    }

    fn commit(
        &self,
        commits: &[PartitionCommit],
        committed_at: LogTime,
    ) -> Result<Vec<CommitOutcome>> {
        self.write(|transaction| {
            commits
                .iter()
                .map(|commit| commit::commit_partition(transaction, commit, committed_at))
                .collect()
        })
    }

    fn outputs_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        self.query(
            &outputs::after(),
            params![partition, after as i64, limit as i64],
            outputs::read,
        )
    }

    fn outputs_of_kind_after(
        &self,
        partition: Partition,
        kind: OutputKind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        let sql = outputs::of_kind_after(kind);
        self.query(
            &sql,
            params![partition, after as i64, kind.code(), limit as i64],
            outputs::read,
        )
    }

    fn dead_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredDead>> {
        self.query(
            outputs::DEAD_AFTER,
            params![partition, after as i64, limit as i64],
            outputs::read_dead,
        )
    }

    fn advance_cursor(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        position: u64,
    ) -> Result<()> {
        self.fenced(partition, epoch, |transaction| {
            cursors::advance(transaction, partition, consumer, position)
        })
    }

    fn set_aside(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        undelivered: &Undelivered,
    ) -> Result<()> {
        self.fenced(partition, epoch, |transaction| {
            undelivered::note(transaction, partition, consumer, undelivered)?;
            cursors::advance(transaction, partition, consumer, undelivered.sequence)
        })
    }

    fn undelivered(&self, consumer: Option<&str>, limit: usize) -> Result<Vec<StoredUndelivered>> {
        self.query(
            undelivered::LIST,
            params![consumer, at_most(limit)],
            undelivered::read,
        )
    }

    fn settle_undelivered(
        &self,
        partition: Partition,
        consumer: &str,
        sequence: u64,
    ) -> Result<bool> {
        self.write(|transaction| undelivered::settle(transaction, partition, consumer, sequence))
    }

    fn expire_outputs(&self, partition: Partition, epoch: Epoch, expiry: Expiry) -> Result<u64> {
        self.fenced(partition, epoch, |transaction| {
            outputs::expire(transaction, partition, expiry)
        })
    }

    fn lake_state(&self, partition: Partition) -> Result<Vec<u8>> {
        let found = self.query(
            "SELECT lake_state FROM partition WHERE partition = ?1",
            [partition],
            |row| row.get(0),
        )?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    fn commit_cut(&self, partition: Partition, epoch: Epoch, cut: &LakeCut) -> Result<()> {
        self.fenced(partition, epoch, |transaction| {
            partitions::cut(transaction, partition, cut)?;
            files::register(transaction, partition, &cut.files)
        })
    }

    fn commit_export(&self, partition: Partition, epoch: Epoch, export: &Export) -> Result<()> {
        self.fenced(partition, epoch, |transaction| {
            if !cursors::compare_and_set(transaction, partition, export)? {
                return Err(Error::overtaken(partition, "an export of outputs"));
            }
            files::register(transaction, partition, &export.files)
        })
    }

    fn files(
        &self,
        partition: Partition,
        stage: FileStage,
        limit: usize,
    ) -> Result<Vec<RegisteredFile>> {
        let sql = format!(
            "SELECT {} FROM lake_file WHERE partition = ?1 AND stage = ?2 ORDER BY number LIMIT ?3",
            files::COLUMNS
        );
        self.query(
            &sql,
            params![partition, stage.code(), limit as i64],
            files::read,
        )
    }

    fn mark_completed(&self, partition: Partition, epoch: Epoch, numbers: &[u64]) -> Result<()> {
        self.fenced(partition, epoch, |transaction| {
            files::complete(transaction, partition, numbers)
        })
    }

    fn mark_lost(&self, partition: Partition, epoch: Epoch, number: u64, note: &str) -> Result<()> {
        self.fenced(partition, epoch, |transaction| {
            files::lose(transaction, partition, number, note)
        })
    }

    fn plan_load_beside(
        &self,
        partition: Partition,
        epoch: Epoch,
        max_files: usize,
        passed_over: &DeferredBatches,
    ) -> Result<Option<LoadBatch>> {
        self.fenced(partition, epoch, |transaction| {
            files::plan(transaction, partition, max_files, passed_over)
        })
    }

    fn mark_loaded(&self, partition: Partition, epoch: Epoch, batch: &str) -> Result<()> {
        self.fenced(partition, epoch, |transaction| {
            files::note_loaded(transaction, partition, batch)
        })
    }

    fn split_load(
        &self,
        partition: Partition,
        epoch: Epoch,
        batch: &str,
        bad: &[(u64, String)],
    ) -> Result<()> {
        self.fenced(partition, epoch, |transaction| {
            files::split(transaction, partition, batch, bad)
        })
    }

    fn requeue_quarantined(&self) -> Result<u64> {
        self.write(files::requeue)
    }

    fn find_outputs(&self, filter: &OutputFilter) -> Result<Vec<StoredOutput>> {
        let kind = filter.kind.map(OutputKind::code);
        self.query(
            &outputs::found(),
            params![
                kind,
                filter.robot_id,
                filter.subject,
                filter.from,
                filter.until,
                at_most(filter.limit),
                filter.id
            ],
            outputs::read,
        )
    }

    fn find_dead(&self, limit: usize) -> Result<Vec<StoredDead>> {
        self.query(outputs::LAST_DEAD, [at_most(limit)], outputs::read_dead)
    }

    fn find_files(&self, filter: &FileFilter) -> Result<Vec<RegisteredFile>> {
        let (sql, values) = files::within(filter);
        let mut found = self.query(&sql, values, files::read)?;
        found.retain(|file| filter.takes(file));
        Ok(found)
    }

    fn all_files(&self) -> Result<Vec<RegisteredFile>> {
        let sql = format!(
            "SELECT {} FROM lake_file ORDER BY partition, number",
            files::COLUMNS
        );
        self.query(&sql, [], files::read)
    }
}
