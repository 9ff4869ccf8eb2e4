//! Rows that are taken out of completed lake files: what they are chosen by, and the register that
//! knows of it before and after.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{LakeFile, RegisteredFile, Result, TableSpec};

/// Why a row was erased.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasedBy {
    /// It was of this robot.
    Robot(String),
    /// It happened before this moment, microseconds UTC.
    Before(i64),
}

impl std::fmt::Display for ErasedBy {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Robot(robot) => write!(to, "of {robot}"),
            Self::Before(micros) => write!(to, "before {micros} us"),
        }
    }
}

/// Rows of a file that were erased, or are about to be, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedRows {
    /// The reason.
    pub by: ErasedBy,
    /// How many.
    pub rows: u64,
}

/// Adds rows to those that were erased for the same reason.
pub fn add_erased(to: &mut Vec<ErasedRows>, more: &[ErasedRows]) {
    for one in more {
        match to.iter_mut().find(|known| known.by == one.by) {
            Some(known) => known.rows += one.rows,
            None => to.push(one.clone()),
        }
    }
}

/// Which rows of a table are meant: those of robots, and those that happened before a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowSelection {
    /// The column that names the robot; `None`: no row of the table is of one.
    pub robot_column: Option<String>,
    /// The column that says when a row happened; `None`: there is no such moment.
    pub time_column: Option<String>,
    /// Rows of these robots are meant.
    pub robots: BTreeSet<String>,
    /// Rows of before are meant, microseconds UTC.
    pub before: Option<i64>,
}

impl RowSelection {
    /// Whether no row can be meant.
    pub fn is_empty(&self) -> bool {
        let by_robot = self.robot_column.is_some() && !self.robots.is_empty();
        let by_time = self.time_column.is_some() && self.before.is_some();
        !by_robot && !by_time
    }

    /// Means what was erased for these reasons, too.
    pub fn include<'a>(&mut self, reasons: impl IntoIterator<Item = &'a ErasedBy>) {
        for reason in reasons {
            match reason {
                ErasedBy::Robot(robot) => {
                    self.robots.insert(robot.clone());
                }
                ErasedBy::Before(before) => self.before = self.before.max(Some(*before)),
            }
        }
    }

    /// Why a row of this robot and time is meant; `None` if it is not.
    pub fn reason(&self, robot: Option<&str>, time: Option<i64>) -> Option<ErasedBy> {
        if let Some(robot) = robot.filter(|robot| self.robots.contains(*robot)) {
            return Some(ErasedBy::Robot(robot.to_owned()));
        }
        let before = self.before?;
        time.filter(|time| *time < before)
            .map(|_| ErasedBy::Before(before))
    }
}

/// Rows by the reason for which they are erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErasedCount(BTreeMap<ErasedBy, u64>);

impl ErasedCount {
    /// Counts a row.
    pub fn count(&mut self, by: ErasedBy) {
        *self.0.entry(by).or_default() += 1;
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.0.values().sum()
    }

    /// As a file's registration notes it.
    pub fn into_rows(self) -> Vec<ErasedRows> {
        let rows = self.0.into_iter();
        rows.map(|(by, rows)| ErasedRows { by, rows }).collect()
    }
}

/// Rows that are to leave a table of the warehouse.
#[derive(Debug, Clone, PartialEq)]
pub struct TableErasure {
    /// The table.
    pub table: TableSpec,
    /// The rows.
    pub rows: RowSelection,
    /// So many loads of the table are known to the store, and the files of all of them were looked
    /// at: with another number in the ledger nothing is erased, since rows would leave the warehouse
    /// that their files keep.
    pub loads: u64,
}

/// A file's registration as it was looked at, and as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRevision {
    /// As it was looked at.
    pub seen: RegisteredFile,
    /// What it is to say.
    pub file: LakeFile,
}

impl FileRevision {
    /// Whether the registration is still the one that was looked at.
    pub fn fits(&self, present: &RegisteredFile) -> bool {
        let (seen, present) = (&self.seen, present);
        (seen.stage, &seen.batch, &seen.file) == (present.stage, &present.batch, &present.file)
    }
}

/// The register of lake files, as far as it changes when rows are erased.
pub trait LakeRegister: Send + Sync {
    /// Changes what registrations say of their files, all or none; with one that is not the one that
    /// was looked at it is [`Error::overtaken`](super::Error::overtaken). It needs no epoch: an owner
    /// changes stages and batches, and never what is said of a file.
    fn revise_files(&self, revisions: &[FileRevision]) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_meant_for_the_first_reason_that_holds() {
        let rows = RowSelection {
            robots: BTreeSet::from(["a".to_owned()]),
            before: Some(10),
            ..RowSelection::default()
        };
        let robot = Some(ErasedBy::Robot("a".to_owned()));
        assert_eq!(rows.reason(Some("a"), Some(5)), robot);
        assert_eq!(rows.reason(Some("a"), None), robot);
        assert_eq!(rows.reason(Some("b"), Some(9)), Some(ErasedBy::Before(10)));
        assert_eq!(rows.reason(Some("b"), Some(10)), None);
        assert_eq!(rows.reason(None, None), None);
    }

    #[test]
    fn nothing_is_meant_where_no_column_says_whose_or_when() {
        let mut rows = RowSelection {
            robot_column: Some("robot_id".to_owned()),
            ..RowSelection::default()
        };
        assert!(rows.is_empty());
        rows.include(&[ErasedBy::Before(4), ErasedBy::Before(3)]);
        assert_eq!(rows.before, Some(4));
        assert!(rows.is_empty(), "nothing says when a row happened");
        rows.include(&[ErasedBy::Robot("a".to_owned())]);
        assert!(!rows.is_empty());
    }
}
