//! The intake processor: what became of records that name no robot, or one that is at home in
//! another partition.

use serde::{Deserialize, Serialize};

use theatre_schemas::batch::Batch;

use super::view;
use crate::outputs::{Counters, DeadReason, DeadRow};
use crate::position::{Partition, Positions, TopicIndex};
use crate::state::{self, Body, StateError, Stored};

/// Counters and positions of one partition's unroutable records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IntakeProcessor {
    positions: Positions,
    counters: Vec<Counters>,
}

impl Stored for IntakeProcessor {
    const NAME: &'static str = "intake processor";
    const VERSION: u8 = 1;

    fn body(&self) -> impl Serialize {
        self
    }

    fn read(body: Body<'_>) -> Result<Self, StateError> {
        match body.version {
            1 => body.decode(),
            _ => body.unknown(),
        }
    }
}

impl IntakeProcessor {
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
    pub fn dead_letter_row(&mut self, dead: &DeadRow) -> bool {
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

    /// Accounts a row of a robot that is at home in another partition; its dead letter, or nothing
    /// when it was accounted before.
    pub fn reject(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        home: Partition,
    ) -> Option<DeadRow> {
        if batch.offsets[row] < self.positions.get(topic) {
            return None;
        }
        let dead = DeadRow {
            topic,
            offset: batch.offsets[row],
            append_time: batch.append_times[row],
            reason: DeadReason::WrongPartition,
            detail: format!(
                "the robot is at home in partition {home}: this record was written by a producer with another partitioner"
            ),
            robot_id: Some(batch.robot_id(row).to_owned()),
            schema_id: None,
            payload: view::row_json(batch, row).to_string().into_bytes(),
            sealed: false,
            size: 0,
            sha256: String::new(),
        };
        self.dead_letter_row(&dead).then_some(dead)
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
