//! Rows that a build before loaded one by one become files, as later loads are kept.

use std::sync::{Arc, Mutex};

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use theatre_actors::ports::{ColumnType, Error, LakeUpload, Result, TableSpec};
use theatre_parquet::columns::Footer;
use theatre_parquet::file_schema;
use theatre_parquet::writer::FileWriter;

use super::super::{fault, lock};
use super::{WHAT, loaded_files, quoted};

/// Rows that become one file; they are in memory meanwhile.
const FILE_ROWS: usize = 200_000;

/// A file that is written into memory.
#[derive(Clone, Default)]
struct InMemory(Arc<Mutex<Vec<u8>>>);

impl LakeUpload for InMemory {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(())
    }

    fn seal(self: Box<Self>) -> Result<String> {
        Ok(String::new())
    }
}

/// Keeps the rows of a table, of whose columns the first so many are there, as files.
pub(super) fn keep_rows(connection: &Connection, table: &TableSpec, columns: usize) -> Result<()> {
    let there = TableSpec {
        columns: table.columns[..columns].to_vec(),
        ..table.clone()
    };
    let names: Vec<String> = there.columns.iter().map(|(name, _)| quoted(name)).collect();
    let sql = format!(
        "SELECT {} FROM {} ORDER BY rowid",
        names.join(", "),
        quoted(&table.name)
    );
    let mut statement = connection.prepare(&sql).map_err(fault(WHAT))?;
    let mut rows = statement.query([]).map_err(fault(WHAT))?;
    let (mut made, mut waiting) = (builders(&there), 0);
    let mut files = 0;
    loop {
        let row = rows.next().map_err(fault(WHAT))?;
        if waiting == FILE_ROWS || (row.is_none() && waiting > 0) {
            let full = std::mem::replace(&mut made, builders(&there));
            keep_file(connection, &there, files, full)?;
            (files, waiting) = (files + 1, 0);
        }
        let Some(row) = row else {
            return Ok(());
        };
        for (at, column) in made.iter_mut().enumerate() {
            column.push(row.get_ref(at).map_err(fault(WHAT))?);
        }
        waiting += 1;
    }
}

fn builders(table: &TableSpec) -> Vec<Column> {
    let kinds = table.columns.iter().map(|(_, kind)| *kind);
    kinds.map(Column::new).collect()
}

fn keep_file(
    connection: &Connection,
    table: &TableSpec,
    number: usize,
    columns: Vec<Column>,
) -> Result<()> {
    let path = format!("{} (rows loaded before, part {number})", table.name);
    let schema = file_schema(table);
    let arrays = columns.into_iter().map(Column::finish).collect();
    let rows = RecordBatch::try_new(schema.clone(), arrays)
        .map_err(|error| Error::Refused(format!("table '{}': {error}", table.name)))?;
    let bytes = InMemory::default();
    let mut writer = FileWriter::new(Box::new(bytes.clone()), &schema, path, &table.name)?;
    writer.write(rows, std::iter::empty())?;
    let file = writer.finish()?;
    let bytes = bytes::Bytes::from(std::mem::take(&mut *lock(&bytes.0)));
    let from = Footer::begin(&file.path, &bytes)?;
    let footer = Footer::read(&file.path, file.bytes, bytes.slice(from as usize..))?;
    loaded_files::insert(connection, &table.name, &footer, from, &bytes).map_err(fault(WHAT))
}

/// A column that is being made of cells.
enum Column {
    Boolean(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
    Time(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    /// Type of the column, and how many units make one: the table has the nearest number.
    Decimal(Decimal128Builder, DataType, f64),
}

impl Column {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Int32 => Self::Int32(Int32Builder::new()),
            ColumnType::Int64 => Self::Int64(Int64Builder::new()),
            ColumnType::Float32 => Self::Float32(Float32Builder::new()),
            ColumnType::Float64 => Self::Float64(Float64Builder::new()),
            ColumnType::Utf8 => Self::Text(StringBuilder::new()),
            ColumnType::Binary => Self::Binary(BinaryBuilder::new()),
            ColumnType::TimestampMicros => Self::Time(TimestampMicrosecondBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Decimal { precision, scale } => Self::Decimal(
                Decimal128Builder::new(),
                DataType::Decimal128(precision, scale as i8),
                10_f64.powi(i32::from(scale)),
            ),
        }
    }

    fn push(&mut self, cell: ValueRef<'_>) {
        let whole = match cell {
            ValueRef::Integer(value) => Some(value),
            _ => None,
        };
        let number = match cell {
            ValueRef::Integer(value) => Some(value as f64),
            ValueRef::Real(value) => Some(value),
            _ => None,
        };
        match self {
            Self::Boolean(of) => of.append_option(whole.map(|value| value != 0)),
            Self::Int32(of) => of.append_option(whole.map(|value| value as i32)),
            Self::Int64(of) => of.append_option(whole),
            Self::Float32(of) => of.append_option(number.map(|value| value as f32)),
            Self::Float64(of) => of.append_option(number),
            Self::Text(of) => of.append_option(cell.as_str().ok()),
            Self::Binary(of) => of.append_option(cell.as_blob().ok()),
            Self::Time(of) => of.append_option(whole),
            Self::Date(of) => of.append_option(whole.map(|value| value as i32)),
            Self::Decimal(of, _, one) => {
                of.append_option(number.map(|value| (value * *one).round() as i128));
            }
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Boolean(mut of) => Arc::new(of.finish()),
            Self::Int32(mut of) => Arc::new(of.finish()),
            Self::Int64(mut of) => Arc::new(of.finish()),
            Self::Float32(mut of) => Arc::new(of.finish()),
            Self::Float64(mut of) => Arc::new(of.finish()),
            Self::Text(mut of) => Arc::new(of.finish()),
            Self::Binary(mut of) => Arc::new(of.finish()),
            Self::Time(mut of) => Arc::new(of.finish().with_timezone("UTC")),
            Self::Date(mut of) => Arc::new(of.finish()),
            Self::Decimal(mut of, kind, _) => Arc::new(of.finish().with_data_type(kind)),
        }
    }
}
