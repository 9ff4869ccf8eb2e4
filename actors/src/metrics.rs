//! Metrics by definition: a metric's name, kind, unit, labels and help stand in one place, and only
//! a definition can be emitted. The compiler checks the kind and the number of labels; a metric
//! that is defined is in the catalogue.
//!
//! Names have the prefix `theatre_`, base units and one quantity each. Labels are bounded:
//! partition, topic, dataset, lane, reason; never a robot, a procedure or an offset.

use std::fmt;

use metrics::{Label, SharedString};

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, in buckets.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// An entry of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name, with the prefix `theatre_`.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// What it counts: `records`, `seconds`, `bytes` and so on.
    pub unit: &'static str,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// What it says, for people.
    pub help: &'static str,
}

impl Metric {
    /// Tells the recorder that is installed what the metric is.
    pub fn describe(&self) {
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, self.help),
            Kind::Gauge => metrics::describe_gauge!(self.name, self.help),
            Kind::Histogram => metrics::describe_histogram!(self.name, self.help),
        }
    }

    fn labelled<const N: usize>(&self, values: [SharedString; N]) -> Vec<Label> {
        let pairs = self.labels.iter().zip(values);
        pairs
            .map(|(name, value)| Label::new(*name, value))
            .collect()
    }
}

/// A counter with `N` labels.
#[derive(Debug, Clone, Copy)]
pub struct Counter<const N: usize>(pub Metric);

impl<const N: usize> Counter<N> {
    /// Its kind.
    pub const KIND: Kind = Kind::Counter;

    /// Adds `count`; the values are those of the labels, in order of definition.
    pub fn increment(&self, values: [SharedString; N], count: u64) {
        metrics::counter!(self.0.name, self.0.labelled(values)).increment(count);
    }
}

/// A gauge with `N` labels.
#[derive(Debug, Clone, Copy)]
pub struct Gauge<const N: usize>(pub Metric);

impl<const N: usize> Gauge<N> {
    /// Its kind.
    pub const KIND: Kind = Kind::Gauge;

    /// Sets it; the values are those of the labels, in order of definition.
    pub fn set(&self, values: [SharedString; N], value: f64) {
        metrics::gauge!(self.0.name, self.0.labelled(values)).set(value);
    }

    /// Adds `difference`, which may be negative.
    pub fn add(&self, values: [SharedString; N], difference: f64) {
        metrics::gauge!(self.0.name, self.0.labelled(values)).increment(difference);
    }
}

/// A histogram with `N` labels.
#[derive(Debug, Clone, Copy)]
pub struct Histogram<const N: usize>(pub Metric);

impl<const N: usize> Histogram<N> {
    /// Its kind.
    pub const KIND: Kind = Kind::Histogram;

    /// The histogram of the recorder that is installed, for a caller to keep: the look-up allocates.
    /// The values of the labels are in order of definition.
    pub fn handle(&self, values: [SharedString; N]) -> metrics::Histogram {
        metrics::histogram!(self.0.name, self.0.labelled(values))
    }

    /// Records one value; the values of the labels are in order of definition.
    pub fn record(&self, values: [SharedString; N], value: f64) {
        self.handle(values).record(value);
    }
}

/// Defines metrics: a constant for each, and a list of all of them by the name that is given first.
///
/// ```
/// theatre_actors::define_metrics! {
///     /// What a module emits.
///     pub const CATALOGUE;
///     RECORDS_IN: Counter("theatre_records_in_total", "records", ["partition"], "Records read");
/// }
/// RECORDS_IN.increment(["3".into()], 1);
/// assert_eq!(CATALOGUE[0].labels, ["partition"]);
/// ```
#[macro_export]
macro_rules! define_metrics {
    (
        $(#[$attribute:meta])* $visible:vis const $all:ident;
        $($id:ident: $kind:ident($name:literal, $unit:literal, [$($label:literal),*], $help:literal);)+
    ) => {
        $(
            #[doc = $help]
            pub const $id: $crate::metrics::$kind<{ let labels: &[&str] = &[$($label),*]; labels.len() }> =
                $crate::metrics::$kind($crate::metrics::Metric {
                    name: $name,
                    kind: $crate::metrics::$kind::<0>::KIND,
                    unit: $unit,
                    labels: &[$($label),*],
                    help: $help,
                });
        )+
        $(#[$attribute])*
        $visible const $all: &[$crate::metrics::Metric] = &[$($id.0),+];
    };
}

define_metrics! {
    /// What the host of the actors emits.
    pub const CATALOGUE;
    MAILBOX_DEPTH: Gauge(
        "theatre_mailbox_depth_messages", "messages", ["actor_type", "lane"],
        "Messages handed to actors and not applied yet, by actor type and lane"
    );
    STEP_DURATION: Histogram(
        "theatre_step_duration_seconds", "seconds", ["actor_type"],
        "Time of one message, by actor type"
    );
}

/// The seconds that messages to processors take, of the recorder that is installed. To be kept:
/// there is one record for each message.
pub fn step_durations() -> metrics::Histogram {
    STEP_DURATION.handle(["processor".into()])
}

/// The messages that wait to be applied by processors have become more or, when negative, fewer.
pub fn mailbox_depth_changed(messages: f64) {
    MAILBOX_DEPTH.add(["processor".into(), "data".into()], messages);
}
