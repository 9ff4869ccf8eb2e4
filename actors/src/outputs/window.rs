//! Window revisions: aggregates of a robot's signals over a span of event time.
//!
//! Most of what is put out. They are published only where the configuration names a topic, and are
//! deleted from the store once they are old enough.

use std::borrow::Cow;

use theatre_schemas::dataset::{Dataset, Datasets};
use theatre_schemas::records::{SignalAggregates, WindowAggregates};

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Grouped, Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::{Error, LoadMode, Result};
use crate::window::{SignalAggregate, WindowRow};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 1;

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::Window,
    name: "window",
    topic: Topic::WhereConfigured,
    event_type: "theatre.window.revision",
    key: |output| &output.robot_id,
    dataset: |output| Some(WindowSubject::of(output).dataset),
    record,
    expires: true,
    table: OutputTable {
        name: "robot_windows",
        // A later revision holds its own rows only, so all are kept.
        mode: || LoadMode::Append,
        keeps_every_row: true,
        identity: &[
            "robot_id",
            "dataset",
            "window_name",
            "window_start",
            "window_size_us",
            "revision",
            "signal",
        ],
        described: Described {
            rows: Some(
                "A signal of a revision of a window. Revision 0 holds what was in time; each later one holds its late rows only.",
            ),
            schema: WindowAggregates::SCHEMA,
            notes: &[
                ("window_name", "Name of the window, such as 10s."),
                ("window_rows", "Records in the revision of the window."),
                ("signal", "Name of the signal, such as joints[2].current."),
                ("value_count", "Values of the signal."),
                ("value_sum", "Sum of the values, in the signal's unit."),
                ("mean", "Mean of the values, in the signal's unit."),
                (
                    "m2",
                    "Sum of the squared differences from the mean, in the square of the signal's unit.",
                ),
                ("min", "Least value, in the signal's unit."),
                ("max", "Greatest value, in the signal's unit."),
                (
                    "first",
                    "Value that is first by event time, in the signal's unit.",
                ),
                ("first_time", "Event time of the first value, UTC."),
                (
                    "last",
                    "Value that is last by event time, in the signal's unit.",
                ),
                ("last_time", "Event time of the last value, UTC."),
                (
                    "p50",
                    "Estimated median, in the signal's unit; only with aggregates = \"sketch\".",
                ),
                (
                    "p95",
                    "Estimated 95th percentile, in the signal's unit; only with sketches.",
                ),
                (
                    "p99",
                    "Estimated 99th percentile, in the signal's unit; only with sketches.",
                ),
            ],
            enumerations: &[],
        },
        holds: Holds::Measurements,
        happened: Some("window_start"),
        columns,
        grouped: Some(Grouped {
            table: "robot_window_arrays",
            shared: 7,
            columns: grouped_columns,
        }),
    },
};

/// What a window's subject consists of; it is stored as `dataset/window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSubject<'a> {
    /// The dataset whose signals are aggregated; a dataset's name has no slash.
    pub dataset: &'a str,
    /// Name of the window's spec.
    pub window: &'a str,
}

impl<'a> WindowSubject<'a> {
    /// The subject of a window's output.
    pub fn of(output: &'a OutputEvent) -> Self {
        let subject = output.subject.as_str();
        let (dataset, window) = subject.split_once('/').unwrap_or((subject, ""));
        Self { dataset, window }
    }
}

impl std::fmt::Display for WindowSubject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.dataset, self.window)
    }
}

/// The output of a window's revision.
pub fn output(robot_id: &str, dataset: &str, row: &WindowRow) -> OutputEvent {
    let window = row.window.as_str();
    OutputEvent {
        kind: OutputKind::Window,
        robot_id: robot_id.to_owned(),
        id: format!("{window}/{robot_id}/{dataset}/{}", row.start_us),
        subject: WindowSubject { dataset, window }.to_string(),
        revision: row.revision,
        event_time: row.start_us,
        payload: row.encode(),
    }
}

/// The framed Avro of a window's revision; in the store it is a [`WindowRow`], which is smaller.
fn record<'a>(output: &'a OutputEvent, datasets: &Datasets) -> Result<Cow<'a, [u8]>> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::Refused(format!(
            "window '{}' revision {} cannot be read: {error}",
            output.id, output.revision
        ))
    };
    let row = WindowRow::decode(&output.payload).map_err(|error| unreadable(&error))?;
    let dataset = WindowSubject::of(output).dataset;
    let known = datasets
        .find(dataset)
        .ok_or_else(|| unreadable(&format!("there is no dataset '{dataset}'")))?
        .1;
    let there = |value: f64| Some(value).filter(|value| !value.is_nan());
    let signals = known
        .signals
        .iter()
        .zip(&row.signals)
        .filter(|(_, aggregate)| aggregate.count > 0);
    let signals = signals.map(|(signal, aggregate)| SignalAggregates {
        name: signal.name.clone(),
        count: aggregate.count as i64,
        sum: aggregate.sum,
        min: aggregate.min,
        max: aggregate.max,
        mean: there(aggregate.mean),
        m2: there(aggregate.m2),
        first: there(aggregate.first),
        last: there(aggregate.last),
    });
    let record = WindowAggregates {
        robot_id: output.robot_id.clone(),
        dataset: dataset.to_owned(),
        window: row.window.clone(),
        window_start: row.start_us,
        window_size_us: row.size_us,
        revision: row.revision as i32,
        rows: row.rows as i64,
        signals: signals.collect(),
    };
    Ok(Cow::Owned(record.encode()))
}

/// A revision of a window.
struct Revision<'a> {
    robot_id: &'a str,
    subject: WindowSubject<'a>,
    window: WindowRow,
    dataset: &'a Dataset,
}

impl<'a> Revision<'a> {
    fn of(output: &'a OutputEvent, datasets: &'a Datasets) -> Result<Self> {
        let window =
            WindowRow::decode(&output.payload).map_err(|error| output.unreadable(error))?;
        let subject = WindowSubject::of(output);
        let (_, dataset) = datasets.find(subject.dataset).ok_or_else(|| {
            Error::Refused(format!(
                "windows of dataset '{}' cannot be written: it has left the configuration",
                subject.dataset
            ))
        })?;
        Ok(Self {
            robot_id: &output.robot_id,
            subject,
            window,
            dataset,
        })
    }

    /// Its signals with values.
    fn signals(&self) -> impl Iterator<Item = SignalRow<'_>> {
        let aggregates = self.window.signals.iter().zip(&self.dataset.signals);
        let with_values = aggregates.filter(|(aggregate, _)| aggregate.count > 0);
        with_values.map(|(aggregate, signal)| SignalRow {
            revision: self,
            signal: &signal.name,
            aggregate,
        })
    }
}

/// A row of the table: one signal of a window's revision.
struct SignalRow<'a> {
    revision: &'a Revision<'a>,
    signal: &'a str,
    aggregate: &'a SignalAggregate,
}

impl SignalRow<'_> {
    /// A time that only a full aggregate keeps.
    fn kept(&self, time: i64) -> Option<i64> {
        self.aggregate.is_full().then_some(time)
    }

    /// An estimated quantile, no number without a sketch.
    fn quantile(&self, share: f64) -> f64 {
        self.aggregate
            .sketch
            .as_ref()
            .and_then(|sketch| sketch.quantile(share))
            .unwrap_or(f64::NAN)
    }
}

/// Straight from the aggregates into columns: windows are most of what is exported.
fn columns(outputs: &[&OutputEvent], datasets: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let revisions = revisions(outputs, datasets)?;
    let rows: Vec<SignalRow<'_>> = revisions.iter().flat_map(Revision::signals).collect();
    of_revisions(&rows, |row| row.revision, sink);
    of_signals(&rows, sink);
    Ok(())
}

/// The same with one value for each revision in the columns that its signals share.
fn grouped_columns(
    outputs: &[&OutputEvent],
    datasets: &Datasets,
    sink: &mut dyn ColumnSink,
) -> Result<Vec<u32>> {
    let revisions = revisions(outputs, datasets)?;
    let (mut rows, mut counts) = (Vec::new(), Vec::new());
    for revision in &revisions {
        let before = rows.len();
        rows.extend(revision.signals());
        counts.push(u32::try_from(rows.len() - before).unwrap_or(u32::MAX));
    }
    of_revisions(&revisions, |revision| revision, sink);
    of_signals(&rows, sink);
    Ok(counts)
}

fn revisions<'a>(outputs: &[&'a OutputEvent], datasets: &'a Datasets) -> Result<Vec<Revision<'a>>> {
    let outputs = outputs.iter();
    outputs
        .map(|output| Revision::of(output, datasets))
        .collect()
}

/// The columns that all signals of a revision share.
fn of_revisions<'a, R>(
    rows: &'a [R],
    of: impl Fn(&'a R) -> &'a Revision<'a> + Copy,
    sink: &'a mut dyn ColumnSink,
) {
    Columns::new(rows, sink)
        .text("robot_id", move |row| of(row).robot_id)
        .text("dataset", move |row| of(row).subject.dataset)
        .text("window_name", move |row| of(row).subject.window)
        .time("window_start", move |row| Some(of(row).window.start_us))
        .int64("window_size_us", move |row| of(row).window.size_us)
        .int32("revision", move |row| {
            i32::try_from(of(row).window.revision).unwrap_or(i32::MAX)
        })
        .int64("window_rows", move |row| of(row).window.rows as i64);
}

/// The columns of a signal.
fn of_signals(rows: &[SignalRow<'_>], sink: &mut dyn ColumnSink) {
    Columns::new(rows, sink)
        .text("signal", |row| row.signal)
        .int64("value_count", |row| row.aggregate.count as i64)
        .float("value_sum", |row| Some(row.aggregate.sum))
        .float("mean", |row| Some(row.aggregate.mean))
        .float("m2", |row| Some(row.aggregate.m2))
        .float("min", |row| Some(row.aggregate.min))
        .float("max", |row| Some(row.aggregate.max))
        .float("first", |row| Some(row.aggregate.first))
        .time("first_time", |row| row.kept(row.aggregate.first_time))
        .float("last", |row| Some(row.aggregate.last))
        .time("last_time", |row| row.kept(row.aggregate.last_time))
        .float("p50", |row| Some(row.quantile(0.5)))
        .float("p95", |row| Some(row.quantile(0.95)))
        .float("p99", |row| Some(row.quantile(0.99)));
}
