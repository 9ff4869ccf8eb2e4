//! The warehouse as one SQLite file.
//!
//! A load is one transaction: ask the ledger, read the batch's Parquet files through the lake, keep
//! or merge them, write the ledger row. Columns are matched by position, as COPY does it.
//! Timestamps are microseconds UTC.
//!
//! A table to which rows are only added keeps its files as they are, and is read through a virtual
//! table (`file_table.rs`): to take rows apart into cells costs more than all that comes before,
//! and most of them are never asked for. The bytes are a copy, so that the lake's files may move,
//! and the warehouse is one file still. A table that is merged by revision has rows.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{
    Connection, OptionalExtension, Transaction, TransactionBehavior, params, params_from_iter,
};
use theatre_actors::ports::{
    Error, Lake, LakeFile, LoadBatch, LoadMode, LoadReceipt, QueryResult, Result, TableErasure,
    TableLimits, TableSpec, Warehouse,
};

use theatre_parquet::columns::Footer;

use super::{fault, lock, open_paged, open_read_only};

const WHAT: &str = "warehouse";

/// Bytes of a page: a loaded file is a chain of them, and with longer ones half of the work on it
/// is saved.
const PAGE_BYTES: u32 = 16_384;

/// Memory for the pages and the sorted rows of queries, KiB. With SQLite's own 2 MiB a report on all
/// samples is sorted in dozens of parts, each through a file.
const QUERY_KIB: i64 = 32 << 10;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS load_ledger (batch TEXT PRIMARY KEY, table_name TEXT NOT NULL, row_count INTEGER NOT NULL,
    files INTEGER NOT NULL) STRICT;";

mod adopted;
mod copied;
mod erase;
mod file_table;
mod loaded_files;
mod star;
mod tables;
#[cfg(test)]
mod tests;

pub use copied::CopiedTable;
use loaded_files::{Footers, Values};
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
        let schema = format!("{SCHEMA}{}", loaded_files::SCHEMA);
        let writer = open_paged(path, WHAT, &schema, PAGE_BYTES)?;
        Self::of(writer, open_read_only(path, WHAT)?)
    }

    fn of(writer: Connection, reader: Connection) -> Result<Self> {
        reader
            .pragma_update(None, "cache_size", -QUERY_KIB)
            .map_err(fault(WHAT))?;
        let footers = Footers::default();
        for connection in [&writer, &reader] {
            file_table::register(connection, &footers).map_err(fault(WHAT))?;
        }
        Ok(Self {
            writer: Arc::new(Mutex::new(writer)),
            reader: Arc::new(Mutex::new(reader)),
            tables: Mutex::default(),
        })
    }

    /// A warehouse that lives as long as this value: the in-memory twin.
    ///
    /// # Errors
    /// When SQLite cannot be had, which would be a bug.
    pub fn in_memory() -> Result<Self> {
        let connection = Connection::open_in_memory().map_err(fault(WHAT))?;
        let schema = format!("{SCHEMA}{}", loaded_files::SCHEMA);
        connection.execute_batch(&schema).map_err(fault(WHAT))?;
        file_table::register(&connection, &Footers::default()).map_err(fault(WHAT))?;
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
        Self::of(open_read_only(path, WHAT)?, open_read_only(path, WHAT)?)
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

fn insert_sql(table: &TableSpec, key: &[String], revision: &str, columns: usize) -> String {
    let names: Vec<String> = table.columns[..columns]
        .iter()
        .map(|(name, _)| quoted(name))
        .collect();
    let marks = vec!["?"; columns].join(", ");
    let set: Vec<String> = names
        .iter()
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    let key: Vec<String> = key.iter().map(|name| quoted(name)).collect();
    let (target, revision) = (quoted(&table.name), quoted(revision));
    format!(
        "INSERT INTO {target} ({}) VALUES ({marks}) ON CONFLICT ({}) DO UPDATE SET {} WHERE {target}.{revision} < excluded.{revision}",
        names.join(", "),
        key.join(", "),
        set.join(", ")
    )
}

/// A file of a batch, which fits its table.
struct FittingFile {
    footer: Footer,
    footer_from: u64,
    bytes: bytes::Bytes,
}

/// Reads a file and refuses one that does not fit the table, or is not what was registered.
fn read_file(table: &TableSpec, file: &LakeFile, lake: &dyn Lake) -> Result<FittingFile> {
    let path = file.path.as_str();
    let bytes = lake.read(path).map_err(of_a_file)?;
    if bytes.len() as u64 != file.bytes {
        let (there, said) = (bytes.len(), file.bytes);
        return Err(Error::BadFile(format!(
            "lake file '{path}' has {there} bytes, its registration says {said}"
        )));
    }
    let refused = |why: String| {
        Error::BadFile(format!(
            "lake file '{path}' does not fit table '{}': {why}",
            table.name
        ))
    };
    let footer_from = Footer::begin(path, &bytes).map_err(|error| refused(error.to_string()))?;
    let end = bytes.slice(footer_from as usize..);
    let footer = Footer::read(path, file.bytes, end).map_err(|error| refused(error.to_string()))?;
    let types = footer.types();
    if types.len() > table.columns.len() {
        return Err(refused(format!(
            "it has {} columns, the table {}",
            types.len(),
            table.columns.len()
        )));
    }
    for ((there, called), (name, kind)) in types.iter().zip(&table.columns) {
        // One of before the column was widened fits as well: it is read as the column's type.
        if !there.is_some_and(|there| there.widens_to(*kind)) {
            return Err(refused(format!("column '{name}' is {called} there")));
        }
    }
    if footer.rows() != file.rows {
        return Err(refused(format!(
            "it has {} rows, its registration says {}",
            footer.rows(),
            file.rows
        )));
    }
    Ok(FittingFile {
        footer,
        footer_from,
        bytes,
    })
}

/// Merges the rows of a file into those of its table.
fn merge_rows(
    transaction: &Transaction<'_>,
    table: &TableSpec,
    (key, revision): (&[String], &str),
    file: FittingFile,
) -> Result<()> {
    let columns = file.footer.types().len();
    let sql = insert_sql(table, key, revision, columns);
    let mut statement = transaction.prepare_cached(&sql).map_err(fault(WHAT))?;
    let bad = |error: Error| Error::BadFile(error.to_string());
    for batch in file.footer.rows_of(file.bytes).map_err(bad)? {
        let batch = batch.map_err(bad)?;
        let values: Vec<Values> = batch.columns().iter().map(Values::of).collect();
        for row in 0..batch.num_rows() {
            let cells = values
                .iter()
                .map(|column| ToSqlOutput::Borrowed(column.get(row)));
            statement
                .execute(params_from_iter(cells))
                .map_err(fault(WHAT))?;
        }
    }
    Ok(())
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
        star::ensure(&transaction, tables)?;
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
            let read = read_file(&table, &file.file, lake)?;
            match &table.mode {
                LoadMode::Append => loaded_files::insert(
                    &transaction,
                    &table.name,
                    &read.footer,
                    read.footer_from,
                    &read.bytes,
                )
                .map_err(fault(WHAT))?,
                LoadMode::MergeByRevision { key, revision } => {
                    merge_rows(&transaction, &table, (key, revision), read)?;
                }
            }
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

    fn erase(&self, erasure: &TableErasure) -> Result<Option<u64>> {
        erase::erase(&mut lock(&self.writer), erasure)
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
        let mut connection = lock(&self.reader);
        // What the query reads is of one moment, the tables' own list included: a table over files
        // asks for its files by statements of its own, which cannot follow a change of the schema.
        let moment = connection.transaction().map_err(refused)?;
        moment
            .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .map_err(refused)?;
        let mut statement = moment.prepare(sql).map_err(refused)?;
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
