//! Facts as tables: alerts, outcomes and windows (one row per revision and signal).

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::SchemaRef;
use serde_json::{Value, json};
use theatre_actors::effect::{Fact, FactKind};
use theatre_actors::ports::{ColumnType, Error, LoadMode, Result, TableSpec};
use theatre_actors::window::WindowRow;
use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::{Alert, Outcome};

use super::fitting;
use ColumnType::{Float64, Int32, Int64, TimestampMicros, Utf8};

fn spec(name: &str, columns: &[(&str, ColumnType)], mode: LoadMode) -> TableSpec {
    TableSpec { name: name.to_owned(), columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(), mode }
}

/// The table a kind of fact is exported to.
pub fn table(kind: FactKind) -> TableSpec {
    let by_revision = |key: &[&str]| LoadMode::MergeByRevision { key: key.iter().map(|part| (*part).to_owned()).collect(), revision: "revision".to_owned() };
    match kind {
        // Every transition is a row of its own.
        FactKind::Alert => spec(
            "maintenance_alerts",
            &[
                ("alert_id", Utf8),
                ("condition_id", Utf8),
                ("robot_id", Utf8),
                ("procedure_id", Utf8),
                ("rule_id", Utf8),
                ("rule_version", Int32),
                ("transition", Utf8),
                ("revision", Int32),
                ("priority", Utf8),
                ("event_time", TimestampMicros),
                ("raised_at", TimestampMicros),
                ("value", Float64),
                ("limit", Float64),
                ("signal", Utf8),
                ("unit", Utf8),
                ("message", Utf8),
            ],
            by_revision(&["alert_id"]),
        ),
        FactKind::Outcome => spec(
            "procedure_outcomes",
            &[
                ("procedure_id", Utf8),
                ("robot_id", Utf8),
                ("revision", Int32),
                ("status", Utf8),
                ("category", Utf8),
                ("procedure_type", Utf8),
                ("surgeon_id", Utf8),
                ("started_at", TimestampMicros),
                ("ended_at", TimestampMicros),
                ("duration_s", Float64),
                ("paused_s", Float64),
                ("phases", Utf8),
                ("indicators", Utf8),
                ("alerts_high", Int32),
                ("alerts_medium", Int32),
                ("alerts_low", Int32),
                ("alert_conditions", Utf8),
                ("telemetry_rows", Int64),
                ("telemetry_missing", Int64),
                ("completeness", Float64),
                ("result", Utf8),
                ("outcome_id", Utf8),
            ],
            // Not by procedure: a case that moved has a leg on each robot, and a procedure's number may be given anew to another case.
            by_revision(&["outcome_id"]),
        ),
        // A later revision holds its own rows only, so all are kept.
        FactKind::Window => spec(
            "robot_windows",
            &[
                ("robot_id", Utf8),
                ("dataset", Utf8),
                ("window_name", Utf8),
                ("window_start", TimestampMicros),
                ("window_size_us", Int64),
                ("revision", Int32),
                ("window_rows", Int64),
                ("signal", Utf8),
                ("value_count", Int64),
                ("value_sum", Float64),
                ("mean", Float64),
                ("m2", Float64),
                ("min", Float64),
                ("max", Float64),
                ("first", Float64),
                ("first_time", TimestampMicros),
                ("last", Float64),
                ("last_time", TimestampMicros),
                ("p50", Float64),
                ("p95", Float64),
                ("p99", Float64),
            ],
            LoadMode::Append,
        ),
    }
}

/// A value of a row. Texts are borrowed where they can be: a window has a row for each signal, and nearly all of it is the same.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// Not there, or no finite number.
    Null,
    /// Truth.
    Bool(bool),
    /// Whole number or time, microseconds UTC.
    Int(i64),
    /// Finite number.
    Float(f64),
    /// Text; of nested records and arrays, as JSON.
    Text(Cow<'a, str>),
}

impl Cell<'_> {
    fn float(value: f64) -> Self {
        if value.is_finite() { Self::Float(value) } else { Self::Null }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(number) => number.as_i64().map(Self::Int).or(number.as_f64().map(Self::float)).unwrap_or(Self::Null),
            Value::String(text) => Self::Text(Cow::Owned(text.clone())),
            nested => Self::Text(Cow::Owned(nested.to_string())),
        }
    }

    fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    fn as_i64(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// The rows a fact makes in its table.
///
/// # Errors
/// When the payload cannot be read.
pub fn rows<'a>(fact: &'a Fact, datasets: &'a Datasets) -> Result<Vec<Vec<Cell<'a>>>> {
    let unreadable = |error: &dyn std::fmt::Display| Error::Refused(format!("fact '{}' revision {} cannot be read: {error}", fact.id, fact.revision));
    let by_name = |record: Value| table(fact.kind).columns.iter().map(|(name, _)| record.get(name).map_or(Cell::Null, Cell::of)).collect();
    match fact.kind {
        FactKind::Alert => Ok(vec![by_name(json!(Alert::decode(&fact.payload).map_err(|error| unreadable(&error))?))]),
        FactKind::Outcome => {
            let mut outcome = json!(Outcome::decode(&fact.payload).map_err(|error| unreadable(&error))?);
            outcome["outcome_id"] = json!(fact.id);
            Ok(vec![by_name(outcome)])
        }
        FactKind::Window => Ok(window_rows(fact, &WindowRow::decode(&fact.payload).map_err(|error| unreadable(&error))?, datasets)),
    }
}

fn window_rows<'a>(fact: &'a Fact, window: &WindowRow, datasets: &'a Datasets) -> Vec<Vec<Cell<'a>>> {
    let (dataset, name) = fact.subject.split_once('/').unwrap_or((&fact.subject, ""));
    let signals = datasets.find(dataset).map(|(_, dataset)| dataset.signals.as_slice()).unwrap_or_default();
    let text = |text: &'a str| Cell::Text(Cow::Borrowed(text));
    let told = window.signals.iter().zip(signals).filter(|(aggregate, _)| aggregate.count > 0);
    told.map(|(aggregate, signal)| {
        let kept = |time: i64| if aggregate.is_full() { Cell::Int(time) } else { Cell::Null };
        let quantile = |share: f64| aggregate.sketch.as_ref().and_then(|sketch| sketch.quantile(share)).map_or(Cell::Null, Cell::float);
        vec![
            text(&fact.robot_id),
            text(dataset),
            text(name),
            Cell::Int(window.start_us),
            Cell::Int(window.size_us),
            Cell::Int(i64::from(window.revision)),
            Cell::Int(window.rows as i64),
            text(&signal.name),
            Cell::Int(aggregate.count as i64),
            Cell::float(aggregate.sum),
            Cell::float(aggregate.mean),
            Cell::float(aggregate.m2),
            Cell::float(aggregate.min),
            Cell::float(aggregate.max),
            Cell::float(aggregate.first),
            kept(aggregate.first_time),
            Cell::float(aggregate.last),
            kept(aggregate.last_time),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
        ]
    })
    .collect()
}

/// Rows as a record batch of the table's files.
///
/// # Errors
/// When Arrow refuses, which would be a bug.
pub fn record_batch(table: &TableSpec, schema: &SchemaRef, rows: &[Vec<Cell<'_>>]) -> Result<RecordBatch> {
    let column = |index: usize, kind: ColumnType| -> ArrayRef {
        let cells = || rows.iter().map(|row| &row[index]);
        match kind {
            ColumnType::Boolean => Arc::new(cells().map(Cell::as_bool).collect::<BooleanArray>()),
            ColumnType::Int32 | ColumnType::Date => Arc::new(cells().map(|cell| cell.as_i64().map(|value| value as i32)).collect::<Int32Array>()),
            ColumnType::Int64 => Arc::new(cells().map(Cell::as_i64).collect::<Int64Array>()),
            ColumnType::Float32 | ColumnType::Float64 => Arc::new(cells().map(Cell::as_f64).collect::<Float64Array>()),
            ColumnType::TimestampMicros => Arc::new(cells().map(Cell::as_i64).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            ColumnType::Utf8 | ColumnType::Binary => Arc::new(cells().map(|cell| cell.as_str().map(fitting)).collect::<StringArray>()),
        }
    };
    let columns = table.columns.iter().enumerate().map(|(index, (_, kind))| column(index, *kind)).collect();
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| Error::Refused(format!("table '{}': {error}", table.name)))
}
