//! Running aggregates of one pane, one cell per signal: the hot path.
//!
//! There are two code paths with results equal to the last bit. The fast path adds several signals at
//! once over a run of rows; a batch knows which of its signals have a finite value in every row. The
//! other path adds value by value. Both add in row order to the same running sums, so it makes no
//! difference where a run is cut.

use serde::{Deserialize, Serialize};
use theatre_schemas::signal_rows::SignalRows;

use super::aggregate::SignalAggregate;
use super::run::{PaneRun, TimeExtremes};

/// Signals added at once: as many independent chains of additions as registers hold, and half of
/// that where fewer are left.
pub(super) const BASIC_SIGNALS: (usize, usize) = (8, 4);
pub(super) const FULL_SIGNALS: (usize, usize) = (4, 2);

/// What both code paths need of a kind of cell.
pub(super) trait AggregateCell: Copy {
    /// What is computed once per run for all signals.
    type Extremes;

    fn extremes(run: &PaneRun<'_>) -> Self::Extremes;

    /// Adds one finite value; `at` is its event time after the pane's start, microseconds.
    fn add(&mut self, value: f64, at: i64);

    /// Adds rows of consecutive signals that have a finite value in every row.
    fn add_group<const N: usize>(
        cells: &mut [Self; N],
        values: SignalGroup<'_, N>,
        rows: &[u32],
        extremes: &Self::Extremes,
    );
}

/// Consecutive signals of a batch.
#[derive(Clone, Copy)]
pub(super) struct SignalGroup<'a, const N: usize> {
    /// All values of the batch from the group's first signal in its first row on.
    values: &'a [f64],
    width: usize,
}

impl<'a, const N: usize> SignalGroup<'a, N> {
    fn of(signals: &'a SignalRows, first: usize) -> Self {
        Self {
            values: &signals.values()[first..],
            width: signals.width(),
        }
    }

    /// The group's values in a row. The caller has checked that the group lies within the row.
    #[inline]
    fn row(&self, row: u32) -> &'a [f64; N] {
        let values = self.values[row as usize * self.width..].first_chunk();
        values.unwrap_or_else(|| unreachable!("the group lies within the row"))
    }
}

/// Count, sum, min, max.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct BasicCell {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Default for BasicCell {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl BasicCell {
    /// The aggregate of all values so far.
    pub fn aggregate(&self) -> SignalAggregate {
        if self.count == 0 {
            return SignalAggregate::empty();
        }
        SignalAggregate {
            count: self.count,
            sum: self.sum,
            mean: self.sum / self.count as f64,
            min: self.min,
            max: self.max,
            ..SignalAggregate::empty()
        }
    }
}

/// What [`super::AggregateSet::Full`] needs. Sums are of deviations from the pane's first value
/// (`shift`), which keeps the variance of values far from zero exact enough without a division per
/// value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct FullCell {
    count: u64,
    shift: f64,
    sum: f64,
    squares: f64,
    min: f64,
    max: f64,
    first: f64,
    first_at: i64,
    last: f64,
    last_at: i64,
}

impl Default for FullCell {
    fn default() -> Self {
        Self {
            count: 0,
            shift: 0.0,
            sum: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            first: 0.0,
            first_at: i64::MAX,
            last: 0.0,
            last_at: i64::MIN,
        }
    }
}

impl FullCell {
    fn note_first(&mut self, value: f64, at: i64) {
        if at < self.first_at {
            (self.first, self.first_at) = (value, at);
        }
    }

    fn note_last(&mut self, value: f64, at: i64) {
        if at >= self.last_at {
            (self.last, self.last_at) = (value, at);
        }
    }

    /// The aggregate of all values so far; `origin` is the event time of the pane's start,
    /// microseconds UTC.
    pub fn aggregate(&self, origin: i64) -> SignalAggregate {
        if self.count == 0 {
            return SignalAggregate::empty();
        }
        let count = self.count as f64;
        let mean_deviation = self.sum / count;
        SignalAggregate {
            count: self.count,
            sum: count * self.shift + self.sum,
            mean: self.shift + mean_deviation,
            // Rounding may leave a tiny negative number where all values are nearly equal.
            m2: (self.squares - self.sum * mean_deviation).max(0.0),
            min: self.min,
            max: self.max,
            first: self.first,
            first_time: origin + self.first_at,
            last: self.last,
            last_time: origin + self.last_at,
            sketch: None,
        }
    }
}

/// The values of a signal that are present and finite, with their rows.
pub(super) fn present<'a>(
    signals: &'a SignalRows,
    signal: usize,
    rows: &'a [u32],
) -> impl Iterator<Item = (u32, f64)> + 'a {
    let finite = move |row: &u32| Some((*row, signals.finite(*row as usize, signal)?));
    rows.iter().filter_map(finite)
}

/// Adds a run to one cell per signal: `WIDE` signals at a time, `HALF` of what is left, the rest one
/// by one. A signal that lacks a value somewhere in the batch is added value by value.
pub(super) fn add_signals<C: AggregateCell, const WIDE: usize, const HALF: usize>(
    cells: &mut [C],
    run: &PaneRun<'_>,
) {
    let extremes = C::extremes(run);
    let signals = &run.batch.signals;
    let count = cells.len().min(signals.width());
    let mut first = 0;
    while first < count {
        let ahead = first..count.min(first + WIDE);
        let whole = if signals.are_whole() {
            ahead.len()
        } else {
            ahead.take_while(|at| signals.is_whole(*at)).count()
        };
        let cells = &mut cells[first..];
        first += add_group::<C, WIDE>(cells, whole, (run, first), &extremes)
            .or_else(|| add_group::<C, HALF>(cells, whole, (run, first), &extremes))
            .or_else(|| add_group::<C, 1>(cells, whole, (run, first), &extremes))
            .unwrap_or_else(|| {
                for (row, value) in present(signals, first, run.rows) {
                    cells[0].add(value, run.offset(row));
                }
                1
            });
    }
}

/// Adds `N` signals from `first` on when so many are whole, and says how many that were.
fn add_group<C: AggregateCell, const N: usize>(
    cells: &mut [C],
    whole: usize,
    (run, first): (&PaneRun<'_>, usize),
    extremes: &C::Extremes,
) -> Option<usize> {
    if whole < N {
        return None;
    }
    let cells = cells.first_chunk_mut::<N>()?;
    let values = SignalGroup::of(&run.batch.signals, first);
    C::add_group(cells, values, run.rows, extremes);
    Some(N)
}

// Unlike `f64::min` and `f64::max`, these compile to one instruction; no argument is NaN where the
// result is kept.
fn least(left: f64, right: f64) -> f64 {
    if left < right { left } else { right }
}

fn greatest(left: f64, right: f64) -> f64 {
    if left > right { left } else { right }
}

impl AggregateCell for BasicCell {
    type Extremes = ();

    fn extremes(_: &PaneRun<'_>) {}

    fn add(&mut self, value: f64, _: i64) {
        self.count += 1;
        self.sum += value;
        self.min = least(value, self.min);
        self.max = greatest(value, self.max);
    }

    fn add_group<const N: usize>(
        cells: &mut [Self; N],
        values: SignalGroup<'_, N>,
        rows: &[u32],
        (): &(),
    ) {
        let mut sum = cells.map(|cell| cell.sum);
        let mut min = cells.map(|cell| cell.min);
        let mut max = cells.map(|cell| cell.max);
        for &row in rows {
            let row = values.row(row);
            for index in 0..N {
                let value = row[index];
                sum[index] += value;
                min[index] = least(value, min[index]);
                max[index] = greatest(value, max[index]);
            }
        }
        for index in 0..N {
            let count = cells[index].count + rows.len() as u64;
            cells[index] = Self {
                count,
                sum: sum[index],
                min: min[index],
                max: max[index],
            };
        }
    }
}

impl AggregateCell for FullCell {
    type Extremes = TimeExtremes;

    fn extremes(run: &PaneRun<'_>) -> TimeExtremes {
        run.extremes()
    }

    fn add(&mut self, value: f64, at: i64) {
        if self.count == 0 {
            self.shift = value;
        }
        self.count += 1;
        let deviation = value - self.shift;
        self.sum += deviation;
        self.squares += deviation * deviation;
        self.min = least(value, self.min);
        self.max = greatest(value, self.max);
        self.note_first(value, at);
        self.note_last(value, at);
    }

    fn add_group<const N: usize>(
        cells: &mut [Self; N],
        values: SignalGroup<'_, N>,
        rows: &[u32],
        extremes: &TimeExtremes,
    ) {
        for (cell, value) in cells.iter_mut().zip(values.row(rows[0])) {
            if cell.count == 0 {
                cell.shift = *value;
            }
        }
        let shift = cells.map(|cell| cell.shift);
        let mut sum = cells.map(|cell| cell.sum);
        let mut squares = cells.map(|cell| cell.squares);
        let mut min = cells.map(|cell| cell.min);
        let mut max = cells.map(|cell| cell.max);
        for &row in rows {
            let row = values.row(row);
            for index in 0..N {
                let value = row[index];
                let deviation = value - shift[index];
                sum[index] += deviation;
                squares[index] += deviation * deviation;
                min[index] = least(value, min[index]);
                max[index] = greatest(value, max[index]);
            }
        }
        let (first, last) = (values.row(extremes.first), values.row(extremes.last));
        for index in 0..N {
            let cell = &mut cells[index];
            cell.count += rows.len() as u64;
            (cell.sum, cell.squares) = (sum[index], squares[index]);
            (cell.min, cell.max) = (min[index], max[index]);
            cell.note_first(first[index], extremes.first_at);
            cell.note_last(last[index], extremes.last_at);
        }
    }
}
