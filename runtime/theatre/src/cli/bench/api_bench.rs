//! `theatre bench api`: what the HTTP interface does beside a running pipeline, and how much of it.
//!
//! The service is a process of its own (`theatre run`) on an embedded log and store, so that its
//! memory is its own; this process asks it as programs would, over sockets. Ingest is measured apart,
//! without a pipeline that reads what was sent.

mod client;
mod ingest;
mod pages;
mod served;
mod streams;

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use theatre_actors::rules::Micros;

use super::process::{commit, machine};
use super::{Common, Failure};
use crate::cli::Output;
use crate::cli::output::{rows, write};

use served::Served;

/// Pages of robots, ingest, and streams of events.
#[derive(Debug, Args)]
pub(in crate::cli) struct ApiBench {
    /// Robots in the store.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    robots: u64,
    /// Pages of 100 robots that are asked for each second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pages_per_second: u64,
    /// Records a second that the pipeline reads meanwhile.
    #[arg(long, default_value_t = 2000)]
    load: u64,
    /// Records that are sent as NDJSON, of each of two datasets.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Listeners of events.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    listeners: u64,
    /// Alerts a second, each of which all listeners receive.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    alerts_per_second: u64,
    /// How long pages are asked for, and how long it is listened.
    #[arg(long = "for", value_parser = Micros::parse, default_value = "60s")]
    measured_for: Micros,
}

/// A figure with its name, and what it should be at most or at least.
struct Goal {
    name: &'static str,
    value: f64,
    unit: &'static str,
    goal: Option<f64>,
    /// More is better.
    is_least: bool,
}

impl Goal {
    fn plain(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            name,
            value,
            unit,
            goal: None,
            is_least: false,
        }
    }

    fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| match self.is_least {
            true => self.value >= goal,
            false => self.value <= goal,
        })
    }
}

impl ApiBench {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        crate::open_files::allow_many();
        let length = Duration::from_micros(self.measured_for.0.unsigned_abs());
        let busy = load_average();
        let served = Served::start()?;
        eprintln!("filling the store with {} robots", self.robots);
        served.fill(self.robots)?;
        let memory_filled = served.memory_mib("VmRSS:")?;
        eprintln!("asking for pages for {length:?}");
        let pages = served.beside_load(self.robots, self.load, || {
            pages::measure(&served, self.pages_per_second, length)
        })?;
        let memory_before = served.memory_mib("VmRSS:")?;
        eprintln!("{} listen for {length:?}", self.listeners);
        let streams = served.beside_load(self.robots, self.load, || {
            streams::measure(&served, self.listeners, self.alerts_per_second, length)
        })?;
        let memory_after = served.memory_mib("VmRSS:")?;
        let peak = served.memory_mib("VmHWM:")?;
        drop(served);
        eprintln!("sending {} records of each of two datasets", self.records);
        let ingest = ingest::measure(self.records)?;
        let memory = json!({
            "filled_mib": memory_filled, "before_listeners_mib": memory_before,
            "after_listeners_mib": memory_after, "peak_mib": peak,
        });
        let report = json!({
            "machine": machine(), "commit": commit(), "load_average_before": busy,
            "robots": self.robots, "load_records_per_s": self.load,
            "pages": pages, "streams": streams, "memory": memory, "ingest": ingest,
        });
        match common.output {
            Output::Json => write(&format!("{report}\n"))?,
            Output::Table => table(&report)?,
        }
        let failed = [
            &report["pages"]["failed"],
            &report["streams"]["missing"],
            &report["streams"]["doubled"],
        ];
        if failed.iter().all(|count| **count == json!(0)) {
            Ok(())
        } else {
            Err(Failure::Difference)
        }
    }
}

/// What the table has: the name of a figure, where it stands in the report, and its unit.
const FIGURES: [(&str, &str, &str); 20] = [
    ("pages, p50", "/pages/p50_ms", "ms"),
    ("pages, p99", PAGES_P99, "ms"),
    ("pages, longest", "/pages/max_ms", "ms"),
    ("pages", "/pages/per_s", "a second"),
    ("pages, CPU of the service", "/pages/cpu_cores", "cores"),
    ("listeners", "/streams/listeners", ""),
    ("events", "/streams/events", ""),
    ("an event to a listener, p50", "/streams/p50_ms", "ms"),
    ("an event to a listener, p99", "/streams/p99_ms", "ms"),
    ("an event to a listener, longest", "/streams/max_ms", "ms"),
    ("events missing", "/streams/missing", ""),
    ("events doubled", "/streams/doubled", ""),
    ("streams, CPU of the service", "/streams/cpu_cores", "cores"),
    (
        "memory before listeners",
        "/memory/before_listeners_mib",
        "MiB",
    ),
    (
        "memory after listeners",
        "/memory/after_listeners_mib",
        "MiB",
    ),
    ("memory, most", "/memory/peak_mib", "MiB"),
    (
        "ingest of robot_events, a CPU second",
        INGEST[0],
        "records/s",
    ),
    (
        "the same by the clock",
        "/ingest/robot_events/records_per_s",
        "records/s",
    ),
    ("ingest of 13 signals, a CPU second", INGEST[1], "records/s"),
    (
        "the same by the clock",
        "/ingest/telemetry/records_per_s",
        "records/s",
    ),
];
const PAGES_P99: &str = "/pages/p99_ms";
const INGEST: [&str; 2] = [
    "/ingest/robot_events/records_per_cpu_s",
    "/ingest/telemetry/records_per_cpu_s",
];

fn table(report: &Value) -> Result<(), Failure> {
    let goals = FIGURES.map(|(name, path, unit)| {
        let value = report.pointer(path).and_then(Value::as_f64);
        let plain = Goal::plain(name, value.unwrap_or_default(), unit);
        match path {
            PAGES_P99 => Goal {
                goal: Some(20.0),
                ..plain
            },
            path if INGEST.contains(&path) => Goal {
                goal: Some(150_000.0),
                is_least: true,
                ..plain
            },
            _ => plain,
        }
    });
    let lines: Vec<Vec<Value>> = goals
        .iter()
        .map(|goal| {
            let met = match goal.is_met() {
                Some(true) => "met",
                Some(false) => "missed",
                None => "",
            };
            let wanted = goal.goal.map_or_else(String::new, |wanted| {
                format!(
                    "{} {wanted}",
                    if goal.is_least { "at least" } else { "at most" }
                )
            });
            vec![
                json!(goal.name),
                json!(goal.value),
                json!(goal.unit),
                json!(wanted),
                json!(met),
            ]
        })
        .collect();
    rows(
        Output::Table,
        &["measure", "value", "unit", "goal", ""],
        &lines,
    )
}

/// How busy the machine was before anything began: its load average of a minute.
fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}
