//! What a report answered, as programs, spreadsheets and people want it.

use serde_json::Value;
use theatre_actors::ports::{Error, QueryResult, Result};

use super::{Report, chart};

/// What a formula of a spreadsheet begins with.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Rows as objects by the names of columns.
pub fn objects(found: &QueryResult) -> Vec<Value> {
    let object = |row: &Vec<Value>| {
        let pairs = found.columns.iter().cloned().zip(row.iter().cloned());
        Value::Object(pairs.collect())
    };
    found.rows.iter().map(object).collect()
}

/// Rows as RFC 4180 has them, with a heading; what is not there is empty. A text that a spreadsheet would
/// take for a formula is preceded by an apostrophe, as OWASP advises (CSV injection): names come from
/// records.
pub fn csv(found: &QueryResult) -> String {
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(FORMULA) => quoted(&format!("'{text}")),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    };
    let headings: Vec<String> = found.columns.iter().map(|name| quoted(name)).collect();
    let mut lines = vec![headings.join(",")];
    for row in &found.rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        lines.push(cells.join(","));
    }
    lines.join("\r\n") + "\r\n"
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

impl Report {
    /// Its answer as SVG; `None` where its rows say it all.
    ///
    /// # Errors
    /// Refused, when the answer lacks a column that is drawn.
    pub fn draw(&self, found: &QueryResult) -> Result<Option<String>> {
        let Some(picture) = self.picture() else {
            return Ok(None);
        };
        let at = |name: &str| found.columns.iter().position(|column| column == name);
        let (Some(label), Some(value)) = (at(picture.label), at(picture.value)) else {
            return Err(Error::Refused(format!(
                "report '{}' did not return what its picture draws",
                self.name
            )));
        };
        let point = |row: &Vec<Value>| {
            let text = match row.get(label) {
                None | Some(Value::Null) => "unknown".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            let value = row.get(value).and_then(Value::as_f64);
            (text, value.unwrap_or(0.0))
        };
        let points: Vec<(String, f64)> = found.rows.iter().map(point).collect();
        let means = self.columns();
        let means = means.iter().find(|(name, _)| *name == picture.value);
        let means = means.map_or(picture.value, |(_, means)| *means);
        let drawn = chart::draw(self.title(), means, picture.is_line, &points);
        Ok(Some(drawn))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found() -> QueryResult {
        QueryResult {
            columns: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![
                vec![json!("x, \"y\""), Value::Null],
                vec![json!(-1.5), json!("=1+1")],
            ],
        }
    }

    #[test]
    fn csv_quotes_what_would_break_a_line() {
        assert_eq!(csv(&found()), "a,b\r\n\"x, \"\"y\"\"\",\r\n-1.5,'=1+1\r\n");
    }

    #[test]
    fn what_a_picture_draws_has_to_be_there() {
        let drawn = Report::find("busiest_robots").unwrap();
        assert!(drawn.draw(&found()).is_err());
        let plain = super::super::REPORTS
            .iter()
            .find(|report| report.picture().is_none());
        assert_eq!(plain.unwrap().draw(&found()), Ok(None));
    }
}
