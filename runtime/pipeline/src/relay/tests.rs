//! What is committed is published once and in order, and what waits together in one transaction.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use proptest::prelude::*;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    CheckpointStore, EventLog, LogRange, LogReader, Membership, NewRecord, Ownership,
    PartitionCommit, ProcessorSave,
};
use theatre_actors::position::Positions;
use theatre_config::Config;
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_system::clock::SystemClock;
use theatre_telemetry::traces::{Cause, Traces};
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;

use super::*;
use OutputKind::{Alert, Outcome, Window};

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// The log never had it.
    Lost,
    /// The log has it, but the answer was lost.
    Unanswered,
}

type Hook = Box<dyn FnOnce() + Send>;

/// What a lane was given.
#[derive(Default)]
struct Seen {
    /// The values of each transaction that the log has, as text.
    transactions: Vec<Vec<String>>,
    fates: VecDeque<Fate>,
    /// Called while the next transaction runs.
    meanwhile: Option<Hook>,
}

/// A log that tells of its transactions.
struct Log {
    inner: MemoryLog,
    seen: Arc<Mutex<Seen>>,
}

impl EventLog for Log {
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.inner.ensure_topics(topics, partitions)
    }

    fn grow_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.inner.grow_topics(topics, partitions)
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.inner.partitions(topic)
    }

    fn join(
        &self,
        topics: &[String],
        partitions: u32,
        owner: Arc<dyn Ownership>,
    ) -> Result<Box<dyn Membership>> {
        self.inner.join(topics, partitions, owner)
    }

    fn append(&self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64> {
        self.inner.append(topic, partition, records)
    }

    fn reader(&self, topic: &str, partition: Partition, from: u64) -> Result<Box<dyn LogReader>> {
        self.inner.reader(topic, partition, from)
    }

    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange> {
        self.inner.range(topic, partition)
    }

    fn offset_at(&self, topic: &str, partition: Partition, time: LogTime) -> Result<u64> {
        self.inner.offset_at(topic, partition, time)
    }

    fn open_lane(
        &self,
        partition: Partition,
        lane: Lane,
        epoch: Epoch,
    ) -> Result<Box<dyn LanePublisher>> {
        Ok(Box::new(Publisher {
            inner: self.inner.open_lane(partition, lane, epoch)?,
            seen: self.seen.clone(),
        }))
    }

    fn trim(&self, topic: &str, partition: Partition, before: u64) -> Result<()> {
        self.inner.trim(topic, partition, before)
    }
}

struct Publisher {
    inner: Box<dyn LanePublisher>,
    seen: Arc<Mutex<Seen>>,
}

impl LanePublisher for Publisher {
    fn position(&mut self) -> Result<u64> {
        self.inner.position()
    }

    fn publish(&mut self, records: &[Outgoing], position: u64) -> Result<Vec<(usize, String)>> {
        let meanwhile = lock(&self.seen).meanwhile.take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        let fate = lock(&self.seen).fates.pop_front().unwrap_or(Fate::Done);
        let unknown = Err(Error::Unavailable {
            what: "log",
            why: "no answer".to_owned(),
        });
        if fate == Fate::Lost {
            return unknown;
        }
        let refused = self.inner.publish(records, position)?;
        let value = |out: &Outgoing| String::from_utf8_lossy(&out.record.value).into_owned();
        lock(&self.seen)
            .transactions
            .push(records.iter().map(value).collect());
        if fate == Fate::Unanswered {
            return unknown;
        }
        Ok(refused)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Commits as a checkpointer does: numbers the outputs in the order of their values.
struct Committer {
    store: Arc<MemoryStore>,
    feed: Arc<CommitFeed>,
    params: Arc<PipelineParams>,
    state: Mutex<(Epoch, u64, usize)>,
}

impl Committer {
    /// Outputs of these kinds, whose values are their numbers behind so many spaces; without `fed`
    /// the feed learns only where the store stands, as after a repeated commit. Returns the values
    /// that are to be published.
    fn commit(&self, kinds: &[OutputKind], bytes: usize, fed: bool) -> Vec<String> {
        let mut state = lock(&self.state);
        let (epoch, save_number, outputs) = &mut *state;
        *save_number += 1;
        let mut output = |kind: &OutputKind| {
            *outputs += 1;
            OutputEvent {
                kind: *kind,
                robot_id: format!("robot-{}", *outputs % 3),
                id: outputs.to_string(),
                subject: "any".to_owned(),
                revision: 0,
                event_time: 1_700_000_000_000_000 + *outputs as i64,
                payload: format!("{}{outputs}", " ".repeat(bytes)).into_bytes(),
            }
        };
        let outputs: Vec<OutputEvent> = kinds.iter().map(&mut output).collect();
        let published = |output: &&OutputEvent| output.kind != Window;
        let values = outputs.iter().filter(published);
        let values = values.map(|it| String::from_utf8(it.payload.clone()).unwrap());
        let values = values.collect();
        let save = |outputs| ProcessorSave {
            processor: "r".to_owned(),
            save_number: *save_number,
            positions: Positions::zero(),
            state: Vec::new(),
            outputs,
            dead: Vec::new(),
        };
        let mut commit = PartitionCommit {
            partition: 0,
            epoch: *epoch,
            processors: vec![save(outputs)],
            floor: Positions::zero(),
        };
        let mut outcomes = self.store.commit(&[commit.clone()], LogTime(1)).unwrap();
        if !fed {
            commit.processors = vec![save(Vec::new())];
        }
        let cause = Cause {
            appended: LogTime(*save_number as i64),
            read: LogTime(0),
            applied: LogTime(0),
            topic: 0,
            offset: *save_number,
            records: 1,
        };
        self.feed.submitting(0, Some(cause), LogTime(0));
        let noted = [(commit, outcomes.remove(0))];
        self.feed
            .note(noted, &self.params.output_topics, LogTime(2), 0);
        values
    }
}

struct World {
    seen: Arc<Mutex<Seen>>,
    committer: Arc<Committer>,
    ports: Ports,
    relay: Relay,
}

impl World {
    fn new(relay_records: usize, traces: Traces) -> Self {
        let config = Config {
            partitions: 1,
            ..Config::default()
        };
        let mut params = crate::params::without_sources(&config).unwrap();
        params.limits.relay_records = relay_records;
        params.traces = traces;
        let params = Arc::new(params);
        let (seen, store) = (Arc::<Mutex<Seen>>::default(), Arc::<MemoryStore>::default());
        let clock = Arc::new(SystemClock);
        let inner = MemoryLog::new(clock.clone());
        inner.ensure_topics(&params.all_topics(), 1).unwrap();
        store.ensure_layout(&params.topics, 1).unwrap();
        let ports = Ports {
            log: Arc::new(Log {
                inner,
                seen: seen.clone(),
            }),
            store: store.clone(),
            lake: Arc::new(MemoryLake::default()),
            warehouse: Arc::new(EmbeddedWarehouse::in_memory().unwrap()),
            clock,
        };
        let committer = Arc::new(Committer {
            store,
            feed: Arc::default(),
            params,
            state: Mutex::default(),
        });
        let relay = Self::take(&committer, &ports);
        Self {
            seen,
            committer,
            ports,
            relay,
        }
    }

    /// The partition's next owner.
    fn take(committer: &Committer, ports: &Ports) -> Relay {
        let epoch = committer.store.acquire(0).unwrap();
        lock(&committer.state).0 = epoch;
        let status = committer.store.status(0).unwrap();
        committer
            .feed
            .begin(0, status.last_output, status.last_dead);
        Relay::new(
            0,
            epoch,
            Lane::Results,
            &status,
            committer.params.clone(),
            ports.clone(),
            committer.feed.clone(),
        )
    }

    fn restart(&mut self) {
        self.relay = Self::take(&self.committer, &self.ports);
    }

    fn commit(&self, kinds: &[OutputKind]) -> Vec<String> {
        self.committer.commit(kinds, 0, true)
    }

    fn step(&mut self, fate: Fate) -> Result<Step> {
        lock(&self.seen).fates = [fate].into();
        self.relay.step()
    }

    fn finish(&mut self) {
        while self.step(Fate::Done).unwrap() == Step::Worked {}
    }

    fn transactions(&self) -> Vec<Vec<String>> {
        lock(&self.seen).transactions.clone()
    }

    fn published(&self) -> Vec<String> {
        self.transactions().concat()
    }
}

#[test]
fn what_was_committed_while_a_transaction_ran_goes_out_in_one() {
    let mut world = World::new(1000, Traces::default());
    let first = world.commit(&[Alert]);
    let committer = world.committer.clone();
    lock(&world.seen).meanwhile = Some(Box::new(move || {
        for kinds in [[Alert, Outcome], [Window, Window], [Window, Alert]] {
            committer.commit(&kinds, 0, true);
        }
    }));
    world.finish();
    let rest = ["2", "3", "7"].map(str::to_owned).to_vec();
    assert_eq!(world.transactions(), [first, rest]);
    assert_eq!(world.relay.position, 7);
}

#[test]
fn commits_go_out_in_transactions_of_bounded_size() {
    let mut world = World::new(4, Traces::default());
    let mut wanted = Vec::new();
    for outputs in [2, 1, 1, 1, 6, 2, 2] {
        wanted.extend(world.commit(&vec![Alert; outputs]));
    }
    world.finish();
    let sizes: Vec<usize> = world.transactions().iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 1, 6, 4], "a commit is not divided");
    assert_eq!(world.published(), wanted);
}

#[test]
fn a_commit_that_was_published_in_part_goes_on_where_it_was() {
    let mut world = World::new(2, Traces::default());
    let mut wanted = world.committer.commit(&[Alert], 0, false);
    wanted.extend(world.commit(&[Alert, Alert, Alert]));
    wanted.extend(world.commit(&[Alert]));
    assert_eq!(world.step(Fate::Done), Ok(Step::Worked));
    assert_eq!(
        world.relay.position, 2,
        "as far as a read of the store goes"
    );
    world.finish();
    let sizes: Vec<usize> = world.transactions().iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(world.published(), wanted);
}

#[test]
fn what_the_feed_has_no_room_for_is_read_back_from_the_store() {
    let mut world = World::new(3, Traces::default());
    let mut wanted = Vec::new();
    for _ in 0..12 {
        wanted.extend(world.committer.commit(&[Alert], 300 << 10, true));
    }
    world.finish();
    let sizes: Vec<usize> = world.transactions().iter().map(Vec::len).collect();
    assert_eq!(
        sizes,
        [3, 3, 3, 1, 1, 1],
        "the last three were at hand, each more than goes out together"
    );
    assert!(world.published() == wanted);
}

#[test]
fn a_transaction_of_unknown_fate_is_not_repeated_and_one_that_was_lost_is() {
    for fate in [Fate::Unanswered, Fate::Lost] {
        let mut world = World::new(1000, Traces::default());
        let wanted = [world.commit(&[Alert]), world.commit(&[Outcome, Alert])].concat();
        assert!(world.step(fate).is_err(), "{fate:?}");
        world.finish();
        assert_eq!(world.transactions(), [wanted], "{fate:?}");
    }
}

#[test]
fn each_commit_of_a_transaction_has_its_way_observed() {
    let observed = Arc::<Mutex<Vec<Published>>>::default();
    let sink = observed.clone();
    let traces = Traces::to(1e9, move |way| lock(&sink).push(way));
    let mut world = World::new(1000, traces);
    world.commit(&[Alert]);
    world.commit(&[Window]);
    world.commit(&[Alert, Outcome, Alert]);
    world.finish();
    assert_eq!(world.transactions().len(), 1);
    let ways: Vec<_> = lock(&observed)
        .iter()
        .map(|way| {
            (
                way.way.cause.offset,
                way.counts.clone(),
                way.id.clone(),
                way.topic.is_some(),
            )
        })
        .collect();
    assert_eq!(
        ways,
        [
            (1, vec![("alert", 1)], Some("1#0".to_owned()), true),
            (3, vec![("alert", 2), ("outcome", 1)], None, false),
        ],
        "but for the one that had nothing to be published"
    );
}

#[derive(Debug, Clone)]
enum Act {
    Commit(Vec<OutputKind>, bool),
    Step(Fate),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let kind = prop_oneof![Just(Alert), Just(Outcome), Just(Window)];
    let fate = prop_oneof![
        4 => Just(Fate::Done),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Unanswered),
    ];
    let commit = (prop::collection::vec(kind, 1..5), prop::bool::weighted(0.8));
    prop::collection::vec(
        prop_oneof![
            6 => commit.prop_map(|(kinds, fed)| Act::Commit(kinds, fed)),
            4 => fate.prop_map(Act::Step),
            1 => Just(Act::Restart),
        ],
        1..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_output_is_published_once_and_in_order(acts in acts(), relay_records in 1_usize..8) {
        let mut world = World::new(relay_records, Traces::default());
        let mut wanted = Vec::new();
        for act in acts {
            match act {
                Act::Commit(kinds, fed) => {
                    wanted.extend(world.committer.commit(&kinds, 0, fed));
                }
                Act::Step(fate) => drop(world.step(fate)),
                Act::Restart => world.restart(),
            }
            let published = world.published();
            prop_assert!(wanted.starts_with(&published), "{published:?} of {wanted:?}");
        }
        world.finish();
        prop_assert_eq!(world.published(), wanted);
    }
}
