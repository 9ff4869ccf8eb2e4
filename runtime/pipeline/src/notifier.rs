//! The notifiers: each delivers the outputs of a partition to one [`OutputSink`], on a thread of
//! its own. A receiver that is slow or away holds up neither relay nor exporter nor another
//! receiver.
//!
//! An output is handed over, then the position is noted, under the partition's epoch: it comes
//! again if a crash lies between, and never goes missing. What is refused for good, or older than
//! the receiver's patience, is set aside in the store as undelivered, with its reason, in one
//! transaction with the position. So a receiver that is away for long holds up not even its own
//! queue for ever, nor a command that waits until everything is drained.
//!
//! The next output of a condition follows only once the one before it is taken or set aside. As
//! long as there is no answer, nothing else is tried. An answer that is a no which may pass holds
//! up its own condition only ([`held`]).
//!
//! A notifier may outlast its partition, as a loader may: the partition is left whether or not
//! its receivers answer, after a short while in which what was saved last is still delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use theatre_actors::ports::{Epoch, Error, Result};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::Step;
use super::lifecycle::{Life, Role};
use super::outbox::{OutboxConsumer, OutputSink};
use super::queue::Notifier;
use super::run_loop::{Component, Flow, ON, Rest};
use super::supervisor::SharedContext;

mod delivery;
mod held;
mod repeated;

pub use delivery::Delivery;

/// How often a notifier looks for outputs that no commit of this process has announced.
const LOOK_EVERY: Duration = Duration::from_millis(250);
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
            self.delivery.consumer().label()
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
            // What fails stays named until that is over.
            Ok(step) if self.delivery.is_troubled() => Ok(match step {
                Step::Worked => Flow::Trying(Rest::None),
                Step::Idle if last && !self.delivery.holds_back() => self.end(Flow::Done),
                Step::Idle if last => self.end(Flow::Leave),
                Step::Idle => Flow::Trying(Rest::News(self.news.clone(), LOOK_EVERY)),
            }),
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

#[cfg(test)]
mod tests;
