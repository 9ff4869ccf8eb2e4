//! The rows of a robot at one time: which of them are which.

use std::collections::{HashMap, HashSet};

use super::RowKey;
use super::table::KnownRow;

/// What a row says, and how many equal ones come before it.
pub(super) type Copy = (u64, i64);

/// Which copy of its content each row of a group is within its file: equal rows of one file are
/// several rows, and those of another file are the same ones again.
pub(super) fn copies(rows: &[RowKey<'_>], group: &[usize]) -> Vec<Copy> {
    let mut counts: HashMap<(u32, u64), i64> = HashMap::new();
    let copy = |at: &usize| {
        let row = &rows[*at];
        let count = counts.entry((row.file, row.content)).or_default();
        *count += 1;
        (row.content, *count - 1)
    };
    group.iter().map(copy).collect()
}

/// The rows that the index has.
pub(super) struct KnownRows {
    rows: Vec<KnownRow>,
    numbers: HashMap<Copy, i64>,
    /// Those that the recording has, too.
    taken: HashSet<i64>,
}

impl KnownRows {
    pub(super) fn new(rows: Vec<KnownRow>) -> Self {
        let numbers = rows.iter().map(|row| ((row.content, row.copy), row.number));
        Self {
            numbers: numbers.collect(),
            taken: HashSet::new(),
            rows,
        }
    }

    /// The number of a row.
    pub(super) fn number(&self, row: Copy) -> Option<i64> {
        self.numbers.get(&row).copied()
    }

    /// The same, and the recording has it.
    pub(super) fn take(&mut self, row: Copy) -> Option<i64> {
        let number = self.number(row)?;
        self.taken.insert(number);
        Some(number)
    }

    /// How many of those that the index had are not in the recording.
    pub(super) fn left(&self, is_wanted: impl Fn(&KnownRow) -> bool) -> usize {
        let left = self.rows.iter();
        left.filter(|row| !self.taken.contains(&row.number) && is_wanted(row))
            .count()
    }

    pub(super) fn add(&mut self, row: &KnownRow) {
        self.numbers.insert((row.content, row.copy), row.number);
    }
}
