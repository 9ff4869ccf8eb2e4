//! Transitions of conditions, and the alerts that say them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use theatre_schemas::records::{Alert, Priority, Transition};

use super::Rule;

/// A condition that was raised and not cleared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// When it was raised, event time in microseconds UTC.
    pub(crate) at: i64,
    /// Revision of its latest alert; 0 for the one that raised it.
    pub(crate) revision: i32,
    pub(crate) priority: Priority,
    /// How often the rule's condition had been raised then, this time included.
    pub(crate) ordinal: u64,
    /// Version of the rule that raised it; 0 when that is not known.
    pub(crate) rule_version: i32,
}

/// A transition of a condition, with what an alert says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConditionChange {
    /// Raised, updated or cleared.
    pub transition: Transition,
    /// Event time of the row that caused it, microseconds UTC.
    pub event_time: i64,
    /// The value that caused it, if a value did.
    pub value: Option<f64>,
    /// The limit that the value crossed.
    pub(super) limit: Option<f64>,
    /// The condition after it, or as it was when it was cleared.
    pub(super) open: Open,
    /// Why it was cleared, if no value did that.
    pub(super) reason: Option<&'static str>,
    /// Between what the value is likely to lie, seconds, where that is known.
    pub(super) spread: Option<(f64, f64)>,
}

/// What an alert states about its condition besides the rule: robot, dataset, signal, procedure.
#[derive(Debug, Clone, Copy)]
pub struct AlertContext<'a> {
    /// Robot.
    pub robot_id: &'a str,
    /// Telemetry dataset; empty for conditions of the robot as a whole.
    pub dataset: &'a str,
    /// Signal, and its unit in this dataset.
    pub signal: Option<(&'a str, Option<&'a str>)>,
    /// Procedure of the row that caused the alert.
    pub procedure_id: Option<&'a str>,
    /// The signal, where the rule has a condition for each of several.
    pub one_of_many: Option<&'a str>,
}

impl ConditionChange {
    /// The alert for this change. Its ids are hashes of robot, rule, dataset, ordinal and revision,
    /// so a replay gives the same ids.
    pub fn alert(&self, rule: &Rule, context: AlertContext<'_>) -> Alert {
        let what = if rule.spec.description.is_empty() {
            &rule.spec.id
        } else {
            &rule.spec.description
        };
        self.alert_of(&rule.spec.id, rule.spec.version, what, context)
    }

    /// The alert for a change of a condition whose rule is not there any more.
    pub(crate) fn alert_of_removed(&self, rule_id: &str, context: AlertContext<'_>) -> Alert {
        self.alert_of(rule_id, self.open.rule_version, rule_id, context)
    }

    fn alert_of(
        &self,
        rule_id: &str,
        rule_version: i32,
        what: &str,
        context: AlertContext<'_>,
    ) -> Alert {
        let AlertContext {
            robot_id,
            dataset,
            signal,
            procedure_id,
            one_of_many,
        } = context;
        let Open {
            at,
            revision,
            priority,
            ordinal,
            ..
        } = self.open;
        let ordinal = ordinal.to_string();
        let mut parts = vec!["condition", robot_id, rule_id, dataset];
        parts.extend(one_of_many);
        parts.push(&ordinal);
        let condition_id = stable_id(&parts);
        let alert_id = alert_id(&condition_id, revision);
        let verb = self.transition.as_str();
        let why = self
            .reason
            .map_or_else(String::new, |reason| format!(" ({reason})"));
        let which = one_of_many.map_or_else(String::new, |signal| format!(": {signal}"));
        let spread = self.spread.map_or_else(String::new, |(from, to)| {
            format!(" ({} to {} left)", told(from), told(to))
        });
        Alert {
            alert_id,
            condition_id,
            robot_id: robot_id.to_owned(),
            procedure_id: procedure_id.map(str::to_owned),
            rule_id: rule_id.to_owned(),
            rule_version,
            transition: self.transition,
            revision,
            priority,
            event_time: self.event_time,
            raised_at: at,
            value: self.value,
            limit: self.limit,
            signal: signal.map(|(name, _)| name.to_owned()),
            unit: signal.and_then(|(_, unit)| unit).map(str::to_owned),
            message: format!("{verb}: {what}{which}{spread}{why}"),
            reason: self.reason.map(str::to_owned),
            subject: (!dataset.is_empty()).then(|| dataset.to_owned()),
            ..Alert::default()
        }
    }
}

impl ConditionChange {
    /// Notes between what the value is likely to lie.
    pub(crate) fn with_spread(self, spread: Option<(f64, f64)>) -> Self {
        Self { spread, ..self }
    }
}

/// Seconds as people say them.
fn told(seconds: f64) -> String {
    let (unit, name) = match seconds {
        short if short < 120.0 => (1.0, "s"),
        short if short < 7_200.0 => (60.0, "min"),
        long if long < 172_800.0 => (3_600.0, "h"),
        _ => (86_400.0, "d"),
    };
    format!("{:.1} {name}", seconds / unit)
}

/// The id of a condition's alert, by its revision.
pub(crate) fn alert_id(condition_id: &str, revision: i32) -> String {
    stable_id(&["alert", condition_id, &revision.to_string()])
}

/// A hash of the parts as 32 hex digits. Each part's length is hashed too, so that two lists of
/// parts with the same concatenation differ.
fn stable_id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
