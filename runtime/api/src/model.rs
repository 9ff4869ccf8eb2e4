//! What answers look like. Times are texts of RFC 3339 in UTC; a unit stands in the name of a field,
//! or in a field of its own where signals have different ones.

mod deployment;
mod outcome;
mod reports;
mod robots;
mod rules;
mod telemetry;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use theatre_actors::ports::{AuditEntry, StoredToken};
use theatre_actors::processor::ConditionView;
use theatre_actors::time::LogTime;
use theatre_queries::StandingSilence;
use theatre_schemas::records::{Alert, Priority, Transition};

use crate::actions::{Action, Placed};
use crate::limits;

pub(crate) use deployment::{DeadLetter, LakeStage, Me, Pipeline, PipelinePartition};
pub(crate) use outcome::Outcome;
pub(crate) use reports::{ReportColumn, ReportInfo, ReportRows};
pub(crate) use robots::{OpenConditions, Procedure, ProcedureLeg, Robot, under_way};
pub(crate) use rules::{Change, ChangeAccepted, Rule};
pub(crate) use telemetry::{MissingRows, TelemetryRow, TelemetryRows};

/// A moment, kept in microseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) i64);

impl From<LogTime> for Time {
    fn from(time: LogTime) -> Self {
        Self(time.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => serializer.serialize_str(&format!("{time:.6}")),
            // No record has such a time.
            Err(_) => serializer.serialize_none(),
        }
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Page<T> {
    /// The things themselves.
    pub(crate) items: Vec<T>,
    /// Give this as `after` to get the next page; absent: this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// When the store was read.
    pub(crate) as_of: Time,
}

/// An open condition.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Condition {
    /// The robot it is on.
    pub(crate) robot_id: String,
    /// The rule that raised it.
    pub(crate) rule_id: String,
    /// The dataset it was raised on; absent for the robot as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dataset: Option<String>,
    /// `high`, `medium` or `low`.
    #[schemars(with = "String")]
    pub(crate) priority: Priority,
    /// Event time at which it was raised.
    pub(crate) raised_at: Time,
    /// Its id, by which it is acknowledged; absent where a build raised it that did not keep what it
    /// told.
    pub(crate) condition_id: Option<String>,
    /// The signal.
    pub(crate) signal: Option<String>,
    /// What was told of it last, in words.
    pub(crate) message: Option<String>,
    /// Who has acknowledged it.
    pub(crate) acknowledged_by: Option<String>,
    /// When they did.
    pub(crate) acknowledged_at: Option<Time>,
    /// Who sees to it.
    pub(crate) assignee: Option<String>,
    /// Until when no one is notified of it.
    pub(crate) silenced_until: Option<Time>,
    /// How often it was passed on because no one acknowledged it in time.
    pub(crate) escalation: i32,
    /// Its cause is over; it stays open until a person closes it.
    pub(crate) is_latched: bool,
    /// It comes and goes.
    pub(crate) is_flapping: bool,
    /// The robot is silent: no one knows whether it is still so.
    pub(crate) is_stale: bool,
}

impl Condition {
    pub(crate) fn of(robot: &str, view: &ConditionView) -> Self {
        Self {
            robot_id: robot.to_owned(),
            rule_id: view.rule_id.clone(),
            dataset: view.dataset.clone(),
            priority: view.priority,
            raised_at: Time(view.raised_at),
            condition_id: view.condition_id.clone(),
            signal: view.signal.clone(),
            message: view.message.clone(),
            acknowledged_by: view.acknowledged_by.clone(),
            acknowledged_at: view.acknowledged_at.map(Time),
            assignee: view.assignee.clone(),
            silenced_until: view.silenced_until.map(Time),
            escalation: view.escalation,
            is_latched: view.is_latched,
            is_flapping: view.is_flapping,
            is_stale: view.is_stale,
        }
    }
}

/// A condition and all that became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConditionHistory {
    /// How it stands; absent once it has ended.
    pub(crate) condition: Option<Condition>,
    /// Its transitions, the first one first.
    pub(crate) transitions: Vec<AlertTransition>,
    /// When the store was read.
    pub(crate) as_of: Time,
}

/// A transition of a condition.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlertTransition {
    /// Id of this transition.
    pub(crate) alert_id: String,
    /// Id of the condition.
    pub(crate) condition_id: String,
    /// The robot.
    pub(crate) robot_id: String,
    /// The procedure under way at that moment.
    pub(crate) procedure_id: Option<String>,
    /// The rule, and its version.
    pub(crate) rule_id: String,
    /// Version of the rule.
    pub(crate) rule_version: i32,
    /// `raised`, `updated`, `cleared`, `acknowledged`, `unacknowledged`, `silenced`, `unsilenced`,
    /// `assigned`, `escalated`, `latched`, `flapping` or `settled`.
    #[schemars(with = "String")]
    pub(crate) transition: Transition,
    /// `high`, `medium` or `low`.
    #[schemars(with = "String")]
    pub(crate) priority: Priority,
    /// Event time of the transition.
    pub(crate) event_time: Time,
    /// Event time at which the condition was raised.
    pub(crate) raised_at: Time,
    /// The signal.
    pub(crate) signal: Option<String>,
    /// Its value, in `unit`.
    pub(crate) value: Option<f64>,
    /// The limit that it crossed, in `unit`.
    pub(crate) limit: Option<f64>,
    /// Unit of value and limit.
    pub(crate) unit: Option<String>,
    /// What happened, in words.
    pub(crate) message: String,
    /// Why it moved, where no value of a signal moved it.
    pub(crate) reason: Option<String>,
    /// Who moved it.
    pub(crate) actor: Option<String>,
    /// What they said.
    pub(crate) comment: Option<String>,
    /// Who has acknowledged the condition, after this transition.
    pub(crate) acknowledged_by: Option<String>,
    /// Who sees to it.
    pub(crate) assignee: Option<String>,
    /// Until when no one is notified of it.
    pub(crate) silenced_until: Option<Time>,
    /// How often it was passed on because no one acknowledged it in time.
    pub(crate) escalation: i32,
    /// Its cause is over; it stays open until a person closes it.
    pub(crate) is_latched: bool,
    /// It comes and goes.
    pub(crate) is_flapping: bool,
}

impl From<&Alert> for AlertTransition {
    fn from(alert: &Alert) -> Self {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        Self {
            alert_id: alert.alert_id.clone(),
            condition_id: alert.condition_id.clone(),
            robot_id: alert.robot_id.clone(),
            procedure_id: alert.procedure_id.clone(),
            rule_id: alert.rule_id.clone(),
            rule_version: alert.rule_version,
            transition: alert.transition,
            priority: alert.priority,
            event_time: Time(alert.event_time),
            raised_at: Time(alert.raised_at),
            signal: alert.signal.clone(),
            value: finite(alert.value),
            limit: finite(alert.limit),
            unit: alert.unit.clone(),
            message: alert.message.clone(),
            reason: alert.reason.clone(),
            actor: alert.actor.clone(),
            comment: alert.comment.clone(),
            acknowledged_by: alert.acknowledged_by.clone(),
            assignee: alert.assignee.clone(),
            silenced_until: alert.silenced_until.map(Time),
            escalation: alert.escalation,
            is_latched: alert.is_latched,
            is_flapping: alert.is_flapping,
        }
    }
}

/// A stretch of a signal.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Point {
    /// Its first moment.
    pub(crate) start: Time,
    /// Values in it.
    pub(crate) count: u64,
    /// Their mean.
    pub(crate) mean: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

/// A signal over time.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Series {
    /// The robot.
    pub(crate) robot_id: String,
    /// The dataset.
    pub(crate) dataset: String,
    /// The signal.
    pub(crate) signal: String,
    /// Its unit.
    pub(crate) unit: Option<String>,
    /// The window that points are made of, and how long a point is, in seconds.
    pub(crate) window: String,
    /// Length of a point.
    pub(crate) resolution_s: f64,
    /// In order of time; stretches without a value are left out.
    pub(crate) points: Vec<Point>,
    /// When the store was read.
    pub(crate) as_of: Time,
}

/// A token, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Token {
    /// Its id.
    pub(crate) id: String,
    /// What it is for.
    pub(crate) name: String,
    /// `viewer`, `operator`, `engineer` or `admin`.
    pub(crate) role: String,
    /// The robots that it is limited to; empty: all.
    pub(crate) robots: Vec<String>,
    /// The facilities that it is limited to; empty: all.
    pub(crate) facilities: Vec<String>,
    /// When it was made.
    pub(crate) created_at: Time,
    /// From when on it is refused.
    pub(crate) expires_at: Option<Time>,
    /// Since when it is refused.
    pub(crate) revoked_at: Option<Time>,
    /// The secret; only in the answer that made the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
}

impl Token {
    pub(crate) fn of(token: &StoredToken, secret: Option<String>) -> Self {
        let (robots, facilities) = limits::split(&token.robots);
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            role: token.role.as_str().to_owned(),
            robots,
            facilities,
            created_at: token.created_at.into(),
            expires_at: token.expires_at.map(Time::from),
            revoked_at: token.revoked_at.map(Time::from),
            secret,
        }
    }
}

/// An entry of the audit trail.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Audit {
    /// When.
    pub(crate) at: Time,
    /// Id of the token, `oidc:` and the subject of an issuer's token, or `command line`.
    pub(crate) who: String,
    /// Address that it came from.
    pub(crate) from: Option<String>,
    /// What was done.
    pub(crate) action: String,
    /// To what.
    pub(crate) target: String,
    /// What was there before, as JSON.
    pub(crate) before: Option<String>,
    /// What is there now, as JSON.
    pub(crate) after: Option<String>,
}

impl From<AuditEntry> for Audit {
    fn from(entry: AuditEntry) -> Self {
        Self {
            at: entry.at.into(),
            who: entry.who,
            from: entry.from,
            action: entry.action,
            target: entry.target,
            before: entry.before,
            after: entry.after,
        }
    }
}

/// A dataset and its columns.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DatasetInfo {
    /// Its name.
    pub(crate) dataset: String,
    /// What its records are about.
    pub(crate) kind: String,
    /// Version of the schema that it is read by.
    pub(crate) version: u32,
    /// The topic that its records are on; absent: records cannot be sent to it here.
    pub(crate) topic: Option<String>,
    /// Its columns.
    pub(crate) columns: Vec<ColumnInfo>,
}

/// A column.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ColumnInfo {
    /// Its path in a record.
    pub(crate) name: String,
    /// Its type.
    pub(crate) r#type: String,
    /// Its unit.
    pub(crate) unit: Option<String>,
    /// What it is.
    pub(crate) doc: Option<String>,
    /// True where windows and rules may name it.
    pub(crate) is_signal: bool,
}

/// What became of a body of records.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Accepted {
    /// Records that were appended to the log.
    pub(crate) accepted: u64,
    /// Records that were left out.
    pub(crate) rejected: Vec<RejectedRecord>,
    /// Records that were left out in all; `rejected` names the first ones.
    pub(crate) rejected_total: u64,
    /// Where they are.
    pub(crate) positions: Vec<Position>,
}

/// A record that does not fit.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RejectedRecord {
    /// Its number in the body, from 0.
    pub(crate) index: u64,
    /// What is wrong with it.
    #[schemars(schema_with = "faults")]
    pub(crate) faults: Vec<theatre_schemas::encode::Fault>,
}

fn faults(_: &mut SchemaGenerator) -> Schema {
    let text = |doc: &str| serde_json::json!({"type": "string", "description": doc});
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["pointer", "expected", "found"],
            "properties": {
                "pointer": text("JSON pointer (RFC 6901) to the value."),
                "expected": text("What was expected there."),
                "found": text("What is there, shortened, without personal data."),
                "unit": text("The unit that a number is expected in."),
            },
        },
    })
}

/// An action that was appended to the log. It counts once the pipeline has read it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Acted {
    /// Its id; transitions that it makes carry it. Of a silence it is the silence's id, too.
    pub(crate) action_id: String,
    /// What is done.
    pub(crate) action: String,
    /// The robot; absent: all of them.
    pub(crate) robot_id: Option<String>,
    /// Where it is in the log: one partition, or all of them.
    pub(crate) positions: Vec<Position>,
    /// What that means.
    pub(crate) detail: String,
}

impl Acted {
    pub(crate) fn of(action: Action, placed: Vec<Placed>) -> Self {
        Self {
            action_id: action.id,
            action: action.deed.name().to_owned(),
            robot_id: action.robot,
            positions: placed.into_iter().map(Position::from).collect(),
            detail: "it is in the log and counts once the pipeline has read it".to_owned(),
        }
    }
}

/// A silence that holds.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Silence {
    /// Its id, by which it is taken back.
    pub(crate) silence_id: String,
    /// The robot; absent: it was made for all of them.
    pub(crate) robot_id: Option<String>,
    /// Robots that know of it.
    pub(crate) robots: u64,
    /// Conditions of this rule only.
    pub(crate) rule_id: Option<String>,
    /// This condition only.
    pub(crate) condition_id: Option<String>,
    /// Robots of this facility only.
    pub(crate) facility_id: Option<String>,
    /// Robots of this model only.
    pub(crate) robot_model: Option<String>,
    /// Its end.
    pub(crate) until: Time,
    /// Conditions of high priority, too.
    pub(crate) hides_high: bool,
    /// Who made it.
    pub(crate) actor: String,
    /// Why.
    pub(crate) comment: Option<String>,
}

impl From<StandingSilence> for Silence {
    fn from(standing: StandingSilence) -> Self {
        let silence = standing.silence;
        Self {
            silence_id: silence.silence_id,
            robot_id: standing.robot_id,
            robots: standing.robots as u64,
            rule_id: silence.rule_id,
            condition_id: silence.condition_id,
            facility_id: silence.facility_id,
            robot_model: silence.robot_model,
            until: Time(silence.until),
            hides_high: silence.hides_high,
            actor: silence.actor,
            comment: silence.comment,
        }
    }
}

/// Records in the log.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Position {
    /// Topic.
    pub(crate) topic: String,
    /// Partition.
    pub(crate) partition: u32,
    /// Offset of the first one.
    pub(crate) first_offset: u64,
    /// How many there are.
    pub(crate) records: u64,
}
