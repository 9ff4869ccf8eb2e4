//! What the numbers of a topic say about the order of its rows, and which numbers may come again.
//!
//! A row is in order when nothing is missing before it in the newest boot. A gap is waited for:
//! once the watermark has passed the clock at which the gap was noticed, no row of it can come
//! within the reorder bound any more, and it is taken as lost.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::sequence::{SequenceTracker, Verdict};

/// Most gaps that are waited for one by one; further ones are waited for together with the last.
const GAPS_MAX: usize = 64;
/// Most ranges of refused numbers that are remembered per topic, the latest ones.
const REFUSED_MAX: usize = 128;

/// What is known of the numbers of one topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TopicNumbers {
    pub(super) tracker: SequenceTracker,
    pub(super) order: NumberOrder,
    pub(super) refused: RefusedNumbers,
}

impl TopicNumbers {
    /// The numbers of a tracker that was kept without the rest: nothing of the past is waited for.
    pub(crate) fn of(tracker: SequenceTracker) -> Self {
        let mut order = NumberOrder {
            boot: tracker.newest().map(|(boot, _)| boot),
            ..NumberOrder::default()
        };
        order.settle_all(&tracker);
        Self {
            tracker,
            order,
            refused: RefusedNumbers::default(),
        }
    }

    /// The newest boot.
    pub(super) fn boot(&self) -> Option<i64> {
        self.order.boot
    }

    /// Whether nothing is missing before a row that came earlier.
    pub(super) fn is_complete_before(&self, number: (i64, i64)) -> bool {
        self.order.is_complete_before(&self.tracker, number)
    }
}

/// The order that the numbers of one topic show.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct NumberOrder {
    /// The newest boot.
    boot: Option<i64>,
    /// Numbers up to this are not waited for. A robot counts from 0 or from 1.
    settled_to: i64,
    /// Gaps that are waited for: the clock at which each was noticed, and its highest number. Both
    /// ascend.
    gaps: VecDeque<(i64, i64)>,
    /// Nothing above `settled_to` was missing at the last row.
    is_complete: bool,
}

impl NumberOrder {
    /// Notes the number of a row, on which the tracker gave `verdict`; says whether nothing is
    /// missing before it. `clock` and `watermark` are those after the row.
    #[inline]
    pub(super) fn note(
        &mut self,
        tracker: &SequenceTracker,
        (boot, sequence): (i64, i64),
        verdict: Verdict,
        clock: i64,
        watermark: i64,
    ) -> bool {
        // Nearly every row follows the one before it.
        if self.is_complete && verdict == (Verdict::New { gap: 0 }) && self.boot == Some(boot) {
            return true;
        }
        self.note_irregular(tracker, (boot, sequence), verdict, clock, watermark)
    }

    fn note_irregular(
        &mut self,
        tracker: &SequenceTracker,
        (boot, sequence): (i64, i64),
        verdict: Verdict,
        clock: i64,
        watermark: i64,
    ) -> bool {
        match self.boot {
            Some(newest) if boot < newest => return false,
            Some(newest) if boot == newest => {}
            _ => {
                *self = Self {
                    boot: Some(boot),
                    ..Self::default()
                };
                if sequence > 1 {
                    self.wait_for(clock, sequence - 1);
                }
            }
        }
        self.settle(watermark);
        if matches!(verdict, Verdict::New { gap } if gap > 0) {
            self.wait_for(clock, sequence - 1);
        }
        let missing = tracker.first_missing(boot, self.settled_to);
        self.is_complete = missing.is_none();
        // One that was taken as lost comes after rows with later numbers.
        let is_due = match verdict {
            Verdict::New { .. } => true,
            Verdict::Filled => sequence > self.settled_to,
            Verdict::Duplicate | Verdict::GivenUp => false,
        };
        is_due && missing.is_none_or(|missing| sequence < missing)
    }

    fn wait_for(&mut self, clock: i64, highest: i64) {
        if self.gaps.len() == GAPS_MAX {
            self.gaps.pop_back();
        }
        self.gaps.push_back((clock, highest));
    }

    /// Takes the gaps as lost that the watermark has passed.
    pub(super) fn settle(&mut self, watermark: i64) {
        while let Some((noticed, highest)) = self.gaps.front().copied()
            && noticed <= watermark
        {
            self.settled_to = self.settled_to.max(highest);
            self.gaps.pop_front();
        }
    }

    /// Takes all that is missing as lost.
    pub(super) fn settle_all(&mut self, tracker: &SequenceTracker) {
        if let Some((_, high)) = tracker.newest() {
            self.settled_to = self.settled_to.max(high);
            self.gaps.clear();
            self.is_complete = true;
        }
    }

    fn is_complete_before(&self, tracker: &SequenceTracker, (boot, sequence): (i64, i64)) -> bool {
        self.boot == Some(boot)
            && tracker
                .first_missing(boot, self.settled_to)
                .is_none_or(|missing| sequence < missing)
    }
}

/// Numbers of rows that were refused for their time, which is no reason for ever: a clock is put
/// right, a recording ends. Such a row may come again under its number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RefusedNumbers {
    /// Boot, lowest and highest number: ascending, neither overlapping nor adjacent.
    ranges: Vec<(i64, i64, i64)>,
}

impl RefusedNumbers {
    /// Whether a row of this number was refused.
    pub(super) fn contains(&self, (boot, sequence): (i64, i64)) -> bool {
        self.range_of((boot, sequence)).is_some()
    }

    fn range_of(&self, (boot, sequence): (i64, i64)) -> Option<usize> {
        let at = self.first_reaching((boot, sequence));
        let (of, low, _) = *self.ranges.get(at)?;
        (of == boot && low <= sequence).then_some(at)
    }

    /// Index of the first range that ends at or after a number.
    fn first_reaching(&self, number: (i64, i64)) -> usize {
        self.ranges
            .partition_point(|(boot, _, high)| (*boot, *high) < number)
    }

    /// Remembers a number. When there are too many ranges, the lowest is forgotten: its rows are
    /// duplicates when they come again.
    pub(super) fn insert(&mut self, (boot, sequence): (i64, i64)) {
        if self.contains((boot, sequence)) {
            return;
        }
        let at = self.first_reaching((boot, sequence));
        let follows =
            |(of, _, high): &(i64, i64, i64)| *of == boot && high.checked_add(1) == Some(sequence);
        let precedes =
            |(of, low, _): &(i64, i64, i64)| *of == boot && sequence.checked_add(1) == Some(*low);
        let before = at.checked_sub(1).filter(|at| follows(&self.ranges[*at]));
        let after = self.ranges.get(at).is_some_and(precedes);
        match (before, after) {
            (Some(before), true) => {
                self.ranges[before].2 = self.ranges[at].2;
                self.ranges.remove(at);
            }
            (Some(before), false) => self.ranges[before].2 = sequence,
            (None, true) => self.ranges[at].1 = sequence,
            (None, false) => self.ranges.insert(at, (boot, sequence, sequence)),
        }
        if self.ranges.len() > REFUSED_MAX {
            self.ranges.remove(0);
        }
    }

    /// Forgets a number: its row was applied.
    pub(super) fn remove(&mut self, (boot, sequence): (i64, i64)) {
        let Some(at) = self.range_of((boot, sequence)) else {
            return;
        };
        let (_, low, high) = self.ranges[at];
        match (low == sequence, high == sequence) {
            (true, true) => {
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at].1 = sequence + 1,
            (false, true) => self.ranges[at].2 = sequence - 1,
            (false, false) => {
                self.ranges[at].2 = sequence - 1;
                self.ranges.insert(at + 1, (boot, sequence + 1, high));
                if self.ranges.len() > REFUSED_MAX {
                    self.ranges.remove(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn refused_numbers_are_a_set(moves in proptest::collection::vec((any::<bool>(), 0..2_i64, 0..40_i64), 0..200)) {
            let mut refused = RefusedNumbers::default();
            let mut expected = BTreeSet::new();
            for (insert, boot, sequence) in moves {
                if insert {
                    refused.insert((boot, sequence));
                    expected.insert((boot, sequence));
                } else {
                    refused.remove((boot, sequence));
                    expected.remove(&(boot, sequence));
                }
                for number in (0..2).flat_map(|boot| (-1..41).map(move |sequence| (boot, sequence))) {
                    prop_assert_eq!(refused.contains(number), expected.contains(&number));
                }
            }
        }
    }

    #[test]
    fn refused_numbers_stay_bounded_and_the_latest_are_kept() {
        let mut refused = RefusedNumbers::default();
        for sequence in 0..1_000 {
            refused.insert((0, sequence * 2));
        }
        assert_eq!(refused.ranges.len(), REFUSED_MAX);
        assert!(refused.contains((0, 1_998)) && !refused.contains((0, 0)));
        refused.insert((i64::MAX, i64::MAX));
        refused.insert((i64::MIN, i64::MIN));
        refused.remove((i64::MAX, i64::MAX));
        assert!(!refused.contains((i64::MAX, i64::MAX)));
    }

    #[test]
    fn a_gap_is_waited_for_until_the_watermark_has_passed_the_clock_at_which_it_was_noticed() {
        let mut tracker = SequenceTracker::default();
        let mut order = NumberOrder::default();
        let mut note = |sequence, clock| {
            let verdict = tracker.judge(0, sequence);
            order.note(&tracker, (0, sequence), verdict, clock, clock - 10)
        };
        assert!(note(1, 1) && note(2, 2));
        assert!(!note(4, 4) && !note(5, 5), "3 is missing");
        assert!(note(3, 5) && note(6, 6), "3 has come");
        assert!(!note(9, 9) && !note(10, 18));
        assert!(note(11, 19), "7 and 8 are lost");
    }

    #[test]
    fn the_first_number_of_a_boot_is_believed_only_where_a_robot_begins_to_count() {
        for (first, is_first) in [(0, true), (1, true), (2, false), (1_000, false)] {
            let mut tracker = SequenceTracker::default();
            let mut order = NumberOrder::default();
            let verdict = tracker.judge(0, first);
            assert_eq!(
                order.note(&tracker, (0, first), verdict, 5, -5),
                is_first,
                "{first}"
            );
        }
    }
}
