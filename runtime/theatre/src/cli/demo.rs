//! `theatre demo`: the fleet of the simulator's profile `demo` on the pipeline, in real time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use theatre_actors::ports::Role;
use theatre_actors::rules::Micros;
use theatre_actors::time::Clock;

use super::event_printer::EventPrinter;
use super::service::{self, Service, look_further, summary};
use super::world_writer::WorldWriter;
use super::{Common, Failure, serving};
use theatre_config::Config;
use theatre_simulator::Faults;
use theatre_simulator::world::{DAY_US, Network, Profile, Settings};
use theatre_system::clock::SystemClock;

/// How long the fleet has worked when a person first sees it, microseconds of event time: there is
/// something to look at, and the first robot is about to draw too much current.
const BEGUN_AGO_US: i64 = 300_000_000;
/// How long it works: for ever, as people see it.
const ENDLESS_US: i64 = 10_000 * DAY_US;
/// Between two looks at what is due and what has happened.
const PAUSE: Duration = Duration::from_millis(20);

/// A simulated fleet on the pipeline: cases that last minutes, and a robot that wears out while you
/// look.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Stop after this long, such as 60s; absent: until Ctrl-C.
    #[arg(long = "for", value_parser = Micros::parse)]
    run_for: Option<Micros>,
    /// Robots in the fleet; each sends a sample a second during its cases.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    robots: u64,
    /// Seed: the same seed gives the same fleet.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// On local servers instead of embedded files; brings them up first (see theatre dev).
    #[arg(long, conflicts_with = "config")]
    #[cfg_attr(not(feature = "tools"), arg(hide = true))]
    servers: bool,
    #[command(flatten)]
    faults: Faults,
}

/// The rules of the demo, in a file of the data directory that a person may edit meanwhile.
fn rule_file(common: &Common) -> Result<PathBuf, Failure> {
    let path = common.data.join("rules.toml");
    if !path.exists() {
        std::fs::create_dir_all(&common.data)?;
        std::fs::write(&path, theatre_simulator::RULES)?;
    }
    Ok(path)
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

    /// Where the demo runs; `--servers` needs a build with the feature `tools`.
    #[cfg(not(feature = "tools"))]
    fn environment(&self, common: &Common) -> Result<Common, Failure> {
        if self.servers {
            return Err(super::left_out::refusal("theatre demo --servers", "tools"));
        }
        Ok(common.clone())
    }

    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let common = &self.environment(common)?;
        let mut configured = service::config(common)?;
        if configured.rules.is_none() {
            configured.rules = Some(rule_file(common)?.into());
        }
        let config = Config {
            save_interval: Micros(2_000_000),
            lake_roll_age: Micros(10_000_000),
            export_age: Micros(5_000_000),
            reorder_bound: Micros(2_000_000),
            ..configured
        };
        let mut service = Service::start_visibly(common, &config)?;
        serving::serve(&mut service, common, Some(Role::Viewer))?;
        let mut event_printer = EventPrinter::begin(&service, false)?;
        let settings = Settings {
            robots: self.robots as usize,
            start_us: SystemClock.now().0 - BEGUN_AGO_US,
            span_us: ENDLESS_US,
            ..Settings::of(Profile::Demo, self.seed)
        };
        settings.check().map_err(Failure::Usage)?;
        let network = (self.faults.clone(), Network::default());
        let (log, partitions) = (service.ports.log.clone(), service.params.partitions);
        let mut fleet = WorldWriter::open(&*log, partitions, &settings, network)?;
        // While the demo is stopped, event time stops, too: it goes on from the last step written.
        let begun = Instant::now();
        let (origin, story) = match fleet.stream.step() {
            0 => (
                fleet.stream.start_us() + BEGUN_AGO_US,
                "lanternport-1 is about to wear out",
            ),
            _ => (fleet.stream.until_us(), "the fleet goes on"),
        };
        eprintln!(
            "{} robots, a sample a second in each case, seed {}; {story}; Ctrl-C stops cleanly",
            self.robots, self.seed
        );
        while !service.is_stopping()
            && self
                .run_for
                .is_none_or(|limit| begun.elapsed() < Duration::from_micros(limit.0.unsigned_abs()))
        {
            let due = origin + begun.elapsed().as_micros() as i64;
            if fleet.stream.next_until_us() <= due {
                while fleet.stream.next_until_us() <= due && !service.is_stopping() {
                    fleet.advance()?;
                }
                fleet.flush()?;
            }
            event_printer.print_new(&service)?;
            std::thread::sleep(PAUSE);
        }
        eprintln!("stopping: reading what is left, saving, publishing, loading ...");
        service.pipeline.flush(true);
        let ends = service.pipeline.ends()?;
        let until = Instant::now() + Duration::from_secs(30);
        while !service.pipeline.is_drained_to(&ends) && Instant::now() < until {
            event_printer.print_new(&service)?;
            std::thread::sleep(PAUSE);
        }
        event_printer.print_new(&service)?;
        summary(&service, &event_printer);
        look_further(common);
        service.end()
    }
}
