//! The lean fetcher: reads topic partitions straight from their leaders, one connection and one
//! thread for each broker. It does for fetching what librdkafka does at a fraction of the cost: an
//! answer's records stay where the socket has put them, and readers visit them in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use theatre_actors::ports::{Error, LogReader, Result};
use theatre_actors::position::Partition as PartitionNumber;
use theatre_config::log::LogConfig;

use super::identity::Identity;
use super::leader_health::Heartbeat;
use super::progress::Progress;
use cluster::Cluster;
use partition::Partition;
use settings::Settings;

mod backoff;
mod batches;
mod cluster;
mod codecs;
mod connection;
mod errors;
mod fetch_response;
mod frame;
mod leader;
mod memory;
mod partition;
mod plan;
mod reader;
mod records;
mod rights;
mod sasl;
mod scram;
mod server;
mod session;
mod settings;
mod signal;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod visit;

pub use batches::BatchFault;
pub(super) use rights::rights;
pub(super) use server::server;
pub use visit::{Aborted, visit_batches};

/// Fetches for all readers of a process. Its threads end with the last of its readers.
#[derive(Clone)]
pub(super) struct Fetcher(Arc<Handle>);

struct Handle(Arc<Cluster>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.want_refresh();
    }
}

impl Fetcher {
    /// Of these brokers. It connects at the first reader.
    pub(super) fn new(brokers: &str, config: &LogConfig, identity: &Identity) -> Result<Self> {
        Settings::of(brokers, config, identity).map(Self::with)
    }

    fn with(settings: Settings) -> Self {
        let cluster = Cluster::new(settings, Arc::new(AtomicBool::new(false)));
        Self(Arc::new(Handle(cluster)))
    }

    /// Opens a reader. `start` asks for the first offset that is still there, when the broker says
    /// that the reader's is gone.
    pub(super) fn reader(
        &self,
        topic: &str,
        partition: PartitionNumber,
        from: u64,
        heartbeat: Heartbeat,
        start: Box<dyn Fn() -> Result<u64> + Send>,
    ) -> Result<Box<dyn LogReader>> {
        let cluster = &self.0.0;
        let piece = cluster.settings.piece_bytes;
        let fetched = Arc::new(
            Partition::new(topic, partition as i32, from, piece).with_pulse(heartbeat.pulse()),
        );
        cluster.add(fetched.clone()).map_err(|error| {
            Error::Refused(format!(
                "a thread that fetches from Kafka cannot be started: {error}"
            ))
        })?;
        Ok(Box::new(reader::Reader {
            fetcher: self.clone(),
            fetched,
            topic: topic.to_owned(),
            partition,
            next: from,
            current: None,
            inflater: codecs::Inflater::new(reader::INFLATED_MAX),
            faults: 0,
            opened: Instant::now(),
            first_end: None,
            heartbeat,
            progress: Progress::begin(),
            start,
        }))
    }
}
