//! What is published of cases, instruments, components and sessions.

use serde::{Deserialize, Serialize};

use super::{Published, RecordError};
use std::sync::OnceLock;

/// Aggregates of one signal in a phase or a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignalSummary {
    pub name: String,
    pub count: i64,
    pub sum: f64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
}

/// A phase of a case, or the case as a whole. Fields as in `avro/procedure_phases/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ProcedurePhase {
    pub phase_id: String,
    pub procedure_id: String,
    pub robot_id: String,
    pub leg_id: String,
    pub revision: i32,
    pub phase_index: i32,
    pub phase: Option<String>,
    pub began_at: Option<i64>,
    pub ended_at: i64,
    pub is_exact: bool,
    pub row_count: i64,
    pub late_rows: i64,
    pub path_length: Option<f64>,
    pub economy_of_motion: Option<f64>,
    pub idle_time_s: Option<f64>,
    pub mean_speed: Option<f64>,
    pub smoothness: Option<f64>,
    pub mean_squared_jerk: Option<f64>,
    pub mean_force: Option<f64>,
    pub peak_force: Option<f64>,
    pub tool_changes: Option<f64>,
    pub camera_moves: Option<f64>,
    pub position_unit: Option<String>,
    pub force_unit: Option<String>,
    pub signals: Vec<SignalSummary>,
}
published!(ProcedurePhase, 1110, "../../avro/procedure_phases/v1.avsc");

/// The state of a case on one robot. Fields as in `avro/procedures/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ProcedureState {
    pub leg_id: String,
    pub procedure_id: String,
    pub robot_id: String,
    pub revision: i32,
    pub status: String,
    pub phase: Option<String>,
    pub category: Option<String>,
    pub procedure_type: Option<String>,
    pub surgeon_id: Option<String>,
    pub patient_id: Option<String>,
    pub complexity: Option<f64>,
    pub scheduled_at: Option<i64>,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub paused_s: f64,
    pub steps: i32,
    pub changed_at: i64,
    pub remarks: Vec<String>,
}
published!(ProcedureState, 1111, "../../avro/procedures/v1.avsc");

/// Use of an instrument on one robot. Fields as in `avro/instruments/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InstrumentUse {
    pub instrument_id: String,
    pub tool_serial: String,
    pub robot_id: String,
    pub revision: i32,
    pub tool_type: Option<String>,
    pub first_seen: i64,
    pub last_seen: i64,
    pub lives_used: Option<i64>,
    pub lives_left: Option<i64>,
    pub attached_hours: f64,
    pub active_hours: f64,
    pub cases: i64,
    pub sterilisations: Option<i64>,
    pub recent_cases: Vec<String>,
    pub ended_in: Option<String>,
}
published!(InstrumentUse, 1112, "../../avro/instruments/v1.avsc");

/// Use of a component. Fields as in `avro/components/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ComponentUse {
    pub component_id: String,
    pub robot_id: String,
    pub component: String,
    pub part: Option<String>,
    pub serial: Option<String>,
    pub installation: i32,
    pub revision: i32,
    pub since: i64,
    pub removed_at: Option<i64>,
    pub as_of: i64,
    pub operating_hours: f64,
    pub age_days: f64,
    pub load: f64,
    pub load_mean_square: Option<f64>,
    pub load_peak: Option<f64>,
    pub load_unit: Option<String>,
    pub value_count: i64,
}
published!(ComponentUse, 1113, "../../avro/components/v1.avsc");

/// A session. Fields as in `avro/sessions/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RobotSession {
    pub session_id: String,
    pub robot_id: String,
    pub dataset: String,
    pub window_name: String,
    pub revision: i32,
    pub is_withdrawn: bool,
    pub began_at: i64,
    pub ended_at: i64,
    pub is_cut: bool,
    pub row_count: i64,
    pub signals: Vec<SignalSummary>,
}
published!(RobotSession, 1114, "../../avro/sessions/v1.avsc");
