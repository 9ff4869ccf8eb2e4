//! Running aggregates of one pane, one cell per signal: the hot path.
//!
//! There are two code paths with results equal to the last bit. The fast path adds several columns
//! at once over a run of rows, assuming that every value is present and finite; the sum shows
//! afterwards whether that was so, since any NaN or infinity makes it NaN or infinite. The other
//! path adds value by value. Both add in row order to the same running sums, so it makes no
//! difference where a run is cut.

use arrow_array::{Array, Float64Array};
use serde::{Deserialize, Serialize};

use super::aggregate::SignalAggregate;
use super::run::{PaneRun, TimeExtremes};

/// Columns added at once: as many independent chains of additions as registers hold.
pub(super) const BASIC_COLUMNS: usize = 4;
pub(super) const FULL_COLUMNS: usize = 2;

/// What both code paths need of a kind of cell.
pub(super) trait AggregateCell: Copy {
    /// What is computed once per run for all columns.
    type Extremes;

    fn extremes(run: &PaneRun<'_>) -> Self::Extremes;

    /// Adds one finite value; `at` is its event time after the pane's start, microseconds.
    fn add(&mut self, value: f64, at: i64);

    /// Adds a run of some columns without nulls. Returns for each whether all its values were
    /// finite; a cell for which this is false holds garbage and must be restored.
    fn add_group<const N: usize>(
        cells: &mut [Self; N],
        columns: [&[f64]; N],
        rows: &[u32],
        extremes: &Self::Extremes,
    ) -> [bool; N];
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

/// The values that are present and finite, with their rows.
pub(super) fn present<'a>(
    column: &'a Float64Array,
    rows: &'a [u32],
) -> impl Iterator<Item = (u32, f64)> + 'a {
    let (values, nulls) = (column.values(), column.nulls());
    rows.iter().filter_map(move |&row| {
        let value = values[row as usize];
        let is_present =
            value.is_finite() && nulls.is_none_or(|nulls| nulls.is_valid(row as usize));
        is_present.then_some((row, value))
    })
}

/// The values of the columns, when there are `N` and none of them has nulls.
fn without_nulls<const N: usize>(columns: &[Float64Array]) -> Option<[&[f64]; N]> {
    let columns: &[Float64Array; N] = columns.try_into().ok()?;
    columns
        .iter()
        .all(|column| column.null_count() == 0)
        .then(|| columns.each_ref().map(|column| &column.values()[..]))
}

/// Adds a run to one cell per column, `N` columns at a time.
pub(super) fn add_columns<C: AggregateCell, const N: usize>(cells: &mut [C], run: &PaneRun<'_>) {
    let extremes = C::extremes(run);
    // Groups of `N` columns first; in a group with a null, or in the remainder, column by column.
    for (cells, columns) in cells.chunks_mut(N).zip(run.batch.signals.chunks(N)) {
        if add_group_without_nulls::<C, N>(cells, columns, run, &extremes) {
            continue;
        }
        for (cell, column) in cells.iter_mut().zip(columns) {
            let (cell, column) = (std::slice::from_mut(cell), std::slice::from_ref(column));
            if !add_group_without_nulls::<C, 1>(cell, column, run, &extremes) {
                add_value_by_value(&mut cell[0], &column[0], run);
            }
        }
    }
}

/// The fast path, when there are `N` columns and none has nulls; otherwise returns false and adds
/// nothing.
fn add_group_without_nulls<C: AggregateCell, const N: usize>(
    cells: &mut [C],
    columns: &[Float64Array],
    run: &PaneRun<'_>,
    extremes: &C::Extremes,
) -> bool {
    let (Ok(cells), Some(values)) = (<&mut [C; N]>::try_from(cells), without_nulls::<N>(columns))
    else {
        return false;
    };
    // Kept to undo columns in which a value turns out not to be finite.
    let before = *cells;
    let finite = C::add_group(cells, values, run.rows, extremes);
    for (index, finite) in finite.into_iter().enumerate() {
        if !finite {
            cells[index] = before[index];
            add_value_by_value(&mut cells[index], &columns[index], run);
        }
    }
    true
}

/// The other path: skips nulls and values that are not finite.
fn add_value_by_value<C: AggregateCell>(cell: &mut C, column: &Float64Array, run: &PaneRun<'_>) {
    for (row, value) in present(column, run.rows) {
        cell.add(value, run.offset(row));
    }
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
        columns: [&[f64]; N],
        rows: &[u32],
        (): &(),
    ) -> [bool; N] {
        let length = columns[0].len();
        let columns = columns.map(|column| &column[..length]);
        let mut sum = cells.map(|cell| cell.sum);
        let mut min = cells.map(|cell| cell.min);
        let mut max = cells.map(|cell| cell.max);
        for &row in rows {
            for index in 0..N {
                let value = columns[index][row as usize];
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
        sum.map(f64::is_finite)
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
        columns: [&[f64]; N],
        rows: &[u32],
        extremes: &TimeExtremes,
    ) -> [bool; N] {
        let length = columns[0].len();
        let columns = columns.map(|column| &column[..length]);
        for index in 0..N {
            if cells[index].count == 0 {
                cells[index].shift = columns[index][rows[0] as usize];
            }
        }
        let shift = cells.map(|cell| cell.shift);
        let mut sum = cells.map(|cell| cell.sum);
        let mut squares = cells.map(|cell| cell.squares);
        let mut min = cells.map(|cell| cell.min);
        let mut max = cells.map(|cell| cell.max);
        for &row in rows {
            for index in 0..N {
                let value = columns[index][row as usize];
                let deviation = value - shift[index];
                sum[index] += deviation;
                squares[index] += deviation * deviation;
                min[index] = least(value, min[index]);
                max[index] = greatest(value, max[index]);
            }
        }
        for index in 0..N {
            let cell = &mut cells[index];
            cell.count += rows.len() as u64;
            (cell.sum, cell.squares) = (sum[index], squares[index]);
            (cell.min, cell.max) = (min[index], max[index]);
            cell.note_first(columns[index][extremes.first as usize], extremes.first_at);
            cell.note_last(columns[index][extremes.last as usize], extremes.last_at);
        }
        squares.map(f64::is_finite)
    }
}
