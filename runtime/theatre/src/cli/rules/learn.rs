//! `theatre rules learn`: what is normal for the robots of a model, from the lake, as a part of a rule.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use theatre_actors::rules::{CohortNormal, RuleKind, RuleSet, RuleSpec};
use theatre_backtest::learning::{Learnt, TooFew, normals, rules_that_learn};

use super::file;
use super::past::Period;
use crate::cli::output::rows;
use crate::cli::service::Place;
use crate::cli::{Common, Failure};

// Without a doc comment: the command's description is that of its row in the list of commands.
#[derive(Debug, Args)]
pub(in crate::cli) struct Learn {
    /// Rule file with rules of the kind cohort.
    file: PathBuf,
    #[command(flatten)]
    period: Period,
    /// Fewer robots than these do not say what is normal for their model.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    least_robots: u16,
    /// Write the file with what was learnt into this one, each rule that changes in its next
    /// version. Comments of the file are not kept.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Learn {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        self.period.check(&place)?;
        let registry = crate::adapters::registry(&place.config)?;
        let datasets = registry.datasets();
        let specs = theatre_config::rules_of(&self.file, &theatre_config::read(&self.file)?)?;
        let learning = rules_that_learn(&specs);
        let at = self.file.display();
        if learning.is_empty() {
            return Err(Failure::Usage(format!(
                "{at}: there is no rule of the kind cohort in it, and others learn nothing"
            )));
        }
        let twice = |(at, rule): &(usize, &RuleSpec)| {
            learning
                .iter()
                .take(*at)
                .any(|earlier| earlier.id == rule.id)
        };
        if let Some((_, rule)) = learning.iter().enumerate().find(twice) {
            return Err(Failure::Usage(format!(
                "{at}: rule '{}' is in it twice, once in the shadow: learn them from two files",
                rule.id
            )));
        }
        let rules = RuleSet::compile(&learning, datasets)
            .map_err(|error| Failure::Usage(format!("{at}: {error}")))?;
        // Nothing is decoded: the lake's columns hold pseudonyms already.
        let mut params = crate::adapters::params(&place.config, &place.dir, [0; 32])?;
        Arc::make_mut(&mut params.processor).rules = rules;
        let (past, _) = self.period.look_back(&place, &params)?;
        let (learnt, too_few) = normals(&past.averages, &learning, self.least_robots.into());
        print(common, &learnt)?;
        for group in &too_few {
            eprintln!("{}", self.refusal(group));
        }
        let mut without = learning.iter().filter(|rule| of(&learnt, rule).is_empty());
        if let Some(rule) = without.next() {
            return Err(Failure::Failed(format!(
                "nothing was learnt for rule '{}': it needs {} robots of a model whose values cover half of its span; models are those of the robots' registry",
                rule.id, self.least_robots
            )));
        }
        match &self.write {
            Some(path) => {
                let text = written(&specs, &learnt).map_err(Failure::Failed)?;
                file::of_text(path, &text, (datasets, None)).map_err(Failure::Usage)?;
                std::fs::write(path, text).map_err(|error| {
                    Failure::Failed(format!("--write {}: {error}", path.display()))
                })
            }
            None => Ok(()),
        }
    }

    /// Says of which robots there are too few.
    fn refusal(&self, group: &TooFew) -> String {
        let of_state = group
            .state
            .as_ref()
            .map_or_else(String::new, |state| format!(" in state '{state}'"));
        let on_signal = group
            .signal
            .as_ref()
            .map_or_else(String::new, |signal| format!(" on {signal}"));
        format!(
            "rule '{}': model '{}'{of_state}{on_signal} has {} robots only ({}), {} are needed (--least-robots): nothing is learnt of it",
            group.rule_id,
            group.model,
            group.robots.len(),
            group.robots.join(", "),
            self.least_robots
        )
    }
}

fn of(learnt: &[Learnt], rule: &RuleSpec) -> Vec<CohortNormal> {
    let of_rule = learnt.iter().filter(|learnt| learnt.rule_id == rule.id);
    of_rule.map(|learnt| learnt.normal.clone()).collect()
}

/// The file with what was learnt.
fn written(specs: &[RuleSpec], learnt: &[Learnt]) -> Result<String, String> {
    let mut specs = specs.to_vec();
    for spec in &mut specs {
        let mut found = of(learnt, spec);
        let RuleKind::Cohort(cohort) = &mut spec.kind else {
            continue;
        };
        let is_same = |one: &CohortNormal, other: &CohortNormal| {
            (&one.model, &one.state, &one.signal) == (&other.model, &other.state, &other.signal)
        };
        for old in &cohort.normal {
            if !found.iter().any(|new| is_same(old, new)) {
                eprintln!(
                    "rule '{}': nothing was learnt of model '{}' anew: what was normal for it stays in the file",
                    spec.id, old.model
                );
                found.push(old.clone());
            }
        }
        if cohort.normal != found {
            cohort.normal = found;
            spec.version = spec.version.saturating_add(1);
        }
    }
    file::as_toml(&specs)
}

fn print(common: &Common, learnt: &[Learnt]) -> Result<(), Failure> {
    let line = |of: &Learnt| -> Vec<Value> {
        let normal = &of.normal;
        vec![
            json!(of.rule_id),
            json!(normal.signal),
            json!(normal.model),
            json!(normal.state),
            json!(normal.robots),
            json!(normal.middle),
            json!(normal.spread),
        ]
    };
    let names = [
        "rule", "signal", "model", "state", "robots", "middle", "spread",
    ];
    rows(
        common.output,
        &names,
        &learnt.iter().map(line).collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Vec<RuleSpec> {
        theatre_config::rules_of(Path::new("r.toml"), text).unwrap()
    }

    #[test]
    fn the_file_is_written_with_what_was_learnt_and_all_else_as_it_was() {
        let shipped = theatre_config::Config::default().rule_text().unwrap();
        let text = format!(
            "{shipped}\n{}",
            r#"[[rule]]
id = "unlike"
version = 3
priority = "low"
dataset = "robot_telemetry"
only = { models = ["a"] }
unacknowledged = [{ after = "10m", priority = "high" }]
kind = { cohort = { signal = "joints[*].current", over = "1h", by = "operating_state", raise_above = 4.0, escalate = [{ at = 8.0, priority = "high" }] } }
"#
        );
        let before = read(&text);
        let normal = CohortNormal {
            model: "a \"b\"".to_owned(),
            state: Some("cut".to_owned()),
            signal: Some("joints[2].current".to_owned()),
            middle: 41.25,
            spread: 1.5,
            robots: 7,
        };
        let learnt = [Learnt {
            rule_id: "unlike".to_owned(),
            normal: normal.clone(),
        }];
        let once = written(&before, &learnt).unwrap();
        let mut expected = before.clone();
        let last = expected.last_mut().unwrap();
        last.version = 4;
        let RuleKind::Cohort(cohort) = &mut last.kind else {
            panic!("{last:?}");
        };
        cohort.normal.push(normal);
        assert_eq!(read(&once), expected);
        // What is the same again is no other version.
        assert_eq!(written(&expected, &learnt).unwrap(), once);
    }
}
