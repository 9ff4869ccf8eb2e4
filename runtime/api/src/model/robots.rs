//! Robots, and cases on them.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;
use theatre_actors::outputs::OutputKind;
use theatre_actors::processor::{ConditionView, ProcedureView, ProcessorView};
use theatre_schemas::records::{Priority, ProcedureState};

use super::{Condition, Outcome, Time};
use crate::rows;
use crate::snapshot::Saved;

/// A robot.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Robot {
    /// Its id.
    pub(crate) robot_id: String,
    /// Its serial number, as the registry has it, as it has what follows.
    pub(crate) serial_number: Option<String>,
    /// Its model.
    pub(crate) robot_model: Option<String>,
    /// Who made it.
    pub(crate) manufacturer: Option<String>,
    /// The facility where it stands.
    pub(crate) facility_id: Option<String>,
    /// `operational`, `maintenance`, `retired`, another one of the registry, or `unknown`.
    pub(crate) status: String,
    /// Revision of its hardware.
    pub(crate) hardware_revision: Option<String>,
    /// Version of its software.
    pub(crate) software_version: Option<String>,
    /// Version of its firmware.
    pub(crate) firmware_version: Option<String>,
    /// Time between samples that were applied, without longer gaps: hours.
    pub(crate) operating_hours: f64,
    /// Cases that have ended on it.
    pub(crate) cases: u64,
    /// End of the last completed service.
    pub(crate) last_service: Option<Time>,
    /// Day on which the next one is due.
    #[schemars(extend("format" = "date"))]
    pub(crate) next_service: Option<String>,
    /// Event time that it has reached.
    pub(crate) clock: Option<Time>,
    /// When its last record came.
    pub(crate) heard_at: Option<Time>,
    /// When it was saved as it is shown; absent where an earlier build has saved it.
    pub(crate) saved_at: Option<Time>,
    /// The last event of it, such as `fault`.
    pub(crate) last_event: Option<String>,
    /// Records that were applied, of all topics.
    pub(crate) records_applied: u64,
    /// Records that are missing by their numbers.
    pub(crate) records_missing: u64,
    /// How many conditions are open, by priority.
    pub(crate) open: OpenConditions,
    /// Open conditions, the gravest first.
    pub(crate) conditions: Vec<Condition>,
    /// The procedure that is under way.
    pub(crate) procedure_id: Option<String>,
    /// Procedures that are remembered.
    pub(crate) procedures: u64,
}

/// How many conditions are open, by priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct OpenConditions {
    /// Of high priority.
    pub(crate) high: u64,
    /// Of medium priority.
    pub(crate) medium: u64,
    /// Of low priority.
    pub(crate) low: u64,
}

/// The procedure on a robot that is under way; of several, the one that was last written about.
pub(crate) fn under_way(view: &ProcessorView) -> Option<String> {
    let mut procedures: Vec<_> = view.procedures.iter().collect();
    procedures.retain(|procedure| matches!(procedure.status.as_str(), "under way" | "paused"));
    let last = procedures.into_iter().max_by_key(|it| it.heard_at)?;
    Some(last.procedure_id.clone())
}

impl From<Saved<'_>> for Robot {
    fn from(saved: Saved<'_>) -> Self {
        let Saved { view, saved_at, .. } = saved;
        let condition = |condition: &ConditionView| Condition::of(&view.robot_id, condition);
        let mut conditions: Vec<Condition> = view.conditions.iter().map(condition).collect();
        conditions.sort_by_key(|condition| (condition.priority, condition.raised_at));
        let open = |priority: Priority| {
            let of_priority = conditions.iter().filter(|open| open.priority == priority);
            of_priority.count() as u64
        };
        let record = &view.record;
        Self {
            robot_id: view.robot_id.clone(),
            serial_number: record.serial_number.clone(),
            robot_model: record.robot_model.clone(),
            manufacturer: record.manufacturer.clone(),
            facility_id: record.facility_id.clone(),
            status: record.status.clone(),
            hardware_revision: record.hardware_revision.clone(),
            software_version: record.software_version.clone(),
            firmware_version: record.firmware_version.clone(),
            operating_hours: record.operating_hours,
            cases: record.cases,
            last_service: record.last_service.map(Time),
            next_service: record.next_service.and_then(rows::date),
            clock: view.clock.map(Time),
            heard_at: view.heard_at.map(Time),
            saved_at: (saved_at.0 > 0).then_some(saved_at.into()),
            last_event: view.last_event.clone(),
            records_applied: view.counters.iter().map(|counters| counters.applied).sum(),
            records_missing: view.missing,
            open: OpenConditions {
                high: open(Priority::High),
                medium: open(Priority::Medium),
                low: open(Priority::Low),
            },
            conditions,
            procedure_id: under_way(view),
            procedures: view.procedures.len() as u64,
        }
    }
}

/// A procedure on a robot.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Procedure {
    /// Its id.
    pub(crate) procedure_id: String,
    /// The robot.
    pub(crate) robot_id: String,
    /// Id of this case on this robot: a procedure's number may be given to another case later.
    /// Absent where no step of it was reported.
    pub(crate) leg_id: Option<String>,
    /// `scheduled`, `under way`, `paused`, `completed`, `converted`, `aborted`, `cancelled` or
    /// `heard of`.
    pub(crate) status: String,
    /// The phase that it is in, or was in last.
    pub(crate) phase: Option<String>,
    /// Its category.
    pub(crate) category: Option<String>,
    /// Its type.
    pub(crate) procedure_type: Option<String>,
    /// Pseudonym of the surgeon.
    pub(crate) surgeon_id: Option<String>,
    /// The facility where the robot stands now.
    pub(crate) facility_id: Option<String>,
    /// How complex it is, as the hospital says.
    pub(crate) complexity: Option<f64>,
    /// When it was scheduled.
    pub(crate) scheduled_at: Option<Time>,
    /// When it began.
    pub(crate) started_at: Option<Time>,
    /// When it ended.
    pub(crate) ended_at: Option<Time>,
    /// Pauses so far, seconds.
    pub(crate) paused_s: Option<f64>,
    /// Event time of its last step.
    pub(crate) changed_at: Option<Time>,
    /// What does not fit in its course.
    pub(crate) remarks: Vec<String>,
    /// Latest event time heard of it.
    pub(crate) heard_at: Option<Time>,
    /// Its outcome, once it has ended.
    pub(crate) outcome: Option<Outcome>,
}

impl Procedure {
    /// By its last step; `view`: as its robot remembers it.
    pub(crate) fn of(state: ProcedureState, view: Option<&ProcedureView>) -> Self {
        let heard_at = view.map_or(state.changed_at, |view| view.heard_at.max(state.changed_at));
        Self {
            procedure_id: state.procedure_id,
            robot_id: state.robot_id,
            leg_id: Some(state.leg_id),
            status: state.status.replace('_', " "),
            phase: state.phase,
            category: state.category,
            procedure_type: state.procedure_type,
            surgeon_id: state.surgeon_id,
            facility_id: None,
            complexity: state.complexity.filter(|value| value.is_finite()),
            scheduled_at: state.scheduled_at.map(Time),
            started_at: state.started_at.map(Time),
            ended_at: state.ended_at.map(Time),
            paused_s: Some(state.paused_s),
            changed_at: Some(Time(state.changed_at)),
            remarks: state.remarks,
            heard_at: Some(Time(heard_at)),
            outcome: view.and_then(|view| view.outcome.as_ref().map(Outcome::from)),
        }
    }

    /// One of which nothing but its outcome is kept.
    pub(crate) fn ended(leg_id: String, outcome: &Outcome) -> Self {
        let status = serde_json::json!(outcome.status);
        Self {
            procedure_id: outcome.procedure_id.clone(),
            robot_id: outcome.robot_id.clone(),
            leg_id: Some(leg_id),
            status: status.as_str().unwrap_or("unknown").to_owned(),
            category: outcome.category.clone(),
            procedure_type: outcome.procedure_type.clone(),
            surgeon_id: outcome.surgeon_id.clone(),
            started_at: outcome.started_at,
            ended_at: Some(outcome.ended_at),
            paused_s: Some(outcome.paused_s),
            heard_at: Some(outcome.ended_at),
            outcome: Some(outcome.clone()),
            ..Self::default()
        }
    }

    /// One of which the robot knows and no step was reported.
    pub(crate) fn heard_of(view: &ProcedureView) -> Self {
        Self {
            procedure_id: view.procedure_id.clone(),
            robot_id: view.robot_id.clone(),
            status: view.status.clone(),
            heard_at: Some(Time(view.heard_at)),
            outcome: view.outcome.as_ref().map(Outcome::from),
            ..Self::default()
        }
    }
}

/// A procedure on a robot, with all that is kept of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProcedureLeg {
    #[serde(flatten)]
    pub(crate) procedure: Procedure,
    /// What was measured in its phases, in their order.
    #[schemars(schema_with = "phases")]
    pub(crate) phases: Vec<Value>,
    /// All revisions of its outcome, the first one first.
    pub(crate) outcome_revisions: Vec<Outcome>,
}

fn phases(_: &mut SchemaGenerator) -> Schema {
    let item = rows::schema(OutputKind::Phase);
    schemars::json_schema!({"type": "array", "items": item})
}
