//! Single columns of a file's row groups, for a reader that wants few of them: the footer says
//! where each lies, so that no other byte has to be fetched.

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_select::concat::concat;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::file::statistics::Statistics;
use theatre_actors::ports::{ColumnType, Result};

use super::column_type;
use super::file_rows::{FileRows, guarded, metadata_of, unreadable};
use super::parts::{Parts, footer_begins};

/// The least and the greatest value of a column in a row group, as far as the file tells them.
#[derive(Debug, Clone, PartialEq)]
pub enum Bounds {
    /// Of whole numbers, times and dates.
    Integers(i64, i64),
    /// Of texts; the bounds may be shorter than the values, and still bound them.
    Texts(Vec<u8>, Vec<u8>),
}

/// What a file says of itself at its end.
pub struct Footer {
    path: String,
    file_bytes: u64,
    metadata: ArrowReaderMetadata,
}

impl Footer {
    /// Where the footer of a whole file begins.
    ///
    /// # Errors
    /// `Refused` when the bytes are not a Parquet file.
    pub fn begin(path: &str, file: &[u8]) -> Result<u64> {
        let tail = file.last_chunk::<8>().map_or(&[][..], |tail| tail);
        footer_begins(path, file.len() as u64, tail)
    }

    /// Reads the footer of a file of `file_bytes` from all bytes from [`Self::begin`] on.
    ///
    /// # Errors
    /// `Refused` when the bytes are not a Parquet file, or one of its columns is nested.
    pub fn read(path: &str, file_bytes: u64, end: Bytes) -> Result<Self> {
        let from = file_bytes.saturating_sub(end.len() as u64);
        let part = Parts::new(file_bytes, vec![(from, end)]);
        let metadata = metadata_of(path, &part)?;
        let footer = Self {
            path: path.to_owned(),
            file_bytes,
            metadata,
        };
        let leaves = footer.metadata.parquet_schema().num_columns();
        if leaves != footer.metadata.schema().fields().len() {
            return Err(unreadable(path, &"it has nested columns"));
        }
        for group in 0..footer.groups() {
            for column in 0..leaves {
                let range = guarded(path, || Ok(footer.range(group, column)))?;
                if range.end > file_bytes {
                    return Err(unreadable(path, &"a column lies outside of the file"));
                }
            }
        }
        Ok(footer)
    }

    /// Path of the file, for messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        rows.unsigned_abs()
    }

    /// The types of its columns in their order, with what Arrow calls them; `None` for one that no
    /// table has.
    pub fn types(&self) -> Vec<(Option<ColumnType>, String)> {
        let fields = self.metadata.schema().fields().iter();
        fields
            .map(|field| {
                (
                    column_type(field.data_type()),
                    field.data_type().to_string(),
                )
            })
            .collect()
    }

    /// Row groups of the file.
    pub fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Rows of a row group.
    pub fn group_rows(&self, group: usize) -> usize {
        let rows = self.metadata.metadata().row_group(group).num_rows();
        usize::try_from(rows).unwrap_or(0)
    }

    /// The bytes of the file that hold a column of a row group.
    pub fn range(&self, group: usize, column: usize) -> Range<u64> {
        let group = self.metadata.metadata().row_group(group);
        let (from, length) = group.column(column).byte_range();
        from..from.saturating_add(length)
    }

    /// What a row group says of the values of a column; `None` if it says nothing, or if there is
    /// none but NULL.
    pub fn bounds(&self, group: usize, column: usize) -> Option<Bounds> {
        let group = self.metadata.metadata().row_group(group);
        match group.column(column).statistics()? {
            Statistics::Int32(of) => Some(Bounds::Integers(
                i64::from(*of.min_opt()?),
                i64::from(*of.max_opt()?),
            )),
            Statistics::Int64(of) => Some(Bounds::Integers(*of.min_opt()?, *of.max_opt()?)),
            Statistics::ByteArray(of) => Some(Bounds::Texts(
                of.min_bytes_opt()?.to_vec(),
                of.max_bytes_opt()?.to_vec(),
            )),
            _ => None,
        }
    }

    /// All rows, from the bytes of the whole file.
    ///
    /// # Errors
    /// `Refused` when the file is damaged.
    pub fn rows_of(&self, file: Bytes) -> Result<FileRows> {
        FileRows::new(
            &self.path,
            file,
            self.metadata.clone(),
            ProjectionMask::all(),
        )
    }

    /// The values of a column of a row group, from the bytes of its [`Self::range`].
    ///
    /// # Errors
    /// `Refused` when they are damaged.
    pub fn decode(&self, group: usize, column: usize, bytes: Bytes) -> Result<ArrayRef> {
        let from = self.range(group, column).start;
        let part = Parts::new(self.file_bytes, vec![(from, bytes)]);
        let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), [column]);
        let rows = self.group_rows(group);
        let values = guarded(&self.path, || {
            let reader =
                ParquetRecordBatchReaderBuilder::new_with_metadata(part, self.metadata.clone())
                    .with_row_groups(vec![group])
                    .with_projection(mask)
                    .with_batch_size(rows.max(1))
                    .build()?;
            let batches = reader.collect::<std::result::Result<Vec<_>, _>>()?;
            let columns: Vec<&dyn arrow_array::Array> =
                batches.iter().map(|batch| &**batch.column(0)).collect();
            Ok(concat(&columns)?)
        })?;
        if values.len() == rows {
            Ok(values)
        } else {
            Err(unreadable(&self.path, &"a column lacks values"))
        }
    }
}
