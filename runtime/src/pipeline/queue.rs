//! The bounded queues between components, and the bell that wakes whoever waits for news.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use theatre_actors::ports::{CommitOutcome, PartitionCommit, Result};
use theatre_actors::position::Partition;

use super::intake::Chunk;

/// Wakes waiting threads when something happened; a ring before the wait is not lost.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<u64>,
    wake: Condvar,
}

impl Bell {
    /// Tells everybody who waits.
    pub fn ring(&self) {
        *lock(&self.rung) += 1;
        self.wake.notify_all();
    }

    /// How often it has rung.
    pub fn count(&self) -> u64 {
        *lock(&self.rung)
    }

    /// Waits until it has rung more than `seen` times, or for `limit`; returns how often it has rung.
    pub fn wait(&self, seen: u64, limit: Duration) -> u64 {
        let guard = lock(&self.rung);
        let waited = self.wake.wait_timeout_while(guard, limit, |rung| *rung <= seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A lock whose holder panicked still guards data that is whole: every critical section here is a few moves.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct SaveSlots {
    waiting: VecDeque<PartitionCommit>,
    settled: HashMap<Partition, Result<CommitOutcome>>,
    bells: HashMap<Partition, Arc<Bell>>,
}

/// Commits on their way to the saver, and their outcomes on the way back. A partition has at most one under way.
#[derive(Debug, Default)]
pub struct SaveQueue {
    slots: Mutex<SaveSlots>,
    /// Rung when a commit waits.
    pub submitted: Bell,
}

impl SaveQueue {
    /// Hands a commit to the saver.
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
            weight += next.families.iter().map(|family| family.weight()).sum::<usize>();
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
            slots.settled.insert(partition, outcome);
            if let Some(bell) = slots.bells.get(&partition) {
                bell.ring();
            }
        }
    }

    /// The bell of a partition's thread, rung when its commit is settled. Whoever else has something for the partition rings it too: it waits
    /// for one bell, and no thread wakes for another partition's news.
    pub fn bell(&self, partition: Partition) -> Arc<Bell> {
        lock(&self.slots).bells.entry(partition).or_default().clone()
    }

    /// The outcome of a partition's commit, once it is there; an error when the store refused this very commit for good.
    pub fn outcome(&self, partition: Partition) -> Option<Result<CommitOutcome>> {
        lock(&self.slots).settled.remove(&partition)
    }

    /// Forgets what is left of a partition that is being opened anew.
    pub fn forget(&self, partition: Partition) {
        let mut slots = lock(&self.slots);
        slots.waiting.retain(|commit| commit.partition != partition);
        slots.settled.remove(&partition);
    }
}

/// Chunks on their way to a partition's lake writer.
#[derive(Debug)]
pub struct LakeQueue {
    chunks: Mutex<VecDeque<Arc<Chunk>>>,
    capacity: usize,
    /// False where nobody takes chunks.
    open: bool,
    /// Rung when a chunk waits.
    pub offered: Bell,
    /// Rung when there is room again.
    taken: Arc<Bell>,
}

impl LakeQueue {
    /// A queue of `capacity` chunks.
    pub fn new(capacity: usize) -> Self {
        Self { chunks: Mutex::default(), capacity: capacity.max(1), open: true, offered: Bell::default(), taken: Arc::default() }
    }

    /// The same queue, ringing a partition's bell when there is room again.
    pub fn telling(self, taken: Arc<Bell>) -> Self {
        Self { taken, ..self }
    }

    /// A queue to nowhere, where there is no lake: takes every chunk and keeps none.
    pub fn to_nowhere() -> Self {
        Self { open: false, ..Self::new(1) }
    }

    /// Adds a chunk unless the queue is full; says whether it did.
    #[must_use]
    pub fn offer(&self, chunk: &Arc<Chunk>) -> bool {
        if !self.open {
            return true;
        }
        let mut chunks = lock(&self.chunks);
        if chunks.len() >= self.capacity {
            return false;
        }
        chunks.push_back(chunk.clone());
        drop(chunks);
        self.offered.ring();
        true
    }

    /// True when a chunk would be refused.
    pub fn is_full(&self) -> bool {
        lock(&self.chunks).len() >= self.capacity
    }

    /// True when no chunk waits.
    pub fn is_empty(&self) -> bool {
        lock(&self.chunks).is_empty()
    }

    /// The next chunk.
    pub fn take(&self) -> Option<Arc<Chunk>> {
        let chunk = lock(&self.chunks).pop_front();
        if chunk.is_some() {
            self.taken.ring();
        }
        chunk
    }
}
