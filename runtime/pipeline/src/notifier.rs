//! The notifiers: each delivers the outputs of a partition to one [`OutputSink`], on a thread of its
//! own. A receiver that is slow or away holds up neither relay nor exporter nor another receiver.
//!
//! An output is handed over, then the position is noted, under the partition's epoch: it comes again
//! if a crash lies between, and never goes missing. The next one follows only once it is taken,
//! refused for good, or older than the receiver's patience; in the latter two cases it is set aside
//! in the store as undelivered, with its reason, in one transaction with the position. So a receiver
//! that is away for long holds up not even its own queue for ever, nor a command that waits
//! until everything is drained.
//!
//! A notifier may outlast its partition, as a loader may: the partition is left whether or not
//! its receivers answer, after a short while in which what was saved last is still delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use theatre_actors::ports::{Epoch, Error, PartitionStatus, Result, StoredOutput, Undelivered};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;
use theatre_telemetry::names;

use super::lifecycle::{Life, Role};
use super::outbox::{Consumer, OutboxConsumer, OutputSink, Receipt, Stream};
use super::queue::Notifier;
use super::run_loop::{Component, Flow, ON, Rest};
use super::supervisor::SharedContext;
use super::{Ports, Step};

/// How often a notifier looks for outputs that no commit of this process has announced.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Outputs read at once.
const AT_ONCE: usize = 64;
/// A position that only passed over outputs of no concern is noted this often.
const NOTE_EVERY_US: i64 = 1_000_000;
/// A partition that is left waits so long for notifiers that still deliver.
const LEAVING_US: i64 = 2_000_000;

/// The notifiers of a partition that have not ended, and since when they are waited for.
pub(super) struct AtWork {
    count: Arc<AtomicUsize>,
    since: Option<LogTime>,
}

impl AtWork {
    /// Whether the partition is not left yet.
    pub(super) fn are_waited_for(&mut self, now: LogTime) -> bool {
        let since = *self.since.get_or_insert(now);
        self.count.load(Ordering::Acquire) > 0 && now.0 - since.0 < LEAVING_US
    }
}

/// The notifiers of a partition, one for each sink, and how many of them are at work.
pub(super) fn components(
    context: &SharedContext,
    partition: Partition,
    epoch: Epoch,
) -> (Vec<Box<dyn Component>>, AtWork) {
    let sinks = &context.params.sinks;
    let count = Arc::new(AtomicUsize::new(sinks.len()));
    let notifier = |sink: &Arc<dyn OutputSink>| -> Box<dyn Component> {
        Box::new(NotifierComponent {
            delivery: Delivery::new(partition, epoch, context.ports.clone(), sink.clone()),
            flush: context.flush.clone(),
            news: context.committed.news(partition),
            at_work: count.clone(),
        })
    };
    let components = sinks.iter().map(notifier).collect();
    (components, AtWork { count, since: None })
}

/// Delivers until the partition is left or lost.
struct NotifierComponent {
    delivery: Delivery,
    flush: Arc<std::sync::atomic::AtomicBool>,
    news: Arc<Notifier>,
    at_work: Arc<AtomicUsize>,
}

impl NotifierComponent {
    fn end(&self, flow: Flow) -> Flow {
        self.at_work.fetch_sub(1, Ordering::AcqRel);
        flow
    }
}

impl Component for NotifierComponent {
    fn role(&self) -> Role {
        Role::Notifier
    }

    fn name(&self) -> String {
        format!(
            "{} {}",
            Role::Notifier.name(),
            self.delivery.consumer.label()
        )
    }

    fn step(&mut self, life: Life) -> Result<Flow> {
        let last = life.is_last(Role::Notifier);
        if !life.may_save() {
            // A store that does not fit the log has nothing to say.
            return Ok(if life.is_draining() {
                self.end(Flow::Done)
            } else {
                Flow::On(Rest::Time(LOOK_EVERY))
            });
        }
        match self
            .delivery
            .deliver(last || self.flush.load(Ordering::Acquire))
        {
            Ok(Step::Worked) => Ok(ON),
            Ok(Step::Idle) if last => Ok(self.end(Flow::Done)),
            Ok(Step::Idle) => Ok(Flow::On(Rest::News(self.news.clone(), LOOK_EVERY))),
            Err(error @ Error::StaleEpoch { .. }) => Err(error),
            // The next owner goes on: a receiver that is away is not waited for.
            Err(_) if last => Ok(self.end(Flow::Leave)),
            Err(error) => Err(error),
        }
    }

    fn is_hurried(&self, life: Life) -> bool {
        self.flush.load(Ordering::Acquire) || life.is_draining()
    }
}

/// Delivers the outputs of one partition to a sink.
pub struct Delivery {
    partition: Partition,
    epoch: Epoch,
    ports: Ports,
    sink: Arc<dyn OutputSink>,
    consumer: Consumer,
    /// All up to here is delivered, of no concern, or set aside.
    passed: u64,
    /// When the store last noted that.
    noted_at: LogTime,
}

impl Delivery {
    /// For a partition owned under `epoch`.
    pub fn new(
        partition: Partition,
        epoch: Epoch,
        ports: Ports,
        sink: Arc<dyn OutputSink>,
    ) -> Self {
        let consumer = sink.consumer();
        names::notifications_begin(consumer.label());
        Self {
            partition,
            epoch,
            ports,
            sink,
            consumer,
            passed: 0,
            noted_at: LogTime(0),
        }
    }

    fn outputs(&self, after: u64) -> Result<Vec<StoredOutput>> {
        let store = &self.ports.store;
        match self.consumer.stream {
            Stream::OutputsOf(kind) => {
                store.outputs_of_kind_after(self.partition, kind, after, AT_ONCE)
            }
            Stream::Outputs => store.outputs_after(self.partition, after, AT_ONCE),
            Stream::DeadLetters => Err(Error::Refused(format!(
                "{} reads dead letters, which no sink can",
                self.consumer.name
            ))),
        }
    }

    /// Hands one output over, unless it is of no concern, and notes what came of it.
    fn hand_over(&mut self, stored: &StoredOutput) -> Result<()> {
        let (store, name) = (&self.ports.store, &*self.consumer.name);
        if !self.sink.wants(stored, &**store)? {
            return Ok(());
        }
        let waited = self
            .ports
            .clock
            .now()
            .0
            .saturating_sub(stored.committed_at.0);
        let patience = self.sink.patience();
        let receipt = if u128::from(waited.unsigned_abs()) > patience.as_micros() && waited > 0 {
            let patience = patience.as_secs_f64();
            Receipt::Refused(format!("it could not be delivered within {patience} s"))
        } else {
            self.try_once(stored)?
        };
        match receipt {
            Receipt::Taken => {
                names::notification_delivered(self.consumer.label());
                store.advance_cursor(self.partition, self.epoch, name, stored.sequence)
            }
            Receipt::Refused(reason) => {
                let (id, sequence) = (&stored.output.id, stored.sequence);
                tracing::error!(receiver = name, id, sequence, reason, "it is not delivered");
                let undelivered = Undelivered {
                    sequence,
                    reason,
                    at: self.ports.clock.now(),
                };
                store.set_aside(self.partition, self.epoch, name, &undelivered)?;
                names::notifications_wait(self.partition, self.consumer.label(), 0.0);
                names::notification_undelivered(self.consumer.label());
                Ok(())
            }
        }
    }

    fn try_once(&self, stored: &StoredOutput) -> Result<Receipt> {
        let taken = self.sink.take(stored, &*self.ports.store);
        let name = self.consumer.label();
        let since = match &taken {
            Ok(_) => 0.0,
            Err(_) => {
                names::notification_failed(name);
                stored.committed_at.seconds()
            }
        };
        names::notifications_wait(self.partition, name, since);
        // Whatever is wrong there passes or is passed over: a command that waits for the end of
        // everything is not to give up for it.
        taken.map_err(|error| match error {
            Error::StaleEpoch { .. } | Error::Unavailable { .. } => error,
            other => Error::Unavailable {
                what: "the receiver",
                why: other.to_string(),
            },
        })
    }

    fn fence(&self, status: &PartitionStatus) -> Result<()> {
        // The position is fenced by the epoch, the sink is not: a former owner that looks first
        // delivers nothing any more.
        if status.epoch == self.epoch {
            return Ok(());
        }
        Err(Error::StaleEpoch {
            partition: self.partition,
            ours: self.epoch,
            current: status.epoch,
        })
    }
}

impl OutboxConsumer for Delivery {
    fn consumer(&self) -> Consumer {
        self.consumer.clone()
    }

    fn deliver(&mut self, everything: bool) -> Result<Step> {
        let store = self.ports.store.clone();
        let status = store.status(self.partition)?;
        self.fence(&status)?;
        let noted = status.cursors.get(&self.consumer.name);
        self.passed = self.passed.max(noted);
        let before = self.passed;
        if before < status.last_output {
            let outputs = self.outputs(before)?;
            for stored in &outputs {
                self.hand_over(stored)?;
                self.passed = stored.sequence;
            }
            if outputs.len() < AT_ONCE {
                self.passed = self.passed.max(status.last_output);
            }
        }
        let now = self.ports.clock.now();
        let is_due = everything || now.0.saturating_sub(self.noted_at.0) >= NOTE_EVERY_US;
        if self.passed > noted && is_due {
            let (name, passed) = (&self.consumer.name, self.passed);
            store.advance_cursor(self.partition, self.epoch, name, passed)?;
            self.noted_at = now;
        }
        Ok(if self.passed > before {
            Step::Worked
        } else {
            Step::Idle
        })
    }

    fn close(&mut self) -> Result<()> {
        self.deliver(true).map(drop)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // What waits is the next owner's to show.
        names::notifications_wait(self.partition, self.consumer.label(), 0.0);
    }
}

#[cfg(test)]
mod tests;
