//! A reader of one topic partition over a fetch queue: limits, the end of the log, and a watch for
//! stalls.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use theatre_actors::ports::{Error, LogReader, PollEnd, PollLimit, RecordView, Result};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;
use theatre_schemas::decode::TIMESTAMP_RANGE;

use super::client::{WHAT, by_code};
use super::fetch::{FetchQueue, Head};
use super::leader_health::Heartbeat;
use theatre_telemetry::names;

/// Without a record for this long, although there are some, a reader is given up and opened anew.
const STALL: Duration = Duration::from_secs(30);

/// Topic partitions that the shared client fetches; a second reader of one needs a client of its
/// own.
pub(super) type Taken = Arc<Mutex<HashSet<(String, Partition)>>>;

pub(super) struct Reader {
    pub(super) fetch: FetchQueue,
    pub(super) topic: String,
    pub(super) partition: Partition,
    pub(super) next: u64,
    pub(super) at_end: bool,
    pub(super) heard: Instant,
    pub(super) pulse: Heartbeat,
    /// First offset still there, asked when the broker says that ours is gone.
    pub(super) start: Box<dyn Fn() -> Result<u64> + Send>,
    /// Holds the shared client's place; `None` with a client of its own. Given back after the queue
    /// is gone.
    pub(super) place: Option<Place>,
}

/// A place in [`Taken`], given back when dropped.
pub(super) struct Place(pub(super) Taken, pub(super) (String, Partition));

impl Drop for Place {
    fn drop(&mut self) {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .remove(&self.1);
    }
}

impl LogReader for Reader {
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        if self.place.is_none() {
            self.fetch.serve_client();
        }
        let (mut records, mut bytes, mut full, mut heard) = (0, 0, false, false);
        while let Some(head) = self.fetch.head() {
            match head {
                // Fetched before a change of place; the log's order is by offset.
                Head::Record(offset, ..) if offset < self.next => {}
                Head::Record(offset, time, key, value) => {
                    if records >= limit.records.max(1) || (records > 0 && bytes >= limit.bytes) {
                        full = true;
                        break;
                    }
                    // On a topic that takes its producers' times they may be any.
                    let append_time =
                        LogTime(time.saturating_mul(1000).clamp(0, *TIMESTAMP_RANGE.end()));
                    visit(RecordView {
                        offset,
                        append_time,
                        key,
                        value,
                    });
                    records += 1;
                    bytes += value.len();
                    self.next = offset + 1;
                    self.at_end = false;
                }
                Head::End(offset) => {
                    self.next = self.next.max(offset);
                    self.at_end = true;
                }
                Head::Failed(code) => {
                    self.fetch.pass();
                    self.judge(code)?;
                    continue;
                }
            }
            heard = true;
            self.fetch.pass();
        }
        if heard {
            self.heard = Instant::now();
        }
        if records == 0 {
            // The end that was seen last is none to decide by when the broker may have more.
            self.pulse.check()?;
        }
        let end_offset = self.fetch.end_offset().max(self.next);
        let at_end = self.at_end && !full;
        if at_end && end_offset == self.next || records > 0 {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > STALL {
            self.heard = Instant::now();
            names::consumer_stalled(&self.topic);
            let why = format!(
                "topic '{}' partition {}: nothing came for {} s though there are records",
                self.topic,
                self.partition,
                STALL.as_secs()
            );
            return Err(Error::Unavailable { what: WHAT, why });
        }
        Ok(PollEnd {
            next_offset: self.next,
            end_offset,
            at_end,
        })
    }

    fn on_news(&mut self, wake: Arc<dyn Fn() + Send + Sync>) -> bool {
        self.fetch.on_news(wake);
        true
    }
}

impl Reader {
    /// What an error in the queue means: an offset that is gone, or a fault that ends this reader.
    fn judge(&self, code: RDKafkaErrorCode) -> Result<()> {
        let at = format!(
            "reading topic '{}' partition {}",
            self.topic, self.partition
        );
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let start = (self.start)()?;
                if start > self.next {
                    return Err(Error::Trimmed {
                        topic: self.topic.clone(),
                        partition: self.partition,
                        wanted: self.next,
                        start,
                    });
                }
                Err(Error::Refused(format!(
                    "{at}: offset {} lies beyond the end of the log: was the topic made anew?",
                    self.next
                )))
            }
            other => Err(by_code(&at, other)),
        }
    }
}
