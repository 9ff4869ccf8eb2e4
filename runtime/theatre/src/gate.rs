//! The gate: what lake and warehouse could never take is found before a schema is kept or a record
//! appended.
//!
//! A dataset whose table the warehouse cannot have, or that cannot follow what is there already,
//! would be read, saved and written to the lake, and its files never loaded. So its tables are
//! compared first with what the warehouse can have at all, then with what it has. One that does not
//! answer soon delays no start: its loaders name what is wrong once it does.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use theatre_actors::ports::{Error, Result, TableSpec, Warehouse};
use theatre_actors::time::Clock;
use theatre_config::check::Faults;
use theatre_config::{Config, ConfigError};
use theatre_pipeline::{PipelineParams, Ports, wiring};
use theatre_registry::Sources;
use theatre_schemas::dataset::{Dataset, DatasetKind};
use theatre_system::clock::SystemClock;

use crate::{adapters, api};

/// So long a start waits for what the warehouse says of its tables.
const PATIENCE: Duration = Duration::from_secs(5);

/// Refuses a pipeline that could keep what it reads nowhere.
///
/// # Errors
/// Names the dataset, what does not fit, and the way out.
pub fn check(params: &PipelineParams, ports: &Ports) -> std::result::Result<(), ConfigError> {
    let tables = tables(params)?;
    if !params.warehouse {
        return Ok(());
    }
    match asked(&ports.warehouse, tables) {
        Err(Error::Refused(why)) => Err(ConfigError(why)),
        Err(error) => {
            tracing::warn!(%error, "the warehouse does not say what tables it has: the start goes on, and readiness names what does not fit");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The tables of all datasets.
///
/// # Errors
/// Names the dataset that can have none.
fn tables(params: &PipelineParams) -> std::result::Result<Vec<TableSpec>, ConfigError> {
    wiring::tables(params).map_err(|error| ConfigError(error.to_string()))
}

/// Everything of a configuration that keeps it from starting, as far as it can be known without a
/// server, and the pipeline that it makes if there is nothing. The start refuses the same.
pub fn faults(config: &Config) -> (Faults, Option<PipelineParams>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sources = Sources::new(config, clock.clone());
    let mut faults = config.faults();
    let params = PipelineParams::try_out(config, [0; 32], &sources, &clock, &mut faults);
    if let Some(tables) = params.as_ref().and_then(|made| faults.take(tables(made))) {
        let limits = adapters::table_limits(config);
        for table in tables
            .iter()
            .filter(|_| config.lake.enabled && config.warehouse.enabled)
        {
            faults.take(limits.check(table));
        }
    }
    if config.log.url.is_some() && config.pseudonym_key_file.is_none() {
        faults.add(
            "pseudonym_key_file is not set: processes that share a log need one key, or the same person gets several pseudonyms (make one with: \
             head -c 32 /dev/urandom > FILE)",
        );
    }
    adapters::try_out(config, &mut faults);
    if let Some(file) = &config.oidc.ca_file {
        faults.take(theatre_system::http::check_certificates(file));
    }
    if let Some(files) = api::tls(&config.api) {
        faults.take(files.check());
    }
    let params = params.filter(|_| faults.is_empty());
    (faults, params)
}

/// What of a configuration that can start may not be meant so.
pub fn doubts(config: &Config, params: &PipelineParams) -> Vec<String> {
    let mut doubts = config.doubts();
    let written = params.processor.rules.written();
    let file = config.rule_source().display();
    if written.is_empty() {
        doubts.push(format!(
            "{file}: there is no rule in it, so only the conditions that are built in are raised"
        ));
    }
    let datasets = params.registry.datasets();
    let of_rules = written.iter().flat_map(|rule| rule.doubts(datasets, None));
    doubts.extend(of_rules.map(|doubt| format!("{file}: {doubt}")));
    doubts
}

/// Asks the warehouse, and gives it up after a while: it may take as long as it likes.
fn asked(warehouse: &Arc<dyn Warehouse>, tables: Vec<TableSpec>) -> Result<()> {
    tables
        .iter()
        .try_for_each(|table| warehouse.limits().check(table))?;
    let (answer, answered) = mpsc::channel();
    let warehouse = warehouse.clone();
    let ask = move || {
        // The start may have gone on.
        drop(answer.send(warehouse.check_tables(&tables)));
    };
    std::thread::Builder::new()
        .name("gate".to_owned())
        .spawn(ask)
        .map_err(|error| Error::Refused(format!("a thread cannot be started: {error}")))?;
    answered
        .recv_timeout(PATIENCE)
        .unwrap_or(Err(Error::Unavailable {
            what: "warehouse",
            why: format!("it has not answered within {PATIENCE:?}"),
        }))
}

/// Refuses a dataset that a recording cannot be written to: recordings are telemetry.
///
/// # Errors
/// Says what its kind is.
pub fn check_recorded(dataset: &Dataset) -> std::result::Result<(), ConfigError> {
    if dataset.kind == DatasetKind::Telemetry {
        return Ok(());
    }
    let kind = serde_json::to_value(dataset.kind).unwrap_or_default();
    Err(ConfigError(format!(
        "dataset '{}' is of kind {kind}: a recording is replayed as telemetry, so its schema needs theatre.kind = \"telemetry\"",
        dataset.name
    )))
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::{Lake, LoadBatch, LoadReceipt, QueryResult};

    use super::*;

    /// Answers after so long.
    struct Slow(Duration);

    impl Warehouse for Slow {
        fn check_tables(&self, _: &[TableSpec]) -> Result<()> {
            std::thread::sleep(self.0);
            Err(Error::Refused("no".to_owned()))
        }

        fn ensure_tables(&self, _: &[TableSpec]) -> Result<()> {
            Ok(())
        }

        fn load(&self, _: &LoadBatch, _: &dyn Lake) -> Result<LoadReceipt> {
            Err(Error::Refused("nothing is loaded here".to_owned()))
        }

        fn receipt(&self, _: &str) -> Result<Option<LoadReceipt>> {
            Ok(None)
        }

        fn query(&self, _: &str) -> Result<QueryResult> {
            Err(Error::Refused("nothing is asked here".to_owned()))
        }
    }

    #[test]
    fn a_warehouse_that_does_not_answer_delays_no_start() {
        let hung: Arc<dyn Warehouse> = Arc::new(Slow(Duration::from_secs(3600)));
        assert!(matches!(
            asked(&hung, Vec::new()),
            Err(Error::Unavailable { .. })
        ));
        let quick: Arc<dyn Warehouse> = Arc::new(Slow(Duration::ZERO));
        assert_eq!(
            asked(&quick, Vec::new()),
            Err(Error::Refused("no".to_owned()))
        );
    }
}
