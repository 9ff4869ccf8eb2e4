//! The intake family: what became of records that name no robot.

use serde::{Deserialize, Serialize};

use crate::effect::{Counters, DeadRow};
use crate::position::Positions;
use crate::state::{self, StateError};

/// Counters and positions of one partition's unroutable records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IntakeFamily {
    positions: Positions,
    counters: Vec<Counters>,
}

impl IntakeFamily {
    /// As saved.
    ///
    /// # Errors
    /// When the state is of an unknown version or damaged.
    pub fn restore(bytes: &[u8]) -> Result<Self, StateError> {
        state::decode(bytes)
    }

    /// Encoded and versioned.
    pub fn snapshot(&self) -> Vec<u8> {
        state::encode(self)
    }

    /// Accounts a record; false when it was accounted before.
    pub fn bury(&mut self, dead: &DeadRow) -> bool {
        if dead.offset < self.positions.get(dead.topic) {
            return false;
        }
        if self.counters.len() <= dead.topic {
            self.counters.resize_with(dead.topic + 1, Counters::default);
        }
        self.counters[dead.topic].count_dead(dead.reason);
        self.positions.advance(dead.topic, dead.offset + 1);
        true
    }

    /// The next offset it needs, by topic.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// What became of its records, by topic.
    pub fn counters(&self) -> &[Counters] {
        &self.counters
    }
}
