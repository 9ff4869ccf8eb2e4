//! How fast a signal changes: the median of the slopes between its means over a span.
//!
//! This is the estimator of Theil (1950) and Sen (1968, "Estimates of the regression coefficient
//! based on Kendall's tau", JASA 63): up to 29 % of the points may be wrong by any amount before it
//! is. The points are means of at most 17 bins, so a value costs the same at any rate of rows; the
//! rate is judged whenever a bin begins.

use serde::Serialize;

use super::bins::{Bins, Grid, Point};
use super::limits::{limited_kind, span_us};
use super::measure::Reading;
use super::micros::Micros;

/// Bins of a span.
const BINS: i64 = 16;
/// Fewer points than these say nothing: of four, one that is wrong may be believed.
const POINTS_MIN: usize = 5;
/// The longest span.
const OVER_MAX: Micros = Micros(366 * 86_400_000_000);

limited_kind! {
    /// How fast a signal changes, in its unit per second; limits are of that.
    RateSpec {
        /// Signal; `*` stands for any index.
        pub signal: String,
        /// The span over which the slope is taken.
        pub over: Micros,
    }
}

impl RateSpec {
    pub(super) fn measure(&self) -> Result<Rate, String> {
        let over_us = span_us("over", self.over, OVER_MAX)?;
        Ok(Rate {
            grid: Grid::new(over_us, BINS),
        })
    }
}

/// The slope of a signal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rate {
    pub(super) grid: Grid,
}

impl Rate {
    /// Adds a value; returns the slope, in units per second, when a bin has begun and enough is
    /// known.
    pub(super) fn observe(&self, bins: &mut Bins, time: i64, value: f64) -> Option<Reading> {
        if !bins.add(self.grid, time, value) {
            return None;
        }
        let points = bins.points(self.grid, POINTS_MIN)?;
        Some(Reading::of(median_slope(&points)?))
    }
}

fn median_slope(points: &[Point]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (at, left) in points.iter().enumerate() {
        for right in points.iter().skip(at + 1) {
            let slope = (right.value - left.value) / (right.at - left.at);
            if slope.is_finite() {
                slopes.push(slope);
            }
        }
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let upper = slopes.len() / 2;
    let high = *slopes.get(upper)?;
    if slopes.len() % 2 == 1 {
        return Some(high);
    }
    let low = *slopes.get(upper.checked_sub(1)?)?;
    Some(low + (high - low) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    /// The slope after the last of these values, one every so many microseconds.
    fn slope(every: i64, values: impl IntoIterator<Item = f64>) -> Option<f64> {
        let rate = Rate {
            grid: Grid::new(16 * S, BINS),
        };
        let mut bins = Bins::default();
        let mut last = None;
        for (at, value) in values.into_iter().enumerate() {
            let reading = rate.observe(&mut bins, at as i64 * every, value);
            last = reading.or(last);
        }
        last.map(|reading| (reading.value * 1e9).round() / 1e9)
    }

    #[test]
    fn the_slope_of_a_line_is_its_slope_at_any_rate_of_rows() {
        let line = |count: usize, step: f64| (0..count).map(move |at| 20.0 + at as f64 * step);
        for (every, count, step, expected) in [
            (S, 17, 0.5, Some(0.5)),
            (S, 17, -2.0, Some(-2.0)),
            (S / 100, 1_700, 0.005, Some(0.5)),
            (2 * S, 9, 1.0, Some(0.5)),
            (S, 17, 0.0, Some(0.0)),
            (S, 4, 0.5, None),
            (20 * S, 30, 1.0, None),
        ] {
            assert_eq!(
                slope(every, line(count, step)),
                expected,
                "{every} {count} {step}"
            );
        }
    }

    #[test]
    fn single_outliers_do_not_move_it() {
        for outlier in 0..17 {
            let values = (0..17).map(|at| if at == outlier { 1e6 } else { f64::from(at) });
            let slope = slope(S, values).unwrap();
            assert!((slope - 1.0).abs() < 0.2, "{outlier}: {slope}");
        }
        let values = (0..17).map(|at| if at % 4 == 0 { 1e6 } else { f64::from(at) });
        assert!(
            slope(S, values).unwrap() < 1e5,
            "a quarter of them is wrong"
        );
    }
}
