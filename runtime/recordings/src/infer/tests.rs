use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use theatre_actors::rules::RuleSet;
use theatre_config::Config;
use theatre_schemas::dataset::{Dataset, Datasets};

use super::Inferred;
use crate::look::{Hints, look};
use crate::mapping::Mapping;
use crate::rows::{Plan, Rows};

fn never(_: u32) -> bool {
    false
}

/// Infers the files of `text` and reads it with them: rows, refusals, and what was inferred.
fn round(name: &str, text: impl AsRef<[u8]>) -> (u64, u64, Inferred) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    let file = file.to_string_lossy().into_owned();
    let looked = look(&file, &Hints::default()).unwrap();
    assert_eq!(looked.unclear, [""; 0]);
    let inferred = Inferred::of(&looked, &never);
    let [schema, mapping, rules] = inferred.write(folder.path(), false).unwrap();
    assert!(
        inferred
            .write(folder.path(), false)
            .unwrap_err()
            .to_string()
            .contains("--force")
    );
    inferred.write(folder.path(), true).unwrap();

    let json = std::fs::read_to_string(&schema).unwrap();
    let dataset = Dataset::from_schema(&json).unwrap();
    let loaded = Mapping::load(&mapping).unwrap();
    assert_eq!(loaded.schema, schema);
    assert_eq!(loaded.rules.as_deref(), Some(rules.as_path()));
    let mut wanted = looked.mapping.clone();
    wanted.schema.clone_from(&loaded.schema);
    wanted.rules.clone_from(&loaded.rules);
    assert_eq!(loaded, wanted);
    rules_compile(&rules, dataset);

    let plan = Arc::new(Plan::new(loaded).unwrap());
    let mut rows = Rows::open(&plan, &file).unwrap();
    let (mut good, mut refused) = (0, 0);
    while let Some(row) = rows.next_row().unwrap() {
        match row {
            Ok(_) => good += 1,
            Err(_) => refused += 1,
        }
    }
    (good, refused, inferred)
}

fn rules_compile(path: &Path, dataset: Dataset) {
    let config = Config {
        rules: Some(path.to_path_buf().into()),
        ..Config::default()
    };
    let mut datasets = Datasets::default();
    datasets.insert(Arc::new(dataset));
    RuleSet::compile(&config.rule_specs().unwrap(), &datasets).unwrap();
}

#[test]
fn rules_are_taken_of_a_file_whose_dates_are_centuries_apart() {
    let text = "time,v\n2026-01-31T08:00:00Z,1\n2575-01-31T08:00:00Z,2\n";
    let (good, refused, inferred) = round("apart.csv", text);
    assert_eq!((good, refused), (2, 0));
    assert!(
        inferred.rules.1.contains("after = \"315360000000ms\""),
        "{}",
        inferred.rules.1
    );
}

fn table(rows: usize) -> String {
    let mut text = String::from("Time;Force [N];robot\\stop;\"odd; \"\"name\"\"\"\n");
    for row in 0..rows {
        writeln!(
            text,
            "2026-01-31 08:{:02}:{:02};{},5;{};{}",
            row / 60,
            row % 60,
            if row % 250 == 249 { 500 } else { row % 97 },
            row % 2,
            row
        )
        .unwrap();
    }
    text
}

#[test]
fn what_is_inferred_replays_the_file_at_once() {
    let (good, refused, inferred) = round("cell 4.csv", table(500));
    assert_eq!((good, refused), (500, 0));
    assert!(
        inferred.rules.1.contains("cell_4_force_high"),
        "{}",
        inferred.rules.1
    );
    assert!(inferred.rules.1.contains("GUESS"));
    assert!(
        inferred.mapping.1.contains("# topic = "),
        "{}",
        inferred.mapping.1
    );
    for line in inferred.mapping.1.lines() {
        assert!(line.chars().count() <= 110, "{line}");
    }
    let json = "{\"t\":1769846400.5,\"a\":[1,2],\"s\":\"x\"}\n{\"t\":1769846401.5,\"a\":[3]}\n";
    assert_eq!(round("r.jsonl", json).0, 2);
    assert_eq!(round("1.csv", "t,v\n103.5,1\n103.75,2\n").0, 2);
    assert_eq!(round("r.csv", "1769846400,1.5\n1769846401,2.5\n").0, 2);
}

#[cfg(feature = "mcap")]
#[test]
fn an_mcap_file_is_replayed_by_what_is_inferred_from_it() {
    let mut bytes = Vec::new();
    let mut writer = mcap::Writer::new(std::io::Cursor::new(&mut bytes)).unwrap();
    let channel = writer
        .add_channel(
            0,
            "/joint_states",
            "json",
            &std::collections::BTreeMap::new(),
        )
        .unwrap();
    for number in 0..40 {
        let header = mcap::records::MessageHeader {
            channel_id: channel,
            sequence: number,
            log_time: 1_769_846_400_000_000_000 + u64::from(number) * 10_000_000,
            publish_time: 0,
        };
        let message = format!(
            "{{\"header\":{{\"stamp\":{{\"sec\":1769846400,\"nanosec\":{}}}}},\"name\":[\"elbow\",\"wrist\"],\"position\":[{number}.5,1]}}",
            number * 10_000_000
        );
        writer
            .write_to_known_channel(&header, message.as_bytes())
            .unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    let (good, refused, inferred) = round("bag.mcap", bytes);
    assert_eq!((good, refused), (40, 0));
    let mapping = &inferred.mapping.1;
    assert!(
        mapping.contains("time_column = \"header.stamp\""),
        "{mapping}"
    );
    assert!(
        mapping.contains("position_elbow = \"position[elbow]\""),
        "{mapping}"
    );
    assert!(mapping.contains("a row comes every 0.01 s"), "{mapping}");
}

#[test]
fn a_parquet_file_is_replayed_by_what_is_inferred_from_it() {
    use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampMillisecondArray};
    let times = (0..50).map(|row| 1_769_846_400_000 + row * 100);
    let columns: [(&str, ArrayRef); 2] = [
        (
            "time",
            Arc::new(TimestampMillisecondArray::from_iter_values(times)),
        ),
        (
            "force (N)",
            Arc::new(Float64Array::from_iter_values((0..50).map(f64::from))),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let (good, refused, inferred) = round("r.parquet", bytes);
    assert_eq!((good, refused), (50, 0));
    assert!(inferred.mapping.1.contains("time_zone = \"UTC\""));
}

#[test]
fn an_id_goes_by_the_schema_and_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.csv");
    std::fs::write(&file, table(30)).unwrap();
    let looked = look(&file.to_string_lossy(), &Hints::default()).unwrap();
    let id = |taken: &dyn Fn(u32) -> bool| {
        let text = Inferred::of(&looked, taken).schema.1;
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        schema["theatre"]["id"].as_u64().unwrap()
    };
    let first = id(&never);
    assert_eq!(first, id(&never));
    assert!(first >= 100_000);
    assert_ne!(first, id(&|taken| u64::from(taken) == first));
}
