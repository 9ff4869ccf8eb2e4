//! Bad input on the real binary: each record costs itself only and is accounted for.

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{EventLog, NewRecord};
use theatre_config::INPUT_TOPICS;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::log::EmbeddedLog;
use theatre_schemas::records::RecordWriter;
use theatre_schemas::registry::{INPUT_SCHEMAS, Registry};
use theatre_system::clock::SystemClock;
use theatre_tests::{ending, run};

const NOW: i64 = 1_767_225_600_000_000;

fn sample(
    writer: &RecordWriter,
    robot: &str,
    sequence: i64,
    time: i64,
    temperature: f64,
) -> Result<NewRecord> {
    let registry = Registry::builtin();
    let (_, dataset) = registry
        .datasets()
        .find("fleet_telemetry")
        .context("dataset")?;
    let mut fields = vec![
        ("robot_id".to_owned(), Value::String(robot.to_owned())),
        ("procedure_id".to_owned(), Value::Null),
        ("event_time".to_owned(), Value::TimestampMicros(time)),
        ("sequence".to_owned(), Value::Long(sequence)),
    ];
    for signal in &dataset.signals {
        fields.push((
            signal.name.clone(),
            Value::Double(if signal.name == "motor_temperature" {
                temperature
            } else {
                1.0
            }),
        ));
    }
    Ok(NewRecord {
        key: robot.as_bytes().to_vec(),
        value: writer.encode(Value::Record(fields))?,
        headers: Vec::new(),
    })
}

#[test]
fn hostile_records_stop_nothing_else_and_are_accounted_for() -> Result<()> {
    let data = tempfile::tempdir()?;
    let config = data.path().join("theatre.toml");
    std::fs::write(
        &config,
        "silence_after = \"1d\"\n[panic_on]\nrobot_id = \"bad\"\nsignal = \"motor_temperature\"\nabove = 500.0\n",
    )?;
    let dir = DataDir::new(data.path());
    dir.create()?;
    let log = EmbeddedLog::open(&dir.log(), std::sync::Arc::new(SystemClock))?;
    log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), 4)?;
    let writer = RecordWriter::new(1, INPUT_SCHEMAS[4].1)?;
    let send = |record: NewRecord| -> Result<()> {
        log.append(INPUT_TOPICS[0], partition_of(&record.key, 4), &[record])?;
        Ok(())
    };
    for sequence in 0..50 {
        for robot in ["good", "bad"] {
            let time = NOW + sequence * 1_000_000;
            let poison = robot == "bad" && [10, 11, 30].contains(&sequence);
            let temperature = if poison {
                501.0
            } else if sequence == 20 {
                f64::NAN
            } else {
                40.0
            };
            send(sample(&writer, robot, sequence, time, temperature)?)?;
        }
        if sequence == 25 {
            let good = sample(&writer, "good", 1000, NOW, 1.0)?;
            send(NewRecord {
                value: good.value[..20].to_vec(),
                ..good.clone()
            })?;
            send(NewRecord {
                value: [good.value.as_slice(), &[0]].concat(),
                ..good.clone()
            })?;
            send(NewRecord {
                value: vec![0x41; 10 << 20],
                ..good.clone()
            })?;
            send(NewRecord {
                value: theatre_schemas::framing::frame(4711, &good.value[5..]),
                ..good.clone()
            })?;
            send(NewRecord {
                value: Vec::new(),
                ..good.clone()
            })?;
            // The year 2099.
            send(sample(&writer, "good", 1001, 4_070_908_800_000_000, 1.0)?)?;
            send(sample(&writer, "", 1, NOW, 1.0)?)?;
        }
    }
    run(
        data.path(),
        &[
            "--config",
            &config.to_string_lossy(),
            "run",
            "--until-drained",
        ],
    )?;
    let end = ending(data.path(), &["fleet_telemetry"])?;
    let mut reasons: Vec<&str> = end
        .dead
        .iter()
        .map(|(.., reason)| reason.as_str())
        .collect();
    reasons.sort_unstable();
    let expected = [
        "bad_frame",
        "future",
        "poison",
        "poison",
        "poison",
        "too_large",
        "undecodable",
        "undecodable",
        "unknown_schema",
        "unroutable",
    ];
    ensure!(reasons == expected, "{reasons:?}");
    ensure!(end.counters[0].applied == 97, "{:?}", end.counters);
    // In the lake is what could be decoded: 100 samples and the one from 2099.
    ensure!(
        end.warehouse["fleet_telemetry"].0 == 101,
        "{:?}",
        end.warehouse
    );
    run(data.path(), &["reconcile"])?;
    Ok(())
}

#[test]
fn a_robot_that_is_at_home_in_all_times_fills_one_folder() -> Result<()> {
    let data = tempfile::tempdir()?;
    let dir = DataDir::new(data.path());
    dir.create()?;
    let log = EmbeddedLog::open(&dir.log(), std::sync::Arc::new(SystemClock))?;
    log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), 4)?;
    let writer = RecordWriter::new(1, INPUT_SCHEMAS[4].1)?;
    let day = 86_400_000_000;
    for sequence in 0..500 {
        let record = sample(
            &writer,
            "lost",
            sequence,
            (sequence * 7919) % 20_000 * day,
            1.0,
        )?;
        log.append(INPUT_TOPICS[0], partition_of(&record.key, 4), &[record])?;
    }
    run(data.path(), &["run", "--until-drained"])?;
    let files =
        std::fs::read_dir(dir.lake().join("data/fleet_telemetry/theatre_version=1"))?.count();
    // Midnight may pass while they are appended.
    ensure!((1..=2).contains(&files), "{files} folders");
    ensure!(
        ending(data.path(), &["fleet_telemetry"])?.warehouse["fleet_telemetry"].0 == 500,
        "all are in the warehouse"
    );
    run(data.path(), &["reconcile"])?;
    Ok(())
}

#[test]
fn two_processes_cannot_run_on_one_data_directory() -> Result<()> {
    let data = tempfile::tempdir()?;
    run(data.path(), &["run", "--until-drained"])?;
    let mut first = theatre_tests::spawn(data.path(), &["run"])?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let second = theatre_tests::theatre(data.path(), &["run"])?.output()?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    first.kill()?;
    first.wait()?;
    ensure!(
        second.status.code() == Some(1)
            && said.contains(&first.id().to_string())
            && said.contains("--data"),
        "{said}"
    );
    Ok(())
}
