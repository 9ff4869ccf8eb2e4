//! A schema that a warehouse follows, and those that it cannot.

use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow_array::{
    ArrayRef, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use theatre_actors::ports::*;
use theatre_parquet::file_schema;

use super::{batch, completed};

/// Columns of numbers widen with what is in them, and files of before are loaded into them;
/// whatever else changes is refused, and changes nothing.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn warehouse_widens(warehouse: &dyn Warehouse, lake: &dyn Lake) -> Result<()> {
    use ColumnType::{Float32, Float64, Int32, Int64, Utf8};
    let spec = |types: [ColumnType; 4]| TableSpec {
        name: "widened".to_owned(),
        columns: ["id", "a", "b", "c"]
            .iter()
            .zip(types)
            .map(|(name, kind)| ((*name).to_owned(), kind))
            .collect(),
        mode: LoadMode::Append,
    };
    let narrow = spec([Utf8, Int32, Int64, Float32]);
    warehouse.ensure_tables(std::slice::from_ref(&narrow))?;
    let first = numbers_file(lake, &narrow, 30, "first")?;
    // Written before, loaded after the change.
    let late = numbers_file(lake, &narrow, 31, "late")?;
    warehouse.load(&batch(&narrow, "first numbers", &[&first]), lake)?;
    let wide = spec([Utf8, Int64, Float64, Float64]);
    warehouse.check_tables(std::slice::from_ref(&wide))?;
    warehouse.ensure_tables(std::slice::from_ref(&wide))?;
    warehouse.ensure_tables(std::slice::from_ref(&wide))?;
    warehouse.load(&batch(&wide, "late numbers", &[&late]), lake)?;
    let wider = numbers_file(lake, &wide, 32, "wider")?;
    warehouse.load(&batch(&wide, "wider numbers", &[&wider]), lake)?;
    let found = warehouse
        .query("SELECT id, a, b, c FROM widened ORDER BY id")?
        .rows;
    let number = |row: usize, column: usize| found[row][column].as_f64();
    ensure!(
        found.len() == 3
            && (0..2).all(|row| {
                (number(row, 1), number(row, 2), number(row, 3))
                    == (Some(7.0), Some(8.0), Some(0.5))
            })
            && (number(2, 1), number(2, 2), number(2, 3)) == (Some(7.0), Some(8.0), Some(0.5)),
        "{found:?}"
    );
    for types in [[Utf8, Int64, Utf8, Float64], [Utf8, Int64, Float64, Int64]] {
        let other = spec(types);
        let refused = warehouse.check_tables(std::slice::from_ref(&other));
        ensure!(
            matches!(&refused, Err(Error::Refused(why)) if why.contains("another name")),
            "{types:?}: {refused:?}"
        );
    }
    let many = (0..=warehouse.limits().columns_max.min(5000)).map(|at| (format!("c{at}"), Int32));
    let many = TableSpec {
        name: "many".to_owned(),
        columns: many.collect(),
        mode: LoadMode::Append,
    };
    let reserved = TableSpec {
        name: "load_ledger".to_owned(),
        ..narrow
    };
    for table in [many, reserved] {
        let name = table.name.clone();
        let tables = [table];
        ensure!(
            matches!(warehouse.check_tables(&tables), Err(Error::Refused(_)))
                && matches!(warehouse.ensure_tables(&tables), Err(Error::Refused(_))),
            "{name} is refused for good"
        );
    }
    keeps_decimals(warehouse, lake)
}

/// Decimals are what they were, to their last digit, and no column of before becomes one.
fn keeps_decimals(warehouse: &dyn Warehouse, lake: &dyn Lake) -> Result<()> {
    let money = ColumnType::Decimal {
        precision: 12,
        scale: 2,
    };
    let spec = |kind| TableSpec {
        name: "exact".to_owned(),
        columns: vec![
            ("id".to_owned(), ColumnType::Utf8),
            ("cost".to_owned(), kind),
        ],
        mode: LoadMode::Append,
    };
    let table = spec(money);
    warehouse.ensure_tables(std::slice::from_ref(&table))?;
    let units = [Some(999_999_999_999), Some(-123_456_789), Some(10), None];
    let costs = Decimal128Array::from(units.to_vec()).with_precision_and_scale(12, 2)?;
    let ids = StringArray::from(vec!["most", "debt", "dime", "none"]);
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(costs)];
    let rows = RecordBatch::try_new(file_schema(&table), columns)?;
    let file = completed(lake, &table, 33, rows)?;
    warehouse.load(&batch(&table, "exact numbers", &[&file]), lake)?;
    let found = warehouse.query(
        "SELECT id FROM exact WHERE cost IN (9999999999.99, -1234567.89, 0.1) OR cost IS NULL ORDER BY id",
    )?;
    ensure!(found.rows.len() == 4, "{:?}", found.rows);
    let float = spec(ColumnType::Float64);
    let refused = warehouse.check_tables(std::slice::from_ref(&float));
    ensure!(
        matches!(&refused, Err(Error::Refused(_))),
        "a decimal becomes no float: {refused:?}"
    );
    Ok(())
}

/// A file of one row of numbers, in the types of its table.
fn numbers_file(
    lake: &dyn Lake,
    table: &TableSpec,
    number: u64,
    id: &str,
) -> Result<RegisteredFile> {
    let value = |at: usize| [0.0, 7.0, 8.0, 0.5][at];
    let column = |(at, (_, kind)): (usize, &(String, ColumnType))| -> ArrayRef {
        match kind {
            ColumnType::Int32 => Arc::new(Int32Array::from(vec![value(at) as i32])),
            ColumnType::Int64 => Arc::new(Int64Array::from(vec![value(at) as i64])),
            ColumnType::Float32 => Arc::new(Float32Array::from(vec![value(at) as f32])),
            ColumnType::Float64 => Arc::new(Float64Array::from(vec![value(at)])),
            _ => Arc::new(StringArray::from(vec![id])),
        }
    };
    let columns = table.columns.iter().enumerate().map(column).collect();
    let rows = RecordBatch::try_new(file_schema(table), columns)?;
    completed(lake, table, number, rows)
}
