//! The warehouse as one SQLite file.
//!
//! A load is one transaction: ask the ledger, read the batch's Parquet files through the lake,
//! insert or merge, write the ledger row. Columns are matched by position, as COPY does it.
//! Timestamps are microseconds UTC.

use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{
    Connection, OptionalExtension, Transaction, TransactionBehavior, params, params_from_iter,
};
use theatre_actors::ports::{
    ColumnType, Error, Lake, LoadBatch, LoadMode, LoadReceipt, QueryResult, Result, TableLimits,
    TableSpec, Warehouse,
};

use super::{fault, lock, open, open_read_only};

const WHAT: &str = "warehouse";

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS load_ledger (batch TEXT PRIMARY KEY, table_name TEXT NOT NULL, row_count INTEGER NOT NULL,
    files INTEGER NOT NULL) STRICT;";

/// What SQLite takes, as it is built; it folds the case of names, and so do the names of tables and
/// columns.
pub const LIMITS: TableLimits = TableLimits {
    columns_max: 2000,
    name_bytes_max: 1000,
    reserved_tables: &["load_ledger", "sqlite_*"],
    reserved_columns: &[],
};

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

fn sql_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Boolean
        | ColumnType::Int32
        | ColumnType::Int64
        | ColumnType::TimestampMicros
        | ColumnType::Date => "INTEGER",
        ColumnType::Float32 | ColumnType::Float64 => "REAL",
        ColumnType::Utf8 => "TEXT",
        ColumnType::Binary => "BLOB",
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// How a table differs from the one that it should be.
#[derive(Default)]
struct Difference {
    /// There is none.
    is_missing: bool,
    /// Columns that are there have types that widen to those they should have.
    widens: bool,
    /// As many columns are there.
    columns: usize,
}

/// Compares a table with the one that it should be.
///
/// # Errors
/// `Refused`: it cannot become that.
fn compare(connection: &Connection, table: &TableSpec) -> Result<Difference> {
    LIMITS.check(table)?;
    let there: Vec<(String, String)> = described(
        connection,
        "SELECT name, type FROM pragma_table_info(?1)",
        table,
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if there.is_empty() {
        return Ok(Difference {
            is_missing: true,
            ..Difference::default()
        });
    }
    let keyed: Vec<String> = described(
        connection,
        "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk",
        table,
        |row| row.get(0),
    )?;
    let merged_by = merged_by(table);
    if keyed != merged_by {
        return Err(Error::Refused(format!(
            "warehouse table '{}': rows are told apart by {keyed:?} there, this build does so by {merged_by:?}: begin with a new data folder",
            table.name
        )));
    }
    let mut widens = false;
    for (at, (name, kind)) in there.iter().enumerate() {
        let wanted = table.columns.get(at);
        let wanted = wanted.map(|(name, kind)| (name.as_str(), sql_type(*kind)));
        match wanted {
            Some(wanted) if wanted == (name.as_str(), kind.as_str()) => {}
            // Whole numbers are numbers.
            Some((wanted, "REAL")) if wanted == name && kind == "INTEGER" => widens = true,
            _ => {
                return Err(Error::Refused(format!(
                    "warehouse table '{}': column {} is '{name} {kind}', the schema has {}: columns may be added at the end and numbers may widen; for anything else give the dataset another name (theatre.dataset), or begin in another data directory (--data)",
                    table.name,
                    at + 1,
                    wanted.map_or("none there".to_owned(), |(name, kind)| format!(
                        "'{name} {kind}' there"
                    ))
                )));
            }
        }
    }
    Ok(Difference {
        is_missing: false,
        widens,
        columns: there.len(),
    })
}

fn merged_by(table: &TableSpec) -> &[String] {
    match &table.mode {
        LoadMode::MergeByRevision { key, .. } => key,
        LoadMode::Append => &[],
    }
}

fn definition((name, kind): &(String, ColumnType)) -> String {
    format!("{} {}", quoted(name), sql_type(*kind))
}

/// The statement that makes a table with the first of its columns, under another name perhaps.
fn create(table: &TableSpec, name: &str, columns: usize) -> String {
    let columns: Vec<String> = table.columns[..columns].iter().map(definition).collect();
    let key: Vec<String> = merged_by(table).iter().map(|name| quoted(name)).collect();
    let key = if key.is_empty() {
        String::new()
    } else {
        format!(", PRIMARY KEY ({})", key.join(", "))
    };
    format!(
        "CREATE TABLE {} ({}{key})",
        quoted(name),
        columns.join(", ")
    )
}

fn ensure_table(connection: &Connection, table: &TableSpec) -> Result<()> {
    let execute = |sql: &str| connection.execute_batch(sql).map_err(fault(WHAT));
    let difference = compare(connection, table)?;
    if difference.is_missing {
        return execute(&create(table, &table.name, table.columns.len()));
    }
    if difference.widens {
        widen(connection, table, difference.columns)?;
    }
    table.columns[difference.columns..]
        .iter()
        .try_for_each(|added| {
            execute(&format!(
                "ALTER TABLE {} ADD COLUMN {}",
                quoted(&table.name),
                definition(added)
            ))
        })
}

/// Makes a table anew with wider types, and what is in it: SQLite cannot change the type of a column.
/// Indexes that somebody has added are made anew, too.
fn widen(connection: &Connection, table: &TableSpec, columns: usize) -> Result<()> {
    let indexes: Vec<String> = described(
        connection,
        "SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL",
        table,
        |row| row.get(0),
    )?;
    let names: Vec<String> = table.columns[..columns]
        .iter()
        .map(|(name, _)| quoted(name))
        .collect();
    let (names, old) = (names.join(", "), quoted(&table.name));
    let wider = format!("{} (wider)", table.name);
    let statements = [
        create(table, &wider, columns),
        format!(
            "INSERT INTO {} ({names}) SELECT {names} FROM {old} ORDER BY rowid",
            quoted(&wider)
        ),
        format!("DROP TABLE {old}"),
        format!("ALTER TABLE {} RENAME TO {old}", quoted(&wider)),
    ];
    statements
        .iter()
        .chain(&indexes)
        .try_for_each(|sql| connection.execute_batch(sql).map_err(fault(WHAT)))
}

/// What SQLite knows of a table.
fn described<T>(
    connection: &Connection,
    sql: &str,
    table: &TableSpec,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare(sql).map_err(fault(WHAT))?;
    statement
        .query_map([&table.name], read)
        .and_then(Iterator::collect)
        .map_err(fault(WHAT))
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
