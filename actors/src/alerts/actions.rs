//! What people do about conditions: the records of the topic of alert actions.

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::{Alert, Transition};

use super::open::{Mover, OpenAlert};
use super::policy::AlertPolicy;
use super::silences::Silence;
use super::{ACTIONS_MAX, AlertContext, Alerts};
use crate::outputs::fingerprint;
use crate::registry::Cells;
use crate::rules::in_shadow;

/// Longest text of an action that is kept, characters.
const TEXT_MAX: usize = 500;

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Verb {
    Acknowledge,
    Unacknowledge,
    Silence,
    Unsilence,
    Close,
    Assign,
}

/// An action of a person, about the open conditions that it names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Action {
    verb: Verb,
    /// Its own id; one that comes again changes nothing.
    id: String,
    /// When they said so, microseconds UTC.
    at: i64,
    actor: String,
    condition: Option<String>,
    rule: Option<String>,
    facility: Option<String>,
    model: Option<String>,
    until: Option<i64>,
    hides_high: bool,
    silence: Option<String>,
    assignee: Option<String>,
    comment: Option<String>,
}

impl Action {
    /// Reads the record of an action.
    ///
    /// # Errors
    /// Names what is missing.
    pub(crate) fn read(batch: &Batch, row: usize) -> Result<Self, String> {
        let cells = Cells::of(batch, row);
        let said = |name: &str| {
            let text = cells.text(name).filter(|text| !text.is_empty());
            text.map(|text| text.chars().take(TEXT_MAX).collect::<String>())
        };
        let verb = match cells.text("action") {
            Some("acknowledge") => Verb::Acknowledge,
            Some("unacknowledge") => Verb::Unacknowledge,
            Some("silence") => Verb::Silence,
            Some("unsilence") => Verb::Unsilence,
            Some("close") => Verb::Close,
            Some("assign") => Verb::Assign,
            _ => return Err("the action is not known: it is acknowledge, unacknowledge, silence, unsilence, close or assign".to_owned()),
        };
        let action = Self {
            verb,
            id: said("action_id").ok_or("the action has no action_id")?,
            at: cells.time(),
            actor: said("actor").ok_or("the action names no actor")?,
            condition: said("condition_id"),
            rule: said("rule_id"),
            facility: said("facility_id"),
            model: said("robot_model"),
            until: cells.long("until"),
            hides_high: cells.flag("hides_high"),
            silence: said("silence_id"),
            assignee: said("assignee"),
            comment: said("comment"),
        };
        if verb == Verb::Silence && action.until.is_none() {
            return Err("a silence needs until, the moment at which it ends".to_owned());
        }
        Ok(action)
    }

    /// A fingerprint of its id.
    pub(crate) fn id_print(&self) -> u64 {
        fingerprint(self.id.as_bytes())
    }

    /// Until when it silences, if it does.
    pub(crate) fn silences_until(&self) -> Option<i64> {
        self.until.filter(|_| self.verb == Verb::Silence)
    }

    /// Whether it takes silences back.
    pub(crate) fn takes_silences_back(&self) -> bool {
        self.verb == Verb::Unsilence
    }

    /// Whether it takes back what another one silences.
    pub(crate) fn takes_back(&self, silence: &Self) -> bool {
        let until = silence.until.unwrap_or(i64::MAX);
        self.takes_silences_back() && self.names(&silence.as_silence(until, true))
    }

    /// Whether it takes the place of an earlier silence: both are about the same conditions.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        let about = |of: &Self| {
            let until = of.silences_until()?;
            Some(of.as_silence(until, true))
        };
        match (about(self), about(earlier)) {
            (Some(now), Some(before)) => now.is_like(&before),
            _ => false,
        }
    }

    fn mover<'a>(&'a self, reason: Option<&'a str>) -> Mover<'a> {
        Mover {
            actor: Some(&self.actor),
            comment: self.comment.as_deref(),
            action_id: Some(&self.id),
            reason,
        }
    }

    /// Whether an open condition is among those that it names.
    fn is_about(&self, alert: &Alert, context: AlertContext<'_>) -> bool {
        let is = |wanted: &Option<String>, known: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == known)
        };
        in_shadow(&alert.rule_id).is_none()
            && is(&self.condition, Some(&alert.condition_id))
            && is(&self.rule, Some(&alert.rule_id))
            && is(&self.facility, context.facility)
            && is(&self.model, context.model)
    }

    pub(super) fn as_silence(&self, until: i64, is_wide: bool) -> Silence {
        Silence {
            id: self.id.clone(),
            rule: self.rule.clone(),
            condition: self.condition.clone(),
            facility: self.facility.clone(),
            model: self.model.clone(),
            until,
            hides_high: self.hides_high,
            actor: self.actor.clone(),
            comment: self.comment.clone(),
            is_wide,
        }
    }

    pub(super) fn names(&self, silence: &Silence) -> bool {
        match &self.silence {
            Some(id) => *id == silence.id,
            None => {
                (&self.rule, &self.condition, &self.facility, &self.model)
                    == (
                        &silence.rule,
                        &silence.condition,
                        &silence.facility,
                        &silence.model,
                    )
            }
        }
    }
}

impl Alerts {
    /// A person does something; returns what is to be emitted of it. An action that is known changes
    /// nothing.
    ///
    /// # Errors
    /// When no open condition, or no silence, is meant; nothing has changed then. One for all robots
    /// need not mean anything on each: `is_wide`.
    pub(crate) fn act(
        &mut self,
        action: &Action,
        is_wide: bool,
        context: AlertContext<'_>,
    ) -> Result<Vec<Alert>, String> {
        let id = action.id_print();
        if !is_wide && self.actions.contains(&id) {
            return Ok(Vec::new());
        }
        let emitted = match action.verb {
            Verb::Silence => self.silence(action, is_wide, context)?,
            Verb::Unsilence => {
                let found = self.silences.remove(|silence| action.names(silence));
                if !(found || is_wide) {
                    return Err(
                        "there is no such silence: it has ended, or was taken back".to_owned()
                    );
                }
                self.refresh_silences(context, action.at, action.mover(None))
            }
            _ => self.handle(action, is_wide, context)?,
        };
        // By its id the partition knows it: a robot that appears later was not there.
        if is_wide {
            return Ok(emitted);
        }
        if self.actions.len() >= ACTIONS_MAX {
            self.actions.remove(0);
        }
        self.actions.push(id);
        Ok(emitted)
    }

    fn silence(
        &mut self,
        action: &Action,
        is_wide: bool,
        context: AlertContext<'_>,
    ) -> Result<Vec<Alert>, String> {
        // One that was over before it was read has silenced nothing.
        let Some(until) = action.until.filter(|until| *until > context.now) else {
            return Ok(Vec::new());
        };
        self.silences.add(action.as_silence(until, is_wide))?;
        Ok(self.refresh_silences(context, action.at, action.mover(None)))
    }

    /// What is done to conditions themselves.
    fn handle(
        &mut self,
        action: &Action,
        is_wide: bool,
        context: AlertContext<'_>,
    ) -> Result<Vec<Alert>, String> {
        let meant = |open: &OpenAlert| action.is_about(open.alert(), context);
        if !is_wide && !self.open.iter().any(meant) {
            return Err(match &action.condition {
                Some(condition) => {
                    format!("condition '{condition}' is not open on the robot: it has ended")
                }
                None => "no open condition of the robot is meant: all have ended".to_owned(),
            });
        }
        let mut emitted = Vec::new();
        let mut refused = None;
        for open in self.open.iter_mut().filter(|open| meant(open)) {
            let policy = AlertPolicy::of(context.rules, &open.alert().rule_id);
            match action.verb {
                Verb::Acknowledge if open.alert().acknowledged_at.is_none() => {
                    open.acknowledge(&action.actor, action.at);
                    let mover = action.mover(None);
                    emitted.push(open.moves(Transition::Acknowledged, action.at, mover, &policy));
                }
                Verb::Unacknowledge if open.alert().acknowledged_at.is_some() => {
                    open.unacknowledge(context.now);
                    let mover = action.mover(None);
                    emitted.push(open.moves(Transition::Unacknowledged, action.at, mover, &policy));
                }
                Verb::Assign if open.alert().assignee != action.assignee => {
                    open.assign(action.assignee.as_deref());
                    let mover = action.mover(None);
                    emitted.push(open.moves(Transition::Assigned, action.at, mover, &policy));
                }
                Verb::Close if !policy.latch => {
                    refused = Some("its rule does not latch: the condition ends by itself with its cause; acknowledge or silence it".to_owned());
                }
                Verb::Close if open.is_active() && !open.is_released() => {
                    open.release();
                    let mover = action.mover(Some("it is closed as soon as its cause is over"));
                    emitted.push(open.moves(Transition::Updated, action.at, mover, &policy));
                }
                Verb::Close if !open.is_active() => {
                    open.release();
                    open.set_latched(false);
                    if !open.alert().is_flapping {
                        let mover = action.mover(Some("closed"));
                        emitted.push(open.moves(Transition::Cleared, action.at, mover, &policy));
                    }
                }
                _ => {}
            }
        }
        if let Some(why) = refused.filter(|_| emitted.is_empty() && !is_wide) {
            return Err(why);
        }
        self.open
            .retain(|open| open.alert().transition != Transition::Cleared);
        Ok(emitted)
    }
}
