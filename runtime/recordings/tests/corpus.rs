//! The corpus: one small file for each way that files go wrong, with its mapping and what is right.
//!
//! A case is a folder: `in.*`, `mapping.toml` and `expected.txt`, whose lines that begin with `#`
//! say why. A line of the expectation that ends with `...` is compared up to there.

#![allow(clippy::unwrap_used)] // Of helpers of tests, too.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use theatre_recordings::mapping::Mapping;
use theatre_recordings::rows::{Plan, Row, Rows};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// What comes out of a case, as its expectation is written.
fn outcome(case: &Path) -> String {
    let mapping = Mapping::load(&case.join("mapping.toml")).unwrap();
    let json = fs::read_to_string(&mapping.schema).unwrap();
    let folder = mapping.schema.parent().unwrap().display().to_string() + "/";
    let plan = match Plan::new(mapping) {
        Ok(plan) => Arc::new(plan),
        Err(error) => return format!("mapping: {}\n", error.to_string().replace(&folder, "")),
    };
    let input = fs::read_dir(case)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("in.")
        })
        .unwrap();
    let mut lines: Vec<(u64, usize, String)> = Vec::new();
    let mut rows = match Rows::open(&plan, &input.display().to_string()) {
        Ok(rows) => rows,
        Err(error) => return format!("file: {}\n", error.why),
    };
    let schema = Schema::parse_str(&json).unwrap();
    let mut failed = None;
    loop {
        match rows.next_row() {
            Ok(Some(Ok(row))) => lines.push((row.place.line, 0, shown(&row, &schema))),
            Ok(Some(Err(refusal))) => {
                lines.push((refusal.place.line, 0, format!("refused: {}", refusal.kind)));
            }
            Ok(None) => break,
            Err(error) => {
                failed = Some(error.why);
                break;
            }
        }
    }
    let tally = rows.tally();
    for kind in &tally.bad_cells {
        for example in &kind.examples {
            lines.push((example.place.line, 1, format!("missing: {}", example.kind)));
        }
    }
    lines.sort_by_key(|(line, order, _)| (*line, *order));
    let mut text = String::new();
    for (line, _, what) in lines {
        let _ = writeln!(text, "{line} {what}");
    }
    match failed {
        Some(why) => {
            let _ = writeln!(text, "file: {why}");
        }
        None => {
            let _ = writeln!(text, "left out: {}", tally.left_out);
        }
    }
    text
}

/// A row by its bytes, read as the pipeline reads them.
fn shown(row: &Row, schema: &Schema) -> String {
    let bytes = row.draft.encode(77);
    let reader = GenericDatumReader::builder(schema).build().unwrap();
    let mut datum = &bytes[5..];
    let Value::Record(fields) = reader.read_value(&mut datum).unwrap() else {
        panic!("a record was written");
    };
    assert!(datum.is_empty(), "the record was read to its end");
    let mut text = format!(
        "{} {}",
        row.robot_id,
        jiff::Timestamp::from_microsecond(row.event_time).unwrap()
    );
    for (name, value) in fields {
        let value = match value {
            Value::Union(_, value) => *value,
            value => value,
        };
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("robot_id", value) => assert_eq!(value, Value::String(row.robot_id.clone())),
            ("event_time", Value::TimestampMicros(time)) => assert_eq!(time, row.event_time),
            ("event_time", Value::TimestampMillis(time)) => {
                assert_eq!(time, row.event_time.div_euclid(1000));
            }
            ("sequence", value) => assert_eq!(value, Value::Long(77)),
            (_, Value::Double(number)) => write!(text, " {name}={number}").unwrap(),
            (_, Value::Long(number)) => write!(text, " {name}={number}").unwrap(),
            (_, Value::Boolean(flag)) => write!(text, " {name}={flag}").unwrap(),
            (_, Value::String(value)) => {
                write!(text, " {name}={}", value.replace('\n', "\\n")).unwrap();
            }
            (name, value) => panic!("{name}: {value:?}"),
        }
    }
    if let Some(counter) = row.counter {
        write!(text, " #{counter}").unwrap();
    }
    text
}

/// Whether what came out is what was expected.
fn agrees(outcome: &str, expected: &str) -> bool {
    let expected: Vec<&str> = expected
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let came: Vec<&str> = outcome.lines().collect();
    came.len() == expected.len()
        && came
            .iter()
            .zip(&expected)
            .all(|(came, expected)| match expected.strip_suffix("...") {
                Some(begins) => came.starts_with(begins),
                None => came == expected,
            })
}

#[test]
fn every_file_of_the_corpus_gives_what_is_right_or_says_why_not() {
    let mut cases: Vec<PathBuf> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(cases.len() >= 120, "{} cases", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        let expected = fs::read_to_string(case.join("expected.txt")).unwrap();
        assert!(expected.starts_with("# "), "{}: says why", case.display());
        let outcome = outcome(case);
        if !agrees(&outcome, &expected) {
            let name = case.file_name().unwrap().to_string_lossy();
            let _ = writeln!(wrong, "--- {name}\n{expected}came:\n{outcome}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A mapping but for the names that its fields have in the schema.
fn without_fields(text: &str) -> toml::Table {
    let mut table: toml::Table = text.parse().unwrap();
    table.remove("schema");
    if let Some(toml::Value::Array(events)) = table.remove("events") {
        table.insert("events".to_owned(), (events.len() as i64).into());
    }
    let Some(toml::Value::Table(columns)) = table.remove("columns") else {
        panic!("no columns");
    };
    let mut columns: Vec<String> = columns.values().map(ToString::to_string).collect();
    columns.sort();
    table.insert("columns".to_owned(), columns.into());
    table
}

#[test]
fn every_documented_layout_is_the_one_that_was_tried() {
    let docs = corpus().join("../../../docs/inputs.md");
    let docs = fs::read_to_string(docs).unwrap();
    let mut tried = 0;
    for part in docs.split("\n### ").skip(1) {
        let Some((_, link)) = part.split_once("runtime/recordings/corpus/") else {
            continue;
        };
        let name = link.split(')').next().unwrap();
        let block = part
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let case = fs::read_to_string(corpus().join(name).join("mapping.toml")).unwrap();
        assert_eq!(
            without_fields(block.unwrap()),
            without_fields(&case),
            "{name}"
        );
        tried += 1;
    }
    let layouts = fs::read_dir(corpus()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("layout_")
    });
    assert_eq!(tried, layouts.count());
}
