//! `theatre rules check`: what each rule of a file watches.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use theatre_actors::rules::{RuleKind, RuleSet, RuleSpec};
use theatre_schemas::dataset::Datasets;

use super::file;
use crate::cli::output::rows;
use crate::cli::service::Place;
use crate::cli::{Common, Failure, Output};

// Without a doc comment: the command's description is that of its row in the list of commands.
#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// Rule file.
    file: PathBuf,
}

impl Check {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        let mut config = place.config.clone();
        let registry = crate::adapters::registry(&config)?;
        let rules = file::compiled(&self.file, &mut config, registry.datasets())?;
        file::say_doubts(&rules.written(), &place, registry.datasets());
        let written = rules.rules().iter().enumerate();
        let lines: Vec<Vec<Value>> = written
            .filter(|(_, rule)| !is_built_in(&rule.spec.kind))
            .map(|(slot, rule)| {
                let watched = watched(&rules, slot, registry.datasets());
                let watched = match common.output {
                    Output::Json => json!(watched),
                    Output::Table if watched.is_empty() => json!("the robot as a whole"),
                    Output::Table => json!(watched.join(", ")),
                };
                described(&rule.spec, watched)
            })
            .collect();
        rows(
            common.output,
            &["rule", "version", "priority", "kind", "order", "watches"],
            &lines,
        )
    }
}

/// Whether Theatre itself raises it.
pub(super) fn is_built_in(kind: &RuleKind) -> bool {
    matches!(kind, RuleKind::BuiltIn {})
}

fn described(spec: &RuleSpec, watched: Value) -> Vec<Value> {
    vec![
        json!(spec.id),
        json!(spec.version),
        json!(spec.priority),
        json!(kind_name(&spec.kind)),
        json!(spec.order),
        watched,
    ]
}

/// The kind as rule files call it.
pub(super) fn kind_name(kind: &RuleKind) -> String {
    let written = serde_json::to_value(kind).unwrap_or_default();
    match written {
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        Value::String(name) => name,
        _ => String::new(),
    }
}

/// The signals that a rule watches: `dataset.signal (unit)`.
fn watched(rules: &RuleSet, slot: usize, datasets: &Datasets) -> Vec<String> {
    let named = |(index, signal): (usize, usize)| {
        let dataset = datasets.get(index);
        let signal = &dataset.signals[signal];
        match &signal.unit {
            Some(unit) => format!("{}.{} ({unit})", dataset.name, signal.name),
            None => format!("{}.{}", dataset.name, signal.name),
        }
    };
    rules.watched(slot).into_iter().map(named).collect()
}
