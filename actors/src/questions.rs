//! Questions to processors from other threads: an actor of actix answers them. The only file of this
//! crate that names actix.
//!
//! A question goes to a desk, an actor on a thread of its own, which takes the processor between
//! two messages of its partition, has it answer, and gives it back. So neither who asks nor the
//! partition waits for a lock for longer than one message or one answer takes, and a partition that
//! waits for its store is answered for as well. At most [`QUESTIONS_MAX`] questions wait for a
//! processor, and [`DESK_MAX`] at the desk and one of each processor more; further ones are refused as
//! busy.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, channel};
use std::sync::{Arc, Weak};

use actix::prelude::SendError;
use actix::{Actor, Addr, Context, Handler, Message, System};

use crate::host::SharedProcessor;
use crate::processor::LiveView;

/// Questions that may wait for one processor; further ones are refused as busy.
pub const QUESTIONS_MAX: usize = 4;
/// Questions that may wait at the desk, beside the first one of each processor.
const DESK_MAX: usize = 1024;

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

/// One of the questions that wait for a processor. It counts until it is dropped, answered or not,
/// and keeps no processor alive that its partition has given up.
struct Waiting(Weak<SharedProcessor>);

impl Waiting {
    fn begin(asked: &Weak<SharedProcessor>) -> Result<Self, AskError> {
        let processor = asked.upgrade().ok_or(AskError::Gone)?;
        let more = |waiting| (waiting < QUESTIONS_MAX).then_some(waiting + 1);
        let begun = processor
            .questions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        begun.map_err(|_| AskError::Busy)?;
        Ok(Self(asked.clone()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(processor) = self.0.upgrade() {
            processor.questions.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Ask {
    question: Question,
    answer: SyncSender<Answer>,
    of: Waiting,
}

/// Answers the questions to the processors of a process, one after the other.
struct Desk;

impl Actor for Desk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(DESK_MAX);
    }
}

impl Handler<Ask> for Desk {
    type Result = ();

    fn handle(&mut self, ask: Ask, _: &mut Self::Context) {
        if let Some(asked) = ask.of.0.upgrade() {
            let answer = asked.lock().ask(ask.question);
            // An asker that gave up has dropped its end; its answer has no reader.
            drop(ask.answer.try_send(answer));
        }
    }
}

/// Where processors are asked.
#[derive(Clone)]
pub struct DeskAddress(Addr<Desk>);

impl DeskAddress {
    pub(crate) fn for_processor(
        &self,
        processor: &Arc<SharedProcessor>,
    ) -> impl ProcessorAddress + use<> {
        AskedThere {
            desk: self.0.clone(),
            processor: Arc::downgrade(processor),
        }
    }
}

struct AskedThere {
    desk: Addr<Desk>,
    processor: Weak<SharedProcessor>,
}

impl ProcessorAddress for AskedThere {
    fn ask(&self, question: Question, answer: SyncSender<Answer>) -> Result<(), AskError> {
        let of = Waiting::begin(&self.processor)?;
        let sent = self.desk.try_send(Ask {
            question,
            answer,
            of,
        });
        sent.map_err(|refused| match refused {
            SendError::Full(_) => AskError::Busy,
            SendError::Closed(_) => AskError::Gone,
        })
    }
}

/// The desk of a process, on a thread of its own.
pub struct QuestionDesk {
    address: DeskAddress,
    system: System,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl QuestionDesk {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn start() -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("theatre-desk".to_owned())
            .spawn(move || {
                let system = System::new();
                let desk = system.block_on(async { Desk.start() });
                drop(sender.send((DeskAddress(desk), System::current())));
                // Until the system is stopped; what it ends with says no more than that.
                drop(system.run());
            })?;
        let (address, system) = receiver
            .recv()
            .map_err(|_| std::io::Error::other("the desk for questions did not start"))?;
        Ok(Self {
            address,
            system,
            thread: Some(thread),
        })
    }

    /// Where processors are asked.
    pub fn address(&self) -> DeskAddress {
        self.address.clone()
    }
}

impl Drop for QuestionDesk {
    fn drop(&mut self) {
        self.system.stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
