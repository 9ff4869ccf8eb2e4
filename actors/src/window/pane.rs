//! Panes: slices of event time with running aggregates; and fragments: the same for late rows.

use serde::{Deserialize, Serialize};

use super::cells::Cells;
use super::run::PaneRun;

/// The running aggregates of the rows of one pane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pane {
    /// First moment, microseconds UTC.
    pub start: i64,
    /// Rows in it.
    pub rows: u64,
    /// One cell per signal.
    pub cells: Cells,
}

impl Pane {
    /// Adds the rows of a run.
    pub fn add(&mut self, run: &PaneRun<'_>) {
        self.rows += run.rows.len() as u64;
        self.cells.add(run);
    }
}

/// Rows of a pane that came after windows over it had closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Fragment {
    /// The robot's clock at which it is finalised.
    pub due: i64,
    /// Per spec, how many of its windows over the pane, counted from the earliest, had closed when
    /// this fragment was opened: the windows that it covers.
    pub closed: Vec<u32>,
    /// The rows that came too late.
    pub pane: Pane,
}
