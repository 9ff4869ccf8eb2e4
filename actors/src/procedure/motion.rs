//! What the movements of an instrument add up to, over samples in order of event time.
//!
//! Two stretches that follow each other are merged exactly: each keeps its first and its last three
//! samples, which is what the third differences across the seam need. So the motion of a phase is
//! that of its own samples, and that of a case the merged one of its phases.

use serde::{Deserialize, Serialize};

/// Most axes of a position.
pub(crate) const AXES_MAX: usize = 3;
/// An instrument slower than this is idle. Units of position per second.
const IDLE_SPEED: f64 = 1.0;
/// A longer silence than this between two samples is a gap: neither idleness nor a speed is known in
/// it. Microseconds.
const GAP_US: i64 = 5_000_000;
/// Samples at either end that a seam needs.
const ENDS: usize = 3;

/// A position at an event time, microseconds UTC; axes that are not there are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) time: i64,
    pub(crate) at: [f64; AXES_MAX],
}

/// Motion over a stretch of samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Motion {
    /// The first samples, three at most.
    head: Vec<Sample>,
    /// The last samples, three at most.
    tail: Vec<Sample>,
    samples: u64,
    path: f64,
    idle_us: i64,
    /// Time between samples that follow each other without a gap.
    covered_us: i64,
    speed_peak: f64,
    jerks: u64,
    jerk_squares: f64,
    /// The integral of the squared jerk over time.
    jerk_integral: f64,
}

/// Seconds between two samples; `None` over a gap, and where no time has passed.
fn elapsed(from: &Sample, to: &Sample) -> Option<f64> {
    let elapsed_us = to.time.saturating_sub(from.time);
    (elapsed_us > 0 && elapsed_us <= GAP_US).then_some(elapsed_us as f64 / 1e6)
}

fn distance(from: &Sample, to: &Sample) -> f64 {
    let squares = from.at.iter().zip(&to.at);
    squares
        .map(|(from, to)| (to - from) * (to - from))
        .sum::<f64>()
        .sqrt()
}

/// The squared jerk at the last of four samples, and the seconds that it stands for.
fn jerk_squared(four: &[Sample]) -> Option<(f64, f64)> {
    let [a, b, c, d] = four else { return None };
    let (first, second, third) = (elapsed(a, b)?, elapsed(b, c)?, elapsed(c, d)?);
    let mut sum = 0.0;
    for axis in 0..AXES_MAX {
        let early = (b.at[axis] - a.at[axis]) / first;
        let middle = (c.at[axis] - b.at[axis]) / second;
        let late = (d.at[axis] - c.at[axis]) / third;
        let jerk = ((late - middle) / third - (middle - early) / second) / third;
        sum += jerk * jerk;
    }
    Some((sum, third))
}

impl Motion {
    /// Adds the next sample.
    pub(crate) fn push(&mut self, sample: Sample) {
        if let Some(last) = self.tail.last().copied() {
            self.step(&last, &sample);
        }
        if let [a, b, c] = self.tail[..] {
            self.jerk(&[a, b, c, sample]);
        }
        if self.head.len() < ENDS {
            self.head.push(sample);
        }
        if self.tail.len() == ENDS {
            self.tail.rotate_left(1);
            self.tail[ENDS - 1] = sample;
        } else {
            self.tail.push(sample);
        }
        self.samples += 1;
    }

    /// Adds the stretch that follows.
    pub(crate) fn merge(&mut self, next: &Self) {
        let (Some(last), Some(first)) = (self.tail.last().copied(), next.head.first().copied())
        else {
            if self.samples == 0 {
                self.clone_from(next);
            }
            return;
        };
        self.step(&last, &first);
        let before = self.tail.len();
        let seam: Vec<Sample> = self.tail.iter().chain(&next.head).copied().collect();
        for (at, four) in seam.windows(ENDS + 1).enumerate() {
            // Those that lie on one side are counted there.
            if at < before && at + ENDS >= before {
                self.jerk(four);
            }
        }
        self.path += next.path;
        self.idle_us = self.idle_us.saturating_add(next.idle_us);
        self.covered_us = self.covered_us.saturating_add(next.covered_us);
        self.speed_peak = self.speed_peak.max(next.speed_peak);
        self.jerks += next.jerks;
        self.jerk_squares += next.jerk_squares;
        self.jerk_integral += next.jerk_integral;
        let missing = ENDS - self.head.len();
        self.head.extend(next.head.iter().take(missing));
        self.tail.extend(&next.tail);
        self.tail.drain(..self.tail.len().saturating_sub(ENDS));
        self.samples += next.samples;
    }

    fn step(&mut self, from: &Sample, to: &Sample) {
        let moved = distance(from, to);
        self.path += moved;
        let Some(seconds) = elapsed(from, to) else {
            return;
        };
        let elapsed_us = to.time - from.time;
        self.covered_us = self.covered_us.saturating_add(elapsed_us);
        self.speed_peak = self.speed_peak.max(moved / seconds);
        if moved < IDLE_SPEED * seconds {
            self.idle_us = self.idle_us.saturating_add(elapsed_us);
        }
    }

    fn jerk(&mut self, four: &[Sample]) {
        if let Some((squared, seconds)) = jerk_squared(four) {
            self.jerks += 1;
            self.jerk_squares += squared;
            self.jerk_integral += squared * seconds;
        }
    }

    /// Number of samples.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Sum of the distances between samples.
    pub(crate) fn path_length(&self) -> f64 {
        self.path
    }

    /// Distance between the first and the last sample over the path; `None` without a movement.
    pub(crate) fn economy(&self) -> Option<f64> {
        let (first, last) = (self.head.first()?, self.tail.last()?);
        (self.path > 0.0).then(|| distance(first, last) / self.path)
    }

    /// Seconds in which it was idle.
    pub(crate) fn idle_s(&self) -> f64 {
        self.idle_us as f64 / 1e6
    }

    /// Mean of the squared jerk; `None` with fewer than four samples without a gap.
    pub(crate) fn mean_squared_jerk(&self) -> Option<f64> {
        (self.jerks > 0).then(|| self.jerk_squares / self.jerks as f64)
    }

    /// Log dimensionless jerk: `-ln(T^3 / v_peak^2 * integral of the squared jerk)`, with the time
    /// that the samples cover and the peak of the speed.
    pub(crate) fn smoothness(&self) -> Option<f64> {
        let seconds = self.covered_us as f64 / 1e6;
        let dimensionless =
            seconds.powi(3) / (self.speed_peak * self.speed_peak) * self.jerk_integral;
        (self.jerks > 0 && dimensionless > 0.0 && dimensionless.is_finite())
            .then(|| -dimensionless.ln())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let sample = (0..8_i64, -20..20_i8, -20..20_i8);
        proptest::collection::vec(sample, 0..30).prop_map(|steps| {
            let mut time = 0;
            let sample = |(step, x, y): (i64, i8, i8)| {
                time += step * 1_000_000;
                let at = [f64::from(x), f64::from(y), 0.0];
                Sample { time, at }
            };
            steps.into_iter().map(sample).collect()
        })
    }

    fn of(samples: &[Sample]) -> Motion {
        let mut motion = Motion::default();
        samples.iter().for_each(|sample| motion.push(*sample));
        motion
    }

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-9 * left.abs().max(right.abs()).max(1.0)
    }

    proptest! {
        #[test]
        fn stretches_merge_to_the_motion_of_all(samples in samples(), cuts in proptest::collection::vec(0..31_usize, 0..4)) {
            let mut bounds: Vec<usize> = cuts.iter().map(|cut| *cut.min(&samples.len())).collect();
            bounds.extend([0, samples.len()]);
            bounds.sort_unstable();
            let mut merged = Motion::default();
            for pair in bounds.windows(2) {
                merged.merge(&of(&samples[pair[0]..pair[1]]));
            }
            let whole = of(&samples);
            prop_assert_eq!(&merged.head, &whole.head);
            prop_assert_eq!(&merged.tail, &whole.tail);
            prop_assert_eq!((merged.samples, merged.idle_us, merged.covered_us, merged.jerks), (whole.samples, whole.idle_us, whole.covered_us, whole.jerks));
            for (left, right) in [
                (merged.path, whole.path),
                (merged.speed_peak, whole.speed_peak),
                (merged.jerk_squares, whole.jerk_squares),
                (merged.jerk_integral, whole.jerk_integral),
            ] {
                prop_assert!(near(left, right), "{} {}", left, right);
            }
        }
    }

    /// A movement under a constant jerk: x = t^3 has the third difference 6 at steps of a second.
    #[test]
    fn the_figures_of_a_known_movement() {
        let samples: Vec<Sample> = (0..6)
            .map(|t| Sample {
                time: t * 1_000_000,
                at: [(t * t * t) as f64, 0.0, 0.0],
            })
            .collect();
        let motion = of(&samples);
        assert_eq!(motion.path_length(), 125.0);
        assert_eq!(motion.economy(), Some(1.0));
        assert_eq!(motion.mean_squared_jerk(), Some(36.0));
        // T = 5 s, the greatest speed is 125 - 64 = 61, the integral 3 * 36.
        let expected = -(125.0 / (61.0 * 61.0) * 108.0_f64).ln();
        assert!(near(motion.smoothness().unwrap(), expected));
        assert_eq!(motion.idle_s(), 0.0);
    }
}
