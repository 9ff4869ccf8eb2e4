use std::fs;
use std::path::Path;
use std::sync::Arc;

use apache_avro::types::Value;
use proptest::prelude::*;
use theatre_schemas::records::RecordWriter;

use super::{Plan, Row, Rows, Tally};
use crate::mapping::Mapping;
use crate::records::{Place, Refusal};
use crate::source::Input;

const ROBOT_AND_TIME: &str = r#"{"name": "robot_id", "type": "string"}, {"name": "event_time",
    "type": {"type": "long", "logicalType": "timestamp-micros"}}, {"name": "sequence", "type": "long"}"#;

fn schema(fields: &str) -> String {
    format!(
        r#"{{"type": "record", "name": "S", "namespace": "s.v1", "theatre": {{"id": 77,
            "dataset": "s", "kind": "telemetry", "version": 1}}, "fields": [{ROBOT_AND_TIME}, {fields}]}}"#
    )
}

/// A plan of a schema's further fields and a mapping without its first lines.
fn plan(fields: &str, mapping: &str) -> Result<Arc<Plan>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.avsc");
    fs::write(&path, schema(fields)).unwrap();
    let text = format!("schema = \"s.avsc\"\n{mapping}");
    let mut mapping: Mapping = theatre_config::parse(Path::new("m.toml"), &text).unwrap();
    mapping.schema = path;
    Plan::new(mapping)
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

const PLAIN: &str = "robot_id = \"r1\"\ntime_column = \"time\"\n[columns]\n";

fn rows(plan: &Arc<Plan>, text: &str) -> (Vec<Row>, Tally) {
    let input = Input::of("in.csv", Box::new(std::io::Cursor::new(text.to_owned()))).unwrap();
    let mut reader = Rows::of_input(plan, input).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row().unwrap() {
        rows.extend(row);
    }
    (rows, reader.tally().clone())
}

#[test]
fn the_cobot_of_the_readme_is_read_whole() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/ur3");
    let mapping = Mapping::load(&data.join("mapping.toml")).unwrap();
    let plan = Arc::new(Plan::new(mapping).unwrap());
    let file = data.join("ur3_cobotops.csv").display().to_string();
    let mut reader = Rows::open(&plan, &file).unwrap();
    let mut events = [0, 0];
    while let Some(row) = reader.next_row().unwrap() {
        for (event, is) in row.unwrap().events.iter().enumerate() {
            events[event] += usize::from(*is);
        }
    }
    let tally = reader.tally();
    assert_eq!(
        (tally.rows, tally.refused_lines(), tally.left_out),
        (7409, 0, 1)
    );
    assert_eq!(tally.missing_cells(), 0, "{:?}", tally.bad_cells);
    assert!(events[0] > 0 && events[1] > 0, "{events:?}");
}

#[test]
fn what_does_not_fit_is_known_before_the_first_row_all_of_it_at_once() {
    let fields = r#"{"name": "v", "type": "double"}, {"name": "x", "type": ["null", "double"],
        "default": null}, {"name": "raw", "type": ["null", "bytes"], "default": null}"#;
    let error = plan(
        fields,
        "robot_id = \"r1\"\ntime_column = \"time\"\nevents = [\"x\"]\n[columns]\nx = \"x\"\n\
         raw = \"raw\"\nnone = \"n\"\nevent_time = \"t\"\n",
    )
    .unwrap_err();
    for part in [
        "field 'v' has no default, and no column fills it",
        "events names 'x', which is no boolean field",
        "field 'raw' is nested or of bytes",
        "the schema has no field 'none'; it has robot_id, event_time",
        "field 'event_time' is filled by time_column",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn a_mapping_that_contradicts_itself_is_refused_with_the_key() {
    let field = r#"{"name": "v", "type": ["null", "double"], "default": null}"#;
    let columns = "[columns]\nv = \"v\"\n";
    for (keys, part) in [
        (
            "time_column = \"t\"",
            "exactly one of robot_id, robot_column and robot_from_file",
        ),
        (
            "robot_id = \"a\"\nrobot_column = \"b\"\ntime_column = \"t\"",
            "exactly one of",
        ),
        ("robot_id = \" \"\ntime_column = \"t\"", "robot_id is blank"),
        ("robot_id = \"a\"", "give time_column, or rate"),
        ("robot_id = \"a\"\nrate = \"5Hz\"", "time_start"),
        (
            "robot_id = \"a\"\nrate = \"5\"\ntime_start = \"2026-01-31T08:00:00Z\"",
            "no rate such as",
        ),
        (
            "robot_id = \"a\"\nperiod = \"0s\"\ntime_start = \"2026-01-31T08:00:00Z\"",
            "no time such as",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\nrate = \"5Hz\"",
            "have no use",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\ntime_format = \"epoch\"",
            "is none of rfc3339",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\ntime_format = \"%!\"",
            "time_format",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\ntime_zone = \"Mars/Base\"",
            "IANA",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\ntime_start = \"soon\"",
            "is no time such as",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\nnanos_column = \"n\"",
            "epoch_s",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\ndelimiter = \"\"",
            "the delimiter is empty",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\nquote = \"''\"",
            "quote must be one character",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\nthousands = \".\"",
            "the same sign",
        ),
        (
            "robot_id = \"a\"\ntime_column = \"t\"\nsequence_step = 0",
            "at least 1",
        ),
        (
            "robot_from_file = \"a.csv\"\ntime_column = \"t\"",
            "must have {robot} in it once",
        ),
    ] {
        let error = plan(field, &format!("{keys}\n{columns}")).unwrap_err();
        assert!(error.contains(part), "{keys}: {error}");
    }
}

#[test]
fn content_is_equal_for_equal_values_whatever_the_file_and_the_width() {
    let narrow = r#"{"name": "v", "type": ["null", "long"], "default": null},
        {"name": "n", "type": ["null", "string"], "default": null}"#;
    let wide = r#"{"name": "n", "type": ["null", "string"], "default": null},
        {"name": "v", "type": ["null", "double"], "default": null},
        {"name": "w", "type": ["null", "double"], "default": null}"#;
    let both = format!("{PLAIN}v = \"v\"\nn = \"n\"\n");
    let three = format!("{both}w = \"w\"\n");
    let (first, _) = rows(
        &plan(narrow, &both).unwrap(),
        "time,v,n\n2026-01-31T08:00:00Z,3,a\n2026-01-31T08:00:00Z,3,b\n2026-01-31T08:00:00Z,,a\n",
    );
    let (second, _) = rows(
        &plan(wide, &three).unwrap(),
        "n,w,time,v\na,,2026-01-31T08:00:00Z,3.0\na,1,2026-01-31T08:00:00Z,3.0\n",
    );
    assert_eq!(first[0].content, second[0].content);
    let contents = [&first[0], &first[1], &first[2], &second[1]].map(|row| row.content);
    for (at, content) in contents.iter().enumerate() {
        assert!(
            !contents[..at].contains(content),
            "each says something else"
        );
    }
}

#[test]
fn refusals_of_one_kind_are_counted_with_three_examples_and_kinds_have_a_bound() {
    let mut tally = Tally::default();
    for line in 0..1000 {
        let place = Place {
            file: "a".into(),
            line,
        };
        let kind = if line % 2 == 0 {
            "even".to_owned()
        } else {
            format!("odd {line}")
        };
        tally.refuse(&Refusal::new(place, kind, "x"));
    }
    assert_eq!(tally.refused_lines(), 1000);
    assert_eq!(
        (tally.refused[0].count, tally.refused[0].examples.len()),
        (500, 3)
    );
    assert!(tally.refused.len() <= 201, "{}", tally.refused.len());
    let mut sum = Tally::default();
    sum.add(&tally);
    sum.add(&tally);
    assert_eq!(sum.refused_lines(), 2000);
    assert_eq!(sum.refused[0].count, 1000);
}

const EVERY_TYPE: &str = r#"
    {"name": "flag", "type": "boolean"},
    {"name": "small", "type": "int"},
    {"name": "large", "type": ["long", "null"]},
    {"name": "single", "type": ["null", "float"], "default": null},
    {"name": "double", "type": "double"},
    {"name": "text", "type": ["null", "string"], "default": null},
    {"name": "word", "type": {"type": "enum", "name": "W", "symbols": ["IDLE", "RUN"]}},
    {"name": "other", "type": "int", "default": -5},
    {"name": "list", "type": {"type": "array", "items": "long", "length": 2}, "default": [1, 2]}"#;

proptest! {
    /// Records are written without the general encoder, for speed: the bytes are the same.
    #[test]
    fn bytes_are_those_of_the_general_encoder(
        flag in any::<bool>(), small in any::<i32>(), large in prop::option::of(any::<i64>()),
        single in prop::option::of(-1e30_f32..1e30), double in -1e300..1e300_f64,
        text in prop::option::of("[a-z]{1,40}"), run in any::<bool>(), sequence in any::<i64>(),
    ) {
        let columns = "flag = \"flag\"\nsmall = \"small\"\nlarge = \"large\"\nsingle = \"single\"\n\
                       double = \"double\"\ntext = \"text\"\nword = \"word\"\n";
        let fields = EVERY_TYPE;
        let missing = "missing = []\n";
        let plan = plan(fields, &format!("{missing}{PLAIN}{columns}"));
        let plan = plan.map_err(TestCaseError::fail)?;
        let word = if run { "RUN" } else { "IDLE" };
        let or_blank = |text: Option<String>| text.unwrap_or_default();
        let (rows, tally) = rows(&plan, &format!(
            "time,flag,small,large,single,double,text,word\n\
             2026-01-31T08:00:00Z,{flag},{small},{},{},{double:e},{},{word}\n",
            or_blank(large.map(|number| number.to_string())),
            or_blank(single.map(|number| number.to_string())),
            or_blank(text.clone()),
        ));
        prop_assert_eq!(rows.len(), 1, "{:?}", tally);
        let or_null = |value: Option<Value>| value.unwrap_or(Value::Null);
        let fields_of = [
            ("robot_id", Value::String("r1".to_owned())),
            ("event_time", Value::TimestampMicros(1_769_846_400_000_000)),
            ("sequence", Value::Long(sequence)),
            ("flag", Value::Boolean(flag)),
            ("small", Value::Int(small)),
            ("large", or_null(large.map(Value::Long))),
            ("single", or_null(single.map(Value::Float))),
            ("double", Value::Double(double)),
            ("text", or_null(text.map(Value::String))),
            ("word", Value::String(word.to_owned())),
        ];
        let writer = RecordWriter::new(77, &schema(fields)).unwrap();
        let record = fields_of.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let wanted = writer.encode(Value::Record(record)).unwrap();
        prop_assert_eq!(rows[0].draft.encode(sequence), wanted);
    }
}
