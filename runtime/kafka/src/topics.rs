//! Topics: how many partitions they have, and the creation of missing ones with the settings that
//! Theatre needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use theatre_actors::ports::{Error, Result};
use theatre_actors::position::Partition;

use super::admin::{self, Admin};
use super::client::{
    Base, PlainConsumer, REQUEST_TIMEOUT, by_code, is_no_answer, max_message_bytes,
};
use super::quota;
use theatre_system::blocking::IoRuntime;

/// For the first attempt: a broker that refuses a connection does so at once.
const REFUSED_WITHIN: Duration = Duration::from_secs(3);
/// The cause of a failed connection is logged within this time after the request has failed.
const CAUSE_WITHIN: Duration = Duration::from_millis(500);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Looks topics up and creates them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Topics {
    pub(super) query_client: Arc<PlainConsumer>,
    pub(super) base: Base,
    pub(super) io: IoRuntime,
    /// False: topics that are missing are refused.
    pub(super) may_create: bool,
    /// Numbers of partitions that were seen. They only grow, and `ensure` looks again.
    pub(super) partition_counts: Arc<Mutex<HashMap<String, u32>>>,
}

impl Topics {
    /// Number of partitions; `None` if there is no such topic.
    pub(super) fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        let metadata = self
            .fetch_metadata(Some(topic))
            .map_err(|error| self.base.failed("asking for a topic", &error))?;
        let Some(found) = metadata.topics().first() else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(found.partitions().len() as u32)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Ok(None)
            }
            Some(code) => Err(by_code(&format!("asking for topic '{topic}'"), code)),
        }
    }

    /// The metadata of a topic, or of all topics. Brokers that refuse this process are not asked
    /// for the whole time of a request.
    fn fetch_metadata(&self, topic: Option<&str>) -> KafkaResult<Metadata> {
        let first = self.fetch_metadata_once(topic);
        if !first.as_ref().is_err_and(is_no_answer) || self.base.diagnostics.is_permanent() {
            return first;
        }
        self.query_client.fetch_metadata(topic, REQUEST_TIMEOUT)
    }

    /// Fetches metadata, and gives up after one attempt that takes a few seconds.
    pub(super) fn fetch_metadata_once(&self, topic: Option<&str>) -> KafkaResult<Metadata> {
        let first = self.query_client.fetch_metadata(topic, REFUSED_WITHIN);
        if first.as_ref().is_err_and(is_no_answer) {
            // A connection that ends at once fails the request before librdkafka has logged the
            // cause.
            let until = Instant::now() + CAUSE_WITHIN;
            while !self.base.diagnostics.has_recent_failure() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        first
    }

    /// Refuses a topic or partition that is not there.
    pub(super) fn check_partition(&self, topic: &str, partition: Partition) -> Result<()> {
        let cached = self
            .partition_counts
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .get(topic)
            .copied();
        // The cached number may be too small: the topic may have grown, or was just being created.
        let count = match cached.filter(|count| partition < *count) {
            Some(count) => count,
            None => {
                let found = self.partitions(topic)?.ok_or_else(|| {
                    Error::Refused(format!("there is no topic '{topic}' in the log"))
                })?;
                self.partition_counts
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner())
                    .insert(topic.to_owned(), found);
                found
            }
        };
        if partition >= count {
            return Err(Error::Refused(format!(
                "topic '{topic}' has {count} partitions, there is no partition {partition}"
            )));
        }
        Ok(())
    }

    /// Creates the topics that are missing; none of them if one that is there has another count.
    pub(super) fn ensure(&self, topics: &[String], partitions: u32) -> Result<()> {
        let mut missing = Vec::new();
        for topic in topics {
            match self.partitions(topic)? {
                Some(there) if there != partitions => {
                    return Err(Error::Refused(format!(
                        "topic '{topic}' has {there} partitions, the configuration says {partitions}: robots would move between owners; \
                         set partitions = {there}, or drain the topics and run `theatre state repartition`"
                    )));
                }
                Some(_) => {}
                None if !self.may_create => {
                    return Err(Error::Refused(format!(
                        "there is no topic '{topic}' and log.create_topics is off: create it with {partitions} partitions"
                    )));
                }
                None => missing.push(topic),
            }
        }
        missing
            .into_iter()
            .try_for_each(|topic| self.create(topic, partitions))
    }

    fn create(&self, topic: &str, partitions: u32) -> Result<()> {
        let brokers = self
            .fetch_metadata(None)
            .map_err(|error| self.base.failed("asking for brokers", &error))?
            .brokers()
            .len();
        let replicas = brokers.clamp(1, 3) as i32;
        let mut new = NewTopic::new(topic, partitions as i32, TopicReplication::Fixed(replicas));
        let settings = settings(topic, replicas, self.base.is_serverless);
        for (name, value) in &settings {
            new = new.set(name, value);
        }
        let call = format!("creating topic '{topic}'");
        quota::until_taken(&call, std::thread::sleep, || {
            // Its token for MSK lives for minutes only.
            let admin = self.admin()?;
            let made = self.io.block_on(admin.create_topics([&new], &options()));
            let made = made.map_err(|error| {
                admin::failed_with_log(&self.base, &admin, "creating a topic", &error)
            })?;
            quota::answer(&made, &call, RDKafkaErrorCode::TopicAlreadyExists)
        })?;
        self.await_leaders(topic, partitions)
    }

    /// Gives topics with fewer partitions this many; missing topics are created at the next start.
    pub(super) fn grow(&self, topics: &[String], partitions: u32) -> Result<()> {
        let mut smaller = Vec::new();
        for topic in topics {
            match self.partitions(topic)? {
                Some(there) if there > partitions => {
                    return Err(Error::Refused(format!(
                        "topic '{topic}' has {there} partitions already: Kafka cannot take any back, it cannot have {partitions}"
                    )));
                }
                Some(there) if there < partitions => smaller.push(topic),
                _ => {}
            }
        }
        if let Some(topic) = smaller.first().filter(|_| !self.may_create) {
            return Err(Error::Refused(format!(
                "topic '{topic}' has fewer than {partitions} partitions and log.create_topics is off: give {} topics so many \
                 (kafka-topics.sh --alter --partitions {partitions}) and repeat",
                smaller.len()
            )));
        }
        smaller
            .into_iter()
            .try_for_each(|topic| self.grow_one(topic, partitions))
    }

    fn grow_one(&self, topic: &str, partitions: u32) -> Result<()> {
        let wanted = NewPartitions::new(topic, partitions as usize);
        let call = format!("adding partitions to topic '{topic}'");
        quota::until_taken(&call, std::thread::sleep, || {
            let admin = self.admin()?;
            let grown = self
                .io
                .block_on(admin.create_partitions([&wanted], &options()));
            let grown = grown.map_err(|error| {
                admin::failed_with_log(&self.base, &admin, "adding partitions", &error)
            })?;
            // Another process may have done it meanwhile; the number is checked below.
            quota::answer(&grown, &call, RDKafkaErrorCode::InvalidPartitions)
        })?;
        self.await_leaders(topic, partitions)?;
        self.partition_counts
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .insert(topic.to_owned(), partitions);
        Ok(())
    }

    /// A client for changes and settings.
    pub(super) fn admin(&self) -> Result<Admin> {
        admin::open(&self.base)
    }

    /// Waits until the brokers know of a change of a topic: not all of them do at once.
    fn await_leaders(&self, topic: &str, partitions: u32) -> Result<()> {
        let begun = Instant::now();
        while self.partitions(topic)? != Some(partitions) {
            if begun.elapsed() > REQUEST_TIMEOUT {
                return Err(Error::Unavailable {
                    what: super::client::WHAT,
                    why: format!(
                        "topic '{topic}' was changed, but its {partitions} partitions are not there yet"
                    ),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// How long the brokers have for a request of the admin client.
pub(super) fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(REQUEST_TIMEOUT))
        .request_timeout(Some(REQUEST_TIMEOUT))
}

/// Settings of a topic, by the kind its name says. MSK Serverless lets no one say how many copies
/// have to be in sync.
pub(super) fn settings(
    topic: &str,
    replicas: i32,
    is_serverless: bool,
) -> Vec<(&'static str, String)> {
    let (cleanup, days) = if topic.ends_with(".dlq") {
        ("delete", 30)
    } else if topic.contains(".outcomes.") {
        ("compact,delete", 365)
    } else if topic.ends_with(".registry.v1") || topic.ends_with(".control.v1") {
        // What is registered, and how a rule was changed, holds until something else is.
        ("compact", 365)
    } else if [".versions.", ".maintenance.", ".alert."]
        .iter()
        .any(|part| topic.contains(part))
    {
        ("delete", 365)
    } else if topic.contains(".telemetry.") || topic.ends_with(".telemetry") {
        ("delete", 7)
    } else {
        ("delete", 30)
    };
    let mut all = vec![
        ("cleanup.policy", cleanup.to_owned()),
        ("retention.ms", (days * DAY_MS).to_string()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        (
            "max.message.bytes",
            max_message_bytes(is_serverless).to_owned(),
        ),
    ];
    if !is_serverless {
        let least = if replicas >= 3 { "2" } else { "1" };
        all.push(("min.insync.replicas", least.to_owned()));
    }
    all
}
