//! What falls due: silences that end and conditions that is not acknowledged, by the log's clock;
//! flapping that is over, by the watermark.

use theatre_schemas::records::{Alert, Transition};

use super::flapping::same_series;
use super::open::{Mover, OpenAlert};
use super::policy::AlertPolicy;
use super::{AlertContext, Alerts};
use crate::rules::RuleSet;

impl Alerts {
    /// When something falls due by the log's clock, microseconds UTC; `i64::MAX` when nothing does.
    pub(crate) fn next_due(&self, rules: &RuleSet) -> i64 {
        let steps = self.open.iter().filter_map(|open| {
            let policy = AlertPolicy::of(rules, &open.alert().rule_id);
            open.next_step(&policy).map(|(due, _)| due)
        });
        steps
            .min()
            .unwrap_or(i64::MAX)
            .min(self.silences.next_end())
    }

    /// Does what is due at `context.now`, in the order in which it fell due.
    pub(crate) fn fall_due(&mut self, context: AlertContext<'_>) -> Vec<Alert> {
        let mut emitted = Vec::new();
        loop {
            let due = self.next_due(context.rules);
            if due == i64::MAX || due > context.now {
                return emitted;
            }
            if self.silences.next_end() == due {
                self.silences.end(due);
                emitted.extend(self.refresh_silences(
                    context,
                    due,
                    Mover {
                        reason: Some("the silence has ended"),
                        ..Mover::default()
                    },
                ));
                continue;
            }
            for open in &mut self.open {
                let policy = AlertPolicy::of(context.rules, &open.alert().rule_id);
                let Some((_, step)) = open.next_step(&policy).filter(|(at, _)| *at == due) else {
                    continue;
                };
                open.escalates(step, due, &policy);
                self.silences.apply(open, context);
                emitted.push(open.alert().clone());
            }
        }
    }

    /// Notes in all open conditions whether they are silenced now, and tells of those for which that
    /// has changed. Conditions that no person acknowledged meanwhile wait from now on.
    pub(super) fn refresh_silences(
        &mut self,
        context: AlertContext<'_>,
        at: i64,
        mover: Mover<'_>,
    ) -> Vec<Alert> {
        let mut emitted = Vec::new();
        for open in &mut self.open {
            let before = open.alert().silenced_until;
            let until = self.silences.until(open.alert(), context);
            if until == before {
                continue;
            }
            open.set_silence(until);
            let transition = match until {
                Some(_) => Transition::Silenced,
                None => {
                    open.waiting_since = open.waiting_since.max(at);
                    Transition::Unsilenced
                }
            };
            let policy = AlertPolicy::of(context.rules, &open.alert().rule_id);
            emitted.push(open.moves(transition, at, mover, &policy));
        }
        emitted
    }

    /// From which watermark on a condition flaps no more; `i64::MAX` where none flaps.
    pub(crate) fn next_quiet(&self, rules: &RuleSet) -> i64 {
        let quiet = self
            .open
            .iter()
            .filter_map(|open| self.quiet_at(open.alert(), rules));
        quiet.min().unwrap_or(i64::MAX)
    }

    fn quiet_at(&self, alert: &Alert, rules: &RuleSet) -> Option<i64> {
        if !alert.is_flapping {
            return None;
        }
        let flapping = AlertPolicy::of(rules, &alert.rule_id).flapping?;
        let last = self.turns.last(alert).unwrap_or(alert.event_time);
        Some(last.saturating_add(flapping.within.0))
    }

    /// Ends the flapping of conditions that have been quiet for long enough at a watermark: they are
    /// open, latched or over, as the rules left them. The time is when it has been quiet for long enough,
    /// `latest` at the latest.
    pub(crate) fn settle(&mut self, rules: &RuleSet, watermark: i64, latest: i64) -> Vec<Alert> {
        let mut emitted = Vec::new();
        loop {
            let due = self.next_quiet(rules);
            if due == i64::MAX || due > watermark {
                return emitted;
            }
            let is_due = |open: &OpenAlert| self.quiet_at(open.alert(), rules) == Some(due);
            let Some(at) = self.open.iter().position(is_due) else {
                return emitted;
            };
            emitted.push(self.settle_at(at, rules, due.min(latest)));
        }
    }

    /// Ends the flapping of a condition that was quiet for long enough when a rule has moved it. The
    /// watermark may not have come so far yet: rows that are in order are judged ahead of it, and
    /// whether they are must not decide what a turn belongs to.
    pub(super) fn settle_before(&mut self, moved: &Alert, rules: &RuleSet) -> Option<Alert> {
        let quiet_before = |open: &OpenAlert| {
            let quiet_at = self.quiet_at(open.alert(), rules);
            quiet_at.filter(|at| *at <= moved.event_time && same_series(open.alert(), moved))
        };
        let (at, quiet_at) = self
            .open
            .iter()
            .enumerate()
            .find_map(|(at, open)| Some((at, quiet_before(open)?)))?;
        Some(self.settle_at(at, rules, quiet_at))
    }

    fn settle_at(&mut self, at: usize, rules: &RuleSet, time: i64) -> Alert {
        let open = &mut self.open[at];
        let policy = AlertPolicy::of(rules, &open.alert().rule_id);
        let keeps = policy.latch && !open.is_released();
        let mover = Mover {
            reason: Some("it has stopped coming and going"),
            ..Mover::default()
        };
        open.set_flapping(false);
        open.set_latched(!open.is_active() && keeps);
        let transition = match (open.is_active(), keeps) {
            (true, _) => Transition::Settled,
            (false, true) => Transition::Latched,
            (false, false) => Transition::Cleared,
        };
        let settled = open.moves(transition, time, mover, &policy);
        self.turns.forget(&settled);
        if transition == Transition::Cleared {
            self.open.remove(at);
        }
        settled
    }
}
