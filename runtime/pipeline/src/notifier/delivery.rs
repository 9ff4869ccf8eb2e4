//! What is delivered to a receiver, and what is noted of it.

use std::sync::Arc;
use std::time::Duration;

use theatre_actors::ports::{Epoch, Error, PartitionStatus, Result, StoredOutput, Undelivered};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;
use theatre_telemetry::names;

use super::held::Held;
use super::repeated::Repeated;
use crate::outbox::{Consumer, OutboxConsumer, OutputSink, Receipt, Stream};
use crate::{Ports, Step};

/// Outputs read at once.
const AT_ONCE: usize = 64;
/// After so many answers with a no, one after the other, no more of what is new is tried for now:
/// it is the receiver that is not well, not a message.
const NOES_MAX: usize = 3;
/// A position that only passed over outputs of no concern is noted this often.
const NOTE_EVERY_US: i64 = 1_000_000;

/// Delivers the outputs of one partition to a sink.
pub struct Delivery {
    partition: Partition,
    epoch: Epoch,
    ports: Ports,
    sink: Arc<dyn OutputSink>,
    consumer: Consumer,
    /// All up to here is delivered, of no concern, set aside, or held.
    read: u64,
    held: Held,
    /// When what still holds is sent again.
    repeated: Repeated,
    /// The position in the store.
    noted: u64,
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
        let repeated = Repeated::new(sink.repeats_every());
        Self {
            partition,
            epoch,
            ports,
            sink,
            consumer,
            read: 0,
            held: Held::default(),
            repeated,
            noted: 0,
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

    /// All up to here is delivered, of no concern, or set aside.
    fn passed(&self) -> u64 {
        let first = self.held.first();
        first.map_or(self.read, |first| first.sequence.saturating_sub(1))
    }

    /// Hands what is new over, in order. Returns what the receiver said where it answered with a no
    /// that may pass.
    fn deliver_new(&mut self, last_output: u64) -> Result<Option<String>> {
        let mut said = None;
        if self.read >= last_output || !self.held.lets_pass() {
            return Ok(said);
        }
        let outputs = self.outputs(self.read)?;
        let mut noes = 0;
        for stored in &outputs {
            let taken = self.held.taken();
            if let Some(why) = self.hand_over(stored)? {
                said = Some(why);
                noes += 1;
            } else if self.held.taken() > taken {
                noes = 0;
            }
            self.read = stored.sequence;
            if noes == NOES_MAX || !self.held.lets_pass() {
                return Ok(said);
            }
        }
        if outputs.len() < AT_ONCE {
            self.read = self.read.max(last_output);
        }
        Ok(said)
    }

    /// Hands a new output over, unless it is of no concern, and notes what came of it. Returns what
    /// the receiver said if that is a no which may pass.
    fn hand_over(&mut self, stored: &StoredOutput) -> Result<Option<String>> {
        let store = self.ports.store.clone();
        if !self.sink.wants(stored, &*store)? {
            return Ok(None);
        }
        if self.held.is_behind(stored) {
            self.held.keep(stored.clone(), None, None);
            return Ok(None);
        }
        let now = self.ports.clock.now();
        let receipt = match too_old(stored, now, self.sink.patience()) {
            Some(reason) => Receipt::Refused(reason),
            None => self.try_once(stored)?,
        };
        match receipt {
            Receipt::Taken => {
                self.held.take(stored.sequence);
                if self.held.is_empty() {
                    self.note(stored.sequence)?;
                }
            }
            Receipt::Refused(reason) if self.held.is_empty() => self.set_aside(stored, reason)?,
            Receipt::Refused(reason) => self.held.keep(stored.clone(), None, Some(reason)),
            Receipt::NotNow(why) => {
                let now = self.ports.clock.now();
                self.held.keep(stored.clone(), Some(now), None);
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// Tries those again that are held, as far as it is time, and gives those up that waited for
    /// too long. Returns whether there are fewer of them.
    fn deliver_held(&mut self) -> Result<bool> {
        let (now, patience) = (self.ports.clock.now(), self.sink.patience());
        self.held
            .refuse_all(|stored| too_old(stored, now, patience));
        let mut is_less = self.release()?;
        for _ in 0..AT_ONCE {
            let now = self.ports.clock.now();
            let Some(stored) = self.held.next(now) else {
                break;
            };
            let sequence = stored.sequence;
            let receipt = self.try_once(&stored);
            let now = self.ports.clock.now();
            match &receipt {
                Ok(Receipt::Taken) => self.held.take(sequence),
                Ok(Receipt::Refused(why)) => self.held.refuse(sequence, why),
                Ok(Receipt::NotNow(why)) => self.held.put_off(sequence, why, now),
                Err(_) => self.held.rest(now),
            }
            let is_taken = receipt? == Receipt::Taken;
            is_less |= self.release()? || is_taken;
            self.note(self.passed())?;
            self.show_waiting(None);
        }
        Ok(is_less)
    }

    /// Says again what still holds, if it is time.
    fn repeat(&mut self, now: LogTime) -> Result<()> {
        if !self.repeated.is_due(now) {
            return Ok(());
        }
        let (held, read, partition) = (&self.held, self.read, self.partition);
        // What another partition has of a robot was there before the robot came here.
        let is_known = |output: &StoredOutput| {
            output.partition != partition || output.sequence <= read && !held.is_behind(output)
        };
        let store = &*self.ports.store;
        let is_owner = || self.fence(&store.status(partition)?);
        let taken = (self.sink).repeat(partition, &is_known, &is_owner, store);
        let failed = match taken {
            Ok(Receipt::Taken) => None,
            Ok(Receipt::Refused(why) | Receipt::NotNow(why)) => Some(Error::Unavailable {
                what: "the receiver",
                why: format!("what is open was not taken again: {why}"),
            }),
            Err(error) => Some(passing(error)),
        };
        self.repeated.note(now, failed.is_some());
        match failed {
            None => Ok(()),
            Some(error) => {
                names::notification_failed(self.consumer.label());
                Err(error)
            }
        }
    }

    /// Whether something waits that was answered with a no.
    pub(super) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether something fails, though there may be nothing to do about it at the moment.
    pub(super) fn is_troubled(&self) -> bool {
        self.holds_back() || self.repeated.has_failed()
    }

    /// Sets those aside that will never be delivered and have none before them any more. Returns
    /// whether there were any.
    fn release(&mut self) -> Result<bool> {
        let mut is_less = false;
        while let Some((stored, why)) = self.held.refused_first() {
            self.set_aside(&stored, why)?;
            self.held.drop_first();
            self.show_waiting(None);
            is_less = true;
        }
        Ok(is_less)
    }

    fn note(&mut self, position: u64) -> Result<()> {
        if position <= self.noted {
            return Ok(());
        }
        let (store, name) = (&self.ports.store, &self.consumer.name);
        store.advance_cursor(self.partition, self.epoch, name, position)?;
        self.noted = position;
        Ok(())
    }

    /// To be called only where nothing is held before it: the position moves over it.
    fn set_aside(&mut self, stored: &StoredOutput, reason: String) -> Result<()> {
        let name = &*self.consumer.name;
        let (id, sequence) = (&stored.output.id, stored.sequence);
        tracing::error!(
            receiver = name,
            id,
            sequence,
            reason,
            "an output is set aside as undelivered: `theatre notify list` names it"
        );
        let undelivered = Undelivered {
            sequence,
            reason,
            at: self.ports.clock.now(),
        };
        let store = &self.ports.store;
        store.set_aside(self.partition, self.epoch, name, &undelivered)?;
        self.noted = self.noted.max(sequence);
        self.show_waiting(None);
        names::notification_undelivered(self.consumer.label());
        Ok(())
    }

    fn try_once(&self, stored: &StoredOutput) -> Result<Receipt> {
        let taken = self.sink.take(stored, &*self.ports.store);
        let name = self.consumer.label();
        match &taken {
            Ok(Receipt::Taken) => names::notification_delivered(name),
            Ok(Receipt::Refused(_)) => {}
            Ok(Receipt::NotNow(_)) | Err(_) => names::notification_failed(name),
        }
        let is_over = matches!(taken, Ok(Receipt::Taken | Receipt::Refused(_)));
        self.show_waiting((!is_over).then_some(stored));
        taken.map_err(passing)
    }

    /// Shows since when the oldest output waits that was tried.
    fn show_waiting(&self, tried: Option<&StoredOutput>) {
        let oldest = self.held.first().or(tried);
        let since = oldest.map_or(0.0, |stored| stored.committed_at.seconds());
        names::notifications_wait(self.partition, self.consumer.label(), since);
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
        self.noted = status.cursors.get(&self.consumer.name);
        self.read = self.read.max(self.noted);
        let (before, taken, was_held) = (self.read, self.held.taken(), !self.held.is_empty());
        let held = self.deliver_held();
        if let Err(error @ Error::StaleEpoch { .. }) = held {
            return Err(error);
        }
        // One that gets no answer, and was held before, holds up nothing new.
        let said = self.deliver_new(status.last_output)?;
        let is_less = held?;
        let now = self.ports.clock.now();
        if everything || now.0.saturating_sub(self.noted_at.0) >= NOTE_EVERY_US {
            let passed = self.passed();
            if passed > self.noted {
                self.note(passed)?;
                self.noted_at = now;
            }
        }
        match said {
            // It is to be named, or the receiver takes nothing at all.
            Some(why) if !was_held || self.held.taken() == taken => Err(Error::Unavailable {
                what: "the receiver",
                why,
            }),
            _ if is_less || self.read > before => Ok(Step::Worked),
            // One that is to end, or is in a hurry, has no time for what was sent before.
            _ if !everything && self.read >= status.last_output => {
                self.repeat(now)?;
                Ok(Step::Idle)
            }
            _ => Ok(Step::Idle),
        }
    }

    fn close(&mut self) -> Result<()> {
        self.deliver(true).map(drop)
    }
}

/// Whatever is wrong there passes or is passed over: a command that waits for the end of everything
/// is not to give up for it.
fn passing(error: Error) -> Error {
    match error {
        Error::StaleEpoch { .. } | Error::Unavailable { .. } => error,
        other => Error::Unavailable {
            what: "the receiver",
            why: other.to_string(),
        },
    }
}

/// Why an output is not tried any more: it could not be delivered within the receiver's patience.
fn too_old(stored: &StoredOutput, now: LogTime, patience: Duration) -> Option<String> {
    let waited = now.0.saturating_sub(stored.committed_at.0);
    let is_over = waited > 0 && u128::from(waited.unsigned_abs()) > patience.as_micros();
    let patience = patience.as_secs_f64();
    is_over.then(|| format!("it could not be delivered within {patience} s"))
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // What waits is the next owner's to show.
        names::notifications_wait(self.partition, self.consumer.label(), 0.0);
    }
}
