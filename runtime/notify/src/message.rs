//! What a recipient is sent, apart from how.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, Error, OutputFilter, Result};
use theatre_schemas::records::{Alert, Priority, RobotVersion, Transition};

/// A transition on its way to a recipient.
#[derive(Debug, Serialize)]
pub(super) struct Notification<'a> {
    /// The transition.
    #[serde(flatten)]
    pub(super) alert: &'a Alert,
    /// The facility in which the robot stood, by its registry.
    pub(super) facility_id: Option<String>,
    /// How the condition stands now: of a transition that is sent again and was followed by others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<Standing>,
    /// A person has asked for it, to see whether it comes.
    #[serde(skip)]
    pub(super) is_test: bool,
}

/// What the newest transition has made of a condition.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Standing {
    pub(super) transition: Transition,
    pub(super) priority: Priority,
    /// When, microseconds UTC.
    pub(super) event_time: i64,
}

impl Standing {
    pub(super) fn of(alert: &Alert) -> Self {
        Self {
            transition: alert.transition,
            priority: alert.priority,
            event_time: alert.event_time,
        }
    }
}

/// The message of a transition, in the form that Standard Webhooks recommends.
#[derive(Serialize)]
struct Envelope<'a> {
    r#type: String,
    timestamp: String,
    data: &'a Notification<'a>,
}

impl Notification<'_> {
    /// The whole as JSON: type, time, and the fields of the transition.
    pub(super) fn json(&self) -> Result<String> {
        let transition = self.alert.transition.as_str();
        let envelope = Envelope {
            r#type: if self.is_test {
                "theatre.alert.test".to_owned()
            } else {
                format!("theatre.alert.{transition}")
            },
            timestamp: time(self.alert.event_time),
            data: self,
        };
        serde_json::to_string(&envelope).map_err(|error| {
            Error::Refused(format!(
                "alert {} cannot be written as JSON: {error}",
                self.alert.alert_id
            ))
        })
    }
}

/// A moment in UTC, as in RFC 3339; the nearest that can be written.
pub(super) fn time(micros: i64) -> String {
    let moment = Timestamp::from_microsecond(micros);
    let nearest = if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    moment.unwrap_or(nearest).to_string()
}

/// The facility in which a robot stood at a moment, by the registry; before its first entry, that of
/// the first. `None` where nothing is known.
///
/// # Errors
/// Those of the store.
pub fn facility(robot_id: &str, at: i64, store: &dyn CheckpointStore) -> Result<Option<String>> {
    let found = store.find_outputs(&OutputFilter {
        kind: Some(OutputKind::RobotVersion),
        robot_id: Some(robot_id.to_owned()),
        subject: Some(robot_id.to_owned()),
        ..OutputFilter::default()
    })?;
    // In order of revision: the last says what is true of a moment.
    let mut versions = BTreeMap::new();
    for stored in found {
        let version = RobotVersion::decode(&stored.output.payload).map_err(|error| {
            Error::Refused(format!("a version of {robot_id} cannot be read: {error}"))
        })?;
        versions.insert(version.valid_from, version);
    }
    versions.retain(|_, version| !version.is_withdrawn);
    let then = versions.range(..=at).next_back();
    let valid = then.or_else(|| versions.iter().next());
    Ok(valid.and_then(|(_, version)| version.facility_id.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_fields_of_the_transition_and_its_time() {
        let alert = Alert {
            alert_id: "a1".to_owned(),
            event_time: 1_700_000_000_500_000,
            value: Some(91.5),
            ..Alert::default()
        };
        let mut notification = Notification {
            alert: &alert,
            facility_id: Some("FAC-001".to_owned()),
            now: None,
            is_test: false,
        };
        let read = |notification: &Notification<'_>| -> serde_json::Value {
            serde_json::from_str(&notification.json().unwrap()).unwrap()
        };
        let json = read(&notification);
        assert_eq!(json["type"], "theatre.alert.updated");
        assert_eq!(json["timestamp"], "2023-11-14T22:13:20.5Z");
        assert_eq!(json["data"]["alert_id"], "a1");
        assert_eq!(json["data"]["value"], 91.5);
        assert_eq!(json["data"]["facility_id"], "FAC-001");
        assert_eq!(json["data"]["silenced_until"], serde_json::Value::Null);
        assert!(json["data"].get("is_test").is_none() && json["data"].get("now").is_none());
        let cleared = Alert {
            transition: Transition::Cleared,
            event_time: 7,
            ..alert.clone()
        };
        notification.now = Some(Standing::of(&cleared));
        let json = read(&notification);
        assert_eq!(
            json["type"], "theatre.alert.updated",
            "what is sent is what was"
        );
        let now = serde_json::json!({"transition": "cleared", "priority": "low", "event_time": 7});
        assert_eq!(json["data"]["now"], now);
    }

    #[test]
    fn every_moment_can_be_written() {
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            assert!(time(micros).ends_with('Z'), "{}", time(micros));
        }
    }
}
