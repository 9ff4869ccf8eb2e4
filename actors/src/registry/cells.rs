//! The cells of a row by the names of their columns, for records that are rare.

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;

/// A row of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a> {
    batch: &'a Batch,
    row: usize,
}

/// Orders reports of one moment: by what their sender counted, then by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Rank {
    boot: i64,
    sequence: i64,
    event_id: String,
}

#[cfg(test)]
impl Rank {
    pub(crate) fn numbered(sequence: i64) -> Self {
        Self {
            sequence,
            ..Self::default()
        }
    }
}

impl<'a> Cells<'a> {
    pub(crate) fn of(batch: &'a Batch, row: usize) -> Self {
        Self { batch, row }
    }

    pub(crate) fn time(&self) -> i64 {
        self.batch.event_times()[self.row]
    }

    pub(crate) fn rank(&self) -> Rank {
        Rank {
            boot: self.batch.boot_id(self.row).unwrap_or(0),
            sequence: self.batch.sequence(self.row).unwrap_or(0),
            event_id: self.owned("event_id").unwrap_or_default(),
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.batch.dataset.column(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.batch.text(self.column(name)?, self.row)
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// A text of an enumeration, `unknown` where it is missing.
    pub(crate) fn symbol(&self, name: &str) -> String {
        self.text(name).unwrap_or("unknown").to_owned()
    }

    pub(crate) fn long(&self, name: &str) -> Option<i64> {
        self.batch.int(self.column(name)?, self.row)
    }

    pub(crate) fn int(&self, name: &str) -> Option<i32> {
        self.long(name).and_then(|value| i32::try_from(value).ok())
    }

    pub(crate) fn date(&self, name: &str) -> Option<i32> {
        self.batch.date(self.column(name)?, self.row)
    }

    pub(crate) fn decimal(&self, name: &str) -> Option<i64> {
        self.batch.decimal(self.column(name)?, self.row)
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        let number = self.batch.number(self.column(name)?, self.row);
        number.filter(|number| number.is_finite())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.number(name).is_some_and(|value| value != 0.0)
    }

    /// The elements of an array that are there; `read` gets the prefix of an element's columns.
    pub(crate) fn elements<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        (0..)
            .map_while(|index| read(&format!("{name}[{index}]")))
            .collect()
    }
}
