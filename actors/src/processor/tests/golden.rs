//! State as version 1 wrote it. The file is written once and never edited: when the encoding
//! changes, the version grows, and this file must still be read.

use super::*;
use crate::state::StateError;

const V1: &[u8] = include_bytes!("../../../golden/processor/v1.bin");

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

#[test]
fn state_written_by_version_1_is_read() {
    let processor = Processor::restore("r", V1, config(None)).unwrap();
    assert_eq!(
        processor.snapshot(),
        V1,
        "what was read is all that was written"
    );
    let view = ProcessorView::from_state("r", V1).unwrap();
    assert_eq!(view.clock, Some(NOW + 30 * S));
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

/// Fails when the encoding changed without a new version. `THEATRE_GOLDEN=write cargo test -p
/// theatre-actors golden` writes the file, which is right only before a release has written state
/// of that version.
#[test]
fn the_encoding_is_still_that_of_version_1() {
    let state = processor().snapshot();
    if std::env::var_os("THEATRE_GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/golden/processor/v1.bin"),
            &state,
        )
        .unwrap();
        return;
    }
    assert!(
        state == V1,
        "the encoding of processor state changed: {} bytes, {} in the golden file",
        state.len(),
        V1.len()
    );
}

#[test]
fn unknown_versions_and_damage_are_told_apart() {
    assert_eq!(
        Processor::restore("r", &[2], config(None)).unwrap_err(),
        StateError::Version {
            name: "processor",
            found: 2,
            known: 1
        }
    );
    for length in 0..V1.len() {
        assert!(
            matches!(
                Processor::restore("r", &V1[..length], config(None)),
                Err(StateError::Damaged { .. })
            ),
            "{length} bytes"
        );
    }
}
