//! How a kind of output declares the columns of its table: each with its name, its type and its
//! values in one place, in the order of the files.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use theatre_schemas::dataset::ColumnType;

/// Takes columns, one after the other; all of a table have the same number of values.
pub trait ColumnSink {
    /// A column of texts.
    fn text(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<Cow<'_, str>>>);

    /// A column of what has no type of its own: names as they are, lists and records as JSON.
    fn nested(
        &mut self,
        name: &'static str,
        values: &mut dyn Iterator<Item = Option<Cow<'_, str>>>,
    ) {
        self.text(name, values);
    }

    /// A column of 32-bit integers.
    fn int32(&mut self, name: &'static str, values: &mut dyn Iterator<Item = i32>);

    /// A column of 64-bit integers.
    fn int64(&mut self, name: &'static str, values: &mut dyn Iterator<Item = i64>);

    /// A column of 32-bit integers that may be missing.
    fn optional_int32(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<i32>>);

    /// A column of truths.
    fn flag(&mut self, name: &'static str, values: &mut dyn Iterator<Item = bool>);

    /// A column of dates, days since 1970-01-01.
    fn date(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<i32>>);

    /// A column of decimals of this type, in units of their last digit.
    fn decimal(
        &mut self,
        name: &'static str,
        column_type: ColumnType,
        values: &mut dyn Iterator<Item = Option<i64>>,
    );

    /// A column of finite numbers.
    fn float(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<f64>>);

    /// A column of times, microseconds UTC.
    fn time(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<i64>>);
}

/// The columns that rows of one type make.
pub struct Columns<'a, R> {
    rows: &'a [R],
    sink: &'a mut dyn ColumnSink,
}

impl<'a, R> Columns<'a, R> {
    /// Columns of these rows, given to `sink`.
    pub fn new(rows: &'a [R], sink: &'a mut dyn ColumnSink) -> Self {
        Self { rows, sink }
    }

    /// A text that is always there.
    pub fn text(self, name: &'static str, of: impl Fn(&'a R) -> &'a str) -> Self {
        self.optional_text(name, |row| Some(of(row)))
    }

    /// A text that may be missing.
    pub fn optional_text(self, name: &'static str, of: impl Fn(&'a R) -> Option<&'a str>) -> Self {
        let mut values = self.rows.iter().map(|row| of(row).map(Cow::Borrowed));
        self.sink.text(name, &mut values);
        self
    }

    /// A value that has no type of its own in a warehouse, as a text: the name of a variant as it
    /// is, lists and records as JSON with keys in alphabetical order, no value as NULL.
    pub fn json<T: Serialize + 'a>(self, name: &'static str, of: impl Fn(&'a R) -> &'a T) -> Self {
        let text = |row| match serde_json::to_value(of(row)) {
            Ok(Value::String(text)) => Some(Cow::Owned(text)),
            Ok(Value::Null) | Err(_) => None,
            Ok(nested) => Some(Cow::Owned(nested.to_string())),
        };
        self.sink.nested(name, &mut self.rows.iter().map(text));
        self
    }

    /// A 32-bit integer.
    pub fn int32(self, name: &'static str, of: impl Fn(&'a R) -> i32) -> Self {
        self.sink.int32(name, &mut self.rows.iter().map(of));
        self
    }

    /// A 64-bit integer.
    pub fn int64(self, name: &'static str, of: impl Fn(&'a R) -> i64) -> Self {
        self.sink.int64(name, &mut self.rows.iter().map(of));
        self
    }

    /// A 32-bit integer that may be missing.
    pub fn optional_int32(self, name: &'static str, of: impl Fn(&'a R) -> Option<i32>) -> Self {
        self.sink
            .optional_int32(name, &mut self.rows.iter().map(of));
        self
    }

    /// A truth.
    pub fn flag(self, name: &'static str, of: impl Fn(&'a R) -> bool) -> Self {
        self.sink.flag(name, &mut self.rows.iter().map(of));
        self
    }

    /// A date, days since 1970-01-01.
    pub fn date(self, name: &'static str, of: impl Fn(&'a R) -> Option<i32>) -> Self {
        self.sink.date(name, &mut self.rows.iter().map(of));
        self
    }

    /// A decimal of this type, in units of its last digit.
    pub fn decimal(
        self,
        name: &'static str,
        column_type: ColumnType,
        of: impl Fn(&'a R) -> Option<i64>,
    ) -> Self {
        let values = &mut self.rows.iter().map(of);
        self.sink.decimal(name, column_type, values);
        self
    }

    /// A number; one that is not finite is NULL, as no warehouse has it.
    pub fn float(self, name: &'static str, of: impl Fn(&'a R) -> Option<f64>) -> Self {
        let finite = |row| of(row).filter(|value| value.is_finite());
        self.sink.float(name, &mut self.rows.iter().map(finite));
        self
    }

    /// A time, microseconds UTC.
    pub fn time(self, name: &'static str, of: impl Fn(&'a R) -> Option<i64>) -> Self {
        self.sink.time(name, &mut self.rows.iter().map(of));
        self
    }
}

/// Names and types of columns, without their values.
#[derive(Debug, Default)]
pub(super) struct ColumnTypes(pub(super) Vec<(String, ColumnType)>);

impl ColumnTypes {
    fn add(&mut self, name: &str, column_type: ColumnType) {
        self.0.push((name.to_owned(), column_type));
    }
}

impl ColumnSink for ColumnTypes {
    fn text(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<Cow<'_, str>>>) {
        self.add(name, ColumnType::Utf8);
    }

    fn int32(&mut self, name: &'static str, _: &mut dyn Iterator<Item = i32>) {
        self.add(name, ColumnType::Int32);
    }

    fn int64(&mut self, name: &'static str, _: &mut dyn Iterator<Item = i64>) {
        self.add(name, ColumnType::Int64);
    }

    fn optional_int32(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<i32>>) {
        self.add(name, ColumnType::Int32);
    }

    fn flag(&mut self, name: &'static str, _: &mut dyn Iterator<Item = bool>) {
        self.add(name, ColumnType::Boolean);
    }

    fn date(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<i32>>) {
        self.add(name, ColumnType::Date);
    }

    fn decimal(
        &mut self,
        name: &'static str,
        column_type: ColumnType,
        _: &mut dyn Iterator<Item = Option<i64>>,
    ) {
        self.add(name, column_type);
    }

    fn float(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<f64>>) {
        self.add(name, ColumnType::Float64);
    }

    fn time(&mut self, name: &'static str, _: &mut dyn Iterator<Item = Option<i64>>) {
        self.add(name, ColumnType::TimestampMicros);
    }
}
