//! A reader of one topic partition over a fetch queue: it keeps the limits of a poll, recognises
//! the end of the log, and fails when its client stalls.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use theatre_actors::ports::{LogReader, PollEnd, PollLimit, RecordView, Result};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;
use theatre_schemas::decode::TIMESTAMP_RANGE;

use super::client::by_code;
use super::fetch::{FetchQueue, Head};
use super::leader_health::Heartbeat;
use super::progress::{self, Progress};

/// The topic partitions that the shared client fetches. A second reader of one of them needs a
/// client of its own.
pub(super) type ClaimedPartitions = Arc<Mutex<HashSet<(String, Partition)>>>;

pub(super) struct Reader {
    pub(super) fetch: FetchQueue,
    pub(super) topic: String,
    pub(super) partition: Partition,
    pub(super) next: u64,
    pub(super) at_end: bool,
    pub(super) progress: Progress,
    pub(super) heartbeat: Heartbeat,
    /// Nothing that was appended before this is unknown to it.
    pub(super) known: Cell<Instant>,
    /// Asks for the first offset that is still there, when the broker says that `next` is gone.
    pub(super) start: Box<dyn Fn() -> Result<u64> + Send>,
    /// The claim on this partition in the shared client; `None` with a client of its own. It comes
    /// after `fetch`, so that it is dropped after the queue.
    pub(super) claim: Option<PartitionClaim>,
}

/// A partition in [`ClaimedPartitions`], removed when this is dropped.
pub(super) struct PartitionClaim(pub(super) ClaimedPartitions, pub(super) (String, Partition));

impl Drop for PartitionClaim {
    fn drop(&mut self) {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .remove(&self.1);
    }
}

impl LogReader for Reader {
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        if self.claim.is_none() {
            self.fetch.serve_client();
        }
        let (mut records, mut bytes, mut full, mut has_read) = (0, 0, false, false);
        while let Some(head) = self.fetch.head() {
            match head {
                // It was fetched before the fetch position changed; offsets only grow.
                Head::Record(offset, ..) if offset < self.next => {}
                Head::Record(offset, time, key, value) => {
                    if records >= limit.records.max(1) || (records > 0 && bytes >= limit.bytes) {
                        full = true;
                        break;
                    }
                    // On a topic with the producers' times (CreateTime) this may be any number.
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
                    self.fetch.pop();
                    self.check_failure(code)?;
                    continue;
                }
            }
            has_read = true;
            self.fetch.pop();
        }
        if has_read {
            self.progress.note();
        }
        if records == 0 {
            // Without its leader the partition may have more records than this reader knows of: the
            // end that it saw last must not count as the end.
            self.heartbeat.check()?;
        }
        let end_offset = self.fetch.end_offset().max(self.next);
        let at_end = self.at_end && !full;
        if at_end && end_offset == self.next || records > 0 {
            self.progress.note();
        } else {
            self.progress.check(&self.topic, self.partition)?;
        }
        Ok(PollEnd {
            next_offset: self.next,
            end_offset,
            at_end,
        })
    }

    /// By the end that a probe has asked for, once it is read: what librdkafka says of the end may have
    /// lain in a connection for as long as that hangs.
    fn end_age(&self) -> Duration {
        if let Some((asked, end)) = self.heartbeat.end()
            && end <= self.next
        {
            self.known.set(self.known.get().max(asked));
        }
        self.known.get().elapsed()
    }

    fn on_news(&mut self, wake: Arc<dyn Fn() + Send + Sync>) -> bool {
        self.fetch.set_wake(wake);
        true
    }
}

impl Reader {
    /// Turns an error in the queue into that of the poll: an offset that is gone, or a failure that
    /// ends this reader.
    fn check_failure(&self, code: RDKafkaErrorCode) -> Result<()> {
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let start = (self.start)()?;
                Err(progress::out_of_range(
                    &self.topic,
                    self.partition,
                    self.next,
                    start,
                ))
            }
            other => Err(by_code(
                &format!(
                    "reading topic '{}' partition {}",
                    self.topic, self.partition
                ),
                other,
            )),
        }
    }
}
