//! `theatre config`: checks the configuration, prints it.

use clap::Subcommand;
use serde_json::json;

use super::output::{rows, write};
use super::{Common, Failure};
use theatre_config::Config;
use theatre_config::layers::every_key;

/// Looks at the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Says whether configuration, schemas, rules and windows fit together, and which signals each
    /// dataset has.
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
        let config = super::service::config(common)?;
        match self {
            Self::Check => {
                let params = crate::adapters::params(&config, [0; 32])?;
                let mut report = format!(
                    "good: {} rules, {} windows\n",
                    params.processor.rules.rules().len(),
                    params.processor.windows.specs().len()
                );
                for (_, dataset) in params.registry.datasets().iter() {
                    let signals: Vec<&str> = dataset
                        .signals
                        .iter()
                        .map(|signal| signal.name.as_str())
                        .collect();
                    report.push_str(&format!(
                        "dataset {}, signals: {}\n",
                        dataset.name,
                        if signals.is_empty() {
                            "none".to_owned()
                        } else {
                            signals.join(", ")
                        }
                    ));
                }
                write(&report)
            }
            Self::Show { origin: false } => write(
                &toml::to_string_pretty(&config)
                    .map_err(|error| Failure::Failed(error.to_string()))?,
            ),
            Self::Show { origin: true } => {
                let (config, origins) =
                    Config::layered(common.config.as_deref(), std::env::vars())?;
                let lines: Vec<_> = every_key(&config, &origins)?
                    .into_iter()
                    .map(|(key, value, origin)| vec![json!(key), value, json!(origin)])
                    .collect();
                rows(common.output, &["key", "value", "origin"], &lines)
            }
        }
    }
}
