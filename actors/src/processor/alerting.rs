//! How a processor tells of conditions: what the rules move and what people do goes through the life
//! of the robot's alerts, and what that says is emitted.

use theatre_schemas::batch::Batch;
use theatre_schemas::records::{Alert, Priority, Transition};

use super::Processor;
use crate::alerts::{Action, AlertContext, Alerts};
use crate::outputs::{Outputs, alert, shadow_alert};
use crate::robot::is_raising;
use crate::rules::{INSTRUMENT_LIVES, in_shadow, rule_and_signal};

impl Processor {
    /// The rules have moved a condition. What follows it follows what is emitted of that.
    pub(super) fn emit_alert(&mut self, moved: Alert, outputs: &mut Outputs) {
        let is_raised = is_raising(&moved);
        let emitted = self.with_alerts(|alerts, context| alerts.pass(moved, context));
        self.tell_followers(&emitted, is_raised, outputs);
    }

    /// A person does something about conditions.
    ///
    /// # Errors
    /// When nothing is meant, or the record is incomplete; nothing has changed then.
    pub(super) fn take_action(
        &mut self,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) -> Result<(), String> {
        let action = Action::read(batch, row)?;
        let mut refused = None;
        let emitted = self.with_alerts(|alerts, context| {
            let acted = alerts.act(&action, false, context);
            acted.unwrap_or_else(|why| {
                refused = Some(why);
                Vec::new()
            })
        });
        self.tell_all(&emitted, outputs);
        refused.map_or(Ok(()), Err)
    }

    /// A person does something about the conditions of all robots that it fits.
    pub(super) fn act_widely(&mut self, action: &Action, outputs: &mut Outputs) {
        // It need not mean anything on each robot.
        let emitted = self
            .with_alerts(|alerts, context| alerts.act(action, true, context).unwrap_or_default());
        self.tell_all(&emitted, outputs);
    }

    /// The log's clock has come to a record.
    pub(super) fn note_now(&mut self, append_time: i64) {
        self.now = self.now.max(append_time);
    }

    /// Does what is due by the log's clock.
    pub(super) fn fall_due(&mut self, outputs: &mut Outputs) {
        if self.state.alerts.next_due(&self.config.rules) <= self.now {
            let emitted = self.with_alerts(Alerts::fall_due);
            self.tell_all(&emitted, outputs);
        }
    }

    /// Ends the flapping of what has been quiet for long enough at a watermark.
    pub(super) fn settle_alerts(&mut self, watermark: i64, outputs: &mut Outputs) {
        let rules = &self.config.rules;
        if self.state.alerts.next_quiet(rules) <= watermark && watermark != i64::MIN {
            // At the end of a recording no later moment than that of its clock is known.
            let latest = self.state.robot.clock().0;
            let emitted =
                self.with_alerts(|alerts, context| alerts.settle(context.rules, watermark, latest));
            self.tell_followers(&emitted, false, outputs);
        }
    }

    /// What was kept open by a rule that is another one now.
    pub(super) fn adopt_alert_policies(&mut self, outputs: &mut Outputs) {
        let clock = self.state.robot.shown_clock();
        let clock = clock.map_or(i64::MIN, |clock| clock.0);
        let emitted = self.with_alerts(|alerts, context| alerts.adopt(context, clock));
        self.tell_all(&emitted, outputs);
    }

    /// Emits what rows have caused, each before what follows it. `is_raised`: a rule has raised
    /// the condition, be it once more.
    fn tell_followers(&mut self, emitted: &[Alert], is_raised: bool, outputs: &mut Outputs) {
        for alert in emitted {
            self.tell(alert, outputs);
            self.follow_alert(alert, is_raised, outputs);
        }
    }

    /// Emits what no row has caused, but a person, a change of rules or the log's clock. What that
    /// has ended is ended for what follows it at the robot's clock: its own times are of another one.
    fn tell_all(&mut self, emitted: &[Alert], outputs: &mut Outputs) {
        for alert in emitted {
            self.tell(alert, outputs);
        }
        let ends = |alert: &Alert| {
            alert.transition == Transition::Cleared
                && !self.config.rules.followers(&alert.rule_id).is_empty()
        };
        if emitted.iter().any(ends) {
            self.recount(outputs);
        }
    }

    /// Has the life of the robot's alerts go on; returns what is to be emitted of it.
    fn with_alerts(
        &mut self,
        act: impl FnOnce(&mut Alerts, AlertContext<'_>) -> Vec<Alert>,
    ) -> Vec<Alert> {
        let config = self.config.clone();
        let site = self.state.record.view();
        let last_seen = self.state.robot.last_seen().map_or(i64::MIN, |seen| seen.0);
        // Rows are judged ahead of what they cause: what was seen last is later than the row at hand.
        let now = if self.now == i64::MIN {
            last_seen
        } else {
            self.now
        };
        let context = AlertContext {
            rules: &config.rules,
            facility: site.facility_id.as_deref(),
            model: site.robot_model.as_deref(),
            now,
        };
        self.state.alerts.change(|alerts| act(alerts, context))
    }

    fn tell(&mut self, emitted: &Alert, outputs: &mut Outputs) {
        if let Some(rule_id) = in_shadow(&emitted.rule_id) {
            outputs.tally.shadow_transitions[emitted.transition as usize] += 1;
            let output = shadow_alert::output(&self.robot_id, emitted, rule_id);
            outputs.events.push(output);
            return;
        }
        self.state.record.note_alert(emitted);
        // Who does something wants to see that it is done.
        outputs.urgent |= emitted.priority == Priority::High || emitted.actor.is_some();
        outputs.tally.transitions[emitted.transition as usize] += 1;
        if let Some(id) = emitted
            .procedure_id
            .as_ref()
            .filter(|_| is_raising(emitted))
            && let Some(procedure) = self.state.procedures.get_mut(id)
        {
            procedure.add_condition(&emitted.condition_id, emitted.priority);
            // A row that waited may raise something after the outcome of its procedure.
            if procedure.is_published() && procedure.due.is_none() {
                let clock = self.row_clock.unwrap_or(self.state.robot.clock()).0;
                let due = clock.saturating_add(self.config.time.reorder_bound_us);
                self.state.procedures.due(id, due);
            }
        }
        outputs.events.push(alert::output(&self.robot_id, emitted));
    }

    /// How many conditions are open: of high, medium and low priority.
    pub fn open_conditions(&self) -> [u32; 3] {
        let mut open = self.state.alerts.count();
        let instruments = self.state.entities.instruments.open_conditions();
        let of_robot = self.state.robot.open_conditions();
        let of_robot = of_robot.map(|(dataset, rule, condition)| (rule, dataset, condition));
        let of_instruments =
            instruments.map(|(serial, condition)| (INSTRUMENT_LIVES, serial, condition));
        for (key, subject, condition) in of_robot.chain(of_instruments) {
            let (rule, _) = rule_and_signal(key);
            let untold = condition
                .raised()
                .filter(|_| !self.state.alerts.knows(rule, subject));
            if let Some((_, priority)) = untold {
                open[priority as usize] += 1;
            }
        }
        open
    }
}
