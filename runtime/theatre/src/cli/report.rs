//! `theatre report`: the warehouse's reports, as a table, as CSV, as JSON, or as a picture.

mod chart;

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde_json::{Value, json};
use theatre_actors::ports::{Error, QueryResult};
use theatre_star::dialect::Dialect;
use theatre_star::report::{REPORTS, Report};

use super::output::{rows, write};
use super::service::Place;
use super::{Common, Failure, Format};

/// The argument that asks for the list.
const LIST: &str = "list";

/// Answers of the warehouse to the questions that are asked again and again.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Which report; `list` says what there is.
    #[arg(value_name = "NAME", value_parser = names())]
    name: String,
    /// Writes into a file instead of standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn names() -> PossibleValuesParser {
    let list = PossibleValue::new(LIST).help("All reports, with their columns");
    let reports = REPORTS
        .iter()
        .map(|report| PossibleValue::new(report.name).help(report.title()));
    PossibleValuesParser::new(std::iter::once(list).chain(reports))
}

impl ReportArgs {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let Some(report) = Report::find(&self.name) else {
            return list(common);
        };
        let place = Place::of(common)?;
        let warehouse = &place.config.warehouse;
        let schema = format!("\"{}\"", warehouse.schema.replace('"', "\"\""));
        let dialect = match &warehouse.url {
            None => Dialect::Sqlite,
            Some(_) => Dialect::Redshift(&schema),
        };
        let query = report.query(&dialect);
        let found = place.look()?.warehouse()?.query(&query).map_err(unmade)?;
        let text = match common.format {
            Format::Svg => picture(report, &found)?,
            Format::Csv => csv(&found),
            Format::Json | Format::Table if self.out.is_none() => {
                let headings: Vec<&str> = found.columns.iter().map(String::as_str).collect();
                return rows(common.output, &headings, &found.rows);
            }
            Format::Json => format!("{}\n", json!(objects(&found))),
            Format::Table => {
                return Err(Failure::Usage(
                    "--out wants a format for files: --output csv, json or svg".to_owned(),
                ));
            }
        };
        match &self.out {
            None => write(&text),
            Some(path) => std::fs::write(path, text).map_err(|error| {
                Failure::Failed(format!("{} cannot be written: {error}", path.display()))
            }),
        }
    }
}

/// What a warehouse without the star says, with what to do.
fn unmade(error: Error) -> Failure {
    match error {
        Error::Refused(why) if why.contains("no such table") || why.contains("does not exist") => {
            Failure::Failed(format!(
                "{why}; the views are made when the loader starts (theatre run), on Redshift by theatre migrate --warehouse"
            ))
        }
        other => other.into(),
    }
}

fn list(common: &Common) -> Result<(), Failure> {
    let lines: Vec<Vec<Value>> = REPORTS
        .iter()
        .map(|report| {
            let columns: Vec<&str> = report.columns().iter().map(|(name, _)| *name).collect();
            vec![
                report.name.into(),
                report.title().into(),
                report.description().into(),
                columns.join(", ").into(),
            ]
        })
        .collect();
    rows(
        common.output,
        &["report", "title", "description", "columns"],
        &lines,
    )
}

fn objects(found: &QueryResult) -> Vec<Value> {
    let object = |row: &Vec<Value>| {
        let pairs = found.columns.iter().cloned().zip(row.iter().cloned());
        Value::Object(pairs.collect())
    };
    found.rows.iter().map(object).collect()
}

/// Rows as RFC 4180 has them, with a heading; what is not there is empty.
fn csv(found: &QueryResult) -> String {
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
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

fn picture(report: &Report, found: &QueryResult) -> Result<String, Failure> {
    let Some(picture) = report.picture() else {
        return Err(Failure::Usage(format!(
            "report '{}' has no picture: its rows say it all (--output table, csv or json)",
            report.name
        )));
    };
    let at = |name: &str| found.columns.iter().position(|column| column == name);
    let (Some(label), Some(value)) = (at(picture.label), at(picture.value)) else {
        return Err(Failure::Failed(format!(
            "report '{}' did not return what its picture draws",
            report.name
        )));
    };
    let points: Vec<(String, f64)> = found
        .rows
        .iter()
        .map(|row| {
            let text = match &row[label] {
                Value::Null => "unknown".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (text, row[value].as_f64().unwrap_or(0.0))
        })
        .collect();
    let means = report.columns();
    let means = means.iter().find(|(name, _)| *name == picture.value);
    let means = means.map_or(picture.value, |(_, means)| *means);
    Ok(chart::draw(report.title(), means, picture.is_line, &points))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_would_break_a_line() {
        let found = QueryResult {
            columns: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![
                vec![json!("x, \"y\""), Value::Null],
                vec![json!(1.5), json!(true)],
            ],
        };
        assert_eq!(csv(&found), "a,b\r\n\"x, \"\"y\"\"\",\r\n1.5,true\r\n");
    }
}
