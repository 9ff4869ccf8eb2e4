//! The shell around processors: delivers messages, catches panics, measures. The only file that
//! names actix.
//!
//! Delivery: one message per processor and batch, answered when it is applied; replies come back by
//! slot, so that what follows does not depend on threads. A processor's mailbox never holds more
//! than the one message its partition waits for. Panics: caught around each message; the processor
//! is then refused until its partition replaces it, and has no snapshot. A processor whose thread
//! is gone answers as one that panicked: nobody waits for ever. Stop: with its host.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use actix::{Actor, Addr, Arbiter, ArbiterHandle, Context, Handler, Message, System};
use theatre_schemas::batch::Batch;

use crate::outputs::Outputs;
use crate::position::{Positions, TopicIndex};
use crate::processor::Processor;
use crate::time::LogTime;

mod join;

use join::{Join, ReplySender};

/// What is said of a slot that is empty or whose thread is gone.
const NO_ANSWER: &str = "the processor did not answer";

/// Rows of one shared batch.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Input topic.
    pub topic: TopicIndex,
    /// The batch.
    pub batch: Arc<Batch>,
    /// Rows of it, ascending.
    pub rows: Vec<u32>,
}

/// What came of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Applied; this is to be told.
    Applied {
        /// In order.
        outputs: Outputs,
    },
    /// The processor panicked and is of no use until it is replaced.
    Panicked {
        /// What the panic said.
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

    /// Tells the wall clock's time.
    pub fn tick(&mut self, now: LogTime) -> Reply {
        self.guarded(|processor, outputs| processor.tick(now, outputs))
    }

    /// Its state; `None` after a panic, which may have left it half changed.
    pub fn snapshot(&self) -> Option<Snapshot> {
        (!self.broken).then(|| Snapshot {
            state: self.processor.snapshot(),
            positions: self.processor.positions().clone(),
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

/// What a panic said.
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
    /// Tells the wall clock's time.
    fn tick(&mut self, slots: &[usize], now: LogTime) -> Vec<(usize, Reply)>;
    /// Snapshots; broken processors and empty slots have none.
    fn save(&mut self, slots: &[usize]) -> Vec<(usize, Snapshot)>;
}

/// Processors on the caller's own thread: for simulations, recomputations and benchmarks of the
/// core.
#[derive(Default)]
pub struct InlineHost {
    processors: BTreeMap<usize, GuardedProcessor>,
}

impl InlineHost {
    fn ask(
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
                .map(|(slot, segments)| self.ask(slot, |shell| shell.deliver(&segments))),
        )
    }

    fn tick(&mut self, slots: &[usize], now: LogTime) -> Vec<(usize, Reply)> {
        by_slot(
            slots
                .iter()
                .map(|slot| self.ask(*slot, |shell| shell.tick(now))),
        )
    }

    fn save(&mut self, slots: &[usize]) -> Vec<(usize, Snapshot)> {
        by_slot(
            slots
                .iter()
                .filter_map(|slot| Some((*slot, self.processors.get(slot)?.snapshot()?))),
        )
    }
}

fn by_slot<T>(answers: impl Iterator<Item = (usize, T)>) -> Vec<(usize, T)> {
    let mut answers: Vec<(usize, T)> = answers.collect();
    answers.sort_by_key(|(slot, _)| *slot);
    answers
}

struct ProcessorActor {
    shell: GuardedProcessor,
}

impl Actor for ProcessorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Its partition waits for each answer, so one message is all that can be under way; a
        // second leaves room for stop and tick.
        ctx.set_mailbox_capacity(2);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
enum Command {
    Deliver(Vec<Segment>, ReplySender<Reply>),
    Tick(LogTime, ReplySender<Reply>),
    Save(ReplySender<Snapshot>),
    Stop,
}

/// Makes an order that is to be answered.
type MakeCommand<T> = Box<dyn FnOnce(ReplySender<T>) -> Command>;

impl Handler<Command> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, order: Command, ctx: &mut Self::Context) {
        use actix::ActorContext;
        // A partition that went away does not want its answer any more: nothing is lost, it was not
        // saved.
        match order {
            Command::Deliver(segments, answer) => {
                let started = Instant::now();
                let reply = self.shell.deliver(&segments);
                crate::metrics::step_done(started.elapsed().as_secs_f64());
                answer.send(reply);
            }
            Command::Tick(now, answer) => answer.send(self.shell.tick(now)),
            Command::Save(answer) => {
                if let Some(snapshot) = self.shell.snapshot() {
                    answer.send(snapshot);
                }
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
        let (tell, hear) = channel();
        let thread = std::thread::Builder::new()
            .name("theatre-stage".to_owned())
            .spawn(move || {
                let system = System::new();
                let arbiters = system.block_on(async move {
                    let arbiters: Vec<Arbiter> =
                        (0..count.max(1)).map(|_| Arbiter::new()).collect();
                    let handles = arbiters.iter().map(Arbiter::handle).collect::<Vec<_>>();
                    drop(tell.send((handles, System::current())));
                    arbiters
                });
                let ended = system.run();
                for arbiter in arbiters {
                    arbiter.stop();
                    drop(arbiter.join());
                }
                drop(ended);
            })?;
        let (arbiters, system) = hear
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
    processors: BTreeMap<usize, Addr<ProcessorActor>>,
}

impl ActixHost {
    /// Sends an order to each slot and gathers the answers; a slot that cannot answer is not in
    /// them.
    fn ask<T>(&self, orders: impl Iterator<Item = (usize, MakeCommand<T>)>) -> Vec<(usize, T)> {
        let join = Join::new();
        let mut sent = 0.0;
        for (slot, order) in orders {
            let Some(processor) = self.processors.get(&slot) else {
                continue;
            };
            match processor.try_send(order(join.answer(slot))) {
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
        let silent = |slot: &usize| {
            replies
                .binary_search_by_key(slot, |(slot, _)| *slot)
                .is_err()
        };
        let lost: Vec<usize> = asked.iter().copied().filter(silent).collect();
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
        let (tell, hear) = channel();
        let actor = ProcessorActor {
            shell: GuardedProcessor::new(processor),
        };
        self.arbiter
            .spawn_fn(move || drop(tell.send(actor.start())));
        match hear.recv() {
            Ok(address) => drop(self.processors.insert(slot, address)),
            Err(_) => tracing::error!(slot, "a processor could not be started: its thread is gone"),
        }
    }

    fn remove(&mut self, slot: usize) {
        if let Some(address) = self.processors.remove(&slot) {
            drop(address.try_send(Command::Stop));
        }
    }

    fn deliver(&mut self, work: Vec<(usize, Vec<Segment>)>) -> Vec<(usize, Reply)> {
        let slots: Vec<usize> = work.iter().map(|(slot, _)| *slot).collect();
        let orders = work.into_iter().map(|(slot, segments)| {
            let order: MakeCommand<Reply> =
                Box::new(move |answer| Command::Deliver(segments, answer));
            (slot, order)
        });
        Self::complete(&slots, self.ask(orders))
    }

    fn tick(&mut self, slots: &[usize], now: LogTime) -> Vec<(usize, Reply)> {
        let orders = slots.iter().map(|slot| {
            let order: MakeCommand<Reply> = Box::new(move |answer| Command::Tick(now, answer));
            (*slot, order)
        });
        Self::complete(slots, self.ask(orders))
    }

    fn save(&mut self, slots: &[usize]) -> Vec<(usize, Snapshot)> {
        let orders = slots.iter().map(|slot| {
            let order: MakeCommand<Snapshot> = Box::new(Command::Save);
            (*slot, order)
        });
        self.ask(orders)
    }
}

impl Drop for ActixHost {
    fn drop(&mut self) {
        for address in self.processors.values() {
            drop(address.try_send(Command::Stop));
        }
    }
}
