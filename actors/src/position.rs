//! Positions: the next offset to read of each input topic of a partition.

use serde::{Deserialize, Serialize};

/// A partition number; partition *p* of every input topic belongs to one owner.
pub type Partition = u32;

/// Index of an input topic in the configured order, which only ever grows at the end.
pub type TopicIndex = usize;

/// The next offset to read, per input topic. Positions are compared, never counted: offsets may
/// have gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Positions(Vec<u64>);

impl Positions {
    /// The start of every topic.
    pub fn zero() -> Self {
        Self::default()
    }

    /// The next offset of a topic; 0 for a topic that was never advanced.
    pub fn get(&self, topic: TopicIndex) -> u64 {
        self.0.get(topic).copied().unwrap_or(0)
    }

    /// Advances a topic to `next_offset`; an offset below the current one changes nothing.
    pub fn advance(&mut self, topic: TopicIndex, next_offset: u64) {
        if self.0.len() <= topic {
            self.0.reserve_exact(topic + 1 - self.0.len());
            self.0.resize(topic + 1, 0);
        }
        self.0[topic] = self.0[topic].max(next_offset);
    }

    /// The lower of two positions, topic by topic.
    pub fn lowest(&self, other: &Self) -> Self {
        Self::zip(self, other, u64::min)
    }

    /// The higher of two positions, topic by topic.
    pub fn highest(&self, other: &Self) -> Self {
        Self::zip(self, other, u64::max)
    }

    /// True when every topic is at or beyond its offset in `other`.
    pub fn covers(&self, other: &Self) -> bool {
        (0..other.0.len()).all(|topic| self.get(topic) >= other.get(topic))
    }

    /// The offsets, by topic index; trailing topics at 0 may be missing.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }

    fn zip(left: &Self, right: &Self, pick: fn(u64, u64) -> u64) -> Self {
        let topics = left.0.len().max(right.0.len());
        Self(
            (0..topics)
                .map(|topic| pick(left.get(topic), right.get(topic)))
                .collect(),
        )
    }
}

impl From<Vec<u64>> for Positions {
    fn from(offsets: Vec<u64>) -> Self {
        Self(offsets)
    }
}
