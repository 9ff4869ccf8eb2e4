//! The lake as a directory of Parquet files.
//!
//! Uploads are files in a hidden folder; completing one is a rename, made durable by syncing both
//! folders. A lister never sees a file that is not complete, and a name, once taken, keeps its
//! bytes until rows are erased: then another file takes its place by a rename.

use std::fs::{File, create_dir_all};
use std::io::{BufWriter, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use theatre_actors::ports::{
    Epoch, Error, Lake, LakeBytes, LakeEntry, LakeUpload, Result, is_outdated, outside,
};
use theatre_actors::position::Partition;

const UPLOADS: &str = ".uploads";
const WHAT: &str = "lake";

/// A directory.
pub struct DirectoryLake {
    root: PathBuf,
}

impl DirectoryLake {
    /// A lake below `root`, which is created.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn open(root: &Path) -> Result<Self> {
        create_dir_all(root.join(UPLOADS)).map_err(|error| {
            Error::Refused(format!("{} cannot be created: {error}", root.display()))
        })?;
        Ok(Self::open_read_only(root))
    }

    /// A lake below `root` for looking only: nothing is created.
    pub fn open_read_only(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }
}

/// What an error of the file system means for the caller. A full disk, or one that fails, may pass;
/// rights and names do not change by waiting.
fn fault(error: std::io::Error) -> Error {
    let for_good = matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::Unsupported
    );
    if for_good {
        return Error::Refused(format!(
            "the lake's folder refuses: {error}: let this user write it, and below it only Theatre"
        ));
    }
    Error::Unavailable {
        what: WHAT,
        why: error.to_string(),
    }
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

struct Upload {
    file: BufWriter<File>,
    handle: String,
    folder: PathBuf,
}

impl LakeUpload for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(fault)
    }

    fn seal(self: Box<Self>) -> Result<String> {
        let Self {
            file,
            handle,
            folder,
        } = *self;
        let file = file
            .into_inner()
            .map_err(|error| fault(error.into_error()))?;
        file.sync_all()
            .and_then(|()| sync_folder(&folder))
            .map_err(fault)?;
        Ok(handle)
    }
}

/// A file that is open.
struct OpenFile {
    file: File,
    size: u64,
}

impl LakeBytes for OpenFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let length = (range.end.checked_sub(range.start))
            .filter(|_| range.end <= self.size)
            .and_then(|length| usize::try_from(length).ok())
            .ok_or_else(|| outside(&range, self.size))?;
        let mut bytes = vec![0; length];
        (self.file.read_exact_at(&mut bytes, range.start)).map_err(fault)?;
        Ok(bytes.into())
    }
}

fn not_read(path: &str, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::Gone(format!("lake file '{path}' is not there")),
        _ => fault(error),
    }
}

impl Lake for DirectoryLake {
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>> {
        // The attempt comes first, so that all uploads of an owner can be found by its prefix.
        let handle = format!("{attempt}.{}", path.replace('/', "~"));
        let folder = self.root.join(UPLOADS);
        let file = File::create(folder.join(&handle)).map_err(fault)?;
        Ok(Box::new(Upload {
            file: BufWriter::with_capacity(1 << 18, file),
            handle,
            folder,
        }))
    }

    fn complete(&self, path: &str, upload: &str) -> Result<()> {
        let from = self.root.join(UPLOADS).join(upload);
        let to = self.root.join(path);
        let folder = to.parent().unwrap_or(&self.root).to_owned();
        create_dir_all(&folder).map_err(fault)?;
        if to.exists() {
            // Completed before; a second attempt's parts, if any, are orphans.
            return sync_folder(&folder).map_err(fault);
        }
        match std::fs::rename(&from, &to) {
            Ok(()) => {
                // New folders on the way must be durable too.
                for ancestor in folder
                    .ancestors()
                    .take_while(|ancestor| ancestor.starts_with(&self.root))
                {
                    sync_folder(ancestor).map_err(fault)?;
                }
                sync_folder(&self.root.join(UPLOADS)).map_err(fault)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::Gone(format!(
                "lake file '{path}': neither the file nor its upload '{upload}' is there"
            ))),
            Err(error) => Err(fault(error)),
        }
    }

    fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        let to = self.root.join(path);
        if !to.exists() {
            return Err(Error::Gone(format!("lake file '{path}' is not there")));
        }
        // No sweep takes it for an upload of a partition. One that was left by a kill is written
        // anew when the erasure is repeated.
        let from = (self.root.join(UPLOADS)).join(format!("replaced.{}", path.replace('/', "~")));
        let folder = to.parent().unwrap_or(&self.root);
        let mut file = File::create(&from).map_err(fault)?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&from, &to))
            .and_then(|()| sync_folder(folder))
            .map_err(fault)
    }

    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>> {
        let mut entries = Vec::new();
        // A folder that is not there is a lake without files: a reader does not make it, and where
        // the lake is turned off no process does.
        match std::fs::metadata(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(entries),
            _ => walk(&self.root, &self.root, &mut entries).map_err(fault)?,
        }
        entries.retain(|entry| entry.path.starts_with(prefix));
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(entries)
    }

    fn read(&self, path: &str) -> Result<Bytes> {
        let bytes = std::fs::read(self.root.join(path));
        Ok(bytes.map_err(|error| not_read(path, error))?.into())
    }

    fn open_file(&self, path: &str) -> Result<Box<dyn LakeBytes>> {
        let opened = File::open(self.root.join(path)).and_then(|file| {
            let size = file.metadata()?.len();
            Ok(OpenFile { file, size })
        });
        Ok(Box::new(opened.map_err(|error| not_read(path, error))?))
    }

    fn location(&self, _path: &str) -> Option<String> {
        None
    }

    fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize> {
        let mut swept = 0;
        for entry in std::fs::read_dir(self.root.join(UPLOADS)).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_outdated(&name, partition, epoch) && !keep.contains(&name) {
                std::fs::remove_file(entry.path()).map_err(fault)?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

fn walk(root: &Path, folder: &Path, entries: &mut Vec<LakeEntry>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(root, &entry.path(), entries)?;
        } else if let Ok(path) = entry.path().strip_prefix(root) {
            entries.push(LakeEntry {
                path: path.to_string_lossy().into_owned(),
                bytes: entry.metadata()?.len(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{DirectoryLake, Lake};

    #[test]
    fn a_lake_that_is_only_looked_at_has_no_files_until_its_folder_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("lake");
        let looked_at = DirectoryLake::open_read_only(&root);
        assert!(looked_at.list("data/").unwrap().is_empty());
        assert!(!root.exists(), "a look has made the folder");

        let lake = DirectoryLake::open(&root).unwrap();
        let mut upload = lake.begin("data/a.parquet", "p0-e1-a").unwrap();
        upload.write(b"rows").unwrap();
        let handle = upload.seal().unwrap();
        lake.complete("data/a.parquet", &handle).unwrap();
        let listed = looked_at.list("data/").unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].path, "data/a.parquet");
    }

    #[test]
    fn a_file_is_replaced_in_one_step_and_no_other_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let lake = DirectoryLake::open(folder.path()).unwrap();
        let gone = lake.replace("data/a.parquet", "new".into()).unwrap_err();
        assert!(matches!(gone, super::Error::Gone(_)), "{gone}");
        let mut upload = lake.begin("data/a.parquet", "p0-e1-a").unwrap();
        upload.write(b"old").unwrap();
        lake.complete("data/a.parquet", &upload.seal().unwrap())
            .unwrap();
        let open = lake.open_file("data/a.parquet").unwrap();
        lake.replace("data/a.parquet", "newer".into()).unwrap();
        assert_eq!(open.read(0..3).unwrap(), "old", "who has it open reads on");
        assert_eq!(lake.read("data/a.parquet").unwrap(), "newer");
        assert_eq!(lake.list("").unwrap().len(), 1);
        let left = std::fs::read_dir(folder.path().join(".uploads")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_lake_whose_folder_is_a_file_is_not_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("lake");
        std::fs::write(&root, b"").unwrap();
        assert!(DirectoryLake::open_read_only(&root).list("data/").is_err());
    }
}
