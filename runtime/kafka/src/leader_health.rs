//! Whether the leaders of the partitions that are read still answer.
//!
//! A reader at the end of its partition gets nothing, whether no record is written or its broker is
//! down. Rules that fire on a robot's silence must know the difference, so a thread probes the
//! leaders every second. Each leader gets a request of its own, and each partition has a heartbeat
//! of its own: librdkafka fails a request to several leaders as a whole when one of them does not
//! answer, and a leader that is down must not delay the partitions of the others. A partition whose
//! leader has just answered a fetch of it needs no probe. That it answered for another partition
//! says nothing: this one may have moved.
//!
//! librdkafka's readers do not know when a broker was asked for the end of the log that they saw: an
//! answer may have lain in a connection that hangs. For these the probe asks where the log ends, of
//! every partition: a reader that has come so far knows all that was appended before the question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use theatre_actors::ports::{Error, Result};
use theatre_actors::position::Partition;

use super::client::{PlainConsumer, WHAT};
use theatre_config::log::SILENCE_MIN;

const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);
/// For the request that finds the leaders. It goes to any broker; one that is up answers at once.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// After this long without an answer of the leader, a reader that has no records fails. It is
/// longer than one probe can take, so that a single slow answer fails no reader.
const DOWN_AFTER: Duration = Duration::from_secs(10);
const _: () = assert!(
    DOWN_AFTER.as_secs()
        > PROBE_INTERVAL.as_secs() + METADATA_TIMEOUT.as_secs() + PROBE_TIMEOUT.as_secs()
);
// A dead leader is noticed before any robot of its partition may be called silent.
const _: () = assert!(
    SILENCE_MIN.0.unsigned_abs()
        >= (DOWN_AFTER.as_secs() + PROBE_INTERVAL.as_secs() + PROBE_TIMEOUT.as_secs()) * 1_000_000
);
/// A time later than that of any record, milliseconds: the leader has to look at its end only.
const NO_RECORDS_TIME_MS: i64 = i64::MAX >> 1;
/// The id of a leader that is not known, as in Kafka's protocol.
const NO_LEADER: i32 = -1;

type Place = (String, Partition);

#[derive(Debug)]
struct Watched {
    readers: usize,
    answered: Instant,
    fetched: Pulse,
    /// Where the log ended when a probe asked that was answered, and when it asked.
    end: Option<(Instant, u64)>,
}

/// When the leader of a partition last answered a fetch of it without an error.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    since: Instant,
    /// Microseconds from `since` on; 0 before the first answer.
    micros: Arc<AtomicU64>,
}

impl Pulse {
    fn new(since: Instant) -> Self {
        Self {
            since,
            micros: Arc::default(),
        }
    }

    /// Notes that the leader has answered.
    pub(super) fn note(&self, now: Instant) {
        let micros = now.saturating_duration_since(self.since).as_micros();
        self.micros
            .fetch_max(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn last(&self) -> Option<Instant> {
        let micros = self.micros.load(Ordering::Relaxed);
        let is_none = micros == 0;
        (!is_none).then(|| self.since + Duration::from_micros(micros))
    }
}

/// When the leader of each partition that has a reader last answered for that partition.
#[derive(Debug, Default)]
pub(super) struct LeaderHealth {
    watched: Mutex<BTreeMap<Place, Watched>>,
    /// Probes ask where the log ends.
    asks_ends: bool,
}

/// The leaders of partitions, as last known.
#[derive(Debug, Default)]
struct Leaders {
    known: BTreeMap<Place, i32>,
    /// True if a leader did not answer for one of its partitions: it may not be the leader any
    /// more.
    is_stale: bool,
}

/// A reader's view of the leader of its partition. The leader is probed as long as this lives.
#[derive(Debug)]
pub(super) struct Heartbeat {
    leader_health: Arc<LeaderHealth>,
    place: Place,
    opened: Instant,
}

impl LeaderHealth {
    /// Starts the thread that probes the leaders of watched partitions, until `ended`. With
    /// `asks_ends` the client sees what open transactions have written.
    pub(super) fn start(
        query_client: Arc<PlainConsumer>,
        asks_ends: bool,
        ended: Arc<AtomicBool>,
    ) -> Result<Arc<Self>> {
        let leader_health = Arc::new(Self {
            watched: Mutex::default(),
            asks_ends,
        });
        let probed = leader_health.clone();
        let work = move || {
            let mut leaders = Leaders::default();
            while !ended.load(Ordering::Acquire) {
                probed.probe_leaders(&query_client, &mut leaders);
                std::thread::sleep(PROBE_INTERVAL);
            }
        };
        let started = std::thread::Builder::new()
            .name("kafka-leaders".to_owned())
            .spawn(work);
        started.map(|_| leader_health).map_err(|error| {
            Error::Refused(format!(
                "a thread that watches the brokers cannot be started: {error}"
            ))
        })
    }

    /// Watches the leader of a partition for a reader that is being opened.
    pub(super) fn watch(self: &Arc<Self>, topic: &str, partition: Partition) -> Heartbeat {
        let (place, opened) = ((topic.to_owned(), partition), Instant::now());
        self.lock()
            .entry(place.clone())
            .or_insert(Watched {
                readers: 0,
                answered: opened,
                fetched: Pulse::new(opened),
                end: None,
            })
            .readers += 1;
        Heartbeat {
            leader_health: self.clone(),
            place,
            opened,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions whose leaders have answered no fetch of late; all where it is asked where logs
    /// end.
    fn silent(&self, now: Instant) -> Vec<Place> {
        let watched = self.lock();
        let silent = watched.iter().filter(|(_, watched)| {
            let last = watched.fetched.last();
            self.asks_ends
                || last.is_none_or(|last| now.saturating_duration_since(last) >= PROBE_INTERVAL)
        });
        silent.map(|(place, _)| place.clone()).collect()
    }

    /// Probes every leader of a partition that may be without one, all at the same time.
    fn probe_leaders(&self, query_client: &PlainConsumer, leaders: &mut Leaders) {
        let places = self.silent(Instant::now());
        leaders
            .known
            .retain(|place, _| self.lock().contains_key(place));
        leaders.refresh(query_client, &places);
        let mut by_leader: BTreeMap<i32, Vec<&Place>> = BTreeMap::new();
        for place in &places {
            by_leader
                .entry(leaders.known.get(place).copied().unwrap_or(NO_LEADER))
                .or_default()
                .push(place);
        }
        let probe = |places: &[&Place]| self.probe(query_client, places);
        let probe = &probe;
        let all_answered = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            let mut all_answered = true;
            let mut groups = by_leader.values();
            // The first group is probed on this thread: most often there is no other.
            let own = groups.next();
            for places in groups {
                match std::thread::Builder::new()
                    .name("kafka-leaders".to_owned())
                    .spawn_scoped(scope, move || probe(places))
                {
                    Ok(thread) => threads.push(thread),
                    // Without a thread the groups are probed one after the other.
                    Err(_) => all_answered &= probe(places),
                }
            }
            all_answered &= own.is_none_or(|places| probe(places));
            for thread in threads {
                all_answered &= thread.join().unwrap_or_default();
            }
            all_answered
        });
        leaders.is_stale = !all_answered;
    }

    /// Probes one leader for all its partitions at once; true if it answered for each.
    fn probe(&self, query_client: &PlainConsumer, places: &[&Place]) -> bool {
        let mut asked = TopicPartitionList::new();
        let time = match self.asks_ends {
            true => Offset::End,
            false => Offset::Offset(NO_RECORDS_TIME_MS),
        };
        for (topic, partition) in places {
            if let Err(error) = asked.add_partition_offset(topic, *partition as i32, time) {
                tracing::warn!(%error, topic, partition, "a partition's leader cannot be asked");
            }
        }
        let asked_at = Instant::now();
        let Ok(answer) = query_client.offsets_for_times(asked, PROBE_TIMEOUT) else {
            return false;
        };
        let now = Instant::now();
        let mut all = true;
        let mut watched = self.lock();
        for element in answer.elements() {
            if element.error().is_err() {
                all = false;
            } else if let Some(watched) =
                watched.get_mut(&(element.topic().to_owned(), element.partition() as Partition))
            {
                watched.answered = now;
                if let (true, Offset::Offset(end)) = (self.asks_ends, element.offset()) {
                    watched.end = u64::try_from(end).ok().map(|end| (asked_at, end));
                }
            }
        }
        all
    }
}

impl Leaders {
    /// Finds the leaders of these partitions anew, if one is not known or may have changed. When no
    /// broker answers, the leaders stay as last known.
    fn refresh(&mut self, query_client: &PlainConsumer, places: &[Place]) {
        if !self.is_stale && places.iter().all(|place| self.known.contains_key(place)) {
            return;
        }
        let topics: BTreeSet<&str> = places.iter().map(|(topic, _)| topic.as_str()).collect();
        for topic in topics {
            // Without an answer for one topic there is none for the next either, and each would
            // take its whole time-out.
            let Ok(answer) = query_client.fetch_metadata(Some(topic), METADATA_TIMEOUT) else {
                return;
            };
            for topic in answer.topics() {
                let leaders = topic.partitions().iter().map(|partition| {
                    (
                        (topic.name().to_owned(), partition.id() as Partition),
                        partition.leader(),
                    )
                });
                self.known
                    .extend(leaders.filter(|(place, _)| places.contains(place)));
            }
        }
    }
}

impl Heartbeat {
    /// Fails when the leader has not answered for too long. A reader that was just opened has the
    /// whole time again.
    pub(super) fn check(&self) -> Result<()> {
        let since = self.last_answer().elapsed();
        if since < DOWN_AFTER {
            return Ok(());
        }
        let (topic, partition) = &self.place;
        let why = format!(
            "topic '{topic}' partition {partition}: its broker has not answered for {} s",
            since.as_secs()
        );
        Err(Error::Unavailable { what: WHAT, why })
    }

    /// What takes note of answers to fetches.
    pub(super) fn pulse(&self) -> Pulse {
        let watched = self.leader_health.lock();
        watched.get(&self.place).map_or_else(
            || Pulse::new(self.opened),
            |watched| watched.fetched.clone(),
        )
    }

    /// Where the log ended when a probe asked last that was answered, and when it asked.
    pub(super) fn end(&self) -> Option<(Instant, u64)> {
        self.leader_health.lock().get(&self.place)?.end
    }

    fn last_answer(&self) -> Instant {
        let watched = self.leader_health.lock();
        let last = watched.get(&self.place).map(|watched| {
            let probed = watched.answered;
            watched
                .fetched
                .last()
                .map_or(probed, |last| last.max(probed))
        });
        last.map_or(self.opened, |last| last.max(self.opened))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let mut watched = self.leader_health.lock();
        if let Some(there) = watched.get_mut(&self.place) {
            there.readers -= 1;
            if there.readers == 0 {
                watched.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::super::{client, fetch_clients};
    use super::*;
    use theatre_config::log::LogConfig;
    use theatre_system::blocking::IoRuntime;

    #[test]
    fn a_leader_that_is_down_fails_the_readers_of_its_partitions_and_no_others() {
        let cluster = MockCluster::new(2).unwrap();
        cluster.create_topic("input", 2, 1).unwrap();
        cluster.partition_leader("input", 0, Some(1)).unwrap();
        cluster.partition_leader("input", 1, Some(2)).unwrap();
        let (config, io, ended) = (
            LogConfig::default(),
            IoRuntime::start().unwrap(),
            Arc::new(AtomicBool::new(false)),
        );
        let base = client::base(
            &format!("kafka://{}", cluster.bootstrap_servers()),
            &config,
            &io,
        )
        .unwrap();
        let query_client = fetch_clients::query_client(&base, &config, &ended).unwrap();

        let (leader_health, mut leaders) = (Arc::new(LeaderHealth::default()), Leaders::default());
        let heartbeats = [0, 1].map(|partition| leader_health.watch("input", partition));
        let answered = |since: Instant| {
            heartbeats
                .each_ref()
                .map(|heartbeat| heartbeat.last_answer() > since)
        };
        let begun = Instant::now();
        while answered(begun) != [true, true] {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "no leader answers: {leaders:?}"
            );
            leader_health.probe_leaders(&query_client, &mut leaders);
        }

        cluster.broker_down(2).unwrap();
        let away = Instant::now();
        leader_health.probe_leaders(&query_client, &mut leaders);
        assert_eq!(answered(away), [true, false], "{leaders:?}");
        assert!(
            leaders.is_stale,
            "the next probe asks whether it still leads"
        );

        // A reader that was just opened has the whole time, however long the leader was down
        // before.
        let long_ago = Instant::now().checked_sub(DOWN_AFTER).unwrap();
        leader_health
            .lock()
            .get_mut(&heartbeats[1].place)
            .unwrap()
            .answered = long_ago;
        assert!(leader_health.watch("input", 1).check().is_ok());
        assert!(
            Heartbeat {
                leader_health: leader_health.clone(),
                place: ("input".to_owned(), 7),
                opened: long_ago
            }
            .check()
            .is_err()
        );
        // The fetcher has just had an answer for one of them: only the other is probed.
        let now = Instant::now();
        heartbeats[1].pulse().note(now);
        assert!(heartbeats[1].check().is_ok());
        assert_eq!(leader_health.silent(now), [("input".to_owned(), 0)]);
        let later = now + PROBE_INTERVAL;
        assert_eq!(leader_health.silent(later).len(), 2);
        drop(heartbeats);
        assert!(
            leader_health.lock().is_empty(),
            "a partition without a reader is not probed"
        );
        ended.store(true, Ordering::Release);
    }

    #[test]
    fn an_end_is_that_of_the_moment_at_which_it_was_asked_for() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("input", 1, 1).unwrap();
        let (config, io, ended) = (
            LogConfig::default(),
            IoRuntime::start().unwrap(),
            Arc::new(AtomicBool::new(false)),
        );
        let address = format!("kafka://{}", cluster.bootstrap_servers());
        let base = client::base(&address, &config, &io).unwrap();
        let query_client = fetch_clients::query_client(&base, &config, &ended).unwrap();
        let leader_health = Arc::new(LeaderHealth {
            asks_ends: true,
            ..LeaderHealth::default()
        });
        let heartbeat = leader_health.watch("input", 0);
        // A fetch that was just answered does not say when it was asked.
        heartbeat.pulse().note(Instant::now());
        assert_eq!(heartbeat.end(), None);
        let mut leaders = Leaders::default();
        let begun = Instant::now();
        let (asked, end) = loop {
            assert!(begun.elapsed() < Duration::from_secs(30), "no answer");
            leader_health.probe_leaders(&query_client, &mut leaders);
            if let Some(end) = heartbeat.end() {
                break end;
            }
        };
        assert_eq!(end, 0);
        assert!(asked >= begun && asked <= Instant::now());
        // Without an answer it stays as it was, and so grows old.
        cluster.broker_down(1).unwrap();
        leader_health.probe_leaders(&query_client, &mut leaders);
        assert_eq!(heartbeat.end(), Some((asked, end)));
        ended.store(true, Ordering::Release);
    }
}
