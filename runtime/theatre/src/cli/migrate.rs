//! `theatre migrate`: the tables of servers, made or renewed.

use clap::Args;
use serde_json::json;

use super::output::{value, write};
use super::service::Place;
use super::{Common, Failure, Output};
use theatre_embedded::store::EmbeddedStore;
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
        let Place { config, dir } = Place::of(common)?;
        let io = IoRuntime::start()?;
        let applied = match (self.warehouse, &config.store.url, &config.warehouse.url) {
            (true, _, Some(url)) => theatre_redshift::migrate(url, &config.warehouse, &io)?,
            (false, Some(url), _) => {
                let applied = theatre_postgres::migrate(url, &config.store, &io)?;
                if let Some(hint) = theatre_postgres::reader_hint(url, &config.store, &io)? {
                    eprintln!("{hint}");
                }
                applied
            }
            (false, None, _) => {
                if !dir.store().exists() {
                    eprintln!("there is no checkpoint store yet: the first start makes it");
                    return Ok(());
                }
                // A process of an earlier build may be writing the store.
                let _lock = dir.lock()?;
                EmbeddedStore::migrate(&dir.store())?
            }
            (true, _, None) => {
                eprintln!("[warehouse] url is not set: the embedded one needs no migration");
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
