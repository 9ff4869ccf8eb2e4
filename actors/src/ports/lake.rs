//! The lake: files that become visible atomically, as a whole, and are immutable but for the erasure of
//! rows, which replaces a file in one step.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Epoch, Error, Result};
use crate::position::Partition;

/// A lake file being written. Dropping it without `seal` abandons it.
pub trait LakeUpload: Send {
    /// Appends bytes to the file.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes all parts durable without making the file visible, and returns the handle for
    /// [`Lake::complete`].
    fn seal(self: Box<Self>) -> Result<String>;
}

/// A completed file as [`Lake::list`] returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeEntry {
    /// Path below the root.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// A completed file that is open, for a reader that wants few of its bytes.
pub trait LakeBytes: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// The bytes of a range, of the file that was opened. Fails with `Refused` when it lies outside
    /// of the file, with `Unavailable` where an adapter finds that the file was replaced meanwhile
    /// and cannot have the old one any more, and never with `Gone`.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

impl LakeBytes for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let place = |at: u64| usize::try_from(at).ok().filter(|at| *at <= self.len());
        match (place(range.start), place(range.end)) {
            (Some(from), Some(to)) if from <= to => Ok(self.slice(from..to)),
            _ => Err(outside(&range, self.size())),
        }
    }
}

/// A range that is not in its file, which says of itself where its parts are.
pub fn outside(range: &Range<u64>, size: u64) -> Error {
    Error::Refused(format!(
        "a lake file of {size} bytes is damaged: it says that bytes {} to {} are a part of it",
        range.start, range.end
    ))
}

/// A store of files that nothing but [`Lake::replace`] changes.
pub trait Lake: Send + Sync {
    /// Starts a file, which is invisible until it is completed. `attempt` makes concurrent writers
    /// of one path independent. It is of the form `p<partition>-e<epoch>-<rest>`, or
    /// `p<partition>-<rest>` for a file that any process may write again.
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>>;

    /// Makes a sealed file visible under its path; idempotent. Fails with `Gone` when neither the
    /// parts nor the completed file exist.
    fn complete(&self, path: &str, upload: &str) -> Result<()>;

    /// Puts other bytes under the name of a completed file, in one step: who lists or reads meets
    /// the old ones or the new ones. Fails with `Gone` when the file is not there.
    fn replace(&self, path: &str, _bytes: Bytes) -> Result<()> {
        Err(Error::Refused(format!(
            "lake file '{path}' cannot be replaced: this lake has no way to do that in one step"
        )))
    }

    /// All completed files under a prefix, sorted by path.
    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>>;

    /// The bytes of a completed file. Fails with `Gone` when it is not there.
    fn read(&self, path: &str) -> Result<Bytes>;

    /// Opens a completed file for a reader that wants few of its bytes. An adapter that has no way of
    /// its own fetches all of them. Fails with `Gone` when it is not there.
    fn open_file(&self, path: &str) -> Result<Box<dyn LakeBytes>> {
        Ok(Box::new(self.read(path)?))
    }

    /// The URL under which other systems find a file, such as `s3://bucket/prefix/path`; `None` for
    /// a lake that only this process can read.
    fn location(&self, path: &str) -> Option<String>;

    /// Aborts the uploads of a partition that are [`is_outdated`] under `epoch` and not in `keep`;
    /// returns how many. Uploads of a later owner stay, however late this call arrives.
    fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize>;
}

/// The prefix of all attempts of a partition.
pub fn attempts_of(partition: Partition) -> String {
    format!("p{partition}-")
}

/// True for an attempt, or a name that begins with one, that the owner of `partition` under `epoch`
/// may abort: the attempt was begun under an older epoch, whose owner can no longer register files,
/// or under no epoch.
pub fn is_outdated(attempt: &str, partition: Partition, epoch: Epoch) -> bool {
    let Some(rest) = attempt.strip_prefix(&attempts_of(partition)) else {
        return false;
    };
    let named = rest
        .strip_prefix('e')
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(number, _)| number.parse::<Epoch>().ok());
    named.is_none_or(|begun| begun < epoch)
}

#[cfg(test)]
mod tests {
    use super::is_outdated;

    #[test]
    fn an_attempt_is_outdated_by_a_later_epoch_of_its_partition_only() {
        for (attempt, outdated) in [
            ("p1-e9-1", true),
            ("p1-e9-x1.outputs~a.parquet", true),
            ("p1-e10-1", false),
            ("p1-e11-1", false),
            ("p1-e100-1.data", false),
            ("p11-e1-1", false),
            ("p2-e1-1", false),
            ("p1-load-00ff", true),
            ("p1-e-load", true),
        ] {
            assert_eq!(is_outdated(attempt, 1, 10), outdated, "{attempt}");
        }
    }
}
