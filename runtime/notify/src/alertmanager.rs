//! Alertmanager, by version 2 of its interface.
//!
//! A condition is an alert there: it fires from the moment it was raised until it is cleared. An
//! alert is known by its labels, so those that may change in a condition's life, its priority and
//! what follows from it, make another alert: with each transition after the first the alerts of the
//! other priorities are said to have ended.
//!
//! Alertmanager takes an alert for resolved at its `endsAt`, or, without one, when it was not sent
//! again for a while. A robot's condition is not over because Theatre is being restarted, so open
//! ones get an end that is far away, and only `cleared` ends them. What is open is sent again every
//! few minutes nevertheless: an Alertmanager that is started anew may have lost it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use theatre_actors::ports::{Error, Result};
use theatre_actors::time::Clock;
use theatre_config::notify::NotifyConfig;
use theatre_pipeline::outbox::Receipt;
use theatre_schemas::records::{Alert, Priority, Transition};

use super::http::Client;
use super::message::{Notification, Standing, time};

/// The end of an alert that is open: a year after it was sent.
const FAR_US: i64 = 365 * 86_400_000_000;
/// Conditions that are sent again in one request.
const AT_ONCE: usize = 64;
/// The end of a test.
const TEST_US: i64 = 300_000_000;

const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Medium, Priority::Low];

/// An Alertmanager.
pub(super) struct Alertmanager {
    client: Client,
    clock: Arc<dyn Clock>,
}

/// An alert as Alertmanager takes it.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Posted {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
}

impl Alertmanager {
    pub(super) fn new(section: &NotifyConfig, clock: Arc<dyn Clock>) -> Self {
        let base = section.url.as_deref().unwrap_or_default();
        let url = format!("{}/api/v2/alerts", base.trim_end_matches('/'));
        Self {
            client: Client::at(url, section),
            clock,
        }
    }

    pub(super) fn send(&self, notification: &Notification<'_>) -> Result<Receipt> {
        self.post(&posted(notification, self.clock.now().0))
    }

    /// Says of conditions that they are open, as it was said before. One that it refuses keeps no
    /// other from being said. `is_owner` fails once another process may say otherwise; it is asked
    /// before each request.
    pub(super) fn repeat(
        &self,
        open: &[Notification<'_>],
        is_owner: &dyn Fn() -> Result<()>,
    ) -> Result<Receipt> {
        let say = |some: &[Notification<'_>]| {
            is_owner()?;
            self.post(&repeated(some, self.clock.now().0))
        };
        for some in open.chunks(AT_ONCE) {
            let receipt = say(some)?;
            let Receipt::Refused(_) = receipt else {
                if receipt != Receipt::Taken {
                    return Ok(receipt);
                }
                continue;
            };
            for one in some.chunks(1) {
                let receipt = say(one)?;
                if !matches!(receipt, Receipt::Taken | Receipt::Refused(_)) {
                    return Ok(receipt);
                }
            }
        }
        Ok(Receipt::Taken)
    }

    fn post(&self, alerts: &[Posted]) -> Result<Receipt> {
        let body = serde_json::to_string(alerts).map_err(|error| {
            Error::Refused(format!("alerts cannot be written as JSON: {error}"))
        })?;
        let headers = [("content-type", "application/json")];
        self.client.post(&headers, &body)?.receipt()
    }
}

/// The alerts of conditions that are open. Those of other priorities have ended before.
fn repeated(open: &[Notification<'_>], now: i64) -> Vec<Posted> {
    let alerts = open.iter();
    alerts
        .filter_map(|notification| posted(notification, now).into_iter().next())
        .collect()
}

/// The alert of a condition, and those of the priorities that it has not, or not any more. What is
/// sent again, and was followed by others, tells how the condition stands now.
fn posted(notification: &Notification<'_>, now: i64) -> Vec<Posted> {
    let alert = notification.alert;
    let standing = notification.now.unwrap_or(Standing::of(alert));
    // A robot's clock may be ahead: what is over would fire until then. An end before the beginning
    // is refused.
    let moved = alert.event_time.max(standing.event_time);
    let moved = moved.min(now).max(alert.raised_at);
    let is_over = [alert.transition, standing.transition].contains(&Transition::Cleared);
    let end = match (is_over, notification.is_test) {
        (true, _) => moved,
        (false, true) => now.saturating_add(TEST_US),
        (false, false) => now.max(moved).saturating_add(FAR_US),
    };
    let mut all = vec![of_priority(notification, standing.priority, end)];
    if alert.revision > 0 || notification.now.is_some() {
        let others = PRIORITIES.into_iter();
        let others = others.filter(|priority| *priority != standing.priority);
        all.extend(others.map(|priority| of_priority(notification, priority, moved)));
    }
    all
}

fn of_priority(notification: &Notification<'_>, priority: Priority, end: i64) -> Posted {
    let alert = notification.alert;
    let (priority, severity) = match priority {
        Priority::High => ("high", "critical"),
        Priority::Medium => ("medium", "warning"),
        Priority::Low => ("low", "info"),
    };
    let labels = BTreeMap::from([
        ("alertname", alert.rule_id.clone()),
        ("robot_id", alert.robot_id.clone()),
        ("condition_id", alert.condition_id.clone()),
        ("priority", priority.to_owned()),
        ("severity", severity.to_owned()),
    ]);
    let mut annotations = annotations(alert);
    // No label: a robot may be registered, or moved, while its condition is open, and an alert with
    // other labels is another one.
    if let Some(facility) = &notification.facility_id {
        annotations.insert("facility", facility.clone());
    }
    Posted {
        labels,
        annotations,
        starts_at: time(alert.raised_at),
        ends_at: time(end),
    }
}

/// What may change without making another alert.
fn annotations(alert: &Alert) -> BTreeMap<&'static str, String> {
    let value = |value: f64| match &alert.unit {
        Some(unit) => format!("{value} {unit}"),
        None => value.to_string(),
    };
    let texts = [
        ("message", Some(alert.message.clone())),
        ("summary", Some(alert.message.clone())),
        ("value", alert.value.map(value)),
        ("limit", alert.limit.map(value)),
        ("signal", alert.signal.clone()),
        ("procedure_id", alert.procedure_id.clone()),
        ("acknowledged_by", alert.acknowledged_by.clone()),
        ("assignee", alert.assignee.clone()),
        ("transition", Some(alert.transition.as_str().to_owned())),
        ("alert_id", Some(alert.alert_id.clone())),
    ];
    let texts = texts.into_iter();
    texts
        .filter_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(alert: &Alert) -> Notification<'_> {
        Notification {
            alert,
            facility_id: Some("FAC-001".to_owned()),
            now: None,
            is_test: false,
        }
    }

    fn alert(transition: Transition, revision: i32, priority: Priority) -> Alert {
        Alert {
            alert_id: format!("a{revision}"),
            condition_id: "c".to_owned(),
            robot_id: "r".to_owned(),
            rule_id: "hot".to_owned(),
            transition,
            revision,
            priority,
            event_time: 1_700_000_060_000_000,
            raised_at: 1_700_000_000_000_000,
            value: Some(91.5),
            unit: Some("degC".to_owned()),
            message: "hot raised".to_owned(),
            ..Alert::default()
        }
    }

    /// An hour after the conditions here moved.
    const NOW: i64 = 1_700_003_660_000_000;

    #[test]
    fn a_condition_fires_from_its_beginning_and_ends_when_it_is_cleared() {
        let raised = alert(Transition::Raised, 0, Priority::High);
        let [fires] = &posted(&notification(&raised), NOW)[..] else {
            panic!("one alert of one priority");
        };
        let labels: Vec<String> = fires
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            labels,
            [
                "alertname=hot",
                "condition_id=c",
                "priority=high",
                "robot_id=r",
                "severity=critical"
            ]
        );
        assert_eq!(fires.annotations["value"], "91.5 degC");
        assert_eq!(fires.annotations["facility"], "FAC-001");
        assert_eq!(fires.starts_at, "2023-11-14T22:13:20Z");
        assert_eq!(fires.ends_at, "2024-11-13T23:14:20Z", "far away");

        let cleared = alert(Transition::Cleared, 1, Priority::High);
        let ended = posted(&notification(&cleared), NOW);
        assert_eq!(ended.len(), 3, "of whatever priority it was");
        assert_eq!(ended[0].labels, fires.labels);
        assert!(
            ended
                .iter()
                .all(|alert| alert.ends_at == "2023-11-14T22:14:20Z"),
            "{ended:?}"
        );
    }

    #[test]
    fn with_another_priority_the_alert_of_the_one_before_ends() {
        let updated = alert(Transition::Updated, 1, Priority::Medium);
        let all = posted(&notification(&updated), NOW);
        let priorities: Vec<_> = all
            .iter()
            .map(|alert| (alert.labels["priority"].as_str(), &alert.ends_at[..4]))
            .collect();
        let wanted = [("medium", "2024"), ("high", "2023"), ("low", "2023")];
        assert_eq!(priorities, wanted);
    }

    #[test]
    fn what_is_open_is_sent_again_as_one_alert_each_that_fires() {
        let (raised, updated) = (
            alert(Transition::Raised, 0, Priority::High),
            alert(Transition::Updated, 1, Priority::Medium),
        );
        let open = [notification(&raised), notification(&updated)];
        let again = repeated(&open, NOW);
        let shown: Vec<_> = again
            .iter()
            .map(|alert| (alert.labels["priority"].as_str(), &alert.ends_at[..4]))
            .collect();
        assert_eq!(shown, [("high", "2024"), ("medium", "2024")]);
        let first = posted(&open[0], NOW);
        assert_eq!(again[0].labels, first[0].labels, "it is the same alert");
    }

    #[test]
    fn what_is_sent_again_fires_as_long_as_it_is_open_with_the_priority_that_it_has_now() {
        let raised = alert(Transition::Raised, 0, Priority::High);
        let (over, open) = ("2023-11-14T22:14:21Z", "2024-11-13T23:14:20Z");
        let table = [
            (Transition::Cleared, Priority::High, [over, over, over]),
            (Transition::Cleared, Priority::Low, [over, over, over]),
            (Transition::Updated, Priority::Low, [over, over, open]),
            (Transition::Assigned, Priority::High, [open, over, over]),
        ];
        for (transition, priority, wanted) in table {
            let followed = Alert {
                event_time: raised.event_time + 1_000_000,
                ..alert(transition, 1, priority)
            };
            let again = Notification {
                now: Some(Standing::of(&followed)),
                ..notification(&raised)
            };
            let all = posted(&again, NOW);
            let end = |priority| {
                let mut of = all.iter().filter(|it| it.labels["priority"] == priority);
                let found = of.next().unwrap();
                assert!(of.next().is_none(), "one of each priority");
                found.ends_at.as_str()
            };
            assert_eq!(["high", "medium", "low"].map(end), wanted, "{followed:?}");
        }
    }
}
