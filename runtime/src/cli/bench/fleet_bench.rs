//! `theatre bench fleet`: a log filled beforehand, then the service on it until everything is saved, published, in the lake and in the
//! warehouse; and a recomputation of windows and alerts from the records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use theatre_actors::effect::FactKind;
use theatre_actors::ports::{FactFilter, NewRecord};
use theatre_actors::rules::Micros;
use theatre_actors::window::{AggregateSet, WindowRow, merge_revisions};
use theatre_schemas::records::{Alert, Transition};

use super::process::{commit, cpu_by_thread, cpu_seconds, machine, peak_mib};
use super::{Common, Failure, rows};
use crate::cli::Output;
use crate::cli::output::{progress, progress_done};
use crate::cli::service::{Place, Service};
use crate::config::{Config, INPUT_TOPICS, WindowConfig};
use crate::embedded::data_dir::DataDir;
use crate::partitioner::partition_of;
use crate::simulator::fleet::{self, Fleet};

const SEED: u64 = 1;
/// Records appended at once.
const FILL: usize = 20_000;
const WINDOW_US: i64 = 10_000_000;
const RULES: &str = r#"[[rule]]
id = "hot"
dataset = "fleet_telemetry"
priority = "medium"
kind = { threshold = { signal = "motor_temperature", raise_above = 85.0, clear_below = 80.0 } }
"#;

/// The whole pipeline on the embedded log.
#[derive(Debug, Args)]
pub(in crate::cli) struct FleetBench {
    /// Records.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Robots.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    robots: u64,
    /// Partitions of the log.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    partitions: u32,
    /// What is aggregated per signal: basic, full or sketch.
    #[arg(long, default_value = "basic", value_parser = aggregates)]
    aggregates: AggregateSet,
}

fn aggregates(text: &str) -> Result<AggregateSet, String> {
    serde_json::from_value(json!(text)).map_err(|_| format!("'{text}' is none of basic, full, sketch"))
}

/// A folder that goes when this does.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("theatre-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

/// A moment of the run.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    cpu: f64,
    records: u64,
}

impl Mark {
    fn now(records: u64) -> Result<Self, Failure> {
        Ok(Self { at: Instant::now(), cpu: cpu_seconds()?, records })
    }

    /// Records a second and CPU seconds per million records since an earlier mark.
    fn since(&self, earlier: &Self) -> Value {
        let records = (self.records - earlier.records) as f64;
        let seconds = (self.at - earlier.at).as_secs_f64().max(1e-9);
        json!({"records_per_s": (records / seconds) as u64, "cpu_s_per_million": rounded((self.cpu - earlier.cpu) * 1e6 / records.max(1.0))})
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl FleetBench {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let scratch = Scratch::new()?;
        let common = Common { data: scratch.0.join("data"), admin: Some("127.0.0.1:0".to_owned()), ..common.clone() };
        let config = self.config(&scratch.0)?;
        let expected = self.fill(&common, &config)?;
        eprintln!("running ...");
        let begun = Mark::now(0)?;
        let service = Service::start(&common, &config)?;
        let progress = service.pipeline.progress().clone();
        let (mut early, mut late, mut read) = (None, None, None);
        service.pipeline.flush(false);
        while !service.pipeline.drained() {
            if let Some(failure) = progress.failures().first() {
                return Err(Failure::Failed(failure.clone()));
            }
            if service.is_stopping() {
                return Err(Failure::Interrupted);
            }
            let records = progress.records_in.load(std::sync::atomic::Ordering::Relaxed);
            let share = records as f64 / expected.records as f64;
            if share >= 0.2 && early.is_none() {
                early = Some(Mark::now(records)?);
            }
            if share >= 0.95 && late.is_none() {
                late = Some(Mark::now(records)?);
            }
            if records >= expected.records && read.is_none() {
                read = Some(Mark::now(records)?);
                service.pipeline.flush(true);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let ended = Mark::now(expected.records)?;
        let stages = cpu_by_thread()?;
        let wrong = expected.differences(&service)?;
        service.end()?;
        let steady = early.zip(late).map(|(early, late)| late.since(&early));
        let report = json!({
            "machine": machine(), "commit": commit(), "records": expected.records, "robots": self.robots, "partitions": self.partitions,
            "aggregates": self.aggregates, "whole": ended.since(&begun), "read_to_the_end": read.map(|read| read.since(&begun)), "steady": steady,
            "stages": shares(&stages, ended.cpu - begun.cpu, expected.records), "peak_mib": peak_mib()?,
            "windows": expected.windows.len(), "alerts": expected.alerts.len(), "differences": wrong,
        });
        print(common.output, &report)?;
        if wrong.is_empty() { Ok(()) } else { Err(Failure::Difference) }
    }

    fn config(&self, folder: &Path) -> Result<Config, Failure> {
        let rules = folder.join("rules.toml");
        std::fs::write(&rules, RULES)?;
        let day = Micros(86_400_000_000);
        let window = WindowConfig { name: "10s".to_owned(), size: Micros(WINDOW_US), hop: None };
        Ok(Config {
            partitions: self.partitions,
            rules: Some(rules),
            windows: vec![window],
            aggregates: self.aggregates,
            reorder_bound: Micros(5_000_000),
            silence_after: day,
            ..Config::default()
        })
    }

    /// Fills the log and computes what must come of it.
    fn fill(&self, common: &Common, config: &Config) -> Result<Expected, Failure> {
        let place = Place { config: config.clone(), dir: DataDir::created(&common.data)? };
        let log = place.write()?.log()?;
        log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), config.partitions)?;
        let mut expected = Expected::default();
        let mut waiting: Vec<Vec<NewRecord>> = vec![Vec::new(); config.partitions as usize];
        let mut samples = Fleet::new(SEED, self.robots, self.records).peekable();
        while samples.peek().is_some() {
            for sample in samples.by_ref().take(FILL) {
                expected.take(&sample);
                let key = Fleet::robot_id(sample.robot).into_bytes();
                let mut value = Vec::with_capacity(180);
                fleet::encode(&sample, &mut value);
                waiting[partition_of(&key, config.partitions) as usize].push(NewRecord { key, value, headers: Vec::new() });
            }
            for (partition, records) in waiting.iter_mut().enumerate() {
                log.append(INPUT_TOPICS[0], partition as u32, &std::mem::take(records))?;
            }
            progress(format_args!("filling the log: {} records", expected.records));
        }
        progress_done();
        Ok(expected)
    }
}

/// What must come of the records, by the shortest way there is.
#[derive(Default)]
struct Expected {
    records: u64,
    /// By robot and window start, of the closed ones: count, and sum of the first signal.
    windows: BTreeMap<(u64, i64), (u64, f64)>,
    /// (robot, event time, raised).
    alerts: BTreeSet<(u64, i64, bool)>,
    open: BTreeMap<u64, bool>,
    clocks: BTreeMap<u64, i64>,
}

impl Expected {
    fn take(&mut self, sample: &fleet::Sample) {
        self.records += 1;
        let cell = self.windows.entry((sample.robot, sample.time.div_euclid(WINDOW_US) * WINDOW_US)).or_default();
        *cell = (cell.0 + 1, cell.1 + sample.values[0]);
        let clock = self.clocks.entry(sample.robot).or_insert(i64::MIN);
        *clock = sample.time.max(*clock);
        let temperature = sample.values[fleet::MOTOR_TEMPERATURE];
        let open = self.open.entry(sample.robot).or_default();
        if (!*open && temperature > 85.0) || (*open && temperature < 80.0) {
            *open = !*open;
            self.alerts.insert((sample.robot, sample.time, *open));
        }
    }

    /// What the store holds that differs; empty when all is as it must be.
    fn differences(&self, service: &Service) -> Result<Vec<String>, Failure> {
        let decode = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        let number = |id: &str| id.trim_start_matches("robot-").parse::<u64>().unwrap_or(0).wrapping_sub(1);
        let store = &service.ports.store;
        let mut told: BTreeMap<(u64, i64), Vec<WindowRow>> = BTreeMap::new();
        for stored in store.find_facts(&FactFilter { kind: Some(FactKind::Window), ..FactFilter::default() })? {
            let row = WindowRow::decode(&stored.fact.payload).map_err(|error| decode(&error))?;
            told.entry((number(&stored.fact.robot_id), row.start_us)).or_default().push(row);
        }
        let mut wrong = Vec::new();
        // The closing record's own window stays open.
        let closed = self.windows.iter().filter(|((robot, start), _)| start + WINDOW_US + 5_000_000 <= self.clocks[robot]);
        let mut expected = 0;
        for (key, (count, sum)) in closed {
            expected += 1;
            let got = told.get(key).and_then(|revisions| merge_revisions(revisions));
            let fits = got.as_ref().is_some_and(|row| row.signals[0].count == *count && (row.signals[0].sum - sum).abs() <= 1e-9 * sum.abs());
            if !fits && wrong.len() < 10 {
                wrong.push(format!(
                    "window {key:?}: {count} values with sum {sum} expected, {:?} stored",
                    got.map(|row| (row.signals[0].count, row.signals[0].sum))
                ));
            }
        }
        if told.len() != expected {
            wrong.push(format!("{expected} windows expected, {} stored", told.len()));
        }
        let mut alerts = BTreeSet::new();
        for stored in store.find_facts(&FactFilter { kind: Some(FactKind::Alert), ..FactFilter::default() })? {
            let alert = Alert::decode(&stored.fact.payload).map_err(|error| decode(&error))?;
            alerts.insert((number(&alert.robot_id), alert.event_time, alert.transition == Transition::Raised));
        }
        if alerts != self.alerts {
            wrong.push(format!("{} alerts expected, {} stored, or others", self.alerts.len(), alerts.len()));
        }
        Ok(wrong)
    }
}

/// Threads by stage.
fn shares(threads: &BTreeMap<String, f64>, total: f64, records: u64) -> Vec<Value> {
    let stage = |thread: &str| match thread {
        "partition" => "read, decode, route, save",
        "actix-rt" | "theatre-stage" => "families (windows, rules, procedures)",
        "saver" => "commit to the store",
        "lake" => "lake writer",
        "outward" => "export, complete, load the warehouse",
        "relay" => "relay",
        _ => "other",
    };
    let mut by_stage: BTreeMap<&str, f64> = BTreeMap::new();
    for (thread, seconds) in threads {
        let name = if thread.starts_with("actix-rt") { "actix-rt" } else { thread };
        // The main thread filled the log before.
        if name != "theatre" {
            *by_stage.entry(stage(name)).or_default() += seconds;
        }
    }
    let mut lines: Vec<(&str, f64)> = by_stage.into_iter().collect();
    lines.sort_by(|left, right| right.1.total_cmp(&left.1));
    let line = |(stage, seconds): (&str, f64)| json!({"stage": stage, "cpu_s_per_million": rounded(seconds * 1e6 / records.max(1) as f64), "share": rounded(seconds / total.max(1e-9))});
    lines.into_iter().map(line).collect()
}

fn print(output: Output, report: &Value) -> Result<(), Failure> {
    if output == Output::Json {
        println!("{report}");
        return Ok(());
    }
    let mut lines = Vec::new();
    for part in ["whole", "read_to_the_end", "steady"] {
        lines.push(vec![json!(part.replace('_', " ")), report[part]["records_per_s"].clone(), report[part]["cpu_s_per_million"].clone(), Value::Null]);
    }
    for stage in report["stages"].as_array().into_iter().flatten() {
        lines.push(vec![stage["stage"].clone(), Value::Null, stage["cpu_s_per_million"].clone(), stage["share"].clone()]);
    }
    rows(output, &["part", "records_per_s", "cpu_s_per_million", "share"], &lines)?;
    println!(
        "{} records of {} robots, {} partitions, aggregates {}; {} windows and {} alerts, {}; peak {} MiB; {}, commit {}",
        report["records"],
        report["robots"],
        report["partitions"],
        report["aggregates"],
        report["windows"],
        report["alerts"],
        if report["differences"].as_array().is_some_and(Vec::is_empty) { "as recomputed" } else { "NOT as recomputed" },
        report["peak_mib"],
        report["machine"].as_str().unwrap_or_default(),
        report["commit"].as_str().unwrap_or("unknown")
    );
    for difference in report["differences"].as_array().into_iter().flatten() {
        println!("  {}", difference.as_str().unwrap_or_default());
    }
    Ok(())
}
