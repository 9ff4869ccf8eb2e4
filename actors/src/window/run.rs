//! A run: rows that follow each other and lie in one pane, so that several signals can be added at
//! once over all of them.

use theatre_schemas::batch::Batch;

use super::plan::TIME_LIMIT_US;

/// A run of rows that all lie in one pane.
pub(super) struct PaneRun<'a> {
    pub batch: &'a Batch,
    /// Indices into the batch, in order of arrival.
    pub rows: &'a [u32],
    /// Event times of the whole batch.
    pub times: &'a [i64],
    /// Start of the pane; cells keep times as offsets from it.
    pub origin: i64,
}

impl PaneRun<'_> {
    /// Event time of a row after the start of the pane, microseconds.
    pub fn offset(&self, row: u32) -> i64 {
        self.times[row as usize].clamp(-TIME_LIMIT_US, TIME_LIMIT_US) - self.origin
    }

    /// The rows with the least and the greatest event time. Among equal times the first is the one
    /// that arrived first, the last the one that arrived last.
    pub fn extremes(&self) -> TimeExtremes {
        let start = self.offset(self.rows[0]);
        let mut extremes = TimeExtremes {
            first_at: start,
            first: self.rows[0],
            last_at: start,
            last: self.rows[0],
        };
        for &row in &self.rows[1..] {
            let at = self.offset(row);
            if at < extremes.first_at {
                (extremes.first_at, extremes.first) = (at, row);
            }
            if at >= extremes.last_at {
                (extremes.last_at, extremes.last) = (at, row);
            }
        }
        extremes
    }
}

/// The first and the last row of a run by event time, with their offsets from the pane's start.
pub(super) struct TimeExtremes {
    /// Offset of the first row, microseconds.
    pub first_at: i64,
    /// Index of the first row in its batch.
    pub first: u32,
    /// Offset of the last row, microseconds.
    pub last_at: i64,
    /// Index of the last row in its batch.
    pub last: u32,
}
