//! `theatre rules test`: a rule file on the past.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use theatre_actors::rules::{Micros, RuleSet};
use theatre_backtest::history::{ConditionSpan, RobotHistory};
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
    /// Reads so much before --from first, so that rules that learn, count or wait stand at --from as
    /// they would have stood then. What ended before --from does not count, what was open counts from
    /// there.
    #[arg(long, requires = "from", default_value = "0s", value_name = "SPAN")]
    #[arg(value_parser = Micros::parse)]
    warm_up: Micros,
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
        if self.warm_up.0 < 0 {
            return Err(Failure::Usage("--warm-up: it is no span".to_owned()));
        }
        let rules = file::out_of_the_shadow(&self.file, &mut place.config, registry.datasets())?;
        // Nothing is decoded: the lake's columns hold pseudonyms already.
        let mut params = crate::adapters::params(&place.config, &place.dir, [0; 32])?;
        let scored = scored(&rules);
        Arc::make_mut(&mut params.processor).rules = rules;
        let from = self.period.from.unwrap_or(i64::MIN);
        let (past, speed) = self
            .period
            .earlier_by(self.warm_up)
            .look_back(&place, &params)?;
        if past.period.1 < from {
            return Err(Failure::Failed(
                "there is no telemetry at --from or later: what there is, is of the warm-up"
                    .to_owned(),
            ));
        }
        let records = records(&past, from);
        let period = (past.period.0.max(from), past.period.1);
        let score = scoring::score(&records, &scored, period, self.horizon.0);
        let of_robot = |robot: &RobotRecord| robot.conditions.clone();
        let answer = Answer {
            from: period.0,
            to: period.1,
            horizon_s: self.horizon.0 as f64 / 1e6,
            robots: records.iter().filter(|of| of.observed.is_some()).count(),
            speed,
            score,
            conditions: records.iter().flat_map(of_robot).collect(),
            unknown: past.unknown,
        };
        if let Some(path) = &self.picture {
            let title = format!("{} on the past", self.file.display());
            let drawn = picture::draw(&title, &records, period);
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

/// What is known of each robot from a moment on: what ended before it does not count, and what was open
/// or observed then counts from there.
fn records(past: &Past, from: i64) -> Vec<RobotRecord> {
    let record = |(name, robot): (&String, &RobotHistory)| {
        let (open, faults) = (robot.conditions().iter(), robot.faults().iter());
        let open = open.filter(|of| of.cleared_at.is_none_or(|ended| ended > from));
        let conditions = open.map(|of| ConditionSpan {
            raised_at: of.raised_at.max(from),
            ..of.clone()
        });
        let faults = faults.filter(|fault| fault.at >= from).cloned().collect();
        let observed = robot.telemetry.filter(|(_, last)| *last >= from);
        RobotRecord {
            robot_id: name.clone(),
            observed: observed.map(|(first, last)| (first.max(from), last)),
            conditions: conditions.collect(),
            unplanned: [faults, robot.services(false, from)].concat(),
            planned: robot.services(true, from),
        }
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
