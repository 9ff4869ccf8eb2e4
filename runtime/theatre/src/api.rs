//! The HTTP interface of this process: what it is served from, and where.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;

use theatre_actors::ports::{AccessStore, CheckpointStore, EventLog, Lake, Role};
use theatre_api::{LetterReplays, Oidc, Pace, Parts, ReportSource, Server, Settings, TlsFiles};
use theatre_config::api::{ApiConfig, LISTEN};
use theatre_config::oidc::OidcConfig;
use theatre_config::{Config, ConfigError, INPUT_TOPICS};
use theatre_pipeline::PipelineParams;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::Registry;
use theatre_system::clock::SystemClock;

use crate::foreseen::Foreseen;

/// The ports that the interface asks.
pub struct ApiPorts {
    /// Where records are appended.
    pub log: Arc<dyn EventLog>,
    /// What is known.
    pub store: Arc<dyn CheckpointStore>,
    /// Who may ask.
    pub access: Arc<dyn AccessStore>,
    /// Where the warehouse's reports are asked; `None`: there is none.
    pub reports: Option<Arc<dyn ReportSource>>,
    /// Where rows of telemetry are read; `None`: there is no lake.
    pub lake: Option<Arc<dyn Lake>>,
    /// What sends records of dead letters again; `None`: this process cannot.
    pub letters: Option<Arc<dyn LetterReplays>>,
    /// What makes pseudonyms as the pipeline does; `None`: this process has no key.
    pub pseudonyms: Option<Arc<Pseudonyms>>,
}

/// Starts the interface as configured; `anonymous` is what callers without a token may do where the
/// configuration does not say it.
///
/// # Errors
/// When the address that the configuration names is taken, or its certificate cannot be used.
pub fn start(
    config: &Config,
    params: Arc<PipelineParams>,
    ports: ApiPorts,
    anonymous: Option<Role>,
) -> Result<Server, ConfigError> {
    crate::open_files::allow_many();
    let listener = bind(&config.api)?;
    let local = listener
        .local_addr()
        .is_ok_and(|address| address.ip().is_loopback());
    let (registry, base) = (params.registry.clone(), config.rule_specs()?);
    let parts = Parts {
        foreseen: Arc::new(Foreseen {
            store: ports.store.clone(),
            log: ports.log.clone(),
            params,
            base: base.clone(),
        }),
        log: ports.log,
        store: ports.store,
        access: ports.access,
        reports: ports.reports,
        lake: ports.lake,
        letters: ports.letters,
        pseudonyms: ports.pseudonyms,
        topics: topics(config, &registry),
        registry,
        rules: Arc::new(base),
        windows: theatre_pipeline::params::window_plan(config).map(Arc::new),
        rules_approval: config.rules_approval,
        partitions: config.partitions,
        record_bytes: config.record_bytes,
        clock: Arc::new(SystemClock),
    };
    let settings = Settings {
        anonymous: config.api.anonymous.or(anonymous.filter(|_| local)),
        hosts: hosts(&config.api),
        body_bytes: config.api.body_bytes,
        pace: Pace::default(),
        ingests: config.api.ingests,
        records_per_second: config.api.records_per_second,
        listeners: config.api.listeners,
        tls: tls(&config.api),
        oidc: oidc(&config.oidc),
    };
    theatre_api::start(listener, parts, settings)
}

/// Names by which the interface is asked.
fn hosts(api: &ApiConfig) -> Vec<String> {
    let listen = api.listen.as_deref().unwrap_or(LISTEN);
    let own = listen.rsplit_once(':').map(|(host, _)| host.to_owned());
    api.hosts.iter().cloned().chain(own).collect()
}

/// Certificate and key of the interface, where it has them.
pub(crate) fn tls(config: &ApiConfig) -> Option<TlsFiles> {
    let (cert, key) = (config.tls_cert.as_ref()?, config.tls_key.as_ref()?);
    Some(TlsFiles {
        cert: cert.to_path_buf(),
        key: key.to_path_buf(),
    })
}

/// The issuer whose tokens are taken, where there is one.
fn oidc(config: &OidcConfig) -> Option<Oidc> {
    let (issuer, audience) = (config.issuer.clone()?, config.audience.clone()?);
    Some(Oidc {
        issuer,
        audience,
        role_claim: config.role_claim.clone(),
        roles: config.roles.clone(),
        facility_claim: config.facility_claim.clone(),
        ca_file: config.ca_file.as_ref().map(|path| path.to_path_buf()),
    })
}

fn bind(config: &ApiConfig) -> Result<TcpListener, ConfigError> {
    let refused = |listen: &str, error: std::io::Error| {
        ConfigError(format!(
            "[api] listen: {listen}: {error}; give another address, such as 127.0.0.1:0 for any free port, or set [api] enabled = false"
        ))
    };
    match &config.listen {
        Some(listen) => TcpListener::bind(listen).map_err(|error| refused(listen, error)),
        None => TcpListener::bind(LISTEN)
            .or_else(|_| TcpListener::bind("127.0.0.1:0"))
            .map_err(|error| refused(LISTEN, error)),
    }
}

/// The topic of each dataset: the one that declares it, else the standard one of its kind.
pub(crate) fn topics(config: &Config, registry: &Registry) -> BTreeMap<String, String> {
    let declared = |name: &str| {
        let mut inputs = config.input.iter();
        let input = inputs.find(|input| input.dataset_name() == name);
        input.map(|input| input.topic.clone())
    };
    let datasets = registry.datasets().iter();
    datasets
        .filter_map(|(_, dataset)| {
            let standard = standard_topic(dataset.kind).map(str::to_owned);
            let topic = declared(&dataset.name).or(standard)?;
            Some((dataset.name.clone(), topic))
        })
        .collect()
}

/// Kinds and topics stand in one order.
fn standard_topic(kind: DatasetKind) -> Option<&'static str> {
    let place = DatasetKind::ALL.iter().position(|known| *known == kind)?;
    INPUT_TOPICS.get(place).copied()
}

#[cfg(test)]
mod tests {
    use theatre_schemas::dataset::DatasetKind;

    use super::standard_topic;

    #[test]
    fn each_kind_has_its_topic() {
        let topic = |kind| standard_topic(kind).unwrap_or_default();
        assert_eq!(topic(DatasetKind::Telemetry), "surgical.robot.telemetry.v1");
        assert_eq!(
            topic(DatasetKind::ProcedureResults),
            "surgical.procedure.results.v1"
        );
        assert_eq!(
            topic(DatasetKind::MaintenanceLogs),
            "surgical.maintenance.logs.v1"
        );
        assert_eq!(
            topic(DatasetKind::ModelRegistry),
            "surgical.model.registry.v1"
        );
    }
}
