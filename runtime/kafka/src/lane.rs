//! The publisher of a lane: each transaction carries records and the position after them.
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
    self, Base, PlainConsumer, REQUEST_TIMEOUT, WHAT, by_code, consumer, failed, is_fence,
    is_of_record, serve_events,
};
use super::producer::{self, Producer, decisive_code};
use super::topics::Topics;
use theatre_config::log::LogConfig;

/// A topic without records: every lane commits its position as an offset of its partition 0.
pub(super) fn positions_topic(config: &LogConfig) -> String {
    format!("{}.relay", config.deployment)
}

/// The position of a lane, as its consumer group holds it. A client for the group is opened for
/// each lookup and dropped after it, because every client has threads of its own.
struct CommittedPosition {
    base: Base,
    partition: Partition,
    epoch: Epoch,
    group: String,
    topic: String,
}

pub(super) struct Publisher {
    committed: CommittedPosition,
    /// Metadata of the group, for the transactions that move the position.
    group: ConsumerGroupMetadata,
    topics: Topics,
    /// `None` after a commit of unknown outcome: the relay has to open the lane anew and ask for
    /// its position.
    producer: Option<Producer>,
    /// The position up to which this publisher has published, at first the one at its opening. The
    /// group shows it a moment later, when the transaction's markers are written.
    published: u64,
}

impl Publisher {
    pub(super) fn open(
        base: &Base,
        config: &LogConfig,
        topics: Topics,
        positions_topic: String,
        place: (Partition, Lane, Epoch),
    ) -> Result<Self> {
        let (partition, lane, epoch) = place;
        let id = format!("{}-{partition}-{}", config.deployment, lane.as_str());
        let group = format!("{}.relay.{partition}.{}", config.deployment, lane.as_str());
        let committed = CommittedPosition {
            base: base.clone(),
            partition,
            epoch,
            group,
            topic: positions_topic,
        };
        let reading = committed.client()?;
        // Before the producer fences its predecessor: a later epoch refuses this one here.
        committed.read(&reading)?;
        let timeout = (config.transaction_timeout.0 / 1000).to_string();
        // The default back-off of 100 ms would delay the next transaction by as much.
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
        if let Err(error) = opened.init_transactions(REQUEST_TIMEOUT) {
            let fenced = decisive_code(&opened, &error).is_some_and(is_fence);
            return Err(if fenced {
                committed.stale_epoch()
            } else {
                base.failed("opening a lane", &error)
            });
        }
        let position = committed.read(&reading)?;
        let group = reading
            .group_metadata()
            .ok_or_else(|| failed("opening a lane", &KafkaError::Canceled))?;
        let mut publisher = Self {
            committed,
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

impl CommittedPosition {
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
            .fetch(client)
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

    /// The offset that the group has committed. Its coordinator may be moving or loading, above all
    /// when the group is new; that passes within moments and is retried.
    fn fetch(&self, client: &PlainConsumer) -> KafkaResult<TopicPartitionList> {
        let until = Instant::now() + REQUEST_TIMEOUT;
        loop {
            serve_events(client);
            let mut asked = TopicPartitionList::new();
            asked.add_partition(&self.topic, 0);
            let answer = client
                .committed_offsets(asked, REQUEST_TIMEOUT)
                .and_then(|answer| {
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

    /// The error of a fenced producer. Another process has taken the lane, or the coordinator has
    /// ended the transaction of this one, which looks the same. The epoch of another process stands
    /// in the group once it has published; until then no later epoch than this one is known.
    fn stale_epoch(&self) -> Error {
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
    /// One transaction. Returns the records that the broker refused: when there are any, nothing
    /// was published.
    ///
    /// The position is sent once the records are delivered: while it is sent the producer is
    /// neither polled nor given its brokers back, so that one without brokers would stand for a
    /// minute.
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
        let refused = refused(producer::send_all(producer, all).failed)?;
        if refused.is_empty() {
            self.send_position(producer, position)?;
            producer.commit_transaction(Duration::from_secs(30))?;
        } else {
            producer.abort_transaction(REQUEST_TIMEOUT)?;
        }
        Ok(refused)
    }

    /// Makes the position a part of the transaction.
    fn send_position(&self, producer: &Producer, position: u64) -> KafkaResult<()> {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.committed.topic, 0, Offset::Offset(position as i64))?;
        if let Some(mut element) = offsets.find_partition(&self.committed.topic, 0) {
            element.set_metadata(format!("{} {position}", self.committed.epoch));
        }
        producer.send_offsets_to_transaction(&offsets, &self.group, REQUEST_TIMEOUT)
    }

    /// What follows from an error within a transaction: the producer if it can be used again (the
    /// transaction was aborted), and the error for the caller.
    fn recover(&self, producer: Producer, error: KafkaError) -> (Option<Producer>, Error) {
        let code = decisive_code(&producer, &error);
        if code.is_some_and(is_fence) {
            return (None, self.committed.stale_epoch());
        }
        let indefinite =
            !asks_for_abort(&error) && !matches!(error, KafkaError::MessageProduction(_));
        let usable = !indefinite && producer.abort_transaction(REQUEST_TIMEOUT).is_ok();
        let what = format!("publishing of partition {}", self.committed.partition);
        let error = match error {
            // Only what the broker says of a record's topic or of the lane is permanent; any other
            // error may pass when the lane is opened anew.
            KafkaError::MessageProduction(code) => by_code(&what, code),
            other => Error::Unavailable {
                what: WHAT,
                why: format!("{what}: {other}"),
            },
        };
        (usable.then_some(producer), error)
    }
}

/// True for an error after which the transaction can be aborted and the producer be used again.
fn asks_for_abort(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(inner) if inner.txn_requires_abort())
}

/// What a transaction comes to, by the records that were not delivered: the records that the broker
/// refused, none if all were delivered.
fn refused(failed: Vec<(usize, RDKafkaErrorCode)>) -> KafkaResult<Vec<(usize, RDKafkaErrorCode)>> {
    let (refused, others): (Vec<_>, Vec<_>) = failed
        .into_iter()
        .partition(|(_, code)| is_of_record(*code));
    let others = others.into_iter().map(|(_, code)| code);
    if let Some(code) = producer::cause(others.clone().filter(|code| !is_consequence(*code))) {
        return Err(KafkaError::MessageProduction(code));
    }
    if !refused.is_empty() {
        // The transaction has failed by these, and with it whatever else has failed.
        return Ok(refused);
    }
    match producer::cause(others) {
        Some(code) => Err(KafkaError::MessageProduction(code)),
        None => Ok(refused),
    }
}

/// True for what becomes of a record because its transaction, or another record of its batch, has
/// failed.
fn is_consequence(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::PurgeQueue | Code::PurgeInflight | Code::InvalidDifferentRecord
    )
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
        let mut checked = None;
        for outgoing in records {
            let place = (outgoing.topic.as_str(), outgoing.partition);
            if checked.replace(place) != Some(place) {
                self.topics.check_partition(place.0, place.1)?;
            }
        }
        let mut left: Vec<(usize, &Outgoing)> = records.iter().enumerate().collect();
        let mut refused = Vec::new();
        loop {
            let Some(producer) = self.producer.take() else {
                return Err(Error::Unavailable {
                    what: WHAT,
                    why: format!(
                        "the lane of partition {} has to be opened anew",
                        self.committed.partition
                    ),
                });
            };
            match self.attempt(&producer, &left, position) {
                Ok(rejected) => {
                    self.producer = Some(producer);
                    if rejected.is_empty() {
                        self.published = position;
                        return Ok(refused);
                    }
                    left.retain(|(index, _)| rejected.iter().all(|(bad, _)| bad != index));
                    refused.extend(
                        rejected
                            .into_iter()
                            .map(|(index, code)| (index, code.to_string())),
                    );
                }
                Err(error) => {
                    let (usable, error) = self.recover(producer, error);
                    self.producer = usable;
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_comes_to_what_its_records_come_to() {
        use RDKafkaErrorCode as Code;
        // What failed, and what follows: the refused records, or the error.
        type Wanted = std::result::Result<&'static [usize], &'static str>;
        let table: [(&[Code], Wanted); 6] = [
            (&[], Ok(&[])),
            (&[Code::MessageSizeTooLarge], Ok(&[0])),
            (
                &[
                    Code::PurgeQueue,
                    Code::InvalidRecord,
                    Code::InvalidDifferentRecord,
                    Code::PurgeInflight,
                    Code::MessageSizeTooLarge,
                ],
                Ok(&[1, 4]),
            ),
            (
                &[Code::MessageSizeTooLarge, Code::MessageTimedOut],
                Err("MessageTimedOut"),
            ),
            (
                &[Code::MessageTimedOut, Code::TopicAuthorizationFailed],
                Err("TopicAuthorizationFailed"),
            ),
            (&[Code::PurgeQueue], Err("PurgeQueue")),
        ];
        for (codes, wanted) in table {
            let failed = codes.iter().copied().enumerate().collect();
            let found = refused(failed);
            let found = found
                .map(|refused| refused.iter().map(|(index, _)| *index).collect::<Vec<_>>())
                .map_err(|error| match error {
                    KafkaError::MessageProduction(code) => format!("{code:?}"),
                    other => other.to_string(),
                });
            let wanted = wanted.map(<[usize]>::to_vec).map_err(str::to_owned);
            assert_eq!(found, wanted, "{codes:?}");
        }
    }
}
