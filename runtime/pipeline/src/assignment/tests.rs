//! Leaving partitions, on the ports' twins, while a warehouse takes its time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use theatre_actors::ports::{
    CheckpointStore, Epoch, Error, EventLog, FileStage, Lake, Lane, LanePublisher, LoadBatch,
    LoadReceipt, LogRange, LogReader, Membership, NewRecord, QueryResult, TableSpec, Warehouse,
};
use theatre_actors::rules::Micros;
use theatre_actors::time::LogTime;

use super::super::ends::Ends;
use super::super::wiring::{context, prepare, start_checkpointer};
use super::super::{Ports, Progress};
use super::*;
use theatre_config::{Config, INPUT_TOPICS, OUTCOME_TOPIC};
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_simulator::Simulator;
use theatre_system::clock::SystemClock;
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;

mod faults;

const PATIENCE: Duration = Duration::from_secs(60);
/// Far below what a hand-over or a stop may take at most.
const SOON: Duration = Duration::from_secs(10);

/// A warehouse whose loads hang until they may go on.
struct Slow {
    inner: EmbeddedWarehouse,
    /// What asking for its tables fails with.
    fault: Mutex<Option<Error>>,
    hangs: AtomicBool,
    loads: AtomicUsize,
}

impl Warehouse for Slow {
    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()> {
        if let Some(fault) = self.fault.lock().unwrap().clone() {
            return Err(fault);
        }
        self.inner.ensure_tables(tables)
    }

    fn load(&self, batch: &LoadBatch, lake: &dyn Lake) -> Result<LoadReceipt> {
        self.loads.fetch_add(1, Ordering::AcqRel);
        while self.hangs.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.inner.load(batch, lake)
    }

    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>> {
        self.inner.receipt(batch)
    }

    fn query(&self, sql: &str) -> Result<QueryResult> {
        self.inner.query(sql)
    }
}

/// A log whose lanes are away while a test says so.
struct Lanes {
    inner: Arc<MemoryLog>,
    away: AtomicBool,
}

impl EventLog for Lanes {
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
        if self.away.load(Ordering::Acquire) {
            return Err(Error::Unavailable {
                what: "log",
                why: "the lane is away".to_owned(),
            });
        }
        self.inner.open_lane(partition, lane, epoch)
    }

    fn trim(&self, topic: &str, partition: Partition, before: u64) -> Result<()> {
        self.inner.trim(topic, partition, before)
    }
}

struct World {
    log: Arc<MemoryLog>,
    lanes: Arc<Lanes>,
    store: Arc<MemoryStore>,
    lake: Arc<faults::Faulty>,
    warehouse: Arc<Slow>,
    context: SharedContext,
    assignment: Assignment,
    checkpointer: JoinHandle<()>,
    saved: Arc<AtomicBool>,
}

impl World {
    fn open() -> Self {
        Self::open_on(Arc::new(MemoryLog::new(Arc::new(SystemClock))))
    }

    fn open_on(log: Arc<MemoryLog>) -> Self {
        Self::open_saving_every(log, 100)
    }

    fn open_saving_every(log: Arc<MemoryLog>, save_interval_ms: i64) -> Self {
        let millis = |millis: i64| Micros(millis * 1000);
        let config = Config {
            partitions: 1,
            silence_after: millis(86_400_000),
            save_interval: millis(save_interval_ms),
            lake_roll_age: millis(100),
            export_age: millis(100),
            ..Config::default()
        };
        let store = Arc::new(MemoryStore::default());
        let (lake, inner) = (
            Arc::new(faults::Faulty::default()),
            EmbeddedWarehouse::in_memory().unwrap(),
        );
        let warehouse = Arc::new(Slow {
            inner,
            fault: Mutex::default(),
            hangs: AtomicBool::new(true),
            loads: AtomicUsize::new(0),
        });
        let lanes = Arc::new(Lanes {
            inner: log.clone(),
            away: AtomicBool::new(false),
        });
        let ports = Ports {
            log: lanes.clone(),
            store: store.clone(),
            lake: lake.clone(),
            warehouse: warehouse.clone(),
            clock: Arc::new(SystemClock),
        };
        let mut params = crate::params::without_sources(&config).unwrap();
        params.limits.lake_patience = Duration::from_millis(300);
        prepare(&params, &ports).unwrap();
        let context = context(params, ports).unwrap();
        context.flush.store(true, Ordering::Release);
        let saved = Arc::new(AtomicBool::new(false));
        let checkpointer = start_checkpointer(&context, saved.clone()).unwrap();
        Self {
            log,
            lanes,
            store,
            lake,
            warehouse,
            assignment: Assignment::new(context.clone()),
            context,
            checkpointer,
            saved,
        }
    }

    fn produce(&self, ticks: std::ops::Range<u64>) {
        let simulator = Simulator::new(7, 3, 1_767_225_600_000_000).unwrap();
        for tick in ticks {
            for (topic, record) in simulator.tick(tick).unwrap() {
                self.log.append(INPUT_TOPICS[topic], 0, &[record]).unwrap();
            }
        }
    }

    /// Everything that is in the log now is saved, published, in the lake and loaded.
    fn is_drained(&self) -> bool {
        let ends = Ends::now(&*self.log, &self.context.params.topics, 1).unwrap();
        self.context.progress.is_drained_to(&ends)
    }

    fn loads(&self) -> usize {
        self.warehouse.loads.load(Ordering::Acquire)
    }

    fn number(&self, sql: &str) -> u64 {
        self.warehouse.query(sql).unwrap().rows[0][0]
            .as_u64()
            .unwrap_or(0)
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && !holds() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(holds(), "{what}: not within {PATIENCE:?}");
}

fn soon<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = call();
    assert!(begun.elapsed() < SOON, "{what} took {:?}", begun.elapsed());
    done
}

#[test]
fn a_load_that_hangs_holds_up_neither_hand_over_nor_stop_and_is_done_once() {
    let world = World::open();
    world.produce(0..60);
    world.assignment.assigned(&[0]);
    eventually("a load hangs", || world.loads() == 1);

    soon("handing over", || world.assignment.revoked(&[0]));
    let floor = world.store.status(0).unwrap().floor;
    assert!(floor.get(0) > 0, "something was saved: {floor:?}");
    assert_eq!(
        world.assignment.left(),
        [(0, floor)],
        "how far it is saved is committed to the group"
    );
    assert_eq!(world.assignment.left(), [], "once");
    assert!(world.context.progress.partitions().is_empty());

    // It comes back: two loaders of one process load the same batch.
    world.assignment.assigned(&[0]);
    eventually("the next loader loads too", || world.loads() == 2);
    assert!(!world.is_drained());
    world.warehouse.hangs.store(false, Ordering::Release);
    eventually("everything is loaded", || world.is_drained());
    let files = world.store.all_files().unwrap();
    assert!(
        files.iter().all(|file| file.stage == FileStage::Loaded),
        "{files:?}"
    );
    let rows = |dataset: Option<&str>| -> u64 {
        files
            .iter()
            .filter(|file| dataset.is_none_or(|name| file.file.dataset == name))
            .map(|file| file.file.rows)
            .sum()
    };
    assert_eq!(
        world.number("SELECT sum(row_count) FROM load_ledger"),
        rows(None)
    );
    assert_eq!(
        world.number("SELECT count(*) FROM robot_telemetry"),
        rows(Some("robot_telemetry"))
    );
    assert_eq!(
        world.context.progress.failures(),
        Vec::<String>::new(),
        "the older loader ended in silence"
    );
    assert_eq!(world.context.progress.troubles(), Vec::<String>::new());

    world.warehouse.hangs.store(true, Ordering::Release);
    let before = world.loads();
    world.produce(60..120);
    eventually("a load hangs again", || world.loads() > before);
    assert!(
        soon("stopping", || world
            .assignment
            .close(Instant::now() + PATIENCE)),
        "nothing is left behind but a load"
    );
    assert_eq!(
        world.assignment.left(),
        [(0, world.store.status(0).unwrap().floor)]
    );
    world.warehouse.hangs.store(false, Ordering::Release);
    world.saved.store(true, Ordering::Release);
    world.checkpointer.join().unwrap();
}

#[test]
fn a_thread_that_does_not_end_is_waited_for_until_the_deadline_only() {
    let world = World::open();
    let goes_on = Arc::new(AtomicBool::new(true));
    let until = goes_on.clone();
    let work = move || {
        while until.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    };
    world
        .assignment
        .lock()
        .late
        .insert(0, spawn("late".to_owned(), work).unwrap());
    assert!(!soon("stopping", || world
        .assignment
        .close(Instant::now() + Duration::from_millis(50))));
    goes_on.store(false, Ordering::Release);
}

#[test]
fn who_outlasts_a_partition_has_no_say_in_its_progress() {
    let progress = Progress::default();
    progress.update(3, |share| share.epoch = 2);
    for (epoch, heard) in [(1, false), (2, true)] {
        progress.update_under(3, epoch, |share| share.loaded.ticks = 7);
        progress.tell_under(3, epoch, |progress| {
            progress.set_trouble("loader 3", Some("away".to_owned()))
        });
        assert_eq!(
            (
                progress.share(3).loaded.ticks == 7,
                progress.troubles().len()
            ),
            (heard, usize::from(heard))
        );
    }
    assert_eq!(progress.forget(3).map(|share| share.epoch), Some(2));
    progress.update_under(3, 2, |share| share.loaded.ticks = 7);
    progress.tell_under(3, 2, |progress| {
        progress.set_trouble("loader 3", Some("away".to_owned()))
    });
    assert!(progress.partitions().is_empty() && progress.troubles().is_empty());
}

#[test]
fn the_gauge_of_a_component_that_has_recovered_goes_back_to_zero() {
    let progress = Progress::default();
    let counts = |progress: &Progress, of: [&str; 2]| {
        let troubled = progress.troubled_now();
        of.map(|component| troubled.get(component).copied())
    };
    let components = [GROUP, "loads of"];
    assert_eq!(counts(&progress, components), [Some(0), None]);
    progress.set_trouble(GROUP, Some("lost".to_owned()));
    progress.set_trouble("loads of 1", Some("refused".to_owned()));
    progress.set_trouble("loads of 12", Some("refused".to_owned()));
    assert_eq!(counts(&progress, components), [Some(1), Some(2)]);
    for component in [GROUP, "loads of 1", "loads of 12"] {
        progress.set_trouble(component, None);
    }
    assert_eq!(counts(&progress, components), [Some(0), Some(0)]);
}

#[test]
fn what_is_to_be_flushed_never_waits_for_the_next_save_interval() {
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    let world = World::open_saving_every(log, 86_400_000);
    world.warehouse.hangs.store(false, Ordering::Release);
    world.assignment.assigned(&[0]);
    // The first save of a robot is due at once, those after it within a day.
    for tick in 0..5 {
        world.produce(tick..tick + 1);
        eventually("it is flushed", || world.is_drained());
    }
    // Neither does the request get lost that comes while something is being saved.
    world.context.flush.store(false, Ordering::Release);
    world.produce(5..6);
    eventually("it is read", || {
        let read = world.context.progress.share(0).read.positions;
        read.get(0) == world.log.range(INPUT_TOPICS[0], 0).unwrap().end
    });
    assert!(!world.is_drained(), "it was not asked for");
    world.context.flush.store(true, Ordering::Release);
    eventually("it is flushed", || world.is_drained());
    assert!(world.assignment.close(Instant::now() + PATIENCE));
    world.saved.store(true, Ordering::Release);
    world.checkpointer.join().unwrap();
}

#[test]
fn who_is_through_with_what_was_there_is_not_through_with_what_came_after() {
    let log = MemoryLog::new(Arc::new(SystemClock));
    let topics = [INPUT_TOPICS[0].to_owned(), "not made yet".to_owned()];
    log.ensure_topics(&topics[..1], 2).unwrap();
    let record = || NewRecord::default();
    log.append(&topics[0], 1, &[record(), record()]).unwrap();
    let before = Ends::now(&log, &topics, 2).unwrap();
    let progress = Progress::default();
    assert!(!progress.is_drained_to(&before), "no partition is taken");
    for partition in 0..2 {
        progress.update(partition, |share| {
            share.read.positions = Positions::from(vec![2]);
            share.saved = share.read.clone();
            share.outward = share.read.clone();
            share.caught_up = true;
        });
    }
    assert!(!progress.is_drained_to(&before), "it is not loaded");
    for partition in 0..2 {
        progress.update(partition, |share| share.loaded = share.read.clone());
    }
    assert!(progress.is_drained_to(&before));
    log.append(&topics[0], 1, &[record()]).unwrap();
    let after = Ends::now(&log, &topics, 2).unwrap();
    assert!(
        !progress.is_drained_to(&after),
        "it was idle for long, and is not now"
    );
    assert!(progress.is_drained_to(&before));
    assert!(before.are_within(&after) && !after.are_within(&before));
    progress.update(1, |share| share.read.ticks = 1);
    assert!(
        !progress.is_drained_to(&before),
        "the wall clock has decided something"
    );
}
