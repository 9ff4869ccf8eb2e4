//! The duplicate checks of a partition's lake writer: one tracker per robot and topic, as they are stored, and as they move with their robots.

use std::collections::BTreeMap;

use theatre_actors::ports::{Error, Result};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::sequence::SequenceTracker;
use theatre_actors::state;

use crate::partitioner::partition_of;

/// By robot and topic.
pub type Trackers = BTreeMap<(String, TopicIndex), SequenceTracker>;

/// As a cut stores them.
pub fn encode(trackers: &Trackers) -> Vec<u8> {
    state::encode(&trackers.iter().collect::<Vec<_>>())
}

/// As a cut of this partition stored them; none before the first cut.
///
/// # Errors
/// `Refused` when they cannot be read back.
pub fn decode(partition: Partition, stored: &[u8]) -> Result<Trackers> {
    if stored.is_empty() {
        return Ok(Trackers::new());
    }
    let unreadable = |error| Error::Refused(format!("the lake writer's state of partition {partition} cannot be read: {error}"));
    Ok(state::decode::<Vec<((String, TopicIndex), SequenceTracker)>>(stored).map_err(unreadable)?.into_iter().collect())
}

/// Moves trackers, listed by partition, to where their robots live among `to` partitions instead of as many as are listed.
///
/// A tracker in a partition that is not its robot's (a producer with another partitioner) stays: nobody knows where such a producer goes next.
pub fn rehome(mut trackers: Vec<Trackers>, to: u32) -> Vec<Trackers> {
    let from = trackers.len() as u32;
    trackers.resize_with(to as usize, Trackers::new);
    let mut moving = Vec::new();
    for (partition, own) in (0..from).zip(&mut trackers) {
        moving.extend(own.extract_if(.., |(robot, _), _| partition_of(robot.as_bytes(), from) == partition && partition_of(robot.as_bytes(), to) != partition));
    }
    for ((robot, topic), tracker) in moving {
        let home = partition_of(robot.as_bytes(), to) as usize;
        if let Some(trackers) = trackers.get_mut(home) {
            trackers.insert((robot, topic), tracker);
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
        let mut before = vec![Trackers::new(); 4];
        for (sequence, robot) in (0..).zip(&robots) {
            before[partition_of(robot.as_bytes(), 4) as usize].insert((robot.clone(), 0), tracker(sequence));
        }
        let stranger = robots.iter().find(|robot| partition_of(robot.as_bytes(), 4) != 3).unwrap();
        before[3].insert((stranger.clone(), 2), tracker(99));
        let after = rehome(before, 6);
        assert_eq!(after.len(), 6);
        for (sequence, robot) in (0..).zip(&robots) {
            let home = partition_of(robot.as_bytes(), 6) as usize;
            assert_eq!(after[home].get(&(robot.clone(), 0)), Some(&tracker(sequence)), "{robot}");
        }
        assert_eq!(after[3].get(&(stranger.clone(), 2)), Some(&tracker(99)));
        assert_eq!(after.iter().map(BTreeMap::len).sum::<usize>(), 51, "each is there once");
        let stored = encode(&after[3]);
        assert_eq!(decode(3, &stored).unwrap(), after[3]);
    }
}
