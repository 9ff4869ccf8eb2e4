//! Records as NDJSON, a body after another: an interface of this process on a log that no one reads.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use theatre_actors::ports::Role;
use theatre_config::Config;
use theatre_embedded::data_dir::DataDir;

use super::super::measure::rounded;
use super::super::process::cpu_seconds;
use super::client::Client;
use super::served::{Scratch, TELEMETRY, expect_accepted, line, robot, schema};
use crate::adapters::{self, Access, Adapters};
use crate::api::{self, ApiPorts};
use crate::cli::Failure;

/// Records of a body, and robots that they are about.
const BODY: u64 = 10_000;
const ROBOTS: u64 = 1000;
/// 2026-01-01.
const BEGIN_US: i64 = 1_767_225_600_000_000;
const EVENTS: &str = "/api/v1/datasets/robot_events/records";

pub(super) fn measure(records: u64) -> Result<Value, Failure> {
    let scratch = Scratch::new()?;
    let file = scratch.0.join("bench.avsc");
    std::fs::write(&file, schema())?;
    let mut config = Config {
        schemas: vec![file.into()],
        ..Config::default()
    };
    config.api.listen = Some("127.0.0.1:0".to_owned());
    let dir = DataDir::created(&scratch.0.join("data"))?;
    let params = Arc::new(adapters::params(&config, &dir, [0; 32])?);
    let adapters = Adapters::new(&config, &dir, Access::Write)?;
    let ports = ApiPorts {
        log: adapters.log()?,
        store: adapters.store()?,
        access: adapters.access()?,
        reports: None,
        lake: None,
        letters: None,
        pseudonyms: None,
    };
    let topics = api::topics(&config, &params.registry);
    let mut topics: Vec<String> = topics.into_values().collect();
    topics.sort_unstable();
    topics.dedup();
    ports.log.ensure_topics(&topics, config.partitions)?;
    let server = api::start(&config, params, ports, Some(Role::Operator))?;
    let address = server.address.to_string();
    let events = send(&address, EVENTS, records, event)?;
    let telemetry = send(&address, TELEMETRY, records, |to, number| {
        let (robot, sequence) = (robot(number % ROBOTS), number / ROBOTS + 1);
        let time = BEGIN_US + sequence as i64 * 10_000;
        line(to, &robot, sequence, time, 20.5);
    })?;
    Ok(json!({"robot_events": events, "telemetry": telemetry}))
}

fn event(to: &mut Vec<u8>, number: u64) {
    let (robot, sequence) = (robot(number % ROBOTS), number / ROBOTS + 1);
    let time = BEGIN_US + sequence as i64 * 10_000;
    // Writing into memory cannot fail.
    drop(writeln!(
        to,
        r#"{{"robot_id":"{robot}","event_time":{time},"event_id":"e{number}","sequence":{sequence},"event_type":"fault","code":"E{}"}}"#,
        number % 100
    ));
}

/// Records a second by the clock and by the CPU time of the process, the client's included; what is
/// sent is made beforehand.
fn send(
    address: &str,
    path: &str,
    records: u64,
    record: impl Fn(&mut Vec<u8>, u64),
) -> Result<Value, Failure> {
    let mut client = Client::connect(address, None)?;
    let mut bodies = Vec::new();
    let mut number = 0;
    // One body more, for nothing: it pays for what no later one needs.
    while number < records + BODY {
        let mut body = Vec::new();
        for _ in 0..BODY {
            record(&mut body, number);
            number += 1;
        }
        bodies.push(body);
    }
    let (first, rest) = bodies
        .split_first()
        .ok_or_else(|| Failure::Failed("no body".to_owned()))?;
    expect_accepted(client.post(path, first)?)?;
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    let mut bytes = 0;
    for body in rest {
        expect_accepted(client.post(path, body)?)?;
        bytes += body.len();
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let sent = (rest.len() as u64 * BODY) as f64;
    Ok(json!({
        "records": sent as u64,
        "bytes_per_record": rounded(bytes as f64 / sent),
        "records_per_s": (sent / seconds) as u64,
        "records_per_cpu_s": (sent / cpu.max(1e-9)) as u64,
    }))
}
