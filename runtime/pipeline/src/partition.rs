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

use std::sync::Arc;
use std::time::Duration;

use theatre_actors::control::ControlBook;
use theatre_actors::host::{ProcessorHost, Reply};
use theatre_actors::outputs::DeadRow;
use theatre_actors::ports::{CommitOutcome, Epoch, Error, PartitionCommit, ProcessorSave, Result};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::processor::{IntakeProcessor, Processor};
use theatre_actors::time::{LogTime, Tick};

use super::commit_feed::CommitFeed;
use super::intake::{self, Chunk, Entry, Intake};
use super::live::{ListedPartition, LiveQueries};
use super::progress::{PartitionProgress, Progress};
use super::queue::{CommitQueue, LakeQueue, Notifier};
use super::{PipelineParams, Ports, Step};

mod key_ownership;
mod known_dead_letters;
mod observed;
mod restore;
mod routing;
mod table;
mod unsaved;

use observed::Observed;
pub use restore::inherit;
use restore::{Restored, restore};
use routing::{Routed, Routes};
use unsaved::{Due, UnsavedOutputs};

/// Slot of the intake processor, which holds the records that name no robot.
pub(super) const INTAKE_SLOT: usize = usize::MAX;

/// So long a record may be on its way from the broker to what knows the log's end, microseconds.
const ON_THE_WAY_US: i64 = 1_000_000;
/// Wall-clock ticks come at most this often, microseconds.
const TICK_EVERY_US: i64 = 1_000_000;
/// An idle partition looks at the time this often: saves come due.
const REST: Duration = Duration::from_millis(100);
/// The same where the log does not notify when there is something to read.
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
    bell: Arc<Notifier>,
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
            bell: shared.saves.bell(partition),
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
        (self.bell.clone(), limit)
    }

    /// Takes the outcome of the commit under way; true when it is committed.
    fn take_outcome(&mut self) -> Result<bool> {
        match self.saves.outcome(self.partition).transpose()? {
            None => Ok(false),
            Some(CommitOutcome::Committed { .. }) => {
                let now = self.ports.clock.now();
                self.unsaved.committed(now);
                let floor = std::mem::take(&mut self.floor_under_way);
                self.progress.update(self.partition, |share| {
                    share.saved.positions = share.saved.positions.highest(&floor);
                    share.saved_at = now.0;
                });
                Ok(true)
            }
            Some(CommitOutcome::Stale { current }) => Err(Error::StaleEpoch {
                partition: self.partition,
                ours: self.epoch,
                current,
            }),
        }
    }

    fn read(&mut self) -> Result<bool> {
        self.offer_again();
        if self.to_lake.is_some() {
            return Ok(false);
        }
        if self.unsaved.is_full() {
            // A robot that sends meanwhile is not read, so it must not count as silent either.
            self.caught_up_since = None;
            return Ok(false);
        }
        if self.intake.is_none() {
            let mut intake = Intake::open(
                &*self.ports.log,
                self.partition,
                self.params.intake(),
                &self.positions,
            )?;
            let bell = self.bell.clone();
            let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || bell.ring());
            self.log_notifies = intake.on_news(&wake);
            self.intake = Some(intake);
        }
        let asked = self.ports.clock.now();
        let polled = self
            .intake
            .as_mut()
            .map(Intake::poll)
            .unwrap_or_else(|| Ok(Chunk::default()));
        let routed = polled.and_then(|chunk| {
            Ok((
                self.routes
                    .route(&chunk, &*self.ports.store, self.partition, self.epoch)?,
                chunk,
            ))
        });
        let (routed, chunk) = routed.inspect_err(|_| {
            // What the reader had prefetched is of unknown completeness: read it again from our
            // position.
            self.intake = None;
            self.caught_up_since = None;
        })?;
        self.note_read(&chunk);
        if chunk.is_current {
            let age = i64::try_from(chunk.end_age.as_micros()).unwrap_or(i64::MAX);
            let known = asked.0.saturating_sub(ON_THE_WAY_US).saturating_sub(age);
            self.read_to = self.read_to.max(Some(LogTime(known)));
        }
        if chunk.is_empty() {
            return Ok(false);
        }
        self.apply(&chunk, routed);
        self.positions = chunk.to.clone();
        self.routes.evict_dead_letters_below(&self.positions);
        self.offer(Arc::new(chunk), self.ports.clock.now());
        Ok(true)
    }

    fn offer_again(&mut self) {
        if let Some((chunk, since)) = self.to_lake.take() {
            self.offer(chunk, since);
        }
    }

    /// Hands a chunk to the lake writer, or keeps it until there is room; a writer that makes none
    /// for too long is left behind, so that no alert waits for the lake.
    fn offer(&mut self, chunk: Arc<Chunk>, since: LogTime) {
        let now = self.ports.clock.now();
        if !self.lake.offer(&chunk, now) {
            if now.0 - since.0
                < i64::try_from(self.params.limits.lake_patience.as_micros()).unwrap_or(i64::MAX)
            {
                self.to_lake = Some((chunk, since));
                return;
            }
            tracing::warn!(
                partition = self.partition,
                "the lake writer is left behind: it reads by itself what it has missed"
            );
            self.lake.skip_ahead(&chunk, now);
        }
    }

    fn note_read(&mut self, chunk: &Chunk) {
        self.caught_up_since = match (chunk.caught_up, self.caught_up_since) {
            (false, _) => None,
            (true, None) => Some(self.ports.clock.now()),
            (true, since) => since,
        };
        self.progress.update(self.partition, |share| {
            share.lag_records = chunk.lag_records;
            share.caught_up = chunk.caught_up && chunk.is_empty();
            if let Some(last) = chunk.last_append {
                share.last_append = last.0;
            }
        });
        if !chunk.is_empty() {
            let now = self.ports.clock.now();
            self.progress
                .records_read(self.partition, chunk.entries.len(), chunk.lag_records);
            let reorder_bound_us = self.params.processor.time.reorder_bound_us;
            self.observed.chunk(chunk, reorder_bound_us, now);
            let telemetry = observed::last_telemetry(chunk);
            if let Some(last) = telemetry.and_then(|batch| batch.event_times().last()) {
                self.progress.telemetry_read(self.partition, *last, now);
            }
        }
    }

    /// Hands every processor its rows, and the intake processor the failures and the rows of
    /// foreign robots, in the log's order.
    fn apply(&mut self, chunk: &Chunk, routed: Routed) {
        for (slot, robot) in routed.newcomers {
            let config = self.params.processor.clone();
            let begun = Processor::begun(&robot, config, &self.book, &chunk.from);
            self.host.insert(slot, begun);
            self.unsaved.restore(slot, self.routes.name(slot), 0);
            self.list_slot(slot);
        }
        let is_told = !routed.wide.is_empty();
        for (batch, row) in routed.wide {
            let (topic, batch) = &chunk.batches[batch as usize];
            self.book.note(*topic, batch, row as usize);
        }
        let work = routed
            .table
            .finish(chunk, |slot| self.unsaved.is_healthy(slot));
        for (slot, _) in &work {
            self.unsaved.touched(*slot, &chunk.from);
        }
        let replies = self.host.deliver(work);
        self.collect(replies);
        if is_told {
            self.book.settle();
        }
        self.observed.applied();
        let mut foreign_rows = routed.foreign_rows.into_iter().peekable();
        for (at, entry) in chunk.entries.iter().enumerate() {
            let dead_letter = match *entry {
                Entry::Dead(index) => {
                    let dead = &chunk.dead[index as usize];
                    self.intake_processor
                        .dead_letter_row(dead)
                        .then(|| dead.clone())
                }
                Entry::Row { batch, row } => foreign_rows
                    .next_if_eq(&at)
                    .and_then(|_| self.reject(chunk, batch, row)),
            };
            if let Some(dead) = dead_letter {
                self.unsaved.touched(INTAKE_SLOT, &chunk.from);
                self.progress
                    .count_dead(&self.params.topics, std::slice::from_ref(&dead));
                self.unsaved.add_dead(INTAKE_SLOT, dead);
            }
        }
    }

    fn reject(&mut self, chunk: &Chunk, batch: u32, row: u32) -> Option<DeadRow> {
        let (topic, batch) = &chunk.batches[batch as usize];
        let home = self.routes.home_of(batch.robot_id(row as usize))?;
        let dead = self
            .intake_processor
            .reject(*topic, batch, row as usize, home)?;
        let records = self.routes.count_foreign(*topic);
        self.progress
            .turned_away(&self.params.topics[*topic], self.partition, records, home);
        Some(dead)
    }

    fn collect(&mut self, replies: Vec<(usize, Reply)>) {
        let now = self.ports.clock.now();
        for (slot, reply) in replies {
            match reply {
                Reply::Applied { outputs } => {
                    self.progress
                        .count_outputs(outputs.events.iter().map(|output| &output.kind));
                    self.progress.count_dead(&self.params.topics, &outputs.dead);
                    self.progress.count(&self.params.topics, &outputs.tally);
                    let topics = &self.params.output_topics;
                    let cause = self.observed.outputs(slot, &outputs, topics, now);
                    self.unsaved.add(slot, outputs, cause);
                }
                Reply::Panicked { message } => {
                    tracing::error!(
                        robot = &**self.unsaved.name(slot),
                        partition = self.partition,
                        message,
                        "a processor panicked and goes back to its last save"
                    );
                    self.unsaved.panicked(slot);
                }
            }
        }
    }

    /// Wall-clock ticks. What was said of conditions falls due by the time up to which everything has
    /// been read, so that what would have prevented a step is known before, and a replay of the log
    /// does the same. Silence is judged once the partition has seen the log's end for as long as makes
    /// a robot silent, so that an outage of the log, in which no record could be read, makes no robot
    /// silent.
    fn tick(&mut self) {
        let now = self.ports.clock.now();
        if now.0 - self.last_tick.0 < TICK_EVERY_US {
            return;
        }
        let silence = self.params.processor.time.silence_after_us;
        let at_end_long_enough = self
            .caught_up_since
            .is_some_and(|since| now.0 - since.0 >= silence);
        let Some(read_to) = self.read_to else {
            return;
        };
        let tick = Tick {
            read_to,
            silence: at_end_long_enough.then_some(now),
        };
        self.last_tick = now;
        let slots: Vec<usize> = (0..self.routes.len())
            .filter(|slot| self.unsaved.is_healthy(*slot))
            .collect();
        let replies = self.host.tick(&slots, tick);
        self.observed.ticked(&replies);
        for (slot, reply) in replies {
            // A tick without outputs changed nothing that a restart would not find out again, so it
            // makes no processor dirty: an idle fleet is not saved every second.
            let changed = match &reply {
                Reply::Applied { outputs } => {
                    !outputs.events.is_empty() || !outputs.dead.is_empty()
                }
                Reply::Panicked { .. } => true,
            };
            // What a tick decided is saved like what rows decided: a restart must not decide it again
            // by another wall clock.
            if changed {
                let here = self.positions.clone();
                self.unsaved.touched(slot, &here);
                self.ticks += 1;
                self.collect(vec![(slot, reply)]);
            }
        }
    }

    /// Whether what is read is kept unsaved, however long: until the log has shown that this store
    /// is the one that it knows.
    pub fn hold_saves(&mut self, holds: bool) {
        self.holds_saves = holds;
    }

    /// Whether what is read is saved at once when nothing is left to read, instead of within the
    /// save interval.
    pub fn hurry(&mut self, hurries: bool) {
        self.hurries = hurries;
    }

    /// Submits the processors that are due, when no commit is under way.
    fn submit(&mut self, everything: bool) -> bool {
        if self.unsaved.in_flight() && self.unsaved.is_urgent() {
            // It goes into the next commit, so the one that waits before it is urgent as well.
            self.saves.hasten(self.partition);
        }
        if self.holds_saves || self.unsaved.in_flight() {
            return false;
        }
        let now = self.ports.clock.now();
        let Due {
            slots: due,
            urgency,
        } = self.unsaved.due(now, everything);
        if due.is_empty() {
            return false;
        }
        let mut processors = Vec::new();
        let mut weight = 0;
        // Snapshots are taken eight at a time, and no more than fill a commit: those that are due and
        // not taken stay due for the next one.
        let mut due = due.into_iter().peekable();
        while weight < self.params.limits.commit_bytes && due.peek().is_some() {
            let batch: Vec<usize> = due.by_ref().take(8).collect();
            for save in self.snapshot(&batch) {
                weight += save.weight();
                processors.push(save);
            }
        }
        // After the snapshots: those of this commit hold no processor's floor back any more.
        let floor = self.unsaved.floor(&self.positions);
        self.floor_under_way = floor.clone();
        self.committed
            .submitting(self.partition, self.observed.submitting(), now);
        let commit = PartitionCommit {
            partition: self.partition,
            epoch: self.epoch,
            processors,
            floor,
        };
        self.saves.submit(commit, urgency);
        true
    }

    fn snapshot(&mut self, slots: &[usize]) -> Vec<ProcessorSave> {
        let mut saves = Vec::with_capacity(slots.len());
        if slots.contains(&INTAKE_SLOT) {
            let (state, positions) = (
                self.intake_processor.snapshot(),
                self.intake_processor.positions().clone(),
            );
            saves.push(self.unsaved.take_save(INTAKE_SLOT, state, positions));
        }
        let processors: Vec<usize> = slots
            .iter()
            .copied()
            .filter(|slot| *slot != INTAKE_SLOT)
            .collect();
        for (slot, snapshot) in self.host.save(&processors) {
            self.observed.saving(self.unsaved.take_cause(slot));
            let save = self
                .unsaved
                .take_save(slot, snapshot.state, snapshot.positions);
            saves.push(save);
        }
        saves
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

    /// Rebuilds processors that panicked, once no commit is under way.
    fn recover(&mut self) -> Result<bool> {
        if self.unsaved.in_flight() {
            return Ok(false);
        }
        let broken = self.unsaved.broken();
        for slot in &broken {
            self.recover_slot(*slot)?;
        }
        Ok(!broken.is_empty())
    }

    fn recover_slot(&mut self, slot: usize) -> Result<()> {
        let robot = self.unsaved.name(slot).clone();
        let from = self.unsaved.unsaved_from(slot);
        let from = from.unwrap_or(&self.positions).clone();
        let until = self.positions.clone();
        let rebuilt = super::recovery::rebuild(&super::recovery::RebuildRequest {
            partition: self.partition,
            robot: &robot,
            from: &from,
            until: &until,
            params: &self.params,
            ports: &self.ports,
            book: &self.book,
        })?;
        self.progress
            .count_outputs(rebuilt.outputs.events.iter().map(|output| &output.kind));
        self.progress.recovered();
        let open = rebuilt.processor.open_conditions();
        self.observed.restored(slot, open);
        self.host.remove(slot);
        self.host.insert(slot, rebuilt.processor);
        self.list_slot(slot);
        self.unsaved.replace(slot, rebuilt.outputs);
        Ok(())
    }
}

fn unreadable(partition: Partition, processor: &str, error: impl std::fmt::Display) -> Error {
    Error::Refused(format!(
        "the stored state of processor '{processor}' in partition {partition} cannot be read: {error}; \
         run the version of theatre that wrote it, or a later one"
    ))
}
