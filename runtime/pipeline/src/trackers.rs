//! The duplicate checks of a partition's lake writer: one tracker per robot and topic, as they are
//! stored, and as they move with their robots.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use theatre_actors::ports::{Error, Result};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::sequence::{SequenceTracker, Verdict};
use theatre_actors::state::{self, Body, StateError, Stored};

use crate::actor_keys::ActorKeys;

/// The checks of one partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trackers {
    by_robot: HashMap<Box<str>, BTreeMap<TopicIndex, SequenceTracker>, foldhash::fast::RandomState>,
}

impl Trackers {
    /// As a cut of this partition stored them; none before the first cut.
    ///
    /// # Errors
    /// `Refused` when they cannot be read back.
    pub fn decode(partition: Partition, stored: &[u8]) -> Result<Self> {
        if stored.is_empty() {
            return Ok(Self::default());
        }
        state::decode(stored).map_err(|error| {
            Error::Refused(format!(
                "the lake writer's state of partition {partition} cannot be read: {error}"
            ))
        })
    }

    /// As a cut stores them: by robot and topic, in order.
    pub fn encode(&self) -> Vec<u8> {
        state::encode(self)
    }

    /// Notes a record; says whether the robot has sent it before.
    pub fn is_duplicate(
        &mut self,
        robot: &str,
        topic: TopicIndex,
        boot: i64,
        sequence: i64,
    ) -> bool {
        // No key is made for the many records of robots that are known.
        let topics = match self.by_robot.get_mut(robot) {
            Some(topics) => topics,
            None => self.by_robot.entry(robot.into()).or_default(),
        };
        topics.entry(topic).or_default().judge(boot, sequence) == Verdict::Duplicate
    }

    fn insert(&mut self, robot: Box<str>, topic: TopicIndex, tracker: SequenceTracker) {
        self.by_robot
            .entry(robot)
            .or_default()
            .insert(topic, tracker);
    }
}

/// Version 1: a tracker each, in order of robot and topic, that repeats the robot's name.
type Version1 = Vec<((String, TopicIndex), SequenceTracker)>;

/// Version 2: the name once a robot, with its trackers by topic.
type Version2 = Vec<(String, Vec<(TopicIndex, SequenceTracker)>)>;

impl Stored for Trackers {
    const NAME: &'static str = "lake trackers";
    const VERSION: u8 = 2;

    fn body(&self) -> impl Serialize {
        let mut robots: Vec<(&str, Vec<(TopicIndex, &SequenceTracker)>)> = self
            .by_robot
            .iter()
            .map(|(robot, topics)| {
                let topics = topics.iter().map(|(topic, tracker)| (*topic, tracker));
                (&**robot, topics.collect())
            })
            .collect();
        // The map's order is that of its hashes: sorted, equal trackers are equal bytes.
        robots.sort_unstable_by_key(|(robot, _)| *robot);
        robots
    }

    fn read(body: Body<'_>) -> std::result::Result<Self, StateError> {
        let mut trackers = Self::default();
        match body.version {
            1 => {
                for ((robot, topic), tracker) in body.decode::<Version1>()? {
                    trackers.insert(robot.into(), topic, tracker);
                }
            }
            2 => {
                for (robot, topics) in body.decode::<Version2>()? {
                    let topics = topics.into_iter().collect();
                    trackers.by_robot.insert(robot.into(), topics);
                }
            }
            _ => return body.unknown(),
        }
        Ok(trackers)
    }
}

/// Moves trackers, listed by partition, to where their robots live among `to` partitions instead of
/// as many as are listed.
///
/// A tracker in a partition that is not its robot's (a producer with another partitioner) stays:
/// where such a producer goes next is not known.
pub fn rehome(mut trackers: Vec<Trackers>, to: u32, keys: &ActorKeys) -> Vec<Trackers> {
    let from = trackers.len() as u32;
    trackers.resize_with(to as usize, Trackers::default);
    let mut moving = Vec::new();
    for (partition, own) in (0..from).zip(&mut trackers) {
        let moves = |robot: &str| {
            keys.partition(robot, from) == partition && keys.partition(robot, to) != partition
        };
        moving.extend(own.by_robot.extract_if(|robot, _| moves(robot)));
    }
    for (robot, topics) in moving {
        let home = keys.partition(&robot, to) as usize;
        if let Some(trackers) = trackers.get_mut(home) {
            topics
                .into_iter()
                .for_each(|(topic, tracker)| trackers.insert(robot.clone(), topic, tracker));
        }
    }
    trackers
}

#[cfg(test)]
mod tests {
    use theatre_actors::partitioner::partition_of;

    use super::*;

    fn tracker(sequence: i64) -> SequenceTracker {
        let mut tracker = SequenceTracker::default();
        tracker.judge(1, sequence);
        tracker
    }

    /// The trackers that the golden of every version holds.
    fn sample() -> Trackers {
        let mut trackers = Trackers::default();
        for (robot, topic, sequences) in [
            ("robot-1", 0, &[5, 6, 9][..]),
            ("robot-1", 2, &[1]),
            ("a", 1, &[7, 3]),
        ] {
            for sequence in sequences {
                trackers.is_duplicate(robot, topic, 1, *sequence);
            }
        }
        trackers
    }

    /// What version 1 wrote.
    struct WrittenByVersion1(Vec<((String, TopicIndex), SequenceTracker)>);

    impl Stored for WrittenByVersion1 {
        const NAME: &'static str = "lake trackers";
        const VERSION: u8 = 1;

        fn body(&self) -> impl Serialize {
            &self.0
        }

        fn read(body: Body<'_>) -> std::result::Result<Self, StateError> {
            body.decode().map(Self)
        }
    }

    fn version_1_of(trackers: &Trackers) -> Vec<u8> {
        let mut all: Vec<_> = trackers
            .by_robot
            .iter()
            .flat_map(|(robot, topics)| {
                let of_robot = |(topic, tracker): (&TopicIndex, &SequenceTracker)| {
                    ((robot.to_string(), *topic), tracker.clone())
                };
                topics.iter().map(of_robot)
            })
            .collect();
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        state::encode(&WrittenByVersion1(all))
    }

    /// `THEATRE_GOLDEN=write cargo test -p theatre-pipeline golden` writes the file of a new
    /// version; those that are there are never written again.
    #[test]
    fn the_golden_of_every_version_is_read() {
        let golden = |version: u8| {
            std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(format!("golden/lake_trackers/v{version}.bin"))
        };
        let (sample, present) = (sample(), golden(Trackers::VERSION));
        if std::env::var_os("THEATRE_GOLDEN").is_some_and(|wish| wish == "write")
            && !present.exists()
        {
            std::fs::create_dir_all(present.parent().unwrap()).unwrap();
            std::fs::write(golden(1), version_1_of(&sample)).unwrap();
            std::fs::write(&present, sample.encode()).unwrap();
        }
        assert_eq!(std::fs::read(&present).unwrap(), sample.encode());
        assert_eq!(std::fs::read(golden(1)).unwrap(), version_1_of(&sample));
        for version in 1..=Trackers::VERSION {
            let bytes = std::fs::read(golden(version)).unwrap();
            assert_eq!(bytes[0], version);
            assert_eq!(Trackers::decode(0, &bytes).unwrap(), sample);
            for length in 1..bytes.len() {
                assert!(Trackers::decode(0, &bytes[..length]).is_err());
            }
        }
        let error = Trackers::decode(4, &[3, 0]).unwrap_err().to_string();
        for part in ["partition 4", "lake trackers", "version 3", "1 to 2"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn trackers_move_with_their_robots_and_foreign_ones_stay() {
        let robots: Vec<String> = (0..50).map(|number| format!("robot-{number}")).collect();
        let mut before = vec![Trackers::default(); 4];
        for (sequence, robot) in (0..).zip(&robots) {
            before[partition_of(robot.as_bytes(), 4) as usize].insert(
                robot.as_str().into(),
                0,
                tracker(sequence),
            );
        }
        let foreign = robots
            .iter()
            .find(|robot| partition_of(robot.as_bytes(), 4) != 3)
            .unwrap();
        before[3].insert(foreign.as_str().into(), 2, tracker(99));
        let after = rehome(before, 6, &ActorKeys::default());
        assert_eq!(after.len(), 6);
        for (sequence, robot) in (0..).zip(&robots) {
            let home = partition_of(robot.as_bytes(), 6) as usize;
            assert_eq!(
                after[home].by_robot[robot.as_str()].get(&0),
                Some(&tracker(sequence)),
                "{robot}"
            );
        }
        assert_eq!(
            after[3].by_robot[foreign.as_str()].get(&2),
            Some(&tracker(99))
        );
        assert_eq!(
            after
                .iter()
                .flat_map(|trackers| trackers.by_robot.values())
                .map(BTreeMap::len)
                .sum::<usize>(),
            51,
            "each is there once"
        );
        assert_eq!(Trackers::decode(3, &after[3].encode()).unwrap(), after[3]);
    }
}
