//! How a robot's rows are judged by the rules: in event time, or as they come.
//!
//! Rows whose numbers and times show that they are in order are judged as a slice, in place. All
//! others wait ([`super::waiting`]) until the numbers before them have come, the watermark has
//! passed them, or the recording ends or the robot falls silent.

use theatre_schemas::batch::Batch;
use theatre_schemas::records::Alert;

use super::measuring::{Measuring, Seen, Texts};
use super::row_judge::RowJudge;
use super::signal::SignalColumn;
use super::waiting::{WaitingRow, WaitingRows};
use super::{ROBOT_WIDE, RobotActor};
use crate::name_map::NameMap;
use crate::position::TopicIndex;
use crate::rules::{
    AlertContext, Condition, ConditionChange, DatasetRules, Manner, RuleSet, SignalRule,
    Surroundings, rule_and_signal,
};
use crate::time::{EventTime, TimePolicy};

/// What judging needs to know besides rows.
#[derive(Clone, Copy)]
pub(crate) struct RuleContext<'a> {
    pub(crate) robot_id: &'a str,
    pub(crate) rules: &'a RuleSet,
    pub(crate) policy: &'a TimePolicy,
    /// The robot's record and its cases.
    pub(crate) around: &'a dyn Surroundings,
}

impl RuleContext<'_> {
    pub(super) fn watermark(&self, clock: i64) -> i64 {
        clock.saturating_sub(self.policy.reorder_bound_us)
    }

    pub(super) fn alert(
        &self,
        dataset: &str,
        rule: &SignalRule,
        change: ConditionChange,
        procedure_id: Option<&str>,
    ) -> Alert {
        let context = AlertContext {
            robot_id: self.robot_id,
            dataset,
            signal: Some((&rule.name, rule.unit.as_deref())),
            procedure_id,
            one_of_many: rule.is_one_of_many.then_some(&*rule.name),
        };
        change.alert(&self.rules.rules()[rule.slot], context)
    }

    /// The alert of a change that no row caused; its rule may be gone.
    fn alert_without_row(&self, dataset: &str, key: &str, change: ConditionChange) -> Alert {
        let known = self.rules.for_name(dataset).and_then(|rules| {
            let is = |rule: &&SignalRule| *rule.key == *key;
            rules.all().find(is)
        });
        if let Some(rule) = known {
            return self.alert(dataset, rule, change, None);
        }
        let (id, signal) = rule_and_signal(key);
        let context = AlertContext {
            robot_id: self.robot_id,
            dataset,
            signal: signal.map(|signal| (signal, None)),
            procedure_id: None,
            one_of_many: signal,
        };
        change.alert_of_removed(id, context)
    }
}

pub(super) type Conditions = NameMap<Condition>;

/// Most conditions never leave their initial state: one is stored only once it has changed, so that
/// a processor's state does not grow with the number of rules.
pub(super) fn with_condition<T>(
    conditions: &mut Conditions,
    id: &str,
    evaluate: impl FnOnce(&mut Condition) -> T,
) -> T {
    if let Some(known) = conditions.get_mut(id) {
        return evaluate(known);
    }
    let mut fresh = Condition::default();
    let result = evaluate(&mut fresh);
    if !fresh.is_default() {
        conditions.insert(id, fresh);
    }
    result
}

impl RobotActor {
    /// Whether rows of a dataset that are in order may be judged at once: no row waits, and numbers
    /// are believed.
    pub(crate) fn is_calm(&self, dataset: &str) -> bool {
        self.waiting.iter().all(|(name, waiting)| {
            waiting.is_empty() && (name != dataset || waiting.distrusted_until.is_none())
        })
    }

    /// The latest event time at which rules have judged a row of a dataset; `i64::MIN` before the
    /// first.
    pub(crate) fn judged_to(&self, dataset: &str) -> i64 {
        let waiting = self.waiting.get(dataset);
        waiting
            .and_then(|waiting| waiting.judged_to)
            .unwrap_or(i64::MIN)
    }

    /// Judges accepted rows as they come by the rules that want that. Returns each alert with the
    /// index into `rows` of the row that caused it, in row order. Rows older than the reorder bound
    /// are not judged.
    pub(crate) fn judge_on_arrival(
        &mut self,
        context: RuleContext<'_>,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
    ) -> Vec<(usize, Alert)> {
        match context.rules.for_dataset(batch.dataset_index) {
            Some(rules) if !rules.on_arrival.is_empty() => {
                self.judge_slice(context, &rules.on_arrival, batch, rows, clocks)
            }
            _ => Vec::new(),
        }
    }

    /// The same for rows that are in order, by the rules that judge in event time.
    pub(crate) fn judge_in_order(
        &mut self,
        context: RuleContext<'_>,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
    ) -> Vec<(usize, Alert)> {
        let (Some(rules), Some(last)) =
            (context.rules.for_dataset(batch.dataset_index), rows.last())
        else {
            return Vec::new();
        };
        if rules.in_event_time.is_empty() {
            return Vec::new();
        }
        self.waiting
            .get_or_default(&batch.dataset.name)
            .note_judged(batch.event_times()[*last as usize]);
        self.judge_slice(context, &rules.in_event_time, batch, rows, clocks)
    }

    fn judge_slice(
        &mut self,
        context: RuleContext<'_>,
        rules: &[SignalRule],
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
    ) -> Vec<(usize, Alert)> {
        let dataset = batch.dataset.name.as_str();
        let conditions = self.conditions.get_or_default(dataset);
        let mut alerts: Vec<(usize, usize, Alert)> = Vec::new();
        for signal_rule in rules {
            let rule = &context.rules.rules()[signal_rule.slot];
            let column = SignalColumn::of(batch, signal_rule.signal);
            let on_change = |at: usize, change: ConditionChange| {
                let procedure_id = batch.procedure_id(rows[at] as usize);
                let alert = context.alert(dataset, signal_rule, change, procedure_id);
                alerts.push((at, signal_rule.slot, alert));
            };
            if signal_rule.is_plain {
                with_condition(conditions, &signal_rule.key, |condition| {
                    let (times, policy) = (batch.event_times(), context.policy);
                    column.evaluate(condition, rule, policy, times, rows, clocks, on_change);
                });
            } else {
                let measuring = Measuring {
                    context,
                    rule: signal_rule,
                    starts: &self.starts,
                };
                let measures = &mut self.measures;
                with_condition(conditions, &signal_rule.key, |condition| {
                    measuring.with_memory(measures, dataset, |memory| {
                        measuring.judge_slice(condition, memory, batch, (rows, clocks), on_change);
                    });
                });
            }
        }
        // Rules are evaluated one after another over all rows; alerts go out row by row.
        alerts.sort_by_key(|(at, slot, _)| (*at, *slot));
        alerts
            .into_iter()
            .map(|(at, _, alert)| (at, alert))
            .collect()
    }

    /// Judges an accepted row that does not simply follow those before it, and the rows that its
    /// clock lets go: it takes its turn among those that wait, unless later ones had theirs.
    /// `in_order`: nothing is missing before its number. `clock` is that after the row.
    pub(crate) fn judge_in_turn(
        &mut self,
        context: RuleContext<'_>,
        batch: &Batch,
        row: usize,
        (number, in_order): (Option<(TopicIndex, i64, i64)>, bool),
        clock: EventTime,
    ) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let in_bound = batch.event_times()[row] >= context.watermark(clock.0);
        if let Some(rules) = context.rules.for_dataset(batch.dataset_index)
            && !rules.in_event_time.is_empty()
            && in_bound
        {
            let dataset = batch.dataset.name.as_str();
            let row = waiting_row(rules, batch, row, number, false);
            let waiting = self.waiting.get_or_default(dataset);
            if waiting.has_passed(&row) {
                if in_order && Some(row.time) < waiting.judged_to {
                    // Its number follows, its time does not: those of the next rows may not, either.
                    waiting.distrusted_until = Some(clock.0);
                }
                let mut judge = RowJudge::new(
                    context,
                    (dataset, rules),
                    &mut self.conditions,
                    &mut self.measures,
                    &self.starts,
                );
                judge.judge(waiting, &row, &mut alerts);
            } else {
                waiting.push(rules, row);
            }
        }
        alerts.extend(self.judge_due(context, clock));
        alerts
    }

    /// Judges a row that was applied before the clock began anew and came once more: it may go on
    /// with or end what a row before it has begun since.
    pub(crate) fn judge_again(
        &mut self,
        context: RuleContext<'_>,
        batch: &Batch,
        row: usize,
    ) -> Vec<Alert> {
        let dataset = batch.dataset.name.as_str();
        let (time, clock) = (batch.event_times()[row], self.clock());
        let Some(rules) = context.rules.for_dataset(batch.dataset_index) else {
            return Vec::new();
        };
        let is_begun = self
            .conditions
            .get(dataset)
            .is_some_and(|conditions| conditions.values().any(Condition::is_begun));
        let waits = !self.is_calm(dataset);
        if !(is_begun || waits || rules.has_measures()) || time < context.watermark(clock.0) {
            return Vec::new();
        }
        let mut alerts = Vec::new();
        let mut judge = RowJudge::new(
            context,
            (dataset, rules),
            &mut self.conditions,
            &mut self.measures,
            &self.starts,
        );
        for signal_rule in &rules.on_arrival {
            let seen = Seen {
                time,
                value: SignalColumn::of(batch, signal_rule.signal).value(row),
                texts: Texts::Row(batch, row, &rules.texts),
                procedure_id: batch.procedure_id(row),
                manner: Manner::Again,
            };
            alerts.extend(judge.judge_seen(signal_rule, &seen));
        }
        if rules.in_event_time.is_empty() {
            return alerts;
        }
        let again = waiting_row(rules, batch, row, None, true);
        let waiting = self.waiting.get_or_default(dataset);
        if waits {
            waiting.push(rules, again);
            alerts.extend(self.judge_due(context, clock));
        } else {
            judge.judge(waiting, &again, &mut alerts);
        }
        alerts
    }

    /// Judges the waiting rows whose turn has come, at a robot's clock.
    fn judge_due(&mut self, context: RuleContext<'_>, clock: EventTime) -> Vec<Alert> {
        let watermark = context.watermark(clock.0);
        for numbers in &mut self.numbers {
            numbers.order.settle(watermark);
        }
        let mut alerts = Vec::new();
        for (dataset, waiting) in self.waiting.iter_mut() {
            waiting.advance(watermark);
            let Some(rules) = context.rules.for_name(dataset) else {
                continue;
            };
            let mut last = None;
            let mut judge = RowJudge::new(
                context,
                (dataset, rules),
                &mut self.conditions,
                &mut self.measures,
                &self.starts,
            );
            while let Some(row) = waiting.next_due(&self.numbers, clock.0, watermark, &mut last) {
                judge.judge(waiting, &row, &mut alerts);
            }
        }
        alerts
    }

    /// Judges all rows that wait: nothing before them is waited for any more.
    pub(crate) fn judge_all(&mut self, context: RuleContext<'_>) -> Vec<Alert> {
        for numbers in &mut self.numbers {
            numbers.order.settle_all(&numbers.tracker);
        }
        let mut alerts = Vec::new();
        for (dataset, waiting) in self.waiting.iter_mut() {
            waiting.distrusted_until = None;
            let Some(rules) = context.rules.for_name(dataset) else {
                continue;
            };
            let mut judge = RowJudge::new(
                context,
                (dataset, rules),
                &mut self.conditions,
                &mut self.measures,
                &self.starts,
            );
            while let Some(row) = waiting.next() {
                judge.judge(waiting, &row, &mut alerts);
            }
        }
        alerts
    }

    /// True while a row waits to be judged.
    pub(crate) fn has_waiting_rows(&self) -> bool {
        self.waiting.values().any(|waiting| !waiting.is_empty())
    }

    /// The clock begins anew: conditions and the order of rows follow. No row waits.
    pub(super) fn begin_rules_anew(&mut self, context: RuleContext<'_>) -> Vec<Alert> {
        self.waiting.values_mut().for_each(WaitingRows::begin_anew);
        let mut alerts = Vec::new();
        let of_datasets = self.conditions.iter_mut();
        for (dataset, conditions) in of_datasets.filter(|(dataset, _)| *dataset != ROBOT_WIDE) {
            for (id, condition) in conditions.iter_mut() {
                let change = condition.begin_anew();
                alerts.extend(change.map(|change| context.alert_without_row(dataset, id, change)));
            }
            conditions.retain(|_, condition| !condition.is_default());
        }
        for measures in self.measures.values_mut() {
            measures.retain(|_, memory| memory.begin_clock_anew());
        }
        alerts.extend(self.begin_following_anew(context));
        alerts
    }

    /// Goes on under another set of rules: conditions whose rule is gone are cleared.
    pub(crate) fn adopt_rules(&mut self, context: RuleContext<'_>) -> Vec<Alert> {
        for (dataset, waiting) in self.waiting.iter_mut() {
            waiting.adopt(context.rules.for_name(dataset));
        }
        let now = self.shown_clock().map_or(i64::MIN, |clock| clock.0);
        let mut alerts = Vec::new();
        for (dataset, conditions) in self.conditions.iter_mut() {
            conditions.retain(|id, condition| {
                if context.rules.is_rule_of(id, dataset) {
                    return true;
                }
                let changes = condition.remove_rule(now);
                let alert = |change| context.alert_without_row(dataset, id, change);
                alerts.extend(changes.into_iter().map(alert));
                !condition.is_default()
            });
        }
        for (dataset, measures) in self.measures.iter_mut() {
            measures.retain(|key, _| context.rules.is_rule_of(key, dataset));
        }
        alerts.extend(self.adopt_followers(context, now));
        alerts
    }
}

fn waiting_row(
    rules: &DatasetRules,
    batch: &Batch,
    row: usize,
    number: Option<(TopicIndex, i64, i64)>,
    is_again: bool,
) -> WaitingRow {
    let value = |(signal, _): &(usize, String)| SignalColumn::of(batch, *signal).value(row);
    WaitingRow {
        time: batch.event_times()[row],
        number,
        is_again,
        procedure: batch.procedure_id(row).map(str::to_owned),
        values: rules.signals.iter().map(value).collect(),
        texts: (rules.texts.iter())
            .map(|(column, _)| batch.text(*column, row).map(str::to_owned))
            .collect(),
    }
}
