//! The conditions of a robot that were raised last, for the work that answers them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use theatre_schemas::records::{Alert, Priority, Transition};

use crate::rules::alert_id;

/// Conditions that are remembered.
const RAISED_MAX: usize = 16;
/// An alert of a condition beyond so many revisions is not found by its id.
const REVISIONS_MAX: i32 = 16;

/// A condition that was raised, and perhaps cleared since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Raised {
    /// Its id, which is 16 bytes in hex digits.
    id: [u8; 16],
    at: i64,
    cleared_at: Option<i64>,
    priority: Priority,
}

/// The latest conditions of a robot, in the order in which they were raised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RaisedConditions(VecDeque<Raised>);

/// A condition that work answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answered {
    pub(crate) condition_id: String,
    pub(crate) raised_at: i64,
}

impl RaisedConditions {
    pub(crate) fn note(&mut self, alert: &Alert) {
        let Some(id) = bytes(&alert.condition_id) else {
            return;
        };
        let known = self.0.iter_mut().rfind(|raised| raised.id == id);
        match (alert.transition, known) {
            (Transition::Raised, None) => {
                if self.0.len() >= RAISED_MAX {
                    self.0.pop_front();
                }
                self.0.push_back(Raised {
                    id,
                    at: alert.raised_at,
                    cleared_at: None,
                    priority: alert.priority,
                });
            }
            (Transition::Cleared, Some(raised)) => raised.cleared_at = Some(alert.event_time),
            (_, Some(raised)) => raised.priority = raised.priority.min(alert.priority),
            _ => {}
        }
    }

    /// The condition that a report names, by its id or that of one of its alerts.
    pub(crate) fn named(&self, condition: Option<&str>, alert: Option<&str>) -> Option<Answered> {
        let found = self.0.iter().find(|raised| match (condition, alert) {
            (Some(condition), _) => hex(&raised.id) == condition,
            (None, Some(alert)) => {
                let id = hex(&raised.id);
                (0..REVISIONS_MAX).any(|revision| alert_id(&id, revision) == alert)
            }
            (None, None) => false,
        });
        found.map(Raised::answered)
    }

    /// The first condition of high or medium priority that was open when work began.
    pub(crate) fn open_at(&self, begun: i64) -> Option<Answered> {
        let open = self.0.iter().filter(|raised| {
            raised.priority != Priority::Low
                && raised.at <= begun
                && raised.cleared_at.is_none_or(|cleared| cleared > begun)
        });
        open.min_by_key(|raised| raised.at).map(Raised::answered)
    }
}

impl Raised {
    fn answered(&self) -> Answered {
        Answered {
            condition_id: hex(&self.id),
            raised_at: self.at,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
