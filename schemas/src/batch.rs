//! Decoded records of a dataset: signals row by row, everything else as Arrow arrays, plus the
//! offset and append time of each row in the log.

use std::sync::{Arc, OnceLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, Float64Array, StringArray};

use crate::dataset::{Dataset, DatasetIndex};
use crate::signal_rows::SignalRows;

/// Rows of one dataset from one topic and partition, in the log's order.
///
/// Immutable and shared: processors, the lake writer and the exporter hold the same batch and name
/// rows by index.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The dataset all rows belong to.
    pub dataset: Arc<Dataset>,
    /// Its index in the process's [`crate::dataset::Datasets`].
    pub dataset_index: DatasetIndex,
    /// The signals of [`Dataset::signals`], row by row.
    pub signals: SignalRows,
    /// Offset of each row in the log, ascending.
    pub offsets: Vec<u64>,
    /// Append time of each row in the log, microseconds UTC.
    pub append_times: Vec<i64>,
    /// One array per [`Dataset::columns`] entry; `None` for a signal that is in `signals` only.
    columns: Vec<Option<ArrayRef>>,
    /// The ids of what rows are about; of what is no robot, with the prefix of its kind.
    keys: Option<StringArray>,
    /// The columns of all signals, once one of them was asked for.
    signal_columns: OnceLock<Vec<ArrayRef>>,
}

impl Batch {
    /// Builds a batch from columns, one per [`Dataset::columns`] entry.
    pub fn new(
        dataset: Arc<Dataset>,
        dataset_index: DatasetIndex,
        columns: Vec<ArrayRef>,
        offsets: Vec<u64>,
        append_times: Vec<i64>,
    ) -> Self {
        let columns = columns.into_iter().map(Some).collect();
        Self::of_some(dataset, dataset_index, columns, offsets, append_times)
    }

    /// The same without some signals, for a reader that asks for the others only: such a signal has
    /// `None` for its column, and is 0 in every row.
    ///
    /// Every column that is no signal must be there.
    pub fn of_some(
        dataset: Arc<Dataset>,
        dataset_index: DatasetIndex,
        columns: Vec<Option<ArrayRef>>,
        offsets: Vec<u64>,
        append_times: Vec<i64>,
    ) -> Self {
        let signals: Vec<Option<Float64Array>> = dataset
            .signals
            .iter()
            .map(|signal| columns[signal.column].as_ref().map(as_float64))
            .collect();
        let signals = SignalRows::of_columns(&signals, offsets.len());
        Self::of_rows(
            dataset,
            dataset_index,
            signals,
            columns,
            offsets,
            append_times,
        )
    }

    /// Builds a batch from signals by rows, and the columns of what is not in them as it is.
    pub(crate) fn of_rows(
        dataset: Arc<Dataset>,
        dataset_index: DatasetIndex,
        signals: SignalRows,
        columns: Vec<Option<ArrayRef>>,
        offsets: Vec<u64>,
        append_times: Vec<i64>,
    ) -> Self {
        debug_assert_eq!(columns.len(), dataset.columns.len());
        debug_assert_eq!(offsets.len(), append_times.len());
        let ids = columns[dataset.roles.robot_id].as_ref();
        let ids = ids.and_then(|ids| ids.as_string_opt::<i32>());
        let keys = ids.map(|ids| match dataset.kind.entity() {
            Some(entity) => {
                let key = |id: Option<&str>| id.map(|id| format!("{}{id}", entity.prefix()));
                ids.iter().map(key).collect()
            }
            None => ids.clone(),
        });
        Self {
            dataset,
            dataset_index,
            signals,
            offsets,
            append_times,
            columns,
            keys,
            signal_columns: OnceLock::new(),
        }
    }

    /// The array of a [`Dataset::columns`] entry, `len()` long.
    pub fn column(&self, index: usize) -> &ArrayRef {
        if let Some(column) = &self.columns[index] {
            return column;
        }
        let columns = self.signal_columns.get_or_init(|| self.signals.columns());
        let signal = self.dataset.signal_of(index);
        &columns[signal.unwrap_or_else(|| unreachable!("what has no column is a signal"))]
    }

    /// All arrays, in the order of [`Dataset::columns`].
    pub fn columns(&self) -> impl Iterator<Item = &ArrayRef> {
        (0..self.columns.len()).map(|index| self.column(index))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// True when there are no rows.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The robot of a row, or the key of what else it is about, see `EntityKind::prefix`: the name
    /// of the actor that it is for. Never null, checked at decoding.
    pub fn robot_id(&self, row: usize) -> &str {
        match &self.keys {
            Some(keys) => keys.value(row),
            None => self.entity_id(row),
        }
    }

    /// The id of what a row is about, as the record has it.
    pub fn entity_id(&self, row: usize) -> &str {
        self.column(self.dataset.roles.robot_id)
            .as_string::<i32>()
            .value(row)
    }

    /// Event times of all rows, microseconds UTC; never null, checked at decoding.
    pub fn event_times(&self) -> &[i64] {
        self.column(self.dataset.roles.event_time)
            .as_primitive::<TimestampMicrosecondType>()
            .values()
    }

    /// The procedure a row belongs to, if it names one.
    pub fn procedure_id(&self, row: usize) -> Option<&str> {
        self.text(self.dataset.roles.procedure_id?, row)
    }

    /// The row's sequence number, if it has one.
    pub fn sequence(&self, row: usize) -> Option<i64> {
        self.int(self.dataset.roles.sequence?, row)
    }

    /// The row's boot number, if it has one.
    pub fn boot_id(&self, row: usize) -> Option<i64> {
        self.int(self.dataset.roles.boot_id?, row)
    }

    /// A text cell by column index.
    pub fn text(&self, column: usize, row: usize) -> Option<&str> {
        let array = self.column(column).as_string_opt::<i32>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// A 64-bit integer or timestamp cell by column index.
    pub fn int(&self, column: usize, row: usize) -> Option<i64> {
        let array = self.column(column);
        if !array.is_valid(row) {
            return None;
        }
        if let Some(values) = array.as_primitive_opt::<Int64Type>() {
            return Some(values.value(row));
        }
        if let Some(values) = array.as_primitive_opt::<TimestampMicrosecondType>() {
            return Some(values.value(row));
        }
        array
            .as_primitive_opt::<arrow_array::types::Int32Type>()
            .map(|values| i64::from(values.value(row)))
    }

    /// A decimal cell by column index, in units of its last digit.
    pub fn decimal(&self, column: usize, row: usize) -> Option<i64> {
        let array = self.column(column).as_primitive_opt::<Decimal128Type>()?;
        let units = array.is_valid(row).then(|| array.value(row))?;
        i64::try_from(units).ok()
    }

    /// A date cell by column index, days since 1970-01-01.
    pub fn date(&self, column: usize, row: usize) -> Option<i32> {
        let array = self.column(column).as_primitive_opt::<Date32Type>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// A numeric or boolean cell by column index, as a float.
    pub fn number(&self, column: usize, row: usize) -> Option<f64> {
        let array = as_float64(&self.column(column).slice(row, 1));
        array.is_valid(0).then(|| array.value(0))
    }
}

/// A numeric or boolean column as floats; shares the buffers when it already is one.
pub(crate) fn as_float64(array: &ArrayRef) -> Float64Array {
    if let Some(values) = array.as_primitive_opt::<Float64Type>() {
        return values.clone();
    }
    if let Some(values) = array.as_boolean_opt() {
        return values.iter().map(|value| value.map(f64::from)).collect();
    }
    macro_rules! widen {
        ($($arrow:ty),*) => {$(
            if let Some(values) = array.as_primitive_opt::<$arrow>() {
                return values.unary::<_, Float64Type>(|value| value as f64);
            }
        )*};
    }
    widen!(
        Int64Type,
        arrow_array::types::Int32Type,
        arrow_array::types::Float32Type
    );
    Float64Array::new_null(array.len())
}
