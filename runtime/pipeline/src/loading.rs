//! The loader's thread. A partition is left without waiting for it: a warehouse takes as long as it
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

use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, TryLockError};
use std::time::Duration;

use theatre_actors::ports::{Epoch, FileStage, Result, TableSpec, Warehouse};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::Step;
use super::backlog::{self, Backlog};
use super::components::{Acquired, is_beyond, last_file};
use super::ends::Reach;
use super::lifecycle::{Life, Role};
use super::loader::Loader;
use super::progress::PartitionProgress;
use super::run_loop::{Component, Flow, ON, Rest};
use super::supervisor::SharedContext;

/// How often the loader looks for completed files.
const LOAD_EVERY: Duration = Duration::from_secs(1);

/// The warehouse's tables, made once by whichever loader of the process comes first.
pub struct Tables {
    specs: Vec<TableSpec>,
    made: OnceLock<()>,
    making: Mutex<()>,
}

impl Tables {
    pub(super) fn new(specs: Vec<TableSpec>) -> Self {
        Self {
            specs,
            made: OnceLock::new(),
            making: Mutex::default(),
        }
    }

    /// Makes them; false while another loader does.
    fn ensure(&self, warehouse: &dyn Warehouse) -> Result<bool> {
        if self.made.get().is_some() {
            return Ok(true);
        }
        // Not waited for: a warehouse that hangs is asked by one loader at a time.
        let _making = match self.making.try_lock() {
            Ok(making) => making,
            Err(TryLockError::Poisoned(making)) => making.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        warehouse.ensure_tables(&self.specs)?;
        self.made.get_or_init(|| ());
        Ok(true)
    }
}

/// Loads what is completed until the partition is left or lost. It may outlast both, and its
/// reports then count no more.
pub(super) struct LoaderComponent {
    partition: Partition,
    epoch: Epoch,
    context: SharedContext,
    loader: Loader,
    /// What is to be loaded next: what is out so far, and the last file of it.
    mark: Option<(Reach, u64)>,
    backlog: Backlog,
}

impl LoaderComponent {
    pub(super) fn new(context: &SharedContext, acquired: &Acquired) -> Self {
        let (partition, epoch) = (acquired.partition, acquired.epoch);
        let load_files = context.params.limits.load_files;
        Self {
            partition,
            epoch,
            loader: Loader::new(partition, epoch, context.ports.clone(), load_files),
            context: context.clone(),
            mark: None,
            backlog: Backlog::default(),
        }
    }

    /// Shows what waits for the warehouse, now and then. A store that does not answer is named by
    /// what needs its answer.
    fn show_backlog(&mut self) {
        let SharedContext {
            ports, progress, ..
        } = &self.context;
        let now = ports.clock.now();
        if !self.backlog.is_due(now) {
            return;
        }
        let (stage, most) = (FileStage::Completed, backlog::FILES_MAX);
        let Ok(files) = ports.store.files(self.partition, stage, most) else {
            return;
        };
        let numbers: Vec<u64> = files.iter().map(|file| file.number).collect();
        let since = self.backlog.note(&numbers, now);
        progress.update_under(self.partition, self.epoch, |share| {
            share.standing.files_pending = numbers.len();
            share.standing.unloaded_since = since.map_or(0.0, LogTime::seconds);
        });
    }

    /// Notes how far everything is loaded, once it is. `before` is what was out before the store is
    /// looked at.
    fn note_loaded(&mut self, before: PartitionProgress) -> Result<()> {
        let SharedContext {
            params, progress, ..
        } = &self.context;
        if self.mark.is_none() && before.loaded.covers(&before.outward) {
            return Ok(());
        }
        let (reach, last) = match self.mark.take() {
            Some(mark) => mark,
            None if params.warehouse => (
                before.outward,
                last_file(&self.context, self.partition, FileStage::Completed)?,
            ),
            None => (before.outward, 0),
        };
        let waiting = FileStage::Completed;
        if params.warehouse && !is_beyond(&self.context, self.partition, waiting, last)? {
            self.mark = Some((reach, last));
            return Ok(());
        }
        progress.update_under(self.partition, self.epoch, |share| share.loaded = reach);
        Ok(())
    }
}

impl Component for LoaderComponent {
    fn role(&self) -> Role {
        Role::Loader
    }

    fn step(&mut self, life: Life) -> Result<Flow> {
        if life.is_draining() {
            return Ok(Flow::Done);
        }
        if self.context.params.warehouse {
            self.show_backlog();
        }
        let SharedContext {
            params,
            ports,
            progress,
            tables,
            ..
        } = &self.context;
        if params.warehouse && !tables.ensure(&*ports.warehouse)? {
            return Ok(Flow::Trying(Rest::Time(LOAD_EVERY)));
        }
        let before = progress.share(self.partition);
        // A load writes its manifest to the lake: like every upload, only once predecessors' are
        // swept. Without a warehouse, or a lake to load from, there is nothing to do.
        let may_load = params.warehouse && life.swept;
        let stepped = if may_load {
            self.loader.step()
        } else {
            Ok((Step::Idle, 0))
        };
        // Beside the trouble of the last step: others may be loaded for long before what is stuck
        // is tried again.
        let stuck = format!("loads of {}", self.partition);
        progress.tell_under(self.partition, self.epoch, |progress| {
            progress.set_trouble(&stuck, self.loader.stuck())
        });
        let (loaded, rows) = stepped?;
        progress.warehouse_rows.fetch_add(rows, Ordering::Relaxed);
        if may_load || !params.warehouse {
            self.note_loaded(before)?;
        }
        if loaded == Step::Worked {
            return Ok(ON);
        }
        Ok(Flow::On(Rest::Time(LOAD_EVERY)))
    }

    fn is_hurried(&self, life: Life) -> bool {
        self.context.flush.load(Ordering::Acquire) || life.is_draining()
    }
}
