//! The lake: immutable files that become visible at once and whole.

use serde::{Deserialize, Serialize};

use super::Result;

/// A lake file being written. Dropping it without `seal` abandons it.
pub trait LakeUpload: Send {
    /// Adds bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes all parts durable without making the file visible, and returns the handle for [`Lake::complete`].
    fn seal(self: Box<Self>) -> Result<String>;
}

/// A completed file as a lister of the lake sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeEntry {
    /// Path below the root.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// A store of immutable files.
pub trait Lake: Send + Sync {
    /// Starts a file; invisible until completed. `attempt` makes concurrent writers of one path independent.
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>>;

    /// Makes a sealed file visible under its path; doing it again changes nothing. Refused when neither the parts nor the
    /// finished file are there.
    fn complete(&self, path: &str, upload: &str) -> Result<()>;

    /// All completed files under a prefix, sorted by path.
    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>>;

    /// The bytes of a completed file.
    fn read(&self, path: &str) -> Result<bytes::Bytes>;

    /// Where others find a file, such as `s3://bucket/prefix/path`; `None` for a lake that only this process can read.
    fn location(&self, path: &str) -> Option<String>;

    /// Removes uploads that are not in `keep` and whose name starts with `prefix`; returns how many.
    fn sweep(&self, prefix: &str, keep: &[String]) -> Result<usize>;
}
