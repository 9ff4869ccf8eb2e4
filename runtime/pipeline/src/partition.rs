//! The partition: the supervisor of ownership, ordering and recovery.
//!
//! Owns the routing table (robot to processor slot), hands each processor its rows of a chunk,
//! keeps what processors concluded until it is saved, and decides who is saved when. One commit of
//! a partition is under way at a time. Stepped by its own thread (or the simulation); processors
//! live in a [`ProcessorHost`].
//!
//! What must hold: a processor's outputs leave with the very snapshot that concluded them; the
//! floor of a commit is the lowest position of any processor whose outputs are in no commit yet;
//! nothing is published from here, only submitted to be committed.
//!
//! This file has what a partition is and its step; [`reading`], [`saving`] and [`rebuilding`] have
//! what a step does.

use std::sync::Arc;
use std::time::Duration;

use theatre_actors::control::ControlBook;
use theatre_actors::host::ProcessorHost;
use theatre_actors::ports::{Epoch, Error, Result};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::processor::IntakeProcessor;
use theatre_actors::time::LogTime;

use super::commit_feed::CommitFeed;
use super::intake::{self, Chunk, Intake};
use super::live::{ListedPartition, LiveQueries};
use super::progress::{PartitionProgress, Progress};
use super::queue::{CommitQueue, LakeQueue, Notifier};
use super::{PipelineParams, Ports, Step};

mod key_ownership;
mod known_dead_letters;
mod observed;
mod reading;
mod rebuilding;
mod restore;
mod routing;
mod saving;
mod table;
mod unsaved;

use observed::Observed;
pub use restore::inherit;
use restore::{Restored, restore};
use routing::Routes;
use unsaved::UnsavedOutputs;

/// Slot of the intake processor, which holds the records that name no robot.
pub(super) const INTAKE_SLOT: usize = usize::MAX;

/// An idle partition looks at the time this often: saves come due.
const REST: Duration = Duration::from_millis(100);
/// An idle partition looks this often where the log does not notify when there is something to
/// read.
const REST_POLLING: Duration = Duration::from_millis(10);

/// A partition that is owned under an epoch.
pub struct PartitionActor {
    partition: Partition,
    epoch: Epoch,
    params: Arc<PipelineParams>,
    ports: Ports,
    /// Its entry for questions from outside, once it is listed; before the host, so that it ends
    /// first.
    listed: Option<ListedPartition>,
    host: ProcessorHost,
    intake: Option<Intake>,
    /// True while the log notifies the partition when there is something to read.
    log_notifies: bool,
    /// Notified of everything this partition waits for.
    notifier: Arc<Notifier>,
    intake_processor: IntakeProcessor,
    routes: Routes,
    unsaved: UnsavedOutputs,
    /// What was said to all robots.
    book: Arc<ControlBook>,
    positions: Positions,
    /// The floor of the commit under way.
    floor_under_way: Positions,
    saves: Arc<CommitQueue>,
    lake: Arc<LakeQueue>,
    progress: Arc<Progress>,
    /// A chunk that was applied but not yet taken by the lake queue, and since when it waits.
    to_lake: Option<(Arc<Chunk>, LogTime)>,
    holds_saves: bool,
    caught_up_since: Option<LogTime>,
    /// Everything that was appended before has been read.
    read_to: Option<LogTime>,
    last_tick: LogTime,
    /// So often has the wall clock alone changed a processor.
    ticks: u64,
    /// Everything unsaved is due as soon as nothing is left to read.
    hurries: bool,
    committed: Arc<CommitFeed>,
    observed: Observed,
}

/// The queues and counters a partition shares with other components.
pub struct Shared {
    /// Commits to the checkpointer.
    pub saves: Arc<CommitQueue>,
    /// Chunks to the lake writer.
    pub lake: Arc<LakeQueue>,
    /// What is committed, for the relays.
    pub committed: Arc<CommitFeed>,
    /// Progress.
    pub progress: Arc<Progress>,
}

impl PartitionActor {
    /// Restores a partition that was acquired under `epoch`: its processors from the store, its
    /// reader at the floor.
    pub fn open(
        partition: Partition,
        epoch: Epoch,
        params: Arc<PipelineParams>,
        ports: Ports,
        mut host: ProcessorHost,
        shared: Shared,
    ) -> Result<Self> {
        shared.saves.discard(partition);
        let status = ports.store.status(partition)?;
        shared
            .committed
            .begin(partition, status.last_output, status.last_dead);
        let dead = known_dead_letters::before(&*ports.store, partition, &status)?;
        let Restored {
            intake_processor,
            routes,
            unsaved,
            observed,
            book,
        } = restore(
            partition,
            &params,
            &ports,
            &mut host,
            Routes::new(partition, dead),
            &shared.progress,
        )?;
        let progress = shared.progress;
        let begun = PartitionProgress::begun(epoch, routes.len(), &status.floor);
        progress.update(partition, |share| *share = begun);
        progress.taking.taken(partition);
        // The lake writer may stand behind the processors: an empty chunk where they stand makes it
        // read what lies between.
        let start = intake::beginning(&*ports.log, &params.topics, partition, &status.floor)?;
        let here = Chunk {
            from: start.clone(),
            to: start.clone(),
            ..Chunk::default()
        };
        let to_lake = Some((Arc::new(here), ports.clock.now()))
            .filter(|(here, now)| !shared.lake.offer(here, *now));
        Ok(Self {
            partition,
            epoch,
            params,
            ports,
            listed: None,
            host,
            intake: None,
            log_notifies: false,
            notifier: shared.saves.notifier(partition),
            intake_processor,
            routes,
            unsaved,
            book,
            positions: start,
            floor_under_way: Positions::zero(),
            saves: shared.saves,
            lake: shared.lake,
            progress,
            to_lake,
            holds_saves: false,
            caught_up_since: None,
            read_to: None,
            last_tick: LogTime(0),
            ticks: 0,
            hurries: false,
            committed: shared.committed,
            observed,
        })
    }

    /// Lets other threads ask the processors, those that are there and those to come, until the
    /// partition is dropped.
    pub fn list(&mut self, live: &LiveQueries) {
        self.listed = Some(live.list(self.partition, self.epoch));
        for slot in 0..self.routes.len() {
            self.list_slot(slot);
        }
    }

    fn list_slot(&mut self, slot: usize) {
        if let (Some(listed), Some(address)) = (&self.listed, self.host.address(slot)) {
            listed.insert(self.unsaved.name(slot), address);
        }
    }

    /// Takes the outcome of the commit under way, reads and applies a chunk, submits a commit: all
    /// that can be done without waiting.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost, drop this value. `Unavailable`: nothing was lost, step
    /// again.
    pub fn step(&mut self) -> Result<Step> {
        let begun = self.ports.clock.now();
        let committed = self.take_outcome()?;
        let recovered = self.recover()?;
        let read = self.read()?;
        // Not while there is more to read: each chunk would be a commit of its own.
        let submitted = self.submit(self.hurries && !read);
        self.tick();
        let worked = committed || recovered || read || submitted;
        let is_paused = self.to_lake.is_some() || self.unsaved.is_full();
        let now = self.ports.clock.now();
        self.observed.stepped(begun, now, worked, is_paused);
        self.report();
        Ok(if worked { Step::Worked } else { Step::Idle })
    }

    /// Submits everything unsaved without reading on; true when nothing is left to save.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn drain(&mut self) -> Result<bool> {
        self.take_outcome()?;
        self.recover()?;
        self.offer_again();
        self.submit(true);
        self.report();
        Ok(self.unsaved.is_clean() && self.to_lake.is_none())
    }

    /// What an idle partition waits for, and for how long at most.
    pub fn news(&self) -> (Arc<Notifier>, Duration) {
        let limit = if self.log_notifies {
            REST
        } else {
            REST_POLLING
        };
        (self.notifier.clone(), limit)
    }

    fn report(&self) {
        // What the lake writer has not taken yet does not count as read.
        let taken = self.to_lake.is_none();
        let saved = taken && self.unsaved.is_clean();
        self.progress.update(self.partition, |share| {
            share.processors = self.routes.len() as u64;
            if taken && share.read.positions != self.positions {
                share.read.positions = self.positions.clone();
            }
            share.read.ticks = self.ticks;
            share.standing.watch(self.observed.standing());
            if saved && share.saved != share.read {
                share.saved = share.read.clone();
            }
        });
    }
}

fn unreadable(partition: Partition, processor: &str, error: impl std::fmt::Display) -> Error {
    Error::Refused(format!(
        "the stored state of processor '{processor}' in partition {partition} cannot be read: {error}; \
         run the version of theatre that wrote it, or a later one"
    ))
}
