//! The publisher of a lane: one transaction carries the records and the position.
//!
//! The transactional id is the lane's, so opening it fences the predecessor and ends its open
//! transaction at once. Position and epoch travel as metadata of one offset, in a group of the
//! lane's own to which nothing else commits (a plain commit would erase them); the offset is that
//! of a topic without records, so that it needs no particular results topic. An older epoch is
//! refused before anything is fenced.

use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};
use theatre_actors::ports::{Epoch, Error, Lane, LanePublisher, Outgoing, Result};
use theatre_actors::position::Partition;

use super::client::{
    self, ANSWER, Base, PlainConsumer, WHAT, by_code, consumer, failed, is_fence, is_of_record,
    is_refusal, serve_events,
};
use super::producer::{self, Producer};
use super::topics::Topics;
use theatre_config::log::LogConfig;

/// A topic without records whose partition 0 the positions of all lanes are noted for.
pub(super) fn notes_topic(config: &LogConfig) -> String {
    format!("{}.relay", config.deployment)
}

/// The group of a lane, in which its position is noted. A client for it is opened when it is asked
/// and no longer: every one has threads of its own.
struct Notes {
    base: Base,
    partition: Partition,
    epoch: Epoch,
    group: String,
    topic: String,
}

pub(super) struct Publisher {
    notes: Notes,
    /// Of the group, for the transactions that move the position.
    group: ConsumerGroupMetadata,
    topics: Topics,
    /// `None` after a commit of unknown fate: whoever needs the lane opens it anew and asks the
    /// position.
    producer: Option<Producer>,
    /// CommitFeed by this publisher, with its opening to begin with. The group shows it a moment
    /// later, when the transaction's markers are written.
    published: u64,
}

impl Publisher {
    pub(super) fn open(
        base: &Base,
        config: &LogConfig,
        topics: Topics,
        notes_topic: String,
        place: (Partition, Lane, Epoch),
    ) -> Result<Self> {
        let (partition, lane, epoch) = place;
        let id = format!("{}-{partition}-{}", config.deployment, lane.as_str());
        let group = format!("{}.relay.{partition}.{}", config.deployment, lane.as_str());
        let notes = Notes {
            base: base.clone(),
            partition,
            epoch,
            group,
            topic: notes_topic,
        };
        let reading = notes.client()?;
        notes.read(&reading)?;
        let timeout = (config.transaction_timeout.0 / 1000).to_string();
        // The default back-off of 100 ms is waited out between transactions.
        let more = [
            ("transactional.id", id.as_str()),
            ("transaction.timeout.ms", &timeout),
            ("message.timeout.ms", &timeout),
            ("retry.backoff.ms", "5"),
            ("linger.ms", "0"),
        ];
        let opened =
            producer::open(base, &more).map_err(|error| failed("opening a lane", &error))?;
        producer::serve_events(&opened);
        if let Err(error) = opened.init_transactions(ANSWER) {
            let fenced = fate(&opened, &error).is_some_and(is_fence);
            return Err(if fenced {
                notes.stale()
            } else {
                base.failed("opening a lane", &error)
            });
        }
        let position = notes.read(&reading)?;
        let group = reading
            .group_metadata()
            .ok_or_else(|| failed("opening a lane", &KafkaError::Canceled))?;
        let mut publisher = Self {
            notes,
            group,
            topics,
            producer: Some(opened),
            published: position,
        };
        // From here on an older epoch is refused, even if nothing is published.
        publisher.publish(&[], position)?;
        Ok(publisher)
    }
}

impl Notes {
    fn client(&self) -> Result<PlainConsumer> {
        let mut reading = consumer(&self.base);
        reading
            .set("group.id", &self.group)
            .set("isolation.level", "read_uncommitted");
        client::open(&self.base, &reading, "reading a lane's position")
    }

    /// The position as the lane's group holds it; fails when a later epoch wrote it.
    fn read(&self, client: &PlainConsumer) -> Result<u64> {
        let answer = self
            .committed(client)
            .map_err(|error| self.base.failed("reading a lane's position", &error))?;
        let Some(element) = answer.find_partition(&self.topic, 0) else {
            return Ok(0);
        };
        if element.offset() == Offset::Invalid {
            return Ok(0);
        }
        let mut numbers = element.metadata().split(' ').map(str::parse::<u64>);
        let (Some(Ok(current)), Some(Ok(position))) = (numbers.next(), numbers.next()) else {
            return Err(Error::Refused(format!(
                "the position of the lane in topic '{}' was overwritten: nothing else may commit to its group",
                self.topic
            )));
        };
        if current > self.epoch {
            return Err(Error::StaleEpoch {
                partition: self.partition,
                ours: self.epoch,
                current,
            });
        }
        Ok(position)
    }

    /// The group's note. Its coordinator may just be moving or loading, above all when the group is
    /// new: that passes within moments.
    fn committed(&self, client: &PlainConsumer) -> KafkaResult<TopicPartitionList> {
        let until = Instant::now() + ANSWER;
        loop {
            serve_events(client);
            let mut asked = TopicPartitionList::new();
            asked.add_partition(&self.topic, 0);
            let answer = client.committed_offsets(asked, ANSWER).and_then(|answer| {
                let failed = answer
                    .find_partition(&self.topic, 0)
                    .map_or(Ok(()), |element| element.error());
                failed.map(|()| answer)
            });
            match answer {
                Err(error) if is_moving(&error) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                other => return other,
            }
        }
    }

    /// Somebody else has the lane, or had it: a coordinator that ended our transaction looks the
    /// same. Who it is stands in the note once that one has published; until then no later epoch
    /// than ours is known.
    fn stale(&self) -> Error {
        match self.client().and_then(|client| self.read(&client)) {
            Err(stale @ Error::StaleEpoch { .. }) => stale,
            _ => Error::StaleEpoch {
                partition: self.partition,
                ours: self.epoch,
                current: self.epoch,
            },
        }
    }
}

impl Publisher {
    /// One attempt. `Ok(Err(refused))`: nothing was published, because of these records.
    fn attempt(
        &self,
        producer: &Producer,
        records: &[(usize, &Outgoing)],
        position: u64,
    ) -> std::result::Result<Vec<(usize, RDKafkaErrorCode)>, KafkaError> {
        producer::serve_events(producer);
        producer.begin_transaction()?;
        let all = records
            .iter()
            .map(|(index, out)| (*index, out.topic.as_str(), out.partition, &out.record));
        let outcome = producer::send_all(producer, all);
        if !outcome.failed.is_empty() {
            let graver = outcome
                .failed
                .iter()
                .map(|(_, code)| *code)
                .filter(|code| !is_of_record(*code));
            // A refusal is the cause, what failed along with it is not.
            if let Some(code) = graver
                .clone()
                .find(|code| is_refusal(*code))
                .or(graver.clone().next())
            {
                return Err(KafkaError::MessageProduction(code));
            }
            producer.abort_transaction(ANSWER)?;
            return Ok(outcome.failed);
        }
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.notes.topic, 0, Offset::Offset(position as i64))?;
        if let Some(mut element) = offsets.find_partition(&self.notes.topic, 0) {
            element.set_metadata(format!("{} {position}", self.notes.epoch));
        }
        producer.send_offsets_to_transaction(&offsets, &self.group, ANSWER)?;
        producer.commit_transaction(Duration::from_secs(30))?;
        Ok(Vec::new())
    }

    /// After an error within a transaction: fenced, to be aborted, or of unknown fate.
    fn settle(&self, producer: Producer, error: KafkaError) -> (Option<Producer>, Error) {
        let code = fate(&producer, &error);
        if code.is_some_and(is_fence) {
            return (None, self.notes.stale());
        }
        let indefinite = !matches!(&error, KafkaError::Transaction(inner) if inner.txn_requires_abort())
            && !matches!(error, KafkaError::MessageProduction(_));
        let usable = !indefinite && producer.abort_transaction(ANSWER).is_ok();
        let what = format!("publishing of partition {}", self.notes.partition);
        let said = match error {
            // For good only what the broker says of a record's topic or of the lane; anything else
            // may pass with a lane opened anew.
            KafkaError::MessageProduction(code) => by_code(&what, code),
            other => Error::Unavailable {
                what: WHAT,
                why: format!("{what}: {other}"),
            },
        };
        (usable.then_some(producer), said)
    }
}

/// What became of the producer: its fatal error, which hides behind others, or the one at hand.
fn fate(producer: &Producer, error: &KafkaError) -> Option<RDKafkaErrorCode> {
    producer
        .client()
        .fatal_error()
        .map(|(code, _)| code)
        .or(error.rdkafka_error_code())
}

fn is_moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress
        )
    )
}

impl LanePublisher for Publisher {
    fn position(&mut self) -> Result<u64> {
        Ok(self.published)
    }

    fn publish(&mut self, records: &[Outgoing], position: u64) -> Result<Vec<(usize, String)>> {
        for outgoing in records {
            self.topics
                .check_partition(&outgoing.topic, outgoing.partition)?;
        }
        let mut left: Vec<(usize, &Outgoing)> = records.iter().enumerate().collect();
        let mut refused = Vec::new();
        loop {
            let Some(producer) = self.producer.take() else {
                return Err(Error::Unavailable {
                    what: WHAT,
                    why: format!(
                        "the lane of partition {} has to be opened anew",
                        self.notes.partition
                    ),
                });
            };
            match self.attempt(&producer, &left, position) {
                Ok(out) => {
                    self.producer = Some(producer);
                    if out.is_empty() {
                        self.published = position;
                        return Ok(refused);
                    }
                    left.retain(|(index, _)| out.iter().all(|(bad, _)| bad != index));
                    refused.extend(
                        out.into_iter()
                            .map(|(index, code)| (index, code.to_string())),
                    );
                }
                Err(error) => {
                    let (usable, error) = self.settle(producer, error);
                    self.producer = usable;
                    return Err(error);
                }
            }
        }
    }
}
