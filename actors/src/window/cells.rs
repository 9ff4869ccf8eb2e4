//! The cells of a pane, one per signal, of the kind that the aggregate set asks for.

use serde::{Deserialize, Serialize};

use super::aggregate::SignalAggregate;
use super::cell::{BASIC_SIGNALS, BasicCell, FULL_SIGNALS, FullCell, add_signals, present};
use super::plan::AggregateSet;
use super::run::PaneRun;
use super::sketch::Sketch;

/// One cell per signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Cells {
    Basic(Vec<BasicCell>),
    Full(Vec<FullCell>),
    Sketch(Vec<FullCell>, Vec<Sketch>),
}

impl Cells {
    /// Empty cells for as many signals, of the kind that the aggregate set asks for.
    pub fn new(set: AggregateSet, signals: usize) -> Self {
        let mut cells = match set {
            AggregateSet::Basic => Self::Basic(Vec::new()),
            AggregateSet::Full => Self::Full(Vec::new()),
            AggregateSet::Sketch => Self::Sketch(Vec::new(), Vec::new()),
        };
        cells.grow(signals);
        cells
    }

    /// Whether they are what [`Self::new`] makes of this.
    pub fn are_of(&self, set: AggregateSet, signals: usize) -> bool {
        let is_kind = matches!(
            (self, set),
            (Self::Basic(_), AggregateSet::Basic)
                | (Self::Full(_), AggregateSet::Full)
                | (Self::Sketch(..), AggregateSet::Sketch)
        );
        is_kind && self.signals() == signals
    }

    /// Number of signals.
    pub fn signals(&self) -> usize {
        match self {
            Self::Basic(cells) => cells.len(),
            Self::Full(cells) | Self::Sketch(cells, _) => cells.len(),
        }
    }

    /// Makes room for signals that the dataset has gained.
    pub fn grow(&mut self, signals: usize) {
        match self {
            Self::Basic(cells) => grow_to(cells, signals),
            Self::Full(cells) => grow_to(cells, signals),
            Self::Sketch(cells, sketches) => {
                grow_to(cells, signals);
                grow_to(sketches, signals);
            }
        }
    }

    /// Empties the cells for another pane, keeping their memory.
    pub fn clear(&mut self) {
        match self {
            Self::Basic(cells) => cells.fill(BasicCell::default()),
            Self::Full(cells) => cells.fill(FullCell::default()),
            Self::Sketch(cells, sketches) => {
                cells.fill(FullCell::default());
                sketches.iter_mut().for_each(Sketch::clear);
            }
        }
    }

    /// Adds a run of rows.
    pub fn add(&mut self, run: &PaneRun<'_>) {
        if run.rows.is_empty() {
            return;
        }
        match self {
            Self::Basic(cells) => {
                add_signals::<_, { BASIC_SIGNALS.0 }, { BASIC_SIGNALS.1 }>(cells, run);
            }
            Self::Full(cells) => {
                add_signals::<_, { FULL_SIGNALS.0 }, { FULL_SIGNALS.1 }>(cells, run);
            }
            Self::Sketch(cells, sketches) => {
                add_signals::<_, { FULL_SIGNALS.0 }, { FULL_SIGNALS.1 }>(cells, run);
                let mapping = Sketch::mapping();
                let signals = &run.batch.signals;
                for (signal, sketch) in sketches.iter_mut().enumerate().take(signals.width()) {
                    let values = present(signals, signal, run.rows);
                    sketch.add(values.map(|(_, value)| value), &mapping);
                }
            }
        }
    }

    /// Merges the cells into the aggregates of earlier panes or fragments; `origin` is the start of
    /// this pane.
    pub fn merge_into(&self, origin: i64, signals: &mut [SignalAggregate]) {
        match self {
            Self::Basic(cells) => {
                for (cell, signal) in cells.iter().zip(signals) {
                    signal.merge(&cell.aggregate());
                }
            }
            Self::Full(cells) => {
                for (cell, signal) in cells.iter().zip(signals) {
                    signal.merge(&cell.aggregate(origin));
                }
            }
            Self::Sketch(cells, sketches) => {
                for ((cell, sketch), signal) in cells.iter().zip(sketches).zip(signals) {
                    let mut aggregate = cell.aggregate(origin);
                    aggregate.sketch = Some(sketch.clone());
                    signal.merge(&aggregate);
                }
            }
        }
    }
}

fn grow_to<T: Default>(cells: &mut Vec<T>, signals: usize) {
    if cells.len() < signals {
        cells.resize_with(signals, T::default);
    }
}
