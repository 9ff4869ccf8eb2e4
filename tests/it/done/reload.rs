//! Faults in the warehouse's tables over files: a file of them written anew with other rows.

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use rusqlite::Connection;
use theatre_actors::ports::Lake;
use theatre_embedded::data_dir::DataDir;
use theatre_testkit::memory::lake::MemoryLake;

/// Writes the first loaded file of a table of the warehouse anew, with other rows.
pub(super) fn reload(
    dir: &DataDir,
    table: &str,
    edit: fn(&[RecordBatch]) -> Result<Vec<RecordBatch>>,
) -> Result<()> {
    let warehouse = Connection::open(dir.warehouse())?;
    let sql = "SELECT id, content FROM loaded_files WHERE table_name = ?1 ORDER BY id LIMIT 1";
    let (id, content): (i64, Vec<u8>) =
        warehouse.query_row(sql, [table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<_> =
        theatre_parquet::read(table, content.into())?.collect::<std::result::Result<_, _>>()?;
    let edited = edit(&rows)?;
    let lake = MemoryLake::default();
    let upload = lake.begin("edited", "p0-test")?;
    let mut file = theatre_parquet::writer::FileWriter::new(
        upload,
        &rows.first().context("rows")?.schema(),
        "edited".to_owned(),
        table,
    )?;
    for rows in edited {
        file.write(rows, std::iter::empty())?;
    }
    let file = file.finish()?;
    lake.complete("edited", &file.upload)?;
    let bytes = lake.read("edited")?;
    let footer = theatre_parquet::columns::Footer::begin("edited", &bytes)?;
    let sql = "UPDATE loaded_files SET content = ?1, bytes = ?2, footer_from = ?3, row_count = ?4 WHERE id = ?5";
    let (length, rows) = (bytes.len() as i64, file.rows as i64);
    warehouse.execute(
        sql,
        rusqlite::params![&*bytes, length, footer as i64, rows, id],
    )?;
    Ok(())
}

/// All rows but the first.
pub(super) fn without_the_first(rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let mut rows = rows.to_vec();
    rows[0] = rows[0].slice(1, rows[0].num_rows() - 1);
    Ok(rows)
}

/// All rows, and the first once more.
pub(super) fn first_once_more(rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let mut rows = rows.to_vec();
    rows.push(rows[0].slice(0, 1));
    Ok(rows)
}

/// The second row in place of the first.
pub(super) fn second_for_the_first(rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let mut rows = without_the_first(rows)?;
    rows.push(rows[0].slice(0, 1));
    Ok(rows)
}
