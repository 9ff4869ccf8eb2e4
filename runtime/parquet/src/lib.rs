//! Columns to Parquet files and back; and the tables that these files make in the warehouse.
//!
//! Layout for columnar loaders: flat columns, meta columns first (so that a dataset's new columns
//! come at the end), TIMESTAMP in microseconds UTC, ZSTD where it saves something, v1 pages,
//! dictionaries for text only. Files hold rows in the log's order.

pub mod columns;
pub mod cpu_limit;
pub mod erase;
pub mod file_rows;
pub mod merge;
pub mod outputs;
mod parts;
pub mod records;
pub mod writer;

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take;
use parquet::arrow::ProjectionMask;
use theatre_actors::outputs::ALL;
use theatre_actors::ports::{ColumnType, Error, LoadMode, Result, TableSpec};
use theatre_actors::position::Partition;
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::Dataset;

use file_rows::{FileRows, metadata_of};

/// The longest text of a lake file, bytes: what a VARCHAR of the warehouse holds.
pub const TEXT_BYTES_MAX: usize = 65_535;

/// The longest binary value of a lake file, bytes: what a column of the warehouse holds, which is a
/// `VARBYTE(1024000)`.
pub const BINARY_BYTES_MAX: usize = 1_024_000;

/// Stands for U+0000 in the texts of lake files, which a VARCHAR cannot hold: ASCII's SUBSTITUTE,
/// made for a character that cannot be. It is as long, so neither a text nor a row grows; left out,
/// the NUL would make of one robot's name another's.
const SUBSTITUTE: &str = "\u{1a}";

const DAY_US: i64 = 86_400_000_000;

/// The columns in front of every telemetry and event dataset: where the record stood in the log.
pub const META_COLUMNS: [(&str, ColumnType); 4] = [
    ("_topic", ColumnType::Utf8),
    ("_partition", ColumnType::Int32),
    ("_offset", ColumnType::Int64),
    ("_append_time", ColumnType::TimestampMicros),
];

/// The Arrow type of a column.
pub fn arrow_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float32 => DataType::Float32,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Utf8 => DataType::Utf8,
        ColumnType::Binary => DataType::Binary,
        ColumnType::TimestampMicros => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        ColumnType::Date => DataType::Date32,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale as i8),
    }
}

/// A column's name in files and tables: `joints[0].current` becomes `joints_0_current`.
pub fn sql_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    plain.replace("__", "_").trim_end_matches('_').to_owned()
}

/// The longest name of a dataset, bytes: with what else is in the name of a lake file it fits a
/// folder's.
pub const DATASET_BYTES_MAX: usize = 100;

/// What the folders of the lake say, which readers may take for columns.
const FOLDER_KEYS: [&str; 2] = ["theatre_version", "theatre_date"];

/// The warehouse table of a dataset.
///
/// # Errors
/// When a column has no name there or the name of another, or the dataset's own name is taken by a
/// table of outputs or too long.
pub fn table_spec(dataset: &Dataset) -> Result<TableSpec> {
    if dataset.name.len() > DATASET_BYTES_MAX {
        return Err(Error::Refused(format!(
            "dataset '{}': its name has {} bytes, and {DATASET_BYTES_MAX} fit the names of its files: shorten it (theatre.dataset)",
            dataset.name,
            dataset.name.len()
        )));
    }
    if ALL.iter().any(|spec| spec.table.name == dataset.name) {
        return Err(Error::Refused(format!(
            "dataset '{}': this is the name of a table of outputs, give the dataset another one (theatre.dataset)",
            dataset.name
        )));
    }
    let meta = META_COLUMNS
        .iter()
        .map(|(name, column_type)| ((*name).to_owned(), *column_type));
    let own = dataset
        .columns
        .iter()
        .map(|column| (sql_name(&column.name), column.column_type));
    let columns: Vec<(String, ColumnType)> = meta.chain(own).collect();
    if let Some((name, _)) = columns
        .iter()
        .find(|(name, _)| FOLDER_KEYS.contains(&&**name))
    {
        return Err(Error::Refused(format!(
            "dataset '{}': '{name}' is what folders of the lake are called: rename the field",
            dataset.name
        )));
    }
    if let Some(at) = columns.iter().position(|(name, _)| name.is_empty()) {
        return Err(Error::Refused(format!(
            "dataset '{}': nothing is left of the name of field '{}' in a table: rename it",
            dataset.name,
            dataset.columns[at - META_COLUMNS.len()].name
        )));
    }
    let mut names: Vec<&String> = columns.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Refused(format!(
            "dataset '{}': two fields become column '{}': rename one",
            dataset.name, twice[0]
        )));
    }
    Ok(TableSpec {
        name: dataset.name.clone(),
        columns,
        mode: LoadMode::Append,
    })
}

/// The Arrow schema of a table's files.
pub fn file_schema(table: &TableSpec) -> SchemaRef {
    let fields: Vec<Field> = table
        .columns
        .iter()
        .map(|(name, column_type)| Field::new(name, arrow_type(*column_type), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// A text as lake files hold it: one that is too long ends with its last whole character, and
/// U+0000 is U+001A.
pub fn fitting(text: &str) -> Cow<'_, str> {
    let short = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    if short.as_bytes().contains(&0) {
        Cow::Owned(short.replace('\0', SUBSTITUTE))
    } else {
        Cow::Borrowed(short)
    }
}

/// A column with all texts [`fitting`], and with binary values that are as long as they may be at
/// most. Hardly any needs a change: the bytes of a column are looked through as one.
fn fitting_column(column: &ArrayRef) -> ArrayRef {
    let unfit_text = |texts: &&StringArray| {
        let bytes = texts.value_data();
        bytes.contains(&0)
            || bytes.len() > TEXT_BYTES_MAX
                && texts
                    .offsets()
                    .lengths()
                    .any(|length| length > TEXT_BYTES_MAX)
    };
    let too_long = |values: &&BinaryArray| {
        values.value_data().len() > BINARY_BYTES_MAX
            && values
                .offsets()
                .lengths()
                .any(|length| length > BINARY_BYTES_MAX)
    };
    if let Some(texts) = column.as_string_opt::<i32>().filter(unfit_text) {
        return Arc::new(
            texts
                .iter()
                .map(|text| text.map(fitting))
                .collect::<StringArray>(),
        );
    }
    if let Some(values) = column.as_binary_opt::<i32>().filter(too_long) {
        return Arc::new(
            values
                .iter()
                .map(|value| value.map(|bytes| &bytes[..bytes.len().min(BINARY_BYTES_MAX)]))
                .collect::<BinaryArray>(),
        );
    }
    column.clone()
}

/// Rows of a batch as a record batch of the dataset's files. A value that the warehouse could not
/// hold would cost its whole file there, so it is made to fit here: lake and warehouse hold the
/// same.
///
/// # Errors
/// When Arrow refuses, which would be a bug.
pub fn file_rows(
    schema: &SchemaRef,
    topic: &str,
    partition: Partition,
    batch: &Batch,
    rows: &[u32],
) -> Result<RecordBatch> {
    let at = |row: &u32| *row as usize;
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            topic,
            rows.len(),
        ))),
        Arc::new(Int32Array::from_value(partition as i32, rows.len())),
        Arc::new(
            rows.iter()
                .map(|row| batch.offsets[at(row)] as i64)
                .collect::<Int64Array>(),
        ),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(
                rows.iter().map(|row| batch.append_times[at(row)]),
            )
            .with_timezone("UTC"),
        ),
    ];
    if rows.len() == batch.len() {
        columns.extend(batch.columns().map(fitting_column));
    } else {
        let indices = UInt32Array::from(rows.to_vec());
        for column in batch.columns() {
            columns.push(fitting_column(
                &take(column, &indices, None).map_err(|error| encode_error(&error))?,
            ));
        }
    }
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| encode_error(&error))
}

fn encode_error(error: &dyn std::fmt::Display) -> Error {
    Error::Unavailable {
        what: "lake writer",
        why: error.to_string(),
    }
}

/// The types of a file's columns, in their order; `None` for one that no table has.
///
/// # Errors
/// When the bytes are not a Parquet file.
pub fn column_types(path: &str, bytes: bytes::Bytes) -> Result<Vec<Option<ColumnType>>> {
    let reader = read(path, bytes)?;
    let fields = reader.schema();
    Ok(fields
        .fields()
        .iter()
        .map(|field| column_type(field.data_type()))
        .collect())
}

/// The column type of an Arrow type; `None` for one that no table has.
pub fn column_type(data_type: &DataType) -> Option<ColumnType> {
    if let DataType::Decimal128(precision, scale) = data_type {
        return Some(ColumnType::Decimal {
            precision: *precision,
            scale: u8::try_from(*scale).ok()?,
        });
    }
    use ColumnType::{
        Binary, Boolean, Date, Float32, Float64, Int32, Int64, TimestampMicros, Utf8,
    };
    [
        Boolean,
        Int32,
        Int64,
        Float32,
        Float64,
        Utf8,
        Binary,
        TimestampMicros,
        Date,
    ]
    .into_iter()
    .find(|column_type| arrow_type(*column_type) == *data_type)
}

/// Reads a file.
///
/// # Errors
/// `Refused` when the bytes are damaged or no Parquet file, as the rows themselves do.
pub fn read(path: &str, bytes: bytes::Bytes) -> Result<FileRows> {
    let metadata = metadata_of(path, &bytes)?;
    FileRows::new(path, bytes, metadata, ProjectionMask::all())
}

/// Reads some columns of a file, in the order in which the file has them.
///
/// # Errors
/// As [`read`], and when it lacks one of the columns.
pub fn read_columns(path: &str, bytes: bytes::Bytes, names: &[&str]) -> Result<FileRows> {
    let metadata = metadata_of(path, &bytes)?;
    for name in names {
        if metadata.schema().column_with_name(name).is_none() {
            return Err(Error::Refused(format!(
                "lake file '{path}': it has no column '{name}'"
            )));
        }
    }
    let mask = ProjectionMask::columns(metadata.parquet_schema(), names.iter().copied());
    FileRows::new(path, bytes, metadata, mask)
}

/// How many rows a file has.
///
/// # Errors
/// As [`read`].
pub fn rows(path: &str, bytes: bytes::Bytes) -> Result<u64> {
    let metadata = metadata_of(path, &bytes)?;
    let rows = metadata.metadata().file_metadata().num_rows();
    Ok(rows.unsigned_abs())
}

/// Path of a file of records: dataset, version, event date, partition, the input positions at which
/// its cut begins (it is named before anybody knows where that ends), epoch and number of the cut.
pub fn record_path(
    dataset: &Dataset,
    day: i64,
    partition: Partition,
    from: &[u64],
    epoch: u64,
    cut: u64,
) -> String {
    let from: Vec<String> = from.iter().map(u64::to_string).collect();
    format!(
        "data/{}/theatre_version={}/theatre_date={}/p{partition}-from-{}-e{epoch}-c{cut}.parquet",
        dataset.name,
        dataset.version,
        date(day),
        from.join("_")
    )
}

/// A day since 1970-01-01 as a date.
pub fn date(day: i64) -> String {
    let seconds = day.saturating_mul(86_400);
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d").to_string(),
        // Beyond the calendar: still a folder of its own.
        Err(_) => format!("day{day}"),
    }
}

/// The day of a time.
pub fn day_of(time_us: i64) -> i64 {
    time_us.div_euclid(DAY_US)
}

/// How many days before it was appended a row may be dated to be filed by its event date: the
/// allowed lateness, at least one.
pub fn late_days(allowed_lateness_us: i64) -> i64 {
    (day_of(allowed_lateness_us.max(0).saturating_sub(1)) + 1).max(1)
}

/// The day in whose folder a row is filed: that of its event time or, where the two are further
/// apart than `late_days` back or one day ahead, that of its append time. So a clock that is wrong,
/// or an old recording, does not make a file of its own for every day it names.
pub fn folder_day(event_time_us: i64, append_time_us: i64, late_days: i64) -> i64 {
    let (event, appended) = (day_of(event_time_us), day_of(append_time_us));
    if (appended.saturating_sub(late_days)..=appended + 1).contains(&event) {
        event
    } else {
        appended
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array as _;

    use super::*;

    #[test]
    fn rows_far_from_the_day_they_were_appended_on_are_filed_by_that_day() {
        let hour = DAY_US / 24;
        for (lateness, days) in [
            (0, 1),
            (hour, 1),
            (DAY_US, 1),
            (DAY_US + 1, 2),
            (3 * DAY_US, 3),
        ] {
            assert_eq!(late_days(lateness), days, "{lateness}");
        }
        let appended = 100 * DAY_US + 23 * hour;
        for (event, day) in [
            (98, 100),
            (99, 99),
            (100, 100),
            (101, 101),
            (102, 100),
            (-7, 100),
            (100_000, 100),
        ] {
            assert_eq!(folder_day(event * DAY_US, appended, 1), day, "{event}");
        }
        assert_eq!(folder_day(98 * DAY_US, appended, 2), 98);
        assert_eq!(
            (
                folder_day(i64::MIN, appended, late_days(i64::MAX)),
                folder_day(i64::MAX, appended, 1)
            ),
            (100, 100)
        );
    }

    #[test]
    fn texts_that_are_too_long_are_cut_between_characters() {
        let long = format!("a{}", "é".repeat(40_000));
        let limit = "é".repeat(32_767) + "a";
        let column: ArrayRef = Arc::new(StringArray::from(vec![
            Some("short"),
            None,
            Some(long.as_str()),
            Some(limit.as_str()),
        ]));
        let cut = fitting_column(&column);
        let texts = cut.as_string::<i32>();
        assert_eq!(
            (texts.value(0), texts.is_null(1), texts.value(3)),
            ("short", true, limit.as_str())
        );
        assert!(
            texts.value(2).len() == TEXT_BYTES_MAX && long.starts_with(texts.value(2)),
            "{} bytes",
            texts.value(2).len()
        );
        // Two bytes, then characters of two: the limit is in the middle of one.
        let odd = format!("ab{}", "é".repeat(40_000));
        assert_eq!(fitting(&odd).len(), TEXT_BYTES_MAX - 1);
        let many: ArrayRef = Arc::new(StringArray::from(vec!["robot"; 20_000]));
        assert_eq!(&fitting_column(&many), &many);
    }

    #[test]
    fn the_character_that_no_warehouse_holds_is_replaced_and_nothing_grows() {
        let long = format!("{}é", "\0".repeat(TEXT_BYTES_MAX));
        let column: ArrayRef = Arc::new(StringArray::from(vec![
            Some("a\0b"),
            None,
            Some(long.as_str()),
            Some("\u{1}"),
            Some(""),
        ]));
        let fit = fitting_column(&column);
        let texts = fit.as_string::<i32>();
        assert_eq!(
            (
                texts.value(0),
                texts.is_null(1),
                texts.value(3),
                texts.value(4)
            ),
            ("a\u{1a}b", true, "\u{1}", "")
        );
        assert_eq!(texts.value(2), SUBSTITUTE.repeat(TEXT_BYTES_MAX));
    }

    #[test]
    fn binary_values_that_are_too_long_are_cut() {
        let (limit, long) = (vec![0; BINARY_BYTES_MAX], vec![7; BINARY_BYTES_MAX + 1]);
        let column: ArrayRef = Arc::new(BinaryArray::from(vec![
            Some(limit.as_slice()),
            None,
            Some(long.as_slice()),
            Some(&[]),
        ]));
        let cut = fitting_column(&column);
        let values = cut.as_binary::<i32>();
        assert_eq!(
            (
                values.value(0),
                values.is_null(1),
                values.value(2),
                values.value(3)
            ),
            (limit.as_slice(), true, &long[1..], &[][..])
        );
        assert_eq!(&fitting_column(&cut), &cut);
    }
}
