//! The duplicate checks of a partition's lake writer: one tracker per robot and topic, as they are
//! stored, and as they move with their robots.

use std::collections::{BTreeMap, HashMap};

use theatre_actors::ports::{Error, Result};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::sequence::{SequenceTracker, Verdict};
use theatre_actors::state;

use theatre_actors::partitioner::partition_of;

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
        let mut trackers = Self::default();
        if stored.is_empty() {
            return Ok(trackers);
        }
        let unreadable = |error| {
            Error::Refused(format!(
                "the lake writer's state of partition {partition} cannot be read: {error}"
            ))
        };
        for ((robot, topic), tracker) in
            state::decode::<Vec<((String, TopicIndex), SequenceTracker)>>(stored)
                .map_err(unreadable)?
        {
            trackers.insert(robot.into(), topic, tracker);
        }
        Ok(trackers)
    }

    /// As a cut stores them: by robot and topic, in order.
    pub fn encode(&self) -> Vec<u8> {
        let mut all: Vec<((&str, TopicIndex), &SequenceTracker)> = self
            .by_robot
            .iter()
            .flat_map(|(robot, topics)| {
                topics
                    .iter()
                    .map(move |(topic, tracker)| ((&**robot, *topic), tracker))
            })
            .collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        state::encode(&all)
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

/// Moves trackers, listed by partition, to where their robots live among `to` partitions instead of
/// as many as are listed.
///
/// A tracker in a partition that is not its robot's (a producer with another partitioner) stays:
/// nobody knows where such a producer goes next.
pub fn rehome(mut trackers: Vec<Trackers>, to: u32) -> Vec<Trackers> {
    let from = trackers.len() as u32;
    trackers.resize_with(to as usize, Trackers::default);
    let mut moving = Vec::new();
    for (partition, own) in (0..from).zip(&mut trackers) {
        let moves = |robot: &str| {
            partition_of(robot.as_bytes(), from) == partition
                && partition_of(robot.as_bytes(), to) != partition
        };
        moving.extend(own.by_robot.extract_if(|robot, _| moves(robot)));
    }
    for (robot, topics) in moving {
        let home = partition_of(robot.as_bytes(), to) as usize;
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
    use super::*;

    fn tracker(sequence: i64) -> SequenceTracker {
        let mut tracker = SequenceTracker::default();
        tracker.judge(1, sequence);
        tracker
    }

    #[test]
    fn trackers_move_with_their_robots_and_strangers_stay() {
        let robots: Vec<String> = (0..50).map(|number| format!("robot-{number}")).collect();
        let mut before = vec![Trackers::default(); 4];
        for (sequence, robot) in (0..).zip(&robots) {
            before[partition_of(robot.as_bytes(), 4) as usize].insert(
                robot.as_str().into(),
                0,
                tracker(sequence),
            );
        }
        let stranger = robots
            .iter()
            .find(|robot| partition_of(robot.as_bytes(), 4) != 3)
            .unwrap();
        before[3].insert(stranger.as_str().into(), 2, tracker(99));
        let after = rehome(before, 6);
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
            after[3].by_robot[stranger.as_str()].get(&2),
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
