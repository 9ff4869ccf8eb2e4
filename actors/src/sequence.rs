//! Duplicates, gaps and restarts, from the numbers that robots put on their records.
//!
//! Per robot and topic: for each of the last few boots a high-water mark and a bounded list of missing ranges. A function of the
//! log's order alone, judged before anything else. A number that was never seen is never called a duplicate: when a range is given up
//! for lack of room, everything below its end becomes [`Verdict::GivenUp`], which is dead-lettered, not dropped.

use serde::{Deserialize, Serialize};

const BOOTS_MAX: usize = 4;
const RANGES_MAX: usize = 64;
/// Numbers this far below the first one seen of a boot may still come.
const BEFORE_FIRST: i64 = 1024;

/// What a number says about its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The next, or beyond it.
    New {
        /// Numbers that are newly missing.
        gap: u64,
    },
    /// A missing number came after all.
    Filled,
    /// Seen before.
    Duplicate,
    /// From a range that was given up: may or may not have been seen.
    GivenUp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Boot {
    boot: i64,
    first: i64,
    high: i64,
    /// Below this nothing is known.
    floor: i64,
    /// Inclusive, ascending, all in `floor..=high`.
    missing: Vec<(i64, i64)>,
}

/// The numbers of one robot on one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceTracker {
    /// Newest last.
    boots: Vec<Boot>,
    restarts: u64,
    given_up: u64,
}

impl SequenceTracker {
    /// Judges a number and remembers it.
    pub fn judge(&mut self, boot: i64, sequence: i64) -> Verdict {
        if let Some(current) = self.boots.last_mut()
            && current.boot == boot
            && current.high.checked_add(1) == Some(sequence)
        {
            current.high = sequence;
            return Verdict::New { gap: 0 };
        }
        match self.boots.binary_search_by_key(&boot, |known| known.boot) {
            Ok(at) => {
                let (verdict, lost) = self.boots[at].judge(sequence);
                self.given_up += lost;
                verdict
            }
            // Older than all that are remembered, and the memory is full: it may have been there before.
            Err(0) if self.boots.len() == BOOTS_MAX => Verdict::GivenUp,
            Err(at) => {
                self.restarts += u64::from(!self.boots.is_empty());
                self.boots.insert(at, Boot::new(boot, sequence));
                if self.boots.len() > BOOTS_MAX {
                    let oldest = self.boots.remove(0);
                    self.given_up += oldest.missing_after_first();
                }
                Verdict::New { gap: 0 }
            }
        }
    }

    /// Numbers that are missing now, between the first and the highest seen of each boot.
    pub fn missing(&self) -> u64 {
        self.boots.iter().map(Boot::missing_after_first).sum()
    }

    /// Boots after the first.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Missing numbers that are no longer waited for.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }
}

impl Boot {
    fn new(boot: i64, first: i64) -> Self {
        let floor = first.saturating_sub(BEFORE_FIRST).max(first.min(0));
        let missing = if floor < first { vec![(floor, first - 1)] } else { Vec::new() };
        Self { boot, first, high: first, floor, missing }
    }

    /// The verdict, and how many missing numbers were given up for it.
    fn judge(&mut self, sequence: i64) -> (Verdict, u64) {
        if sequence > self.high {
            let gap = (sequence - self.high - 1) as u64;
            if gap > 0 {
                self.missing.push((self.high + 1, sequence - 1));
            }
            self.high = sequence;
            return (Verdict::New { gap }, self.bound());
        }
        if sequence < self.floor {
            return (Verdict::GivenUp, 0);
        }
        let at = self.missing.partition_point(|(_, end)| *end < sequence);
        match self.missing.get(at).copied() {
            Some((start, end)) if start <= sequence => {
                let halves = [(start, sequence - 1), (sequence + 1, end)];
                self.missing.splice(at..=at, halves.into_iter().filter(|(start, end)| start <= end));
                (Verdict::Filled, self.bound())
            }
            _ => (Verdict::Duplicate, 0),
        }
    }

    fn bound(&mut self) -> u64 {
        if self.missing.len() <= RANGES_MAX {
            return 0;
        }
        let (start, end) = self.missing.remove(0);
        self.floor = end + 1;
        count(start.max(self.first), end)
    }

    fn missing_after_first(&self) -> u64 {
        self.missing.iter().map(|(start, end)| count((*start).max(self.first), *end)).sum()
    }
}

fn count(start: i64, end: i64) -> u64 {
    u64::try_from(end.saturating_sub(start).saturating_add(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::{SequenceTracker, Verdict};

    proptest! {
        #[test]
        fn a_number_is_new_once_and_a_duplicate_ever_after(numbers in proptest::collection::vec((0..3_i64, 0..40_i64), 0..300)) {
            let mut tracker = SequenceTracker::default();
            let mut seen = HashSet::new();
            for (boot, number) in numbers {
                let verdict = tracker.judge(boot, number);
                let first_time = seen.insert((boot, number));
                prop_assert_eq!(first_time, matches!(verdict, Verdict::New { .. } | Verdict::Filled), "{:?} {:?}", (boot, number), verdict);
            }
        }

        #[test]
        fn what_was_never_seen_is_never_called_a_duplicate(numbers in proptest::collection::vec((0..9_i64, 0..100_000_i64), 0..600)) {
            let mut tracker = SequenceTracker::default();
            let mut seen = HashSet::new();
            for (boot, number) in numbers {
                let verdict = tracker.judge(boot, number);
                if seen.insert((boot, number)) {
                    prop_assert_ne!(verdict, Verdict::Duplicate);
                } else {
                    prop_assert!(matches!(verdict, Verdict::Duplicate | Verdict::GivenUp));
                }
            }
        }
    }

    #[test]
    fn gaps_and_restarts_are_counted() {
        let mut tracker = SequenceTracker::default();
        tracker.judge(1, 10);
        assert_eq!(tracker.judge(1, 14), Verdict::New { gap: 3 });
        assert_eq!(tracker.missing(), 3);
        assert_eq!(tracker.judge(1, 12), Verdict::Filled);
        assert_eq!(tracker.missing(), 2);
        tracker.judge(2, 0);
        assert_eq!(tracker.restarts(), 1);
    }
}
