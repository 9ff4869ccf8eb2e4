//! `theatre migrate`: the tables of servers, made or renewed.

use clap::Args;
use serde_json::json;

use super::output::{value, write};
use super::service::Place;
use super::{Common, Failure, Output};
use theatre_system::blocking::IoRuntime;

/// Makes or renews the tables of the checkpoint store, or of the warehouse.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// The warehouse's tables and views instead of the checkpoint store's.
    #[arg(long)]
    warehouse: bool,
}

impl Migrate {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let config = Place::of(common)?.config;
        let io = IoRuntime::start()?;
        let applied = match (self.warehouse, &config.store.url, &config.warehouse.url) {
            (true, _, Some(url)) => theatre_redshift::migrate(url, &config.warehouse, &io)?,
            (false, Some(url), _) => theatre_postgres::migrate(url, &config.store, &io)?,
            (warehouse, ..) => {
                let section = if warehouse { "warehouse" } else { "store" };
                eprintln!("[{section}] url is not set: the embedded one needs no migration");
                return Ok(());
            }
        };
        if applied.is_empty() {
            eprintln!("everything is up to date");
        }
        match common.output {
            Output::Json => value(&json!(applied)),
            Output::Table => write(
                &applied
                    .iter()
                    .map(|name| format!("applied {name}\n"))
                    .collect::<String>(),
            ),
        }
    }
}
