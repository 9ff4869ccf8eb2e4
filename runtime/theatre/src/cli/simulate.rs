//! `theatre simulate`: writes a simulated fleet into the event log.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{EventLog, NewRecord};
use theatre_actors::position::Partition;
use theatre_actors::rules::Micros;
use theatre_actors::time::Clock;

use super::fleet_writer::FleetWriter;
use super::output::{self, progress, progress_done};
use super::service::Place;
use super::world_writer::WorldWriter;
use super::{Common, Failure};
use theatre_config::INPUT_TOPICS;
use theatre_simulator::Faults;
use theatre_simulator::fleet::{self, Fleet};
use theatre_simulator::world::{self, DAY_US, Network, Sampling, Settings};
use theatre_system::clock::SystemClock;

/// Records appended at once by the benchmark's fleet.
const FLEET_BATCH: usize = 50_000;
/// Ticks that robots keep while they cannot send: ten minutes. What is older is lost.
const BUFFERED_TICKS: u64 = 6_000;
/// Ticks that are written before a request to stop is looked for.
const STEP_TICKS: u64 = 100;
/// How long a demo works that no `--for` ends: for ever, as people see it.
const ENDLESS_US: i64 = 10_000 * DAY_US;
/// How long ago a demo begins that has no end and runs faster than the clock on the wall.
const DEMO_BACKLOG_US: i64 = 30 * DAY_US;
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
    /// What kind of fleet.
    #[arg(long, value_enum, default_value_t = Profile::Surgical)]
    profile: Profile,
    #[command(flatten)]
    world: WorldFlags,
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
    /// The reference platform's two years: 50 robots, 5,000 cases, 460,000 samples, 200 services.
    Reference,
    /// Months in which parts wear out, show it, fail and are replaced.
    Degrading,
    /// Cases that last minutes, and an actuator that wears, fails and is replaced.
    Demo,
    /// 10 to 1,000 samples a second over a network with all faults.
    Stress,
}

impl Profile {
    /// The kind of surgical fleet with causes, if it is one.
    fn world(self) -> Option<world::Profile> {
        match self {
            Self::Surgical | Self::Fleet => None,
            Self::Reference => Some(world::Profile::Reference),
            Self::Degrading => Some(world::Profile::Degrading),
            Self::Demo => Some(world::Profile::Demo),
            Self::Stress => Some(world::Profile::Stress),
        }
    }
}

/// Flags of the profiles reference, degrading, demo and stress.
#[derive(Debug, Args)]
struct WorldFlags {
    /// With --profile degrading: days that the fleet works [default: 180].
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=3_660))]
    days: Option<i64>,
    /// With --profile degrading or demo: time between two samples of a case, such as 10s [default:
    /// 60s and 1s].
    #[arg(long, value_parser = Micros::parse)]
    interval: Option<Micros>,
    /// With --profile stress: samples a second of a case [default: 100].
    #[arg(long, value_parser = clap::value_parser!(i64).range(10..=1_000))]
    hz: Option<i64>,
    /// With --profile demo or stress: event time to write [default: 1h and 1m]. A demo with --speed
    /// goes on until a signal asks it to stop.
    #[arg(long = "for", value_parser = Micros::parse)]
    span: Option<Micros>,
    /// With --profile demo: how many times as fast as the clock on the wall event time runs;
    /// without it, as fast as it goes.
    #[arg(long, value_parser = speed)]
    speed: Option<f64>,
    /// Facilities, models and surgeons are registered 30 days after the facts that name them.
    #[arg(long)]
    late_registries: bool,
    #[command(flatten)]
    network: Network,
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    number
        .filter(|speed| (0.1..=10_000.0).contains(speed))
        .ok_or_else(|| "a number from 0.1 to 10000".to_owned())
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
        if let Some(profile) = self.profile.world() {
            return self.write_world(&*log, config.partitions, profile, common);
        }
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
        writer.truth = self.open_truth()?;
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

    /// Opens the file for the ground truth, if one is asked for.
    fn open_truth(&self) -> Result<Option<File>, Failure> {
        let Some(path) = &self.truth else {
            return Ok(None);
        };
        let opened = File::options().create(true).append(true).open(path);
        opened
            .map(Some)
            .map_err(|error| Failure::Usage(format!("--truth {}: {error}", path.display())))
    }

    /// The fleet that the flags describe, and its network.
    fn settings(&self, profile: world::Profile) -> Result<(Settings, Faults, Network), Failure> {
        let flags = &self.world;
        self.check_flags(profile)?;
        let mut settings = Settings {
            robots: self.robots as usize,
            late_registries: flags.late_registries,
            ..Settings::of(profile, self.seed)
        };
        if let Some(days) = flags.days {
            settings.span_us = days * DAY_US;
        }
        if let Some(span) = flags.span {
            settings.span_us = span.0;
        } else if flags.speed.is_some() {
            settings.span_us = ENDLESS_US;
        }
        if let Some(interval) = flags.interval {
            settings.sampling = Sampling::Every(interval.0);
        }
        if let Some(hz) = flags.hz {
            settings.sampling = Sampling::Every(1_000_000 / hz);
        }
        if let Some(speed) = flags.speed {
            // What is written faster than it happens begins so long ago that it never is ahead of
            // the clock on the wall.
            let ahead = settings.span_us.min(DEMO_BACKLOG_US) as f64 * (1.0 - 1.0 / speed);
            settings.start_us = SystemClock.now().0 - ahead.max(0.0) as i64;
        }
        let is_calm = self.faults.is_none() && flags.network.is_none();
        let (faults, network) = match profile {
            world::Profile::Stress if is_calm => Network::bad(),
            _ => (self.faults.clone(), flags.network.clone()),
        };
        settings.check().map_err(Failure::Usage)?;
        Ok((settings, faults, network))
    }

    /// Refuses flags that mean nothing with a profile.
    fn check_flags(&self, profile: world::Profile) -> Result<(), Failure> {
        use world::Profile::{Degrading, Demo, Stress};
        let flags = &self.world;
        for (flag, is_given, profiles) in [
            ("--days", flags.days.is_some(), &[Degrading][..]),
            ("--interval", flags.interval.is_some(), &[Degrading, Demo]),
            ("--hz", flags.hz.is_some(), &[Stress]),
            ("--for", flags.span.is_some(), &[Demo, Stress]),
            ("--speed", flags.speed.is_some(), &[Demo]),
        ] {
            if is_given && !profiles.contains(&profile) {
                let named: Vec<String> = profiles
                    .iter()
                    .map(|profile| format!("{profile:?}").to_lowercase())
                    .collect();
                return Err(Failure::Usage(format!(
                    "{flag} is a flag of --profile {}",
                    named.join(" and ")
                )));
            }
        }
        Ok(())
    }

    fn write_world(
        &self,
        log: &dyn EventLog,
        partitions: u32,
        profile: world::Profile,
        common: &Common,
    ) -> Result<(), Failure> {
        let (settings, faults, network) = self.settings(profile)?;
        let begun = SystemClock.now().0;
        let mut writer = WorldWriter::open(log, partitions, &settings, (faults, network))?;
        writer.truth = self.open_truth()?;
        let from = writer.stream.until_us();
        match self.world.speed {
            Some(speed) => write_at_speed(&mut writer, speed)?,
            None => {
                while !writer.stream.is_over() {
                    writer.advance()?;
                    let done = (writer.stream.until_us() - settings.start_us) / DAY_US;
                    progress(format_args!("{} records, day {done}", writer.total()));
                }
            }
        }
        writer.flush()?;
        progress_done();
        let seconds = (SystemClock.now().0 - begun) as f64 / 1e6;
        let days = (writer.stream.until_us() - from) as f64 / DAY_US as f64;
        let records = writer.total();
        for (topic, count) in &writer.written {
            eprintln!("{count:>9}  {}", topic.name());
        }
        eprintln!(
            "{records} records of {days:.1} days in {seconds:.1} s: {:.0} a second",
            records as f64 / seconds.max(1e-3)
        );
        let topics = writer.written.iter();
        let topics: serde_json::Map<String, serde_json::Value> = topics
            .map(|(topic, count)| (topic.name().to_owned(), (*count).into()))
            .collect();
        output::if_json(
            common.output,
            &json!({"step": writer.stream.step(), "records": records, "seconds": seconds, "topics": topics}),
        )
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

/// Becomes true when a signal asks the process to stop.
fn stop_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// Writes steps as they fall due while event time runs `speed` times as fast as the clock on the
/// wall, and never ahead of it, until a signal asks it to stop.
fn write_at_speed(writer: &mut WorldWriter<'_>, speed: f64) -> Result<(), Failure> {
    let stop = stop_signal()?;
    let (begun, from) = (SystemClock.now().0, writer.stream.until_us());
    while !stop.load(Ordering::Acquire) && !writer.stream.is_over() {
        let now = SystemClock.now().0;
        let due = (from + ((now - begun) as f64 * speed) as i64).min(now);
        while writer.stream.next_until_us() <= due && !writer.stream.is_over() {
            writer.advance()?;
            if stop.load(Ordering::Acquire) {
                break;
            }
        }
        writer.flush()?;
        progress(format_args!("{} records", writer.total()));
        std::thread::sleep(LIVE_EVERY);
    }
    Ok(())
}

/// Writes what falls due until a signal asks it to stop.
fn write_live(writer: &mut FleetWriter<'_>) -> Result<(), Failure> {
    let stop = stop_signal()?;
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
