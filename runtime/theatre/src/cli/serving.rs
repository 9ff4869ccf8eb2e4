//! The HTTP interface beside a pipeline.

use std::io::Write;
use std::sync::Arc;

use theatre_actors::ports::Role;
use theatre_embedded::data_dir::DataDir;

use super::service::Service;
use super::{Common, Failure};
use crate::adapters::{Access, Adapters};
use crate::api::{self, ApiPorts};
use crate::letters::Letters;
use crate::reports::Reports;

/// Serves the HTTP interface and the page, unless the configuration has none; `anonymous` is what
/// callers of this machine may do without a token where the configuration does not say it.
pub(super) fn serve(
    service: &mut Service,
    common: &Common,
    anonymous: Option<Role>,
) -> Result<(), Failure> {
    let config = &service.config;
    if !config.api.enabled {
        return Ok(());
    }
    let dir = DataDir::new(&common.data);
    let access = Adapters::new(config, &dir, Access::Write)?.access()?;
    let letters = Letters::open(
        service.params.clone(),
        service.ports.log.clone(),
        service.ports.store.clone(),
        access.clone(),
        config.store.url.is_none().then(|| dir.clone()),
    );
    let ports = ApiPorts {
        log: service.ports.log.clone(),
        store: service.ports.store.clone(),
        access,
        letters: Some(letters),
        pseudonyms: Some(service.params.pseudonyms.clone()),
        reports: Reports::of(config, &dir),
        lake: config.lake.enabled.then(|| service.ports.lake.clone()),
    };
    if config.store.url.is_none() {
        // This process has the lock of the directory: those that began them have ended.
        ports.access.release_requests()?;
    }
    if config.log.url.is_none() {
        theatre_api::rule_changes::end_turns(&*ports.access)?;
    }
    let params = Arc::new(service.params.clone());
    let server = api::start(config, params, ports, anonymous)?;
    dir.note_api(Some((server.address, server.is_tls)))?;
    if theatre_telemetry::logs::is_json() {
        tracing::info!(
            target: theatre_telemetry::logs::START,
            address = %server.address,
            "serving the HTTP interface"
        );
    } else {
        // Standard error may be closed by then: that ends nothing.
        drop(writeln!(
            std::io::stderr(),
            "HTTP interface and page: {}/",
            server.url()
        ));
    }
    service.api = Some(server);
    Ok(())
}
