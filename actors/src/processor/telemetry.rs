//! A message of telemetry, and the rows of it that go on together.

use std::cell::Cell;
use std::iter::once;
use std::ops::Range;

use theatre_schemas::batch::Batch;
use theatre_schemas::records::Alert;

use super::{ProcessorConfig, RobotActor, RuleContext};
use crate::position::TopicIndex;
use crate::robot::Columns;
use crate::rules::DatasetRules;
use crate::time::EventTime;

thread_local! {
    /// The row batch of the last message on this thread, for the next one: it is empty, but has room.
    static SPARE: Cell<RowBatch> = const { Cell::new(RowBatch::EMPTY) };
}

/// A message of telemetry, with what is looked up once for all of its rows.
#[derive(Clone, Copy)]
pub(super) struct Telemetry<'a> {
    pub(super) topic: TopicIndex,
    pub(super) batch: &'a Batch,
    pub(super) columns: Columns<'a>,
    pub(super) config: &'a ProcessorConfig,
    /// The rules of the dataset.
    pub(super) rules: Option<&'a DatasetRules>,
}

impl<'a> Telemetry<'a> {
    pub(super) fn of(topic: TopicIndex, batch: &'a Batch, config: &'a ProcessorConfig) -> Self {
        Self {
            topic,
            batch,
            columns: Columns::of(batch),
            config,
            rules: config.rules.for_dataset(batch.dataset_index),
        }
    }

    /// Whether a window that closes may raise something.
    pub(super) fn has_rules_on_windows(&self) -> bool {
        self.rules.is_some_and(|rules| !rules.on_windows.is_empty())
    }

    /// The robot's clock less the reorder bound.
    pub(super) fn watermark_at(&self, clock: EventTime) -> i64 {
        clock.0.saturating_sub(self.config.time.reorder_bound_us)
    }
}

/// Accepted rows that procedures, rules and windows have not got yet.
#[derive(Default)]
pub(super) struct RowBatch {
    pub(super) rows: Vec<u32>,
    pub(super) clocks: Vec<EventTime>,
    pub(super) missing: Vec<i64>,
    /// Indices of rows of which the one before is of another procedure; the first one is.
    runs: Vec<usize>,
    /// Up to which event time rules have judged all there is, after each row; empty unless rules
    /// have deadlines.
    pub(super) progress: Vec<i64>,
    /// How many of the rows the rules that judge in event time have got.
    pub(super) judged: usize,
    /// The alerts of those rules, each with the index of the row that let it go.
    pub(super) alerts: Vec<(usize, Alert)>,
}

impl RowBatch {
    const EMPTY: Self = Self {
        rows: Vec::new(),
        clocks: Vec::new(),
        missing: Vec::new(),
        runs: Vec::new(),
        progress: Vec::new(),
        judged: 0,
        alerts: Vec::new(),
    };

    /// An empty one with room for so many rows.
    pub(super) fn with_room(rows: usize) -> Self {
        let mut batch = SPARE.take();
        batch.rows.reserve(rows);
        batch.clocks.reserve(rows);
        batch.missing.reserve(rows);
        batch
    }

    /// Keeps its room for the next message on this thread.
    pub(super) fn put_back(mut self) {
        self.clear();
        SPARE.set(self);
    }

    /// Empties it, and keeps its room.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.clocks.clear();
        self.missing.clear();
        self.runs.clear();
        self.progress.clear();
        self.judged = 0;
        self.alerts.clear();
    }

    /// Adds a row, with the robot's clock after it. `begins_run`: it is of another procedure than the
    /// row before.
    #[inline]
    pub(super) fn push(&mut self, row: u32, clock: EventTime, missing: i64, begins_run: bool) {
        if begins_run || self.rows.is_empty() {
            self.runs.push(self.rows.len());
        }
        self.rows.push(row);
        self.clocks.push(clock);
        self.missing.push(missing);
    }

    /// Runs of rows of one procedure: their indices.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = self.runs.iter().copied();
        let ends = starts.clone().skip(1).chain(once(self.rows.len()));
        starts.zip(ends).map(|(from, to)| from..to)
    }

    /// Has the rules that judge in event time judge the rows before this index, which are in order.
    pub(super) fn judge_to(
        &mut self,
        to: usize,
        robot: &mut RobotActor,
        context: RuleContext<'_>,
        batch: &Batch,
    ) {
        let from = self.judged;
        if from < to {
            let (rows, clocks) = (&self.rows[from..to], &self.clocks[from..to]);
            let alerts = robot.judge_in_order(context, batch, rows, clocks);
            let alerts = alerts.into_iter().map(|(at, alert)| (from + at, alert));
            self.alerts.extend(alerts);
            self.judged = to;
        }
    }
}
