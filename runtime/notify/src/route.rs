//! Which transitions a recipient is sent.
//!
//! A condition is sent from the transition on that first passes the filters. What follows in its
//! life is sent as well where only its priority does not fit any more, and its end is sent if
//! anything of it was: nothing stays open at the recipient. Nothing is remembered for that: the
//! store has the whole life of a condition, and each answer is a function of it, under each owner
//! of the partition the same.

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, OutputFilter, Result, StoredOutput};
use theatre_config::notify::NotifyConfig;
use theatre_schemas::records::{Alert, Priority, Transition};

use super::message::facility;
use super::read;

/// The filters of a recipient.
pub(super) struct Route {
    priorities: Vec<Priority>,
    facilities: Vec<String>,
    rules: Vec<String>,
    robots: Vec<String>,
    transitions: Vec<Transition>,
    escalation_at_least: i32,
}

impl Route {
    pub(super) fn of(section: &NotifyConfig) -> Self {
        Self {
            priorities: section.priorities.clone(),
            facilities: section.facilities.clone(),
            rules: section.rules.clone(),
            robots: section.robots.clone(),
            transitions: section.transitions.clone(),
            escalation_at_least: i32::try_from(section.escalation_at_least).unwrap_or(i32::MAX),
        }
    }

    /// Whether a transition, which is this output of the store, is sent.
    pub(super) fn passes(
        &self,
        alert: &Alert,
        output: &StoredOutput,
        store: &dyn CheckpointStore,
    ) -> Result<bool> {
        if !self.may_be_sent(alert) || !self.concerns(alert, store)? {
            return Ok(false);
        }
        let depends_on_life = match alert.transition {
            Transition::Silenced | Transition::Raised => false,
            Transition::Unsilenced | Transition::Cleared => true,
            _ => !self.would(alert) && !is_quiet(alert),
        };
        let mut before = Vec::new();
        if depends_on_life {
            let whole = life(alert, output, store)?.into_iter();
            let earlier =
                whole.filter(|(stored, _)| stored.output.revision < output.output.revision);
            before.extend(earlier.map(|(_, alert)| alert));
        }
        let last = match alert.transition {
            Transition::Unsilenced => self.last_sent(&before, store)?,
            _ => None,
        };
        let known = last.map(|last| last.priority);
        Ok(self.is_sent(alert, &before, known))
    }

    /// Whether the recipient wants such transitions. Who wants to know that conditions begin is sent
    /// one that began under a silence, too, once that is over.
    fn may_be_sent(&self, alert: &Alert) -> bool {
        let wants = |transition| self.transitions.contains(&transition);
        wants(alert.transition)
            || alert.transition == Transition::Unsilenced && wants(Transition::Raised)
    }

    /// The transition in the life of a condition that the recipient was sent last; `None` if it knows
    /// nothing of it.
    fn last_sent<'a>(
        &self,
        life: &'a [Alert],
        store: &dyn CheckpointStore,
    ) -> Result<Option<&'a Alert>> {
        let mut last: Option<&Alert> = None;
        for (at, alert) in life.iter().enumerate() {
            let before = life.get(..at).unwrap_or_default();
            if self.may_be_sent(alert)
                && self.is_sent(alert, before, last.map(|last| last.priority))
                && self.concerns(alert, store)?
            {
                last = Some(alert);
            }
        }
        Ok(last)
    }

    /// Whether a transition is sent that the recipient wants, after those `before` it in the life of
    /// its condition; `known` is the priority that it was sent last.
    fn is_sent(&self, alert: &Alert, before: &[Alert], known: Option<Priority>) -> bool {
        match alert.transition {
            Transition::Silenced => self.fits(alert),
            Transition::Unsilenced if self.transitions.contains(&alert.transition) => {
                self.fits(alert)
            }
            Transition::Unsilenced => match known {
                None => self.would(alert),
                Some(priority) => priority != alert.priority && !is_quiet(alert),
            },
            // Of a life that the store does not have, the end alone is better than nothing.
            Transition::Cleared if before.is_empty() => self.would(alert),
            Transition::Cleared => before.iter().any(|alert| self.would(alert)),
            _ if self.would(alert) => true,
            Transition::Raised => false,
            _ if is_quiet(alert) => false,
            _ => before.iter().any(|alert| self.would(alert)),
        }
    }

    /// What does not change in the life of a condition.
    fn concerns(&self, alert: &Alert, store: &dyn CheckpointStore) -> Result<bool> {
        let any_or = |wanted: &[String], name: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted == name)
        };
        if !any_or(&self.rules, &alert.rule_id) || !any_or(&self.robots, &alert.robot_id) {
            return Ok(false);
        }
        if self.facilities.is_empty() {
            return Ok(true);
        }
        let stands_in = facility(&alert.robot_id, alert.event_time, store)?;
        Ok(stands_in.is_some_and(|facility| self.facilities.contains(&facility)))
    }

    fn fits(&self, alert: &Alert) -> bool {
        (self.priorities.is_empty() || self.priorities.contains(&alert.priority))
            && alert.escalation >= self.escalation_at_least
    }

    /// Whether a condition that stands so would be sent.
    fn would(&self, alert: &Alert) -> bool {
        self.fits(alert) && !is_quiet(alert)
    }
}

/// Whether a condition is kept quiet for now: it is silenced, or it comes and goes, of which only
/// the beginning is sent, and that it has become more urgent, was passed on, that no one sees to it
/// any more, or that a silence is over. A silence that does not reach a condition of high priority is
/// not noted in it.
fn is_quiet(alert: &Alert) -> bool {
    let is_silenced = alert
        .silenced_until
        .is_some_and(|until| until > alert.event_time);
    let is_news = matches!(
        alert.transition,
        Transition::Flapping
            | Transition::Updated
            | Transition::Escalated
            | Transition::Unacknowledged
            | Transition::Unsilenced
    );
    is_silenced || alert.is_flapping && !is_news
}

/// The life of a condition, of which this is a transition, in order.
fn life(
    alert: &Alert,
    output: &StoredOutput,
    store: &dyn CheckpointStore,
) -> Result<Vec<(StoredOutput, Alert)>> {
    let mut found = store.find_outputs(&OutputFilter {
        kind: Some(OutputKind::Alert),
        robot_id: Some(alert.robot_id.clone()),
        subject: Some(alert.rule_id.clone()),
        from: Some(alert.raised_at),
        ..OutputFilter::default()
    })?;
    found.retain(|stored| stored.output.id == output.output.id);
    found.sort_by_key(|stored| stored.output.revision);
    let with_alert = |stored: StoredOutput| read(&stored).map(|alert| (stored, alert));
    found.into_iter().map(with_alert).collect()
}

/// What has become of a condition since one of its transitions.
pub(super) struct Since {
    /// The newest transition; `None` if nothing has followed.
    pub(super) newest: Option<Alert>,
    /// The newest one that the recipient is sent.
    told: Option<(StoredOutput, Alert)>,
}

impl Since {
    /// Whether the recipient would be told by this transition what does not hold any more, and not
    /// what holds, too: the condition is over or has another priority by now, and what says so does
    /// not come behind it. That people have seen to it meanwhile leaves it open.
    pub(super) fn is_outdated(
        &self,
        alert: &Alert,
        comes_behind: &dyn Fn(&StoredOutput) -> bool,
    ) -> bool {
        let corrects = |(output, told): &(StoredOutput, Alert)| {
            !self.is_overtaken(told) && comes_behind(output)
        };
        self.is_overtaken(alert) && !self.told.as_ref().is_some_and(corrects)
    }

    /// Whether the condition is over, or has another priority, after a transition.
    fn is_overtaken(&self, alert: &Alert) -> bool {
        let Some(newest) = &self.newest else {
            return false;
        };
        match newest.transition {
            Transition::Cleared => alert.transition != Transition::Cleared,
            _ => newest.priority != alert.priority,
        }
    }

    /// Until when an open condition is silenced, microseconds UTC; `None` where it is not, at this
    /// time. That it was silenced may be sent under a silence, too.
    pub(super) fn silenced_until(&self, alert: &Alert, now: i64) -> Option<i64> {
        let newest = self.newest.as_ref().unwrap_or(alert);
        let may_be_told =
            newest.transition == Transition::Cleared || alert.transition == Transition::Silenced;
        newest
            .silenced_until
            .filter(|until| *until > now && !may_be_told)
    }
}

impl Route {
    /// How a condition stands for the recipient: the transition that it was sent last. `None` where
    /// the condition is over or silenced by now, where the recipient was sent nothing of it, and where
    /// not all of its life has been `handed` over.
    pub(super) fn stands(
        &self,
        (robot_id, condition_id): (&str, &str),
        now: i64,
        handed: &dyn Fn(&StoredOutput) -> bool,
        store: &dyn CheckpointStore,
    ) -> Result<Option<Alert>> {
        let mut found = store.find_outputs(&OutputFilter {
            kind: Some(OutputKind::Alert),
            robot_id: Some(robot_id.to_owned()),
            id: Some(condition_id.to_owned()),
            ..OutputFilter::default()
        })?;
        found.sort_by_key(|stored| stored.output.revision);
        if !found.iter().all(handed) {
            return Ok(None);
        }
        let life: Vec<Alert> = found.iter().map(read).collect::<Result<_>>()?;
        let is_open = |newest: &Alert| {
            newest.transition != Transition::Cleared
                && newest.silenced_until.is_none_or(|until| until <= now)
        };
        if !life.last().is_some_and(is_open) {
            return Ok(None);
        }
        Ok(self.last_sent(&life, store)?.cloned())
    }

    /// What has followed a transition, which is this output of the store.
    pub(super) fn since(
        &self,
        alert: &Alert,
        output: &StoredOutput,
        store: &dyn CheckpointStore,
    ) -> Result<Since> {
        let mut since = Since {
            newest: None,
            told: None,
        };
        for (stored, alert) in life(alert, output, store)? {
            if stored.output.revision <= output.output.revision {
                continue;
            }
            if self.passes(&alert, &stored, store)? {
                since.told = Some((stored, alert.clone()));
            }
            since.newest = Some(alert);
        }
        Ok(since)
    }
}

#[cfg(test)]
mod tests;
