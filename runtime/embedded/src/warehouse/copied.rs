//! A copy of the warehouse that any program can read: tables over files become tables of rows, and
//! the views stand on them as they do here.

use std::path::Path;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Transaction, params_from_iter};
use theatre_actors::ports::{Error, Result};

use super::super::{beside, cannot_open, fault, lock};
use super::{EmbeddedWarehouse, WHAT, quoted};

const COPY: &str = "copy of the warehouse";

/// Tables that are none of the data: how it was loaded, and of which build the views are.
const OWN: &str = "('load_ledger', 'loaded_files', 'star_version')";

/// A table of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

impl EmbeddedWarehouse {
    /// Copies all tables and views into a new file, as they are at one moment; says which tables
    /// these are. The file has its name once it is whole.
    ///
    /// # Errors
    /// `Refused` where a file of that name is there; when either cannot be read or written.
    pub fn copy_to(&self, path: &Path) -> Result<Vec<CopiedTable>> {
        if path.exists() {
            return Err(Error::Refused(format!(
                "{} is there already: give the copy another name, or remove that file",
                path.display()
            )));
        }
        let part = beside(path, ".part");
        let copied = self.copy_into(&part).and_then(|tables| {
            keep(&part, path)?;
            Ok(tables)
        });
        if copied.is_err() {
            // What is left of it is no use; why it failed is what counts.
            let _ = std::fs::remove_file(&part);
        }
        copied
    }

    fn copy_into(&self, part: &Path) -> Result<Vec<CopiedTable>> {
        // Of a copy that was killed.
        if part.exists() {
            std::fs::remove_file(part).map_err(|error| unwritable(part, &error))?;
        }
        let mut copy = Connection::open(part).map_err(|error| cannot_open(part, COPY, &error))?;
        // The file has another name until it is whole.
        let quick = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF";
        copy.execute_batch(quick).map_err(fault(COPY))?;
        let into = copy.transaction().map_err(fault(COPY))?;
        let mut reader = lock(&self.reader);
        let moment = reader.transaction().map_err(fault(WHAT))?;
        let mut copied = Vec::new();
        for (name, sql) in tables(&moment)? {
            into.execute_batch(&sql).map_err(fault(COPY))?;
            let rows = copy_rows(&moment, &into, &name)?;
            copied.push(CopiedTable { name, rows });
        }
        for sql in beside_tables(&moment)? {
            into.execute_batch(&sql).map_err(fault(COPY))?;
        }
        into.commit().map_err(fault(COPY))?;
        Ok(copied)
    }
}

/// Tables, each with the statement that makes it one of rows.
fn tables(moment: &Transaction<'_>) -> Result<Vec<(String, String)>> {
    let sql = format!(
        "SELECT name, sql, sql LIKE 'CREATE VIRTUAL TABLE%' FROM sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN {OWN} ORDER BY name"
    );
    let mut statement = moment.prepare(&sql).map_err(fault(WHAT))?;
    let tables = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<(String, String, bool)>>>)
        .map_err(fault(WHAT))?;
    tables
        .into_iter()
        .map(|(name, sql, is_virtual)| {
            let sql = if is_virtual {
                of_rows(moment, &name)?
            } else {
                sql
            };
            Ok((name, sql))
        })
        .collect()
}

/// The statement that makes a table of rows with the columns of one over files.
fn of_rows(moment: &Transaction<'_>, table: &str) -> Result<String> {
    let sql = "SELECT name, type FROM pragma_table_info(?1) ORDER BY cid";
    let mut statement = moment.prepare(sql).map_err(fault(WHAT))?;
    let columns = statement
        .query_map([table], |row| {
            let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(format!("{} {kind}", quoted(&name)))
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<String>>>)
        .map_err(fault(WHAT))?;
    Ok(format!(
        "CREATE TABLE {} ({})",
        quoted(table),
        columns.join(", ")
    ))
}

/// The statements that make indexes and views, in the order in which they were made.
fn beside_tables(moment: &Transaction<'_>) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT sql FROM sqlite_schema WHERE type IN ('index', 'view') AND sql IS NOT NULL AND tbl_name NOT IN {OWN} ORDER BY rowid"
    );
    let mut statement = moment.prepare(&sql).map_err(fault(WHAT))?;
    statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(fault(WHAT))
}

fn copy_rows(moment: &Transaction<'_>, into: &Transaction<'_>, table: &str) -> Result<u64> {
    let table = quoted(table);
    let mut read = moment
        .prepare(&format!("SELECT * FROM {table}"))
        .map_err(fault(WHAT))?;
    let columns = read.column_count();
    let marks = vec!["?"; columns].join(", ");
    let mut write = into
        .prepare(&format!("INSERT INTO {table} VALUES ({marks})"))
        .map_err(fault(COPY))?;
    let mut rows = read.query([]).map_err(fault(WHAT))?;
    let mut count = 0;
    while let Some(row) = rows.next().map_err(fault(WHAT))? {
        let cells = (0..columns).map(|at| row.get_ref(at).map(ToSqlOutput::Borrowed));
        let cells: Vec<_> = cells
            .collect::<rusqlite::Result<_>>()
            .map_err(fault(WHAT))?;
        write
            .execute(params_from_iter(cells))
            .map_err(fault(COPY))?;
        count += 1;
    }
    Ok(count)
}

/// Gives a file that is whole its name.
fn keep(part: &Path, path: &Path) -> Result<()> {
    std::fs::File::open(part)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(part, path))
        .map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::Refused(format!("{} cannot be written: {error}", path.display()))
}
