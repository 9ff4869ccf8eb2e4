//! The shell around processors: delivers messages, catches panics, measures. The only file that
//! names actix.
//!
//! Delivery: one message per processor and batch, answered when it is applied; replies come back by
//! slot, so that what follows does not depend on threads. A processor's mailbox holds the one
//! message its partition waits for, and beside it at most [`QUESTIONS_MAX`] questions. Panics:
//! caught around each message; the processor is then refused until its partition replaces it, and
//! has no snapshot. A processor whose thread is gone answers as one that panicked, so its partition
//! does not wait for ever. Stop: with its host.
//!
//! Questions: any thread may ask a processor by its [`ProcessorAddress`], past its host and its
//! partition. The answer is given between two messages of the partition, and changes nothing.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::time::Instant;

use actix::prelude::SendError;
use actix::{Actor, Addr, Arbiter, ArbiterHandle, Context, Handler, Message, System};
use theatre_schemas::batch::Batch;

use crate::outputs::Outputs;
use crate::position::{Positions, TopicIndex};
use crate::processor::{LiveView, Processor};
use crate::rows::Rows;
use crate::time::Tick;

mod join;

use join::{Join, ReplySender, by_slot};

/// The message of the reply of a slot that is empty or whose thread is gone.
const NO_ANSWER: &str = "the processor did not answer";

/// Questions that may wait in a processor's mailbox; further ones are refused as busy.
pub const QUESTIONS_MAX: usize = 4;

/// What a processor can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Its state: conditions, procedures, windows.
    View,
}

/// What a processor answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To [`Question::View`].
    View(Box<LiveView>),
    /// It panicked and has no state to show until its partition has rebuilt it.
    Recovering,
}

/// Why a question was not even taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskError {
    /// As many questions as may wait are waiting.
    Busy,
    /// The processor has ended: it was replaced, or its host is gone.
    Gone,
}

/// A way to ask one processor from any thread.
pub trait ProcessorAddress: Send + Sync {
    /// Asks without waiting. The answer comes by `answer`, which needs room for one; it is dropped
    /// without an answer when the processor ends first.
    ///
    /// # Errors
    /// When the question was not taken.
    fn ask(&self, question: Question, answer: SyncSender<Answer>) -> Result<(), AskError>;
}

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
        // A bug in the view must not end the actor's thread; the state was only read, so the
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

/// Where processors live. Slots are the partition's names for them; replies come in slot order.
pub trait ProcessorHost: Send {
    /// Puts a processor into a slot, replacing what is there.
    fn insert(&mut self, slot: usize, processor: Processor);
    /// Empties a slot.
    fn remove(&mut self, slot: usize);
    /// Applies segments, one message per slot.
    fn deliver(&mut self, work: Vec<(usize, Vec<Segment>)>) -> Vec<(usize, Reply)>;
    /// Hands on the wall clock's time.
    fn tick(&mut self, slots: &[usize], tick: Tick) -> Vec<(usize, Reply)>;
    /// Snapshots; broken processors and empty slots have none.
    fn save(&mut self, slots: &[usize]) -> Vec<(usize, Snapshot)>;
    /// Asks a processor and waits for the answer; `None` for an empty slot, or when the processor
    /// cannot answer. For the host's own thread; others ask by [`Self::address`].
    fn ask(&mut self, slot: usize, question: Question) -> Option<Answer>;
    /// How other threads ask the processor in a slot; `None` for an empty slot, and where
    /// processors live on their host's own thread.
    fn address(&self, slot: usize) -> Option<Arc<dyn ProcessorAddress>>;
}

/// Processors on the caller's own thread: for simulations, recomputations and benchmarks of the
/// core.
#[derive(Default)]
pub struct InlineHost {
    processors: BTreeMap<usize, GuardedProcessor>,
}

impl InlineHost {
    fn reply_of(
        &mut self,
        slot: usize,
        work: impl FnOnce(&mut GuardedProcessor) -> Reply,
    ) -> (usize, Reply) {
        let absent = || Reply::Panicked {
            message: NO_ANSWER.to_owned(),
        };
        (
            slot,
            self.processors.get_mut(&slot).map_or_else(absent, work),
        )
    }
}

impl ProcessorHost for InlineHost {
    fn insert(&mut self, slot: usize, processor: Processor) {
        self.processors
            .insert(slot, GuardedProcessor::new(processor));
    }

    fn remove(&mut self, slot: usize) {
        self.processors.remove(&slot);
    }

    fn deliver(&mut self, work: Vec<(usize, Vec<Segment>)>) -> Vec<(usize, Reply)> {
        by_slot(
            work.into_iter()
                .map(|(slot, segments)| self.reply_of(slot, |guarded| guarded.deliver(&segments))),
        )
    }

    fn tick(&mut self, slots: &[usize], tick: Tick) -> Vec<(usize, Reply)> {
        by_slot(
            slots
                .iter()
                .map(|slot| self.reply_of(*slot, |guarded| guarded.tick(tick))),
        )
    }

    fn save(&mut self, slots: &[usize]) -> Vec<(usize, Snapshot)> {
        by_slot(
            slots
                .iter()
                .filter_map(|slot| Some((*slot, self.processors.get(slot)?.snapshot()?))),
        )
    }

    fn ask(&mut self, slot: usize, question: Question) -> Option<Answer> {
        Some(self.processors.get(&slot)?.ask(question))
    }

    fn address(&self, _slot: usize) -> Option<Arc<dyn ProcessorAddress>> {
        None
    }
}

struct ProcessorActor {
    guarded: GuardedProcessor,
    step_durations: metrics::Histogram,
}

impl Actor for ProcessorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Its partition waits for each answer, so one message is all that can be under way; a
        // second leaves room for stop and tick. Questions are counted apart and have room of their
        // own, so that they never make the mailbox refuse what the partition sends.
        ctx.set_mailbox_capacity(2 + QUESTIONS_MAX);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
enum Command {
    Deliver(Vec<Segment>, ReplySender<Reply>),
    Tick(Tick, ReplySender<Reply>),
    Save(ReplySender<Snapshot>),
    Ask(Question, SyncSender<Answer>, QuestionPermit),
    Stop,
}

/// One of the questions that may wait in a mailbox; it counts until it is dropped, answered or not.
struct QuestionPermit(Arc<AtomicUsize>);

impl QuestionPermit {
    fn acquire(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |waiting| (waiting < QUESTIONS_MAX).then_some(waiting + 1);
        let acquired = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        acquired.ok().map(|_| Self(waiting.clone()))
    }
}

impl Drop for QuestionPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The actor of a slot, with the number of questions that wait in its mailbox.
#[derive(Clone)]
struct ActorAddress {
    actor: Addr<ProcessorActor>,
    questions: Arc<AtomicUsize>,
}

impl ProcessorAddress for ActorAddress {
    fn ask(&self, question: Question, answer: SyncSender<Answer>) -> Result<(), AskError> {
        let permit = QuestionPermit::acquire(&self.questions).ok_or(AskError::Busy)?;
        let sent = self.actor.try_send(Command::Ask(question, answer, permit));
        sent.map_err(|refused| match refused {
            SendError::Full(_) => AskError::Busy,
            SendError::Closed(_) => AskError::Gone,
        })
    }
}

/// Makes a command that is to be answered.
type MakeCommand<T> = Box<dyn FnOnce(ReplySender<T>) -> Command>;

impl Handler<Command> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, command: Command, ctx: &mut Self::Context) {
        use actix::ActorContext;
        // A partition that went away does not want its answer any more: nothing is lost, it was not
        // saved.
        match command {
            Command::Deliver(segments, answer) => {
                let started = Instant::now();
                let reply = self.guarded.deliver(&segments);
                self.step_durations.record(started.elapsed().as_secs_f64());
                answer.send(reply);
            }
            Command::Tick(tick, answer) => answer.send(self.guarded.tick(tick)),
            Command::Save(answer) => {
                if let Some(snapshot) = self.guarded.snapshot() {
                    answer.send(snapshot);
                }
            }
            Command::Ask(question, answer, _permit) => {
                // An asker that gave up has dropped its end; its answer has no reader.
                drop(answer.try_send(self.guarded.ask(question)));
            }
            Command::Stop => ctx.stop(),
        }
    }
}

/// The threads on which processor actors live.
pub struct ArbiterPool {
    arbiters: Vec<ArbiterHandle>,
    system: System,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ArbiterPool {
    /// Starts `count` arbiter threads.
    ///
    /// # Errors
    /// When threads cannot be had.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("theatre-stage".to_owned())
            .spawn(move || {
                let system = System::new();
                let arbiters = system.block_on(async move {
                    let arbiters: Vec<Arbiter> =
                        (0..count.max(1)).map(|_| Arbiter::new()).collect();
                    let handles = arbiters.iter().map(Arbiter::handle).collect::<Vec<_>>();
                    drop(sender.send((handles, System::current())));
                    arbiters
                });
                let ended = system.run();
                for arbiter in arbiters {
                    arbiter.stop();
                    drop(arbiter.join());
                }
                drop(ended);
            })?;
        let (arbiters, system) = receiver
            .recv()
            .map_err(|_| std::io::Error::other("the actor system did not start"))?;
        Ok(Self {
            arbiters,
            system,
            thread: Some(thread),
        })
    }

    /// A host whose processors live on one of the threads.
    pub fn host(&self, index: usize) -> ActixHost {
        ActixHost {
            arbiter: self.arbiters[index % self.arbiters.len()].clone(),
            processors: BTreeMap::new(),
            step_durations: crate::metrics::step_durations(),
        }
    }
}

impl Drop for ArbiterPool {
    fn drop(&mut self) {
        self.system.stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Processors as actix actors, all on one arbiter thread.
pub struct ActixHost {
    arbiter: ArbiterHandle,
    processors: BTreeMap<usize, ActorAddress>,
    step_durations: metrics::Histogram,
}

impl ActixHost {
    /// Sends a command to each slot and gathers the answers; a slot that cannot answer is not in
    /// them.
    fn gather<T>(
        &self,
        commands: impl Iterator<Item = (usize, MakeCommand<T>)>,
    ) -> Vec<(usize, T)> {
        let join = Join::new();
        let mut sent = 0.0;
        for (slot, command) in commands {
            let Some(processor) = self.processors.get(&slot) else {
                continue;
            };
            match processor.actor.try_send(command(join.answer(slot))) {
                Ok(()) => sent += 1.0,
                Err(refused) => {
                    tracing::error!(slot, %refused, "a processor's mailbox refused a message")
                }
            }
        }
        crate::metrics::mailbox_depth_changed(sent);
        let answers = by_slot(join.wait().into_iter());
        crate::metrics::mailbox_depth_changed(-sent);
        answers
    }

    /// Every slot asked gets a reply: one that did not answer counts as panicked and will be
    /// rebuilt.
    fn complete(asked: &[usize], replies: Vec<(usize, Reply)>) -> Vec<(usize, Reply)> {
        let is_missing = |slot: &usize| {
            replies
                .binary_search_by_key(slot, |(slot, _)| *slot)
                .is_err()
        };
        let lost: Vec<usize> = asked.iter().copied().filter(is_missing).collect();
        let lost = lost.into_iter().map(|slot| {
            (
                slot,
                Reply::Panicked {
                    message: NO_ANSWER.to_owned(),
                },
            )
        });
        by_slot(replies.into_iter().chain(lost))
    }
}

impl ProcessorHost for ActixHost {
    fn insert(&mut self, slot: usize, processor: Processor) {
        self.remove(slot);
        let (sender, receiver) = channel();
        let actor = ProcessorActor {
            guarded: GuardedProcessor::new(processor),
            step_durations: self.step_durations.clone(),
        };
        self.arbiter
            .spawn_fn(move || drop(sender.send(actor.start())));
        match receiver.recv() {
            Ok(actor) => {
                let questions = Arc::default();
                self.processors
                    .insert(slot, ActorAddress { actor, questions });
            }
            Err(_) => tracing::error!(slot, "a processor could not be started: its thread is gone"),
        }
    }

    fn remove(&mut self, slot: usize) {
        if let Some(address) = self.processors.remove(&slot) {
            drop(address.actor.try_send(Command::Stop));
        }
    }

    fn deliver(&mut self, work: Vec<(usize, Vec<Segment>)>) -> Vec<(usize, Reply)> {
        let slots: Vec<usize> = work.iter().map(|(slot, _)| *slot).collect();
        let commands = work.into_iter().map(|(slot, segments)| {
            let command: MakeCommand<Reply> =
                Box::new(move |answer| Command::Deliver(segments, answer));
            (slot, command)
        });
        Self::complete(&slots, self.gather(commands))
    }

    fn tick(&mut self, slots: &[usize], tick: Tick) -> Vec<(usize, Reply)> {
        let commands = slots.iter().map(|slot| {
            let command: MakeCommand<Reply> = Box::new(move |answer| Command::Tick(tick, answer));
            (*slot, command)
        });
        Self::complete(slots, self.gather(commands))
    }

    fn save(&mut self, slots: &[usize]) -> Vec<(usize, Snapshot)> {
        let commands = slots.iter().map(|slot| {
            let command: MakeCommand<Snapshot> = Box::new(Command::Save);
            (*slot, command)
        });
        self.gather(commands)
    }

    fn ask(&mut self, slot: usize, question: Question) -> Option<Answer> {
        let (sender, receiver) = sync_channel(1);
        self.processors.get(&slot)?.ask(question, sender).ok()?;
        receiver.recv().ok()
    }

    fn address(&self, slot: usize) -> Option<Arc<dyn ProcessorAddress>> {
        let address = self.processors.get(&slot)?.clone();
        Some(Arc::new(address))
    }
}

impl Drop for ActixHost {
    fn drop(&mut self) {
        for address in self.processors.values() {
            drop(address.actor.try_send(Command::Stop));
        }
    }
}
