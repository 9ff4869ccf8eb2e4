//! The checkpoint store as one SQLite file.
//!
//! Every write is one transaction that checks the partition's epoch first. Outputs, dead letters
//! and files are numbered densely per partition inside that transaction.

use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    CheckpointStore, CommitOutcome, Cursors, DeferredBatches, Epoch, Error, Expiry, Export,
    FileFilter, FileStage, LakeCut, LoadBatch, OutputFilter, PartitionCommit, PartitionStatus,
    PastLayout, ProcessorSave, RegisteredFile, Repartition, Result, StoredDead, StoredOutput,
    StoredProcessor, StoredUndelivered, Undelivered, UnknownCode,
};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::state::Stored;
use theatre_actors::time::LogTime;

use super::{lock, open, open_read_only};

mod cursors;
mod dead_letters;
mod files;
mod migrations;
mod outputs;
mod pages;
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
            let current = current_epoch(transaction, partition)?;
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

fn current_epoch(connection: &Connection, partition: Partition) -> Result<Epoch> {
    let epoch: Option<i64> = connection
        .prepare_cached("SELECT epoch FROM partition WHERE partition = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([partition], |row| row.get(0))
                .optional()
        })
        .map_err(fault(WHAT))?;
    Ok(epoch.unwrap_or(0) as u64)
}

fn raise_epoch(transaction: &Transaction<'_>, partition: Partition) -> Result<Epoch> {
    let sql =
        "INSERT INTO partition (partition, epoch, floor, lake_positions) VALUES (?1, 1, ?2, ?2)
               ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch";
    let raised =
        transaction.query_row(sql, params![partition, encode(&Positions::zero())], |row| {
            row.get::<_, i64>(0)
        });
    raised.map(|epoch| epoch as u64).map_err(fault(WHAT))
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

fn encode<T: Stored>(value: &T) -> Vec<u8> {
    theatre_actors::state::encode(value)
}

/// Saves a processor unless this or a later save is there; returns the last numbers given out.
fn save_processor(
    transaction: &Transaction<'_>,
    partition: Partition,
    save: &ProcessorSave,
    at: LogTime,
    mut numbers: (i64, i64),
) -> Result<(i64, i64)> {
    let changed = transaction
        .prepare_cached(
            "INSERT INTO family VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
             SET save_number = excluded.save_number, positions = excluded.positions, state = excluded.state, saved_at = excluded.saved_at
             WHERE family.save_number < excluded.save_number",
        )
        .and_then(|mut statement| statement.execute(params![partition, save.processor, save.save_number as i64, encode(&save.positions), save.state, at.0]))
        .map_err(fault(WHAT))?;
    if changed == 0 {
        return Ok(numbers);
    }
    for output in &save.outputs {
        numbers.0 += 1;
        let inserted = transaction
            .prepare_cached("INSERT INTO fact VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
            .and_then(|mut statement| {
                statement.execute(params![
                    partition,
                    numbers.0,
                    at.0,
                    output.kind.code(),
                    output.robot_id,
                    output.id,
                    output.subject,
                    output.revision,
                    output.event_time,
                    output.payload
                ])
            });
        inserted.map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => Error::Refused(format!(
                "output {:?} '{}' revision {} of robot '{}' is there already: two owners, or a conclusion that differs on replay; report this",
                output.kind, output.id, output.revision, output.robot_id
            )),
            _ => fault(WHAT)(error),
        })?;
    }
    for dead in &save.dead {
        numbers.1 += 1;
        transaction
            .prepare_cached("INSERT INTO dead VALUES (?1, ?2, ?3, NULL)")
            .and_then(|mut statement| {
                statement.execute(params![partition, numbers.1, encode(dead)])
            })
            .map_err(fault(WHAT))?;
    }
    Ok(numbers)
}

fn commit_partition(
    transaction: &Transaction<'_>,
    commit: &PartitionCommit,
    at: LogTime,
) -> Result<CommitOutcome> {
    let current = current_epoch(transaction, commit.partition)?;
    if current != commit.epoch {
        return Ok(CommitOutcome::Stale { current });
    }
    let (floor, last_output, last_dead): (Vec<u8>, i64, i64) = transaction
        .query_row(
            "SELECT floor, last_fact, last_dead FROM partition WHERE partition = ?1",
            [commit.partition],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(fault(WHAT))?;
    let floor: Positions = decode(&floor).map_err(fault(WHAT))?;
    let mut numbers = (last_output, last_dead);
    for save in &commit.processors {
        numbers = save_processor(transaction, commit.partition, save, at, numbers)?;
    }
    transaction
        .prepare_cached(
            "UPDATE partition SET floor = ?2, last_fact = ?3, last_dead = ?4 WHERE partition = ?1",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                commit.partition,
                encode(&floor.highest(&commit.floor)),
                numbers.0,
                numbers.1
            ])
        })
        .map_err(fault(WHAT))?;
    Ok(CommitOutcome::Committed {
        last_output: numbers.0 as u64,
        last_dead: numbers.1 as u64,
    })
}

impl CheckpointStore for EmbeddedStore {
    fn ensure_layout(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.write(|transaction| {
            if let Some((known, count)) = layout(transaction)? {
                let fits = topics.starts_with(&known) && count == partitions;
                if !fits {
                    return Err(Error::Refused(format!(
                        "this store has {count} partitions of {}; the configuration says {partitions} of {}: \
                         robots would move between owners. Set partitions and inputs back (new inputs may be added at the end), \
                         or drain everything and run `theatre state repartition`",
                        known.join(", "),
                        topics.join(", ")
                    )));
                }
            }
            transaction
                .execute(
                    "INSERT INTO layout VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE SET topics = excluded.topics",
                    params![encode(&topics.to_vec()), partitions],
                )
                .map_err(fault(WHAT))?;
            Ok(())
        })
    }

    fn layout(&self) -> Result<Option<(Vec<String>, u32)>> {
        layout(&lock(&self.reader))
    }

    fn past_layouts(&self) -> Result<Vec<PastLayout>> {
        repartition::past_layouts(&lock(&self.reader))
    }

    fn repartition(&self, change: &Repartition) -> Result<()> {
        self.write(|transaction| repartition::repartition(transaction, change))
    }

    fn acquire(&self, partition: Partition) -> Result<Epoch> {
        self.write(|transaction| raise_epoch(transaction, partition))
    }

    fn claim_homes(
        &self,
        partition: Partition,
        epoch: Epoch,
        robots: &[&str],
    ) -> Result<Vec<Partition>> {
        self.fenced(partition, epoch, |transaction| {
            let claim = |robot: &&str| {
                // The update changes nothing; it makes the row that is there be returned.
                let sql = "INSERT INTO home VALUES (?1, ?2) ON CONFLICT DO UPDATE SET partition = partition RETURNING partition";
                transaction.prepare_cached(sql).and_then(|mut statement| statement.query_row(params![robot, partition], |row| row.get(0)))
            };
            robots.iter().map(claim).collect::<rusqlite::Result<_>>().map_err(fault(WHAT))
        })
    }

    fn status(&self, partition: Partition) -> Result<PartitionStatus> {
        // One statement, so that the positions are of the same moment as the rest: a row for each
        // consumer, or one without any.
        let found = self.query(
            "SELECT epoch, floor, last_fact, last_dead, lake_positions, lake_cuts, consumer, position
             FROM partition LEFT JOIN cursor USING (partition) WHERE partition = ?1",
            [partition],
            |row| {
                let number = |index: usize| row.get::<_, i64>(index).map(|number| number as u64);
                let status = PartitionStatus {
                    epoch: number(0)?,
                    floor: decode(row.get_ref(1)?.as_blob()?)?,
                    last_output: number(2)?,
                    last_dead: number(3)?,
                    lake_positions: decode(row.get_ref(4)?.as_blob()?)?,
                    lake_cuts: number(5)?,
                    cursors: Cursors::default(),
                };
                Ok((status, cursors::read(row, 6)?))
            },
        )?;
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
                .map(|commit| commit_partition(transaction, commit, committed_at))
                .collect()
        })
    }

    fn outputs_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        let sql = format!(
            "SELECT {} FROM fact WHERE partition = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
            outputs::COLUMNS
        );
        self.query(
            &sql,
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
        let sql = "SELECT partition, sequence, dead, purged_at FROM dead WHERE partition = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";
        self.query(
            sql,
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
        let limit = if limit == 0 { -1 } else { limit as i64 };
        self.query(
            undelivered::LIST,
            params![consumer, limit],
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
            let changed = transaction
                .execute(
                    "UPDATE partition SET lake_cuts = ?2, lake_positions = ?3, lake_state = ?4 WHERE partition = ?1 AND lake_cuts = ?2 - 1",
                    params![partition, cut.cut_number as i64, encode(&cut.positions), cut.state],
                )
                .map_err(fault(WHAT))?;
            if changed == 0 { Err(Error::overtaken(partition, "a cut of the lake")) } else { files::register(transaction, partition, &cut.files) }
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
            for number in numbers {
                transaction
                    .prepare_cached("UPDATE lake_file SET stage = 2 WHERE partition = ?1 AND number = ?2 AND stage = 1")
                    .and_then(|mut statement| statement.execute(params![partition, *number as i64]))
                    .map_err(fault(WHAT))?;
            }
            Ok(())
        })
    }

    fn mark_lost(&self, partition: Partition, epoch: Epoch, number: u64, note: &str) -> Result<()> {
        self.fenced(partition, epoch, |transaction| {
            let sql = "UPDATE lake_file SET stage = 5, note = ?3 WHERE partition = ?1 AND number = ?2 AND stage = 1";
            transaction.execute(sql, params![partition, number as i64, note]).map(drop).map_err(fault(WHAT))
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
            transaction
                .execute("UPDATE lake_file SET stage = 3 WHERE partition = ?1 AND batch = ?2 AND stage = 2", params![partition, batch])
                .map_err(fault(WHAT))?;
            Ok(())
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
        self.write(|transaction| {
            let sql = "UPDATE lake_file SET stage = CASE stage WHEN 4 THEN 2 ELSE 1 END, batch = NULL, note = NULL WHERE stage IN (4, 5)";
            let changed = transaction.execute(sql, []);
            changed.map(|files| files as u64).map_err(fault(WHAT))
        })
    }

    fn find_outputs(&self, filter: &OutputFilter) -> Result<Vec<StoredOutput>> {
        let limit = if filter.limit == 0 {
            -1
        } else {
            filter.limit as i64
        };
        let sql = format!(
            "SELECT * FROM (SELECT {} FROM fact WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR robot_id = ?2)
             AND (?3 IS NULL OR subject = ?3) AND (?4 IS NULL OR event_time >= ?4) AND (?5 IS NULL OR event_time < ?5)
             AND (?7 IS NULL OR id = ?7)
             ORDER BY committed_at DESC, partition, sequence DESC LIMIT ?6) ORDER BY event_time, robot_id, kind, id, revision",
            outputs::COLUMNS
        );
        let kind = filter.kind.map(OutputKind::code);
        self.query(
            &sql,
            params![
                kind,
                filter.robot_id,
                filter.subject,
                filter.from,
                filter.until,
                limit,
                filter.id
            ],
            outputs::read,
        )
    }

    fn find_dead(&self, limit: usize) -> Result<Vec<StoredDead>> {
        let limit = if limit == 0 { -1 } else { limit as i64 };
        self.query(
            "SELECT partition, sequence, dead, purged_at FROM dead ORDER BY sequence DESC, partition LIMIT ?1",
            [limit],
            outputs::read_dead,
        )
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

fn layout(connection: &Connection) -> Result<Option<(Vec<String>, u32)>> {
    connection
        .query_row("SELECT topics, partitions FROM layout", [], |row| {
            Ok((decode(row.get_ref(0)?.as_blob()?)?, row.get(1)?))
        })
        .optional()
        .map_err(fault(WHAT))
}
