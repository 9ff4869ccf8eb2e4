//! Rows of lake files and of warehouse tables as text, so that they can be compared wherever they
//! come from; and what later rows say of earlier ones: outcomes as last published, windows with
//! their revisions merged.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde_json::Value;
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::{ColumnType, TableSpec, Warehouse};
use theatre_actors::window::{SignalAggregate, WindowRow, merge_revisions};
use theatre_schemas::dataset::Datasets;

/// Rows as text, with how often each is there.
pub type Rows = BTreeMap<String, u64>;

/// Windows by robot, `dataset/name`, and start.
pub(super) type Windows = BTreeMap<(String, String, i64), WindowRow>;

/// What stands for a value that is not there.
const NULL: &str = "null";
const DAY_US: i64 = 86_400_000_000;

/// Rows of text cells, and the names of their columns.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds the rows of a lake file; it has the columns of those before.
    pub(super) fn add_file(&mut self, path: &str, bytes: bytes::Bytes) -> Result<()> {
        for batch in theatre_parquet::read(path, bytes)? {
            let batch = batch?;
            let columns: Vec<String> = batch
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect();
            ensure!(
                self.columns.is_empty() || self.columns == columns,
                "{path} has other columns than the files before it: {columns:?}"
            );
            self.columns = columns;
            for row in 0..batch.num_rows() {
                self.rows.push(
                    batch
                        .columns()
                        .iter()
                        .map(|column| lake_cell(column, row))
                        .collect::<Result<_>>()?,
                );
            }
        }
        Ok(())
    }

    /// All rows of a warehouse's table.
    pub(super) fn of_warehouse(warehouse: &dyn Warehouse, spec: &TableSpec) -> Result<Self> {
        let names: Vec<String> = spec
            .columns
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        let answer = warehouse.query(&format!(
            "SELECT {} FROM \"{}\"",
            names.join(", "),
            spec.name
        ))?;
        let cell = |(value, (name, kind)): (&Value, &(String, ColumnType))| {
            warehouse_cell(*kind, value)
                .with_context(|| format!("column {name} of table {}", spec.name))
        };
        let rows: Result<Vec<Vec<String>>> = answer
            .rows
            .into_iter()
            .map(|row| row.iter().zip(&spec.columns).map(cell).collect())
            .collect();
        Ok(Self {
            columns: spec.columns.iter().map(|(name, _)| name.clone()).collect(),
            rows: rows?,
        })
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row {
            columns: &self.columns,
            cells,
        })
    }

    /// Adds the rows as text, without the column `left_out` if they have it.
    pub(super) fn count(&self, left_out: &str, rows: &mut Rows) {
        for row in &self.rows {
            let kept = row
                .iter()
                .zip(&self.columns)
                .filter(|(_, name)| *name != left_out)
                .map(|(cell, _)| cell.as_str());
            *rows.entry(kept.collect::<Vec<_>>().join("|")).or_default() += 1;
        }
    }

    /// Of the rows with the same `key` the one with the highest revision; none of which may be
    /// there twice.
    pub(super) fn last_revisions(&self, key: &str) -> Result<Self> {
        let mut revisions: BTreeMap<(&str, i64), &Vec<String>> = BTreeMap::new();
        for row in self.rows() {
            let revision = (row.text(key)?, row.whole("revision")?);
            ensure!(
                revisions.insert(revision, row.cells).is_none(),
                "{key} {}, revision {} is there twice",
                revision.0,
                revision.1
            );
        }
        // In order of revisions: each takes the place of the one before.
        let last: BTreeMap<&str, &Vec<String>> = revisions
            .into_iter()
            .map(|((key, _), cells)| (key, cells))
            .collect();
        Ok(Self {
            columns: self.columns.clone(),
            rows: last.into_values().cloned().collect(),
        })
    }

    /// The windows that the rows make together: one for each signal of each revision, none of which
    /// may be there twice. Quantiles are left out: those of a window do not follow from those of
    /// its revisions.
    pub(super) fn windows(&self, datasets: &Datasets) -> Result<Windows> {
        let mut revisions: BTreeMap<(String, String, i64, u32), WindowRow> = BTreeMap::new();
        for row in self.rows() {
            let (dataset, window, start_us) = (
                row.text("dataset")?,
                row.text("window_name")?,
                row.whole("window_start")?,
            );
            let (revision, size_us, rows) = (
                u32::try_from(row.whole("revision")?)?,
                row.whole("window_size_us")?,
                u64::try_from(row.whole("window_rows")?)?,
            );
            let known = datasets
                .find(dataset)
                .with_context(|| format!("there is no dataset {dataset}"))?
                .1;
            let key = (
                row.text("robot_id")?.to_owned(),
                format!("{dataset}/{window}"),
                start_us,
                revision,
            );
            let signal = known.signal(row.text("signal")?).with_context(|| {
                format!("dataset {dataset} has no signal {:?}", row.text("signal"))
            })?;
            let place = format!("{key:?}, signal {}", known.signals[signal].name);
            let begun = || WindowRow {
                window: window.to_owned(),
                size_us,
                start_us,
                revision,
                rows,
                signals: vec![SignalAggregate::empty(); known.signals.len()],
            };
            let stored = revisions.entry(key).or_insert_with(begun);
            ensure!(stored.signals[signal].count == 0, "{place} is there twice");
            ensure!(
                (stored.size_us, stored.rows) == (size_us, rows),
                "{place} has {rows} rows of {size_us} us, another one of its signals {stored:?}"
            );
            stored.signals[signal] = row.aggregate()?;
        }
        Ok(merged(revisions.into_iter().map(
            |((robot, subject, ..), stored)| ((robot, subject), stored),
        )))
    }
}

/// One row of a [`Table`].
struct Row<'a> {
    columns: &'a [String],
    cells: &'a Vec<String>,
}

impl<'a> Row<'a> {
    fn text(&self, column: &str) -> Result<&'a str> {
        let at = self
            .columns
            .iter()
            .position(|name| name == column)
            .with_context(|| format!("there is no column {column}"))?;
        Ok(&self.cells[at])
    }

    fn whole(&self, column: &str) -> Result<i64> {
        let text = self.text(column)?;
        text.parse()
            .with_context(|| format!("column {column}: {text}"))
    }

    /// No number where there is none.
    fn real(&self, column: &str) -> Result<f64> {
        let text = self.text(column)?;
        if text == NULL {
            Ok(f64::NAN)
        } else {
            text.parse()
                .with_context(|| format!("column {column}: {text}"))
        }
    }

    /// 0 where there is none, as aggregates have it.
    fn time(&self, column: &str) -> Result<i64> {
        if self.text(column)? == NULL {
            Ok(0)
        } else {
            self.whole(column)
        }
    }

    fn aggregate(&self) -> Result<SignalAggregate> {
        Ok(SignalAggregate {
            count: u64::try_from(self.whole("value_count")?)?,
            sum: self.real("value_sum")?,
            mean: self.real("mean")?,
            m2: self.real("m2")?,
            min: self.real("min")?,
            max: self.real("max")?,
            first: self.real("first")?,
            first_time: self.time("first_time")?,
            last: self.real("last")?,
            last_time: self.time("last_time")?,
            sketch: None,
        })
    }
}

/// The windows that tables must hold by the outputs: revisions without a value have no row there.
pub(super) fn windows_of(outputs: &[OutputEvent]) -> Result<Windows> {
    let mut stored = Vec::new();
    for output in outputs
        .iter()
        .filter(|output| output.kind == OutputKind::Window)
    {
        let row = WindowRow::decode(&output.payload)?;
        if row.signals.iter().any(|signal| signal.count > 0) {
            stored.push(((output.robot_id.clone(), output.subject.clone()), row));
        }
    }
    Ok(merged(stored.into_iter()))
}

/// Merges the revisions of each window, of each what a table holds of it.
fn merged(revisions: impl Iterator<Item = ((String, String), WindowRow)>) -> Windows {
    let mut windows: BTreeMap<(String, String, i64), Vec<WindowRow>> = BTreeMap::new();
    for ((robot, subject), row) in revisions {
        let signals = row.signals.iter().map(as_in_tables).collect();
        windows
            .entry((robot, subject, row.start_us))
            .or_default()
            .push(WindowRow { signals, ..row });
    }
    let merge = |(key, revisions): (_, Vec<WindowRow>)| {
        Some((
            key,
            WindowRow {
                revision: 0,
                ..merge_revisions(&revisions)?
            },
        ))
    };
    windows.into_iter().filter_map(merge).collect()
}

/// No sketch, no number that is not finite, and no negative zero: SQLite knows none.
fn as_in_tables(signal: &SignalAggregate) -> SignalAggregate {
    let kept = |value: f64| {
        if value.is_finite() {
            value + 0.0
        } else {
            f64::NAN
        }
    };
    SignalAggregate {
        sum: kept(signal.sum),
        mean: kept(signal.mean),
        m2: kept(signal.m2),
        min: kept(signal.min),
        max: kept(signal.max),
        first: kept(signal.first),
        last: kept(signal.last),
        sketch: None,
        ..signal.clone()
    }
}

/// A value of a lake file as text; moments as the numbers they are stored as.
fn lake_cell(column: &ArrayRef, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok(NULL.to_owned());
    }
    Ok(match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => column.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Decimal128(..) => column
            .as_primitive::<Decimal128Type>()
            .value(row)
            .to_string(),
        DataType::Timestamp(..) => column
            .as_primitive::<TimestampMicrosecondType>()
            .value(row)
            .to_string(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => format!("{:?}", column.as_binary::<i32>().value(row)),
        other => bail!("no lake file has a column of {other}"),
    })
}

/// A value of a warehouse as text, the same from each: truth is a number in some, moments are
/// numbers in some and texts in others, and SQLite knows neither a value that is no number nor a
/// negative zero.
fn warehouse_cell(kind: ColumnType, value: &Value) -> Result<String> {
    let real = || {
        value
            .as_f64()
            .or_else(|| value.as_str()?.parse().ok())
            .with_context(|| format!("{value} is no {kind:?}"))
    };
    Ok(match (kind, value) {
        (_, Value::Null) => NULL.to_owned(),
        (ColumnType::Boolean, Value::Bool(truth)) => u8::from(*truth).to_string(),
        (ColumnType::Float32, _) => real_text(real()?, |number| (number as f32).to_string()),
        (ColumnType::Float64, _) => real_text(real()?, |number| number.to_string()),
        (ColumnType::Decimal { scale, .. }, _) => {
            format!("{:.0}", real()? * 10_f64.powi(i32::from(scale)))
        }
        (ColumnType::Utf8, Value::String(text)) => text.clone(),
        (ColumnType::TimestampMicros, Value::String(text)) => micros(text)?.to_string(),
        (ColumnType::Date, Value::String(text)) => micros(text)?.div_euclid(DAY_US).to_string(),
        (
            ColumnType::Boolean
            | ColumnType::Int32
            | ColumnType::Int64
            | ColumnType::TimestampMicros
            | ColumnType::Date,
            Value::Number(number),
        ) => number
            .as_i64()
            .with_context(|| format!("{value} is no {kind:?}"))?
            .to_string(),
        _ => bail!("{value} is no {kind:?}"),
    })
}

fn real_text(number: f64, text: impl Fn(f64) -> String) -> String {
    if number.is_nan() {
        NULL.to_owned()
    } else {
        text(number + 0.0)
    }
}

/// A date, with a time of day or without, in UTC: microseconds since 1970.
fn micros(text: &str) -> Result<i64> {
    let civil: jiff::civil::DateTime =
        text.parse().with_context(|| format!("{text} is no date"))?;
    Ok(jiff::tz::Offset::UTC.to_timestamp(civil)?.as_microsecond())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use theatre_actors::ports::ColumnType;

    use super::warehouse_cell;

    #[test]
    fn a_value_is_the_same_text_however_a_warehouse_writes_it() {
        let same = [
            (
                ColumnType::TimestampMicros,
                json!(1_767_225_600_100_000_i64),
                json!("2026-01-01 00:00:00.1"),
            ),
            (
                ColumnType::TimestampMicros,
                json!(-1),
                json!("1969-12-31 23:59:59.999999"),
            ),
            (ColumnType::Date, json!(20_454), json!("2026-01-01")),
            (ColumnType::Date, json!(-1), json!("1969-12-31")),
            (ColumnType::Boolean, json!(1), json!(true)),
            (ColumnType::Float32, json!(f64::from(0.1_f32)), json!(0.1)),
            (ColumnType::Float64, json!(0.0), json!(-0.0)),
            (ColumnType::Float64, json!(null), json!("NaN")),
            (ColumnType::Float64, json!("inf"), json!("Infinity")),
        ];
        for (kind, one, other) in same {
            assert_eq!(
                warehouse_cell(kind, &one).unwrap(),
                warehouse_cell(kind, &other).unwrap(),
                "{kind:?}"
            );
        }
        assert_eq!(
            warehouse_cell(ColumnType::Utf8, &json!("007")).unwrap(),
            "007"
        );
        assert!(
            warehouse_cell(ColumnType::Binary, &json!("3 bytes")).is_err(),
            "no table that is compared has such a column"
        );
    }
}
