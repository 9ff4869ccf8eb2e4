//! Silences: until when which conditions are not sent.

use serde::{Deserialize, Serialize};
use theatre_schemas::records::{Alert, Priority};

use super::AlertContext;
use super::open::OpenAlert;

/// Silences that count together, at a time ([`SilenceScope`]).
pub const SILENCES_MAX: usize = 64;
/// Those of all facilities together. Each robot keeps them, since it may come to another facility;
/// with its own and those without a facility it keeps 1,152 at most.
pub const FACILITY_SILENCES_MAX: usize = 1024;

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

/// Which silences count together: who may silence the one can use up no room of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilenceScope<'a> {
    /// Those that are a robot's own.
    Robot,
    /// Those of a facility.
    Facility(&'a str),
    /// Those for all robots that name no facility.
    All,
}

impl<'a> SilenceScope<'a> {
    /// That of a silence, which is for all robots or not.
    pub fn of(is_wide: bool, facility: Option<&'a str>) -> Self {
        match facility {
            _ if !is_wide => Self::Robot,
            Some(facility) => Self::Facility(facility),
            None => Self::All,
        }
    }

    /// Whether there is room for one more beside the others, given by their scopes.
    ///
    /// # Errors
    /// Says of what there are too many.
    pub fn check_room<'b>(
        self,
        others: impl Iterator<Item = SilenceScope<'b>>,
    ) -> Result<(), String> {
        let (mut alike, mut of_facilities) = (0, 0);
        for other in others {
            alike += usize::from(other == self);
            of_facilities += usize::from(matches!(other, SilenceScope::Facility(_)));
        }
        let too_many = match self {
            Self::Facility(_) if of_facilities >= FACILITY_SILENCES_MAX => {
                format!("there are {FACILITY_SILENCES_MAX} silences of facilities")
            }
            _ if alike < SILENCES_MAX => return Ok(()),
            Self::Robot => format!("the robot has {SILENCES_MAX} silences"),
            Self::Facility(facility) => {
                format!("there are {SILENCES_MAX} silences of the facility '{facility}'")
            }
            Self::All => format!("there are {SILENCES_MAX} silences for all robots"),
        };
        Err(format!(
            "{too_many} already: take one back, or wait until one ends"
        ))
    }
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

    fn scope(&self) -> SilenceScope<'_> {
        SilenceScope::of(self.is_wide, self.facility.as_deref())
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
    /// So are those of each facility: one that silences much leaves room for the others.
    ///
    /// # Errors
    /// When there are too many; nothing has changed then.
    pub(super) fn add(&mut self, silence: Silence) -> Result<(), String> {
        let others = self.0.iter().filter(|known| !known.is_like(&silence));
        silence.scope().check_room(others.map(Silence::scope))?;
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
    fn silences_have_room_by_facility_by_robot_and_for_all() {
        let of = |facility: &'static str| SilenceScope::of(true, Some(facility));
        let (all, own) = (SilenceScope::of(true, None), SilenceScope::of(false, None));
        let full: Vec<SilenceScope<'_>> = std::iter::repeat_n(of("F"), SILENCES_MAX).collect();
        let names: Vec<String> = (0..FACILITY_SILENCES_MAX / SILENCES_MAX)
            .map(|number| format!("F{number}"))
            .collect();
        let total: Vec<SilenceScope<'_>> = (names.iter())
            .flat_map(|name| std::iter::repeat_n(SilenceScope::Facility(name), SILENCES_MAX))
            .collect();
        let alls: Vec<SilenceScope<'_>> = std::iter::repeat_n(all, SILENCES_MAX).collect();
        for (others, new, why) in [
            (&full, of("F"), Some("64 silences of the facility 'F'")),
            (&full, of("G"), None),
            (&full, all, None),
            (&full, own, None),
            (&alls, all, Some("64 silences for all robots")),
            (&alls, of("F"), None),
            (&alls, own, None),
            (&total, of("F"), Some("1024 silences of facilities")),
            (&total, all, None),
            (&total, own, None),
        ] {
            let checked = new.check_room(others.iter().copied());
            match why {
                None => assert_eq!(checked, Ok(()), "{new:?}"),
                Some(why) => {
                    let said = checked.unwrap_err();
                    assert!(
                        said.contains(why) && said.contains("take one back"),
                        "{said}"
                    );
                }
            }
            let one_less = new.check_room(others.iter().skip(1).copied());
            assert_eq!(one_less, Ok(()), "{new:?}");
        }
    }

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
