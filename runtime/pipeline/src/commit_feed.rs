//! The feed from the checkpointer to the relay: what was just committed, so that the relay
//! publishes an alert without reading it back first.
//!
//! Only a shortcut. The feed is bounded, and a commit may be missing in it (one that was repeated,
//! an overflow, a restart): the relay reads the store for what the feed lacks. The numbers
//! are those the store gave: dense, in the order of the commit's processors and their outputs.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use theatre_actors::outputs::{OutputEvent, OutputTopics};
use theatre_actors::ports::{CommitOutcome, PartitionCommit};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;
use theatre_telemetry::names;
use theatre_telemetry::traces::{Cause, Way};

use super::queue::Notifier;

/// Most bytes of outputs that wait for one relay.
const HANDED_BYTES: usize = 1 << 20;

/// Outputs of one commit.
#[derive(Debug, Clone)]
pub(super) struct FeedEntry {
    /// Number of the first output of the commit.
    pub(super) first: u64,
    /// Number of the last.
    pub(super) last: u64,
    /// Those of them that may be published, with their numbers.
    pub(super) outputs: Vec<(u64, OutputEvent)>,
    /// The way of the first of them, if records caused it.
    pub(super) way: Option<Way>,
}

#[derive(Debug, Default)]
struct Lane {
    last_output: u64,
    last_dead: u64,
    handed: VecDeque<FeedEntry>,
    bytes: usize,
    /// What caused the outputs of the commit under way, and when that was submitted.
    submitted: Option<(Cause, LogTime)>,
    /// Rung when there is more.
    news: Arc<Notifier>,
}

/// Where the store stands, by partition, and outputs on their way to the relays.
#[derive(Debug, Default)]
pub struct CommitFeed {
    lanes: Mutex<HashMap<Partition, Lane>>,
    /// Commits that carried an alert.
    pub commits: TimeSpent,
    /// Publishing of alerts and outcomes.
    pub publishes: TimeSpent,
}

/// Time spent on something, summed up.
#[derive(Debug, Default)]
pub struct TimeSpent {
    times: AtomicU64,
    micros: AtomicU64,
}

impl TimeSpent {
    pub(super) fn add(&self, spent: Duration) {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(
            u64::try_from(spent.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// How often, and milliseconds in the mean.
    pub fn mean_ms(&self) -> (u64, f64) {
        let times = self.times.load(Ordering::Relaxed);
        (
            times,
            self.micros.load(Ordering::Relaxed) as f64 / 1000.0 / times.max(1) as f64,
        )
    }
}

impl CommitFeed {
    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a partition submits a commit `now`; `cause` is that of the first of its outputs that
    /// are published.
    pub(super) fn submitting(&self, partition: Partition, cause: Option<Cause>, now: LogTime) {
        self.lock().entry(partition).or_default().submitted = cause.map(|cause| (cause, now));
    }

    /// Notes commits, which have ended `now` after so many failures, and takes those of their
    /// outputs that have a topic.
    pub(super) fn note(
        &self,
        commits: impl IntoIterator<Item = (PartitionCommit, CommitOutcome)>,
        topics: &OutputTopics,
        now: LogTime,
        commit_failures: u32,
    ) {
        let mut lanes = self.lock();
        for (commit, outcome) in commits {
            let CommitOutcome::Committed {
                last_output,
                last_dead,
            } = outcome
            else {
                continue;
            };
            let lane = lanes.entry(commit.partition).or_default();
            let before = std::mem::replace(&mut lane.last_output, last_output);
            lane.last_dead = last_dead;
            let way = lane.submitted.take().map(|(cause, submitted)| Way {
                cause,
                submitted,
                committed: now,
                commit_failures,
            });
            if let Some(way) = way {
                names::end_to_end("commit", now.seconds_since(way.cause.appended));
            }
            let outputs: Vec<OutputEvent> = commit
                .processors
                .into_iter()
                .flat_map(|save| save.outputs)
                .collect();
            // Fewer numbers than outputs: some were there already, and which is not known here.
            if !outputs.is_empty() && before + outputs.len() as u64 == last_output {
                lane.hand(before + 1, outputs, topics, way);
            }
            lane.news.ring();
        }
    }

    /// The last output and the last dead letter of a partition, if this process has committed any.
    pub(super) fn latest(&self, partition: Partition) -> Option<(u64, u64)> {
        self.lock()
            .get(&partition)
            .map(|lane| (lane.last_output, lane.last_dead))
    }

    /// The commit that follows `position`, if it is at hand; drops what lies below.
    pub(super) fn after(&self, partition: Partition, position: u64) -> Option<FeedEntry> {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(&partition)?;
        while let Some(front) = lane.handed.front()
            && front.last <= position
        {
            lane.drop_front();
        }
        lane.handed
            .front()
            .filter(|front| front.first <= position + 1)
            .cloned()
    }

    /// Notes where the store stands when a partition is taken, and forgets what was handed over
    /// before.
    pub(super) fn begin(&self, partition: Partition, last_output: u64, last_dead: u64) {
        let mut lanes = self.lock();
        let news = lanes.entry(partition).or_default().news.clone();
        lanes.insert(
            partition,
            Lane {
                last_output,
                last_dead,
                news,
                ..Lane::default()
            },
        );
    }

    /// Rung at the partition's next commit.
    pub(super) fn news(&self, partition: Partition) -> Arc<Notifier> {
        self.lock().entry(partition).or_default().news.clone()
    }
}

impl Lane {
    fn hand(
        &mut self,
        first: u64,
        outputs: Vec<OutputEvent>,
        topics: &OutputTopics,
        way: Option<Way>,
    ) {
        let last = first + outputs.len() as u64 - 1;
        let numbered = (first..)
            .zip(outputs)
            .filter(|(_, output)| topics.get(output.kind).is_some());
        let handed = FeedEntry {
            first,
            last,
            outputs: numbered.collect(),
            way,
        };
        self.bytes += handed.bytes();
        self.handed.push_back(handed);
        while self.bytes > HANDED_BYTES && !self.handed.is_empty() {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(dropped) = self.handed.pop_front() {
            self.bytes -= dropped.bytes();
        }
    }
}

impl FeedEntry {
    fn bytes(&self) -> usize {
        64 + self
            .outputs
            .iter()
            .map(|(_, output)| output.weight())
            .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use theatre_actors::outputs::OutputKind;
    use theatre_actors::ports::ProcessorSave;
    use theatre_actors::position::Positions;

    use super::*;

    fn commit(outputs: &[OutputKind]) -> PartitionCommit {
        let output = |kind: &OutputKind| OutputEvent {
            kind: *kind,
            robot_id: String::new(),
            id: String::new(),
            subject: String::new(),
            revision: 0,
            event_time: 0,
            payload: vec![0; 100],
        };
        let save = ProcessorSave {
            processor: "r".to_owned(),
            save_number: 1,
            positions: Positions::zero(),
            state: Vec::new(),
            outputs: outputs.iter().map(output).collect(),
            dead: Vec::new(),
        };
        PartitionCommit {
            partition: 3,
            epoch: 1,
            processors: vec![save],
            floor: Positions::zero(),
        }
    }

    /// Windows have none.
    fn topics() -> OutputTopics {
        OutputTopics::new(|_| None)
    }

    fn done(last_output: u64) -> CommitOutcome {
        CommitOutcome::Committed {
            last_output,
            last_dead: 0,
        }
    }

    #[test]
    fn outputs_are_handed_over_with_their_numbers_and_once() {
        let committed = CommitFeed::default();
        committed.begin(3, 10, 0);
        committed.note(
            [(commit(&[OutputKind::Window, OutputKind::Alert]), done(12))],
            &topics(),
            LogTime(0),
            0,
        );
        let handed = committed.after(3, 10).unwrap();
        assert_eq!(
            (
                handed.first,
                handed.last,
                handed.outputs.len(),
                handed.outputs[0].0
            ),
            (11, 12, 1, 12)
        );
        assert!(
            committed.after(3, 12).is_none() && committed.after(3, 10).is_none(),
            "what was passed is dropped"
        );
    }

    #[test]
    fn a_gap_is_left_to_the_store() {
        let committed = CommitFeed::default();
        committed.begin(3, 10, 0);
        // A repeated commit: its outputs were there, no new number was given.
        committed.note(
            [(commit(&[OutputKind::Alert]), done(10))],
            &topics(),
            LogTime(0),
            0,
        );
        assert!(committed.after(3, 9).is_none());
        committed.note(
            [(commit(&[OutputKind::Alert]), done(11))],
            &topics(),
            LogTime(0),
            0,
        );
        assert!(committed.after(3, 8).is_none() && committed.latest(3) == Some((11, 0)));
        assert!(committed.after(3, 10).is_some());
    }

    #[test]
    fn what_waits_is_bounded() {
        let committed = CommitFeed::default();
        committed.begin(3, 0, 0);
        for number in 1..=20_000 {
            committed.note(
                [(commit(&[OutputKind::Alert]), done(number))],
                &topics(),
                LogTime(0),
                0,
            );
        }
        assert!(
            committed.lock()[&3].bytes <= HANDED_BYTES
                && committed.after(3, 0).is_none()
                && committed.after(3, 19_999).is_some()
        );
    }
}
