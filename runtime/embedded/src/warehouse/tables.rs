//! Tables: made, given more columns and wider ones, and compared with what they should be.

use std::borrow::Cow;

use rusqlite::Connection;
use theatre_actors::ports::{ColumnType, Error, LoadMode, Result, TableLimits, TableSpec};

use super::super::fault;
use super::{WHAT, adopted, file_table, quoted};

/// What SQLite takes, as it is built; it folds the case of names, and so do the names of tables and
/// columns.
pub const LIMITS: TableLimits = TableLimits {
    columns_max: 2000,
    name_bytes_max: 1000,
    reserved_tables: &[
        "load_ledger",
        "loaded_files",
        "sqlite_*",
        "star_*",
        "dim_*",
        "fact_*",
        "vw_*",
        "rollup_*",
    ],
    reserved_columns: &[],
};

fn sql_type(column_type: ColumnType) -> Cow<'static, str> {
    let name = match column_type {
        ColumnType::Boolean
        | ColumnType::Int32
        | ColumnType::Int64
        | ColumnType::TimestampMicros
        | ColumnType::Date => "INTEGER",
        ColumnType::Float32 | ColumnType::Float64 => "REAL",
        ColumnType::Utf8 => "TEXT",
        ColumnType::Binary => "BLOB",
        // SQLite has no decimals. The type says what the number is; it is held as the nearest
        // double, which is the decimal again once it is rounded to its digits, up to 15 of them.
        ColumnType::Decimal { precision, scale } => {
            return format!("DECIMAL({precision},{scale})").into();
        }
    };
    name.into()
}

/// How a table differs from the one that it should be.
#[derive(Default)]
pub(super) struct Difference {
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
pub(super) fn compare(connection: &Connection, table: &TableSpec) -> Result<Difference> {
    LIMITS.check(table)?;
    let there: Vec<(String, String)> = described(
        connection,
        "SELECT name, type FROM pragma_table_info(?1) \
         WHERE NOT EXISTS (SELECT 1 FROM sqlite_schema AS s WHERE s.type = 'view' AND s.name = ?1)",
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
        let wanted = wanted.as_ref().map(|(name, kind)| (*name, &**kind));
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

pub(super) fn ensure_table(connection: &Connection, table: &TableSpec) -> Result<()> {
    let execute = |sql: &str| connection.execute_batch(sql).map_err(fault(WHAT));
    let difference = compare(connection, table)?;
    if difference.is_missing
        && theatre_star::PEOPLE
            .iter()
            .any(|view| view.name == table.name)
    {
        // A dataset of that name comes first.
        execute(&format!("DROP VIEW IF EXISTS {}", quoted(&table.name)))?;
    }
    if table.mode == LoadMode::Append {
        return ensure_files(connection, table, &difference);
    }
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

/// Makes what a table over files should be of it. It can be made anew at any time, since it holds
/// nothing but the names of its columns; rows that an earlier build loaded become a file first.
fn ensure_files(connection: &Connection, table: &TableSpec, there: &Difference) -> Result<()> {
    let execute = |sql: &str| connection.execute_batch(sql).map_err(fault(WHAT));
    if !there.is_missing {
        let sql = "SELECT sql LIKE 'CREATE VIRTUAL TABLE%' FROM sqlite_schema WHERE name = ?1";
        let is_virtual: Vec<bool> = described(connection, sql, table, |row| row.get(0))?;
        let as_it_should_be = !there.widens && there.columns == table.columns.len();
        if is_virtual == [true] && as_it_should_be {
            return Ok(());
        }
        if is_virtual == [false] {
            adopted::keep_rows(connection, table, there.columns)?;
        }
        execute(&format!("DROP TABLE {}", quoted(&table.name)))?;
    }
    let columns: Vec<String> = table.columns.iter().map(definition).collect();
    execute(&format!(
        "CREATE VIRTUAL TABLE {} USING {} ({})",
        quoted(&table.name),
        file_table::MODULE,
        columns.join(", ")
    ))
}

/// Makes a table anew with wider types, and what is in it: SQLite cannot change the type of a
/// column. Indexes that were added are made anew, too.
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
        // A view that names the table does not hold the change up.
        "PRAGMA legacy_alter_table = ON".to_owned(),
        create(table, &wider, columns),
        format!(
            "INSERT INTO {} ({names}) SELECT {names} FROM {old} ORDER BY rowid",
            quoted(&wider)
        ),
        format!("DROP TABLE {old}"),
        format!("ALTER TABLE {} RENAME TO {old}", quoted(&wider)),
        "PRAGMA legacy_alter_table = OFF".to_owned(),
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
