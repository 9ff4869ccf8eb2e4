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
use theatre_actors::ports::{CommitOutcome, PartitionCommit, PollLimit};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;
use theatre_telemetry::names;
use theatre_telemetry::traces::{Cause, Way};

use super::queue::Notifier;

/// Most bytes of outputs that wait for one relay.
const HANDED_BYTES: usize = 1 << 20;

/// Outputs of one commit.
#[derive(Debug)]
pub(super) struct FeedEntry {
    /// Number of the first output of the commit.
    pub(super) first: u64,
    /// Number of its last output.
    pub(super) last: u64,
    /// The outputs that may be published, with their numbers.
    pub(super) outputs: Vec<(u64, OutputEvent)>,
    /// The way of the first of them, if records caused it.
    pub(super) way: Option<Way>,
    /// About how many bytes of memory the commit takes.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Lane {
    last_output: u64,
    last_dead: u64,
    handed: VecDeque<Arc<FeedEntry>>,
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
    /// All commits.
    pub all_commits: TimeSpent,
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

    /// Notes that a partition submits a commit `now`; `cause` is that of the first of its outputs
    /// that are published.
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

    /// The commits that follow `position` without a gap, in order, as far as they are at hand: the
    /// next one whatever its size, and those behind it that stay within the bounds together with
    /// it. Drops what lies below.
    pub(super) fn after(
        &self,
        partition: Partition,
        position: u64,
        most: PollLimit,
    ) -> Vec<Arc<FeedEntry>> {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(&partition) else {
            return Vec::new();
        };
        while let Some(front) = lane.handed.front()
            && front.last <= position
        {
            lane.drop_front();
        }
        let mut following = Vec::new();
        let (mut next, mut records, mut bytes) = (position + 1, 0, 0);
        for entry in &lane.handed {
            records += entry.outputs.len();
            bytes += entry.bytes;
            let fits = records <= most.records && bytes <= most.bytes;
            if entry.first > next || !fits && !following.is_empty() {
                break;
            }
            next = entry.last + 1;
            following.push(entry.clone());
        }
        following
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
        let outputs: Vec<(u64, OutputEvent)> = (first..)
            .zip(outputs)
            .filter(|(_, output)| topics.get(output.kind).is_some())
            .collect();
        let weights = outputs.iter().map(|(_, output)| output.weight());
        let bytes = 64 + weights.sum::<usize>();
        self.bytes += bytes;
        self.handed.push_back(Arc::new(FeedEntry {
            first,
            last,
            outputs,
            way,
            bytes,
        }));
        while self.bytes > HANDED_BYTES && !self.handed.is_empty() {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(dropped) = self.handed.pop_front() {
            self.bytes -= dropped.bytes;
        }
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

    const ALL: PollLimit = PollLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };

    /// First and last numbers of the commits that follow.
    fn following(feed: &CommitFeed, position: u64, most: PollLimit) -> Vec<(u64, u64)> {
        let entries = feed.after(3, position, most);
        entries.iter().map(|it| (it.first, it.last)).collect()
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
        let handed = committed.after(3, 10, ALL);
        let [handed] = handed.as_slice() else {
            panic!("{handed:?}");
        };
        assert_eq!(
            (
                handed.first,
                handed.last,
                handed.outputs.len(),
                handed.outputs[0].0
            ),
            (11, 12, 1, 12)
        );
        for position in [12, 10] {
            assert_eq!(
                following(&committed, position, ALL),
                [],
                "what was passed is dropped"
            );
        }
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
        assert_eq!(following(&committed, 9, ALL), []);
        committed.note(
            [(commit(&[OutputKind::Alert]), done(11))],
            &topics(),
            LogTime(0),
            0,
        );
        assert_eq!(following(&committed, 8, ALL), []);
        assert_eq!(committed.latest(3), Some((11, 0)));
        // Numbers 12 and 13 are not at hand: what follows them does not follow number 11.
        committed.note(
            [(commit(&[OutputKind::Alert]), done(13))],
            &topics(),
            LogTime(0),
            0,
        );
        committed.note(
            [(commit(&[OutputKind::Alert]), done(14))],
            &topics(),
            LogTime(0),
            0,
        );
        assert_eq!(following(&committed, 10, ALL), [(11, 11)]);
        assert_eq!(following(&committed, 13, ALL), [(14, 14)]);
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
                && following(&committed, 0, ALL).is_empty()
                && following(&committed, 19_999, ALL) == [(20_000, 20_000)]
        );
        committed.after(3, 20_000, ALL);
        assert_eq!(committed.lock()[&3].bytes, 0);
    }

    #[test]
    fn commits_that_follow_one_another_are_handed_over_together_within_bounds() {
        use OutputKind::{Alert, Window};
        let feed = CommitFeed::default();
        feed.begin(3, 0, 0);
        for (outputs, last) in [
            (vec![Alert, Alert], 2),
            (vec![Window], 3),
            (vec![Alert], 4),
            (vec![Alert, Window, Alert], 7),
        ] {
            feed.note([(commit(&outputs), done(last))], &topics(), LogTime(0), 0);
        }
        let spans = [(1, 2), (3, 3), (4, 4), (5, 7)];
        assert_eq!(following(&feed, 0, ALL), spans);
        let records = |records| PollLimit { records, ..ALL };
        for (most, count) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 3), (5, 4)] {
            assert_eq!(following(&feed, 0, records(most)), spans[..count], "{most}");
        }
        let weights: Vec<usize> = feed.lock()[&3].handed.iter().map(|it| it.bytes).collect();
        let two = weights[0] + weights[1];
        for (most, count) in [(0, 1), (two - 1, 1), (two, 2), (two + weights[2] - 1, 2)] {
            let most = PollLimit { bytes: most, ..ALL };
            assert_eq!(following(&feed, 0, most), spans[..count], "{most:?}");
        }
        assert_eq!(
            following(&feed, 5, records(2)),
            [(5, 7)],
            "a commit that was published in part is handed over whole"
        );
    }
}
