//! Any bytes as what a store keeps: the first byte picks the type, the second is its version. Bytes
//! are refused, or are a value that is written as bytes which give the same value; what is shown of
//! a robot is shown of any state that can be read.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use theatre_actors::control::{RuleBase, StandingRules};
use theatre_actors::outputs::{self, DeadRow, OutputEvent, OutputKind};
use theatre_actors::ports::{LakeFile, PastLayout};
use theatre_actors::position::Positions;
use theatre_actors::processor::{IntakeProcessor, Processor, next_sequence};
use theatre_actors::state::{Stored, decode, encode};
use theatre_pipeline::PipelineParams;
use theatre_pipeline::trackers::Trackers;

mod shared;

static PARAMS: LazyLock<PipelineParams> = LazyLock::new(shared::params);

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 9 {
        0 => processor(bytes),
        1 => same::<Positions>(bytes),
        2 => same::<DeadRow>(bytes),
        3 => same::<LakeFile>(bytes),
        4 => same::<PastLayout>(bytes),
        5 => same::<Vec<String>>(bytes),
        6 => same::<IntakeProcessor>(bytes),
        7 => output(bytes),
        _ => same::<Trackers>(bytes),
    }
});

fn same<T: Stored>(bytes: &[u8]) {
    let Ok(value) = decode::<T>(bytes) else {
        return;
    };
    let written = encode(&value);
    let read = decode::<T>(&written).expect("what was written is read");
    assert!(written == encode(&read));
}

/// An output as a consumer reads it: the first byte picks its kind.
fn output(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else {
        return;
    };
    let spec = outputs::ALL[usize::from(*kind) % outputs::KINDS];
    let event = OutputEvent {
        kind: spec.kind,
        robot_id: "r".to_owned(),
        id: "i".to_owned(),
        subject: "robot_telemetry/10s".to_owned(),
        revision: 0,
        event_time: 0,
        payload: payload.to_vec(),
    };
    let datasets = PARAMS.registry.datasets();
    (spec.key)(&event);
    (spec.dataset)(&event);
    drop((spec.record)(&event, datasets));
    let table = spec.kind.table();
    let schema = theatre_parquet::file_schema(&table);
    let rows = theatre_parquet::outputs::record_batch(spec.kind, &schema, &[&event], datasets);
    match rows {
        // A window has a row for each of its signals.
        Ok(_) if spec.kind == OutputKind::Window => {}
        Ok(rows) => assert_eq!(rows.num_rows(), 1),
        Err(error) => assert!(!error.to_string().contains("table '"), "{error}"),
    }
}

fn processor(bytes: &[u8]) {
    let config = &PARAMS.processor;
    let restored = Processor::restore("r", bytes, config.clone());
    let book = Arc::new(PARAMS.control_book());
    let base = RuleBase {
        rules: &config.rules.written(),
        needs_approval: false,
        datasets: PARAMS.registry.datasets(),
        windows: Some(&config.windows),
    };
    let standing = StandingRules::read(base, Some(bytes));
    assert_eq!(restored.is_ok(), standing.is_ok());
    assert_eq!(restored.is_ok(), book.restore(bytes).is_ok());
    let (Ok(restored), Ok(standing)) = (restored, standing) else {
        return;
    };
    for change in standing.changes() {
        standing.fate(change).to_string();
    }
    standing.refused();
    let written = restored.snapshot();
    let again = Processor::restore("r", &written, config.clone()).expect("it was just written");
    assert!(written == again.snapshot());
    assert!(next_sequence(bytes, 0).is_ok());
    let moved = Processor::moved(bytes, restored.positions()).expect("it can be read");
    let moved = Processor::restore("r", &moved, config.clone()).expect("it was just written");
    assert!(written == moved.snapshot());
    let shown = serde_json::to_vec(&restored.live_view());
    assert!(shown.is_ok());
    drop(restored.under(&book));
}
