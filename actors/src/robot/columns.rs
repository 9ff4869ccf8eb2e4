//! A batch's role columns by their types, found once per message instead of once per row.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, Int32Array, Int64Array, StringArray};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;

/// A column of whole numbers in either width.
#[derive(Clone, Copy)]
enum IntegerColumn<'a> {
    Long(&'a Int64Array),
    Int(&'a Int32Array),
}

impl<'a> IntegerColumn<'a> {
    fn of(batch: &'a Batch, column: Option<usize>) -> Option<Self> {
        let array = batch.column(column?);
        let long = array.as_primitive_opt::<Int64Type>().map(Self::Long);
        long.or_else(|| array.as_primitive_opt::<Int32Type>().map(Self::Int))
    }

    #[inline]
    fn get(&self, row: usize) -> Option<i64> {
        match self {
            Self::Long(values) => values.is_valid(row).then(|| values.value(row)),
            Self::Int(values) => values.is_valid(row).then(|| i64::from(values.value(row))),
        }
    }
}

/// The columns of a batch that a processor needs to judge a row and to find its procedure.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// Event times, microseconds UTC.
    pub(crate) times: &'a [i64],
    /// Append times, microseconds UTC.
    pub(crate) append_times: &'a [i64],
    /// True for telemetry, which alone moves the robot's clock.
    pub(crate) telemetry: bool,
    /// True for records by which the robot is heard.
    pub(crate) is_of_robot: bool,
    sequence: Option<IntegerColumn<'a>>,
    boot: Option<IntegerColumn<'a>>,
    procedure: Option<&'a StringArray>,
}

impl<'a> Columns<'a> {
    /// Finds the columns of a batch.
    pub(crate) fn of(batch: &'a Batch) -> Self {
        let roles = batch.dataset.roles;
        Self {
            times: batch.event_times(),
            append_times: &batch.append_times,
            telemetry: batch.dataset.kind == DatasetKind::Telemetry,
            is_of_robot: batch.dataset.kind.is_of_robot(),
            sequence: IntegerColumn::of(batch, roles.sequence),
            boot: IntegerColumn::of(batch, roles.boot_id),
            procedure: roles
                .procedure_id
                .and_then(|column| batch.column(column).as_string_opt::<i32>()),
        }
    }

    /// (boot, sequence) of a row; `None` when the row has no sequence number. Rows without a boot
    /// number count as boot 0.
    #[inline]
    pub(crate) fn sequence(&self, row: usize) -> Option<(i64, i64)> {
        let sequence = self.sequence.as_ref()?.get(row)?;
        Some((
            self.boot
                .as_ref()
                .and_then(|boot| boot.get(row))
                .unwrap_or(0),
            sequence,
        ))
    }

    /// The id of the procedure a row belongs to, if it names one.
    #[inline]
    pub(crate) fn procedure(&self, row: usize) -> Option<&'a str> {
        let ids = self.procedure?;
        ids.is_valid(row).then(|| ids.value(row))
    }
}
