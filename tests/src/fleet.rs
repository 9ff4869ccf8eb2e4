//! The input of the tests on servers: a simulated fleet with faults, the same records in the same
//! order by whichever client they are written, and rules that often fire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{EventLog, NewRecord};
use theatre_config::INPUT_TOPICS;
use theatre_simulator::fleet::START_US;
use theatre_simulator::{Faults, Simulator};

use crate::conclusions::Conclusions;
use crate::deployment::Deployment;

/// A rule that a sound robot breaks about once a second, so that alerts keep coming.
pub const RULES: &str = "\
[[rule]]
id = \"tremor\"
priority = \"high\"
dataset = \"robot_telemetry\"
description = \"the hand trembles\"
[rule.kind.threshold]
signal = \"tremor_compensation\"
raise_above = 10.0
clear_below = 7.0

[[rule]]
id = \"joint2_hot\"
priority = \"medium\"
dataset = \"robot_telemetry\"
description = \"the motor of joint 2 is hot\"
[rule.kind.threshold]
signal = \"joints[2].temperature\"
raise_above = 60.0
clear_below = 55.0
hold = \"1s\"
";

const SEED: u64 = 7;
/// A tick of the fleet is a tenth of a second of its time.
const TICK: Duration = Duration::from_millis(100);

/// Settings of a deployment for such a fleet: everything is saved, cut and published soon, nothing
/// is decided by the wall clock. Files are not so many that reading all of them is most of a test.
pub fn settings(partitions: u32) -> String {
    format!(
        "partitions = {partitions}\nsave_interval = \"300ms\"\nlake_roll_age = \"3s\"\nexport_age = \"3s\"\nsilence_after = \"1d\"\n\
         reorder_bound = \"1s\"\nallowed_lateness = \"5s\"\nwindows = [{{ name = \"5s\", size = \"5s\" }}]\n"
    )
}

/// A fleet and where its records go.
pub struct Fleet {
    simulator: Simulator,
    partitions: u32,
}

impl Fleet {
    /// A fleet of so many robots whose transport loses, doubles, delays and damages records.
    pub fn new(robots: u64, partitions: u32) -> Result<Self> {
        let faults = Faults {
            duplicate: 0.01,
            gap: 0.005,
            reorder: 0.02,
            late: 0.005,
            truncated: 0.002,
            unknown_schema: 0.002,
            nan: 0.005,
            // Beyond the allowed lateness of the settings.
            late_ticks: 100,
            ..Faults::default()
        };
        Ok(Self {
            simulator: Simulator::new(SEED, robots, START_US)?.with_faults(faults),
            partitions,
        })
    }

    /// The command by which Theatre produces the same fleet.
    pub fn flags(robots: u64, ticks: u64) -> Vec<String> {
        let faults = "--fault-duplicate 0.01 --fault-gap 0.005 --fault-reorder 0.02 --fault-late 0.005 --fault-truncated 0.002 --fault-unknown-schema 0.002 --fault-nan 0.005";
        let flags = format!(
            "simulate --seed {SEED} --robots {robots} --ticks {ticks} {faults} --late-ticks 100"
        );
        flags.split(' ').map(str::to_owned).collect()
    }

    /// The records of some ticks by topic, in order.
    pub fn records(&self, ticks: std::ops::Range<u64>) -> Result<BTreeMap<usize, Vec<NewRecord>>> {
        let mut records: BTreeMap<usize, Vec<NewRecord>> = BTreeMap::new();
        for tick in ticks {
            for (topic, record) in self.simulator.tick(tick)? {
                records.entry(topic).or_default().push(record);
            }
        }
        Ok(records)
    }

    /// Writes the records of some ticks into a log; events first, so that a sample finds its
    /// procedure known.
    pub fn feed(&self, log: &dyn EventLog, ticks: std::ops::Range<u64>) -> Result<()> {
        for (topic, records) in self.records(ticks)?.into_iter().rev() {
            let mut by_partition: BTreeMap<u32, Vec<NewRecord>> = BTreeMap::new();
            for record in records {
                by_partition
                    .entry(partition_of(&record.key, self.partitions))
                    .or_default()
                    .push(record);
            }
            for (partition, records) in by_partition {
                log.append(INPUT_TOPICS[topic], partition, &records)?;
            }
        }
        Ok(())
    }
}

/// A producer at ten ticks a second, until it is stopped.
pub struct Flow {
    controls: Arc<Controls>,
    thread: JoinHandle<Result<u64>>,
}

#[derive(Default)]
struct Controls {
    pause: AtomicBool,
    stop: AtomicBool,
    /// Nothing is being written: what was begun is acknowledged.
    resting: AtomicBool,
}

impl Flow {
    /// Creates the topics and begins.
    pub fn start(log: Arc<dyn EventLog>, robots: u64, partitions: u32) -> Result<Self> {
        log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), partitions)?;
        let fleet = Fleet::new(robots, partitions)?;
        let controls = Arc::new(Controls::default());
        let shared = controls.clone();
        let thread = std::thread::spawn(move || {
            let mut ticks = 0;
            while !shared.stop.load(Ordering::Acquire) {
                let begun = Instant::now();
                let pause = shared.pause.load(Ordering::Acquire);
                if !pause {
                    fleet.feed(&*log, ticks..ticks + 1)?;
                    ticks += 1;
                }
                shared.resting.store(pause, Ordering::Release);
                std::thread::sleep(TICK.saturating_sub(begun.elapsed()));
            }
            Ok(ticks)
        });
        Ok(Self { controls, thread })
    }

    /// Writes nothing until [`Self::resume`].
    pub fn pause(&self) {
        self.controls.pause.store(true, Ordering::Release);
        while !self.controls.resting.load(Ordering::Acquire) && !self.thread.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Goes on.
    pub fn resume(&self) {
        self.controls.pause.store(false, Ordering::Release);
    }

    /// Stops, and says how many ticks were written.
    pub fn end(self) -> Result<u64> {
        self.controls.stop.store(true, Ordering::Release);
        self.thread
            .join()
            .map_err(|_| anyhow!("the producer panicked"))?
    }
}

/// What the same ticks come to without servers and without anything happening.
pub fn calm(robots: u64, partitions: u32, ticks: u64) -> Result<Conclusions> {
    let deployment = Deployment::new(&settings(partitions), RULES)?;
    let log = deployment.log("calm")?;
    log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), partitions)?;
    let fleet = Fleet::new(robots, partitions)?;
    for tick in 0..ticks {
        fleet.feed(&*log, tick..tick + 1)?;
    }
    deployment.drain("calm")?;
    Conclusions::read(&deployment.config()?, &deployment.ports("calm")?)
}
