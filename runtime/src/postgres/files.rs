//! Lake files in the store: registration, stages, and the plan of loads.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use theatre_actors::ports::{FileStage, LakeFile, LoadBatch, RegisteredFile, Result};
use theatre_actors::position::Partition;

use super::session::broken;
use super::{decode, encode, limited};

pub(super) fn read(row: &PgRow) -> Result<RegisteredFile> {
    let stage = match row.get::<i16, _>(3) {
        1 => FileStage::Registered,
        2 => FileStage::Completed,
        3 => FileStage::Loaded,
        _ => FileStage::Quarantined,
    };
    let (number, partition) = (row.get::<i64, _>(0) as u64, row.get::<i32, _>(1) as u32);
    Ok(RegisteredFile { number, partition, file: decode(row.get(2))?, stage, batch: row.get(4), note: row.get(5) })
}

pub(super) async fn register(connection: &mut PgConnection, partition: Partition, files: &[LakeFile]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let count = files.len() as i64;
    let sql = "UPDATE partition SET last_file = last_file + $2 WHERE partition = $1 RETURNING last_file";
    let last: i64 = sqlx::query_scalar(sql).bind(partition as i32).bind(count).fetch_one(&mut *connection).await.map_err(broken)?;
    let sql = "INSERT INTO lake_file (partition, stage, number, dataset, file) SELECT $1, 1, * FROM UNNEST($2::bigint[], $3::text[], $4::bytea[])";
    let query = sqlx::query(sql)
        .bind(partition as i32)
        .bind((last - count + 1..=last).collect::<Vec<i64>>())
        .bind(files.iter().map(|file| file.dataset.as_str()).collect::<Vec<&str>>())
        .bind(files.iter().map(encode).collect::<Vec<Vec<u8>>>());
    query.execute(connection).await.map(drop).map_err(broken)
}

/// The batch planned earliest and not settled, or a new one of the files completed earliest.
pub(super) async fn plan(connection: &mut PgConnection, partition: Partition, max_files: usize) -> Result<Option<LoadBatch>> {
    let sql = "SELECT batch FROM lake_file WHERE partition = $1 AND stage = 2 AND batch IS NOT NULL ORDER BY number LIMIT 1";
    let open: Option<String> = sqlx::query_scalar(sql).bind(partition as i32).fetch_optional(&mut *connection).await.map_err(broken)?;
    if let Some(batch) = open {
        let files = of_batch(connection, partition, &batch).await?;
        return Ok(Some(load_batch(partition, batch, files)));
    }
    let sql = "SELECT dataset FROM lake_file WHERE partition = $1 AND stage = 2 ORDER BY number LIMIT 1";
    let dataset: Option<String> = sqlx::query_scalar(sql).bind(partition as i32).fetch_optional(&mut *connection).await.map_err(broken)?;
    let Some(dataset) = dataset else { return Ok(None) };
    let sql = "SELECT number, partition, file, stage, batch, note FROM lake_file WHERE partition = $1 AND stage = 2 AND dataset = $2 ORDER BY number LIMIT $3";
    let query = sqlx::query(sql).bind(partition as i32).bind(dataset).bind(limited(max_files.max(1)));
    let files = query.fetch_all(&mut *connection).await.map_err(broken)?.iter().map(read).collect::<Result<_>>()?;
    assign(connection, partition, files).await.map(Some)
}

/// Gives files a batch of their own, named by what is in it.
async fn assign(connection: &mut PgConnection, partition: Partition, mut files: Vec<RegisteredFile>) -> Result<LoadBatch> {
    let first = files.first().map_or(0, |file| file.number);
    let last = files.last().map_or(0, |file| file.number);
    let dataset = files.first().map(|file| file.file.dataset.clone()).unwrap_or_default();
    let batch = format!("{dataset}-p{partition}-{first}-{last}x{}", files.len());
    for file in &mut files {
        file.batch = Some(batch.clone());
    }
    let numbers: Vec<i64> = files.iter().map(|file| file.number as i64).collect();
    let sql = "UPDATE lake_file SET batch = $3 WHERE partition = $1 AND number = ANY($2)";
    sqlx::query(sql).bind(partition as i32).bind(numbers).bind(&batch).execute(connection).await.map_err(broken)?;
    Ok(load_batch(partition, batch, files))
}

pub(super) async fn split(connection: &mut PgConnection, partition: Partition, batch: &str, bad: &[(u64, String)]) -> Result<()> {
    for (number, note) in bad {
        let sql = "UPDATE lake_file SET stage = 4, batch = NULL, note = $4 WHERE partition = $1 AND number = $2 AND batch = $3";
        let query = sqlx::query(sql).bind(partition as i32).bind(*number as i64).bind(batch).bind(note);
        query.execute(&mut *connection).await.map_err(broken)?;
    }
    let mut files = of_batch(connection, partition, batch).await?;
    if !bad.is_empty() || files.len() < 2 {
        let sql = "UPDATE lake_file SET batch = NULL WHERE partition = $1 AND batch = $2";
        sqlx::query(sql).bind(partition as i32).bind(batch).execute(connection).await.map_err(broken)?;
        return Ok(());
    }
    let later = files.split_off(files.len() / 2);
    assign(connection, partition, files).await?;
    assign(connection, partition, later).await?;
    Ok(())
}

async fn of_batch(connection: &mut PgConnection, partition: Partition, batch: &str) -> Result<Vec<RegisteredFile>> {
    let sql = "SELECT number, partition, file, stage, batch, note FROM lake_file WHERE partition = $1 AND batch = $2 AND stage = 2 ORDER BY number";
    let rows = sqlx::query(sql).bind(partition as i32).bind(batch).fetch_all(connection).await.map_err(broken)?;
    rows.iter().map(read).collect()
}

fn load_batch(partition: Partition, id: String, files: Vec<RegisteredFile>) -> LoadBatch {
    let dataset = files.first().map(|file| file.file.dataset.clone()).unwrap_or_default();
    LoadBatch { id, dataset, partition, files }
}
