//! Verdicts as sentences, and against a set of everything seen.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

const NEW: Verdict = Verdict::New { gap: 0 };

fn judge_all(
    tracker: &mut SequenceTracker,
    numbers: impl IntoIterator<Item = i64>,
) -> Vec<Verdict> {
    numbers
        .into_iter()
        .map(|number| tracker.judge(1, number))
        .collect()
}

#[test]
fn numbers_in_order_are_new() {
    let mut tracker = SequenceTracker::default();
    assert_eq!(judge_all(&mut tracker, 5..100), [NEW; 95]);
    assert_eq!(
        (tracker.missing(), tracker.restarts(), tracker.given_up()),
        (0, 0, 0)
    );
}

#[test]
fn a_gap_is_counted_and_filled_once_each() {
    let mut tracker = SequenceTracker::default();
    let verdicts = judge_all(&mut tracker, [1, 5, 3, 3, 5, 2, 4, 4]);
    let (filled, duplicate) = (Verdict::Filled, Verdict::Duplicate);
    assert_eq!(
        verdicts,
        [
            NEW,
            Verdict::New { gap: 3 },
            filled,
            duplicate,
            duplicate,
            filled,
            filled,
            duplicate
        ]
    );
    assert_eq!(tracker.missing(), 0);
}

#[test]
fn numbers_below_the_first_heard_may_come_once_and_are_not_missing() {
    let mut tracker = SequenceTracker::default();
    let verdicts = judge_all(&mut tracker, [5_000, 4_999, 4_999, 3_976, 3_975]);
    assert_eq!(
        verdicts,
        [
            NEW,
            Verdict::Filled,
            Verdict::Duplicate,
            Verdict::Filled,
            Verdict::GivenUp
        ]
    );
    assert_eq!((tracker.missing(), tracker.given_up()), (0, 0));
}

#[test]
fn a_restart_begins_anew_and_the_boot_before_is_still_known() {
    let mut tracker = SequenceTracker::default();
    assert_eq!(
        [
            tracker.judge(1, 10),
            tracker.judge(1, 12),
            tracker.judge(2, 1)
        ],
        [NEW, Verdict::New { gap: 1 }, NEW]
    );
    assert_eq!((tracker.restarts(), tracker.missing()), (1, 1));
    assert_eq!(
        [
            tracker.judge(1, 11),
            tracker.judge(1, 12),
            tracker.judge(2, 1)
        ],
        [Verdict::Filled, Verdict::Duplicate, Verdict::Duplicate]
    );
    assert_eq!(tracker.restarts(), 1);
}

#[test]
fn a_boot_beyond_those_remembered_is_given_up_with_its_gaps() {
    let mut tracker = SequenceTracker::default();
    tracker.judge(1, 10);
    tracker.judge(1, 20);
    for boot in 2..=5 {
        assert_eq!(tracker.judge(boot, 0), NEW);
    }
    assert_eq!(
        (tracker.judge(1, 15), tracker.judge(0, 1)),
        (Verdict::GivenUp, Verdict::GivenUp)
    );
    assert_eq!(
        (tracker.given_up(), tracker.missing(), tracker.restarts()),
        (9, 0, 4)
    );
}

#[test]
fn an_older_boot_than_four_remembered_is_given_up_for_good() {
    let mut tracker = SequenceTracker::default();
    for boot in 10..14 {
        tracker.judge(boot, 0);
    }
    assert_eq!(
        [tracker.judge(5, 7), tracker.judge(5, 7)],
        [Verdict::GivenUp; 2]
    );
    assert_eq!(tracker.judge(10, 0), Verdict::Duplicate);
}

#[test]
fn an_older_boot_is_taken_while_there_is_room() {
    let mut tracker = SequenceTracker::default();
    assert_eq!(
        [
            tracker.judge(9, 3),
            tracker.judge(4, 3),
            tracker.judge(4, 3)
        ],
        [NEW, NEW, Verdict::Duplicate]
    );
    assert_eq!(tracker.restarts(), 0);
}

#[test]
fn too_many_gaps_give_up_the_lowest_without_ever_calling_an_unseen_number_duplicate() {
    let mut tracker = SequenceTracker::default();
    judge_all(&mut tracker, (0..200).map(|step| step * 2));
    assert_eq!(tracker.missing() + tracker.given_up(), 199);
    assert_eq!(tracker.missing(), RANGES_MAX as u64);
    let verdicts = judge_all(&mut tracker, (0..199).map(|step| step * 2 + 1));
    assert!(
        verdicts[..135]
            .iter()
            .all(|verdict| *verdict == Verdict::GivenUp)
    );
    assert!(
        verdicts[135..]
            .iter()
            .all(|verdict| *verdict == Verdict::Filled)
    );
}

#[test]
fn the_ends_of_the_number_range_do_no_harm() {
    let mut tracker = SequenceTracker::default();
    assert_eq!(tracker.judge(i64::MAX, i64::MIN), NEW);
    assert_eq!(
        tracker.judge(i64::MAX, i64::MAX),
        Verdict::New { gap: u64::MAX - 1 }
    );
    assert_eq!(tracker.judge(i64::MAX, i64::MAX), Verdict::Duplicate);
    assert_eq!(tracker.judge(i64::MAX, 0), Verdict::Filled);
    assert_eq!(tracker.judge(i64::MAX, i64::MIN), Verdict::Duplicate);
    assert_eq!(tracker.judge(i64::MIN, i64::MIN + 3), NEW);
    assert_eq!(tracker.judge(i64::MIN, i64::MIN), Verdict::Filled);
    assert_eq!(tracker.missing(), u64::MAX - 2);
}

/// Everything ever judged, per boot, with the first and highest number.
#[derive(Default)]
struct Oracle {
    boots: HashMap<i64, (i64, i64, HashSet<i64>)>,
}

impl Oracle {
    /// What a tracker with room for everything would say.
    fn judge(&mut self, boot: i64, number: i64) -> Verdict {
        let Some((first, high, seen)) = self.boots.get_mut(&boot) else {
            self.boots
                .insert(boot, (number, number, HashSet::from([number])));
            return NEW;
        };
        let new = seen.insert(number);
        if number > *high {
            let gap = (*high + 1..number).count() as u64;
            *high = number;
            return Verdict::New { gap };
        }
        match new {
            true if number < *first - UNKNOWN_BELOW_FIRST as i64 => Verdict::GivenUp,
            true => Verdict::Filled,
            false if number < *first - UNKNOWN_BELOW_FIRST as i64 => Verdict::GivenUp,
            false => Verdict::Duplicate,
        }
    }

    fn missing(&self) -> u64 {
        let missing = |(first, high, seen): &(i64, i64, HashSet<i64>)| {
            (*first..*high)
                .filter(|number| !seen.contains(number))
                .count()
        };
        self.boots.values().map(missing).sum::<usize>() as u64
    }
}

/// Numbers that mostly rise, skip, come back late and come twice.
fn numbers(length: usize, skip: i64, back: i64) -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![6 => Just((1, 0)), 2 => (1..skip, Just(0)), 2 => (Just(0), 0..back)];
    (-50_i64..2_000, prop::collection::vec(step, 0..length)).prop_map(|(start, steps)| {
        let mut high = start;
        let take = |(ahead, back): (i64, i64)| {
            high += ahead;
            high - back
        };
        steps.into_iter().map(take).collect()
    })
}

proptest! {
    #[test]
    fn with_room_for_all_gaps_every_verdict_is_that_of_a_set(
        numbers in numbers(60, 20, 60), boots in prop::collection::vec(0_i64..4, 60), saves in prop::collection::vec(any::<bool>(), 60),
    ) {
        let (mut tracker, mut oracle) = (SequenceTracker::default(), Oracle::default());
        for ((number, boot), save) in numbers.into_iter().zip(boots).zip(saves) {
            prop_assert_eq!(tracker.judge(boot, number), oracle.judge(boot, number), "number {} of boot {}", number, boot);
            prop_assert_eq!(tracker.missing(), oracle.missing());
            if save {
                tracker = postcard::from_bytes(&postcard::to_stdvec(&tracker).unwrap()).unwrap();
            }
        }
        prop_assert_eq!(tracker.given_up(), 0);
    }

    #[test]
    fn whatever_is_given_up_no_unseen_number_is_a_duplicate_and_no_seen_one_is_taken_again(
        numbers in numbers(900, 6, 1_500), boots in prop::collection::vec(0_i64..7, 900), many_boots in any::<bool>(),
    ) {
        let (mut tracker, mut seen) = (SequenceTracker::default(), HashSet::new());
        for (number, boot) in numbers.into_iter().zip(boots) {
            let boot = if many_boots { boot } else { 0 };
            let unseen = seen.insert((boot, number));
            let verdict = tracker.judge(boot, number);
            match verdict {
                Verdict::Duplicate => prop_assert!(!unseen, "{} of boot {} was never seen", number, boot),
                Verdict::New { .. } | Verdict::Filled => prop_assert!(unseen, "{} of boot {} was seen", number, boot),
                Verdict::GivenUp => {}
            }
            prop_assert!(tracker.boots.len() <= BOOTS_MAX);
            prop_assert!(tracker.boots.iter().all(|boot| boot.missing.len() <= RANGES_MAX));
            let ordered = |boot: &Boot| boot.missing.windows(2).all(|pair| pair[0].high + 1 < pair[1].low);
            prop_assert!(tracker.boots.iter().all(ordered));
        }
        prop_assert!(postcard::to_stdvec(&tracker).unwrap().len() < 4 * 64 * 20 + 200);
    }
}
