//! The warehouse: tables and loads.

use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use theatre_actors::ports::*;
use theatre_parquet::file_schema;

use super::{batch, completed};

fn table(name: &str, mode: LoadMode) -> TableSpec {
    let columns = [("id", ColumnType::Utf8), ("revision", ColumnType::Int32)];
    TableSpec {
        name: name.to_owned(),
        columns: columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        mode,
    }
}

/// A completed Parquet file of a table, as a registered one.
fn loaded_file(
    lake: &dyn Lake,
    table: &TableSpec,
    number: u64,
    rows: &[(&str, i32)],
) -> Result<RegisteredFile> {
    let schema = file_schema(table);
    let (ids, revisions): (Vec<&str>, Vec<i32>) = rows.iter().copied().unzip();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(ids)),
        Arc::new(Int32Array::from(revisions)),
    ];
    completed(lake, table, number, RecordBatch::try_new(schema, columns)?)
}

/// Tables, loads, ledger, merging, refusals, read-only queries.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn warehouse_loads_once(warehouse: &dyn Warehouse, lake: &dyn Lake) -> Result<()> {
    let appended = table("appended", LoadMode::Append);
    let merged = table(
        "merged",
        LoadMode::MergeByRevision {
            key: vec!["id".to_owned()],
            revision: "revision".to_owned(),
        },
    );
    let tables = [appended.clone(), merged.clone()];
    warehouse.ensure_tables(&tables)?;
    warehouse.ensure_tables(&tables)?;
    let rows =
        |sql: &str| -> Result<Vec<Vec<serde_json::Value>>> { Ok(warehouse.query(sql)?.rows) };
    let one = loaded_file(lake, &appended, 1, &[("a", 0), ("b", 0)])?;
    let two = loaded_file(lake, &appended, 2, &[("c", 1)])?;
    ensure!(warehouse.receipt("first")?.is_none());
    let first = batch(&appended, "first", &[&one, &two]);
    let receipt = warehouse.load(&first, lake)?;
    ensure!(
        receipt
            == LoadReceipt {
                batch: "first".to_owned(),
                rows: 3
            },
        "{receipt:?}"
    );
    ensure!(
        warehouse.load(&first, lake)? == receipt && warehouse.receipt("first")? == Some(receipt),
        "a batch in the ledger changes nothing"
    );
    ensure!(
        rows("SELECT id FROM appended ORDER BY id")? == [["a"], ["b"], ["c"]],
        "every row is there once"
    );

    let newer = loaded_file(lake, &merged, 3, &[("x", 2), ("y", 0)])?;
    let older = loaded_file(lake, &merged, 4, &[("x", 1), ("y", 1)])?;
    warehouse.load(&batch(&merged, "newer", &[&newer]), lake)?;
    warehouse.load(&batch(&merged, "older", &[&older]), lake)?;
    let got = rows("SELECT id, revision FROM merged ORDER BY id")?;
    ensure!(
        got == [
            [serde_json::json!("x"), 2.into()],
            [serde_json::json!("y"), 1.into()]
        ],
        "the highest revision stays: {got:?}"
    );

    let mut short = loaded_file(lake, &appended, 5, &[("d", 0)])?;
    short.file.rows = 2;
    let good = loaded_file(lake, &appended, 6, &[("e", 0)])?;
    let refused = warehouse.load(&batch(&appended, "bad", &[&good, &short]), lake);
    ensure!(
        matches!(&refused, Err(Error::BadFile(why)) if why.contains(&short.file.path)),
        "the file at fault is named: {refused:?}"
    );
    ensure!(
        rows("SELECT count(*) FROM appended")? == [[3]] && warehouse.receipt("bad")?.is_none(),
        "all of a batch or nothing"
    );
    ensure!(
        matches!(
            warehouse.query("DELETE FROM appended"),
            Err(Error::Refused(_))
        ) && rows("SELECT count(*) FROM appended")? == [[3]],
        "queries only read"
    );
    ensure!(matches!(warehouse.query("SELEC"), Err(Error::Refused(_))));

    let unknown = loaded_file(lake, &table("unknown", LoadMode::Append), 7, &[("f", 0)])?;
    let away = warehouse.load(
        &batch(&table("unknown", LoadMode::Append), "unknown", &[&unknown]),
        lake,
    );
    ensure!(
        matches!(&away, Err(Error::Refused(why)) if why.contains("no table 'unknown'")),
        "no file is at fault for a table that is missing: {away:?}"
    );

    let mut wider = appended.clone();
    wider.columns.push(("note".to_owned(), ColumnType::Utf8));
    warehouse.ensure_tables(&[wider.clone()])?;
    warehouse.load(&batch(&wider, "narrow", &[&good]), lake)?;
    ensure!(
        rows("SELECT count(*) FROM appended WHERE note IS NULL")? == [[4]],
        "an older file fits a table that has gained a column"
    );
    wider.columns.swap(0, 1);
    let check = warehouse.check_tables(std::slice::from_ref(&wider));
    ensure!(
        matches!(check, Err(Error::Refused(_))),
        "what would be refused is known before: {check:?}"
    );
    ensure!(
        matches!(warehouse.ensure_tables(&[wider]), Err(Error::Refused(_))),
        "columns are only ever added at the end"
    );
    Ok(())
}
