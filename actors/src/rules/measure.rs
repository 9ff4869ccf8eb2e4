//! What a rule judges in place of a signal's values: something that is made of several of them.
//!
//! A measure takes the rows of a robot one by one and keeps a bounded memory, which is part of the
//! stored state. A row that does not follow those before it in time is left out. A new measure is a
//! variant of [`Measure`] and, at the end, of [`Memory`].

use serde::{Deserialize, Serialize};

use super::bins::Bins;
use super::cohort::{Averages, Cohort, KeptAverages};
use super::count::{Count, Latest};
use super::deviation::{Deviation, Learnt, Normal};
use super::median::{Median, Medians};
use super::rate::Rate;
use super::trend::Trend;
use crate::outputs::fingerprint;

/// What is judged in place of a signal's values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) enum Measure {
    /// The n-th of the last values.
    Count(Count),
    /// The slope.
    Rate(Rate),
    /// The time left.
    Trend(Trend),
    /// The distance from what is normal.
    Deviation(Deviation),
    /// The distance from what is normal for the model.
    Cohort(Cohort),
    /// The distance from the median of what is normal.
    Median(Median),
}

/// A row as a measure sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    /// Event time, microseconds UTC.
    pub(crate) time: i64,
    /// A finite value of the signal.
    pub(crate) value: f64,
    /// The operating state, where the rule names a column of it.
    pub(crate) state: Option<&'a str>,
    /// The row may become part of what is normal.
    pub(crate) learns: bool,
    /// The robot's model, where the measure asks for it.
    pub(crate) model: Option<&'a str>,
    /// The signal's name.
    pub(crate) signal: &'a str,
}

/// What is judged after a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    pub(crate) value: f64,
    /// Between what the true value is likely to lie, where that is known.
    pub(crate) spread: Option<(f64, f64)>,
}

impl Reading {
    pub(crate) fn of(value: f64) -> Self {
        Self {
            value,
            spread: None,
        }
    }
}

/// What a measure remembers of a robot's signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Memory {
    Latest(Latest),
    Bins(Bins),
    Learnt(Learnt<Normal>),
    Averages(Averages),
    Medians(Learnt<Medians>),
}

/// The memory of a measure, and a mark of the measure that made it: one of another is of no use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MeasureState {
    mark: u64,
    memory: Memory,
}

impl Measure {
    /// Whether it asks for the robot's model.
    pub(crate) fn needs_model(&self) -> bool {
        matches!(self, Self::Cohort(_))
    }

    /// Whether robots of a model are judged on a signal at all.
    pub(crate) fn knows(&self, model: Option<&str>, signal: &str) -> bool {
        match self {
            Self::Cohort(cohort) => cohort.knows(model, signal),
            _ => true,
        }
    }

    /// Tells this measure from those with other parameters.
    pub(crate) fn mark(&self) -> u64 {
        fingerprint(&postcard::to_allocvec(self).unwrap_or_default())
    }

    /// An empty memory for a measure of this mark.
    pub(crate) fn begin(&self, mark: u64) -> MeasureState {
        let memory = match self {
            Self::Count(_) => Memory::Latest(Latest::default()),
            Self::Rate(_) | Self::Trend(_) => Memory::Bins(Bins::default()),
            Self::Deviation(_) => Memory::Learnt(Learnt::default()),
            Self::Cohort(_) => Memory::Averages(Averages::default()),
            Self::Median(_) => Memory::Medians(Learnt::default()),
        };
        MeasureState { mark, memory }
    }

    /// Takes a row; returns what is to be judged, if anything is.
    pub(crate) fn observe(&self, state: &mut MeasureState, input: &Input<'_>) -> Option<Reading> {
        match (self, &mut state.memory) {
            (Self::Count(count), Memory::Latest(latest)) => {
                count.observe(latest, input.time, input.value)
            }
            (Self::Rate(rate), Memory::Bins(bins)) => rate.observe(bins, input.time, input.value),
            (Self::Trend(trend), Memory::Bins(bins)) => {
                trend.observe(bins, input.time, input.value)
            }
            (Self::Deviation(deviation), Memory::Learnt(learnt)) => {
                deviation.observe(learnt, input)
            }
            (Self::Cohort(cohort), Memory::Averages(averages)) => cohort.observe(averages, input),
            (Self::Median(median), Memory::Medians(learnt)) => median.observe(learnt, input),
            _ => None,
        }
    }
}

impl MeasureState {
    /// Whether it was made by a measure of this mark.
    pub(crate) fn is_of(&self, mark: u64) -> bool {
        self.mark == mark
    }

    /// The robot's clock begins anew; false when nothing of it is kept. What is normal is so in every
    /// recording, while values of two recordings make no slope.
    pub(crate) fn begin_clock_anew(&mut self) -> bool {
        matches!(self.memory, Memory::Learnt(_) | Memory::Medians(_)) || self.forget()
    }

    /// The part that was measured is another one; false when nothing of it is kept.
    pub(crate) fn forget(&mut self) -> bool {
        match &mut self.memory {
            Memory::Averages(averages) => averages.forget(),
            _ => false,
        }
    }

    /// Averages that were kept to learn from.
    pub(crate) fn kept(&self) -> &[KeptAverages] {
        match &self.memory {
            Memory::Averages(averages) => averages.kept(),
            _ => &[],
        }
    }
}
