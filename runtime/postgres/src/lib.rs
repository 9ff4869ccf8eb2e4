//! The checkpoint store on PostgreSQL.
//!
//! Every write is one transaction that locks the partition's row and checks its epoch first;
//! outputs, dead letters and files are numbered densely per partition inside it. The tables are
//! made by `theatre migrate`; a start only compares their version, because the user that runs the
//! service need not own them.

mod access;
mod commit;
mod connect;
mod cursors;
mod dead_letters;
mod failure;
mod files;
mod iam;
mod inspect;
mod migrations;
mod outputs;
mod pages;
mod partitions;
mod repartition;
mod session;
mod tables;
mod text;
mod undelivered;

use std::sync::Arc;

use sqlx::PgConnection;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    AccessStore, CheckpointStore, CommitOutcome, DeferredBatches, Epoch, Error, Expiry, Export,
    FileFilter, FileStage, LakeCut, LoadBatch, OutputFilter, PartitionCommit, PartitionStatus,
    PastLayout, RegisteredFile, Repartition, Result, RowSelection, StoredDead, StoredOutput,
    StoredProcessor, StoredUndelivered, TableBatch, Undelivered,
};
use theatre_actors::position::Partition;
use theatre_actors::state::Stored;
use theatre_actors::time::LogTime;

use self::failure::{Attempt, Failure};
pub use self::inspect::{Inspection, inspect};
use self::session::{Session, Writer};
use self::tables::Tables;
use theatre_config::store::StoreConfig;
use theatre_system::blocking::IoRuntime;

/// Opens the store at `url`.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used, what does not answer, or that the
/// tables are of another version and what to do.
pub fn open(url: &str, config: &StoreConfig, io: &IoRuntime) -> Result<Arc<dyn CheckpointStore>> {
    let session = Session::new(url, config, io)?;
    let store = PostgresStore {
        session,
        commits: Writer::default(),
        others: Writer::default(),
        rows: Writer::default(),
        tables: Tables::of(&config.schema),
    };
    // On the connection for commits: the pool waits for a server that is away, and would not say
    // why.
    store.session.write(&store.commits, async |connection| {
        migrations::check_all(connection, config).await
    })?;
    Ok(Arc::new(store))
}

/// Opens what the HTTP interface keeps beside the store at `url`.
///
/// # Errors
/// As [`open`].
pub fn open_access(
    url: &str,
    config: &StoreConfig,
    io: &IoRuntime,
) -> Result<Arc<dyn AccessStore>> {
    let access = access::PostgresAccess {
        session: Session::new(url, config, io)?,
        writer: Writer::default(),
    };
    access.session.write(&access.writer, async |connection| {
        migrations::check(connection, &config.schema).await
    })?;
    Ok(Arc::new(access))
}

/// Whether a store could be opened, without a connection.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used.
pub fn check(url: &str, config: &StoreConfig, io: &IoRuntime) -> Result<()> {
    io.block_on(connect::Server::of(url, config)).map(drop)
}

/// Makes the tables, or brings them to the version of this build; says which migrations were
/// missing.
///
/// # Errors
/// As [`open`].
pub fn migrate(url: &str, config: &StoreConfig, io: &IoRuntime) -> Result<Vec<String>> {
    io.block_on(async {
        let server = connect::Server::of(url, config).await?;
        migrations::apply(&server, &config.schema).await
    })
}

/// What an administrator has to run before people can read the tables that were made for them;
/// `None` if there is nothing.
///
/// # Errors
/// As [`open`].
pub fn reader_hint(url: &str, config: &StoreConfig, io: &IoRuntime) -> Result<Option<String>> {
    io.block_on(async {
        let server = connect::Server::of(url, config).await?;
        let mut connection = server.connect().await?;
        let hint = tables::migrate::reader_hint(&mut connection, &config.schema).await;
        hint.map_err(|failure| server.error(failure))
    })
}

struct PostgresStore {
    session: Session,
    commits: Writer,
    /// Acquisitions, notes, cuts, loads: they may be larger than a commit, and none is as urgent.
    others: Writer,
    /// Rows of the tables that people read: nothing waits for them.
    rows: Writer,
    tables: Tables,
}

impl PostgresStore {
    fn write<T>(&self, work: impl AsyncFn(&mut PgConnection) -> Attempt<T>) -> Result<T> {
        self.session.write(&self.others, work)
    }

    /// One fenced transaction.
    fn fenced<T>(
        &self,
        partition: Partition,
        epoch: Epoch,
        work: impl AsyncFn(&mut PgConnection) -> Attempt<T>,
    ) -> Result<T> {
        self.write(async |connection| {
            let current = partitions::lock(connection, partition).await?;
            if current != epoch {
                return Err(Error::StaleEpoch {
                    partition,
                    ours: epoch,
                    current,
                }
                .into());
            }
            work(connection).await
        })
    }
}

fn decode<T: Stored>(bytes: &[u8]) -> Attempt<T> {
    theatre_actors::state::decode(bytes).map_err(|error| Failure::damaged(&error))
}

fn encode<T: Stored>(value: &T) -> Vec<u8> {
    theatre_actors::state::encode(value)
}

/// A limit as the server counts; 0 never reaches it where it means "all".
fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl CheckpointStore for PostgresStore {
    fn ensure_layout(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.write(async |connection| {
            partitions::ensure_layout(connection, topics, partitions).await
        })
    }

    fn layout(&self) -> Result<Option<(Vec<String>, u32)>> {
        self.session.read(partitions::layout)
    }

    fn past_layouts(&self) -> Result<Vec<PastLayout>> {
        self.session.read(repartition::past_layouts)
    }

    fn repartition(&self, change: &Repartition) -> Result<()> {
        self.write(async |connection| repartition::repartition(connection, change).await)
    }

    fn acquire(&self, partition: Partition) -> Result<Epoch> {
        self.write(async |connection| partitions::acquire(connection, partition).await)
    }

    fn claim_homes(
        &self,
        partition: Partition,
        epoch: Epoch,
        robots: &[&str],
    ) -> Result<Vec<Partition>> {
        self.fenced(partition, epoch, async |connection| {
            partitions::claim_homes(connection, partition, robots).await
        })
    }

    fn status(&self, partition: Partition) -> Result<PartitionStatus> {
        self.session
            .read(async |connection| partitions::status(connection, partition).await)
    }

    fn processors(&self, partition: Partition) -> Result<Vec<StoredProcessor>> {
        self.session
            .read(async |connection| outputs::processors(connection, partition).await)
    }

    fn save_numbers(&self, partition: Partition) -> Result<Vec<(String, u64)>> {
        self.session
            .read(async |connection| outputs::save_numbers(connection, partition).await)
    }

    fn processors_named(
        &self,
        partition: Partition,
        names: &[&str],
    ) -> Result<Vec<StoredProcessor>> {
        self.session
            .read(async |connection| outputs::processors_named(connection, partition, names).await)
    }

    fn processor(&self, partition: Partition, processor: &str) -> Result<Option<StoredProcessor>> {
        self.session
            .read(async |connection| outputs::processor(connection, partition, processor).await)
    }

    fn commit(
        &self,
        commits: &[PartitionCommit],
        committed_at: LogTime,
    ) -> Result<Vec<CommitOutcome>> {
        self.session.write(&self.commits, async |connection| {
            commit::commit(connection, commits, committed_at).await
        })
    }

    fn outputs_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        self.session.read(async |connection| {
            outputs::outputs_after(connection, partition, after, limit).await
        })
    }

    fn outputs_of_kind_after(
        &self,
        partition: Partition,
        kind: OutputKind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        self.session.read(async |connection| {
            outputs::outputs_of_kind_after(connection, partition, kind, after, limit).await
        })
    }

    fn outputs_beside(
        &self,
        partition: Partition,
        left_out: &[OutputKind],
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        self.session.read(async |connection| {
            outputs::outputs_beside(connection, partition, left_out, after, limit).await
        })
    }

    fn dead_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredDead>> {
        self.session
            .read(async |connection| outputs::dead_after(connection, partition, after, limit).await)
    }

    fn advance_cursor(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        position: u64,
    ) -> Result<()> {
        self.fenced(partition, epoch, async |connection| {
            cursors::advance(connection, partition, consumer, position).await
        })
    }

    fn set_aside(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        undelivered: &Undelivered,
    ) -> Result<()> {
        self.fenced(partition, epoch, async |connection| {
            undelivered::note(connection, partition, consumer, undelivered).await?;
            cursors::advance(connection, partition, consumer, undelivered.sequence).await
        })
    }

    fn undelivered(&self, consumer: Option<&str>, limit: usize) -> Result<Vec<StoredUndelivered>> {
        self.session
            .read(async |connection| undelivered::list(connection, consumer, limit).await)
    }

    fn settle_undelivered(
        &self,
        partition: Partition,
        consumer: &str,
        sequence: u64,
    ) -> Result<bool> {
        self.write(async |connection| {
            undelivered::settle(connection, partition, consumer, sequence).await
        })
    }

    fn expire_outputs(&self, partition: Partition, epoch: Epoch, expiry: Expiry) -> Result<u64> {
        self.fenced(partition, epoch, async |connection| {
            outputs::expire_outputs(connection, partition, expiry).await
        })
    }

    fn lake_state(&self, partition: Partition) -> Result<Vec<u8>> {
        self.session
            .read(async |connection| partitions::lake_state(connection, partition).await)
    }

    fn commit_cut(&self, partition: Partition, epoch: Epoch, cut: &LakeCut) -> Result<()> {
        self.fenced(partition, epoch, async |connection| {
            partitions::note_cut(connection, partition, cut).await?;
            files::register(connection, partition, &cut.files).await
        })
    }

    fn commit_export(&self, partition: Partition, epoch: Epoch, export: &Export) -> Result<()> {
        self.fenced(partition, epoch, async |connection| {
            let (from, to) = (export.after, export.up_to);
            let what = "an export of outputs";
            cursors::compare_and_set(connection, partition, &export.consumer, (from, to), what)
                .await?;
            files::register(connection, partition, &export.files).await
        })
    }

    fn commit_rows(&self, partition: Partition, epoch: Epoch, batch: &TableBatch) -> Result<()> {
        self.session.write(&self.rows, async |connection| {
            self.tables
                .commit(connection, (partition, epoch), batch)
                .await
        })
    }

    fn row_count(&self, kind: OutputKind) -> Result<u64> {
        self.session
            .read(async |connection| self.tables.count(connection, kind).await)
    }

    fn expire_rows(&self, before: LogTime, limit: usize) -> Result<u64> {
        self.session.write(&self.rows, async |connection| {
            self.tables.expire(connection, before, limit).await
        })
    }

    fn meant_rows(&self, kind: OutputKind, rows: &RowSelection) -> Result<u64> {
        self.session
            .read(async |connection| self.tables.meant(connection, kind, rows).await)
    }

    fn erase_rows(&self, kind: OutputKind, rows: &RowSelection) -> Result<u64> {
        self.session.write(&self.rows, async |connection| {
            self.tables.erase(connection, kind, rows).await
        })
    }

    fn files(
        &self,
        partition: Partition,
        stage: FileStage,
        limit: usize,
    ) -> Result<Vec<RegisteredFile>> {
        self.session
            .read(async |connection| files::in_stage(connection, partition, stage, limit).await)
    }

    fn mark_completed(&self, partition: Partition, epoch: Epoch, numbers: &[u64]) -> Result<()> {
        self.fenced(partition, epoch, async |connection| {
            files::mark_completed(connection, partition, numbers).await
        })
    }

    fn mark_lost(&self, partition: Partition, epoch: Epoch, number: u64, note: &str) -> Result<()> {
        self.fenced(partition, epoch, async |connection| {
            files::mark_lost(connection, partition, number, note).await
        })
    }

    fn plan_load_beside(
        &self,
        partition: Partition,
        epoch: Epoch,
        max_files: usize,
        passed_over: &DeferredBatches,
    ) -> Result<Option<LoadBatch>> {
        self.fenced(partition, epoch, async |connection| {
            files::plan(connection, partition, max_files, passed_over).await
        })
    }

    fn mark_loaded(&self, partition: Partition, epoch: Epoch, batch: &str) -> Result<()> {
        self.fenced(partition, epoch, async |connection| {
            files::mark_loaded(connection, partition, batch).await
        })
    }

    fn split_load(
        &self,
        partition: Partition,
        epoch: Epoch,
        batch: &str,
        bad: &[(u64, String)],
    ) -> Result<()> {
        self.fenced(partition, epoch, async |connection| {
            files::split(connection, partition, batch, bad).await
        })
    }

    fn requeue_quarantined(&self) -> Result<u64> {
        self.write(files::requeue)
    }

    fn find_outputs(&self, filter: &OutputFilter) -> Result<Vec<StoredOutput>> {
        self.session
            .read(async |connection| outputs::find(connection, filter).await)
    }

    fn find_dead(&self, limit: usize) -> Result<Vec<StoredDead>> {
        self.session
            .read(async |connection| outputs::find_dead(connection, limit).await)
    }

    fn find_files(&self, filter: &FileFilter) -> Result<Vec<RegisteredFile>> {
        self.session
            .read(async |connection| files::within(connection, filter).await)
    }

    fn all_files(&self) -> Result<Vec<RegisteredFile>> {
        self.session.read(files::all)
    }
}
