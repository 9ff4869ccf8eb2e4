//! One owned partition: takes it, runs its components on a thread each, and leaves it when it is to
//! be left, when it is lost, or when it breaks. What follows what is [`super::lifecycle`]'s to say.
//!
//! Four threads: the partition itself, its lake writer, its relays, and exporter and completer.
//! Each ends once those that feed it have ended: what a partition still saves is still published.
//! Its loader ([`super::loading`]) and its notifiers ([`super::notifier`]), one for each receiver,
//! run apart: a partition that is left does not wait for a warehouse or for a receiver. Lake
//! writer, exporter and completer stop only themselves when they are refused, and delay leaving
//! only shortly when the lake is away: alerts do not need the lake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use theatre_actors::host::ProcessorHost;
use theatre_actors::ports::{Error, Result};
use theatre_actors::position::{Partition, Positions};

use super::commit_feed::CommitFeed;
use super::components::Acquired;
use super::lake_gap;
use super::lifecycle::{Command, Ending, Event, Lifecycle, Phase, Role, Transition};
use super::live::LiveQueries;
use super::loading::Tables;
use super::partition::{PartitionActor, Shared};
use super::queue::{CommitQueue, LakeQueue};
use super::retry::Need;
use super::run_loop::{Flow, IDLE, Runner, Stepper, keep, run_loop};
use super::{PipelineParams, Ports, Progress, outbox, wiring};

/// A partition that was lost is taken again after this long, unless the membership takes it away.
const RETAKE_AFTER: Duration = Duration::from_secs(1);

/// Makes the host of a partition's processors.
pub type Hosts = Arc<dyn Fn() -> ProcessorHost + Send + Sync>;

/// What every partition shares with the others.
#[derive(Clone)]
pub struct SharedContext {
    pub(super) params: Arc<PipelineParams>,
    pub(super) ports: Ports,
    pub(super) saves: Arc<CommitQueue>,
    pub(super) committed: Arc<CommitFeed>,
    pub(super) progress: Arc<Progress>,
    /// Save everything and write it outward without waiting for its time. Every component looks at
    /// each of its steps, so a request is never lost.
    pub(super) flush: Arc<AtomicBool>,
    pub(super) hosts: Hosts,
    pub(super) tables: Arc<Tables>,
    /// Where the partition lists its processors for questions.
    pub(super) live: LiveQueries,
}

impl SharedContext {
    /// How far it is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Saves everything and writes it outward as soon as it is there instead of waiting for size or
    /// age.
    pub fn flush(&self, on: bool) {
        self.flush.store(on, Ordering::Release);
    }
}

/// One owned partition.
pub struct PartitionSupervisor {
    partition: Partition,
    context: SharedContext,
    lifecycle: Arc<Lifecycle>,
}

impl PartitionSupervisor {
    /// For a partition that is to be taken; `transition` is [`super::lifecycle::next`].
    pub fn new(partition: Partition, context: SharedContext, transition: Transition) -> Self {
        let lifecycle = Lifecycle::new(context.saves.notifier(partition), transition);
        context.progress.watch(partition, &lifecycle);
        context.progress.taking.note(partition, 0, 0);
        Self {
            partition,
            context,
            lifecycle,
        }
    }

    /// The partition's life: what happens to the partition is sent there.
    pub fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.lifecycle
    }

    /// Carries out the life's commands until the last. Returns how far the partition is saved if it
    /// was left in order: all that was read is saved and published, or another owner's to be.
    pub(super) fn supervise(self) -> Option<Positions> {
        let mut runners = Vec::new();
        loop {
            let seen = self.lifecycle.changes();
            match self.lifecycle.command() {
                Some(Command::Acquire) => runners = self.acquire_in_the_end(),
                Some(Command::Start) => self.run(std::mem::take(&mut runners)),
                Some(Command::Forget) => self.forget(),
                Some(Command::AwaitRetake) => {
                    if self.lifecycle.now().phase == Phase::Lost {
                        self.lifecycle.wait(seen, RETAKE_AFTER);
                    }
                    self.lifecycle.send(Event::Retake);
                }
                Some(Command::Finish(ending)) => return self.finish(ending),
                None => self.lifecycle.wait(seen, IDLE),
            }
        }
    }

    /// How far the partition is, and what troubled it, is another owner's to report.
    pub fn forget(&self) {
        self.context.progress.forget(self.partition);
    }

    /// Forgets the partition; returns how far it is saved if it was left in order.
    pub fn finish(&self, ending: Ending) -> Option<Positions> {
        if ending == Ending::Broken {
            // What stopped stays named.
            return None;
        }
        let share = self.context.progress.forget(self.partition);
        let saved_to = share.map(|share| share.saved.positions).unwrap_or_default();
        // The deadline of one that was abandoned has passed.
        (ending != Ending::Abandoned).then_some(saved_to)
    }

    /// Takes the partition, however often that has to be tried, unless it is to be left.
    fn acquire_in_the_end(&self) -> Vec<Runner> {
        let mut runners = Vec::new();
        let (name, progress) = (self.name(Role::Partition), self.context.progress.clone());
        let failed = run_loop(
            &mut Stepper::new(name, progress, Need::Needed),
            || self.lifecycle.now().phase != Phase::Acquiring,
            || {
                runners = self.acquire()?;
                Ok(Flow::Done)
            },
        );
        match failed {
            None => {}
            Some(Error::StaleEpoch { .. }) => self.lifecycle.send(Event::Stale),
            Some(_) => self.lifecycle.send(Event::Failed),
        }
        runners
    }

    /// Takes the partition under a new epoch and restores its processors; returns its components,
    /// sink first.
    ///
    /// # Errors
    /// `Unavailable`: try again. `StaleEpoch`: another owner has taken it meanwhile. Others: it
    /// cannot be run.
    pub fn acquire(&self) -> Result<Vec<Runner>> {
        let acquired = self.open()?;
        let (epoch, tenure) = (acquired.epoch, acquired.tenure.clone());
        let runner = |component: Box<dyn super::run_loop::Component>| {
            let role = component.role();
            let need = match role {
                Role::Partition | Role::Relay => Need::Needed,
                Role::LakeWriter | Role::Publisher | Role::Loader | Role::Notifier => Need::Spared,
            };
            let name = format!("{} {}", component.name(), self.partition);
            let stepper = Stepper::new(name, self.context.progress.clone(), need);
            let stepper = match role {
                Role::Loader | Role::Notifier => stepper.held(self.partition, epoch),
                _ => stepper,
            };
            Runner::new(component, tenure.clone(), stepper)
        };
        let components = wiring::components(&self.context, acquired);
        let runners = components.into_iter().map(runner).collect();
        tenure.send(Event::Acquired);
        Ok(runners)
    }

    /// Refuses to go on with a partition count that `theatre state repartition` has ended.
    fn check_layout(&self) -> Result<()> {
        let (ours, known) = (
            self.context.params.partitions,
            self.context
                .ports
                .store
                .layout()?
                .map(|(_, partitions)| partitions),
        );
        match known {
            Some(known) if known != ours => Err(Error::Refused(format!(
                "the store has {known} partitions since `theatre state repartition`, this process runs with {ours}: set partitions = {known} and start it again"
            ))),
            _ => Ok(()),
        }
    }

    fn open(&self) -> Result<Acquired> {
        self.check_layout()?;
        let epoch = self.context.ports.store.acquire(self.partition)?;
        // A repartition since the look above has not fenced this epoch.
        self.check_layout()?;
        let status = self.context.ports.store.status(self.partition)?;
        outbox::begin(
            self.partition,
            epoch,
            &self.context.params,
            &self.context.ports,
            &status,
        )?;
        if self.context.params.lake {
            lake_gap::begin(
                self.partition,
                epoch,
                &self.context.params,
                &self.context.ports,
            )?;
        }
        let limits = &self.context.params.limits;
        let room = self.context.saves.notifier(self.partition);
        let lake = Arc::new(if self.context.params.lake {
            LakeQueue::new(limits.lake_queue).notifying(room)
        } else {
            LakeQueue::to_nowhere()
        });
        let shared = Shared {
            saves: self.context.saves.clone(),
            lake: lake.clone(),
            committed: self.context.committed.clone(),
            progress: self.context.progress.clone(),
        };
        let mut actor = PartitionActor::open(
            self.partition,
            epoch,
            self.context.params.clone(),
            self.context.ports.clone(),
            (self.context.hosts)(),
            shared,
        )?;
        actor.list(&self.context.live);
        Ok(Acquired {
            partition: self.partition,
            epoch,
            status,
            actor,
            lake,
            tenure: self.lifecycle.tenure(),
        })
    }

    /// Runs all components, each on a thread of its own and the partition on this one, until all
    /// but the loader have ended.
    fn run(&self, runners: Vec<Runner>) {
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for mut runner in runners {
                // Named, so that a profiler and the benchmark can tell what each costs.
                let thread = match runner.role() {
                    Role::Loader => "loader",
                    Role::Notifier => "notify",
                    Role::Publisher => "outward",
                    Role::LakeWriter => "lake",
                    Role::Relay => "relay",
                    Role::Partition => {
                        keep(&mut runner);
                        continue;
                    }
                };
                let named =
                    std::thread::Builder::new().name(format!("{thread}-{}", self.partition));
                let spawned = if matches!(runner.role(), Role::Loader | Role::Notifier) {
                    // It may outlast the partition.
                    named.spawn(move || keep(&mut runner)).map(drop)
                } else {
                    let spawned = named.spawn_scoped(scope, move || keep(&mut runner));
                    spawned.map(|thread| threads.push(thread))
                };
                if let Err(error) = spawned {
                    self.fail(&format!("a thread cannot be started: {error}"));
                }
            }
            for thread in threads {
                if thread.join().is_err() {
                    self.fail("a component panicked; this is a bug");
                }
            }
        });
    }

    fn fail(&self, why: &str) {
        let name = self.name(Role::Partition);
        self.context.progress.set_failed(&name, why);
        self.lifecycle.send(Event::Failed);
    }

    fn name(&self, role: Role) -> String {
        format!("{} {}", role.name(), self.partition)
    }
}
