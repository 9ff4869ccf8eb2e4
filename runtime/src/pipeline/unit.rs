//! One owned partition: takes it, runs its components on a thread each, and leaves it when told to, when it is lost, or when it breaks.
//!
//! Four threads: the partition itself, its lake writer, its relays, and the outward publishers (exporter, completer, loader). Each stage of
//! leaving ends once the one before it has: what a partition still saves is still published.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use theatre_actors::ports::{Epoch, Error, FileStage, Lane, Result};
use theatre_actors::position::Partition;
use theatre_actors::shell::Stage;

use super::completer::Completer;
use super::exporter::Exporter;
use super::lake_writer::LakeWriter;
use super::loader::Loader;
use super::partition::{PartitionActor, Shared};
use super::queue::{Bell, LakeQueue, SaveQueue};
use super::relay::Relay;
use super::retention::Retention;
use super::stepping::{BACK_OFF_FIRST, IDLE, keep_stepping};
use super::{PipelineParams, Ports, Progress, Step};

/// How often the outward publishers look for work that nobody told them of, such as facts that came of age.
const OUTWARD_EVERY: Duration = Duration::from_millis(500);

/// What every partition shares with the others.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) params: Arc<PipelineParams>,
    pub(super) ports: Ports,
    pub(super) saves: Arc<SaveQueue>,
    /// Rung after every commit.
    pub(super) committed: Arc<Bell>,
    pub(super) progress: Arc<Progress>,
    /// Write everything outward without waiting for its time.
    pub(super) flush: Arc<AtomicBool>,
    pub(super) stage: Arc<Stage>,
}

/// What a partition is told to do.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Stop reading; save, close and publish what there is.
    drain: AtomicBool,
    /// Leave at once; what is not saved is dropped.
    abandon: AtomicBool,
}

impl Orders {
    /// Stop reading; save, close and publish what there is, and leave.
    pub(super) fn drain(&self) {
        self.drain.store(true, Ordering::Release);
    }

    /// Leave at once.
    pub(super) fn abandon(&self) {
        self.abandon.store(true, Ordering::Release);
        self.drain();
    }

    fn is_draining(&self) -> bool {
        self.drain.load(Ordering::Acquire)
    }
}

/// One owned partition.
pub(super) struct Unit {
    pub(super) partition: Partition,
    pub(super) common: Common,
    pub(super) orders: Arc<Orders>,
}

impl Unit {
    /// Takes the partition and runs it; when it is lost, takes it again under a new epoch.
    pub(super) fn supervise(self) {
        let name = format!("partition {}", self.partition);
        while !self.orders.is_draining() {
            let taken = std::cell::RefCell::new(None);
            let failed = keep_stepping(
                &name,
                &self.common.progress,
                || taken.borrow().is_some() || self.orders.is_draining(),
                || {
                    taken.replace(Some(self.open()?));
                    Ok(Step::Worked)
                },
            );
            let Some((epoch, actor, lake)) = taken.into_inner() else {
                if failed.is_some() {
                    return;
                }
                continue;
            };
            match self.run(epoch, actor, &lake) {
                Some(Error::StaleEpoch { .. }) => std::thread::sleep(BACK_OFF_FIRST),
                Some(_) => return,
                None => {}
            }
        }
    }

    fn open(&self) -> Result<(Epoch, PartitionActor, Arc<LakeQueue>)> {
        let epoch = self.common.ports.store.acquire(self.partition)?;
        let keep: Vec<String> =
            self.common.ports.store.files(self.partition, FileStage::Registered, usize::MAX >> 1)?.into_iter().map(|file| file.file.upload).collect();
        self.common.ports.lake.sweep(&format!("p{}-", self.partition), &keep)?;
        let lake = Arc::new(LakeQueue::new(self.common.params.limits.lake_queue));
        let shared = Shared { saves: self.common.saves.clone(), lake: lake.clone(), progress: self.common.progress.clone() };
        let host = Box::new(self.common.stage.host(self.partition as usize));
        let actor = PartitionActor::open(self.partition, epoch, self.common.params.clone(), self.common.ports.clone(), host, shared)?;
        Ok((epoch, actor, lake))
    }

    /// Runs all components of the partition until it is drained, lost or broken; returns why, if not drained.
    fn run(&self, epoch: Epoch, actor: PartitionActor, lake: &Arc<LakeQueue>) -> Option<Error> {
        // Each stage ends once the one before it has: what a partition still saves is still published.
        let stages = [AtomicBool::new(false), AtomicBool::new(false)];
        let lost = AtomicBool::new(false);
        let lose = |error: Option<Error>| {
            if error.is_some() {
                lost.store(true, Ordering::Release);
            }
            error
        };
        std::thread::scope(|scope| {
            // Named, so that a profiler and the benchmark can tell what each costs.
            let named = |name: &str| std::thread::Builder::new().name(format!("{name}-{}", self.partition));
            let lake_writer = named("lake").spawn_scoped(scope, || lose(self.run_lake(epoch, lake, &stages, &lost)));
            let relays = named("relay").spawn_scoped(scope, || lose(self.run_relays(epoch, &stages, &lost)));
            let outward = named("outward").spawn_scoped(scope, || lose(self.run_outward(epoch, &stages, &lost)));
            let all_there = lake_writer.is_ok() && relays.is_ok() && outward.is_ok();
            if !all_there {
                lost.store(true, Ordering::Release);
            }
            let mut ended = lose(self.run_partition(actor, &lost));
            stages[0].store(true, Ordering::Release);
            let joined = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, Option<Error>>>| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|_| Some(Error::Refused("a component panicked; this is a bug".to_owned()))),
                Err(error) => Some(Error::Unavailable { what: "threads", why: error.to_string() }),
            };
            ended = ended.or(joined(lake_writer));
            stages[1].store(true, Ordering::Release);
            ended.or(joined(relays)).or(joined(outward))
        })
    }

    fn share(&self) -> super::progress::PartitionProgress {
        self.common.progress.partitions().remove(&self.partition).unwrap_or_default()
    }

    fn given_up(&self, lost: &AtomicBool) -> bool {
        lost.load(Ordering::Acquire) || self.orders.abandon.load(Ordering::Acquire)
    }

    fn run_partition(&self, mut actor: PartitionActor, lost: &AtomicBool) -> Option<Error> {
        let name = format!("partition {}", self.partition);
        let mut clean = false;
        let clean_now = std::cell::Cell::new(false);
        let mut seen = 0;
        keep_stepping(
            &name,
            &self.common.progress,
            || clean_now.get() || self.given_up(lost),
            || {
                if self.orders.is_draining() {
                    clean = actor.drain()?;
                    clean_now.set(clean);
                    if !clean {
                        seen = self.common.saves.settled.wait(seen, Duration::from_millis(5));
                    }
                    return Ok(Step::Worked);
                }
                let step = actor.step()?;
                if step == Step::Idle {
                    seen = self.common.saves.settled.wait(seen, Duration::from_millis(10));
                }
                Ok(step)
            },
        )
    }

    fn run_lake(&self, epoch: Epoch, queue: &Arc<LakeQueue>, stages: &[AtomicBool; 2], lost: &AtomicBool) -> Option<Error> {
        let name = format!("lake writer {}", self.partition);
        let mut writer = LakeWriter::new(self.partition, epoch, self.common.params.clone(), self.common.ports.clone(), queue.clone());
        let done = std::cell::Cell::new(false);
        let mut seen = 0;
        keep_stepping(
            &name,
            &self.common.progress,
            || done.get() || self.given_up(lost),
            || {
                let last = stages[0].load(Ordering::Acquire);
                let before = self.share().generation;
                let step = writer.step(last || self.common.flush.load(Ordering::Acquire))?;
                if step == Step::Idle {
                    let cut = writer.is_cut() && queue.is_empty();
                    self.common.progress.update(self.partition, |share| share.lake_done = cut && share.generation == before);
                    done.set(last && cut);
                    seen = queue.offered.wait(seen, IDLE);
                }
                Ok(step)
            },
        )
    }

    fn run_relays(&self, epoch: Epoch, stages: &[AtomicBool; 2], lost: &AtomicBool) -> Option<Error> {
        let name = format!("relay {}", self.partition);
        let mut relays = Lane::ALL.map(|lane| Relay::new(self.partition, epoch, lane, self.common.params.clone(), self.common.ports.clone()));
        let done = std::cell::Cell::new(false);
        let mut seen = 0;
        keep_stepping(
            &name,
            &self.common.progress,
            || done.get() || self.given_up(lost),
            || {
                let last = stages[0].load(Ordering::Acquire);
                let mut step = Step::Idle;
                for relay in &mut relays {
                    if relay.step()? == Step::Worked {
                        step = Step::Worked;
                    }
                }
                if step == Step::Idle {
                    done.set(last);
                    seen = self.common.committed.wait(seen, IDLE);
                }
                Ok(step)
            },
        )
    }

    fn run_outward(&self, epoch: Epoch, stages: &[AtomicBool; 2], lost: &AtomicBool) -> Option<Error> {
        let name = format!("publisher {}", self.partition);
        let (params, ports) = (&self.common.params, &self.common.ports);
        let mut exporter = Exporter::new(self.partition, epoch, ports.clone(), params.registry.clone(), params.limits.clone());
        let mut completer = Completer::new(self.partition, epoch, ports.clone());
        let mut loader = Loader::new(self.partition, epoch, ports.clone(), params.limits.load_files);
        let mut retention = Retention::new(self.partition, params.clone(), ports.clone());
        let done = std::cell::Cell::new(false);
        keep_stepping(
            &name,
            &self.common.progress,
            || done.get() || self.given_up(lost),
            || {
                let last = stages.iter().all(|stage| stage.load(Ordering::Acquire));
                // Looked at first: what is saved and cut from here on is for the next round.
                let before = self.share();
                let exported = exporter.step(last || self.common.flush.load(Ordering::Acquire))?;
                let (completed, files) = completer.step()?;
                let (loaded, rows) = loader.step()?;
                self.common.progress.lake_files.fetch_add(files as u64, Ordering::Relaxed);
                self.common.progress.warehouse_rows.fetch_add(rows, Ordering::Relaxed);
                if [exported, completed, loaded].contains(&Step::Worked) {
                    return Ok(Step::Worked);
                }
                let status = ports.store.status(self.partition)?;
                let told = status.exported_fact >= status.last_fact && status.relayed_fact >= status.last_fact && status.relayed_dead >= status.last_dead;
                let settled = told && before.saved && before.lake_done;
                retention.step(last)?;
                self.common.progress.update(self.partition, |share| share.outward_done = settled && share.generation == before.generation);
                done.set(last);
                self.rest_outward(lost, stages);
                Ok(Step::Idle)
            },
        )
    }

    /// Waits for the next look outward, in slices: an order to leave or to hurry is followed soon.
    fn rest_outward(&self, lost: &AtomicBool, stages: &[AtomicBool; 2]) {
        let mut rested = Duration::ZERO;
        let pressed = || self.common.flush.load(Ordering::Acquire) || self.given_up(lost) || self.orders.is_draining() || stages[1].load(Ordering::Acquire);
        while rested < OUTWARD_EVERY && (rested.is_zero() || !pressed()) {
            std::thread::sleep(IDLE);
            rested += IDLE;
        }
    }
}
