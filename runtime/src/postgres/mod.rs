//! The checkpoint store on PostgreSQL.

use std::sync::Arc;

use theatre_actors::ports::{CheckpointStore, Error, Result};

use crate::config::store::StoreConfig;
use crate::drive::Drive;

/// Opens it.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used, or what does not answer.
pub fn open(url: &str, config: &StoreConfig, drive: &Drive) -> Result<Arc<dyn CheckpointStore>> {
    let _ = (config, drive);
    Err(Error::Refused(format!("{url}: this adapter is not built yet")))
}
