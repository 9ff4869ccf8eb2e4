//! Commands that check: the configuration, and that nothing is lost or there twice.

use clap::Subcommand;
use serde_json::json;

use super::output::{rows, value, write};
use super::service::{Place, pseudonym_key};
use super::{Common, Failure, Output};
use crate::config::Config;

/// Looks at the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Says whether configuration, schemas, rules and windows fit together.
    Check,
    /// Prints the effective configuration.
    #[command(after_help = "Example: THEATRE__SAVE_INTERVAL=5s theatre config show --origin")]
    Show {
        /// Also say where each value comes from: default, file or variable.
        #[arg(long)]
        origin: bool,
    },
}

/// Proves that nothing is lost and nothing is there twice.
pub(super) fn reconcile(common: &Common) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let ports = place.look()?.ports()?;
    let mut config = place.config.clone();
    let known = ports.store.layout()?;
    config.partitions = known.map_or(config.partitions, |(_, partitions)| partitions);
    let report = crate::reconcile::run(&config.pipeline(pseudonym_key(&place.config, &place.dir)?)?, &ports)?;
    if common.output == Output::Json {
        value(&json!(report))?;
    } else {
        let lines: Vec<_> = report
            .lines
            .iter()
            .filter(|line| line.read + line.pending + line.lake_rows + line.applied + line.late + line.duplicate + line.dead > 0)
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
        rows(common.output, &["topic", "partition", "in", "applied", "late", "duplicate", "dead", "pending", "lake", "warehouse", "trimmed_below"], &lines)?;
    }
    if report.repartitioned {
        eprintln!("robots have moved between partitions: applied, late, duplicate and dead are of those that live there now and add up by topic");
    }
    for line in report.lines.iter().filter(|line| line.trimmed_below > 0) {
        eprintln!("{} partition {}: offsets below {} were deleted, what was there is not provable any more", line.topic, line.partition, line.trimmed_below);
    }
    for gap in &report.gaps {
        eprintln!("gap: {gap}");
    }
    if report.gaps.is_empty() {
        eprintln!("in = applied + late + duplicate + dead, and lake and warehouse hold every record once");
        return Ok(());
    }
    Err(Failure::Difference)
}

impl ConfigCommand {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let config = super::service::config(common)?;
        match self {
            Self::Check => {
                let params = config.pipeline([0; 32])?;
                let datasets: Vec<String> = params.registry.datasets().iter().map(|(_, dataset)| dataset.name.clone()).collect();
                write(&format!(
                    "good: {} rules, {} windows, datasets {}\n",
                    params.family.rules.rules().len(),
                    params.family.windows.specs().len(),
                    datasets.join(", ")
                ))
            }
            Self::Show { origin: false } => write(&toml::to_string_pretty(&config).map_err(|error| Failure::Failed(error.to_string()))?),
            Self::Show { origin: true } => {
                let (config, origins) = Config::layered(common.config.as_deref(), std::env::vars())?;
                let table = toml::Table::try_from(config).map_err(|error| Failure::Failed(error.to_string()))?;
                let lines: Vec<_> = origins
                    .into_iter()
                    .map(|(key, origin)| vec![json!(key), json!(table.get(&key).map(ToString::to_string).unwrap_or_default()), json!(origin)])
                    .collect();
                rows(common.output, &["key", "value", "origin"], &lines)
            }
        }
    }
}
