//! Rules as data, and the conditions they raise.
//!
//! A rule names a signal and says when a condition on a robot begins and ends. A condition is
//! raised, updated and cleared; an alert is emitted for each of these transitions and for nothing
//! else. Rules are compiled once against the known datasets, so that a row costs a comparison.
//!
//! Each kind has a file of its own: what it says in a rule file, and what it makes of a robot's
//! rows, windows, counters, events or conditions, as plain functions of those and of a memory that
//! is part of the stored state.

mod aggregate;
mod bins;
mod change;
mod cohort;
mod combination;
mod compile;
mod condition;
mod count;
mod deviation;
mod doubts;
mod limits;
mod measure;
mod median;
mod micros;
mod names;
mod of_dataset;
mod rate;
mod references;
mod scope;
mod sequence;
mod set;
mod spec;
#[cfg(test)]
mod tests;
mod trend;
mod usage;

use theatre_schemas::records::Priority;

pub use crate::alerts::{FlappingSpec, Unacknowledged};
pub use aggregate::{AggregateName, AggregateSpec};
pub(crate) use change::alert_id;
pub use change::{AlertContext, ConditionChange};
pub(crate) use cohort::KeptAverages;
pub use cohort::{Average, CohortAverages, CohortNormal, CohortSpec, middle_and_spread};
pub use combination::{CombinationSpec, Expression, Joined};
pub use condition::Condition;
pub(crate) use condition::{ConditionV1, Manner};
pub use count::CountSpec;
pub use deviation::DeviationSpec;
pub use doubts::KnownNames;
use limits::MAX_GAP_US;
pub(crate) use measure::{Input, Measure, MeasureState, Reading};
pub use micros::Micros;
pub use names::{did_you_mean, meant};
pub(crate) use of_dataset::{DatasetRules, SignalRule, rule_and_signal};
pub use rate::RateSpec;
pub use scope::ScopeSpec;
pub(crate) use scope::{Place, Surroundings};
pub(crate) use sequence::{Happened, Step, Steps};
pub use sequence::{Happening, SequenceSpec};
#[cfg(test)]
pub(crate) use set::COMPILED;
pub use set::RuleSet;
pub(crate) use spec::in_shadow;
pub use spec::{Escalation, RuleKind, RuleOrder, RuleSpec};
pub use trend::TrendSpec;
pub(crate) use usage::{Usage, next_judgement};
pub use usage::{UsageCounter, UsageSpec};

/// Id of the built-in condition of a robot that sends no records any more.
pub const ROBOT_SILENT: &str = "robot_silent";
/// Id of the built-in condition of a robot whose clock runs ahead.
pub const CLOCK_SKEW: &str = "clock_skew";

/// Id of the built-in condition of an instrument that has no life left in a case.
pub const INSTRUMENT_LIVES: &str = "instrument_lives_ended";

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule '{rule}': {why}")]
pub struct RuleError {
    pub(crate) rule: String,
    why: String,
}

impl RuleError {
    /// The id of the rule.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

/// A limit: raise when `sign * value` is greater than `raise` (`sign` is 1 for limits above, -1 for
/// limits below; `raise`, `clear` and the escalations are multiplied by it already); clear when it
/// is less than `clear`. Times are in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    pub(crate) sign: f64,
    pub(crate) raise: f64,
    pub(crate) clear: f64,
    pub(crate) hold_us: i64,
    pub(crate) clear_after_us: i64,
    /// Longest time between two values over which holding and clearing go on.
    pub(crate) max_gap_us: i64,
    pub(crate) escalate: Vec<(f64, Priority)>,
}

/// The predicate of a rule, ready to be evaluated on a row. Times are in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Predicate {
    /// What is judged is beyond a limit.
    Limit(Limit),
    /// No value of the signal for this long, while records come.
    Missing { after_us: i64 },
    /// No record of the robot for this long by the wall clock; `None`: as long as
    /// [`crate::time::TimePolicy::silence_after_us`].
    Silence { after_us: Option<i64> },
    /// The robot's records are dated in the future.
    ClockSkew,
    /// An instrument has used all of its lives in a case.
    InstrumentLives,
    /// What it follows says when it begins and ends.
    Told,
}

/// What a rule judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The rows of a robot, by a signal.
    Rows,
    /// Windows that close, by a signal.
    Window,
    /// How much the robot was used.
    Usage,
    /// Events, and conditions of other rules that are raised.
    Sequence,
    /// Which conditions of other rules are open.
    Combination,
    /// The robot as a whole.
    Robot,
}

/// A compiled rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// As written.
    pub spec: RuleSpec,
    pub(crate) predicate: Predicate,
    pub(crate) subject: Subject,
    /// What is judged in place of the signal's values, and its mark.
    pub(crate) measure: Option<(Measure, u64)>,
}

impl Rule {
    /// What its conditions are raised with: a priority, and its version.
    pub(crate) fn raises_with(&self, priority: Priority) -> (Priority, i32) {
        (priority, self.spec.version)
    }

    /// Whether it is a combination of conditions of other rules.
    pub(crate) fn follows_conditions(&self) -> bool {
        matches!(self.spec.kind, RuleKind::Combination(_))
    }

    /// Whether a moment lies in its warm-up after one of these starts; event times in microseconds
    /// UTC. A window is warming up when a part of it does: `from` is its first moment.
    pub(crate) fn is_warming_up(&self, starts: &[i64], (from, to): (i64, i64)) -> bool {
        self.spec.warm_up.is_some_and(|warm_up| {
            (starts.iter()).any(|start| *start <= to && from < start.saturating_add(warm_up.0))
        })
    }
}

/// The last of the escalation steps (in ascending order) that `level` is beyond.
fn escalation_for(steps: &[(f64, Priority)], level: f64) -> Option<(f64, Priority)> {
    steps.iter().rev().find(|(at, _)| level > *at).copied()
}
