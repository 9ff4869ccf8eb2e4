//! A rule on an aggregate of a window. It is judged when the window closes, by what was in time:
//! late rows revise the window and judge nothing.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compile::Unit;
use super::limits::limited_kind;
use crate::window::{AggregateSet, SignalAggregate, WindowPlan, WindowRow};

/// An aggregate of the values in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AggregateName {
    /// Number of values.
    Count,
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The mean.
    Mean,
    /// The sample's standard deviation.
    Stddev,
    /// The first in time.
    First,
    /// The last in time.
    Last,
    /// A quantile, in percent: `p95`.
    Quantile(f64),
}

limited_kind! {
    /// An aggregate of a window, in the signal's unit.
    AggregateSpec {
        /// Signal; `*` stands for any index.
        pub signal: String,
        /// Name of the window.
        pub window: String,
        /// What is judged of its values.
        pub aggregate: AggregateName,
    }
}

const NAMES: [(&str, AggregateName); 8] = [
    ("count", AggregateName::Count),
    ("sum", AggregateName::Sum),
    ("min", AggregateName::Min),
    ("max", AggregateName::Max),
    ("mean", AggregateName::Mean),
    ("stddev", AggregateName::Stddev),
    ("first", AggregateName::First),
    ("last", AggregateName::Last),
];

impl AggregateName {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, name)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*name);
        }
        let percent = text.strip_prefix('p').and_then(|it| it.parse::<f64>().ok());
        let is_percent = |percent: &f64| (0.0..=100.0).contains(percent);
        percent
            .filter(is_percent)
            .map(Self::Quantile)
            .ok_or_else(|| {
                let names = NAMES.map(|(name, _)| name);
                let hint = super::names::meant(text, &names);
                format!(
                    "'{text}' is no aggregate{}: write {}, or a quantile such as p50, p95 or p99.9",
                    hint.map_or_else(String::new, |hint| format!(", {hint}")),
                    names.join(", ")
                )
            })
    }

    /// The set of aggregates that has it.
    fn set(self) -> AggregateSet {
        match self {
            Self::Count | Self::Sum | Self::Min | Self::Max | Self::Mean => AggregateSet::Basic,
            Self::Stddev | Self::First | Self::Last => AggregateSet::Full,
            Self::Quantile(_) => AggregateSet::Sketch,
        }
    }

    /// Its value; `None` where the window has no values, or too few.
    fn value(self, of: &SignalAggregate) -> Option<f64> {
        if self == Self::Count {
            return Some(of.count as f64);
        }
        if of.count == 0 {
            return None;
        }
        let value = match self {
            Self::Count | Self::Sum => of.sum,
            Self::Min => of.min,
            Self::Max => of.max,
            Self::Mean => of.mean,
            Self::Stddev => of.variance()?.sqrt(),
            Self::First => of.first,
            Self::Last => of.last,
            Self::Quantile(percent) => of.sketch.as_ref()?.quantile(percent / 100.0)?,
        };
        value.is_finite().then_some(value)
    }

    /// The unit of its values.
    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Count => Unit::Named("1"),
            _ => Unit::Signal,
        }
    }
}

impl std::fmt::Display for AggregateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Quantile(percent) => write!(f, "p{percent}"),
            other => {
                let name = NAMES.iter().find(|(_, name)| name == other);
                f.write_str(name.map_or("", |(name, _)| name))
            }
        }
    }
}

impl Serialize for AggregateName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for AggregateName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl AggregateSpec {
    /// What is judged of a window that has closed, and when: event time in microseconds UTC. `None`
    /// for a window of another name, and for what late rows make.
    pub(crate) fn reading(&self, row: &WindowRow, signal: usize) -> Option<(i64, f64)> {
        if row.window != self.window || row.revision > 0 {
            return None;
        }
        let value = self.aggregate.value(row.signals.get(signal)?)?;
        Some((row.start_us.saturating_add(row.size_us), value))
    }

    /// Checks that there is such a window, and returns its length in microseconds.
    ///
    /// # Errors
    /// Names the windows that there are, or the set of aggregates that is needed.
    pub(super) fn find(&self, windows: &WindowPlan) -> Result<i64, String> {
        let specs = windows.specs();
        let found = specs.iter().find(|spec| spec.name == self.window);
        let Some(found) = found else {
            let known: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            if known.is_empty() {
                return Err(format!(
                    "there is no window '{}', nor any other",
                    self.window
                ));
            }
            let hint = super::names::did_you_mean(&self.window, &known);
            return Err(format!("there is no window '{}'; {hint}", self.window));
        };
        let rank = |set: AggregateSet| match set {
            AggregateSet::Basic => (0, "basic"),
            AggregateSet::Full => (1, "full"),
            AggregateSet::Sketch => (2, "sketch"),
        };
        let (needed, there) = (rank(self.aggregate.set()), rank(windows.aggregates()));
        if needed > there {
            return Err(format!(
                "windows have no {}: set aggregates = \"{}\" instead of \"{}\"",
                self.aggregate, needed.1, there.1
            ));
        }
        Ok(found.size_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_are_read_by_their_names_and_written_alike() {
        for name in [
            "count", "sum", "min", "max", "mean", "stddev", "first", "last", "p50", "p99.9",
        ] {
            assert_eq!(AggregateName::parse(name).unwrap().to_string(), name);
        }
        let near = AggregateName::parse("stdev").unwrap_err();
        assert!(near.contains("did you mean stddev?"), "{near}");
        for name in ["avg", "p101", "p", "quantile"] {
            assert!(
                AggregateName::parse(name).unwrap_err().contains("p99.9"),
                "{name}"
            );
        }
    }

    #[test]
    fn each_aggregate_is_that_of_the_window() {
        let of = SignalAggregate {
            count: 4,
            sum: 20.0,
            mean: 5.0,
            m2: 12.0,
            min: 3.0,
            max: 7.0,
            first: 4.0,
            last: 6.0,
            ..SignalAggregate::empty()
        };
        let none = SignalAggregate::empty();
        for (name, expected) in [
            ("count", Some(4.0)),
            ("sum", Some(20.0)),
            ("min", Some(3.0)),
            ("max", Some(7.0)),
            ("mean", Some(5.0)),
            ("stddev", Some(2.0)),
            ("first", Some(4.0)),
            ("last", Some(6.0)),
            ("p50", None),
        ] {
            let name = AggregateName::parse(name).unwrap();
            assert_eq!(name.value(&of), expected, "{name}");
            let expected = (name == AggregateName::Count).then_some(0.0);
            assert_eq!(name.value(&none), expected, "{name} of nothing");
        }
    }
}
