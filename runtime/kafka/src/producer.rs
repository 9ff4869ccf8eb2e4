//! Producing a batch and waiting for all its deliveries. Used by appends and by lanes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext,
};
use theatre_actors::ports::NewRecord;
use theatre_actors::position::Partition;

use super::brokers::Brokers;
use super::client::{Base, MAX_MESSAGE_BYTES};
use super::diagnostics::Diagnostics;
use super::identity::Identity;

/// How long a wait for deliveries rests when there was none. The crate's own flush sleeps in slices
/// of 100 ms, and its poll spins through the last millisecond of whatever time it is given: it is
/// asked without any.
const REST: Duration = Duration::from_micros(300);

/// What became of a batch so far.
#[derive(Default)]
pub(super) struct Outcome {
    answered: usize,
    pub(super) first_offset: Option<u64>,
    /// Records that were not delivered, by index.
    pub(super) failed: Vec<(usize, RDKafkaErrorCode)>,
}

/// A record of a batch under way.
pub(super) struct Ticket {
    index: usize,
    outcome: Arc<Mutex<Outcome>>,
}

/// Notes deliveries.
pub(super) struct Deliveries(Identity, Diagnostics, Brokers);

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.1.hear(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.2.note(&error);
        self.1.report(&error, reason);
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.0.answer()
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Self::DeliveryOpaque) {
        let mut outcome = ticket
            .outcome
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        outcome.answered += 1;
        match result {
            Ok(message) => {
                let offset = message.offset() as u64;
                outcome.first_offset = Some(
                    outcome
                        .first_offset
                        .map_or(offset, |first| first.min(offset)),
                );
            }
            Err((error, _)) => outcome.failed.push((
                ticket.index,
                error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
            )),
        }
    }
}

pub(super) type Producer = BaseProducer<Deliveries>;

/// An idempotent producer; `more` makes it a transactional one.
pub(super) fn open(base: &Base, more: &[(&str, &str)]) -> Result<Producer, KafkaError> {
    let mut config = base.settings.clone();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.max.bytes", MAX_MESSAGE_BYTES);
    if !config.config_map().contains_key("compression.type") {
        config.set("compression.type", "zstd");
    }
    for (name, value) in more {
        config.set(*name, *value);
    }
    let brokers = Brokers::of(&config);
    config.create_with_context(Deliveries(
        base.identity.clone(),
        base.diagnostics.clone(),
        brokers,
    ))
}

/// Serves what waits at a producer that nobody polled since it last sent: the wish for a token.
pub(super) fn serve_events(producer: &Producer) {
    producer.poll(producer.context().0.patience());
}

/// Sends all and waits until each is delivered or has failed.
pub(super) fn send_all<'a>(
    producer: &Producer,
    records: impl Iterator<Item = (usize, &'a str, Partition, &'a NewRecord)>,
) -> Outcome {
    let shared = Arc::new(Mutex::new(Outcome::default()));
    let mut sent = 0;
    for (index, topic, partition, record) in records {
        let ticket = Box::new(Ticket {
            index,
            outcome: shared.clone(),
        });
        let mut next = BaseRecord::with_opaque_to(topic, ticket)
            .partition(partition as i32)
            .payload(record.value.as_slice())
            .key(record.key.as_slice());
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            next = next.headers(record.headers.iter().fold(headers, |all, (key, value)| {
                all.insert(Header {
                    key,
                    value: Some(value),
                })
            }));
        }
        loop {
            match producer.send(next) {
                Ok(()) => sent += 1,
                // Back-pressure: what is queued has to leave first.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    producer.poll(Duration::ZERO);
                    std::thread::sleep(REST);
                    next = back;
                    continue;
                }
                Err((error, _)) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                    shared
                        .lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .failed
                        .push((index, code));
                }
            }
            break;
        }
    }
    let mut before = 0;
    loop {
        // One event at a time; one may answer many records.
        producer.poll(Duration::ZERO);
        {
            let mut outcome = shared
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            if outcome.answered >= sent {
                return std::mem::take(&mut *outcome);
            }
            if std::mem::replace(&mut before, outcome.answered) < outcome.answered {
                continue;
            }
        }
        producer.context().2.remind(producer.client());
        std::thread::sleep(REST);
    }
}
