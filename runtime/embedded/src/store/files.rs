//! Lake files in the store: registration, stages, and the plan of loads.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use theatre_actors::ports::{
    DeferredBatches, Error, FileFilter, FileRevision, FileStage, LakeFile, LakeRegister, LoadBatch,
    RegisteredFile, Result,
};
use theatre_actors::position::Partition;

use super::{EmbeddedStore, WHAT, decode, encode, fault, unknown};

pub(super) const COLUMNS: &str = "number, partition, file, stage, batch, note";

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<RegisteredFile> {
    let stage = FileStage::from_code(row.get(3)?).map_err(unknown)?;
    Ok(RegisteredFile {
        number: row.get::<_, i64>(0)? as u64,
        partition: row.get(1)?,
        file: decode(row.get_ref(2)?.as_blob()?)?,
        stage,
        batch: row.get(4)?,
        note: row.get(5)?,
    })
}

/// Notes that files are visible in the lake.
pub(super) fn complete(
    transaction: &Transaction<'_>,
    partition: Partition,
    numbers: &[u64],
) -> Result<()> {
    for number in numbers {
        transaction
            .prepare_cached(
                "UPDATE lake_file SET stage = 2 WHERE partition = ?1 AND number = ?2 AND stage = 1",
            )
            .and_then(|mut statement| statement.execute(params![partition, *number as i64]))
            .map_err(fault(WHAT))?;
    }
    Ok(())
}

/// Sets a file aside whose upload is gone.
pub(super) fn lose(
    transaction: &Transaction<'_>,
    partition: Partition,
    number: u64,
    note: &str,
) -> Result<()> {
    let sql = "UPDATE lake_file SET stage = 5, note = ?3 WHERE partition = ?1 AND number = ?2 AND stage = 1";
    let changed = transaction.execute(sql, params![partition, number as i64, note]);
    changed.map(drop).map_err(fault(WHAT))
}

/// Notes that the files of a batch are in the warehouse.
pub(super) fn note_loaded(
    transaction: &Transaction<'_>,
    partition: Partition,
    batch: &str,
) -> Result<()> {
    let sql = "UPDATE lake_file SET stage = 3 WHERE partition = ?1 AND batch = ?2 AND stage = 2";
    let changed = transaction.execute(sql, params![partition, batch]);
    changed.map(drop).map_err(fault(WHAT))
}

/// Has all files tried again that were set aside; returns how many.
pub(super) fn requeue(transaction: &Transaction<'_>) -> Result<u64> {
    let sql = "UPDATE lake_file SET stage = CASE stage WHEN 4 THEN 2 ELSE 1 END, batch = NULL, note = NULL WHERE stage IN (4, 5)";
    let changed = transaction.execute(sql, []);
    changed.map(|files| files as u64).map_err(fault(WHAT))
}

pub(super) fn register(
    transaction: &Transaction<'_>,
    partition: Partition,
    files: &[LakeFile],
) -> Result<()> {
    for file in files {
        let number: i64 = transaction
            .query_row("UPDATE partition SET last_file = last_file + 1 WHERE partition = ?1 RETURNING last_file", [partition], |row| row.get(0))
            .map_err(fault(WHAT))?;
        transaction
            .execute(
                "INSERT INTO lake_file VALUES (?1, ?2, 1, ?3, NULL, NULL, ?4, ?5, ?6)",
                params![
                    partition,
                    number,
                    file.dataset,
                    encode(file),
                    file.event_time_min,
                    file.event_time_max
                ],
            )
            .map_err(fault(WHAT))?;
    }
    Ok(())
}

/// The question for files that may be those of a filter. Of files that an earlier build has
/// registered it is not known outside of them.
pub(super) fn within(filter: &FileFilter) -> (String, impl rusqlite::Params) {
    let of_partition = filter.partition.map_or("", |_| "AND partition = ?2");
    let sql = format!(
        "SELECT {COLUMNS} FROM lake_file WHERE dataset = ?1 {of_partition}
         AND event_time_max >= ?3 AND event_time_min < ?4
         UNION ALL
         SELECT {COLUMNS} FROM lake_file WHERE dataset = ?1 {of_partition}
         AND event_time_max IS NULL
         ORDER BY partition, number"
    );
    let values = (
        filter.dataset.clone(),
        filter.partition,
        filter.from,
        filter.until,
    );
    (sql, values)
}

/// The batch planned earliest and not settled, or a new one of the files completed earliest; beside
/// what is passed over.
pub(super) fn plan(
    transaction: &Transaction<'_>,
    partition: Partition,
    max_files: usize,
    passed_over: &DeferredBatches,
) -> Result<Option<LoadBatch>> {
    let (batches, datasets) = (list(&passed_over.batches), list(&passed_over.datasets));
    let sql = "SELECT batch FROM lake_file WHERE partition = ?1 AND stage = 2 AND batch IS NOT NULL
               AND batch NOT IN (SELECT value FROM json_each(?2)) ORDER BY number LIMIT 1";
    let open: Option<String> = transaction
        .query_row(sql, params![partition, batches], |row| row.get(0))
        .optional()
        .map_err(fault(WHAT))?;
    if let Some(batch) = open {
        let files = of_batch(transaction, partition, &batch)?;
        return Ok(Some(LoadBatch::planned(batch, partition, files)));
    }
    let sql = "SELECT dataset FROM lake_file WHERE partition = ?1 AND stage = 2 AND batch IS NULL
               AND dataset NOT IN (SELECT value FROM json_each(?2)) ORDER BY number LIMIT 1";
    let dataset: Option<String> = transaction
        .query_row(sql, params![partition, datasets], |row| row.get(0))
        .optional()
        .map_err(fault(WHAT))?;
    let Some(dataset) = dataset else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM lake_file WHERE partition = ?1 AND stage = 2 AND batch IS NULL AND dataset = ?2 ORDER BY number LIMIT ?3"
    );
    let files = select(
        transaction,
        &sql,
        params![partition, dataset, max_files.max(1) as i64],
    )?;
    let batch = LoadBatch::new(partition, files);
    assign(transaction, &batch)?;
    Ok(Some(batch))
}

/// Texts as SQLite takes a list of them.
fn list(texts: &[String]) -> String {
    serde_json::json!(texts).to_string()
}

/// Plans the files of a batch into it.
fn assign(transaction: &Transaction<'_>, batch: &LoadBatch) -> Result<()> {
    let sql = "UPDATE lake_file SET batch = ?3 WHERE partition = ?1 AND number = ?2";
    for number in batch.numbers() {
        transaction
            .execute(sql, params![batch.partition, number as i64, batch.id])
            .map_err(fault(WHAT))?;
    }
    Ok(())
}

pub(super) fn split(
    transaction: &Transaction<'_>,
    partition: Partition,
    batch: &str,
    bad: &[(u64, String)],
) -> Result<()> {
    for (number, note) in bad {
        let sql = "UPDATE lake_file SET stage = 4, batch = NULL, note = ?4 WHERE partition = ?1 AND number = ?2 AND batch = ?3";
        transaction
            .execute(sql, params![partition, *number as i64, batch, note])
            .map_err(fault(WHAT))?;
    }
    let files = of_batch(transaction, partition, batch)?;
    let Some(halves) = LoadBatch::halves(partition, files, bad) else {
        let sql = "UPDATE lake_file SET batch = NULL WHERE partition = ?1 AND batch = ?2";
        transaction
            .execute(sql, params![partition, batch])
            .map_err(fault(WHAT))?;
        return Ok(());
    };
    halves.iter().try_for_each(|half| assign(transaction, half))
}

fn of_batch(
    transaction: &Transaction<'_>,
    partition: Partition,
    batch: &str,
) -> Result<Vec<RegisteredFile>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lake_file WHERE partition = ?1 AND batch = ?2 AND stage = 2 ORDER BY number"
    );
    select(transaction, &sql, params![partition, batch])
}

fn select(
    transaction: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<RegisteredFile>> {
    let mut statement = transaction.prepare_cached(sql).map_err(fault(WHAT))?;
    let files = statement
        .query_map(values, read)
        .and_then(Iterator::collect);
    files.map_err(fault(WHAT))
}

impl LakeRegister for EmbeddedStore {
    fn revise_files(&self, revisions: &[FileRevision]) -> Result<()> {
        self.write(|transaction| {
            revisions
                .iter()
                .try_for_each(|revision| revise(transaction, revision))
        })
    }
}

fn revise(transaction: &Transaction<'_>, revision: &FileRevision) -> Result<()> {
    let (partition, number) = (revision.seen.partition, revision.seen.number as i64);
    let sql = format!("SELECT {COLUMNS} FROM lake_file WHERE partition = ?1 AND number = ?2");
    let present = select(transaction, &sql, params![partition, number])?;
    if !present.iter().any(|present| revision.fits(present)) {
        return Err(Error::overtaken(partition, "a change of a lake file"));
    }
    let sql = "UPDATE lake_file SET file = ?3 WHERE partition = ?1 AND number = ?2";
    transaction
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![partition, number, encode(&revision.file)])
        })
        .map(drop)
        .map_err(fault(WHAT))
}
