//! What rules of a processor know beside rows, and the rules that follow what it puts out.

use std::collections::BTreeMap;

use theatre_schemas::records::{Alert, Transition};

use super::procedure_table::ProcedureTable;
use super::telemetry::{RowBatch, Telemetry};
use super::{Outputs, Processor, RobotActor, RuleContext};
use crate::registry::RobotRecord;
use crate::rules::{Happened, INSTRUMENT_LIVES, Surroundings, Usage};

/// A robot's record and its cases, as rules see them.
pub(super) struct Around<'a> {
    pub(super) record: &'a RobotRecord,
    pub(super) procedures: &'a ProcedureTable,
}

impl Surroundings for Around<'_> {
    fn model(&self, time: i64) -> Option<&str> {
        self.record.registered_at(time)?.robot_model.as_deref()
    }

    fn facility(&self, time: i64) -> Option<&str> {
        self.record.registered_at(time)?.facility_id.as_deref()
    }

    fn phase(&self, procedure_id: &str, time: i64) -> Option<&str> {
        self.procedures.get(procedure_id)?.phase_at(time)
    }
}

/// How far a stretch of rows was put out.
#[derive(Default)]
pub(super) struct Emission {
    /// Rows that windows have got.
    pub(super) aggregated: usize,
    /// Rows after which deadlines were looked at.
    checked: usize,
}

impl Processor {
    /// Lets rules follow an alert that was put out, so a condition that flaps or is latched is open
    /// for them, too. `is_raised`: a rule has raised the condition, be it once more.
    pub(super) fn follow_alert(&mut self, alert: &Alert, is_raised: bool, outputs: &mut Outputs) {
        if self.config.rules.followers(&alert.rule_id).is_empty() {
            return;
        }
        let happened = match alert.transition {
            Transition::Raised => Happened::Raised(&alert.rule_id),
            Transition::Cleared => Happened::Cleared(&alert.rule_id),
            Transition::Updated if is_raised => Happened::RaisedAgain(&alert.rule_id),
            _ => return,
        };
        self.with_rules(outputs, |robot, context| {
            robot.follow(context, happened, alert.event_time)
        });
    }

    /// Counts anew what combinations follow, then judges those that say something else than before, or
    /// know of other conditions now; one after the other, since one may follow another.
    pub(super) fn recount(&mut self, outputs: &mut Outputs) {
        let rules = self.config.rules.rules().iter().enumerate();
        let combinations = rules.filter(|(_, rule)| rule.follows_conditions());
        let mut slots: Vec<usize> = combinations.map(|(slot, _)| slot).collect();
        let mut elsewhere: BTreeMap<String, u32> = BTreeMap::new();
        let instruments = self.state.entities.instruments.open_conditions();
        let of_instruments = instruments.map(|_| INSTRUMENT_LIVES);
        for rule in of_instruments.chain(self.state.alerts.kept_open()) {
            let count = elsewhere.entry(rule.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
        self.with_rules(outputs, |robot, context| {
            slots.retain(|slot| robot.recount(context, *slot, &elsewhere));
            Vec::new()
        });
        for slot in slots {
            self.with_rules(outputs, |robot, context| {
                robot.judge_combination(context, slot)
            });
        }
    }

    /// Lets rules follow an event of the robot, at an event time in microseconds UTC.
    pub(super) fn follow_event(
        &mut self,
        (event_type, code): (&str, Option<&str>),
        time: i64,
        outputs: &mut Outputs,
    ) {
        if self.config.rules.event_rules().is_empty() {
            return;
        }
        let happened = Happened::Event(event_type, code);
        self.with_rules(outputs, |robot, context| {
            robot.follow(context, happened, time)
        });
    }

    /// Up to this event time nothing is missing: lets happen what was due before.
    pub(super) fn pass_deadlines(&mut self, progress: i64, outputs: &mut Outputs) {
        if !self.config.rules.has_deadlines() {
            return;
        }
        while self.next_deadline().is_some_and(|at| at < progress) {
            self.with_rules(outputs, |robot, context| {
                robot.pass_deadline(context, progress)
            });
        }
    }

    fn next_deadline(&mut self) -> Option<i64> {
        let mut deadline = None;
        let look = |robot: &mut RobotActor, context: RuleContext<'_>| {
            deadline = robot.next_deadline(context);
            Vec::new()
        };
        self.with_rules(&mut Outputs::default(), look);
        deadline
    }

    /// Lets happen what is due after the rows before this index, each after all that its row causes.
    pub(super) fn pass_deadlines_to(
        &mut self,
        to: usize,
        message: &Telemetry<'_>,
        row_batch: &RowBatch,
        emission: &mut Emission,
        outputs: &mut Outputs,
    ) {
        let RowBatch {
            rows,
            clocks,
            progress,
            ..
        } = row_batch;
        if progress.is_empty() {
            return;
        }
        while emission.checked < to {
            let from = emission.checked;
            let deadline = self.next_deadline();
            // What has stopped flapping may begin or end something that is due.
            let quiet = self.state.alerts.next_quiet(&message.config.rules);
            // A window that closes may begin something that is due in a row after it.
            let first = clocks[emission.aggregated.min(from)];
            let closes_at = self.judged_windows_close_at(message, first);
            let is_due = |at: &usize| {
                deadline.is_some_and(|deadline| deadline < progress[*at])
                    || message.watermark_at(clocks[*at]) >= quiet
                    || clocks[*at].0 >= closes_at
            };
            let Some(at) = (from..to).find(is_due) else {
                emission.checked = to;
                return;
            };
            if emission.aggregated <= at {
                let stretch = emission.aggregated..=at;
                let (rows, clocks) = (&rows[stretch.clone()], &clocks[stretch]);
                self.aggregate_between_dues(message, rows, clocks, outputs);
                emission.aggregated = at + 1;
            }
            self.row_clock = Some(clocks[at]);
            let watermark = message.watermark_at(clocks[at]);
            self.settle_alerts(watermark, outputs);
            self.pass_deadlines(progress[at], outputs);
            self.settle_alerts(watermark, outputs);
            emission.checked = at + 1;
        }
    }

    /// Judges how much the robot was used, at its clock.
    pub(super) fn judge_usage(&mut self, outputs: &mut Outputs) {
        let (operating_us, cases) = self.state.record.used();
        let usage = Usage {
            operating_us,
            cases,
            served_at: self.state.record.served_at(),
            lives: self.state.entities.instruments.lives(),
        };
        let clock = self.state.robot.clock().0;
        self.with_rules(outputs, |robot, context| {
            robot.judge_usage(context, &usage, clock)
        });
    }

    /// The robot's clock at which its usage is to be judged next; `i64::MAX` without such rules.
    pub(super) fn usage_due(&self) -> i64 {
        if self.config.rules.usage_rules().is_empty() {
            return i64::MAX;
        }
        self.state.robot.usage_due()
    }
}
