//! Completions of uploads that either happen or do not, as in S3.
//!
//! `s3s-fs` forgets an upload and deletes its parts before the object is there. So the files of an
//! upload get second names before it is completed. These are removed once the object is there, and
//! take the place of the first ones where the completion failed, or its process was killed.

use std::io::{ErrorKind, Result};
use std::path::Path;

/// What the second names begin with.
const KEPT: &str = ".completing-";

/// Keeps the files of an upload, all of which have its id in their names.
pub(super) fn begin(root: &Path, upload_id: &str) -> Result<()> {
    for name in names(root)? {
        if name.contains(upload_id) && !name.starts_with(KEPT) {
            std::fs::hard_link(root.join(&name), root.join(format!("{KEPT}{name}")))?;
        }
    }
    Ok(())
}

/// Forgets what is kept: the object is there.
pub(super) fn settle(root: &Path) -> Result<()> {
    for name in names(root)?.iter().filter(|name| name.starts_with(KEPT)) {
        std::fs::remove_file(root.join(name))?;
    }
    Ok(())
}

/// Gives the upload back.
pub(super) fn undo(root: &Path) -> Result<()> {
    for kept in names(root)? {
        let Some(name) = kept.strip_prefix(KEPT) else {
            continue;
        };
        let kept = root.join(&kept);
        std::fs::rename(&kept, root.join(name))?;
        // Two names of one file stay as they are, says rename(2).
        match std::fs::remove_file(&kept) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
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
        let files = [
            ".upload-a1.json",
            ".upload_id-a1.part-1",
            ".upload_id-a1.part-2",
        ];
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
    }
}
