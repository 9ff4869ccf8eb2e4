//! The loader's thread. Nobody who leaves a partition waits for it: a warehouse takes as long as it
//! likes.
//!
//! So one may still be loading when its partition has another owner, be it in this process, whose
//! loader does the same. That does no harm:
//!
//! - The plan is the store's: the next loader gets the very batch that is under way, with the same
//!   name and files, until it is settled.
//! - The warehouse takes a batch once, with its ledger row in the same transaction: one of two
//!   loads brings the rows, the other finds the row.
//! - A batch is split when what is in its files is refused, and files never change: its other load
//!   is refused as well, and halves and whole are never both loaded.
//! - Settling and splitting are fenced by the epoch: an older loader's are refused, and it ends. So
//!   does its upload of a manifest, should the next owner sweep it; the manifest itself is the
//!   same, byte by byte.
//! - What it says of progress and trouble counts under its own epoch only.
//!
//! The warehouse's tables are made here and not at the start, for the same reason. What it refuses
//! is named by readiness and tried again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use theatre_actors::ports::{Epoch, Error, Result, TableSpec, Warehouse};
use theatre_actors::position::Partition;

use super::loader::Loader;
use super::run_loop::{Component, DONE, Flow, ON, Refused, TRYING, rest, run_loop};
use super::supervisor::{SharedContext, Stages, StopSignals};
use super::{Ports, Progress, Step};

/// How often the loader looks for completed files.
const LOAD_EVERY: Duration = Duration::from_secs(1);

/// The warehouse's tables, made once by whichever loader of the process comes first.
pub(super) struct Tables {
    specs: Vec<TableSpec>,
    made: AtomicBool,
    making: Mutex<()>,
}

impl Tables {
    pub(super) fn new(specs: Vec<TableSpec>) -> Self {
        Self {
            specs,
            made: AtomicBool::new(false),
            making: Mutex::default(),
        }
    }

    /// Makes them; false while another loader does.
    fn ensure(&self, warehouse: &dyn Warehouse) -> Result<bool> {
        if self.made.load(Ordering::Acquire) {
            return Ok(true);
        }
        // Not waited for: a warehouse that hangs is asked by one loader at a time.
        let _making = match self.making.try_lock() {
            Ok(making) => making,
            Err(TryLockError::Poisoned(making)) => making.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        warehouse.ensure_tables(&self.specs)?;
        self.made.store(true, Ordering::Release);
        Ok(true)
    }
}

/// A loader that runs by itself.
pub(super) struct Loading {
    thread: JoinHandle<()>,
    failed: Arc<Mutex<Option<Error>>>,
}

/// What it needs. It borrows nothing, for it may outlast its partition's other components.
struct Work {
    partition: Partition,
    epoch: Epoch,
    /// Without a warehouse, or a lake to load from, there is nothing to do.
    loads: bool,
    tables: Arc<Tables>,
    ports: Ports,
    progress: Arc<Progress>,
    flush: Arc<AtomicBool>,
    stop: Arc<StopSignals>,
    stages: Arc<Stages>,
    lost: Arc<AtomicBool>,
}

impl Loading {
    /// Begins to load what is completed, until the partition is left or `lost`; a loader whose
    /// epoch is stale says that it is lost.
    pub(super) fn start(
        (partition, epoch): (Partition, Epoch),
        context: &SharedContext,
        stop: Arc<StopSignals>,
        stages: Arc<Stages>,
        lost: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        let mut loader = Loader::new(
            partition,
            epoch,
            context.ports.clone(),
            context.params.limits.load_files,
        );
        let (progress, flush) = (context.progress.clone(), context.flush.clone());
        let (loads, tables, ports) = (
            context.params.warehouse,
            context.tables.clone(),
            context.ports.clone(),
        );
        let work = Work {
            partition,
            epoch,
            loads,
            tables,
            ports,
            progress,
            flush,
            stop,
            stages,
            lost,
        };
        let failed = Arc::new(Mutex::new(None));
        let told = failed.clone();
        let run = move || {
            if let Some(error) = work.run(&mut loader) {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                work.lost.store(true, Ordering::Release);
            }
        };
        // Named, as the partition's other threads are.
        let thread = std::thread::Builder::new()
            .name(format!("loader-{partition}"))
            .spawn(run)?;
        Ok(Self { thread, failed })
    }

    /// Why it gave the partition up, if it did. It is left to itself if it still runs.
    pub(super) fn failure(self) -> Option<Error> {
        if self.thread.is_finished() && self.thread.join().is_err() {
            return Some(Error::Refused(
                "the loader panicked; this is a bug".to_owned(),
            ));
        }
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Work {
    fn run(&self, loader: &mut Loader) -> Option<Error> {
        let name = format!("loader {}", self.partition);
        let (held, refused) = (
            Some((self.partition, self.epoch)),
            Refused::Waits(&|| self.is_over()),
        );
        let component = Component {
            name: &name,
            progress: &self.progress,
            held,
            refused,
        };
        run_loop(&component, || self.is_over(), || self.step(loader))
    }

    fn is_over(&self) -> bool {
        self.lost.load(Ordering::Acquire) || self.stop.is_draining()
    }

    fn step(&self, loader: &mut Loader) -> Result<Flow> {
        if self.is_over() {
            return Ok(DONE);
        }
        if self.loads && !self.tables.ensure(&*self.ports.warehouse)? {
            rest(LOAD_EVERY, || self.is_over());
            return Ok(TRYING);
        }
        let before = self.progress.share(self.partition);
        // A load writes its manifest to the lake: like every upload, only once predecessors' are
        // swept.
        let may_load = self.loads && self.stages.is_over(&self.stages.swept);
        let stepped = if may_load {
            loader.step()
        } else {
            Ok((Step::Idle, 0))
        };
        // Beside the trouble of the last step: others may be loaded for long before what is stuck
        // is tried again.
        let stuck = format!("loads of {}", self.partition);
        self.progress
            .tell_under(self.partition, self.epoch, |progress| {
                progress.set_trouble(&stuck, loader.stuck())
            });
        let (loaded, rows) = stepped?;
        self.progress
            .warehouse_rows
            .fetch_add(rows, Ordering::Relaxed);
        if loaded == Step::Idle {
            let settled = before.outward_done;
            self.progress
                .update_under(self.partition, self.epoch, |share| {
                    share.loaded = settled && share.generation == before.generation
                });
            rest(LOAD_EVERY, || {
                self.flush.load(Ordering::Acquire) || self.is_over()
            });
        }
        Ok(ON)
    }
}
