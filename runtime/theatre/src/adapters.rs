//! Which adapter stands behind each port: what the configuration names by URL, and an embedded file
//! where it names nothing.

use std::path::Path;
use std::sync::Arc;

use theatre_actors::ports::{
    AccessStore, CheckpointStore, Error, EventLog, Lake, LoadBatch, LoadReceipt, QueryResult,
    Result, TableLimits, TableSpec, Warehouse,
};
use theatre_actors::time::Clock;

use theatre_config::check::Faults;
use theatre_config::{Config, ConfigError};
use theatre_embedded::access::EmbeddedAccess;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::lake::DirectoryLake;
use theatre_embedded::log::EmbeddedLog;
use theatre_embedded::store::EmbeddedStore;
use theatre_embedded::warehouse::{CopiedTable, EmbeddedWarehouse};
use theatre_pipeline::{PipelineParams, Ports, outbox};
use theatre_registry::Sources;
use theatre_schemas::registry::Registry;
#[cfg(feature = "servers")]
use theatre_system::blocking::IoRuntime;
use theatre_system::clock::SystemClock;

use crate::sinks::{self, Setting};

/// What a command means to do with the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write; embedded files are created.
    Write,
    /// Look only; another process may be writing.
    Read,
}

/// Opens ports one by one or all together.
pub struct Adapters<'a> {
    config: &'a Config,
    dir: &'a DataDir,
    access: Access,
    clock: Arc<dyn Clock>,
    #[cfg(feature = "servers")]
    io: IoRuntime,
}

impl<'a> Adapters<'a> {
    /// Adapters as configured; embedded ones below `dir`.
    ///
    /// # Errors
    /// When threads cannot be had.
    pub fn new(config: &'a Config, dir: &'a DataDir, access: Access) -> Result<Self> {
        Ok(Self {
            config,
            dir,
            access,
            clock: Arc::new(SystemClock),
            #[cfg(feature = "servers")]
            io: IoRuntime::start()?,
        })
    }

    /// All ports.
    ///
    /// # Errors
    /// Names what cannot be opened, where, and what to do.
    pub fn ports(&self) -> Result<Ports> {
        // One that is not used may be named and yet be wrong, or nowhere.
        let used = self.config.lake.enabled && self.config.warehouse.enabled;
        let warehouse = if used {
            self.warehouse()?
        } else {
            Arc::new(NoWarehouse)
        };
        Ok(Ports {
            log: self.log()?,
            store: self.store()?,
            lake: self.lake()?,
            warehouse,
            clock: self.clock.clone(),
        })
    }

    /// The event log.
    ///
    /// # Errors
    /// As [`Self::ports`].
    pub fn log(&self) -> Result<Arc<dyn EventLog>> {
        match &self.config.log.url {
            #[cfg(feature = "kafka")]
            Some(url) => theatre_kafka::open(url, &self.config.log, &self.io),
            #[cfg(not(feature = "kafka"))]
            Some(_) => Err(left_out("[log] url", "kafka")),
            None if self.access == Access::Read => Ok(Arc::new(EmbeddedLog::open_read_only(
                &self.dir.log(),
                self.clock.clone(),
            )?)),
            None => Ok(Arc::new(EmbeddedLog::open(
                &self.dir.log(),
                self.clock.clone(),
            )?)),
        }
    }

    /// The checkpoint store.
    ///
    /// # Errors
    /// As [`Self::ports`].
    pub fn store(&self) -> Result<Arc<dyn CheckpointStore>> {
        match (&self.config.store.url, self.access) {
            #[cfg(feature = "postgres")]
            (Some(url), _) => theatre_postgres::open(url, &self.config.store, &self.io),
            #[cfg(not(feature = "postgres"))]
            (Some(_), _) => Err(left_out("[store] url", "postgres")),
            (None, Access::Write) => Ok(Arc::new(EmbeddedStore::open(&self.dir.store())?)),
            (None, Access::Read) => Ok(Arc::new(EmbeddedStore::open_read_only(&self.dir.store())?)),
        }
    }

    /// Tokens, requests and the audit trail: beside the checkpoint store.
    ///
    /// # Errors
    /// As [`Self::ports`].
    pub fn access(&self) -> Result<Arc<dyn AccessStore>> {
        match &self.config.store.url {
            #[cfg(feature = "postgres")]
            Some(url) => theatre_postgres::open_access(url, &self.config.store, &self.io),
            #[cfg(not(feature = "postgres"))]
            Some(_) => Err(left_out("[store] url", "postgres")),
            None => Ok(Arc::new(EmbeddedAccess::open(&self.dir.access())?)),
        }
    }

    /// The lake.
    ///
    /// # Errors
    /// As [`Self::ports`].
    pub fn lake(&self) -> Result<Arc<dyn Lake>> {
        match &self.config.lake.url {
            #[cfg(feature = "s3")]
            Some(url) => theatre_s3::open(url, &self.config.lake, &self.io),
            #[cfg(not(feature = "s3"))]
            Some(_) => Err(left_out("[lake] url", "s3")),
            None if self.access == Access::Read => {
                Ok(Arc::new(DirectoryLake::open_read_only(&self.dir.lake())))
            }
            None => Ok(Arc::new(DirectoryLake::open(&self.dir.lake())?)),
        }
    }

    /// The warehouse.
    ///
    /// # Errors
    /// As [`Self::ports`].
    pub fn warehouse(&self) -> Result<Arc<dyn Warehouse>> {
        match (&self.config.warehouse.url, self.access) {
            #[cfg(feature = "redshift")]
            (Some(url), _) => theatre_redshift::open(url, &self.config.warehouse, &self.io),
            #[cfg(not(feature = "redshift"))]
            (Some(_), _) => Err(left_out("[warehouse] url", "redshift")),
            (None, Access::Write) => Ok(Arc::new(EmbeddedWarehouse::open(&self.dir.warehouse())?)),
            (None, Access::Read) => Ok(Arc::new(EmbeddedWarehouse::open_read_only(
                &self.dir.warehouse(),
            )?)),
        }
    }

    /// Copies the embedded warehouse into a file that any program can read; says which tables it
    /// has.
    ///
    /// # Errors
    /// Where the warehouse is another one, or none; as [`EmbeddedWarehouse::copy_to`].
    pub fn copy_warehouse(&self, to: &Path) -> Result<Vec<CopiedTable>> {
        if self.config.warehouse.url.is_some() {
            return Err(Error::Refused(
                "[warehouse] url is set: only the embedded warehouse is copied into a file"
                    .to_owned(),
            ));
        }
        EmbeddedWarehouse::open_read_only(&self.dir.warehouse())?.copy_to(to)
    }
}

/// What a configuration names that this build was made without.
pub(crate) fn left_out(key: &str, feature: &str) -> Error {
    Error::Refused(format!(
        "{key} is set, but this theatre was built without the feature '{feature}': build it with cargo build --release, which has all of them"
    ))
}

/// What tables the configured warehouse can have.
pub fn table_limits(config: &Config) -> TableLimits {
    match &config.warehouse.url {
        #[cfg(feature = "redshift")]
        Some(_) => theatre_redshift::LIMITS,
        #[cfg(not(feature = "redshift"))]
        Some(_) => TableLimits::NONE,
        None => theatre_embedded::warehouse::LIMITS,
    }
}

/// Sets the clients of the named servers up, without a request, and notes what cannot be used.
pub fn try_out(config: &Config, faults: &mut Faults) {
    #[cfg(feature = "servers")]
    let Some(io) = faults.take(IoRuntime::start()) else {
        return;
    };
    if let Some(url) = &config.log.url {
        #[cfg(feature = "kafka")]
        faults.take(theatre_kafka::check(url, &config.log, &io));
        #[cfg(not(feature = "kafka"))]
        faults.take(Err::<(), _>(unusable(url, "[log] url", "kafka")));
    }
    if let Some(url) = &config.store.url {
        #[cfg(feature = "postgres")]
        faults.take(theatre_postgres::check(url, &config.store, &io));
        #[cfg(not(feature = "postgres"))]
        faults.take(Err::<(), _>(unusable(url, "[store] url", "postgres")));
    }
    if let Some(url) = config.lake.url.as_ref().filter(|_| config.lake.enabled) {
        #[cfg(feature = "s3")]
        faults.take(theatre_s3::open(url, &config.lake, &io));
        #[cfg(not(feature = "s3"))]
        faults.take(Err::<(), _>(unusable(url, "[lake] url", "s3")));
    }
    if config.traces.endpoint.is_some() {
        #[cfg(not(feature = "traces"))]
        faults.add(left_out("[traces] endpoint", "traces"));
    }
    sinks::check(config, faults);
    let used = config.lake.enabled && config.warehouse.enabled;
    if let Some(url) = config.warehouse.url.as_ref().filter(|_| used) {
        #[cfg(feature = "redshift")]
        faults.take(theatre_redshift::open(url, &config.warehouse, &io));
        #[cfg(not(feature = "redshift"))]
        faults.take(Err::<(), _>(unusable(url, "[warehouse] url", "redshift")));
    }
}

/// What is named and cannot be reached by this build.
#[cfg(not(all(
    feature = "kafka",
    feature = "postgres",
    feature = "s3",
    feature = "redshift"
)))]
fn unusable(_: &str, key: &str, feature: &str) -> Error {
    left_out(key, feature)
}

/// The pipeline that a configuration makes, with the schema sources and the receivers of outputs
/// that it names; `dir` is that of the process, and is not opened.
///
/// # Errors
/// When schemas, rules, windows or indicators do not fit together; says which.
pub fn params(
    config: &Config,
    dir: &DataDir,
    key: [u8; 32],
) -> std::result::Result<PipelineParams, ConfigError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sources = Sources::new(config, clock.clone());
    let mut params = PipelineParams::from_config(config, key, &sources, &clock)?;
    params.sinks = sinks::make(&Setting {
        config,
        data_dir: dir.root(),
        clock: &clock,
    });
    match outbox::named_twice(&params) {
        Some(name) => Err(ConfigError(format!(
            "two receivers of outputs keep their positions under the name \"{name}\": give one of them another"
        ))),
        None => Ok(params),
    }
}

/// The schemas of a configuration: shipped, configured and of declared inputs.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn registry(config: &Config) -> std::result::Result<Registry, ConfigError> {
    theatre_pipeline::params::registry(config, &Sources::new(config, Arc::new(SystemClock)))
}

/// Takes the place of the warehouse where none is used: the pipeline does not call it then, and any
/// call is refused.
struct NoWarehouse;

impl NoWarehouse {
    fn refuse<T>() -> Result<T> {
        Err(Error::Refused(
            "there is no warehouse: [warehouse] or [lake] enabled is false".to_owned(),
        ))
    }
}

impl Warehouse for NoWarehouse {
    fn ensure_tables(&self, _tables: &[TableSpec]) -> Result<()> {
        Self::refuse()
    }

    fn load(&self, _batch: &LoadBatch, _lake: &dyn Lake) -> Result<LoadReceipt> {
        Self::refuse()
    }

    fn receipt(&self, _batch: &str) -> Result<Option<LoadReceipt>> {
        Self::refuse()
    }

    fn query(&self, _sql: &str) -> Result<QueryResult> {
        Self::refuse()
    }
}
