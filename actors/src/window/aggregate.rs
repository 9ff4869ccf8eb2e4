//! Aggregates of one signal as readers get them, mergeable in any grouping.

use serde::{Deserialize, Serialize};

use super::sketch::Sketch;

/// Aggregates of one signal over the rows of a window or of one of its revisions. Values that are
/// null, NaN or infinite are not there: they are not counted. In the signal's own unit; times in
/// microseconds UTC.
///
/// What is not known (a set without it, or no values) is NaN; in JSON, `null`. Sums of astronomic
/// values may overflow to infinity, as floats do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignalAggregate {
    /// Number of values.
    pub count: u64,
    /// Their sum; 0 without values.
    #[serde(with = "nan_as_null")]
    pub sum: f64,
    /// Their mean.
    #[serde(with = "nan_as_null")]
    pub mean: f64,
    /// Sum of squared deviations from the mean; see [`Self::variance`]. Not in
    /// [`super::AggregateSet::Basic`].
    #[serde(with = "nan_as_null")]
    pub m2: f64,
    /// The least value.
    #[serde(with = "nan_as_null")]
    pub min: f64,
    /// The greatest value.
    #[serde(with = "nan_as_null")]
    pub max: f64,
    /// The value with the least event time, of equals the one that came first. Not in `Basic`.
    #[serde(with = "nan_as_null")]
    pub first: f64,
    /// Its event time; 0 when `first` is not known.
    pub first_time: i64,
    /// The value with the greatest event time, of equals the one that came last. Not in `Basic`.
    #[serde(with = "nan_as_null")]
    pub last: f64,
    /// Its event time; 0 when `last` is not known.
    pub last_time: i64,
    /// Quantiles, where the set asks for them.
    #[serde(default)]
    pub sketch: Option<Sketch>,
}

impl SignalAggregate {
    /// The aggregates of no values.
    pub fn empty() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            mean: f64::NAN,
            m2: f64::NAN,
            min: f64::NAN,
            max: f64::NAN,
            first: f64::NAN,
            first_time: 0,
            last: f64::NAN,
            last_time: 0,
            sketch: None,
        }
    }

    /// Sample variance (divided by count - 1); `None` for fewer than two values or a set without
    /// it.
    pub fn variance(&self) -> Option<f64> {
        (self.count >= 2 && !self.m2.is_nan()).then(|| self.m2 / (self.count - 1) as f64)
    }

    /// True when variance, first and last are there.
    pub fn is_full(&self) -> bool {
        !self.first.is_nan()
    }

    /// Adds the aggregates of values that came after those of `self`. What one side does not know,
    /// the result does not know.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other.clone();
            return;
        }
        let full = self.is_full() && other.is_full();
        let (mine, theirs) = (self.count as f64, other.count as f64);
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        if full {
            let delta = other.mean - self.mean;
            let share = theirs / (mine + theirs);
            self.m2 += other.m2 + delta * delta * mine * share;
            self.mean += delta * share;
        } else {
            self.m2 = f64::NAN;
            self.mean = self.sum / (mine + theirs);
        }
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.merge_ends(other, full);
        match (&mut self.sketch, &other.sketch) {
            (Some(sketch), Some(other)) => sketch.merge(other),
            (sketch, _) => *sketch = None,
        }
    }

    fn merge_ends(&mut self, other: &Self, full: bool) {
        if !full {
            (self.first, self.first_time) = (f64::NAN, 0);
            (self.last, self.last_time) = (f64::NAN, 0);
            return;
        }
        if other.first_time < self.first_time {
            (self.first, self.first_time) = (other.first, other.first_time);
        }
        if other.last_time >= self.last_time {
            (self.last, self.last_time) = (other.last, other.last_time);
        }
    }

    fn floats(&self) -> [f64; 7] {
        [
            self.sum, self.mean, self.m2, self.min, self.max, self.first, self.last,
        ]
    }
}

/// Equal to the last bit, so that what is not known equals itself.
impl PartialEq for SignalAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count
            && self.first_time == other.first_time
            && self.last_time == other.last_time
            && self.floats().map(f64::to_bits) == other.floats().map(f64::to_bits)
            && self.sketch == other.sketch
    }
}

/// JSON has no NaN: there it is `null`. Binary formats keep the bits.
mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the value, `null` in JSON where it is no number.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            value.is_finite().then_some(*value).serialize(serializer)
        } else {
            value.serialize(serializer)
        }
    }

    /// Reads what `serialize` wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        if deserializer.is_human_readable() {
            Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
        } else {
            f64::deserialize(deserializer)
        }
    }
}
