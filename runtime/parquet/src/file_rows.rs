//! The rows of a file, batch by batch, whatever its bytes may be.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::ChunkReader;
use theatre_actors::ports::{Error, Result};

/// Rows of a batch that a reader gives.
const BATCH_ROWS: usize = 8192;

/// The rows of a file of the lake, in batches of at most 8,192.
pub struct FileRows {
    path: String,
    schema: SchemaRef,
    /// `None` once it has failed.
    reader: Option<ParquetRecordBatchReader>,
}

impl FileRows {
    /// The rows of a file whose footer is read: of all columns, or of those of a mask.
    pub(crate) fn new<R: ChunkReader + 'static>(
        path: &str,
        file: R,
        metadata: ArrowReaderMetadata,
        mask: ProjectionMask,
    ) -> Result<Self> {
        let reader = guarded(path, || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS)
                .build()
        })?;
        Ok(Self {
            path: path.to_owned(),
            schema: reader.schema(),
            reader: Some(reader),
        })
    }

    /// The columns that are read, in the order in which the file has them.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Iterator for FileRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let rows = guarded(&self.path, || Ok(reader.next().transpose()?)).transpose()?;
        if rows.is_err() {
            // What a reader that failed would go on with is not known.
            self.reader = None;
        }
        Some(rows)
    }
}

/// Reads the footer of a file.
pub(crate) fn metadata_of(path: &str, file: &impl ChunkReader) -> Result<ArrowReaderMetadata> {
    guarded(path, || {
        ArrowReaderMetadata::load(file, ArrowReaderOptions::new())
    })
}

/// What is wrong with a file that is not as it should be.
pub(crate) fn unreadable(path: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Refused(format!(
        "lake file '{path}' is no readable Parquet file: {why}"
    ))
}

/// What the decoder makes of bytes that may be damaged in any way: a panic of it is an error of the
/// file, since its caller may be code in C, through which none may pass.
pub(crate) fn guarded<T>(
    path: &str,
    read: impl FnOnce() -> parquet::errors::Result<T>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| unreadable(path, &error)),
        Err(_) => Err(unreadable(path, &"its bytes are damaged")),
    }
}
