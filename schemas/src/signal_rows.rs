//! The signals of a batch, row by row: what windows, rules and indicators read.
//!
//! A record brings its signals together, and whatever looks at a row looks at several of them. So
//! they lie side by side: thirteen signals are two lines of a processor's cache, where columns
//! would be thirteen. Columns are made of them only when they are asked for (the lake, a view).

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float64Array};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};

/// So many bytes of rows are made of columns at a time: they stay in a processor's first-level
/// cache while each of their signals is set.
const BYTES_AT_ONCE: usize = 16 * 1024;

/// Rows by signals of 64-bit floats; booleans are 0 and 1. A missing value is NaN here, and named
/// beside them, since a record may say NaN, too.
#[derive(Debug, Clone, Default)]
pub struct SignalRows {
    width: usize,
    rows: usize,
    values: Vec<f64>,
    /// By signal: whether its value is missing, by row; rows behind the end have one.
    missing: Vec<Vec<bool>>,
    /// By signal: every value is there and is finite, so that rows need not be checked one by one.
    whole: Vec<bool>,
    /// All signals are whole.
    are_whole: bool,
    /// What [`add_products_with_zero`] made of all rows so far, if `is_summed`.
    products: Vec<f64>,
    /// All rows came at once each, and none was taken back.
    is_summed: bool,
}

impl SignalRows {
    /// No rows yet, of so many signals.
    pub(crate) fn new(width: usize, capacity: usize) -> Self {
        Self {
            width,
            rows: 0,
            values: Vec::with_capacity(width * capacity),
            missing: vec![Vec::new(); width],
            whole: vec![true; width],
            are_whole: true,
            products: vec![0.0; width],
            is_summed: true,
        }
    }

    /// The rows of columns that exist, one for each signal; a signal without one is 0
    /// in every row.
    pub(crate) fn of_columns(columns: &[Option<Float64Array>], rows: usize) -> Self {
        let width = columns.len();
        let mut signals = Self::new(width, rows);
        signals.rows = rows;
        let at_once = (BYTES_AT_ONCE / (size_of::<f64>() * width.max(1))).max(1);
        let mut products = vec![0.0; width];
        for from in (0..rows).step_by(at_once) {
            let to = rows.min(from + at_once);
            signals.values.resize(to * width, 0.0);
            let cells = &mut signals.values[from * width..];
            for (signal, column) in columns.iter().enumerate() {
                if let Some(column) = column {
                    fill(cells, width, signal, &column.slice(from, to - from));
                }
            }
            add_products_with_zero(&mut products, cells);
        }
        for (signal, column) in columns.iter().enumerate() {
            signals.note_missing(signal, column.as_ref());
        }
        signals.note_whole(&products);
        signals
    }

    /// Begins a row, all of whose values are NaN until they are set.
    #[inline]
    pub(crate) fn begin_row(&mut self) {
        self.is_summed = false;
        self.rows += 1;
        self.values.resize(self.rows * self.width, f64::NAN);
    }

    /// Adds a row of which every signal is there, from the bytes of doubles as Avro has them.
    #[inline]
    pub(crate) fn push_row(&mut self, bytes: &[u8]) {
        let (doubles, _) = bytes.as_chunks::<8>();
        debug_assert_eq!(doubles.len(), self.width, "as many as a row has");
        self.rows += 1;
        let doubles = doubles.iter().map(|bytes| f64::from_le_bytes(*bytes));
        self.values.extend(doubles.clone());
        for (product, value) in self.products.iter_mut().zip(doubles) {
            *product += value * 0.0;
        }
    }

    /// Takes back what was begun after so many rows.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.is_summed &= self.rows <= rows;
        self.rows = self.rows.min(rows);
        self.values.truncate(self.rows * self.width);
        for missing in &mut self.missing {
            missing.truncate(rows);
        }
    }

    /// Sets a signal of the row that was begun last.
    #[inline]
    pub(crate) fn set(&mut self, signal: usize, value: f64) {
        let start = self.values.len() - self.width;
        self.values[start + signal] = value;
    }

    /// Sets consecutive signals of the row that was begun last, from the bytes of doubles as Avro
    /// has them.
    #[inline]
    pub(crate) fn set_run(&mut self, first: usize, bytes: &[u8]) {
        let start = self.values.len() - self.width + first;
        let (doubles, _) = bytes.as_chunks::<8>();
        let run = &mut self.values[start..start + doubles.len()];
        for (value, bytes) in run.iter_mut().zip(doubles) {
            *value = f64::from_le_bytes(*bytes);
        }
    }

    /// Notes that a signal of the row that was begun last has no value.
    pub(crate) fn set_missing(&mut self, signal: usize) {
        let missing = &mut self.missing[signal];
        missing.resize(self.rows - 1, false);
        missing.push(true);
    }

    /// Sets a signal of all rows from its column.
    pub(crate) fn fill(&mut self, signal: usize, column: &Float64Array) {
        self.is_summed = false;
        fill(&mut self.values, self.width, signal, column);
        self.note_missing(signal, Some(column));
    }

    /// Notes in which rows a signal has no value.
    fn note_missing(&mut self, signal: usize, column: Option<&Float64Array>) {
        let nulls = column.and_then(Array::nulls);
        if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
            let is_missing = nulls.iter().map(|is_there| !is_there);
            self.missing[signal] = is_missing.take(self.rows).collect();
        }
    }

    /// To be called once all rows are there.
    pub(crate) fn finish(&mut self) {
        let mut products = std::mem::take(&mut self.products);
        if !self.is_summed {
            products = vec![0.0; self.width];
            add_products_with_zero(&mut products, &self.values);
        }
        self.note_whole(&products);
    }

    /// Notes which signals are whole, by what [`add_products_with_zero`] made of their values.
    fn note_whole(&mut self, products: &[f64]) {
        self.whole = products.iter().map(|sum| *sum == 0.0).collect();
        self.are_whole = !self.whole.contains(&false);
    }

    /// Number of signals.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values of a row; a missing one is NaN.
    #[inline]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..][..self.width]
    }

    /// A value; NaN when it is missing.
    #[inline]
    pub fn value(&self, row: usize, signal: usize) -> f64 {
        self.row(row)[signal]
    }

    /// A value that is there and finite.
    #[inline]
    pub fn finite(&self, row: usize, signal: usize) -> Option<f64> {
        Some(self.value(row, signal)).filter(|value| value.is_finite())
    }

    /// Whether every signal has a finite value in every row.
    #[inline]
    pub fn are_whole(&self) -> bool {
        self.are_whole
    }

    /// Whether a signal has a finite value in every row.
    pub fn is_whole(&self, signal: usize) -> bool {
        self.whole[signal]
    }

    /// Whether a record brought no value, rather than one that is no number.
    pub fn is_missing(&self, row: usize, signal: usize) -> bool {
        self.missing[signal].get(row) == Some(&true)
    }

    /// The columns of all signals, in their order. Rows are read once for all of them.
    pub(crate) fn columns(&self) -> Vec<ArrayRef> {
        let mut columns: Vec<Vec<f64>> = (0..self.width)
            .map(|_| Vec::with_capacity(self.rows))
            .collect();
        for row in self.values.chunks_exact(self.width.max(1)) {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(*value);
            }
        }
        for (column, missing) in columns.iter_mut().zip(&self.missing) {
            // What a null has in its place is not seen; a file of zeros is smaller.
            for (value, _) in column.iter_mut().zip(missing).filter(|(_, is)| **is) {
                *value = 0.0;
            }
        }
        let column = |(values, missing): (Vec<f64>, &Vec<bool>)| {
            let nulls = missing.contains(&true).then(|| {
                let is_there = |row| missing.get(row) != Some(&true);
                NullBuffer::from(BooleanBuffer::collect_bool(self.rows, is_there))
            });
            Arc::new(Float64Array::new(ScalarBuffer::from(values), nulls)) as ArrayRef
        };
        columns.into_iter().zip(&self.missing).map(column).collect()
    }
}

/// Sets a signal in consecutive rows of so many signals.
fn fill(rows: &mut [f64], width: usize, signal: usize, column: &Float64Array) {
    let cells = rows.iter_mut().skip(signal).step_by(width.max(1));
    let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) else {
        for (cell, value) in cells.zip(column.values()) {
            *cell = *value;
        }
        return;
    };
    for ((cell, value), is_there) in cells.zip(column.values()).zip(nulls) {
        *cell = if is_there { *value } else { f64::NAN };
    }
}

/// Adds every value times 0 to the sum of its signal, which is 0 for a finite number and NaN for
/// any other: without a branch, so that the compiler takes several signals at once.
fn add_products_with_zero(products: &mut [f64], rows: &[f64]) {
    for row in rows.chunks_exact(products.len().max(1)) {
        for (product, value) in products.iter_mut().zip(row) {
            *product += value * 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Option<f64>> {
        prop_oneof![
            6 => (-1e3..1e3).prop_map(Some),
            1 => Just(None),
            1 => Just(Some(f64::NAN)),
            1 => Just(Some(f64::INFINITY)),
        ]
    }

    proptest! {
        #[test]
        fn rows_of_columns_give_the_same_columns(
            rows in prop::collection::vec(prop::array::uniform3(value()), 0..150)
        ) {
            let column = |signal: usize| -> Float64Array {
                rows.iter().map(|row| row[signal]).collect()
            };
            let columns = [column(0), column(1), column(2)];
            let signals = SignalRows::of_columns(&columns.clone().map(Some), rows.len());
            let mut set = SignalRows::new(3, 0);
            for row in &rows {
                set.begin_row();
                for (signal, value) in row.iter().enumerate() {
                    match value {
                        Some(value) if signal == 1 => set.set_run(1, &value.to_le_bytes()),
                        Some(value) => set.set(signal, *value),
                        None => set.set_missing(signal),
                    }
                }
            }
            set.begin_row();
            set.set_missing(1);
            set.truncate(rows.len());
            set.finish();
            for made in [&signals, &set] {
                for (signal, (column, back)) in columns.iter().zip(made.columns()).enumerate() {
                    let back = back.as_primitive::<Float64Type>();
                    for (row, values) in rows.iter().enumerate() {
                        prop_assert_eq!(column.is_null(row), back.is_null(row));
                        prop_assert_eq!(column.is_null(row), made.is_missing(row, signal));
                        prop_assert_eq!(
                            made.finite(row, signal),
                            values[signal].filter(|value| value.is_finite())
                        );
                        if column.is_valid(row) {
                            prop_assert_eq!(column.value(row).to_bits(), back.value(row).to_bits());
                        }
                    }
                    let is_whole = rows.iter().all(|row| row[signal].is_some_and(f64::is_finite));
                    prop_assert_eq!(made.is_whole(signal), is_whole);
                }
                prop_assert_eq!(made.are_whole(), (0..3).all(|signal| made.is_whole(signal)));
            }
            let [first, _, last] = columns;
            let some = SignalRows::of_columns(&[Some(first), None, Some(last)], rows.len());
            for row in 0..rows.len() {
                prop_assert_eq!(some.finite(row, 1), Some(0.0));
                prop_assert_eq!([0, 2].map(|at| some.finite(row, at)), [0, 2].map(|at| signals.finite(row, at)));
                prop_assert_eq!([0, 2].map(|at| some.is_missing(row, at)), [0, 2].map(|at| signals.is_missing(row, at)));
            }
        }

        #[test]
        fn rows_added_at_once_are_those_set_one_by_one(
            rows in prop::collection::vec(prop::array::uniform3(value()), 0..150),
            taken_back in 0..300_usize,
        ) {
            let bytes = |row: [f64; 3]| row.map(f64::to_le_bytes).concat();
            let rows: Vec<[f64; 3]> = rows.into_iter().map(|row| row.map(|value| value.unwrap_or(0.5))).collect();
            let (mut at_once, mut set) = (SignalRows::new(3, 0), SignalRows::new(3, 0));
            for (at, row) in rows.iter().enumerate() {
                if at == taken_back {
                    at_once.push_row(&bytes([f64::NAN; 3]));
                    at_once.truncate(at);
                }
                at_once.push_row(&bytes(*row));
                set.begin_row();
                set.set_run(0, &bytes(*row));
            }
            at_once.finish();
            set.finish();
            let bits = |rows: &SignalRows| -> Vec<u64> { rows.values().iter().map(|value| value.to_bits()).collect() };
            prop_assert_eq!(bits(&at_once), bits(&set));
            prop_assert_eq!(&at_once.whole, &set.whole);
            for signal in 0..3 {
                let is_whole = rows.iter().all(|row| row[signal].is_finite());
                prop_assert_eq!(at_once.is_whole(signal), is_whole);
            }
        }
    }
}
