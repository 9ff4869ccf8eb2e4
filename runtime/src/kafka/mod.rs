//! The event log on Kafka.

use std::sync::Arc;

use theatre_actors::ports::{Error, EventLog, Result};

use crate::config::log::LogConfig;
use crate::drive::Drive;

/// Opens it.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used, or what does not answer.
pub fn open(url: &str, config: &LogConfig, drive: &Drive) -> Result<Arc<dyn EventLog>> {
    let _ = (config, drive);
    Err(Error::Refused(format!("{url}: this adapter is not built yet")))
}
