//! Traces: a collector gets the way of each alert, as many as are asked for; one that hangs or is
//! away holds up nothing.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use theatre_dev::process::wait_until;
use theatre_embedded::data_dir::DataDir;
use theatre_tests::{published, run, theatre};

/// The stages of a way, in order, as the first word of a span's name says them.
const STAGES: [&str; 5] = ["fetch", "process", "save", "commit", "publish"];
/// The topics of what the fleet causes, and the attributes that count it.
const OUTPUTS: [(&str, &str); 2] = [
    ("surgical.maintenance.alerts.v1", "theatre.alerts"),
    ("surgical.procedure.outcomes.v1", "theatre.outcomes"),
];

/// A collector: what it is sent, until it is dropped.
struct Collector {
    endpoint: String,
    requests: Receiver<Value>,
}

impl Collector {
    /// Takes what it is sent; or, if it hangs, reads it and never answers.
    fn start(hangs: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || serve(&connection, &sender, hangs));
            }
        });
        Ok(Self { endpoint, requests })
    }

    /// The traces that have come, each with its spans in the order in which they were written.
    fn traces(&self) -> Vec<Vec<Value>> {
        let mut traces: Vec<Vec<Value>> = Vec::new();
        let spans = self.requests.try_iter().flat_map(|request| {
            let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
            spans.as_array().cloned().unwrap_or_default()
        });
        for span in spans {
            match traces.last_mut() {
                Some(trace) if trace[0]["traceId"] == span["traceId"] => trace.push(span),
                _ => traces.push(vec![span]),
            }
        }
        traces
    }
}

/// Answers the requests of a connection until it is closed.
fn serve(connection: &TcpStream, requests: &Sender<Value>, hangs: bool) -> Result<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let (mut length, mut first) = (0, String::new());
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        ensure!(first.starts_with("POST /v1/traces "), "{first}");
        requests.send(serde_json::from_slice(&body)?)?;
        if !hangs {
            let answer =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
            let mut writer = connection;
            writer.write_all(answer.as_bytes())?;
        }
    }
}

/// A data directory with a fleet's records, of which some raise alerts, and a configuration with
/// these traces.
fn fleet(robots: &str, endpoint: &str, per_second: f64) -> Result<(tempfile::TempDir, PathBuf)> {
    let data = tempfile::tempdir()?;
    run(
        data.path(),
        &["simulate", "--robots", robots, "--ticks", "600"],
    )?;
    let config = data.path().join("theatre.toml");
    let text = format!("[traces]\nendpoint = \"{endpoint}\"\nper_second = {per_second}\n");
    std::fs::write(&config, text)?;
    Ok((data, config))
}

fn drain(data: &Path, config: &Path) -> Result<()> {
    let config = config.to_string_lossy();
    run(data, &["--config", &config, "run", "--until-drained"])?;
    Ok(())
}

/// How many records there are on a topic.
fn records(data: &Path, topic: &str) -> Result<usize> {
    let published = published(&DataDir::new(data))?;
    let of_topic = published.iter().filter(|((known, _), _)| known == topic);
    Ok(of_topic.map(|(_, records)| records.len()).sum())
}

fn alerts(data: &Path) -> Result<usize> {
    records(data, OUTPUTS[0].0)
}

/// The value of a span's attribute, as a text.
fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let attributes = span["attributes"].as_array()?;
    let found = attributes.iter().find(|known| known["key"] == key)?;
    let value = &found["value"];
    value["stringValue"]
        .as_str()
        .or_else(|| value["intValue"].as_str())
}

/// Start and end of a span, nanoseconds.
fn times(span: &Value) -> Result<(u64, u64)> {
    let time = |key: &str| {
        span[key]
            .as_str()
            .context("no time")?
            .parse::<u64>()
            .context("no number")
    };
    Ok((time("startTimeUnixNano")?, time("endTimeUnixNano")?))
}

/// Wants a trace to be a way, whole and in order.
fn check(trace: &[Value]) -> Result<()> {
    let (root, stages) = trace.split_first().context("an empty trace")?;
    let name = root["name"].as_str().context("no name")?;
    let source = attribute(root, "messaging.destination.name").context("no source")?;
    ensure!(name == format!("record {source}"), "{root}");
    ensure!(root.get("parentSpanId").is_none(), "{root}");
    let names = stages.iter().map(|span| span["name"].as_str());
    let words = names.map(|name| name.and_then(|name| name.split(' ').next()));
    ensure!(words.eq(STAGES.map(Some)), "{stages:?}");
    let (start, end) = times(root)?;
    let mut at = start;
    for stage in stages {
        ensure!(stage["parentSpanId"] == root["spanId"], "{stage}");
        let (begun, ended) = times(stage)?;
        ensure!(begun == at && ended >= begun, "{stage}");
        at = ended;
    }
    ensure!(at == end, "the last stage ends with the whole");
    let offset = attribute(root, "theatre.log.offset").context("no offset")?;
    offset.parse::<u64>()?;
    let partition = attribute(root, "messaging.destination.partition.id");
    ensure!(partition == attribute(root, "theatre.partition"), "{root}");
    Ok(())
}

#[test]
fn each_output_is_in_a_trace_of_its_way_from_the_log_to_the_log() -> Result<()> {
    let collector = Collector::start(false)?;
    let (data, config) = fleet("8", &collector.endpoint, 100.0)?;
    drain(data.path(), &config)?;
    let traces = collector.traces();
    let (mut ids, mut traced) = (BTreeSet::new(), [0; 2]);
    for trace in &traces {
        check(trace)?;
        for span in trace {
            let id = |key: &str| span[key].as_str().context("no id").map(str::to_owned);
            let (whole, own) = (id("traceId")?, id("spanId")?);
            ensure!(whole.len() == 32 && own.len() == 16, "{span}");
            ensure!(ids.insert((whole, own)), "an id came twice: {span}");
        }
        for (sum, (_, counted)) in traced.iter_mut().zip(OUTPUTS) {
            *sum += attribute(&trace[0], counted).map_or(Ok(0), str::parse::<usize>)?;
        }
    }
    for (traced, (topic, _)) in traced.into_iter().zip(OUTPUTS) {
        let records = records(data.path(), topic)?;
        ensure!(
            records > 0 && traced == records,
            "{topic}: {traced} of {records}"
        );
    }
    Ok(())
}

#[test]
fn no_more_ways_become_traces_than_are_asked_for() -> Result<()> {
    let collector = Collector::start(false)?;
    // One in a quarter of an hour, of several alerts.
    let (data, config) = fleet("60", &collector.endpoint, 0.001)?;
    drain(data.path(), &config)?;
    let (traces, alerts) = (collector.traces().len(), alerts(data.path())?);
    ensure!(alerts > 4, "too few alerts: {alerts}");
    ensure!(traces == 1, "{traces} traces of {alerts} alerts");
    Ok(())
}

#[test]
fn a_collector_that_hangs_holds_up_nothing() -> Result<()> {
    let collector = Collector::start(true)?;
    let (data, config) = fleet("8", &collector.endpoint, 100.0)?;
    drain(data.path(), &config)?;
    ensure!(alerts(data.path())? > 0, "alerts are published");
    let asked = collector.traces().len();
    ensure!(asked > 0, "the collector was never asked");
    run(data.path(), &["reconcile"])?;
    Ok(())
}

#[test]
fn what_a_collector_that_is_away_does_not_take_is_counted() -> Result<()> {
    // A port at which nothing listens any more.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (data, config) = fleet("8", &format!("http://{address}"), 100.0)?;
    let mut process = theatre(data.path(), &["--config", &config.to_string_lossy(), "run"])?
        .stderr(Stdio::piped())
        .spawn()?;
    let said = process.stderr.take().context("no standard error")?;
    let admin = BufReader::new(said)
        .lines()
        .map_while(std::result::Result::ok)
        .find_map(|line| {
            let rest = line.split("http://").nth(1)?;
            rest.split('/').next().map(str::to_owned)
        });
    let admin = admin.context("the process did not say where its admin server is")?;
    let mut dropped = 0.0;
    let counted = wait_until(Duration::from_secs(30), || {
        let metrics = get(&admin, "/metrics").unwrap_or_default();
        let line = "theatre_traces_dropped_total{cause=\"collector\"} ";
        let value = metrics.lines().find_map(|found| found.strip_prefix(line));
        dropped = value.and_then(|value| value.parse().ok()).unwrap_or(0.0);
        dropped > 0.0
    });
    let ready = get(&admin, "/readyz").unwrap_or_default();
    process.kill()?;
    process.wait()?;
    ensure!(counted, "nothing was counted");
    ensure!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    ensure!(alerts(data.path())? > 0, "alerts are published");
    Ok(())
}

/// The answer of the admin server, with its head.
fn get(admin: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
