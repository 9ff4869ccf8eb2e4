//! A batch's role columns by their types, found once per message instead of once per row.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, Int32Array, Int64Array, StringArray};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;

#[derive(Clone, Copy)]
enum Whole<'a> {
    Long(&'a Int64Array),
    Int(&'a Int32Array),
}

impl<'a> Whole<'a> {
    fn of(batch: &'a Batch, column: Option<usize>) -> Option<Self> {
        let array = &batch.columns[column?];
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

/// What judging and routing a row within a processor needs of its batch.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// Event times, microseconds UTC.
    pub(crate) times: &'a [i64],
    /// Append times, microseconds UTC.
    pub(crate) append_times: &'a [i64],
    /// True for telemetry, which alone moves the robot's clock.
    pub(crate) telemetry: bool,
    sequence: Option<Whole<'a>>,
    boot: Option<Whole<'a>>,
    procedure: Option<&'a StringArray>,
}

impl<'a> Columns<'a> {
    /// Of a batch.
    pub(crate) fn of(batch: &'a Batch) -> Self {
        let roles = batch.dataset.roles;
        Self {
            times: batch.event_times(),
            append_times: &batch.append_times,
            telemetry: batch.dataset.kind == DatasetKind::Telemetry,
            sequence: Whole::of(batch, roles.sequence),
            boot: Whole::of(batch, roles.boot_id),
            procedure: roles
                .procedure_id
                .and_then(|column| batch.columns[column].as_string_opt::<i32>()),
        }
    }

    /// (boot, sequence) of a row; `None` when it has no sequence. Without a boot all are of boot 0.
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

    /// The procedure a row belongs to.
    #[inline]
    pub(crate) fn procedure(&self, row: usize) -> Option<&'a str> {
        let ids = self.procedure?;
        ids.is_valid(row).then(|| ids.value(row))
    }
}
