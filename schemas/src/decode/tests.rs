use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value;
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use proptest::prelude::*;

use super::{BatchBuilder, DATE_RANGE, DecodeError, DecodePlan, ID_BYTES_MAX, TIMESTAMP_RANGE};
use crate::batch::Batch;
use crate::dataset::DatasetKind;
use crate::declaration::{Declaration, FieldPaths, TimeUnit};
use crate::pseudonym::Pseudonyms;
use crate::registry::{INPUT_SCHEMAS, Registry};

const TRY: &str = r#"{"type":"record","name":"Try","theatre":{"id":9000,"dataset":"try","kind":"telemetry"},"fields":[
  {"name":"robot_id","type":"string"},
  {"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
  {"name":"patient","type":["null","string"],"person":"patient","default":null},
  {"name":"speed","type":["null","double"],"default":null},
  {"name":"count","type":"int"},
  {"name":"on","type":"boolean"},
  {"name":"mode","type":{"type":"enum","name":"Mode","symbols":["a","b"]}},
  {"name":"joints","type":{"type":"array","length":3,"items":{"type":"record","name":"J","fields":[{"name":"current","type":"float"}]}}},
  {"name":"tail","type":"string"}]}"#;

fn registry() -> Registry {
    let mut registry = Registry::builtin();
    registry.add(TRY).unwrap();
    registry
}

fn builder(registry: &Registry, id: u32) -> BatchBuilder {
    let writer = registry.lookup(id).unwrap();
    let dataset = registry.datasets().get(writer.dataset_index).clone();
    BatchBuilder::new(
        dataset,
        writer.dataset_index,
        Arc::new(Pseudonyms::new([7; 32])),
    )
}

fn decode(
    registry: &Registry,
    id: u32,
    datums: &[Vec<u8>],
) -> (Vec<Result<(), DecodeError>>, Option<Batch>) {
    let mut builder = builder(registry, id);
    let plan = &registry.lookup(id).unwrap().plan;
    let results = datums
        .iter()
        .enumerate()
        .map(|(offset, datum)| builder.push(plan, datum, offset as u64, 0))
        .collect();
    (results, builder.finish())
}

#[derive(Debug, Clone)]
struct Row {
    robot: String,
    time: i64,
    patient: Option<String>,
    speed: Option<f64>,
    count: i32,
    on: bool,
    mode: usize,
    joints: Vec<f32>,
    tail: String,
}

fn row() -> impl Strategy<Value = Row> {
    let text = proptest::option::of("\\PC{0,20}");
    let joints = proptest::collection::vec(any::<f32>(), 0..=3);
    (
        "\\PC{1,12}",
        TIMESTAMP_RANGE,
        text,
        proptest::option::of(any::<f64>()),
        any::<i32>(),
        any::<bool>(),
        0..2_usize,
        joints,
        "\\PC{0,9}",
    )
        .prop_map(
            |(robot, time, patient, speed, count, on, mode, joints, tail)| Row {
                robot,
                time,
                patient,
                speed,
                count,
                on,
                mode,
                joints,
                tail,
            },
        )
}

fn encode(row: &Row) -> Vec<u8> {
    let schema = Schema::parse_str(TRY).unwrap();
    let option = |value: Option<Value>| {
        value.map_or(Value::Union(0, Box::new(Value::Null)), |value| {
            Value::Union(1, Box::new(value))
        })
    };
    let joints = row
        .joints
        .iter()
        .map(|current| Value::Record(vec![("current".into(), Value::Float(*current))]))
        .collect();
    let record = Value::Record(vec![
        ("robot_id".into(), Value::String(row.robot.clone())),
        ("event_time".into(), Value::TimestampMicros(row.time)),
        (
            "patient".into(),
            option(row.patient.clone().map(Value::String)),
        ),
        ("speed".into(), option(row.speed.map(Value::Double))),
        ("count".into(), Value::Int(row.count)),
        ("on".into(), Value::Boolean(row.on)),
        (
            "mode".into(),
            Value::Enum(row.mode as u32, ["a", "b"][row.mode].into()),
        ),
        ("joints".into(), Value::Array(joints)),
        ("tail".into(), Value::String(row.tail.clone())),
    ]);
    apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
        .build()
        .unwrap()
        .write_value_to_vec(record)
        .unwrap()
}

/// True when a decoded row is what was written.
fn same(batch: &Batch, at: usize, row: &Row) -> bool {
    let dataset = &batch.dataset;
    let column = |name: &str| dataset.column(name).unwrap();
    let bits = |value: Option<f64>| value.map(f64::to_bits);
    let joints = (0..3).all(|joint| {
        let expected = row.joints.get(joint).map(|value| f64::from(*value));
        bits(batch.number(column(&format!("joints[{joint}].current")), at)) == bits(expected)
    });
    let pseudonym = row
        .patient
        .as_ref()
        .map(|patient| Pseudonyms::new([7; 32]).pseudonym("patient", patient));
    batch.robot_id(at) == row.robot
        && batch.event_times()[at] == row.time
        && batch.text(column("patient"), at).map(str::to_owned) == pseudonym
        && bits(batch.number(column("speed"), at)) == bits(row.speed)
        && batch.int(column("count"), at) == Some(i64::from(row.count))
        && batch.number(column("on"), at) == Some(f64::from(row.on))
        && batch.text(column("mode"), at) == Some(["a", "b"][row.mode])
        && joints
        && batch.text(column("tail"), at) == Some(&row.tail)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_apache_avro_wrote_is_read_back(rows in proptest::collection::vec(row(), 1..20)) {
        let registry = registry();
        let datums: Vec<_> = rows.iter().map(encode).collect();
        let (results, batch) = decode(&registry, 9000, &datums);
        prop_assert!(results.iter().all(Result::is_ok), "{results:?}");
        let batch = batch.unwrap();
        for (at, row) in rows.iter().enumerate() {
            prop_assert!(same(&batch, at, row), "{row:?}");
        }
    }

    #[test]
    fn every_strict_prefix_and_one_byte_more_is_an_error_that_costs_only_itself(row in row(), extra in any::<u8>()) {
        let registry = registry();
        let whole = encode(&row);
        let mut datums = vec![whole.clone()];
        datums.extend((0..whole.len()).map(|length| whole[..length].to_vec()));
        datums.push([whole.as_slice(), &[extra]].concat());
        datums.push(whole);
        let (results, batch) = decode(&registry, 9000, &datums);
        let good: Vec<usize> = results.iter().enumerate().filter(|(_, result)| result.is_ok()).map(|(at, _)| at).collect();
        prop_assert_eq!(good, vec![0, datums.len() - 1]);
        let batch = batch.unwrap();
        prop_assert!(batch.len() == 2 && same(&batch, 0, &row) && same(&batch, 1, &row));
    }

    #[test]
    fn random_bytes_never_panic_and_never_leave_uneven_columns(datums in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..30)) {
        let registry = registry();
        for id in [1, 1001, 1003, 1004, 9000] {
            let (results, batch) = decode(&registry, id, &datums);
            let good = results.iter().filter(|result| result.is_ok()).count();
            prop_assert_eq!(batch.map_or(0, |batch| batch.len()), good);
        }
    }

    #[test]
    fn what_we_accept_apache_avro_accepts_too(datum in proptest::collection::vec(any::<u8>(), 0..60)) {
        let registry = registry();
        let (results, _) = decode(&registry, 9000, std::slice::from_ref(&datum));
        if results[0].is_ok() {
            let schema = Schema::parse_str(TRY).unwrap();
            let mut rest = datum.as_slice();
            let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap();
            prop_assert!(reader.read_value(&mut rest).is_ok());
            prop_assert!(rest.is_empty());
        }
    }
}

#[test]
fn a_record_without_a_robot_is_unroutable() {
    let registry = registry();
    let row = Row {
        robot: String::new(),
        time: 0,
        patient: None,
        speed: None,
        count: 0,
        on: false,
        mode: 0,
        joints: vec![],
        tail: String::new(),
    };
    let (results, batch) = decode(&registry, 9000, &[encode(&row)]);
    assert_eq!(results, [Err(DecodeError::Unroutable { what: "robot_id" })]);
    assert!(batch.is_none());
}

#[test]
fn a_name_longer_than_a_key_may_be_costs_its_own_record_only() {
    let registry = registry();
    let named = |robot: String| {
        encode(&Row {
            robot,
            time: 0,
            patient: None,
            speed: None,
            count: 0,
            on: false,
            mode: 0,
            joints: vec![],
            tail: String::new(),
        })
    };
    let (results, batch) = decode(
        &registry,
        9000,
        &[
            named("r".repeat(ID_BYTES_MAX)),
            named("r".repeat(ID_BYTES_MAX + 1)),
            named("r".to_owned()),
        ],
    );
    assert_eq!(
        results,
        [
            Ok(()),
            Err(DecodeError::NameTooLong {
                what: "robot_id",
                bytes: ID_BYTES_MAX + 1
            }),
            Ok(())
        ]
    );
    assert_eq!(batch.unwrap().robot_id(1), "r");
}

/// Columns that are times of all kinds.
const TIMES: &str = r#"{"type":"record","name":"Times","fields":[
  {"name":"robot_id","type":"string"},
  {"name":"event_time","type":"long"},
  {"name":"micros","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
  {"name":"millis","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"day","type":{"type":"int","logicalType":"date"}},
  {"name":"count","type":"long"}]}"#;

#[derive(Debug, Clone, Copy)]
struct Times {
    event_time: i64,
    micros: Option<i64>,
    millis: i64,
    day: i32,
}

impl Times {
    fn encode(self) -> Vec<u8> {
        let schema = Schema::parse_str(TIMES).unwrap();
        let micros = self
            .micros
            .map_or(Value::Union(0, Box::new(Value::Null)), |micros| {
                Value::Union(1, Box::new(Value::TimestampMicros(micros)))
            });
        let record = Value::Record(vec![
            ("robot_id".into(), Value::String("r".into())),
            ("event_time".into(), Value::Long(self.event_time)),
            ("micros".into(), micros),
            ("millis".into(), Value::TimestampMillis(self.millis)),
            ("day".into(), Value::Date(self.day)),
            ("count".into(), Value::Long(i64::MIN)),
        ]);
        apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
            .build()
            .unwrap()
            .write_value_to_vec(record)
            .unwrap()
    }
}

/// Decodes with an event time that counts `unit`.
fn decode_times(unit: TimeUnit, rows: &[Times]) -> (Vec<Result<(), DecodeError>>, Option<Batch>) {
    let paths = FieldPaths {
        event_time_unit: Some(unit),
        ..FieldPaths::default()
    };
    let declaration = Declaration {
        dataset: "times".to_owned(),
        kind: DatasetKind::Telemetry,
        paths,
    };
    let dataset = Arc::new(declaration.dataset(TIMES).unwrap());
    let plan = DecodePlan::compile(TIMES, &dataset).unwrap();
    let mut builder = BatchBuilder::new(dataset, 0, Arc::new(Pseudonyms::new([7; 32])));
    let results = rows
        .iter()
        .enumerate()
        .map(|(offset, row)| builder.push(&plan, &row.encode(), offset as u64, 0))
        .collect();
    (results, builder.finish())
}

#[test]
fn times_and_dates_beyond_four_digit_years_cost_their_own_record_only() {
    let (first, last) = TIMESTAMP_RANGE.into_inner();
    let (first_day, last_day) = DATE_RANGE.into_inner();
    let plain = Times {
        event_time: 0,
        micros: None,
        millis: 0,
        day: 0,
    };
    let lowest = Times {
        event_time: first,
        micros: Some(first),
        millis: first / 1000,
        day: first_day as i32,
    };
    let highest = Times {
        event_time: last,
        micros: Some(last),
        millis: last / 1000,
        day: last_day as i32,
    };
    let bad = [
        (
            "event_time",
            "microseconds",
            first - 1,
            Times {
                event_time: first - 1,
                ..plain
            },
        ),
        (
            "event_time",
            "microseconds",
            i64::MAX,
            Times {
                event_time: i64::MAX,
                ..plain
            },
        ),
        (
            "micros",
            "microseconds",
            -300_000_000_000_000_000,
            Times {
                micros: Some(-300_000_000_000_000_000),
                ..plain
            },
        ),
        (
            "micros",
            "microseconds",
            last + 1,
            Times {
                micros: Some(last + 1),
                ..plain
            },
        ),
        (
            "millis",
            "milliseconds",
            last / 1000 + 1,
            Times {
                millis: last / 1000 + 1,
                ..plain
            },
        ),
        (
            "millis",
            "milliseconds",
            i64::MIN,
            Times {
                millis: i64::MIN,
                ..plain
            },
        ),
        (
            "day",
            "days",
            first_day - 1,
            Times {
                day: first_day as i32 - 1,
                ..plain
            },
        ),
        (
            "day",
            "days",
            i64::from(i32::MAX),
            Times {
                day: i32::MAX,
                ..plain
            },
        ),
    ];
    let mut rows = vec![lowest];
    rows.extend(bad.iter().map(|(.., row)| *row));
    rows.push(highest);
    let (results, batch) = decode_times(TimeUnit::Micros, &rows);
    assert!(
        results[0].is_ok() && results[rows.len() - 1].is_ok(),
        "{results:?}"
    );
    for ((column, unit, value, _), result) in bad.iter().zip(&results[1..]) {
        assert_eq!(
            result,
            &Err(DecodeError::OutOfRange {
                column: (*column).to_owned(),
                value: *value,
                unit
            })
        );
    }
    let batch = batch.unwrap();
    assert_eq!(
        (batch.len(), batch.event_times()),
        (2, [first, last].as_slice())
    );
    assert_eq!(
        batch.int(batch.dataset.column("count").unwrap(), 1),
        Some(i64::MIN),
        "a number that is no time is any number"
    );
    let why = results[3].as_ref().unwrap_err().to_string();
    assert_eq!(
        why,
        "column 'micros' is -300000000000000000 microseconds from 1970-01-01: only the years 0001 to 9999 are taken"
    );
}

#[test]
fn event_times_in_other_units_have_the_same_range() {
    let plain = Times {
        event_time: 0,
        micros: None,
        millis: 0,
        day: 0,
    };
    let with = |event_time: i64| Times {
        event_time,
        ..plain
    };
    let last = *TIMESTAMP_RANGE.end();
    let (results, batch) = decode_times(
        TimeUnit::Seconds,
        &[
            with(last / 1_000_000),
            with(last / 1_000_000 + 1),
            with(i64::MIN),
            with(0),
        ],
    );
    let refused = |value: i64| {
        Err(DecodeError::OutOfRange {
            column: "event_time".to_owned(),
            value,
            unit: "seconds",
        })
    };
    assert_eq!(
        results,
        [
            Ok(()),
            refused(last / 1_000_000 + 1),
            refused(i64::MIN),
            Ok(())
        ]
    );
    assert_eq!(
        batch.unwrap().event_times(),
        [last / 1_000_000 * 1_000_000, 0]
    );
    // As many nanoseconds as there can be are the years 1677 to 2262.
    let (results, _) = decode_times(TimeUnit::Nanos, &[with(i64::MIN), with(i64::MAX)]);
    assert_eq!(results, [Ok(()), Ok(())]);
}

const DOUBLES: &str = r#"{"type":"record","name":"Doubles","fields":[
  {"name":"robot_id","type":"string"},
  {"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
  {"name":"one","type":"double"},
  {"name":"two","type":"double"},
  {"name":"tail","type":"string"}]}"#;

#[test]
fn signals_read_at_once_are_what_was_written_and_a_bad_record_leaves_none_of_its_own() {
    let declaration = Declaration {
        dataset: "doubles".to_owned(),
        kind: DatasetKind::Telemetry,
        paths: FieldPaths::default(),
    };
    let dataset = Arc::new(declaration.dataset(DOUBLES).unwrap());
    let plan = DecodePlan::compile(DOUBLES, &dataset).unwrap();
    assert!(plan.has_row);
    let parted = DOUBLES.replace(
        r#"{"name":"two","type":"double"},
  {"name":"tail","type":"string"}"#,
        r#"{"name":"tail","type":"string"},
  {"name":"two","type":"double"}"#,
    );
    let parted_plan = DecodePlan::compile(&parted, &dataset).unwrap();
    assert!(!parted_plan.has_row);
    let write = |json: &str, one: f64, two: f64, tail: &[u8]| {
        let mut fields = vec![("one", one.to_le_bytes().to_vec())];
        let text = [&[tail.len() as u8 * 2], tail].concat();
        fields.push(("two", two.to_le_bytes().to_vec()));
        fields.push(("tail", text));
        fields.sort_by_key(|(name, _)| json.find(&format!(r#""{name}""#)));
        let mut datum = vec![2, b'r', 0];
        datum.extend(fields.into_iter().flat_map(|(_, bytes)| bytes));
        datum
    };
    let mut builder = BatchBuilder::new(dataset, 0, Arc::new(Pseudonyms::new([7; 32])));
    let malformed = Err(DecodeError::Malformed {
        at: 22,
        what: "a string is not valid UTF-8",
    });
    let cut = write(DOUBLES, f64::NAN, 0.0, "é".as_bytes());
    for (plan, datum, result) in [
        (&plan, write(DOUBLES, 1.0, -0.0, b"a"), Ok(())),
        (
            &plan,
            cut[..15].to_vec(),
            Err(DecodeError::Truncated { at: 15 }),
        ),
        (
            &plan,
            cut[..21].to_vec(),
            Err(DecodeError::Truncated { at: 21 }),
        ),
        (
            &plan,
            write(DOUBLES, f64::NAN, 0.0, &[0xc3, 0x28]),
            malformed,
        ),
        (&plan, cut, Ok(())),
        (
            &parted_plan,
            write(&parted, 2.0, 3.0, "ü".as_bytes()),
            Ok(()),
        ),
        (&plan, write(DOUBLES, 4.0, f64::INFINITY, b""), Ok(())),
    ] {
        assert_eq!(builder.push(plan, &datum, 0, 0), result);
    }
    let batch = builder.finish().unwrap();
    let bits = |values: &[f64]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    let expected = [1.0, -0.0, f64::NAN, 0.0, 2.0, 3.0, 4.0, f64::INFINITY];
    assert_eq!(bits(batch.signals.values()), bits(&expected));
    assert_eq!(
        [0, 1].map(|signal| batch.signals.is_whole(signal)),
        [false, false]
    );
    let tail = batch.dataset.column("tail").unwrap();
    let tails: Vec<_> = (0..4).map(|row| batch.text(tail, row).unwrap()).collect();
    assert_eq!(tails, ["a", "é", "ü", ""]);
    // What was taken back does not show.
    assert!(
        builder
            .push(&plan, &write(DOUBLES, f64::NAN, 0.0, &[0xff]), 0, 0)
            .is_err()
    );
    assert!(
        builder
            .push(&plan, &write(DOUBLES, 1.0, 2.0, b""), 0, 0)
            .is_ok()
    );
    let batch = builder.finish().unwrap();
    assert_eq!(bits(batch.signals.values()), bits(&[1.0, 2.0]));
    assert_eq!(
        [0, 1].map(|signal| batch.signals.is_whole(signal)),
        [true, true]
    );
}

#[test]
fn an_array_longer_than_declared_is_refused() {
    let registry = registry();
    let row = Row {
        robot: "r".into(),
        time: 0,
        patient: None,
        speed: None,
        count: 0,
        on: false,
        mode: 0,
        joints: vec![0.0; 4],
        tail: String::new(),
    };
    let (results, _) = decode(&registry, 9000, &[encode(&row)]);
    assert!(
        matches!(results[0], Err(DecodeError::Malformed { .. })),
        "{results:?}"
    );
}

#[test]
fn an_older_writer_is_read_by_the_newer_reader_with_nulls_for_what_it_lacks() {
    let mut registry = registry();
    let newer = TRY
        .replace("9000", "9001")
        .replace(r#""kind":"telemetry""#, r#""kind":"telemetry","version":2"#)
        .replace(r#"{"name":"tail","type":"string"}]"#, r#"{"name":"tail","type":"string"},{"name":"extra","type":["null","double"],"default":null}]"#);
    registry.add(&newer).unwrap();
    let row = Row {
        robot: "r".into(),
        time: 1,
        patient: None,
        speed: Some(2.0),
        count: 3,
        on: true,
        mode: 1,
        joints: vec![1.0],
        tail: "t".into(),
    };
    let (results, batch) = decode(&registry, 9000, &[encode(&row)]);
    assert_eq!(results, [Ok(())]);
    let batch = batch.unwrap();
    assert!(same(&batch, 0, &row));
    assert_eq!(
        batch.number(batch.dataset.column("extra").unwrap(), 0),
        None
    );
}

#[test]
fn signals_are_the_numeric_leaves_without_a_part() {
    let registry = registry();
    let (_, dataset) = registry.datasets().find("try").unwrap();
    let names: Vec<&str> = dataset
        .signals
        .iter()
        .map(|signal| signal.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "speed",
            "count",
            "on",
            "joints[0].current",
            "joints[1].current",
            "joints[2].current"
        ]
    );
}

#[test]
fn numbers_are_seen_as_floats_and_missing_ones_stay_missing() {
    let registry = registry();
    let row = Row {
        robot: "r".into(),
        time: 1,
        patient: None,
        speed: None,
        count: 3,
        on: true,
        mode: 1,
        joints: vec![],
        tail: "t".into(),
    };
    let (_, batch) = decode(&registry, 9000, &[encode(&row)]);
    let batch = batch.unwrap();
    let speed = batch.dataset.signal("speed").unwrap();
    assert!(batch.signals.is_missing(0, speed));
    let on = batch.dataset.signal("on").unwrap();
    assert_eq!(batch.signals.value(0, on), 1.0);
    let column = batch
        .column(batch.dataset.column("speed").unwrap())
        .as_primitive::<Float64Type>();
    assert_eq!(column.null_count(), 1);
}

#[test]
fn what_has_no_flat_form_is_refused_by_name() {
    for (bad, field) in [
        (r#"{"name":"m","type":{"type":"map","values":"int"}}"#, "m"),
        (r#"{"name":"u","type":["int","string"]}"#, "u"),
        (r#"{"name":"a","type":{"type":"array","items":"int"}}"#, "a"),
    ] {
        let schema = TRY.replace(r#"{"name":"tail","type":"string"}"#, bad);
        let error = Registry::builtin().add(&schema).unwrap_err().to_string();
        assert!(error.contains(&format!("'{field}'")), "{error}");
    }
}

#[test]
fn every_shipped_schema_is_documented_field_by_field() {
    fn check(path: &str, schema: &serde_json::Value) {
        for field in schema["fields"].as_array().into_iter().flatten() {
            let name = format!("{path}.{}", field["name"]);
            assert!(field["doc"].is_string(), "{name} has no doc");
            let mut inner = &field["type"];
            while inner.is_object() {
                check(&name, inner);
                inner = if inner["items"].is_null() {
                    &inner["type"]
                } else {
                    &inner["items"]
                };
            }
        }
    }
    for (subject, json) in INPUT_SCHEMAS {
        check(subject, &serde_json::from_str(json).unwrap());
    }
}
