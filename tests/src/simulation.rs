//! The simulation: processes that take, verify, run, drain, lose and leave one partition, with the
//! pipeline's own supervisor, life and list of components, over the ports' twins in memory. Every
//! port call is behind a gate that may fail it, do it and not answer, have a commit come in after
//! its caller has given up, or crash the process; a seeded scheduler; virtual time; old owners that
//! wake up again, or never knew that they were thought dead.
//!
//! The oracle is a batch recomputation: all processors over the whole log in one piece, without
//! saves. Everything that was concluded, published, written to the lake and loaded must equal it,
//! once; and a receiver of alerts that fails now and then gets each of them, in order.

mod gate;
mod oracle;
mod pager;
mod process;
pub mod seeds;
mod versions;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{FileStage, NewRecord};
use theatre_actors::time::{Clock, LogTime};
use theatre_config::inputs::NoSources;
use theatre_config::store::KeptTables;
use theatre_config::{Config, INPUT_TOPICS};
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_pipeline::ends::Ends;
use theatre_pipeline::lifecycle::{Ending, Event, Phase};
use theatre_pipeline::{PipelineParams, Ports, outbox, wiring};
use theatre_schemas::records::{Alert, Transition};
use theatre_simulator::Simulator;
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;

use crate::acting;
use crate::registered::{self, Services};
use gate::{Gate, Lanes, Late, Trimmed};
use pager::Pager;
use process::Process;

/// A bug to put in, to see that the simulation notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The store forgets to check epochs.
    NoFence,
    /// Outputs are published before they are committed.
    PublishBeforeCommit,
    /// A partition that is drained does not wait for its lake writer.
    DrainForgetsLake,
    /// The store loses versions that correct others.
    LosesVersions,
    /// The store keeps versions twice.
    RepeatsVersions,
    /// A partition saves before the lanes of its old owner are closed.
    SaveBeforeLanes,
    /// A new owner does not know what was said to all robots.
    ForgetsWhatWasSaid,
    /// A robot that is restored does not know of a silence of one of its rules.
    ForgetsSilences,
    /// A robot that is restored takes its rules from another record than it had come to.
    RulesFromElsewhere,
    /// A new owner does not know that a change was rejected or withdrawn: it waits again.
    ForgetsRejections,
    /// The position of a receiver moves before it has taken anything.
    NotesBeforeDelivery,
}

/// What a simulation went through.
#[derive(Debug, Default)]
pub struct Tally {
    /// Crashes of the current owner.
    pub crashes: usize,
    /// Alert transitions.
    pub alerts: usize,
    /// Those that people made, or that fell due.
    pub handled: usize,
    /// Those that a receiver is sent.
    pub sent: usize,
    /// What rules in the shadow would have put out.
    pub shadows: usize,
    /// Outcome revisions.
    pub outcomes: usize,
    /// Window revisions after the first.
    pub corrections: usize,
    /// Versions of robots and facilities, corrections among them.
    pub versions: usize,
    /// Hand-overs in order.
    pub drained: usize,
    /// Owners that lost the partition, as far as they noticed.
    pub lost: usize,
    /// Records of the input that were trimmed.
    pub trimmed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self {
            crashes,
            alerts,
            handled,
            sent,
            shadows,
            outcomes,
            corrections,
            versions,
            drained,
            lost,
            trimmed,
        } = other;
        self.crashes += crashes;
        self.alerts += alerts;
        self.handled += handled;
        self.sent += sent;
        self.shadows += shadows;
        self.outcomes += outcomes;
        self.corrections += corrections;
        self.versions += versions;
        self.drained += drained;
        self.lost += lost;
        self.trimmed += trimmed;
    }
}

/// Rules that move often, so that there is much to lose.
const RULES: &str = r#"
[[rule]]
id = "far_right"
priority = "high"
latch = true
unacknowledged = [{ after = "2s" }, { after = "4s" }]
dataset = "robot_telemetry"
kind = { threshold = { signal = "arm_position.x", raise_above = 300.0, clear_below = 220.0 } }
[[rule]]
id = "active"
priority = "low"
flapping = { turns = 4, within = "2s" }
unacknowledged = [{ after = "1s" }]
dataset = "robot_telemetry"
kind = { boolean = { signal = "tool_active" } }
"#;

const START: i64 = 1_767_225_600_000_000;
const TICKS: u64 = 260;
const ROBOTS: u64 = 3;

struct VirtualClock(AtomicI64);

impl Clock for VirtualClock {
    fn now(&self) -> LogTime {
        LogTime(self.0.load(Ordering::Relaxed))
    }
}

struct World {
    ports: Ports,
    /// The store, with its tables.
    store: Arc<MemoryStore>,
    params: Arc<PipelineParams>,
    clock: Arc<VirtualClock>,
    /// Commits under way in the store, of all processes.
    late: Arc<Late>,
    /// How far the input is trimmed: the oracle needs what owners must not read any more.
    trimmed: Arc<Trimmed>,
    /// Who can publish.
    lanes: Arc<Lanes>,
    /// Gets the alerts beside the log and the lake.
    pager: Option<Arc<Pager>>,
    bug: Option<Bug>,
}

impl World {
    fn open(root: &Path, seed: u64, bug: Option<Bug>) -> Result<Self> {
        let clock = Arc::new(VirtualClock(AtomicI64::new(START)));
        let store = Arc::new(MemoryStore::default());
        let ports = Ports {
            log: Arc::new(MemoryLog::new(clock.clone())),
            store: store.clone(),
            lake: Arc::new(MemoryLake::default()),
            warehouse: Arc::new(EmbeddedWarehouse::in_memory()?),
            clock: clock.clone(),
        };
        let day = theatre_actors::rules::Micros(86_400_000_000);
        let second = |seconds: i64| theatre_actors::rules::Micros(seconds * 1_000_000);
        let rules = root.join("rules.toml");
        std::fs::write(&rules, RULES)?;
        let config = Config {
            partitions: 1,
            rules: Some(rules.into()),
            rules_approval: needs_approval(seed, bug),
            silence_after: day,
            save_interval: second(2),
            reorder_bound: second(2),
            allowed_lateness: second(8),
            lake_roll_age: second(1),
            export_age: second(1),
            ..Config::default()
        };
        let time: Arc<dyn Clock> = clock.clone();
        let mut params = PipelineParams::from_config(&config, [3; 32], &NoSources, &time)?;
        params.tables = KeptTables::All;
        params.limits.poll_records = 40;
        params.limits.commit_bytes = 6000;
        params.limits.relay_records = 3;
        params.limits.export_outputs = 40;
        params.limits.load_files = 4;
        // Of virtual time: so a lake writer that is not stepped for a while is left behind.
        params.limits.lake_patience = std::time::Duration::from_millis(400);
        params.limits.log_retention = std::time::Duration::from_secs(2);
        let pager = has_pager(seed, bug).then(|| Pager::new(seed, clock.clone()));
        let pager = pager.transpose()?.map(Arc::new);
        if let Some(pager) = &pager {
            params.sinks.push(pager.clone());
        }
        wiring::prepare(&params, &ports)?;
        Ok(Self {
            ports,
            store,
            params: Arc::new(params),
            clock,
            late: Arc::default(),
            trimmed: Arc::default(),
            lanes: Arc::default(),
            pager,
            bug,
        })
    }
}

/// Whether there is a receiver beside the log and the lake: with every other seed, so that there
/// are pipelines without one, too; with a bug, only if that is the receiver's.
fn has_pager(seed: u64, bug: Option<Bug>) -> bool {
    match bug {
        None => seed % 2 == 1,
        Some(bug) => [Bug::NotesBeforeDelivery, Bug::ForgetsSilences].contains(&bug),
    }
}

/// Whether changes of rules need another person's approval: with every other pair of seeds; with a
/// bug, only if that is one of approvals.
fn needs_approval(seed: u64, bug: Option<Bug>) -> bool {
    match bug {
        None => seed / 2 % 2 == 1,
        Some(bug) => bug == Bug::ForgetsRejections,
    }
}

/// Runs one seed; an error says what differs.
///
/// # Errors
/// When anything was lost, doubled or changed.
pub fn simulate(seed: u64, bug: Option<Bug>) -> Result<Tally> {
    let folder = tempfile::tempdir()?;
    let world = World::open(folder.path(), seed, bug)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let simulator = Simulator::new(seed, ROBOTS, START)?;
    let mut tally = Tally::default();
    let mut next_tick = 0;
    let mut held: Vec<(usize, NewRecord)> = Vec::new();
    let mut process: Option<Process> = None;
    let mut old: Option<Process> = None;
    let mut steps = 0;
    while next_tick < TICKS || steps < 600 {
        steps += 1;
        world
            .clock
            .0
            .fetch_add(random.random_range(1_000..120_000), Ordering::Relaxed);
        if next_tick < TICKS && random.random_range(0..4) == 0 {
            next_tick = produce(&world, &simulator, &mut random, next_tick, &mut held)?;
        }
        // An old owner that was thought dead wakes up for a step. What it fails with is its own
        // affair.
        if random.random_range(0..4) == 0
            && let Some(zombie) = &mut old
        {
            zombie.gate.revive();
            let stepped = zombie.step(&mut random, &world);
            zombie.gate.kill();
            if !matches!(stepped, Ok(None)) || zombie.is_lost() && random.random_range(0..6) == 0 {
                old = None;
            }
        }
        let running = match &mut process {
            Some(running) => running,
            None => {
                let rate = [0.03, 0.03, 0.01, 0.003][random.random_range(0..4)];
                process.insert(Process::new(&world, rate, &mut random)?)
            }
        };
        let event = match random.random_range(0..2000) {
            0..24 => Some(Event::Drain),
            24..26 => Some(Event::Abandon),
            _ => None,
        };
        if let Some(event) = event
            && running.supervisor.lifecycle().now().phase != Phase::Acquiring
        {
            running.supervisor.lifecycle().send(event);
        }
        let ended = running.step(&mut random, &world)?;
        if let Some(violation) = world.lanes.violation() {
            bail!(violation);
        }
        if let Some(ending) = ended {
            ensure!(ending != Ending::Broken, "the owner is broken");
            if ending == Ending::InOrder {
                tally.drained += 1;
                running.check_left(&world)?;
            }
        }
        let (crashed, overtaken) = (running.gate.is_dead(), random.random_range(0..400) == 0);
        tally.crashes += usize::from(crashed);
        if crashed || overtaken || ended.is_some() {
            let gone = process.take();
            tally.lost += gone.as_ref().map_or(0, |gone| gone.lost);
            if crashed || overtaken {
                old = gone;
            }
        }
    }
    tally.lost += process.as_ref().map_or(0, |process| process.lost);
    drop(process);
    finish(&world, &mut random)?;
    let pager = world.pager.as_deref();
    oracle::check_tables(&world.store)?;
    tally.sent = oracle::check(&world.params, &world.ports, pager)
        .with_context(|| format!("after {} crashes", tally.crashes))?;
    tally.trimmed = world.check_trimmed()?;
    for stored in world.ports.store.outputs_after(0, 0, 1 << 30)? {
        let is = |kind| usize::from(stored.output.kind == kind);
        tally.alerts += is(OutputKind::Alert);
        tally.shadows += is(OutputKind::ShadowAlert);
        if stored.output.kind == OutputKind::Alert {
            let alert = Alert::decode(&stored.output.payload)?;
            let by_rule = [Transition::Raised, Transition::Updated, Transition::Cleared];
            tally.handled += usize::from(!by_rule.contains(&alert.transition));
        }
        tally.outcomes += is(OutputKind::Outcome);
        tally.versions += is(OutputKind::RobotVersion) + is(OutputKind::FacilityVersion);
        tally.corrections += is(OutputKind::Window) * usize::from(stored.output.revision > 0);
    }
    Ok(tally)
}

impl World {
    /// Nothing was trimmed that processors or lake still needed; returns how many records were.
    fn check_trimmed(&self) -> Result<u64> {
        let status = self.ports.store.status(0)?;
        let needed = status.floor.lowest(&status.lake_positions);
        let mut trimmed = 0;
        for (topic, name) in INPUT_TOPICS.iter().enumerate() {
            let start = self.trimmed.start(name, 0);
            ensure!(
                start <= needed.get(topic),
                "topic '{name}' is trimmed to {start}, needed from {}",
                needed.get(topic)
            );
            trimmed += start;
        }
        Ok(trimmed)
    }
}

/// Appends the next ticks, with duplicates, gaps, late records and rubbish among them.
fn produce(
    world: &World,
    simulator: &Simulator,
    random: &mut ChaCha8Rng,
    from: u64,
    held: &mut Vec<(usize, NewRecord)>,
) -> Result<u64> {
    let to = from + random.random_range(1..6);
    for tick in from..to {
        let mut records = Vec::new();
        let mut more = registered::records(tick, ROBOTS, START, Services::AmongRecords)?;
        more.extend(acting::records(tick, ROBOTS, START)?);
        for (topic, record) in simulator.tick(tick)?.into_iter().chain(more) {
            match random.random_range(0..200) {
                0..4 => records.extend([(topic, record.clone()), (topic, record)]),
                4..7 => {}
                7..14 if topic == 0 || topic > 3 => held.push((topic, record)),
                14..20 => records.push((
                    topic,
                    NewRecord {
                        value: record.value[..9].to_vec(),
                        ..record
                    },
                )),
                _ => records.push((topic, record)),
            }
        }
        if random.random_range(0..60) == 0 || to >= TICKS {
            records.append(held);
        }
        for (topic, name) in INPUT_TOPICS.iter().enumerate() {
            let batch: Vec<NewRecord> = records
                .iter()
                .filter(|(of, _)| *of == topic)
                .map(|(_, record)| record.clone())
                .collect();
            if !batch.is_empty() {
                world.ports.log.append(name, 0, &batch)?;
            }
        }
    }
    Ok(to)
}

/// A last owner, without faults, reads, saves and publishes everything, and leaves.
fn finish(world: &World, random: &mut ChaCha8Rng) -> Result<()> {
    let mut last = Process::new(world, 0.0, random)?;
    let settled = |last: &mut Process| -> Result<bool> {
        let status = world.ports.store.status(0)?;
        let published = outbox::is_out(&world.params, &status);
        let files = world.ports.store.all_files()?;
        let lake_is_there = status.lake_positions.covers(&status.floor);
        let ends = Ends::now(&*world.ports.log, &world.params.topics, 1)?;
        Ok(published
            && lake_is_there
            && last.context.progress().is_drained_to(&ends)
            && files.iter().all(|file| file.stage == FileStage::Loaded))
    };
    for round in 0..4000 {
        world.clock.0.fetch_add(10_000, Ordering::Relaxed);
        // Everything is read before it is written outward at once.
        last.context.flush(round > 400);
        if let Some(ending) = last.step_all(random, world)? {
            ensure!(ending == Ending::InOrder, "the last owner: {ending:?}");
            return last.check_left(world);
        }
        if round > 400 && settled(&mut last)? {
            last.supervisor.lifecycle().send(Event::Drain);
        }
    }
    bail!(
        "it does not come to rest: {:?}, {:?}",
        last.supervisor.lifecycle().now(),
        last.context.progress()
    )
}
