//! Any text as a schema: as one that declares a dataset, and as a writer's of telemetry. It is
//! refused, or the datasets that it makes have no more columns than a table, and take records.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use theatre_schemas::dataset::{COLUMNS_MAX, Dataset};
use theatre_schemas::decode::{BatchBuilder, DecodePlan};
use theatre_schemas::encode::JsonEncoder;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::{INPUT_SCHEMAS, Registry, schema_id};

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for (_, dataset) in REGISTRY.datasets().iter() {
        if let Ok(plan) = DecodePlan::compile(text, dataset) {
            push(&plan, dataset, bytes);
        }
    }
    let Ok(dataset) = Dataset::from_schema(text) else {
        return;
    };
    assert!(dataset.columns.len() <= COLUMNS_MAX);
    assert!(!dataset.name.is_empty());
    let encoder = JsonEncoder::new(text).expect("a dataset's schema");
    let plan = DecodePlan::compile(text, &dataset).expect("a schema reads what it writes");
    let dataset = Arc::new(dataset);
    let mut datum = Vec::new();
    if encoder
        .encode(
            &serde_json::json!({"robot_id": "r", "event_time": 1}),
            &mut datum,
        )
        .is_ok()
    {
        push(&plan, &dataset, &datum);
    }
    push(&plan, &dataset, bytes);
    // A schema of a known dataset goes on with it, and leaves no shipped one unread.
    let mut registry = REGISTRY.clone();
    if registry.add(text).is_ok() {
        let ids = INPUT_SCHEMAS.map(|(_, json)| schema_id(json).expect("it has an id"));
        assert!(ids.iter().all(|id| registry.lookup(*id).is_some()));
    }
});

fn push(plan: &DecodePlan, dataset: &Arc<Dataset>, datum: &[u8]) {
    let pseudonyms = Arc::new(Pseudonyms::new([7; 32]));
    let mut builder = BatchBuilder::new(dataset.clone(), 0, pseudonyms);
    let taken = builder.push(plan, datum, 0, 0).is_ok();
    assert_eq!(
        builder.finish().map_or(0, |batch| batch.len()),
        usize::from(taken)
    );
}
