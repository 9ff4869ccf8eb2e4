//! How far a signal is from what is normal for its robot: in standard deviations from the mean of
//! what was learnt, or from its median (`median.rs`), for each operating state apart.
//!
//! What is learnt slides on in eighths of a span: normal is what the complete eighths say, so a
//! value is never compared with itself. While the condition is open nothing is learnt, or a fault
//! would become normal; a service of the signal's component begins anew (`robot/servicing.rs`).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::cohort::Average;
use super::limits::{limited_kind, span_us};
use super::measure::{Input, Measure, Reading};
use super::median::Median;
use super::micros::Micros;

/// Parts of the span.
pub(super) const PARTS: i64 = 8;
/// Most operating states that are told apart; rows in others are not judged.
const STATES_MAX: usize = 8;
/// The longest span.
const LEARN_MAX: Micros = Micros(366 * 86_400_000_000);

limited_kind! {
    /// How far a signal is from what is normal for this robot; limits are in standard deviations.
    DeviationSpec {
        /// Signal; `*` stands for any index.
        pub signal: String,
        /// The span from which it is learnt what is normal.
        #[serde(default = "week")]
        pub learn: Micros,
        /// So many values at least, or nothing is judged.
        #[serde(default = "thousand")]
        pub least: u64,
        /// What the values are compared with: their mean, or their median, which outliers do not
        /// move.
        #[serde(default = "mean", skip_serializing_if = "is_mean")]
        pub average: Average,
        /// A text column, such as an operating state: each of its values has a normal of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// A standard deviation less than this counts as this, in the signal's unit.
        #[serde(default)]
        pub least_deviation: f64,
    }
}

fn week() -> Micros {
    Micros(7 * 86_400_000_000)
}

fn thousand() -> u64 {
    1_000
}

fn mean() -> Average {
    Average::Mean
}

fn is_mean(average: &Average) -> bool {
    *average == Average::Mean
}

impl DeviationSpec {
    pub(super) fn measure(&self) -> Result<Measure, String> {
        let learn_us = span_us("learn", self.learn, LEARN_MAX)?;
        if self.least < 2 {
            return Err("least must be 2 at least: one value has no deviation".to_owned());
        }
        if !(self.least_deviation >= 0.0 && self.least_deviation.is_finite()) {
            return Err("least_deviation must be 0 or above".to_owned());
        }
        let (least, floor) = (self.least, self.least_deviation);
        Ok(match self.average {
            Average::Mean => Measure::Deviation(Deviation {
                part_us: (learn_us / PARTS).max(1),
                least,
                floor,
            }),
            Average::Median => Measure::Median(Median::new(learn_us, least, floor)),
        })
    }
}

/// The distance from what is normal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Deviation {
    part_us: i64,
    least: u64,
    floor: f64,
}

/// What was learnt, by operating state; the state is empty where none is named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learnt<Normal>(Vec<(Box<str>, Normal)>);

/// What is normal in a state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Normal {
    /// Oldest first; the last one is not complete.
    parts: VecDeque<Part>,
    /// Mean and standard deviation of the complete ones, when there are enough values.
    of_complete: Option<(f64, f64)>,
}

/// The values of one part of the span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) index: i64,
    pub(super) count: u64,
    pub(super) mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

impl Deviation {
    /// Learns a value, if it may, and returns how far it is from normal, when that is known.
    pub(super) fn observe(
        &self,
        learnt: &mut Learnt<Normal>,
        input: &Input<'_>,
    ) -> Option<Reading> {
        let normal = learnt.of(input.state.unwrap_or_default())?;
        if input.learns {
            normal.learn(self, input.time, input.value);
        }
        let (mean, deviation) = normal.of_complete?;
        let score = (input.value - mean) / deviation.max(self.floor);
        score.is_finite().then_some(Reading::of(score))
    }
}

impl<Normal: Default> Learnt<Normal> {
    /// What is normal in a state; `None` where there are too many of them.
    pub(super) fn of(&mut self, state: &str) -> Option<&mut Normal> {
        let known = self.0.iter().position(|(known, _)| **known == *state);
        let at = match known {
            Some(at) => at,
            None if self.0.len() < STATES_MAX => {
                self.0.push((state.into(), Normal::default()));
                self.0.len() - 1
            }
            None => return None,
        };
        self.0.get_mut(at).map(|(_, normal)| normal)
    }
}

impl Normal {
    fn learn(&mut self, of: &Deviation, time: i64, value: f64) {
        let index = time.div_euclid(of.part_us);
        match self.parts.back_mut() {
            // A recording of an earlier time: its values are judged by what is known.
            Some(last) if index < last.index => {}
            Some(last) if index == last.index => last.add(value),
            _ => {
                let oldest = index.saturating_sub(PARTS);
                while self.parts.front().is_some_and(|part| part.index < oldest) {
                    self.parts.pop_front();
                }
                let all = self.parts.iter().fold(Part::default(), Part::with);
                if !self.parts.is_empty() {
                    self.of_complete = (all.count >= of.least).then(|| all.deviation());
                }
                self.parts.push_back(Part::begun(index, value));
            }
        }
    }
}

impl Part {
    /// One with its first value.
    pub(super) fn begun(index: i64, value: f64) -> Self {
        let mut part = Self {
            index,
            ..Self::default()
        };
        part.add(value);
        part
    }

    pub(super) fn add(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
    }

    fn with(self, other: &Self) -> Self {
        if other.count == 0 {
            return self;
        }
        let count = self.count.saturating_add(other.count);
        let delta = other.mean - self.mean;
        let share = other.count as f64 / count as f64;
        Self {
            index: other.index,
            count,
            mean: self.mean + delta * share,
            squares: self.squares + other.squares + delta * delta * self.count as f64 * share,
        }
    }

    /// Mean and standard deviation.
    fn deviation(&self) -> (f64, f64) {
        let freedom = self.count.saturating_sub(1).max(1) as f64;
        (self.mean, (self.squares / freedom).max(0.0).sqrt())
    }

    /// The variance; `None` of a single value.
    pub(super) fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares.max(0.0) / (self.count - 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviation(floor: f64) -> Deviation {
        Deviation {
            part_us: 10,
            least: 10,
            floor,
        }
    }

    fn score(
        of: &Deviation,
        learnt: &mut Learnt<Normal>,
        (time, value): (i64, f64),
        state: Option<&str>,
        learns: bool,
    ) -> Option<f64> {
        let input = Input {
            time,
            value,
            state,
            learns,
            model: None,
            signal: "",
        };
        of.observe(learnt, &input).map(|reading| reading.value)
    }

    #[test]
    fn scores_are_those_of_mean_and_deviation_of_the_complete_parts() {
        let (of, mut learnt) = (deviation(0.0), Learnt::default());
        // 4 and 6 in turn: mean 5, deviation 1 but for the correction of the sample.
        for time in 0..20 {
            let value = if time % 2 == 0 { 4.0 } else { 6.0 };
            let known = score(&of, &mut learnt, (time, value), None, true);
            assert_eq!(known.is_some(), time >= 10, "{time}");
        }
        let z = score(&of, &mut learnt, (20, 9.0), None, true).unwrap();
        let deviation = (20.0_f64 / 19.0).sqrt();
        assert!((z - 4.0 / deviation).abs() < 1e-12, "{z}");
        let z = score(&of, &mut learnt, (21, 1.0), None, true).unwrap();
        assert!(
            (z + 4.0 / deviation).abs() < 1e-12,
            "9 is not learnt yet: {z}"
        );
    }

    #[test]
    fn states_are_told_apart_and_bounded() {
        let (of, mut learnt) = (deviation(0.0), Learnt::default());
        for time in 0..40 {
            let (state, value) = if time % 2 == 0 {
                ("cut", 50.0)
            } else {
                ("idle", 1.0)
            };
            let value = value + f64::from(time as i32 % 3);
            score(&of, &mut learnt, (time, value), Some(state), true);
        }
        assert!(
            score(&of, &mut learnt, (41, 51.0), Some("cut"), true)
                .unwrap()
                .abs()
                < 1.0
        );
        assert!(score(&of, &mut learnt, (41, 51.0), Some("idle"), true).unwrap() > 10.0);
        for state in 0..20 {
            score(&of, &mut learnt, (41, 1.0), Some(&state.to_string()), true);
        }
        assert_eq!(learnt.0.len(), STATES_MAX);
    }

    #[test]
    fn what_must_not_be_learnt_changes_nothing_and_a_constant_has_no_deviation_of_its_own() {
        let (of, mut learnt) = (deviation(0.0), Learnt::default());
        for time in 0..12 {
            score(&of, &mut learnt, (time, 5.0), None, true);
        }
        let before = learnt.clone();
        assert_eq!(score(&of, &mut learnt, (13, 6.0), None, false), None);
        assert_eq!(learnt, before);
        assert_eq!(
            score(&deviation(0.5), &mut learnt, (13, 6.0), None, false),
            Some(2.0)
        );
        // A recording of an earlier time is judged and not learnt.
        assert_eq!(
            score(&deviation(0.5), &mut learnt, (3, 6.0), None, true),
            Some(2.0)
        );
        assert_eq!(learnt, before);
    }

    #[test]
    fn what_was_normal_long_ago_is_forgotten() {
        let (of, mut learnt) = (deviation(0.1), Learnt::default());
        for time in 0..300 {
            let value = if time < 100 { 0.0 } else { 10.0 };
            score(&of, &mut learnt, (time, value), None, true);
        }
        assert_eq!(score(&of, &mut learnt, (300, 10.0), None, true), Some(0.0));
        assert!(learnt.0[0].1.parts.len() <= PARTS as usize + 1);
    }
}
