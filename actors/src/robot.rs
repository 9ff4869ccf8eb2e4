//! The robot actor: judges its records, keeps its clock, its windows and its conditions.
//!
//! A record is judged once, in this order: seen before (by boot and sequence), dated in the future,
//! too late; what passes is applied. The clock is the highest event time of an applied telemetry
//! record, so nobody else's silence or speed touches it.

mod columns;

use std::collections::BTreeMap;

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::{Alert, Transition};

use crate::outputs::DeadReason;
use crate::position::TopicIndex;
use crate::rules::{CLOCK_SKEW, Condition, ConditionChange, Place, Rule, RuleSet, Test};
use crate::sequence::{SequenceTracker, Verdict};
use crate::time::{EventTime, LogTime, TimePolicy};
use crate::window::{WindowPlan, WindowRow, Windows};

pub(crate) use columns::Columns;

/// Telemetry records in a row that must be dated well before a clock-skew condition is cleared.
const GOOD_ROWS_TO_CLEAR: u32 = 10;

/// Where conditions of the robot as a whole are kept: under no dataset.
const OWN: &str = "";

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
    /// By dataset (empty: the robot as a whole) and rule id; only those that remember something.
    conditions: BTreeMap<String, BTreeMap<String, Condition>>,
    /// Well-dated records since the last one from the future.
    good_rows: u32,
    /// Values that were not finite.
    not_finite: u64,
    /// The last event of the robot's own life, and when.
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
        self.heard = self.heard.max(Some(LogTime(columns.append_times[row])));
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

    /// Takes back what judging a record told the clock, but not that its number was seen.
    pub(crate) fn forget_time(&mut self, before: EventTime) {
        self.clock = (before.0 != i64::MIN).then_some(before);
    }

    /// The robot's clock; before the first telemetry the beginning of time.
    pub fn clock(&self) -> EventTime {
        self.clock.unwrap_or(EventTime(i64::MIN))
    }

    /// Append time of the last record heard.
    pub fn heard(&self) -> Option<LogTime> {
        self.heard
    }

    /// Adds accepted telemetry rows to the dataset's windows; `clocks` as the robot's clock was
    /// after each.
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
    pub fn evaluate(
        &mut self,
        robot_id: &str,
        rules: &RuleSet,
        policy: &TimePolicy,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
    ) -> Vec<(usize, Alert)> {
        let wanted = rules.of(batch.dataset_index);
        if wanted.is_empty() {
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
        let mut moved: Vec<(usize, usize, Alert)> = Vec::new();
        for (slot, signal) in wanted {
            let rule = &rules.rules()[*slot];
            let mut fresh = Condition::default();
            let known = conditions.get_mut(&rule.spec.id);
            let is_known = known.is_some();
            let condition = known.unwrap_or(&mut fresh);
            let spec = &batch.dataset.signals[*signal];
            let signal = Signal {
                values: batch.signals[*signal].values(),
                nulls: batch.signals[*signal].nulls(),
            };
            signal.hear(
                condition,
                rule,
                policy,
                batch.event_times(),
                rows,
                clocks,
                |at, news| {
                    let procedure_id = batch.procedure_id(rows[at] as usize);
                    let signal = Some((spec.name.as_str(), spec.unit.as_deref()));
                    moved.push((
                        at,
                        *slot,
                        news.alert(
                            rule,
                            Place {
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
        moved.sort_by_key(|(at, slot, _)| (*at, *slot));
        moved
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

    /// A record came from the future.
    pub fn skewed(
        &mut self,
        robot_id: &str,
        rules: &RuleSet,
        batch: &Batch,
        row: usize,
    ) -> Option<Alert> {
        self.good_rows = 0;
        let ahead = batch.event_times()[row].saturating_sub(batch.append_times[row]) as f64 / 1e6;
        // The record's own time is wrong; the log's is the best there is.
        self.own(
            robot_id,
            rules,
            rules.skew()?,
            Some(ahead),
            batch.append_times[row],
        )
    }

    /// True while a condition of the robot as a whole is raised: [`Self::well`] has nothing to end
    /// otherwise.
    pub fn is_unwell(&self) -> bool {
        self.conditions
            .get(OWN)
            .is_some_and(|own| own.values().any(Condition::is_raised))
    }

    /// A well-dated telemetry record came: ends silence, and clock skew after some of them.
    pub fn well(&mut self, robot_id: &str, rules: &RuleSet, append_time: i64) -> Vec<Alert> {
        let silences = rules
            .silences()
            .iter()
            .filter_map(|slot| self.own(robot_id, rules, *slot, None, append_time));
        let mut ended: Vec<Alert> = silences.collect();
        // Counted only while it matters, or the count would tell where batches were cut.
        if self
            .own_condition(CLOCK_SKEW)
            .is_some_and(Condition::is_raised)
        {
            self.good_rows += 1;
        }
        if self.good_rows >= GOOD_ROWS_TO_CLEAR {
            ended.extend(
                rules
                    .skew()
                    .and_then(|slot| self.own(robot_id, rules, slot, None, append_time)),
            );
        }
        ended
    }

    /// The wall clock says `now`: raises silence when nothing was heard for too long.
    pub fn tick(
        &mut self,
        robot_id: &str,
        rules: &RuleSet,
        policy: &TimePolicy,
        now: LogTime,
    ) -> Vec<Alert> {
        let Some(heard) = self.heard else {
            return Vec::new();
        };
        let raised = rules.silences().iter().filter_map(|slot| {
            let Test::Silence { after_us } = rules.rules()[*slot].test else {
                return None;
            };
            let after_us = after_us.unwrap_or(policy.silence_after_us);
            let at = heard.0.saturating_add(after_us);
            if now.0 < at {
                None
            } else {
                self.own(robot_id, rules, *slot, Some(after_us as f64 / 1e6), at)
            }
        });
        raised.collect()
    }

    /// True when nothing was heard for as long as the time policy calls silence.
    pub fn is_silent(&self, policy: &TimePolicy, now: LogTime) -> bool {
        self.heard
            .is_some_and(|heard| now.0.saturating_sub(heard.0) >= policy.silence_after_us)
    }

    fn own_condition(&self, id: &str) -> Option<&Condition> {
        self.conditions.get(OWN)?.get(id)
    }

    /// Raises (with a value) or clears (without) a condition of the robot as a whole; `None` when
    /// that is no news.
    fn own(
        &mut self,
        robot_id: &str,
        rules: &RuleSet,
        slot: usize,
        raise: Option<f64>,
        now: i64,
    ) -> Option<Alert> {
        let rule = &rules.rules()[slot];
        let raised = self
            .own_condition(&rule.spec.id)
            .is_some_and(Condition::is_raised);
        if raise.is_some() == raised {
            return None;
        }
        let condition = self
            .conditions
            .entry(OWN.to_owned())
            .or_default()
            .entry(rule.spec.id.clone())
            .or_default();
        let news = match raise {
            Some(value) => condition.raise(rule.spec.priority, now, Some(value), None),
            None => condition.clear(now, None, None),
        };
        Some(news.alert(
            rule,
            Place {
                robot_id,
                dataset: OWN,
                signal: None,
                procedure_id: None,
            },
        ))
    }

    /// Notes an event of the robot's own life.
    pub fn note_event(&mut self, event_type: &str, time: i64) {
        if self
            .last_event
            .as_ref()
            .is_none_or(|(_, last)| *last <= time)
        {
            self.last_event = Some((event_type.to_owned(), time));
        }
    }

    /// Its last event.
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

    /// Open panes and fragments.
    pub fn open_panes(&self) -> usize {
        self.windows
            .values()
            .map(|windows| windows.open_panes() + windows.open_fragments())
            .sum()
    }
}

/// True for the transition that a procedure counts.
pub(crate) fn begins(alert: &Alert) -> bool {
    alert.transition == Transition::Raised
}

/// One signal's column.
struct Signal<'a> {
    values: &'a [f64],
    nulls: Option<&'a NullBuffer>,
}

impl Signal<'_> {
    /// Lets a condition hear rows and tells what moved. While it sleeps, rows are only compared
    /// with the raising limit.
    #[allow(clippy::too_many_arguments)]
    fn hear(
        &self,
        condition: &mut Condition,
        rule: &Rule,
        policy: &TimePolicy,
        times: &[i64],
        rows: &[u32],
        clocks: &[EventTime],
        mut tell: impl FnMut(usize, ConditionChange),
    ) {
        let mut at = 0;
        while at < rows.len() {
            if let Some((sign, raise)) = condition.asleep(rule) {
                // A missing value may hold anything and is sorted out below; NaN is beyond nothing.
                let next = rows[at..]
                    .iter()
                    .position(|row| sign * self.values[*row as usize] > raise);
                let Some(skip) = next else { return };
                at += skip;
            }
            let row = rows[at] as usize;
            if times[row] >= clocks[at].0.saturating_sub(policy.reorder_bound_us) {
                let there = self.values[row].is_finite()
                    && !self.nulls.is_some_and(|nulls| nulls.is_null(row));
                if let Some(news) =
                    condition.hear(rule, there.then(|| self.values[row]), times[row])
                {
                    tell(at, news);
                }
            }
            at += 1;
        }
    }
}
