//! Reads committed outputs for all listeners, and keeps the newest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use theatre_actors::ports::{CheckpointStore, Result, StoredOutput};
use theatre_actors::time::Clock;
use tokio::sync::{Semaphore, watch};

use super::event::{Event, OUTPUTS, heard};
use super::position::{Place, Position};

/// Events that are kept for listeners that come back, and their bytes.
const KEPT: usize = 10_000;
const KEPT_BYTES: usize = 32 << 20;
/// Outputs that are read at a time.
const READ: usize = 1000;
/// Events that a listener takes at a time, and the bytes after which it takes no more.
const TAKEN: usize = 500;
const TAKEN_BYTES: usize = 64 << 10;
/// Outputs of a kind that are read of the store at a time for a listener that is far behind.
const READ_FOR_ONE: usize = 50;
/// Listeners for which the store is read at a time.
const STORE_READS: usize = 4;

struct Kept {
    events: VecDeque<Arc<Event>>,
    /// Number of the first of them since the process began.
    first: u64,
    bytes: usize,
    /// Up to where outputs were read, and the same as text.
    read: Position,
    id: Arc<str>,
    /// Outputs above this are in `events`, if listeners may hear of them.
    from: Position,
    /// Partitions that are read.
    partitions: u32,
    /// It is known of all of them up to where they were read at first.
    is_ready: bool,
}

impl Default for Kept {
    fn default() -> Self {
        let read = Position::default();
        Self {
            events: VecDeque::new(),
            first: 0,
            bytes: 0,
            id: read.to_string().into(),
            read,
            from: Position::default(),
            partitions: 0,
            is_ready: false,
        }
    }
}

impl Kept {
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

/// Where a listener is in the feed.
#[derive(Debug)]
pub(super) struct Follower {
    /// Number of the event that it takes next.
    next: u64,
    /// Its own position, as long as it is ahead of the feed in a partition: what it has already it
    /// does not get again.
    own: Option<Position>,
    /// Its position as text.
    pub(super) id: Arc<str>,
}

/// What a listener takes of the feed: events with the position behind each.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) events: Vec<(Arc<Event>, Arc<str>)>,
    /// There are no more for now.
    pub(super) is_all: bool,
}

/// The newest events.
pub(crate) struct Feed {
    kept: Mutex<Kept>,
    /// Number of the event that comes next, for those who wait for it.
    news: watch::Sender<u64>,
    /// Listeners that want to hear how robots stand.
    of_robots: AtomicUsize,
    store_reads: Semaphore,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            news: watch::Sender::new(0),
            of_robots: AtomicUsize::new(0),
            store_reads: Semaphore::new(STORE_READS),
        }
    }
}

/// Says that a listener wants to hear how robots stand, as long as it is there.
pub(super) struct OfRobots(Arc<crate::server::State>);

impl OfRobots {
    pub(super) fn wanted(state: &Arc<crate::server::State>) -> Self {
        state.feed.of_robots.fetch_add(1, Ordering::AcqRel);
        Self(state.clone())
    }
}

impl Drop for OfRobots {
    fn drop(&mut self) {
        self.0.feed.of_robots.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Feed {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that something came, or that the server stops.
    pub(crate) fn wake(&self) {
        let next = self.kept().next();
        self.news.send_replace(next);
    }

    /// Tells when something comes.
    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// A permit to read the store for one listener: a thousand that come back at once do not read it
    /// all at once.
    pub(super) async fn may_read_store(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.store_reads.acquire().await.ok()
    }

    /// Reads what was committed since; the first time only how far that is.
    pub(crate) fn read(&self, store: &dyn CheckpointStore, clock: &dyn Clock) -> Result<()> {
        let partitions = store.layout()?.map_or(0, |(_, partitions)| partitions);
        for partition in 0..partitions {
            if partition >= self.kept().partitions {
                // One that is added later is heard from its beginning.
                let last = match self.kept().is_ready {
                    true => 0,
                    false => store.status(partition)?.last_output,
                };
                let last = Place::whole(last);
                let mut kept = self.kept();
                kept.read.set(partition, last);
                kept.from.set(partition, last);
                kept.id = kept.read.to_string().into();
                kept.partitions = partition + 1;
                continue;
            }
            let mut after = self.kept().read.get(partition).sequence;
            loop {
                let outputs = store.outputs_after(partition, after, READ)?;
                let Some(last) = outputs.last() else { break };
                after = last.sequence;
                let is_whole = outputs.len() < READ;
                let events = self.heard(store, clock, &outputs)?;
                self.keep(partition, after, events);
                if is_whole {
                    break;
                }
            }
        }
        self.kept().is_ready = true;
        Ok(())
    }

    /// What listeners hear of outputs that were just read, settled if anyone waits for it.
    fn heard(
        &self,
        store: &dyn CheckpointStore,
        clock: &dyn Clock,
        outputs: &[StoredOutput],
    ) -> Result<Vec<Event>> {
        let events = heard(outputs, clock.now());
        if self.of_robots.load(Ordering::Acquire) > 0 {
            for event in &events {
                event.settle(store, clock)?;
            }
        }
        Ok(events)
    }

    fn keep(&self, partition: u32, read: u64, events: Vec<Event>) {
        let mut kept = self.kept();
        let has_news = !events.is_empty();
        for mut event in events {
            kept.read.set(partition, event.after);
            event.id = kept.read.to_string().into();
            event.kept = event.weight();
            kept.bytes += event.kept;
            kept.events.push_back(Arc::new(event));
        }
        kept.read.set(partition, Place::whole(read));
        kept.id = kept.read.to_string().into();
        while kept.events.len() > KEPT || kept.bytes > KEPT_BYTES {
            let Some(gone) = kept.events.pop_front() else {
                break;
            };
            kept.first += 1;
            kept.bytes -= gone.kept;
            kept.from.set(gone.partition, gone.after);
        }
        drop(kept);
        if has_news {
            self.wake();
        }
    }

    /// Where one begins that wants what comes from now on.
    pub(super) fn end(&self) -> Follower {
        let kept = self.kept();
        Follower {
            next: kept.next(),
            own: None,
            id: kept.id.clone(),
        }
    }

    /// Where one goes on that is at a position; `None` where that lies too far back.
    pub(super) fn join(&self, at: &Position) -> Option<Follower> {
        let kept = self.kept();
        if !kept.is_ready || !at.reaches(&kept.from) {
            return None;
        }
        let is_new = |event: &Arc<Event>| event.place > at.get(event.partition);
        let ahead = kept.events.iter().position(is_new);
        Some(Follower {
            next: kept.first + ahead.unwrap_or(kept.events.len()) as u64,
            own: Some(at.clone()),
            id: at.to_string().into(),
        })
    }

    /// The next events; `None` where they are not kept any more.
    pub(super) fn take(&self, follower: &mut Follower) -> Option<Taken> {
        let kept = self.kept();
        let begin = follower.next.checked_sub(kept.first)? as usize;
        let mut taken = Taken::default();
        let mut bytes = 0;
        for event in kept.events.range(begin.min(kept.events.len())..) {
            if taken.events.len() == TAKEN || bytes >= TAKEN_BYTES {
                break;
            }
            follower.next += 1;
            match &mut follower.own {
                None => follower.id = event.id.clone(),
                Some(own) if event.place <= own.get(event.partition) => continue,
                Some(own) => {
                    own.set(event.partition, event.after);
                    follower.id = own.to_string().into();
                }
            }
            bytes += event.weight();
            taken.events.push((event.clone(), follower.id.clone()));
        }
        taken.is_all = follower.next >= kept.next();
        if taken.is_all {
            follower.id = kept.id.clone();
            if let Some(mut own) = follower.own.take() {
                own.advance(&kept.read);
                if !kept.read.reaches(&own) {
                    follower.id = own.to_string().into();
                    follower.own = Some(own);
                }
            }
        }
        Some(taken)
    }
}

/// The same from the store, partition by partition, for one that is far behind. Outputs that are no
/// events are passed over at once, however many there are.
pub(super) fn from_store(
    store: &dyn CheckpointStore,
    at: &Position,
    clock: &dyn Clock,
) -> Result<(Taken, Position)> {
    from_store_by(store, at, clock, READ_FOR_ONE)
}

fn from_store_by(
    store: &dyn CheckpointStore,
    at: &Position,
    clock: &dyn Clock,
    limit: usize,
) -> Result<(Taken, Position)> {
    let partitions = store.layout()?.map_or(0, |(_, partitions)| partitions);
    let (mut taken, mut moved, mut bytes) = (Taken::default(), at.clone(), 0);
    for partition in 0..partitions {
        let from = at.get(partition);
        // Asked before the outputs: what is committed meanwhile comes the next time.
        let mut upto = store.status(partition)?.last_output.max(from.sequence);
        let mut outputs = Vec::new();
        for kind in OUTPUTS {
            let of_kind = store.outputs_of_kind_after(partition, kind, from.read_after(), limit)?;
            if of_kind.len() >= limit
                && let Some(last) = of_kind.last()
            {
                upto = upto.min(last.sequence);
            }
            outputs.extend(of_kind);
        }
        outputs.retain(|stored| stored.sequence <= upto);
        outputs.sort_by_key(|stored| stored.sequence);
        for event in heard(&outputs, clock.now()) {
            if event.place <= from {
                continue;
            }
            if bytes >= TAKEN_BYTES {
                return Ok((taken, moved));
            }
            bytes += event.weight();
            moved.set(partition, event.after);
            taken
                .events
                .push((Arc::new(event), moved.to_string().into()));
        }
        moved.set(partition, Place::whole(upto));
    }
    Ok((taken, moved))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use theatre_actors::outputs::{OutputEvent, alert, window};
    use theatre_actors::ports::{PartitionCommit, ProcessorSave};
    use theatre_actors::position::Positions;
    use theatre_actors::time::LogTime;
    use theatre_actors::window::WindowRow;
    use theatre_embedded::store::EmbeddedStore;
    use theatre_schemas::records::Alert;
    use theatre_system::clock::SystemClock;

    use super::super::event::EventKind;
    use super::*;

    fn windows(numbers: Range<i64>) -> Vec<OutputEvent> {
        let of = |number: i64| {
            let row = WindowRow {
                window: "1s".to_owned(),
                size_us: 1_000_000,
                start_us: number * 1_000_000,
                revision: 0,
                rows: 1,
                signals: Vec::new(),
            };
            window::output("r", "robot_events", &row)
        };
        numbers.map(of).collect()
    }

    #[test]
    fn who_was_away_for_long_hears_of_what_matters_without_reading_all_windows() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store")).unwrap();
        store.ensure_layout(&["records".to_owned()], 1).unwrap();
        let alerts = |revisions: Range<i32>| {
            revisions.map(|revision| {
                let alert = Alert {
                    condition_id: "c".to_owned(),
                    revision,
                    ..Alert::default()
                };
                alert::output("r", &alert)
            })
        };
        let outputs = windows(0..500).into_iter().chain(alerts(0..3));
        let outputs = outputs.chain(windows(500..1000)).chain(alerts(3..6));
        let epoch = store.acquire(0).unwrap();
        let save = ProcessorSave {
            processor: "r".to_owned(),
            save_number: 1,
            positions: Positions::zero(),
            state: Vec::new(),
            outputs: outputs.chain(windows(1000..1500)).collect(),
            dead: Vec::new(),
        };
        let commit = PartitionCommit {
            partition: 0,
            epoch,
            processors: vec![save],
            floor: Positions::zero(),
        };
        store.commit(&[commit], LogTime(1)).unwrap();
        let mut at = Position::default();
        let mut steps = Vec::new();
        while at.get(0) < Place::whole(1506) {
            let (taken, moved) = from_store_by(&store, &at, &SystemClock, 4).unwrap();
            let alerts = taken.events.iter().map(|(event, _)| event);
            let alerts = alerts.filter(|event| event.kind == EventKind::Alert);
            let found: Vec<u64> = alerts.map(|event| event.place.sequence).collect();
            steps.push((found, moved.to_string()));
            at = moved;
            assert!(steps.len() < 10, "{steps:?}");
        }
        assert_eq!(
            steps,
            [
                (vec![501, 502, 503, 1004], "0-1004".to_owned()),
                (vec![1005, 1006], "0-1506".to_owned())
            ]
        );
        let (taken, moved) = from_store_by(&store, &at, &SystemClock, 4).unwrap();
        assert!(taken.events.is_empty() && moved == at);
    }

    /// Alerts of one robot each, from this number on.
    fn alerts(partition: u32, sequences: Range<u64>, message: &str) -> Vec<StoredOutput> {
        let of = |sequence: u64| {
            let alert = Alert {
                message: message.to_owned(),
                ..Alert::default()
            };
            StoredOutput {
                partition,
                sequence,
                committed_at: LogTime(0),
                output: alert::output(&format!("robot-{sequence}"), &alert),
            }
        };
        sequences.map(of).collect()
    }

    fn come(feed: &Feed, partition: u32, sequences: Range<u64>, message: &str) {
        let outputs = alerts(partition, sequences.clone(), message);
        feed.keep(partition, sequences.end - 1, heard(&outputs, LogTime(0)));
    }

    /// A feed that has read two partitions up to their ends.
    fn feed() -> Feed {
        let feed = Feed::default();
        let mut kept = feed.kept();
        for (partition, end) in [(0, 10), (1, 20)] {
            kept.read.set(partition, Place::whole(end));
            kept.from.set(partition, Place::whole(end));
        }
        kept.is_ready = true;
        drop(kept);
        feed
    }

    fn parse(text: &str) -> Position {
        Position::parse(text).unwrap()
    }

    /// The positions behind all that a listener takes until there is no more.
    fn drain(feed: &Feed, follower: &mut Follower) -> Vec<String> {
        let mut ids = Vec::new();
        loop {
            let taken = feed.take(follower).unwrap();
            ids.extend(taken.events.iter().map(|(_, id)| id.to_string()));
            if taken.is_all {
                return ids;
            }
        }
    }

    #[test]
    fn one_that_comes_back_gets_each_part_once_also_where_it_knows_more_than_the_feed() {
        let feed = feed();
        come(&feed, 0, 11..13, "");
        let mut live = feed.end();
        come(&feed, 1, 21..23, "");
        assert_eq!(
            drain(&feed, &mut live),
            ["0-12.1-21_1", "0-12.1-21", "0-12.1-22_1", "0-12.1-22"]
        );
        // Between two events of one output.
        let mut back = feed.join(&parse("0-12.1-21_1")).unwrap();
        assert_eq!(
            drain(&feed, &mut back),
            ["0-12.1-21", "0-12.1-22_1", "0-12.1-22"]
        );
        assert!(back.own.is_none());
        // Another process has sent it 13 of partition 0.
        let mut ahead = feed.join(&parse("0-13.1-21")).unwrap();
        assert_eq!(drain(&feed, &mut ahead), ["0-13.1-22_1", "0-13.1-22"]);
        come(&feed, 0, 13..15, "");
        assert_eq!(drain(&feed, &mut ahead), ["0-14_1.1-22", "0-14.1-22"]);
        assert!(ahead.own.is_none() && *ahead.id == *"0-14.1-22");
        assert!(feed.join(&parse("0-9.1-22")).is_none(), "too far back");
        assert!(feed.join(&parse("0-14")).is_none(), "from the beginning");
    }

    #[test]
    fn so_many_bytes_are_kept_and_a_listener_behind_them_finds_out() {
        let feed = feed();
        let (mut live, message) = (feed.end(), "x".repeat(1 << 20));
        for sequence in 11..100 {
            come(&feed, 0, sequence..sequence + 1, &message);
            let kept = feed.kept();
            let taken: usize = kept.events.iter().map(|event| event.weight()).sum();
            assert!(taken == kept.bytes && taken <= KEPT_BYTES);
        }
        assert!(feed.take(&mut live).is_none());
        assert!(feed.join(&parse("0-11.1-20")).is_none());
        let mut back = feed.join(&parse("0-90.1-20")).unwrap();
        let one = feed.take(&mut back).unwrap();
        assert!(one.events.len() == 1 && !one.is_all, "by bytes");
    }

    #[test]
    fn before_it_is_known_where_outputs_end_no_one_joins_and_no_one_gets_the_past() {
        let feed = Feed::default();
        assert!(feed.join(&Position::default()).is_none());
        let mut live = feed.end();
        assert!(drain(&feed, &mut live).is_empty());
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store")).unwrap();
        store.ensure_layout(&["records".to_owned()], 2).unwrap();
        feed.read(&store, &SystemClock).unwrap();
        assert!(feed.join(&Position::default()).is_some());
        assert!(drain(&feed, &mut live).is_empty());
        assert_eq!(*live.id, *"0-0.1-0");
    }
}
