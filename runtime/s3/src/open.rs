//! A file of which few bytes are wanted: its ends come when it is opened, other parts by a request
//! each. A small file is one request.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use theatre_actors::ports::{Error, LakeBytes, Result, outside};
use theatre_system::blocking::IoRuntime;

use super::bucket::{Bucket, Piece};

/// What is fetched of each end: the footer of most files, and all of a small one.
const END_BYTES: u64 = 64 * 1024;

const WHAT: &str = "lake, reading a part of a file";

/// An open file.
pub(super) struct OpenFile {
    bucket: Arc<Bucket>,
    io: IoRuntime,
    path: String,
    size: u64,
    /// Tells whether a later answer is of the same bytes.
    etag: Option<String>,
    /// Where each begins, and its bytes.
    ends: Vec<(u64, Bytes)>,
}

impl OpenFile {
    /// `None` if there is no such file.
    pub(super) async fn open(
        bucket: &Arc<Bucket>,
        io: &IoRuntime,
        path: &str,
    ) -> Result<Option<Self>> {
        let Some(first) = bucket.piece(path, 0..END_BYTES).await? else {
            return Ok(None);
        };
        let size = first.file_bytes;
        let mut file = Self {
            bucket: bucket.clone(),
            io: io.clone(),
            path: path.to_owned(),
            size,
            etag: first.etag,
            ends: vec![(0, first.bytes)],
        };
        let known = file.ends[0].1.len() as u64;
        if known < size {
            let begin = size.saturating_sub(END_BYTES).max(known);
            let last = file.fetch(begin..size).await?;
            file.ends.push((begin, last));
        }
        Ok(Some(file))
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let found = self.bucket.piece(&self.path, range.clone()).await?;
        let length = range.end - range.start;
        match found {
            Some(Piece {
                bytes,
                file_bytes,
                etag,
            }) if file_bytes == self.size && etag == self.etag && bytes.len() as u64 == length => {
                Ok(bytes)
            }
            // An erasure has put another file under the name; who reads again reads that.
            _ => Err(Error::Unavailable {
                what: WHAT,
                why: format!("'{}' was replaced while it was read", self.path),
            }),
        }
    }
}

impl LakeBytes for OpenFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.size {
            return Err(outside(&range, self.size));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        for (begin, bytes) in &self.ends {
            let place = |at: u64| usize::try_from(at.checked_sub(*begin)?).ok();
            if let (Some(from), Some(to)) = (place(range.start), place(range.end))
                && to <= bytes.len()
            {
                return Ok(bytes.slice(from..to));
            }
        }
        self.io.block_on(Box::pin(self.fetch(range)))
    }
}
