//! Files of records read back: their rows as batches, as if they had just been decoded.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use theatre_actors::ports::{ColumnType, Error, LakeBytes, Result};
use theatre_actors::position::Positions;
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::{ColumnSpec, Dataset, DatasetIndex};

use super::file_rows::FileRows;
use super::parts::read_some;
use super::{META_COLUMNS, arrow_type, column_type, sql_name};

/// Where a file of records stands in its partition, as [`super::record_path`] named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPlace {
    /// Number of its cut.
    pub cut: u64,
    /// The input positions at which the cut begins.
    pub from: Positions,
}

impl RecordPlace {
    /// Reads it from a path; `None` for one that no file of records has.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?.strip_suffix(".parquet")?;
        let (_, rest) = name.split_once("-from-")?;
        let (rest, cut) = rest.rsplit_once("-c")?;
        let (from, _) = rest.rsplit_once("-e")?;
        let offset = |text: &str| text.parse::<u64>().ok();
        let from: Option<Vec<u64>> = match from {
            "" => Some(Vec::new()),
            from => from.split('_').map(offset).collect(),
        };
        Some(Self {
            cut: cut.parse().ok()?,
            from: Positions::from(from?),
        })
    }
}

/// A stretch of a file's rows.
#[derive(Debug, Clone)]
pub struct Records {
    /// The rows.
    pub batch: Arc<Batch>,
    /// Their topics: each with the row before which it ends. Hardly any file has two.
    pub topics: Vec<(String, usize)>,
}

/// Reads a file of records from its beginning.
pub struct RecordReader {
    path: String,
    rows: FileRows,
    dataset: Arc<Dataset>,
    index: DatasetIndex,
    /// By column of the dataset.
    sources: Vec<Source>,
}

/// Where a column of the dataset comes from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// The column at this place in the file.
    Column(usize),
    /// The file was written before the dataset had it, or it is not asked for: it is null.
    Null,
    /// A signal that is not asked for.
    NotRead,
}

impl RecordReader {
    /// Opens a file of a dataset.
    ///
    /// # Errors
    /// `Refused` when the bytes are not a Parquet file.
    pub fn open(
        path: &str,
        bytes: bytes::Bytes,
        dataset: Arc<Dataset>,
        index: DatasetIndex,
    ) -> Result<Self> {
        Self::open_some(path, &bytes, dataset, index, |_| true)
    }

    /// The same without columns that are not asked for, by their index in the dataset: they are
    /// neither fetched nor decoded. Of these, signals are 0 in every row, and others null. Robot
    /// and event time must be asked for.
    ///
    /// # Errors
    /// As [`Self::open`], and others when the bytes cannot be had.
    pub fn open_some(
        path: &str,
        file: &dyn LakeBytes,
        dataset: Arc<Dataset>,
        index: DatasetIndex,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        let names: Vec<String> = (dataset.columns.iter())
            .map(|column| sql_name(&column.name))
            .collect();
        let [(topic, _), _, (offset, _), (append_time, _)] = META_COLUMNS;
        let mut wanted = HashSet::from([topic, offset, append_time]);
        let columns = names.iter().enumerate();
        wanted.extend(columns.filter_map(|(at, name)| is_wanted(at).then_some(name.as_str())));
        let rows = read_some(path, file, |name| wanted.contains(name))?;
        let schema = rows.schema();
        let signals: HashSet<usize> = dataset.signals.iter().map(|it| it.column).collect();
        let source = |(at, name): (usize, &String)| match schema.column_with_name(name) {
            Some((place, _)) => Source::Column(place),
            None if !is_wanted(at) && signals.contains(&at) => Source::NotRead,
            None => Source::Null,
        };
        let sources = names.iter().enumerate().map(source).collect();
        Ok(Self {
            path: path.to_owned(),
            rows,
            dataset,
            index,
            sources,
        })
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// `Refused` when the file is damaged, or has a column that does not become one of the dataset.
    pub fn read_next(&mut self) -> Result<Option<Records>> {
        let rows = self.rows.next().transpose()?;
        rows.map(|rows| self.records(&rows)).transpose()
    }

    fn damaged(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Refused(format!("lake file '{}' is damaged: {why}", self.path))
    }

    fn records(&self, rows: &RecordBatch) -> Result<Records> {
        let meta = |name: &str| rows.column_by_name(name);
        let [(topic, _), _, (offset, _), (append_time, _)] = META_COLUMNS;
        let topics = meta(topic).and_then(|column| column.as_string_opt::<i32>());
        let offsets = meta(offset).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let times = meta(append_time)
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let (Some(topics), Some(offsets), Some(times)) = (topics, offsets, times) else {
            return Err(self.damaged(&"it does not say where its rows stood in the log"));
        };
        let columns = self.columns(rows)?;
        let roles = self.dataset.roles;
        let has_null = |role: usize| columns[role].as_ref().is_some_and(|it| it.null_count() > 0);
        if has_null(roles.robot_id) || has_null(roles.event_time) {
            return Err(self.damaged(&"a row has no robot or no time"));
        }
        let mut runs: Vec<(String, usize)> = Vec::new();
        for row in 0..rows.num_rows() {
            match runs.last_mut() {
                Some((last, end)) if last == topics.value(row) => *end = row + 1,
                _ => runs.push((topics.value(row).to_owned(), row + 1)),
            }
        }
        let batch = Batch::of_some(
            self.dataset.clone(),
            self.index,
            columns,
            offsets
                .values()
                .iter()
                .map(|at| at.unsigned_abs())
                .collect(),
            times.values().to_vec(),
        );
        Ok(Records {
            batch: Arc::new(batch),
            topics: runs,
        })
    }

    /// The columns of the dataset, in its types; `None` for those that are not read.
    fn columns(&self, rows: &RecordBatch) -> Result<Vec<Option<ArrayRef>>> {
        let wanted = self.dataset.columns.iter().zip(&self.sources);
        let column = |(spec, source): (&ColumnSpec, &Source)| {
            let place = match source {
                Source::Column(place) => *place,
                Source::NotRead => return Ok(None),
                Source::Null => {
                    let of = arrow_type(spec.column_type);
                    return Ok(Some(new_null_array(&of, rows.num_rows())));
                }
            };
            let there = rows.column(place);
            widened(there, spec.column_type).map(Some).ok_or_else(|| {
                self.damaged(&format!(
                    "column '{}' is {}, which does not become {:?}",
                    spec.name,
                    there.data_type(),
                    spec.column_type
                ))
            })
        };
        wanted.map(column).collect()
    }
}

/// A column in a type that a later schema has widened it to; `None` if that is not possible.
fn widened(column: &ArrayRef, to: ColumnType) -> Option<ArrayRef> {
    let from = column_type(column.data_type())?;
    if from == to {
        return Some(column.clone());
    }
    if !from.widens_to(to) {
        return None;
    }
    macro_rules! widen {
        ($from:ty, $to:ty) => {
            Some(Arc::new(
                column
                    .as_primitive_opt::<$from>()?
                    .unary::<_, $to>(|value| value as _),
            ))
        };
    }
    match (from, to) {
        (ColumnType::Int32, ColumnType::Int64) => widen!(Int32Type, Int64Type),
        (ColumnType::Int32, ColumnType::Float32) => widen!(Int32Type, Float32Type),
        (ColumnType::Int32, ColumnType::Float64) => widen!(Int32Type, Float64Type),
        (ColumnType::Int64, ColumnType::Float32) => widen!(Int64Type, Float32Type),
        (ColumnType::Int64, ColumnType::Float64) => widen!(Int64Type, Float64Type),
        (ColumnType::Float32, ColumnType::Float64) => widen!(Float32Type, Float64Type),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use arrow_array::{Float64Array, Int32Array, StringArray, TimestampMicrosecondArray};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
    use theatre_actors::ports::LakeUpload;

    use super::*;
    use crate::writer::FileWriter;
    use crate::{file_rows, file_schema, record_path, table_spec};

    #[derive(Clone, Default)]
    struct InMemory(Arc<Mutex<Vec<u8>>>);

    impl LakeUpload for InMemory {
        fn write(&mut self, bytes: &[u8]) -> Result<()> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(())
        }

        fn seal(self: Box<Self>) -> Result<String> {
            Ok(String::new())
        }
    }

    /// A file that remembers which bytes were fetched.
    struct Fetched(bytes::Bytes, Mutex<Vec<std::ops::Range<u64>>>);

    impl LakeBytes for Fetched {
        fn size(&self) -> u64 {
            self.0.size()
        }

        fn read(&self, range: std::ops::Range<u64>) -> Result<bytes::Bytes> {
            self.1.lock().unwrap().push(range.clone());
            self.0.read(range)
        }
    }

    fn dataset(version: u32, counted: &str, more: &str) -> Arc<Dataset> {
        let json = format!(
            r#"{{"type": "record", "name": "R", "theatre": {{"id": {}, "dataset": "d", "kind": "telemetry", "version": {version}}}, "fields": [
                {{"name": "robot_id", "type": "string"}},
                {{"name": "event_time", "type": {{"type": "long", "logicalType": "timestamp-micros"}}}},
                {{"name": "counted", "type": ["null", "{counted}"], "default": null}},
                {{"name": "word", "type": ["null", "string"], "default": null}},
                {{"name": "joints", "type": {{"type": "array", "length": 1, "items": "double"}}}}{more}]}}"#,
            9000 + version
        );
        Arc::new(Dataset::from_schema(&json).unwrap())
    }

    fn rows() -> Batch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["r-1", "r-2", "r-1"])),
            Arc::new(TimestampMicrosecondArray::from(vec![10, 20, 30]).with_timezone("UTC")),
            Arc::new(Int32Array::from(vec![Some(7), None, Some(-9)])),
            Arc::new(StringArray::from(vec![Some("begun"), None, Some("ended")])),
            Arc::new(Float64Array::from(vec![1.5, 2.5, f64::NAN])),
        ];
        Batch::new(
            dataset(1, "int", ""),
            0,
            columns,
            vec![4, 6, 9],
            vec![11, 12, 13],
        )
    }

    fn file() -> bytes::Bytes {
        let batch = rows();
        let table = table_spec(&batch.dataset).unwrap();
        let schema = file_schema(&table);
        let bytes = InMemory::default();
        let mut writer =
            FileWriter::new(Box::new(bytes.clone()), &schema, "f".to_owned(), "d").unwrap();
        for (topic, of) in [("t", vec![0, 1]), ("u", vec![2])] {
            let rows = file_rows(&schema, topic, 3, &batch, &of).unwrap();
            writer.write(rows, std::iter::once(10)).unwrap();
        }
        writer.finish().unwrap();
        let bytes = std::mem::take(&mut *bytes.0.lock().unwrap());
        bytes.into()
    }

    /// The rows of [`file`], each in a row group of its own.
    fn file_of_groups() -> bytes::Bytes {
        let batch = rows();
        let schema = file_schema(&table_spec(&batch.dataset).unwrap());
        let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), None).unwrap();
        for (topic, row) in [("t", 0), ("t", 1), ("u", 2)] {
            let of = file_rows(&schema, topic, 3, &batch, &[row]).unwrap();
            writer.write(&of).unwrap();
            writer.flush().unwrap();
        }
        writer.into_inner().unwrap().into()
    }

    #[test]
    fn rows_come_back_as_they_were_written_with_their_topics() {
        let written = rows();
        let mut reader = RecordReader::open("f", file(), written.dataset.clone(), 5).unwrap();
        let read = reader.read_next().unwrap().unwrap();
        assert_eq!(read.topics, [("t".to_owned(), 2), ("u".to_owned(), 3)]);
        assert_eq!(read.batch.offsets, written.offsets);
        assert_eq!(read.batch.append_times, written.append_times);
        assert_eq!(read.batch.dataset_index, 5);
        for (there, here) in read.batch.columns().zip(written.columns()) {
            assert_eq!(format!("{there:?}"), format!("{here:?}"));
        }
        assert!(reader.read_next().unwrap().is_none());
    }

    #[test]
    fn what_is_not_asked_for_is_not_fetched_and_the_rest_is_as_ever() {
        let written = rows();
        let dataset = &written.dataset;
        let joints = dataset.signal("joints[0]").unwrap();
        let counted = dataset.signal("counted").unwrap();
        let word = dataset.column("word").unwrap();
        let columns = ["robot_id", "event_time", "joints[0]"].map(|name| dataset.column(name));
        let wanted = |column| columns.contains(&Some(column));
        for bytes in [file(), file_of_groups()] {
            let file = Fetched(bytes.clone(), Mutex::default());
            let mut reader =
                RecordReader::open_some("f", &file, dataset.clone(), 5, wanted).unwrap();
            let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).unwrap();
            let chunks = metadata.metadata().row_groups().iter();
            let of_group = chunks.flat_map(|group| group.columns());
            let mut unread = 0;
            for chunk in of_group {
                let (from, length) = chunk.byte_range();
                let is_fetched = (file.1.lock().unwrap().iter())
                    .any(|range| range.start < from + length && from < range.end);
                let name = chunk.column_path().string();
                assert_eq!(
                    is_fetched,
                    !["_partition", "counted", "word"].contains(&name.as_str())
                );
                unread += usize::from(!is_fetched);
            }
            assert_eq!(unread, 3 * metadata.metadata().num_row_groups());
            let read = reader.read_next().unwrap().unwrap();
            assert_eq!(read.topics, [("t".to_owned(), 2), ("u".to_owned(), 3)]);
            assert_eq!(read.batch.offsets, written.offsets);
            let batch = read.batch;
            for row in 0..3 {
                assert_eq!(batch.signals.value(row, counted), 0.0);
                assert!(!batch.signals.is_missing(row, counted));
                let values = [&batch, &written].map(|it| it.signals.value(row, joints).to_bits());
                assert_eq!(values[0], values[1]);
                assert_eq!(batch.robot_id(row), written.robot_id(row));
            }
            assert_eq!(batch.column(word).null_count(), 3);
            assert_eq!(batch.event_times(), written.event_times());
            assert!(reader.read_next().unwrap().is_none());
        }
    }

    #[test]
    fn a_damaged_file_is_refused_by_its_name() {
        // Parsed once: there are thousands of damaged files.
        let dataset = rows().dataset;
        let read = |bytes: bytes::Bytes| -> Result<usize> {
            let mut reader = RecordReader::open("folder/f", bytes, dataset.clone(), 0)?;
            let mut rows = 0;
            while let Some(records) = reader.read_next()? {
                rows += records.batch.offsets.len();
            }
            Ok(rows)
        };
        for whole in [file(), file_of_groups()] {
            assert_eq!(read(whole.clone()).unwrap(), 3);
            let mut refused = 0;
            for (at, flipped) in (0..whole.len()).flat_map(|at| [(at, 1), (at, 0xff)]) {
                let mut damaged = whole.to_vec();
                damaged[at] ^= flipped;
                // Where a value lies, a damaged one is a value, too.
                if let Err(error) = read(damaged.into()) {
                    assert!(
                        error.to_string().contains("'folder/f'"),
                        "byte {at}: {error}"
                    );
                    refused += 1;
                }
            }
            assert!(refused > whole.len() / 2, "{refused} of {}", whole.len());
            for length in 0..whole.len() {
                let error = read(whole.slice(..length)).unwrap_err().to_string();
                assert!(error.contains("'folder/f'"), "{length} bytes: {error}");
            }
        }
    }

    #[test]
    fn a_file_of_before_is_read_under_a_later_schema() {
        let more = r#", {"name": "heat", "type": ["null", "double"], "default": null}"#;
        let later = dataset(2, "double", more);
        let mut reader = RecordReader::open("f", file(), later.clone(), 0).unwrap();
        let batch = reader.read_next().unwrap().unwrap().batch;
        let signal = |name: &str| later.signal(name).unwrap();
        assert_eq!(batch.signals.value(0, signal("counted")), 7.0);
        assert!(batch.signals.is_missing(1, signal("counted")));
        assert!(batch.signals.is_missing(2, signal("heat")));
        assert_eq!(batch.signals.value(1, signal("joints[0]")), 2.5);
        let other = dataset(1, "string", "");
        let refused = RecordReader::open("f", file(), other, 0)
            .unwrap()
            .read_next();
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("'counted'") && refused.contains("'f'"),
            "{refused}"
        );
    }

    #[test]
    fn a_path_says_where_its_rows_stood() {
        let path = record_path(&dataset(1, "int", ""), 20_000, 3, &[5, 0, 17], 4, 12);
        let place = RecordPlace::of(&path).unwrap();
        assert_eq!(place.cut, 12);
        assert_eq!(place.from.as_slice(), [5, 0, 17]);
        for other in [
            "facts/x/p1-42.parquet",
            "data/d/p1-from-a-e1-c1.parquet",
            "data/d/p1-from-1-e1-c1",
        ] {
            assert_eq!(RecordPlace::of(other), None, "{other}");
        }
    }
}
