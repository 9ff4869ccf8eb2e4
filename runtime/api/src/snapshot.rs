//! Robots and procedures as the store has them, read by a thread of the server while anyone asks: callers
//! get what was read last and wait for nothing.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use theatre_actors::ports::{CheckpointStore, Result};
use theatre_actors::position::Partition;
use theatre_actors::processor::ProcessorView;
use theatre_actors::time::{Clock, LogTime};
use theatre_queries::{RobotSaves, SavedRobot};

/// Robots are read again once they are so old, microseconds.
const RENEWED_US: i64 = 500_000;
/// How old an answer may be, microseconds: what is older is read by the caller itself, which finds out
/// why it is.
const AGE_MAX_US: i64 = 5_000_000;
/// How old the first answer after a pause may be, microseconds.
const FIRST_AGE_MAX_US: i64 = 1_000_000;
/// When no one has asked for so long, robots are not read any more, microseconds.
const PAUSE_US: i64 = 10_000_000;

/// All robots at one moment.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// When the store was read, by its own clock.
    pub(crate) as_of: LogTime,
    /// The same by the clock of this process, by which it is known how old it is.
    read_at: LogTime,
    /// By id.
    pub(crate) robots: Vec<ProcessorView>,
    /// Where and when each of them was saved, in the same order.
    saved: Vec<(Partition, LogTime)>,
}

/// A robot with where and when it was saved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) view: &'a ProcessorView,
    /// Where it is at home.
    pub(crate) partition: Partition,
    /// 0 where an earlier build has saved it.
    pub(crate) saved_at: LogTime,
}

/// What is read of a store.
type Read = (Option<LogTime>, Vec<SavedRobot>);

fn read(
    store: &dyn CheckpointStore,
    before: &[ProcessorView],
    saves: &mut RobotSaves,
) -> Result<Read> {
    // The time is asked first: what is saved after it counts as a change.
    let as_of = store.time()?;
    Ok((as_of, theatre_queries::robots_again(store, before, saves)?))
}

impl Fleet {
    /// One robot.
    pub(crate) fn robot(&self, id: &str) -> Option<&ProcessorView> {
        let place = self
            .robots
            .binary_search_by(|view| view.robot_id.as_str().cmp(id));
        place.ok().map(|place| &self.robots[place])
    }

    /// All robots by id, each with where and when it was saved.
    pub(crate) fn saved(&self) -> impl Iterator<Item = Saved<'_>> {
        let saved = self.robots.iter().zip(&self.saved);
        saved.map(|(view, (partition, saved_at))| Saved {
            view,
            partition: *partition,
            saved_at: *saved_at,
        })
    }
}

/// Keeps the last answer.
pub(crate) struct Snapshot {
    kept: Mutex<Option<Arc<Fleet>>>,
    /// Held by the one that reads: what is in `kept`.
    reading: Mutex<RobotSaves>,
    /// When it was asked for last, microseconds.
    asked_at: AtomicI64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            reading: Mutex::default(),
            asked_at: AtomicI64::new(i64::MIN),
        }
    }
}

impl Snapshot {
    /// All robots as they were read last. Blocks only where that is long ago, such as at first: then
    /// one of several callers reads, and the others wait for it.
    pub(crate) fn fleet(
        &self,
        store: &dyn CheckpointStore,
        clock: &dyn Clock,
    ) -> Result<Arc<Fleet>> {
        self.fleet_by(clock, |before, saves| read(store, before, saves))
    }

    /// All robots, if they were read at a moment or later. Never blocks: where they were not, the
    /// thread that keeps them will read them, since it was asked.
    pub(crate) fn since(&self, at: LogTime, now: LogTime) -> Option<Arc<Fleet>> {
        self.asked_at.store(now.0, Ordering::Release);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone().filter(|fleet| fleet.read_at >= at)
    }

    /// Reads the robots again where that is due; for the thread that keeps them.
    pub(crate) fn keep(&self, store: &dyn CheckpointStore, clock: &dyn Clock) -> Result<()> {
        self.keep_by(clock, |before, saves| read(store, before, saves))
    }

    fn fleet_by(
        &self,
        clock: &dyn Clock,
        read: impl FnOnce(&[ProcessorView], &mut RobotSaves) -> Result<Read>,
    ) -> Result<Arc<Fleet>> {
        let now = clock.now();
        let asked_before = self.asked_at.swap(now.0, Ordering::AcqRel);
        let age_max = match is_within(asked_before, now, PAUSE_US) {
            true => AGE_MAX_US,
            false => FIRST_AGE_MAX_US,
        };
        if let Some(fleet) = self.younger_than(age_max, now) {
            return Ok(fleet);
        }
        let mut saves = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        match self.younger_than(age_max, clock.now()) {
            Some(fleet) => Ok(fleet),
            None => self.renew(clock, &mut saves, read),
        }
    }

    fn keep_by(
        &self,
        clock: &dyn Clock,
        read: impl FnOnce(&[ProcessorView], &mut RobotSaves) -> Result<Read>,
    ) -> Result<()> {
        let now = clock.now();
        let is_asked = is_within(self.asked_at.load(Ordering::Acquire), now, PAUSE_US);
        if !is_asked || self.younger_than(RENEWED_US, now).is_some() {
            return Ok(());
        }
        let mut saves = match self.reading.try_lock() {
            Ok(saves) => saves,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // A caller reads.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        self.renew(clock, &mut saves, read).map(drop)
    }

    fn younger_than(&self, age_max: i64, now: LogTime) -> Option<Arc<Fleet>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fleet = kept.as_ref()?;
        is_within(fleet.read_at.0, now, age_max).then(|| fleet.clone())
    }

    fn newest(&self) -> Option<Arc<Fleet>> {
        let kept = self.kept.lock();
        kept.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn renew(
        &self,
        clock: &dyn Clock,
        saves: &mut RobotSaves,
        read: impl FnOnce(&[ProcessorView], &mut RobotSaves) -> Result<Read>,
    ) -> Result<Arc<Fleet>> {
        let read_at = clock.now();
        let before = self.newest();
        let before = before.as_ref().map_or(&[][..], |fleet| &fleet.robots);
        let (as_of, saved) = read(before, saves)?;
        let parts = |robot: SavedRobot| (robot.view, (robot.partition, robot.saved_at));
        let (robots, saved) = saved.into_iter().map(parts).unzip();
        let fleet = Arc::new(Fleet {
            as_of: as_of.unwrap_or(read_at),
            read_at,
            robots,
            saved,
        });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(fleet.clone());
        Ok(fleet)
    }
}

/// Whether a moment is less than so long ago. A clock that was set back makes none last for ever.
fn is_within(at: i64, now: LogTime, age_max: i64) -> bool {
    (0..age_max).contains(&now.0.saturating_sub(at))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::channel;

    use theatre_actors::ports::Error;

    use super::*;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> LogTime {
            LogTime(self.0.load(Ordering::Acquire))
        }
    }

    struct Site {
        clock: Hand,
        snapshot: Snapshot,
        reads: AtomicUsize,
    }

    impl Site {
        fn new() -> Self {
            Self {
                clock: Hand(AtomicI64::new(1_767_225_600_000_000)),
                snapshot: Snapshot::default(),
                reads: AtomicUsize::new(0),
            }
        }

        fn passes(&self, ms: i64) {
            self.clock.0.fetch_add(ms * 1000, Ordering::AcqRel);
        }

        fn read(&self) -> Result<Read> {
            self.reads.fetch_add(1, Ordering::AcqRel);
            Ok((None, Vec::new()))
        }

        /// Milliseconds that the answer is old, and how often the store was read so far.
        fn ask(&self) -> (i64, usize) {
            let fleet = self
                .snapshot
                .fleet_by(&self.clock, |_, _| self.read())
                .unwrap();
            let age = self.clock.now().0 - fleet.as_of.0;
            (age / 1000, self.reads.load(Ordering::Acquire))
        }

        fn keep(&self) -> usize {
            self.snapshot
                .keep_by(&self.clock, |_, _| self.read())
                .unwrap();
            self.reads.load(Ordering::Acquire)
        }
    }

    #[test]
    fn robots_are_read_by_the_thread_while_anyone_asks_and_not_by_callers() {
        let site = Site::new();
        assert_eq!(site.keep(), 0, "no one asks");
        assert_eq!(site.ask(), (0, 1), "the first one reads");
        site.passes(499);
        assert_eq!(site.keep(), 1);
        assert_eq!(site.ask(), (499, 1));
        site.passes(1);
        assert_eq!(site.keep(), 2);
        assert_eq!(site.ask(), (0, 2));
        site.passes(4999);
        assert_eq!(site.ask(), (4999, 2), "the thread is late");
        site.passes(1);
        assert_eq!(site.ask(), (0, 3), "too late");
        site.passes(9999);
        assert_eq!(site.keep(), 4);
        site.passes(1000);
        assert_eq!(site.keep(), 4, "no one has asked for ten seconds");
        assert_eq!(site.ask(), (0, 5), "the first one after a pause");
        site.passes(-3_600_000);
        assert_eq!(site.ask(), (0, 6), "a clock that was set back");
    }

    #[test]
    fn callers_get_the_last_answer_while_the_next_one_is_read() {
        let site = Site::new();
        site.ask();
        site.passes(600);
        let (begun, is_begun) = channel();
        let (go_on, may_end) = channel::<()>();
        std::thread::scope(|threads| {
            let slow = move |_: &[ProcessorView], _: &mut RobotSaves| {
                begun.send(()).unwrap();
                may_end.recv().unwrap();
                Ok((None, Vec::new()))
            };
            let (snapshot, clock) = (&site.snapshot, &site.clock);
            let keeper = threads.spawn(move || snapshot.keep_by(clock, slow).is_ok());
            is_begun.recv().unwrap();
            assert_eq!(site.ask(), (600, 1), "it does not wait");
            assert_eq!(site.keep(), 1, "one reads");
            go_on.send(()).unwrap();
            assert!(keeper.join().unwrap());
        });
        assert_eq!(site.ask(), (0, 1));
    }

    #[test]
    fn who_wants_robots_of_a_moment_gets_none_that_were_read_before_it() {
        let site = Site::new();
        site.ask();
        let at = site.clock.now();
        let since = |at| site.snapshot.since(at, site.clock.now()).is_some();
        assert!(since(at) && !since(LogTime(at.0 + 1)));
        site.passes(60_000);
        assert!(!since(site.clock.now()));
        assert_eq!(site.keep(), 2, "it was asked");
        assert!(since(site.clock.now()));
    }

    #[test]
    fn a_store_that_does_not_answer_is_said_once_the_last_answer_is_old() {
        let site = Site::new();
        site.ask();
        let fails = |_: &[ProcessorView], _: &mut RobotSaves| {
            Err(Error::Unavailable {
                what: "store",
                why: "it is away".to_owned(),
            })
        };
        let ask = || site.snapshot.fleet_by(&site.clock, fails).is_ok();
        site.passes(1000);
        assert!(site.snapshot.keep_by(&site.clock, fails).is_err());
        assert!(ask());
        site.passes(4000);
        assert!(!ask());
        assert_eq!(site.ask(), (0, 2), "it is back");
    }
}
