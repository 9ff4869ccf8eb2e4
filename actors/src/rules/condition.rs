//! A condition: one rule on one robot, idle, pending or raised.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use theatre_schemas::records::{Alert, Priority, Transition};

use super::{Rule, Test, escalated};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Phase {
    Idle,
    /// Beyond the limit since then, not yet for long enough.
    Pending {
        since: i64,
    },
    /// `clearing` is since when it has been back within the clearing limit.
    Raised {
        at: i64,
        revision: i32,
        priority: Priority,
        clearing: Option<i64>,
    },
}

/// How a condition just moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConditionChange {
    /// Raised, updated or cleared.
    pub transition: Transition,
    /// When, event time in microseconds UTC.
    pub event_time: i64,
    /// The value that moved it.
    pub value: Option<f64>,
    limit: Option<f64>,
    raised_at: i64,
    revision: i32,
    priority: Priority,
    ordinal: u64,
}

/// Where a condition is: what an alert says of it beside the rule.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Robot.
    pub robot_id: &'a str,
    /// Telemetry dataset; empty for conditions of the robot as a whole.
    pub dataset: &'a str,
    /// Signal, and its unit in this dataset.
    pub signal: Option<(&'a str, Option<&'a str>)>,
    /// Procedure of the row that moved it.
    pub procedure_id: Option<&'a str>,
}

/// The state of one rule on one robot and dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    phase: Phase,
    /// How often it was raised.
    ordinal: u64,
    /// When its signal last had a value.
    present_at: Option<i64>,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            phase: Phase::Idle,
            ordinal: 0,
            present_at: None,
        }
    }
}

impl Condition {
    /// True while raised.
    pub fn is_raised(&self) -> bool {
        matches!(self.phase, Phase::Raised { .. })
    }

    /// When it was raised and with which priority.
    pub fn raised(&self) -> Option<(i64, Priority)> {
        match self.phase {
            Phase::Raised { at, priority, .. } => Some((at, priority)),
            _ => None,
        }
    }

    /// True when nothing is remembered.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// While this is `Some((sign, raise))`, rows with `sign * value` of at most `raise` change
    /// nothing and need not be heard.
    #[inline]
    pub(crate) fn asleep(&self, rule: &Rule) -> Option<(f64, f64)> {
        match (&self.phase, &rule.test) {
            (Phase::Idle, Test::Limit { sign, raise, .. }) => Some((*sign, *raise)),
            _ => None,
        }
    }

    /// Hears a row: the signal's value (`None`: missing or not finite) at an event time.
    #[inline]
    pub(crate) fn hear(
        &mut self,
        rule: &Rule,
        value: Option<f64>,
        time: i64,
    ) -> Option<ConditionChange> {
        match &rule.test {
            Test::Limit {
                sign,
                raise,
                clear,
                hold_us,
                clear_after_us,
                escalate,
            } => {
                let value = value?;
                let level = sign * value;
                match self.phase {
                    Phase::Idle if level <= *raise => None,
                    Phase::Pending { .. } if level <= *raise => {
                        self.phase = Phase::Idle;
                        None
                    }
                    Phase::Raised {
                        at,
                        revision,
                        priority,
                        ..
                    } if level >= *clear => {
                        self.phase = Phase::Raised {
                            at,
                            revision,
                            priority,
                            clearing: None,
                        };
                        let step = escalated(escalate, level)?;
                        (step.1 < priority).then(|| self.update(step.1, time, value, sign * step.0))
                    }
                    Phase::Raised {
                        at,
                        revision,
                        priority,
                        clearing,
                    } => {
                        let since = clearing.unwrap_or(time);
                        if time.saturating_sub(since) < *clear_after_us {
                            self.phase = Phase::Raised {
                                at,
                                revision,
                                priority,
                                clearing: Some(since),
                            };
                            return None;
                        }
                        Some(self.clear(time, Some(value), Some(sign * clear)))
                    }
                    Phase::Idle | Phase::Pending { .. } => {
                        let since = if let Phase::Pending { since } = self.phase {
                            since
                        } else {
                            time
                        };
                        if time.saturating_sub(since) < *hold_us {
                            self.phase = Phase::Pending { since };
                            return None;
                        }
                        // What is beyond an escalation already is raised with that priority: an
                        // update in the next row is no news.
                        let (limit, priority) =
                            escalated(escalate, level).unwrap_or((*raise, rule.spec.priority));
                        Some(self.raise(priority, time, Some(value), Some(sign * limit)))
                    }
                }
            }
            Test::Missing { after_us } => {
                if value.is_some() {
                    self.present_at = Some(self.present_at.map_or(time, |at| at.max(time)));
                    return self.is_raised().then(|| self.clear(time, value, None));
                }
                let since = *self.present_at.get_or_insert(time);
                (!self.is_raised() && time.saturating_sub(since) >= *after_us)
                    .then(|| self.raise(rule.spec.priority, time, None, None))
            }
            Test::Silence { .. } | Test::ClockSkew => None,
        }
    }

    /// Raises it.
    pub(crate) fn raise(
        &mut self,
        priority: Priority,
        time: i64,
        value: Option<f64>,
        limit: Option<f64>,
    ) -> ConditionChange {
        self.ordinal += 1;
        self.phase = Phase::Raised {
            at: time,
            revision: 0,
            priority,
            clearing: None,
        };
        ConditionChange {
            transition: Transition::Raised,
            event_time: time,
            value,
            limit,
            raised_at: time,
            revision: 0,
            priority,
            ordinal: self.ordinal,
        }
    }

    fn update(&mut self, priority: Priority, time: i64, value: f64, limit: f64) -> ConditionChange {
        let (at, revision) = match self.phase {
            Phase::Raised { at, revision, .. } => (at, revision + 1),
            _ => (time, 0),
        };
        let limit = Some(limit);
        self.phase = Phase::Raised {
            at,
            revision,
            priority,
            clearing: None,
        };
        ConditionChange {
            transition: Transition::Updated,
            event_time: time,
            value: Some(value),
            limit,
            raised_at: at,
            revision,
            priority,
            ordinal: self.ordinal,
        }
    }

    /// Clears it; only to be called while raised.
    pub(crate) fn clear(
        &mut self,
        time: i64,
        value: Option<f64>,
        limit: Option<f64>,
    ) -> ConditionChange {
        let (at, revision, priority) = match self.phase {
            Phase::Raised {
                at,
                revision,
                priority,
                ..
            } => (at, revision + 1, priority),
            _ => (time, 0, Priority::Low),
        };
        self.phase = Phase::Idle;
        ConditionChange {
            transition: Transition::Cleared,
            event_time: time,
            value,
            limit,
            raised_at: at,
            revision,
            priority,
            ordinal: self.ordinal,
        }
    }
}

impl ConditionChange {
    /// The alert that tells it. Ids depend on robot, rule, dataset and how often it was raised, so
    /// a replay gives the same.
    pub fn alert(&self, rule: &Rule, place: Place<'_>) -> Alert {
        let Place {
            robot_id,
            dataset,
            signal,
            procedure_id,
        } = place;
        let condition_id = stable_id(&[
            "condition",
            robot_id,
            &rule.spec.id,
            dataset,
            &self.ordinal.to_string(),
        ]);
        let alert_id = stable_id(&["alert", &condition_id, &self.revision.to_string()]);
        let verb = match self.transition {
            Transition::Raised => "raised",
            Transition::Updated => "updated",
            Transition::Cleared => "cleared",
        };
        let what = if rule.spec.description.is_empty() {
            &rule.spec.id
        } else {
            &rule.spec.description
        };
        Alert {
            alert_id,
            condition_id,
            robot_id: robot_id.to_owned(),
            procedure_id: procedure_id.map(str::to_owned),
            rule_id: rule.spec.id.clone(),
            rule_version: rule.spec.version,
            transition: self.transition,
            revision: self.revision,
            priority: self.priority,
            event_time: self.event_time,
            raised_at: self.raised_at,
            value: self.value,
            limit: self.limit,
            signal: signal.map(|(name, _)| name.to_owned()),
            unit: signal.and_then(|(_, unit)| unit).map(str::to_owned),
            message: format!("{verb}: {what}"),
        }
    }
}

/// 32 hex digits that depend on the parts and nothing else.
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
