//! Which row is which: the index of the rows that recordings have brought.
//!
//! The number of a row within its file says nothing: a file is cut, joined, sorted, compressed,
//! corrected. So a row is known by what it says: its robot, its dataset, its event time and the hash
//! of its content; equal ones are distinguished by how many came before in their file, so that
//! a file that is there twice, or overlaps another, says nothing new. The index gives every row a
//! number, which is consecutive for each robot over all recordings. A known row gets the number it had, a new one the next; all are sent to the log under their numbers, and the duplicate check of
//! the pipeline drops what it has. So a replay that was killed at any moment is simply run again.
//!
//! **Invariant:** numbers are committed here before their rows are appended to the log; a number is
//! never given to two rows.

mod group;
mod numbering;
mod table;
#[cfg(test)]
mod tests;

pub use numbering::Numbering;
pub use table::RecordingIndex;

/// What identifies a row, besides its dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKey<'a> {
    /// Robot.
    pub robot: &'a str,
    /// Event time, microseconds UTC.
    pub time: i64,
    /// Hash of all that the row says.
    pub content: u64,
    /// Which of the files of the recording it stands in.
    pub file: u32,
    /// The robot's own counter, in steps of 1, where the recording has one.
    pub counter: Option<i64>,
}

/// What the index says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A row that no recording brought before, under its new number.
    New(i64),
    /// A row that is known, under the number it has.
    Known(i64),
    /// An earlier version of this recording had another row here: that one stays.
    Conflict,
}

/// The numbers of the events that stand before and after the rows of a robot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Number of `recording_started`.
    pub started: i64,
    /// Number of `recording_ended`.
    pub ended: i64,
}
