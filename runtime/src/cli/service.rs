//! `theatre run`, and what `demo` and `replay` share with it: a pipeline on a data directory, its admin server, its signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::{Common, Failure};
use crate::admin::{self, Admin};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::embedded::data_dir::{DataDir, DataLock};
use crate::embedded::lake::DirectoryLake;
use crate::embedded::log::EmbeddedLog;
use crate::embedded::store::EmbeddedStore;
use crate::embedded::warehouse::EmbeddedWarehouse;
use crate::pipeline::{Pipeline, PipelineParams, Ports, start};

/// How long a stop may take before it is given up.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// The service itself.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// End as soon as everything in the log is read, saved, published and loaded.
    #[arg(long)]
    until_drained: bool,
}

/// A pipeline that runs, and everything it needs.
pub(super) struct Service {
    pub(super) pipeline: Pipeline,
    pub(super) params: PipelineParams,
    pub(super) ports: Ports,
    pub(super) stop: Arc<AtomicBool>,
    admin: Admin,
    _lock: DataLock,
}

/// The embedded ports of a data directory, for writing.
pub(super) fn open_ports(dir: &DataDir) -> Result<Ports, Failure> {
    let clock = Arc::new(SystemClock);
    Ok(Ports {
        log: Arc::new(EmbeddedLog::open(&dir.log(), clock.clone())?),
        store: Arc::new(EmbeddedStore::open(&dir.store())?),
        lake: Arc::new(DirectoryLake::open(&dir.lake())?),
        warehouse: Arc::new(EmbeddedWarehouse::open(&dir.warehouse())?),
        clock,
    })
}

/// The configuration of a command: defaults, file, and the schemas that earlier runs on this data directory used.
pub(super) fn config(common: &Common) -> Result<Config, Failure> {
    let (mut config, _) = Config::layered(common.config.as_deref(), std::env::vars())?;
    config.schemas.extend(DataDir::new(&common.data).schemas()?);
    Ok(config)
}

impl Service {
    /// Takes the data directory, starts the pipeline and the admin server.
    pub(super) fn start(common: &Common, config: &Config) -> Result<Self, Failure> {
        let dir = DataDir::new(&common.data);
        dir.create()?;
        let lock = dir.lock()?;
        let params = config.pipeline(dir.pseudonym_key()?)?;
        dir.keep_schemas(&config.schemas)?;
        let ports = open_ports(&dir)?;
        let metrics = crate::telemetry::install().map_err(|error| Failure::Failed(format!("metrics cannot be set up: {error}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The second signal ends at once, with the code for it; the first is a request.
            signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
            signal_hook::flag::register(signal, stop.clone())?;
        }
        let pipeline = start(params.clone(), ports.clone())?;
        let admin = admin::start(common.admin.as_deref().unwrap_or(&config.admin), metrics, pipeline.progress().clone())?;
        eprintln!(
            "theatre {} on {} (admin: http://{}/metrics, /readyz); {} partitions",
            env!("CARGO_PKG_VERSION"),
            common.data.display(),
            admin.address,
            params.partitions
        );
        Ok(Self { pipeline, params, ports, stop, admin, _lock: lock })
    }

    /// True once somebody asked it to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits until everything is read, saved, published and loaded, or somebody asks to stop; calls `meanwhile` now and then.
    pub(super) fn drain(&self, mut meanwhile: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
        self.pipeline.flush(true);
        while !self.pipeline.drained() && !self.is_stopping() {
            let failures = self.pipeline.progress().failures();
            if !failures.is_empty() {
                return Err(Failure::Failed(failures.join("; ")));
            }
            meanwhile()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Stops; everything read is saved and published.
    pub(super) fn end(self) -> Result<(), Failure> {
        let troubles = self.pipeline.progress().troubles();
        let whole = self.pipeline.stop(STOP_DEADLINE);
        drop(self.admin);
        if !troubles.is_empty() {
            return Err(Failure::Failed(troubles.join("; ")));
        }
        if whole {
            Ok(())
        } else {
            Err(Failure::Failed(format!("not everything could be closed within {STOP_DEADLINE:?}; the next start goes on from the last save")))
        }
    }
}

impl Run {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let service = Service::start(common, &config(common)?)?;
        if self.until_drained {
            service.drain(|| Ok(()))?;
        }
        while !self.until_drained && !service.is_stopping() {
            std::thread::sleep(Duration::from_millis(50));
        }
        service.end()
    }
}
