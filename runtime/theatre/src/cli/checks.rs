//! Commands that check: the configuration, and that no record is lost or there twice.

use clap::Subcommand;
use serde_json::json;

use super::output::{rows, value, write};
use super::service::{Place, pseudonym_key};
use super::{Common, Failure, Output};
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

/// Proves that no input record is lost or there twice.
pub(super) fn reconcile(common: &Common) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let ports = place.look()?.ports()?;
    let mut config = place.config.clone();
    let known = ports.store.layout()?;
    config.partitions = known.map_or(config.partitions, |(_, partitions)| partitions);
    let params = crate::adapters::params(&config, pseudonym_key(&place.config, &place.dir)?)?;
    let report = theatre_operations::reconcile::run(&params, &ports)?;
    if common.output == Output::Json {
        value(&json!(report))?;
    } else {
        let lines: Vec<_> = report
            .lines
            .iter()
            .filter(|line| {
                line.read
                    + line.pending
                    + line.lake_rows
                    + line.applied
                    + line.late
                    + line.duplicate
                    + line.dead
                    > 0
            })
            .map(|line| {
                vec![
                    json!(line.topic),
                    json!(line.partition),
                    json!(line.read),
                    json!(line.applied),
                    json!(line.late),
                    json!(line.duplicate),
                    json!(line.dead),
                    json!(line.pending),
                    json!(line.lake_rows),
                    json!(line.warehouse_rows),
                    json!(line.trimmed_below),
                ]
            })
            .collect();
        rows(
            common.output,
            &[
                "topic",
                "partition",
                "in",
                "applied",
                "late",
                "duplicate",
                "dead",
                "pending",
                "lake",
                "warehouse",
                "trimmed_below",
            ],
            &lines,
        )?;
    }
    if report.repartitioned {
        eprintln!(
            "robots have moved between partitions: applied, late, duplicate and dead are of those that live there now and add up by topic"
        );
    }
    for line in report.lines.iter().filter(|line| line.trimmed_below > 0) {
        eprintln!(
            "{} partition {}: offsets below {} were deleted, what was there is not provable any more",
            line.topic, line.partition, line.trimmed_below
        );
    }
    for gap in &report.gaps {
        eprintln!("gap: {gap}");
    }
    if report.gaps.is_empty() {
        let held = match (params.lake, params.warehouse) {
            (true, true) => ", and lake and warehouse hold every record once",
            (true, false) => ", and the lake holds every record once; there is no warehouse",
            _ => "; there is no lake",
        };
        eprintln!("in = applied + late + duplicate + dead{held}");
        return Ok(());
    }
    Err(Failure::Difference)
}

impl ConfigCommand {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let config = super::service::config(common)?;
        match self {
            Self::Check => {
                let params = crate::adapters::params(&config, [0; 32])?;
                let mut told = format!(
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
                    told.push_str(&format!(
                        "dataset {}, signals: {}\n",
                        dataset.name,
                        if signals.is_empty() {
                            "none".to_owned()
                        } else {
                            signals.join(", ")
                        }
                    ));
                }
                write(&told)
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
