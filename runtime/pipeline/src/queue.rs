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

/// Whether people wait for what is in a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Urgency {
    /// It has an alert of high priority, or an answer to what a person has done.
    Urgent,
    /// It has what is saved in its turn.
    #[default]
    Routine,
}

impl Urgency {
    /// By whether something in it is urgent.
    pub fn of(is_urgent: bool) -> Self {
        if is_urgent {
            Self::Urgent
        } else {
            Self::Routine
        }
    }
}

#[derive(Debug, Default)]
struct SaveSlots {
    urgent: VecDeque<PartitionCommit>,
    routine: VecDeque<PartitionCommit>,
    /// Urgent commits were taken last: those that wait in their turn come next.
    routine_is_next: bool,
    outcomes: HashMap<Partition, Result<CommitOutcome>>,
    notifiers: HashMap<Partition, Arc<Notifier>>,
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
    pub fn submit(&self, commit: PartitionCommit, urgency: Urgency) {
        let mut slots = lock(&self.slots);
        match urgency {
            Urgency::Urgent => slots.urgent.push_back(commit),
            Urgency::Routine => slots.routine.push_back(commit),
        }
        drop(slots);
        self.submitted.ring();
    }

    /// Something urgent waits for a partition's commit: while the commit waits, it is urgent
    /// itself.
    pub fn hasten(&self, partition: Partition) {
        let mut slots = lock(&self.slots);
        let mut routine = slots.routine.iter();
        let at = routine.position(|commit| commit.partition == partition);
        let commit = at.and_then(|at| slots.routine.remove(at));
        slots.urgent.extend(commit);
    }

    /// Takes waiting commits, one at least if there is one, up to `bytes` in all: urgent ones of
    /// all partitions first, and none beside them that would make them wait. After them it is the
    /// others' turn once, so that these are not held up for ever.
    pub fn take(&self, bytes: usize) -> Vec<PartitionCommit> {
        let mut slots = lock(&self.slots);
        let takes_routine =
            slots.urgent.is_empty() || slots.routine_is_next && !slots.routine.is_empty();
        slots.routine_is_next = !takes_routine;
        let waiting = if takes_routine {
            &mut slots.routine
        } else {
            &mut slots.urgent
        };
        let mut taken = Vec::new();
        let mut weight = 0;
        while let Some(next) = waiting.front() {
            weight += next
                .processors
                .iter()
                .map(|processor| processor.weight())
                .sum::<usize>();
            if !taken.is_empty() && weight > bytes {
                break;
            }
            taken.extend(waiting.pop_front());
        }
        taken
    }

    /// Hands outcomes back.
    pub fn settle(&self, outcomes: impl IntoIterator<Item = (Partition, Result<CommitOutcome>)>) {
        let mut slots = lock(&self.slots);
        for (partition, outcome) in outcomes {
            slots.outcomes.insert(partition, outcome);
            if let Some(notifier) = slots.notifiers.get(&partition) {
                notifier.ring();
            }
        }
    }

    /// The notifier of a partition's thread, rung when the outcome of its commit is there. Every
    /// other source of work for the partition rings it too: the thread waits for this one alone,
    /// and is not woken for another partition.
    pub fn notifier(&self, partition: Partition) -> Arc<Notifier> {
        lock(&self.slots)
            .notifiers
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
        let is_other = |commit: &PartitionCommit| commit.partition != partition;
        slots.urgent.retain(is_other);
        slots.routine.retain(is_other);
        slots.outcomes.remove(&partition);
    }
}

/// What waits for a lake writer.
#[derive(Debug, Default)]
struct Waiting {
    chunks: VecDeque<Arc<Chunk>>,
    /// Set while the writer is left behind: when the first and the last chunk were skipped that
    /// wait as one mark.
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
    use theatre_actors::ports::ProcessorSave;
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

    /// A commit that weighs 100 bytes.
    fn commit(partition: Partition) -> PartitionCommit {
        let save = ProcessorSave {
            processor: "r".to_owned(),
            save_number: 1,
            positions: Positions::zero(),
            state: vec![0; 36],
            outputs: Vec::new(),
            dead: Vec::new(),
        };
        PartitionCommit {
            partition,
            epoch: 1,
            processors: vec![save],
            floor: Positions::zero(),
        }
    }

    fn partitions(queue: &CommitQueue) -> Vec<Partition> {
        let taken = queue.take(250);
        taken.iter().map(|commit| commit.partition).collect()
    }

    #[test]
    fn urgent_commits_go_first_and_alone_and_after_them_it_is_the_others_turn() {
        use Urgency::{Routine, Urgent};
        type Table = [(
            &'static str,
            &'static [(Partition, Urgency)],
            &'static [&'static [Partition]],
        )];
        let table: &Table = &[
            ("nothing", &[], &[]),
            (
                "in their order, as many as fit",
                &[(0, Routine), (1, Routine), (2, Routine)],
                &[&[0, 1], &[2]],
            ),
            (
                "an urgent one overtakes",
                &[(0, Routine), (1, Routine), (2, Urgent)],
                &[&[2], &[0, 1]],
            ),
            (
                "urgent ones of several partitions go together",
                &[(0, Urgent), (1, Routine), (2, Urgent)],
                &[&[0, 2], &[1]],
            ),
            (
                "the others get a turn between urgent ones",
                &[
                    (0, Routine),
                    (1, Routine),
                    (2, Routine),
                    (3, Urgent),
                    (4, Urgent),
                    (5, Urgent),
                    (6, Urgent),
                    (7, Urgent),
                ],
                &[&[3, 4], &[0, 1], &[5, 6], &[2], &[7]],
            ),
        ];
        for (what, submitted, expected) in table {
            let queue = CommitQueue::default();
            for (partition, urgency) in *submitted {
                queue.submit(commit(*partition), *urgency);
            }
            for partitions_expected in *expected {
                assert_eq!(partitions(&queue), *partitions_expected, "{what}");
            }
            assert!(partitions(&queue).is_empty(), "{what}");
        }
    }

    #[test]
    fn a_commit_is_hastened_and_discarded_while_it_waits_and_not_after() {
        let queue = CommitQueue::default();
        (0..4).for_each(|partition| queue.submit(commit(partition), Urgency::Routine));
        queue.hasten(3);
        queue.hasten(3);
        assert_eq!(partitions(&queue), [3]);
        queue.hasten(3);
        queue.hasten(2);
        queue.discard(2);
        queue.discard(0);
        assert_eq!(partitions(&queue), [1]);
        assert!(partitions(&queue).is_empty());
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
