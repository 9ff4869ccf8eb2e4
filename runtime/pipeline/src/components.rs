//! The components of an owned partition: how each follows the partition's life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use theatre_actors::ports::{Epoch, FileStage, PartitionStatus, RegisteredFile, Result};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::completer::Completer;
use super::ends::Mark;
use super::lake_writer::LakeWriter;
use super::lifecycle::{Event, Life, Role, Tenure};
use super::notifier::AtWork;
use super::outbox::OutboxConsumer;
use super::partition::PartitionActor;
use super::progress::PartitionProgress;
use super::queue::{LakeQueue, Notifier};
use super::relay::Relay;
use super::retention::Retention;
use super::run_loop::{Component, Flow, IDLE, ON, Rest};
use super::supervisor::SharedContext;
use super::{Step, outbox};

/// How often the publisher looks for work that no other component announces, such as outputs that
/// came of age.
const OUTWARD_EVERY: Duration = Duration::from_millis(500);
/// How long the lake writer waits for a log that has not brought yet what is known to be there.
const FETCH_REST: Duration = Duration::from_millis(2);

/// A partition that was just acquired, and what its components share.
pub(super) struct Acquired {
    pub(super) partition: Partition,
    pub(super) epoch: Epoch,
    /// Its status before anything was committed under this epoch.
    pub(super) status: PartitionStatus,
    pub(super) actor: PartitionActor,
    pub(super) lake: Arc<LakeQueue>,
    pub(super) tenure: Tenure,
}

/// Reads, applies and saves.
pub(super) struct PartitionComponent {
    actor: PartitionActor,
    flush: Arc<AtomicBool>,
}

impl PartitionComponent {
    pub(super) fn new(context: &SharedContext, actor: PartitionActor) -> Self {
        let flush = context.flush.clone();
        Self { actor, flush }
    }
}

impl Component for PartitionComponent {
    fn role(&self) -> Role {
        Role::Partition
    }

    fn step(&mut self, life: Life) -> Result<Flow> {
        let actor = &mut self.actor;
        actor.hold_saves(!life.may_save());
        actor.hurry(self.flush.load(Ordering::Acquire));
        let step = if life.is_draining() {
            // What is read and must not be saved yet is the next owner's to read again.
            if !life.may_save() || actor.drain()? {
                return Ok(Flow::Done);
            }
            Step::Idle
        } else {
            actor.step()?
        };
        Ok(match step {
            Step::Worked => ON,
            Step::Idle => {
                let (notifier, limit) = actor.news();
                Flow::On(Rest::News(notifier, limit))
            }
        })
    }

    fn is_hurried(&self, _: Life) -> bool {
        false
    }
}

/// Publishes results and dead letters.
pub(super) struct RelayComponent {
    relays: [Relay; 2],
    tenure: Tenure,
    news: Arc<Notifier>,
}

impl RelayComponent {
    pub(super) fn new(relays: [Relay; 2], news: Arc<Notifier>, tenure: Tenure) -> Self {
        Self {
            relays,
            tenure,
            news,
        }
    }
}

impl Component for RelayComponent {
    fn role(&self) -> Role {
        Role::Relay
    }

    fn step(&mut self, life: Life) -> Result<Flow> {
        let last = life.is_last(Role::Relay);
        if last && !life.may_save() {
            // Nothing of ours is to be published, and what predecessors left is the next owner's.
            return Ok(Flow::Done);
        }
        let stepped = self.relays.each_mut().map(Relay::step);
        // Also if publishing failed then. Both lanes: an old owner that still runs publishes dead
        // letters as well as results.
        if self.relays.iter().all(Relay::fits) {
            self.tenure.send(Event::LanesOpen);
        }
        let [results, dead_letters] = stepped;
        if [results?, dead_letters?].contains(&Step::Worked) {
            return Ok(ON);
        }
        if last {
            self.relays.iter_mut().try_for_each(Relay::note)?;
            return Ok(Flow::Done);
        }
        Ok(Flow::On(Rest::News(self.news.clone(), IDLE)))
    }

    fn is_hurried(&self, _: Life) -> bool {
        false
    }
}

/// Sweeps what predecessors were uploading, then writes the lake. Without a lake it only says that
/// nothing is missing there.
pub(super) struct LakeComponent {
    partition: Partition,
    epoch: Epoch,
    context: SharedContext,
    queue: Arc<LakeQueue>,
    writer: Option<LakeWriter>,
    tenure: Tenure,
}

impl LakeComponent {
    pub(super) fn new(context: &SharedContext, acquired: &Acquired) -> Self {
        let (partition, epoch, queue) = (acquired.partition, acquired.epoch, &acquired.lake);
        let (params, ports) = (context.params.clone(), context.ports.clone());
        let writer = || LakeWriter::new(partition, epoch, params, ports, queue.clone());
        Self {
            partition,
            epoch,
            writer: context.params.lake.then(writer),
            context: context.clone(),
            queue: queue.clone(),
            tenure: acquired.tenure.clone(),
        }
    }

    /// Shows what is not registered.
    fn show(&self) {
        let Some(writer) = &self.writer else { return };
        let (open, oldest) = writer.unregistered();
        let oldest = oldest.map_or(0.0, LogTime::seconds);
        let epoch = self.epoch;
        self.context
            .progress
            .update_under(self.partition, epoch, |share| {
                share.standing.lake_open_files = open;
                share.standing.lake_oldest = oldest;
            });
    }

    /// Aborts what predecessors were uploading when they ended. The epoch fences it: a process that
    /// loses the partition between the two calls knows nothing of what its successor has registered
    /// meanwhile. Uploads of lost files stay: they may have been looked for at the wrong place.
    fn sweep(&self) -> Result<()> {
        let mut keep = Vec::new();
        for stage in [FileStage::Registered, FileStage::Lost] {
            keep.extend(
                files(&self.context, self.partition, stage)?
                    .into_iter()
                    .map(|file| file.file.upload),
            );
        }
        let lake = &self.context.ports.lake;
        lake.sweep(self.partition, self.epoch, &keep)?;
        note_lost(&self.context, self.partition)
    }
}

impl Component for LakeComponent {
    fn role(&self) -> Role {
        Role::LakeWriter
    }

    fn step(&mut self, life: Life) -> Result<Flow> {
        let last = life.is_last(Role::LakeWriter);
        if last && !life.may_save() {
            return Ok(Flow::Done);
        }
        let flush = self.context.flush.load(Ordering::Acquire);
        let stepped = match &mut self.writer {
            // A store that does not fit the log has no say in which uploads are orphans.
            Some(_) if !life.may_save() => Ok(Step::Idle),
            Some(_) if !life.swept => {
                self.sweep()?;
                self.tenure.send(Event::Swept);
                Ok(Step::Worked)
            }
            Some(writer) => writer.step(last || flush),
            None => Ok(Step::Idle),
        };
        // Also after a failure: what waits is to be seen then above all.
        self.show();
        let step = stepped?;
        if let Some(writer) = self.writer.as_mut().filter(|_| last)
            && writer.is_behind()
        {
            // A partition that is left does not wait until its lake has caught up: the next
            // owner's writer goes on from here.
            writer.close()?;
            return Ok(Flow::Leave);
        }
        let writer = self.writer.as_ref();
        // Before the sweep the writer has looked at nothing.
        if let Some(registered) = writer
            .filter(|_| life.may_save() && life.swept)
            .and_then(LakeWriter::registered)
        {
            self.context.progress.update(self.partition, |share| {
                if share.lake != *registered {
                    share.lake = registered.clone();
                }
            });
        }
        let fetches = step == Step::Idle && writer.is_some_and(LakeWriter::is_behind);
        if step == Step::Worked || fetches {
            let rest = if fetches {
                Rest::Time(FETCH_REST)
            } else {
                Rest::None
            };
            return Ok(match writer {
                Some(writer) if writer.is_shaken() => Flow::Trying(rest),
                _ => Flow::On(rest),
            });
        }
        let cut = writer.is_none_or(|writer| life.may_save() && life.swept && writer.is_cut())
            && self.queue.is_empty();
        if last && cut {
            return Ok(Flow::Done);
        }
        Ok(Flow::On(Rest::News(self.queue.offered.clone(), IDLE)))
    }

    fn is_hurried(&self, _: Life) -> bool {
        false
    }
}

/// Delivers the outbox to all but the log, completes and trims; without other consumers it only
/// watches the relays and trims.
pub(super) struct PublisherComponent {
    partition: Partition,
    context: SharedContext,
    consumers: Vec<Box<dyn OutboxConsumer>>,
    completer: Completer,
    retention: Retention,
    mark: Option<Mark>,
    notifiers: AtWork,
}

impl PublisherComponent {
    pub(super) fn new(context: &SharedContext, acquired: &Acquired, notifiers: AtWork) -> Self {
        let (partition, epoch) = (acquired.partition, acquired.epoch);
        let (params, ports) = (&context.params, &context.ports);
        Self {
            partition,
            consumers: outbox::outward(partition, epoch, params, ports),
            completer: Completer::new(partition, epoch, ports.clone()),
            retention: Retention::new(partition, epoch, params.clone(), ports.clone()),
            context: context.clone(),
            mark: None,
            notifiers,
        }
    }

    /// Notes how far everything is out, once it is. `before` is what was saved and registered
    /// before the store is looked at.
    fn note_outward(&mut self, before: &PartitionProgress) -> Result<()> {
        let params = &self.context.params;
        let mut reach = before.saved.clone();
        if params.lake {
            reach.positions = reach.positions.lowest(&before.lake);
        }
        if self.mark.is_none() && before.outward.covers(&reach) {
            return Ok(());
        }
        let status = self.context.ports.store.status(self.partition)?;
        let mark = self.mark.get_or_insert(Mark {
            reach,
            last_output: status.last_output,
            last_dead: status.last_dead,
            last_file: None,
        });
        let delivered = |consumer: outbox::Consumer| {
            let last = match consumer.stream {
                outbox::Stream::DeadLetters => mark.last_dead,
                outbox::Stream::Outputs | outbox::Stream::OutputsOf(_) => mark.last_output,
            };
            status.cursors.get(&consumer.name) >= last
        };
        if !outbox::active(params).all(delivered) {
            return Ok(());
        }
        if params.lake {
            let waiting = FileStage::Registered;
            let last = match mark.last_file {
                Some(last) => last,
                None => last_file(&self.context, self.partition, waiting)?,
            };
            mark.last_file = Some(last);
            if !is_beyond(&self.context, self.partition, waiting, last)? {
                return Ok(());
            }
        }
        if let Some(mark) = self.mark.take() {
            let progress = &self.context.progress;
            progress.update(self.partition, |share| share.outward = mark.reach);
        }
        Ok(())
    }

    fn complete(&mut self) -> Result<Step> {
        let completed = self.completer.step()?;
        let progress = &self.context.progress;
        progress
            .lake_files
            .fetch_add(completed.files, Ordering::Relaxed);
        progress
            .lost_files
            .fetch_add(completed.lost, Ordering::Relaxed);
        // Files that were lost come back when an operator requeues them.
        if completed.lost > 0 || completed.files > 0 && progress.misses_files(self.partition) {
            note_lost(&self.context, self.partition)?;
        }
        Ok(completed.step())
    }
}

impl Component for PublisherComponent {
    fn role(&self) -> Role {
        Role::Publisher
    }

    fn step(&mut self, life: Life) -> Result<Flow> {
        let last = life.is_last(Role::Publisher);
        let lake = self.context.params.lake;
        // Looked at first: what is saved and cut from here on is for the next round.
        let before = self.context.progress.share(self.partition);
        if !lake || life.swept {
            // Each does its work though another fails.
            let everything = last || self.context.flush.load(Ordering::Acquire);
            let mut steps: Vec<Result<Step>> = self
                .consumers
                .iter_mut()
                .map(|consumer| consumer.deliver(everything))
                .collect();
            if lake {
                steps.push(self.complete());
            }
            let expired = self.retention.step(false);
            let steps = steps.into_iter().collect::<Result<Vec<_>>>()?;
            self.note_outward(&before)?;
            // Once all else is noted: what cannot be deleted yet holds nothing else up.
            expired?;
            if steps.contains(&Step::Worked) {
                return Ok(ON);
            }
        }
        if last
            && self
                .notifiers
                .are_waited_for(self.context.ports.clock.now())
        {
            return Ok(Flow::On(Rest::Time(IDLE)));
        }
        self.retention.step(last)?;
        if last {
            return Ok(Flow::Done);
        }
        Ok(Flow::On(Rest::Time(OUTWARD_EVERY)))
    }

    /// An order to leave or to hurry is followed soon.
    fn is_hurried(&self, life: Life) -> bool {
        self.context.flush.load(Ordering::Acquire) || life.is_draining()
    }
}

/// The number of a partition's last file in a stage; 0 if there is none.
pub(super) fn last_file(
    context: &SharedContext,
    partition: Partition,
    stage: FileStage,
) -> Result<u64> {
    let files = files(context, partition, stage)?;
    Ok(files.last().map_or(0, |file| file.number))
}

/// Whether no file of a partition up to this number is in a stage any more.
pub(super) fn is_beyond(
    context: &SharedContext,
    partition: Partition,
    stage: FileStage,
    number: u64,
) -> Result<bool> {
    let first = context.ports.store.files(partition, stage, 1)?;
    Ok(first.first().is_none_or(|file| file.number > number))
}

fn files(
    context: &SharedContext,
    partition: Partition,
    stage: FileStage,
) -> Result<Vec<RegisteredFile>> {
    let store = &context.ports.store;
    store.files(partition, stage, usize::MAX >> 1)
}

/// Says how many files are set aside as lost.
fn note_lost(context: &SharedContext, partition: Partition) -> Result<()> {
    let lost = files(context, partition, FileStage::Lost)?.len();
    context.progress.files_missing(partition, lost);
    Ok(())
}
