//! A data directory as an operator sees it: whether it can be used, whether a process runs on it,
//! and whether its files are whole. Nothing of it changes anything.

use std::io::{Error as IoError, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use theatre_actors::ports::Error;

use super::data_dir::DataDir;
use super::{fault, open_read_only};

/// What was seen of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// False if the first start has to make it.
    pub is_there: bool,
    /// Whether this user may write it; or, if it is not there, the folder in which it is made.
    pub may_write: Result<(), String>,
    /// Bytes that are free on its disk for this user.
    pub free_bytes: u64,
    /// Bytes of that disk.
    pub disk_bytes: u64,
    /// The process that runs on it, if one does.
    pub held_by: Option<u32>,
}

impl DataDir {
    /// Looks at the directory.
    ///
    /// # Errors
    /// When its disk cannot be asked.
    pub fn inspect(&self) -> Result<Inspection, Error> {
        let (root, there) = self.nearest();
        let (free_bytes, disk_bytes) = disk_of(&there)?;
        let may_write = access(&there, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| format!("{}: {}", there.display(), IoError::from(error)));
        Ok(Inspection {
            is_there: there == root,
            may_write,
            free_bytes,
            disk_bytes,
            held_by: self.holder(),
        })
    }

    /// What is free on the disk of the directory, and the disk's size, bytes.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn disk(&self) -> Result<(u64, u64), Error> {
        disk_of(&self.nearest().1)
    }

    /// The directory, and what of its path is there.
    fn nearest(&self) -> (PathBuf, PathBuf) {
        let root = std::path::absolute(self.root()).unwrap_or_else(|_| self.root().to_owned());
        let there = root.ancestors().find(|folder| folder.exists());
        let there = there.unwrap_or(Path::new("/")).to_owned();
        (root, there)
    }

    /// The process that holds the lock. The lock is not tried: a process that starts at this very
    /// moment would find it taken.
    fn holder(&self) -> Option<u32> {
        use std::os::unix::fs::MetadataExt;
        let mut named = String::new();
        let mut file = std::fs::File::open(self.root().join("lock")).ok()?;
        let inode = file.metadata().ok()?.ino();
        file.read_to_string(&mut named).ok()?;
        // The kernel gives its list in pieces: one that changes meanwhile may lack an entry.
        let look = |_| holder_in(&std::fs::read_to_string("/proc/locks").ok()?, inode);
        let holder = (0..LOOKS).find_map(look)?;
        // In a container the kernel may not name a process of another one.
        Some(holder)
            .filter(|holder| *holder > 0)
            .or_else(|| named.trim().parse().ok())
    }
}

/// What is free on the disk of a folder for this user, and the disk's size, bytes.
fn disk_of(folder: &Path) -> Result<(u64, u64), Error> {
    let disk = statvfs(folder).map_err(|error| {
        Error::Refused(format!(
            "the disk of {} cannot be asked: {error}",
            folder.display()
        ))
    })?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok((bytes(disk.f_bavail), bytes(disk.f_blocks)))
}

/// How often the kernel's list of locks is read before a lock is taken to be free.
const LOOKS: usize = 5;

/// The process that holds a whole file of this number, by the kernel's list of locks.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    let holds = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let is_whole = words.next() == Some("FLOCK");
        let (holder, place) = (words.nth(2)?, words.next()?);
        let number = place.rsplit(':').next()?.parse::<u64>().ok()?;
        (is_whole && number == inode).then(|| holder.parse().unwrap_or_default())
    };
    locks.lines().find_map(holds)
}

/// Whether a database file is whole, as far as SQLite sees quickly.
///
/// # Errors
/// When it cannot be read, or is damaged: says the first fault.
pub fn quick_check(path: &Path, what: &'static str) -> Result<(), Error> {
    let connection = open_read_only(path, what)?;
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(fault(what))?;
    if found == "ok" {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the {what} at {} is damaged: {found}",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_by_the_number_of_the_file() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 fe:00:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 14 fe:00:78 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 fe:00:177 0 EOF\n";
        assert_eq!(holder_in(locks, 77), Some(12));
        assert_eq!(holder_in(locks, 177), Some(13));
        assert_eq!(holder_in(locks, 78), None, "it only waits");
        assert_eq!(holder_in("", 77), None);
    }

    #[test]
    fn a_directory_says_whether_it_is_there_and_who_runs_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::new(folder.path().join("not/yet"));
        let seen = dir.inspect().unwrap();
        assert!(!seen.is_there && seen.may_write.is_ok() && seen.held_by.is_none());
        assert!(seen.free_bytes > 0 && seen.disk_bytes >= seen.free_bytes);
        assert_eq!(dir.disk().unwrap().1, seen.disk_bytes);
        dir.create().unwrap();
        assert!(dir.inspect().unwrap().is_there);
        let lock = dir.lock().unwrap();
        assert_eq!(dir.inspect().unwrap().held_by, Some(std::process::id()));
        drop(lock);
        assert_eq!(dir.inspect().unwrap().held_by, None);
    }

    #[test]
    fn a_damaged_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        let rows = "CREATE TABLE t (a TEXT); INSERT INTO t SELECT hex(randomblob(400)) FROM \
                    (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) SELECT i FROM n)";
        drop(crate::open(&path, "test", rows).unwrap());
        quick_check(&path, "test").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 4096..].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let why = quick_check(&path, "test").unwrap_err().to_string();
        assert!(why.contains("damaged") || why.contains("backup"), "{why}");
    }
}
