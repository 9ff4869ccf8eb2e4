//! A reader of one topic partition over the lean fetcher: it visits what was fetched, keeps the
//! limits of a poll, and fails where the log does not go on as it should.

use std::sync::Arc;
use std::time::{Duration, Instant};

use theatre_actors::ports::{Error, LogReader, PollEnd, PollLimit, RecordView, Result};
use theatre_actors::position::Partition as PartitionNumber;

use super::super::client::WHAT;
use super::super::leader_health::Heartbeat;
use super::super::progress::{self, Progress};
use super::batches::BatchFault;
use super::codecs::Inflater;
use super::fetch_response::End;
use super::partition::{Failure, Fetched, Partition};
use super::visit::{Pause, Taken, Walk};
use super::{Fetcher, errors};

/// Most bytes that the records of one batch may inflate to.
pub(super) const INFLATED_MAX: usize = 64 << 20;
/// A batch that arrives damaged is fetched so many times before the reader fails.
const FETCHES_MAX: u32 = 3;
/// A partition without a connection for this long fails its reader, when it has no records left.
const OUTAGE_MAX: Duration = Duration::from_secs(10);
/// A reader that was just opened stands at the end only behind all that was there then,
/// transactions under way included: one whose commit was acknowledged is written to its partitions
/// a moment later. After so long it stands at the end before a transaction that is still open.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Reader {
    pub(super) fetcher: Fetcher,
    pub(super) fetched: Arc<Partition>,
    pub(super) topic: String,
    pub(super) partition: PartitionNumber,
    pub(super) next: u64,
    /// Records that are being visited, and how far.
    pub(super) current: Option<(Fetched, Walk)>,
    pub(super) inflater: Inflater,
    /// How often the batch at `next` was found damaged.
    pub(super) faults: u32,
    pub(super) opened: Instant,
    /// The end when the reader was opened.
    pub(super) first_end: Option<u64>,
    pub(super) heartbeat: Heartbeat,
    pub(super) progress: Progress,
    /// Asks for the first offset that is still there, when the broker says that `next` is gone.
    pub(super) start: Box<dyn Fn() -> Result<u64> + Send>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fetcher.0.0.remove(&self.fetched);
    }
}

impl LogReader for Reader {
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        let before = self.next;
        let mut taken = Taken::new(limit);
        let is_full = self.visit_fetched(&mut taken, visit)?;
        if self.next > before {
            self.faults = 0;
            self.progress.note();
        }
        if taken.records == 0 {
            self.check_failure()?;
            // Without its leader the partition may have more records than this reader knows of: the
            // end that it saw last must not count as the end.
            self.heartbeat.check()?;
        }
        let end = self.fetched.end();
        if self.first_end.is_none() {
            self.first_end = end.map(|end| end.high_watermark);
        }
        let at_end = !is_full && end.is_some_and(|end| self.is_at(end));
        let end_offset = end.map_or(self.next, |end| end.high_watermark.max(self.next));
        if at_end && end_offset == self.next {
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

    fn end_age(&self) -> Duration {
        let asked_at = self.fetched.end_asked_at();
        asked_at.unwrap_or(self.opened).elapsed()
    }

    fn on_news(&mut self, wake: Arc<dyn Fn() + Send + Sync>) -> bool {
        self.fetched.set_wake(wake);
        true
    }
}

impl Reader {
    /// Whether nothing is left to read before this end.
    fn is_at(&self, end: End) -> bool {
        self.next >= end.last_stable
            && (self.first_end.is_some_and(|first| self.next >= first)
                || self.opened.elapsed() > SETTLED_AFTER)
    }

    /// Visits what was fetched; true if the poll's limit ended it.
    fn visit_fetched(
        &mut self,
        taken: &mut Taken,
        visit: &mut dyn FnMut(RecordView<'_>),
    ) -> Result<bool> {
        let check_crcs = self.fetcher.0.0.settings.check_crcs;
        loop {
            if self.current.is_none() {
                self.current = self
                    .fetched
                    .take()
                    .map(|mut fetched| (Walk::new(std::mem::take(&mut fetched.aborted)), fetched))
                    .map(|(walk, fetched)| (fetched, walk));
            }
            let Some((fetched, walk)) = &mut self.current else {
                return Ok(false);
            };
            let bytes = fetched.buffer.bytes();
            match walk.run(
                bytes,
                &mut self.inflater,
                check_crcs,
                &mut self.next,
                taken,
                visit,
            ) {
                Ok(Pause::Full) => return Ok(true),
                Ok(Pause::Finished) => self.give_back(),
                // What was visited counts; the fault is met again at once.
                Err(_) if taken.records > 0 => return Ok(true),
                Err(fault) => return self.on_fault(fault).map(|()| false),
            }
        }
    }

    fn give_back(&mut self) {
        if let Some((fetched, _)) = self.current.take() {
            self.fetched.give_back(fetched);
        }
    }

    /// Has a damaged batch fetched anew, or fails.
    fn on_fault(&mut self, fault: BatchFault) -> Result<()> {
        let why = format!(
            "reading topic '{}' partition {}: the batch at offset {} cannot be read: {fault}",
            self.topic, self.partition, self.next
        );
        if !fault.may_pass() {
            return Err(Error::Refused(why));
        }
        self.give_back();
        self.fetched.fetch_again(self.next);
        self.faults += 1;
        if self.faults < FETCHES_MAX {
            tracing::warn!("{why}; it is fetched anew");
            return Ok(());
        }
        self.faults = 0;
        Err(Error::Unavailable {
            what: WHAT,
            why: format!("{why}; it was fetched {FETCHES_MAX} times"),
        })
    }

    /// Fails if something stands in the way of reading on.
    fn check_failure(&mut self) -> Result<()> {
        if let Some(fault) = self.fetched.fault() {
            self.on_fault(fault)?;
        }
        if let Some(failure) = self.fetched.failure() {
            return Err(self.error(&failure)?);
        }
        let outage = self.fetched.outage();
        match outage.filter(|outage| outage.since.elapsed() > OUTAGE_MAX) {
            None => Ok(()),
            Some(outage) => Err(Error::Unavailable {
                what: WHAT,
                why: format!(
                    "topic '{}' partition {}: no connection for {} s: {}",
                    self.topic,
                    self.partition,
                    outage.since.elapsed().as_secs(),
                    outage.why
                ),
            }),
        }
    }

    /// What a failure means to the pipeline.
    fn error(&self, failure: &Failure) -> Result<Error> {
        let at = format!(
            "reading topic '{}' partition {}",
            self.topic, self.partition
        );
        Ok(match failure {
            Failure::OutOfRange => {
                progress::out_of_range(&self.topic, self.partition, self.next, (self.start)()?)
            }
            Failure::Diverged(end) => Error::Refused(format!(
                "{at}: the log was cut to offset {end}, and this reader stands at {}: records that were read are not in it any more (an unclean election of a leader)",
                self.next
            )),
            Failure::MadeAnew => Error::Refused(format!(
                "{at}: the topic was deleted and made anew; offset {} is one of the former topic",
                self.next
            )),
            Failure::Missing => Error::Refused(format!("{at}: the log has no such partition")),
            Failure::Broker(code, may_pass) => {
                let why = format!("{at}: {}", errors::name(*code));
                if *may_pass {
                    Error::Unavailable { what: WHAT, why }
                } else {
                    Error::Refused(why)
                }
            }
        })
    }
}
