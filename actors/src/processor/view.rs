//! What a processor knows, for people: read from its stored state by commands, or asked of the
//! running processor.

use serde::Serialize;
use serde_json::{Value, json};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::ColumnType;
use theatre_schemas::records::{Alert, Outcome, Priority};

use super::ProcessorState;
use crate::alerts::Silence;
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
    /// Its id in alerts; `None` where a build raised it that did not keep what it emitted.
    pub condition_id: Option<String>,
    /// What was emitted of it last, in words.
    pub message: Option<String>,
    pub acknowledged_by: Option<String>,
    /// Microseconds UTC, as are those below.
    pub acknowledged_at: Option<i64>,
    pub assignee: Option<String>,
    pub silenced_until: Option<i64>,
    /// How often it was passed on because it was not acknowledged in time.
    pub escalation: i32,
    /// Its cause is over; it stays open until a person closes it.
    pub is_latched: bool,
    /// It comes and goes.
    pub is_flapping: bool,
    /// The robot is silent: no person knows whether it is still so. Never of that it is silent.
    pub is_stale: bool,
}

/// A silence that holds for a robot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct SilenceView {
    pub silence_id: String,
    pub rule_id: Option<String>,
    pub condition_id: Option<String>,
    pub facility_id: Option<String>,
    pub robot_model: Option<String>,
    /// Microseconds UTC.
    pub until: i64,
    pub hides_high: bool,
    pub actor: String,
    pub comment: Option<String>,
    /// It was made for all robots.
    pub is_wide: bool,
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
    pub silences: Vec<SilenceView>,
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
        conditions: conditions(state),
        silences: state.alerts.silences().map(silence).collect(),
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

/// The open conditions, as they were emitted last.
fn conditions(state: &ProcessorState) -> Vec<ConditionView> {
    let is_silent = state.robot.is_known_silent();
    let open = state.alerts.open().map(|open| condition_view(open.alert()));
    let of_robot = state.robot.open_conditions();
    let of_instruments = state.entities.instruments.open_conditions();
    let of_instruments =
        of_instruments.map(|(serial, condition)| (serial, INSTRUMENT_LIVES, condition));
    let untold = of_robot
        .chain(of_instruments)
        .map(|(subject, key, condition)| (subject, rule_and_signal(key), condition))
        .filter(|(subject, (rule, _), _)| !state.alerts.knows(rule, subject))
        .filter_map(|(subject, (rule, signal), condition)| {
            let (raised_at, priority) = condition.raised()?;
            Some(condition_view(&Alert {
                rule_id: rule.to_owned(),
                signal: signal.map(str::to_owned),
                subject: (!subject.is_empty()).then(|| subject.to_owned()),
                priority,
                raised_at,
                ..Alert::default()
            }))
        });
    let mut conditions: Vec<ConditionView> = open.chain(untold).collect();
    // Those of the robot as a whole first, those of instruments last.
    let place = |of: &ConditionView| (of.rule_id == INSTRUMENT_LIVES, of.dataset.clone());
    conditions
        .sort_by(|left, right| (place(left), &left.rule_id).cmp(&(place(right), &right.rule_id)));
    for condition in &mut conditions {
        condition.is_stale = is_silent && !state.robot.is_found_silent_by(&condition.rule_id);
    }
    conditions
}

fn condition_view(alert: &Alert) -> ConditionView {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let is_of_instrument = alert.rule_id == INSTRUMENT_LIVES;
    ConditionView {
        rule_id: alert.rule_id.clone(),
        dataset: alert.subject.clone().filter(|_| !is_of_instrument),
        priority: alert.priority,
        raised_at: alert.raised_at,
        condition_id: said(&alert.condition_id),
        signal: alert.signal.clone(),
        message: said(&alert.message),
        acknowledged_by: alert.acknowledged_by.clone(),
        acknowledged_at: alert.acknowledged_at,
        assignee: alert.assignee.clone(),
        silenced_until: alert.silenced_until,
        escalation: alert.escalation,
        is_latched: alert.is_latched,
        is_flapping: alert.is_flapping,
        is_stale: false,
    }
}

fn silence(silence: &Silence) -> SilenceView {
    SilenceView {
        silence_id: silence.id.clone(),
        rule_id: silence.rule.clone(),
        condition_id: silence.condition.clone(),
        facility_id: silence.facility.clone(),
        robot_model: silence.model.clone(),
        until: silence.until,
        hides_high: silence.hides_high,
        actor: silence.actor.clone(),
        comment: silence.comment.clone(),
        is_wide: silence.is_wide,
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
