//! Producing a batch and waiting for all its deliveries. Used by appends and by lanes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

/// How long a wait for deliveries sleeps when there was none. The rdkafka crate's own flush sleeps
/// in slices of 100 ms, and its poll spins through the last millisecond of any time-out: it is
/// called without one.
const POLL_INTERVAL: Duration = Duration::from_micros(300);

/// What became of a batch.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) first_offset: Option<u64>,
    /// Records that were not delivered, by index.
    pub(super) failed: Vec<(usize, RDKafkaErrorCode)>,
}

/// The deliveries of a batch so far.
struct Delivered {
    answered: AtomicUsize,
    /// The lowest offset; [`NO_OFFSET`] before the first one.
    first_offset: AtomicU64,
    /// Rare, so it alone has a lock.
    failed: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
}

const NO_OFFSET: u64 = u64::MAX;

impl Default for Delivered {
    fn default() -> Self {
        Self {
            answered: AtomicUsize::new(0),
            first_offset: AtomicU64::new(NO_OFFSET),
            failed: Mutex::default(),
        }
    }
}

impl Delivered {
    fn delivered(&self, offset: u64) {
        self.first_offset.fetch_min(offset, Ordering::Relaxed);
        self.answer();
    }

    fn failed(&self, index: usize, code: RDKafkaErrorCode) {
        self.refuse(index, code);
        self.answer();
    }

    /// A record that was not even sent: no delivery follows.
    fn refuse(&self, index: usize, code: RDKafkaErrorCode) {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((index, code));
    }

    /// Comes after what it counts, for those that see the count.
    fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Release);
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Acquire)
    }

    fn outcome(&self) -> Outcome {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let first_offset = self.first_offset.load(Ordering::Relaxed);
        Outcome {
            first_offset: (first_offset != NO_OFFSET).then_some(first_offset),
            failed: std::mem::take(&mut *failed),
        }
    }
}

/// The cause of a failed batch, of what its records failed with: a refusal, before what follows
/// from it for the other records.
pub(super) fn cause(
    mut codes: impl Iterator<Item = RDKafkaErrorCode> + Clone,
) -> Option<RDKafkaErrorCode> {
    let refusal = codes.clone().find(|code| is_refusal(*code));
    refusal.or_else(|| codes.next())
}

/// A record of a batch that is being sent.
pub(super) struct Ticket {
    index: usize,
    batch: Arc<Delivered>,
}

/// The role of a producer: it adds each delivery to those of its batch.
pub(super) struct Deliveries;

impl ProducerContext<NoCustomPartitioner> for Context<Deliveries> {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Self::DeliveryOpaque) {
        match result {
            Ok(message) => ticket.batch.delivered(message.offset() as u64),
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                ticket.batch.failed(ticket.index, code);
            }
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

/// The code that decides what follows: the producer's fatal error, which other errors hide, or that
/// of the error at hand.
pub(super) fn decisive_code(producer: &Producer, error: &KafkaError) -> Option<RDKafkaErrorCode> {
    producer
        .client()
        .fatal_error()
        .map(|(code, _)| code)
        .or(error.rdkafka_error_code())
}

/// Sends all, in order, and waits until each is delivered or has failed.
pub(super) fn send_all<'a>(
    producer: &Producer,
    records: impl Iterator<Item = (usize, &'a str, Partition, &'a NewRecord)>,
) -> Outcome {
    let delivered = Arc::new(Delivered::default());
    let mut sent = 0;
    for (index, topic, partition, record) in records {
        let ticket = Box::new(Ticket {
            index,
            batch: delivered.clone(),
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
                    delivered.refuse(index, code);
                }
            }
            break;
        }
    }
    wait(producer, sent, &delivered)
}

/// Waits until so many records are delivered or have failed.
fn wait(producer: &Producer, sent: usize, delivered: &Delivered) -> Outcome {
    let mut before = 0;
    loop {
        // A poll serves one event, which may be the delivery of many records.
        producer.poll(Duration::ZERO);
        let answered = delivered.answered();
        if answered >= sent {
            return delivered.outcome();
        }
        if std::mem::replace(&mut before, answered) < answered {
            continue;
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
    fn deliveries_of_all_threads_count() {
        let batch = Arc::new(Delivered::default());
        assert_eq!(batch.outcome().first_offset, None, "none is there");
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let batch = &batch;
                scope.spawn(move || {
                    for index in thread * 1000..(thread + 1) * 1000 {
                        if index % 100 == 50 {
                            batch.failed(index, RDKafkaErrorCode::MessageTimedOut);
                        } else {
                            batch.delivered(5_000 - index as u64);
                        }
                    }
                });
            }
        });
        assert_eq!(batch.answered(), 4000);
        batch.refuse(4000, RDKafkaErrorCode::MessageSizeTooLarge);
        assert_eq!(batch.answered(), 4000, "what was not sent is not answered");
        let mut outcome = batch.outcome();
        assert_eq!(outcome.first_offset, Some(1_001));
        outcome.failed.sort_by_key(|(index, _)| *index);
        let failed: Vec<usize> = outcome.failed.iter().map(|(index, _)| *index).collect();
        let wanted: Vec<usize> = (0..40).map(|it| it * 100 + 50).chain([4000]).collect();
        assert_eq!(failed, wanted);
    }

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
