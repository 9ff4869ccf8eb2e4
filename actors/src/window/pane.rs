//! A slice of event time with its running aggregates, and the same for rows that came too late.

use serde::{Deserialize, Serialize};

use super::cells::Cells;
use super::run::PaneRun;

/// What the rows of one pane come to.
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
    /// Per spec, how many of its windows over the pane had closed when this was opened, counted
    /// from the earliest: those it speaks for.
    pub closed: Vec<u32>,
    pub pane: Pane,
}
