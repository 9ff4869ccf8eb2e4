//! What a receiver answers with a no that may pass, and what waits behind it.
//!
//! The outputs of one condition are delivered in order, those of different conditions need not be.
//! So one that is answered with such a no holds up its own condition only: it is kept here and
//! tried again, while others are delivered past it.
//!
//! **What must hold:** the position in the store stays below the first output that is kept here.
//! After a crash, or a hand-over, it comes again, and what was delivered past it comes again behind
//! it, each condition's in order. Hence an output that is refused for good goes on holding up its
//! condition until that is in the store: else it might be taken after all by then, behind the ones
//! that followed it.

use std::collections::{BTreeSet, VecDeque};

use theatre_actors::ports::StoredOutput;
use theatre_actors::time::LogTime;

/// Most outputs that are kept. No more are read meanwhile; they wait in the store.
const HELD_MAX: usize = 1024;
/// Once so many were delivered past the first one, none is any more until that one is taken or
/// given up: this is what may come again after a crash, too.
pub(super) const AHEAD_MAX: u64 = 256;
/// Then it is given up once it was answered with a no so often, over so long: a receiver that
/// refuses for a while what comes, and not this one, is to get it.
pub(super) const NOES_MIN: u32 = 10;
pub(super) const NOES_US: i64 = 60_000_000;
/// How long none is tried after one was answered with a no, microseconds; it doubles each time.
const PAUSE_FIRST_US: i64 = 100_000;
const PAUSE_MAX_US: i64 = 5_000_000;

/// The outputs that are kept, in order.
pub(super) struct Held {
    waiting: VecDeque<Waiting>,
    /// How many outputs were taken so far.
    taken: u64,
    /// How many attempts were answered with a no so far.
    noes: u64,
    /// When the next one is tried.
    due: LogTime,
    pause_us: i64,
}

struct Waiting {
    stored: StoredOutput,
    /// How many outputs had been taken when it came here.
    taken_before: u64,
    /// The number of the last no that it was answered with; 0 if it was not tried yet.
    last_no: u64,
    /// How often it was answered with a no, and when that was first.
    own_noes: u32,
    first_no: Option<LogTime>,
    /// Why it will not be delivered.
    refused: Option<String>,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            taken: 0,
            noes: 0,
            due: LogTime(0),
            pause_us: PAUSE_FIRST_US,
        }
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first output that is kept.
    pub(super) fn first(&self) -> Option<&StoredOutput> {
        self.waiting.front().map(|first| &first.stored)
    }

    /// How many outputs were taken so far, here or past those that are here.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether others may be delivered past those that are kept.
    pub(super) fn lets_pass(&self) -> bool {
        self.waiting.len() < HELD_MAX && !self.is_far_behind()
    }

    /// Whether so many were delivered past the first one that it is its last turn.
    fn is_far_behind(&self) -> bool {
        let first = self.waiting.front();
        first.is_some_and(|first| self.taken - first.taken_before >= AHEAD_MAX)
    }

    /// Whether an output waits because another one of its condition does.
    pub(super) fn is_behind(&self, output: &StoredOutput) -> bool {
        let condition = &output.output.id;
        let mut kept = self.waiting.iter();
        kept.any(|waiting| waiting.stored.output.id == *condition)
    }

    /// Keeps the newest output: it waits, is answered with a no that may pass (`tried_at`), or will
    /// never be delivered.
    pub(super) fn keep(
        &mut self,
        stored: StoredOutput,
        tried_at: Option<LogTime>,
        refused: Option<String>,
    ) {
        if tried_at.is_some() {
            self.noes += 1;
        }
        if let Some(now) = tried_at
            && self.waiting.is_empty()
        {
            self.pause_us = PAUSE_FIRST_US;
            self.rest(now);
        }
        self.waiting.push_back(Waiting {
            stored,
            taken_before: self.taken,
            last_no: tried_at.map_or(0, |_| self.noes),
            own_noes: u32::from(tried_at.is_some()),
            first_no: tried_at,
            refused,
        });
    }

    /// The output that is to be tried now, if one is: of those that wait for nothing but themselves
    /// the one that was tried longest ago.
    pub(super) fn next(&self, now: LogTime) -> Option<StoredOutput> {
        if now < self.due {
            return None;
        }
        let mut conditions = BTreeSet::new();
        let mut firsts = self.waiting.iter().filter(|waiting| {
            conditions.insert(waiting.stored.output.id.as_str()) && waiting.refused.is_none()
        });
        let next = if self.is_far_behind() {
            firsts.next()
        } else {
            firsts.min_by_key(|waiting| waiting.last_no)
        };
        next.map(|waiting| waiting.stored.clone())
    }

    /// An output was taken, whether it was kept here or not.
    pub(super) fn take(&mut self, sequence: u64) {
        self.taken += 1;
        let before = self.waiting.len();
        self.waiting
            .retain(|waiting| waiting.stored.sequence != sequence);
        if self.waiting.len() < before {
            self.pause_us = PAUSE_FIRST_US;
        }
    }

    /// One that is kept was answered with a no again.
    pub(super) fn put_off(&mut self, sequence: u64, why: &str, now: LogTime) {
        self.noes += 1;
        let (noes, is_far_behind) = (self.noes, self.is_far_behind());
        self.rest(now);
        let Some(waiting) = self.find(sequence) else {
            return;
        };
        waiting.last_no = noes;
        waiting.own_noes += 1;
        let first_no = *waiting.first_no.get_or_insert(now);
        let is_long = now.0.saturating_sub(first_no.0) >= NOES_US;
        if is_far_behind && is_long && waiting.own_noes >= NOES_MIN {
            let why = format!("{why}; meanwhile {AHEAD_MAX} of other conditions were delivered");
            self.refuse(sequence, &why);
        }
    }

    /// None is tried for a while, for longer each time.
    pub(super) fn rest(&mut self, now: LogTime) {
        self.due = LogTime(now.0.saturating_add(self.pause_us));
        self.pause_us = self.pause_us.saturating_mul(2).min(PAUSE_MAX_US);
    }

    /// One that is kept will never be delivered.
    pub(super) fn refuse(&mut self, sequence: u64, why: &str) {
        if let Some(waiting) = self.find(sequence) {
            waiting.refused = Some(why.to_owned());
        }
    }

    /// All for which there is a reason will never be delivered.
    pub(super) fn refuse_all(&mut self, reason: impl Fn(&StoredOutput) -> Option<String>) {
        for waiting in &mut self.waiting {
            if waiting.refused.is_none() {
                waiting.refused = reason(&waiting.stored);
            }
        }
    }

    /// The first output, if it will never be delivered, and why. It is still kept.
    pub(super) fn refused_first(&self) -> Option<(StoredOutput, String)> {
        let first = self.waiting.front()?;
        Some((first.stored.clone(), first.refused.clone()?))
    }

    /// The first output is noted in the store as undelivered.
    pub(super) fn drop_first(&mut self) {
        self.waiting.pop_front();
    }

    fn find(&mut self, sequence: u64) -> Option<&mut Waiting> {
        let mut kept = self.waiting.iter_mut();
        kept.find(|waiting| waiting.stored.sequence == sequence)
    }
}

#[cfg(test)]
mod tests {
    use theatre_actors::outputs::{OutputEvent, OutputKind};

    use super::*;

    fn output(sequence: u64, condition: &str) -> StoredOutput {
        StoredOutput {
            partition: 0,
            sequence,
            committed_at: LogTime(0),
            output: OutputEvent {
                kind: OutputKind::Alert,
                robot_id: "r".to_owned(),
                id: condition.to_owned(),
                subject: "hot".to_owned(),
                revision: 0,
                event_time: 0,
                payload: Vec::new(),
            },
        }
    }

    fn next(held: &Held, now: i64) -> Option<u64> {
        held.next(LogTime(now)).map(|stored| stored.sequence)
    }

    #[test]
    fn those_that_wait_for_themselves_have_their_turn_one_after_the_other() {
        let mut held = Held::default();
        held.keep(output(1, "a"), Some(LogTime(0)), None);
        held.keep(output(2, "a"), None, None);
        held.keep(output(3, "b"), Some(LogTime(0)), None);
        assert!(held.is_behind(&output(9, "a")) && !held.is_behind(&output(9, "c")));
        assert_eq!(next(&held, 99_999), None);
        assert_eq!(next(&held, 100_000), Some(1));
        held.put_off(1, "no", LogTime(100_000));
        assert_eq!(next(&held, 299_999), None, "the pause has doubled");
        assert_eq!(next(&held, 300_000), Some(3));
        held.put_off(3, "no", LogTime(300_000));
        assert_eq!(next(&held, 1_000_000), Some(1));
        held.take(1);
        assert_eq!(next(&held, 1_000_000), Some(2), "what was never tried");
        held.refuse(2, "never");
        assert_eq!(
            held.refused_first(),
            Some((output(2, "a"), "never".to_owned()))
        );
        assert_eq!(next(&held, 1_000_000), Some(3));
    }

    #[test]
    fn a_pause_is_five_seconds_at_most_and_short_again_once_one_was_taken() {
        let mut held = Held::default();
        held.keep(output(1, "a"), Some(LogTime(0)), None);
        held.keep(output(2, "b"), Some(LogTime(0)), None);
        for _ in 0..20 {
            held.rest(LogTime(0));
        }
        assert_eq!(
            (next(&held, 4_999_999), next(&held, 5_000_000)),
            (None, Some(1))
        );
        held.take(1);
        held.put_off(2, "no", LogTime(5_000_000));
        assert_eq!(
            (next(&held, 5_099_999), next(&held, 5_100_000)),
            (None, Some(2))
        );
    }

    #[test]
    fn what_many_were_delivered_past_is_given_up_after_many_noes_and_a_minute() {
        let mut held = Held::default();
        held.keep(output(1, "a"), Some(LogTime(0)), None);
        for sequence in 2..=AHEAD_MAX {
            held.take(sequence);
        }
        assert!(held.lets_pass());
        held.put_off(1, "no", LogTime(0));
        held.take(AHEAD_MAX + 1);
        assert!(!held.lets_pass() && held.refused_first().is_none());
        for _ in 0..NOES_MIN {
            held.put_off(1, "it answered 500", LogTime(NOES_US - 1));
        }
        assert_eq!(held.refused_first(), None, "a minute is not over");
        held.put_off(1, "it answered 500", LogTime(NOES_US));
        let (_, why) = held.refused_first().unwrap();
        assert!(why.starts_with("it answered 500; meanwhile 256"), "{why}");
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let mut held = Held::default();
        for sequence in 1..=HELD_MAX as u64 {
            assert!(held.lets_pass());
            held.keep(output(sequence, "a"), Some(LogTime(0)), None);
        }
        assert!(!held.lets_pass());
    }
}
