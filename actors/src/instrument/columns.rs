//! Which columns of a telemetry dataset say what of the instrument.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::{Array, StringArray};
use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::Dataset;

/// Which columns of a telemetry dataset say what of the instrument on the robot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentSpec {
    /// Name of the telemetry dataset.
    pub dataset: String,
    /// Column of the serial number.
    pub serial: String,
    /// Column of its kind.
    pub kind: Option<String>,
    /// Signal of the lives that it has used.
    pub lives_used: Option<String>,
    /// Signal that is not 0 while it is active.
    pub active: Option<String>,
    /// Lives of an instrument by its kind; `*` for all others.
    #[serde(default)]
    pub lives: BTreeMap<String, u32>,
}

/// An [`InstrumentSpec`] resolved to a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct InstrumentColumns {
    serial: usize,
    kind: Option<usize>,
    lives_used: Option<usize>,
    active: Option<usize>,
    lives: BTreeMap<String, u32>,
}

impl InstrumentColumns {
    /// The signals that are read, by their index in the dataset.
    pub(crate) fn signals(&self) -> impl Iterator<Item = usize> {
        self.lives_used.into_iter().chain(self.active)
    }

    /// The text columns that are read, by their index in the dataset.
    pub(crate) fn texts(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.serial).chain(self.kind)
    }

    /// Finds the columns in a dataset.
    ///
    /// # Errors
    /// Names a signal or column that the dataset does not have.
    pub fn resolve(spec: &InstrumentSpec, dataset: &Dataset) -> Result<Self, String> {
        let missing = |name: &str| {
            format!(
                "instruments of dataset '{}': there is no '{name}'",
                dataset.name
            )
        };
        let column = |name: &str| dataset.column(name).ok_or_else(|| missing(name));
        let signal = |name: &Option<String>| -> Result<Option<usize>, String> {
            let found = name.as_ref().map(|name| {
                let signal = dataset.signal(name);
                signal.ok_or_else(|| missing(name))
            });
            found.transpose()
        };
        Ok(Self {
            serial: column(&spec.serial)?,
            kind: spec.kind.as_deref().map(column).transpose()?,
            lives_used: signal(&spec.lives_used)?,
            active: signal(&spec.active)?,
            lives: spec.lives.clone(),
        })
    }

    /// The lives of an instrument of a kind; `None` where they are not known.
    pub(super) fn lives(&self, kind: Option<&str>) -> Option<i64> {
        let named = kind.and_then(|kind| self.lives.get(kind));
        named
            .or_else(|| self.lives.get("*"))
            .map(|of| i64::from(*of))
    }

    /// The columns of a batch.
    pub(super) fn read<'a>(&self, batch: &'a Batch) -> Reading<'a> {
        let texts = |column: usize| batch.column(column).as_string_opt::<i32>();
        Reading {
            batch,
            serial: texts(self.serial),
            kind: self.kind.and_then(texts),
            lives_used: self.lives_used,
            active: self.active,
        }
    }
}

/// The columns of a batch, found once.
pub(super) struct Reading<'a> {
    batch: &'a Batch,
    serial: Option<&'a StringArray>,
    kind: Option<&'a StringArray>,
    lives_used: Option<usize>,
    active: Option<usize>,
}

impl<'a> Reading<'a> {
    /// The serial number in a row; `None` where no instrument is named.
    #[inline]
    pub(super) fn serial(&self, row: usize) -> Option<&'a str> {
        text(self.serial, row).filter(|serial| !serial.is_empty())
    }

    /// The kind of instrument in a row.
    pub(super) fn kind(&self, row: usize) -> Option<&'a str> {
        text(self.kind, row)
    }

    /// The lives used by a row.
    pub(super) fn lives(&self, row: usize) -> Option<i64> {
        let value = self.batch.signals.value(row, self.lives_used?);
        value.is_finite().then_some(value as i64)
    }

    /// Whether the instrument is active in a row.
    pub(super) fn is_active(&self, row: usize) -> bool {
        self.active.is_some_and(|signal| {
            let value = self.batch.signals.value(row, signal);
            value.is_finite() && value != 0.0
        })
    }
}

#[inline]
fn text(column: Option<&StringArray>, row: usize) -> Option<&str> {
    let column = column?;
    column.is_valid(row).then(|| column.value(row))
}
