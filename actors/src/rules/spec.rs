//! Rules as written in rule files; `compile.rs` translates them into predicates.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use theatre_schemas::records::Priority;

use crate::alerts::{FlappingSpec, Unacknowledged};

use super::aggregate::AggregateSpec;
use super::cohort::CohortSpec;
use super::combination::CombinationSpec;
use super::count::CountSpec;
use super::deviation::DeviationSpec;
use super::micros::Micros;
use super::rate::RateSpec;
use super::scope::ScopeSpec;
use super::sequence::SequenceSpec;
use super::trend::TrendSpec;
use super::usage::UsageSpec;

/// A limit at which an open condition takes another priority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// The limit, in the signal's unit.
    pub at: f64,
    /// The priority from there on.
    pub priority: Priority,
}

/// When a condition begins and ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleKind {
    /// A signal beyond a limit for `hold`; cleared at another limit, so that noise does not make it
    /// flap.
    Threshold {
        /// Signal.
        signal: String,
        /// Raise above this.
        raise_above: Option<f64>,
        /// Clear below this; default: the raising limit.
        clear_below: Option<f64>,
        /// Raise below this.
        raise_below: Option<f64>,
        /// Clear above this; default: the raising limit.
        clear_above: Option<f64>,
        /// The limit must be exceeded without a break for this long, in event time.
        #[serde(default)]
        hold: Micros,
        /// It must be back within the clearing limit without a break for this long before it clears,
        /// in event time.
        #[serde(default, skip_serializing_if = "Micros::is_nothing")]
        clear_after: Micros,
        /// Higher limits with other priorities.
        #[serde(default)]
        escalate: Vec<Escalation>,
        /// So many of the last values must be beyond the limit; absent: each by itself counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<CountSpec>,
    },
    /// A true-or-false signal.
    Boolean {
        /// Signal.
        signal: String,
        /// Raise while it is this.
        #[serde(default = "yes", alias = "raise_when")]
        when: bool,
        /// It must be so without a break for this long, in event time.
        #[serde(default)]
        hold: Micros,
        /// It must be otherwise without a break for this long before it clears, in event time.
        #[serde(default)]
        clear_after: Micros,
    },
    /// With a signal: the signal has had no value for this long, in event time, while records come.
    /// Without one: the robot has sent no record for this long, by the wall clock, on a partition
    /// that has read to the end of its log.
    #[serde(alias = "missing_signal")]
    MissingData {
        /// Signal.
        #[serde(default)]
        signal: Option<String>,
        /// How long the signal or the robot must have been missing.
        after: Micros,
    },
    /// How fast a signal changes.
    Rate(RateSpec),
    /// An aggregate of a window, when the window closes.
    Aggregate(AggregateSpec),
    /// How far a signal is from what is normal for this robot.
    Deviation(DeviationSpec),
    /// How far a robot is from what is normal for its model.
    Cohort(CohortSpec),
    /// The time until a signal reaches a limit at its present slope.
    Trend(TrendSpec),
    /// How much the robot or its instrument was used.
    Usage(UsageSpec),
    /// Something, and then something else within a time.
    Sequence(SequenceSpec),
    /// Conditions of other rules, joined by and, or and not.
    Combination(CombinationSpec),
    /// Raised by Theatre itself; not for rule files.
    #[serde(skip)]
    BuiltIn {},
}

fn yes() -> bool {
    true
}

fn one() -> i32 {
    1
}

/// The order in which a rule judges the rows of a robot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleOrder {
    /// By event time. A row that numbers show to be the next one is judged at once; others wait
    /// until the numbers before them have come, at most for the reorder bound in event time.
    #[default]
    EventTime,
    /// As rows come, each at once.
    Arrival,
}

impl RuleOrder {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A rule as written in a rule file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Unique id.
    pub id: String,
    /// Version, to be raised with every change.
    #[serde(default = "one")]
    pub version: i32,
    /// Priority of its conditions.
    pub priority: Priority,
    /// The telemetry dataset it is for; absent: every one that has the signal.
    pub dataset: Option<String>,
    /// What the condition means, for the reader of an alert.
    #[serde(default)]
    pub description: String,
    /// The order in which it judges rows.
    #[serde(default, skip_serializing_if = "RuleOrder::is_default")]
    pub order: RuleOrder,
    /// Longest time between two values over which `hold` and `clear_after` count, in event time;
    /// after a longer one they begin anew. Absent: the longer of one minute, `hold` and
    /// `clear_after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_gap: Option<Micros>,
    /// For so long after a start of the robot or a service it raises nothing, in event time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Micros>,
    /// Where it holds; absent: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<ScopeSpec>,
    /// Its conditions stay open, when their cause is over, until a person closes them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latch: bool,
    /// When a condition that comes and goes is held for one that flaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping: Option<FlappingSpec>,
    /// What happens to a condition that is not acknowledged, step by step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unacknowledged: Vec<Unacknowledged>,
    /// It judges beside the others and sends nothing: what it would have raised goes to a table of its
    /// own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// When its conditions begin and end.
    pub kind: RuleKind,
}

/// What is added to the id of a rule that runs in the shadow, so that it may have that of another.
const SHADOW: &str = "~shadow";

/// The id by which a rule in the shadow was written; `None` of any other rule.
pub(crate) fn in_shadow(rule_id: &str) -> Option<&str> {
    rule_id.strip_suffix(SHADOW)
}

impl RuleSpec {
    /// A rule of version 1 with the defaults of all that is not said.
    pub fn new(id: &str, priority: Priority, kind: RuleKind) -> Self {
        Self {
            id: id.to_owned(),
            version: 1,
            priority,
            dataset: None,
            description: String::new(),
            order: RuleOrder::default(),
            max_gap: None,
            warm_up: None,
            only: None,
            latch: false,
            flapping: None,
            unacknowledged: Vec::new(),
            shadow: false,
            kind,
        }
    }

    /// Whether it may be put under its version. Rules that were recorded long ago may have a lower
    /// one, and judge on.
    ///
    /// # Errors
    /// Says which version it is, and what to do.
    pub fn check_version(&self) -> Result<(), String> {
        match self.version {
            1.. => Ok(()),
            version => Err(format!(
                "rule '{}': its version is {version}: versions begin with 1",
                self.id
            )),
        }
    }

    /// The rule as it judges: one in the shadow under an id of its own.
    pub(super) fn as_judging(&self) -> Cow<'_, Self> {
        if !self.shadow {
            return Cow::Borrowed(self);
        }
        let mut spec = self.clone();
        spec.id.push_str(SHADOW);
        Cow::Owned(spec)
    }

    /// The rule as it was written.
    pub(crate) fn as_written(&self) -> Self {
        let mut spec = self.clone();
        if let Some(id) = self.id.strip_suffix(SHADOW).filter(|_| self.shadow) {
            spec.id = id.to_owned();
        }
        spec
    }
}
