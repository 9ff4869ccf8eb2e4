//! Silences: until when which conditions are not sent.

use serde::{Deserialize, Serialize};
use theatre_schemas::records::{Alert, Priority};

use super::AlertContext;
use super::open::OpenAlert;

/// Silences that a robot has at a time.
pub(super) const SILENCES_MAX: usize = 64;

/// Conditions that are not sent until a moment. What is absent does not narrow it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Silence {
    /// Id of the action that made it.
    pub(crate) id: String,
    pub(crate) rule: Option<String>,
    pub(crate) condition: Option<String>,
    pub(crate) facility: Option<String>,
    pub(crate) model: Option<String>,
    /// By the log's clock, microseconds UTC.
    pub(crate) until: i64,
    /// It holds for conditions of high priority too.
    pub(crate) hides_high: bool,
    pub(crate) actor: String,
    pub(crate) comment: Option<String>,
}

impl Silence {
    fn hides(&self, alert: &Alert, context: AlertContext<'_>) -> bool {
        let is = |wanted: &Option<String>, known: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == known)
        };
        (self.hides_high || alert.priority != Priority::High)
            && is(&self.rule, Some(&alert.rule_id))
            && is(&self.condition, Some(&alert.condition_id))
            && is(&self.facility, context.facility)
            && is(&self.model, context.model)
    }

    /// Whether another one is about the same conditions.
    fn is_like(&self, other: &Self) -> bool {
        (&self.rule, &self.condition, &self.facility, &self.model)
            == (&other.rule, &other.condition, &other.facility, &other.model)
    }
}

/// The silences of a robot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Silences(Vec<Silence>);

impl Silences {
    /// Adds one, in place of one about the same conditions.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn add(&mut self, silence: Silence) -> Result<(), String> {
        self.0.retain(|known| !known.is_like(&silence));
        if self.0.len() >= SILENCES_MAX {
            return Err(format!(
                "the robot has {SILENCES_MAX} silences already: take one back, or wait until one ends"
            ));
        }
        self.0.push(silence);
        Ok(())
    }

    /// Takes back those that `is_meant` names; true when there was one.
    pub(super) fn remove(&mut self, is_meant: impl Fn(&Silence) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|silence| !is_meant(silence));
        self.0.len() < before
    }

    /// When the next one ends; `i64::MAX` without one.
    pub(super) fn next_end(&self) -> i64 {
        let ends = self.0.iter().map(|silence| silence.until);
        ends.min().unwrap_or(i64::MAX)
    }

    /// Removes those that end at a moment or before it.
    pub(super) fn end(&mut self, at: i64) {
        self.0.retain(|silence| silence.until > at);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.0.iter()
    }

    /// Until when a condition is not sent.
    pub(super) fn until(&self, alert: &Alert, context: AlertContext<'_>) -> Option<i64> {
        let hiding = self
            .0
            .iter()
            .filter(|silence| silence.hides(alert, context));
        hiding.map(|silence| silence.until).max()
    }

    /// Notes in a condition whether it is silenced.
    pub(super) fn apply(&self, open: &mut OpenAlert, context: AlertContext<'_>) {
        let until = self.until(open.alert(), context);
        open.set_silence(until);
    }

    /// The same where the rules have moved it, and in what is emitted of that: with a higher priority a
    /// silence may not hold any more.
    pub(super) fn refresh_last(
        &self,
        open: &mut OpenAlert,
        context: AlertContext<'_>,
        emitted: &mut [Alert],
    ) {
        self.apply(open, context);
        for alert in emitted {
            if alert.condition_id == open.alert().condition_id {
                alert.silenced_until = open.alert().silenced_until;
            }
        }
    }
}
