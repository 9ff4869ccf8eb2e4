//! Columns of files whose records name their own values: they are found in the first records, and
//! what comes later without having been found or wanted is left out and said.

use std::collections::HashMap;

use theatre_schemas::dataset::ARRAY_LENGTH_MAX;

use crate::json::Fault;
use crate::records::{Cell, shown};
use crate::tree::{Tree, Value};

/// Most columns of a file: those beyond are left out, and said.
pub const COLUMNS_MAX: usize = 4096;

/// Most bytes of a column's name.
const NAME_BYTES_MAX: usize = 1024;

/// Most names of late columns that are kept for the report.
const LATE_MAX: usize = 16;

/// How the columns of a file are found whose records name their own values.
#[derive(Debug, Clone)]
pub struct ColumnSearch<'a> {
    /// Columns that a mapping names. They are there also when the records that are looked through
    /// do not have them, unless the whole file was looked through.
    pub wanted: &'a [String],
    /// How many records are looked through before the first one is given out. One is right for a
    /// pipe, which may be slow.
    pub records: usize,
}

impl Default for ColumnSearch<'_> {
    fn default() -> Self {
        Self {
            wanted: &[],
            records: 1000,
        }
    }
}

/// The columns of a file, and the record that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    names: Vec<String>,
    places: HashMap<String, usize>,
    /// Number of the record that filled each column last: a key that comes twice is noticed.
    filled: Vec<u64>,
    cells: Vec<Cell>,
    record: u64,
    /// Whether no more columns are taken in.
    closed: bool,
    late: Vec<(String, u64)>,
    more_late: bool,
    /// Lists that were left out, with how long they were.
    lists: Vec<(String, usize)>,
}

impl Columns {
    /// Adds a column before any record is read.
    #[cfg(feature = "mcap")]
    pub(crate) fn begin_with(&mut self, name: &str) {
        self.add(name);
        self.cells.clear();
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The cells of a record, which is a tree of values; see [`Tree::flatten`].
    ///
    /// # Errors
    /// When a name comes twice in it.
    pub(crate) fn record(
        &mut self,
        tree: Tree,
        named: bool,
        line: u64,
    ) -> Result<Vec<Cell>, Fault> {
        self.record += 1;
        self.cells.clear();
        self.cells.resize(self.names.len(), Cell::Missing);
        tree.flatten(named, &mut |name, value| match value {
            Value::Cell(cell) => self.put(name, line, cell),
            Value::TooLong(length) => {
                self.leave_out_list(name, length);
                Ok(())
            }
        })?;
        Ok(std::mem::take(&mut self.cells))
    }

    /// Puts a value into the record; the column is made, or, once the search is over, the value is
    /// left out.
    fn put(&mut self, name: &str, line: u64, cell: Cell) -> Result<(), &'static str> {
        let Some(&place) = self.places.get(name) else {
            self.put_new(name, line, cell);
            return Ok(());
        };
        if self.filled[place] == self.record {
            return Err("a key comes twice in one object");
        }
        self.filled[place] = self.record;
        self.cells[place] = cell;
        Ok(())
    }

    fn put_new(&mut self, name: &str, line: u64, cell: Cell) {
        if self.closed || self.names.len() >= COLUMNS_MAX || name.len() > NAME_BYTES_MAX {
            self.leave_out(name, line);
            return;
        }
        self.add(name);
        if let (Some(filled), Some(last)) = (self.filled.last_mut(), self.cells.last_mut()) {
            *filled = self.record;
            *last = cell;
        }
    }

    fn add(&mut self, name: &str) {
        self.places.insert(name.to_owned(), self.names.len());
        self.names.push(name.to_owned());
        self.filled.push(0);
        self.cells.push(Cell::Missing);
    }

    fn leave_out_list(&mut self, name: &str, length: usize) {
        let name = shown(name);
        if self.lists.len() < LATE_MAX && self.lists.iter().all(|(known, _)| *known != name) {
            self.lists.push((name, length));
        }
    }

    fn leave_out(&mut self, name: &str, line: u64) {
        let name = shown(name);
        if self.late.iter().any(|(known, _)| *known == name) {
            return;
        }
        if self.late.len() < LATE_MAX {
            self.late.push((name, line));
        } else {
            self.more_late = true;
        }
    }

    /// Ends the search. `wanted` columns that were not found are added, for records to come.
    pub(crate) fn close(&mut self, wanted: &[String]) {
        for name in wanted {
            if !self.places.contains_key(name) && self.names.len() < COLUMNS_MAX {
                self.add(name);
            }
        }
        self.closed = true;
    }

    /// What is to be said of the columns once records were read.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = self
            .late
            .iter()
            .map(|(name, line)| {
                format!(
                    "'{name}' first comes at {line}, after the records by which columns are found, or beyond {COLUMNS_MAX} columns: it is left out unless the mapping names it"
                )
            })
            .collect();
        if self.more_late {
            remarks.push("more names come late and are left out".to_owned());
        }
        remarks.extend(self.lists.iter().map(|(name, length)| {
            format!("'{name}' has {length} elements, more than the {ARRAY_LENGTH_MAX} that become columns: it is left out")
        }));
        let never: Vec<&str> = self
            .names
            .iter()
            .zip(&self.filled)
            .filter(|(_, filled)| **filled == 0)
            .map(|(name, _)| name.as_str())
            .collect();
        if !never.is_empty() && self.record > 0 {
            remarks.push(format!(
                "no record has a value named {}",
                shown(&never.join(", "))
            ));
        }
        remarks
    }
}
