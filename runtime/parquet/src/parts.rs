//! Byte ranges of a file, as if they were the file: what a reader of few columns fetches.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use theatre_actors::ports::{LakeBytes, Result};

use super::file_rows::{FileRows, guarded, metadata_of, unreadable};

/// The bytes at the end of a file behind its footer: the footer's length, and the format's name.
pub(crate) const TAIL_BYTES: u64 = 8;

/// Some byte ranges of a file.
#[derive(Clone)]
pub(crate) struct Parts {
    file_bytes: u64,
    /// Where each begins and its bytes, ascending.
    parts: Arc<[(u64, Bytes)]>,
}

impl Parts {
    /// Parts of a file of so many bytes: where each begins and its bytes, ascending.
    pub(crate) fn new(file_bytes: u64, parts: Vec<(u64, Bytes)>) -> Self {
        Self {
            file_bytes,
            parts: parts.into(),
        }
    }

    fn slice(&self, start: u64, length: Option<usize>) -> parquet::errors::Result<Bytes> {
        let outside = || ParquetError::EOF(format!("byte {start} is outside of its column"));
        let after = self.parts.partition_point(|(from, _)| *from <= start);
        let (begin, bytes) = after
            .checked_sub(1)
            .and_then(|at| self.parts.get(at))
            .ok_or_else(outside)?;
        let from = usize::try_from(start - begin).map_err(|_| outside())?;
        let to = length.map_or(Some(bytes.len()), |length| from.checked_add(length));
        match to {
            Some(to) if from <= to && to <= bytes.len() => Ok(bytes.slice(from..to)),
            _ => Err(outside()),
        }
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Parts {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.slice(start, None)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.slice(start, Some(length))
    }
}

/// Where the footer of a file of so many bytes begins, by its last [`TAIL_BYTES`].
pub(crate) fn footer_begins(path: &str, file_bytes: u64, tail: &[u8]) -> Result<u64> {
    let tail = tail
        .first_chunk::<8>()
        .filter(|tail| tail.ends_with(b"PAR1"));
    let length = tail.and_then(|tail| tail.first_chunk::<4>());
    length
        .and_then(|length| {
            let footer = u64::from(u32::from_le_bytes(*length));
            file_bytes.checked_sub(footer)?.checked_sub(TAIL_BYTES)
        })
        .ok_or_else(|| unreadable(path, &"its end is not that of one"))
}

/// Reads some columns of a file, in the order in which the file has them. Its footer says where
/// they lie, and no other byte is fetched.
///
/// # Errors
/// `Refused` when the file is damaged or no Parquet file, others when its bytes cannot be had.
pub(crate) fn read_some(
    path: &str,
    file: &dyn LakeBytes,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<FileRows> {
    let size = file.size();
    let tail = file.read(size.saturating_sub(TAIL_BYTES)..size)?;
    let begin = footer_begins(path, size, &tail)?;
    let end = Parts::new(size, vec![(begin, file.read(begin..size)?)]);
    let metadata = metadata_of(path, &end)?;
    let names = metadata.schema().fields().iter().map(|field| field.name());
    let wanted = names.filter(|name| is_wanted(name)).map(String::as_str);
    let mask = ProjectionMask::columns(metadata.parquet_schema(), wanted);
    let mut parts = Vec::new();
    for range in guarded(path, || Ok(ranges(&metadata, &mask)))? {
        if range.end > begin {
            return Err(unreadable(path, &"a column lies outside of the file"));
        }
        parts.push((range.start, file.read(range)?));
    }
    FileRows::new(path, Parts::new(size, parts), metadata, mask)
}

/// Where the columns lie, ascending; those that follow each other as one.
fn ranges(metadata: &ArrowReaderMetadata, mask: &ProjectionMask) -> Vec<Range<u64>> {
    let groups = metadata.metadata().row_groups().iter();
    let mut columns: Vec<Range<u64>> = groups
        .flat_map(|group| group.columns().iter().enumerate())
        .filter(|(leaf, _)| mask.leaf_included(*leaf))
        .map(|(_, column)| {
            let (from, length) = column.byte_range();
            from..from.saturating_add(length)
        })
        .collect();
    columns.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in columns {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}
