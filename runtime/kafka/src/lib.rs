//! The event log on Kafka.
//!
//! One client asks and another one fetches for all readers of a process; appends share one
//! idempotent producer; each lane has a transactional one. Who owns which partition comes from a
//! consumer group, but the fences are the store's epoch and the lane's id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};
use theatre_actors::ports::{
    Epoch, Error, EventLog, Lane, LanePublisher, LogRange, LogReader, Membership, NewRecord,
    Ownership, Result,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use client::{ANSWER, Base, PlainConsumer, failed};
use theatre_config::log::LogConfig;
use theatre_system::blocking::IoRuntime;
use topics::Topics;

mod admin;
mod brokers;
mod client;
mod data;
mod diagnostics;
mod fetch;
mod identity;
mod lane;
mod leader_health;
mod membership;
mod producer;
mod reader;
mod topic_audit;
mod topics;

pub use topic_audit::{Difference, ExpectedTopic, TopicAudit};

/// Opens it. Connects when first asked.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used.
pub fn open(url: &str, config: &LogConfig, io: &IoRuntime) -> Result<Arc<dyn EventLog>> {
    let base = client::base(url, config, io)?;
    let ended = Arc::new(AtomicBool::new(false));
    let asking = data::asking(&base, config, &ended)?;
    let known = Arc::new(Mutex::new(HashMap::new()));
    let topics = Topics {
        asking: asking.clone(),
        base: base.clone(),
        io: io.clone(),
        create: config.create_topics,
        known,
    };
    let taken = reader::Taken::default();
    let leader_health = leader_health::LeaderHealth::start(asking.clone(), ended.clone())?;
    let data = data::Data::new(base.clone(), config.clone(), ended.clone());
    Ok(Arc::new(KafkaLog {
        base,
        config: config.clone(),
        asking,
        data,
        topics,
        producer: OnceLock::new(),
        taken,
        leader_health,
        ended,
    }))
}

struct KafkaLog {
    base: Base,
    config: LogConfig,
    /// Asks; fetches nothing.
    asking: Arc<PlainConsumer>,
    data: data::Data,
    topics: Topics,
    producer: OnceLock<producer::Producer>,
    taken: reader::Taken,
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
        let opened = producer::open(&self.base, &[])
            .map_err(|error| failed("opening a producer", &error))?;
        Ok(self.producer.get_or_init(|| opened))
    }

    /// The shared client if it does not fetch this partition yet, else one of the reader's own.
    fn client_for(
        &self,
        topic: &str,
        partition: Partition,
    ) -> Result<(Arc<PlainConsumer>, Option<reader::Place>)> {
        let key = (topic.to_owned(), partition);
        let free = self
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone());
        let place = free.then(|| reader::Place(self.taken.clone(), key));
        let readers = self.topics.partitions(topic)?.unwrap_or(1) as usize;
        if place.is_some() {
            Ok((self.data.shared(readers)?, place))
        } else {
            Ok((self.data.own(readers)?, None))
        }
    }
}

/// The range of a topic partition. A topic made a moment ago may have no leader yet: that passes.
fn watermarks(
    base: &Base,
    client: &PlainConsumer,
    topic: &str,
    partition: Partition,
) -> Result<LogRange> {
    use rdkafka::error::RDKafkaErrorCode as Code;
    let until = Instant::now() + ANSWER;
    loop {
        match client.fetch_watermarks(topic, partition as i32, ANSWER) {
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
            Err(error) => return Err(base.failed("asking for a topic's range", &error)),
        }
    }
}

impl EventLog for KafkaLog {
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.topics.ensure(topics, partitions)
    }

    fn grow_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.topics.grow(topics, partitions)?;
        // A producer that knows a topic would find out by itself within minutes.
        let Some(producer) = self.producer.get() else {
            return Ok(());
        };
        let refresh = |topic: &String| {
            producer
                .client()
                .fetch_metadata(Some(topic), ANSWER)
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
        self.data.expect(topics.len() * partitions as usize);
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
        match (outcome.failed.first(), outcome.first_offset) {
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
        let (client, place) = self.client_for(topic, partition)?;
        let fetch = fetch::FetchQueue::start(client.clone(), topic, partition as i32, from as i64)?;
        let (asked, base) = (topic.to_owned(), self.base.clone());
        let start = Box::new(move || {
            watermarks(&base, &client, &asked, partition).map(|range| range.start)
        });
        let pulse = self.leader_health.watch(topic, partition);
        let topic = topic.to_owned();
        Ok(Box::new(reader::Reader {
            fetch,
            topic,
            partition,
            next: from,
            at_end: false,
            heard: Instant::now(),
            pulse,
            start,
            place,
        }))
    }

    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange> {
        self.topics.check_partition(topic, partition)?;
        watermarks(&self.base, &self.asking, topic, partition)
    }

    fn offset_at(&self, topic: &str, partition: Partition, time: LogTime) -> Result<u64> {
        self.topics.check_partition(topic, partition)?;
        let mut asked = TopicPartitionList::new();
        // The broker keeps milliseconds: the first one that is not before the time. Negative ones
        // mean other things to it.
        let millis = (time.0.div_euclid(1000) + i64::from(time.0.rem_euclid(1000) > 0)).max(0);
        let what = "looking up an append time";
        asked
            .add_partition_offset(topic, partition as i32, Offset::Offset(millis))
            .map_err(|error| failed(what, &error))?;
        let answer = self
            .asking
            .offsets_for_times(asked, ANSWER)
            .map_err(|error| self.base.failed(what, &error))?;
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
        let notes = lane::notes_topic(&self.config);
        self.topics.ensure(std::slice::from_ref(&notes), 1)?;
        Ok(Box::new(lane::Publisher::open(
            &self.base,
            &self.config,
            self.topics.clone(),
            notes,
            (partition, lane, epoch),
        )?))
    }

    /// Kafka deletes by the topic's own retention, which other readers rely on too: nothing is done
    /// here.
    fn trim(&self, _topic: &str, _partition: Partition, _before: u64) -> Result<()> {
        Ok(())
    }
}
