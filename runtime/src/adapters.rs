//! Which adapter stands behind each port: what the configuration names by URL, and an embedded file
//! where it names nothing.

use std::sync::Arc;

use theatre_actors::ports::{
    CheckpointStore, Error, EventLog, Lake, LoadBatch, LoadReceipt, QueryResult, Result, TableSpec,
    Warehouse,
};
use theatre_actors::time::Clock;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::drive::Drive;
use crate::embedded::data_dir::DataDir;
use crate::embedded::lake::DirectoryLake;
use crate::embedded::log::EmbeddedLog;
use crate::embedded::store::EmbeddedStore;
use crate::embedded::warehouse::EmbeddedWarehouse;
use crate::pipeline::Ports;
use crate::{kafka, postgres, redshift, s3};

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
    drive: Drive,
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
            drive: Drive::start()?,
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
            Some(url) => kafka::open(url, &self.config.log, &self.drive),
            None if self.access == Access::Read && !self.dir.log().exists() => {
                let path = self.dir.log();
                Err(Error::Refused(format!(
                    "there is no event log at {}: nothing has run on this data directory yet",
                    path.display()
                )))
            }
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
            (Some(url), _) => postgres::open(url, &self.config.store, &self.drive),
            (None, Access::Write) => Ok(Arc::new(EmbeddedStore::open(&self.dir.store())?)),
            (None, Access::Read) => Ok(Arc::new(EmbeddedStore::open_read_only(&self.dir.store())?)),
        }
    }

    /// The lake.
    ///
    /// # Errors
    /// As [`Self::ports`].
    pub fn lake(&self) -> Result<Arc<dyn Lake>> {
        match &self.config.lake.url {
            Some(url) => s3::open(url, &self.config.lake, &self.drive),
            None => Ok(Arc::new(DirectoryLake::open(&self.dir.lake())?)),
        }
    }

    /// The warehouse.
    ///
    /// # Errors
    /// As [`Self::ports`].
    pub fn warehouse(&self) -> Result<Arc<dyn Warehouse>> {
        match (&self.config.warehouse.url, self.access) {
            (Some(url), _) => redshift::open(url, &self.config.warehouse, &self.drive),
            (None, Access::Write) => Ok(Arc::new(EmbeddedWarehouse::open(&self.dir.warehouse())?)),
            (None, Access::Read) => Ok(Arc::new(EmbeddedWarehouse::open_read_only(
                &self.dir.warehouse(),
            )?)),
        }
    }
}

/// Stands where no warehouse is used. Nobody calls it; who does is refused.
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
