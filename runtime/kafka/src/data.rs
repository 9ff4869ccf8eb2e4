//! The client that fetches for all readers, and how much memory they may have together.
//!
//! librdkafka bounds what it fetches ahead by partition and fixes that bound when a client is made,
//! so the client is made at the first reader: by then the process has joined its group and knows
//! how many readers it may come to have.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use theatre_actors::ports::{Error, Result};

use super::client::{self, Base, PlainConsumer};
use theatre_config::log::LogConfig;

/// Less would have a round trip for a handful of records.
const LEAST: u64 = 256 << 10;
/// More brings nothing: a reader takes less at a time.
const MOST: u64 = 16 << 20;
/// Largest piece the broker gives of one partition at once; one record that is larger comes whole.
const PIECE: u64 = 1 << 20;
/// A short record of a robot with what librdkafka keeps about it, roughly: it counts the payload
/// only. More is fetched when fewer records are there, and a piece of the broker's should not bring
/// as many: what was just fetched would have to be read before more is asked for.
const RECORD: u64 = 1 << 9;

pub(super) struct Data {
    base: Base,
    config: LogConfig,
    shared: OnceLock<Arc<PlainConsumer>>,
    /// Readers that this process may come to have, as its membership says.
    expected: AtomicUsize,
    ended: Arc<AtomicBool>,
}

impl Data {
    pub(super) fn new(base: Base, config: LogConfig, ended: Arc<AtomicBool>) -> Self {
        Self {
            base,
            config,
            shared: OnceLock::new(),
            expected: AtomicUsize::new(0),
            ended,
        }
    }

    /// So many readers may be opened: all partitions of all inputs, should the others go away.
    pub(super) fn expect(&self, readers: usize) {
        self.expected.fetch_max(readers, Ordering::AcqRel);
    }

    /// The client of all readers; `readers` of them are to be expected if nobody told of more.
    pub(super) fn shared(&self, readers: usize) -> Result<Arc<PlainConsumer>> {
        if let Some(there) = self.shared.get() {
            return Ok(there.clone());
        }
        let opened = self.own(readers)?;
        let shared = self.shared.get_or_init(|| opened.clone());
        if Arc::ptr_eq(shared, &opened) {
            serve(opened, self.ended.clone())?;
        }
        Ok(shared.clone())
    }

    /// A client of one reader's own. Nobody but the reader polls it.
    pub(super) fn own(&self, readers: usize) -> Result<Arc<PlainConsumer>> {
        open(
            &self.base,
            &self.config,
            share(
                self.config.fetch_memory,
                self.expected.load(Ordering::Acquire).max(readers),
            ),
        )
    }
}

/// What each of so many readers may fetch ahead, in bytes.
fn share(memory: u64, readers: usize) -> u64 {
    (memory / readers.max(1) as u64).clamp(LEAST, MOST)
}

/// A client that fetches where it is told and belongs to no group.
fn open(base: &Base, config: &LogConfig, share: u64) -> Result<Arc<PlainConsumer>> {
    client::open(base, &fetching(base, config, share), "opening the log").map(Arc::new)
}

fn fetching(base: &Base, config: &LogConfig, share: u64) -> ClientConfig {
    let mut settings = client::consumer(base);
    settings
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("check.crcs", config.check_crcs.to_string());
    let (ahead, piece, records) = (
        (share >> 10).to_string(),
        (share / 4).min(PIECE).to_string(),
        (share / RECORD).to_string(),
    );
    let tuned = [
        ("fetch.queue.backoff.ms", "2"),
        ("queued.min.messages", records.as_str()),
        ("fetch.wait.max.ms", "100"),
        ("queued.max.messages.kbytes", ahead.as_str()),
        ("fetch.message.max.bytes", piece.as_str()),
    ];
    for (name, value) in tuned {
        if !config.properties.contains_key(name) {
            settings.set(name, value);
        }
    }
    settings
}

/// A client that asks and fetches nothing, until `ended`.
pub(super) fn asking(
    base: &Base,
    config: &LogConfig,
    ended: &Arc<AtomicBool>,
) -> Result<Arc<PlainConsumer>> {
    let mut settings = fetching(base, config, LEAST);
    // It is the first to connect. A broker that wants another kind of connection just closes this
    // one, which is told as a thing of no weight.
    settings.set("log.connection.close", "true");
    if !matches!(settings.log_level, RDKafkaLogLevel::Debug) {
        settings.set_log_level(RDKafkaLogLevel::Info);
    }
    let asking = Arc::new(client::open(base, &settings, "opening the log")?);
    serve(asking.clone(), ended.clone())?;
    Ok(asking)
}

/// Serves what the client reports besides records.
fn serve(data: Arc<PlainConsumer>, ended: Arc<AtomicBool>) -> Result<()> {
    let work = move || {
        while !ended.load(Ordering::Acquire) {
            client::serve_events_for(&data, Duration::from_millis(200));
        }
    };
    let started = std::thread::Builder::new()
        .name("kafka-events".to_owned())
        .spawn(work);
    started.map(drop).map_err(|error| {
        Error::Refused(format!(
            "a thread for Kafka's events cannot be started: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_the_memory_within_bounds() {
        let memory = LogConfig::default().fetch_memory;
        assert_eq!(memory, 32 << 20);
        assert_eq!(share(memory, 0), MOST);
        assert_eq!(share(memory, 36) / 1000, (memory / 36) / 1000);
        assert!(share(memory, 36) * 36 <= memory);
        assert_eq!(share(memory, 100_000), LEAST);
    }
}
