//! Outputs as JSON: what their kind says are the columns of its table are the fields of an item.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use theatre_actors::outputs::columns::ColumnSink;
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::Result;
use theatre_schemas::dataset::{ColumnType, Datasets};

use crate::model::Time;

/// Outputs of one kind, an object each. Times are RFC 3339, dates are ISO 8601.
///
/// # Errors
/// Names an output that cannot be read.
pub(crate) fn items(kind: OutputKind, outputs: &[&OutputEvent]) -> Result<Vec<Value>> {
    let mut items = Items(vec![Map::new(); outputs.len()]);
    (kind.spec().table.columns)(outputs, &Datasets::default(), &mut items)?;
    Ok(items.0.into_iter().map(Value::Object).collect())
}

/// The schema of such an item.
pub(crate) fn schema(kind: OutputKind) -> Value {
    let mut fields = Fields::default();
    // Only an output can be refused, and there is none here.
    let typed = (kind.spec().table.columns)(&[], &Datasets::default(), &mut fields);
    debug_assert!(typed.is_ok(), "{typed:?}");
    json!({"type": "object", "properties": fields.0})
}

struct Items(Vec<Map<String, Value>>);

impl Items {
    fn put(&mut self, name: &str, values: impl Iterator<Item = Value>) {
        for (item, value) in self.0.iter_mut().zip(values) {
            item.insert(name.to_owned(), value);
        }
    }
}

impl ColumnSink for Items {
    fn text(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<Cow<'_, str>>>) {
        self.put(name, values.map(|value| json!(value)));
    }

    fn nested(
        &mut self,
        name: &'static str,
        values: &mut dyn Iterator<Item = Option<Cow<'_, str>>>,
    ) {
        let value = |text: Option<Cow<'_, str>>| match text {
            // A name is no JSON.
            Some(text) => serde_json::from_str(&text).unwrap_or_else(|_| json!(text)),
            None => Value::Null,
        };
        self.put(name, values.map(value));
    }

    fn int32(&mut self, name: &'static str, values: &mut dyn Iterator<Item = i32>) {
        self.put(name, values.map(|value| json!(value)));
    }

    fn int64(&mut self, name: &'static str, values: &mut dyn Iterator<Item = i64>) {
        self.put(name, values.map(|value| json!(value)));
    }

    fn optional_int32(
        &mut self,
        name: &'static str,
        values: &mut dyn Iterator<Item = Option<i32>>,
    ) {
        self.put(name, values.map(|value| json!(value)));
    }

    fn flag(&mut self, name: &'static str, values: &mut dyn Iterator<Item = bool>) {
        self.put(name, values.map(|value| json!(value)));
    }

    fn date(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<i32>>) {
        self.put(name, values.map(|days| json!(days.and_then(date))));
    }

    fn decimal(
        &mut self,
        name: &'static str,
        column_type: ColumnType,
        values: &mut dyn Iterator<Item = Option<i64>>,
    ) {
        let scale = match column_type {
            ColumnType::Decimal { scale, .. } => scale,
            _ => 0,
        };
        let unit = 10_f64.powi(i32::from(scale));
        self.put(
            name,
            values.map(|units| json!(units.map(|units| units as f64 / unit))),
        );
    }

    fn float(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<f64>>) {
        self.put(name, values.map(|value| json!(value)));
    }

    fn time(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<i64>>) {
        self.put(name, values.map(|time| json!(time.map(Time))));
    }
}

/// Days since 1970-01-01 as a date (ISO 8601).
pub(crate) fn date(days: i32) -> Option<String> {
    let epoch = jiff::civil::date(1970, 1, 1);
    let date = epoch.checked_add(jiff::Span::new().try_days(days).ok()?);
    Some(date.ok()?.to_string())
}

/// The schemas of fields by their names.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn add(&mut self, name: &str, schema: Value) {
        self.0.insert(name.to_owned(), schema);
    }
}

impl ColumnSink for Fields {
    fn text(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<Cow<'_, str>>>) {
        self.add(name, json!({"type": ["string", "null"]}));
    }

    fn nested(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<Cow<'_, str>>>) {
        self.add(name, json!({"type": ["string", "array", "object", "null"]}));
    }

    fn int32(&mut self, name: &'static str, _: &mut dyn Iterator<Item = i32>) {
        self.add(name, json!({"type": "integer"}));
    }

    fn int64(&mut self, name: &'static str, _: &mut dyn Iterator<Item = i64>) {
        self.add(name, json!({"type": "integer"}));
    }

    fn optional_int32(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<i32>>) {
        self.add(name, json!({"type": ["integer", "null"]}));
    }

    fn flag(&mut self, name: &'static str, _: &mut dyn Iterator<Item = bool>) {
        self.add(name, json!({"type": "boolean"}));
    }

    fn date(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<i32>>) {
        self.add(name, json!({"type": ["string", "null"], "format": "date"}));
    }

    fn decimal(
        &mut self,
        name: &'static str,
        _: ColumnType,
        _: &mut dyn Iterator<Item = Option<i64>>,
    ) {
        self.add(name, json!({"type": ["number", "null"]}));
    }

    fn float(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<f64>>) {
        self.add(name, json!({"type": ["number", "null"]}));
    }

    fn time(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<i64>>) {
        let format = json!({"type": ["string", "null"], "format": "date-time"});
        self.add(name, format);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0).as_deref(), Some("1970-01-01"));
        assert_eq!(date(20_787).as_deref(), Some("2026-11-30"));
        assert_eq!(date(i32::MAX), None);
    }

    #[test]
    fn each_kind_that_is_asked_has_a_schema_of_its_fields() {
        let outcome = schema(OutputKind::Outcome);
        assert_eq!(outcome["properties"]["ended_at"]["format"], "date-time");
        let work = schema(OutputKind::Maintenance);
        assert_eq!(
            work["properties"]["cost"]["type"],
            json!(["number", "null"])
        );
    }
}
