//! How far a signal is from the median of what is normal for its robot: the deviation that outliers
//! do not move.
//!
//! As with the mean, what is learnt slides on in eighths of a span, and normal is what the complete
//! ones say. The values of the eighth that is under way are kept as means and variances of its
//! sixteenths; once it is complete, its middle is the median of these means, and its variance the
//! median of these variances and the square of how far the means scatter (by their median absolute
//! deviation). Several eighths become one normal in the same way. So nearly half of the sixteenths,
//! and nearly half of the eighths, may hold anything. A mean of few values is no median of them: what
//! is skewed within a sixteenth stays so.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::cohort::{median, middle_and_spread};
use super::deviation::{Learnt, PARTS, Part};
use super::measure::{Input, Reading};

/// Parts of an eighth.
const IN_EIGHTH: i64 = 16;

/// The distance from the median of what is normal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Median {
    part_us: i64,
    least: u64,
    floor: f64,
}

/// What is normal in a state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Medians {
    /// Complete eighths, oldest first.
    eighths: VecDeque<Eighth>,
    /// The sixteenths of the eighth that is under way, oldest first.
    parts: Vec<Part>,
    /// Median and deviation of the complete ones, when there are enough values.
    of_complete: Option<(f64, f64)>,
}

/// What an eighth of the span says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Eighth {
    index: i64,
    count: u64,
    middle: f64,
    variance: f64,
}

impl Median {
    /// Of a span in microseconds, in which there must be at least so many values, and with a
    /// deviation of at least `floor`.
    pub(super) fn new(learn_us: i64, least: u64, floor: f64) -> Self {
        Self {
            part_us: (learn_us / PARTS / IN_EIGHTH).max(1),
            least,
            floor,
        }
    }

    /// Learns a value, if it may, and returns how far it is from normal, when that is known.
    pub(super) fn observe(
        &self,
        learnt: &mut Learnt<Medians>,
        input: &Input<'_>,
    ) -> Option<Reading> {
        let normal = learnt.of(input.state.unwrap_or_default())?;
        if input.learns {
            normal.learn(self, input.time, input.value);
        }
        let (middle, deviation) = normal.of_complete?;
        let score = (input.value - middle) / deviation.max(self.floor);
        score.is_finite().then_some(Reading::of(score))
    }
}

impl Medians {
    fn learn(&mut self, of: &Median, time: i64, value: f64) {
        let index = time.div_euclid(of.part_us);
        match self.parts.last_mut() {
            // A recording of an earlier time: its values are judged by what is known.
            Some(last) if index < last.index => return,
            Some(last) if index == last.index => return last.add(value),
            _ => {}
        }
        let eighth = index.div_euclid(IN_EIGHTH);
        let under_way = self
            .parts
            .last()
            .map(|last| last.index.div_euclid(IN_EIGHTH));
        if let Some(complete) = under_way.filter(|complete| *complete < eighth) {
            self.eighths.extend(Eighth::of(complete, &self.parts));
            self.parts.clear();
            let oldest = eighth.saturating_sub(PARTS);
            while self.eighths.front().is_some_and(|it| it.index < oldest) {
                self.eighths.pop_front();
            }
            self.of_complete = self.normal(of.least);
        }
        self.parts.push(Part::begun(index, value));
    }

    /// Median and deviation of the complete eighths; `None` of fewer values than that.
    fn normal(&self, least: u64) -> Option<(f64, f64)> {
        let count = (self.eighths.iter()).fold(0_u64, |sum, it| sum.saturating_add(it.count));
        if count < least {
            return None;
        }
        let middles: Vec<f64> = self.eighths.iter().map(|it| it.middle).collect();
        let (middle, spread) = middle_and_spread(&middles)?;
        let within = median(self.eighths.iter().map(|it| it.variance).collect())?;
        Some((middle, (within + spread * spread).sqrt()))
    }
}

impl Eighth {
    fn of(index: i64, parts: &[Part]) -> Option<Self> {
        let means: Vec<f64> = parts.iter().map(|part| part.mean).collect();
        let (middle, spread) = middle_and_spread(&means)?;
        let within = median(parts.iter().filter_map(Part::variance).collect());
        Some(Self {
            index,
            count: (parts.iter()).fold(0, |sum, part| part.count.saturating_add(sum)),
            middle,
            variance: within.unwrap_or(0.0) + spread * spread,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixteenths of 10 s, so eighths of 160 s.
    const LEARN: i64 = PARTS * IN_EIGHTH * 10;

    fn score(
        of: &Median,
        learnt: &mut Learnt<Medians>,
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

    /// 4 and 6 in turn.
    fn in_turn(time: i64) -> f64 {
        if time % 2 == 0 { 4.0 } else { 6.0 }
    }

    #[test]
    fn scores_are_those_of_median_and_deviation_of_the_complete_eighths() {
        let (of, mut learnt) = (Median::new(LEARN, 100, 0.0), Learnt::default());
        for time in 0..320 {
            let known = score(&of, &mut learnt, (time, in_turn(time)), None, true);
            assert_eq!(known.is_some(), time >= 160, "{time}");
        }
        // The variance of five times 4 and five times 6, corrected for the sample.
        let deviation = (10.0_f64 / 9.0).sqrt();
        for (time, value, expected) in [(320, 9.0, 4.0), (321, 1.0, -4.0), (322, 5.0, 0.0)] {
            let z = score(&of, &mut learnt, (time, value), None, true).unwrap();
            assert!((z - expected / deviation).abs() < 1e-12, "{value}: {z}");
        }
    }

    #[test]
    fn outliers_move_the_mean_and_not_the_median() {
        use crate::rules::{Average, DeviationSpec, Measure};
        let of = |average: Average, is_broken: &dyn Fn(i64) -> bool| {
            let spec: DeviationSpec = serde_json::from_value(serde_json::json!({
                "signal": "s", "least": 100, "raise_above": 3.0, "average": average,
                "learn": format!("{LEARN}us"),
            }))
            .unwrap();
            let measure = spec.measure().unwrap();
            let mark = measure.mark();
            let mut memory = measure.begin(mark);
            let mut see = |time: i64, value: f64| {
                let input = Input {
                    time,
                    value,
                    state: None,
                    learns: true,
                    model: None,
                    signal: "s",
                };
                let reading = Measure::observe(&measure, &mut memory, &input);
                reading.map(|reading| reading.value)
            };
            for time in 0..1_280 {
                let value = if is_broken(time) { 1e4 } else { in_turn(time) };
                see(time, value);
            }
            see(1_280, 9.0).unwrap()
        };
        // Single values in two of five sixteenths; then two of five eighths wholly.
        let single = |time: i64| time % 50 == 3 || time % 50 == 17;
        let eighths = |time: i64| matches!(time / 160, 2 | 4 | 6);
        for (name, is_broken) in [
            ("single", &single as &dyn Fn(i64) -> bool),
            ("eighths", &eighths),
        ] {
            let robust = of(Average::Median, is_broken);
            assert!((robust - 4.0).abs() < 0.5, "{name}: {robust}");
            let mean = of(Average::Mean, is_broken);
            assert!(mean.abs() < 1.0, "{name}: {mean} is what outliers do");
        }
    }

    #[test]
    fn states_are_told_apart_and_what_must_not_be_learnt_changes_nothing() {
        let (of, mut learnt) = (Median::new(LEARN, 20, 0.0), Learnt::default());
        for time in 0..400 {
            let (state, more) = if time % 4 < 2 {
                ("cut", 50.0)
            } else {
                ("idle", 0.0)
            };
            score(
                &of,
                &mut learnt,
                (time, in_turn(time) + more),
                Some(state),
                true,
            );
        }
        let before = learnt.clone();
        let cut = score(&of, &mut learnt, (401, 55.0), Some("cut"), false).unwrap();
        assert!(cut.abs() < 0.5, "{cut}");
        assert!(score(&of, &mut learnt, (401, 55.0), Some("idle"), false).unwrap() > 10.0);
        // A recording of an earlier time is judged and not learnt.
        assert!(score(&of, &mut learnt, (3, 55.0), Some("cut"), true).is_some());
        assert_eq!(learnt, before);
    }

    #[test]
    fn what_was_normal_long_ago_is_forgotten_and_a_constant_has_no_deviation_of_its_own() {
        let (of, mut learnt) = (Median::new(LEARN, 100, 0.5), Learnt::default());
        for time in 0..6_000 {
            let value = if time < 2_000 { 0.0 } else { 10.0 };
            score(&of, &mut learnt, (time, value), None, true);
        }
        assert_eq!(
            score(&of, &mut learnt, (6_000, 11.0), None, true),
            Some(2.0)
        );
        let normal = learnt.of("").unwrap();
        assert!(normal.eighths.len() <= PARTS as usize);
        assert!(normal.parts.len() <= IN_EIGHTH as usize);
    }
}
