//! Recordings, one after another, older ones after younger ones, the same once more, and corrected.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::window::{WindowRow, merge_revisions};

/// What recordings are appended to, with numbers of their own for rows and events.
struct Door {
    processor: Processor,
    outputs: Outputs,
    rows: u64,
    events: u64,
}

impl Door {
    fn new(config: Arc<ProcessorConfig>) -> Self {
        Self {
            processor: Processor::new("r", config),
            outputs: Outputs::default(),
            rows: 0,
            events: 0,
        }
    }

    fn send(&mut self, samples: &[Sample]) {
        let batch = telemetry_from(self.rows, samples);
        let rows: Vec<u32> = (0..batch.len() as u32).collect();
        self.processor.apply(0, &batch, &rows, &mut self.outputs);
        self.rows += batch.len() as u64;
    }

    /// An event under a number; its time is in seconds.
    fn event_at(&mut self, number: u64, event_type: &str, time: i64) {
        let fields = [
            ("event_id", text(event_type)),
            ("event_type", text(event_type)),
            (
                "sequence",
                Value::Union(1, Box::new(Value::Long(number as i64))),
            ),
        ];
        let event = record("robot_events", self.events, NOW + time * S, &fields);
        self.processor.apply(1, &event, &[0], &mut self.outputs);
        self.events += 1;
    }

    fn event(&mut self, event_type: &str, time: i64) {
        self.event_at(self.events, event_type, time);
    }

    fn recording(&mut self, samples: &[Sample]) {
        self.event("recording_started", 0);
        self.send(samples);
        self.event("recording_ended", 0);
    }

    /// Rule, transition and event time in seconds.
    fn alerts(&self) -> Vec<(String, Transition, i64)> {
        alerts(&self.outputs)
            .into_iter()
            .map(|alert| {
                let seconds = (alert.event_time - NOW).div_euclid(S);
                (alert.rule_id, alert.transition, seconds)
            })
            .collect()
    }

    /// Start in seconds, revision and rows of the windows.
    fn windows(&self) -> Vec<(i64, u32, u64)> {
        by_kind(&self.outputs, OutputKind::Window)
            .iter()
            .map(|output| {
                let row = WindowRow::decode(&output.payload).unwrap();
                ((row.start_us - NOW).div_euclid(S), row.revision, row.rows)
            })
            .collect()
    }

    fn reasons(&self) -> Vec<DeadReason> {
        self.outputs.dead.iter().map(|dead| dead.reason).collect()
    }
}

fn is(rule: &str, transition: Transition, at: i64) -> (String, Transition, i64) {
    (rule.to_owned(), transition, at)
}

use Transition::{Cleared, Raised};

#[test]
fn a_recording_that_is_older_than_the_one_before_it_is_as_good_as_any() {
    let samples = |from: i64, number: i64| -> Vec<Sample> {
        let value = |at: i64| if at == 15 { 90.0 } else { 70.0 };
        (0..30)
            .map(|at| (from + at, number + at, value(at), None))
            .collect()
    };
    let mut door = Door::new(config(None));
    door.recording(&samples(-10_000, 0));
    door.recording(&samples(-40_000, 30));
    door.recording(&samples(0, 60));
    assert_eq!(door.reasons(), []);
    assert_eq!(door.processor.counters()[0].applied, 90);
    let times = [-9_985, -39_985, 15];
    let expected = times.map(|at| [is("hot", Raised, at), is("hot", Cleared, at + 1)]);
    assert_eq!(door.alerts(), expected.concat());
    let starts = [-10_000, -40_000, 0];
    let windows = starts.map(|from| [(from, 0, 10), (from + 10, 0, 10), (from + 20, 0, 10)]);
    assert_eq!(door.windows(), windows.concat(), "one row each");
    assert_eq!(
        door.processor.view().clock,
        Some(NOW + 29 * S),
        "for people"
    );
    assert_eq!(door.processor.view().missing, 0);
}

#[test]
fn the_same_recording_once_more_changes_nothing_but_the_duplicate_counter() {
    let samples: Vec<Sample> = (0..30)
        .map(|at| (at * 3, at, 70.0 + at as f64, None))
        .collect();
    let mut door = Door::new(config(None));
    door.recording(&samples);
    let (before, emitted) = (door.processor.view(), door.outputs.clone());
    door.event_at(0, "recording_started", 0);
    door.send(&samples);
    door.event_at(1, "recording_ended", 0);
    assert_eq!(door.outputs, emitted);
    let after = door.processor.view();
    assert_eq!(after.counters[0].duplicate, 30);
    assert_eq!(after.clock, before.clock);
    // Known rows between a new beginning and a known end are a recording that has ended, too.
    door.event_at(2, "recording_started", 0);
    door.send(&samples);
    assert!(door.processor.state.robot.is_recording());
    door.event_at(1, "recording_ended", 0);
    assert!(!door.processor.state.robot.is_recording());
    assert_eq!(door.outputs, emitted);
}

#[test]
fn a_corrected_recording_corrects_windows_and_ends_what_its_new_row_began() {
    // The row at 1 was dated wrongly and refused; corrected it is another row, between known ones.
    let known = |at: i64, number: i64| (at, number, 20.0, None);
    let mut door = Door::new(config(None));
    door.recording(&[
        known(0, 0),
        known(2, 1),
        known(3, 2),
        (2_000_000, 3, 90.0, None),
    ]);
    assert_eq!(door.reasons(), [DeadReason::Future]);
    assert_eq!(door.windows(), [(0, 0, 3)]);
    door.outputs = Outputs::default();
    door.recording(&[known(0, 0), (1, 4, 90.0, None), known(2, 1), known(3, 2)]);
    let ends = [is("hot", Raised, 1), is("hot", Cleared, 2)];
    let of_rule: Vec<_> = door
        .alerts()
        .into_iter()
        .filter(|(rule, ..)| rule == "hot")
        .collect();
    assert_eq!(of_rule, ends);
    assert_eq!(door.windows(), [(0, 1, 1)]);
    assert_eq!(door.processor.counters()[0].duplicate, 3);
    // Once more, with another row.
    door.outputs = Outputs::default();
    door.recording(&[
        known(0, 0),
        (1, 4, 90.0, None),
        known(2, 1),
        (2, 5, 60.0, None),
    ]);
    assert_eq!(door.windows(), [(0, 2, 1)]);
    let hot = |alert: &(String, Transition, i64)| alert.0 == "hot";
    assert_eq!(door.alerts().iter().filter(|alert| hot(alert)).count(), 0);
}

#[test]
fn a_known_row_starts_nothing_and_goes_on_with_a_hold() {
    let config = with_rules(&[rule("long", Priority::Low, hot(3))]);
    let rows = |new: Option<Sample>| {
        let mut rows = vec![(0, 0, 70.0, None), (2, 1, 90.0, None), (4, 2, 90.0, None)];
        rows.push((6, 3, 70.0, None));
        rows.extend(new);
        rows.sort_by_key(|row| row.0);
        rows
    };
    let mut door = Door::new(config.clone());
    door.recording(&rows(None));
    assert_eq!(door.alerts(), [], "2 to 4 are no 3 s");
    door.recording(&rows(None));
    assert_eq!(door.alerts(), []);
    door.recording(&rows(Some((1, 4, 90.0, None))));
    assert_eq!(
        door.alerts(),
        [is("long", Raised, 4), is("long", Cleared, 6)]
    );
}

#[test]
fn what_was_open_when_a_recording_ended_stays_open_until_a_row_that_is_not_older() {
    let mut door = Door::new(config(None));
    door.recording(&[(100, 0, 70.0, None), (101, 1, 90.0, None)]);
    assert_eq!(door.alerts(), [is("hot", Raised, 101)]);
    // The conditions of an older recording are others.
    door.recording(&[(0, 2, 90.0, None), (1, 3, 70.0, None), (2, 4, 90.0, None)]);
    let older = [
        is("hot", Raised, 0),
        is("hot", Cleared, 1),
        is("hot", Raised, 2),
        // It is not kept beside the younger one.
        is("hot", Cleared, 2),
    ];
    assert_eq!(door.alerts()[1..], older);
    assert!(alerts(&door.outputs)[4].message.contains("recording ended"));
    let open = |door: &Door| {
        door.processor
            .view()
            .conditions
            .first()
            .map(|open| open.raised_at)
    };
    assert_eq!(open(&door), Some(NOW + 101 * S));
    // Its own rows once more, corrected before it was raised, do not end it.
    door.recording(&[
        (99, 5, 70.0, None),
        (100, 0, 70.0, None),
        (101, 1, 90.0, None),
    ]);
    assert_eq!(door.alerts().len(), 5);
    assert_eq!(open(&door), Some(NOW + 101 * S));
    door.recording(&[(102, 6, 70.0, None)]);
    assert_eq!(door.alerts()[5..], [is("hot", Cleared, 102)]);
    let all = alerts(&door.outputs);
    assert_eq!(all[5].condition_id, all[0].condition_id);
    let ids: BTreeSet<String> = all.into_iter().map(|alert| alert.alert_id).collect();
    assert_eq!(ids.len(), 6);
}

#[test]
fn a_hold_does_not_count_over_the_end_of_a_recording() {
    let mut door = Door::new(with_rules(&[rule("long", Priority::Low, hot(3))]));
    door.recording(&[(1, 0, 90.0, None), (2, 1, 90.0, None)]);
    door.recording(&[(5, 2, 90.0, None)]);
    assert_eq!(door.alerts(), []);
}

#[test]
fn a_row_that_was_refused_for_its_time_may_come_again_under_its_number() {
    let mut door = Door::new(config(None));
    // The first is dated after the clock of the machine, the last an hour before that of the robot.
    let rows = [
        (3_000, 0, 70.0, None),
        (0, 1, 70.0, None),
        (1, 2, 70.0, None),
        (-4_000, 3, 90.0, None),
    ];
    door.send(&rows);
    door.send(&rows);
    assert_eq!(door.reasons(), [DeadReason::Future, DeadReason::Late]);
    let counted = |door: &Door| {
        let counters = &door.processor.counters()[0];
        (counters.applied, counters.duplicate)
    };
    assert_eq!(counted(&door), (2, 4), "refused once, then known");
    door.event("recording_ended", 1);
    door.send(&rows[3..]);
    assert_eq!(counted(&door), (3, 4));
    let hot: Vec<_> = door
        .alerts()
        .into_iter()
        .filter(|(rule, ..)| rule == "hot")
        .collect();
    assert_eq!(hot, [is("hot", Raised, -4_000)]);
    door.send(&rows[3..]);
    assert_eq!(counted(&door), (3, 5), "applied once");
    assert_eq!(door.processor.counters()[0].total(), door.rows);
    // The machine's clock is put right.
    let mut late = telemetry_from(door.rows, &rows[..1]);
    Arc::get_mut(&mut late).unwrap().append_times[0] += 2_000 * S;
    door.processor.apply(0, &late, &[0], &mut door.outputs);
    assert_eq!(counted(&door), (4, 5));
    assert_eq!(door.processor.view().missing, 0);
}

#[test]
fn a_recording_that_begins_closes_one_whose_end_is_missing() {
    let mut door = Door::new(config(None));
    door.event("recording_started", 0);
    door.send(&[(0, 0, 70.0, None)]);
    door.recording(&[(-10_000, 1, 70.0, None)]);
    assert_eq!(door.reasons(), []);
    assert_eq!(door.windows(), [(0, 0, 1), (-10_000, 0, 1)]);
}

#[test]
fn silence_within_a_recording_is_judged_by_its_own_times() {
    let mut door = Door::new(config(None));
    let heard = NOW + 1_000 * S;
    door.event("recording_started", 0);
    door.send(&[(0, 0, 70.0, None), (1, 1, 70.0, None)]);
    door.processor
        .tick(LogTime(heard + 500 * S), &mut door.outputs);
    assert_eq!(door.outputs, Outputs::default(), "it may go on");
    // Silent for 60 s after 1, which the row at 101 shows and ends.
    door.send(&[(101, 2, 70.0, None), (160, 3, 70.0, None)]);
    let silent = [
        is("robot_silent", Raised, 61),
        is("robot_silent", Cleared, 101),
    ];
    assert_eq!(door.alerts(), silent);
    door.event("recording_ended", 160);
    door.processor
        .tick(LogTime(heard + 900 * S), &mut door.outputs);
    assert_eq!(door.alerts(), silent, "the wall clock has no say after it");
    door.send(&[(170, 4, 70.0, None)]);
    door.processor
        .tick(LogTime(heard + 900 * S), &mut door.outputs);
    assert_eq!(
        door.alerts()[2..],
        [is("robot_silent", Raised, 1_060)],
        "a live robot"
    );
}

#[test]
fn a_recording_with_a_row_every_five_minutes_is_not_silent_all_the_time_unless_a_rule_says_so() {
    let samples: Vec<Sample> = (0..50)
        .map(|at| (at * 300 - 20_000, at, 70.0, None))
        .collect();
    let mut door = Door::new(config(None));
    door.recording(&samples);
    assert!(door.alerts().len() <= 2, "{:?}", door.alerts());
    let kind = RuleKind::MissingData {
        signal: None,
        after: Micros(120 * S),
    };
    let mut door = Door::new(with_rules(&[rule("lost", Priority::Low, kind)]));
    door.recording(&samples);
    let lost = door
        .alerts()
        .into_iter()
        .filter(|(rule, ..)| rule == "lost")
        .count();
    assert_eq!(lost, 2 * 49);
}

#[test]
fn a_procedure_that_ends_after_its_recording_is_told_when_nothing_more_comes() {
    let mut door = Door::new(config(None));
    door.recording(&[(1, 0, 70.0, Some(0))]);
    let end = ended(0, 5);
    door.processor.apply(2, &end, &[0], &mut door.outputs);
    assert_eq!(outcomes(&door.outputs), []);
    door.processor
        .tick(LogTime(NOW + 1_061 * S), &mut door.outputs);
    assert_eq!(outcomes(&door.outputs).len(), 1);
    assert_eq!(door.alerts(), []);
}

#[test]
fn a_result_that_comes_after_its_recording_corrects_the_outcome_at_once() {
    let mut door = Door::new(config(None));
    door.event("recording_started", 0);
    door.send(&[(1, 0, 70.0, Some(0)), (20, 1, 70.0, None)]);
    door.processor
        .apply(2, &ended(0, 5), &[0], &mut door.outputs);
    door.event("recording_ended", 20);
    assert_eq!(outcomes(&door.outputs).len(), 1);
    let fields = [
        ("event_id", text("result")),
        ("procedure_id", text("p0")),
        ("success_status", text("complicated")),
        ("complications", Value::Array(vec![])),
    ];
    let result = record("procedure_results", 0, NOW + 100 * S, &fields);
    door.processor.apply(3, &result, &[0], &mut door.outputs);
    let outcomes = outcomes(&door.outputs);
    assert_eq!(outcomes.len(), 2);
    assert_eq!(
        (outcomes[1].revision, outcomes[1].result.is_some()),
        (1, true)
    );
}

#[test]
fn what_a_rule_raised_is_cleared_when_the_rule_is_gone() {
    let lost = RuleKind::MissingData {
        signal: None,
        after: Micros(5 * S),
    };
    let mut door = Door::new(with_rules(&[
        rule("hot", Priority::High, hot(0)),
        rule("warm", Priority::Low, hot(0)),
        rule("lost", Priority::Low, lost),
    ]));
    door.send(&[(1, 1, 90.0, None)]);
    let heard = NOW + 1_000 * S;
    door.processor
        .tick(LogTime(heard + 6 * S), &mut door.outputs);
    assert_eq!(door.alerts().len(), 3);
    let saved = door.processor.snapshot();
    let others = with_rules(&[rule("warm", Priority::Low, hot(0))]);
    for by_row in [true, false] {
        door.outputs = Outputs::default();
        door.processor = Processor::restore("r", &saved, others.clone()).unwrap();
        if by_row {
            door.send(&[(3, 2, 90.0, None)]);
        } else {
            door.processor
                .tick(LogTime(heard + 7 * S), &mut door.outputs);
        }
        let emitted = alerts(&door.outputs);
        let gone: Vec<_> = emitted
            .iter()
            .map(|alert| (alert.rule_id.as_str(), alert.transition, alert.revision))
            .collect();
        assert_eq!(gone, [("lost", Cleared, 1), ("hot", Cleared, 1)]);
        assert!(
            emitted
                .iter()
                .all(|alert| alert.message.contains("the rule was removed"))
        );
        assert!(
            emitted
                .iter()
                .all(|alert| alert.rule_version == 1 && alert.event_time >= alert.raised_at)
        );
        assert_eq!(door.processor.view().conditions.len(), 1);
    }
    // It comes back: its next condition is another one.
    let saved = door.processor.snapshot();
    door.processor = Processor::restore("r", &saved, config(None)).unwrap();
    door.outputs = Outputs::default();
    door.send(&[(4, 2, 90.0, None)]);
    let emitted = alerts(&door.outputs);
    let emitted: Vec<_> = emitted
        .iter()
        .map(|alert| (alert.rule_id.as_str(), alert.transition))
        .collect();
    assert_eq!(emitted, [("warm", Cleared), ("hot", Raised)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn revisions_never_repeat_and_hold_every_row_over_recordings_of_any_order(
        recordings in proptest::collection::vec((proptest::collection::vec((0..90_i64, any::<bool>()), 1..25), 0..8_i64, any::<bool>()), 1..24),
    ) {
        let mut door = Door::new(config(None));
        let (mut number, mut rows) = (0, BTreeMap::<i64, u64>::new());
        for (times, tens, ends) in recordings {
            door.event("recording_started", 0);
            let samples: Vec<Sample> = times
                .iter()
                .map(|(time, is_known)| {
                    let number = if *is_known && number > 0 { number - 1 } else { number += 1; number - 1 };
                    (tens * 40 + time, number, 70.0, None)
                })
                .collect();
            let applied = door.processor.counters().first().map_or(0, |counters| counters.applied);
            door.send(&samples);
            let mut seen = applied as i64 - 1;
            for (time, number, ..) in samples {
                if number > seen {
                    seen = number;
                    *rows.entry(time.div_euclid(10) * 10).or_default() += 1;
                }
            }
            if ends {
                door.event("recording_ended", 0);
            }
        }
        door.event("recording_ended", 0);
        let mut windows: BTreeMap<i64, Vec<WindowRow>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for output in by_kind(&door.outputs, OutputKind::Window) {
            prop_assert!(ids.insert((output.id.clone(), output.revision)), "{} #{}", output.id, output.revision);
            let row = WindowRow::decode(&output.payload).unwrap();
            windows.entry((row.start_us - NOW) / S).or_default().push(row);
        }
        let merged: BTreeMap<i64, u64> = windows
            .into_iter()
            .map(|(start, revisions)| (start, merge_revisions(&revisions).unwrap().rows))
            .collect();
        prop_assert_eq!(merged, rows);
    }
}

#[test]
fn of_many_recordings_little_is_remembered() {
    let mut door = Door::new(config(None));
    let mut sizes = Vec::new();
    for recording in 0..200_i64 {
        // Days apart, the latest first.
        let from = -recording * 90_000;
        let samples: Vec<Sample> = (0..20)
            .map(|at| (from + at, recording * 20 + at, 70.0, None))
            .collect();
        door.recording(&samples);
        sizes.push(door.processor.snapshot().len());
    }
    assert!(sizes[199] < sizes[40] + 64, "{} {}", sizes[40], sizes[199]);
    assert_eq!(door.windows().len(), 400);
    assert!(door.windows().iter().all(|(_, revision, _)| *revision == 0));
}
