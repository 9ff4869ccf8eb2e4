//! Key ownership: a robot belongs to the partition that claimed it first, until a repartition.
//! Producers with different partitioners put one robot in two partitions; records in the
//! wrong one are rejected, the same on every replay, because the claim is in the store.

use std::collections::HashMap;

use theatre_actors::ports::{CheckpointStore, Epoch, Result};
use theatre_actors::position::{Partition, TopicIndex};

/// Foreign robots that are remembered; beyond it all are evicted and looked up anew.
const FOREIGN_MAX: usize = 65_536;

/// The robots whose records came here and whose home is another partition.
#[derive(Debug, Default)]
pub(super) struct KeyOwnership {
    foreign: HashMap<Box<str>, Partition, foldhash::fast::RandomState>,
    /// Records rejected since the partition was taken, by topic.
    rejected: Vec<u64>,
}

impl KeyOwnership {
    /// Claims robots that have no processor here; returns, once each and in order, those that are
    /// at home. One call of the store.
    pub(super) fn claim<'a>(
        &mut self,
        store: &dyn CheckpointStore,
        partition: Partition,
        epoch: Epoch,
        robots: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<&'a str>> {
        if self.foreign.len() > FOREIGN_MAX {
            self.foreign.clear();
        }
        let mut seen = std::collections::HashSet::new();
        let asked: Vec<&str> = robots
            .filter(|robot| !self.foreign.contains_key(*robot) && seen.insert(*robot))
            .collect();
        if asked.is_empty() {
            return Ok(asked);
        }
        let homes = store.claim_homes(partition, epoch, &asked)?;
        let mut at_home = Vec::new();
        for (robot, home) in asked.into_iter().zip(homes) {
            if home == partition {
                at_home.push(robot);
            } else {
                self.foreign.insert(robot.into(), home);
            }
        }
        Ok(at_home)
    }

    /// Where a robot without a processor here is at home.
    pub(super) fn of(&self, robot: &str) -> Option<Partition> {
        self.foreign.get(robot).copied()
    }

    /// Counts a record that was rejected; returns how many of its topic there were.
    pub(super) fn count(&mut self, topic: TopicIndex) -> u64 {
        if self.rejected.len() <= topic {
            self.rejected.resize(topic + 1, 0);
        }
        self.rejected[topic] += 1;
        self.rejected[topic]
    }
}
