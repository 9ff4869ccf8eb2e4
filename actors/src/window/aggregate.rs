//! A pane: the aggregates of all signals over one stretch of event time.
//!
//! Variance is kept as sums shifted by the pane's first value, which costs no division a row and loses no digits as plain sums of
//! squares do; on merging it becomes (n, mean, M2) and follows Chan, Golub and LeVeque (1979).

use arrow::array::Array;
use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;

use super::WindowSpec;
use super::row::{SignalAggregate, WindowRow};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Cell {
    count: u64,
    sum: f64,
    shift: f64,
    shifted_sum: f64,
    shifted_squares: f64,
    min: f64,
    max: f64,
    first: (i64, f64),
    last: (i64, f64),
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            shift: 0.0,
            shifted_sum: 0.0,
            shifted_squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            first: (i64::MAX, 0.0),
            last: (i64::MIN, 0.0),
        }
    }
}

impl Cell {
    #[inline]
    fn add_basic(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    #[inline]
    fn add_full(&mut self, value: f64, time: i64) {
        if self.count == 0 {
            self.shift = value;
        }
        let shifted = value - self.shift;
        self.shifted_sum += shifted;
        self.shifted_squares += shifted * shifted;
        if time < self.first.0 {
            self.first = (time, value);
        }
        // Of rows at the same moment the first heard is first and the last heard is last.
        if time >= self.last.0 {
            self.last = (time, value);
        }
        self.add_basic(value);
    }

    fn aggregate(&self) -> SignalAggregate {
        let count = self.count as f64;
        let (mean, m2) = if self.count == 0 {
            (0.0, 0.0)
        } else if self.last.0 == i64::MIN {
            (self.sum / count, 0.0)
        } else {
            let mean = self.shifted_sum / count;
            (self.shift + mean, (self.shifted_squares - self.shifted_sum * mean).max(0.0))
        };
        SignalAggregate {
            count: self.count,
            sum: self.sum,
            mean,
            m2,
            min: self.min,
            max: self.max,
            first: self.first.1,
            first_time: self.first.0,
            last: self.last.1,
            last_time: self.last.0,
        }
    }
}

/// Aggregates of one pane; also, merged, of one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pane {
    rows: u64,
    cells: Vec<Cell>,
    /// What was merged in; panes themselves have none.
    merged: Vec<SignalAggregate>,
}

impl Pane {
    pub(super) fn new(signals: usize) -> Self {
        Self { rows: 0, cells: vec![Cell::default(); signals], merged: Vec::new() }
    }

    /// Adds rows, column by column. Missing and non-finite values are not there.
    pub(super) fn add(&mut self, batch: &Batch, rows: &[u32], full: bool) {
        self.rows += rows.len() as u64;
        if self.cells.len() < batch.signals.len() {
            self.cells.resize(batch.signals.len(), Cell::default());
        }
        let times = batch.event_times();
        for (cell, column) in self.cells.iter_mut().zip(&batch.signals) {
            let values: &[f64] = column.values();
            let nulls = column.nulls();
            for row in rows {
                let row = *row as usize;
                let value = values[row];
                if !value.is_finite() || nulls.is_some_and(|nulls| nulls.is_null(row)) {
                    continue;
                }
                if full {
                    cell.add_full(value, times[row]);
                } else {
                    cell.add_basic(value);
                }
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        let theirs = other.aggregates();
        if self.merged.len() < theirs.len() {
            self.merged.resize(theirs.len(), Cell::default().aggregate());
        }
        for (mine, theirs) in self.merged.iter_mut().zip(&theirs) {
            mine.merge(theirs);
        }
    }

    pub(super) fn row(&self, spec: &WindowSpec, start: i64, revision: u32) -> WindowRow {
        WindowRow { window: spec.name.clone(), size_us: spec.size_us, start_us: start, revision, rows: self.rows, signals: self.aggregates() }
    }

    fn aggregates(&self) -> Vec<SignalAggregate> {
        if self.merged.is_empty() { self.cells.iter().map(Cell::aggregate).collect() } else { self.merged.clone() }
    }
}
