//! The UR3 recording, end to end on the real binary, against a recomputation from the CSV.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use theatre_actors::outputs::OutputKind;
use theatre_actors::window::{SignalAggregate, WindowRow, merge_revisions};
use theatre_embedded::data_dir::DataDir;
use theatre_tests::{outputs, repository, run};

const REPLAY: [&str; 5] = [
    "replay",
    "tests/data/ur3/ur3_cobotops.csv",
    "--mapping",
    "tests/data/ur3/mapping.toml",
    "--quiet",
];
const ROWS: usize = 7409;

/// Time in microseconds, and the value of a column where it is there.
fn column(name: &str) -> Result<Vec<(i64, Option<f64>)>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b';')
        .from_path(repository().join("tests/data/ur3/ur3_cobotops.csv"))?;
    let at = reader
        .headers()?
        .iter()
        .position(|header| header.trim() == name)
        .context("column")?;
    let mut values = Vec::new();
    for row in reader.records() {
        let row = row?;
        let time: jiff::Timestamp = row[1].parse()?;
        values.push((
            time.as_microsecond(),
            row[at].trim().replace(',', ".").parse().ok(),
        ));
    }
    Ok(values)
}

fn windows(data: &Path, window: &str) -> Result<BTreeMap<i64, WindowRow>> {
    let mut by_start: BTreeMap<i64, Vec<WindowRow>> = BTreeMap::new();
    for stored in outputs(data, OutputKind::Window)?
        .into_iter()
        .filter(|stored| stored.output.subject == format!("ur3_cobotops/{window}"))
    {
        let row = WindowRow::decode(&stored.output.payload)?;
        by_start.entry(row.start_us).or_default().push(row);
    }
    Ok(by_start
        .into_iter()
        .filter_map(|(start, rows)| Some((start, merge_revisions(&rows)?)))
        .collect())
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-9 * right.abs().max(f64::MIN_POSITIVE)
}

#[test]
fn windows_equal_a_recomputation_from_the_file_and_the_lake_holds_every_row_once() -> Result<()> {
    let data = tempfile::tempdir()?;
    run(data.path(), &REPLAY)?;
    let schema = std::fs::read_to_string(repository().join("tests/data/ur3/ur3.avsc"))?;
    let dataset = theatre_schemas::dataset::Dataset::from_schema(&schema)?;
    for (window, size) in [("10s", 10_000_000_i64), ("60s", 60_000_000)] {
        let stored = windows(data.path(), window)?;
        for (signal, name) in [
            ("current_j0", "Current_J0"),
            ("temperature_j5", "Temperature_J5"),
            ("speed_j3", "Speed_J3"),
            ("tool_current", "Tool_current"),
        ] {
            let index = dataset.signal(signal).context("signal")?;
            let mut expected: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for (time, value) in column(name)? {
                expected
                    .entry(time.div_euclid(size) * size)
                    .or_default()
                    .extend(value);
            }
            ensure!(
                stored.keys().eq(expected.keys()),
                "{window}: other windows than the file has"
            );
            for (start, values) in expected {
                let got = &stored[&start].signals[index];
                ensure!(
                    got.count == values.len() as u64,
                    "{window} {name} {start}: {} values, the file has {}",
                    got.count,
                    values.len()
                );
                if values.is_empty() {
                    continue;
                }
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let (min, max) = values
                    .iter()
                    .fold((f64::MAX, f64::MIN), |(min, max), value| {
                        (min.min(*value), max.max(*value))
                    });
                ensure!(
                    near(got.mean, mean) && near(got.min, min) && near(got.max, max),
                    "{window} {name} {start}: {got:?} is not mean {mean} min {min} max {max}"
                );
            }
        }
    }
    let lake = run(data.path(), &["--output", "json", "lake", "list"])?;
    let files: Vec<serde_json::Value> = serde_json::from_slice(&lake.stdout)?;
    let rows: u64 = files
        .iter()
        .filter(|file| {
            file["path"]
                .as_str()
                .is_some_and(|path| path.starts_with("data/ur3_cobotops/"))
        })
        .filter_map(|file| file["rows"].as_u64())
        .sum();
    ensure!(rows == ROWS as u64, "{rows} lake rows");
    independent_reader(data.path())?;
    run(data.path(), &["reconcile"])?;
    Ok(())
}

/// Reads the lake with another implementation of Parquet: DuckDB, which the test command installs.
fn independent_reader(data: &Path) -> Result<()> {
    let python = std::env::var("THEATRE_PYTHON")
        .context("THEATRE_PYTHON names no interpreter with duckdb: run the tests with tests/run")?;
    let glob = DataDir::new(data)
        .lake()
        .join("data/ur3_cobotops/**/*.parquet");
    let query = "SELECT count(*), count(DISTINCT _offset), count(current_j0), sum(current_j0) FROM read_parquet('{}')";
    let script = format!(
        "import duckdb; print(*duckdb.sql(\"{}\").fetchall()[0])",
        query.replace("{}", &glob.to_string_lossy())
    );
    let output = std::process::Command::new(python)
        .args(["-c", &script])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    let values: Vec<f64> = column("Current_J0")?
        .into_iter()
        .filter_map(|(_, value)| value)
        .collect();
    ensure!(
        numbers[..3] == [ROWS as f64, ROWS as f64, values.len() as f64],
        "{text}"
    );
    ensure!(
        (numbers[3] - values.iter().sum::<f64>()).abs() < 1e-6,
        "{text}"
    );
    Ok(())
}

/// The recording's lines, those within 20 s of each other in another order.
fn shuffled() -> Result<String> {
    let text = std::fs::read_to_string(repository().join("tests/data/ur3/ur3_cobotops.csv"))?;
    let mut lines = text.lines();
    let heading = lines.next().context("heading")?;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut shuffled = vec![heading.to_owned()];
    let mut near: Vec<(i64, &str)> = Vec::new();
    for line in lines {
        let time: jiff::Timestamp = line.split(';').nth(1).context("time")?.parse()?;
        if near
            .first()
            .is_some_and(|(first, _)| time.as_microsecond() - first > 20_000_000)
        {
            near.shuffle(&mut random);
            shuffled.extend(near.drain(..).map(|(_, line)| line.to_owned()));
        }
        near.push((time.as_microsecond(), line));
    }
    near.shuffle(&mut random);
    shuffled.extend(near.into_iter().map(|(_, line)| line.to_owned()));
    ensure!(
        !text.lines().eq(shuffled.iter().map(String::as_str)),
        "nothing was shuffled"
    );
    Ok(shuffled.join("\n") + "\n")
}

#[test]
fn rows_shuffled_within_the_reorder_bound_give_the_same_windows() -> Result<()> {
    let (ordered, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    run(ordered.path(), &REPLAY)?;
    let file = other.path().join("shuffled.csv");
    std::fs::write(&file, shuffled()?)?;
    run(
        other.path(),
        &[
            "replay",
            &file.to_string_lossy(),
            "--mapping",
            REPLAY[3],
            "--quiet",
        ],
    )?;
    for window in ["10s", "60s", "5m-every-1m"] {
        let (expected, got) = (
            windows(ordered.path(), window)?,
            windows(other.path(), window)?,
        );
        ensure!(
            expected.len() > 100 && expected.keys().eq(got.keys()),
            "{window}: {} windows, {} when shuffled",
            expected.len(),
            got.len()
        );
        for (start, row) in &expected {
            let same = &got[start];
            ensure!(
                same.revision == 0 && same.rows == row.rows,
                "{window} {start}: {} rows, revision {}",
                same.rows,
                same.revision
            );
            for (left, right) in row.signals.iter().zip(&same.signals) {
                let exact = |signal: &SignalAggregate| {
                    (
                        signal.count,
                        [signal.min, signal.max, signal.first, signal.last].map(f64::to_bits),
                    )
                };
                ensure!(
                    exact(left) == exact(right),
                    "{window} {start}: {left:?} is not {right:?}"
                );
                ensure!(
                    left.count == 0
                        || near(left.mean, right.mean)
                        || (left.mean - right.mean).abs() < 1e-12,
                    "{window} {start}: {left:?} is not {right:?}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_second_replay_of_the_same_file_changes_nothing_but_the_duplicate_counter() -> Result<()> {
    let data = tempfile::tempdir()?;
    let tables = ["ur3_cobotops", "maintenance_alerts"];
    run(data.path(), &REPLAY)?;
    let first = theatre_tests::ending(data.path(), &tables)?;
    run(data.path(), &REPLAY)?;
    let second = theatre_tests::ending(data.path(), &tables)?;
    ensure!(
        first.outputs == second.outputs
            && first.published == second.published
            && first.warehouse == second.warehouse
            && first.dead == second.dead
    );
    ensure!(
        second.counters[0].applied == ROWS as u64 && second.counters[0].duplicate == ROWS as u64,
        "{:?}",
        second.counters
    );
    run(data.path(), &["reconcile"])?;
    Ok(())
}

#[test]
fn another_robot_model_is_one_schema_file_and_one_line_of_configuration() -> Result<()> {
    let data = tempfile::tempdir()?;
    let other = tempfile::tempdir()?;
    let schema = r#"{"type":"record","name":"Arm","theatre":{"id":3001,"dataset":"arm_x","kind":"telemetry"},"fields":[
        {"name":"robot_id","type":"string"},{"name":"event_time","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"axes","type":{"type":"array","length":2,"items":{"type":"record","name":"Axis","fields":[{"name":"torque","type":"float"}]}}}]}"#;
    std::fs::write(other.path().join("arm.avsc"), schema)?;
    std::fs::write(
        other.path().join("theatre.toml"),
        "schemas = [\"arm.avsc\"]\nexport_age = \"1s\"\n",
    )?;
    let config = other.path().join("theatre.toml");
    let dir = DataDir::new(data.path());
    dir.create()?;
    let log = theatre_embedded::log::EmbeddedLog::open(
        &dir.log(),
        std::sync::Arc::new(theatre_system::clock::SystemClock),
    )?;
    let topics = theatre_config::INPUT_TOPICS.map(str::to_owned);
    theatre_actors::ports::EventLog::ensure_topics(&log, &topics, 4)?;
    let writer = theatre_schemas::records::RecordWriter::new(3001, schema)?;
    use apache_avro::types::Value;
    for tick in 0..600_i64 {
        let axis = |torque: f32| Value::Record(vec![("torque".to_owned(), Value::Float(torque))]);
        let record = Value::Record(vec![
            ("robot_id".to_owned(), Value::String("arm-7".to_owned())),
            (
                "event_time".to_owned(),
                Value::TimestampMillis(1_700_000_000_000 + tick * 1000),
            ),
            (
                "axes".to_owned(),
                Value::Array(vec![axis(tick as f32), axis(-1.0)]),
            ),
        ]);
        let record = theatre_actors::ports::NewRecord {
            key: b"arm-7".to_vec(),
            value: writer.encode(record)?,
            headers: Vec::new(),
        };
        theatre_actors::ports::EventLog::append(
            &log,
            &topics[0],
            theatre_actors::partitioner::partition_of(b"arm-7", 4),
            &[record],
        )?;
    }
    run(
        data.path(),
        &[
            "--config",
            config.to_str().context("path")?,
            "run",
            "--until-drained",
        ],
    )?;
    let query = "SELECT count(*), max(axes_0_torque), min(axes_1_torque) FROM arm_x";
    let rows = run(
        data.path(),
        &["--output", "json", "warehouse", "query", query],
    )?;
    let rows: serde_json::Value = serde_json::from_slice(&rows.stdout)?;
    ensure!(
        rows[0]["count(*)"] == 600
            && rows[0]["max(axes_0_torque)"] == 599.0
            && rows[0]["min(axes_1_torque)"] == -1.0,
        "{rows}"
    );
    let windows = outputs(data.path(), OutputKind::Window)?;
    ensure!(
        windows
            .iter()
            .any(|stored| stored.output.subject == "arm_x/10s")
    );
    run(data.path(), &["reconcile"])?;
    Ok(())
}
