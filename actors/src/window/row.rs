//! A window as it is told: one revision, all signals; and how a reader merges revisions.

use serde::{Deserialize, Serialize};

/// Aggregates of one signal in one window. With no values `min` is +inf, `max` -inf, the rest 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalAggregate {
    /// Values that were there and finite.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Their mean.
    pub mean: f64,
    /// Sum of squared deviations from the mean; 0 where the configuration does not ask for it.
    pub m2: f64,
    /// Lowest.
    pub min: f64,
    /// Highest.
    pub max: f64,
    /// Value of the earliest event time.
    pub first: f64,
    /// That event time, microseconds UTC; `i64::MAX` where not kept.
    pub first_time: i64,
    /// Value of the latest event time.
    pub last: f64,
    /// That event time; `i64::MIN` where not kept.
    pub last_time: i64,
}

impl SignalAggregate {
    /// Adds another stretch's values; of equal event times mine are taken to be heard first.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other.clone();
            return;
        }
        let (mine, theirs) = (self.count as f64, other.count as f64);
        let delta = other.mean - self.mean;
        let total = mine + theirs;
        self.m2 += other.m2 + delta * delta * mine * theirs / total;
        self.mean += delta * theirs / total;
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.first_time < self.first_time {
            (self.first, self.first_time) = (other.first, other.first_time);
        }
        if other.last_time >= self.last_time {
            (self.last, self.last_time) = (other.last, other.last_time);
        }
    }

    /// Population variance; `None` without values.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 0).then(|| self.m2 / self.count as f64)
    }
}

/// One revision of one window of one robot and dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowRow {
    /// Name of the window.
    pub window: String,
    /// Length, microseconds.
    pub size_us: i64,
    /// Start, microseconds UTC.
    pub start_us: i64,
    /// 0 when the window closed; later ones hold late rows only.
    pub revision: u32,
    /// Rows in it.
    pub rows: u64,
    /// One per signal of the dataset, in order.
    pub signals: Vec<SignalAggregate>,
}

impl WindowRow {
    /// Versioned bytes.
    pub fn encode(&self) -> Vec<u8> {
        crate::state::encode(self)
    }

    /// Reads versioned bytes.
    ///
    /// # Errors
    /// When they are of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, crate::state::StateError> {
        crate::state::decode(bytes)
    }
}

/// What a reader sees of a window: its revisions merged, in order; `None` without any.
pub fn merge_revisions(rows: &[WindowRow]) -> Option<WindowRow> {
    let mut ordered: Vec<&WindowRow> = rows.iter().collect();
    ordered.sort_by_key(|row| row.revision);
    let (first, later) = ordered.split_first()?;
    let mut merged = (*first).clone();
    for row in later {
        merged.rows += row.rows;
        merged.revision = row.revision;
        for (mine, theirs) in merged.signals.iter_mut().zip(&row.signals) {
            mine.merge(theirs);
        }
    }
    Some(merged)
}
