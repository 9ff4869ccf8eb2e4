//! One partition that is being read: what was fetched of it and waits for its reader, where the
//! next fetch begins, and what its broker says of it. The reader and the thread of the partition's
//! leader share it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::protocol::StrBytes;

use super::super::leader_health::Pulse;
use super::batches::{BatchFault, Survey};
use super::errors::{self, Remedy};
use super::fetch_response::{End, PartitionAnswer, Place};
use super::memory::Buffer;
use super::plan::{Readiness, Wanted};
use super::signal::Signal;
use super::visit::Aborted;

/// The first piece that is asked for, and the least that follows.
const PIECE_MIN: usize = 64 << 10;
/// The largest piece that is asked for as long as batches are smaller.
const PIECE_MAX: usize = 1 << 20;
/// A piece has room for so many of the largest batch: the one that it cuts is fetched twice.
const BATCHES_PER_PIECE: usize = 8;
/// The largest piece that is ever asked for, when a batch is larger than the last one.
const PIECE_LIMIT: usize = 64 << 20;
/// A partition that failed is asked for again after this.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// A partition that its broker refuses is asked for again after this.
const REFUSED_AFTER: Duration = Duration::from_secs(1);

/// What a reader that is due to be woken calls.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Records of one answer.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) buffer: Buffer,
    pub(super) aborted: Vec<Aborted>,
}

/// Why a partition cannot be read on.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The offset is before the log's start, or beyond its end.
    OutOfRange,
    /// The log was cut: what was read from this offset on is not in it any more.
    Diverged(u64),
    /// The topic is another one of the same name.
    MadeAnew,
    /// The topic or the partition is not there.
    Missing,
    /// An error of the broker; whether a retry may succeed.
    Broker(i16, bool),
}

impl Failure {
    /// Whether the reader's position is worth nothing any more.
    fn is_of_position(&self) -> bool {
        matches!(self, Self::OutOfRange | Self::Diverged(_) | Self::MadeAnew)
    }
}

/// Why a partition has no connection, and since when.
#[derive(Debug, Clone)]
pub(super) struct Outage {
    pub(super) since: Instant,
    pub(super) why: String,
}

/// A topic partition and the state of reading it.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) place: Place,
    piece_bytes: Option<usize>,
    pulse: Option<Pulse>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    fetched: VecDeque<Fetched>,
    /// Bytes of `fetched` and of what the reader has taken out of it.
    held: usize,
    /// Where the next fetch begins.
    next: i64,
    /// Leader epoch of the last batch that was fetched; -1 before the first.
    last_epoch: i32,
    /// Leader epoch by the metadata; -1 where unknown.
    leader_epoch: i32,
    piece: usize,
    end: Option<End>,
    failure: Option<Failure>,
    fault: Option<BatchFault>,
    retry_at: Option<Instant>,
    /// Since when the metadata has not named it.
    missing_since: Option<Instant>,
    outage: Option<Outage>,
    wake: Option<Wake>,
    /// Rings the thread of its leader.
    leader: Option<Arc<Signal>>,
    /// Number of the request that brought records last.
    served: u64,
    /// Number of the request that asked for it last, and when that was.
    asked: u64,
    asked_at: Option<Instant>,
    /// When the request was made whose answer said `end` last: what was appended before is known.
    end_asked_at: Option<Instant>,
    /// How many requests in succession asked for it in vain, though it has more.
    in_vain: u32,
    /// Id of the topic when the partition was first seen, where the brokers tell it.
    topic_id: Option<[u8; 16]>,
    is_closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "next {} held {} {:?} {:?}",
            self.next, self.held, self.end, self.failure
        )
    }
}

/// What an answer asks of the thread that received it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    FindLeader,
}

impl Partition {
    /// To be read from `from` on.
    pub(super) fn new(topic: &str, index: i32, from: u64, piece_bytes: Option<usize>) -> Self {
        Self {
            place: Place {
                topic: StrBytes::from_string(topic.to_owned()),
                index,
            },
            piece_bytes,
            pulse: None,
            state: Mutex::new(State {
                next: i64::try_from(from).unwrap_or(i64::MAX),
                last_epoch: -1,
                leader_epoch: -1,
                piece: piece_bytes.unwrap_or(PIECE_MIN),
                ..State::default()
            }),
        }
    }

    /// Tells of each answer for it.
    pub(super) fn with_pulse(self, pulse: Pulse) -> Self {
        Self {
            pulse: Some(pulse),
            ..self
        }
    }

    /// Notes that its leader has answered for it.
    pub(super) fn note_answer(&self, now: Instant) {
        if let Some(pulse) = &self.pulse {
            pulse.note(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes part in a request now, if it may hold `share` bytes and the process has
    /// `room` for as many more. One that holds nothing always does: it would stand still for good
    /// otherwise.
    pub(super) fn readiness(&self, now: Instant, share: usize, room: usize) -> Readiness {
        let mut state = self.lock();
        let is_stopped = state.failure.as_ref().is_some_and(Failure::is_of_position);
        if state.is_closed || is_stopped || state.fault.is_some() {
            return Readiness::NotBefore(None);
        }
        if let Some(at) = state.retry_at.filter(|at| *at > now) {
            return Readiness::NotBefore(Some(at));
        }
        state.retry_at = None;
        let has_more = state
            .end
            .is_none_or(|end| end.last_stable > u64::try_from(state.next).unwrap_or(0));
        if !has_more {
            state.in_vain = 0;
        }
        let is_full = state.held > 0 && (state.held + state.piece > share || state.piece > room);
        if is_full {
            return Readiness::Full { has_more };
        }
        Readiness::Ready(Wanted {
            next: state.next,
            last_epoch: state.last_epoch,
            leader_epoch: state.leader_epoch,
            piece: state.piece,
            served: state.served,
            asked: state.asked,
            in_vain: state.in_vain,
            has_more,
            holds_some: state.held > 0,
            end: state.end.filter(|_| state.failure.is_none()),
        })
    }

    /// Notes that a request asks for it, `now`.
    pub(super) fn note_asked(&self, request: u64, now: Instant) {
        let mut state = self.lock();
        (state.asked, state.asked_at) = (request, Some(now));
        state.in_vain = state.in_vain.saturating_add(1);
    }

    /// Takes what an answer says; the request asked for `wanted` and has this number. Returns what
    /// wakes the reader, if there is something for it.
    pub(super) fn deliver(
        &self,
        answer: PartitionAnswer,
        wanted: &Wanted,
        request: u64,
    ) -> (Next, Option<Wake>) {
        let mut state = self.lock();
        if state.is_past(wanted) {
            return (Next::GoOn, None);
        }
        let was_empty = state.fetched.is_empty();
        let had_end = state.end.is_some();
        let next = if answer.error != 0 {
            state.take_error(answer.error)
        } else if let Some(end) = answer.diverging_end {
            // What waits for the reader may not be in the log any more.
            state.fetched.clear();
            state.failure = Some(Failure::Diverged(u64::try_from(end).unwrap_or(0)));
            Next::GoOn
        } else {
            state.take_records(answer, self.piece_bytes, request);
            Next::GoOn
        };
        let is_news = was_empty && !state.fetched.is_empty()
            || state.failure.is_some()
            || state.fault.is_some()
            || !had_end && state.end.is_some();
        (next, state.wake.clone().filter(|_| is_news))
    }

    /// Takes what an answer says by not naming it: it has no records for what was `wanted`, and its
    /// end is this one. Returns what wakes the reader, if that is news.
    pub(super) fn look(&self, end: End, wanted: &Wanted, request: u64) -> Option<Wake> {
        let mut state = self.lock();
        if state.is_past(wanted) {
            return None;
        }
        // An error that may pass has passed.
        state.failure = None;
        let had_end = state.end.is_some();
        state.set_end(end, request);
        state.wake.clone().filter(|_| !had_end)
    }

    /// Takes what an answer says of an end that the reader knows, by naming nothing new: that it
    /// was still the same.
    pub(super) fn confirm(&self, wanted: &Wanted, request: u64) {
        let mut state = self.lock();
        if !state.is_past(wanted) {
            state.confirm_end(request);
        }
    }

    /// The next records for the reader.
    pub(super) fn take(&self) -> Option<Fetched> {
        self.lock().fetched.pop_front()
    }

    /// Gives records back that the reader has consumed, so that more are fetched.
    pub(super) fn give_back(&self, fetched: Fetched) {
        let size = fetched.buffer.size();
        drop(fetched);
        let mut state = self.lock();
        state.held = state.held.saturating_sub(size);
        let leader = state.leader.clone();
        drop(state);
        if let Some(leader) = leader {
            leader.ring_if_awaited();
        }
    }

    /// Fetches anew from `next` on, the reader's position: what was fetched is not what the broker
    /// has.
    pub(super) fn fetch_again(&self, next: u64) {
        let mut state = self.lock();
        state.fetched.clear();
        state.held = 0;
        state.fault = None;
        state.next = i64::try_from(next).unwrap_or(i64::MAX);
        state.retry_at = None;
        let leader = state.leader.clone();
        drop(state);
        if let Some(leader) = leader {
            leader.ring();
        }
    }

    /// What stands in the way of reading on, once all that was fetched is consumed. A failure that
    /// may pass is reported once.
    pub(super) fn failure(&self) -> Option<Failure> {
        let mut state = self.lock();
        if !state.fetched.is_empty() {
            return None;
        }
        let failure = state.failure.clone()?;
        if !failure.is_of_position() {
            state.failure = None;
        }
        Some(failure)
    }

    /// Why the batch at the next offset cannot be read, once all before it is consumed.
    pub(super) fn fault(&self) -> Option<BatchFault> {
        let state = self.lock();
        state.fault.clone().filter(|_| state.fetched.is_empty())
    }

    /// The end that the broker gave last.
    pub(super) fn end(&self) -> Option<End> {
        self.lock().end
    }

    /// When the broker was asked for it; `None` where it has not answered yet.
    pub(super) fn end_asked_at(&self) -> Option<Instant> {
        self.lock().end_asked_at
    }

    /// Why there is no connection.
    pub(super) fn outage(&self) -> Option<Outage> {
        self.lock().outage.clone()
    }

    /// Says why there is no connection; `None` if there is one.
    pub(super) fn set_outage(&self, why: Option<&str>, now: Instant) {
        let mut state = self.lock();
        state.outage = why.map(|why| Outage {
            since: state.outage.as_ref().map_or(now, |outage| outage.since),
            why: why.to_owned(),
        });
    }

    /// Registers what is called when there is something for the reader.
    pub(super) fn set_wake(&self, wake: Wake) {
        let mut state = self.lock();
        let is_due = !state.fetched.is_empty() || state.failure.is_some() || state.end.is_some();
        state.wake = Some(wake.clone());
        drop(state);
        if is_due {
            wake();
        }
    }

    /// Ends the reading.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        *state = State {
            is_closed: true,
            ..State::default()
        };
    }

    /// Whether its reader is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Epoch of the leader by the last metadata; -1 before the first.
    pub(super) fn leader_epoch(&self) -> i32 {
        self.lock().leader_epoch
    }

    /// Takes the leader that the metadata name.
    pub(super) fn set_leader(&self, leader: Arc<Signal>, epoch: i32) {
        let mut state = self.lock();
        state.leader = Some(leader);
        state.leader_epoch = epoch;
        state.missing_since = None;
        state.retry_at = None;
    }

    /// Notes that the metadata do not name it; after `patience` that is a failure.
    pub(super) fn set_missing(&self, now: Instant, patience: Duration) {
        let mut state = self.lock();
        let since = *state.missing_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= patience {
            state.failure = Some(Failure::Missing);
        }
    }

    /// Compares the topic with the one that was first seen; false if it was deleted and made anew,
    /// which ends the reading. Brokers that know no ids give zeros.
    pub(super) fn check_topic(&self, id: [u8; 16]) -> bool {
        let mut state = self.lock();
        let is_same = id == [0; 16] || *state.topic_id.get_or_insert(id) == id;
        if !is_same {
            state.fetched.clear();
            state.failure = Some(Failure::MadeAnew);
        }
        is_same
    }

    /// Notes that the brokers refuse the topic.
    pub(super) fn set_refused(&self, code: i16) {
        self.lock().failure = Some(Failure::Broker(code, false));
    }
}

impl State {
    /// Whether an answer to what was `wanted` comes too late: after a change of position, after
    /// another leader's, or after the topic was found to be another.
    fn is_past(&self, wanted: &Wanted) -> bool {
        let is_stopped = self.failure.as_ref().is_some_and(Failure::is_of_position);
        self.is_closed || is_stopped || self.next != wanted.next
    }

    /// Takes the end that the answer to a request says, but for one that another request has
    /// overtaken: it may come from a former leader.
    fn set_end(&mut self, end: End, request: u64) {
        if self.asked == request || self.end.is_none() {
            self.end = Some(end);
        }
        self.confirm_end(request);
    }

    /// Notes that the end was still the same when this request was answered.
    fn confirm_end(&mut self, request: u64) {
        if self.asked == request && self.end.is_some() {
            self.end_asked_at = self.asked_at;
        }
    }

    fn take_error(&mut self, code: i16) -> Next {
        let remedy = errors::remedy(code);
        let after = if remedy == Remedy::Refuse {
            REFUSED_AFTER
        } else {
            RETRY_AFTER
        };
        self.retry_at = Some(Instant::now() + after);
        match remedy {
            Remedy::FindLeader => return Next::FindLeader,
            Remedy::Retry => {}
            Remedy::Position => self.failure = Some(Failure::OutOfRange),
            Remedy::Report => self.failure = Some(Failure::Broker(code, true)),
            Remedy::Refuse => self.failure = Some(Failure::Broker(code, false)),
        }
        Next::GoOn
    }

    fn take_records(&mut self, answer: PartitionAnswer, fixed: Option<usize>, request: u64) {
        self.set_end(answer.end(), request);
        // An error that may pass has passed.
        self.failure = None;
        // None, though there are more, if the batch was too large behind those of other partitions:
        // the partition that waits longest stands first in a request, and the first gets a batch
        // whole.
        let Some(mut buffer) = answer.records else {
            return;
        };
        let survey = Survey::of(buffer.bytes(), self.next);
        self.last_epoch = if survey.next_offset.is_some() {
            survey.leader_epoch
        } else {
            self.last_epoch
        };
        self.fault = survey.fault;
        match survey.next_offset {
            Some(next) => {
                self.next = next;
                self.served = request;
                self.in_vain = 0;
                let wanted = survey.largest.saturating_mul(BATCHES_PER_PIECE);
                let room = wanted.clamp(PIECE_MIN, PIECE_MAX).max(survey.largest);
                self.piece = fixed.unwrap_or_else(|| self.piece.midpoint(room).max(room));
                buffer.truncate(survey.complete);
                self.held += buffer.size();
                self.fetched.push_back(Fetched {
                    buffer,
                    aborted: answer.aborted,
                });
            }
            None if self.fault.is_none() => {
                self.piece = (self.piece * 2).min(PIECE_LIMIT);
            }
            None => {}
        }
    }
}
