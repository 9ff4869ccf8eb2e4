//! The simulation: one partition's real components over the ports' twins in memory, every port call
//! behind a gate that may fail it, do it and not answer, have a commit come in after its caller has
//! given up, or crash the process; a seeded scheduler; virtual time; old owners that wake up again.
//!
//! The oracle is a batch recomputation: all processors over the whole log in one piece, without
//! saves. Everything that was concluded, published, written to the lake and loaded must equal it,
//! once.

mod gate;
mod oracle;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result, bail};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use theatre_actors::actix_host::InlineHost;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{Error, FileStage, Lane, NewRecord};
use theatre_actors::time::{Clock, LogTime};
use theatre_config::{Config, INPUT_TOPICS};
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_pipeline::checkpointer::Checkpointer;
use theatre_pipeline::commit_feed::CommitFeed;
use theatre_pipeline::completer::Completer;
use theatre_pipeline::exporter::Exporter;
use theatre_pipeline::lake_writer::LakeWriter;
use theatre_pipeline::loader::Loader;
use theatre_pipeline::partition::{PartitionActor, Shared};
use theatre_pipeline::queue::{CommitQueue, LakeQueue};
use theatre_pipeline::relay::Relay;
use theatre_pipeline::{PipelineParams, Ports, Progress, outbox, wiring};
use theatre_simulator::Simulator;
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;

use gate::{Gate, Late};

/// A bug to put in, to see that the simulation notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The store forgets to check epochs.
    NoFence,
    /// Outputs are published before they are committed.
    PublishBeforeCommit,
}

/// What a simulation went through.
#[derive(Debug, Default)]
pub struct Told {
    /// Crashes of the current owner.
    pub crashes: usize,
    /// Alert transitions.
    pub alerts: usize,
    /// Outcome revisions.
    pub outcomes: usize,
    /// Window revisions after the first.
    pub corrections: usize,
}

/// Rules that move often, so that there is much to lose.
const RULES: &str = r#"
[[rule]]
id = "far_right"
priority = "high"
dataset = "robot_telemetry"
kind = { threshold = { signal = "arm_position.x", raise_above = 300.0, clear_below = 220.0 } }
[[rule]]
id = "active"
priority = "low"
dataset = "robot_telemetry"
kind = { boolean = { signal = "tool_active" } }
"#;

const START: i64 = 1_767_225_600_000_000;
const TICKS: u64 = 260;

struct VirtualClock(AtomicI64);

impl Clock for VirtualClock {
    fn now(&self) -> LogTime {
        LogTime(self.0.load(Ordering::Relaxed))
    }
}

/// One process's components on the partition.
struct Process {
    gate: Arc<Gate>,
    actor: PartitionActor,
    checkpointer: Checkpointer,
    lake: LakeWriter,
    relays: [Relay; 2],
    exporter: Exporter,
    completer: Completer,
    loader: Loader,
}

impl Process {
    fn start(world: &World, gate: Arc<Gate>) -> Result<Self, Error> {
        let ports = gate.around(&world.ports, &world.late, world.bug);
        let params = world.params.clone();
        let epoch = ports.store.acquire(0)?;
        let taken = ports.store.status(0)?;
        let keep: Vec<String> = ports
            .store
            .files(0, FileStage::Registered, 1 << 30)?
            .into_iter()
            .map(|file| file.file.upload)
            .collect();
        ports.lake.sweep(0, epoch, &keep)?;
        let (saves, lake, progress) = (
            Arc::new(CommitQueue::default()),
            Arc::new(LakeQueue::new(2)),
            Arc::new(Progress::default()),
        );
        let committed = Arc::new(CommitFeed::default());
        let shared = Shared {
            saves: saves.clone(),
            lake: lake.clone(),
            committed: committed.clone(),
            progress: progress.clone(),
        };
        Ok(Self {
            actor: PartitionActor::open(
                0,
                epoch,
                params.clone(),
                ports.clone(),
                Box::new(InlineHost::default()),
                shared,
            )?,
            checkpointer: Checkpointer::new(
                &params,
                ports.clone(),
                saves,
                committed.clone(),
                progress,
            ),
            lake: LakeWriter::new(0, epoch, params.clone(), ports.clone(), lake),
            relays: Lane::ALL.map(|lane| {
                Relay::new(
                    0,
                    epoch,
                    lane,
                    &taken,
                    params.clone(),
                    ports.clone(),
                    committed.clone(),
                )
            }),
            exporter: Exporter::new(
                0,
                epoch,
                ports.clone(),
                params.registry.clone(),
                params.limits.clone(),
            ),
            completer: Completer::new(0, epoch, ports.clone()),
            loader: Loader::new(0, epoch, ports, params.limits.load_files),
            gate,
        })
    }

    /// Steps one component.
    fn step(&mut self, which: u32, everything: bool) -> Result<(), Error> {
        match which {
            0 | 1 if everything => self.actor.drain().map(drop),
            0 | 1 => self.actor.step().map(drop),
            2 => self.checkpointer.step().map(drop),
            3 => self.lake.step(everything).map(drop),
            4 => self.relays[0].step().map(drop),
            5 => self.relays[1].step().map(drop),
            6 => self.exporter.step(everything).map(drop),
            7 => self.completer.step().map(drop),
            _ => self.loader.step().map(drop),
        }
    }
}

struct World {
    ports: Ports,
    params: Arc<PipelineParams>,
    clock: Arc<VirtualClock>,
    /// Commits under way in the store, whoever began them.
    late: Arc<Late>,
    bug: Option<Bug>,
}

impl World {
    fn open(root: &Path, bug: Option<Bug>) -> Result<Self> {
        let clock = Arc::new(VirtualClock(AtomicI64::new(START)));
        let ports = Ports {
            log: Arc::new(MemoryLog::new(clock.clone())),
            store: Arc::new(MemoryStore::default()),
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
            silence_after: day,
            save_interval: second(2),
            reorder_bound: second(2),
            allowed_lateness: second(8),
            lake_roll_age: second(1),
            export_age: second(1),
            ..Config::default()
        };
        let mut params = theatre::adapters::params(&config, [3; 32])?;
        params.limits.poll_records = 40;
        params.limits.commit_bytes = 6000;
        params.limits.relay_records = 3;
        params.limits.export_outputs = 40;
        params.limits.load_files = 4;
        // Of virtual time: so a lake writer that is not stepped for a while is left behind.
        params.limits.lake_patience = std::time::Duration::from_millis(400);
        wiring::prepare(&params, &ports)?;
        ports.warehouse.ensure_tables(&wiring::tables(&params)?)?;
        Ok(Self {
            ports,
            params: Arc::new(params),
            clock,
            late: Arc::default(),
            bug,
        })
    }
}

/// Runs one seed; an error says what differs.
///
/// # Errors
/// When anything was lost, doubled or changed.
pub fn simulate(seed: u64, bug: Option<Bug>) -> Result<Told> {
    let folder = tempfile::tempdir()?;
    let world = World::open(folder.path(), bug)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let simulator = Simulator::new(seed, 3, START)?;
    let mut told = Told::default();
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
        // An old owner that was thought dead wakes up for a step.
        if random.random_range(0..6) == 0
            && let Some(zombie) = &mut old
        {
            zombie.gate.revive();
            let stepped = zombie.step(random.random_range(0..9), random.random_range(0..3) == 0);
            zombie.gate.kill();
            if matches!(stepped, Err(Error::StaleEpoch { .. })) && random.random_range(0..3) == 0 {
                old = None;
            }
        }
        match &mut process {
            None => process = Process::start(&world, Gate::new(random.random(), 0.03)).ok(),
            Some(running) => match running.step(random.random_range(0..9), false) {
                Ok(()) | Err(Error::Unavailable { .. }) => {}
                Err(Error::StaleEpoch { .. }) => process = None,
                Err(error) => bail!("{error}"),
            },
        }
        if process
            .as_ref()
            .is_some_and(|running| running.gate.is_dead())
        {
            told.crashes += 1;
            old = process.take();
        }
    }
    drop(process);
    finish(&world)?;
    oracle::check(&world.params, &world.ports)
        .with_context(|| format!("after {} crashes", told.crashes))?;
    for stored in world.ports.store.outputs_after(0, 0, 1 << 30)? {
        let is = |kind| usize::from(stored.output.kind == kind);
        told.alerts += is(OutputKind::Alert);
        told.outcomes += is(OutputKind::Outcome);
        told.corrections += is(OutputKind::Window) * usize::from(stored.output.revision > 0);
    }
    Ok(told)
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
        for (topic, record) in simulator.tick(tick)? {
            match random.random_range(0..200) {
                0..4 => records.extend([(topic, record.clone()), (topic, record)]),
                4..7 => {}
                7..14 if topic == 0 => held.push((topic, record)),
                14..16 => records.push((
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

/// A last owner, without faults, reads, saves and publishes everything.
fn finish(world: &World) -> Result<()> {
    let mut last = Process::start(world, Gate::new(0, 0.0))?;
    for round in 0..4000 {
        world.clock.0.fetch_add(10_000, Ordering::Relaxed);
        let mut idle = true;
        for which in 0..9 {
            // Everything is read before the partition is drained.
            let everything = round > 400;
            last.step(which, everything)
                .map_err(|error| anyhow::anyhow!("the last owner failed: {error}"))?;
            idle &= everything;
        }
        let status = world.ports.store.status(0)?;
        let told = outbox::is_out(&world.params, &status);
        let files = world.ports.store.all_files()?;
        let lake_is_there = status.lake_positions.covers(&status.floor);
        if idle
            && told
            && lake_is_there
            && last.actor.drain()?
            && last.lake.is_cut()
            && files.iter().all(|file| file.stage == FileStage::Loaded)
        {
            return Ok(());
        }
    }
    bail!("it does not come to rest")
}
