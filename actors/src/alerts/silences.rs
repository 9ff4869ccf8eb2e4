//! Silences: until when which conditions are not sent.

use serde::{Deserialize, Serialize};
use theatre_schemas::records::{Alert, Priority};

use super::AlertContext;
use super::open::OpenAlert;

/// Silences that are a robot's own, at a time, and as many that are for all robots.
pub const SILENCES_MAX: usize = 64;

/// The ids begin so that the HTTP interface and the command line give to actions for all robots.
const WIDE_ID: &str = "all_";

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
    /// It was made for all robots.
    pub(crate) is_wide: bool,
}

/// As version 4 of the processor stored it.
#[derive(Debug, Deserialize)]
pub(super) struct SilenceV4 {
    id: String,
    rule: Option<String>,
    condition: Option<String>,
    facility: Option<String>,
    model: Option<String>,
    until: i64,
    hides_high: bool,
    actor: String,
    comment: Option<String>,
}

impl From<SilenceV4> for Silence {
    fn from(stored: SilenceV4) -> Self {
        // That it was for all robots was not stored. One of a facility or a model is, and so is one
        // by the ids that Theatre gives to those.
        let is_wide =
            stored.id.starts_with(WIDE_ID) || stored.facility.is_some() || stored.model.is_some();
        Self {
            id: stored.id,
            rule: stored.rule,
            condition: stored.condition,
            facility: stored.facility,
            model: stored.model,
            until: stored.until,
            hides_high: stored.hides_high,
            actor: stored.actor,
            comment: stored.comment,
            is_wide,
        }
    }
}

/// Why a silence is refused where there are as many as there can be.
pub fn too_many_silences(is_wide: bool) -> String {
    let whose = match is_wide {
        true => "there are",
        false => "the robot has",
    };
    let which = if is_wide { " for all robots" } else { "" };
    format!("{whose} {SILENCES_MAX} silences{which} already: take one back, or wait until one ends")
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
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (&self.rule, &self.condition, &self.facility, &self.model)
            == (&other.rule, &other.condition, &other.facility, &other.model)
    }
}

/// The silences of a robot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Silences(Vec<Silence>);

impl Silences {
    /// Those of a build that did not know which of them are for all robots.
    pub(super) fn of_version_4(stored: Vec<SilenceV4>) -> Self {
        Self(stored.into_iter().map(Silence::from).collect())
    }

    /// Adds one, in place of one about the same conditions. Those for all robots are counted apart: the
    /// partition has accepted them for all, so a robot that has many of its own does not refuse them.
    ///
    /// # Errors
    /// When there are too many; nothing has changed then.
    pub(super) fn add(&mut self, silence: Silence) -> Result<(), String> {
        let others = self.0.iter().filter(|known| !known.is_like(&silence));
        let of_kind = others.filter(|known| known.is_wide == silence.is_wide);
        if of_kind.count() >= SILENCES_MAX {
            return Err(too_many_silences(silence.is_wide));
        }
        self.0.retain(|known| !known.is_like(&silence));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_of_version_4_is_for_all_robots_where_its_id_or_what_it_names_says_so() {
        for (id, facility, model, is_wide) in [
            ("act_1", None, None, false),
            ("all_1", None, None, true),
            ("own", Some("F"), None, true),
            ("own", None, Some("MX-2"), true),
        ] {
            let stored = SilenceV4 {
                id: id.to_owned(),
                rule: None,
                condition: None,
                facility: facility.map(str::to_owned),
                model: model.map(str::to_owned),
                until: 1,
                hides_high: false,
                actor: "dana".to_owned(),
                comment: None,
            };
            assert_eq!(Silence::from(stored).is_wide, is_wide, "{id}");
        }
    }
}
