//! The warehouse on Amazon Redshift, through its Data API.

use std::sync::Arc;

use theatre_actors::ports::{Error, Result, Warehouse};

use crate::config::warehouse::WarehouseConfig;
use crate::drive::Drive;

/// Opens it.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used, or what does not answer.
pub fn open(url: &str, config: &WarehouseConfig, drive: &Drive) -> Result<Arc<dyn Warehouse>> {
    let _ = (config, drive);
    Err(Error::Refused(format!("{url}: this adapter is not built yet")))
}
