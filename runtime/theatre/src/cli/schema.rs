//! `theatre schema`: what a file seems to be, and files to replay it with.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use theatre_recordings::infer::Inferred;
use theatre_recordings::look::{Hints, Looked, look};
use theatre_recordings::mapping::Mapping;
use theatre_schemas::dataset::Dataset;
use theatre_schemas::registry::schema_id;

use super::output::{value, write};
use super::{Common, Failure, Output};

/// Makes schemas.
#[derive(Debug, Subcommand)]
pub(super) enum Schema {
    /// Looks at a recording and writes its Avro schema, a mapping and first rules, to be changed.
    ///
    /// What is not said by the file is asked: the command names the key of the mapping, and ends
    /// with 4. Without --write it only says what it sees.
    #[command(
        after_help = "Examples: theatre schema infer log.csv\n          theatre schema infer log.csv --write ur3 && theatre replay log.csv --mapping ur3/log.toml"
    )]
    Infer(Infer),
}

/// Infers schema, mapping and rules.
#[derive(Debug, Args)]
pub(super) struct Infer {
    /// The recording: CSV, JSON by lines, Parquet or MCAP, also packed by gzip or zstd.
    file: String,
    /// Folder to write the three files into.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Overwrite files that are there.
    #[arg(long, requires = "write")]
    force: bool,
    #[command(flatten)]
    said: Said,
}

/// What the user says of a file that it does not say.
#[derive(Debug, Args)]
pub(super) struct Said {
    /// Name of the data set; default: the file's.
    #[arg(long)]
    dataset: Option<String>,
    /// Topic of an MCAP file.
    #[arg(long)]
    topic: Option<String>,
    /// The robot of all rows.
    #[arg(long)]
    robot: Option<String>,
    /// Pattern of the files' names that says the robot, such as 'log_{robot}_*.csv'.
    #[arg(long, conflicts_with = "robot")]
    robot_from_file: Option<String>,
    /// Column of the time.
    #[arg(long)]
    time_column: Option<String>,
    /// How times are written: day_first, month_first, epoch_ms, elapsed_s and so on.
    #[arg(long)]
    time_format: Option<String>,
    /// Zone of times that name none, such as Europe/Berlin.
    #[arg(long)]
    time_zone: Option<String>,
    /// The time from which times count that count from a start.
    #[arg(long)]
    time_start: Option<String>,
    /// Rows a second of a file without times, such as 125Hz; with --time-start.
    #[arg(long, requires = "time_start")]
    rate: Option<String>,
}

impl Said {
    /// Whether it names the robot, or where its name stands.
    pub(super) fn names_robot(&self) -> bool {
        self.robot.is_some() || self.robot_from_file.is_some()
    }

    /// Whether it names the data set.
    pub(super) fn names_dataset(&self) -> bool {
        self.dataset.is_some()
    }

    /// As hints.
    pub(super) fn hints(&self) -> Hints {
        Hints {
            dataset: self.dataset.clone(),
            topic: self.topic.clone(),
            robot_id: self.robot.clone(),
            robot_from_file: self.robot_from_file.clone(),
            time_column: self.time_column.clone(),
            time_format: self.time_format.clone(),
            time_zone: self.time_zone.clone(),
            time_start: self.time_start.clone(),
            rate: self.rate.clone(),
        }
    }
}

impl Said {
    /// Puts what is said over what a mapping says.
    pub(super) fn apply(&self, mapping: &mut Mapping) {
        if self.robot.is_some() {
            mapping.robot_id.clone_from(&self.robot);
            (mapping.robot_column, mapping.robot_from_file) = (None, None);
        }
        if self.robot_from_file.is_some() {
            mapping.robot_from_file.clone_from(&self.robot_from_file);
            (mapping.robot_id, mapping.robot_column) = (None, None);
        }
        if self.time_column.is_some() {
            (mapping.date_column, mapping.nanos_column) = (None, None);
        }
        if self.rate.is_some() {
            (mapping.period, mapping.time_column, mapping.time_format) = (None, None, None);
        }
        for (key, said) in [
            (&mut mapping.topic, &self.topic),
            (&mut mapping.time_column, &self.time_column),
            (&mut mapping.time_format, &self.time_format),
            (&mut mapping.time_zone, &self.time_zone),
            (&mut mapping.time_start, &self.time_start),
            (&mut mapping.rate, &self.rate),
        ] {
            if said.is_some() {
                key.clone_from(said);
            }
        }
    }
}

impl Schema {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let Self::Infer(infer) = self;
        let looked = look(&infer.file, &infer.said.hints())
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let others = other_ids(common, &looked.dataset)?;
        let inferred = Inferred::of(&looked, &|id| others.contains(&id));
        let mut written = Vec::new();
        if let Some(folder) = &infer.write {
            written.extend(inferred.write(folder, infer.force)?);
        }
        print(common, &looked, &written)?;
        if looked.unclear.is_empty() {
            Ok(())
        } else {
            Err(Failure::Difference)
        }
    }
}

/// The ids that schemas of other data sets have, in the data directory and in the configuration.
pub(super) fn other_ids(common: &Common, dataset: &str) -> Result<Vec<u32>, Failure> {
    let config = super::service::config(common)?;
    let ids = config
        .schemas
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter(|json| Dataset::from_schema(json).is_ok_and(|other| other.name != dataset))
        .filter_map(|json| schema_id(&json).ok());
    Ok(ids.collect())
}

/// What a file seems to be, in words, and its first rows.
pub(super) fn described(looked: &Looked) -> String {
    let mut text = String::new();
    for finding in &looked.findings {
        text.push_str(&format!("{finding}\n"));
    }
    text.push_str(&format!("\n{}", looked.table()));
    for unclear in &looked.unclear {
        text.push_str(&format!("\nto decide: {unclear}\n"));
    }
    text
}

fn print(common: &Common, looked: &Looked, written: &[PathBuf]) -> Result<(), Failure> {
    let paths: Vec<String> = written
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if common.output == Output::Json {
        return value(&json!({
            "file": looked.file,
            "dataset": looked.dataset,
            "rows": looked.rows,
            "findings": looked.findings,
            "unclear": looked.unclear,
            "written": paths,
        }));
    }
    let mut text = described(looked);
    for path in &paths {
        text.push_str(&format!("\nwritten: {path}"));
    }
    if let [_, mapping, _] = paths.as_slice() {
        let first = match looked.unclear.is_empty() {
            true => "replay it",
            false => "once it is decided there, replay it",
        };
        text.push_str(&format!(
            "\n\n{first}:  theatre replay {} --mapping {mapping}\n",
            looked.file
        ));
    }
    write(&text)
}
