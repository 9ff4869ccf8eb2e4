//! `theatre bench fleet`: a topic filled beforehand, then the service on it until everything is
//! saved and published, and, if they are on, in the lake and in the warehouse; a bare drain of the
//! same topic; and a recomputation of windows and alerts from the topic.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use theatre_actors::ports::PollLimit;
use theatre_actors::rules::Micros;
use theatre_actors::window::AggregateSet;

use super::aggregate_set;
use super::environment::{BenchEnvironment, Kinds};
use super::inputs::Inputs;
use super::measure::{Mark, rounded};
use super::process::{commit, cpu_by_thread, machine, peak_mib};
use super::recount::{Recount, WindowShape};
use super::{Common, Failure, rows, topic};
use crate::cli::Output;
use crate::cli::service::Service;
use theatre_config::store::KeptTables;

/// The whole pipeline on a topic that was filled before.
#[derive(Debug, Args)]
pub(in crate::cli) struct FleetBench {
    /// Kafka's brokers, HOST:PORT; absent: the embedded log.
    #[arg(long)]
    brokers: Option<String>,
    /// A PostgreSQL server: the store is a database of its own there, dropped at the end. Absent:
    /// the embedded store.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    /// Whether there is a lake, in a folder of its own.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    lake: Switch,
    /// Whether the lake is loaded into the embedded warehouse. It is not by default: a warehouse
    /// that runs elsewhere loads by itself.
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    warehouse: Switch,
    /// Whether windows are published to a topic of the run's own, as other stream processors publish
    /// theirs; the store has them in any case.
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    window_topic: Switch,
    /// Which tables for people a store on PostgreSQL keeps: off, without_windows or all.
    #[arg(long, default_value = "all", value_parser = kept_tables)]
    tables: KeptTables,
    /// Which input topics are read.
    #[arg(long, value_enum, default_value_t = Inputs::All)]
    inputs: Inputs,
    /// A collector of traces, `http://HOST:PORT`: what they cost is the difference to a run without.
    #[arg(long, value_name = "URL")]
    traces: Option<String>,
    /// Records to fill the topic with when it is empty; on Kafka an empty topic is refused without
    /// this.
    #[arg(long, visible_alias = "fill", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// Robots to fill it with.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    robots: u64,
    /// Partitions to make it with. Default: 16 on Kafka, 4 embedded.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    partitions: Option<u32>,
    /// The topic.
    #[arg(long, default_value = theatre_simulator::fleet::TOPIC)]
    topic: String,
    /// What is aggregated per signal: basic, full or sketch.
    #[arg(long, default_value = "basic", value_parser = aggregate_set)]
    aggregates: AggregateSet,
    /// How long windows are.
    #[arg(long, default_value = "10s", value_parser = Micros::parse)]
    window: Micros,
    /// Distance between the starts of windows, which divides their length: with 60s and 1s each
    /// record is in 60 windows. Default: as long as they are.
    #[arg(long, value_parser = Micros::parse)]
    hop: Option<Micros>,
}

/// A duration for a report.
fn seconds(duration: Micros) -> f64 {
    duration.0 as f64 / 1e6
}

/// Tables by the name that the configuration has for them.
fn kept_tables(text: &str) -> Result<KeptTables, String> {
    serde_json::from_value(json!(text))
        .map_err(|_| format!("'{text}' is none of off, without_windows, all"))
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// With it.
    On,
    /// Without it.
    Off,
}

/// What a run measured.
struct Run {
    begun: Mark,
    early: Option<Mark>,
    late: Option<Mark>,
    read: Option<Mark>,
    ended: Mark,
    stages: BTreeMap<String, f64>,
    peak_mib: u64,
}

impl Run {
    /// What lies between the first and the last fifth or so, where both were met.
    fn steady(&self) -> Option<Value> {
        let between = self.early.as_ref().zip(self.late.as_ref());
        between.map(|(early, late)| late.since(early))
    }
}

impl FleetBench {
    /// The windows that are asked for.
    fn windows(&self) -> Result<WindowShape, Failure> {
        let (size_us, hop_us) = (self.window.0, self.hop.unwrap_or(self.window).0);
        if hop_us < 1 || size_us % hop_us != 0 {
            return Err(Failure::Usage(
                "--hop must be above 0 and divide --window".to_owned(),
            ));
        }
        Ok(WindowShape { size_us, hop_us })
    }

    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let windows = self.windows()?;
        let mut environment = BenchEnvironment::new(
            self.brokers.as_deref(),
            self.database.as_deref(),
            Kinds {
                topics: &["alerts", "outcomes", "windows"],
                priority: "medium",
                windows,
            },
        )?;
        environment.config.aggregates = self.aggregates;
        environment.config.lake.enabled = self.lake == Switch::On;
        environment.config.warehouse.enabled = self.warehouse == Switch::On;
        environment.config.store.tables = self.tables;
        environment.config.traces.endpoint.clone_from(&self.traces);
        environment.config.window_topic =
            (self.window_topic == Switch::On).then(|| format!("{}.windows", environment.name));
        environment.fill(&self.topic, self.partitions, self.records, self.robots)?;
        let common = environment.common(common);
        eprintln!("running ...");
        let extent = topic::extent(
            &*environment.log()?,
            &self.topic,
            environment.config.partitions,
        )?;
        let begun = Mark::now(0, &environment.servers)?;
        environment.made = self.inputs.empty(&environment.name);
        let service = Service::start_as(&common, &environment.config, |params| {
            self.inputs.set(params, &self.topic, &environment.name)
        })?;
        let measured = self.measure(&service, &environment, begun, extent)?;
        let store = service.ports.store.clone();
        let (commits, commit_ms) = service.pipeline.committed().all_commits.mean_ms();
        service.end()?;
        let log = environment.log()?;
        let limits = theatre_pipeline::Limits::default();
        let limit = PollLimit {
            records: limits.poll_records,
            bytes: limits.poll_bytes,
        };
        let [drain_begun, drain_early, drain_late, drain_ended] =
            topic::drain(&*log, &self.topic, environment.config.partitions, limit)?;
        let recount = Recount::of(&*log, &self.topic, environment.config.partitions, windows)?;
        let mut wrong = recount.differences(&*store, environment.config.partitions)?;
        if recount.records != measured.ended.records {
            wrong.push(format!(
                "{} records are in the topic, {} were read",
                recount.records, measured.ended.records
            ));
        }
        let report = json!({
            "machine": machine(), "commit": commit(), "log": environment.describe_log(), "store": environment.describe_store(), "lake": environment.describe_lake(), "window_topic": self.window_topic == Switch::On, "inputs": self.inputs.as_str(), "traces": self.traces,
            "records": recount.records, "robots": recount.robots(), "partitions": environment.config.partitions, "aggregates": self.aggregates,
            "window_s": seconds(self.window), "hop_s": seconds(self.hop.unwrap_or(self.window)),
            "whole": measured.ended.since(&measured.begun), "read_to_the_end": measured.read.as_ref().map(|read| read.since(&measured.begun)), "steady": measured.steady(),
            "bare_drain": drain_ended.since(&drain_begun), "bare_drain_steady": drain_late.since(&drain_early),
            "tables": self.tables, "commits": commits, "commit_ms_mean": rounded(commit_ms),
            "stages": shares(&measured.stages, measured.ended.cpu_since(&measured.begun), recount.records), "peak_mib": measured.peak_mib,
            "windows": recount.windows(), "alerts": recount.alerts(), "differences": wrong,
        });
        print(common.output, &report)?;
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Failure::Difference)
        }
    }

    fn measure(
        &self,
        service: &Service,
        environment: &BenchEnvironment,
        begun: Mark,
        extent: u64,
    ) -> Result<Run, Failure> {
        let progress = service.pipeline.progress().clone();
        let (mut early, mut late, mut read) = (None, None, None);
        let ends = service.pipeline.ends()?;
        while !service.pipeline.is_drained_to(&ends) {
            if let Some(failure) = progress.failures().first() {
                return Err(Failure::Failed(failure.clone()));
            }
            if service.is_stopping() {
                return Err(Failure::Interrupted);
            }
            let records = progress
                .records_in
                .load(std::sync::atomic::Ordering::Relaxed);
            let share = records as f64 / extent.max(1) as f64;
            if share >= 0.2 && early.is_none() {
                early = Some(Mark::now(records, &environment.servers)?);
            }
            if share >= 0.95 && late.is_none() {
                late = Some(Mark::now(records, &environment.servers)?);
            }
            let partitions = progress.partitions();
            if read.is_none()
                && partitions.len() == environment.config.partitions as usize
                && partitions.values().all(|share| share.caught_up)
            {
                read = Some(Mark::now(records, &environment.servers)?);
                service.pipeline.flush(true);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let records = progress
            .records_in
            .load(std::sync::atomic::Ordering::Relaxed);
        Ok(Run {
            begun,
            early,
            late,
            read,
            ended: Mark::now(records, &environment.servers)?,
            stages: cpu_by_thread()?,
            peak_mib: peak_mib()?,
        })
    }
}

/// Threads by stage.
fn shares(threads: &BTreeMap<String, f64>, total: f64, records: u64) -> Vec<Value> {
    let stage = |thread: &str| match thread {
        "partition" => "read, decode, route, processors, save",
        "checkpointer" => "commit to the store",
        "lake" => "lake writer",
        "outward" => "export, complete",
        "loader" => "load the warehouse",
        "kafka-fetch" | "kafka-metadata" => "fetch (lean fetcher)",
        "rdk:broker" | "rdk:main" => "librdkafka's threads",
        "relay" => "relay",
        _ => "other",
    };
    let mut by_stage: BTreeMap<&str, f64> = BTreeMap::new();
    for (thread, seconds) in threads {
        // The main thread filled the log before.
        if thread != "theatre" {
            *by_stage.entry(stage(thread)).or_default() += seconds;
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
    for part in [
        "whole",
        "read_to_the_end",
        "steady",
        "bare_drain",
        "bare_drain_steady",
    ] {
        let figures = [
            "records_per_s",
            "cpu_s_per_million",
            "broker_cpu_s_per_million",
            "database_cpu_s_per_million",
        ]
        .map(|name| report[part][name].clone());
        lines.push(
            [
                vec![json!(part.replace('_', " "))],
                figures.to_vec(),
                vec![Value::Null],
            ]
            .concat(),
        );
    }
    for stage in report["stages"].as_array().into_iter().flatten() {
        lines.push(vec![
            stage["stage"].clone(),
            Value::Null,
            stage["cpu_s_per_million"].clone(),
            Value::Null,
            Value::Null,
            stage["share"].clone(),
        ]);
    }
    rows(
        output,
        &[
            "part",
            "records_per_s",
            "cpu_s_per_million",
            "broker",
            "database",
            "share",
        ],
        &lines,
    )?;
    describe(report);
    Ok(())
}

/// Says what was measured on what, and whether the results were right.
fn describe(report: &Value) {
    println!(
        "log {}, store {}, lake {}, windows of {} s every {} s {}",
        report["log"],
        report["store"],
        report["lake"],
        report["window_s"],
        report["hop_s"],
        if report["window_topic"] == true {
            "on a topic"
        } else {
            "in the store only"
        }
    );
    println!(
        "{} records of {} robots, {} partitions, aggregates {}; {} windows and {} alerts, {}; peak {} MiB; {}, commit {}",
        report["records"],
        report["robots"],
        report["partitions"],
        report["aggregates"],
        report["windows"],
        report["alerts"],
        if report["differences"].as_array().is_some_and(Vec::is_empty) {
            "as recomputed"
        } else {
            "NOT as recomputed"
        },
        report["peak_mib"],
        report["machine"].as_str().unwrap_or_default(),
        report["commit"].as_str().unwrap_or("unknown")
    );
    for difference in report["differences"].as_array().into_iter().flatten() {
        println!("  {}", difference.as_str().unwrap_or_default());
    }
}
