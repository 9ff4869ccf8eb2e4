//! Outputs as the rows of their table: the columns that a kind declares, as plain values.

use std::borrow::Cow;

use theatre_actors::outputs::OutputKind;
use theatre_actors::outputs::columns::ColumnSink;
use theatre_actors::ports::{ColumnValues, TableRows};
use theatre_actors::time::LogTime;
use theatre_parquet::fitting;
use theatre_schemas::dataset::ColumnType;

/// How JSON writes NUL, which no database holds in a text, and what stands in its place there.
const NUL: &str = "u0000";
const SUBSTITUTE: &str = "u001a";

/// Collects columns over several calls: each gives all of them once more.
#[derive(Debug, Default)]
pub(super) struct Rows {
    columns: Vec<(String, ColumnValues)>,
    committed_at: Vec<i64>,
    groups: Vec<u32>,
    /// The column that comes next.
    at: usize,
}

impl Rows {
    /// The first column comes next.
    pub(super) fn begin(&mut self) {
        self.at = 0;
    }

    /// All columns have come: their new rows were committed then.
    pub(super) fn end(&mut self, committed_at: LogTime) {
        let rows = self.columns.first().map_or(0, |(_, values)| values.len());
        self.committed_at.resize(rows, committed_at.0);
    }

    /// What came last are groups of so many rows.
    pub(super) fn grouped(&mut self, rows: Vec<u32>) {
        self.groups.extend(rows);
    }

    pub(super) fn of(self, kind: OutputKind) -> TableRows {
        TableRows {
            kind,
            columns: self.columns,
            committed_at: self.committed_at,
            groups: self.groups,
        }
    }

    fn next(&mut self, name: &str, none: ColumnValues) -> &mut ColumnValues {
        if self.at == self.columns.len() {
            self.columns.push((name.to_owned(), none));
        }
        self.at += 1;
        &mut self.columns[self.at - 1].1
    }
}

/// Adds values to the column that comes next, which has this type.
macro_rules! extend {
    ($rows:ident, $name:ident, $type:ident, $values:expr) => {{
        let column = $rows.next($name, ColumnValues::$type(Vec::new()));
        if let ColumnValues::$type(column) = column {
            column.extend($values);
        }
    }};
}

impl ColumnSink for Rows {
    fn text(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<Cow<'_, str>>>) {
        // As in lake and warehouse.
        let fitting = |text: Option<Cow<'_, str>>| text.map(|text| fitting(&text).into_owned());
        extend!(self, name, Text, values.map(fitting));
    }

    fn nested(
        &mut self,
        name: &'static str,
        values: &mut dyn Iterator<Item = Option<Cow<'_, str>>>,
    ) {
        // Whole, for a part of it would be no JSON.
        let values = values.map(|text| text.map(|text| without_nul(&text)));
        extend!(self, name, Text, values);
    }

    fn int32(&mut self, name: &'static str, values: &mut dyn Iterator<Item = i32>) {
        extend!(self, name, Int32, values.map(Some));
    }

    fn int64(&mut self, name: &'static str, values: &mut dyn Iterator<Item = i64>) {
        extend!(self, name, Int64, values.map(Some));
    }

    fn optional_int32(
        &mut self,
        name: &'static str,
        values: &mut dyn Iterator<Item = Option<i32>>,
    ) {
        extend!(self, name, Int32, values);
    }

    fn flag(&mut self, name: &'static str, values: &mut dyn Iterator<Item = bool>) {
        extend!(self, name, Boolean, values.map(Some));
    }

    fn date(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<i32>>) {
        extend!(self, name, Date, values);
    }

    fn decimal(
        &mut self,
        name: &'static str,
        _: ColumnType,
        values: &mut dyn Iterator<Item = Option<i64>>,
    ) {
        extend!(self, name, Decimal, values);
    }

    fn float(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<f64>>) {
        extend!(self, name, Float, values);
    }

    fn time(&mut self, name: &'static str, values: &mut dyn Iterator<Item = Option<i64>>) {
        extend!(self, name, Time, values);
    }
}

/// JSON, or a name, without the character NUL: as it is, and as JSON writes it.
fn without_nul(text: &str) -> String {
    let mut fitting = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\0', '\\']) {
        let (before, from) = rest.split_at(at);
        fitting.push_str(before);
        if let Some(after) = from.strip_prefix('\0') {
            fitting.push('\u{1a}');
            rest = after;
            continue;
        }
        // An escape: what follows the backslash belongs to it, also another backslash.
        let after = &from[1..];
        fitting.push('\\');
        if let Some(after) = after.strip_prefix(NUL) {
            fitting.push_str(SUBSTITUTE);
            rest = after;
        } else {
            let escaped = after.chars().next();
            fitting.extend(escaped);
            rest = &after[escaped.map_or(0, char::len_utf8)..];
        }
    }
    fitting.push_str(rest);
    fitting
}

#[cfg(test)]
mod tests {
    use super::without_nul;

    #[test]
    fn no_nul_is_left_and_all_else_stays() {
        for text in [
            "a\0b",
            "\0",
            "\\u0000",
            "a\\",
            "plain",
            "ü\0\\u0000\\\\u0000",
        ] {
            let json = serde_json::to_string(&[text]).expect("it is a text");
            let fitting = without_nul(&json);
            let read: Vec<String> = serde_json::from_str(&fitting).expect("it is JSON");
            assert_eq!(read, [text.replace('\0', "\u{1a}")]);
            assert!(!without_nul(text).contains('\0'));
        }
    }
}
