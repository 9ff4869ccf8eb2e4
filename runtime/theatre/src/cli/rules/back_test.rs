//! `theatre rules test`: a rule file on the past.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use theatre_actors::ports::CheckpointStore;
use theatre_actors::position::Partition;
use theatre_actors::rules::{Micros, RuleSet};
use theatre_backtest::history::ConditionSpan;
use theatre_backtest::scoring::{self, RobotRecord, Score, ScoredRule};
use theatre_backtest::unknown::Unknown;
use theatre_backtest::{Archive, Past, Question, picture};

use super::{check, file, printed};
use crate::cli::moment::moment;
use crate::cli::output::{progress, progress_done};
use crate::cli::service::Place;
use crate::cli::{Common, Failure, Output};

// Without a doc comment: the command's description is that of its row in the list of commands.
#[derive(Debug, Args)]
pub(in crate::cli) struct BackTest {
    /// Rule file.
    file: PathBuf,
    /// Event time at which the period begins: a date, or a time such as 2026-01-31T08:00:00Z
    /// [default: where the lake begins].
    #[arg(long, value_name = "DATE", value_parser = moment)]
    from: Option<i64>,
    /// Event time before which the period ends [default: where the lake ends].
    #[arg(long, value_name = "DATE", value_parser = moment)]
    to: Option<i64>,
    /// Only these robots, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "ROBOT")]
    robots: Vec<String>,
    /// How long before a fault or an unplanned service a condition may be raised to announce it.
    #[arg(long, default_value = "14d", value_parser = horizon)]
    horizon: Micros,
    /// Draw a line of time for each robot into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

fn horizon(text: &str) -> Result<Micros, String> {
    Micros::parse(text).and_then(|horizon| match horizon.0 {
        1.. => Ok(horizon),
        _ => Err("it must be longer than nothing".to_owned()),
    })
}

/// What the command answers.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// First and last telemetry row, event times in microseconds UTC.
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) horizon_s: f64,
    pub(super) robots: usize,
    pub(super) speed: Speed,
    #[serde(flatten)]
    pub(super) score: Score,
    /// All conditions, by robot.
    pub(super) conditions: Vec<ConditionSpan>,
    pub(super) unknown: Vec<Unknown>,
}

/// How fast it went.
#[derive(Debug, Serialize)]
pub(super) struct Speed {
    pub(super) rows: u64,
    pub(super) seconds: f64,
    pub(super) rows_per_s: u64,
    /// CPU time, user and system; absent where the system does not tell it.
    pub(super) cpu_seconds: Option<f64>,
}

impl BackTest {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Failure::Usage(
                "--to must be after --from: what is at --to is not in the period".to_owned(),
            ));
        }
        let mut place = Place::of(common)?;
        if !place.config.lake.enabled {
            return Err(Failure::Usage(
                "[lake] enabled is false: there is no past to try rules on".to_owned(),
            ));
        }
        let registry = crate::adapters::registry(&place.config)?;
        let rules = file::compiled(&self.file, &mut place.config, registry.datasets())?;
        let (past, speed) = self.look_back(&place)?;
        let records = records(&past, self.from.unwrap_or(i64::MIN));
        let score = scoring::score(&records, &scored(&rules), past.period, self.horizon.0);
        let of_robot = |robot: &RobotRecord| robot.conditions.clone();
        let answer = Answer {
            from: past.period.0,
            to: past.period.1,
            horizon_s: self.horizon.0 as f64 / 1e6,
            robots: records.len(),
            speed,
            score,
            conditions: records.iter().flat_map(of_robot).collect(),
            unknown: past.unknown,
        };
        if let Some(path) = &self.picture {
            let title = format!("{} on the past", self.file.display());
            let drawn = picture::draw(&title, &records, past.period);
            std::fs::write(path, drawn).map_err(|error| {
                Failure::Failed(format!("--picture {}: {error}", path.display()))
            })?;
        }
        match common.output {
            Output::Json => printed::json(&answer),
            Output::Table => printed::table(&answer),
        }
    }

    /// Runs the actors over the lake's files.
    fn look_back(&self, place: &Place) -> Result<(Past, Speed), Failure> {
        // Nothing is decoded: the lake's columns hold pseudonyms already.
        let params = crate::adapters::params(&place.config, [0; 32])?;
        let adapters = place.look()?;
        let (store, lake) = (adapters.store()?, adapters.lake()?);
        let (topics, partitions) = store.layout()?.unwrap_or_default();
        let (files, past) = (store.all_files()?, store.past_layouts()?);
        let home = |robot: &str, among: &[Partition]| home(&*store, robot, among);
        let question = Question {
            from: self.from,
            to: self.to,
            robots: self.robots.iter().cloned().collect::<BTreeSet<_>>(),
        };
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let (begun, cpu_before) = (Instant::now(), cpu_seconds());
        let result = theatre_backtest::run(
            &Archive {
                lake: &*lake,
                files: &files,
                topics: &topics,
                partitions,
                past: &past,
                home: &home,
            },
            &params.processor,
            params.registry.datasets(),
            &question,
            threads,
            &|rows| progress(format_args!("{rows} rows")),
        );
        progress_done();
        let past = result?;
        let seconds = begun.elapsed().as_secs_f64().max(1e-9);
        let speed = Speed {
            rows: past.rows,
            seconds,
            rows_per_s: (past.rows as f64 / seconds) as u64,
            cpu_seconds: cpu_seconds()
                .zip(cpu_before)
                .map(|(now, before)| now - before),
        };
        Ok((past, speed))
    }
}

/// In which of these partitions a robot has a processor.
fn home(store: &dyn CheckpointStore, robot: &str, among: &[Partition]) -> Option<Partition> {
    let is_there = |partition: &Partition| {
        let stored = store.processor(*partition, robot);
        stored.is_ok_and(|stored| stored.is_some())
    };
    among.iter().copied().find(is_there)
}

fn records(past: &Past, from: i64) -> Vec<RobotRecord> {
    let record = |(name, robot): (&String, &theatre_backtest::history::RobotHistory)| RobotRecord {
        robot_id: name.clone(),
        observed: robot.telemetry,
        conditions: robot.conditions().to_vec(),
        unplanned: [robot.faults().to_vec(), robot.services(false, from)].concat(),
        planned: robot.services(true, from),
    };
    past.robots.iter().map(record).collect()
}

fn scored(rules: &RuleSet) -> Vec<ScoredRule> {
    let rule = |rule: &theatre_actors::rules::Rule| ScoredRule {
        rule_id: rule.spec.id.clone(),
        is_built_in: check::is_built_in(&rule.spec.kind),
    };
    rules.rules().iter().map(rule).collect()
}

/// CPU time of this process so far, user and system; `None` where Linux does not tell it.
fn cpu_seconds() -> Option<f64> {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut times = rest.split(' ').skip(11).map(str::parse::<f64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_given_in_dates_or_times() {
        for (text, at) in [
            ("1970-01-02", 86_400_000_000),
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T01:00:01+01:00", 1_000_000),
        ] {
            assert_eq!(moment(text), Ok(at), "{text}");
        }
        for text in ["yesterday", "1970-13-01", "1970-01-01T00:00:01", ""] {
            assert!(moment(text).is_err(), "{text}");
        }
        assert!(horizon("0s").is_err() && horizon("7d").is_ok());
    }
}
