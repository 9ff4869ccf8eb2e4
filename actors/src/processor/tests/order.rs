//! The order in which rules judge rows: by event time within the reorder bound, whatever order they
//! come in, and what that costs.

use arrow_array::{Array, ArrayRef, Int64Array};

use super::*;
use crate::rules::FlappingSpec;

/// A robot that is fed row by row.
struct Robot {
    processor: Processor,
    outputs: Outputs,
    next: u64,
}

impl Robot {
    fn new(rules: &[RuleSpec]) -> Self {
        Self {
            processor: Processor::new("r", with_rules(rules)),
            outputs: Outputs::default(),
            next: 0,
        }
    }

    fn rows(&mut self, samples: &[Sample]) {
        if samples.is_empty() {
            return;
        }
        let batch = telemetry_from(self.next, samples);
        self.batch(&batch);
    }

    fn batch(&mut self, batch: &Batch) {
        let rows: Vec<u32> = (0..batch.len() as u32).collect();
        self.processor.apply(0, batch, &rows, &mut self.outputs);
        self.next += batch.len() as u64;
    }

    fn end(&mut self) {
        let event = record(
            "robot_events",
            self.processor.positions().get(1),
            NOW + 200 * S,
            &[
                ("event_id", text("end")),
                ("event_type", text("recording_ended")),
            ],
        );
        self.processor.apply(1, &event, &[0], &mut self.outputs);
    }

    /// Rule, transition and event time in seconds of the alerts so far.
    fn alerts(&self) -> Vec<(String, Transition, i64)> {
        alerts(&self.outputs)
            .into_iter()
            .map(|alert| {
                let seconds = (alert.event_time - NOW) / S;
                (alert.rule_id, alert.transition, seconds)
            })
            .collect()
    }
}

/// The samples without numbers.
fn unnumbered(batch: &Batch) -> Batch {
    let mut columns: Vec<ArrayRef> = batch.columns().cloned().collect();
    let column = batch.dataset.roles.sequence.unwrap();
    columns[column] = Arc::new(Int64Array::new_null(batch.len())) as ArrayRef;
    assert_eq!(columns[column].len(), batch.len());
    Batch::new(
        batch.dataset.clone(),
        batch.dataset_index,
        columns,
        batch.offsets.clone(),
        batch.append_times.clone(),
    )
}

fn raised(rule: &str, at: i64) -> (String, Transition, i64) {
    (rule.to_owned(), Transition::Raised, at)
}

fn cleared(rule: &str, at: i64) -> (String, Transition, i64) {
    (rule.to_owned(), Transition::Cleared, at)
}

/// Rules of every kind that judges rows.
fn rules() -> Vec<RuleSpec> {
    let missing = RuleKind::MissingData {
        signal: Some("motor_temperature".into()),
        after: Micros(2 * S),
    };
    vec![
        rule("hot", Priority::High, hot(0)),
        rule("long", Priority::Medium, hot(3)),
        rule("gone", Priority::Low, missing),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rows_in_any_order_within_the_reorder_bound_raise_what_sorted_rows_raise(
        steps in proptest::collection::vec((0..3_i64, prop_oneof![4 => 75.0..92.0, 1 => Just(f64::NAN)], 0..5_i64, proptest::option::of(0..2_u8)), 1..60),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut time = 0;
        let mut rows: Vec<(i64, Sample)> = Vec::new();
        for (at, (step, temperature, delay, procedure)) in steps.into_iter().enumerate() {
            time += step;
            rows.push((time + delay, (time, at as i64 + 1, temperature, procedure)));
        }
        let mut sorted = Robot::new(&rules());
        sorted.rows(&rows.iter().map(|(_, sample)| *sample).collect::<Vec<_>>());
        let before_end = alerts(&sorted.outputs).len();
        sorted.end();
        prop_assert_eq!(before_end, alerts(&sorted.outputs).len(), "rows in order never wait");
        // Each comes so many seconds later, of a reorder bound of 5.
        rows.sort_by_key(|(arrival, (_, number, ..))| (*arrival, std::cmp::Reverse(*number)));
        let mut shuffled = Robot::new(&rules());
        let samples: Vec<Sample> = rows.iter().map(|(_, sample)| *sample).collect();
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % (samples.len() + 1)).chain([0, samples.len()]).collect();
        bounds.sort_unstable();
        for pair in bounds.windows(2) {
            shuffled.rows(&samples[pair[0]..pair[1]]);
            let config = shuffled.processor.config.clone();
            shuffled.processor = Processor::restore("r", &shuffled.processor.snapshot(), config).unwrap();
        }
        shuffled.end();
        prop_assert_eq!(alerts(&shuffled.outputs), alerts(&sorted.outputs));
    }

    #[test]
    fn rules_of_more_than_a_value_raise_in_any_order_what_sorted_rows_raise(
        steps in proptest::collection::vec((0..3_i64, prop_oneof![4 => 75.0..92.0, 1 => Just(f64::NAN)], 0..5_i64, proptest::option::of(0..2_u8)), 1..120),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        twice in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        let rules = kinds::rules_by_event_time();
        let mut time = 0;
        let mut rows: Vec<(i64, Sample)> = Vec::new();
        for (at, (step, temperature, delay, procedure)) in steps.into_iter().enumerate() {
            time += step;
            rows.push((time + delay, (time, at as i64 + 1, temperature, procedure)));
        }
        let emitted = |mut robot: Robot| {
            robot.end();
            let mut emitted = alerts(&robot.outputs);
            // What a window or a deadline causes may come before or after what a waiting row does.
            emitted.sort_by(|left, right| {
                let key = |it: &Alert| (it.event_time, it.condition_id.clone(), it.revision);
                key(left).cmp(&key(right))
            });
            emitted
        };
        let mut sorted = Robot::new(&rules);
        sorted.rows(&rows.iter().map(|(_, sample)| *sample).collect::<Vec<_>>());
        rows.sort_by_key(|(arrival, (_, number, ..))| (*arrival, std::cmp::Reverse(*number)));
        let mut samples: Vec<Sample> = rows.iter().map(|(_, sample)| *sample).collect();
        for at in twice {
            let at = at % samples.len();
            samples.insert(at + 1, samples[at]);
        }
        let mut shuffled = Robot::new(&rules);
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % (samples.len() + 1)).chain([0, samples.len()]).collect();
        bounds.sort_unstable();
        for pair in bounds.windows(2) {
            shuffled.rows(&samples[pair[0]..pair[1]]);
            let config = shuffled.processor.config.clone();
            shuffled.processor = Processor::restore("r", &shuffled.processor.snapshot(), config).unwrap();
        }
        prop_assert_eq!(emitted(shuffled), emitted(sorted));
    }

    #[test]
    fn cuts_change_no_byte_whatever_comes(
        inputs in proptest::collection::vec((samples(), 0..5_u8), 1..6),
        cuts in proptest::collection::vec(any::<usize>(), 0..10),
        all_kinds in any::<bool>(),
    ) {
        let mut rules = rules();
        if all_kinds {
            rules = kinds::rules();
        }
        rules.push(RuleSpec { order: RuleOrder::Arrival, ..rule("arrived", Priority::Low, hot(2)) });
        let run = |cuts: &[usize]| {
            let mut robot = Robot::new(&rules);
            for (samples, kind) in &inputs {
                let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % (samples.len() + 1)).chain([0, samples.len()]).collect();
                bounds.sort_unstable();
                for pair in bounds.windows(2) {
                    if pair[0] == pair[1] {
                        continue;
                    }
                    let batch = telemetry_from(robot.next, &samples[pair[0]..pair[1]]);
                    if *kind == 3 {
                        robot.batch(&unnumbered(&batch));
                    } else {
                        robot.batch(&batch);
                    }
                    let config = robot.processor.config.clone();
                    robot.processor = Processor::restore("r", &robot.processor.snapshot(), config).unwrap();
                }
                let event_type = ["recording_started", "recording_ended", "fault", "fault", "started"][usize::from(*kind)];
                let offset = robot.processor.positions().get(1);
                let fields = [("event_id", text("e")), ("event_type", text(event_type))];
                let event = record("robot_events", offset, NOW, &fields);
                robot.processor.apply(1, &event, &[0], &mut robot.outputs);
            }
            (robot.processor.snapshot(), robot.outputs)
        };
        let (state, outputs) = run(&[]);
        let (cut_state, cut_outputs) = run(&cuts);
        prop_assert_eq!(outputs, cut_outputs);
        prop_assert_eq!(state, cut_state);
    }

    #[test]
    fn late_rows_duplicates_and_restarts_change_no_transition_of_what_flaps(
        steps in proptest::collection::vec((0..3_i64, 76.0..92.0, 0..5_i64, proptest::bool::weighted(0.15)), 1..120),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        twice in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let flaps = |id: &str, kind: RuleKind| RuleSpec {
            flapping: Some(FlappingSpec { turns: 4, within: Micros(20 * S) }),
            ..rule(id, Priority::Medium, kind)
        };
        let rules = [
            flaps("turns", hot(0)),
            flaps("holds", hot(1)),
            RuleSpec { latch: true, ..flaps("latched", hot(0)) },
            rule("plain", Priority::High, hot(0)),
        ];
        let mut time = 0;
        let mut rows: Vec<(i64, Sample)> = Vec::new();
        let mut late: Vec<(i64, Sample)> = Vec::new();
        for (at, (step, temperature, delay, is_late)) in steps.into_iter().enumerate() {
            time += step;
            let sample = (time, at as i64 + 1, temperature, None);
            // Half a minute late, of a reorder bound of 5 s.
            if is_late {
                late.push((time + 30, sample));
            } else {
                rows.push((time + delay, sample));
            }
        }
        // Late is what comes when the clock is further.
        let ends = (time + 100, i64::from(u16::MAX), 70.0, None);
        late.retain(|(arrival, _)| rows.iter().any(|(came, (at, ..))| came < arrival && at + 15 > *arrival));
        rows.push((ends.0, ends));
        let mut sorted = Robot::new(&rules);
        sorted.rows(&rows.iter().map(|(_, sample)| *sample).collect::<Vec<_>>());
        sorted.end();
        rows.append(&mut late);
        rows.sort_by_key(|(arrival, (_, number, ..))| (*arrival, std::cmp::Reverse(*number)));
        let mut samples: Vec<Sample> = rows.iter().map(|(_, sample)| *sample).collect();
        for at in twice {
            let at = at % samples.len();
            samples.insert(at + 1, samples[at]);
        }
        let mut disturbed = Robot::new(&rules);
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % (samples.len() + 1)).chain([0, samples.len()]).collect();
        bounds.sort_unstable();
        for pair in bounds.windows(2) {
            disturbed.rows(&samples[pair[0]..pair[1]]);
            let config = disturbed.processor.config.clone();
            disturbed.processor = Processor::restore("r", &disturbed.processor.snapshot(), config).unwrap();
        }
        disturbed.end();
        let by_condition = |robot: &Robot| {
            let mut emitted = alerts(&robot.outputs);
            emitted.sort_by(|left, right| (&left.rule_id, left.event_time, &left.condition_id, left.revision).cmp(&(&right.rule_id, right.event_time, &right.condition_id, right.revision)));
            emitted
        };
        prop_assert_eq!(by_condition(&disturbed), by_condition(&sorted));
    }
}

#[test]
fn two_swapped_rows_are_judged_as_sorted_ones() {
    let mut robot = Robot::new(&rules());
    // 2 and 3 are swapped: in order of arrival the limit would be exceeded from 1 to 4 s.
    robot.rows(&[
        (1, 1, 90.0, None),
        (3, 3, 90.0, None),
        (2, 2, 70.0, None),
        (4, 4, 90.0, None),
    ]);
    let expected = [raised("hot", 1), cleared("hot", 2), raised("hot", 3)];
    assert_eq!(robot.alerts(), expected);
    robot.rows(&[(5, 5, 90.0, None), (6, 6, 70.0, None)]);
    assert_eq!(robot.alerts()[3..], [cleared("hot", 6)]);
}

#[test]
fn a_gap_is_waited_for_at_most_for_the_reorder_bound() {
    let mut robot = Robot::new(&rules());
    robot.rows(&[(1, 1, 70.0, None), (3, 3, 90.0, None), (4, 4, 70.0, None)]);
    assert_eq!(robot.alerts(), [], "2 may still come");
    robot.rows(&[(7, 5, 70.0, None)]);
    assert_eq!(robot.alerts(), []);
    robot.rows(&[(8, 6, 86.0, None)]);
    let expected = [raised("hot", 3), cleared("hot", 4), raised("hot", 8)];
    assert_eq!(
        robot.alerts(),
        expected,
        "2 is lost, and nothing else waits"
    );
    robot.rows(&[(3, 2, 99.0, None)]);
    assert_eq!(robot.alerts(), expected, "too late for the rules");
    assert_eq!(robot.processor.counters()[0].applied, 6);
    robot.rows(&[(9, 7, 70.0, None)]);
    assert_eq!(robot.alerts()[3..], [cleared("hot", 9)], "at once again");
}

#[test]
fn rows_without_numbers_wait_for_the_watermark_the_end_of_the_recording_or_silence() {
    let samples = [(3, 0, 70.0, None), (1, 0, 90.0, None), (2, 0, 91.0, None)];
    let expected = [raised("hot", 1), cleared("hot", 3)];
    let run = || {
        let mut robot = Robot::new(&rules());
        robot.batch(&unnumbered(&telemetry(&samples)));
        assert_eq!(robot.alerts(), []);
        robot
    };
    let mut robot = run();
    robot.batch(&unnumbered(&telemetry_from(3, &[(8, 0, 70.0, None)])));
    assert_eq!(robot.alerts(), expected);
    let mut robot = run();
    robot.end();
    assert_eq!(robot.alerts(), expected);
    let mut robot = run();
    let heard = NOW + 1_000 * S;
    robot
        .processor
        .tick(LogTime(heard + 59 * S), &mut robot.outputs);
    assert_eq!(robot.alerts(), []);
    robot
        .processor
        .tick(LogTime(heard + 60 * S), &mut robot.outputs);
    assert_eq!(robot.alerts()[1..], expected, "after that it is silent");
}

#[test]
fn a_rule_may_judge_rows_as_they_come() {
    let mut now = rule("now", Priority::High, hot(0));
    now.order = RuleOrder::Arrival;
    let mut robot = Robot::new(&[now]);
    robot.rows(&[(3, 3, 90.0, None)]);
    assert_eq!(robot.alerts(), [raised("now", 3)]);
    robot.batch(&unnumbered(&telemetry_from(1, &[(2, 0, 70.0, None)])));
    assert_eq!(robot.alerts()[1..], [cleared("now", 2)]);
}

#[test]
fn numbers_that_do_not_follow_the_time_are_not_believed_for_the_reorder_bound() {
    let mut robot = Robot::new(&rules());
    robot.rows(&[(1, 1, 70.0, None), (3, 2, 70.0, None), (2, 3, 70.0, None)]);
    // From here on rows wait, although no number is missing.
    robot.rows(&[(6, 4, 70.0, None), (4, 5, 90.0, None), (5, 6, 70.0, None)]);
    assert_eq!(robot.alerts(), []);
    robot.rows(&[(10, 7, 90.0, None)]);
    let expected = [raised("hot", 4), cleared("hot", 5)];
    assert_eq!(robot.alerts()[..2], expected);
    // The watermark has passed the inversion: numbers are believed again.
    assert_eq!(robot.alerts()[2..], [raised("hot", 10)]);
    robot.rows(&[(11, 8, 70.0, None)]);
    assert_eq!(robot.alerts()[3..], [cleared("hot", 11)]);
}

#[test]
fn a_row_that_comes_after_later_ones_were_judged_raises_only_what_it_would_have_raised() {
    // Neither a second alert for what was raised, nor a hold that was interrupted.
    let mut robot = Robot::new(&rules());
    robot.rows(&[
        (0, 1, 90.0, None),
        (2, 2, 70.0, None),
        (1, 3, 90.0, None),
        (3, 4, 90.0, None),
        (4, 5, 70.0, None),
    ]);
    robot.end();
    let expected = [
        raised("hot", 0),
        cleared("hot", 2),
        raised("hot", 3),
        cleared("hot", 4),
    ];
    assert_eq!(robot.alerts(), expected);
    // What was beyond the limit for one row is not missed.
    let mut robot = Robot::new(&rules());
    robot.rows(&[(0, 1, 70.0, None), (2, 2, 70.0, None), (1, 3, 90.0, None)]);
    assert_eq!(robot.alerts(), [raised("hot", 1)]);
}

#[test]
fn the_alert_of_a_row_that_waited_has_its_own_procedure_and_reaches_its_outcome() {
    let mut robot = Robot::new(&rules());
    robot.rows(&[(1, 1, 70.0, Some(0)), (3, 3, 90.0, Some(0))]);
    let end = ended(0, 3);
    robot.processor.apply(2, &end, &[0], &mut robot.outputs);
    robot.rows(&[(4, 4, 70.0, None), (7, 5, 70.0, None)]);
    assert_eq!(outcomes(&robot.outputs), []);
    robot.rows(&[(8, 6, 70.0, Some(1))]);
    let emitted = outcomes(&robot.outputs);
    assert_eq!(emitted.len(), 1);
    assert_eq!((emitted[0].revision, emitted[0].alerts_high), (0, 1));
    let alert = &alerts(&robot.outputs)[0];
    assert_eq!(alert.procedure_id.as_deref(), Some("p0"));
    assert_eq!(alert.event_time, NOW + 3 * S);
    let kinds: Vec<OutputKind> = robot
        .outputs
        .events
        .iter()
        .map(|event| event.kind)
        .collect();
    let at = |kind| kinds.iter().position(|known| *known == kind);
    assert!(at(OutputKind::Alert) < at(OutputKind::Outcome));
    assert_eq!(emitted[0].alert_conditions.join(" "), alert.condition_id);
}

#[test]
fn rows_that_wait_are_bounded_and_the_first_ones_are_judged_when_there_are_too_many() {
    let mut robot = Robot::new(&rules());
    let rows = crate::robot::WAITING_MAX as i64 + 10;
    let samples: Vec<Sample> = (0..rows)
        .map(|at| (1, at, if at == 0 { 90.0 } else { 70.0 }, None))
        .collect();
    robot.batch(&unnumbered(&telemetry(&samples)));
    assert_eq!(robot.alerts(), [raised("hot", 1), cleared("hot", 1)]);
    assert!(robot.processor.snapshot().len() < 100_000);
    let mut robot = Robot::new(&rules());
    let samples: Vec<Sample> = (0..rows)
        .map(|at| (rows - at, at, if at == 0 { 90.0 } else { 70.0 }, None))
        .collect();
    let mut slow = Arc::unwrap_or_clone(robot.processor.config.clone());
    slow.time.reorder_bound_us = 10_000 * S;
    robot.processor = Processor::new("r", Arc::new(slow));
    let dated: Vec<Sample> = samples
        .iter()
        .map(|(time, number, value, procedure)| (*time - rows, *number, *value, *procedure))
        .collect();
    robot.batch(&unnumbered(&telemetry(&dated)));
    robot.end();
    assert_eq!(robot.alerts(), [raised("hot", 0)]);
}

#[test]
fn rows_that_wait_go_on_under_other_rules() {
    let mut robot = Robot::new(&rules());
    robot.rows(&[(1, 1, 70.0, None), (3, 3, 90.0, None)]);
    let grip = RuleKind::Threshold {
        signal: "grip_force".into(),
        raise_above: Some(0.5),
        clear_below: None,
        raise_below: None,
        clear_above: None,
        hold: Micros(0),
        clear_after: Micros(0),
        escalate: vec![],
        count: None,
    };
    let others = [
        rule("grip", Priority::Low, grip),
        rule("warm", Priority::Low, hot(0)),
    ];
    let saved = robot.processor.snapshot();
    robot.processor = Processor::restore("r", &saved, with_rules(&others)).unwrap();
    robot.end();
    assert_eq!(robot.alerts(), [raised("warm", 3)], "its grip was not kept");
    robot.processor = Processor::restore("r", &saved, with_rules(&[])).unwrap();
    robot.outputs = Outputs::default();
    robot.end();
    assert_eq!(robot.alerts(), []);
}
