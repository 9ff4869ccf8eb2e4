//! How far a robot is from what is normal for the robots of its model: how many robust deviations its
//! own average lies from the middle of theirs.
//!
//! What is normal is a part of the rule: robots of a model live in several partitions, and what is
//! known of them at a moment would depend on which partition is ahead. `theatre rules learn` finds it
//! in the lake, with the averages that this measure makes of each robot.
//!
//! Middle and spread are the median and the median absolute deviation of the robots, the latter times
//! 1.4826, which makes it the standard deviation of normally distributed values (Hampel, "The influence
//! curve and its role in robust estimation", JASA 69, 1974): nearly half of the robots may be
//! faulty before they say what is normal.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::bins::{Bins, Grid, Point};
use super::limits::{limited_kind, span_us};
use super::measure::{Input, Reading};
use super::micros::Micros;

/// Bins of a span.
const BINS: i64 = 16;
/// Fewer means than these are no average.
const POINTS_MIN: usize = 5;
/// Most operating states that are told apart; rows in others are not judged.
const STATES_MAX: usize = 8;
/// The longest span.
const OVER_MAX: Micros = Micros(366 * 86_400_000_000);
/// Standard deviations in a median absolute deviation, of a normal distribution.
const DEVIATIONS_IN_MAD: f64 = 1.4826;

/// How values over a span become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// The median: of a cohort of the means of a sixteenth of the span each, of a deviation of the
    /// medians of an eighth of it each.
    #[default]
    Median,
    /// The mean of all values.
    Mean,
}

/// What is normal for the robots of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortNormal {
    /// The model, as the registry names it.
    pub model: String,
    /// The value of the rule's `by`; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The signal of several; absent where the rule is on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The median of the robots' averages, in the signal's unit.
    pub middle: f64,
    /// Their robust standard deviation, in the signal's unit.
    pub spread: f64,
    /// Of so many robots it was learnt.
    #[serde(default)]
    pub robots: u32,
}

limited_kind! {
    /// How far a robot is from what is normal for its model; limits are in robust deviations.
    CohortSpec {
        /// Signal; `*` stands for any index.
        pub signal: String,
        /// The span over which the robot's own values are averaged.
        pub over: Micros,
        /// How they are averaged.
        #[serde(default)]
        pub average: Average,
        /// A text column, such as an operating state: each of its values has a normal of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// A spread less than this counts as this, in the signal's unit.
        #[serde(default)]
        pub least_deviation: f64,
        /// What is normal, by model.
        #[serde(default)]
        pub normal: Vec<CohortNormal>,
        /// Averages are kept in place of being judged, so that it can be learnt what is normal; no
        /// rule file says it.
        #[serde(skip)]
        pub learns: bool,
    }
}

impl CohortSpec {
    pub(super) fn measure(&self) -> Result<Cohort, String> {
        let over_us = span_us("over", self.over, OVER_MAX)?;
        if !(self.least_deviation >= 0.0 && self.least_deviation.is_finite()) {
            return Err("least_deviation must be 0 or above".to_owned());
        }
        if self.normal.is_empty() && !self.learns {
            return Err(
                "normal is empty, so no robot would be judged: `theatre rules learn` fills it from the lake"
                    .to_owned(),
            );
        }
        for (at, normal) in self.normal.iter().enumerate() {
            let is_same = |other: &CohortNormal| {
                (&other.model, &other.state, &other.signal)
                    == (&normal.model, &normal.state, &normal.signal)
            };
            let wrong = if self.normal[..at].iter().any(is_same) {
                Err("it is said twice".to_owned())
            } else {
                self.check(normal)
            };
            wrong.map_err(|why| format!("normal of model '{}': {why}", normal.model))?;
        }
        Ok(Cohort {
            grid: Grid::new(over_us, BINS),
            average: self.average,
            by: self.by.clone(),
            floor: self.least_deviation,
            normal: self.normal.clone(),
            learns: self.learns,
        })
    }

    fn check(&self, normal: &CohortNormal) -> Result<(), String> {
        if normal.model.is_empty() {
            return Err("it names no model".to_owned());
        }
        match (&self.by, &normal.state) {
            (Some(by), None) => {
                return Err(format!("with by = \"{by}\" it needs a state"));
            }
            (None, Some(_)) => {
                return Err("it has a state, which goes with by".to_owned());
            }
            _ => {}
        }
        let is_of_many = self.signal.contains('*');
        if is_of_many != normal.signal.is_some() {
            return Err(if is_of_many {
                "the rule is on several signals: name one of them (signal)".to_owned()
            } else {
                "the rule is on one signal: leave out signal".to_owned()
            });
        }
        if !normal.middle.is_finite() {
            return Err("middle must be a finite number".to_owned());
        }
        if !(normal.spread >= 0.0 && normal.spread.is_finite()) {
            return Err("spread must be 0 or above".to_owned());
        }
        if normal.spread.max(self.least_deviation) <= 0.0 {
            return Err(
                "spread is 0, so any difference would be endless: give the rule a least_deviation"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// Averages of a robot's signal that were kept to learn from, while it was of a model and in a state.
#[derive(Debug, Clone, PartialEq)]
pub struct CohortAverages {
    /// The rule that kept them.
    pub rule_id: String,
    /// The signal, of a rule on several.
    pub signal: Option<String>,
    /// The robot's model.
    pub model: String,
    /// The value of the rule's `by`; empty where it has none.
    pub state: String,
    /// An average for each sixteenth of the rule's span, in the signal's unit.
    pub values: Vec<f64>,
}

/// The distance from a model's normal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cohort {
    grid: Grid,
    average: Average,
    by: Option<String>,
    // What is normal does not tell one memory from another: a new version goes on with the averages.
    #[serde(skip)]
    floor: f64,
    #[serde(skip)]
    normal: Vec<CohortNormal>,
    learns: bool,
}

/// A robot's values over the span, by operating state; the state is empty where none is named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Averages {
    states: Vec<(Box<str>, Bins)>,
    /// Averages that were kept to learn from.
    kept: Vec<KeptAverages>,
}

/// Averages of a robot while it was of a model and in a state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptAverages {
    pub(crate) model: Box<str>,
    pub(crate) state: Box<str>,
    pub(crate) values: Vec<f64>,
}

impl Cohort {
    /// Least default of the longest gap: two readings are this far apart, microseconds.
    pub(super) fn least_gap_us(&self) -> i64 {
        self.grid.width_us().saturating_mul(2)
    }

    /// Whether it is known what is normal for a model on a signal, or will be.
    pub(super) fn knows(&self, model: Option<&str>, signal: &str) -> bool {
        let is_on = |normal: &CohortNormal| normal.signal.as_deref().is_none_or(|on| on == signal);
        let is_of = |model: &str| {
            let mut normals = self.normal.iter();
            normals.any(|normal| normal.model == model && is_on(normal))
        };
        self.learns || model.is_some_and(is_of)
    }

    /// Adds a value; returns how far the robot's average is from normal, when a bin has begun and
    /// enough is known.
    pub(super) fn observe(&self, averages: &mut Averages, input: &Input<'_>) -> Option<Reading> {
        let state = input.state.unwrap_or_default();
        if self.by.is_some() && state.is_empty() {
            return None;
        }
        let bins = averages.of(state)?;
        if !bins.add(self.grid, input.time, input.value) {
            return None;
        }
        let mut points = bins.points(self.grid, POINTS_MIN + 1)?;
        // The last one has only begun.
        points.pop();
        let average = self.average.of(&points)?;
        let model = input.model?;
        if self.learns {
            if input.learns {
                averages.keep(model, state, average);
            }
            return None;
        }
        let is_it = |normal: &&CohortNormal| {
            let is_of =
                normal.model == model && normal.state.as_deref().unwrap_or_default() == state;
            is_of
                && normal
                    .signal
                    .as_deref()
                    .is_none_or(|signal| signal == input.signal)
        };
        let normal = self.normal.iter().find(is_it)?;
        let score = (average - normal.middle) / normal.spread.max(self.floor);
        score.is_finite().then_some(Reading::of(score))
    }
}

impl Average {
    /// The average of finite values, each of which stands for so many.
    fn of(self, points: &[Point]) -> Option<f64> {
        match self {
            Self::Median => median(points.iter().map(|point| point.value).collect()),
            Self::Mean => {
                let rows: f64 = points.iter().map(|point| point.rows).sum();
                let values = points.iter().map(|point| point.value * (point.rows / rows));
                Some(values.sum::<f64>()).filter(|_| rows > 0.0)
            }
        }
    }

    /// The average of values that count alike; `None` of none.
    pub fn of_values(self, values: Vec<f64>) -> Option<f64> {
        let point = |value| Point {
            at: 0.0,
            value,
            rows: 1.0,
        };
        self.of(&values.into_iter().map(point).collect::<Vec<Point>>())
    }
}

/// Middle and spread of values: their median, and their median absolute deviation as a standard
/// deviation; `None` of no values.
pub fn middle_and_spread(values: &[f64]) -> Option<(f64, f64)> {
    let middle = median(values.to_vec())?;
    let away = values.iter().map(|value| (value - middle).abs()).collect();
    Some((middle, median(away)? * DEVIATIONS_IN_MAD))
}

/// The value in the middle; `None` of no values.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.len() / 2;
    let high = *values.get(upper)?;
    if values.len() % 2 == 1 {
        return Some(high);
    }
    let low = *values.get(upper.checked_sub(1)?)?;
    Some(low + (high - low) / 2.0)
}

impl Averages {
    fn of(&mut self, state: &str) -> Option<&mut Bins> {
        let known = self.states.iter().position(|(known, _)| **known == *state);
        let at = match known {
            Some(at) => at,
            None if self.states.len() < STATES_MAX => {
                self.states.push((state.into(), Bins::default()));
                self.states.len() - 1
            }
            None => return None,
        };
        self.states.get_mut(at).map(|(_, bins)| bins)
    }

    fn keep(&mut self, model: &str, state: &str, average: f64) {
        let is_it = |kept: &KeptAverages| *kept.model == *model && *kept.state == *state;
        let at = match self.kept.iter().position(is_it) {
            Some(at) => at,
            None => {
                self.kept.push(KeptAverages {
                    model: model.into(),
                    state: state.into(),
                    values: Vec::new(),
                });
                self.kept.len() - 1
            }
        };
        if let Some(kept) = self.kept.get_mut(at) {
            kept.values.push(average);
        }
    }

    /// Forgets the values of the span; true when averages are kept all the same.
    pub(super) fn forget(&mut self) -> bool {
        self.states.clear();
        !self.kept.is_empty()
    }

    /// Averages that were kept to learn from.
    pub(super) fn kept(&self) -> &[KeptAverages] {
        &self.kept
    }
}
