//! The event log on Kafka.
//!
//! A process has one client of librdkafka for requests; appends share one idempotent producer, and
//! each lane has a transactional one. Records are fetched by a client of librdkafka that all
//! readers share, or, where the configuration says so, by the lean fetcher. The consumer group
//! assigns partitions to processes, but what fences a former owner is the store's epoch and the
//! lane's transactional id.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};
use theatre_actors::ports::{
    Appender, Epoch, Error, EventLog, Lane, LanePublisher, LogRange, LogReader, Membership,
    NewRecord, Ownership, Result,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use client::{Base, PlainConsumer, REQUEST_TIMEOUT, by_code, failed};
use theatre_config::log::{LogConfig, LogFetcher};
use theatre_system::blocking::IoRuntime;
use topics::Topics;

mod admin;
mod appender;
mod brokers;
mod client;
mod context;
mod diagnostics;
mod fetch;
mod fetch_clients;
mod identity;
mod inspect;
mod lane;
mod leader_health;
mod lean;
mod membership;
mod producer;
mod progress;
mod quota;
mod reader;
mod topic_audit;
mod topics;

pub use inspect::{ClockReading, Cluster, Group, Right, Rights, Server, Topic};
pub use lean::{Aborted, BatchFault, visit_batches};
pub use topic_audit::{Difference, ExpectedTopic, TopicAudit, TopicSettings, differences};

/// How long the records of an append may be under way, milliseconds. After that they are given up,
/// and the caller learns of it while it still holds what it appends for: a request with a key is
/// taken over by its repetition after a minute.
const APPEND_TIMEOUT_MS: u32 = 20_000;

/// Opens the log. It connects at the first request.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used.
pub fn open(url: &str, config: &LogConfig, io: &IoRuntime) -> Result<Arc<dyn EventLog>> {
    let base = client::base(url, config, io)?;
    let lean = lean_fetcher(&base, config)?;
    let ended = Arc::new(AtomicBool::new(false));
    let query_client = fetch_clients::query_client(&base, config, &ended)?;
    let topics = Topics {
        query_client: query_client.clone(),
        base: base.clone(),
        io: io.clone(),
        may_create: config.create_topics,
        partition_counts: Arc::new(Mutex::new(HashMap::new())),
    };
    let claimed = reader::ClaimedPartitions::default();
    // The lean fetcher knows by itself when it asked for the end that it saw.
    let (probing, asks_ends) = match &lean {
        Some(_) => (query_client.clone(), false),
        None => (fetch_clients::probing_client(&base, &ended)?, true),
    };
    let leader_health = leader_health::LeaderHealth::start(probing, asks_ends, ended.clone())?;
    let fetching = fetch_clients::FetchClients::new(base.clone(), config.clone(), ended.clone());
    Ok(Arc::new(KafkaLog {
        base,
        config: config.clone(),
        query_client,
        ends_client: OnceLock::new(),
        lean,
        fetching,
        topics,
        producer: OnceLock::new(),
        claimed,
        leader_health,
        ended,
    }))
}

/// Whether a log could be opened, without a request.
///
/// # Errors
/// As [`open`].
pub fn check(url: &str, config: &LogConfig, io: &IoRuntime) -> Result<()> {
    let base = client::base(url, config, io)?;
    lean_fetcher(&base, config)?;
    fetch_clients::query_client(&base, config, &Arc::new(AtomicBool::new(true))).map(drop)
}

/// The lean fetcher; `None` if librdkafka fetches.
fn lean_fetcher(base: &Base, config: &LogConfig) -> Result<Option<lean::Fetcher>> {
    match config.fetcher {
        LogFetcher::Librdkafka => Ok(None),
        LogFetcher::Lean => {
            let brokers = base.settings.get("bootstrap.servers").unwrap_or_default();
            lean::Fetcher::new(brokers, config, &base.identity).map(Some)
        }
    }
}

struct KafkaLog {
    base: Base,
    config: LogConfig,
    /// For requests; it fetches nothing.
    query_client: Arc<PlainConsumer>,
    /// For the ends of topic partitions beyond open transactions, where they are asked for.
    ends_client: OnceLock<PlainConsumer>,
    lean: Option<lean::Fetcher>,
    /// Clients of librdkafka that fetch, if the lean fetcher does not.
    fetching: fetch_clients::FetchClients,
    topics: Topics,
    producer: OnceLock<producer::Producer>,
    claimed: reader::ClaimedPartitions,
    leader_health: Arc<leader_health::LeaderHealth>,
    ended: Arc<AtomicBool>,
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

impl KafkaLog {
    fn producer(&self) -> Result<&producer::Producer> {
        if let Some(there) = self.producer.get() {
            return Ok(there);
        }
        let of_messages = APPEND_TIMEOUT_MS.to_string();
        let opened = producer::open(&self.base, &[("message.timeout.ms", &of_messages)])
            .map_err(|error| failed("opening a producer", &error))?;
        Ok(self.producer.get_or_init(|| opened))
    }

    /// The client that sees what open transactions have written.
    fn ends_client(&self) -> Result<&PlainConsumer> {
        if let Some(there) = self.ends_client.get() {
            return Ok(there);
        }
        let mut settings = client::consumer(&self.base);
        settings.set("isolation.level", "read_uncommitted");
        let opened = client::open(&self.base, &settings, "opening the log")?;
        Ok(self.ends_client.get_or_init(|| opened))
    }

    /// The shared client, if it does not fetch this partition yet; else a client for this reader
    /// alone. A client can fetch a partition for one reader only.
    fn client_for(
        &self,
        topic: &str,
        partition: Partition,
    ) -> Result<(Arc<PlainConsumer>, Option<reader::PartitionClaim>)> {
        let key = (topic.to_owned(), partition);
        let free = self
            .claimed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone());
        let claim = free.then(|| reader::PartitionClaim(self.claimed.clone(), key));
        let readers = self.topics.partitions(topic)?.unwrap_or(1) as usize;
        if claim.is_some() {
            Ok((self.fetching.shared(readers)?, claim))
        } else {
            Ok((self.fetching.dedicated(readers)?, None))
        }
    }
}

/// The range of a topic partition. A topic that was just created may have no leader for a moment,
/// so that error is retried.
fn watermarks(
    base: &Base,
    client: &PlainConsumer,
    topic: &str,
    partition: Partition,
) -> Result<LogRange> {
    use rdkafka::error::RDKafkaErrorCode as Code;
    let until = Instant::now() + REQUEST_TIMEOUT;
    loop {
        match client.fetch_watermarks(topic, partition as i32, REQUEST_TIMEOUT) {
            Ok((start, end)) => {
                return Ok(LogRange {
                    start: start as u64,
                    end: end as u64,
                });
            }
            Err(error)
                if matches!(
                    error.rdkafka_error_code(),
                    Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable)
                ) && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => {
                let what = "asking for a topic's range";
                return Err(of_partition(base, client, what, (topic, partition), &error));
            }
        }
    }
}

/// The error of a question about a partition. The client calls one without a leader unknown, too,
/// such as while a broker that was away for long is fenced: that passes.
fn of_partition(
    base: &Base,
    client: &PlainConsumer,
    what: &str,
    (topic, partition): (&str, Partition),
    error: &KafkaError,
) -> Error {
    use rdkafka::error::RDKafkaErrorCode as Code;
    let is_unknown = error.rdkafka_error_code() == Some(Code::UnknownPartition);
    if is_unknown && is_there(client, topic, partition) {
        return by_code(what, Code::LeaderNotAvailable);
    }
    base.failed(what, error)
}

/// Whether the brokers know a partition, or say nothing about it.
fn is_there(client: &PlainConsumer, topic: &str, partition: Partition) -> bool {
    let Ok(metadata) = client.fetch_metadata(Some(topic), REQUEST_TIMEOUT) else {
        return true;
    };
    let topics = metadata.topics().iter();
    let mut partitions = topics
        .filter(|known| known.name() == topic)
        .flat_map(|known| known.partitions());
    partitions.any(|known| known.id() == partition as i32)
}

impl EventLog for KafkaLog {
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.topics.ensure(topics, partitions)
    }

    fn grow_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.topics.grow(topics, partitions)?;
        // The producer would learn of the new partitions by itself only after minutes.
        let Some(producer) = self.producer.get() else {
            return Ok(());
        };
        let refresh = |topic: &String| {
            producer
                .client()
                .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
                .map(drop)
        };
        topics
            .iter()
            .try_for_each(refresh)
            .map_err(|error| self.base.failed("asking for a topic", &error))
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.topics.partitions(topic)
    }

    fn join(
        &self,
        topics: &[String],
        partitions: u32,
        owner: Arc<dyn Ownership>,
    ) -> Result<Box<dyn Membership>> {
        self.fetching
            .expect_readers(topics.len() * partitions as usize);
        membership::join(&self.base, &self.config, topics, owner)
    }

    fn append(&self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64> {
        self.topics.check_partition(topic, partition)?;
        if records.is_empty() {
            return Ok(self.range(topic, partition)?.end);
        }
        let outcome = producer::send_all(
            self.producer()?,
            records
                .iter()
                .enumerate()
                .map(|(index, record)| (index, topic, partition, record)),
        );
        // What became of some is not known, even where others were refused.
        let is_unknown = |(_, code): &&(usize, RDKafkaErrorCode)| !client::is_refusal(*code);
        let mut failed = outcome.failed.iter();
        let failure = failed.find(is_unknown).or(outcome.failed.first());
        match (failure, outcome.first_offset) {
            (Some((index, code)), _) => Err(client::by_code(
                &format!(
                    "appending record {index} of {} to topic '{topic}'",
                    records.len()
                ),
                *code,
            )),
            (None, Some(first)) => Ok(first),
            (None, None) => Err(Error::Unavailable {
                what: client::WHAT,
                why: "an append was acknowledged without an offset".to_owned(),
            }),
        }
    }

    fn reader(&self, topic: &str, partition: Partition, from: u64) -> Result<Box<dyn LogReader>> {
        self.topics.check_partition(topic, partition)?;
        if let Some(lean) = &self.lean {
            let (name, base, client) = (
                topic.to_owned(),
                self.base.clone(),
                self.query_client.clone(),
            );
            let start =
                move || watermarks(&base, &client, &name, partition).map(|range| range.start);
            let heartbeat = self.leader_health.watch(topic, partition);
            return lean.reader(topic, partition, from, heartbeat, Box::new(start));
        }
        let (client, claim) = self.client_for(topic, partition)?;
        let fetch = fetch::FetchQueue::start(client.clone(), topic, partition as i32, from as i64)?;
        let (name, base) = (topic.to_owned(), self.base.clone());
        let start =
            Box::new(move || watermarks(&base, &client, &name, partition).map(|range| range.start));
        let heartbeat = self.leader_health.watch(topic, partition);
        let topic = topic.to_owned();
        Ok(Box::new(reader::Reader {
            fetch,
            topic,
            partition,
            next: from,
            at_end: false,
            progress: progress::Progress::begin(),
            heartbeat,
            known: Cell::new(Instant::now()),
            start,
            claim,
        }))
    }

    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange> {
        self.topics.check_partition(topic, partition)?;
        watermarks(&self.base, &self.query_client, topic, partition)
    }

    fn written_end(&self, topic: &str, partition: Partition) -> Result<u64> {
        self.topics.check_partition(topic, partition)?;
        let client = self.ends_client()?;
        client::serve_events(client);
        watermarks(&self.base, client, topic, partition).map(|range| range.end)
    }

    fn open_appender<'a>(&'a self, name: &str) -> Result<Box<dyn Appender + 'a>> {
        Ok(Box::new(appender::Appender::open(self, name)?))
    }

    fn offset_at(&self, topic: &str, partition: Partition, time: LogTime) -> Result<u64> {
        self.topics.check_partition(topic, partition)?;
        let mut asked = TopicPartitionList::new();
        // The broker keeps milliseconds, so the time is rounded up: the first millisecond that is
        // not before it. Negative values have special meanings in the protocol.
        let millis = (time.0.div_euclid(1000) + i64::from(time.0.rem_euclid(1000) > 0)).max(0);
        let what = "looking up an append time";
        asked
            .add_partition_offset(topic, partition as i32, Offset::Offset(millis))
            .map_err(|error| failed(what, &error))?;
        let answer = self
            .query_client
            .offsets_for_times(asked, REQUEST_TIMEOUT)
            .map_err(|error| {
                let client = &self.query_client;
                of_partition(&self.base, client, what, (topic, partition), &error)
            })?;
        match answer.elements().first().map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset as u64),
            _ => Ok(self.range(topic, partition)?.end),
        }
    }

    fn open_lane(
        &self,
        partition: Partition,
        lane: Lane,
        epoch: Epoch,
    ) -> Result<Box<dyn LanePublisher>> {
        let positions_topic = lane::positions_topic(&self.config);
        self.topics
            .ensure(std::slice::from_ref(&positions_topic), 1)?;
        Ok(Box::new(lane::Publisher::open(
            &self.base,
            &self.config,
            self.topics.clone(),
            positions_topic,
            (partition, lane, epoch),
        )?))
    }

    /// Does nothing: Kafka deletes by the topic's own retention, on which other readers rely too.
    fn trim(&self, _topic: &str, _partition: Partition, _before: u64) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[test]
    fn an_append_to_a_broker_that_is_away_is_given_up_before_its_request_is_taken_over() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("records", 1, 1).unwrap();
        let url = format!("kafka://{}", cluster.bootstrap_servers());
        let io = IoRuntime::start().unwrap();
        let log = open(&url, &LogConfig::default(), &io).unwrap();
        let append = || {
            let record = NewRecord {
                key: b"robot".to_vec(),
                value: b"value".to_vec(),
                headers: Vec::new(),
            };
            log.append("records", 0, &[record])
        };
        append().unwrap();
        cluster.broker_down(1).unwrap();
        let begun = Instant::now();
        let error = append().unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(40), "{took:?}");
    }
}
