//! Whether the brokers that lead what is read still answer.
//!
//! A reader at the end of its partition hears nothing, whether nothing is written or nobody is
//! there. Who decides by silence must know the difference, so the leaders are asked every second.
//! Each is asked by itself, and each partition has a pulse of its own: librdkafka fails a question
//! to several leaders as a whole if one of them does not answer, and one that is away must not hold
//! up what the others lead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use theatre_actors::ports::{Error, Result};
use theatre_actors::position::Partition;

use super::client::{PlainConsumer, WHAT};
use theatre_config::log::SILENCE_MIN;

const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// Who leads what is asked of any broker: one that answers does so at once.
const LEADERS_WITHIN: Duration = Duration::from_secs(1);
/// Without an answer for this long, a reader that has nothing to bring says so. Longer than a slow
/// answer takes: one alone tears down no reader.
const AWAY_AFTER: Duration = Duration::from_secs(10);
const _: () = assert!(
    AWAY_AFTER.as_secs() > ASK_EVERY.as_secs() + LEADERS_WITHIN.as_secs() + ANSWER_WITHIN.as_secs()
);
// Nobody may be called silent before it is noticed that nobody could be heard.
const _: () = assert!(
    SILENCE_MIN.0.unsigned_abs()
        >= (AWAY_AFTER.as_secs() + ASK_EVERY.as_secs() + ANSWER_WITHIN.as_secs()) * 1_000_000
);
/// A moment that no record has, milliseconds: the leader has to look at its end only.
const NEVER: i64 = i64::MAX >> 1;
/// Stands for a leader that is not known, as it does in Kafka's answers.
const NO_LEADER: i32 = -1;

type Place = (String, Partition);

#[derive(Debug)]
struct Watched {
    readers: usize,
    answered: Instant,
}

/// When the leader of each partition that is read last answered for it.
#[derive(Debug, Default)]
pub(super) struct LeaderHealth(Mutex<BTreeMap<Place, Watched>>);

/// Who leads what, as far as it is known.
#[derive(Debug, Default)]
struct Leaders {
    known: BTreeMap<Place, i32>,
    /// Somebody did not answer: it may lead no more.
    doubted: bool,
}

/// What a reader knows of its partition's leader. It is asked as long as this lives.
#[derive(Debug)]
pub(super) struct Heartbeat {
    leader_health: Arc<LeaderHealth>,
    place: Place,
    opened: Instant,
}

impl LeaderHealth {
    /// Begins to ask the leaders of what is watched, until `ended`.
    pub(super) fn start(asking: Arc<PlainConsumer>, ended: Arc<AtomicBool>) -> Result<Arc<Self>> {
        let leader_health = Arc::new(Self::default());
        let noted = leader_health.clone();
        let work = move || {
            let mut leaders = Leaders::default();
            while !ended.load(Ordering::Acquire) {
                noted.look(&asking, &mut leaders);
                std::thread::sleep(ASK_EVERY);
            }
        };
        let started = std::thread::Builder::new()
            .name("kafka-alive".to_owned())
            .spawn(work);
        started.map(|_| leader_health).map_err(|error| {
            Error::Refused(format!(
                "a thread that watches the brokers cannot be started: {error}"
            ))
        })
    }

    /// Watches the leader of a partition for a reader that is just being opened.
    pub(super) fn watch(self: &Arc<Self>, topic: &str, partition: Partition) -> Heartbeat {
        let (place, opened) = ((topic.to_owned(), partition), Instant::now());
        self.lock()
            .entry(place.clone())
            .or_insert(Watched {
                readers: 0,
                answered: opened,
            })
            .readers += 1;
        Heartbeat {
            leader_health: self.clone(),
            place,
            opened,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks every leader once, all at the same time.
    fn look(&self, asking: &PlainConsumer, leaders: &mut Leaders) {
        let places: Vec<Place> = self.lock().keys().cloned().collect();
        leaders.follow(asking, &places);
        let mut by_leader: BTreeMap<i32, Vec<&Place>> = BTreeMap::new();
        for place in &places {
            by_leader
                .entry(leaders.known.get(place).copied().unwrap_or(NO_LEADER))
                .or_default()
                .push(place);
        }
        let ask = |places: &[&Place]| self.ask(asking, places);
        let ask = &ask;
        let answered = std::thread::scope(|scope| {
            let mut asked = Vec::new();
            let mut answered = true;
            let mut groups = by_leader.values();
            // One of them is asked on this thread: most often there is no other.
            let own = groups.next();
            for places in groups {
                match std::thread::Builder::new()
                    .name("kafka-alive".to_owned())
                    .spawn_scoped(scope, move || ask(places))
                {
                    Ok(thread) => asked.push(thread),
                    Err(_) => answered &= ask(places),
                }
            }
            answered &= own.is_none_or(|places| ask(places));
            for thread in asked {
                answered &= thread.join().unwrap_or_default();
            }
            answered
        });
        leaders.doubted = !answered;
    }

    /// Asks one leader for all its partitions; true if it answered for each.
    fn ask(&self, asking: &PlainConsumer, places: &[&Place]) -> bool {
        let mut asked = TopicPartitionList::new();
        for (topic, partition) in places {
            if let Err(error) =
                asked.add_partition_offset(topic, *partition as i32, Offset::Offset(NEVER))
            {
                tracing::warn!(%error, topic, partition, "a partition's leader cannot be asked");
            }
        }
        let Ok(answer) = asking.offsets_for_times(asked, ANSWER_WITHIN) else {
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
            }
        }
        all
    }
}

impl Leaders {
    /// Finds out who leads these now, if that is not known or in doubt. What cannot be found out
    /// stays as it is.
    fn follow(&mut self, asking: &PlainConsumer, places: &[Place]) {
        if !self.doubted && places.iter().all(|place| self.known.contains_key(place)) {
            return;
        }
        self.known.retain(|place, _| places.contains(place));
        let topics: BTreeSet<&str> = places.iter().map(|(topic, _)| topic.as_str()).collect();
        for topic in topics {
            // The next would not be answered either, and this round has to end.
            let Ok(answer) = asking.fetch_metadata(Some(topic), LEADERS_WITHIN) else {
                return;
            };
            for told in answer.topics() {
                let led = told.partitions().iter().map(|partition| {
                    (
                        (told.name().to_owned(), partition.id() as Partition),
                        partition.leader(),
                    )
                });
                self.known
                    .extend(led.filter(|(place, _)| places.contains(place)));
            }
        }
    }
}

impl Heartbeat {
    /// Fails when the partition's leader has not answered for long, since the reader was opened.
    pub(super) fn check(&self) -> Result<()> {
        let since = self.heard().elapsed();
        if since < AWAY_AFTER {
            return Ok(());
        }
        let (topic, partition) = &self.place;
        let why = format!(
            "topic '{topic}' partition {partition}: its broker has not answered for {} s",
            since.as_secs()
        );
        Err(Error::Unavailable { what: WHAT, why })
    }

    fn heard(&self) -> Instant {
        self.leader_health
            .lock()
            .get(&self.place)
            .map_or(self.opened, |watched| watched.answered.max(self.opened))
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

    use super::super::{client, data};
    use super::*;
    use theatre_config::log::LogConfig;
    use theatre_system::blocking::IoRuntime;

    #[test]
    fn a_leader_that_is_away_is_missed_by_what_it_leads_and_by_nobody_else() {
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
        let asking = data::asking(&base, &config, &ended).unwrap();

        let (leader_health, mut leaders) = (Arc::new(LeaderHealth::default()), Leaders::default());
        let pulses = [0, 1].map(|partition| leader_health.watch("input", partition));
        let answered = |since: Instant| pulses.each_ref().map(|pulse| pulse.heard() > since);
        let begun = Instant::now();
        while answered(begun) != [true, true] {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "nobody answers: {leaders:?}"
            );
            leader_health.look(&asking, &mut leaders);
        }

        cluster.broker_down(2).unwrap();
        let away = Instant::now();
        leader_health.look(&asking, &mut leaders);
        assert_eq!(answered(away), [true, false], "{leaders:?}");
        assert!(leaders.doubted, "whether it still leads is asked next");

        // Opened a moment ago: it has all the time there is, whatever was before.
        let long_ago = Instant::now().checked_sub(AWAY_AFTER).unwrap();
        leader_health
            .lock()
            .get_mut(&pulses[1].place)
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
        drop(pulses);
        assert!(
            leader_health.lock().is_empty(),
            "what nobody reads is not asked for"
        );
        ended.store(true, Ordering::Release);
    }
}
