//! Where processors live: on the thread of their partition, which hands them their rows, one
//! message per processor and chunk.
//!
//! So the rows of a chunk stay in the cache of the core that decoded them, and neither a message
//! nor its reply changes threads. Replies come back in the order of the slots, so that what follows
//! does not depend on how a chunk was put together. Panics are caught around each message; the
//! processor is then refused until its partition replaces it, and has no snapshot.
//!
//! Who asks from another thread goes through [`crate::questions`]: between two messages, past the
//! partition.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use theatre_schemas::batch::Batch;

use crate::outputs::Outputs;
use crate::position::{Positions, TopicIndex};
use crate::processor::Processor;
use crate::questions::{Answer, DeskAddress, ProcessorAddress, Question};
use crate::rows::Rows;
use crate::time::Tick;

/// The message of the reply of a slot that is empty.
const NO_PROCESSOR: &str = "there is no processor in this slot";

/// Rows of one shared batch.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Input topic.
    pub topic: TopicIndex,
    /// The batch.
    pub batch: Arc<Batch>,
    /// Rows of it, ascending.
    pub rows: Rows,
}

/// The outcome of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Applied, with these outputs.
    Applied {
        /// In order.
        outputs: Outputs,
    },
    /// The processor panicked and is of no use until it is replaced.
    Panicked {
        /// The message of the panic.
        message: String,
    },
}

/// A processor's state at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Encoded.
    pub state: Vec<u8>,
    /// What it has seen.
    pub positions: Positions,
}

/// A processor and whether it is whole.
pub struct GuardedProcessor {
    processor: Processor,
    broken: bool,
}

impl GuardedProcessor {
    /// Around a processor.
    pub fn new(processor: Processor) -> Self {
        Self {
            processor,
            broken: false,
        }
    }

    /// The processor; of use only if no reply was `Panicked`.
    pub fn into_processor(self) -> Processor {
        self.processor
    }

    /// Applies segments in order.
    pub fn deliver(&mut self, segments: &[Segment]) -> Reply {
        self.guarded(|processor, outputs| {
            for segment in segments {
                processor.apply(segment.topic, &segment.batch, &segment.rows, outputs);
            }
        })
    }

    /// Hands on the wall clock's time.
    pub fn tick(&mut self, tick: Tick) -> Reply {
        self.guarded(|processor, outputs| processor.advance_time(tick, outputs))
    }

    /// Its state; `None` after a panic, which may have left it half changed.
    pub fn snapshot(&self) -> Option<Snapshot> {
        (!self.broken).then(|| Snapshot {
            state: self.processor.snapshot(),
            positions: self.processor.positions().clone(),
        })
    }

    /// Answers a question; changes nothing.
    pub fn ask(&self, question: Question) -> Answer {
        if self.broken {
            return Answer::Recovering;
        }
        let answered = catch_unwind(AssertUnwindSafe(|| match question {
            Question::View => Answer::View(Box::new(self.processor.live_view())),
        }));
        // A bug in the view must not end the thread of who answers; the state was only read, so the
        // processor itself is still whole.
        answered.unwrap_or_else(|panic| {
            tracing::error!(
                message = panic_message(&*panic),
                "a processor's view panicked; this is a bug"
            );
            Answer::Recovering
        })
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Processor, &mut Outputs)) -> Reply {
        if self.broken {
            return Reply::Panicked {
                message: "the processor panicked before and was not replaced".to_owned(),
            };
        }
        let mut outputs = Outputs::default();
        let processor = &mut self.processor;
        match catch_unwind(AssertUnwindSafe(|| work(processor, &mut outputs))) {
            Ok(()) => Reply::Applied { outputs },
            Err(panic) => {
                self.broken = true;
                Reply::Panicked {
                    message: panic_message(&*panic),
                }
            }
        }
    }
}

/// The message of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// A processor that its partition works with and other threads may ask: each holds it for one
/// message or one answer.
pub(crate) struct SharedProcessor {
    guarded: Mutex<GuardedProcessor>,
    /// Questions that wait for it.
    pub(crate) questions: AtomicUsize,
}

impl SharedProcessor {
    fn new(processor: Processor) -> Self {
        Self {
            guarded: Mutex::new(GuardedProcessor::new(processor)),
            questions: AtomicUsize::new(0),
        }
    }

    /// Panics are caught within, so the lock is never poisoned by a processor.
    pub(crate) fn lock(&self) -> MutexGuard<'_, GuardedProcessor> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a partition's host is watched and asked by.
struct Outside {
    desk: DeskAddress,
    step_durations: metrics::Histogram,
}

/// The processors of one partition, in slots that the partition names; replies come in slot order.
#[derive(Default)]
pub struct ProcessorHost {
    slots: Vec<Option<Arc<SharedProcessor>>>,
    /// Absent where there is no one to ask and nothing is measured: in the simulation, when a state is
    /// computed anew, and in benchmarks of the core.
    outside: Option<Outside>,
}

impl ProcessorHost {
    /// A host whose processors other threads ask at `desk`, and whose messages are measured.
    pub fn asked_at(desk: DeskAddress) -> Self {
        let step_durations = crate::metrics::step_durations();
        Self {
            slots: Vec::new(),
            outside: Some(Outside {
                desk,
                step_durations,
            }),
        }
    }

    /// Puts a processor into a slot, replacing what is there.
    pub fn insert(&mut self, slot: usize, processor: Processor) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(Arc::new(SharedProcessor::new(processor)));
    }

    /// Empties a slot.
    pub fn remove(&mut self, slot: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = None;
        }
    }

    /// Applies segments, one message per slot.
    pub fn deliver(&mut self, work: Vec<(usize, Vec<Segment>)>) -> Vec<(usize, Reply)> {
        let waiting = work.len() as f64;
        if self.outside.is_some() {
            crate::metrics::mailbox_depth_changed(waiting);
        }
        let replies = work.into_iter().map(|(slot, segments)| {
            let begun = self.outside.as_ref().map(|_| Instant::now());
            let reply = self.reply(slot, |guarded| guarded.deliver(&segments));
            if let (Some(outside), Some(begun)) = (&self.outside, begun) {
                outside.step_durations.record(begun.elapsed().as_secs_f64());
            }
            reply
        });
        let replies = by_slot(replies);
        if self.outside.is_some() {
            crate::metrics::mailbox_depth_changed(-waiting);
        }
        replies
    }

    /// Hands on the wall clock's time.
    pub fn tick(&mut self, slots: &[usize], tick: Tick) -> Vec<(usize, Reply)> {
        let tick = |slot: &usize| self.reply(*slot, |guarded| guarded.tick(tick));
        by_slot(slots.iter().map(tick))
    }

    /// Snapshots; broken processors and empty slots have none.
    pub fn save(&mut self, slots: &[usize]) -> Vec<(usize, Snapshot)> {
        let snapshot = |slot: &usize| Some((*slot, self.processor(*slot)?.lock().snapshot()?));
        by_slot(slots.iter().filter_map(snapshot))
    }

    /// Asks a processor; `None` for an empty slot. For the host's own thread; others ask by
    /// [`Self::address`].
    pub fn ask(&self, slot: usize, question: Question) -> Option<Answer> {
        Some(self.processor(slot)?.lock().ask(question))
    }

    /// How other threads ask the processor in a slot; `None` for an empty slot, and for a host
    /// without a desk.
    pub fn address(&self, slot: usize) -> Option<Arc<dyn ProcessorAddress>> {
        let desk = &self.outside.as_ref()?.desk;
        Some(Arc::new(desk.for_processor(self.processor(slot)?)))
    }

    fn processor(&self, slot: usize) -> Option<&Arc<SharedProcessor>> {
        self.slots.get(slot)?.as_ref()
    }

    fn reply(
        &self,
        slot: usize,
        work: impl FnOnce(&mut GuardedProcessor) -> Reply,
    ) -> (usize, Reply) {
        let absent = || Reply::Panicked {
            message: NO_PROCESSOR.to_owned(),
        };
        let reply = self
            .processor(slot)
            .map_or_else(absent, |processor| work(&mut processor.lock()));
        (slot, reply)
    }
}

/// Answers in the order of their slots.
fn by_slot<T>(answers: impl Iterator<Item = (usize, T)>) -> Vec<(usize, T)> {
    let mut answers: Vec<(usize, T)> = answers.collect();
    answers.sort_by_key(|(slot, _)| *slot);
    answers
}
