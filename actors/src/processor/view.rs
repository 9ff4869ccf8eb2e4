//! What a processor knows, for people: read from its stored state by commands, or asked of the
//! running processor.

use serde::Serialize;
use serde_json::{Value, json};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::ColumnType;
use theatre_schemas::records::{Outcome, Priority};

use super::ProcessorState;
use crate::outputs::Counters;
use crate::position::{Positions, TopicIndex};
use crate::registry::RobotRecordView;
use crate::rules::{INSTRUMENT_LIVES, rule_and_signal};
use crate::state::{self, StateError};

/// An open condition.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct ConditionView {
    pub rule_id: String,
    /// The signal, where the rule has a condition for each of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The dataset it was raised on; `None` for conditions of the robot as a whole.
    pub dataset: Option<String>,
    pub priority: Priority,
    /// Event time, microseconds UTC.
    pub raised_at: i64,
}

/// A procedure.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct ProcedureView {
    pub procedure_id: String,
    pub robot_id: String,
    pub status: String,
    /// Latest event time heard of it, microseconds UTC.
    pub heard_at: i64,
    pub outcome: Option<Outcome>,
}

/// A robot and its procedures.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct ProcessorView {
    pub robot_id: String,
    /// Event time, microseconds UTC.
    pub clock: Option<i64>,
    /// Append time of the last record, microseconds UTC.
    pub heard_at: Option<i64>,
    pub last_event: Option<String>,
    pub conditions: Vec<ConditionView>,
    pub open_panes: usize,
    pub missing: u64,
    pub given_up: u64,
    pub restarts: u64,
    pub not_finite: u64,
    pub positions: Positions,
    pub counters: Vec<Counters>,
    pub procedures: Vec<ProcedureView>,
    /// Registry, services, hours and cases.
    pub record: RobotRecordView,
}

/// An open window that has rows; times are event times, microseconds UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenWindowView {
    /// The dataset of its rows.
    pub dataset: String,
    /// The window's name in the configuration.
    pub window: String,
    /// Its first moment.
    pub start: i64,
    /// The first moment after it.
    pub end: i64,
    /// Rows in it so far.
    pub rows: u64,
}

/// What a running processor answers: its view, and what only a running one can show for sure.
#[derive(Debug, Clone, Serialize)]
pub struct LiveView {
    /// As of the last message that was applied, saved or not.
    pub processor: ProcessorView,
    /// Open windows by dataset, in the order of the configuration, then of time.
    pub windows: Vec<OpenWindowView>,
}

pub(super) fn live(robot_id: &str, state: &ProcessorState) -> LiveView {
    let windows = state
        .robot
        .open_windows()
        .map(|(dataset, window, start, end, rows)| OpenWindowView {
            dataset: dataset.to_owned(),
            window: window.to_owned(),
            start,
            end,
            rows,
        });
    LiveView {
        processor: of(robot_id, state),
        windows: windows.collect(),
    }
}

impl ProcessorView {
    /// Reads a stored state.
    ///
    /// # Errors
    /// When the state is of an unknown version or damaged.
    pub fn from_state(robot_id: &str, bytes: &[u8]) -> Result<Self, StateError> {
        Ok(of(robot_id, &state::decode(bytes)?))
    }
}

/// The number from which records of a robot without a boot number go on, on a topic: the one after
/// the highest that was seen. Read from a stored state.
///
/// # Errors
/// When the state is of an unknown version or damaged.
pub fn next_sequence(state: &[u8], topic: TopicIndex) -> Result<i64, StateError> {
    let state: ProcessorState = state::decode(state)?;
    Ok(state.robot.next_sequence(topic))
}

pub(super) fn of(robot_id: &str, state: &ProcessorState) -> ProcessorView {
    let robot = &state.robot;
    let (missing, given_up, restarts, not_finite) = robot.quality();
    let conditions = robot
        .open_conditions()
        .filter_map(|(dataset, key, condition)| {
            let (raised_at, priority) = condition.raised()?;
            let dataset = (!dataset.is_empty()).then(|| dataset.to_owned());
            let (rule_id, signal) = rule_and_signal(key);
            Some(ConditionView {
                rule_id: rule_id.to_owned(),
                signal: signal.map(str::to_owned),
                dataset,
                priority,
                raised_at,
            })
        });
    let instruments = state.entities.instruments.open_conditions();
    let instruments = instruments.filter_map(|(_, condition)| {
        let (raised_at, priority) = condition.raised()?;
        Some(ConditionView {
            rule_id: INSTRUMENT_LIVES.to_owned(),
            signal: None,
            dataset: None,
            priority,
            raised_at,
        })
    });
    let procedures = state
        .procedures
        .iter()
        .map(|(id, procedure)| ProcedureView {
            procedure_id: id.to_owned(),
            robot_id: robot_id.to_owned(),
            status: procedure.status().to_owned(),
            heard_at: procedure.last_seen,
            outcome: procedure.outcome().cloned(),
        });
    ProcessorView {
        robot_id: robot_id.to_owned(),
        clock: robot.shown_clock().map(|clock| clock.0),
        heard_at: robot.last_seen().map(|seen| seen.0),
        last_event: robot.last_event().map(|(event, _)| event.clone()),
        conditions: conditions.chain(instruments).collect(),
        open_panes: robot.open_panes(),
        missing,
        given_up,
        restarts,
        not_finite,
        positions: state.positions.clone(),
        counters: state.counters.clone(),
        procedures: procedures.collect(),
        record: state.record.view(),
    }
}

/// A decimal with all of its digits; a JSON number could lose some.
fn decimal_text(units: i64, scale: u8) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if scale == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{fraction}")
}

/// A row as JSON: what a dead letter of a decodable record carries. Persons are pseudonyms already.
pub(super) fn row_json(batch: &Batch, row: usize) -> Value {
    let cell = |column: usize, column_type: ColumnType| match column_type {
        ColumnType::Utf8 => batch.text(column, row).map(|text| json!(text)),
        ColumnType::Boolean => batch.number(column, row).map(|value| json!(value != 0.0)),
        ColumnType::Float32 | ColumnType::Float64 => batch.number(column, row).map(|value| {
            if value.is_finite() {
                json!(value)
            } else {
                json!(value.to_string())
            }
        }),
        ColumnType::Int32 | ColumnType::Int64 | ColumnType::TimestampMicros => {
            batch.int(column, row).map(|value| json!(value))
        }
        ColumnType::Decimal { scale, .. } => {
            let units = batch.decimal(column, row);
            units.map(|units| json!(decimal_text(units, scale)))
        }
        ColumnType::Date => batch.date(column, row).map(|days| json!(days)),
        ColumnType::Binary => None,
    };
    let columns = batch.dataset.columns.iter().enumerate();
    Value::Object(
        columns
            .filter_map(|(index, spec)| Some((spec.name.clone(), cell(index, spec.column_type)?)))
            .collect(),
    )
}
