//! Paths, globs and folders, as files.

use std::cmp::Ordering;
use std::path::Path;

use super::fault;
use crate::records::ReadError;

/// The files that paths, globs and folders name; `-` for standard input stays. Files of a glob or a
/// folder (with the folders in it, without what is hidden) are sorted by name, numbers by their
/// value; a file that is named twice is there once.
///
/// # Errors
/// When one of them names no file.
pub fn find(paths: &[String]) -> Result<Vec<String>, ReadError> {
    let mut found: Vec<String> = Vec::new();
    for path in paths {
        for file in files(path)? {
            if !found.contains(&file) {
                found.push(file);
            }
        }
    }
    Ok(found)
}

fn files(path: &str) -> Result<Vec<String>, ReadError> {
    let unreadable =
        |error: &dyn std::fmt::Display| fault(path, &format!("cannot be read: {error}"));
    if path == "-" {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    if Path::new(path).is_dir() {
        within(Path::new(path), &mut files).map_err(|error| unreadable(&error))?;
        if files.is_empty() {
            return Err(fault(path, "is a folder without files"));
        }
    } else if Path::new(path).exists() || !path.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    } else {
        for entry in glob::glob(path).map_err(|error| unreadable(&error))? {
            let entry = entry.map_err(|error| unreadable(&error))?;
            if !entry.is_dir() {
                files.push(entry.to_string_lossy().into_owned());
            }
        }
        if files.is_empty() {
            return Err(fault(path, "fits no file"));
        }
    }
    files.sort_by(|a, b| natural(a, b));
    Ok(files)
}

/// Adds the files of a folder and of the folders in it. A link to a folder is not followed: it may
/// lead back.
fn within(folder: &Path, files: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            within(&entry.path(), files)?;
        } else if !entry.path().is_dir() {
            files.push(entry.path().to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// Compares texts with the numbers in them by their value: `run2` before `run10`.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(l), Some(r)) = (left.first(), right.first()) {
        if l.is_ascii_digit() && r.is_ascii_digit() {
            let (number_l, rest_l) = number(left);
            let (number_r, rest_r) = number(right);
            let order = number_l
                .len()
                .cmp(&number_r.len())
                .then(number_l.cmp(number_r));
            if order.is_ne() {
                return order;
            }
            (left, right) = (rest_l, rest_r);
        } else if l == r {
            (left, right) = (&left[1..], &right[1..]);
        } else {
            return l.cmp(r);
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The digits at the beginning without leading zeros, and what comes after them.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zeros = text[..digits]
        .iter()
        .take_while(|byte| **byte == b'0')
        .count();
    (&text[zeros.min(digits)..digits], &text[digits..])
}
