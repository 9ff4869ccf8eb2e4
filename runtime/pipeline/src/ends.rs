//! Where a log ends, and how far a partition's work on it has come: whether everything is drained
//! follows from comparing the two.
//!
//! What a component did once is no proof of anything: a log that was read to its end may have grown
//! since. So each component notes up to which positions nothing is left to it, and a command
//! that waits takes the log's ends after it was appended and waits until all have come so far.

use std::collections::BTreeMap;

use theatre_actors::ports::{EventLog, Result};
use theatre_actors::position::{Partition, Positions};

/// The ends of all input topics at a moment, by partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends(BTreeMap<Partition, Positions>);

impl Ends {
    /// The ends as of now; a topic that is not there has none.
    ///
    /// # Errors
    /// When the log cannot be asked.
    pub fn now(log: &dyn EventLog, topics: &[String], partitions: u32) -> Result<Self> {
        let mut there = Vec::with_capacity(topics.len());
        for topic in topics {
            there.push(log.partitions(topic)?.unwrap_or(0));
        }
        let mut ends = BTreeMap::new();
        for partition in 0..partitions {
            let mut end = Positions::zero();
            for (topic, name) in topics.iter().enumerate() {
                if partition < there[topic] {
                    end.advance(topic, log.range(name, partition)?.end);
                }
            }
            ends.insert(partition, end);
        }
        Ok(Self(ends))
    }

    /// By partition, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, &Positions)> {
        self.0.iter().map(|(partition, end)| (*partition, end))
    }

    /// True if no partition ends beyond its end in `other`.
    pub fn are_within(&self, other: &Self) -> bool {
        let covered = |partition, end| {
            other
                .0
                .get(partition)
                .is_some_and(|known: &Positions| known.covers(end))
        };
        self.0
            .iter()
            .all(|(partition, end)| covered(partition, end))
    }
}

impl FromIterator<(Partition, Positions)> for Ends {
    fn from_iter<I: IntoIterator<Item = (Partition, Positions)>>(ends: I) -> Self {
        Self(ends.into_iter().collect())
    }
}

/// How far a part of the work on a partition has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Nothing of what lies below is left to do.
    pub positions: Positions,
    /// Nor of what the wall clock alone decided so many times, such as that a robot is silent.
    pub ticks: u64,
}

impl Reach {
    /// True when it is as far as `other`.
    pub fn covers(&self, other: &Self) -> bool {
        self.ticks >= other.ticks && self.positions.covers(&other.positions)
    }
}

/// What was committed of a partition when it was saved so far: its consumers are through with it
/// once they are beyond, whatever is committed meanwhile. A partition that is fed all the time
/// never has nothing to do, and what a command waits for is done nevertheless.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) reach: Reach,
    pub(super) last_output: u64,
    pub(super) last_dead: u64,
    /// The last lake file that is to go on, once the consumers that make files are beyond.
    pub(super) last_file: Option<u64>,
}
