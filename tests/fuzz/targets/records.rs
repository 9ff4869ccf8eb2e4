//! Any bytes as an input record. The first byte picks a shipped schema, by which the rest is a
//! datum; or none, and the rest is a whole message with its frame. A record adds one value to every
//! column or none to any, and a datum that is accepted is one that Avro's library accepts, too.

#![no_main]

use std::sync::{Arc, LazyLock};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use arrow_array::Array;
use libfuzzer_sys::fuzz_target;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::framing;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::{INPUT_SCHEMAS, Registry, WriterSchema, schema_id};

const DATUM_MAX: usize = 1 << 20;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);
static SCHEMAS: LazyLock<Vec<(u32, Schema)>> = LazyLock::new(|| {
    let parsed = |(_, json): (&str, &str)| {
        let schema = Schema::parse_str(json).expect("a shipped schema");
        (schema_id(json).expect("it has an id"), schema)
    };
    INPUT_SCHEMAS.into_iter().map(parsed).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    if let Some((id, schema)) = SCHEMAS.get(usize::from(*which)) {
        let writer = REGISTRY.lookup(*id).expect("it is shipped");
        if decoded(writer, bytes) {
            let reader = GenericDatumReader::builder(schema).build().expect("valid");
            let mut rest = bytes;
            assert!(reader.read_value(&mut rest).is_ok() && rest.is_empty());
        }
        return;
    }
    let Ok((id, datum)) = framing::open(bytes, DATUM_MAX) else {
        return;
    };
    assert!(datum.len() <= DATUM_MAX.max(bytes.len()));
    if let Some(writer) = REGISTRY.lookup(id) {
        decoded(writer, &datum);
    }
});

/// Decodes a datum twice into one batch; says whether it was taken.
fn decoded(writer: &WriterSchema, datum: &[u8]) -> bool {
    let index = writer.dataset_index;
    let dataset = REGISTRY.datasets().get(index).clone();
    let pseudonyms = Arc::new(Pseudonyms::new([7; 32]));
    let mut builder = BatchBuilder::new(dataset, index, pseudonyms);
    let first = builder.push(&writer.plan, datum, 0, 0);
    let second = builder.push(&writer.plan, datum, 1, 0);
    assert_eq!(first, second);
    let rows = builder.finish().map_or(0, |batch| {
        let mut columns = batch.columns();
        assert!(columns.all(|column| column.len() == batch.len()));
        batch.len()
    });
    assert_eq!(rows, if first.is_ok() { 2 } else { 0 });
    first.is_ok()
}
