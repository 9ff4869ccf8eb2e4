//! Declared inputs and homes, on the real binary.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value;
use theatre_actors::outputs::OutputKind;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{CheckpointStore, EventLog, NewRecord};
use theatre_config::{Config, INPUT_TOPICS};
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::log::EmbeddedLog;
use theatre_embedded::store::EmbeddedStore;
use theatre_schemas::records::RecordWriter;
use theatre_schemas::registry::{INPUT_SCHEMAS, Registry};
use theatre_system::clock::SystemClock;
use theatre_tests::{ending, outputs, run, theatre};

use super::registry::Stand;

const NOW_S: i64 = 1_767_225_600;
const ARM_V1: &str = r#"{"type": "record", "name": "Arm", "fields": [
    {"name": "device", "type": {"type": "record", "name": "Device", "fields": [{"name": "serial", "type": "string"}, {"name": "site", "type": "string"}]}},
    {"name": "ts", "type": "long"}, {"name": "count", "type": "long"}, {"name": "grip", "type": "float"}, {"name": "tilt", "type": ["null", "double"]}]}"#;
/// Of a robot that was updated: other order, a field more, one less.
const ARM_V2: &str = r#"{"type": "record", "name": "Arm", "fields": [
    {"name": "ts", "type": "long"}, {"name": "grip", "type": "float"}, {"name": "laser", "type": "int"}, {"name": "count", "type": "long"},
    {"name": "device", "type": {"type": "record", "name": "Device", "fields": [{"name": "serial", "type": "string"}, {"name": "site", "type": "string"}]}}]}"#;

fn open(data: &Path, topics: &[&str]) -> Result<EmbeddedLog> {
    let dir = DataDir::new(data);
    dir.create()?;
    let log = EmbeddedLog::open(&dir.log(), Arc::new(SystemClock))?;
    log.ensure_topics(
        &topics
            .iter()
            .map(|topic| (*topic).to_owned())
            .collect::<Vec<_>>(),
        4,
    )?;
    Ok(log)
}

fn configure(data: &Path, text: &str) -> Result<PathBuf> {
    let config = data.join("theatre.toml");
    std::fs::write(&config, format!("silence_after = \"1d\"\n{text}"))?;
    Ok(config)
}

fn arm(writer: &RecordWriter, is_new: bool, robot: &str, at: i64) -> Result<NewRecord> {
    let text = |text: &str| Value::String(text.to_owned());
    let mut fields = vec![
        (
            "device".to_owned(),
            Value::Record(vec![
                ("serial".to_owned(), text(robot)),
                ("site".to_owned(), text("east")),
            ]),
        ),
        ("ts".to_owned(), Value::Long(NOW_S + at)),
        ("count".to_owned(), Value::Long(at)),
        ("grip".to_owned(), Value::Float(at as f32)),
    ];
    fields.push(match is_new {
        true => ("laser".to_owned(), Value::Int(3)),
        false => (
            "tilt".to_owned(),
            Value::Union(1, Box::new(Value::Double(0.5))),
        ),
    });
    Ok(NewRecord {
        key: robot.as_bytes().to_vec(),
        value: writer.encode(Value::Record(fields))?,
        headers: Vec::new(),
    })
}

#[test]
fn other_peoples_records_are_consumed_by_declaration_and_a_changed_schema_needs_no_restart()
-> Result<()> {
    let stand = Stand::start()?;
    stand.change(|answers| {
        answers.is_down = true;
        // The same number as a shipped schema: a registry numbers its own.
        answers.schemas.extend([
            ("1".to_owned(), ARM_V1.to_owned()),
            ("2".to_owned(), ARM_V2.to_owned()),
        ]);
    });
    let data = tempfile::tempdir()?;
    std::fs::write(data.path().join("arm.avsc"), ARM_V1)?;
    let config = configure(
        data.path(),
        &format!(
            "[registry]\nurl = \"{}\"\n[[input]]\ntopic = \"lab.arm.telemetry.v1\"\nkind = \"telemetry\"\nschemas = \"registry\"\ndataset = \"lab_arm\"\n\
             schema = \"arm.avsc\"\nrobot_id = \"device.serial\"\nevent_time = \"ts\"\nevent_time_unit = \"seconds\"\nsequence = \"count\"\n",
            stand.url
        ),
    )?;
    let log = open(data.path(), &["lab.arm.telemetry.v1"])?;
    let (old, new) = (RecordWriter::new(1, ARM_V1)?, RecordWriter::new(2, ARM_V2)?);
    for at in 0..60 {
        for robot in ["arm-1", "arm-2"] {
            let is_new = robot == "arm-2" && at >= 30;
            let record = arm(if is_new { &new } else { &old }, is_new, robot, at)?;
            log.append(
                "lab.arm.telemetry.v1",
                partition_of(&record.key, 4),
                &[record],
            )?;
        }
    }
    let unknown = NewRecord {
        key: b"arm-1".to_vec(),
        value: theatre_schemas::framing::frame(3, b"?"),
        headers: Vec::new(),
    };
    log.append(
        "lab.arm.telemetry.v1",
        partition_of(b"arm-1", 4),
        &[unknown],
    )?;
    let config = config.to_string_lossy().into_owned();
    let mut running = theatre(
        data.path(),
        &["--config", &config, "run", "--until-drained"],
    )?
    .spawn()?;
    let begun = Instant::now();
    while stand.asked() < 3 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(
        running.try_wait()?.is_none(),
        "it did not wait for the registry"
    );
    stand.change(|answers| answers.is_down = false);
    ensure!(running.wait()?.success());

    let end = ending(data.path(), &["lab_arm"])?;
    ensure!(end.warehouse["lab_arm"].0 == 120, "{:?}", end.warehouse);
    ensure!(
        end.dead.len() == 1
            && end.dead[0].0 == INPUT_TOPICS.len()
            && end.dead[0].3 == "unknown_schema",
        "{:?}",
        end.dead
    );
    let windows = outputs(data.path(), OutputKind::Window)?;
    ensure!(
        windows
            .iter()
            .any(|stored| stored.output.robot_id == "arm-2"
                && stored.output.event_time == (NOW_S + 10) * 1_000_000),
        "{}",
        windows.len()
    );
    run(data.path(), &["--config", &config, "reconcile"])?;
    Ok(())
}

/// Fleet telemetry as its benchmark lays it down.
fn fleet(robot: &str, sequence: i64, temperature: f64) -> Result<NewRecord> {
    let writer = RecordWriter::new(1, INPUT_SCHEMAS[4].1)?;
    let registry = Registry::builtin();
    let (_, dataset) = registry
        .datasets()
        .find("fleet_telemetry")
        .context("dataset")?;
    let mut fields = vec![
        ("robot_id".to_owned(), Value::String(robot.to_owned())),
        ("procedure_id".to_owned(), Value::Null),
        (
            "event_time".to_owned(),
            Value::TimestampMicros((NOW_S + sequence) * 1_000_000),
        ),
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

const FLEET_TOPIC: &str = "fleet.telemetry.v1";
const FLEET_INPUT: &str = "rules = \"rules.toml\"\n[[input]]\ntopic = \"fleet.telemetry.v1\"\nkind = \"telemetry\"\ndataset = \"fleet_telemetry\"\n";
const HOT: &str = "[[rule]]\nid = \"hot\"\npriority = \"high\"\ndataset = \"fleet_telemetry\"\n\
                   kind = { threshold = { signal = \"motor_temperature\", raise_above = 85.0, clear_below = 80.0 } }\n";

/// A fleet's alerts, when `strays` of each robot's records are in the next partition too.
fn alerts_with(strays: i64) -> Result<Vec<(String, u32, Vec<u8>)>> {
    let data = tempfile::tempdir()?;
    std::fs::write(data.path().join("rules.toml"), HOT)?;
    let config = configure(data.path(), FLEET_INPUT)?;
    let config = config.to_string_lossy().into_owned();
    let log = open(data.path(), &[FLEET_TOPIC])?;
    let robots = ["robot-0001", "robot-0002", "robot-0003"];
    for sequence in 0..40 {
        for robot in robots {
            let record = fleet(
                robot,
                sequence,
                if (10..20).contains(&sequence) {
                    90.0
                } else {
                    40.0
                },
            )?;
            log.append(FLEET_TOPIC, partition_of(&record.key, 4), &[record])?;
        }
    }
    run(
        data.path(),
        &["--config", &config, "run", "--until-drained"],
    )?;
    for sequence in 0..strays {
        for robot in robots {
            let record = fleet(robot, 1000 + sequence, 99.0)?;
            log.append(
                FLEET_TOPIC,
                (partition_of(&record.key, 4) + 1) % 4,
                &[record],
            )?;
            // A record that belongs to no robot, in between.
            if sequence == 3 {
                log.append(
                    FLEET_TOPIC,
                    (partition_of(robot.as_bytes(), 4) + 1) % 4,
                    &[NewRecord {
                        key: vec![],
                        value: vec![9],
                        headers: vec![],
                    }],
                )?;
            }
        }
    }
    // Twice: what was turned away is not reported again.
    for _ in 0..2 {
        run(
            data.path(),
            &["--config", &config, "run", "--until-drained"],
        )?;
    }
    run(data.path(), &["--config", &config, "reconcile"])?;
    let end = ending(data.path(), &["fleet_telemetry"])?;
    let turned_away = end
        .dead
        .iter()
        .filter(|(.., reason)| reason == "wrong_partition")
        .count() as i64;
    ensure!(turned_away == strays * 3, "{:?}", end.dead);
    ensure!(
        end.warehouse["fleet_telemetry"].0 as i64 == 120 + strays * 3,
        "every decodable record is in the lake: {:?}",
        end.warehouse
    );
    let store = EmbeddedStore::open_read_only(&DataDir::new(data.path()).store())?;
    for stored in store
        .find_dead(0)?
        .iter()
        .filter(|stored| stored.dead.robot_id.is_some())
    {
        let columns = String::from_utf8_lossy(&stored.dead.payload);
        ensure!(
            columns.contains("\"motor_temperature\":99.0")
                && stored.dead.detail.contains("at home in partition"),
            "{columns}: {}",
            stored.dead.detail
        );
    }
    let alerts = outputs(data.path(), OutputKind::Alert)?
        .into_iter()
        .map(|stored| stored.output);
    let mut alerts: Vec<_> = alerts
        .map(|output| {
            (
                format!("{} {}", output.robot_id, output.id),
                output.revision,
                output.payload,
            )
        })
        .collect();
    alerts.sort();
    ensure!(
        alerts.len() == 6,
        "raised and cleared, of three robots: {}",
        alerts.len()
    );
    Ok(alerts)
}

#[test]
fn a_robot_written_to_two_partitions_is_heard_in_its_home_only() -> Result<()> {
    let (clean, mixed) = (alerts_with(0)?, alerts_with(5)?);
    ensure!(
        clean
            .iter()
            .zip(&mixed)
            .all(|(left, right)| left.0 == right.0 && left.1 == right.1),
        "{clean:?}\n{mixed:?}"
    );
    Ok(())
}

#[test]
fn a_topic_that_is_there_has_the_first_word_on_how_many_partitions_there_are() -> Result<()> {
    const TOPIC: &str = "acme.arm.telemetry";
    let data = tempfile::tempdir()?;
    std::fs::write(data.path().join("rules.toml"), HOT)?;
    let dir = DataDir::created(data.path())?;
    let log = EmbeddedLog::open(&dir.log(), Arc::new(SystemClock))?;
    log.ensure_topics(&[TOPIC.to_owned()], 12)?;
    for sequence in 0..60 {
        let record = fleet(&format!("robot-{}", sequence % 6), sequence, 40.0)?;
        log.append(TOPIC, partition_of(&record.key, 12), &[record])?;
    }
    let start = |settings: &str| -> Result<std::process::Output> {
        let config = configure(
            data.path(),
            &format!("{settings}{}", FLEET_INPUT.replace(FLEET_TOPIC, TOPIC)),
        )?;
        Ok(theatre(
            data.path(),
            &[
                "--config",
                &config.to_string_lossy(),
                "run",
                "--until-drained",
            ],
        )?
        .output()?)
    };
    let refused = start("")?;
    let why = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success()
            && why.contains(&format!("'{TOPIC}' has 12 partitions"))
            && why.contains("partitions = 12"),
        "{why}"
    );
    ensure!(
        EmbeddedStore::open(&dir.store())?.layout()?.is_none(),
        "another count than the topic's was recorded"
    );
    for topic in INPUT_TOPICS {
        ensure!(log.partitions(topic)?.is_none(), "{topic} was made");
    }
    let started = start("partitions = 12\n")?;
    ensure!(
        started.status.success(),
        "{}",
        String::from_utf8_lossy(&started.stderr)
    );
    // Nor is one more input recorded whose topic has another count: it can be taken out again.
    let second = "acme.leg.telemetry";
    log.ensure_topics(&[second.to_owned()], 4)?;
    let added = format!(
        "partitions = 12\n{}",
        FLEET_INPUT.replace(FLEET_TOPIC, TOPIC)
    ) + &FLEET_INPUT["rules = \"rules.toml\"\n".len()..].replace(FLEET_TOPIC, second);
    let config = configure(data.path(), &added)?;
    let refused = theatre(
        data.path(),
        &[
            "--config",
            &config.to_string_lossy(),
            "run",
            "--until-drained",
        ],
    )?
    .output()?;
    let why = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && why.contains(&format!("'{second}' has 4 partitions")),
        "{why}"
    );
    ensure!(
        start("partitions = 12\n")?.status.success(),
        "what was refused is taken out again"
    );
    let end = ending(data.path(), &["fleet_telemetry"])?;
    ensure!(
        end.warehouse["fleet_telemetry"].0 == 60 && end.dead.is_empty(),
        "{:?} {:?}",
        end.warehouse,
        end.dead
    );
    Ok(())
}

#[test]
fn what_is_wrong_with_a_declaration_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("arm.avsc"), ARM_V1)?;
    let said = |text: &str| -> Result<String> {
        let path = configure(folder.path(), text)?;
        let dir = DataDir::new(folder.path());
        let made = Config::layered(Some(&path), std::iter::empty())
            .and_then(|(config, _)| theatre::adapters::params(&config, &dir, [0; 32]).map(drop));
        Ok(made
            .err()
            .map_or("nothing".to_owned(), |error| error.to_string()))
    };
    let declare = |more: &str| {
        format!(
            "schema_folder = \".\"\n[[input]]\ntopic = \"lab.arm.v1\"\nkind = \"telemetry\"\n{more}\n"
        )
    };
    let cases = [
        (declare("schema = \"arm.avsc\""), "key schema", "robot_id"),
        (
            declare("schema = \"arm.avsc\"\nrobot_id = \"device.name\""),
            "device.name",
            "not in the schema",
        ),
        (
            declare("schema = \"arm.avsc\"\nrobot_id = \"device.serial\"\nevent_time = \"ts\""),
            "ts",
            "event_time_unit",
        ),
        (declare("schema = \"none.avsc\""), "key schema", "none.avsc"),
        (
            declare("schemas = \"registry\""),
            "key schemas",
            "[registry] url",
        ),
        (
            declare("schemas = \"glue\""),
            "key schemas",
            "[glue] region",
        ),
        (
            declare("dataset = \"robot_events\""),
            "key kind",
            "RobotEvents",
        ),
        (
            declare("dataset = \"Fleet-1\""),
            "key dataset",
            "lower-case",
        ),
        (declare("sort = 1"), "theatre.toml", "sort"),
        (
            format!(
                "{0}{0}",
                "[[input]]\ntopic = \"t\"\nkind = \"telemetry\"\ndataset = \"fleet_telemetry\"\n"
            ),
            "key topic",
            "twice",
        ),
    ];
    for (text, place, what) in cases {
        let said = said(&text)?;
        ensure!(
            said.contains(place) && said.contains(what),
            "{text}\nsays: {said}"
        );
    }
    ensure!(
        said(&declare(
            "schema = \"arm.avsc\"\nrobot_id = \"device.serial\"\nevent_time = \"ts\"\nevent_time_unit = \"millis\""
        ))? == "nothing"
    );
    Ok(())
}
