//! The partitions this process owns: the log's membership says which, each has a supervisor of its
//! own.
//!
//! Handing a partition over means draining its supervisor within a deadline. A supervisor that does
//! not make it is abandoned: its later writes are refused by the epoch of the next owner, and
//! should the partition come back, the new supervisor waits for the old one's end. A
//! hand-over waits for no loader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use theatre_actors::ports::{Ownership, Result};
use theatre_actors::position::{Partition, Positions};

use super::lifecycle::{self, Event, Lifecycle};
use super::progress::GROUP;
use super::queue::Notifier;
use super::supervisor::{PartitionSupervisor, SharedContext};
use super::wiring::{spawn, thread_error};
use theatre_telemetry::names;

/// How long a partition that is taken away may take to save and publish. Well below the time after
/// which a group gives a silent member up.
const HANDOVER: Duration = Duration::from_secs(20);

/// The owned partitions.
pub(super) struct Assignment {
    context: SharedContext,
    owned: Mutex<Owned>,
    /// Rung when the thread of a partition is about to end.
    ended: Arc<Notifier>,
}

#[derive(Default)]
struct Owned {
    supervisors: BTreeMap<Partition, Running>,
    /// Supervisors that did not end in time.
    late: BTreeMap<Partition, JoinHandle<Option<Positions>>>,
    /// How far those were saved that ended in order, until the log asks for it.
    left: BTreeMap<Partition, Positions>,
    /// True once the pipeline stops: nothing is taken any more.
    closed: bool,
}

struct Running {
    lifecycle: Arc<Lifecycle>,
    thread: JoinHandle<Option<Positions>>,
}

impl Assignment {
    pub(super) fn new(context: SharedContext) -> Self {
        Self {
            context,
            owned: Mutex::default(),
            ended: Arc::default(),
        }
    }

    /// What all partitions share.
    pub(super) fn context(&self) -> &SharedContext {
        &self.context
    }

    /// The owned partitions, in order.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.lock().supervisors.keys().copied().collect()
    }

    /// Gives up all partitions and takes no more; true when all were left in order before `until`.
    /// What has not ended then is left to itself.
    pub(super) fn close(&self, until: Instant) -> bool {
        let (supervisors, late) = {
            let mut owned = self.lock();
            owned.closed = true;
            (
                std::mem::take(&mut owned.supervisors),
                std::mem::take(&mut owned.late),
            )
        };
        let mut whole = self.leave(supervisors, until, true);
        // Abandoned already; they end as soon as the call they wait for does.
        let late: Vec<_> = std::mem::take(&mut self.lock().late)
            .into_iter()
            .chain(late)
            .collect();
        wait(&self.ended, until, || {
            late.iter().all(|(_, thread)| thread.is_finished())
        });
        for (partition, thread) in late {
            if thread.is_finished() {
                whole &= in_order(thread).is_some();
                self.context.progress.forget(partition);
            } else {
                tracing::warn!(
                    partition,
                    "the partition's threads have not ended in time; nothing waits for them any more"
                );
                whole = false;
            }
        }
        whole
    }

    fn lock(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, partition: Partition) -> Result<()> {
        let mut owned = self.lock();
        if owned.closed || owned.supervisors.contains_key(&partition) {
            return Ok(());
        }
        // Its position now is known only while it is owned.
        owned.left.remove(&partition);
        let predecessor = owned.late.remove(&partition);
        let supervisor = PartitionSupervisor::new(partition, self.context.clone(), lifecycle::next);
        let lifecycle = supervisor.lifecycle().clone();
        let (progress, ended) = (self.context.progress.clone(), RingAtEnd(self.ended.clone()));
        let work = move || {
            let _ended = ended;
            if let Some(predecessor) = predecessor {
                let name = format!("partition {partition}");
                progress.set_trouble(
                    &name,
                    Some("what it was doing when it was taken away has not ended yet".to_owned()),
                );
                if predecessor.join().is_err() {
                    tracing::error!(
                        partition,
                        "the partition's previous owner in this process panicked; this is a bug"
                    );
                }
                progress.set_trouble(&name, None);
            }
            supervisor.supervise()
        };
        let thread = spawn(format!("partition-{partition}"), work).map_err(thread_error)?;
        owned
            .supervisors
            .insert(partition, Running { lifecycle, thread });
        names::partition_owned(partition, true);
        Ok(())
    }

    /// Lets supervisors end until a deadline; those that do not are abandoned and kept to be waited
    /// for. True when all ended well.
    fn leave(
        &self,
        supervisors: BTreeMap<Partition, Running>,
        until: Instant,
        draining: bool,
    ) -> bool {
        for supervisor in supervisors.values() {
            let event = if draining {
                Event::Drain
            } else {
                Event::Abandon
            };
            supervisor.lifecycle.send(event);
        }
        wait(&self.ended, until, || {
            supervisors
                .values()
                .all(|supervisor| supervisor.thread.is_finished())
        });
        let mut whole = true;
        for (partition, supervisor) in supervisors {
            names::partition_owned(partition, false);
            if supervisor.thread.is_finished() {
                match in_order(supervisor.thread) {
                    Some(saved_to) => drop(self.lock().left.insert(partition, saved_to)),
                    None => whole = false,
                }
                self.context.progress.forget(partition);
            } else {
                whole = false;
                supervisor.lifecycle.send(Event::Abandon);
                self.lock().late.insert(partition, supervisor.thread);
            }
        }
        whole
    }

    fn remove(&self, partitions: &[Partition]) -> BTreeMap<Partition, Running> {
        let mut owned = self.lock();
        partitions
            .iter()
            .filter_map(|partition| owned.supervisors.remove_entry(partition))
            .collect()
    }
}

/// How far the supervisor of this thread, which has ended, saved its partition, if it left nothing
/// behind.
fn in_order(thread: JoinHandle<Option<Positions>>) -> Option<Positions> {
    thread.join().unwrap_or_default()
}

/// Rings when the thread that holds it ends, be it by a panic.
struct RingAtEnd(Arc<Notifier>);

impl Drop for RingAtEnd {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// The system counts a thread as ended a moment after its last ring: so long it is asked often.
const ENDING: Duration = Duration::from_millis(50);

/// Waits until it is done, which the notifier announces, or until a moment.
fn wait(ended: &Notifier, until: Instant, done: impl Fn() -> bool) {
    let (mut seen, mut rung_at) = (ended.count(), Instant::now());
    while Instant::now() < until && !done() {
        let often = rung_at.elapsed() < ENDING;
        let limit = Duration::from_millis(if often { 1 } else { 1000 });
        let left = until.saturating_duration_since(Instant::now());
        let rung = ended.wait(seen, limit.min(left));
        if rung > seen {
            (seen, rung_at) = (rung, Instant::now());
        }
    }
}

impl Ownership for Assignment {
    fn assigned(&self, partitions: &[Partition]) {
        tracing::info!(?partitions, "partitions are taken");
        self.context.progress.set_trouble(GROUP, None);
        for partition in partitions {
            if let Err(error) = self.take(*partition) {
                tracing::error!(partition, %error, "a partition cannot be run");
                self.context
                    .progress
                    .set_failed(&format!("partition {partition}"), &error.to_string());
            }
        }
        self.context.progress.stand_by(self.partitions().is_empty());
    }

    fn revoked(&self, partitions: &[Partition]) {
        let begun = Instant::now();
        let whole = self.leave(self.remove(partitions), begun + HANDOVER, true);
        tracing::info!(?partitions, whole, after = ?begun.elapsed(), "partitions are handed over");
    }

    fn lost(&self, partitions: &[Partition]) {
        let left = self.leave(
            self.remove(partitions),
            Instant::now() + Duration::from_secs(1),
            false,
        );
        tracing::warn!(?partitions, left, "partitions were lost");
        let why = format!(
            "partitions {partitions:?} were lost: the group did not hear this process, or this process not the group; joining again"
        );
        self.context.progress.set_trouble(GROUP, Some(why));
    }

    fn saved(&self) -> Vec<(Partition, Positions)> {
        let owned = self.partitions();
        self.context
            .progress
            .partitions()
            .into_iter()
            .filter(|(partition, _)| owned.contains(partition))
            .map(|(partition, share)| (partition, share.saved.positions))
            .collect()
    }

    fn left(&self) -> Vec<(Partition, Positions)> {
        std::mem::take(&mut self.lock().left).into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
