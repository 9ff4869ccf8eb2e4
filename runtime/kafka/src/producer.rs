//! Producing a batch and waiting for all its deliveries. Used by appends and by lanes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext,
};
use theatre_actors::ports::NewRecord;
use theatre_actors::position::Partition;

use super::client::{Base, is_refusal, max_message_bytes};
use super::context::Context;

/// How long a wait for deliveries sleeps when there was none. The rdkafka crate's own flush sleeps in
/// slices of 100 ms, and its poll spins through the last millisecond of any time-out: it is called
/// without one.
const POLL_INTERVAL: Duration = Duration::from_micros(300);

/// The deliveries of a batch so far.
#[derive(Default)]
pub(super) struct Outcome {
    answered: usize,
    pub(super) first_offset: Option<u64>,
    /// Records that were not delivered, by index.
    pub(super) failed: Vec<(usize, RDKafkaErrorCode)>,
}

/// The cause of a failed batch, of what its records failed with: a refusal, before what follows from
/// it for the other records.
pub(super) fn cause(
    mut codes: impl Iterator<Item = RDKafkaErrorCode> + Clone,
) -> Option<RDKafkaErrorCode> {
    let refusal = codes.clone().find(|code| is_refusal(*code));
    refusal.or_else(|| codes.next())
}

/// A record of a batch that is being sent.
pub(super) struct Ticket {
    index: usize,
    outcome: Arc<Mutex<Outcome>>,
}

/// The role of a producer: it adds each delivery to the outcome of its batch.
pub(super) struct Deliveries;

impl ProducerContext<NoCustomPartitioner> for Context<Deliveries> {
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

pub(super) type Producer = BaseProducer<Context<Deliveries>>;

/// An idempotent producer; `more` makes it a transactional one.
pub(super) fn open(base: &Base, more: &[(&str, &str)]) -> Result<Producer, KafkaError> {
    let mut config = base.settings.clone();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.max.bytes", max_message_bytes(base.is_serverless));
    if !config.config_map().contains_key("compression.type") {
        config.set("compression.type", "zstd");
    }
    for (name, value) in more {
        config.set(*name, *value);
    }
    config.create_with_context(Context::new(base, &config, Deliveries))
}

/// Polls a producer that was not polled since it last sent: serves the request for a token.
pub(super) fn serve_events(producer: &Producer) {
    producer.poll(producer.context().identity.poll_time());
}

/// The code that decides what follows: the producer's fatal error, which other errors hide, or that of
/// the error at hand.
pub(super) fn decisive_code(producer: &Producer, error: &KafkaError) -> Option<RDKafkaErrorCode> {
    producer
        .client()
        .fatal_error()
        .map(|(code, _)| code)
        .or(error.rdkafka_error_code())
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
                // Back-pressure: some of the queued records have to be delivered first.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    producer.poll(Duration::ZERO);
                    std::thread::sleep(POLL_INTERVAL);
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
        // A poll serves one event, which may be the delivery of many records.
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
        producer
            .context()
            .brokers
            .restore_if_lost(producer.client());
        std::thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_cause_of_what_follows_from_it() {
        use RDKafkaErrorCode as Code;
        for (codes, wanted) in [
            (vec![], None),
            (vec![Code::PurgeQueue], Some(Code::PurgeQueue)),
            (
                vec![
                    Code::PurgeQueue,
                    Code::MessageSizeTooLarge,
                    Code::InvalidTopic,
                ],
                Some(Code::MessageSizeTooLarge),
            ),
            (
                vec![Code::MessageTimedOut, Code::PurgeQueue],
                Some(Code::MessageTimedOut),
            ),
        ] {
            assert_eq!(cause(codes.iter().copied()), wanted, "{codes:?}");
        }
    }
}
