//! `theatre simulate`: writes a simulated fleet into the event log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{EventLog, NewRecord};
use theatre_actors::position::Partition;
use theatre_actors::time::Clock;

use super::fleet_writer::FleetWriter;
use super::output::{self, progress, progress_done};
use super::service::Place;
use super::{Common, Failure};
use theatre_config::INPUT_TOPICS;
use theatre_simulator::Faults;
use theatre_simulator::fleet::{self, Fleet};
use theatre_system::clock::SystemClock;

/// Records appended at once by the benchmark's fleet.
const FLEET_BATCH: usize = 50_000;
/// Ticks that robots keep while they cannot send: ten minutes. What is older is lost.
const BUFFERED_TICKS: u64 = 6_000;
/// Ticks that are written before a request to stop is looked for.
const STEP_TICKS: u64 = 100;
/// How often it is seen to what is due.
const LIVE_EVERY: Duration = Duration::from_millis(50);

/// Writes a simulated fleet into the log.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Robots in the fleet.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    robots: u64,
    /// Seed: the same seed gives the same fleet.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ticks of 100 ms to write, as fast as it goes, counted from the fleet's beginning.
    #[arg(long, default_value_t = 600)]
    ticks: u64,
    /// Write ticks as they fall due, in real time and from now on, until a signal asks it to stop.
    /// Started again, it makes up for ten minutes at most.
    #[arg(long, conflicts_with_all = ["ticks", "profile"])]
    live: bool,
    /// What kind of fleet: surgical robots at work, or the layout of the throughput benchmark.
    #[arg(long, value_enum, default_value_t = Profile::Surgical)]
    profile: Profile,
    /// With --profile fleet: how many records to write; --ticks is not used then.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// With --profile fleet: the topic; default fleet.telemetry.v1 on Kafka, the telemetry topic of
    /// an embedded log.
    #[arg(long)]
    topic: Option<String>,
    /// Write what happened and cannot be seen in the records to this file, a JSON object a line:
    /// faults, wear, failures. A tick that was written again after a crash is there again.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    #[command(flatten)]
    faults: Faults,
}

/// A kind of fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// Telemetry, procedures, results, events; some robots wear out.
    Surgical,
    /// Many robots, 13 signals, one record in 200 out of order.
    Fleet,
}

impl Simulate {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        let (config, log) = (&place.config, place.write()?.log()?);
        // An embedded log belongs to the process that runs on its directory: a demo that runs there
        // writes the same fleet.
        let _lock = match config.log.url {
            None => Some(place.dir.lock()?),
            Some(_) => None,
        };
        if self.profile == Profile::Fleet {
            let usual = if config.log.url.is_some() {
                fleet::TOPIC
            } else {
                INPUT_TOPICS[0]
            };
            return self.write_fleet(
                &*log,
                self.topic.as_deref().unwrap_or(usual),
                config.partitions,
            );
        }
        log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), config.partitions)?;
        // A fixed beginning, so that the same flags give the same bytes; a live fleet begins now.
        let start_us = if self.live {
            SystemClock.now().0
        } else {
            fleet::START_US
        };
        let mut writer = FleetWriter::open(
            &*log,
            config.partitions,
            self.seed,
            self.robots,
            &self.faults,
            start_us,
        )?;
        if let Some(path) = &self.truth {
            let opened = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path);
            writer.truth =
                Some(opened.map_err(|error| {
                    Failure::Usage(format!("--truth {}: {error}", path.display()))
                })?);
        }
        if self.live {
            write_live(&mut writer)?;
        }
        while !self.live && writer.next < self.ticks {
            writer.advance(self.ticks.min(writer.next + STEP_TICKS))?;
            progress(format_args!("tick {} of {}", writer.next, self.ticks));
        }
        progress_done();
        eprintln!("the fleet stands at tick {}", writer.next);
        output::if_json(common.output, &json!({"tick": writer.next}))
    }

    fn write_fleet(&self, log: &dyn EventLog, topic: &str, partitions: u32) -> Result<(), Failure> {
        log.ensure_topics(&[topic.to_owned()], partitions)?;
        for partition in 0..partitions {
            if log.range(topic, partition)?.end > 0 {
                let why = format!(
                    "--profile fleet fills an empty topic, and {topic} has records: give another one with --topic, or another directory with --data"
                );
                return Err(Failure::Usage(why));
            }
        }
        let mut written = 0_u64;
        let mut samples = Fleet::new(self.seed, self.robots, self.records).peekable();
        while samples.peek().is_some() {
            let mut batches: BTreeMap<Partition, Vec<NewRecord>> = BTreeMap::new();
            for sample in samples.by_ref().take(FLEET_BATCH) {
                let key = Fleet::robot_id(sample.robot).into_bytes();
                let mut value = Vec::with_capacity(180);
                fleet::encode(&sample, &mut value);
                batches
                    .entry(partition_of(&key, partitions))
                    .or_default()
                    .push(NewRecord {
                        key,
                        value,
                        headers: Vec::new(),
                    });
                written += 1;
            }
            for (partition, records) in batches {
                log.append(topic, partition, &records)?;
            }
            progress(format_args!("{written} records"));
        }
        progress_done();
        eprintln!(
            "{written} records of {} robots written to {topic}",
            self.robots
        );
        Ok(())
    }
}

/// Writes what falls due until a signal asks it to stop.
fn write_live(writer: &mut FleetWriter<'_>) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    while !stop.load(Ordering::Acquire) {
        let due = writer.due(SystemClock.now().0);
        writer.next = writer.next.max(due.saturating_sub(BUFFERED_TICKS));
        writer.advance(due.min(writer.next + STEP_TICKS))?;
        progress(format_args!("tick {}", writer.next));
        if writer.next >= due {
            std::thread::sleep(LIVE_EVERY);
        }
    }
    Ok(())
}
