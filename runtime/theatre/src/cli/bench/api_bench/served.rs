//! The service that is asked: `theatre run` on a folder of its own.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use theatre_actors::time::Clock;
use theatre_system::clock::SystemClock;

use super::super::process::cpu_of_tree;
use super::client::{Client, joined};
use crate::cli::Failure;

/// Signals of the telemetry, of which the first crosses the limit of the rule.
pub(super) const SIGNALS: usize = 13;
/// Where telemetry is sent.
pub(super) const TELEMETRY: &str = "/api/v1/datasets/bench/records";
const RULES: &str = r#"[[rule]]
id = "hot"
priority = "high"
dataset = "bench"
kind = { threshold = { signal = "s0", raise_above = 85.0, clear_below = 80.0 } }
"#;
/// Records of a body.
const BODY: u64 = 1000;
/// How often a part of the load is sent.
const STEP: Duration = Duration::from_millis(250);
/// How long it may take until what was sent is known.
const PATIENCE: Duration = Duration::from_secs(300);

/// A folder that goes when this does.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Self, Failure> {
        let name = format!("theatre_bench_{:08x}", rand::random::<u32>());
        let scratch = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&scratch.0)?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

/// The schema of the telemetry.
pub(super) fn schema() -> String {
    let signals: String = (0..SIGNALS)
        .map(|number| format!(r#", {{"name": "s{number}", "type": "double"}}"#))
        .collect();
    format!(
        r#"{{"type": "record", "name": "Bench", "theatre": {{"id": 3999, "dataset": "bench", "kind": "telemetry", "version": 1}},
        "fields": [{{"name": "robot_id", "type": "string"}},
        {{"name": "event_time", "type": {{"type": "long", "logicalType": "timestamp-micros"}}}},
        {{"name": "sequence", "type": "long"}}{signals}]}}"#
    )
}

/// A record of the telemetry, as a line.
pub(super) fn line(to: &mut Vec<u8>, robot: &str, sequence: u64, time: i64, first: f64) {
    // Writing into memory cannot fail.
    drop(write!(
        to,
        r#"{{"robot_id":"{robot}","event_time":{time},"sequence":{sequence},"s0":{first}"#
    ));
    for signal in 1..SIGNALS {
        let value = (sequence * 7 + signal as u64 * 13) % 1000;
        drop(write!(to, r#","s{signal}":{}.{:03}"#, signal * 10, value));
    }
    to.extend_from_slice(b"}\n");
}

/// Id of a robot; ids are in order of their numbers.
pub(super) fn robot(number: u64) -> String {
    format!("robot-{number:07}")
}

/// The service.
pub(super) struct Served {
    process: Child,
    pub(super) address: String,
    pub(super) token: String,
    /// Number of the last record of each robot.
    sequence: AtomicU64,
    _scratch: Scratch,
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Served {
    pub(super) fn start() -> Result<Self, Failure> {
        let scratch = Scratch::new()?;
        let file = |name: &str, text: &str| std::fs::write(scratch.0.join(name), text);
        file("bench.avsc", &schema())?;
        file("rules.toml", RULES)?;
        file(
            "theatre.toml",
            "schemas = [\"bench.avsc\"]\nrules = \"rules.toml\"\nsilence_after = \"24h\"\n\
            [lake]\nenabled = false\n[warehouse]\nenabled = false\n\
            [api]\nlisten = \"127.0.0.1:0\"\nlisteners = 20000\n",
        )?;
        let mut process = theatre(&scratch.0)?
            .args(["--admin", "127.0.0.1:0", "run"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = process.stderr.take();
        let said = said.ok_or_else(|| Failure::Failed("no standard error".to_owned()))?;
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, url) = line.split_once("page: http://")?;
            Some(url.split('/').next()?.to_owned())
        });
        // What it says later is shown, and never waited for.
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
        let mut served = Self {
            process,
            address: address.unwrap_or_default(),
            token: String::new(),
            sequence: AtomicU64::new(0),
            _scratch: scratch,
        };
        if served.address.is_empty() {
            return Err(Failure::Failed(
                "the service did not say where its interface is".to_owned(),
            ));
        }
        let made = theatre(&served._scratch.0)?
            .args(["--output", "json", "token", "create"])
            .args(["--name", "bench", "--role", "operator"])
            .output()?;
        let made: Value = serde_json::from_slice(&made.stdout)
            .map_err(|error| Failure::Failed(format!("no token was made: {error}")))?;
        served.token = made[0]["secret"].as_str().unwrap_or_default().to_owned();
        Ok(served)
    }

    pub(super) fn client(&self) -> Result<Client, Failure> {
        Client::connect(&self.address, Some(&self.token))
    }

    /// What it holds in memory, by a line of `/proc`, MiB.
    pub(super) fn memory_mib(&self, name: &str) -> Result<u64, Failure> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| {
            line.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        });
        let missing = || Failure::Failed(format!("/proc/PID/status has no {name}"));
        Ok(kib.ok_or_else(missing)? / 1024)
    }

    /// CPU seconds that it has taken so far.
    pub(super) fn cpu_seconds(&self) -> f64 {
        cpu_of_tree(self.process.id()).unwrap_or_default()
    }

    /// Sends a record of each of so many robots, and waits until all are known.
    pub(super) fn fill(&self, robots: u64) -> Result<(), Failure> {
        let mut client = self.client()?;
        let mut number = 0;
        while number < robots {
            let end = (number + BODY).min(robots);
            self.send(&mut client, number..end, robots)?;
            number = end;
        }
        let (begun, last) = (Instant::now(), robot(robots - 1));
        let path = format!("/api/v1/robots/{last}");
        loop {
            let (status, body) = client.get(&path)?;
            if status == 200 {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let said = String::from_utf8_lossy(body);
                return Err(Failure::Failed(format!(
                    "{last} is not known after {PATIENCE:?}: {status} {said}"
                )));
            }
            std::thread::sleep(STEP);
        }
    }

    /// A record of each of these robots, by their numbers modulo how many there are.
    fn send(
        &self,
        client: &mut Client,
        numbers: std::ops::Range<u64>,
        robots: u64,
    ) -> Result<(), Failure> {
        let mut body = Vec::new();
        let time = SystemClock.now().0;
        for number in numbers {
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) / robots + 1;
            line(&mut body, &robot(number % robots), sequence, time, 20.0);
        }
        expect_accepted(client.post(TELEMETRY, &body)?)
    }

    /// Does something while so many records a second come in.
    pub(super) fn beside_load<T>(
        &self,
        robots: u64,
        per_second: u64,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let loader = threads.spawn(|| self.load(robots, per_second, &over));
            let done = work();
            over.store(true, Ordering::Release);
            joined(loader.join())?;
            done
        })
    }

    fn load(&self, robots: u64, per_second: u64, over: &AtomicBool) -> Result<(), Failure> {
        let mut client = self.client()?;
        let (begun, first) = (Instant::now(), self.sequence.load(Ordering::Relaxed));
        while !over.load(Ordering::Acquire) {
            let due = first + (begun.elapsed().as_secs_f64() * per_second as f64) as u64;
            let sent = self.sequence.load(Ordering::Relaxed);
            if sent < due {
                self.send(&mut client, sent..due.min(sent + BODY), robots)?;
            } else {
                std::thread::sleep(STEP);
            }
        }
        Ok(())
    }
}

pub(super) fn expect_accepted((status, body): (u16, &[u8])) -> Result<(), Failure> {
    if status == 202 {
        return Ok(());
    }
    let body = String::from_utf8_lossy(body).into_owned();
    Err(Failure::Failed(format!(
        "records were not taken: {status} {body}"
    )))
}

/// This program on a folder.
fn theatre(folder: &Path) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("--config")
        .arg(folder.join("theatre.toml"))
        .arg("--data")
        .arg(folder.join("data"));
    Ok(command)
}
