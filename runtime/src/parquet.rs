//! Columns to Parquet files and back; and the tables that these files make in the warehouse.
//!
//! Layout for columnar loaders: flat columns, meta columns first (so that a dataset's new columns come at the end), TIMESTAMP in
//! microseconds UTC, ZSTD where it saves something, v1 pages, dictionaries for text only. Files hold rows in the log's order.

pub mod facts;

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use theatre_actors::ports::{ColumnType, Error, LakeFile, LakeUpload, LoadMode, Result, TableSpec};
use theatre_actors::position::Partition;
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::Dataset;

use crate::gate::Gate;

/// The longest text of a lake file, bytes: what a VARCHAR of the warehouse holds.
pub const TEXT_BYTES_MAX: usize = 65_535;

/// The longest binary value of a lake file, bytes: what a column of the warehouse holds, which is a `VARBYTE(1024000)`.
pub const BINARY_BYTES_MAX: usize = 1_024_000;

/// Stands for U+0000 in the texts of lake files, which a VARCHAR cannot hold: ASCII's SUBSTITUTE, made for a character that cannot be. It is as long, so
/// neither a text nor a row grows; left out, the NUL would make of one robot's name another's.
const SUBSTITUTE: &str = "\u{1a}";

/// Files that are encoded at this moment.
static ENCODERS: Gate = Gate::new();

const DAY_US: i64 = 86_400_000_000;

/// A column is compressed as long as that saves at least this share of it, in percent. The last digits of a measured value are noise: to look for
/// repetitions in it takes more time than everything else about a file.
const WORTH_PERCENT: i64 = 10;

/// A row group is closed when its rows take this much memory, bytes.
const ROW_GROUP_BYTES: usize = 4 << 20;

/// A row group may be closed with this much already, while all files of the process together hold [`WAITING_BYTES`].
const EARLY_GROUP_BYTES: usize = 1 << 20;

/// Beyond this much memory of rows that wait in all files of the process, bytes, files close their row groups early: with many partitions a few
/// megabytes in each would be most of what the process holds.
const WAITING_BYTES: usize = 32 << 20;

/// The columns in front of every telemetry and event dataset: where the record stood in the log.
pub const META_COLUMNS: [(&str, ColumnType); 4] =
    [("_topic", ColumnType::Utf8), ("_partition", ColumnType::Int32), ("_offset", ColumnType::Int64), ("_append_time", ColumnType::TimestampMicros)];

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
        ColumnType::TimestampMicros => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Date => DataType::Date32,
    }
}

/// A column's name in files and tables: `joints[0].current` becomes `joints_0_current`.
pub fn sql_name(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '_' }).collect();
    plain.replace("__", "_").trim_end_matches('_').to_owned()
}

/// The warehouse table of a dataset.
///
/// # Errors
/// When two columns get the same name.
pub fn table_spec(dataset: &Dataset) -> Result<TableSpec> {
    let meta = META_COLUMNS.iter().map(|(name, column_type)| ((*name).to_owned(), *column_type));
    let own = dataset.columns.iter().map(|column| (sql_name(&column.name), column.column_type));
    let columns: Vec<(String, ColumnType)> = meta.chain(own).collect();
    let mut names: Vec<&String> = columns.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Refused(format!("dataset '{}': two fields become column '{}': rename one", dataset.name, twice[0])));
    }
    Ok(TableSpec { name: dataset.name.clone(), columns, mode: LoadMode::Append })
}

/// The Arrow schema of a table's files.
pub fn file_schema(table: &TableSpec) -> SchemaRef {
    let fields: Vec<Field> = table.columns.iter().map(|(name, column_type)| Field::new(name, arrow_type(*column_type), true)).collect();
    Arc::new(Schema::new(fields))
}

/// A text as lake files hold it: one that is too long ends with its last whole character, and U+0000 is U+001A.
pub fn fitting(text: &str) -> Cow<'_, str> {
    let short = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    if short.as_bytes().contains(&0) { Cow::Owned(short.replace('\0', SUBSTITUTE)) } else { Cow::Borrowed(short) }
}

/// A column with all texts [`fitting`], and with binary values that are as long as they may be at most. Hardly any needs a change: the bytes of a column
/// are looked through as one.
fn fitting_column(column: &ArrayRef) -> ArrayRef {
    let unfit_text = |texts: &&StringArray| {
        let bytes = texts.value_data();
        bytes.contains(&0) || bytes.len() > TEXT_BYTES_MAX && texts.offsets().lengths().any(|length| length > TEXT_BYTES_MAX)
    };
    let too_long = |values: &&BinaryArray| values.value_data().len() > BINARY_BYTES_MAX && values.offsets().lengths().any(|length| length > BINARY_BYTES_MAX);
    if let Some(texts) = column.as_string_opt::<i32>().filter(unfit_text) {
        return Arc::new(texts.iter().map(|text| text.map(fitting)).collect::<StringArray>());
    }
    if let Some(values) = column.as_binary_opt::<i32>().filter(too_long) {
        return Arc::new(values.iter().map(|value| value.map(|bytes| &bytes[..bytes.len().min(BINARY_BYTES_MAX)])).collect::<BinaryArray>());
    }
    column.clone()
}

/// Rows of a batch as a record batch of the dataset's files. A value that the warehouse could not hold would cost its whole file there, so it is
/// made to fit here: lake and warehouse hold the same.
///
/// # Errors
/// When Arrow refuses, which would be a bug.
pub fn file_rows(schema: &SchemaRef, topic: &str, partition: Partition, batch: &Batch, rows: &[u32]) -> Result<RecordBatch> {
    let at = |row: &u32| *row as usize;
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(topic, rows.len()))),
        Arc::new(Int32Array::from_value(partition as i32, rows.len())),
        Arc::new(rows.iter().map(|row| batch.offsets[at(row)] as i64).collect::<Int64Array>()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| batch.append_times[at(row)])).with_timezone("UTC")),
    ];
    if rows.len() == batch.len() {
        columns.extend(batch.columns.iter().map(fitting_column));
    } else {
        let indices = UInt32Array::from(rows.to_vec());
        for column in &batch.columns {
            columns.push(fitting_column(&take(column, &indices, None).map_err(|error| encode_error(&error))?));
        }
    }
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| encode_error(&error))
}

fn encode_error(error: &dyn std::fmt::Display) -> Error {
    Error::Unavailable { what: "lake writer", why: error.to_string() }
}

struct Sink {
    upload: Box<dyn LakeUpload>,
    written: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.upload.write(bytes).map_err(std::io::Error::other)?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Rows that wait to become a row group.
#[derive(Default)]
struct Waiting {
    rows: Vec<RecordBatch>,
    bytes: usize,
}

/// Bytes of all [`Waiting`] rows.
static WAITING: AtomicUsize = AtomicUsize::new(0);

impl Waiting {
    /// Adds rows; returns the bytes of all that wait anywhere in the process.
    fn push(&mut self, rows: RecordBatch) -> usize {
        let bytes = rows.get_array_memory_size();
        self.bytes += bytes;
        self.rows.push(rows);
        WAITING.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A Parquet file on its way into the lake.
///
/// Rows wait as they came, sharing the columns that intake decoded, until a row group is full; then it is encoded at once, column by column. A
/// compressor takes a megabyte, and there is a file for every partition: so no file has one while it waits, one while it encodes, and no more
/// files encode at a time than there are processors.
pub struct FileWriter {
    writer: SerializedFileWriter<Sink>,
    encoders: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// Columns that are stored as they are, by the file's first row group.
    plain: Vec<bool>,
    waiting: Waiting,
    path: String,
    dataset: String,
    rows: u64,
    event_time: (i64, i64),
}

impl FileWriter {
    /// Starts a file of a dataset.
    ///
    /// # Errors
    /// When the writer cannot be set up.
    pub fn new(upload: Box<dyn LakeUpload>, schema: &SchemaRef, path: String, dataset: &str) -> Result<Self> {
        let plain = vec![false; schema.fields().len()];
        let (writer, encoders) = encoding(Sink { upload, written: 0 }, schema, &plain).map_err(|error| encode_error(&error))?;
        let (schema, dataset) = (schema.clone(), dataset.to_owned());
        Ok(Self { writer, encoders, schema, plain, waiting: Waiting::default(), path, dataset, rows: 0, event_time: (i64::MAX, i64::MIN) })
    }

    /// Adds rows; `event_times` are theirs, microseconds UTC.
    ///
    /// # Errors
    /// When bytes cannot be written; the file is to be abandoned.
    pub fn write(&mut self, rows: RecordBatch, event_times: impl Iterator<Item = i64>) -> Result<()> {
        self.rows += rows.num_rows() as u64;
        for time in event_times {
            self.event_time = (self.event_time.0.min(time), self.event_time.1.max(time));
        }
        let all = self.waiting.push(rows);
        let least = if all >= WAITING_BYTES { EARLY_GROUP_BYTES } else { ROW_GROUP_BYTES };
        if self.waiting.bytes >= least { self.encode() } else { Ok(()) }
    }

    /// Makes a row group of what waits.
    fn encode(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.rows.is_empty() {
            return Ok(());
        }
        let _place = ENCODERS.enter();
        self.write_group(&waiting.rows).map_err(|error| encode_error(&error))
    }

    fn write_group(&mut self, waiting: &[RecordBatch]) -> parquet::errors::Result<()> {
        let number = self.writer.flushed_row_groups().len();
        let encoders = self.encoders.create_column_writers(number)?;
        let mut group = self.writer.next_row_group()?;
        // Columns are flat: each has one encoder.
        for (column, mut encoder) in encoders.into_iter().enumerate() {
            for rows in waiting {
                for leaf in compute_leaves(self.schema.field(column), rows.column(column))? {
                    encoder.write(&leaf)?;
                }
            }
            encoder.close()?.append_to_row_group(&mut group)?;
        }
        let told = group.close()?;
        if number == 0 {
            let worth = |column: &ColumnChunkMetaData| column.compressed_size() * 100 <= column.uncompressed_size() * (100 - WORTH_PERCENT);
            self.plain = told.columns().iter().map(|column| !worth(column)).collect();
            // The file goes on with other encoders: how a column is stored is said by each of its row groups.
            (_, self.encoders) = encoding(std::io::sink(), &self.schema, &self.plain)?;
        }
        Ok(())
    }

    /// Memory it holds, bytes.
    pub fn memory(&self) -> usize {
        self.waiting.bytes
    }

    /// Bytes written and about to be.
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.waiting.bytes
    }

    /// Finishes the file, seals its upload and tells what to register.
    ///
    /// # Errors
    /// When bytes cannot be written; the file is to be abandoned.
    pub fn finish(mut self) -> Result<LakeFile> {
        self.encode()?;
        let sink = self.writer.into_inner().map_err(|error| encode_error(&error))?;
        let bytes = sink.written;
        let upload = sink.upload.seal()?;
        Ok(LakeFile {
            path: self.path,
            upload,
            dataset: self.dataset,
            rows: self.rows,
            bytes,
            event_time_min: self.event_time.0,
            event_time_max: self.event_time.1,
        })
    }
}

/// A file on `sink` and what encodes its columns, of which those in `plain` are not compressed.
fn encoding<W: Write + Send>(sink: W, schema: &SchemaRef, plain: &[bool]) -> parquet::errors::Result<(SerializedFileWriter<W>, ArrowRowGroupWriterFactory)> {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for (field, plain) in schema.fields().iter().zip(plain) {
        let column = || ColumnPath::from(field.name().as_str());
        if *field.data_type() == DataType::Utf8 {
            properties = properties.set_column_dictionary_enabled(column(), true);
        }
        if *plain {
            properties = properties.set_column_compression(column(), Compression::UNCOMPRESSED);
        }
    }
    ArrowWriter::try_new(sink, schema.clone(), Some(properties.build())).and_then(ArrowWriter::into_serialized_writer)
}

/// Reads a file.
///
/// # Errors
/// When the bytes are not a Parquet file.
pub fn read(path: &str, bytes: bytes::Bytes) -> Result<ParquetRecordBatchReader> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|builder| builder.with_batch_size(8192).build());
    reader.map_err(|error| Error::Refused(format!("lake file '{path}' is no readable Parquet file: {error}")))
}

/// How many rows a file has.
///
/// # Errors
/// When the bytes are not a Parquet file.
pub fn rows(path: &str, bytes: bytes::Bytes) -> Result<u64> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes);
    let builder = builder.map_err(|error| Error::Refused(format!("lake file '{path}' is no readable Parquet file: {error}")))?;
    Ok(builder.metadata().file_metadata().num_rows().unsigned_abs())
}

/// Path of a file of records: dataset, version, event date, partition, the input positions at which its cut begins (it is named before
/// anybody knows where that ends), epoch and number of the cut.
pub fn record_path(dataset: &Dataset, day: i64, partition: Partition, from: &[u64], epoch: u64, cut: u64) -> String {
    let from: Vec<String> = from.iter().map(u64::to_string).collect();
    format!("data/{}/v={}/date={}/p{partition}-from-{}-e{epoch}-c{cut}.parquet", dataset.name, dataset.version, date(day), from.join("_"))
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

/// How many days before it was appended a row may be dated to be filed by its event date: the allowed lateness, at least one.
pub fn late_days(allowed_lateness_us: i64) -> i64 {
    (day_of(allowed_lateness_us.max(0).saturating_sub(1)) + 1).max(1)
}

/// The day in whose folder a row is filed: that of its event time or, where the two are further apart than `late_days` back or one day ahead,
/// that of its append time. So a clock that is wrong, or an old recording, does not make a file of its own for every day it names.
pub fn folder_day(event_time_us: i64, append_time_us: i64, late_days: i64) -> i64 {
    let (event, appended) = (day_of(event_time_us), day_of(append_time_us));
    if (appended.saturating_sub(late_days)..=appended + 1).contains(&event) { event } else { appended }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array as _;

    use super::*;

    #[test]
    fn rows_far_from_the_day_they_were_appended_on_are_filed_by_that_day() {
        let hour = DAY_US / 24;
        for (lateness, days) in [(0, 1), (hour, 1), (DAY_US, 1), (DAY_US + 1, 2), (3 * DAY_US, 3)] {
            assert_eq!(late_days(lateness), days, "{lateness}");
        }
        let appended = 100 * DAY_US + 23 * hour;
        for (event, day) in [(98, 100), (99, 99), (100, 100), (101, 101), (102, 100), (-7, 100), (100_000, 100)] {
            assert_eq!(folder_day(event * DAY_US, appended, 1), day, "{event}");
        }
        assert_eq!(folder_day(98 * DAY_US, appended, 2), 98);
        assert_eq!((folder_day(i64::MIN, appended, late_days(i64::MAX)), folder_day(i64::MAX, appended, 1)), (100, 100));
    }

    /// An upload that keeps its bytes where the test finds them.
    struct Kept(Arc<std::sync::Mutex<Vec<u8>>>);

    impl LakeUpload for Kept {
        fn write(&mut self, bytes: &[u8]) -> Result<()> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(())
        }
        fn seal(self: Box<Self>) -> Result<String> {
            Ok(String::new())
        }
    }

    #[test]
    fn what_does_not_get_smaller_is_not_compressed_after_the_first_row_group() {
        use arrow_array::types::Float64Type;
        use parquet::file::reader::{FileReader, SerializedFileReader};

        let columns = [("noise".to_owned(), ColumnType::Float64), ("calm".to_owned(), ColumnType::Float64), ("name".to_owned(), ColumnType::Utf8)];
        let table = TableSpec { name: "t".to_owned(), columns: columns.to_vec(), mode: LoadMode::Append };
        let (schema, bytes) = (file_schema(&table), Arc::default());
        let mut file = FileWriter::new(Box::new(Kept(Arc::clone(&bytes))), &schema, "t.parquet".to_owned(), "t").unwrap();
        let rows = ROW_GROUP_BYTES / 16;
        let noise = |at: usize| f64::from_bits((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
        for group in 0..3 {
            let columns: Vec<ArrayRef> = vec![
                Arc::new((0..rows).map(|at| Some(noise(group * rows + at))).collect::<arrow_array::PrimitiveArray<Float64Type>>()),
                Arc::new(std::iter::repeat_n(Some(1.5), rows).collect::<arrow_array::PrimitiveArray<Float64Type>>()),
                Arc::new(StringArray::from_iter_values((0..rows).map(|at| format!("robot-{:04}", at % 1000)))),
            ];
            file.write(RecordBatch::try_new(schema.clone(), columns).unwrap(), std::iter::repeat_n(0, rows)).unwrap();
        }
        let told = file.finish().unwrap();
        let bytes = bytes::Bytes::from(bytes.lock().unwrap().clone());
        assert_eq!((told.bytes, told.rows), (bytes.len() as u64, 3 * rows as u64));
        let reader = SerializedFileReader::new(bytes.clone()).unwrap();
        let packed: Vec<Vec<bool>> = reader
            .metadata()
            .row_groups()
            .iter()
            .map(|group| group.columns().iter().map(|column| column.compression() != Compression::UNCOMPRESSED).collect())
            .collect();
        assert_eq!(packed, [[true; 3], [false, true, true], [false, true, true]]);
        let read: Vec<f64> =
            read("t.parquet", bytes).unwrap().flat_map(|rows| rows.unwrap().column(0).as_primitive::<Float64Type>().values().to_vec()).collect();
        assert!(read.len() == 3 * rows && read.iter().enumerate().all(|(at, value)| value.to_bits() == noise(at).to_bits()));
    }

    #[test]
    fn files_that_grow_together_hold_little_more_than_they_may() {
        let table = TableSpec { name: "t".to_owned(), columns: vec![("calm".to_owned(), ColumnType::Float64)], mode: LoadMode::Append };
        let schema = file_schema(&table);
        let open = |number: usize| FileWriter::new(Box::new(Kept(Arc::default())), &schema, format!("{number}.parquet"), "t").unwrap();
        let mut files: Vec<FileWriter> = (0..16).map(open).collect();
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(arrow_array::Float64Array::from_value(1.5, 8 << 10))]).unwrap();
        let piece = rows.get_array_memory_size();
        for _ in 0..ROW_GROUP_BYTES / piece - 1 {
            for file in &mut files {
                file.write(rows.clone(), std::iter::repeat_n(0, rows.num_rows())).unwrap();
            }
            let held: usize = files.iter().map(FileWriter::memory).sum();
            assert!(held < WAITING_BYTES + 16 * piece, "{held} bytes wait");
        }
        let groups = |file: &FileWriter| file.writer.flushed_row_groups().len();
        assert!(files.iter().map(groups).sum::<usize>() > 0 && files.iter().all(|file| groups(file) <= ROW_GROUP_BYTES / EARLY_GROUP_BYTES));
    }

    #[test]
    fn texts_that_are_too_long_are_cut_between_characters() {
        let long = format!("a{}", "é".repeat(40_000));
        let limit = "é".repeat(32_767) + "a";
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("short"), None, Some(long.as_str()), Some(limit.as_str())]));
        let cut = fitting_column(&column);
        let texts = cut.as_string::<i32>();
        assert_eq!((texts.value(0), texts.is_null(1), texts.value(3)), ("short", true, limit.as_str()));
        assert!(texts.value(2).len() == TEXT_BYTES_MAX && long.starts_with(texts.value(2)), "{} bytes", texts.value(2).len());
        // Two bytes, then characters of two: the limit is in the middle of one.
        let odd = format!("ab{}", "é".repeat(40_000));
        assert_eq!(fitting(&odd).len(), TEXT_BYTES_MAX - 1);
        let many: ArrayRef = Arc::new(StringArray::from(vec!["robot"; 20_000]));
        assert_eq!(&fitting_column(&many), &many);
    }

    #[test]
    fn the_character_that_no_warehouse_holds_is_replaced_and_nothing_grows() {
        let long = format!("{}é", "\0".repeat(TEXT_BYTES_MAX));
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("a\0b"), None, Some(long.as_str()), Some("\u{1}"), Some("")]));
        let fit = fitting_column(&column);
        let texts = fit.as_string::<i32>();
        assert_eq!((texts.value(0), texts.is_null(1), texts.value(3), texts.value(4)), ("a\u{1a}b", true, "\u{1}", ""));
        assert_eq!(texts.value(2), SUBSTITUTE.repeat(TEXT_BYTES_MAX));
    }

    #[test]
    fn binary_values_that_are_too_long_are_cut() {
        let (limit, long) = (vec![0; BINARY_BYTES_MAX], vec![7; BINARY_BYTES_MAX + 1]);
        let column: ArrayRef = Arc::new(BinaryArray::from(vec![Some(limit.as_slice()), None, Some(long.as_slice()), Some(&[])]));
        let cut = fitting_column(&column);
        let values = cut.as_binary::<i32>();
        assert_eq!((values.value(0), values.is_null(1), values.value(2), values.value(3)), (limit.as_slice(), true, &long[1..], &[][..]));
        assert_eq!(&fitting_column(&cut), &cut);
    }
}
