//! What every kind of file becomes before a mapping is applied: records of cells under named
//! columns.

use std::fmt;

/// Where a record stands in what the user gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as the user named it, or `-` for standard input.
    pub file: std::sync::Arc<str>,
    /// Line of a text file, from 1, of the file as it is on disk; number of the row, from 1, in a
    /// file without lines; 0 for the file as a whole.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file),
            line => write!(f, "{} line {line}", self.file),
        }
    }
}

/// One value as its file has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value: a null of a typed file. A blank or `N/A` of a text file is text until a mapping
    /// says what is missing.
    Missing,
    /// Text as it stands in the file, without its quotes; blanks around it are kept.
    Text(String),
    /// A whole number of a typed file.
    Integer(i64),
    /// A number of a typed file.
    Number(f64),
    /// A flag of a typed file.
    Flag(bool),
    /// A time of a typed file, nanoseconds since 1970-01-01T00:00:00Z.
    Time(i128),
}

/// A record: as many cells as its table has columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it stands.
    pub place: Place,
    /// Its cells, in the order of the columns.
    pub cells: Vec<Cell>,
}

/// Why a line did not become a row. Refusals of one kind are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where the line stands.
    pub place: Place,
    /// The kind, as a sentence without the value that stood there: what it is counted under.
    pub kind: String,
    /// What stood there, shortened and with control characters escaped; empty where nothing did.
    pub found: String,
}

impl Refusal {
    /// A refusal of what stands at a place; `found` is shortened and escaped here.
    pub fn new(place: Place, kind: impl Into<String>, found: &str) -> Self {
        Self {
            place,
            kind: kind.into(),
            found: shown(found),
        }
    }
}

/// A text as messages show it: its first 60 characters, control characters escaped.
pub fn shown(text: &str) -> String {
    let mut short = String::new();
    for (at, sign) in text.trim().chars().enumerate() {
        if at == 60 {
            short.push_str("...");
            break;
        }
        if sign.is_control() {
            short.extend(sign.escape_default());
        } else {
            short.push(sign);
        }
    }
    short
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.kind)?;
        if !self.found.is_empty() {
            write!(f, ": '{}'", self.found)?;
        }
        Ok(())
    }
}

/// A file that is read record by record.
pub trait Records: Send {
    /// Names of the columns, in the order of the cells, unique; known once it is open.
    fn columns(&self) -> &[String];

    /// The next record; `None` at the end. A line that is no record is a refusal, and the next call
    /// goes on after it.
    ///
    /// # Errors
    /// When the file itself cannot be read on: nothing of it comes after that.
    fn next_record(&mut self) -> Result<Option<Result<Record, Refusal>>, ReadError>;

    /// Lines so far that are neither records nor refusals: blank ones, comments, headers, what
    /// stands before and after the table, and the further lines of records that have several.
    fn left_out(&self) -> u64 {
        0
    }

    /// What is to be said of the file as a whole, complete once the end was reached: columns that
    /// came too late, wanted ones that never came, topics that were passed over.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A file that cannot be read, or not any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// Up to where it was read.
    pub place: Place,
    /// What is wrong, and what to do.
    pub why: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

impl std::error::Error for ReadError {}
