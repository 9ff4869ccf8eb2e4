//! What must come of the records of a topic, by the shortest way there is, and what the store holds
//! that differs.
//!
//! Reads the topic itself, whichever producer filled it: one robot after another is not needed, a
//! window and a condition per robot are kept open.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, EventLog, OutputFilter, PollLimit};
use theatre_actors::window::{WindowRow, merge_revisions};
use theatre_schemas::batch::Batch;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::framing;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::records::{Alert, Transition};
use theatre_schemas::registry::Registry;

use super::Failure;
use super::topic::visit_batches;

/// The benchmark's windows: how long they are and how far apart they start, microseconds. The second
/// divides the first.
#[derive(Clone, Copy)]
pub(super) struct WindowShape {
    pub(super) size_us: i64,
    pub(super) hop_us: i64,
}

impl Default for WindowShape {
    /// The job that all figures are of: ten seconds, one after the other.
    fn default() -> Self {
        Self {
            size_us: 10_000_000,
            hop_us: 10_000_000,
        }
    }
}

impl WindowShape {
    /// Starts of the windows that a moment is in.
    fn starts(self, time: i64) -> impl Iterator<Item = i64> {
        let last = time.div_euclid(self.hop_us) * self.hop_us;
        (0..self.size_us / self.hop_us).map(move |earlier| last - earlier * self.hop_us)
    }
}

/// A window is final when the robot's clock has passed its end by this much, microseconds.
pub(super) const REORDER_US: i64 = 5_000_000;
/// Raised above this, cleared below the other.
pub(super) const RAISE_ABOVE: f64 = 85.0;
pub(super) const CLEAR_BELOW: f64 = 80.0;
/// The benchmark's dataset.
const DATASET: &str = "fleet_telemetry";
/// Records decoded at once.
const ROWS: usize = 8192;

/// Count, sum, least and greatest of a signal.
#[derive(Clone, Copy, PartialEq)]
struct Cell {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Cell {
    const EMPTY: Self = Self {
        count: 0,
        sum: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
    };

    fn add(&mut self, value: f64) {
        *self = Self {
            count: self.count + 1,
            sum: self.sum + value,
            min: self.min.min(value),
            max: self.max.max(value),
        };
    }
}

/// What must come of a topic.
#[derive(Default)]
pub(super) struct Recount {
    shape: WindowShape,
    pub(super) records: u64,
    robots: HashMap<String, usize>,
    names: Vec<String>,
    /// Latest event time by robot.
    clocks: Vec<i64>,
    open: Vec<bool>,
    /// By robot, the temperatures that a row before them may still come of, by time and number:
    /// rules judge in event time.
    waiting: Vec<BTreeMap<(i64, i64), f64>>,
    /// By robot and window start, a cell per signal.
    windows: BTreeMap<(usize, i64), Vec<Cell>>,
    /// (robot, event time, raised).
    alerts: BTreeSet<(String, i64, bool)>,
}

impl Recount {
    /// Reads a topic to its end.
    pub(super) fn of(
        log: &dyn EventLog,
        topic: &str,
        partitions: u32,
        shape: WindowShape,
    ) -> Result<Self, Failure> {
        let registry = Registry::builtin();
        let missing = || Failure::Failed(format!("there is no dataset '{DATASET}'"));
        let (index, dataset) = registry.datasets().find(DATASET).ok_or_else(missing)?;
        let temperature = dataset.signal("motor_temperature").ok_or_else(missing)?;
        let mut builder = BatchBuilder::new(
            dataset.clone(),
            index,
            std::sync::Arc::new(Pseudonyms::new([0; 32])),
        );
        let mut recount = Self {
            shape,
            ..Self::default()
        };
        let mut refused = None;
        for partition in 0..partitions {
            visit_batches(
                log,
                topic,
                partition,
                PollLimit {
                    records: ROWS,
                    bytes: usize::MAX,
                },
                |record| {
                    let pushed = framing::parse(record.value)
                        .map_err(|error| error.to_string())
                        .and_then(|(id, datum)| {
                            let writer = registry.lookup(id).ok_or_else(|| {
                                format!("its schema {id:?} is not the benchmark's")
                            })?;
                            builder
                                .push(&writer.plan, datum, record.offset, record.append_time.0)
                                .map_err(|error| error.to_string())
                        });
                    if let Err(why) = pushed {
                        refused.get_or_insert(format!(
                            "topic {topic} partition {partition} offset {}: {why}",
                            record.offset
                        ));
                    }
                    if builder.len() >= ROWS {
                        recount.take(builder.finish().as_ref(), temperature);
                    }
                },
            )?;
            recount.take(builder.finish().as_ref(), temperature);
        }
        for robot in 0..recount.names.len() {
            recount.judge(robot, i64::MAX);
        }
        refused.map_or(Ok(recount), |why| {
            Err(Failure::Failed(format!(
                "the topic cannot be recomputed: {why}"
            )))
        })
    }

    fn take(&mut self, batch: Option<&Batch>, temperature: usize) {
        let Some(batch) = batch else { return };
        for (row, time) in batch.event_times().iter().enumerate() {
            self.records += 1;
            let robot = self.robot(batch.robot_id(row));
            for start in self.shape.starts(*time) {
                let cells = self
                    .windows
                    .entry((robot, start))
                    .or_insert_with(|| vec![Cell::EMPTY; batch.signals.width()]);
                for (cell, value) in cells.iter_mut().zip(batch.signals.row(row)) {
                    cell.add(*value);
                }
            }
            self.clocks[robot] = self.clocks[robot].max(*time);
            let number = batch.sequence(row).unwrap_or_default();
            let value = batch.signals.value(row, temperature);
            self.waiting[robot].insert((*time, number), value);
            self.judge(robot, self.clocks[robot] - REORDER_US);
        }
    }

    /// Judges the temperatures of a robot up to an event time.
    fn judge(&mut self, robot: usize, watermark: i64) {
        while let Some(first) = self.waiting[robot].first_entry()
            && first.key().0 <= watermark
        {
            let ((time, _), value) = first.remove_entry();
            let open = self.open[robot];
            if (!open && value > RAISE_ABOVE) || (open && value < CLEAR_BELOW) {
                self.open[robot] = !open;
                self.alerts.insert((self.names[robot].clone(), time, !open));
            }
        }
    }

    fn robot(&mut self, id: &str) -> usize {
        if let Some(robot) = self.robots.get(id) {
            return *robot;
        }
        let robot = self.names.len();
        self.robots.insert(id.to_owned(), robot);
        self.names.push(id.to_owned());
        self.clocks.push(i64::MIN);
        self.open.push(false);
        self.waiting.push(BTreeMap::new());
        robot
    }

    /// Robots met.
    pub(super) fn robots(&self) -> usize {
        self.names.len()
    }

    /// Windows that must be there.
    pub(super) fn windows(&self) -> usize {
        self.windows
            .keys()
            .filter(|key| self.is_closed(key))
            .count()
    }

    /// Transitions that must be there.
    pub(super) fn alerts(&self) -> usize {
        self.alerts.len()
    }

    /// The window of the closing record itself stays open.
    fn is_closed(&self, (robot, start): &(usize, i64)) -> bool {
        start + self.shape.size_us + REORDER_US <= self.clocks[*robot]
    }

    /// What the store holds that differs; empty when all is as it must be.
    pub(super) fn differences(
        &self,
        store: &dyn CheckpointStore,
        partitions: u32,
    ) -> Result<Vec<String>, Failure> {
        let mut wrong = Vec::new();
        let mut stored_rows: BTreeMap<(usize, i64), Vec<WindowRow>> = BTreeMap::new();
        for partition in 0..partitions {
            let mut after = 0;
            loop {
                let outputs = store.outputs_after(partition, after, 10_000)?;
                let Some(last) = outputs.last() else { break };
                after = last.sequence;
                for stored in outputs
                    .iter()
                    .filter(|stored| stored.output.kind == OutputKind::Window)
                {
                    let row = WindowRow::decode(&stored.output.payload)
                        .map_err(|error| Failure::Failed(error.to_string()))?;
                    let robot = self
                        .robots
                        .get(&stored.output.robot_id)
                        .copied()
                        .unwrap_or(usize::MAX);
                    stored_rows
                        .entry((robot, row.start_us))
                        .or_default()
                        .push(row);
                }
            }
        }
        for (key, cells) in self.windows.iter().filter(|(key, _)| self.is_closed(key)) {
            let got = stored_rows
                .get(key)
                .and_then(|revisions| merge_revisions(revisions));
            if !got.as_ref().is_some_and(|row| is_as_counted(row, cells)) && wrong.len() < 10 {
                let there = got.map(|row| {
                    row.signals
                        .iter()
                        .map(|signal| (signal.count, signal.sum))
                        .collect::<Vec<_>>()
                });
                wrong.push(format!(
                    "robot {} window {}: {} records expected, {there:?} stored",
                    self.names[key.0], key.1, cells[0].count
                ));
            }
        }
        if stored_rows.len() != self.windows() {
            wrong.push(format!(
                "{} windows expected, {} stored",
                self.windows(),
                stored_rows.len()
            ));
        }
        wrong.extend(self.other_alerts(store)?);
        Ok(wrong)
    }

    fn other_alerts(&self, store: &dyn CheckpointStore) -> Result<Option<String>, Failure> {
        let mut alerts = BTreeSet::new();
        let stored = store.find_outputs(&OutputFilter {
            kind: Some(OutputKind::Alert),
            ..OutputFilter::default()
        })?;
        for stored in &stored {
            let alert = Alert::decode(&stored.output.payload)
                .map_err(|error| Failure::Failed(error.to_string()))?;
            alerts.insert((
                alert.robot_id,
                alert.event_time,
                alert.transition == Transition::Raised,
            ));
        }
        if alerts == self.alerts && stored.len() == alerts.len() {
            return Ok(None);
        }
        let some = |what: &str, those: Vec<&(String, i64, bool)>| match those.first() {
            Some((robot, time, raised)) => {
                let transition = if *raised { "raised" } else { "cleared" };
                format!(
                    "; {} {what}, first {transition} for {robot} at {time}",
                    those.len()
                )
            }
            None => String::new(),
        };
        Ok(Some(format!(
            "{} alerts expected, {} stored{}{}",
            self.alerts.len(),
            stored.len(),
            some("missing", self.alerts.difference(&alerts).collect()),
            some("not expected", alerts.difference(&self.alerts).collect())
        )))
    }
}

/// Sums are compared to rounding: panes add up in another order.
fn is_as_counted(row: &WindowRow, cells: &[Cell]) -> bool {
    row.signals.len() == cells.len()
        && row.signals.iter().zip(cells).all(|(signal, cell)| {
            let sum = (signal.sum - cell.sum).abs() <= 1e-9 * cell.sum.abs().max(1.0);
            signal.count == cell.count && sum && signal.min == cell.min && signal.max == cell.max
        })
}
