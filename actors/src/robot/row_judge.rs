//! How rows are judged one by one: those that have waited, and those that come again.

use theatre_schemas::records::Alert;

use super::RuleContext;
use super::judging::{Conditions, with_condition};
use super::measuring::{Measuring, Seen, Texts};
use super::waiting::{WaitingRow, WaitingRows};
use crate::name_map::NameMap;
use crate::rules::{DatasetRules, Manner, MeasureState, SignalRule};

/// What rows of a dataset are judged by, one by one.
pub(super) struct RowJudge<'a> {
    context: RuleContext<'a>,
    dataset: &'a str,
    rules: &'a DatasetRules,
    conditions: &'a mut Conditions,
    measures: &'a mut NameMap<NameMap<MeasureState>>,
    starts: &'a [i64],
}

impl<'a> RowJudge<'a> {
    /// Judges rows of a dataset by its rules, with what a robot remembers of all datasets.
    pub(super) fn new(
        context: RuleContext<'a>,
        (dataset, rules): (&'a str, &'a DatasetRules),
        conditions: &'a mut NameMap<Conditions>,
        measures: &'a mut NameMap<NameMap<MeasureState>>,
        starts: &'a [i64],
    ) -> Self {
        Self {
            context,
            dataset,
            rules,
            conditions: conditions.get_or_default(dataset),
            measures,
            starts,
        }
    }

    /// Judges a row by the rules that judge in event time.
    pub(super) fn judge(
        &mut self,
        waiting: &mut WaitingRows,
        row: &WaitingRow,
        alerts: &mut Vec<Alert>,
    ) {
        let is_late = Some(row.time) < waiting.judged_to;
        let manner = match (row.is_again, is_late) {
            (true, true) => return,
            (true, false) => Manner::Again,
            (false, true) => Manner::Late,
            (false, false) => Manner::Next,
        };
        waiting.note_judged(row.time);
        for signal_rule in &self.rules.in_event_time {
            let seen = Seen {
                time: row.time,
                value: row.values.get(signal_rule.value).copied().flatten(),
                texts: Texts::Kept(&row.texts),
                procedure_id: row.procedure.as_deref(),
                manner,
            };
            alerts.extend(self.judge_seen(signal_rule, &seen));
        }
    }

    /// Judges a row by a rule.
    pub(super) fn judge_seen(
        &mut self,
        signal_rule: &SignalRule,
        seen: &Seen<'_>,
    ) -> Option<Alert> {
        let rule = &self.context.rules.rules()[signal_rule.slot];
        let (measures, dataset) = (&mut *self.measures, self.dataset);
        let measuring = Measuring {
            context: self.context,
            rule: signal_rule,
            starts: self.starts,
        };
        let change = with_condition(self.conditions, &signal_rule.key, |condition| {
            if signal_rule.is_plain {
                return condition.evaluate(rule, seen.value, seen.time, seen.manner);
            }
            measuring.with_memory(measures, dataset, |memory| {
                measuring.judge(condition, memory, seen)
            })
        });
        let (context, procedure_id) = (self.context, seen.procedure_id);
        change.map(|change| context.alert(dataset, signal_rule, change, procedure_id))
    }
}
