//! Values that a warehouse does not hold, sent by robots, through the real binary into the stand-in
//! over a real PostgreSQL.

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value;
use theatre_actors::ports::{Error, FileStage, NewRecord, Warehouse};
use theatre_config::{INPUT_TOPICS, RECORD_BYTES_MAX};
use theatre_parquet::{BINARY_BYTES_MAX, TEXT_BYTES_MAX};
use theatre_schemas::decode::TIMESTAMP_RANGE;
use theatre_schemas::records::RecordWriter;
use theatre_tests::deployment::{Deployment, PATIENCE, wait_for};

use super::{Servers, URL};

const NOW: i64 = 1_767_225_600_000_000;
const HOUR: i64 = 3_600_000_000;

const SCHEMA: &str = r#"{"type":"record","name":"Odd","theatre":{"id":9100,"dataset":"odd","kind":"telemetry"},"fields":[
  {"name":"robot_id","type":"string"},
  {"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
  {"name":"speed","type":"double","default":1.0},
  {"name":"seen","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
  {"name":"day","type":["null",{"type":"int","logicalType":"date"}],"default":null},
  {"name":"note","type":["null","string"],"default":null},
  {"name":"scan","type":["null","bytes"],"default":null},
  {"name":"scan_2","type":["null","bytes"],"default":null},
  {"name":"scan_3","type":["null","bytes"],"default":null}]}"#;

/// A record of a robot, with these fields beside.
fn record(robot: &str, event_time: i64, fields: &[(&str, Value)]) -> Result<NewRecord> {
    let mut all = vec![
        ("robot_id".to_owned(), Value::String(robot.to_owned())),
        ("event_time".to_owned(), Value::TimestampMicros(event_time)),
    ];
    all.extend(
        fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    Ok(NewRecord {
        key: robot.as_bytes().to_vec(),
        value: RecordWriter::new(9100, SCHEMA)?.encode(Value::Record(all))?,
        headers: Vec::new(),
    })
}

/// Times that no calendar has: each is a dead letter.
fn impossible() -> Result<Vec<NewRecord>> {
    let (first, last) = TIMESTAMP_RANGE.into_inner();
    let mut records = Vec::new();
    for time in [
        -300_000_000_000_000_000,
        first - 1,
        last + 1,
        i64::MIN,
        i64::MAX,
    ] {
        records.push(record("odd", time, &[])?);
    }
    for field in [
        ("seen", Value::TimestampMillis(i64::MAX)),
        ("seen", Value::TimestampMillis(last / 1000 + 1)),
        ("day", Value::Date(i32::MIN)),
    ] {
        records.push(record("odd", NOW, &[field])?);
    }
    Ok(records)
}

/// What is odd, and is held in one way or another.
fn held() -> Result<Vec<NewRecord>> {
    let (first, last) = TIMESTAMP_RANGE.into_inner();
    let (text, bytes) = (
        |text: &str| Value::String(text.to_owned()),
        |length: usize| Value::Bytes(vec![0; length]),
    );
    let day_of = |time: i64| time.div_euclid(24 * HOUR) as i32;
    let third = RECORD_BYTES_MAX / 3 - 20;
    Ok(vec![
        // An hour later the windows of the first are closed and published.
        record(
            "ancient",
            first,
            &[
                ("seen", Value::TimestampMillis(first / 1000)),
                ("day", Value::Date(day_of(first))),
            ],
        )?,
        record("ancient", first + HOUR, &[])?,
        record(
            "far",
            last,
            &[
                ("seen", Value::TimestampMillis(last / 1000)),
                ("day", Value::Date(day_of(last))),
            ],
        )?,
        record("nul\0", NOW, &[("note", text("a\0b"))])?,
        record(
            "nul\0",
            NOW + HOUR,
            &[("note", text(&"\0".repeat(TEXT_BYTES_MAX + 9)))],
        )?,
        record("long", NOW, &[("scan", bytes(BINARY_BYTES_MAX + 1))])?,
        record(
            "long",
            NOW + 1,
            &[
                ("scan", bytes(third)),
                ("scan_2", bytes(third)),
                ("scan_3", bytes(third)),
            ],
        )?,
    ])
}

fn deployment(servers: &Servers) -> Result<Deployment> {
    let settings = format!(
        "partitions = 1\nschemas = [\"odd.avsc\"]\nrecord_bytes = {RECORD_BYTES_MAX}\nsilence_after = \"1d\"\nsave_interval = \"500ms\"\nexport_age = \"500ms\"\nlake_roll_age = \"500ms\"\n\
         [lake]\nurl = \"s3://lake/theatre\"\nendpoint = \"{}\"\npath_style = true\nregion = \"us-east-1\"\n\
         [warehouse]\nurl = \"{URL}\"\nendpoint = \"http://{}\"\nregion = \"us-east-1\"\n",
        servers.objects.endpoint(),
        servers.options.listen
    );
    let deployment = Deployment::new(&settings, "")?;
    std::fs::write(deployment.path("odd.avsc"), SCHEMA)?;
    deployment.look(&["migrate", "--warehouse"])?;
    Ok(deployment)
}

#[test]
fn a_robot_that_sends_what_no_warehouse_holds_stops_nothing() -> Result<()> {
    let servers = Servers::start()?;
    let deployment = deployment(&servers)?;
    let log = deployment.log("first")?;
    log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), 1)?;
    for number in 0..10 {
        log.append(
            INPUT_TOPICS[0],
            0,
            &[record(
                "good",
                NOW + number * HOUR,
                &[("note", Value::String("good".to_owned()))],
            )?],
        )?;
    }
    log.append(INPUT_TOPICS[0], 0, &impossible()?)?;
    log.append(INPUT_TOPICS[0], 0, &held()?)?;
    drop(log);
    let warehouse = servers.warehouse(&servers.config())?;
    let mut member = deployment.start("first", &[])?;
    let rows = wait_for(PATIENCE / 2, || {
        match warehouse.query("SELECT count(*) FROM odd") {
            Ok(counted) => {
                Ok(Some(counted.rows[0][0].clone()).filter(|rows| rows.as_u64() >= Some(17)))
            }
            // The table is made by the process.
            Err(Error::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    });
    ensure!(
        rows.with_context(|| member.said())? == 17,
        "what is no time is not there"
    );
    ensure!(member.terminate()?.success(), "{}", member.said());
    deployment.drain("first")?;
    deployment.run("first", &["reconcile"])?;
    look_into_the_store(&deployment)?;
    look_into_the_warehouse(&warehouse)
}

fn look_into_the_store(deployment: &Deployment) -> Result<()> {
    let store = deployment.ports("first")?.store;
    let files = store.all_files()?;
    ensure!(
        !files.is_empty() && files.iter().all(|file| file.stage == FileStage::Loaded),
        "{files:?}"
    );
    let dead = store.find_dead(0)?;
    let of = |reason: &str| {
        dead.iter()
            .filter(|stored| stored.dead.reason.as_str() == reason)
            .map(|stored| stored.dead.detail.as_str())
            .collect::<Vec<_>>()
    };
    let undecodable = of("undecodable");
    ensure!(
        undecodable.len() == 8 && of("future").len() == 1 && dead.len() == 9,
        "{dead:?}"
    );
    ensure!(undecodable.contains(&"column 'event_time' is -300000000000000000 microseconds from 1970-01-01: only the years 0001 to 9999 are taken"));
    ensure!(
        undecodable
            .iter()
            .filter(|detail| detail.contains("'seen'") && detail.contains("milliseconds"))
            .count()
            == 2,
        "{undecodable:?}"
    );
    ensure!(
        undecodable
            .iter()
            .filter(|detail| detail.contains("'day'"))
            .count()
            == 1,
        "{undecodable:?}"
    );
    Ok(())
}

fn look_into_the_warehouse(warehouse: &dyn Warehouse) -> Result<()> {
    let is = |sql: &str, expected: serde_json::Value| -> Result<()> {
        let rows = serde_json::json!(warehouse.query(sql)?.rows);
        ensure!(rows == expected, "{sql}: {rows}");
        Ok(())
    };
    is(
        "SELECT robot_id, count(*) FROM odd GROUP BY robot_id ORDER BY robot_id",
        serde_json::json!([
            ["ancient", 2],
            ["far", 1],
            ["good", 10],
            ["long", 2],
            ["nul\u{1a}", 2]
        ]),
    )?;
    is(
        "SELECT min(event_time)::varchar, max(day)::varchar, max(seen)::varchar FROM odd",
        serde_json::json!([[
            "0001-01-01 00:00:00",
            "9999-12-31",
            "9999-12-31 23:59:59.999"
        ]]),
    )?;
    is(
        "SELECT note FROM odd WHERE robot_id LIKE 'nul%' AND length(note) < 9",
        serde_json::json!([["a\u{1a}b"]]),
    )?;
    is(
        "SELECT max(octet_length(note)), max(octet_length(scan)) FROM odd",
        serde_json::json!([[TEXT_BYTES_MAX, BINARY_BYTES_MAX]]),
    )?;
    is(
        "SELECT count(*) FROM robot_windows WHERE dataset = 'odd' AND window_name = '10s' AND robot_id = 'nul\u{1a}'",
        serde_json::json!([[1]]),
    )?;
    is(
        "SELECT count(*) FROM robot_windows WHERE robot_id = 'ancient' AND window_name = '10s'",
        serde_json::json!([[1]]),
    )
}
