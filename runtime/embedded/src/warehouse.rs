//! The warehouse as one SQLite file.
//!
//! A load is one transaction: ask the ledger, read the batch's Parquet files through the lake,
//! insert or merge, write the ledger row. Columns are matched by position, as COPY does it.
//! Timestamps are microseconds UTC.

use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{
    Connection, OptionalExtension, Transaction, TransactionBehavior, params, params_from_iter,
};
use theatre_actors::ports::{
    Error, Lake, LoadBatch, LoadMode, LoadReceipt, QueryResult, Result, TableLimits, TableSpec,
    Warehouse,
};

use super::{fault, lock, open, open_read_only};

const WHAT: &str = "warehouse";

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS load_ledger (batch TEXT PRIMARY KEY, table_name TEXT NOT NULL, row_count INTEGER NOT NULL,
    files INTEGER NOT NULL) STRICT;";

mod tables;

pub use tables::LIMITS;
use tables::{compare, ensure_table};

/// The embedded warehouse.
pub struct EmbeddedWarehouse {
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
    tables: Mutex<Vec<TableSpec>>,
}

impl EmbeddedWarehouse {
    /// Opens or creates the warehouse at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let writer = open(path, WHAT, SCHEMA)?;
        let reader = Arc::new(Mutex::new(open_read_only(path, WHAT)?));
        Ok(Self {
            writer: Arc::new(Mutex::new(writer)),
            reader,
            tables: Mutex::default(),
        })
    }

    /// A warehouse that lives as long as this value: the in-memory twin.
    ///
    /// # Errors
    /// When SQLite cannot be had, which would be a bug.
    pub fn in_memory() -> Result<Self> {
        let connection = Connection::open_in_memory().map_err(fault(WHAT))?;
        connection.execute_batch(SCHEMA).map_err(fault(WHAT))?;
        let both = Arc::new(Mutex::new(connection));
        Ok(Self {
            writer: both.clone(),
            reader: both,
            tables: Mutex::default(),
        })
    }

    /// Opens a warehouse that another process may be writing; loads are refused.
    ///
    /// # Errors
    /// When there is none.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let writer = open_read_only(path, WHAT)?;
        let reader = Arc::new(Mutex::new(open_read_only(path, WHAT)?));
        Ok(Self {
            writer: Arc::new(Mutex::new(writer)),
            reader,
            tables: Mutex::default(),
        })
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn receipt(connection: &Connection, batch: &str) -> Result<Option<LoadReceipt>> {
    connection
        .query_row(
            "SELECT row_count FROM load_ledger WHERE batch = ?1",
            [batch],
            |row| row.get::<_, i64>(0),
        )
        .optional()
        .map(|found| {
            found.map(|rows| LoadReceipt {
                batch: batch.to_owned(),
                rows: rows as u64,
            })
        })
        .map_err(fault(WHAT))
}

fn insert_sql(table: &TableSpec, columns: usize) -> String {
    let names: Vec<String> = table.columns[..columns]
        .iter()
        .map(|(name, _)| quoted(name))
        .collect();
    let marks = vec!["?"; columns].join(", ");
    let merge = match &table.mode {
        LoadMode::Append => String::new(),
        LoadMode::MergeByRevision { key, revision } => {
            let set: Vec<String> = names
                .iter()
                .map(|name| format!("{name} = excluded.{name}"))
                .collect();
            let key: Vec<String> = key.iter().map(|name| quoted(name)).collect();
            let (target, revision) = (quoted(&table.name), quoted(revision));
            format!(
                " ON CONFLICT ({}) DO UPDATE SET {} WHERE {target}.{revision} < excluded.{revision}",
                key.join(", "),
                set.join(", ")
            )
        }
    };
    format!(
        "INSERT INTO {} ({}) VALUES ({marks}){merge}",
        quoted(&table.name),
        names.join(", ")
    )
}

fn load_file(
    transaction: &Transaction<'_>,
    table: &TableSpec,
    path: &str,
    bytes: bytes::Bytes,
    expected: u64,
) -> Result<()> {
    let refused = |why: String| {
        Error::BadFile(format!(
            "lake file '{path}' does not fit table '{}': {why}",
            table.name
        ))
    };
    let mut rows = 0;
    let batches = theatre_parquet::read(path, bytes).map_err(|error| refused(error.to_string()))?;
    for batch in batches {
        let batch = batch.map_err(|error| refused(error.to_string()))?;
        let columns = batch.num_columns();
        if columns > table.columns.len() {
            return Err(refused(format!(
                "it has {columns} columns, the table {}",
                table.columns.len()
            )));
        }
        for (field, (name, kind)) in batch.schema().fields().iter().zip(&table.columns) {
            // One of before the column was widened fits as well: SQLite makes it the column's type.
            let fits = theatre_parquet::column_type(field.data_type())
                .is_some_and(|there| there.widens_to(*kind));
            if !fits {
                return Err(refused(format!(
                    "column '{name}' is {} there",
                    field.data_type()
                )));
            }
        }
        let mut statement = transaction
            .prepare_cached(&insert_sql(table, columns))
            .map_err(fault(WHAT))?;
        for row in 0..batch.num_rows() {
            statement
                .execute(params_from_iter(
                    (0..columns).map(|column| cell(&batch, column, row)),
                ))
                .map_err(fault(WHAT))?;
        }
        rows += batch.num_rows() as u64;
    }
    if rows != expected {
        return Err(refused(format!(
            "it has {rows} rows, its registration says {expected}"
        )));
    }
    Ok(())
}

fn cell(batch: &RecordBatch, column: usize, row: usize) -> Cell {
    let array = batch.column(column);
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Boolean => Cell::Integer(i64::from(array.as_boolean().value(row))),
        DataType::Int32 => Cell::Integer(i64::from(array.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => Cell::Real(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Cell::Real(array.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(..) => {
            Cell::Integer(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Date32 => Cell::Integer(i64::from(array.as_primitive::<Date32Type>().value(row))),
        DataType::Decimal128(_, scale) => {
            let units = array.as_primitive::<Decimal128Type>().value(row);
            Cell::Real(units as f64 / 10_f64.powi(i32::from(*scale)))
        }
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => Cell::Blob(array.as_binary::<i32>().value(row).to_vec()),
        _ => Cell::Null,
    }
}

/// A lake that answers and has not got the file.
fn of_a_file(error: Error) -> Error {
    match error {
        Error::Gone(why) => Error::BadFile(why),
        other => other,
    }
}

impl Warehouse for EmbeddedWarehouse {
    fn limits(&self) -> TableLimits {
        LIMITS
    }

    fn check_tables(&self, tables: &[TableSpec]) -> Result<()> {
        let connection = lock(&self.reader);
        tables
            .iter()
            .try_for_each(|table| compare(&connection, table).map(drop))
    }

    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()> {
        let mut connection = lock(&self.writer);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault(WHAT))?;
        for table in tables {
            ensure_table(&transaction, table)?;
        }
        transaction.commit().map_err(fault(WHAT))?;
        *lock(&self.tables) = tables.to_vec();
        Ok(())
    }

    fn load(&self, batch: &LoadBatch, lake: &dyn Lake) -> Result<LoadReceipt> {
        let table = lock(&self.tables)
            .iter()
            .find(|table| table.name == batch.dataset)
            .cloned();
        let table = table.ok_or_else(|| {
            Error::Refused(format!(
                "there is no table '{}' for a file of the lake: put its schema back into the configuration",
                batch.dataset
            ))
        })?;
        let mut connection = lock(&self.writer);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault(WHAT))?;
        if let Some(known) = receipt(&transaction, &batch.id)? {
            return Ok(known);
        }
        let mut rows = 0;
        for file in &batch.files {
            let bytes = lake.read(&file.file.path).map_err(of_a_file)?;
            if bytes.len() as u64 != file.file.bytes {
                let (there, said) = (bytes.len(), file.file.bytes);
                return Err(Error::BadFile(format!(
                    "lake file '{}' has {there} bytes, its registration says {said}",
                    file.file.path
                )));
            }
            load_file(&transaction, &table, &file.file.path, bytes, file.file.rows)?;
            rows += file.file.rows;
        }
        transaction
            .execute(
                "INSERT INTO load_ledger VALUES (?1, ?2, ?3, ?4)",
                params![batch.id, table.name, rows as i64, batch.files.len() as i64],
            )
            .map_err(fault(WHAT))?;
        transaction.commit().map_err(fault(WHAT))?;
        Ok(LoadReceipt {
            batch: batch.id.clone(),
            rows,
        })
    }

    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>> {
        receipt(&lock(&self.reader), batch)
    }

    fn query(&self, sql: &str) -> Result<QueryResult> {
        let refused = |error: rusqlite::Error| {
            Error::Refused(format!(
                "the warehouse refuses the query: {error} (\"SELECT name FROM sqlite_schema\" lists the tables)"
            ))
        };
        let connection = lock(&self.reader);
        let mut statement = connection.prepare(sql).map_err(refused)?;
        if !statement.readonly() {
            return Err(Error::Refused(
                "the warehouse refuses the query: only statements that read are run here"
                    .to_owned(),
            ));
        }
        let columns: Vec<String> = statement
            .column_names()
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let rows = statement.query_map([], |row| {
            (0..columns.len())
                .map(|index| row.get_ref(index).map(json))
                .collect()
        });
        let rows = rows.and_then(Iterator::collect).map_err(refused)?;
        Ok(QueryResult { columns, rows })
    }
}

fn json(value: ValueRef<'_>) -> serde_json::Value {
    match value {
        ValueRef::Null => serde_json::Value::Null,
        ValueRef::Integer(value) => value.into(),
        ValueRef::Real(value) => {
            serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Into::into)
        }
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()).into(),
    }
}
