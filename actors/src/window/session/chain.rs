//! Chains of active rows, in slices between the multiples of the longest length.

use serde::{Deserialize, Serialize};

use super::emitted::SessionRow;
use crate::window::aggregate::SignalAggregate;
use crate::window::cells::Cells;

/// Active rows, each at most a gap from the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Chain {
    /// Time of its first and of its last row.
    pub(super) from: i64,
    pub(super) to: i64,
    /// Ascending by their first moment; those that no row can come for are dropped.
    pub(super) slices: Vec<Slice>,
}

/// The rows of a chain between two multiples of the longest length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Slice {
    pub(super) start: i64,
    /// Time of its first and of its last row.
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) rows: u64,
    pub(super) cells: Cells,
    /// Of chains that were joined to this one.
    pub(super) joined: Vec<SignalAggregate>,
    /// What it holds was emitted.
    pub(super) is_done: bool,
    /// It was emitted before it was changed: it is corrected at this clock at the earliest.
    pub(super) not_before: Option<i64>,
}

impl Slice {
    pub(super) fn total(&self) -> Vec<SignalAggregate> {
        let mut total = self.joined.clone();
        let signals = self.cells.signals().max(total.len());
        total.resize_with(signals, SignalAggregate::empty);
        self.cells.merge_into(self.start, &mut total);
        total
    }

    pub(super) fn join(&mut self, other: &Self) {
        let theirs = other.total();
        let signals = theirs.len().max(self.joined.len());
        self.joined.resize_with(signals, SignalAggregate::empty);
        for (mine, theirs) in self.joined.iter_mut().zip(&theirs) {
            mine.merge(theirs);
        }
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
        self.rows += other.rows;
        self.is_done = false;
        self.not_before = self.not_before.max(other.not_before);
    }
}

impl Chain {
    /// Takes in the chain that follows.
    pub(super) fn join(&mut self, next: Self) {
        self.from = self.from.min(next.from);
        self.to = self.to.max(next.to);
        for slice in next.slices {
            match self
                .slices
                .binary_search_by_key(&slice.start, |of| of.start)
            {
                Ok(at) => self.slices[at].join(&slice),
                Err(at) => self.slices.insert(at, slice),
            }
        }
        // What was emitted in one piece may be in several now, or the other way round.
        self.slices
            .iter_mut()
            .for_each(|slice| slice.is_done = false);
    }
}

/// The session of these slices, of which there is one at least.
pub(super) fn session(slices: &[&Slice], is_cut: bool) -> SessionRow {
    let mut signals: Vec<SignalAggregate> = Vec::new();
    let (mut from, mut to, mut rows) = (i64::MAX, i64::MIN, 0);
    for slice in slices {
        let total = slice.total();
        if signals.len() < total.len() {
            signals.resize_with(total.len(), SignalAggregate::empty);
        }
        for (signal, of) in signals.iter_mut().zip(&total) {
            signal.merge(of);
        }
        from = from.min(slice.from);
        to = to.max(slice.to);
        rows += slice.rows;
    }
    SessionRow {
        start_us: from,
        end_us: to,
        revision: 0,
        is_withdrawn: false,
        is_cut,
        rows,
        signals,
    }
}
