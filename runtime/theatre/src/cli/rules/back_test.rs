//! `theatre rules test`: a rule file on the past.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use theatre_actors::rules::{Micros, RuleSet};
use theatre_backtest::history::ConditionSpan;
use theatre_backtest::scoring::{self, RobotRecord, Score, ScoredRule};
use theatre_backtest::unknown::Unknown;
use theatre_backtest::{Past, picture};

use super::past::{Period, Speed};
use super::{check, file, printed};
use crate::cli::service::Place;
use crate::cli::{Common, Failure, Output};

// Without a doc comment: the command's description is that of its row in the list of commands.
#[derive(Debug, Args)]
pub(in crate::cli) struct BackTest {
    /// Rule file.
    file: PathBuf,
    #[command(flatten)]
    period: Period,
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

impl BackTest {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let mut place = Place::of(common)?;
        self.period.check(&place)?;
        let registry = crate::adapters::registry(&place.config)?;
        let rules = file::compiled(&self.file, &mut place.config, registry.datasets())?;
        // Nothing is decoded: the lake's columns hold pseudonyms already.
        let params = crate::adapters::params(&place.config, [0; 32])?;
        let (past, speed) = self.period.look_back(&place, &params)?;
        let records = records(&past, self.period.from.unwrap_or(i64::MIN));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_horizon_is_longer_than_nothing() {
        assert!(horizon("0s").is_err() && horizon("7d").is_ok());
    }
}
