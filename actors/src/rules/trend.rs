//! The time until a signal reaches a limit, at its present slope.
//!
//! A line is fitted by weighted least squares to the signal's means over a span (at most 33 bins).
//! How far its slope may be from the true one is known from how the means scatter about it
//! (Student's t, 95 % on each side). Judged is the longest of the times that are compatible with
//! the data, so noise does not raise anything; the shortest and the longest are told.

use serde::{Deserialize, Serialize};

use super::bins::{Bins, Grid, Point};
use super::limits::{max_gap_us, span_us};
use super::measure::Reading;
use super::micros::Micros;
use super::{Limit, MAX_GAP_US};

/// Bins of a span.
const BINS: i64 = 32;
/// Fewer points than these say nothing.
const POINTS_MIN: usize = 8;
/// The longest span.
const OVER_MAX: Micros = Micros(366 * 86_400_000_000);
/// A longer time than this is no forecast, seconds: a hundred years.
const LEFT_MAX: f64 = 3_155_760_000.0;

/// The time left until a signal reaches a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrendSpec {
    /// Signal; `*` stands for any index.
    pub signal: String,
    /// The limit that the signal must not reach, in its unit.
    pub limit: f64,
    /// The signal falls towards the limit; otherwise it rises.
    #[serde(default)]
    pub falling: bool,
    /// Raise when less time than this is left.
    pub within: Micros,
    /// Clear when more time than this is left; default: `within`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_beyond: Option<Micros>,
    /// The span over which the slope is taken.
    pub over: Micros,
    /// So long must too little time be left without a break, in event time.
    #[serde(default)]
    pub hold: Micros,
    /// So long must enough time be left again without a break before it clears, in event time.
    #[serde(default, skip_serializing_if = "Micros::is_nothing")]
    pub clear_after: Micros,
}

impl TrendSpec {
    pub(super) fn measure(&self) -> Result<Trend, String> {
        let over_us = span_us("over", self.over, OVER_MAX)?;
        if !self.limit.is_finite() {
            return Err("a limit must be a finite number".to_owned());
        }
        Ok(Trend {
            grid: Grid::new(over_us, BINS),
            sign: if self.falling { -1.0 } else { 1.0 },
            limit: self.limit,
        })
    }

    /// The limit of the time left, seconds.
    pub(super) fn time_limit(
        &self,
        measure: &Trend,
        max_gap: Option<Micros>,
    ) -> Result<Limit, String> {
        let within_us = span_us("within", self.within, Micros(i64::MAX))?;
        let clear_us = self.clear_beyond.map_or(within_us, |clear| clear.0);
        if clear_us < within_us {
            return Err(format!(
                "it would clear with {} left while still raised with {}: clear_beyond must not be less than within",
                Micros(clear_us),
                self.within
            ));
        }
        let least_gap = measure.grid.width_us().saturating_mul(2);
        let longest = self.hold.0.max(self.clear_after.0);
        Ok(Limit {
            sign: -1.0,
            raise: -(within_us as f64 / 1e6),
            clear: -(clear_us as f64 / 1e6),
            hold_us: self.hold.0,
            clear_after_us: self.clear_after.0,
            max_gap_us: max_gap_us(max_gap, MAX_GAP_US.max(longest).max(least_gap))?,
            escalate: Vec::new(),
        })
    }
}

/// The forecast of a signal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trend {
    grid: Grid,
    /// 1 when the signal rises towards the limit, -1 when it falls.
    sign: f64,
    limit: f64,
}

/// A line through points: the value at a moment, and how uncertain its slope is.
struct Line {
    mean_at: f64,
    mean_value: f64,
    slope: f64,
    /// Half of the slope's confidence interval.
    margin: f64,
}

impl Trend {
    /// Adds a value; returns the seconds left, when a bin has begun and enough is known.
    pub(super) fn observe(&self, bins: &mut Bins, time: i64, value: f64) -> Option<Reading> {
        if !bins.add(self.grid, time, value) {
            return None;
        }
        let points = bins.points(self.grid, POINTS_MIN)?;
        let line = Line::through(&points)?;
        let now = line.mean_value + line.slope * (bins.latest(self.grid) - line.mean_at);
        let distance = self.sign * (self.limit - now);
        let left = |slope: f64| {
            if distance <= 0.0 {
                return 0.0;
            }
            let left = distance / slope;
            if slope <= 0.0 || left > LEFT_MAX {
                LEFT_MAX
            } else {
                left
            }
        };
        let slope = self.sign * line.slope;
        let (soonest, latest) = (left(slope + line.margin), left(slope - line.margin));
        latest.is_finite().then_some(Reading {
            value: latest,
            spread: Some((soonest, latest)),
        })
    }
}

impl Line {
    fn through(points: &[Point]) -> Option<Self> {
        let rows: f64 = points.iter().map(|point| point.rows).sum();
        let mean = |of: fn(&Point) -> f64| -> f64 {
            points
                .iter()
                .map(|point| point.rows * of(point))
                .sum::<f64>()
                / rows
        };
        let (mean_at, mean_value) = (mean(|point| point.at), mean(|point| point.value));
        let (mut squares, mut products) = (0.0, 0.0);
        for point in points {
            let at = point.at - mean_at;
            squares += point.rows * at * at;
            products += point.rows * at * (point.value - mean_value);
        }
        let slope = products / squares;
        if !slope.is_finite() {
            return None;
        }
        let residuals: f64 = points
            .iter()
            .map(|point| {
                let residual = point.value - mean_value - slope * (point.at - mean_at);
                point.rows * residual * residual
            })
            .sum();
        let freedom = points.len() as f64 - 2.0;
        let error = (residuals / freedom / squares).sqrt();
        Some(Self {
            mean_at,
            mean_value,
            slope,
            margin: student(freedom) * error,
        })
    }
}

/// The 95 % quantile of Student's t, by the expansion of Cornish and Fisher from the normal one;
/// within 0.01 from 6 degrees of freedom on.
fn student(freedom: f64) -> f64 {
    1.645 + 1.524 / freedom + 1.42 / (freedom * freedom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn trend(limit: f64, falling: bool) -> Trend {
        let spec = TrendSpec {
            signal: "x".into(),
            limit,
            falling,
            within: Micros(S),
            clear_beyond: None,
            over: Micros(32 * S),
            hold: Micros(0),
            clear_after: Micros(0),
        };
        spec.measure().unwrap()
    }

    fn last(trend: &Trend, values: impl IntoIterator<Item = f64>) -> Option<Reading> {
        let mut bins = Bins::default();
        let mut last = None;
        for (at, value) in values.into_iter().enumerate() {
            last = trend.observe(&mut bins, at as i64 * S, value).or(last);
        }
        last
    }

    #[test]
    fn the_time_left_on_a_line_is_exact() {
        for (limit, falling, start, step, expected) in [
            (60.0, false, 20.0, 0.5, 48.0),
            (60.0, true, 100.0, -0.5, 48.0),
            (30.0, false, 20.0, 0.5, 0.0),
            (60.0, false, 20.0, -0.5, LEFT_MAX),
            (60.0, false, 20.0, 0.0, LEFT_MAX),
        ] {
            let values = (0..33).map(|at| start + f64::from(at) * step);
            let reading = last(&trend(limit, falling), values).unwrap();
            assert!(
                (reading.value - expected).abs() < 1e-6,
                "{reading:?} {expected}"
            );
        }
        let few = (0..7).map(f64::from);
        assert_eq!(last(&trend(60.0, false), few), None);
    }

    #[test]
    fn noise_widens_the_interval_and_the_longest_time_is_judged() {
        let noisy = |noise: f64, step: f64| {
            let values = (0..33).map(move |at| {
                let sign = if at % 2 == 0 { 1.0 } else { -1.0 };
                20.0 + f64::from(at) * step + sign * noise
            });
            last(&trend(60.0, false), values).unwrap()
        };
        let (calm, loud) = (noisy(0.1, 0.5), noisy(2.0, 0.5));
        let (from, to) = loud.spread.unwrap();
        assert!(from < 48.0 && 48.0 < to && loud.value == to, "{loud:?}");
        assert!(calm.value < loud.value);
        assert_eq!(noisy(5.0, 0.01).value, LEFT_MAX, "noise is no trend");
    }

    #[test]
    fn the_quantile_is_that_of_the_tables() {
        for (freedom, expected) in [(6.0, 1.943), (10.0, 1.812), (30.0, 1.697)] {
            assert!((student(freedom) - expected).abs() < 0.01, "{freedom}");
        }
    }
}
