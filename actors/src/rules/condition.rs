//! A condition: one rule on one robot, idle, pending or raised.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use theatre_schemas::records::{Alert, Priority, Transition};

use super::{Predicate, Rule, escalation_for};

/// The phase of a condition; times are event times in microseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Phase {
    /// The signal is within its limit.
    Idle,
    /// The signal is beyond the limit, but not yet for as long as the rule's `hold`.
    Pending {
        /// When the signal went beyond the limit.
        since: i64,
    },
    /// The condition is open.
    Raised {
        /// When it was raised.
        at: i64,
        /// Revision of its latest alert; 0 for the one that raised it.
        revision: i32,
        priority: Priority,
        /// Since when the signal has been back within the clearing limit, if it has.
        clearing: Option<i64>,
    },
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
    limit: Option<f64>,
    /// When the condition was raised.
    raised_at: i64,
    revision: i32,
    priority: Priority,
    /// How often the condition was raised, this time included.
    ordinal: u64,
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
}

/// The state of one rule on one robot and dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    phase: Phase,
    /// How often the condition was raised.
    ordinal: u64,
    /// Event time of the signal's last value; only rules for missing data keep it.
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

    /// True in the initial state: a condition that was never raised and holds no times.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// While this is `Some((sign, raise))`, rows with `sign * value` of at most `raise` do not
    /// change the condition: the caller may skip them.
    #[inline]
    pub(crate) fn skip_limit(&self, rule: &Rule) -> Option<(f64, f64)> {
        match (&self.phase, &rule.predicate) {
            (Phase::Idle, Predicate::Limit { sign, raise, .. }) => Some((*sign, *raise)),
            _ => None,
        }
    }

    /// Evaluates a row: the signal's value (`None`: missing or not finite) at an event time in
    /// microseconds UTC. Returns the transition that the row causes, if any.
    #[inline]
    pub(crate) fn evaluate(
        &mut self,
        rule: &Rule,
        value: Option<f64>,
        time: i64,
    ) -> Option<ConditionChange> {
        match &rule.predicate {
            Predicate::Limit {
                sign,
                raise,
                clear,
                hold_us,
                clear_after_us,
                escalate,
            } => {
                let value = value?;
                // With the sign applied, "beyond" is "greater" for rules above and below a limit.
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
                        // A value beyond the clearing limit interrupts the clearing and may
                        // escalate the condition; priorities only ever rise while it is open.
                        let step = escalation_for(escalate, level)?;
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
                        // A value that is beyond an escalation already is raised with that
                        // priority, so that the next row does not cause an update.
                        let (limit, priority) =
                            escalation_for(escalate, level).unwrap_or((*raise, rule.spec.priority));
                        Some(self.raise(priority, time, Some(value), Some(sign * limit)))
                    }
                }
            }
            Predicate::Missing { after_us } => {
                if value.is_some() {
                    self.present_at = Some(self.present_at.map_or(time, |at| at.max(time)));
                    return self.is_raised().then(|| self.clear(time, value, None));
                }
                // The wait begins at the first row without a value when there was none before.
                let since = *self.present_at.get_or_insert(time);
                (!self.is_raised() && time.saturating_sub(since) >= *after_us)
                    .then(|| self.raise(rule.spec.priority, time, None, None))
            }
            Predicate::Silence { .. } | Predicate::ClockSkew => None,
        }
    }

    /// Opens the condition at event time `time`; counts a new ordinal and begins at revision 0.
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

    /// Gives the open condition another priority.
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

    /// Closes the condition; to be called only while it is raised.
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
    /// The alert for this change. Its ids are hashes of robot, rule, dataset, ordinal and revision,
    /// so a replay gives the same ids.
    pub fn alert(&self, rule: &Rule, context: AlertContext<'_>) -> Alert {
        let AlertContext {
            robot_id,
            dataset,
            signal,
            procedure_id,
        } = context;
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
