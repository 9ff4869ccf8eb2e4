//! A signal over a span of time in a bounded number of means.
//!
//! Bins lie on a grid of event time, so which value goes into which depends on its time alone.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The values of one cell of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Bin {
    /// Its place on the grid.
    index: i64,
    rows: u32,
    /// Sum of the times after the bin's beginning, microseconds.
    offsets_us: f64,
    /// Sum of the values.
    values: f64,
}

/// A mean of a bin: seconds after the first bin's beginning, value, and how many values it is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) at: f64,
    pub(super) value: f64,
    pub(super) rows: f64,
}

/// The latest bins, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bins {
    bins: VecDeque<Bin>,
    /// Event time of the latest value, microseconds UTC.
    last: Option<i64>,
}

/// A grid of event time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Grid {
    width_us: i64,
    count: i64,
}

impl Grid {
    /// A span of time, microseconds, cut into so many bins.
    pub(super) fn new(span_us: i64, count: i64) -> Self {
        Self {
            width_us: (span_us / count).max(1),
            count,
        }
    }

    /// Width of a bin, microseconds.
    pub(super) fn width_us(self) -> i64 {
        self.width_us
    }
}

impl Bins {
    /// Adds a value; true when it has begun a bin. One that is older than the one before it is left
    /// out.
    pub(super) fn add(&mut self, grid: Grid, time: i64, value: f64) -> bool {
        if Some(time) < self.last {
            return false;
        }
        self.last = Some(time);
        let index = time.div_euclid(grid.width_us);
        let offset = time.rem_euclid(grid.width_us) as f64;
        if let Some(bin) = self.bins.back_mut().filter(|bin| bin.index == index) {
            bin.rows = bin.rows.saturating_add(1);
            bin.offsets_us += offset;
            bin.values += value;
            return false;
        }
        let oldest = index.saturating_sub(grid.count);
        while self.bins.front().is_some_and(|bin| bin.index < oldest) {
            self.bins.pop_front();
        }
        self.bins.push_back(Bin {
            index,
            rows: 1,
            offsets_us: offset,
            values: value,
        });
        true
    }

    /// The means, in order of time. None when there are fewer than `least`, or when they cover less
    /// than half of the span.
    pub(super) fn points(&self, grid: Grid, least: usize) -> Option<Vec<Point>> {
        let (first, last) = (self.bins.front()?.index, self.bins.back()?.index);
        if self.bins.len() < least || last.saturating_sub(first) < grid.count / 2 {
            return None;
        }
        let width = grid.width_us as f64;
        let point = |bin: &Bin| {
            let rows = f64::from(bin.rows);
            Point {
                at: ((bin.index - first) as f64 * width + bin.offsets_us / rows) / 1e6,
                value: bin.values / rows,
                rows,
            }
        };
        Some(self.bins.iter().map(point).collect())
    }

    /// Seconds from the first bin's beginning to the latest value.
    pub(super) fn latest(&self, grid: Grid) -> f64 {
        let first = self.bins.front().map_or(0, |bin| bin.index);
        let start = first.saturating_mul(grid.width_us);
        self.last.unwrap_or(start).saturating_sub(start) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_means_on_a_grid_and_their_number_is_bounded() {
        let grid = Grid::new(40, 4);
        let mut bins = Bins::default();
        let began: Vec<bool> = (0..100)
            .map(|time| bins.add(grid, time, time as f64))
            .collect();
        assert_eq!(began.iter().filter(|began| **began).count(), 10);
        let points = bins.points(grid, 1).unwrap();
        let values: Vec<f64> = points.iter().map(|point| point.value).collect();
        assert_eq!(values, [54.5, 64.5, 74.5, 84.5, 94.5]);
        assert_eq!(points[0].at, 4.5e-6);
        assert!(!bins.add(grid, 98, 1e9), "time goes on only");
        assert_eq!(bins.points(grid, 1).unwrap()[4].value, 94.5);
    }

    #[test]
    fn few_points_or_those_of_a_short_time_say_nothing() {
        let grid = Grid::new(40, 4);
        let mut bins = Bins::default();
        for (time, expected) in [
            (0, false),
            (9, false),
            (15, false),
            (25, true),
            (1_000, false),
        ] {
            bins.add(grid, time, 1.0);
            assert_eq!(bins.points(grid, 2).is_some(), expected, "{time}");
        }
    }
}
