//! Completions of uploads that either happen or do not, as in S3.
//!
//! `s3s-fs` forgets an upload and deletes its parts before the object is there. So the files of an
//! upload get second names in a folder before it is completed. It is removed once the object is
//! there; where the completion failed, or its process was killed, the files come back from it.

use std::io::Result;
use std::path::Path;

/// The folder of the second names. A prefix would make some names too long for a file system.
const KEPT: &str = ".completing";

/// Keeps the files of an upload, all of which have its id in their names.
pub(super) fn begin(root: &Path, upload_id: &str) -> Result<()> {
    let kept = root.join(KEPT);
    std::fs::create_dir_all(&kept)?;
    for name in names(root)?.iter().filter(|name| name.contains(upload_id)) {
        std::fs::hard_link(root.join(name), kept.join(name))?;
    }
    Ok(())
}

/// Forgets what is kept: the object is there.
pub(super) fn settle(root: &Path) -> Result<()> {
    std::fs::remove_dir_all(root.join(KEPT))
}

/// Gives the upload back whose completion was not settled, if there is one.
pub(super) fn undo(root: &Path) -> Result<()> {
    let kept = root.join(KEPT);
    if !kept.exists() {
        return Ok(());
    }
    for name in names(&kept)? {
        // Where both names are there they are of one file, and stay as they are, says rename(2).
        std::fs::rename(kept.join(&name), root.join(&name))?;
    }
    std::fs::remove_dir_all(kept)
}

/// The names in a directory.
fn names(root: &Path) -> Result<Vec<String>> {
    std::fs::read_dir(root)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_whose_completion_is_interrupted_anywhere_is_there_again() {
        let mut long = ".upload-a1.metadata.json".to_owned();
        // No file system here takes a longer name.
        long.insert_str(0, &"k".repeat(255 - long.len()));
        let files = [".upload-a1.json", ".upload_id-a1.part-1", &long];
        for deleted in 0..=files.len() {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            for name in files.iter().chain(&[".upload-b2.json"]) {
                std::fs::write(root.join(name), name).unwrap();
            }
            begin(root, "a1").unwrap();
            for name in &files[..deleted] {
                std::fs::remove_file(root.join(name)).unwrap();
            }
            undo(root).unwrap();
            for name in files {
                let content = std::fs::read_to_string(root.join(name)).unwrap();
                assert_eq!(content, name, "after {deleted} files were deleted");
            }
            assert_eq!(names(root).unwrap().len(), files.len() + 1);
        }
    }

    #[test]
    fn an_upload_that_is_completed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::write(root.join(".upload-a1.json"), "").unwrap();
        begin(root, "a1").unwrap();
        std::fs::remove_file(root.join(".upload-a1.json")).unwrap();
        settle(root).unwrap();
        assert_eq!(names(root).unwrap(), [""; 0]);
        undo(root).unwrap();
    }
}
