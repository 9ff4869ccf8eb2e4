//! KeyOwnership: a robot belongs to the partition that claimed it first, until a repartition.
//! Producers with different partitioners put one robot in two partitions; what comes to the wrong
//! one is turned away, the same on every replay, because the claim is in the store.

use std::collections::HashMap;

use theatre_actors::ports::{CheckpointStore, Epoch, Result};
use theatre_actors::position::{Partition, TopicIndex};

/// Strangers that are remembered; beyond it they are forgotten and asked for anew.
const STRANGERS_MAX: usize = 65_536;

/// The robots that were met here and are at home elsewhere.
#[derive(Debug, Default)]
pub(super) struct KeyOwnership {
    strangers: HashMap<Box<str>, Partition, foldhash::fast::RandomState>,
    /// Records turned away since the partition was taken, by topic.
    turned_away: Vec<u64>,
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
        if self.strangers.len() > STRANGERS_MAX {
            self.strangers.clear();
        }
        let mut seen = std::collections::HashSet::new();
        let asked: Vec<&str> = robots
            .filter(|robot| !self.strangers.contains_key(*robot) && seen.insert(*robot))
            .collect();
        if asked.is_empty() {
            return Ok(asked);
        }
        let key_ownership = store.claim_homes(partition, epoch, &asked)?;
        let mut at_home = Vec::new();
        for (robot, home) in asked.into_iter().zip(key_ownership) {
            if home == partition {
                at_home.push(robot);
            } else {
                self.strangers.insert(robot.into(), home);
            }
        }
        Ok(at_home)
    }

    /// Where a robot without a processor here is at home.
    pub(super) fn of(&self, robot: &str) -> Option<Partition> {
        self.strangers.get(robot).copied()
    }

    /// Counts a record that was turned away; returns how many of its topic there were.
    pub(super) fn count(&mut self, topic: TopicIndex) -> u64 {
        if self.turned_away.len() <= topic {
            self.turned_away.resize(topic + 1, 0);
        }
        self.turned_away[topic] += 1;
        self.turned_away[topic]
    }
}
