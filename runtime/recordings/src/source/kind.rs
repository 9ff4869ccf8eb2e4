//! What a file is, by its first bytes.

use super::MAGIC_BYTES;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text: a table, or JSON.
    Text,
    /// Parquet.
    Parquet,
    /// MCAP, what ROS 2 records.
    Mcap,
    /// Something else: what it is, and what to do.
    Foreign(&'static str),
}

/// First bytes of files that are not read, with what to do.
const FOREIGN: &[(&[u8], &str)] = &[
    (
        b"PK\x03\x04",
        "a ZIP archive (an .xlsx workbook is one): unpack it, or save the sheet as CSV",
    ),
    (
        b"\xd0\xcf\x11\xe0",
        "a workbook of an old Excel: save the sheet as CSV",
    ),
    (b"BZh", "packed by bzip2: unpack it, or pipe it in (bzcat)"),
    (
        b"\xfd7zXZ\0",
        "packed by xz: unpack it, or pipe it in (xzcat)",
    ),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (
        b"#ROSBAG V",
        "a bag of ROS 1: convert it to MCAP, or export its topics as CSV",
    ),
    (
        b"SQLite format 3\0",
        "a SQLite database: export its table as CSV",
    ),
    (
        b"\x89HDF",
        "an HDF5 file (a .mat file may be one): export it as CSV",
    ),
    (b"MATLAB", "a MATLAB file: export it as CSV"),
    (b"%PDF-", "a PDF"),
    (b"ARROW1", "an Arrow file: save it as Parquet"),
    (b"Obj\x01", "an Avro file: export it as CSV"),
    (b"<!DOCTYPE", "a page of HTML: save its table as CSV"),
    (b"<!doctype", "a page of HTML: save its table as CSV"),
    (b"<html", "a page of HTML: save its table as CSV"),
    (b"<HTML", "a page of HTML: save its table as CSV"),
    (b"<?xml", "XML: export it as CSV"),
    (b"\x89PNG", "a picture"),
    (
        b"\x04\x22\x4d\x18",
        "packed by lz4: unpack it, or pipe it in (lz4cat)",
    ),
    (b"\x00\x00\xfe\xff", "text in UTF-32: save it as UTF-8"),
    (b"\xff\xfe\x00\x00", "text in UTF-32: save it as UTF-8"),
];

impl Kind {
    /// The kind of a file that begins like this.
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(b"PAR1") {
            return Self::Parquet;
        }
        if head.starts_with(b"\x89MCAP0\r\n") {
            return Self::Mcap;
        }
        // No more of it may have come.
        let begins = |magic: &[u8]| head.starts_with(&magic[..magic.len().min(MAGIC_BYTES)]);
        let foreign = FOREIGN.iter().find(|(magic, _)| begins(magic));
        foreign.map_or(Self::Text, |(_, what)| Self::Foreign(what))
    }
}
