//! Transitions of conditions, as they are published.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::{Published, RecordError};

/// How a condition moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// It began.
    Raised,
    /// Its priority changed.
    #[default]
    Updated,
    /// It ended.
    Cleared,
    /// A person has seen it and answers for it.
    Acknowledged,
    /// That was taken back.
    Unacknowledged,
    /// No recipient gets it for a while.
    Silenced,
    /// They are again.
    Unsilenced,
    /// A person is to see to it.
    Assigned,
    /// It was not acknowledged in time: its priority rises, or others are told.
    Escalated,
    /// What raised it is over; it stays open until a person closes it.
    Latched,
    /// It comes and goes: nothing is sent of each time.
    Flapping,
    /// It has stopped coming and going, and is open.
    Settled,
}

impl Transition {
    /// All of them, in order of their symbols in the schema.
    pub const ALL: [Self; 12] = [
        Self::Raised,
        Self::Updated,
        Self::Cleared,
        Self::Acknowledged,
        Self::Unacknowledged,
        Self::Silenced,
        Self::Unsilenced,
        Self::Assigned,
        Self::Escalated,
        Self::Latched,
        Self::Flapping,
        Self::Settled,
    ];

    /// Its name, as in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Updated => "updated",
            Self::Cleared => "cleared",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Silenced => "silenced",
            Self::Unsilenced => "unsilenced",
            Self::Assigned => "assigned",
            Self::Escalated => "escalated",
            Self::Latched => "latched",
            Self::Flapping => "flapping",
            Self::Settled => "settled",
        }
    }
}

/// Priority as in IEC 60601-1-8.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Act at once.
    High,
    /// Act soon.
    Medium,
    /// Be aware.
    #[default]
    Low,
}

/// A transition of a condition. Fields as in `avro/maintenance_alerts/v2.avsc`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Alert {
    pub alert_id: String,
    pub condition_id: String,
    pub robot_id: String,
    pub procedure_id: Option<String>,
    pub rule_id: String,
    pub rule_version: i32,
    pub transition: Transition,
    pub revision: i32,
    pub priority: Priority,
    pub event_time: i64,
    pub raised_at: i64,
    pub value: Option<f64>,
    pub limit: Option<f64>,
    pub signal: Option<String>,
    pub unit: Option<String>,
    pub message: String,
    pub subject: Option<String>,
    pub reason: Option<String>,
    pub actor: Option<String>,
    pub comment: Option<String>,
    pub action_id: Option<String>,
    pub acknowledged_by: Option<String>,
    pub acknowledged_at: Option<i64>,
    pub assignee: Option<String>,
    pub silenced_until: Option<i64>,
    pub escalation: i32,
    pub is_latched: bool,
    pub is_flapping: bool,
}
published!(
    Alert,
    1121,
    "../../avro/maintenance_alerts/v2.avsc",
    (1101, "../../avro/maintenance_alerts/v1.avsc")
);
