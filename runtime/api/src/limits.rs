//! What a caller is limited to: robots by their ids, those that stand in facilities, or both.
//!
//! A token keeps both in one list, a facility as `@facility/FAC-001`. No robot is called so: a build
//! that knows of robots only lets such a token see nothing.

use std::collections::HashSet;
use std::sync::Arc;

use theatre_actors::ports::{Error, Result};
use theatre_schemas::dataset::EntityKind;

use crate::snapshot::Fleet;

/// What a caller is limited to; by itself to nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    robots: Option<Arc<HashSet<String>>>,
    facilities: Option<Arc<HashSet<String>>>,
    /// Where robots stand, as the store knew a moment ago; without it no robot stands anywhere.
    fleet: Option<Arc<Fleet>>,
}

impl Limits {
    /// Those of a token.
    pub(crate) fn of_token(entries: &[String]) -> Self {
        let (robots, facilities) = split(entries);
        let set = |names: Vec<String>| {
            (!names.is_empty()).then(|| Arc::new(names.into_iter().collect::<HashSet<_>>()))
        };
        Self {
            robots: set(robots),
            facilities: set(facilities),
            fleet: None,
        }
    }

    /// Those of who is limited to facilities, be it to none.
    pub(crate) fn of_facilities(facilities: HashSet<String>) -> Self {
        Self {
            facilities: Some(Arc::new(facilities)),
            ..Self::default()
        }
    }

    /// Whether a caller may see and send what concerns a robot.
    pub(crate) fn allow(&self, robot: &str) -> bool {
        if !self.need_fleet() {
            return self.allow_at(robot, None);
        }
        let view = self.fleet.as_ref().and_then(|fleet| fleet.robot(robot));
        let facility = view.and_then(|view| view.record.facility_id.as_deref());
        self.allow_at(robot, facility)
    }

    /// The same of a robot that stands in a facility; `None`: in none that is known.
    fn allow_at(&self, robot: &str, facility: Option<&str>) -> bool {
        let robots = self.robots.as_ref();
        let facilities = self.facilities.as_ref();
        robots.is_none_or(|robots| robots.contains(robot))
            && facilities.is_none_or(|own| facility.is_some_and(|facility| own.contains(facility)))
    }

    /// Whether everything of a facility is within them.
    pub(crate) fn allow_facility(&self, facility: &str) -> bool {
        let facilities = self.facilities.as_ref();
        self.robots.is_none() && facilities.is_none_or(|own| own.contains(facility))
    }

    /// Whether something that is for a facility, or for all, concerns robots that they allow.
    pub(crate) fn concern(&self, facility: Option<&str>) -> bool {
        let facilities = self.facilities.as_ref();
        facilities.is_none_or(|own| facility.is_none_or(|facility| own.contains(facility)))
    }

    /// The robots that they allow; `None`: all.
    pub(crate) fn robots(&self) -> Option<Vec<String>> {
        if !self.are_set() {
            return None;
        }
        let of_fleet = || {
            let fleet = self.fleet.iter().flat_map(|fleet| &fleet.robots);
            fleet.map(|view| view.robot_id.clone()).collect()
        };
        let known: Vec<String> = match &self.robots {
            Some(robots) => robots.iter().cloned().collect(),
            None => of_fleet(),
        };
        let mut allowed: Vec<String> = known.into_iter().filter(|it| self.allow(it)).collect();
        allowed.sort_unstable();
        Some(allowed)
    }

    /// Whether there are any.
    pub(crate) fn are_set(&self) -> bool {
        self.robots.is_some() || self.facilities.is_some()
    }

    /// Whether it must be known where robots stand.
    pub(crate) fn need_fleet(&self) -> bool {
        self.facilities.is_some()
    }

    /// By where robots stand now.
    pub(crate) fn by(&mut self, fleet: Arc<Fleet>) {
        self.fleet = Some(fleet);
    }

    /// Forgets where robots stand.
    pub(crate) fn forget(&mut self) {
        self.fleet = None;
    }

    /// The facilities, in order.
    pub(crate) fn facilities(&self) -> Vec<&str> {
        let facilities = self.facilities.iter().flat_map(|own| own.iter());
        let mut names: Vec<&str> = facilities.map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

/// What a token keeps for robots and facilities.
///
/// # Errors
/// When a name is none.
pub(crate) fn entries(robots: Vec<String>, facilities: &[String]) -> Result<Vec<String>> {
    let prefix = EntityKind::Facility.prefix();
    if let Some(robot) = robots.iter().find(|robot| robot.starts_with('@')) {
        return Err(Error::Refused(format!(
            "no robot is called '{robot}': a facility is named by --facility, or `facilities`"
        )));
    }
    if facilities.iter().any(|facility| facility.trim().is_empty()) {
        return Err(Error::Refused("a facility has a name".to_owned()));
    }
    let facilities = facilities.iter().map(|name| format!("{prefix}{name}"));
    Ok(robots.into_iter().chain(facilities).collect())
}

/// Robots and facilities of what a token keeps.
pub fn split(entries: &[String]) -> (Vec<String>, Vec<String>) {
    let prefix = EntityKind::Facility.prefix();
    let (mut robots, mut facilities) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry.strip_prefix(prefix) {
            Some(facility) => facilities.push(facility.to_owned()),
            None => robots.push(entry.clone()),
        }
    }
    (robots, facilities)
}

#[cfg(test)]
mod tests {
    use super::{Limits, entries, split};

    fn limits(robots: &[&str], facilities: &[&str]) -> Limits {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let facilities: Vec<String> = owned(facilities);
        let kept = entries(owned(robots), &facilities).unwrap();
        assert_eq!(split(&kept), (owned(robots), facilities));
        Limits::of_token(&kept)
    }

    #[test]
    fn what_is_limited_to_robots_and_facilities_allows_what_is_in_both() {
        let facility = |name| Some(name);
        for (robots, facilities, robot, at, is_allowed) in [
            (&[][..], &[][..], "r", None, true),
            (&["r"], &[], "r", None, true),
            (&["r"], &[], "s", None, false),
            (&[], &["F"], "r", facility("F"), true),
            (&[], &["F"], "r", facility("G"), false),
            (&[], &["F"], "r", None, false),
            (&[], &["F", "G"], "r", facility("G"), true),
            (&["r"], &["F"], "r", facility("F"), true),
            (&["r"], &["F"], "r", facility("G"), false),
            (&["r"], &["F"], "s", facility("F"), false),
        ] {
            let limits = limits(robots, facilities);
            let allowed = limits.allow_at(robot, at);
            assert_eq!(
                allowed, is_allowed,
                "{robots:?} {facilities:?} {robot} {at:?}"
            );
        }
    }

    #[test]
    fn where_no_robot_is_known_to_stand_a_facility_allows_none() {
        assert!(!limits(&[], &["F"]).allow("r"));
    }

    #[test]
    fn only_a_limit_by_facilities_alone_allows_all_of_a_facility() {
        assert!(limits(&[], &["F"]).allow_facility("F"));
        assert!(!limits(&[], &["F"]).allow_facility("G"));
        assert!(!limits(&["r"], &["F"]).allow_facility("F"));
        assert!(!limits(&["r"], &[]).allow_facility("F"));
        assert!(limits(&["r"], &["F"]).concern(Some("F")));
        assert!(!limits(&["r"], &["F"]).concern(Some("G")));
        assert!(limits(&[], &["F"]).concern(None));
    }

    #[test]
    fn a_robot_that_none_can_be_is_refused() {
        let robot = vec!["@facility/F".to_owned()];
        assert!(entries(robot, &[]).is_err());
        assert!(entries(Vec::new(), &[" ".to_owned()]).is_err());
    }
}
