//! Requests with a key on a log that says that it does not answer, and has the records later.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use theatre_actors::ports::{
    AccessStore, Epoch, EventLog, Lane, LanePublisher, LogRange, LogReader, Membership, Ownership,
    Result,
};
use theatre_actors::time::Clock;
use theatre_embedded::access::EmbeddedAccess;

use super::*;
use crate::deployed::parts;

const TOPIC: &str = "records";
const SECOND: i64 = 1_000_000;

/// A clock that is moved by hand.
struct Hand(AtomicI64);

impl Hand {
    fn moves(&self, us: i64) {
        self.0.fetch_add(us, Ordering::AcqRel);
    }
}

impl Clock for Hand {
    fn now(&self) -> LogTime {
        LogTime(self.0.load(Ordering::Acquire))
    }
}

/// A log as brokers are at times.
struct Odd {
    inner: Arc<dyn EventLog>,
    clock: Arc<Hand>,
    /// How long an append takes.
    takes_us: AtomicI64,
    /// So many appends fail: their records are on their way until they are delivered.
    fails: AtomicU64,
    on_their_way: Mutex<Vec<(u32, Vec<NewRecord>)>>,
    access: Arc<EmbeddedAccess>,
    /// Whether a request could have been taken over while its append was under way.
    was_free: AtomicBool,
}

impl Odd {
    /// What was on its way is in the log now.
    fn deliver(&self) {
        for (partition, records) in self.on_their_way.lock().unwrap().drain(..) {
            self.inner.append(TOPIC, partition, &records).unwrap();
        }
    }

    /// Records in all partitions.
    fn held(&self) -> u64 {
        let held = |partition| self.inner.range(TOPIC, partition).unwrap().end;
        (0..4).map(held).sum()
    }
}

impl EventLog for Odd {
    fn append(&self, topic: &str, partition: u32, records: &[NewRecord]) -> Result<u64> {
        self.clock.moves(self.takes_us.load(Ordering::Acquire));
        if let Some(Begun::Unanswered(known)) = self.access.request("caller/key")? {
            let is_free = known.held_at.0 + LEASE_US <= self.clock.now().0;
            self.was_free.fetch_or(is_free, Ordering::AcqRel);
        }
        let fails = self.fails.load(Ordering::Acquire);
        if fails == 0 {
            return self.inner.append(topic, partition, records);
        }
        self.fails.store(fails - 1, Ordering::Release);
        let mut kept = self.on_their_way.lock().unwrap();
        kept.push((partition, records.to_vec()));
        Err(Error::Unavailable {
            what: "event log",
            why: "no broker answers".to_owned(),
        })
    }

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

    fn reader(&self, topic: &str, partition: u32, from: u64) -> Result<Box<dyn LogReader>> {
        self.inner.reader(topic, partition, from)
    }

    fn range(&self, topic: &str, partition: u32) -> Result<LogRange> {
        self.inner.range(topic, partition)
    }

    fn offset_at(&self, topic: &str, partition: u32, time: LogTime) -> Result<u64> {
        self.inner.offset_at(topic, partition, time)
    }

    fn open_lane(
        &self,
        partition: u32,
        lane: Lane,
        epoch: Epoch,
    ) -> Result<Box<dyn LanePublisher>> {
        self.inner.open_lane(partition, lane, epoch)
    }

    fn trim(&self, topic: &str, partition: u32, before: u64) -> Result<()> {
        self.inner.trim(topic, partition, before)
    }
}

/// A deployment of four partitions on such a log.
struct Site {
    parts: Parts,
    log: Arc<Odd>,
    clock: Arc<Hand>,
    _folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hand(AtomicI64::new(1_767_225_600 * SECOND)));
        let access = EmbeddedAccess::open(&folder.path().join("access")).unwrap();
        let access = Arc::new(access);
        let parts = parts(folder.path(), access.clone(), clock.clone(), 4);
        let log = Arc::new(Odd {
            inner: parts.log.clone(),
            clock: clock.clone(),
            takes_us: AtomicI64::new(0),
            fails: AtomicU64::new(0),
            on_their_way: Mutex::default(),
            access,
            was_free: AtomicBool::new(false),
        });
        let parts = Parts {
            log: log.clone(),
            ..parts
        };
        Self {
            parts,
            log,
            clock,
            _folder: folder,
        }
    }

    /// Sends two records for each of four partitions; the problem's code and when to come again.
    fn send(&self) -> std::result::Result<u64, (&'static str, Option<u32>)> {
        let record = |partition: u32, number: u32| NewRecord {
            key: format!("robot-{partition}").into_bytes(),
            value: vec![number as u8],
            headers: Vec::new(),
        };
        let of = |partition| (partition, vec![record(partition, 0), record(partition, 1)]);
        let records: ByPartition = (0..4).map(of).collect();
        let answer = |positions: Vec<Position>| Accepted {
            accepted: positions.iter().map(|position| position.records).sum(),
            rejected: Vec::new(),
            rejected_total: 0,
            positions,
        };
        let (key, print) = ("caller/key".to_owned(), "print".to_owned());
        append(&self.parts, TOPIC, &records, key, print, answer)
            .map(|answer| {
                let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                answer["accepted"].as_u64().unwrap()
            })
            .map_err(|problem| (problem.code, problem.retry_after))
    }
}

#[test]
fn records_that_come_up_after_the_log_was_given_up_are_there_once() {
    let site = Site::new();
    site.log.fails.store(1, Ordering::Release);
    assert_eq!(site.send(), Err(("unavailable", Some(2))));
    // They are on their way: a look for them now does not find them.
    assert_eq!(site.send(), Err(("conflict", Some(60))));
    site.clock.moves(59 * SECOND);
    assert_eq!(site.send(), Err(("conflict", Some(1))));
    site.log.deliver();
    site.clock.moves(2 * SECOND);
    assert_eq!(site.send(), Ok(8));
    assert_eq!(site.log.held(), 8);
    assert_eq!(site.send(), Ok(8), "the same answer");
    assert_eq!(site.log.held(), 8);
}

#[test]
fn an_attempt_that_takes_long_cannot_be_taken_over_between() {
    let site = Site::new();
    site.log.takes_us.store(30 * SECOND, Ordering::Release);
    let begun = site.clock.now();
    assert_eq!(site.send(), Ok(8));
    assert_eq!(site.clock.now().0 - begun.0, 120 * SECOND);
    assert!(!site.log.was_free.load(Ordering::Acquire));
}

#[test]
fn an_attempt_that_was_taken_over_appends_nothing_more() {
    let site = Site::new();
    let reservation = reserve(&site);
    let lease = Lease::new(&site.parts, "caller/key", reservation.held_at);
    lease.renew().unwrap();
    site.clock.moves(61 * SECOND);
    take_over(&site.parts, &reservation, site.clock.now()).unwrap();
    assert_eq!(lease.renew().unwrap_err().code, "conflict");
    let ended = lease.ended(Err::<(), _>(Problem::new("internal", "said")));
    assert!(ended.is_err());
    assert_eq!(held_at(&site), site.clock.now(), "it is the other's");
}

/// Reserves the request, as an attempt that goes no further.
fn reserve(site: &Site) -> Reservation {
    let now = site.clock.now();
    let reservation = Reservation {
        key: "caller/key".to_owned(),
        fingerprint: "print".to_owned(),
        ends: b"{}".to_vec(),
        begun_at: now,
        held_at: now,
    };
    let begun = site.parts.access.begin_request(&reservation).unwrap();
    assert_eq!(begun, Begun::New);
    reservation
}

fn held_at(site: &Site) -> LogTime {
    match site.parts.access.request("caller/key").unwrap() {
        Some(Begun::Unanswered(known)) => known.held_at,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_of_which_nothing_is_on_its_way_is_repeated_at_once() {
    let site = Site::new();
    let held = reserve(&site).held_at;
    let ends = |has_appended: bool, code| {
        let lease = Lease::new(&site.parts, "caller/key", held);
        lease.has_appended.set(has_appended);
        drop(lease.ended(Err::<(), _>(Problem::new(code, "said"))));
        held_at(&site)
    };
    assert_eq!(
        ends(true, "unavailable"),
        held,
        "records may be on their way"
    );
    assert_eq!(
        ends(false, "unavailable"),
        GIVEN_UP,
        "it was looked at only"
    );
    let access = &site.parts.access;
    assert!(
        access
            .take_over_request("caller/key", GIVEN_UP, held)
            .unwrap()
    );
    assert_eq!(ends(true, "internal"), GIVEN_UP, "a refusal is known");
}

#[test]
fn a_long_body_is_appended_in_parts() {
    let site = Site::new();
    let records: Vec<NewRecord> = (0..25_000_u32)
        .map(|number| NewRecord {
            key: b"robot".to_vec(),
            value: number.to_be_bytes().to_vec(),
            headers: Vec::new(),
        })
        .collect();
    let held = Cell::new(0);
    let hold = || {
        held.set(held.get() + 1);
        Ok(())
    };
    let first = append_in_parts(&site.parts, (TOPIC, 2), &records, &hold).unwrap();
    assert_eq!((first, held.get(), site.log.held()), (0, 3, 25_000));
    let refuse = || Err(under_way(1));
    assert!(append_in_parts(&site.parts, (TOPIC, 2), &records, &refuse).is_err());
    assert_eq!(site.log.held(), 25_000, "nothing without a hold");
}
