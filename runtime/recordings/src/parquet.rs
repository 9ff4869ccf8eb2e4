//! Parquet files, batch by batch.
//!
//! Structs become columns `a.b`, lists `a[0]` up to the longest list of the first batch. A number
//! stays exact. A timestamp with a zone is a time; one without, a date, or a time of day is the
//! text of it, for it says only with the mapping's zone when it was. A place counts rows.

mod cells;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type;
use parquet::file::reader::ChunkReader;

use cells::{Leaf, Leaves};

use crate::columns;
use crate::records::{Place, ReadError, Record, Records, Refusal};

/// Rows of a batch.
const BATCH_ROWS: usize = 1024;

/// A Parquet file.
pub struct Parquet {
    place: Place,
    reader: ParquetRecordBatchReader,
    columns: Vec<String>,
    /// What the columns are in the batch that is read.
    leaves: Vec<Leaf>,
    /// Rows of that batch, and how many of them were given out.
    rows: usize,
    taken: usize,
    known: Known,
}

/// What is known of a file beside its Arrow schema.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Columns of old timestamps of 96 bits, which are instants.
    instants: BTreeSet<String>,
    /// How many elements of each list have columns.
    widths: BTreeMap<String, usize>,
    /// Whether the widths are settled.
    settled: bool,
    /// What was left out, and why.
    left_out: BTreeSet<String>,
}

impl Parquet {
    /// Opens a file.
    ///
    /// # Errors
    /// When it is no Parquet file, not a whole one, or of a form that is not read.
    pub fn open<R: ChunkReader + 'static>(file: Arc<str>, input: R) -> Result<Self, ReadError> {
        let place = Place { file, line: 0 };
        let failed = |why: String| ReadError {
            place: place.clone(),
            why,
        };
        check_end(&input).map_err(failed)?;
        let builder =
            guarded(|| ParquetRecordBatchReaderBuilder::try_new(input)).map_err(failed)?;
        let descriptors = builder.parquet_schema().columns().iter();
        let instants = descriptors
            .filter(|column| column.physical_type() == Type::INT96)
            .map(|column| column.path().string())
            .collect();
        let reader = guarded(|| builder.with_batch_size(BATCH_ROWS).build()).map_err(failed)?;
        let mut opened = Self {
            place,
            columns: Vec::new(),
            leaves: Vec::new(),
            rows: 0,
            taken: 0,
            known: Known {
                instants,
                ..Known::default()
            },
            reader,
        };
        if !opened.read_batch()? {
            let empty = RecordBatch::new_empty(opened.reader_schema());
            opened.take_batch(&empty);
        }
        opened.known.settled = true;
        let names: Vec<String> = opened.leaves.iter().map(|leaf| leaf.name.clone()).collect();
        opened.columns = columns::unique(&names);
        Ok(opened)
    }

    fn reader_schema(&self) -> arrow_schema::SchemaRef {
        arrow_array::RecordBatchReader::schema(&self.reader)
    }

    /// Goes on to the next batch; false at the end.
    fn read_batch(&mut self) -> Result<bool, ReadError> {
        let reader = &mut self.reader;
        let batch = guarded(|| reader.next().transpose());
        match batch {
            Ok(Some(batch)) => {
                self.take_batch(&batch);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(why) => Err(ReadError {
                place: self.place.clone(),
                why,
            }),
        }
    }

    fn take_batch(&mut self, batch: &RecordBatch) {
        self.leaves = Leaves::of(batch, &mut self.known);
        self.rows = batch.num_rows();
        self.taken = 0;
    }
}

impl Records for Parquet {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn next_record(&mut self) -> Result<Option<Result<Record, Refusal>>, ReadError> {
        while self.taken == self.rows {
            if !self.read_batch()? {
                return Ok(None);
            }
        }
        let row = self.taken;
        self.taken += 1;
        self.place.line += 1;
        let cells = self
            .leaves
            .iter()
            .map(|leaf| leaf.cell(row))
            .collect::<Vec<_>>();
        Ok(Some(Ok(Record {
            place: self.place.clone(),
            cells,
        })))
    }

    fn remarks(&self) -> Vec<String> {
        self.known.left_out.iter().cloned().collect()
    }
}

/// Says what a file is that does not end as a Parquet file does.
fn check_end<R: ChunkReader>(input: &R) -> Result<(), String> {
    let length = input.len();
    let end = length
        .checked_sub(4)
        .filter(|at| *at >= 8)
        .map(|at| input.get_bytes(at, 4));
    match end {
        Some(Ok(end)) if end.as_ref() == b"PAR1" => Ok(()),
        Some(Ok(end)) if end.as_ref() == b"PARE" => {
            Err("the Parquet file is encrypted, which is not supported: write it without".to_owned())
        }
        Some(Err(error)) => Err(format!("the file cannot be read: {error}")),
        _ => Err(
            "the file does not end as a Parquet file does, so its table of contents is missing: it was not written or copied to its end"
                .to_owned(),
        ),
    }
}

/// Calls the driver, which panics at some damaged files.
fn guarded<T, E: std::fmt::Display>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    match called {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(explained(&error.to_string())),
        Err(_) => Err("the Parquet file is damaged".to_owned()),
    }
}

fn explained(error: &str) -> String {
    let what_to_do = if error.contains("Disabled feature") {
        "; this compression is not supported: write the file with zstd, snappy, gzip or lz4"
    } else {
        ""
    };
    format!("the Parquet file cannot be read: {error}{what_to_do}")
}

#[cfg(test)]
mod tests;
