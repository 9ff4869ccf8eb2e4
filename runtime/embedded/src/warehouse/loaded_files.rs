//! The loaded files of tables to which rows are only added: each is kept as it is, a row of one
//! table, and read column by column when a query wants them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::DataType;
use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, MAIN_DB, Result, params};
use theatre_parquet::columns::Footer;

use super::lock;

/// The table of files. The index answers how many rows a table has, without touching the files.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS loaded_files (id INTEGER PRIMARY KEY AUTOINCREMENT, table_name TEXT NOT NULL, path TEXT NOT NULL,
    row_count INTEGER NOT NULL, footer_from INTEGER NOT NULL, bytes INTEGER NOT NULL, content BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS loaded_files_by_table ON loaded_files (table_name, row_count);";

/// So many footers are remembered; one takes tens of kilobytes.
const FOOTERS_MAX: usize = 2000;

/// Footers that were read, by the file's number: a file never changes, and numbers do not come
/// again.
#[derive(Clone, Default)]
pub(super) struct Footers(Arc<Mutex<HashMap<i64, Arc<Footer>>>>);

/// A file, of which nothing but the footer is in memory.
#[derive(Clone)]
pub(super) struct LoadedFile {
    pub(super) id: i64,
    pub(super) footer: Arc<Footer>,
}

/// Keeps a file whose footer was read.
pub(super) fn insert(
    connection: &Connection,
    table: &str,
    footer: &Footer,
    footer_from: u64,
    content: &[u8],
) -> Result<()> {
    let sql = "INSERT INTO loaded_files (table_name, path, row_count, footer_from, bytes, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (rows, from, bytes) = (footer.rows(), footer_from, content.len());
    connection
        .prepare_cached(sql)?
        .execute(params![
            table,
            footer.path(),
            rows as i64,
            from as i64,
            bytes as i64,
            content
        ])
        .map(drop)
}

/// Rows of a table, as far as they are in files.
pub(super) fn rows(connection: &Connection, table: &str) -> Result<i64> {
    let sql = "SELECT coalesce(sum(row_count), 0) FROM loaded_files WHERE table_name = ?1";
    connection
        .prepare_cached(sql)?
        .query_row([table], |row| row.get(0))
}

/// The files of a table, in the order of their loads.
pub(super) fn of_table(
    connection: &Connection,
    table: &str,
    footers: &Footers,
) -> Result<Vec<LoadedFile>> {
    let sql =
        "SELECT id, path, footer_from, bytes FROM loaded_files WHERE table_name = ?1 ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([table])?;
    let mut files = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let known = lock(&footers.0).get(&id).cloned();
        let footer = match known {
            Some(footer) => footer,
            None => {
                let path: String = row.get(1)?;
                let (from, bytes): (i64, i64) = (row.get(2)?, row.get(3)?);
                let end = part(connection, id, from as u64..bytes as u64)?;
                let footer = Footer::read(&path, bytes as u64, end).map_err(of_the_file)?;
                let footer = Arc::new(footer);
                let mut known = lock(&footers.0);
                if known.len() >= FOOTERS_MAX {
                    known.clear();
                }
                known.insert(id, Arc::clone(&footer));
                footer
            }
        };
        files.push(LoadedFile { id, footer });
    }
    Ok(files)
}

/// Some bytes of a file.
fn part(connection: &Connection, id: i64, range: Range<u64>) -> Result<Bytes> {
    let blob = connection.blob_open(MAIN_DB, c"loaded_files", c"content", id, true)?;
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.min(blob.len())];
    blob.read_at_exact(&mut bytes, range.start as usize)?;
    Ok(bytes.into())
}

/// The values of a column of a row group.
pub(super) fn values(
    connection: &Connection,
    file: &LoadedFile,
    group: usize,
    column: usize,
) -> Result<Values> {
    let bytes = part(connection, file.id, file.footer.range(group, column))?;
    let values = file.footer.decode(group, column, bytes);
    values.map(|array| Values::of(&array)).map_err(of_the_file)
}

pub(super) fn of_the_file(error: impl std::fmt::Display) -> rusqlite::Error {
    rusqlite::Error::ModuleError(error.to_string())
}

/// A column of values, as SQLite takes them.
pub(super) enum Values {
    Boolean(BooleanArray),
    Int32(Int32Array),
    Int64(Int64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Time(TimestampMicrosecondArray),
    Date(Date32Array),
    /// Units of the last digit, and how many of them make one: SQLite has no decimals, and gets the
    /// nearest number.
    Decimal(Decimal128Array, f64),
    Text(StringArray),
    Binary(BinaryArray),
    /// Of a type that no table has.
    Nothing,
}

impl Values {
    pub(super) fn of(array: &ArrayRef) -> Self {
        match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int32 => Self::Int32(array.as_primitive::<Int32Type>().clone()),
            DataType::Int64 => Self::Int64(array.as_primitive::<Int64Type>().clone()),
            DataType::Float32 => Self::Float32(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Float64(array.as_primitive::<Float64Type>().clone()),
            DataType::Timestamp(..) => {
                Self::Time(array.as_primitive::<TimestampMicrosecondType>().clone())
            }
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Decimal128(_, scale) => Self::Decimal(
                array.as_primitive::<Decimal128Type>().clone(),
                10_f64.powi(i32::from(*scale)),
            ),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().clone()),
            DataType::Binary => Self::Binary(array.as_binary::<i32>().clone()),
            _ => Self::Nothing,
        }
    }

    /// The value of a row.
    pub(super) fn get(&self, row: usize) -> ValueRef<'_> {
        fn there<A: Array, T>(array: &A, row: usize, value: impl FnOnce(&A) -> T) -> Option<T> {
            array.is_valid(row).then(|| value(array))
        }
        let value = match self {
            Self::Boolean(of) => there(of, row, |of| ValueRef::Integer(of.value(row).into())),
            Self::Int32(of) => there(of, row, |of| ValueRef::Integer(of.value(row).into())),
            Self::Int64(of) => there(of, row, |of| ValueRef::Integer(of.value(row))),
            Self::Float32(of) => there(of, row, |of| ValueRef::Real(of.value(row).into())),
            Self::Float64(of) => there(of, row, |of| ValueRef::Real(of.value(row))),
            Self::Time(of) => there(of, row, |of| ValueRef::Integer(of.value(row))),
            Self::Date(of) => there(of, row, |of| ValueRef::Integer(of.value(row).into())),
            Self::Decimal(of, units) => {
                there(of, row, |of| ValueRef::Real(of.value(row) as f64 / units))
            }
            Self::Text(of) => of
                .is_valid(row)
                .then(|| ValueRef::Text(of.value(row).as_bytes())),
            Self::Binary(of) => of.is_valid(row).then(|| ValueRef::Blob(of.value(row))),
            Self::Nothing => None,
        };
        value.unwrap_or(ValueRef::Null)
    }
}
