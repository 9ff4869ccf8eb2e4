//! The bounded queues between components, and the notifier that wakes the threads that wait for
//! them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use theatre_actors::ports::{CommitOutcome, PartitionCommit, Result};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::intake::Chunk;

/// A lake writer that has so much to read until it is where its partition is, in microseconds of
/// the partition's reading, is near.
const NEAR_US: i64 = 1_000_000;

/// Wakes waiting threads when something happened; a ring before the wait is not lost.
#[derive(Debug, Default)]
pub struct Notifier {
    rung: Mutex<u64>,
    wake: Condvar,
}

impl Notifier {
    /// Wakes every thread that waits.
    pub fn ring(&self) {
        *lock(&self.rung) += 1;
        self.wake.notify_all();
    }

    /// How often it has rung.
    pub fn count(&self) -> u64 {
        *lock(&self.rung)
    }

    /// Waits until it has rung more than `seen` times, or for `limit`; returns how often it has
    /// rung.
    pub fn wait(&self, seen: u64, limit: Duration) -> u64 {
        let guard = lock(&self.rung);
        let waited = self
            .wake
            .wait_timeout_while(guard, limit, |rung| *rung <= seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A lock whose holder panicked still guards data that is whole: every critical section here is a
/// few moves.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct SaveSlots {
    waiting: VecDeque<PartitionCommit>,
    outcomes: HashMap<Partition, Result<CommitOutcome>>,
    bells: HashMap<Partition, Arc<Notifier>>,
}

/// Commits on their way to the checkpointer, and their outcomes on the way back. A partition has at
/// most one under way.
#[derive(Debug, Default)]
pub struct CommitQueue {
    slots: Mutex<SaveSlots>,
    /// Rung when a commit waits.
    pub submitted: Arc<Notifier>,
}

impl CommitQueue {
    /// Hands a commit to the checkpointer.
    pub fn submit(&self, commit: PartitionCommit) {
        lock(&self.slots).waiting.push_back(commit);
        self.submitted.ring();
    }

    /// Takes waiting commits, one at least if there is one, up to `bytes` in all.
    pub fn take(&self, bytes: usize) -> Vec<PartitionCommit> {
        let mut slots = lock(&self.slots);
        let mut taken = Vec::new();
        let mut weight = 0;
        while let Some(next) = slots.waiting.front() {
            weight += next
                .processors
                .iter()
                .map(|processor| processor.weight())
                .sum::<usize>();
            if !taken.is_empty() && weight > bytes {
                break;
            }
            taken.extend(slots.waiting.pop_front());
        }
        taken
    }

    /// Hands outcomes back.
    pub fn settle(&self, outcomes: impl IntoIterator<Item = (Partition, Result<CommitOutcome>)>) {
        let mut slots = lock(&self.slots);
        for (partition, outcome) in outcomes {
            slots.outcomes.insert(partition, outcome);
            if let Some(bell) = slots.bells.get(&partition) {
                bell.ring();
            }
        }
    }

    /// The notifier of a partition's thread, rung when the outcome of its commit is there. Every other
    /// source of work for the partition rings it too: the thread waits for this one alone, and is not
    /// woken for another partition.
    pub fn bell(&self, partition: Partition) -> Arc<Notifier> {
        lock(&self.slots)
            .bells
            .entry(partition)
            .or_default()
            .clone()
    }

    /// The outcome of a partition's commit, once it is there; an error when the store refused this
    /// very commit for good.
    pub fn outcome(&self, partition: Partition) -> Option<Result<CommitOutcome>> {
        lock(&self.slots).outcomes.remove(&partition)
    }

    /// Discards commits and outcomes of a partition that is being opened anew.
    pub fn discard(&self, partition: Partition) {
        let mut slots = lock(&self.slots);
        slots.waiting.retain(|commit| commit.partition != partition);
        slots.outcomes.remove(&partition);
    }
}

/// What waits for a lake writer.
#[derive(Debug, Default)]
struct Waiting {
    chunks: VecDeque<Arc<Chunk>>,
    /// Set while the writer is left behind: when the first and the last chunk were skipped that wait
    /// as one mark.
    behind: Option<(LogTime, LogTime)>,
}

/// Chunks on their way to a partition's lake writer.
///
/// A partition waits for room for a while only: then it leaves the writer behind. What waits
/// becomes one mark, an empty chunk that moves on with the partition, and the writer reads what
/// lies below it from the log by itself. The partition waits for it again once it is near.
#[derive(Debug)]
pub struct LakeQueue {
    waiting: Mutex<Waiting>,
    capacity: usize,
    /// False where there is no lake writer to take chunks.
    open: bool,
    /// Rung when a chunk waits.
    pub offered: Arc<Notifier>,
    /// Rung when there is room again.
    taken: Arc<Notifier>,
}

impl LakeQueue {
    /// A queue for `capacity` chunks.
    pub fn new(capacity: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            capacity: capacity.max(1),
            open: true,
            offered: Arc::default(),
            taken: Arc::default(),
        }
    }

    /// The same queue, ringing a partition's notifier when there is room again.
    pub fn notifying(self, taken: Arc<Notifier>) -> Self {
        Self { taken, ..self }
    }

    /// A queue to nowhere, where there is no lake: takes every chunk and keeps none.
    pub fn to_nowhere() -> Self {
        Self {
            open: false,
            ..Self::new(1)
        }
    }

    /// Adds a chunk unless the queue is full; says whether it did. A writer that is left behind
    /// gets a mark instead, for which there is always room.
    #[must_use]
    pub fn offer(&self, chunk: &Arc<Chunk>, now: LogTime) -> bool {
        if !self.open {
            return true;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.behind.is_some() {
            waiting.skip_ahead(chunk, now);
        } else if waiting.chunks.len() < self.capacity {
            waiting.chunks.push_back(chunk.clone());
        } else {
            return false;
        }
        drop(waiting);
        self.offered.ring();
        true
    }

    /// Leaves the writer behind: what waits, and this chunk, it is to read by itself.
    pub fn skip_ahead(&self, chunk: &Chunk, now: LogTime) {
        lock(&self.waiting).skip_ahead(chunk, now);
        self.offered.ring();
    }

    /// True when no chunk waits.
    pub fn is_empty(&self) -> bool {
        lock(&self.waiting).chunks.is_empty()
    }

    /// The next chunk.
    pub fn take(&self) -> Option<Arc<Chunk>> {
        let chunk = lock(&self.waiting).take();
        if chunk.is_some() {
            self.taken.ring();
        }
        chunk
    }
}

impl Waiting {
    fn skip_ahead(&mut self, chunk: &Chunk, now: LogTime) {
        // Nothing waits any more: the writer is on its way to an earlier mark.
        let first = self
            .behind
            .filter(|_| !self.chunks.is_empty())
            .map_or(now, |(first, _)| first);
        self.behind = Some((first, now));
        self.chunks.clear();
        self.chunks.push_back(Arc::new(Chunk {
            from: chunk.to.clone(),
            to: chunk.to.clone(),
            ..Chunk::default()
        }));
    }

    fn take(&mut self) -> Option<Arc<Chunk>> {
        let chunk = self.chunks.pop_front();
        // A writer that has only a little to read to the mark is near, as is one that finds nothing
        // waiting.
        let near = chunk.is_none()
            || self
                .behind
                .is_some_and(|(first, last)| last.0 - first.0 <= NEAR_US);
        if near {
            self.behind = None;
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use theatre_actors::position::Positions;

    use super::*;

    fn chunk(from: u64, to: u64) -> Arc<Chunk> {
        Arc::new(Chunk {
            from: Positions::from(vec![from]),
            to: Positions::from(vec![to]),
            caught_up: true,
            ..Chunk::default()
        })
    }

    fn taken(queue: &LakeQueue) -> Option<(u64, u64)> {
        queue
            .take()
            .map(|chunk| (chunk.from.get(0), chunk.to.get(0)))
    }

    #[test]
    fn a_writer_that_is_left_behind_gets_one_mark_that_moves_on_until_it_is_near() {
        let queue = LakeQueue::new(2);
        let offer = |from: u64, second: i64| {
            queue.offer(&chunk(from, from + 10), LogTime(second * 1_000_000))
        };
        assert!(
            offer(0, 0) && offer(10, 0) && !offer(20, 0),
            "a full queue takes no chunk"
        );
        queue.skip_ahead(&chunk(20, 30), LogTime(5_000_000));
        assert!(
            (30..1000).step_by(10).all(|from| offer(from, from as i64)),
            "there is always room for the mark"
        );
        assert_eq!(
            taken(&queue),
            Some((1000, 1000)),
            "it reads what lies below by itself"
        );
        assert!(queue.is_empty());
        assert!(
            offer(1000, 1000) && offer(1010, 1000) && offer(1020, 1000),
            "the partition does not wait for it meanwhile"
        );
        assert_eq!(
            (taken(&queue), taken(&queue)),
            (Some((1030, 1030)), None),
            "what was skipped within a second is near"
        );
        assert!(
            offer(1030, 1001) && offer(1040, 1001) && !offer(1050, 1001),
            "it is as before"
        );
        assert_eq!(
            (taken(&queue), taken(&queue), taken(&queue)),
            (Some((1030, 1040)), Some((1040, 1050)), None)
        );
    }

    #[test]
    fn a_writer_that_finds_nothing_waiting_is_left_behind_no_longer() {
        let queue = LakeQueue::new(1);
        queue.skip_ahead(&chunk(0, 10), LogTime(0));
        assert!(queue.offer(&chunk(10, 20), LogTime(9_000_000)));
        assert_eq!((taken(&queue), taken(&queue)), (Some((20, 20)), None));
        assert!(
            queue.offer(&chunk(20, 30), LogTime(9_000_000))
                && !queue.offer(&chunk(30, 40), LogTime(9_000_000))
        );
        assert!(LakeQueue::to_nowhere().offer(&chunk(0, 10), LogTime(0)));
    }
}
