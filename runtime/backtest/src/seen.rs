//! What the rows of the period had: which datasets, and which of the signals that rules watch.

use std::collections::{BTreeMap, BTreeSet};

use theatre_actors::outputs::Outputs;
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetIndex;

/// Signals by dataset.
pub(crate) type Watched = BTreeMap<DatasetIndex, BTreeSet<usize>>;

/// What was met.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Rows by dataset.
    pub rows: BTreeMap<DatasetIndex, u64>,
    /// Watched signals that had a value, by dataset.
    pub signals: BTreeMap<DatasetIndex, BTreeSet<usize>>,
    /// Records that are missing by their numbers.
    pub missing: u64,
}

impl Seen {
    pub(crate) fn note(&mut self, batch: &Batch, rows: &[u32], watched: &Watched) {
        *self.rows.entry(batch.dataset_index).or_default() += rows.len() as u64;
        let Some(watched) = watched.get(&batch.dataset_index) else {
            return;
        };
        let seen = self.signals.entry(batch.dataset_index).or_default();
        if seen.len() == watched.len() {
            return;
        }
        for signal in watched {
            let mut values = rows
                .iter()
                .map(|row| batch.signals.finite(*row as usize, *signal));
            if !seen.contains(signal) && values.any(|value| value.is_some()) {
                seen.insert(*signal);
            }
        }
    }

    /// Counts records that are missing.
    pub(crate) fn missing(&mut self, outputs: &Outputs) {
        let by_topic = outputs.tally.by_topic.iter();
        self.missing += by_topic.map(|tally| tally.missing).sum::<u64>();
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (dataset, rows) in other.rows {
            *self.rows.entry(dataset).or_default() += rows;
        }
        for (dataset, signals) in other.signals {
            self.signals.entry(dataset).or_default().extend(signals);
        }
        self.missing += other.missing;
    }
}
