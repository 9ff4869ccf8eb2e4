//! How well conditions announced the events of a recording: robot by robot, from the alerts that
//! the store has, so that a second replay says the same.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use theatre_schemas::records::{Alert, Transition};

/// How long before an event a condition announces it, microseconds.
const BEFORE_US: i64 = 60_000_000;

/// Rising edges of a mapping's events, robot by robot.
#[derive(Debug, Default)]
pub(super) struct Flags {
    names: Vec<String>,
    /// For each name: robot and event time.
    edges: Vec<Vec<(String, i64)>>,
    /// Which events are true now, a bit each.
    now: HashMap<String, u64>,
    /// First and last event time of each robot.
    spans: BTreeMap<String, (i64, i64)>,
}

/// What is said of one event.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct FlagSummary {
    /// The event.
    pub(super) event: String,
    /// Rising edges.
    pub(super) times: usize,
    /// Of them, with a condition raised within the minute before.
    pub(super) announced: usize,
}

impl Flags {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self {
            edges: vec![Vec::new(); names.len()],
            names,
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Sees a row; those of a robot come in order of time.
    pub(super) fn see(&mut self, robot: &str, time: i64, events: u64) {
        if self.names.is_empty() {
            return;
        }
        let span = self.spans.entry(robot.to_owned()).or_insert((time, time));
        span.1 = span.1.max(time);
        let before = match self.now.get_mut(robot) {
            Some(now) => std::mem::replace(now, events),
            None => self.now.insert(robot.to_owned(), events).unwrap_or(0),
        };
        for (at, edges) in self.edges.iter_mut().enumerate() {
            let bit = 1 << at.min(63);
            if events & bit != 0 && before & bit == 0 {
                edges.push((robot.to_owned(), time));
            }
        }
    }

    /// For each event: how many rising edges had a condition of their robot raised within the minute
    /// before. Conditions that only repeat an event announce nothing and do not count.
    pub(super) fn announced(&self, alerts: &[Alert]) -> Vec<FlagSummary> {
        let mut raised: HashMap<&str, Vec<i64>> = HashMap::new();
        for alert in alerts {
            let repeats = alert
                .signal
                .as_ref()
                .is_some_and(|signal| self.names.contains(signal));
            if alert.transition == Transition::Raised && !repeats {
                raised
                    .entry(&alert.robot_id)
                    .or_default()
                    .push(alert.event_time);
            }
        }
        let is_announced = |(robot, edge): &&(String, i64)| {
            let times = raised.get(robot.as_str()).into_iter().flatten();
            times
                .into_iter()
                .any(|at| at < edge && edge - at <= BEFORE_US)
        };
        let summaries = self
            .names
            .iter()
            .zip(&self.edges)
            .map(|(name, edges)| FlagSummary {
                event: name.clone(),
                times: edges.len(),
                announced: edges.iter().filter(is_announced).count(),
            });
        summaries.collect()
    }

    /// The share of the recording, over all robots, during which a robot had at least one condition
    /// open.
    pub(super) fn open_share(&self, alerts: &[Alert]) -> Option<f64> {
        let total: i64 = self.spans.values().map(|(first, last)| last - first).sum();
        let mut by_robot: HashMap<&str, Vec<&Alert>> = HashMap::new();
        for alert in alerts {
            by_robot.entry(&alert.robot_id).or_default().push(alert);
        }
        let open = by_robot.iter().filter_map(|(robot, alerts)| {
            let span = self.spans.get(*robot)?;
            Some(open_time(alerts, *span))
        });
        let open: i64 = open.sum();
        (total > 0).then(|| open as f64 / total as f64)
    }
}

/// Event time within a span during which a robot, of these alerts, had at least one condition open,
/// microseconds.
fn open_time(alerts: &[&Alert], (first, last): (i64, i64)) -> i64 {
    let cleared: HashMap<&str, i64> = alerts
        .iter()
        .filter(|alert| alert.transition == Transition::Cleared)
        .map(|alert| (alert.condition_id.as_str(), alert.event_time))
        .collect();
    let mut spans: Vec<(i64, i64)> = alerts
        .iter()
        .filter(|alert| alert.transition == Transition::Raised)
        .map(|alert| {
            let to = cleared
                .get(alert.condition_id.as_str())
                .copied()
                .unwrap_or(last);
            (alert.event_time.max(first), to.min(last))
        })
        .collect();
    spans.sort_unstable();
    let (mut total, mut covered) = (0, i64::MIN);
    for (from, to) in spans {
        total += (to - from.max(covered)).max(0);
        covered = covered.max(to);
    }
    total
}
