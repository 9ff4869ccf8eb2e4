//! Batches from plain numbers, and an oracle that recomputes every window from its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::{ColumnSpec, ColumnType, Dataset, DatasetKind, Roles, SignalSpec};

use super::super::{
    AggregateSet, SignalAggregate, WindowPlan, WindowRow, WindowSpec, Windows, merge_revisions,
};
use crate::time::EventTime;

pub const SECOND: i64 = 1_000_000;

/// One accepted row.
#[derive(Debug, Clone)]
pub struct Sample {
    pub time: i64,
    pub values: Vec<Option<f64>>,
}

/// An input of a robot's windows.
#[derive(Debug, Clone)]
pub enum Input {
    Row(Sample),
    Clock(i64),
    Flush,
}

pub fn sample(time: i64, value: f64) -> Sample {
    Sample {
        time,
        values: vec![Some(value)],
    }
}

pub fn spec(name: &str, size_us: i64, hop_us: i64) -> WindowSpec {
    WindowSpec {
        name: name.into(),
        size_us,
        hop_us,
    }
}

pub fn plan(specs: &[WindowSpec], set: AggregateSet) -> WindowPlan {
    WindowPlan::new(specs.to_vec(), set).unwrap()
}

pub fn batch(samples: &[Sample]) -> Batch {
    let signals = samples.first().map_or(0, |sample| sample.values.len());
    let column = |name: &str, column_type| ColumnSpec {
        name: name.into(),
        column_type,
        unit: None,
        doc: None,
        person: None,
        symbols: Vec::new(),
    };
    let mut columns = vec![
        column("robot_id", ColumnType::Utf8),
        column("event_time", ColumnType::TimestampMicros),
    ];
    let mut specs = Vec::new();
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            samples.iter().map(|_| "robot-1"),
        )),
        Arc::new(TimestampMicrosecondArray::from_iter_values(
            samples.iter().map(|sample| sample.time),
        )),
    ];
    for signal in 0..signals {
        let name = format!("signal{signal}");
        specs.push(SignalSpec {
            name: name.clone(),
            column: columns.len(),
            unit: None,
        });
        columns.push(column(&name, ColumnType::Float64));
        arrays.push(Arc::new(Float64Array::from_iter(
            samples.iter().map(|sample| sample.values[signal]),
        )));
    }
    let dataset = Dataset {
        event_time_unit: None,
        name: "telemetry".into(),
        kind: DatasetKind::Telemetry,
        version: 1,
        columns,
        roles: Roles {
            robot_id: 0,
            event_time: 1,
            procedure_id: None,
            sequence: None,
            boot_id: None,
        },
        signals: specs,
    };
    let offsets = (0..samples.len() as u64).collect();
    Batch::new(
        Arc::new(dataset),
        0,
        arrays,
        offsets,
        vec![0; samples.len()],
    )
}

/// A robot's clock and windows, fed as a robot actor feeds them.
#[derive(Clone)]
pub struct Robot {
    pub plan: WindowPlan,
    pub bound: i64,
    pub clock: i64,
    pub windows: Windows,
    pub out: Vec<WindowRow>,
}

impl Robot {
    pub fn new(plan: WindowPlan, bound: i64, signals: usize) -> Self {
        Self {
            plan,
            bound,
            clock: i64::MIN,
            windows: Windows::new(signals),
            out: Vec::new(),
        }
    }

    /// Applies samples as one batch.
    pub fn rows(&mut self, samples: &[Sample]) {
        let clocks: Vec<EventTime> = samples
            .iter()
            .map(|sample| {
                self.clock = self.clock.max(sample.time);
                EventTime(self.clock)
            })
            .collect();
        let rows: Vec<u32> = (0..samples.len() as u32).collect();
        self.windows.apply(
            &self.plan,
            &batch(samples),
            &rows,
            &clocks,
            self.bound,
            &mut self.out,
        );
    }

    pub fn advance(&mut self, clock: i64) {
        self.clock = self.clock.max(clock);
        self.windows
            .advance(&self.plan, EventTime(self.clock), self.bound, &mut self.out);
    }

    pub fn flush(&mut self) {
        self.windows.flush(&self.plan, &mut self.out);
    }

    /// Feeds inputs in order, rows that follow each other as one batch.
    pub fn feed(&mut self, inputs: &[Input]) {
        let mut rows = Vec::new();
        for input in inputs {
            match input {
                Input::Row(sample) => rows.push(sample.clone()),
                Input::Clock(clock) => {
                    self.rows(&std::mem::take(&mut rows));
                    self.advance(*clock);
                }
                Input::Flush => {
                    self.rows(&std::mem::take(&mut rows));
                    self.flush();
                }
            }
        }
        self.rows(&rows);
    }

    pub fn save(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.windows).unwrap()
    }

    pub fn save_and_restore(&mut self) {
        self.windows = postcard::from_bytes(&self.save()).unwrap();
    }

    /// (window, start in seconds, revision, rows) of all rows emitted since the last call.
    pub fn take_rows(&mut self) -> Vec<(String, i64, u32, u64)> {
        let rows = std::mem::take(&mut self.out);
        rows.into_iter()
            .map(|row| (row.window, row.start_us / SECOND, row.revision, row.rows))
            .collect()
    }
}

/// A window, by index of its spec and start.
pub type Key = (usize, i64);

/// The rows of every window, as whole and as it was when it closed, found without panes.
#[derive(Default)]
pub struct Oracle {
    pub in_time: BTreeMap<Key, Vec<Sample>>,
    pub all: BTreeMap<Key, Vec<Sample>>,
    watermark: Option<i64>,
    flushed_to: BTreeMap<usize, i64>,
}

impl Oracle {
    pub fn of(specs: &[WindowSpec], bound: i64, inputs: &[Input]) -> Self {
        let mut oracle = Self::default();
        for input in inputs {
            match input {
                Input::Row(sample) => {
                    oracle.clock(sample.time, bound);
                    oracle.row(specs, sample);
                }
                Input::Clock(clock) => oracle.clock(*clock, bound),
                Input::Flush => oracle.flush(specs),
            }
        }
        oracle
    }

    fn clock(&mut self, clock: i64, bound: i64) {
        self.watermark = self.watermark.max(Some(clock - bound));
    }

    fn closed(&self, index: usize, end: i64) -> bool {
        Some(end) <= self.watermark || Some(&end) <= self.flushed_to.get(&index)
    }

    fn row(&mut self, specs: &[WindowSpec], sample: &Sample) {
        for (index, spec) in specs.iter().enumerate() {
            let mut start = sample.time.div_euclid(spec.hop_us) * spec.hop_us;
            while start + spec.size_us > sample.time {
                self.all
                    .entry((index, start))
                    .or_default()
                    .push(sample.clone());
                if !self.closed(index, start + spec.size_us) {
                    self.in_time
                        .entry((index, start))
                        .or_default()
                        .push(sample.clone());
                }
                start -= spec.hop_us;
            }
        }
    }

    fn flush(&mut self, specs: &[WindowSpec]) {
        for &(index, start) in self.in_time.keys() {
            let end = start + specs[index].size_us;
            let flushed_to = self.flushed_to.entry(index).or_insert(end);
            *flushed_to = (*flushed_to).max(end);
        }
    }

    /// Checks all emitted rows, after a flush at the end.
    pub fn check(&self, specs: &[WindowSpec], set: AggregateSet, rows: &[WindowRow]) {
        let mut windows: BTreeMap<Key, Vec<WindowRow>> = BTreeMap::new();
        for row in rows {
            let index = specs
                .iter()
                .position(|spec| spec.name == row.window)
                .unwrap();
            assert_eq!(row.size_us, specs[index].size_us);
            windows
                .entry((index, row.start_us))
                .or_default()
                .push(row.clone());
        }
        assert!(
            windows.keys().eq(self.all.keys()),
            "emitted {:?}, not {:?}",
            windows.keys(),
            self.all.keys()
        );
        for (key, rows) in &windows {
            let in_time = self.in_time.get(key);
            let revisions: Vec<u32> = rows.iter().map(|row| row.revision).collect();
            let lowest = u32::from(in_time.is_none());
            assert_eq!(
                revisions,
                (lowest..lowest + rows.len() as u32).collect::<Vec<_>>(),
                "of {key:?}"
            );
            if let Some(in_time) = in_time {
                check_row(&rows[0], in_time, set);
            }
            check_row(&merge_revisions(rows).unwrap(), &self.all[key], set);
        }
    }
}

/// Checks a row against the samples it should hold, in order of arrival.
pub fn check_row(row: &WindowRow, samples: &[Sample], set: AggregateSet) {
    assert_eq!(row.rows, samples.len() as u64);
    for (index, signal) in row.signals.iter().enumerate() {
        let values: Vec<(i64, f64)> = samples
            .iter()
            .filter_map(|sample| {
                Some((
                    sample.time,
                    sample.values[index].filter(|value| value.is_finite())?,
                ))
            })
            .collect();
        check_signal(signal, &values, set);
    }
}

fn check_signal(signal: &SignalAggregate, values: &[(i64, f64)], set: AggregateSet) {
    assert_eq!(signal.count, values.len() as u64);
    if values.is_empty() {
        assert_eq!(*signal, SignalAggregate::empty());
        return;
    }
    let count = values.len() as f64;
    let sum: f64 = values.iter().map(|(_, value)| value).sum();
    let mean = sum / count;
    let magnitude = values.iter().map(|(_, value)| value.abs()).sum::<f64>();
    let near = |left: f64, right: f64, scale: f64| {
        (left - right).abs() <= 1e-9 * scale + f64::MIN_POSITIVE
    };
    assert!(
        near(signal.sum, sum, magnitude),
        "sum {} is not {sum}",
        signal.sum
    );
    assert!(
        near(signal.mean, mean, magnitude / count),
        "mean {} is not {mean}",
        signal.mean
    );
    assert_eq!(
        signal.min,
        values
            .iter()
            .map(|(_, value)| *value)
            .reduce(f64::min)
            .unwrap()
    );
    assert_eq!(
        signal.max,
        values
            .iter()
            .map(|(_, value)| *value)
            .reduce(f64::max)
            .unwrap()
    );
    if set == AggregateSet::Basic {
        assert!(!signal.is_full() && signal.variance().is_none() && signal.sketch.is_none());
        return;
    }
    let m2: f64 = values.iter().map(|(_, value)| (value - mean).powi(2)).sum();
    let squares: f64 = values.iter().map(|(_, value)| value.powi(2)).sum();
    assert!(near(signal.m2, m2, squares), "m2 {} is not {m2}", signal.m2);
    // `min_by_key` keeps the first of equals, `max_by_key` the last: as the windows do.
    assert_eq!(
        (signal.first_time, signal.first),
        *values.iter().min_by_key(|(time, _)| *time).unwrap()
    );
    assert_eq!(
        (signal.last_time, signal.last),
        *values.iter().max_by_key(|(time, _)| *time).unwrap()
    );
    assert_eq!(
        signal.sketch.as_ref().map(|sketch| sketch.count()),
        (set == AggregateSet::Sketch).then_some(signal.count)
    );
}
