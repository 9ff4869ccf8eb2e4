//! `demo`, `replay` and `simulate`: commands that bring input.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{EventLog, NewRecord, PollLimit};
use theatre_actors::position::Partition;
use theatre_actors::rules::Micros;
use theatre_actors::time::Clock;
use theatre_schemas::records::Transition;

use super::event_printer::EventPrinter;
use super::output::{progress, progress_done};
use super::service::{Place, Service};
use super::{Common, Failure};
use crate::replay::{Mapping, Replay, announced, recording_ended};
use theatre_actors::partitioner::partition_of;
use theatre_config::{Config, INPUT_TOPICS};
use theatre_simulator::fleet::{self, Fleet};
use theatre_simulator::{Faults, Produced, Simulator, TICK_US};
use theatre_system::clock::SystemClock;

/// Where the simulator notes how far it came, in the log itself.
const PROGRESS_TOPIC: &str = "theatre.simulator.progress.v1";
/// Records appended at once by the benchmark's fleet.
const FLEET_BATCH: usize = 50_000;
/// Rows appended at once by a replay that does not keep the pace.
const REPLAY_BATCH: usize = 2000;

/// A simulated fleet on the pipeline.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Stop after this long, such as 60s; absent: until Ctrl-C.
    #[arg(long = "for", value_parser = Micros::parse)]
    run_for: Option<Micros>,
    /// Robots in the fleet, 10 records a second each.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    robots: u64,
    /// Seed: the same seed gives the same fleet.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[cfg(feature = "tools")]
    /// On local servers instead of embedded files; brings them up first (see theatre dev).
    #[arg(long, conflicts_with = "config")]
    servers: bool,
    #[command(flatten)]
    faults: Faults,
}

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
    /// faults, wear, failures. A tick that was written again after a crash is told again.
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

/// Rows of a CSV file through the pipeline.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The file, or - for standard input.
    file: String,
    /// How its columns become telemetry.
    #[arg(long)]
    mapping: PathBuf,
    /// Keep the recorded pace, this many times as fast; absent: as fast as it goes.
    #[arg(long)]
    speed: Option<f64>,
    /// Do not print alerts and outcomes as they come.
    #[arg(long)]
    quiet: bool,
}

/// A fleet and the log it writes to.
struct Driver<'a> {
    simulator: Simulator,
    log: &'a dyn EventLog,
    partitions: u32,
    seed: u64,
    robots: u64,
    start_us: i64,
    next: u64,
    truth: Option<std::fs::File>,
}

impl<'a> Driver<'a> {
    /// Goes on where the log says the fleet stopped; a new fleet begins at `start_us`.
    fn open(
        log: &'a dyn EventLog,
        partitions: u32,
        seed: u64,
        robots: u64,
        faults: &Faults,
        start_us: i64,
    ) -> Result<Self, Failure> {
        faults.check().map_err(Failure::Usage)?;
        log.ensure_topics(&[PROGRESS_TOPIC.to_owned()], 1)?;
        let end = log.range(PROGRESS_TOPIC, 0)?.end;
        let mut noted = Vec::new();
        if end > 0 {
            log.reader(PROGRESS_TOPIC, 0, end - 1)?.poll(
                PollLimit {
                    records: 1,
                    bytes: 1 << 10,
                },
                &mut |record| noted = record.value.to_vec(),
            )?;
        }
        let said = String::from_utf8_lossy(&noted).into_owned();
        let numbers: Vec<i64> = said
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let (start_us, next) = match numbers.as_slice() {
            [known_seed, known_robots, start, next]
                if *known_seed == seed as i64 && *known_robots == robots as i64 =>
            {
                (*start, *next as u64)
            }
            [known_seed, known_robots, ..] => {
                return Err(Failure::Usage(format!(
                    "this data directory holds the fleet of --seed {known_seed} --robots {known_robots}: go on with these, or give another one with --data"
                )));
            }
            _ => (start_us, 0),
        };
        let simulator = Simulator::new(seed, robots, start_us)?.with_faults(faults.clone());
        let driver = Self {
            simulator,
            log,
            partitions,
            seed,
            robots,
            start_us,
            next,
            truth: None,
        };
        if numbers.is_empty() {
            driver.note()?;
        }
        Ok(driver)
    }

    fn note(&self) -> Result<(), Failure> {
        let value = format!(
            "{} {} {} {}",
            self.seed, self.robots, self.start_us, self.next
        )
        .into_bytes();
        self.log.append(
            PROGRESS_TOPIC,
            0,
            &[NewRecord {
                value,
                ..NewRecord::default()
            }],
        )?;
        Ok(())
    }

    /// Writes ticks up to `until`. A crash between the records and the note writes a tick again:
    /// its sequence numbers say so.
    fn advance(&mut self, until: u64) -> Result<(), Failure> {
        while self.next < until {
            let upto = until.min(self.next + 10);
            let mut produced: Vec<Produced> = Vec::new();
            for tick in self.next..upto {
                produced.extend(self.simulator.tick(tick)?);
                if let Some(truth) = &mut self.truth {
                    for told in self.simulator.truth(tick) {
                        writeln!(truth, "{told}")?;
                    }
                }
            }
            append(self.log, self.partitions, produced)?;
            self.next = upto;
            self.note()?;
        }
        Ok(())
    }
}

/// Appends records by topic and partition, in order.
fn append(log: &dyn EventLog, partitions: u32, produced: Vec<Produced>) -> Result<(), Failure> {
    let mut batches: BTreeMap<(usize, Partition), Vec<NewRecord>> = BTreeMap::new();
    for (topic, record) in produced {
        batches
            .entry((topic, partition_of(&record.key, partitions)))
            .or_default()
            .push(record);
    }
    // Events first: a sample finds its procedure known.
    for ((topic, partition), records) in batches.into_iter().rev() {
        log.append(INPUT_TOPICS[topic], partition, &records)?;
    }
    Ok(())
}

impl Demo {
    /// Where the demo runs: with `--servers` on local servers, which are brought up first.
    #[cfg(feature = "tools")]
    fn environment(&self, common: &Common) -> Result<Common, Failure> {
        let mut common = common.clone();
        if self.servers {
            let stack = super::dev::stack(&common);
            super::dev::up(&stack)?;
            common.config = Some(stack.config_file());
        }
        Ok(common)
    }

    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        #[cfg(feature = "tools")]
        let common = &self.environment(common)?;
        let config = Config {
            save_interval: Micros(2_000_000),
            lake_roll_age: Micros(10_000_000),
            export_age: Micros(5_000_000),
            reorder_bound: Micros(2_000_000),
            ..super::service::config(common)?
        };
        let service = Service::start(common, &config)?;
        let mut event_printer = EventPrinter::begin(&service, false)?;
        let now = SystemClock.now().0;
        let mut driver = Driver::open(
            &*service.ports.log,
            service.params.partitions,
            self.seed,
            self.robots,
            &self.faults,
            now,
        )?;
        // Robots stand still while the demo does: event time goes on from where the fleet stands.
        let (origin, begun) = (driver.next, Instant::now());
        eprintln!(
            "{} robots, 10 records/s each, seed {}; Ctrl-C stops cleanly",
            self.robots, self.seed
        );
        while !service.is_stopping()
            && self
                .run_for
                .is_none_or(|limit| begun.elapsed() < Duration::from_micros(limit.0.unsigned_abs()))
        {
            let due = origin + (begun.elapsed().as_micros() / TICK_US as u128) as u64;
            driver.advance(due)?;
            event_printer.tell(&service)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("stopping: reading what is left, saving, publishing, loading ...");
        service.pipeline.flush(true);
        let until = Instant::now() + Duration::from_secs(30);
        while !service.pipeline.drained() && Instant::now() < until {
            event_printer.tell(&service)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        event_printer.tell(&service)?;
        summary(&service, &event_printer);
        look_further(common);
        service.end()
    }
}

impl Simulate {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        let (config, log) = (&place.config, place.write()?.log()?);
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
        // A fixed beginning, so that the same flags give the same bytes.
        let mut driver = Driver::open(
            &*log,
            config.partitions,
            self.seed,
            self.robots,
            &self.faults,
            fleet::START_US,
        )?;
        if let Some(path) = &self.truth {
            let opened = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path);
            driver.truth =
                Some(opened.map_err(|error| {
                    Failure::Usage(format!("--truth {}: {error}", path.display()))
                })?);
        }
        while driver.next < self.ticks {
            driver.advance(self.ticks.min(driver.next + 100))?;
            progress(format_args!("tick {} of {}", driver.next, self.ticks));
        }
        progress_done();
        eprintln!("the fleet stands at tick {}", driver.next);
        Ok(())
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

impl ReplayArgs {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let mapping = Mapping::load(&self.mapping)?;
        let mut config = super::service::config(common)?;
        config.schemas.push(mapping.schema.clone().into());
        config.rules = config.rules.or(mapping.rules.clone().map(Into::into));
        let events = mapping.events.clone();
        let mut replay = Replay::open(&self.file, mapping)?;
        let service = Service::start(common, &config)?;
        let mut event_printer = EventPrinter::begin(&service, self.quiet)?;
        let source = self.feed(&service, &mut replay, &mut event_printer, events.len())?;
        service.drain(|| Ok(event_printer.tell(&service)?))?;
        event_printer.tell(&service)?;
        eprintln!("{} rows replayed, {} refused", source.rows, source.refused);
        summary(&service, &event_printer);
        source.tell_events(&events, &event_printer);
        look_further(common);
        let interrupted = service.is_stopping();
        service.end()?;
        if interrupted {
            Err(Failure::Interrupted)
        } else {
            Ok(())
        }
    }

    fn feed(
        &self,
        service: &Service,
        replay: &mut Replay,
        event_printer: &mut EventPrinter,
        events: usize,
    ) -> Result<Recording, Failure> {
        let mut recording = Recording {
            edges: vec![Vec::new(); events],
            was: vec![false; events],
            ..Recording::default()
        };
        let begun = Instant::now();
        let mut waiting = Vec::new();
        while let Some(row) = replay.next_row() {
            if service.is_stopping() {
                break;
            }
            let row = match row {
                Ok(row) => row,
                Err(error) => {
                    eprintln!("{}: {error}; the row is left out", self.file);
                    recording.refused += 1;
                    continue;
                }
            };
            recording.take(&row);
            if let Some(speed) = self.speed.filter(|speed| *speed > 0.0) {
                let due = Duration::from_secs_f64(
                    (row.event_time - recording.first).max(0) as f64 / 1e6 / speed,
                );
                while begun.elapsed() < due && !service.is_stopping() {
                    append(
                        &*service.ports.log,
                        service.params.partitions,
                        std::mem::take(&mut waiting),
                    )?;
                    event_printer.tell(service)?;
                    std::thread::sleep(
                        (due - begun.elapsed().min(due)).min(Duration::from_millis(20)),
                    );
                }
            }
            waiting.push((0, row.record));
            if waiting.len() >= REPLAY_BATCH {
                append(
                    &*service.ports.log,
                    service.params.partitions,
                    std::mem::take(&mut waiting),
                )?;
                event_printer.tell(service)?;
            }
        }
        append(&*service.ports.log, service.params.partitions, waiting)?;
        for (robot, last) in &recording.last {
            append(
                &*service.ports.log,
                service.params.partitions,
                vec![(1, recording_ended(robot, *last)?)],
            )?;
        }
        Ok(recording)
    }
}

/// What a replay remembers of its file for the summary.
#[derive(Default)]
struct Recording {
    rows: u64,
    refused: u64,
    first: i64,
    last: BTreeMap<String, i64>,
    /// Rising edges by event.
    edges: Vec<Vec<i64>>,
    was: Vec<bool>,
}

impl Recording {
    fn take(&mut self, row: &crate::replay::Row) {
        if self.rows == 0 {
            self.first = row.event_time;
        }
        self.rows += 1;
        let last = self
            .last
            .entry(row.robot_id.clone())
            .or_insert(row.event_time);
        *last = (*last).max(row.event_time);
        for (event, is) in row.events.iter().enumerate() {
            if *is && !self.was[event] {
                self.edges[event].push(row.event_time);
            }
            self.was[event] = *is;
        }
    }

    /// For each flag: how many rising edges had a condition raised within the minute before.
    /// Conditions that only repeat a flag announce nothing and do not count.
    fn tell_events(&self, names: &[String], event_printer: &EventPrinter) {
        for (name, edges) in names.iter().zip(&self.edges) {
            let others = event_printer.heard.iter().filter(|alert| {
                alert.transition == Transition::Raised
                    && !alert
                        .signal
                        .as_ref()
                        .is_some_and(|signal| names.contains(signal))
            });
            let raised: Vec<i64> = others.map(|alert| alert.event_time).collect();
            let told = announced(edges, &raised, 60_000_000);
            eprintln!(
                "{name}: {} times; {} had a condition (other than the flags' own) raised within the 60 s before, {} had not",
                told.events,
                told.announced,
                told.events - told.announced
            );
        }
        let Some(end) = self.last.values().max() else {
            return;
        };
        let span = (end - self.first).max(1) as f64;
        eprintln!(
            "some condition was open during {:.1} % of the recording",
            100.0 * open_time(event_printer, *end) as f64 / span
        );
    }
}

/// Event time during which at least one condition was open, microseconds.
fn open_time(event_printer: &EventPrinter, end: i64) -> i64 {
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for alert in event_printer
        .heard
        .iter()
        .filter(|alert| alert.transition == Transition::Raised)
    {
        let cleared = event_printer.heard.iter().find(|other| {
            other.condition_id == alert.condition_id && other.transition == Transition::Cleared
        });
        spans.push((
            alert.event_time,
            cleared.map_or(end, |cleared| cleared.event_time),
        ));
    }
    spans.sort_unstable();
    let (mut total, mut covered) = (0, i64::MIN);
    for (from, to) in spans {
        total += (to - from.max(covered)).max(0);
        covered = covered.max(to);
    }
    total
}

fn summary(service: &Service, event_printer: &EventPrinter) {
    use std::sync::atomic::Ordering::Relaxed;
    let progress = service.pipeline.progress();
    let raised = event_printer
        .heard
        .iter()
        .filter(|alert| alert.transition == Transition::Raised)
        .count();
    eprintln!(
        "{} records read, {} dead-lettered; {raised} conditions raised, {} outcomes, {} windows; {} lake files, {} warehouse rows",
        progress.records_in.load(Relaxed),
        progress.dead.load(Relaxed),
        event_printer.outcomes_heard,
        progress.outputs(OutputKind::Window),
        progress.lake_files.load(Relaxed),
        progress.warehouse_rows.load(Relaxed),
    );
}

fn look_further(common: &Common) {
    let config = common.config.as_ref().map_or(String::new(), |path| {
        format!(" --config {}", path.display())
    });
    let data = common.data.display();
    eprintln!("look further:");
    for command in [
        "robots list",
        "alerts list",
        "procedures list",
        "warehouse query \"SELECT rule_id, count(*) FROM maintenance_alerts GROUP BY 1\"",
        "reconcile",
    ] {
        eprintln!("  theatre --data {data}{config} {command}");
    }
}
