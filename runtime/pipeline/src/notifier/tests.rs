use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64};

use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::{CheckpointStore, PartitionCommit, ProcessorSave, StoredOutput};
use theatre_actors::position::Positions;
use theatre_actors::time::Clock;
use theatre_config::Config;
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;

use super::*;
use crate::outbox::{self, Consumer, Receipt, Stream};
use crate::{PipelineParams, Ports};

mod held_up;
mod repeats;

const SECOND: i64 = 1_000_000;

/// Remembers the numbers of what it took.
struct Receiver {
    name: &'static str,
    taken: Mutex<Vec<u64>>,
    is_away: AtomicBool,
    /// Numbers that it refuses for good.
    refused: BTreeSet<u64>,
    /// Numbers that it answers with a no that may pass.
    put_off: Mutex<BTreeSet<u64>>,
    /// How often it was asked.
    attempts: AtomicUsize,
}

impl Receiver {
    fn new(name: &'static str, refused: &[u64]) -> Arc<Self> {
        Arc::new(Self {
            name,
            taken: Mutex::default(),
            is_away: AtomicBool::new(false),
            refused: refused.iter().copied().collect(),
            put_off: Mutex::default(),
            attempts: AtomicUsize::new(0),
        })
    }

    fn taken(&self) -> Vec<u64> {
        self.taken.lock().unwrap().clone()
    }

    /// From now on these are answered with a no that may pass.
    fn puts_off(&self, numbers: impl IntoIterator<Item = u64>) {
        *self.put_off.lock().unwrap() = numbers.into_iter().collect();
    }
}

impl OutputSink for Receiver {
    fn consumer(&self) -> Consumer {
        Consumer {
            name: self.name.into(),
            stream: Stream::OutputsOf(OutputKind::Alert),
            backlog: "transitions are not delivered".into(),
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn wants(&self, output: &StoredOutput, _: &dyn CheckpointStore) -> Result<bool> {
        Ok(output.output.subject != "of no concern")
    }

    fn take(&self, output: &StoredOutput, _: &dyn CheckpointStore) -> Result<Receipt> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Error::Refused("it is away".to_owned()));
        }
        if self.refused.contains(&output.sequence) {
            return Ok(Receipt::Refused("answered 400".to_owned()));
        }
        if self.put_off.lock().unwrap().contains(&output.sequence) {
            return Ok(Receipt::NotNow("answered 500".to_owned()));
        }
        self.taken.lock().unwrap().push(output.sequence);
        Ok(Receipt::Taken)
    }
}

#[derive(Default)]
struct ByHand(AtomicI64);

impl Clock for ByHand {
    fn now(&self) -> LogTime {
        LogTime(self.0.load(Ordering::Relaxed))
    }
}

struct World {
    store: Arc<MemoryStore>,
    clock: Arc<ByHand>,
    ports: Ports,
    params: PipelineParams,
    number: u64,
}

impl World {
    fn new(receivers: &[&Arc<Receiver>]) -> Self {
        let (store, clock) = (
            Arc::new(MemoryStore::default()),
            Arc::new(ByHand::default()),
        );
        let ports = Ports {
            log: Arc::new(MemoryLog::new(clock.clone())),
            store: store.clone(),
            lake: Arc::new(MemoryLake::default()),
            warehouse: Arc::new(EmbeddedWarehouse::in_memory().unwrap()),
            clock: clock.clone(),
        };
        let mut params = crate::params::without_sources(&Config::default()).unwrap();
        params.lake = false;
        let sink = |receiver: &&Arc<Receiver>| -> Arc<dyn OutputSink> { (*receiver).clone() };
        params.sinks = receivers.iter().map(sink).collect();
        Self {
            store,
            clock,
            ports,
            params,
            number: 0,
        }
    }

    fn own(&self) -> (Epoch, Vec<Delivery>) {
        let epoch = self.store.acquire(0).unwrap();
        let status = self.store.status(0).unwrap();
        outbox::begin(0, epoch, &self.params, &self.ports, &status).unwrap();
        let delivery =
            |sink: &Arc<dyn OutputSink>| Delivery::new(0, epoch, self.ports.clone(), sink.clone());
        (epoch, self.params.sinks.iter().map(delivery).collect())
    }

    fn commit(&mut self, epoch: Epoch, kind: OutputKind, subject: &str) {
        let id = format!("a{}", self.number + 1);
        self.commit_of(epoch, kind, subject, &id);
    }

    /// The same with this id: of alerts, that of the condition.
    fn commit_of(&mut self, epoch: Epoch, kind: OutputKind, subject: &str, id: &str) {
        self.number += 1;
        let output = OutputEvent {
            kind,
            robot_id: "r".to_owned(),
            id: id.to_owned(),
            subject: subject.to_owned(),
            revision: self.number as u32,
            event_time: 0,
            payload: Vec::new(),
        };
        let save = ProcessorSave {
            processor: "r".to_owned(),
            save_number: self.number,
            positions: Positions::zero(),
            state: Vec::new(),
            outputs: vec![output],
            dead: Vec::new(),
        };
        let commit = PartitionCommit {
            partition: 0,
            epoch,
            processors: vec![save],
            floor: Positions::zero(),
        };
        self.store.commit(&[commit], self.clock.now()).unwrap();
    }

    fn alerts(&mut self, epoch: Epoch, count: u64) {
        (0..count).for_each(|_| self.commit(epoch, OutputKind::Alert, "hot"));
    }

    fn position(&self, name: &str) -> u64 {
        self.store.status(0).unwrap().cursors.get(name)
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * SECOND, Ordering::Relaxed);
    }
}

#[test]
fn transitions_come_in_order_and_the_next_owner_goes_on_where_the_last_one_was() {
    let receiver = Receiver::new("pager", &[]);
    let mut world = World::new(&[&receiver]);
    let (first, mut old) = world.own();
    world.alerts(first, 2);
    receiver.is_away.store(true, Ordering::Relaxed);
    assert!(
        matches!(old[0].deliver(false), Err(Error::Unavailable { .. })),
        "also a refusal that may pass is tried again"
    );
    assert_eq!(
        world.position("pager"),
        0,
        "what was not taken is not passed over"
    );
    receiver.is_away.store(false, Ordering::Relaxed);
    assert_eq!(old[0].deliver(false), Ok(Step::Worked));
    assert_eq!((receiver.taken(), world.position("pager")), (vec![1, 2], 2));

    let (second, mut new) = world.own();
    world.alerts(second, 1);
    assert!(matches!(
        old[0].deliver(false),
        Err(Error::StaleEpoch { .. })
    ));
    assert_eq!(new[0].deliver(false), Ok(Step::Worked));
    assert_eq!(new[0].deliver(false), Ok(Step::Idle));
    assert_eq!(
        (receiver.taken(), world.position("pager")),
        (vec![1, 2, 3], 3)
    );
}

#[test]
fn what_was_delivered_when_its_owner_ended_before_it_was_noted_comes_again_and_nothing_is_lost() {
    let receiver = Receiver::new("pager", &[]);
    let mut world = World::new(&[&receiver]);
    let (first, _) = world.own();
    world.alerts(first, 3);
    let sink = world.params.sinks[0].clone();
    let all = world.store.outputs_after(0, 0, 9).unwrap();
    // The first is noted, the second is delivered and its owner ends before that is noted.
    sink.take(&all[0], &*world.store).unwrap();
    world.store.advance_cursor(0, first, "pager", 1).unwrap();
    sink.take(&all[1], &*world.store).unwrap();

    let (_, mut new) = world.own();
    assert_eq!(new[0].deliver(false), Ok(Step::Worked));
    assert_eq!(receiver.taken(), [1, 2, 2, 3]);
}

#[test]
fn a_receiver_that_is_new_gets_what_comes_and_not_what_was() {
    let receiver = Receiver::new("pager", &[]);
    let mut world = World::new(&[]);
    let (first, _) = world.own();
    world.alerts(first, 5);
    world.params.sinks.push(receiver.clone());
    let (second, _) = world.own();
    world.alerts(second, 1);
    // Its owner ends before anything is delivered: what came since counts none the less.
    let (_, mut deliveries) = world.own();
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Worked));
    assert_eq!(receiver.taken(), [6]);

    // The same where there was nothing at all.
    let receiver = Receiver::new("pager", &[]);
    let mut world = World::new(&[&receiver]);
    let (first, _) = world.own();
    world.alerts(first, 2);
    let (_, mut deliveries) = world.own();
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Worked));
    assert_eq!(receiver.taken(), [1, 2]);
}

#[test]
fn what_is_refused_or_too_old_is_set_aside_with_its_reason_and_holds_up_nothing() {
    let receiver = Receiver::new("pager", &[2]);
    let mut world = World::new(&[&receiver]);
    let (epoch, mut deliveries) = world.own();
    world.alerts(epoch, 3);
    world.commit(epoch, OutputKind::Alert, "of no concern");
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Worked));
    assert_eq!((receiver.taken(), world.position("pager")), (vec![1, 3], 3));

    receiver.is_away.store(true, Ordering::Relaxed);
    world.alerts(epoch, 2);
    world.commit(epoch, OutputKind::Alert, "of no concern");
    world.pass(60);
    assert!(
        deliveries[0].deliver(true).is_err(),
        "it has its time still"
    );
    assert!(!outbox::is_out(
        &world.params,
        &world.store.status(0).unwrap()
    ));
    world.pass(1);
    assert_eq!(deliveries[0].deliver(true), Ok(Step::Worked));
    let undelivered = world.store.undelivered(Some("pager"), 0).unwrap();
    let set_aside: BTreeMap<u64, &str> = undelivered
        .iter()
        .map(|noted| (noted.output.sequence, noted.reason.as_str()))
        .collect();
    let too_old = "it could not be delivered within 60 s";
    assert_eq!(
        set_aside,
        BTreeMap::from([(2, "answered 400"), (5, too_old), (6, too_old)])
    );
    let cursors = world.store.status(0).unwrap().cursors;
    assert_eq!(cursors.get("pager"), 7, "the end need not wait for it");
}

#[test]
fn a_receiver_that_is_away_holds_up_no_other() {
    let (dead, alive) = (Receiver::new("dead", &[]), Receiver::new("alive", &[]));
    let mut world = World::new(&[&dead, &alive]);
    dead.is_away.store(true, Ordering::Relaxed);
    let (epoch, mut deliveries) = world.own();
    world.alerts(epoch, 2);
    assert!(deliveries[0].deliver(false).is_err());
    assert_eq!(deliveries[1].deliver(false), Ok(Step::Worked));
    assert_eq!((dead.taken(), alive.taken()), (vec![], vec![1, 2]));
}

#[test]
fn outputs_of_other_kinds_are_passed_over() {
    let receiver = Receiver::new("pager", &[]);
    let mut world = World::new(&[&receiver]);
    let (epoch, mut deliveries) = world.own();
    for _ in 0..3 {
        world.commit(epoch, OutputKind::Window, "10s");
    }
    world.alerts(epoch, 1);
    world.commit(epoch, OutputKind::Outcome, "p");
    assert_eq!(deliveries[0].deliver(true), Ok(Step::Worked));
    assert_eq!((receiver.taken(), world.position("pager")), (vec![4], 5));
}
