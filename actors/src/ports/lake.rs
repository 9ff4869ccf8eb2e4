//! The lake: immutable files that become visible atomically, as a whole.

use serde::{Deserialize, Serialize};

use super::{Epoch, Result};
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

/// A store of immutable files.
pub trait Lake: Send + Sync {
    /// Starts a file, which is invisible until it is completed. `attempt` makes concurrent writers
    /// of one path independent. It is of the form `p<partition>-e<epoch>-<rest>`, or
    /// `p<partition>-<rest>` for a file that any process may write again.
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>>;

    /// Makes a sealed file visible under its path; idempotent. Fails with `Gone` when neither the
    /// parts nor the completed file exist.
    fn complete(&self, path: &str, upload: &str) -> Result<()>;

    /// All completed files under a prefix, sorted by path.
    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>>;

    /// The bytes of a completed file. Fails with `Gone` when it is not there.
    fn read(&self, path: &str) -> Result<bytes::Bytes>;

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
