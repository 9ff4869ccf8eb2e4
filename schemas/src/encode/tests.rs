use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Fault, JsonEncoder};
use crate::decode::BatchBuilder;
use crate::pseudonym::Pseudonyms;
use crate::registry::{INPUT_SCHEMAS, Registry};

pub(super) const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"id","type":"string"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}],"default":null},
    {"name":"force","type":"double","unit":"N"},
    {"name":"ratio","type":["null","float"],"default":null},
    {"name":"cost","type":["null",{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}],"default":null},
    {"name":"state","type":{"type":"enum","name":"E","symbols":["on","off"]},"default":"off"},
    {"name":"who","type":["null","string"],"person":"staff","default":null},
    {"name":"p","type":{"type":"record","name":"P","fields":[{"name":"x","type":"int"},{"name":"y","type":["null","int"],"default":null}]}},
    {"name":"js","type":{"type":"array","length":3,"items":{"type":"record","name":"J","fields":[{"name":"c","type":"double"}]}},"default":[]}]}"#;

fn encoded(record: &Value) -> Result<Avro, Vec<Fault>> {
    let mut out = Vec::new();
    JsonEncoder::new(SCHEMA).unwrap().encode(record, &mut out)?;
    let mut rest = out.as_slice();
    let schema = Schema::parse_str(SCHEMA).unwrap();
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let read = reader.read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "all bytes are used up");
    Ok(read)
}

fn field(record: &Avro, name: &str) -> Avro {
    let Avro::Record(fields) = record else {
        panic!("{record:?}")
    };
    let found = fields.iter().find(|(field, _)| field == name);
    match found.unwrap().1.clone() {
        Avro::Union(_, value) => *value,
        value => value,
    }
}

fn base() -> Value {
    json!({"id": "r", "at": "2026-01-31T12:00:00.000001Z", "force": 1.5, "p": {"x": 3}})
}

fn with(key: &str, value: Value) -> Value {
    let mut record = base();
    record[key] = value;
    record
}

#[test]
fn what_is_left_out_is_null_or_the_default() {
    let read = encoded(&base()).unwrap();
    assert_eq!(
        field(&read, "at"),
        Avro::TimestampMicros(1_769_860_800_000_001)
    );
    assert_eq!(field(&read, "day"), Avro::Null);
    assert_eq!(field(&read, "state"), Avro::Enum(1, "off".to_owned()));
    assert_eq!(field(&read, "js"), Avro::Array(Vec::new()));
}

#[test]
fn values_have_the_forms_that_json_has_for_them() {
    for (key, given, expected) in [
        ("at", json!(17), Avro::TimestampMicros(17)),
        (
            "at",
            json!("1970-01-01T01:00:00+01:00"),
            Avro::TimestampMicros(0),
        ),
        ("day", json!("1970-01-11"), Avro::Date(10)),
        ("day", json!(-3), Avro::Date(-3)),
        ("force", json!(2), Avro::Double(2.0)),
        ("force", json!("-Infinity"), Avro::Double(f64::NEG_INFINITY)),
        ("ratio", json!(0.25), Avro::Float(0.25)),
        ("state", json!("on"), Avro::Enum(0, "on".to_owned())),
    ] {
        assert_eq!(field(&encoded(&with(key, given)).unwrap(), key), expected);
    }
    let read = encoded(&with("js", json!([{"c": 1.0}, {"c": 2.0}]))).unwrap();
    assert!(matches!(field(&read, "js"), Avro::Array(items) if items.len() == 2));
}

#[test]
fn decimals_keep_their_digits() {
    for (given, unscaled) in [
        (json!("12.34"), 1234_i64),
        (json!(12.3), 1230),
        (json!("-0.01"), -1),
        (json!(-129), -12_900),
        (json!("0"), 0),
        (json!("1.2300"), 123),
        (json!("9999999999.99"), 999_999_999_999),
    ] {
        let read = field(&encoded(&with("cost", given.clone())).unwrap(), "cost");
        let Avro::Decimal(decimal) = read else {
            panic!("{read:?}")
        };
        let bytes: Vec<u8> = (&decimal).try_into().unwrap();
        let negative = bytes[0] & 0x80 != 0;
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole[8 - bytes.len()..].copy_from_slice(&bytes);
        assert_eq!(i64::from_be_bytes(whole), unscaled, "{given}");
    }
    for wrong in [
        "12.345",
        "1e3",
        "",
        "-",
        ".5",
        "1.2.3",
        "10000000000",
        "-10000000000.00",
        "99999999999999999999999999999999999999.99",
    ] {
        assert!(encoded(&with("cost", json!(wrong))).is_err(), "{wrong}");
    }
    let wide = SCHEMA.replace("\"precision\":12", "\"precision\":20");
    let encoder = JsonEncoder::new(&wide).unwrap();
    let taken = |cost: &str| {
        let record: Value = serde_json::from_str(cost).unwrap();
        encoder
            .encode(&with("cost", record), &mut Vec::new())
            .is_ok()
    };
    // As numbers these two are the same.
    assert!(!taken("123456789012345678.25") && !taken("123456789012345678.26"));
    assert!(taken("\"123456789012345678.25\"") && taken("1234567890123.25"));
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);

/// Whole numbers of which some are near a bound.
fn near(bounds: [i64; 2]) -> impl Strategy<Value = i64> {
    let [low, high] = bounds.map(|bound| bound - 3..bound + 3);
    prop_oneof![any::<i64>(), any::<i32>().prop_map(i64::from), low, high]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        at in near([-62_135_596_800_000_000, 253_402_300_799_999_999]),
        started in "(-00000[0-9]|000[0-9]|9999)-(01|12)-(01|31)T(00|23):00:00Z",
        days in near([-719_162, 2_932_896]),
        cost in "-?[0-9]{1,30}(\\.[0-9]{0,3})?",
        is_number in any::<bool>(),
    ) {
        let registry = &*REGISTRY;
        let (index, dataset) = registry.datasets().find("maintenance_logs").unwrap();
        let writer = registry.newest_writer(index).unwrap();
        let number = serde_json::from_str(&cost).ok().filter(|_| is_number);
        let base = json!({
            "robot_id": "r", "event_time": 0, "event_id": "e", "maintenance_id": "m",
            "maintenance_type": "routine", "status": "planned",
        });
        let encoder = JsonEncoder::new(&writer.json).unwrap();
        for (name, value) in [
            ("event_time", json!(at)),
            ("started_at", json!(started)),
            ("next_maintenance_date", json!(days)),
            ("cost", number.unwrap_or_else(|| json!(cost))),
        ] {
            let mut record = base.clone();
            record[name] = value;
            let mut datum = Vec::new();
            if encoder.encode(&record, &mut datum).is_ok() {
                let pseudonyms = std::sync::Arc::new(Pseudonyms::new([7; 32]));
                let mut builder = BatchBuilder::new(dataset.clone(), index, pseudonyms);
                let decoded = builder.push(&writer.plan, &datum, 0, 0);
                prop_assert!(decoded.is_ok(), "{record}: {decoded:?}");
            }
        }
    }
}

#[test]
fn paths_are_nested_fields() {
    let flat =
        json!({"id": "r", "at": 0, "force": 1, "p.x": 3, "p.y": 4, "js[1].c": 2.0, "js[0].c": 1.0});
    let deep = json!({"id": "r", "at": 0, "force": 1, "p": {"x": 3, "y": 4}, "js": [{"c": 1.0}, {"c": 2.0}]});
    assert_eq!(encoded(&flat), encoded(&deep));
    for bad in ["p.", "js[", "js[x].c", "js[99999].c", "id.x"] {
        let mut record = base();
        record[bad] = json!(1);
        assert!(encoded(&record).is_err(), "{bad}");
    }
    // No value is lost without a word.
    for twice in [
        r#"{"id": "r", "at": 0, "force": 1, "p.x": 3, "p": {"x": 3}}"#,
        r#"{"id": "r", "at": 0, "force": 1, "p.y": 4, "p": {"x": 3}}"#,
        r#"{"id": "r", "at": 0, "force": 1, "p": {"x": 3}, "p.x": 4}"#,
        r#"{"id": "r", "at": 0, "force": 1, "p.x": 3, "js": [{"c": 1}], "js[0].c": 2}"#,
    ] {
        let faults = encoded(&serde_json::from_str(twice).unwrap()).unwrap_err();
        assert!(faults[0].expected.contains("no other key"), "{faults:?}");
    }
    let parts = r#"{"id": "r", "at": 0, "force": 1, "p": {"x": 3}, "p.y": 4, "js": [{"c": 1}], "js[1].c": 2}"#;
    assert_eq!(
        encoded(&serde_json::from_str(parts).unwrap()),
        encoded(&deep)
    );
}

#[test]
fn bytes_are_hexadecimal_digits_and_nothing_else() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"b","type":"bytes"}]}"#;
    let encoder = JsonEncoder::new(schema).unwrap();
    let taken = |text: &str| {
        let mut out = Vec::new();
        let encoded = encoder.encode(&json!({"b": text}), &mut out);
        encoded.is_ok().then_some(out)
    };
    assert_eq!(taken("0fA0"), Some(vec![4, 0x0f, 0xa0]));
    for wrong in ["+f", "0f+1", "-1", "0", "0g", " 1", "\u{e9}\u{e9}"] {
        assert_eq!(taken(wrong), None, "{wrong}");
    }
}

#[test]
fn a_schema_of_few_words_asks_for_no_memory() {
    let with = |of: &str| {
        format!(r#"{{"type":"record","name":"R","fields":[{{"name":"d","type":{of}}}]}}"#)
    };
    let fixed = with(r#"{"type":"fixed","name":"F","size":1000000000000}"#);
    let refused = JsonEncoder::new(&fixed).unwrap_err();
    assert!(refused.to_string().contains("1000000000000"), "{refused}");
    let decimal = with(
        r#"{"type":"bytes","logicalType":"decimal","precision":4000000000,"scale":4000000000}"#,
    );
    let encoder = JsonEncoder::new(&decimal).unwrap();
    assert!(
        encoder
            .encode(&json!({"d": "1.5"}), &mut Vec::new())
            .is_err()
    );
}

#[test]
fn a_record_of_fields_that_are_not_there_is_looked_at_until_eight_are_named() {
    let fields: Vec<String> = (0..2_000)
        .map(|field| format!(r#"{{"name":"field_{field}","type":["null","int"],"default":null}}"#))
        .collect();
    let fields = fields.join(",");
    let schema = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let encoder = JsonEncoder::new(&schema).unwrap();
    let record: serde_json::Map<String, Value> = (0..400_000)
        .map(|key| (format!("no_{key}"), json!(1)))
        .collect();
    let faults = encoder.encode(&Value::Object(record), &mut Vec::new());
    assert_eq!(faults.unwrap_err().len(), super::FAULTS_MAX);
}

#[test]
fn a_path_of_any_length_is_refused_and_takes_no_stack() {
    for step in [".a", "[0]"] {
        let mut record = base();
        record[format!("a{}", step.repeat(500_000))] = json!(1);
        let faults = encoded(&record).unwrap_err();
        assert!(faults[0].expected.starts_with("a path of names"), "{step}");
    }
}

#[test]
fn paths_make_no_more_elements_than_a_record_can_have() {
    let mut record = base();
    for row in 0..200 {
        record[format!("js[{row}][1023]")] = json!(1);
    }
    let faults = encoded(&record).unwrap_err();
    assert_eq!(faults[0].pointer, "/js[63][1023]");
    assert!(faults[0].expected.contains("too many"), "{faults:?}");
}

#[test]
fn a_fault_names_place_expectation_and_unit() {
    let faults = encoded(&with("force", json!("much"))).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(
        (faults[0].pointer.as_str(), faults[0].expected.as_str()),
        ("/force", "a number")
    );
    assert_eq!(faults[0].unit.as_deref(), Some("N"));
    let faults = encoded(&with("p", json!({"x": 1.5, "z": 1}))).unwrap_err();
    let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/p/x", "/p/z"]);
    let faults = encoded(&with("who", json!(5))).unwrap_err();
    assert!(!faults[0].found.contains('5'), "{faults:?}");
    let faults = encoded(&json!({"at": 1})).unwrap_err();
    assert!(
        faults[0].expected.contains("may not be left out"),
        "{faults:?}"
    );
    assert!(encoded(&json!([1])).is_err() && encoded(&json!(null)).is_err());
    let long = with("js", json!([{"c": 1}, {"c": 1}, {"c": 1}, {"c": 1}]));
    assert!(
        encoded(&long).unwrap_err()[0]
            .expected
            .contains("at most 3")
    );
    for (key, wrong) in [
        ("id", json!(1)),
        ("state", json!("open")),
        ("day", json!("31.01.2026")),
        ("at", json!("yesterday")),
        ("ratio", json!(1e300)),
        ("p", json!([])),
    ] {
        assert!(encoded(&with(key, wrong)).is_err(), "{key}");
    }
}

#[test]
fn every_shipped_schema_has_an_encoder() {
    for (subject, json) in INPUT_SCHEMAS {
        assert!(JsonEncoder::new(json).is_ok(), "{subject}");
    }
}
