//! The client that fetches for all readers, and the memory that they share.
//!
//! librdkafka bounds what it fetches ahead per partition, and fixes that bound when the client is
//! created. The client is therefore created at the first reader: by then the process has joined its
//! group and knows how many readers it may come to have.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use theatre_actors::ports::{Error, Result};

use super::client::{self, Base, PlainConsumer, serve_events_for};
use theatre_config::log::LogConfig;

/// Least that a reader may fetch ahead: with less, a round trip would bring a handful of records.
const READER_BYTES_MIN: u64 = 256 << 10;
/// Most that a reader may fetch ahead: it takes less than this in one poll, so more brings nothing.
const READER_BYTES_MAX: u64 = 16 << 20;
/// Most bytes of one partition in one answer of the broker. A record that is larger comes whole.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Roughly the memory of a short record of a robot, with what librdkafka keeps about it (its own
/// bounds count payloads only). It sets `queued.min.messages`, below which librdkafka fetches more:
/// that number must be larger than the records of one answer, or the next fetch would begin only
/// when the last answer has been read.
const SHORT_RECORD_BYTES: u64 = 1 << 9;

pub(super) struct FetchClients {
    base: Base,
    config: LogConfig,
    shared: OnceLock<Arc<PlainConsumer>>,
    /// How many readers this process may come to have, by its membership in the group.
    expected_readers: AtomicUsize,
    ended: Arc<AtomicBool>,
}

impl FetchClients {
    pub(super) fn new(base: Base, config: LogConfig, ended: Arc<AtomicBool>) -> Self {
        Self {
            base,
            config,
            shared: OnceLock::new(),
            expected_readers: AtomicUsize::new(0),
            ended,
        }
    }

    /// Announces how many readers may be opened: one for each partition of each input, should the
    /// other members of the group leave.
    pub(super) fn expect_readers(&self, readers: usize) {
        self.expected_readers.fetch_max(readers, Ordering::AcqRel);
    }

    /// The client that all readers share; `readers` is how many there will be, if no larger number
    /// was announced.
    pub(super) fn shared(&self, readers: usize) -> Result<Arc<PlainConsumer>> {
        if let Some(there) = self.shared.get() {
            return Ok(there.clone());
        }
        let opened = self.dedicated(readers)?;
        let shared = self.shared.get_or_init(|| opened.clone());
        if Arc::ptr_eq(shared, &opened) {
            serve(opened, self.ended.clone())?;
        }
        Ok(shared.clone())
    }

    /// A client for one reader alone, which has to poll it: no thread does.
    pub(super) fn dedicated(&self, readers: usize) -> Result<Arc<PlainConsumer>> {
        open(
            &self.base,
            &self.config,
            reader_bytes(
                self.config.fetch_memory,
                self.expected_readers.load(Ordering::Acquire).max(readers),
            ),
        )
    }
}

/// How many bytes each of so many readers may fetch ahead.
fn reader_bytes(memory: u64, readers: usize) -> u64 {
    (memory / readers.max(1) as u64).clamp(READER_BYTES_MIN, READER_BYTES_MAX)
}

/// A client that is in no group and fetches what its readers ask for.
fn open(base: &Base, config: &LogConfig, bytes: u64) -> Result<Arc<PlainConsumer>> {
    client::open(
        base,
        &fetch_settings(base, config, bytes),
        "opening the log",
    )
    .map(Arc::new)
}

fn fetch_settings(base: &Base, config: &LogConfig, bytes: u64) -> ClientConfig {
    let mut settings = client::consumer(base);
    settings
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("check.crcs", config.check_crcs.to_string());
    let (ahead_kib, answer_bytes, records) = (
        (bytes >> 10).to_string(),
        (bytes / 4).min(ANSWER_BYTES_MAX).to_string(),
        (bytes / SHORT_RECORD_BYTES).to_string(),
    );
    let tuned = [
        ("fetch.queue.backoff.ms", "2"),
        ("queued.min.messages", records.as_str()),
        ("fetch.wait.max.ms", "100"),
        ("queued.max.messages.kbytes", ahead_kib.as_str()),
        ("fetch.message.max.bytes", answer_bytes.as_str()),
    ];
    for (name, value) in tuned {
        if !config.properties.contains_key(name) {
            settings.set(name, value);
        }
    }
    settings
}

/// A client for requests, which fetches nothing. A thread polls it until `ended`.
pub(super) fn query_client(
    base: &Base,
    config: &LogConfig,
    ended: &Arc<AtomicBool>,
) -> Result<Arc<PlainConsumer>> {
    let mut settings = fetch_settings(base, config, READER_BYTES_MIN);
    // This client is the first to connect. A broker that wants another kind of connection just
    // closes this one, which librdkafka logs only with this property, and only at level info.
    settings.set("log.connection.close", "true");
    if !matches!(settings.log_level, RDKafkaLogLevel::Debug) {
        settings.set_log_level(RDKafkaLogLevel::Info);
    }
    let query_client = Arc::new(client::open(base, &settings, "opening the log")?);
    serve(query_client.clone(), ended.clone())?;
    Ok(query_client)
}

/// The client that asks leaders where their logs end, behind what open transactions have written.
pub(super) fn probing_client(base: &Base, ended: &Arc<AtomicBool>) -> Result<Arc<PlainConsumer>> {
    let mut settings = client::consumer(base);
    settings.set("isolation.level", "read_uncommitted");
    let probing = Arc::new(client::open(base, &settings, "opening the log")?);
    serve(probing.clone(), ended.clone())?;
    Ok(probing)
}

/// Starts the thread that serves the client's events other than records, until `ended`.
fn serve(client: Arc<PlainConsumer>, ended: Arc<AtomicBool>) -> Result<()> {
    let work = move || {
        while !ended.load(Ordering::Acquire) {
            serve_events_for(&client, Duration::from_millis(200));
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
        assert_eq!(reader_bytes(memory, 0), READER_BYTES_MAX);
        assert_eq!(reader_bytes(memory, 36) / 1000, (memory / 36) / 1000);
        assert!(reader_bytes(memory, 36) * 36 <= memory);
        assert_eq!(reader_bytes(memory, 100_000), READER_BYTES_MIN);
    }
}
