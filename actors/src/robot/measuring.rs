//! How rows are judged by rules that look at more than a row's value (a measure, a scope, a
//! warm-up), and windows by the rules on aggregates.

use theatre_schemas::batch::Batch;
use theatre_schemas::records::Alert;

use super::judging::with_condition;
use super::signal::SignalColumn;
use super::{RobotActor, RuleContext};
use crate::name_map::NameMap;
use crate::rules::{
    CohortAverages, Condition, ConditionChange, Input, KeptAverages, Manner, MeasureState, Place,
    Reading, RuleKind, SignalRule, rule_and_signal,
};
use crate::time::EventTime;
use crate::window::WindowRow;

/// Starts of the robot that are remembered, the latest ones.
const STARTS_MAX: usize = 8;

/// The text columns of a row that rules need.
#[derive(Clone, Copy)]
pub(super) enum Texts<'a> {
    /// Of a row of a batch, by the indices of the columns.
    Row(&'a Batch, usize, &'a [(usize, String)]),
    /// Of a row that has waited.
    Kept(&'a [Option<String>]),
}

impl<'a> Texts<'a> {
    fn get(&self, index: usize) -> Option<&'a str> {
        match self {
            Self::Row(batch, row, columns) => batch.text(columns.get(index)?.0, *row),
            Self::Kept(texts) => texts.get(index)?.as_deref(),
        }
    }
}

/// A row as a rule sees it.
pub(super) struct Seen<'a> {
    /// Event time, microseconds UTC.
    pub(super) time: i64,
    /// The signal's value; `None` when it is missing or not finite.
    pub(super) value: Option<f64>,
    pub(super) texts: Texts<'a>,
    pub(super) procedure_id: Option<&'a str>,
    pub(super) manner: Manner,
}

/// A rule that looks at more than a row's value, on one robot and signal.
pub(super) struct Measuring<'a> {
    pub(super) context: RuleContext<'a>,
    pub(super) rule: &'a SignalRule,
    pub(super) starts: &'a [i64],
}

impl Measuring<'_> {
    /// Has `judge` judge rows with the memory of the rule's measure, if it has one.
    pub(super) fn with_memory<T>(
        &self,
        measures: &mut NameMap<NameMap<MeasureState>>,
        dataset: &str,
        judge: impl FnOnce(Option<&mut MeasureState>) -> T,
    ) -> T {
        let rule = &self.context.rules.rules()[self.rule.slot];
        let Some((measure, mark)) = &rule.measure else {
            return judge(None);
        };
        let of_dataset = measures.get_or_default(dataset);
        let memory = of_dataset.get_or_insert_with(&self.rule.key, || measure.begin(*mark));
        if !memory.is_of(*mark) {
            *memory = measure.begin(*mark);
        }
        judge(Some(memory))
    }

    /// Judges rows of a batch that follow each other, and calls `on_change` with the index into the
    /// rows and the change. `clocks` are the robot's after each; rows older than the reorder bound
    /// are not judged.
    pub(super) fn judge_slice(
        &self,
        condition: &mut Condition,
        mut memory: Option<&mut MeasureState>,
        batch: &Batch,
        (rows, clocks): (&[u32], &[EventTime]),
        mut on_change: impl FnMut(usize, ConditionChange),
    ) {
        let Some(rules) = self.context.rules.for_dataset(batch.dataset_index) else {
            return;
        };
        let times = batch.event_times();
        let column = SignalColumn::of(batch, self.rule.signal);
        for (at, (row, clock)) in rows.iter().zip(clocks).enumerate() {
            let row = *row as usize;
            if times[row] < self.context.watermark(clock.0) {
                continue;
            }
            let seen = Seen {
                time: times[row],
                value: column.value(row),
                texts: Texts::Row(batch, row, &rules.texts),
                procedure_id: batch.procedure_id(row),
                manner: Manner::Next,
            };
            if let Some(change) = self.judge(condition, memory.as_deref_mut(), &seen) {
                on_change(at, change);
            }
        }
    }

    /// Judges a row.
    pub(super) fn judge(
        &self,
        condition: &mut Condition,
        memory: Option<&mut MeasureState>,
        seen: &Seen<'_>,
    ) -> Option<ConditionChange> {
        let rule = &self.context.rules.rules()[self.rule.slot];
        let place = Place {
            time: seen.time,
            procedure_id: seen.procedure_id,
            columns: &self.rule.columns,
            around: self.context.around,
        };
        let text = |column| seen.texts.get(column);
        let measure = rule.measure.as_ref().map(|(measure, _)| measure);
        let asking = measure.filter(|measure| measure.needs_model());
        let model = asking.and_then(|_| place.model(text));
        let only = rule.spec.only.as_ref();
        let holds = only.is_none_or(|only| only.holds(&place, text));
        if !holds || asking.is_some_and(|measure| !measure.knows(model, &self.rule.name)) {
            let is_next = seen.manner == Manner::Next;
            return is_next.then(|| condition.leave_scope(seen.time)).flatten();
        }
        let is_warming_up = rule.is_warming_up(self.starts, (seen.time, seen.time));
        let reading = match (&rule.measure, memory) {
            (Some((measure, _)), Some(memory)) if seen.manner != Manner::Late => {
                let by = self.rule.columns.by;
                let input = Input {
                    time: seen.time,
                    value: seen.value?,
                    state: by.and_then(|column| seen.texts.get(column)),
                    learns: seen.manner == Manner::Next && !condition.is_raised() && !is_warming_up,
                    model,
                    signal: &self.rule.name,
                };
                Some(measure.observe(memory, &input)?)
            }
            // What is made of several rows does not change by one that comes after its turn.
            (Some(_), _) => return None,
            (None, _) => seen.value.map(Reading::of),
        };
        if !condition.is_raised() && is_warming_up {
            condition.rest();
            return None;
        }
        let value = reading.map(|reading| reading.value);
        let spread = reading.and_then(|reading| reading.spread);
        let change = condition.evaluate(rule, value, seen.time, seen.manner)?;
        Some(change.with_spread(spread))
    }
}

impl RobotActor {
    /// Averages that rules kept to learn from what is normal for robots of a model.
    pub(crate) fn cohort_averages(&self) -> Vec<CohortAverages> {
        let memories = self.measures.values().flat_map(NameMap::iter);
        let of_rule = |(key, memory): (&str, &MeasureState)| {
            let (rule_id, signal) = rule_and_signal(key);
            let averages = |kept: &KeptAverages| CohortAverages {
                rule_id: rule_id.to_owned(),
                signal: signal.map(str::to_owned),
                model: kept.model.to_string(),
                state: kept.state.to_string(),
                values: kept.values.clone(),
            };
            memory.kept().iter().map(averages).collect::<Vec<_>>()
        };
        memories.flat_map(of_rule).collect()
    }

    /// The robot has started, or was serviced, at an event time in microseconds UTC.
    pub(crate) fn note_start(&mut self, time: i64) {
        if self.starts.contains(&time) {
            return;
        }
        if self.starts.len() >= STARTS_MAX {
            self.starts.remove(0);
        }
        self.starts.push(time);
    }

    /// The highest boot number of an accepted record.
    pub(crate) fn boot(&self) -> Option<i64> {
        self.boot
    }

    /// A record of this boot was accepted: that of a later one shows that the robot has started.
    #[inline]
    pub(super) fn note_boot(&mut self, boot: i64, time: i64) {
        if self.boot >= Some(boot) {
            return;
        }
        if self.boot.replace(boot).is_some() {
            self.note_start(time);
        }
    }

    /// Judges a window that has closed by the rules on aggregates.
    pub(crate) fn judge_window(
        &mut self,
        context: RuleContext<'_>,
        dataset: &str,
        window: &WindowRow,
    ) -> Vec<Alert> {
        let Some(rules) = context.rules.for_name(dataset) else {
            return Vec::new();
        };
        let mut alerts = Vec::new();
        for signal_rule in &rules.on_windows {
            let rule = &context.rules.rules()[signal_rule.slot];
            let RuleKind::Aggregate(spec) = &rule.spec.kind else {
                continue;
            };
            let Some((end, value)) = spec.reading(window, signal_rule.signal) else {
                continue;
            };
            let only = rule.spec.only.as_ref();
            let in_scope = only.is_none_or(|only| only.holds_for_robot(end, context.around));
            let span = (window.start_us, end.saturating_sub(1));
            let is_warming_up = rule.is_warming_up(&self.starts, span);
            let conditions = self.conditions.get_or_default(dataset);
            let change = with_condition(conditions, &signal_rule.key, |condition| {
                if !in_scope {
                    return condition.leave_scope(end);
                }
                if is_warming_up && !condition.is_raised() {
                    condition.rest();
                    return None;
                }
                condition.evaluate(rule, Some(value), end, Manner::Next)
            });
            alerts.extend(change.map(|change| context.alert(dataset, signal_rule, change, None)));
        }
        alerts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_boot_is_a_start_and_the_latest_starts_are_remembered() {
        let mut robot = RobotActor::default();
        robot.note_boot(3, 10);
        assert!(robot.starts.is_empty(), "it may have been on for long");
        robot.note_boot(3, 11);
        robot.note_boot(2, 12);
        robot.note_boot(4, 13);
        robot.note_boot(4, 14);
        assert_eq!(robot.starts, [13]);
        for boot in 5..30 {
            robot.note_boot(boot, 10 * boot);
        }
        assert_eq!(robot.starts.len(), STARTS_MAX);
        assert_eq!(robot.starts.last(), Some(&290));
    }
}
