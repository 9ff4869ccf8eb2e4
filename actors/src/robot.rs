//! The robot actor: judges its records, keeps its clock, its windows and its conditions.
//!
//! A record is judged once, in this order: seen before (by boot and sequence), dated in the future, too late; what passes is applied.
//! The clock is the highest event time of an applied telemetry record, so nobody else's silence or speed touches it.

use std::collections::BTreeMap;

use arrow::array::Array;
use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::records::{Alert, Transition};

use crate::effect::DeadReason;
use crate::position::TopicIndex;
use crate::rules::{CLOCK_SKEW, Condition, ROBOT_SILENT, RuleSet};
use crate::sequence::{SequenceTracker, Verdict};
use crate::time::{EventTime, LogTime, TimePolicy};
use crate::window::{WindowPlan, WindowRow, Windows};

/// Telemetry records in a row that must be dated well before a clock-skew condition is cleared.
const GOOD_ROWS_TO_CLEAR: u32 = 10;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Apply it; so many records before it are newly missing (negative: it was missing).
    Apply {
        /// Change of the number of missing records.
        missing: i64,
    },
    /// Drop it.
    Duplicate,
    /// Dead-letter it.
    Dead(DeadReason),
}

/// State of one robot, apart from its procedures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RobotActor {
    clock: Option<EventTime>,
    /// Append time of the last record heard.
    heard: Option<LogTime>,
    trackers: Vec<SequenceTracker>,
    /// By dataset name.
    windows: BTreeMap<String, Windows>,
    /// By rule id; only those that remember something.
    conditions: BTreeMap<String, Condition>,
    /// Well-dated records since the last one from the future.
    good_rows: u32,
    /// Values that were not finite.
    not_finite: u64,
    /// The last event of the robot's own life, and when.
    last_event: Option<(String, i64)>,
}

impl RobotActor {
    /// Judges a record and, if it is telemetry to be applied, moves the clock.
    pub fn judge(&mut self, topic: TopicIndex, batch: &Batch, row: usize, policy: &TimePolicy) -> Judgement {
        self.heard = self.heard.max(Some(LogTime(batch.append_times[row])));
        let mut missing = 0;
        if let Some(sequence) = batch.sequence(row) {
            if self.trackers.len() <= topic {
                self.trackers.resize_with(topic + 1, SequenceTracker::default);
            }
            match self.trackers[topic].judge(batch.boot_id(row).unwrap_or(0), sequence) {
                Verdict::New { gap } => missing = i64::try_from(gap).unwrap_or(i64::MAX),
                Verdict::Filled => missing = -1,
                Verdict::Duplicate => return Judgement::Duplicate,
                Verdict::GivenUp => return Judgement::Dead(DeadReason::SequenceGivenUp),
            }
        }
        let time = batch.event_times()[row];
        if time > batch.append_times[row].saturating_add(policy.future_tolerance_us) {
            return Judgement::Dead(DeadReason::Future);
        }
        if batch.dataset.kind == DatasetKind::Telemetry {
            if self.clock.is_some_and(|clock| time < clock.0.saturating_sub(policy.allowed_lateness_us)) {
                return Judgement::Dead(DeadReason::Late);
            }
            self.clock = self.clock.max(Some(EventTime(time)));
        }
        Judgement::Apply { missing }
    }

    /// Takes back what judging a record told the clock, but not that its number was seen.
    pub(crate) fn forget_time(&mut self, before: &Self) {
        self.clock = before.clock;
    }

    /// The robot's clock; before the first telemetry the beginning of time.
    pub fn clock(&self) -> EventTime {
        self.clock.unwrap_or(EventTime(i64::MIN))
    }

    /// Append time of the last record heard.
    pub fn heard(&self) -> Option<LogTime> {
        self.heard
    }

    /// Adds accepted telemetry rows to the dataset's windows; `clocks` as the robot's clock was after each.
    pub fn aggregate(&mut self, plan: &WindowPlan, policy: &TimePolicy, batch: &Batch, rows: &[u32], clocks: &[EventTime], out: &mut Vec<WindowRow>) {
        if !self.windows.contains_key(&batch.dataset.name) {
            self.windows.insert(batch.dataset.name.clone(), Windows::new(batch.signals.len()));
        }
        if let Some(windows) = self.windows.get_mut(&batch.dataset.name) {
            windows.apply(plan, policy, batch, rows, clocks, out);
        }
    }

    /// Closes all windows; tells them by dataset.
    pub fn flush_windows(&mut self, plan: &WindowPlan) -> Vec<(String, Vec<WindowRow>)> {
        let flush = |(dataset, windows): (&String, &mut Windows)| {
            let mut out = Vec::new();
            windows.flush(plan, &mut out);
            (dataset.clone(), out)
        };
        self.windows.iter_mut().map(flush).collect()
    }

    /// Evaluates the rules of the dataset over accepted rows; tells alerts with the index of
    /// their row, in row order. Rows older than the reorder bound are no news.
    pub fn evaluate(&mut self, robot_id: &str, rules: &RuleSet, policy: &TimePolicy, batch: &Batch, rows: &[u32], clocks: &[EventTime]) -> Vec<(usize, Alert)> {
        let times = batch.event_times();
        let mut moved: Vec<(usize, usize, Alert)> = Vec::new();
        for (slot, signal) in rules.of(batch.dataset_index) {
            let rule = &rules.rules()[*slot];
            let mut condition = self.conditions.remove(&rule.spec.id).unwrap_or_default();
            let column = &batch.signals[*signal];
            let values = column.values();
            let nulls = column.nulls();
            for (at, row) in rows.iter().enumerate() {
                let row = *row as usize;
                if times[row] < clocks[at].0.saturating_sub(policy.reorder_bound_us) {
                    continue;
                }
                let there = values[row].is_finite() && !nulls.is_some_and(|nulls| nulls.is_null(row));
                if let Some(news) = condition.hear(rule, there.then(|| values[row]), times[row]) {
                    let name = batch.dataset.signals[*signal].name.as_str();
                    moved.push((at, *slot, news.alert(rule, Some(name), robot_id, batch.procedure_id(row))));
                }
            }
            if !condition.is_default() {
                self.conditions.insert(rule.spec.id.clone(), condition);
            }
        }
        moved.sort_by_key(|(at, slot, _)| (*at, *slot));
        moved.into_iter().map(|(at, _, alert)| (at, alert)).collect()
    }

    /// Counts values that are not finite in accepted rows.
    pub fn count_not_finite(&mut self, batch: &Batch, rows: &[u32]) {
        for column in &batch.signals {
            let values = column.values();
            self.not_finite += rows.iter().filter(|row| !values[**row as usize].is_finite() && column.is_valid(**row as usize)).count() as u64;
        }
    }

    /// A record came from the future.
    pub fn skewed(&mut self, robot_id: &str, rules: &RuleSet, batch: &Batch, row: usize) -> Option<Alert> {
        self.good_rows = 0;
        let ahead = (batch.event_times()[row] - batch.append_times[row]) as f64 / 1e6;
        // The record's own time is wrong; the log's is the best there is.
        self.built_in(robot_id, rules, CLOCK_SKEW, Some((batch.append_times[row], Some(ahead))), batch.append_times[row])
    }

    /// A well-dated telemetry record came: ends silence, and clock skew after some of them.
    pub fn well(&mut self, robot_id: &str, rules: &RuleSet, append_time: i64) -> Vec<Alert> {
        if self.conditions.is_empty() {
            return Vec::new();
        }
        let silence = self.built_in(robot_id, rules, ROBOT_SILENT, None, append_time);
        if self.conditions.get(CLOCK_SKEW).is_some_and(Condition::is_raised) {
            self.good_rows += 1;
        }
        let skew = if self.good_rows >= GOOD_ROWS_TO_CLEAR { self.built_in(robot_id, rules, CLOCK_SKEW, None, append_time) } else { None };
        silence.into_iter().chain(skew).collect()
    }

    /// The wall clock says `now`: raises silence when nothing was heard for too long.
    pub fn tick(&mut self, robot_id: &str, rules: &RuleSet, policy: &TimePolicy, now: LogTime) -> Option<Alert> {
        let heard = self.heard?;
        let silent_us = now.0.saturating_sub(heard.0);
        if silent_us < policy.silence_after_us {
            return None;
        }
        let at = heard.0.saturating_add(policy.silence_after_us);
        self.built_in(robot_id, rules, ROBOT_SILENT, Some((at, Some(policy.silence_after_us as f64 / 1e6))), at)
    }

    /// Raises (`Some`) or clears (`None`) a built-in condition; `None` when that is no news.
    fn built_in(&mut self, robot_id: &str, rules: &RuleSet, id: &str, raise: Option<(i64, Option<f64>)>, now: i64) -> Option<Alert> {
        let rule = &rules.rules()[rules.slot(id)?];
        let raised = self.conditions.get(id).is_some_and(Condition::is_raised);
        let news = match (raise, raised) {
            (Some((at, value)), false) => {
                let condition = self.conditions.entry(id.to_owned()).or_default();
                condition.raise(rule.spec.priority, at, value, None)
            }
            (None, true) => self.conditions.get_mut(id)?.clear(now, None, None),
            _ => return None,
        };
        Some(news.alert(rule, None, robot_id, None))
    }

    /// Notes an event of the robot's own life.
    pub fn note_event(&mut self, event_type: &str, time: i64) {
        if self.last_event.as_ref().is_none_or(|(_, last)| *last <= time) {
            self.last_event = Some((event_type.to_owned(), time));
        }
    }

    /// Its last event.
    pub fn last_event(&self) -> Option<&(String, i64)> {
        self.last_event.as_ref()
    }

    /// Open conditions by rule id.
    pub fn open_conditions(&self) -> impl Iterator<Item = (&str, &Condition)> {
        self.conditions.iter().filter(|(_, condition)| condition.is_raised()).map(|(id, condition)| (id.as_str(), condition))
    }

    /// (missing, given up, restarts, not finite), over all topics.
    pub fn quality(&self) -> (u64, u64, u64, u64) {
        let sum = |pick: fn(&SequenceTracker) -> u64| self.trackers.iter().map(pick).sum();
        let restarts = self.trackers.iter().map(SequenceTracker::restarts).max().unwrap_or(0);
        (sum(SequenceTracker::missing), sum(SequenceTracker::given_up), restarts, self.not_finite)
    }

    /// Open panes and fragments.
    pub fn open_panes(&self) -> usize {
        self.windows.values().map(Windows::open).sum()
    }
}

/// True for the transition that a procedure counts.
pub(crate) fn begins(alert: &Alert) -> bool {
    alert.transition == Transition::Raised
}
