//! A process of the simulation: the pipeline's supervisor of a partition without its threads. What
//! threads do at the same time is done here a step at a time, in any order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use theatre_actors::host::ProcessorHost;
use theatre_actors::ports::{Epoch, Error, FileStage};
use theatre_pipeline::checkpointer::Checkpointer;
use theatre_pipeline::lifecycle::{self, Command, Ending, Event, Life, Phase, Role, Transition};
use theatre_pipeline::outbox::{DEAD_LETTER_RELAY, EXPORTER, RELAY};
use theatre_pipeline::run_loop::{Runner, Turn};
use theatre_pipeline::supervisor::{PartitionSupervisor, SharedContext};
use theatre_pipeline::wiring;

use super::{Bug, Gate, World};

/// What is stepped beside notifiers, of which there is one for each sink: the supervisor, the
/// checkpointer, and the other components.
const PARTS: usize = 2 + Role::ALL.len() - 1;

/// One process on the partition.
pub(super) struct Process {
    pub(super) gate: Arc<Gate>,
    pub(super) context: SharedContext,
    pub(super) supervisor: PartitionSupervisor,
    /// How often it has noticed that it lost the partition.
    pub(super) lost: usize,
    checkpointer: Checkpointer,
    runners: Vec<Runner>,
    started: bool,
    /// A command that is not carried out yet.
    pending: Option<Command>,
    /// How often each part is stepped: some starve.
    weights: Vec<u32>,
    epoch: Epoch,
    saved: bool,
    /// A component was left before its work was done: the lake may lack something.
    left: bool,
}

impl Process {
    pub(super) fn new(world: &World, rate: f64, random: &mut ChaCha8Rng) -> Result<Self> {
        let gate = Gate::new(random.random(), rate);
        let ports = gate.around(world);
        let hosts = Arc::new(ProcessorHost::default);
        let context = wiring::context_on(world.params.clone(), ports, hosts)?;
        let transition: Transition = match world.bug {
            Some(Bug::DrainForgetsLake) => drain_forgets_lake,
            Some(Bug::SaveBeforeLanes) => save_before_lanes,
            _ => lifecycle::next,
        };
        Ok(Self {
            gate,
            supervisor: PartitionSupervisor::new(0, context.clone(), transition),
            checkpointer: wiring::checkpointer(&context),
            context,
            lost: 0,
            runners: Vec::new(),
            started: false,
            pending: None,
            weights: (0..PARTS + world.params.sinks.len())
                .map(|_| [1, 1, 6, 12][random.random_range(0..4)])
                .collect(),
            epoch: 0,
            saved: false,
            left: false,
        })
    }

    /// Whether another owner took the partition, and this process knows.
    pub(super) fn is_lost(&self) -> bool {
        self.supervisor.lifecycle().now().phase == Phase::Lost
    }

    /// Steps one part; returns how the partition was left once it is.
    ///
    /// # Errors
    /// When a component was refused, or stopped, for another reason than a lost partition.
    pub(super) fn step(
        &mut self,
        random: &mut ChaCha8Rng,
        world: &World,
    ) -> Result<Option<Ending>> {
        let mut at = random.random_range(0..self.weights.iter().sum());
        let part = self.weights.iter().position(|weight| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        // Others wait for the supervisor: it is stepped at once most of the time.
        let idle = !self.started && random.random_range(0..4) > 0;
        self.step_part(if idle { 0 } else { part.unwrap_or(0) }, random, world)
    }

    /// Steps every part once.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub(super) fn step_all(
        &mut self,
        random: &mut ChaCha8Rng,
        world: &World,
    ) -> Result<Option<Ending>> {
        for part in (0..self.weights.len()).rev() {
            let ended = self.step_part(part, random, world)?;
            if ended.is_some() {
                return Ok(ended);
            }
        }
        Ok(None)
    }

    fn step_part(
        &mut self,
        part: usize,
        random: &mut ChaCha8Rng,
        world: &World,
    ) -> Result<Option<Ending>> {
        match part {
            0 => return self.supervise(random, world),
            1 => match self.checkpointer.step() {
                Ok(_) | Err(Error::Unavailable { .. }) => {}
                Err(error) => bail!("the checkpointer: {error}"),
            },
            _ if self.started => self.step_component(part - 2, world)?,
            _ => {}
        }
        let failures = self.context.progress().failures();
        ensure!(failures.is_empty(), "{failures:?}");
        Ok(None)
    }

    fn step_component(&mut self, index: usize, world: &World) -> Result<()> {
        let Some(runner) = self.runners.get_mut(index) else {
            return Ok(());
        };
        let micros = world.clock.0.load(Ordering::Relaxed);
        let turn = runner.turn(Duration::from_micros(micros.unsigned_abs()));
        self.saved |= self.supervisor.lifecycle().now().may_save();
        match turn {
            Turn::Left => self.left = true,
            Turn::Failed(Error::StaleEpoch { .. }) => self.lost += 1,
            Turn::Failed(error) => bail!("the {}: {error}", runner.role().name()),
            Turn::Again(_) | Turn::Retry(_) | Turn::Done | Turn::Over => {}
        }
        Ok(())
    }

    /// Carries out a command, or tries to.
    fn supervise(&mut self, random: &mut ChaCha8Rng, world: &World) -> Result<Option<Ending>> {
        let lifecycle = self.supervisor.lifecycle().clone();
        let Some(command) = self.pending.take().or_else(|| lifecycle.command()) else {
            return Ok(None);
        };
        match command {
            Command::Acquire if lifecycle.now().phase == Phase::Acquiring => {
                match self.supervisor.acquire() {
                    Ok(runners) => {
                        self.epoch = world.ports.store.status(0)?.epoch;
                        (self.runners, self.saved, self.left) = (runners, false, false);
                    }
                    Err(Error::Unavailable { .. }) => self.pending = Some(command),
                    Err(Error::StaleEpoch { .. }) => {
                        self.lost += 1;
                        lifecycle.send(Event::Stale);
                    }
                    Err(error) => bail!("the partition cannot be taken: {error}"),
                }
            }
            Command::Acquire => {}
            Command::Start => self.started = true,
            Command::Forget => {
                self.supervisor.forget();
                self.started = false;
            }
            // The membership may take its time to say who the owner is.
            Command::AwaitRetake if random.random_range(0..20) > 0 => self.pending = Some(command),
            Command::AwaitRetake => lifecycle.send(Event::Retake),
            Command::Finish(ending) => {
                self.supervisor.finish(ending);
                return Ok(Some(ending));
            }
        }
        Ok(None)
    }

    /// What was left in order has nothing left behind, if its owner knew that it was not the owner
    /// any more.
    pub(super) fn check_left(&self, world: &World) -> Result<()> {
        let status = world.ports.store.status(0)?;
        if status.epoch != self.epoch || !self.saved {
            return Ok(());
        }
        ensure!(
            [RELAY, DEAD_LETTER_RELAY]
                .iter()
                .all(|relay| status.cursors.get(&relay.name) == relay.stream.last(&status)),
            "a partition was left in order before all was published: {status:?}"
        );
        if self.left {
            return Ok(());
        }
        ensure!(
            status.lake_positions.covers(&status.floor),
            "a partition was left in order before the lake had what it read: {status:?}"
        );
        let registered = world.ports.store.files(0, FileStage::Registered, 1)?;
        ensure!(
            status.cursors.get(&EXPORTER.name) == status.last_output && registered.is_empty(),
            "a partition was left in order before all was exported: {status:?}, {registered:?}"
        );
        Ok(())
    }
}

/// A life in which the lake counts as written once all is saved.
fn drain_forgets_lake(life: Life, event: Event) -> (Life, Vec<Command>) {
    let (life, commands) = lifecycle::next(life, event);
    then(
        life,
        commands,
        event,
        Event::Ended(Role::Partition),
        Event::Ended(Role::LakeWriter),
    )
}

/// A life in which the lanes count as open once the partition is acquired.
fn save_before_lanes(life: Life, event: Event) -> (Life, Vec<Command>) {
    let (life, commands) = lifecycle::next(life, event);
    then(life, commands, event, Event::Acquired, Event::LanesOpen)
}

/// After `this`, `that` counts as having happened too.
fn then(
    life: Life,
    mut commands: Vec<Command>,
    event: Event,
    this: Event,
    that: Event,
) -> (Life, Vec<Command>) {
    if event != this {
        return (life, commands);
    }
    let (life, more) = lifecycle::next(life, that);
    commands.extend(more);
    (life, commands)
}
