//! An open condition, as it was last emitted.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use theatre_schemas::records::{Alert, Priority, Transition};

use super::flapping::same_series;
use super::policy::{AlertPolicy, Unacknowledged};
use crate::rules::alert_id;

/// An open condition: the latest transition that was emitted, and what is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenAlert {
    /// Stored as it is published, so that it can be read by every later build.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    alert: Alert,
    /// Id by which the rules know what causes it now: one that flaps, or was raised again while it
    /// was latched, keeps the id under which it was emitted first.
    cause_id: String,
    /// The rules have not cleared it.
    is_active: bool,
    /// A person has closed it before its cause was over.
    is_released: bool,
    /// From when on no person has acknowledged it, by the log's clock in microseconds UTC.
    pub(super) waiting_since: i64,
}

fn write<S: Serializer>(alert: &Alert, serializer: S) -> Result<S::Ok, S::Error> {
    alert.encode().serialize(serializer)
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Alert, D::Error> {
    let bytes = Vec::<u8>::deserialize(deserializer)?;
    Alert::decode(&bytes).map_err(serde::de::Error::custom)
}

/// Who moves a condition, and why.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mover<'a> {
    pub(super) actor: Option<&'a str>,
    pub(super) comment: Option<&'a str>,
    pub(super) action_id: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
}

impl OpenAlert {
    /// One that was just raised.
    pub(super) fn new(alert: Alert, now: i64) -> Self {
        Self {
            cause_id: alert.condition_id.clone(),
            alert,
            is_active: true,
            is_released: false,
            waiting_since: now,
        }
    }

    /// As it was last emitted.
    pub(crate) fn alert(&self) -> &Alert {
        &self.alert
    }

    /// Whether what raised it is still so.
    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }

    pub(super) fn is_released(&self) -> bool {
        self.is_released
    }

    pub(super) fn release(&mut self) {
        self.is_released = true;
    }

    pub(super) fn is_caused_by(&self, moved: &Alert) -> bool {
        self.is_active && self.cause_id == moved.condition_id
    }

    /// Whether a condition that is raised is this one, come again.
    pub(super) fn takes_up(&self, raised: &Alert) -> bool {
        !self.is_active && same_series(&self.alert, raised)
    }

    pub(super) fn cause_is_over(&mut self) {
        self.is_active = false;
    }

    /// The rules raise it once more. What was acknowledged is another occurrence; of one that flaps
    /// only a higher priority is emitted.
    pub(super) fn raised_again(&mut self, moved: &Alert, now: i64) -> Option<Alert> {
        self.cause_id.clone_from(&moved.condition_id);
        self.is_active = true;
        // It was closed for what had raised it then.
        self.is_released = false;
        let rises = moved.priority < self.alert.priority;
        if self.alert.is_flapping && !rises {
            return None;
        }
        self.alert.priority = self.alert.priority.min(moved.priority);
        self.alert.is_latched = false;
        self.unacknowledge(now);
        Some(self.moves_by_value(Transition::Updated, moved))
    }

    /// The rules update it. An acknowledgement holds for the priority that was acknowledged.
    pub(super) fn updated(&mut self, moved: &Alert, now: i64) -> Option<Alert> {
        if moved.priority < self.alert.priority {
            self.alert.priority = moved.priority;
            self.is_released = false;
            self.unacknowledge(now);
        } else if self.alert.is_flapping {
            return None;
        }
        Some(self.moves_by_value(Transition::Updated, moved))
    }

    /// The rule has another version, of a higher priority: what is open has that from here on, from
    /// an event time on but not from before it moved last. It is to be acknowledged anew.
    pub(super) fn rises(
        &mut self,
        (at, now): (i64, i64),
        reason: &str,
        policy: &AlertPolicy<'_>,
    ) -> Option<Alert> {
        let (priority, version) = policy.raises_with?;
        if priority >= self.alert.priority {
            return None;
        }
        self.alert.priority = priority;
        self.alert.rule_version = version;
        self.is_released = false;
        self.unacknowledge(now);
        let mover = Mover {
            reason: Some(reason),
            ..Mover::default()
        };
        let at = at.max(self.alert.event_time);
        Some(self.moves(Transition::Updated, at, mover, policy))
    }

    pub(super) fn latches(&mut self, moved: &Alert, policy: &AlertPolicy<'_>) -> Alert {
        self.alert.is_latched = true;
        let mut emitted = self.moves_by_value(Transition::Latched, moved);
        emitted.message = format!(
            "latched: {} (its cause is over, it stays open until a person closes it)",
            self.what(policy)
        );
        self.alert.message.clone_from(&emitted.message);
        emitted
    }

    pub(super) fn flaps(&mut self, at: i64, policy: &AlertPolicy<'_>) -> Alert {
        self.alert.is_flapping = true;
        self.moves(Transition::Flapping, at, Mover::default(), policy)
    }

    /// It flaps no more, since its rule asks for that no longer, but stays open until it is closed.
    pub(super) fn latches_because(&mut self, reason: &str, policy: &AlertPolicy<'_>) -> Alert {
        self.alert.is_flapping = false;
        self.alert.is_latched = true;
        let mover = Mover {
            reason: Some(reason),
            ..Mover::default()
        };
        let at = self.alert.event_time;
        self.moves(Transition::Latched, at, mover, policy)
    }

    /// It flaps no more, since its rule asks for that no longer.
    pub(super) fn settles(&mut self, reason: &str, policy: &AlertPolicy<'_>) -> Alert {
        self.alert.is_flapping = false;
        let mover = Mover {
            reason: Some(reason),
            ..Mover::default()
        };
        let at = self.alert.event_time;
        self.moves(Transition::Settled, at, mover, policy)
    }

    /// Cleared by the rules.
    pub(super) fn ends(&mut self, moved: &Alert) -> Alert {
        self.alert.is_latched = false;
        self.alert.is_flapping = false;
        self.moves_by_value(Transition::Cleared, moved)
    }

    /// Ended for another reason than its rule's, at the moment at which it was last emitted.
    pub(super) fn ends_because(&mut self, reason: &str, policy: &AlertPolicy<'_>) -> Alert {
        self.alert.is_latched = false;
        self.alert.is_flapping = false;
        let mover = Mover {
            reason: Some(reason),
            ..Mover::default()
        };
        let at = self.alert.event_time;
        self.moves(Transition::Cleared, at, mover, policy)
    }

    pub(super) fn acknowledge(&mut self, actor: &str, at: i64) {
        self.alert.acknowledged_by = Some(actor.to_owned());
        self.alert.acknowledged_at = Some(at);
    }

    /// No person has acknowledged it from now on.
    pub(super) fn unacknowledge(&mut self, now: i64) {
        self.alert.acknowledged_by = None;
        self.alert.acknowledged_at = None;
        self.waiting_since = now;
    }

    pub(super) fn assign(&mut self, assignee: Option<&str>) {
        self.alert.assignee = assignee.map(str::to_owned);
    }

    pub(super) fn set_silence(&mut self, until: Option<i64>) {
        self.alert.silenced_until = until;
    }

    pub(super) fn set_flapping(&mut self, is_flapping: bool) {
        self.alert.is_flapping = is_flapping;
    }

    pub(super) fn set_latched(&mut self, is_latched: bool) {
        self.alert.is_latched = is_latched;
    }

    /// The next step that is due when it is not acknowledged, and when.
    pub(super) fn next_step<'a>(
        &self,
        policy: &AlertPolicy<'a>,
    ) -> Option<(i64, &'a Unacknowledged)> {
        if self.alert.acknowledged_at.is_some() || self.alert.silenced_until.is_some() {
            return None;
        }
        let step = policy
            .unacknowledged
            .get(usize::try_from(self.alert.escalation).ok()?)?;
        Some((self.waiting_since.saturating_add(step.after.0), step))
    }

    /// Passed on, because it was not acknowledged.
    pub(super) fn escalates(
        &mut self,
        step: &Unacknowledged,
        at: i64,
        policy: &AlertPolicy<'_>,
    ) -> Alert {
        let next = match self.alert.priority {
            Priority::Low => Priority::Medium,
            Priority::Medium | Priority::High => Priority::High,
        };
        self.alert.priority = self.alert.priority.min(step.priority.unwrap_or(next));
        self.alert.escalation += 1;
        let reason = format!("not acknowledged for {}", step.after);
        let mover = Mover {
            reason: Some(&reason),
            ..Mover::default()
        };
        self.moves(Transition::Escalated, at, mover, policy)
    }

    /// Moves with the values of a rule's transition.
    fn moves_by_value(&mut self, transition: Transition, moved: &Alert) -> Alert {
        let alert = &mut self.alert;
        alert.event_time = moved.event_time;
        alert.value = moved.value;
        alert.limit = moved.limit;
        alert.rule_version = moved.rule_version;
        alert.procedure_id.clone_from(&moved.procedure_id);
        alert.message.clone_from(&moved.message);
        if moved.transition != transition {
            let (_, what) = moved
                .message
                .split_once(": ")
                .unwrap_or(("", &moved.message));
            alert.message = format!("{}: {what}", transition.as_str());
        }
        self.number(
            transition,
            Mover {
                reason: moved.reason.as_deref(),
                ..Mover::default()
            },
        )
    }

    /// Moves without a value, at a time in microseconds UTC.
    pub(super) fn moves(
        &mut self,
        transition: Transition,
        at: i64,
        mover: Mover<'_>,
        policy: &AlertPolicy<'_>,
    ) -> Alert {
        let by = mover
            .actor
            .map_or_else(String::new, |actor| format!(" by {actor}"));
        let why = mover
            .reason
            .map_or_else(String::new, |reason| format!(" ({reason})"));
        let message = format!("{}{by}: {}{why}", transition.as_str(), self.what(policy));
        let alert = &mut self.alert;
        alert.event_time = at;
        alert.value = None;
        alert.limit = None;
        alert.message = message;
        self.number(transition, mover)
    }

    /// Gives the transition the next number of its condition.
    fn number(&mut self, transition: Transition, mover: Mover<'_>) -> Alert {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let alert = &mut self.alert;
        alert.transition = transition;
        alert.revision += 1;
        alert.alert_id = alert_id(&alert.condition_id, alert.revision);
        alert.actor = owned(mover.actor);
        alert.comment = owned(mover.comment);
        alert.action_id = owned(mover.action_id);
        alert.reason = owned(mover.reason);
        alert.clone()
    }

    fn what<'a>(&'a self, policy: &AlertPolicy<'a>) -> &'a str {
        if policy.description.is_empty() {
            &self.alert.rule_id
        } else {
            policy.description
        }
    }
}
