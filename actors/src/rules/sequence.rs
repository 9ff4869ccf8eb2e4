//! A rule on something that happens, and then something else within a time, without a third in
//! between. What happens are events of the robot, and conditions of other rules that are raised.
//!
//! The latest eight of each are remembered by their event times, so one that comes a little late
//! still finds its place. Two at the same moment do not follow each other.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::limits::span_us;
use super::micros::Micros;
use super::names::did_you_mean;

/// Times that are remembered of each part.
const TIMES_MAX: usize = 8;
/// The longest time between two parts.
const WITHIN_MAX: Micros = Micros(366 * 86_400_000_000);
/// The types of events that a robot tells of.
const EVENT_TYPES: [&str; 9] = [
    "unknown",
    "started",
    "stopped",
    "maintenance_started",
    "maintenance_completed",
    "part_replaced",
    "fault",
    "recording_ended",
    "recording_started",
];

/// Something, and then something else within a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceSpec {
    /// What happens first.
    pub first: Happening,
    /// What happens then; the condition is raised by it.
    pub then: Happening,
    /// At most so long after the first.
    pub within: Micros,
    /// What must not happen in between; it also clears the condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<Happening>,
    /// The condition is cleared so long after it happened last; default: `within`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_after: Option<Micros>,
}

/// An event of the robot, or a condition that is raised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Happening {
    /// Type of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Its code; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Id of the rule whose condition is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// Something that has happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Happened<'a> {
    /// An event of this type and code.
    Event(&'a str, Option<&'a str>),
    /// A condition of this rule was raised.
    Raised(&'a str),
    /// One that was still open, as latched, was raised once more.
    RaisedAgain(&'a str),
    /// One was cleared.
    Cleared(&'a str),
}

/// What is remembered of a sequence: event times, microseconds UTC, ascending.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steps {
    first: VecDeque<i64>,
    then: VecDeque<i64>,
    without: VecDeque<i64>,
    /// When it happened last.
    done: Option<i64>,
}

/// What something that has happened does to a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    /// It is complete, by what happened at this event time.
    Complete(i64),
    /// What must not happen has happened after it.
    Ended(i64),
}

impl Happening {
    fn check(&self, part: &str) -> Result<(), String> {
        match (&self.event, &self.condition) {
            (Some(event), None) if EVENT_TYPES.contains(&event.as_str()) => Ok(()),
            (Some(event), None) => Err(format!(
                "{part}: a robot tells of no event '{event}'; {}",
                did_you_mean(event, &EVENT_TYPES)
            )),
            (None, Some(_)) if self.code.is_none() => Ok(()),
            (None, Some(_)) => Err(format!("{part}: a condition has no code: leave it out")),
            _ => Err(format!("{part}: give exactly one of event and condition")),
        }
    }

    fn is(&self, happened: Happened<'_>) -> bool {
        match happened {
            Happened::Event(event, code) => {
                self.event.as_deref() == Some(event)
                    && (self.code.is_none() || self.code.as_deref() == code)
            }
            Happened::Raised(rule) | Happened::RaisedAgain(rule) => {
                self.condition.as_deref() == Some(rule)
            }
            Happened::Cleared(_) => false,
        }
    }
}

impl SequenceSpec {
    /// # Errors
    /// Says which part cannot be, and why.
    pub(super) fn check(&self) -> Result<(), String> {
        span_us("within", self.within, WITHIN_MAX)?;
        span_us("clear_after", self.clear_after(), WITHIN_MAX)?;
        self.first.check("first")?;
        self.then.check("then")?;
        self.without
            .as_ref()
            .map_or(Ok(()), |of| of.check("without"))
    }

    /// How long after it happened it is cleared.
    pub(crate) fn clear_after(&self) -> Micros {
        self.clear_after.unwrap_or(self.within)
    }

    fn parts(&self) -> impl Iterator<Item = &Happening> {
        [&self.first, &self.then].into_iter().chain(&self.without)
    }

    /// The rules whose conditions it follows.
    pub(crate) fn rules(&self) -> Vec<&str> {
        self.parts()
            .filter_map(|of| of.condition.as_deref())
            .collect()
    }

    /// Whether it follows events of the robot.
    pub(crate) fn has_events(&self) -> bool {
        self.parts().any(|of| of.event.is_some())
    }

    /// Notes what has happened at an event time.
    pub(crate) fn note(&self, steps: &mut Steps, happened: Happened<'_>, time: i64) -> Step {
        if self.without.as_ref().is_some_and(|of| of.is(happened)) {
            remember(&mut steps.without, time);
            if steps.done.is_some_and(|done| done < time) {
                return Step::Ended(time);
            }
        }
        let is_first = self.first.is(happened);
        let is_then = self.then.is(happened);
        if is_first {
            remember(&mut steps.first, time);
        }
        if is_then {
            remember(&mut steps.then, time);
        }
        if !(is_first || is_then) {
            return Step::Nothing;
        }
        let complete = steps
            .then
            .iter()
            .rev()
            .find(|then| self.is_complete(steps, **then));
        match complete.copied() {
            Some(at) => {
                steps.done = Some(at);
                Step::Complete(at)
            }
            None => Step::Nothing,
        }
    }

    fn is_complete(&self, steps: &Steps, then: i64) -> bool {
        if Some(then) <= steps.done {
            return false;
        }
        // Of several the last one: if it is too long ago or cut off, so are those before it.
        let before = steps.first.iter().rev().find(|first| **first < then);
        before.is_some_and(|first| {
            then.saturating_sub(*first) <= self.within.0
                && !steps.without.iter().any(|at| first < at && *at < then)
        })
    }
}

impl Steps {
    /// When a complete sequence is over, by the time after which it is cleared.
    pub(crate) fn over_at(&self, clear_after: Micros) -> Option<i64> {
        self.done.map(|done| done.saturating_add(clear_after.0))
    }
}

fn remember(times: &mut VecDeque<i64>, time: i64) {
    let at = times.partition_point(|known| *known < time);
    if times.get(at) != Some(&time) {
        times.insert(at, time);
    }
    if times.len() > TIMES_MAX {
        times.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, code: Option<&str>) -> Happening {
        Happening {
            event: Some(name.into()),
            code: code.map(Into::into),
            condition: None,
        }
    }

    fn spec() -> SequenceSpec {
        SequenceSpec {
            first: event("fault", Some("E1")),
            then: Happening {
                condition: Some("hot".into()),
                ..Happening::default()
            },
            within: Micros(10),
            without: Some(event("maintenance_completed", None)),
            clear_after: None,
        }
    }

    #[test]
    fn a_sequence_is_complete_as_its_table_says() {
        let fault = Happened::Event("fault", Some("E1"));
        let other = Happened::Event("fault", Some("E2"));
        let service = Happened::Event("maintenance_completed", None);
        let hot = Happened::Raised("hot");
        type Case<'a> = (&'a str, &'a [(Happened<'a>, i64)], &'a [Step]);
        let table: [Case<'_>; 9] = [
            (
                "in time",
                &[(fault, 1), (hot, 11)],
                &[Step::Nothing, Step::Complete(11)],
            ),
            ("too late", &[(fault, 1), (hot, 12)], &[Step::Nothing; 2]),
            ("another code", &[(other, 1), (hot, 2)], &[Step::Nothing; 2]),
            (
                "the other way round",
                &[(hot, 1), (fault, 2)],
                &[Step::Nothing; 2],
            ),
            ("at once", &[(fault, 2), (hot, 2)], &[Step::Nothing; 2]),
            (
                "cut off",
                &[(fault, 1), (service, 2), (hot, 3)],
                &[Step::Nothing; 3],
            ),
            (
                "the first comes late",
                &[(hot, 5), (fault, 2)],
                &[Step::Nothing, Step::Complete(5)],
            ),
            (
                "again",
                &[(fault, 1), (hot, 2), (hot, 2), (hot, 4)],
                &[
                    Step::Nothing,
                    Step::Complete(2),
                    Step::Nothing,
                    Step::Complete(4),
                ],
            ),
            (
                "ended",
                &[(fault, 1), (hot, 2), (service, 3)],
                &[Step::Nothing, Step::Complete(2), Step::Ended(3)],
            ),
        ];
        for (name, happened, expected) in table {
            let mut steps = Steps::default();
            let got: Vec<Step> = happened
                .iter()
                .map(|(happened, time)| spec().note(&mut steps, *happened, *time))
                .collect();
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut steps = Steps::default();
        for time in 0..100 {
            spec().note(&mut steps, Happened::Event("fault", Some("E1")), time);
        }
        assert_eq!(steps.first.len(), TIMES_MAX);
        assert_eq!(steps.over_at(Micros(5)), None);
        spec().note(&mut steps, Happened::Raised("hot"), 101);
        assert_eq!(steps.over_at(Micros(5)), Some(106));
    }

    #[test]
    fn the_types_of_events_are_those_of_the_schema() {
        let (_, json) = theatre_schemas::registry::INPUT_SCHEMAS
            .iter()
            .rfind(|(name, _)| *name == "robot_events")
            .unwrap();
        let schema: serde_json::Value = serde_json::from_str(json).unwrap();
        let fields = schema["fields"].as_array().unwrap();
        let field = fields
            .iter()
            .find(|field| field["name"] == "event_type")
            .unwrap();
        assert_eq!(field["type"]["symbols"], serde_json::json!(EVENT_TYPES));
    }

    #[test]
    fn parts_that_cannot_be_are_refused_with_the_reason() {
        let both = Happening {
            condition: Some("hot".into()),
            ..event("fault", None)
        };
        let coded = Happening {
            event: None,
            code: Some("E1".into()),
            condition: Some("hot".into()),
        };
        for (first, why) in [
            (event("falut", None), "did you mean fault"),
            (both, "exactly one"),
            (Happening::default(), "exactly one"),
            (coded, "has no code"),
        ] {
            let spec = SequenceSpec { first, ..spec() };
            assert!(spec.check().unwrap_err().contains(why), "{why}");
        }
        let spec = SequenceSpec {
            within: Micros(0),
            ..spec()
        };
        assert!(spec.check().unwrap_err().contains("within must be longer"));
    }
}
