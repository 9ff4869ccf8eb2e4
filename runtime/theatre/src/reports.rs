//! Where the warehouse's reports are asked.

use std::sync::{Arc, Mutex, PoisonError};

use theatre_actors::ports::{QueryResult, Result, Warehouse};
use theatre_api::ReportSource;
use theatre_config::Config;
use theatre_embedded::data_dir::DataDir;
use theatre_star::dialect::Dialect;
use theatre_star::report::Report;

use crate::adapters::{Access, Adapters};

/// Asks a report of a warehouse.
///
/// # Errors
/// As the warehouse's query.
pub(crate) fn answer(
    config: &Config,
    warehouse: &dyn Warehouse,
    report: &Report,
) -> Result<QueryResult> {
    let warehouse_config = &config.warehouse;
    let schema = format!("\"{}\"", warehouse_config.schema.replace('"', "\"\""));
    let dialect = match &warehouse_config.url {
        None => Dialect::Sqlite,
        Some(_) => Dialect::Redshift(&schema),
    };
    warehouse.query(&report.query(&dialect))
}

/// The warehouse of a configuration, opened for reading when it is first asked: the embedded one is
/// made by the loader, which may not have begun.
pub(crate) struct Reports {
    config: Config,
    dir: DataDir,
    opened: Mutex<Option<Arc<dyn Warehouse>>>,
}

impl Reports {
    /// Of a configuration that has a warehouse.
    pub(crate) fn of(config: &Config, dir: &DataDir) -> Option<Arc<dyn ReportSource>> {
        config.warehouse.enabled.then(|| {
            let (config, dir) = (config.clone(), dir.clone());
            let opened = Mutex::default();
            Arc::new(Self {
                config,
                dir,
                opened,
            }) as Arc<dyn ReportSource>
        })
    }

    fn warehouse(&self) -> Result<Arc<dyn Warehouse>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = &*opened {
            return Ok(there.clone());
        }
        let warehouse = Adapters::new(&self.config, &self.dir, Access::Read)?.warehouse()?;
        *opened = Some(warehouse.clone());
        Ok(warehouse)
    }
}

impl ReportSource for Reports {
    fn answer(&self, report: &Report) -> Result<QueryResult> {
        answer(&self.config, &*self.warehouse()?, report)
    }
}
