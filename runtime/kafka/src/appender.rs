//! The only one that appends under a name, by a transactional id: opening it fences the one before
//! and ends its open transaction, so that what that one had under way is decided.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use theatre_actors::ports::{Appender as Port, Error, EventLog, NewRecord, Result};
use theatre_actors::position::Partition;

use super::KafkaLog;
use super::client::{REQUEST_TIMEOUT, WHAT, failed, is_fence};
use super::producer::{self, Producer, decisive_code};

/// How long a commit may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the records of an append may be under way, milliseconds. What is appended by a command
/// holds up no partition, so it may take longer than what a lane publishes.
const MESSAGE_TIMEOUT_MS: i64 = 60_000;

pub(super) struct Appender<'a> {
    log: &'a KafkaLog,
    name: String,
    /// `None` after a failure: it has to be opened anew, which decides what became of the records.
    producer: Option<Producer>,
}

impl<'a> Appender<'a> {
    pub(super) fn open(log: &'a KafkaLog, name: &str) -> Result<Self> {
        let what = "opening an appender";
        let id = format!("{}-{name}", log.config.deployment);
        let of_messages = MESSAGE_TIMEOUT_MS.to_string();
        // A message's may not be longer than that of its transaction.
        let of_lanes = log.config.transaction_timeout.0 / 1000;
        let of_transaction = of_lanes.max(MESSAGE_TIMEOUT_MS).to_string();
        let more = [
            ("transactional.id", id.as_str()),
            ("transaction.timeout.ms", &of_transaction),
            ("message.timeout.ms", &of_messages),
        ];
        let opened = producer::open(&log.base, &more).map_err(|error| failed(what, &error))?;
        producer::serve_events(&opened);
        opened
            .init_transactions(REQUEST_TIMEOUT)
            .map_err(|error| log.base.failed(what, &error))?;
        Ok(Self {
            log,
            name: name.to_owned(),
            producer: Some(opened),
        })
    }

    /// One transaction; the first offset.
    fn attempt(
        producer: &Producer,
        (topic, partition): (&str, Partition),
        records: &[NewRecord],
    ) -> std::result::Result<u64, KafkaError> {
        producer::serve_events(producer);
        producer.begin_transaction()?;
        let all = records.iter().enumerate();
        let all = all.map(|(index, record)| (index, topic, partition, record));
        let outcome = producer::send_all(producer, all);
        if let Some(code) = producer::cause(outcome.failed.iter().map(|(_, code)| *code)) {
            return Err(KafkaError::MessageProduction(code));
        }
        producer.commit_transaction(COMMIT_TIMEOUT)?;
        let unknown = KafkaError::MessageProduction(RDKafkaErrorCode::InvalidArgument);
        outcome.first_offset.ok_or(unknown)
    }
}

impl Port for Appender<'_> {
    fn append(&mut self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64> {
        self.log.topics.check_partition(topic, partition)?;
        if records.is_empty() {
            return self.log.written_end(topic, partition);
        }
        let Some(producer) = self.producer.take() else {
            return Err(Error::Unavailable {
                what: WHAT,
                why: format!("the appender {} has to be opened anew", self.name),
            });
        };
        let error = match Self::attempt(&producer, (topic, partition), records) {
            Ok(first) => {
                self.producer = Some(producer);
                return Ok(first);
            }
            Err(error) => error,
        };
        if decisive_code(&producer, &error).is_some_and(is_fence) {
            return Err(Error::Refused(format!(
                "another command has become the one that appends as '{}', or the brokers have ended its transaction: let that one end, then repeat this",
                self.name
            )));
        }
        // What is left open would hide what others append, until its time is over.
        if let Err(why) = producer.abort_transaction(REQUEST_TIMEOUT) {
            tracing::warn!(%why, "a transaction cannot be aborted: the brokers end it by themselves");
        }
        let what = format!("appending to topic '{topic}' partition {partition}");
        Err(self.log.base.failed(&what, &error))
    }
}
