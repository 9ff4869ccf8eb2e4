//! What waits for the warehouse: how many files of a partition, and since when the oldest does.
//!
//! A file does not say when it was completed. Each look notes the highest number that is there, so
//! a file waits since the first look at which it, or a later one, was seen.

use std::collections::VecDeque;

use theatre_actors::time::{LogTime, MICROS_PER_SECOND};

/// How often the store is asked, microseconds.
const LOOK_EVERY_US: i64 = 15 * MICROS_PER_SECOND;
/// Looks that are remembered; of older ones every second is forgotten, so that the times of a long
/// outage become less exact instead of wrong.
const LOOKS_MAX: usize = 512;
/// Files that are counted, at most.
pub(super) const FILES_MAX: usize = 1000;

/// The files of one partition that wait for the warehouse.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    looked_at: Option<LogTime>,
    /// The highest number that was there at a look at which it was new, and when that was.
    seen: VecDeque<(u64, LogTime)>,
}

impl Backlog {
    /// Whether it is time to look again; if so, this counts as a look.
    pub(super) fn is_due(&mut self, now: LogTime) -> bool {
        let is_due = self
            .looked_at
            .is_none_or(|looked_at| now.0 - looked_at.0 >= LOOK_EVERY_US);
        if is_due {
            self.looked_at = Some(now);
        }
        is_due
    }

    /// These files wait, by number, ascending; returns since when the first of them does.
    pub(super) fn note(&mut self, waiting: &[u64], now: LogTime) -> Option<LogTime> {
        let (Some(first), Some(last)) = (waiting.first(), waiting.last()) else {
            self.seen.clear();
            return None;
        };
        if self.seen.back().is_none_or(|(highest, _)| highest < last) {
            self.seen.push_back((*last, now));
        }
        while self
            .seen
            .front()
            .is_some_and(|(highest, _)| highest < first)
        {
            self.seen.pop_front();
        }
        if self.seen.len() > LOOKS_MAX {
            let kept = self.seen.iter().copied().enumerate();
            // A file then seems to be as young as the next look that is kept.
            self.seen = kept
                .filter(|(at, _)| at % 2 == 0)
                .map(|(_, look)| look)
                .collect();
        }
        self.seen.front().map(|(_, since)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_waits_since_it_was_first_seen_whatever_was_loaded_before_it() {
        let mut backlog = Backlog::default();
        let mut note = |waiting: &[u64], now: i64| {
            let since = backlog.note(waiting, LogTime(now));
            since.map(|since| since.0)
        };
        assert_eq!(note(&[], 1), None);
        assert_eq!(note(&[4, 5], 10), Some(10));
        assert_eq!(note(&[4, 5, 6], 20), Some(10));
        assert_eq!(note(&[5, 6], 30), Some(10));
        assert_eq!(note(&[6], 40), Some(20));
        assert_eq!(note(&[], 50), None);
        assert_eq!(note(&[6], 60), Some(60), "an operator has requeued it");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_stays() {
        let mut backlog = Backlog::default();
        let all: Vec<u64> = (1..=5000).collect();
        let mut since = None;
        for last in 1..=all.len() {
            since = backlog.note(&all[..last], LogTime(last as i64));
        }
        assert_eq!(since, Some(LogTime(1)));
        assert!(backlog.seen.len() <= LOOKS_MAX + 1);
    }

    #[test]
    fn the_store_is_asked_now_and_then() {
        let mut backlog = Backlog::default();
        let due = [0, 1, LOOK_EVERY_US, LOOK_EVERY_US + 1];
        let due = due.map(|now| backlog.is_due(LogTime(now)));
        assert_eq!(due, [true, false, true, false]);
    }
}
