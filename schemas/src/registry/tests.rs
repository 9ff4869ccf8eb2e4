//! Records as version 1 of each schema writes them. The files are written once and never edited: a
//! schema that changes gets a new version and a file of its own, and these must still be read.
//! `THEATRE_GOLDEN=write cargo test -p theatre-schemas registry` writes files of a version that has
//! not been released.

use std::path::PathBuf;
use std::sync::Arc;

use crate::dataset::Dataset;
use crate::decode::BatchBuilder;
use crate::framing;
use crate::pseudonym::Pseudonyms;
use crate::records::{PUBLISHED, RecordWriter};
use crate::registry::{INPUT_SCHEMAS, Registry, schema_id};
use apache_avro::Schema;
use apache_avro::types::Value;

/// A value of a schema with something in every field, the same at every run.
fn filled(schema: &Schema, name: &str) -> Value {
    let length = name.len() as i64;
    match schema {
        Schema::Null => Value::Null,
        Schema::Boolean => Value::Boolean(length % 2 == 0),
        Schema::Int => Value::Int(length as i32 * 3),
        Schema::Long => Value::Long(length * 1_000_003),
        Schema::TimestampMicros => {
            Value::TimestampMicros(1_767_225_600_000_000 + length * 1_000_000)
        }
        Schema::Date => Value::Date(20_454 + length as i32),
        Schema::Decimal(_) => Value::Decimal((length * -100_003).to_be_bytes().to_vec().into()),
        Schema::Float => Value::Float(length as f32 + 0.25),
        Schema::Double => Value::Double(length as f64 + 0.125),
        Schema::Bytes => Value::Bytes(name.as_bytes().to_vec()),
        Schema::String => Value::String(format!("the {name}")),
        Schema::Enum(of) => {
            let at = of.symbols.len() - 1;
            Value::Enum(at as u32, of.symbols[at].clone())
        }
        Schema::Array(of) => Value::Array(
            (0..2)
                .map(|item| filled(&of.items, &format!("{name}{item}")))
                .collect(),
        ),
        Schema::Map(of) => Value::Map([(name.to_owned(), filled(&of.types, name))].into()),
        Schema::Union(of) => {
            let at = of.variants().len() - 1;
            Value::Union(at as u32, Box::new(filled(&of.variants()[at], name)))
        }
        Schema::Record(of) => Value::Record(
            of.fields
                .iter()
                .map(|field| (field.name.clone(), filled(&field.schema, &field.name)))
                .collect(),
        ),
        other => panic!("{name}: {other:?} is in no schema yet: say here how it is filled"),
    }
}

fn path(subject: &str, file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(subject)
        .join(file)
}

/// What the file holds; written first if asked for.
fn golden(subject: &str, file: &str, now: &[u8]) -> Vec<u8> {
    let path = path(subject, file);
    if std::env::var_os("THEATRE_GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, now).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn written(json: &str) -> Vec<u8> {
    let schema = Schema::parse_str(json).unwrap();
    RecordWriter::new(schema_id(json).unwrap(), json)
        .unwrap()
        .encode(filled(&schema, "record"))
        .unwrap()
}

/// All columns of a record, as our decoder gives them.
fn columns(message: &[u8]) -> String {
    let registry = Registry::builtin();
    let (id, datum) = framing::parse(message).unwrap();
    let writer = registry.lookup(id).unwrap();
    let dataset = registry.datasets().get(writer.dataset_index).clone();
    let mut builder = BatchBuilder::new(
        dataset.clone(),
        writer.dataset_index,
        Arc::new(Pseudonyms::new([7; 32])),
    );
    builder.push(&writer.plan, datum, 0, 0).unwrap();
    let batch = builder.finish().unwrap();
    let mut decoded = String::new();
    for (index, column) in dataset.columns.iter().enumerate() {
        let text = batch.text(index, 0).map(str::to_owned);
        let value = text
            .or_else(|| batch.int(index, 0).map(|value| value.to_string()))
            .or_else(|| batch.date(index, 0).map(|value| format!("day {value}")))
            .or_else(|| {
                batch
                    .decimal(index, 0)
                    .map(|value| format!("{value} units"))
            })
            .or_else(|| batch.number(index, 0).map(|value| value.to_string()));
        decoded += &format!("{} = {}\n", column.name, value.as_deref().unwrap_or("-"));
    }
    decoded
}

#[test]
fn input_records_of_every_version_are_read_as_ever() {
    for (subject, json) in INPUT_SCHEMAS {
        let version = Dataset::from_schema(json).unwrap().version;
        let bytes = golden(subject, &format!("v{version}.bin"), &written(json));
        assert!(
            bytes == written(json),
            "{subject}: the schema writes other bytes than version {version} did: make it a new version"
        );
        let decoded = columns(&bytes);
        let known = golden(subject, &format!("v{version}.columns"), decoded.as_bytes());
        let added = decoded.strip_prefix(std::str::from_utf8(&known).unwrap());
        // What a later version added is missing in records of this one.
        let is_missing = |added: &str| added.lines().all(|line| line.ends_with(" = -"));
        assert!(
            added.is_some_and(is_missing),
            "{subject}: read as {decoded}"
        );
        // Of every array two elements are filled.
        let filled = |line: &&str| {
            let element = line
                .split_once('[')
                .and_then(|(_, rest)| rest.split_once(']'));
            element.is_none_or(|(at, _)| matches!(at, "0" | "1"))
        };
        let lines: Vec<&str> = decoded.lines().filter(filled).collect();
        let missing = lines.iter().filter(|line| line.ends_with(" = -")).count();
        assert!(
            missing * 2 < lines.len(),
            "{subject}: most of it is missing: {decoded}"
        );
    }
}

#[test]
fn published_records_are_read_and_written_as_ever() {
    for (subject, schema, rewrite) in PUBLISHED {
        let now = written(schema);
        let declared: serde_json::Value = serde_json::from_str(schema).unwrap();
        let version = declared["theatre"]["version"].as_u64().unwrap_or(1);
        let bytes = golden(subject, &format!("v{version}.bin"), &now);
        assert!(
            bytes == now && rewrite(&bytes).unwrap() == bytes,
            "{subject}"
        );
        for earlier in 1..version {
            let bytes = std::fs::read(path(subject, &format!("v{earlier}.bin"))).unwrap();
            let rewritten = rewrite(&bytes).unwrap();
            assert!(
                rewrite(&rewritten).unwrap() == rewritten,
                "{subject} {earlier}"
            );
        }
    }
}

/// A schema of a dataset with these fields beside the two that every record needs.
fn of_dataset(id: u32, version: u32, kind: &str, fields: &str) -> String {
    let time = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    format!(
        r#"{{"type":"record","name":"S","theatre":{{"id":70{id},"dataset":"ds","kind":"{kind}","version":{version}}},"fields":[
        {{"name":"robot_id","type":"string"}},{{"name":"event_time","type":{time}}}{fields}]}}"#
    )
}

fn field(name: &str, avro: &str) -> String {
    format!(r#",{{"name":"{name}","type":["null","{avro}"],"default":null}}"#)
}

/// The columns of the dataset behind the two that every record has; or why a schema is refused.
fn followed(schemas: &[String]) -> Result<String, String> {
    let mut registry = Registry::builtin();
    for schema in schemas {
        registry.add(schema).map_err(|error| error.to_string())?;
    }
    let dataset = registry.datasets().find("ds").unwrap().1;
    let own = dataset.columns[2..].iter();
    let columns: Vec<String> = own
        .map(|column| format!("{} {:?}", column.name, column.column_type))
        .collect();
    let signals: Vec<&str> = dataset
        .signals
        .iter()
        .map(|signal| dataset.columns[signal.column].name.as_str())
        .collect();
    assert!(
        dataset
            .signals
            .iter()
            .map(|signal| signal.name.as_str())
            .eq(signals),
        "a signal is the column of its name"
    );
    Ok(columns.join(", "))
}

#[test]
fn a_later_schema_widens_columns_and_adds_more_in_whatever_order_they_are_known() {
    let telemetry = |id, version, fields: &str| of_dataset(id, version, "telemetry", fields);
    let first = telemetry(1, 1, &(field("a", "int") + &field("b", "long")));
    let second = telemetry(
        2,
        2,
        &(field("new", "string") + &field("b", "double") + &field("a", "long")),
    );
    let expected = Ok("a Int64, b Float64, new Utf8".to_owned());
    assert_eq!(followed(&[first.clone(), second.clone()]), expected);
    assert_eq!(followed(&[second, first.clone()]), expected);
    // Both say to be the first.
    let wider = telemetry(3, 1, &(field("a", "double") + &field("b", "double")));
    let expected = Ok("a Float64, b Float64".to_owned());
    assert_eq!(followed(&[first.clone(), wider.clone()]), expected);
    assert_eq!(followed(&[wider, first.clone()]), expected);
    for (narrow, wide) in [
        ("int", "long"),
        ("int", "float"),
        ("int", "double"),
        ("long", "float"),
        ("long", "double"),
        ("float", "double"),
    ] {
        let schemas = [
            telemetry(4, 1, &field("v", narrow)),
            telemetry(5, 2, &field("v", wide)),
        ];
        assert!(followed(&schemas).is_ok(), "{narrow} to {wide}");
        let schemas = [
            telemetry(4, 1, &field("v", wide)),
            telemetry(5, 2, &field("v", narrow)),
        ];
        let refused = followed(&schemas).unwrap_err();
        assert!(
            refused.contains("'v' was") && refused.contains("another name"),
            "{wide} to {narrow}: {refused}"
        );
    }
}

#[test]
fn what_lake_and_warehouse_cannot_follow_is_refused_with_the_way_out() {
    let first = of_dataset(
        1,
        1,
        "telemetry",
        &(field("a", "int") + &field("b", "string")),
    );
    for (kind, fields, why) in [
        (
            "telemetry",
            field("a", "int"),
            "'b' was in dataset 'ds' before",
        ),
        (
            "telemetry",
            field("a", "string") + &field("b", "string"),
            "'a' was Int32",
        ),
        (
            "telemetry",
            field("a", "int") + &field("b", "double"),
            "'b' was Utf8",
        ),
        (
            "telemetry",
            field("a", "boolean") + &field("b", "string"),
            "'a' was Int32",
        ),
        (
            "robot_events",
            field("a", "int") + &field("b", "string"),
            "of kind",
        ),
    ] {
        let refused = followed(&[first.clone(), of_dataset(2, 2, kind, &fields)]).unwrap_err();
        assert!(
            refused.contains(why) && refused.contains("--data"),
            "{refused}"
        );
    }
}
