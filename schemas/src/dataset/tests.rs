//! Schemas of a few lines that stand for any number of columns or types.

use std::sync::Arc;

use super::{COLUMNS_MAX, Dataset, SchemaError};
use crate::decode::{BatchBuilder, DecodeError, DecodePlan};
use crate::pseudonym::Pseudonyms;

/// A schema of telemetry with one more field, of this type.
fn with(more: &str) -> String {
    format!(
        r#"{{"type":"record","name":"T","theatre":{{"id":9,"dataset":"t","kind":"telemetry"}},
        "fields":[{{"name":"robot_id","type":"string"}},
        {{"name":"event_time","type":{{"type":"long","logicalType":"timestamp-micros"}}}},
        {{"name":"more","type":{more}}}]}}"#
    )
}

fn array(items: &str) -> String {
    format!(r#"{{"type":"array","length":1024,"items":{items}}}"#)
}

#[test]
fn arrays_of_arrays_make_no_more_columns_than_a_table_has() {
    let most = format!(
        r#"{{"type":"array","length":4,"items":{}}}"#,
        array("\"int\"")
    );
    let refused = |json: &str| match Dataset::from_schema(json) {
        Err(SchemaError::Field { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(&with(&most)).contains(&COLUMNS_MAX.to_string()));
    let endless = array(&array(&array(&array("\"int\""))));
    assert!(refused(&with(&endless)).contains("column too many"));
}

#[test]
fn arrays_of_nothing_are_walked_once() {
    let nothing = array(&array(&array(&array("\"null\""))));
    let dataset = Dataset::from_schema(&with(&nothing)).unwrap();
    assert_eq!(dataset.columns.len(), 2);
}

#[test]
fn types_that_name_others_many_times_are_refused_before_they_fill_memory() {
    let mut inner = "\"int\"".to_owned();
    for level in 0..4 {
        let first = format!(r#"{{"name":"f0","type":{inner}}}"#);
        let again = (level > 0).then(|| format!("\"L{}\"", level - 1));
        let again = again.unwrap_or_else(|| "\"int\"".to_owned());
        let others: Vec<String> = (1..40)
            .map(|field| format!(r#"{{"name":"f{field}","type":{again}}}"#))
            .collect();
        let others = others.join(",");
        inner = format!(r#"{{"type":"record","name":"L{level}","fields":[{first},{others}]}}"#);
    }
    let refused = Dataset::from_schema(&with(&inner)).unwrap_err();
    assert!(refused.to_string().contains("types in it"), "{refused}");
}

#[test]
fn items_without_bytes_cost_no_time_however_many_a_record_says_it_has() {
    let dataset = Arc::new(Dataset::from_schema(&with("\"null\"")).unwrap());
    let writer = with(r#"{"type":"array","items":"null"}"#);
    let plan = DecodePlan::compile(&writer, &dataset).unwrap();
    // A robot, a time, then blocks of 65,536 nulls each.
    let blocks = [0x80, 0x80, 0x08].repeat(300_000);
    let datum = [&[2, b'r', 0], blocks.as_slice()].concat();
    let mut builder = BatchBuilder::new(dataset, 0, Arc::new(Pseudonyms::new([7; 32])));
    let begin = std::time::Instant::now();
    let at = datum.len();
    let decoded = builder.push(&plan, &datum, 0, 0);
    assert!(
        matches!(
            decoded,
            Err(DecodeError::Truncated { .. } | DecodeError::Malformed { .. })
        ),
        "{at}: {decoded:?}"
    );
    assert!(begin.elapsed().as_secs() < 5);
}
