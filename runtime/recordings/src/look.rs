//! What a file seems to be: how it is written, what its columns are, when its rows were taken.
//!
//! What is found is a [`Mapping`] with the reasons in words ([`Looked::findings`]). What a file does
//! not say is not guessed: [`Looked::unclear`] names the key that decides.

mod apart;
mod column;
mod cutting;
mod epochs;
mod first_rows;
mod header;
mod questions;
mod roles;
mod seen;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use theatre_schemas::dataset::ColumnType;

pub use column::Profile;
use seen::Seen;

use crate::mapping::Mapping;
use crate::names;
use crate::open::{self, Form};
use crate::records::{Place, ReadError, shown};
use crate::source::{Input, Packing};

/// Most fields of a data set: a table of the warehouse has no more columns.
const FIELDS_MAX: usize = 1500;

/// The time from which times count when nothing says another one.
const ASSUMED_START: &str = "2000-01-01T00:00:00Z";

/// What the user has said already: the name of the data set, and keys of the mapping.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Hints {
    pub dataset: Option<String>,
    pub topic: Option<String>,
    pub robot_id: Option<String>,
    pub robot_from_file: Option<String>,
    pub time_column: Option<String>,
    pub time_format: Option<String>,
    pub time_zone: Option<String>,
    pub time_start: Option<String>,
    pub rate: Option<String>,
}

/// A column that becomes a field.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name in the file.
    pub name: String,
    /// The field that it becomes.
    pub field: String,
    /// The field's type.
    pub column_type: ColumnType,
    /// Its unit, from the header.
    pub unit: Option<String>,
    /// What its cells were.
    pub profile: Profile,
}

/// What a file seems to be.
#[derive(Debug)]
pub struct Looked {
    /// The file as the user named it.
    pub file: String,
    /// Name of the data set.
    pub dataset: String,
    /// How it would be read; its schema is a file that is not there yet.
    pub mapping: Mapping,
    /// The columns that become fields, in the order of the file.
    pub columns: Vec<Column>,
    /// Rows that were looked at.
    pub rows: u64,
    /// Lines among them that are none.
    pub refused: u64,
    /// Whether these are all.
    pub is_whole: bool,
    /// Usual time from row to row of a robot, microseconds.
    pub pace_us: Option<i64>,
    /// What was taken for what, in words.
    pub findings: Vec<String>,
    /// What the file does not say and the user must, with the key of the mapping. While there is
    /// any, the mapping is not complete.
    pub unclear: Vec<String>,
    headings: Vec<String>,
    first: Vec<Vec<String>>,
}

impl Looked {
    /// The first rows as they are understood, as an aligned table with control characters escaped.
    pub fn table(&self) -> String {
        table::aligned(&self.headings, &self.first)
    }
}

/// What is found while a file is looked at.
#[derive(Debug, Default)]
struct Looking {
    findings: Vec<String>,
    unclear: Vec<String>,
}

impl Looking {
    /// Takes a start for times that count from one.
    fn assume_start(&mut self, mapping: &mut Mapping, column: &str) {
        if mapping.time_start.is_none() {
            mapping.time_start = Some(ASSUMED_START.to_owned());
            mapping.time_zero = crate::mapping::TimeZero::FirstRow;
            self.findings.push(format!(
                "the times in column '{column}' count from a start that is not said: the first row is dated {ASSUMED_START}; give time_start to date it right"
            ));
        }
    }
}

/// Looks at a file.
///
/// # Errors
/// When it cannot be read, or is of no kind that is read; says what to do.
pub fn look(file: &str, hints: &Hints) -> Result<Looked, ReadError> {
    let place = Place {
        file: file.into(),
        line: 0,
    };
    let failed = |why: String| ReadError {
        place: place.clone(),
        why,
    };
    if file == "-" {
        return Err(failed(
            "standard input can be read only once, so it cannot be looked at first: save it as a file, or give a mapping"
                .to_owned(),
        ));
    }
    let mut looking = Looking::default();
    let mut mapping = blank(file, hints).map_err(failed)?;
    let input = Input::open(file)?;
    let form = open::form(&input)?;
    looking.findings.push(kind_of_file(form, input.packing()));
    drop(input);
    let mut units = Vec::new();
    if form == Form::Text {
        let found = text::look(file, &mut mapping, &mut looking)?;
        units = found.units;
        // Only a line with all of the names is the header.
        mapping.columns = numbered(&found.names);
    }
    let seen = Seen::read(file, &mut mapping, form, &mut looking)?;
    let named: Vec<roles::Named<'_>> = seen
        .names
        .iter()
        .map(String::as_str)
        .zip(&seen.profiles)
        .collect();
    if mapping.time_column.is_none() && mapping.rate.is_none() {
        roles::time(&named, &mut mapping, &mut looking);
    }
    settle_robot(file, &named, &mut mapping, &mut looking);
    let columns = fields(&named, &units, form, &seen, &mut mapping, &mut looking);
    questions::of_rows(form, &seen, &mapping, &mut looking.unclear);
    let mut looked = Looked {
        file: file.to_owned(),
        dataset: names::dataset(hints.dataset.as_deref().unwrap_or(file)),
        mapping,
        columns,
        rows: seen.rows,
        refused: seen.refused,
        is_whole: seen.is_whole,
        pace_us: None,
        findings: looking.findings,
        unclear: looking.unclear,
        headings: Vec::new(),
        first: Vec::new(),
    };
    if looked.columns.is_empty() && looked.rows > 0 {
        looked
            .unclear
            .push("no column has values beside robot and time".to_owned());
    }
    looked.show()?;
    Ok(looked)
}

/// Sets the robot: a column that names it, or one after the file.
fn settle_robot(
    file: &str,
    named: &[roles::Named<'_>],
    mapping: &mut Mapping,
    looking: &mut Looking,
) {
    if mapping.robot_id.is_some() {
        return;
    }
    if let Some(pattern) = &mapping.robot_from_file {
        looking
            .findings
            .push(format!("robot: from the file's name, {pattern}"));
        return;
    }
    mapping.robot_column = roles::robot(named);
    if let Some(column) = &mapping.robot_column {
        looking.findings.push(format!("robot: column '{column}'"));
        return;
    }
    let robot = names::robot(file);
    looking.findings.push(format!(
        "robot: no column names one; all rows are of '{}', after the file",
        shown(&robot)
    ));
    mapping.robot_id = Some(robot);
}

/// A mapping with nothing but what the user has said.
fn blank(file: &str, hints: &Hints) -> Result<Mapping, String> {
    let mut mapping: Mapping =
        toml::from_str("schema = \"\"\n[columns]\n").map_err(|error| error.to_string())?;
    let dataset = names::dataset(hints.dataset.as_deref().unwrap_or(file));
    mapping.schema = PathBuf::from(format!("{dataset}.avsc"));
    mapping.rules = Some(PathBuf::from(format!("{dataset}.rules.toml")));
    mapping.topic.clone_from(&hints.topic);
    mapping.robot_id.clone_from(&hints.robot_id);
    mapping.robot_from_file.clone_from(&hints.robot_from_file);
    mapping.time_column.clone_from(&hints.time_column);
    mapping.time_format.clone_from(&hints.time_format);
    mapping.time_zone.clone_from(&hints.time_zone);
    mapping.time_start.clone_from(&hints.time_start);
    mapping.rate.clone_from(&hints.rate);
    Ok(mapping)
}

fn kind_of_file(form: Form, packing: Option<Packing>) -> String {
    let kind = match form {
        Form::Text => "a table of text (CSV)",
        Form::Json => "JSON, an object for each row",
        Form::Parquet => "Parquet",
        Form::Mcap => "MCAP",
    };
    match packing {
        None => format!("kind: {kind}"),
        Some(Packing::Gzip) => format!("kind: {kind}, packed by gzip"),
        Some(Packing::Zstd) => format!("kind: {kind}, packed by zstd"),
    }
}

fn numbered(names: &[String]) -> BTreeMap<String, String> {
    names
        .iter()
        .enumerate()
        .map(|(at, name)| (format!("c{at}"), name.clone()))
        .collect()
}

/// The columns that become fields; sets the mapping's.
fn fields(
    named: &[roles::Named<'_>],
    units: &[String],
    form: Form,
    seen: &Seen,
    mapping: &mut Mapping,
    looking: &mut Looking,
) -> Vec<Column> {
    let roles = [
        &mapping.time_column,
        &mapping.date_column,
        &mapping.nanos_column,
        &mapping.robot_column,
    ];
    let mut kept = Vec::new();
    let mut empty = Vec::new();
    for (at, (name, profile)) in named.iter().enumerate() {
        if roles.iter().any(|role| role.as_deref() == Some(name)) {
            continue;
        }
        match profile.column_type(name, seen.is_whole) {
            Some(_) if kept.len() >= FIELDS_MAX => {}
            Some(column_type) => kept.push((at, *name, *profile, column_type)),
            None => empty.push(*name),
        }
    }
    if !empty.is_empty() {
        looking.findings.push(format!(
            "left out, for no row has a value there: {}",
            shown(&empty.join(", "))
        ));
    }
    let beyond = named.len().saturating_sub(FIELDS_MAX + empty.len() + 4);
    if kept.len() >= FIELDS_MAX && beyond > 0 {
        looking.findings.push(format!(
            "left out: the columns after the first {FIELDS_MAX}"
        ));
    }
    let names: Vec<&str> = kept.iter().map(|(_, name, ..)| *name).collect();
    let has_units = form == Form::Text;
    let found = names::fields(&names, has_units);
    let columns: Vec<Column> = kept
        .into_iter()
        .zip(found)
        .map(|((at, name, profile, column_type), field)| Column {
            unit: names::unit(&names, name)
                .filter(|_| has_units)
                .map(str::to_owned)
                .or_else(|| units.get(at).map(|unit| unit.trim().to_owned()))
                .filter(|unit| unit.contains(|sign: char| sign.is_alphanumeric() || sign == '%')),
            name: name.to_owned(),
            field,
            column_type,
            profile: profile.clone(),
        })
        .collect();
    mapping.columns = columns
        .iter()
        .map(|column| (column.field.clone(), column.name.clone()))
        .collect();
    mapping.events = columns
        .iter()
        .filter(|column| {
            column.column_type == ColumnType::Boolean && column::is_flag_name(&column.name)
        })
        .map(|column| column.field.clone())
        .collect();
    say_types(&columns, looking);
    columns
}

/// Says which columns are of which type.
fn say_types(columns: &[Column], looking: &mut Looking) {
    for (column_type, words) in [
        (ColumnType::Float64, "numbers"),
        (ColumnType::Int64, "whole numbers"),
        (ColumnType::Boolean, "flags"),
        (ColumnType::Utf8, "texts"),
        (ColumnType::TimestampMicros, "times"),
    ] {
        let of: Vec<String> = columns
            .iter()
            .filter(|column| column.column_type == column_type)
            .map(|column| match &column.unit {
                Some(unit) => format!("{} in {}", column.field, shown(unit)),
                None => column.field.clone(),
            })
            .collect();
        if !of.is_empty() {
            let more = if of.len() > 20 { ", ..." } else { "" };
            let listed: Vec<&str> = of.iter().take(20).map(String::as_str).collect();
            looking
                .findings
                .push(format!("{words}: {}{more}", listed.join(", ")));
        }
    }
    for column in columns {
        if column.column_type == ColumnType::Utf8 && column.profile.has_long_numbers() {
            looking.findings.push(format!(
                "column '{}' has whole numbers of more than 64 bits: they are texts, so that no digit is lost",
                shown(&column.name)
            ));
        }
        let bad = column.profile.bad();
        if column.column_type == ColumnType::Float64 && bad > 0 {
            looking.findings.push(format!(
                "column '{}' has {bad} cells that are no numbers: they are missing values",
                shown(&column.name)
            ));
        }
    }
}
