//! Rules as written in rule files, and their translation into predicates.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use theatre_schemas::records::Priority;

use super::{Limit, Predicate};
use crate::alerts::{FlappingSpec, Unacknowledged};

/// Least default of [`RuleSpec::max_gap`], microseconds.
const MAX_GAP_US: i64 = 60_000_000;

/// A span of time, written as `"500ms"`, `"30s"`, `"5m"`, `"1h"` or `"2d"`; kept in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

impl Micros {
    /// Reads a span.
    ///
    /// # Errors
    /// When it is not a number with a unit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim() {
            "us" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "m" | "min" => 60e6,
            "h" => 3600e6,
            "d" => 86_400e6,
            _ => {
                return Err(format!(
                    "'{text}' is not a duration: write a number and a unit, such as 500ms, 30s, 5m, 1h or 2d"
                ));
            }
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("'{text}' is not a duration: '{number}' is no number"))?;
        Ok(Self((number * factor) as i64))
    }
}

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [
            (86_400_000_000, "d"),
            (3_600_000_000, "h"),
            (60_000_000, "m"),
            (1_000_000, "s"),
            (1_000, "ms"),
        ];
        let whole = units
            .iter()
            .find(|(unit, _)| self.0 != 0 && self.0 % unit == 0);
        let (unit, name) = whole.copied().unwrap_or((1, "us"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

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
        /// Higher limits with other priorities.
        #[serde(default)]
        escalate: Vec<Escalation>,
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
    /// Its conditions stay open, when their cause is over, until somebody closes them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latch: bool,
    /// When a condition that comes and goes is held for one that flaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping: Option<FlappingSpec>,
    /// What happens to a condition that nobody acknowledges, step by step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unacknowledged: Vec<Unacknowledged>,
    /// It judges beside the others and tells nobody: what it would have raised goes to a table of its
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
    /// Version 1 of a rule that says nothing but what it must.
    pub fn new(id: &str, priority: Priority, kind: RuleKind) -> Self {
        Self {
            id: id.to_owned(),
            version: 1,
            priority,
            dataset: None,
            description: String::new(),
            order: RuleOrder::default(),
            max_gap: None,
            latch: false,
            flapping: None,
            unacknowledged: Vec::new(),
            shadow: false,
            kind,
        }
    }

    /// The rule as it judges: one in the shadow under an id of its own.
    pub(super) fn as_judging(&self) -> Self {
        let mut spec = self.clone();
        if spec.shadow {
            spec.id.push_str(SHADOW);
        }
        spec
    }

    /// The rule as it was written.
    pub(crate) fn as_written(&self) -> Self {
        let mut spec = self.clone();
        if let Some(id) = self.id.strip_suffix(SHADOW).filter(|_| self.shadow) {
            spec.id = id.to_owned();
        }
        spec
    }

    /// Compiles the rule: its signal, if it has one, and its predicate.
    pub(super) fn predicate(&self) -> Result<(Option<String>, Predicate), String> {
        let predicate = match &self.kind {
            RuleKind::Threshold {
                signal,
                hold,
                escalate,
                ..
            } => {
                let (sign, raise, clear) = self.limits()?;
                let limit = Limit {
                    sign,
                    raise: sign * raise,
                    clear: sign * clear,
                    hold_us: hold.0,
                    clear_after_us: 0,
                    max_gap_us: self.max_gap_us(*hold, Micros(0))?,
                    escalate: self.steps(sign, raise, escalate)?,
                };
                (Some(signal.clone()), Predicate::Limit(limit))
            }
            RuleKind::Boolean {
                signal,
                when,
                hold,
                clear_after,
            } => {
                let sign = if *when { 1.0 } else { -1.0 };
                let limit = Limit {
                    sign,
                    raise: sign * 0.5,
                    clear: sign * 0.5,
                    hold_us: hold.0,
                    clear_after_us: clear_after.0,
                    max_gap_us: self.max_gap_us(*hold, *clear_after)?,
                    escalate: Vec::new(),
                };
                (Some(signal.clone()), Predicate::Limit(limit))
            }
            RuleKind::MissingData { signal, after } => {
                if after.0 <= 0 {
                    return Err("after must be longer than nothing".to_owned());
                }
                if self.max_gap.is_some() {
                    return Err(
                        "max_gap goes with hold and clear_after, which missing_data has not"
                            .to_owned(),
                    );
                }
                if signal.is_none() && self.order == RuleOrder::Arrival {
                    return Err("without a signal it judges no rows: leave out order".to_owned());
                }
                let after_us = after.0;
                let predicate = match signal {
                    Some(_) => Predicate::Missing { after_us },
                    None => Predicate::Silence {
                        after_us: Some(after_us),
                    },
                };
                (signal.clone(), predicate)
            }
            RuleKind::BuiltIn {} => {
                return Err("built-in conditions cannot be written in a rule file".to_owned());
            }
        };
        Ok(predicate)
    }

    fn max_gap_us(&self, hold: Micros, clear_after: Micros) -> Result<i64, String> {
        match self.max_gap {
            Some(gap) if gap.0 <= 0 => Err("max_gap must be longer than nothing".to_owned()),
            Some(gap) => Ok(gap.0),
            None => Ok(MAX_GAP_US.max(hold.0).max(clear_after.0)),
        }
    }

    /// The sign of a threshold (1 for a limit above, -1 for one below), where it raises and where
    /// it clears.
    fn limits(&self) -> Result<(f64, f64, f64), String> {
        let RuleKind::Threshold {
            raise_above,
            clear_below,
            raise_below,
            clear_above,
            escalate,
            ..
        } = &self.kind
        else {
            return Err("it has no limits".to_owned());
        };
        let (sign, raise, clear) = match (raise_above, raise_below) {
            (Some(raise), None) => (1.0, *raise, clear_below.unwrap_or(*raise)),
            (None, Some(raise)) => (-1.0, *raise, clear_above.unwrap_or(*raise)),
            _ => return Err("give exactly one of raise_above and raise_below".to_owned()),
        };
        if (sign > 0.0 && clear_above.is_some()) || (sign < 0.0 && clear_below.is_some()) {
            return Err(
                "raise_above goes with clear_below, raise_below with clear_above".to_owned(),
            );
        }
        let limits = [*raise_above, *clear_below, *raise_below, *clear_above];
        if limits
            .into_iter()
            .flatten()
            .chain(escalate.iter().map(|step| step.at))
            .any(|limit| !limit.is_finite())
        {
            return Err("a limit must be a finite number".to_owned());
        }
        if sign * clear > sign * raise {
            return Err(format!(
                "it would clear at {clear} while still raised at {raise}"
            ));
        }
        Ok((sign, raise, clear))
    }

    /// The escalations in ascending order, multiplied by the sign.
    fn steps(
        &self,
        sign: f64,
        raise: f64,
        escalate: &[Escalation],
    ) -> Result<Vec<(f64, Priority)>, String> {
        let mut steps: Vec<(f64, Priority)> = escalate
            .iter()
            .map(|step| (sign * step.at, step.priority))
            .collect();
        steps.sort_by(|left, right| left.0.total_cmp(&right.0));
        if steps.first().is_some_and(|first| first.0 <= sign * raise) {
            return Err(format!(
                "an escalation must lie beyond the raising limit {raise}"
            ));
        }
        // Each step must be more urgent than the one before it; `Priority` orders the most urgent
        // first.
        let mut below = self.priority;
        for (at, priority) in &steps {
            if *priority >= below {
                return Err(format!(
                    "the escalation at {} must have a higher priority than what it follows",
                    sign * at
                ));
            }
            below = *priority;
        }
        Ok(steps)
    }
}
