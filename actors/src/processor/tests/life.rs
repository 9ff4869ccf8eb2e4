//! Robots and procedures through a whole life: what is put out, in which order things may come, and
//! what stays bounded.

use arrow_array::TimestampMicrosecondArray;

use super::*;

fn ended_recording() -> Arc<Batch> {
    record(
        "robot_events",
        0,
        NOW + 200 * S,
        &[
            ("event_id", text("end")),
            ("event_type", text("recording_ended")),
        ],
    )
}

fn result_of(procedure: u8, offset: u64) -> Arc<Batch> {
    let fields = [
        ("event_id", text("result")),
        ("procedure_id", text(&format!("p{procedure}"))),
        ("success_status", text("complicated")),
        ("complications", Value::Array(vec![])),
    ];
    record("procedure_results", offset, NOW + 100 * S, &fields)
}

/// The last outcome of p0 when its topics are heard in this order, without its revision.
fn outcome_in_order(order: &[usize], samples: &[Sample]) -> Outcome {
    let config = config(None);
    let mut processor = Processor::new("r", config);
    let mut outputs = Outputs::default();
    let steps = [
        step(0, 0, 1, "started", None),
        step(1, 0, 2, "phase_started", Some("docking")),
        step(2, 0, 40, "converted", None),
        step(3, 0, 60, "completed", None),
    ];
    let rows: Vec<u32> = (0..samples.len() as u32).collect();
    for topic in order {
        match topic {
            0 => processor.apply(0, &telemetry(samples), &rows, &mut outputs),
            2 => steps
                .iter()
                .for_each(|step| processor.apply(2, step, &[0], &mut outputs)),
            _ => processor.apply(3, &result_of(0, 0), &[0], &mut outputs),
        }
    }
    processor.apply(1, &ended_recording(), &[0], &mut outputs);
    let mut outcome = outcomes(&outputs).pop().unwrap();
    outcome.revision = 0;
    outcome
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_between_topics_does_not_show_in_the_final_outcome(
        times in proptest::collection::vec((0..100_i64, 60.0..95.0), 1..40),
    ) {
        let samples: Vec<Sample> = times.iter().enumerate().map(|(at, (time, value))| (*time, at as i64, *value, Some(0))).collect();
        let first = outcome_in_order(&[0, 2, 3], &samples);
        prop_assert_eq!(first.status, theatre_schemas::records::OutcomeStatus::Converted);
        prop_assert_eq!(first.telemetry_rows, samples.len() as i64);
        for order in [[0, 3, 2], [2, 0, 3], [2, 3, 0], [3, 0, 2], [3, 2, 0]] {
            prop_assert_eq!(&first, &outcome_in_order(&order, &samples), "{:?}", order);
        }
    }
}

#[test]
fn an_outcome_is_corrected_only_by_news() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    processor.apply(
        0,
        &telemetry(&[(1, 1, 70.0, Some(0)), (90, 2, 70.0, None)]),
        &[0, 1],
        &mut outputs,
    );
    processor.apply(2, &step(0, 0, 20, "completed", None), &[0], &mut outputs);
    processor.apply(2, &step(1, 0, 20, "completed", None), &[0], &mut outputs);
    processor.apply(3, &result_of(0, 0), &[0], &mut outputs);
    processor.apply(3, &result_of(0, 1), &[0], &mut outputs);
    let emitted: Vec<_> = outcomes(&outputs)
        .iter()
        .map(|outcome| (outcome.revision, outcome.result.is_some()))
        .collect();
    assert_eq!(emitted, [(0, false), (1, true)]);
}

#[test]
fn a_robot_that_names_a_new_procedure_in_every_record_stays_small() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    let mut sizes = Vec::new();
    for round in 0..4 {
        let samples: Vec<Sample> = (0..200)
            .map(|at| (at, round * 200 + at, 70.0, Some(at as u8)))
            .collect();
        let batch = telemetry(&samples);
        processor.state.positions = Positions::zero();
        processor.apply(0, &batch, &(0..200).collect::<Vec<_>>(), &mut outputs);
        assert!(processor.view().procedures.len() <= 2);
        sizes.push(processor.snapshot().len());
    }
    // From the second round on there are late fragments as well; after that nothing is added.
    assert!(sizes[3] <= sizes[1] + 64, "{sizes:?}");
}

#[test]
fn a_finished_procedure_that_made_room_is_not_told_a_second_time() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    processor.apply(0, &telemetry(&[(900, 1, 70.0, None)]), &[0], &mut outputs);
    for procedure in 0..4 {
        processor.apply(
            2,
            &step(
                u64::from(procedure),
                procedure,
                i64::from(procedure),
                "completed",
                None,
            ),
            &[0],
            &mut outputs,
        );
    }
    processor.apply(2, &step(4, 0, 0, "completed", None), &[0], &mut outputs);
    let emitted: Vec<_> = outcomes(&outputs)
        .iter()
        .map(|outcome| (outcome.procedure_id.clone(), outcome.revision))
        .collect();
    assert_eq!(
        emitted,
        [
            ("p0".to_owned(), 0),
            ("p1".to_owned(), 0),
            ("p2".to_owned(), 0),
            ("p3".to_owned(), 0)
        ]
    );
    assert_eq!(
        outputs
            .dead
            .iter()
            .map(|dead| dead.reason)
            .collect::<Vec<_>>(),
        [DeadReason::Invalid]
    );
    assert_eq!(processor.counters()[2].total(), 5);
}

#[test]
fn an_old_procedure_is_forgotten_by_the_clock_of_its_robot() {
    let mut config = Arc::unwrap_or_clone(config(None));
    config.procedure_retention_us = 100 * S;
    let mut processor = Processor::new("r", Arc::new(config));
    let mut outputs = Outputs::default();
    processor.apply(2, &step(0, 0, 1, "started", None), &[0], &mut outputs);
    processor.apply(0, &telemetry(&[(200, 1, 70.0, None)]), &[0], &mut outputs);
    processor.apply(2, &step(1, 1, 190, "started", None), &[0], &mut outputs);
    assert_eq!(
        processor
            .view()
            .procedures
            .iter()
            .map(|known| known.procedure_id.clone())
            .collect::<Vec<_>>(),
        ["p1"]
    );
}

#[test]
fn a_procedure_that_ends_while_its_robot_is_silent_is_told() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    processor.apply(0, &telemetry(&[(1, 1, 70.0, Some(0))]), &[0], &mut outputs);
    let heard = NOW + 1_000 * S;
    processor.tick(LogTime(heard + 61 * S), &mut outputs);
    processor.apply(2, &step(0, 0, 50, "completed", None), &[0], &mut outputs);
    assert_eq!(
        outcomes(&outputs).len(),
        0,
        "its clock has not passed the end"
    );
    processor.tick(LogTime(heard + 62 * S), &mut outputs);
    assert_eq!(outcomes(&outputs).len(), 1);
    assert_eq!(alerts(&outputs).len(), 1, "silence raises one alert");
}

#[test]
fn what_is_only_counted_says_what_was_seen_missing_and_open() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    // Numbers 3 and 4 are missing, 5 comes twice, and the motor is hot.
    let samples = [
        (1, 1, 70.0, None),
        (2, 2, 70.0, None),
        (3, 5, 90.0, None),
        (4, 5, 90.0, None),
    ];
    processor.apply(0, &telemetry(&samples), &[0, 1, 2, 3], &mut outputs);
    let counted = outputs.tally.by_topic[0];
    assert_eq!((counted.duplicates, counted.missing), (1, 2));
    // The rule waits until 3 and 4 can come no more.
    assert_eq!(outputs.tally.open_conditions, None, "nothing has moved yet");
    let later = telemetry_from(4, &[(60, 6, 90.0, None)]);
    processor.apply(0, &later, &[0], &mut outputs);
    assert_eq!(outputs.tally.transitions[..3], [1, 0, 0]);
    assert_eq!(outputs.tally.open_conditions, Some([1, 0, 0]));
    assert_eq!(processor.open_conditions(), [1, 0, 0]);

    let mut outputs = Outputs::default();
    processor.tick(LogTime(NOW + 1_004 * S), &mut outputs);
    assert_eq!(outputs.tally.is_silent, Some(false));
    processor.tick(LogTime(NOW + 2_000 * S), &mut outputs);
    assert_eq!(outputs.tally.is_silent, Some(true));
    let same = Outputs::default();
    processor.tick(LogTime(NOW + 2_001 * S), &mut outputs);
    assert_ne!(outputs, same, "silence is an alert");
    let counted_only = Outputs {
        tally: outputs.tally.clone(),
        ..Outputs::default()
    };
    assert_eq!(counted_only, same, "what is only counted is not compared");
}

#[test]
fn an_event_from_the_future_raises_clock_skew_and_ten_good_samples_clear_it() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    processor.apply(
        2,
        &step(0, 0, 9_000_000, "started", None),
        &[0],
        &mut outputs,
    );
    let samples: Vec<Sample> = (0..12).map(|at| (at, at, 70.0, None)).collect();
    processor.apply(
        0,
        &telemetry(&samples),
        &(0..12).collect::<Vec<_>>(),
        &mut outputs,
    );
    let emitted: Vec<_> = alerts(&outputs)
        .iter()
        .map(|alert| (alert.rule_id.clone(), alert.transition))
        .collect();
    let skew = crate::rules::CLOCK_SKEW.to_owned();
    assert_eq!(
        emitted,
        [
            (skew.clone(), Transition::Raised),
            (skew, Transition::Cleared)
        ]
    );
    assert_eq!(outputs.dead[0].reason, DeadReason::Future);
    assert!(processor.view().procedures.is_empty());
}

#[test]
fn an_unknown_step_is_dead_lettered_and_starts_no_procedure() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    processor.apply(2, &step(0, 0, 1, "unknown", None), &[0], &mut outputs);
    assert_eq!(outputs.dead[0].reason, DeadReason::Invalid);
    assert!(processor.view().procedures.is_empty());
}

#[test]
fn a_flood_of_steps_does_not_keep_a_case_from_ending() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    for at in 0..300 {
        processor.apply(
            2,
            &step(at, 0, at as i64, "phase_started", Some(&at.to_string())),
            &[0],
            &mut outputs,
        );
    }
    assert_eq!(processor.counters()[2].dead_total(), 300 - 256);
    processor.apply(2, &step(300, 0, 300, "completed", None), &[0], &mut outputs);
    processor.apply(1, &ended_recording(), &[0], &mut outputs);
    assert_eq!(outcomes(&outputs).len(), 1);
}

/// A batch of one row with another event time, also one that decoding refuses: processors do not
/// rely on that.
fn dated(batch: &Batch, time: i64) -> Arc<Batch> {
    let mut columns: Vec<_> = batch.columns().cloned().collect();
    columns[batch.dataset.roles.event_time] =
        Arc::new(TimestampMicrosecondArray::from(vec![time]).with_timezone("UTC"));
    Arc::new(Batch::new(
        batch.dataset.clone(),
        batch.dataset_index,
        columns,
        batch.offsets.clone(),
        batch.append_times.clone(),
    ))
}

#[test]
fn times_at_the_ends_of_the_scale_break_nothing() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    let times = [i64::MIN, i64::MIN + 1, -1, 0, NOW, i64::MAX];
    for (offset, time) in times.into_iter().enumerate() {
        for (at, step) in ["started", "paused", "phase_started", "resumed", "completed"]
            .into_iter()
            .enumerate()
        {
            let fields = [
                ("event_id", text(&format!("{offset}{step}"))),
                ("procedure_id", text("p0")),
                ("step", text(step)),
                ("phase", text("x")),
            ];
            let record = dated(
                &record("procedure_events", (offset * 5 + at) as u64, NOW, &fields),
                time,
            );
            processor.apply(2, &record, &[0], &mut outputs);
        }
    }
    processor.apply(1, &ended_recording(), &[0], &mut outputs);
    assert_eq!(processor.counters()[2].total(), 30);
    assert_eq!(outcomes(&outputs).last().unwrap().ended_at, NOW);
    assert_eq!(
        Processor::restore("r", &processor.snapshot(), config(None))
            .unwrap()
            .snapshot(),
        processor.snapshot()
    );
}

#[test]
fn a_poisoned_record_is_accounted_for_and_leaves_the_state_as_if_it_had_not_been() {
    let samples: Vec<Sample> = vec![
        (1, 1, 70.0, Some(0)),
        (50, 2, 99.0, Some(0)),
        (3, 3, 70.0, Some(0)),
    ];
    let batch = telemetry(&samples);
    let mut buried = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    buried.apply(0, &batch, &[0], &mut outputs);
    buried.dead_letter_row(0, &batch, 1, "why", &mut outputs);
    buried.dead_letter_row(0, &batch, 1, "why", &mut outputs);
    buried.apply(0, &batch, &[2], &mut outputs);
    assert_eq!(
        outputs
            .dead
            .iter()
            .map(|dead| (dead.offset, dead.reason))
            .collect::<Vec<_>>(),
        [(1, DeadReason::Poison)]
    );
    assert!(
        String::from_utf8_lossy(&outputs.dead[0].payload).contains("\"motor_temperature\":99.0")
    );
    let view = buried.view();
    assert_eq!(view.clock, Some(NOW + 3 * S));
    assert_eq!(view.missing, 0, "that its number was seen is known");
    assert_eq!(alerts(&outputs), []);
    assert_eq!(buried.counters()[0].total(), 3);
}
