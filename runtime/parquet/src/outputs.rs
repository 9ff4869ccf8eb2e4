//! Outputs as tables: alerts, outcomes and windows (one row per revision and signal).

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::SchemaRef;
use serde_json::{Value, json};
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::{ColumnType, Error, LoadMode, Result, TableSpec};
use theatre_actors::window::{SignalAggregate, WindowRow};
use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::{Alert, Outcome};

use super::fitting;
use ColumnType::{Float64, Int32, Int64, TimestampMicros, Utf8};

fn spec(name: &str, columns: &[(&str, ColumnType)], mode: LoadMode) -> TableSpec {
    TableSpec {
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind))
            .collect(),
        mode,
    }
}

/// The table a kind of output is exported to.
pub fn table(kind: OutputKind) -> TableSpec {
    let by_revision = |key: &[&str]| LoadMode::MergeByRevision {
        key: key.iter().map(|part| (*part).to_owned()).collect(),
        revision: "revision".to_owned(),
    };
    match kind {
        // Every transition is a row of its own.
        OutputKind::Alert => spec(
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
        OutputKind::Outcome => spec(
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
            // Not by procedure: a case that moved has a leg on each robot, and a procedure's number
            // may be given anew to another case.
            by_revision(&["outcome_id"]),
        ),
        // A later revision holds its own rows only, so all are kept.
        OutputKind::Window => {
            let columns = WINDOW_COLUMNS
                .iter()
                .map(|(name, values)| ((*name).to_owned(), values.column_type()))
                .collect();
            TableSpec {
                name: "robot_windows".to_owned(),
                columns,
                mode: LoadMode::Append,
            }
        }
    }
}

/// A value of a row of alerts or outcomes.
enum Cell {
    /// Not there, or no finite number.
    Null,
    /// Truth.
    Bool(bool),
    /// Whole number or time, microseconds UTC.
    Int(i64),
    /// Finite number.
    Float(f64),
    /// Text; of nested records and arrays, as JSON.
    Text(String),
}

impl Cell {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            // JSON knows finite numbers only.
            Value::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or(number.as_f64().map(Self::Float))
                .unwrap_or(Self::Null),
            Value::String(text) => Self::Text(text.clone()),
            nested => Self::Text(nested.to_string()),
        }
    }

    fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self {
            Some(*truth)
        } else {
            None
        }
    }

    fn as_i64(&self) -> Option<i64> {
        if let Self::Int(number) = self {
            Some(*number)
        } else {
            None
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }
}

/// One signal of a window's revision.
struct SignalRow<'a> {
    robot_id: &'a str,
    dataset: &'a str,
    window_name: &'a str,
    window: &'a WindowRow,
    signal: &'a str,
    aggregate: &'a SignalAggregate,
}

impl SignalRow<'_> {
    /// A time that only a full aggregate keeps.
    fn kept(&self, time: i64) -> Option<i64> {
        self.aggregate.is_full().then_some(time)
    }

    /// An estimated quantile, no number without a sketch.
    fn quantile(&self, share: f64) -> f64 {
        self.aggregate
            .sketch
            .as_ref()
            .and_then(|sketch| sketch.quantile(share))
            .unwrap_or(f64::NAN)
    }
}

/// Where the values of a column come from. Numbers that are not finite are NULL: no warehouse has
/// them.
enum Values {
    Text(for<'a> fn(&SignalRow<'a>) -> &'a str),
    Int32(fn(&SignalRow<'_>) -> i32),
    Int64(fn(&SignalRow<'_>) -> i64),
    Time(fn(&SignalRow<'_>) -> Option<i64>),
    Float(fn(&SignalRow<'_>) -> f64),
}

impl Values {
    fn column_type(&self) -> ColumnType {
        match self {
            Self::Text(_) => Utf8,
            Self::Int32(_) => Int32,
            Self::Int64(_) => Int64,
            Self::Time(_) => TimestampMicros,
            Self::Float(_) => Float64,
        }
    }

    fn column(&self, rows: &[SignalRow<'_>]) -> ArrayRef {
        match self {
            Self::Text(of) => Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| fitting(of(row))),
            )),
            Self::Int32(of) => Arc::new(Int32Array::from_iter_values(rows.iter().map(of))),
            Self::Int64(of) => Arc::new(Int64Array::from_iter_values(rows.iter().map(of))),
            Self::Time(of) => Arc::new(
                rows.iter()
                    .map(of)
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
            Self::Float(of) => Arc::new(
                rows.iter()
                    .map(|row| Some(of(row)).filter(|value| value.is_finite()))
                    .collect::<Float64Array>(),
            ),
        }
    }
}

/// Windows have a row for each signal, most of what is exported: straight from the aggregates into
/// columns.
const WINDOW_COLUMNS: [(&str, Values); 21] = [
    ("robot_id", Values::Text(|row| row.robot_id)),
    ("dataset", Values::Text(|row| row.dataset)),
    ("window_name", Values::Text(|row| row.window_name)),
    (
        "window_start",
        Values::Time(|row| Some(row.window.start_us)),
    ),
    ("window_size_us", Values::Int64(|row| row.window.size_us)),
    (
        "revision",
        Values::Int32(|row| i32::try_from(row.window.revision).unwrap_or(i32::MAX)),
    ),
    ("window_rows", Values::Int64(|row| row.window.rows as i64)),
    ("signal", Values::Text(|row| row.signal)),
    (
        "value_count",
        Values::Int64(|row| row.aggregate.count as i64),
    ),
    ("value_sum", Values::Float(|row| row.aggregate.sum)),
    ("mean", Values::Float(|row| row.aggregate.mean)),
    ("m2", Values::Float(|row| row.aggregate.m2)),
    ("min", Values::Float(|row| row.aggregate.min)),
    ("max", Values::Float(|row| row.aggregate.max)),
    ("first", Values::Float(|row| row.aggregate.first)),
    (
        "first_time",
        Values::Time(|row| row.kept(row.aggregate.first_time)),
    ),
    ("last", Values::Float(|row| row.aggregate.last)),
    (
        "last_time",
        Values::Time(|row| row.kept(row.aggregate.last_time)),
    ),
    ("p50", Values::Float(|row| row.quantile(0.5))),
    ("p95", Values::Float(|row| row.quantile(0.95))),
    ("p99", Values::Float(|row| row.quantile(0.99))),
];

/// Outputs of one kind as rows of their table's files.
///
/// # Errors
/// When a payload cannot be read; when Arrow refuses, which would be a bug.
pub fn record_batch(
    kind: OutputKind,
    schema: &SchemaRef,
    outputs: &[&OutputEvent],
    datasets: &Datasets,
) -> Result<RecordBatch> {
    let columns = match kind {
        OutputKind::Window => window_columns(outputs, datasets)?,
        OutputKind::Alert | OutputKind::Outcome => named_columns(&table(kind), outputs)?,
    };
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|error| Error::Refused(format!("table '{}': {error}", table(kind).name)))
}

fn unreadable(output: &OutputEvent, error: impl std::fmt::Display) -> Error {
    Error::Refused(format!(
        "output '{}' revision {} cannot be read: {error}",
        output.id, output.revision
    ))
}

fn window_columns(outputs: &[&OutputEvent], datasets: &Datasets) -> Result<Vec<ArrayRef>> {
    let read = |output: &&OutputEvent| {
        WindowRow::decode(&output.payload).map_err(|error| unreadable(output, error))
    };
    let windows: Vec<WindowRow> = outputs.iter().map(read).collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for (output, window) in outputs.iter().zip(&windows) {
        let (dataset, window_name) = output
            .subject
            .split_once('/')
            .unwrap_or((&output.subject, ""));
        let known = datasets.find(dataset).ok_or_else(|| {
            Error::Refused(format!(
                "windows of dataset '{dataset}' cannot be written: it has left the configuration"
            ))
        })?;
        let signals = known.1.signals.as_slice();
        let told = window
            .signals
            .iter()
            .zip(signals)
            .filter(|(aggregate, _)| aggregate.count > 0);
        rows.extend(told.map(|(aggregate, signal)| SignalRow {
            robot_id: &output.robot_id,
            dataset,
            window_name,
            window,
            signal: &signal.name,
            aggregate,
        }));
    }
    Ok(WINDOW_COLUMNS
        .iter()
        .map(|(_, values)| values.column(&rows))
        .collect())
}

/// Columns by the names of an alert's or an outcome's fields.
fn named_columns(table: &TableSpec, outputs: &[&OutputEvent]) -> Result<Vec<ArrayRef>> {
    let mut rows: Vec<Vec<Cell>> = Vec::with_capacity(outputs.len());
    for output in outputs {
        let record = match output.kind {
            OutputKind::Outcome => {
                let mut outcome = json!(
                    Outcome::decode(&output.payload).map_err(|error| unreadable(output, error))?
                );
                outcome["outcome_id"] = json!(output.id);
                outcome
            }
            _ => json!(Alert::decode(&output.payload).map_err(|error| unreadable(output, error))?),
        };
        rows.push(
            table
                .columns
                .iter()
                .map(|(name, _)| record.get(name).map_or(Cell::Null, Cell::of))
                .collect(),
        );
    }
    let column = |index: usize, kind: ColumnType| -> ArrayRef {
        let cells = || rows.iter().map(|row| &row[index]);
        match kind {
            ColumnType::Boolean => Arc::new(cells().map(Cell::as_bool).collect::<BooleanArray>()),
            ColumnType::Int32 | ColumnType::Date => Arc::new(
                cells()
                    .map(|cell| cell.as_i64().map(|value| value as i32))
                    .collect::<Int32Array>(),
            ),
            ColumnType::Int64 => Arc::new(cells().map(Cell::as_i64).collect::<Int64Array>()),
            ColumnType::Float32 | ColumnType::Float64 => {
                Arc::new(cells().map(Cell::as_f64).collect::<Float64Array>())
            }
            ColumnType::TimestampMicros => Arc::new(
                cells()
                    .map(Cell::as_i64)
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
            ColumnType::Utf8 | ColumnType::Binary => Arc::new(
                cells()
                    .map(|cell| cell.as_str().map(fitting))
                    .collect::<StringArray>(),
            ),
        }
    };
    Ok(table
        .columns
        .iter()
        .enumerate()
        .map(|(index, (_, kind))| column(index, *kind))
        .collect())
}
