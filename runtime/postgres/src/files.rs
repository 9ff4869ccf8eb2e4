//! Lake files in the store: registration, stages, and the plan of loads.

use sqlx::{AssertSqlSafe, PgConnection};
use theatre_actors::ports::{
    DeferredBatches, Error, FileFilter, FileRevision, FileStage, LakeFile, LakeRegister, LoadBatch,
    RegisteredFile, Result,
};
use theatre_actors::position::Partition;

use super::failure::Attempt;
use super::text::{read_text, stored};
use super::{PostgresStore, decode, encode, limited};

type Row = (i64, i32, Vec<u8>, i16, Option<String>, Option<String>);

fn read((number, partition, file, stage, batch, note): Row) -> Attempt<RegisteredFile> {
    let stage = FileStage::from_code(stage.into()).map_err(Error::from)?;
    let (batch, note) = (batch.map(read_text), note.map(read_text));
    Ok(RegisteredFile {
        number: number as u64,
        partition: partition as u32,
        file: decode(&file)?,
        stage,
        batch,
        note,
    })
}

fn read_all(rows: Vec<Row>) -> Attempt<Vec<RegisteredFile>> {
    rows.into_iter().map(read).collect()
}

fn as_numbers(numbers: impl IntoIterator<Item = u64>) -> Vec<i64> {
    numbers.into_iter().map(|number| number as i64).collect()
}

pub(super) async fn register(
    connection: &mut PgConnection,
    partition: Partition,
    files: &[LakeFile],
) -> Attempt<()> {
    let count = files.len() as i64;
    if count == 0 {
        return Ok(());
    }
    let sql =
        "UPDATE partition SET last_file = last_file + $2 WHERE number = $1 RETURNING last_file";
    let last: i64 = sqlx::query_scalar(sql)
        .bind(partition as i32)
        .bind(count)
        .fetch_one(&mut *connection)
        .await?;
    let sql = "INSERT INTO lake_file (partition, stage, number, dataset, file, event_time_min, event_time_max)
               SELECT $1, 1, * FROM UNNEST($2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[])";
    let numbers: Vec<i64> = (last - count + 1..=last).collect();
    let datasets: Vec<_> = files.iter().map(|file| stored(&file.dataset)).collect();
    let encoded: Vec<Vec<u8>> = files.iter().map(encode).collect();
    let first: Vec<i64> = files.iter().map(|file| file.event_time_min).collect();
    let last: Vec<i64> = files.iter().map(|file| file.event_time_max).collect();
    sqlx::query(sql)
        .bind(partition as i32)
        .bind(numbers)
        .bind(datasets)
        .bind(encoded)
        .bind(first)
        .bind(last)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn in_stage(
    connection: &mut PgConnection,
    partition: Partition,
    stage: FileStage,
    limit: usize,
) -> Attempt<Vec<RegisteredFile>> {
    let sql = "SELECT number, partition, file, stage, batch, note FROM lake_file WHERE partition = $1 AND stage = $2 ORDER BY number LIMIT $3";
    read_all(
        sqlx::query_as(sql)
            .bind(partition as i32)
            .bind(i16::from(stage.code()))
            .bind(limited(limit))
            .fetch_all(connection)
            .await?,
    )
}

/// Files that may have rows of a range. Of those that an earlier build has registered that is not
/// known outside of them.
pub(super) async fn within(
    connection: &mut PgConnection,
    filter: &FileFilter,
) -> Attempt<Vec<RegisteredFile>> {
    let of_partition = filter.partition.map_or("", |_| "AND partition = $2");
    let of_any = filter.partition.map_or("AND $2::integer IS NULL", |_| "");
    let columns = "number, partition, file, stage, batch, note";
    let sql = format!(
        "SELECT {columns} FROM lake_file WHERE dataset = $1 {of_partition} {of_any}
         AND event_time_max >= $3 AND event_time_min < $4
         UNION ALL
         SELECT {columns} FROM lake_file WHERE dataset = $1 {of_partition}
         AND event_time_max IS NULL
         ORDER BY partition, number"
    );
    let query = sqlx::query_as(AssertSqlSafe(sql))
        .bind(stored(&filter.dataset))
        .bind(filter.partition.map(|partition| partition as i32))
        .bind(filter.from)
        .bind(filter.until);
    let mut files = read_all(query.fetch_all(connection).await?)?;
    files.retain(|file| filter.takes(file));
    Ok(files)
}

pub(super) async fn all(connection: &mut PgConnection) -> Attempt<Vec<RegisteredFile>> {
    read_all(sqlx::query_as("SELECT number, partition, file, stage, batch, note FROM lake_file ORDER BY partition, number").fetch_all(connection).await?)
}

pub(super) async fn mark_completed(
    connection: &mut PgConnection,
    partition: Partition,
    numbers: &[u64],
) -> Attempt<()> {
    let sql =
        "UPDATE lake_file SET stage = 2 WHERE partition = $1 AND number = ANY($2) AND stage = 1";
    sqlx::query(sql)
        .bind(partition as i32)
        .bind(as_numbers(numbers.iter().copied()))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn mark_lost(
    connection: &mut PgConnection,
    partition: Partition,
    number: u64,
    note: &str,
) -> Attempt<()> {
    let sql = "UPDATE lake_file SET stage = 5, note = $3 WHERE partition = $1 AND number = $2 AND stage = 1";
    sqlx::query(sql)
        .bind(partition as i32)
        .bind(number as i64)
        .bind(stored(note))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn mark_loaded(
    connection: &mut PgConnection,
    partition: Partition,
    batch: &str,
) -> Attempt<()> {
    let sql = "UPDATE lake_file SET stage = 3 WHERE partition = $1 AND batch = $2 AND stage = 2";
    sqlx::query(sql)
        .bind(partition as i32)
        .bind(stored(batch))
        .execute(connection)
        .await?;
    Ok(())
}

/// The batch planned earliest and not settled, or a new one of the files completed earliest; beside
/// what is passed over.
pub(super) async fn plan(
    connection: &mut PgConnection,
    partition: Partition,
    max_files: usize,
    passed_over: &DeferredBatches,
) -> Attempt<Option<LoadBatch>> {
    let list = |texts: &[String]| -> Vec<String> {
        texts.iter().map(|text| stored(text).into_owned()).collect()
    };
    let sql = "SELECT batch FROM lake_file WHERE partition = $1 AND stage = 2 AND batch IS NOT NULL AND batch <> ALL($2) ORDER BY number LIMIT 1";
    let open = sqlx::query_scalar(sql)
        .bind(partition as i32)
        .bind(list(&passed_over.batches));
    let open: Option<String> = open.fetch_optional(&mut *connection).await?;
    if let Some(batch) = open.map(read_text) {
        let files = of_batch(connection, partition, &batch).await?;
        return Ok(Some(LoadBatch::planned(batch, partition, files)));
    }
    let sql = "SELECT number, partition, file, stage, batch, note FROM lake_file WHERE partition = $1 AND stage = 2 AND batch IS NULL
               AND dataset = (SELECT dataset FROM lake_file WHERE partition = $1 AND stage = 2 AND batch IS NULL AND dataset <> ALL($3) ORDER BY number LIMIT 1)
               ORDER BY number LIMIT $2";
    let free = sqlx::query_as(sql)
        .bind(partition as i32)
        .bind(limited(max_files.max(1)))
        .bind(list(&passed_over.datasets));
    let files = read_all(free.fetch_all(&mut *connection).await?)?;
    if files.is_empty() {
        return Ok(None);
    }
    let batch = LoadBatch::new(partition, files);
    assign(connection, &batch).await?;
    Ok(Some(batch))
}

/// Plans the files of a batch into it.
async fn assign(connection: &mut PgConnection, batch: &LoadBatch) -> Attempt<()> {
    let sql = "UPDATE lake_file SET batch = $3 WHERE partition = $1 AND number = ANY($2)";
    sqlx::query(sql)
        .bind(batch.partition as i32)
        .bind(as_numbers(batch.numbers()))
        .bind(stored(&batch.id))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn split(
    connection: &mut PgConnection,
    partition: Partition,
    batch: &str,
    bad: &[(u64, String)],
) -> Attempt<()> {
    for (number, note) in bad {
        let sql = "UPDATE lake_file SET stage = 4, batch = NULL, note = $4 WHERE partition = $1 AND number = $2 AND batch = $3";
        let query = sqlx::query(sql)
            .bind(partition as i32)
            .bind(*number as i64)
            .bind(stored(batch))
            .bind(stored(note));
        query.execute(&mut *connection).await?;
    }
    let files = of_batch(connection, partition, batch).await?;
    let Some(halves) = LoadBatch::halves(partition, files, bad) else {
        let sql = "UPDATE lake_file SET batch = NULL WHERE partition = $1 AND batch = $2";
        sqlx::query(sql)
            .bind(partition as i32)
            .bind(stored(batch))
            .execute(connection)
            .await?;
        return Ok(());
    };
    for half in &halves {
        assign(connection, half).await?;
    }
    Ok(())
}

pub(super) async fn requeue(connection: &mut PgConnection) -> Attempt<u64> {
    let sql = "UPDATE lake_file SET stage = CASE stage WHEN 4 THEN 2 ELSE 1 END, batch = NULL, note = NULL WHERE stage IN (4, 5)";
    Ok(sqlx::query(sql).execute(connection).await?.rows_affected())
}

async fn of_batch(
    connection: &mut PgConnection,
    partition: Partition,
    batch: &str,
) -> Attempt<Vec<RegisteredFile>> {
    let sql = "SELECT number, partition, file, stage, batch, note FROM lake_file WHERE partition = $1 AND batch = $2 AND stage = 2 ORDER BY number";
    read_all(
        sqlx::query_as(sql)
            .bind(partition as i32)
            .bind(stored(batch))
            .fetch_all(connection)
            .await?,
    )
}

impl LakeRegister for PostgresStore {
    fn revise_files(&self, revisions: &[FileRevision]) -> Result<()> {
        self.write(async |connection| {
            // A statement has bounds, too: the register of a large lake has many files.
            for some in revisions.chunks(REVISED_AT_ONCE) {
                revise(connection, some).await?;
            }
            Ok(())
        })
    }
}

/// Registrations that one statement changes.
const REVISED_AT_ONCE: usize = 500;

async fn revise(connection: &mut PgConnection, revisions: &[FileRevision]) -> Attempt<()> {
    let of = |revision: &FileRevision| (revision.seen.partition, revision.seen.number);
    let partitions: Vec<i32> = revisions.iter().map(|it| of(it).0 as i32).collect();
    let numbers: Vec<i64> = revisions.iter().map(|it| of(it).1 as i64).collect();
    let sql = "SELECT number, partition, file, stage, batch, note FROM lake_file
               JOIN UNNEST($1::integer[], $2::bigint[]) AS asked (partition, number) USING (partition, number)
               ORDER BY partition, number FOR UPDATE OF lake_file";
    let query = sqlx::query_as(sql).bind(&partitions).bind(&numbers);
    let present = read_all(query.fetch_all(&mut *connection).await?)?;
    for revision in revisions {
        let mut same = present
            .iter()
            .filter(|present| (present.partition, present.number) == of(revision));
        if !same.any(|present| revision.fits(present)) {
            let partition = revision.seen.partition;
            return Err(Error::overtaken(partition, "a change of a lake file").into());
        }
    }
    let files: Vec<Vec<u8>> = revisions.iter().map(|it| encode(&it.file)).collect();
    let sql = "UPDATE lake_file SET file = revised.file
               FROM UNNEST($1::integer[], $2::bigint[], $3::bytea[]) AS revised (partition, number, file)
               WHERE lake_file.partition = revised.partition AND lake_file.number = revised.number";
    let query = sqlx::query(sql).bind(partitions).bind(numbers).bind(files);
    query.execute(connection).await?;
    Ok(())
}
