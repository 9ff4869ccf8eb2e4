//! The robot actor: judges its records, keeps its clock, its windows and its conditions.
//!
//! A record is judged once, in this order: seen before (by boot and sequence), dated in the future,
//! too late; what passes is applied. The clock is the highest event time of an applied telemetry
//! record, so the silence or the speed of other robots does not affect it.

mod columns;

use std::collections::BTreeMap;

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::{Alert, Transition};

use crate::outputs::DeadReason;
use crate::position::TopicIndex;
use crate::rules::{
    AlertContext, CLOCK_SKEW, Condition, ConditionChange, Predicate, Rule, RuleSet,
};
use crate::sequence::{SequenceTracker, Verdict};
use crate::time::{EventTime, LogTime, TimePolicy};
use crate::window::{WindowPlan, WindowRow, Windows};

pub(crate) use columns::Columns;

/// Telemetry records in a row that must be dated well before a clock-skew condition is cleared.
const VALID_ROWS_TO_CLEAR: u32 = 10;

/// The dataset name under which conditions of the robot as a whole are kept.
const ROBOT_WIDE: &str = "";

/// What the processor does with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The record is applied.
    Apply {
        /// By how much this record changes the number of missing records: positive when numbers
        /// before it were skipped, -1 when the record itself was counted as missing.
        missing: i64,
    },
    /// The record was seen before and is dropped.
    Duplicate,
    /// The record becomes a dead letter.
    Dead(DeadReason),
}

/// State of one robot, apart from its procedures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RobotActor {
    /// Highest event time of an applied telemetry record; `None` before the first one.
    clock: Option<EventTime>,
    /// Highest append time of the records judged so far.
    last_seen: Option<LogTime>,
    /// Sequence numbers seen, by topic index.
    trackers: Vec<SequenceTracker>,
    /// Open windows by dataset name.
    windows: BTreeMap<String, Windows>,
    /// Conditions by dataset ([`ROBOT_WIDE`]: the robot as a whole) and rule id. A condition in its
    /// initial state is not stored.
    conditions: BTreeMap<String, BTreeMap<String, Condition>>,
    /// Correctly dated telemetry records since the last one from the future, counted while the
    /// clock-skew condition is open.
    valid_rows_in_a_row: u32,
    /// Number of signal values that were NaN or infinite.
    not_finite: u64,
    /// Type and event time of the latest robot event (start-up, error, end of a recording).
    last_event: Option<(String, i64)>,
}

impl RobotActor {
    /// Judges a record and, if it is telemetry to be applied, moves the clock.
    pub(crate) fn judge(
        &mut self,
        topic: TopicIndex,
        columns: &Columns<'_>,
        row: usize,
        policy: &TimePolicy,
    ) -> Judgement {
        self.last_seen = self.last_seen.max(Some(LogTime(columns.append_times[row])));
        // Duplicates are recognised first: a record that was applied once must not become a dead
        // letter when it comes again later.
        let mut missing = 0;
        if let Some((boot, sequence)) = columns.sequence(row) {
            if self.trackers.len() <= topic {
                self.trackers
                    .resize_with(topic + 1, SequenceTracker::default);
            }
            match self.trackers[topic].judge(boot, sequence) {
                Verdict::New { gap } => missing = i64::try_from(gap).unwrap_or(i64::MAX),
                Verdict::Filled => missing = -1,
                Verdict::Duplicate => return Judgement::Duplicate,
                Verdict::GivenUp => return Judgement::Dead(DeadReason::SequenceGivenUp),
            }
        }
        let time = columns.times[row];
        if time > columns.append_times[row].saturating_add(policy.future_tolerance_us) {
            return Judgement::Dead(DeadReason::Future);
        }
        if columns.telemetry {
            if self
                .clock
                .is_some_and(|clock| time < clock.0.saturating_sub(policy.allowed_lateness_us))
            {
                return Judgement::Dead(DeadReason::Late);
            }
            self.clock = self.clock.max(Some(EventTime(time)));
        }
        Judgement::Apply { missing }
    }

    /// Sets the clock back to what it was before a record was judged. The record's sequence number
    /// stays known.
    pub(crate) fn restore_clock(&mut self, before: EventTime) {
        self.clock = (before.0 != i64::MIN).then_some(before);
    }

    /// The robot's clock; `i64::MIN` before the first telemetry record.
    pub fn clock(&self) -> EventTime {
        self.clock.unwrap_or(EventTime(i64::MIN))
    }

    /// Highest append time of the robot's records; `None` before the first one.
    pub fn last_seen(&self) -> Option<LogTime> {
        self.last_seen
    }

    /// Adds accepted telemetry rows to the dataset's windows and pushes the windows this closes to
    /// `out`. `clocks[i]` is the robot's clock after `rows[i]`.
    pub fn aggregate(
        &mut self,
        plan: &WindowPlan,
        policy: &TimePolicy,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
        out: &mut Vec<WindowRow>,
    ) {
        if !self.windows.contains_key(&batch.dataset.name) {
            self.windows.insert(
                batch.dataset.name.clone(),
                Windows::new(batch.signals.len()),
            );
        }
        if let Some(windows) = self.windows.get_mut(&batch.dataset.name) {
            windows.apply(plan, batch, rows, clocks, policy.reorder_bound_us, out);
        }
    }

    /// Closes all windows; returns their rows by dataset.
    pub fn flush_windows(&mut self, plan: &WindowPlan) -> Vec<(String, Vec<WindowRow>)> {
        let flush = |(dataset, windows): (&String, &mut Windows)| {
            let mut out = Vec::new();
            windows.flush(plan, &mut out);
            (dataset.clone(), out)
        };
        self.windows.iter_mut().map(flush).collect()
    }

    /// Evaluates the rules of the dataset over accepted rows. Returns each alert with the index
    /// into `rows` of the row that caused it, in row order. Rows older than the reorder bound are
    /// not evaluated.
    pub fn evaluate(
        &mut self,
        robot_id: &str,
        rules: &RuleSet,
        policy: &TimePolicy,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
    ) -> Vec<(usize, Alert)> {
        let dataset_rules = rules.for_dataset(batch.dataset_index);
        if dataset_rules.is_empty() {
            return Vec::new();
        }
        let dataset = batch.dataset.name.as_str();
        if !self.conditions.contains_key(dataset) {
            self.conditions.insert(dataset.to_owned(), BTreeMap::new());
        }
        let conditions = self
            .conditions
            .get_mut(dataset)
            .expect("inserted above when it was not there");
        let mut changes: Vec<(usize, usize, Alert)> = Vec::new();
        for (slot, signal) in dataset_rules {
            let rule = &rules.rules()[*slot];
            // Most conditions never leave their initial state: one is stored only once it has
            // changed, so that a processor's state does not grow with the number of rules.
            let mut fresh = Condition::default();
            let known = conditions.get_mut(&rule.spec.id);
            let is_known = known.is_some();
            let condition = known.unwrap_or(&mut fresh);
            let spec = &batch.dataset.signals[*signal];
            let signal = SignalColumn {
                values: batch.signals[*signal].values(),
                nulls: batch.signals[*signal].nulls(),
            };
            signal.evaluate(
                condition,
                rule,
                policy,
                batch.event_times(),
                rows,
                clocks,
                |at, change| {
                    let procedure_id = batch.procedure_id(rows[at] as usize);
                    let signal = Some((spec.name.as_str(), spec.unit.as_deref()));
                    changes.push((
                        at,
                        *slot,
                        change.alert(
                            rule,
                            AlertContext {
                                robot_id,
                                dataset,
                                signal,
                                procedure_id,
                            },
                        ),
                    ));
                },
            );
            if !is_known && !fresh.is_default() {
                conditions.insert(rule.spec.id.clone(), fresh);
            }
        }
        // Rules are evaluated one after another over all rows; alerts go out row by row.
        changes.sort_by_key(|(at, slot, _)| (*at, *slot));
        changes
            .into_iter()
            .map(|(at, _, alert)| (at, alert))
            .collect()
    }

    /// Counts values that are not finite in accepted rows.
    pub fn count_not_finite(&mut self, batch: &Batch, rows: &[u32]) {
        for (column, all_finite) in batch.signals.iter().zip(&batch.all_finite) {
            if *all_finite {
                continue;
            }
            let values = column.values();
            self.not_finite += rows
                .iter()
                .filter(|row| {
                    !values[**row as usize].is_finite() && column.is_valid(**row as usize)
                })
                .count() as u64;
        }
    }

    /// Opens the clock-skew condition for a record dated in the future; `None` when it is open
    /// already.
    pub fn on_future_record(
        &mut self,
        robot_id: &str,
        rules: &RuleSet,
        batch: &Batch,
        row: usize,
    ) -> Option<Alert> {
        self.valid_rows_in_a_row = 0;
        let ahead = batch.event_times()[row].saturating_sub(batch.append_times[row]) as f64 / 1e6;
        // The record's own time is wrong; the log's is the best there is.
        self.set_robot_condition(
            robot_id,
            rules,
            rules.clock_skew_rule()?,
            Some(ahead),
            batch.append_times[row],
        )
    }

    /// True while a condition of the robot as a whole is open. Otherwise
    /// [`Self::on_valid_record`] has nothing to clear and need not be called.
    pub fn has_open_robot_condition(&self) -> bool {
        self.conditions
            .get(ROBOT_WIDE)
            .is_some_and(|conditions| conditions.values().any(Condition::is_raised))
    }

    /// Handles a correctly dated telemetry record: clears silence conditions at once and clock skew
    /// after ten of them in a row. Returns the alerts of the cleared conditions.
    pub fn on_valid_record(
        &mut self,
        robot_id: &str,
        rules: &RuleSet,
        append_time: i64,
    ) -> Vec<Alert> {
        let silences = rules
            .silence_rules()
            .iter()
            .filter_map(|slot| self.set_robot_condition(robot_id, rules, *slot, None, append_time));
        let mut ended: Vec<Alert> = silences.collect();
        // The caller stops at the first row without an open condition, which depends on how
        // batches are cut. Counting only while the condition is open keeps the state independent
        // of that.
        if self
            .robot_condition(CLOCK_SKEW)
            .is_some_and(Condition::is_raised)
        {
            self.valid_rows_in_a_row += 1;
        }
        if self.valid_rows_in_a_row >= VALID_ROWS_TO_CLEAR {
            ended.extend(rules.clock_skew_rule().and_then(|slot| {
                self.set_robot_condition(robot_id, rules, slot, None, append_time)
            }));
        }
        ended
    }

    /// Opens silence conditions when, at wall-clock time `now`, the robot has sent no record for
    /// too long.
    pub fn tick(
        &mut self,
        robot_id: &str,
        rules: &RuleSet,
        policy: &TimePolicy,
        now: LogTime,
    ) -> Vec<Alert> {
        let Some(last_seen) = self.last_seen else {
            return Vec::new();
        };
        let raised = rules.silence_rules().iter().filter_map(|slot| {
            let Predicate::Silence { after_us } = rules.rules()[*slot].predicate else {
                return None;
            };
            let after_us = after_us.unwrap_or(policy.silence_after_us);
            let at = last_seen.0.saturating_add(after_us);
            if now.0 < at {
                None
            } else {
                self.set_robot_condition(robot_id, rules, *slot, Some(after_us as f64 / 1e6), at)
            }
        });
        raised.collect()
    }

    /// True when the robot has sent no record for [`TimePolicy::silence_after_us`].
    pub fn is_silent(&self, policy: &TimePolicy, now: LogTime) -> bool {
        self.last_seen
            .is_some_and(|last_seen| now.0.saturating_sub(last_seen.0) >= policy.silence_after_us)
    }

    fn robot_condition(&self, id: &str) -> Option<&Condition> {
        self.conditions.get(ROBOT_WIDE)?.get(id)
    }

    /// Raises (with a value) or clears (without one) a condition of the robot as a whole. Returns
    /// `None` when the condition is in that state already.
    fn set_robot_condition(
        &mut self,
        robot_id: &str,
        rules: &RuleSet,
        slot: usize,
        raise: Option<f64>,
        now: i64,
    ) -> Option<Alert> {
        let rule = &rules.rules()[slot];
        let raised = self
            .robot_condition(&rule.spec.id)
            .is_some_and(Condition::is_raised);
        if raise.is_some() == raised {
            return None;
        }
        let condition = self
            .conditions
            .entry(ROBOT_WIDE.to_owned())
            .or_default()
            .entry(rule.spec.id.clone())
            .or_default();
        let change = match raise {
            Some(value) => condition.raise(rule.spec.priority, now, Some(value), None),
            None => condition.clear(now, None, None),
        };
        Some(change.alert(
            rule,
            AlertContext {
                robot_id,
                dataset: ROBOT_WIDE,
                signal: None,
                procedure_id: None,
            },
        ))
    }

    /// Remembers a robot event unless a later one is known; `time` is event time, microseconds
    /// UTC.
    pub fn note_event(&mut self, event_type: &str, time: i64) {
        if self
            .last_event
            .as_ref()
            .is_none_or(|(_, last)| *last <= time)
        {
            self.last_event = Some((event_type.to_owned(), time));
        }
    }

    /// Type and event time (microseconds UTC) of the latest robot event.
    pub fn last_event(&self) -> Option<&(String, i64)> {
        self.last_event.as_ref()
    }

    /// Open conditions: (dataset, rule id, condition); the dataset is empty for those of the robot
    /// as a whole.
    pub fn open_conditions(&self) -> impl Iterator<Item = (&str, &str, &Condition)> {
        let all = self.conditions.iter().flat_map(|(dataset, rules)| {
            rules
                .iter()
                .map(move |(id, condition)| (dataset.as_str(), id.as_str(), condition))
        });
        all.filter(|(.., condition)| condition.is_raised())
    }

    /// (missing, given up, restarts, not finite), over all topics.
    pub fn quality(&self) -> (u64, u64, u64, u64) {
        let sum = |pick: fn(&SequenceTracker) -> u64| {
            self.trackers.iter().map(pick).fold(0, u64::saturating_add)
        };
        let restarts = self
            .trackers
            .iter()
            .map(SequenceTracker::restarts)
            .max()
            .unwrap_or(0);
        (
            sum(SequenceTracker::missing),
            sum(SequenceTracker::given_up),
            restarts,
            self.not_finite,
        )
    }

    /// The number after the highest that was seen on a topic of records without a boot number.
    pub(crate) fn next_sequence(&self, topic: TopicIndex) -> i64 {
        self.trackers
            .get(topic)
            .map_or(0, |tracker| tracker.next_of(0))
    }

    /// Dataset, name, start, end and rows of every open window that has rows.
    pub fn open_windows(&self) -> impl Iterator<Item = (&str, &str, i64, i64, u64)> {
        self.windows.iter().flat_map(|(dataset, windows)| {
            let open = windows.open_windows().into_iter();
            open.map(move |(name, start, end, rows)| (dataset.as_str(), name, start, end, rows))
        })
    }

    /// Number of open panes and fragments, over all datasets.
    pub fn open_panes(&self) -> usize {
        self.windows
            .values()
            .map(|windows| windows.open_panes() + windows.open_fragments())
            .sum()
    }
}

/// True when the alert opens its condition: the transition that a procedure counts.
pub(crate) fn is_raising(alert: &Alert) -> bool {
    alert.transition == Transition::Raised
}

/// The column of one signal in a batch.
struct SignalColumn<'a> {
    values: &'a [f64],
    nulls: Option<&'a NullBuffer>,
}

impl SignalColumn<'_> {
    /// Evaluates a condition over rows and calls `on_change` with the index into `rows` and the
    /// change. While the condition is idle, rows are only compared with the raising limit.
    #[allow(clippy::too_many_arguments)]
    fn evaluate(
        &self,
        condition: &mut Condition,
        rule: &Rule,
        policy: &TimePolicy,
        times: &[i64],
        rows: &[u32],
        clocks: &[EventTime],
        mut on_change: impl FnMut(usize, ConditionChange),
    ) {
        let mut at = 0;
        while at < rows.len() {
            if let Some((sign, raise)) = condition.skip_limit(rule) {
                // The slot of a null may hold any number; it is checked below. NaN compares as not
                // beyond the limit.
                let next = rows[at..]
                    .iter()
                    .position(|row| sign * self.values[*row as usize] > raise);
                let Some(skip) = next else { return };
                at += skip;
            }
            let row = rows[at] as usize;
            if times[row] >= clocks[at].0.saturating_sub(policy.reorder_bound_us) {
                let is_present = self.values[row].is_finite()
                    && !self.nulls.is_some_and(|nulls| nulls.is_null(row));
                if let Some(change) =
                    condition.evaluate(rule, is_present.then(|| self.values[row]), times[row])
                {
                    on_change(at, change);
                }
            }
            at += 1;
        }
    }
}
