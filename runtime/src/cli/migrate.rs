//! `theatre migrate`: the tables of servers, made or renewed.

use clap::Args;
use serde_json::json;

use super::output::{value, write};
use super::service::Place;
use super::{Common, Failure, Output};
use crate::drive::Drive;

/// Makes or renews the tables of the checkpoint store.
#[derive(Debug, Args)]
pub(super) struct Migrate {}

impl Migrate {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let config = Place::of(common)?.config;
        let Some(url) = &config.store.url else {
            eprintln!("the store is embedded ([store] url is not set): it needs no migration");
            return Ok(());
        };
        let applied = crate::postgres::migrate(url, &config.store, &Drive::start()?)?;
        if applied.is_empty() {
            eprintln!("schema {} is up to date", config.store.schema);
        }
        match common.output {
            Output::Json => value(&json!(applied)),
            Output::Table => write(&applied.iter().map(|name| format!("applied {name}\n")).collect::<String>()),
        }
    }
}
