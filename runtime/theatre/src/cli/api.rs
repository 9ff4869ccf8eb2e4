//! `theatre api`: the HTTP interface and the page without a pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::output;
use super::process::pseudonym_key;
use super::service::Place;
use super::{Common, Failure};
use crate::adapters::{self, Access};
use crate::admin::{self, IfTaken};
use crate::api::{self, ApiPorts};
use crate::letters::Letters;
use crate::reports::Reports;

/// The HTTP interface and the page, without a pipeline.
#[derive(Debug, Args)]
pub(super) struct Api {
    /// Where it listens; default from the configuration.
    #[arg(long)]
    listen: Option<String>,
    /// Print the document of the interface (OpenAPI 3.1) and do nothing else.
    #[arg(long)]
    document: bool,
}

impl Api {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        if self.document {
            return output::value(&theatre_api::openapi());
        }
        let mut place = Place::of(common)?;
        place.config.api.listen = self.listen.or(place.config.api.listen);
        let config = &place.config;
        if config.log.url.is_none() || config.store.url.is_none() {
            return Err(Failure::Usage(
                "theatre api needs [log] url and [store] url: an embedded log is written by the process that runs on it, and `theatre run` serves the same interface there".to_owned(),
            ));
        }
        config.faults().checked()?;
        // Without a key it leaves pseudonyms out of what it reads in the log.
        let params = Arc::new(adapters::params(config, &place.dir, [0; 32])?);
        let adapters = adapters::Adapters::new(config, &place.dir, Access::Write)?;
        let (log, store, access) = (adapters.log()?, adapters.store()?, adapters.access()?);
        // Without the key it could not read what is in a dead letter.
        let (letters, pseudonyms) = match &config.pseudonym_key_file {
            Some(_) => {
                let key = pseudonym_key(config, &place.dir)?;
                let mut params = adapters::params(config, &place.dir, key)?;
                let pseudonyms = params.pseudonyms.clone();
                params.follow_only(&store.layout()?.unwrap_or_default().0);
                let (log, store) = (log.clone(), store.clone());
                let letters = Letters::open(params, log, store, access.clone(), None);
                (Some(letters), Some(pseudonyms))
            }
            None => (None, None),
        };
        let ports = ApiPorts {
            log,
            store,
            access,
            letters,
            pseudonyms,
            // An embedded warehouse is that of a process which loads it.
            reports: Reports::of(config, &place.dir).filter(|_| config.warehouse.url.is_some()),
            // So is an embedded lake.
            lake: match config.lake.enabled && config.lake.url.is_some() {
                true => Some(adapters.lake()?),
                false => None,
            },
        };
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
            signal_hook::flag::register(signal, stop.clone())?;
        }
        let metrics = theatre_telemetry::install()
            .map_err(|error| Failure::Failed(format!("metrics cannot be set up: {error}")))?;
        // It owns no partition, and so has nothing to be unready for but its store.
        let admin = admin::start(
            common.admin.as_deref().unwrap_or(&config.admin),
            IfTaken::Refuse,
            metrics,
            Arc::default(),
            place.dir.clone(),
        )?;
        let server = api::start(config, params, ports, None)?;
        eprintln!(
            "HTTP interface and page: {}/ (admin: http://{}/metrics)",
            server.url(),
            admin.address
        );
        while !stop.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
