//! Writes one Parquet file of the lake while its rows arrive: what waits in memory, when it becomes
//! a row group, how that is encoded.
//!
//! Used by the lake writer and the exporter. All files of the process share what may wait, and the
//! places at the encoders.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use theatre_actors::ports::{LakeFile, LakeUpload, Result};

use super::encode_error;
use crate::cpu_limit::CpuLimit;

/// Files that are encoded at this moment.
static ENCODERS: CpuLimit = CpuLimit::new();

/// A column is compressed as long as that saves at least this share of it, in percent. The last
/// digits of a measured value are noise: to look for repetitions in it takes more time than
/// everything else about a file.
const WORTH_PERCENT: i64 = 10;

/// A row group is closed when its rows take this much memory, bytes.
const ROW_GROUP_BYTES: usize = 4 << 20;

/// A row group may be closed with this much already, while all files of the process together hold
/// [`WAITING_BYTES`].
const EARLY_GROUP_BYTES: usize = 1 << 20;

/// Beyond this much memory of rows that wait in all files of the process, bytes, files close their
/// row groups early: with many partitions a few megabytes in each would be most of what the process
/// holds.
const WAITING_BYTES: usize = 32 << 20;

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
/// Rows wait as they came, sharing the columns that intake decoded, until a row group is full; then
/// it is encoded at once, column by column. A compressor takes a megabyte, and there is a file for
/// every partition: so no file has one while it waits, one while it encodes, and no more files
/// encode at a time than there are cores.
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
    pub fn new(
        upload: Box<dyn LakeUpload>,
        schema: &SchemaRef,
        path: String,
        dataset: &str,
    ) -> Result<Self> {
        let plain = vec![false; schema.fields().len()];
        let (writer, encoders) = encoding(Sink { upload, written: 0 }, schema, &plain)
            .map_err(|error| encode_error(&error))?;
        let (schema, dataset) = (schema.clone(), dataset.to_owned());
        Ok(Self {
            writer,
            encoders,
            schema,
            plain,
            waiting: Waiting::default(),
            path,
            dataset,
            rows: 0,
            event_time: (i64::MAX, i64::MIN),
        })
    }

    /// Adds rows; `event_times` are theirs, microseconds UTC.
    ///
    /// # Errors
    /// When bytes cannot be written; the file is to be abandoned.
    pub fn write(
        &mut self,
        rows: RecordBatch,
        event_times: impl Iterator<Item = i64>,
    ) -> Result<()> {
        self.rows += rows.num_rows() as u64;
        for time in event_times {
            self.event_time = (self.event_time.0.min(time), self.event_time.1.max(time));
        }
        let all = self.waiting.push(rows);
        let least = if all >= WAITING_BYTES {
            EARLY_GROUP_BYTES
        } else {
            ROW_GROUP_BYTES
        };
        if self.waiting.bytes >= least {
            self.encode()
        } else {
            Ok(())
        }
    }

    /// Makes a row group of what waits.
    fn encode(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.rows.is_empty() {
            return Ok(());
        }
        let _place = ENCODERS.acquire();
        self.write_group(&waiting.rows)
            .map_err(|error| encode_error(&error))
    }

    fn write_group(&mut self, waiting: &[RecordBatch]) -> parquet::errors::Result<()> {
        let number = self.writer.flushed_row_groups().len();
        if number == 1 {
            // The file goes on with other encoders: how a column is stored is said by each of its
            // row groups. Most files have one group, and need none.
            (_, self.encoders) = encoding(std::io::sink(), &self.schema, &self.plain)?;
        }
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
        let metadata = group.close()?;
        if number == 0 {
            let worth = |column: &ColumnChunkMetaData| {
                column.compressed_size() * 100 <= column.uncompressed_size() * (100 - WORTH_PERCENT)
            };
            self.plain = metadata
                .columns()
                .iter()
                .map(|column| !worth(column))
                .collect();
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
        let sink = self
            .writer
            .into_inner()
            .map_err(|error| encode_error(&error))?;
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
            erased: Vec::new(),
            erasing: Vec::new(),
        })
    }
}

/// A file on `sink` and what encodes its columns, of which those in `plain` are not compressed.
fn encoding<W: Write + Send>(
    sink: W,
    schema: &SchemaRef,
    plain: &[bool],
) -> parquet::errors::Result<(SerializedFileWriter<W>, ArrowRowGroupWriterFactory)> {
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
        // Least and most of noise let no reader leave a row group out, and take a fifth of the
        // time.
        if *field.data_type() == DataType::Float64 {
            properties =
                properties.set_column_statistics_enabled(column(), EnabledStatistics::None);
        }
    }
    ArrowWriter::try_new(sink, schema.clone(), Some(properties.build()))
        .and_then(ArrowWriter::into_serialized_writer)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::{ArrayRef, StringArray};
    use theatre_actors::ports::{ColumnType, LoadMode, TableSpec};

    use super::super::{file_schema, read};
    use super::*;

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

        let columns = [
            ("noise".to_owned(), ColumnType::Float64),
            ("calm".to_owned(), ColumnType::Float64),
            ("name".to_owned(), ColumnType::Utf8),
        ];
        let table = TableSpec {
            name: "t".to_owned(),
            columns: columns.to_vec(),
            mode: LoadMode::Append,
        };
        let (schema, bytes) = (file_schema(&table), Arc::default());
        let mut file = FileWriter::new(
            Box::new(Kept(Arc::clone(&bytes))),
            &schema,
            "t.parquet".to_owned(),
            "t",
        )
        .unwrap();
        let rows = ROW_GROUP_BYTES / 16;
        let noise =
            |at: usize| f64::from_bits((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
        for group in 0..3 {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(
                    (0..rows)
                        .map(|at| Some(noise(group * rows + at)))
                        .collect::<arrow_array::PrimitiveArray<Float64Type>>(),
                ),
                Arc::new(
                    std::iter::repeat_n(Some(1.5), rows)
                        .collect::<arrow_array::PrimitiveArray<Float64Type>>(),
                ),
                Arc::new(StringArray::from_iter_values(
                    (0..rows).map(|at| format!("robot-{:04}", at % 1000)),
                )),
            ];
            file.write(
                RecordBatch::try_new(schema.clone(), columns).unwrap(),
                std::iter::repeat_n(0, rows),
            )
            .unwrap();
        }
        let metadata = file.finish().unwrap();
        let bytes = bytes::Bytes::from(bytes.lock().unwrap().clone());
        assert_eq!(
            (metadata.bytes, metadata.rows),
            (bytes.len() as u64, 3 * rows as u64)
        );
        let reader = SerializedFileReader::new(bytes.clone()).unwrap();
        let packed: Vec<Vec<bool>> = reader
            .metadata()
            .row_groups()
            .iter()
            .map(|group| {
                group
                    .columns()
                    .iter()
                    .map(|column| column.compression() != Compression::UNCOMPRESSED)
                    .collect()
            })
            .collect();
        assert_eq!(
            packed,
            [[true; 3], [false, true, true], [false, true, true]]
        );
        // Readers leave out row groups by times and names, never by a signal's least and most.
        let has_statistics = |column: usize| {
            let groups = reader.metadata().row_groups();
            groups
                .iter()
                .all(|group| group.column(column).statistics().is_some())
        };
        assert_eq!([0, 1, 2].map(has_statistics), [false, false, true]);
        let read: Vec<f64> = read("t.parquet", bytes)
            .unwrap()
            .flat_map(|rows| {
                rows.unwrap()
                    .column(0)
                    .as_primitive::<Float64Type>()
                    .values()
                    .to_vec()
            })
            .collect();
        assert!(
            read.len() == 3 * rows
                && read
                    .iter()
                    .enumerate()
                    .all(|(at, value)| value.to_bits() == noise(at).to_bits())
        );
    }

    #[test]
    fn files_that_grow_together_hold_little_more_than_they_may() {
        let table = TableSpec {
            name: "t".to_owned(),
            columns: vec![("calm".to_owned(), ColumnType::Float64)],
            mode: LoadMode::Append,
        };
        let schema = file_schema(&table);
        let open = |number: usize| {
            FileWriter::new(
                Box::new(Kept(Arc::default())),
                &schema,
                format!("{number}.parquet"),
                "t",
            )
            .unwrap()
        };
        let mut files: Vec<FileWriter> = (0..16).map(open).collect();
        let rows = RecordBatch::try_new(
            schema.clone(),
            vec![Arc::new(arrow_array::Float64Array::from_value(
                1.5,
                8 << 10,
            ))],
        )
        .unwrap();
        let piece = rows.get_array_memory_size();
        for _ in 0..ROW_GROUP_BYTES / piece - 1 {
            for file in &mut files {
                file.write(rows.clone(), std::iter::repeat_n(0, rows.num_rows()))
                    .unwrap();
            }
            let held: usize = files.iter().map(FileWriter::memory).sum();
            assert!(held < WAITING_BYTES + 16 * piece, "{held} bytes wait");
        }
        let groups = |file: &FileWriter| file.writer.flushed_row_groups().len();
        assert!(
            files.iter().map(groups).sum::<usize>() > 0
                && files
                    .iter()
                    .all(|file| groups(file) <= ROW_GROUP_BYTES / EARLY_GROUP_BYTES)
        );
    }
}
