//! One owned partition: takes it, runs its components on a thread each, and leaves it when told to,
//! when it is lost, or when it breaks.
//!
//! Four threads: the partition itself, its lake writer, its relays, and exporter and completer.
//! Each arbiters of leaving ends once the one before it has: what a partition still saves is still
//! published. Its loader runs apart ([`super::loading`]): nobody waits for a warehouse. Lake
//! writer, exporter and completer stop nobody but themselves when they are refused, and hold up
//! nobody who leaves for long when the lake is away: alerts do not need the lake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use theatre_actors::actix_host::ArbiterPool;
use theatre_actors::ports::{
    Epoch, Error, FileStage, Lane, PartitionStatus, RegisteredFile, Result,
};
use theatre_actors::position::{Partition, Positions};

use super::commit_feed::CommitFeed;
use super::completer::Completer;
use super::lake_gap;
use super::lake_writer::LakeWriter;
use super::loading::{Loading, Tables};
use super::partition::{PartitionActor, Shared};
use super::queue::{CommitQueue, LakeQueue, Notifier};
use super::relay::Relay;
use super::retention::Retention;
use super::run_loop::{
    BACK_OFF_FIRST, Component, DONE, Flow, IDLE, ON, Refused, TRYING, rest, run_loop,
};
use super::{PipelineParams, Ports, Progress, Step, outbox};

/// How often the outward publishers look for work that nobody told them of, such as outputs that
/// came of age.
const OUTWARD_EVERY: Duration = Duration::from_millis(500);
/// A partition that was lost is taken again after this long, if nobody says otherwise.
const RETAKE_AFTER: Duration = Duration::from_secs(1);

/// What every partition shares with the others.
#[derive(Clone)]
pub(super) struct SharedContext {
    pub(super) params: Arc<PipelineParams>,
    pub(super) ports: Ports,
    pub(super) saves: Arc<CommitQueue>,
    pub(super) committed: Arc<CommitFeed>,
    pub(super) progress: Arc<Progress>,
    /// Write everything outward without waiting for its time.
    pub(super) flush: Arc<AtomicBool>,
    pub(super) arbiters: Arc<ArbiterPool>,
    pub(super) tables: Arc<Tables>,
}

/// What a partition is told to do.
#[derive(Debug)]
pub(super) struct StopSignals {
    /// Stop reading; save, close and publish what there is.
    drain: AtomicBool,
    /// Leave at once; what is not saved is dropped.
    abandon: AtomicBool,
    /// Wakes the partition to follow them.
    bell: Arc<Notifier>,
}

impl StopSignals {
    /// No stop so far for the partition that waits for `bell`.
    pub(super) fn new(bell: Arc<Notifier>) -> Self {
        Self {
            drain: AtomicBool::new(false),
            abandon: AtomicBool::new(false),
            bell,
        }
    }

    /// Stop reading; save, close and publish what there is, and leave.
    pub(super) fn drain(&self) {
        self.drain.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Leave at once.
    pub(super) fn abandon(&self) {
        self.abandon.store(true, Ordering::Release);
        self.drain();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.load(Ordering::Acquire)
    }
}

/// Which stages of a partition have ended: each ends once those before it have.
#[derive(Debug, Default)]
pub(super) struct Stages {
    partition: AtomicBool,
    /// Not an end: predecessors' uploads are swept, own ones may begin.
    pub(super) swept: AtomicBool,
    /// Not an end: the lane of results is open, and what the log knows of it fits the store.
    lane_fits: AtomicBool,
    lake: AtomicBool,
    relays: AtomicBool,
    export: AtomicBool,
}

impl Stages {
    pub(super) fn is_over(&self, arbiters: &AtomicBool) -> bool {
        arbiters.load(Ordering::Acquire)
    }
}

/// One owned partition.
pub(super) struct PartitionSupervisor {
    pub(super) partition: Partition,
    pub(super) context: SharedContext,
    pub(super) stop: Arc<StopSignals>,
}

impl PartitionSupervisor {
    /// Takes the partition and runs it; when it is lost, takes it again under a new epoch. Returns
    /// how far it is saved if it was left in order: all that was read is saved and published, or
    /// another owner's to be.
    pub(super) fn supervise(self) -> Option<Positions> {
        while !self.stop.is_draining() {
            let mut taken = None;
            let take = || {
                taken = Some(self.open()?);
                Ok(DONE)
            };
            let name = self.name("partition");
            let component = Component {
                name: &name,
                progress: &self.context.progress,
                held: None,
                refused: Refused::Stops,
            };
            let failed = run_loop(&component, || self.stop.is_draining(), take);
            let Some((epoch, actor, lake, status)) = taken else {
                if failed.is_some() {
                    return None;
                }
                continue;
            };
            match self.run(epoch, actor, &lake, &status) {
                Some(Error::StaleEpoch { .. }) => {
                    // Not its owner any more: how far it is, and what troubled it, is another's to
                    // say.
                    self.context.progress.forget(self.partition);
                    self.wait_for_word();
                }
                Some(_) => return None,
                None => {}
            }
        }
        let saved_to = self
            .context
            .progress
            .forget(self.partition)
            .map(|share| share.saved_to)
            .unwrap_or_default();
        // One that was abandoned ends when nobody waits for it any more.
        (!self.stop.abandon.load(Ordering::Acquire)).then_some(saved_to)
    }

    /// Somebody else took the partition. Whoever is right, the membership will say soon; only if it
    /// says nothing is the partition taken again.
    fn wait_for_word(&self) {
        let until = Instant::now() + RETAKE_AFTER;
        while Instant::now() < until && !self.stop.is_draining() {
            std::thread::sleep(BACK_OFF_FIRST);
        }
    }

    /// Aborts what predecessors were uploading when they ended. The epoch fences it: a process that
    /// loses the partition between the two calls knows nothing of what its successor has registered
    /// meanwhile. Uploads of lost files stay: they may have been looked for at the wrong place.
    fn sweep(&self, epoch: Epoch) -> Result<()> {
        let mut keep = Vec::new();
        for arbiters in [FileStage::Registered, FileStage::Lost] {
            keep.extend(
                self.files(arbiters)?
                    .into_iter()
                    .map(|file| file.file.upload),
            );
        }
        self.context
            .ports
            .lake
            .sweep(self.partition, epoch, &keep)?;
        self.note_lost()
    }

    fn files(&self, arbiters: FileStage) -> Result<Vec<RegisteredFile>> {
        self.context
            .ports
            .store
            .files(self.partition, arbiters, usize::MAX >> 1)
    }

    /// Says how many files are set aside as lost.
    fn note_lost(&self) -> Result<()> {
        self.context
            .progress
            .files_missing(self.partition, self.files(FileStage::Lost)?.len());
        Ok(())
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

    fn open(&self) -> Result<(Epoch, PartitionActor, Arc<LakeQueue>, PartitionStatus)> {
        self.check_layout()?;
        let epoch = self.context.ports.store.acquire(self.partition)?;
        // A repartition since the look above has not fenced this epoch.
        self.check_layout()?;
        let status = self.context.ports.store.status(self.partition)?;
        if self.context.params.lake {
            lake_gap::begin(
                self.partition,
                epoch,
                &self.context.params,
                &self.context.ports,
            )?;
        }
        let limits = &self.context.params.limits;
        let room = self.context.saves.bell(self.partition);
        let lake = Arc::new(if self.context.params.lake {
            LakeQueue::new(limits.lake_queue).telling(room)
        } else {
            LakeQueue::to_nowhere()
        });
        let shared = Shared {
            saves: self.context.saves.clone(),
            lake: lake.clone(),
            committed: self.context.committed.clone(),
            progress: self.context.progress.clone(),
        };
        let host = Box::new(self.context.arbiters.host(self.partition as usize));
        let actor = PartitionActor::open(
            self.partition,
            epoch,
            self.context.params.clone(),
            self.context.ports.clone(),
            host,
            shared,
        )?;
        Ok((epoch, actor, lake, status))
    }

    /// Runs all components of the partition until it is drained, lost or broken; returns why, if
    /// not drained.
    fn run(
        &self,
        epoch: Epoch,
        actor: PartitionActor,
        lake: &Arc<LakeQueue>,
        taken: &PartitionStatus,
    ) -> Option<Error> {
        let stages = Arc::new(Stages::default());
        let lost = Arc::new(AtomicBool::new(false));
        let lose = |error: Option<Error>| {
            if error.is_some() {
                lost.store(true, Ordering::Release);
            }
            error
        };
        let joined = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, Option<Error>>>| {
            match thread {
                Ok(thread) => thread.join().unwrap_or_else(|_| {
                    Some(Error::Refused(
                        "a component panicked; this is a bug".to_owned(),
                    ))
                }),
                Err(error) => Some(no_thread(&error)),
            }
        };
        let loading = Loading::start(
            (self.partition, epoch),
            &self.context,
            self.stop.clone(),
            stages.clone(),
            lost.clone(),
        );
        let ended = std::thread::scope(|scope| {
            // Named, so that a profiler and the benchmark can tell what each costs.
            let named =
                |name: &str| std::thread::Builder::new().name(format!("{name}-{}", self.partition));
            let lake_writer = named("lake")
                .spawn_scoped(scope, || lose(self.run_lake(epoch, lake, &stages, &lost)));
            let relays = named("relay").spawn_scoped(scope, || {
                lose(self.run_relays(epoch, taken, &stages, &lost))
            });
            let export = named("outward")
                .spawn_scoped(scope, || lose(self.run_export(epoch, &stages, &lost)));
            if loading.is_err()
                || [&lake_writer, &relays, &export]
                    .iter()
                    .any(|thread| thread.is_err())
            {
                lost.store(true, Ordering::Release);
            }
            let mut ended = lose(self.run_partition(actor, &stages, &lost));
            stages.partition.store(true, Ordering::Release);
            for (thread, arbiters) in [
                (lake_writer, &stages.lake),
                (relays, &stages.relays),
                (export, &stages.export),
            ] {
                ended = ended.or(joined(thread));
                arbiters.store(true, Ordering::Release);
            }
            ended
        });
        match loading {
            Ok(loading) => ended.or_else(|| loading.failure()),
            Err(error) => ended.or_else(|| Some(no_thread(&error))),
        }
    }

    fn share(&self) -> super::progress::PartitionProgress {
        self.context.progress.share(self.partition)
    }

    fn given_up(&self, lost: &AtomicBool) -> bool {
        lost.load(Ordering::Acquire) || self.stop.abandon.load(Ordering::Acquire)
    }

    fn name(&self, component: &str) -> String {
        format!("{component} {}", self.partition)
    }

    /// Keeps a component of the partition run_loop until it is done, the partition is given up, or
    /// it fails for good.
    fn keep(
        &self,
        component: &str,
        lost: &AtomicBool,
        step: impl FnMut() -> Result<Flow>,
    ) -> Option<Error> {
        let component = Component {
            name: &self.name(component),
            progress: &self.context.progress,
            held: None,
            refused: Refused::Stops,
        };
        run_loop(&component, || self.given_up(lost), step)
    }

    /// The same for one that needs the lake, which the partition does not wait for.
    fn keep_apart(
        &self,
        component: &str,
        lost: &AtomicBool,
        step: impl FnMut() -> Result<Flow>,
    ) -> Option<Error> {
        let refused = Refused::Waits(&|| self.stop.is_draining());
        let component = Component {
            name: &self.name(component),
            progress: &self.context.progress,
            held: None,
            refused,
        };
        run_loop(&component, || self.given_up(lost), step)
    }

    fn run_partition(
        &self,
        mut actor: PartitionActor,
        stages: &Stages,
        lost: &AtomicBool,
    ) -> Option<Error> {
        let mut seen = 0;
        self.keep("partition", lost, || {
            let fits = stages.is_over(&stages.lane_fits);
            actor.hold_saves(!fits);
            let idle = if self.stop.is_draining() {
                // What is read and must not be saved yet is the next owner's to read again.
                if !fits || actor.drain()? {
                    return Ok(DONE);
                }
                true
            } else {
                actor.step()? == Step::Idle
            };
            if idle {
                seen = actor.rest(seen);
            }
            Ok(ON)
        })
    }

    fn run_lake(
        &self,
        epoch: Epoch,
        queue: &Arc<LakeQueue>,
        stages: &Stages,
        lost: &AtomicBool,
    ) -> Option<Error> {
        let writer = || {
            LakeWriter::new(
                self.partition,
                epoch,
                self.context.params.clone(),
                self.context.ports.clone(),
                queue.clone(),
            )
        };
        let mut writer = self.context.params.lake.then(writer);
        let mut seen = 0;
        self.keep_apart("lake writer", lost, || {
            let last = stages.is_over(&stages.partition);
            let before = self.share().generation;
            if last && !stages.is_over(&stages.lane_fits) {
                return Ok(DONE);
            }
            let step = match &mut writer {
                // A store that does not fit the log has no say in which uploads are orphans.
                Some(_) if !stages.is_over(&stages.lane_fits) => Step::Idle,
                Some(_) if !stages.is_over(&stages.swept) => {
                    self.sweep(epoch)?;
                    stages.swept.store(true, Ordering::Release);
                    Step::Worked
                }
                Some(writer) => writer.step(last || self.context.flush.load(Ordering::Acquire))?,
                None => Step::Idle,
            };
            if let Some(writer) = writer.as_mut().filter(|writer| last && writer.is_behind()) {
                // Nobody who leaves waits until it has caught up: the next owner's writer goes on
                // from here.
                writer.close()?;
                return Ok(DONE);
            }
            if step == Step::Worked {
                return Ok(if writer.as_ref().is_some_and(LakeWriter::is_shaken) {
                    TRYING
                } else {
                    ON
                });
            }
            let cut = writer.as_ref().is_none_or(LakeWriter::is_cut) && queue.is_empty();
            self.context.progress.update(self.partition, |share| {
                share.lake_done = cut && share.generation == before
            });
            if last && cut {
                return Ok(DONE);
            }
            seen = queue.offered.wait(seen, IDLE);
            Ok(ON)
        })
    }

    fn run_relays(
        &self,
        epoch: Epoch,
        taken: &PartitionStatus,
        stages: &Stages,
        lost: &AtomicBool,
    ) -> Option<Error> {
        let SharedContext {
            params,
            ports,
            committed,
            ..
        } = &self.context;
        let mut relays = Lane::ALL.map(|lane| {
            Relay::new(
                self.partition,
                epoch,
                lane,
                taken,
                params.clone(),
                ports.clone(),
                committed.clone(),
            )
        });
        let mut seen = 0;
        self.keep("relay", lost, || {
            let last = stages.is_over(&stages.partition);
            if last && !stages.is_over(&stages.lane_fits) {
                // Nothing of ours is to be published, and what predecessors left is the next
                // owner's.
                return Ok(DONE);
            }
            let mut worked = false;
            for relay in &mut relays {
                let stepped = relay.step();
                // Also if publishing failed then. The lane of dead letters is opened only when
                // there is one.
                if relay.fits() && !stages.lane_fits.swap(true, Ordering::AcqRel) {
                    self.stop.bell.ring();
                }
                worked |= stepped? == Step::Worked;
            }
            if worked {
                return Ok(ON);
            }
            if last {
                relays.iter_mut().try_for_each(Relay::note)?;
                return Ok(DONE);
            }
            seen = self.context.committed.wait(self.partition, seen, IDLE);
            Ok(ON)
        })
    }

    /// Exports, completes and trims; with no lake it only watches the relays and trims.
    fn run_export(&self, epoch: Epoch, stages: &Stages, lost: &AtomicBool) -> Option<Error> {
        let (params, ports) = (&self.context.params, &self.context.ports);
        let mut consumers = outbox::outward(self.partition, epoch, params, ports);
        let mut completer = Completer::new(self.partition, epoch, ports.clone());
        let mut retention = Retention::new(self.partition, epoch, params.clone(), ports.clone());
        self.keep_apart("publisher", lost, || {
            let last = stages.is_over(&stages.partition) && stages.is_over(&stages.lake);
            // Looked at first: what is saved and cut from here on is for the next round.
            let before = self.share();
            if !params.lake || stages.is_over(&stages.swept) {
                // Each does its work though another fails.
                let everything = last || self.context.flush.load(Ordering::Acquire);
                let mut steps: Vec<Result<Step>> = consumers
                    .iter_mut()
                    .map(|consumer| consumer.deliver(everything))
                    .collect();
                if params.lake {
                    steps.push(self.complete(&mut completer));
                }
                retention.step(false)?;
                let steps: Vec<Step> = steps.into_iter().collect::<Result<_>>()?;
                if steps.contains(&Step::Worked) {
                    return Ok(ON);
                }
            }
            let status = ports.store.status(self.partition)?;
            let settled = outbox::is_out(params, &status) && before.saved && before.lake_done;
            retention.step(last)?;
            self.context.progress.update(self.partition, |share| {
                share.outward_done = settled && share.generation == before.generation
            });
            if last {
                return Ok(DONE);
            }
            // An order to leave or to hurry is followed soon.
            let hurried = || self.context.flush.load(Ordering::Acquire) || self.stop.is_draining();
            rest(OUTWARD_EVERY, || {
                hurried() || self.given_up(lost) || stages.is_over(&stages.lake)
            });
            Ok(ON)
        })
    }
}

impl PartitionSupervisor {
    fn complete(&self, completer: &mut Completer) -> Result<Step> {
        let completed = completer.step()?;
        self.context
            .progress
            .lake_files
            .fetch_add(completed.files, Ordering::Relaxed);
        self.context
            .progress
            .lost_files
            .fetch_add(completed.lost, Ordering::Relaxed);
        // Files that were lost come back when somebody requeues them.
        if completed.lost > 0
            || completed.files > 0 && self.context.progress.misses_files(self.partition)
        {
            self.note_lost()?;
        }
        Ok(completed.step())
    }
}

fn no_thread(error: &std::io::Error) -> Error {
    Error::Unavailable {
        what: "threads",
        why: error.to_string(),
    }
}
