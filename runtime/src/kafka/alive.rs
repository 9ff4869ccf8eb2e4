//! Whether the brokers that lead what is read still answer.
//!
//! A reader at the end of its partition hears nothing, whether nothing is written or nobody is there. Who decides by silence must know the
//! difference, so the leaders are asked every second, all their partitions at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use theatre_actors::ports::{Error, Result};

use super::client::{PlainConsumer, WHAT};
use super::reader::Taken;

const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// Without an answer for this long, a reader that has nothing to bring says so.
const AWAY_AFTER: Duration = Duration::from_secs(5);
/// A moment that no record has, milliseconds: the leader has to look at its end only.
const NEVER: i64 = i64::MAX >> 1;

/// When all leaders last answered.
pub(super) struct Alive(Mutex<Instant>);

impl Alive {
    /// Begins to ask the leaders of what is taken, until `ended`.
    pub(super) fn watch(data: Arc<PlainConsumer>, taken: Taken, ended: Arc<AtomicBool>) -> Result<Arc<Self>> {
        let alive = Arc::new(Self(Mutex::new(Instant::now())));
        let noted = alive.clone();
        let work = move || {
            while !ended.load(Ordering::Acquire) {
                if answers(&data, &taken) {
                    *noted.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                }
                std::thread::sleep(ASK_EVERY);
            }
        };
        let started = std::thread::Builder::new().name("kafka-alive".to_owned()).spawn(work);
        started.map(|_| alive).map_err(|error| Error::Refused(format!("a thread that watches the brokers cannot be started: {error}")))
    }

    /// Fails when the brokers have not answered for long.
    pub(super) fn check(&self) -> Result<()> {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if since < AWAY_AFTER {
            return Ok(());
        }
        Err(Error::Unavailable { what: WHAT, why: format!("the brokers have not answered for {} s", since.as_secs()) })
    }
}

fn answers(data: &PlainConsumer, taken: &Taken) -> bool {
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in taken.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if let Err(error) = asked.add_partition_offset(topic, *partition as i32, Offset::Offset(NEVER)) {
            tracing::warn!(%error, topic, partition, "a partition's leader cannot be asked");
        }
    }
    if asked.count() == 0 {
        return true;
    }
    data.offsets_for_times(asked, ANSWER_WITHIN).is_ok_and(|answered| answered.elements().iter().all(|element| element.error().is_ok()))
}
