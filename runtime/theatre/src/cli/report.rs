//! `theatre report`: the warehouse's reports, as a table, as CSV, as JSON, or as a picture.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde_json::{Value, json};
use theatre_actors::ports::{Error, QueryResult};
use theatre_star::report::{REPORTS, Report, csv, is_unmade, objects};

use super::output::{rows, write};
use super::service::Place;
use super::{Common, Failure, Format};
use crate::reports;

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
        let warehouse = place.look()?.warehouse()?;
        let found = reports::answer(&place.config, &*warehouse, report).map_err(unmade)?;
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
    if is_unmade(&error) {
        return Failure::Failed(format!(
            "{error}; the views are made when the loader starts (theatre run), on Redshift by theatre migrate --warehouse"
        ));
    }
    error.into()
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

fn picture(report: &Report, found: &QueryResult) -> Result<String, Failure> {
    report.draw(found)?.ok_or_else(|| {
        Failure::Usage(format!(
            "report '{}' has no picture: its rows say it all (--output table, csv or json)",
            report.name
        ))
    })
}
