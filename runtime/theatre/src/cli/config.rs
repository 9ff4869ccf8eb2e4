//! `theatre config`: checks the configuration, prints it.

use clap::Subcommand;
use serde_json::json;

use super::output::{rows, value, write};
use super::{Common, Failure, Output};
use crate::gate;
use theatre_config::Config;
use theatre_config::check::Faults;
use theatre_config::layers::every_key;
use theatre_pipeline::PipelineParams;
use theatre_schemas::dataset::Dataset;

/// Looks at the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Tries every value as the start does, without a server: names all faults at once, or says
    /// which signals each dataset has.
    #[command(after_help = "Example: theatre config check --config theatre.toml")]
    Check,
    /// Prints the effective configuration, without passwords.
    #[command(after_help = "Example: THEATRE__SAVE_INTERVAL=5s theatre config show --origin")]
    Show {
        /// Print every key, also those without a value, and where its value comes from: default,
        /// file or variable.
        #[arg(long)]
        origin: bool,
    },
}

impl ConfigCommand {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Check => check(common),
            Self::Show { origin } => show(common, origin),
        }
    }
}

/// Tries every value as the start does, and names all faults at once.
fn check(common: &Common) -> Result<(), Failure> {
    let mut doubts = Vec::new();
    let (faults, params) = match super::service::config(common) {
        Ok(config) => {
            let (faults, params) = gate::faults(&config);
            doubts = match &params {
                Some(params) => gate::doubts(&config, params),
                None => config.doubts(),
            };
            (faults, params)
        }
        // What cannot be read has no values.
        Err(Failure::Usage(why)) => {
            let mut faults = Faults::default();
            faults.add(why);
            (faults, None)
        }
        Err(other) => return Err(other),
    };
    for doubt in &doubts {
        eprintln!("warning: {doubt}");
    }
    if common.output == Output::Json {
        let known = params.as_ref().map(described);
        value(
            &json!({ "good": faults.is_empty(), "faults": faults.list(), "warnings": doubts, "pipeline": known }),
        )?;
    } else if let Some(params) = &params {
        write(&summary(params))?;
    }
    Ok(faults.checked()?)
}

fn signals(dataset: &Dataset) -> Vec<&str> {
    dataset
        .signals
        .iter()
        .map(|signal| signal.name.as_str())
        .collect()
}

/// What a configuration makes, for programs.
fn described(params: &PipelineParams) -> serde_json::Value {
    let datasets = params.registry.datasets().iter().map(|(_, dataset)| {
        json!({ "dataset": dataset.name, "kind": dataset.kind, "version": dataset.version, "signals": signals(dataset) })
    });
    json!({
        "rules": params.processor.rules.rules().len(),
        "windows": params.processor.windows.specs().len(),
        "datasets": datasets.collect::<Vec<_>>(),
    })
}

/// The same for people.
fn summary(params: &PipelineParams) -> String {
    let mut report = format!(
        "good: {} rules, {} windows\n",
        params.processor.rules.rules().len(),
        params.processor.windows.specs().len()
    );
    for (_, dataset) in params.registry.datasets().iter() {
        let signals = signals(dataset);
        let signals = if signals.is_empty() {
            "none".to_owned()
        } else {
            signals.join(", ")
        };
        report.push_str(&format!("dataset {}, signals: {signals}\n", dataset.name));
    }
    report
}

fn show(common: &Common, origin: bool) -> Result<(), Failure> {
    let config = super::service::config(common)?;
    if origin {
        let (config, origins) = Config::layered(common.config.as_deref(), std::env::vars())?;
        let lines: Vec<_> = every_key(&config, &origins)?
            .into_iter()
            .map(|(key, value, origin)| vec![json!(key), value, json!(origin)])
            .collect();
        return rows(common.output, &["key", "value", "origin"], &lines);
    }
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    match common.output {
        Output::Json => value(&serde_json::to_value(&config).map_err(|error| failed(&error))?),
        Output::Table => write(&toml::to_string_pretty(&config).map_err(|error| failed(&error))?),
    }
}
