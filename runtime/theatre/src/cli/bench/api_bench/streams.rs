//! Many listeners: what each receives, and how long after the record that caused it was sent.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use theatre_actors::time::Clock;
use theatre_system::clock::SystemClock;

use super::super::measure::rounded;
use super::client::{joined, percentiles};
use super::served::{Served, TELEMETRY, expect_accepted, line};
use crate::cli::Failure;

/// Stack of a thread that listens, bytes: there are many.
const STACK: usize = 256 << 10;
/// How long the last event may take.
const LAST_WORDS: Duration = Duration::from_secs(20);
/// How the robots that cause alerts begin.
const HOT: &str = "hot-";

/// When the record of each alert was sent.
type Sent = [OnceLock<Instant>];

pub(super) fn measure(
    served: &Served,
    listeners: u64,
    per_second: u64,
    length: Duration,
) -> Result<Value, Failure> {
    let events = ((length.as_secs_f64() * per_second as f64) as usize).max(1);
    let sent: Vec<OnceLock<Instant>> = (0..events).map(|_| OnceLock::new()).collect();
    let connected = Instant::now();
    let streams = (0..listeners).map(|_| connect(served));
    let streams = streams.collect::<Result<Vec<_>, _>>()?;
    let connecting = connected.elapsed();
    let (begun, cpu) = (Instant::now(), served.cpu_seconds());
    let heard = std::thread::scope(|threads| -> Result<Vec<Heard>, Failure> {
        let mut threads_of = Vec::new();
        for stream in streams {
            let sent = &sent[..];
            let builder = std::thread::Builder::new().stack_size(STACK);
            threads_of.push(builder.spawn_scoped(threads, move || listen(stream, sent))?);
        }
        send(served, &sent, per_second, begun)?;
        threads_of
            .into_iter()
            .map(|thread| joined(thread.join()))
            .collect()
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let cores = (served.cpu_seconds() - cpu) / seconds;
    let missing: usize = heard.iter().map(|heard| events - heard.times.len()).sum();
    let doubled: u64 = heard.iter().map(|heard| heard.doubled).sum();
    let mut report = percentiles(heard.into_iter().flat_map(|heard| heard.times).collect());
    for (name, value) in [
        ("listeners", json!(listeners)),
        ("events", json!(events)),
        ("missing", json!(missing)),
        ("doubled", json!(doubled)),
        ("seconds", json!(rounded(seconds))),
        ("connecting_s", json!(rounded(connecting.as_secs_f64()))),
        ("cpu_cores", json!(rounded(cores))),
    ] {
        report.insert(name.to_owned(), value);
    }
    Ok(Value::Object(report))
}

/// A connection that has begun to listen.
fn connect(served: &Served) -> Result<BufReader<TcpStream>, Failure> {
    let mut stream = TcpStream::connect(&served.address)?;
    stream.set_read_timeout(Some(LAST_WORDS))?;
    let head = format!(
        "GET /api/v1/events?kinds=alert HTTP/1.0\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
        served.address, served.token
    );
    stream.write_all(head.as_bytes())?;
    let mut reader = BufReader::with_capacity(4096, stream);
    let mut line = String::new();
    while !line.starts_with(": theatre") {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(Failure::Failed("a listener is refused".to_owned()));
        }
    }
    Ok(reader)
}

/// Sends a record that crosses the limit when it is due, each of a robot of its own.
fn send(served: &Served, sent: &Sent, per_second: u64, begun: Instant) -> Result<(), Failure> {
    let mut client = served.client()?;
    for (number, at) in sent.iter().enumerate() {
        let due = Duration::from_secs_f64(number as f64 / per_second as f64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let mut body = Vec::new();
        let robot = format!("{HOT}{number}");
        line(&mut body, &robot, 1, SystemClock.now().0, 90.0);
        at.get_or_init(Instant::now);
        expect_accepted(client.post(TELEMETRY, &body)?)?;
    }
    Ok(())
}

/// What one has heard.
#[derive(Default)]
struct Heard {
    /// How long each event took.
    times: Vec<Duration>,
    doubled: u64,
}

/// Listens until everything was heard, or nothing comes any more.
fn listen(mut stream: BufReader<TcpStream>, sent: &Sent) -> Result<Heard, Failure> {
    let (mut heard, mut times) = (Heard::default(), HashMap::new());
    let mut line = String::new();
    while times.len() < sent.len() {
        line.clear();
        match stream.read_line(&mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if is_timeout(&error) => break,
            Err(error) => return Err(error.into()),
        }
        let Some(number) = number(&line) else {
            continue;
        };
        let at = sent.get(number).and_then(OnceLock::get);
        let took = at.map(Instant::elapsed).unwrap_or_default();
        if times.insert(number, took).is_some() {
            heard.doubled += 1;
        }
    }
    heard.times = times.into_values().collect();
    Ok(heard)
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

/// The number of the robot that an event is about.
fn number(line: &str) -> Option<usize> {
    let data = line.strip_prefix("data: ")?;
    let (_, robot) = data.split_once(&format!("\"robot_id\":\"{HOT}"))?;
    robot.split('"').next()?.parse().ok()
}
