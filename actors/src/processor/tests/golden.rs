//! State as every version wrote it. A file is written once and never edited: when the encoding
//! changes, the version grows, and the files of those before must still be read.

use apache_avro::types::Value;

use super::*;
use crate::control::ControlRecord;
use crate::state::StateError;

const V1: &[u8] = include_bytes!("../../../golden/processor/v1.bin");
const V2: &[u8] = include_bytes!("../../../golden/processor/v2.bin");
const V3: &[u8] = include_bytes!("../../../golden/processor/v3.bin");
const V4: &[u8] = include_bytes!("../../../golden/processor/v4.bin");
const V5: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/processor/v5.bin");

/// A life with something of everything in it.
fn processor() -> Processor {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    let samples: Vec<Sample> = vec![
        (1, 1, 70.0, Some(0)),
        (2, 2, 90.0, Some(0)),
        (3, 5, f64::NAN, Some(0)),
        (4, 5, 70.0, Some(0)),
        (30, 6, 88.0, Some(1)),
        (1_000_000, 7, 70.0, None),
        (2, 8, 60.0, Some(0)),
        (-9_000, 9, 60.0, None),
    ];
    processor.apply(2, &step(0, 0, 1, "started", None), &[0], &mut outputs);
    processor.apply(2, &step(1, 0, 5, "completed", None), &[0], &mut outputs);
    processor.apply(
        0,
        &telemetry(&samples),
        &[0, 1, 2, 3, 4, 5, 6, 7],
        &mut outputs,
    );
    let fields = [("event_id", text("f")), ("event_type", text("fault"))];
    processor.apply(
        1,
        &record("robot_events", 0, NOW, &fields),
        &[0],
        &mut outputs,
    );
    processor
}

/// The same life, and a recording after it, with rows that wait and numbers that may come again.
fn later_processor() -> Processor {
    let mut processor = processor();
    let mut outputs = Outputs::default();
    let mut event = |processor: &mut Processor, offset, event_type| {
        let fields = [("event_id", text("f")), ("event_type", text(event_type))];
        let event = record("robot_events", offset, NOW + 40 * S, &fields);
        processor.apply(1, &event, &[0], &mut outputs);
    };
    event(&mut processor, 1, "recording_ended");
    event(&mut processor, 2, "recording_started");
    let samples: Vec<Sample> = vec![
        (20, 10, 70.0, Some(1)),
        (21, 11, 90.0, Some(1)),
        (24, 14, 70.0, None),
        (25, 15, 91.0, Some(1)),
        (24, 16, f64::NAN, None),
        (25, 17, 90.0, None),
    ];
    let rows: Vec<u32> = (0..6).collect();
    let batch = telemetry_from(8, &samples);
    processor.apply(0, &batch, &rows, &mut Outputs::default());
    processor
}

/// The same, with what is registered of the robot and a service of it.
fn registered_processor() -> Processor {
    let mut processor = later_processor();
    let mut outputs = Outputs::default();
    let batch = registered::entry(0, -50, "1.0.0", "operational");
    processor.apply(5, &batch, &[0], &mut outputs);
    let batch = registered::entry(1, -20, "1.1.0", "operational");
    processor.apply(5, &batch, &[0], &mut outputs);
    let batch = registered::log(0, "m1", "completed", (22, Some(26)), &[]);
    processor.apply(4, &batch, &[0], &mut outputs);
    assert!(outputs.dead.is_empty() && outputs.events.len() > 4);
    processor
}

/// The same, with rules of every kind that remember something, and rows that wait with their texts.
fn measured_processor() -> Processor {
    let mut outputs = Outputs::default();
    let saved = registered_processor().snapshot();
    let mut processor = Processor::restore("r", &saved, with_rules(&kinds::rules())).unwrap();
    let samples: Vec<Sample> = (18..60)
        .map(|at| (8 + at, at, 70.0 + (at % 5) as f64 * 6.0, Some(1)))
        .chain([(70, 61, 90.0, Some(1)), (71, 62, 60.0, None)])
        .collect();
    let rows: Vec<u32> = (0..samples.len() as u32).collect();
    processor.apply(0, &telemetry_from(14, &samples), &rows, &mut outputs);
    let fields = [("event_id", text("s")), ("event_type", text("started"))];
    let event = record("robot_events", 3, NOW + 66 * S, &fields);
    processor.apply(1, &event, &[0], &mut outputs);
    processor
}

/// The same, with a condition that was acknowledged and silenced.
fn handled_processor() -> Processor {
    let mut processor = measured_processor();
    let mut outputs = Outputs::default();
    for (offset, action) in ["acknowledge", "silence"].into_iter().enumerate() {
        let batch = alerting::action(offset as u64, action, &[("rule_id", text("hot"))]);
        processor.apply(9, &batch, &[0], &mut outputs);
    }
    assert_eq!(alerts(&outputs).len(), 2);
    processor
}

/// The same, with something of all that a partition's actor remembers; so it is robot and partition.
fn said_processor() -> Processor {
    let mut processor = handled_processor();
    let records = [
        (
            "alert_actions",
            vec![
                ("action_id", text("a")),
                ("action", Value::Enum(0, "silence".into())),
                ("until", Value::TimestampMicros(NOW + 9_000 * S)),
            ],
        ),
        (
            "rule_changes",
            vec![
                ("change_id", text("c")),
                ("change", Value::Enum(0, "put".into())),
                ("rule_id", text("hot")),
                (
                    "rule",
                    text(&serde_json::to_string(&rule("hot", Priority::Low, hot(1))).unwrap()),
                ),
            ],
        ),
        (
            "rule_changes",
            vec![
                ("change_id", text("d")),
                ("change", Value::Enum(0, "reject".into())),
                ("rule_id", text("hot")),
                ("rejects", text("c")),
                ("comment", text("too low")),
            ],
        ),
    ];
    for (offset, (subject, mut fields)) in records.into_iter().enumerate() {
        fields.push(("actor", text("dana")));
        let batch = record(subject, offset as u64, NOW + 80 * S, &fields);
        let read = ControlRecord::read(9, &batch, 0, offset == 1).unwrap();
        let control = &mut processor.state.control;
        control.change(|control| control.take(read)).unwrap();
    }
    processor
}

fn check_first_life(view: &ProcessorView) {
    assert_eq!(view.last_event.as_deref(), Some("fault"));
    let conditions: Vec<_> = view
        .conditions
        .iter()
        .map(|open| (open.rule_id.as_str(), open.dataset.as_deref()))
        .collect();
    assert_eq!(
        conditions,
        [("clock_skew", None), ("hot", Some("fleet_telemetry"))]
    );
    assert_eq!(view.clock, Some(NOW + 30 * S));
    assert_eq!((view.missing, view.not_finite), (2, 1));
    assert_eq!(
        (
            view.counters[0].applied,
            view.counters[0].duplicate,
            view.counters[0].late
        ),
        (5, 1, 1)
    );
    assert_eq!(view.procedures.len(), 2);
    assert_eq!(
        view.procedures[0].outcome.as_ref().unwrap().telemetry_rows,
        3
    );
}

#[test]
fn state_written_by_version_1_is_read_and_goes_on() {
    assert_eq!(V1[0], 1);
    check_first_life(&ProcessorView::from_state("r", V1).unwrap());
    let mut of_before = Processor::restore("r", V1, config(None)).unwrap();
    let mut of_now = processor();
    check_first_life(&of_now.view());
    let again = Processor::restore("r", &of_before.snapshot(), config(None)).unwrap();
    assert_eq!(
        again.state, of_before.state,
        "it is all in the present version, too"
    );
    // The next rows, late ones too, come to the same under both; so nothing of the past is waited for.
    let samples: Vec<Sample> = (8..60)
        .map(|at| {
            (
                if at % 7 == 0 { at - 30 } else { 30 + at },
                at + 2,
                70.0 + (at % 3) as f64 * 10.0,
                Some(1),
            )
        })
        .collect();
    let batch = telemetry_from(8, &samples);
    let rows: Vec<u32> = (0..samples.len() as u32).collect();
    let (mut expected, mut got) = (Outputs::default(), Outputs::default());
    of_now.apply(0, &batch, &rows, &mut expected);
    of_before.apply(0, &batch, &rows, &mut got);
    assert_eq!(got.dead, expected.dead);
    assert_eq!(alerts(&got), alerts(&expected));
    // The indicators of a case that began under version 1 go on by arrival.
    let without_indicators = |outputs: &Outputs| -> Vec<Outcome> {
        let outcomes = outcomes(outputs).into_iter();
        let without = |outcome| Outcome {
            indicators: Vec::new(),
            ..outcome
        };
        outcomes.map(without).collect()
    };
    assert_eq!(without_indicators(&got), without_indicators(&expected));
    let windows = |outputs: &Outputs| by_kind(outputs, OutputKind::Window);
    assert_eq!(windows(&got), windows(&expected));
    assert!(alerts(&got).len() > 5 && windows(&got).len() > 3);
}

/// Fails when the encoding changed without a new version. `THEATRE_GOLDEN=write cargo test -p
/// theatre-actors golden` writes the file when it is not there.
#[test]
fn the_encoding_is_still_that_of_version_5() {
    let processor = said_processor();
    let state = processor.snapshot();
    let wish = std::env::var_os("THEATRE_GOLDEN");
    if wish.is_some_and(|wish| wish == "write") && !std::path::Path::new(V5).exists() {
        std::fs::write(V5, &state).unwrap();
    }
    let stored = std::fs::read(V5).unwrap();
    assert!(
        state == stored,
        "the encoding of processor state changed: {} bytes, {} in the golden file",
        state.len(),
        stored.len()
    );
    let read = Processor::restore("r", &stored, with_rules(&kinds::rules())).unwrap();
    assert_eq!(read.state, processor.state);
    assert!(read.state.robot.has_waiting_rows() && read.state.robot.is_recording());
    assert_eq!(read.view().clock, Some(NOW + 71 * S));
    let open: Vec<String> = (read.view().conditions.into_iter())
        .map(|open| open.rule_id)
        .collect();
    assert!(open.contains(&"hours".to_owned()), "{open:?}");
}

#[test]
fn state_written_by_version_4_is_read_and_goes_on() {
    assert_eq!(V4[0], 4);
    let mut of_before = Processor::restore("r", V4, with_rules(&kinds::rules())).unwrap();
    let mut of_now = handled_processor();
    let view = |processor: &Processor| serde_json::to_value(processor.view()).unwrap();
    assert_eq!(view(&of_before), view(&of_now));
    assert_eq!(of_before.view().silences.len(), 1);
    let again = Processor::restore("r", &of_before.snapshot(), config(None)).unwrap();
    assert_eq!(
        again.state, of_before.state,
        "it is all in the present version, too"
    );
    let samples: Vec<Sample> = (63..120)
        .map(|at| (10 + at, at, 70.0 + (at % 3) as f64 * 10.0, Some(1)))
        .collect();
    let batch = telemetry_from(60, &samples);
    let rows: Vec<u32> = (0..samples.len() as u32).collect();
    let (mut expected, mut got) = (Outputs::default(), Outputs::default());
    of_now.apply(0, &batch, &rows, &mut expected);
    of_before.apply(0, &batch, &rows, &mut got);
    assert_eq!(got, expected);
    assert!(alerts(&got).len() > 5);
    // What combinations say is kept from the next message on.
    assert_eq!(of_before.state, of_now.state);
}

#[test]
fn what_a_partition_remembered_in_version_4_is_read() {
    use crate::control::{ControlState, ControlStateV4};
    let none: Option<String> = None;
    // As it was written: topic, offset after it, append time, whether it needs approval, what was said.
    let action = (
        2_u32,
        "a",
        5_i64,
        "dana",
        &none,
        Some("hot"),
        &none,
        &none,
        Some(7_i64),
    );
    let action = (
        9_usize,
        1_u64,
        6_i64,
        false,
        0_u32,
        (action, (true, &none, &none, Some("why"))),
    );
    let change = (
        0_u32,
        "hot",
        Some("{}"),
        false,
        8_i64,
        "lee",
        &none,
        Some("so"),
    );
    let change = (10_usize, 2_u64, 9_i64, true, 1_u32, ("c", change));
    let mut bytes = vec![2];
    bytes = postcard::to_extend(&action, bytes).unwrap();
    bytes = postcard::to_extend(&change, bytes).unwrap();
    let read: ControlStateV4 = postcard::from_bytes(&bytes).unwrap();
    let state = ControlState::from(read);
    let said = format!("{:?}", state.records());
    for part in [
        "Silence",
        "hides_high: true",
        "needs_approval: true",
        "kind: Put",
        "rejects: None",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(state.records().len(), 2);
}

#[test]
fn state_written_by_version_3_is_read_and_goes_on() {
    assert_eq!(V3[0], 3);
    let mut of_before = Processor::restore("r", V3, config(None)).unwrap();
    let mut of_now = registered_processor();
    // How it was told of what is open was not kept then.
    let view = |processor: &Processor| {
        let mut view = processor.view();
        for open in &mut view.conditions {
            (open.condition_id, open.message) = (None, None);
        }
        serde_json::to_value(view).unwrap()
    };
    assert_eq!(of_before.view().conditions[0].condition_id, None);
    assert_eq!(view(&of_before), view(&of_now));
    assert!(of_before.state.robot.has_waiting_rows() && of_before.state.robot.is_recording());
    let record = of_before.view().record;
    assert_eq!(
        (record.status.as_str(), record.versions),
        ("operational", 4)
    );
    assert!(record.operating_hours > 0.0);
    let samples: Vec<Sample> = (18..70)
        .map(|at| (8 + at, at, 70.0 + (at % 3) as f64 * 10.0, Some(1)))
        .collect();
    let batch = telemetry_from(14, &samples);
    let rows: Vec<u32> = (0..samples.len() as u32).collect();
    let (mut expected, mut got) = (Outputs::default(), Outputs::default());
    of_now.apply(0, &batch, &rows, &mut expected);
    of_before.apply(0, &batch, &rows, &mut got);
    assert_eq!(got, expected);
    assert!(alerts(&got).len() > 5);
}

#[test]
fn state_written_by_version_2_is_read_and_goes_on() {
    assert_eq!(V2[0], 2);
    let mut of_before = Processor::restore("r", V2, config(None)).unwrap();
    let mut of_now = later_processor();
    let again = Processor::restore("r", &of_before.snapshot(), config(None)).unwrap();
    assert_eq!(
        again.state, of_before.state,
        "it is all in the present version, too"
    );
    assert_eq!(of_before.view().clock, of_now.view().clock);
    let hours = |processor: &Processor| processor.view().record.operating_hours;
    assert!(
        hours(&of_before) < hours(&of_now),
        "they were not followed then"
    );
    let samples: Vec<Sample> = (18..70)
        .map(|at| (8 + at, at, 70.0 + (at % 3) as f64 * 10.0, Some(1)))
        .collect();
    let batch = telemetry_from(14, &samples);
    let rows: Vec<u32> = (0..samples.len() as u32).collect();
    let (mut expected, mut got) = (Outputs::default(), Outputs::default());
    of_now.apply(0, &batch, &rows, &mut expected);
    of_before.apply(0, &batch, &rows, &mut got);
    assert_eq!(got.dead, expected.dead);
    assert_eq!(alerts(&got), alerts(&expected));
    let windows = |outputs: &Outputs| by_kind(outputs, OutputKind::Window);
    assert_eq!(windows(&got), windows(&expected));
    assert!(alerts(&got).len() > 5 && windows(&got).len() > 3);
}

#[test]
fn unknown_versions_and_damage_are_told_apart() {
    assert_eq!(
        Processor::restore("r", &[6], config(None)).unwrap_err(),
        StateError::Version {
            name: "processor",
            found: 6,
            known: 5
        }
    );
    let config = config(None);
    for bytes in [V1, V2, V3, V4, &std::fs::read(V5).unwrap()] {
        for length in 0..bytes.len() {
            assert!(
                matches!(
                    Processor::restore("r", &bytes[..length], config.clone()),
                    Err(StateError::Damaged { .. })
                ),
                "{length} bytes"
            );
        }
    }
}
