//! The wiring: what steps on which thread, what wakes whom, and what happens when a step fails.
//!
//! Per partition four threads: the partition itself, its lake writer, its relays, and the outward publishers (exporter, completer,
//! loader). One saver for all. A passing fault is retried with back-off and named by readiness; a lost partition is taken again under a
//! new epoch; anything else stops that component, stays named by readiness, and leaves the others alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use theatre_actors::effect::FactKind;
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
use super::saving::Saver;
use super::{PipelineParams, Ports, Progress, Step};
use crate::parquet::{facts, table_spec};

const IDLE: Duration = Duration::from_millis(50);
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// A pipeline that runs.
pub struct Pipeline {
    progress: Arc<Progress>,
    partitions: u32,
    signals: Arc<Signals>,
    threads: Vec<JoinHandle<()>>,
    saver: Option<JoinHandle<()>>,
    _stage: Arc<Stage>,
}

#[derive(Default)]
struct Signals {
    /// Stop reading; save, close and publish what there is.
    drain: AtomicBool,
    /// The saver may end: no partition needs it any more.
    ended: AtomicBool,
    /// Give up waiting.
    abandon: AtomicBool,
    /// Write everything outward without waiting for its time.
    flush: AtomicBool,
}

impl Signals {
    fn is(&self, flag: &AtomicBool) -> bool {
        flag.load(Ordering::Acquire)
    }
}

/// Prepares topics, layout and tables, and starts all components.
///
/// # Errors
/// When the layout differs from the stored one, a table cannot be made, or threads cannot be had.
pub fn start(params: PipelineParams, ports: Ports) -> Result<Pipeline> {
    prepare(&params, &ports)?;
    let thread_error = |error: std::io::Error| Error::Refused(format!("a thread cannot be started: {error}"));
    let stage = Arc::new(Stage::start(params.arbiters).map_err(thread_error)?);
    let progress = Arc::new(Progress::default());
    let signals = Arc::new(Signals::default());
    let saves = Arc::new(SaveQueue::default());
    let params = Arc::new(params);
    let committed = Arc::new(Bell::default());
    let mut threads = Vec::new();
    for partition in 0..params.partitions {
        let unit = Unit {
            partition,
            params: params.clone(),
            ports: ports.clone(),
            saves: saves.clone(),
            committed: committed.clone(),
            progress: progress.clone(),
            signals: signals.clone(),
            stage: stage.clone(),
        };
        threads.push(spawn(format!("partition-{partition}"), move || unit.supervise()).map_err(thread_error)?);
    }
    let saver = {
        let (progress, signals, saves, committed) = (progress.clone(), signals.clone(), saves.clone(), committed.clone());
        let mut saver = Saver::new(ports, saves.clone(), progress.clone(), params.limits.commit_bytes * 2);
        spawn("saver".to_owned(), move || {
            let mut seen = 0;
            keep_stepping(
                "saver",
                &progress,
                || signals.is(&signals.abandon) || signals.is(&signals.ended),
                || {
                    let step = saver.step()?;
                    match step {
                        Step::Worked => committed.ring(),
                        Step::Idle => seen = saves.submitted.wait(seen, IDLE),
                    }
                    Ok(step)
                },
            );
        })
        .map_err(thread_error)?
    };
    Ok(Pipeline { progress, partitions: params.partitions, signals, threads, saver: Some(saver), _stage: stage })
}

/// Makes topics, layout and tables; refuses a layout that differs from the stored one.
///
/// # Errors
/// Says what differs.
pub fn prepare(params: &PipelineParams, ports: &Ports) -> Result<()> {
    ports.store.ensure_layout(&params.topics, params.partitions)?;
    ports.log.ensure_topics(&params.all_topics(), params.partitions)?;
    let mut tables = Vec::new();
    for (_, dataset) in params.registry.datasets().iter() {
        tables.push(table_spec(dataset)?);
    }
    tables.extend([FactKind::Alert, FactKind::Outcome, FactKind::Window].map(facts::table));
    ports.warehouse.ensure_tables(&tables)
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(work)
}

/// Steps until `done` says so or a step fails for good; the failure is returned and stays noted.
fn keep_stepping(name: &str, progress: &Progress, done: impl Fn() -> bool, mut step: impl FnMut() -> Result<Step>) -> Option<Error> {
    let mut back_off = BACK_OFF_FIRST;
    let mut troubled = false;
    while !done() {
        match step() {
            Ok(_) => {
                if std::mem::take(&mut troubled) {
                    progress.set_trouble(name, None);
                }
                back_off = BACK_OFF_FIRST;
            }
            Err(error @ Error::Unavailable { .. }) => {
                tracing::warn!(component = name, %error, "a step failed and is tried again");
                progress.set_trouble(name, Some(error.to_string()));
                troubled = true;
                std::thread::sleep(back_off);
                back_off = (back_off * 2).min(BACK_OFF_MAX);
            }
            Err(error) => {
                tracing::error!(component = name, %error, "a component stopped");
                progress.set_trouble(name, Some(error.to_string()));
                // A lost partition is taken again; anything else is not tried again.
                if !matches!(error, Error::StaleEpoch { .. }) {
                    progress.set_failed(name, &error.to_string());
                }
                return Some(error);
            }
        }
    }
    None
}

impl Pipeline {
    /// How far it is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// True when everything read so far is saved, published, in the lake and in the warehouse, and nothing is left to read.
    pub fn drained(&self) -> bool {
        self.progress.drained(self.partitions)
    }

    /// Writes everything outward as soon as it is there instead of waiting for size or age; for the end of a bounded input.
    pub fn flush(&self, on: bool) {
        self.signals.flush.store(on, Ordering::Release);
    }

    /// Stops reading, saves all families, closes files, publishes, and ends; gives up at `deadline`. True when nothing was left behind.
    pub fn stop(mut self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        self.signals.drain.store(true, Ordering::Release);
        while Instant::now() < until && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let in_time = self.threads.iter().all(JoinHandle::is_finished);
        self.signals.abandon.store(!in_time, Ordering::Release);
        self.signals.ended.store(true, Ordering::Release);
        let mut whole = in_time;
        for thread in self.threads.drain(..).chain(self.saver.take()) {
            whole &= thread.join().is_ok();
        }
        whole
    }
}

struct Unit {
    partition: Partition,
    params: Arc<PipelineParams>,
    ports: Ports,
    saves: Arc<SaveQueue>,
    committed: Arc<Bell>,
    progress: Arc<Progress>,
    signals: Arc<Signals>,
    stage: Arc<Stage>,
}

impl Unit {
    /// Takes the partition and runs it; when it is lost, takes it again under a new epoch.
    fn supervise(self) {
        let name = format!("partition {}", self.partition);
        while !self.signals.is(&self.signals.drain) {
            let taken = std::cell::RefCell::new(None);
            let failed = keep_stepping(
                &name,
                &self.progress,
                || taken.borrow().is_some() || self.signals.is(&self.signals.drain),
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
        let epoch = self.ports.store.acquire(self.partition)?;
        let keep: Vec<String> =
            self.ports.store.files(self.partition, FileStage::Registered, usize::MAX >> 1)?.into_iter().map(|file| file.file.upload).collect();
        self.ports.lake.sweep(&format!("p{}-", self.partition), &keep)?;
        let lake = Arc::new(LakeQueue::new(self.params.limits.lake_queue));
        let shared = Shared { saves: self.saves.clone(), lake: lake.clone(), progress: self.progress.clone() };
        let host = Box::new(self.stage.host(self.partition as usize));
        let actor = PartitionActor::open(self.partition, epoch, self.params.clone(), self.ports.clone(), host, shared)?;
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
        self.progress.partitions().remove(&self.partition).unwrap_or_default()
    }

    fn given_up(&self, lost: &AtomicBool) -> bool {
        lost.load(Ordering::Acquire) || self.signals.is(&self.signals.abandon)
    }

    fn run_partition(&self, mut actor: PartitionActor, lost: &AtomicBool) -> Option<Error> {
        let name = format!("partition {}", self.partition);
        let mut clean = false;
        let clean_now = std::cell::Cell::new(false);
        let mut seen = 0;
        keep_stepping(
            &name,
            &self.progress,
            || clean_now.get() || self.given_up(lost),
            || {
                if self.signals.is(&self.signals.drain) {
                    clean = actor.drain()?;
                    clean_now.set(clean);
                    if !clean {
                        seen = self.saves.settled.wait(seen, Duration::from_millis(5));
                    }
                    return Ok(Step::Worked);
                }
                let step = actor.step()?;
                if step == Step::Idle {
                    seen = self.saves.settled.wait(seen, Duration::from_millis(10));
                }
                Ok(step)
            },
        )
    }

    fn run_lake(&self, epoch: Epoch, queue: &Arc<LakeQueue>, stages: &[AtomicBool; 2], lost: &AtomicBool) -> Option<Error> {
        let name = format!("lake writer {}", self.partition);
        let mut writer = LakeWriter::new(self.partition, epoch, self.params.clone(), self.ports.clone(), queue.clone());
        let done = std::cell::Cell::new(false);
        let mut seen = 0;
        keep_stepping(
            &name,
            &self.progress,
            || done.get() || self.given_up(lost),
            || {
                let last = stages[0].load(Ordering::Acquire);
                let before = self.share().generation;
                let step = writer.step(last || self.signals.is(&self.signals.flush))?;
                if step == Step::Idle {
                    let cut = writer.is_cut() && queue.is_empty();
                    self.progress.update(self.partition, |share| share.lake_done = cut && share.generation == before);
                    done.set(last && cut);
                    seen = queue.offered.wait(seen, IDLE);
                }
                Ok(step)
            },
        )
    }

    fn run_relays(&self, epoch: Epoch, stages: &[AtomicBool; 2], lost: &AtomicBool) -> Option<Error> {
        let name = format!("relay {}", self.partition);
        let mut relays = Lane::ALL.map(|lane| Relay::new(self.partition, epoch, lane, self.params.clone(), self.ports.clone()));
        let done = std::cell::Cell::new(false);
        let mut seen = 0;
        keep_stepping(
            &name,
            &self.progress,
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
                    seen = self.committed.wait(seen, IDLE);
                }
                Ok(step)
            },
        )
    }

    fn run_outward(&self, epoch: Epoch, stages: &[AtomicBool; 2], lost: &AtomicBool) -> Option<Error> {
        let name = format!("publisher {}", self.partition);
        let (params, ports) = (&self.params, &self.ports);
        let mut exporter = Exporter::new(self.partition, epoch, ports.clone(), params.registry.clone(), params.limits.clone());
        let mut completer = Completer::new(self.partition, epoch, ports.clone());
        let mut loader = Loader::new(self.partition, epoch, ports.clone(), params.limits.load_files);
        let mut retention = Retention::new(self.partition, params.clone(), ports.clone());
        let done = std::cell::Cell::new(false);
        keep_stepping(
            &name,
            &self.progress,
            || done.get() || self.given_up(lost),
            || {
                let last = stages.iter().all(|stage| stage.load(Ordering::Acquire));
                // Looked at first: what is saved and cut from here on is for the next round.
                let before = self.share();
                let exported = exporter.step(last || self.signals.is(&self.signals.flush))?;
                let (completed, files) = completer.step()?;
                let (loaded, rows) = loader.step()?;
                self.progress.lake_files.fetch_add(files as u64, Ordering::Relaxed);
                self.progress.warehouse_rows.fetch_add(rows, Ordering::Relaxed);
                if [exported, completed, loaded].contains(&Step::Worked) {
                    return Ok(Step::Worked);
                }
                let status = ports.store.status(self.partition)?;
                let told = status.exported_fact >= status.last_fact && status.relayed_fact >= status.last_fact && status.relayed_dead >= status.last_dead;
                let settled = told && before.saved && before.lake_done;
                retention.step(last)?;
                self.progress.update(self.partition, |share| share.outward_done = settled && share.generation == before.generation);
                done.set(last);
                if !last {
                    std::thread::sleep(IDLE);
                }
                Ok(Step::Idle)
            },
        )
    }
}
