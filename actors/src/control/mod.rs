//! What is said to all robots of a partition: actions on their conditions and changes of rules.
//!
//! Such a record has the key [`name`] and stands once in every partition of its topic, so that each
//! partition meets it at a recorded place in its own input. It goes to the actor of that name, which
//! accounts it and remembers it, and to every robot of the partition, which takes it at its place.
//! A robot that appears later begins with what was said before ([`ControlBook`]).

mod book;
mod change;
mod known;
mod remembered;
mod standing;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::{DatasetKind, EntityKind, PARTITION_PREFIX};

use crate::alerts::Action;
use crate::position::{Partition, Positions, TopicIndex};

pub use book::ControlBook;
pub use change::{ChangeKind, RuleChange};
pub use known::RefusedRule;
pub(crate) use remembered::{ControlState, ControlStateV4};
pub use standing::{ChangeFate, RuleBase, StandingRules};

/// The actor of what is said to all robots of a partition.
pub fn name(partition: Partition) -> String {
    format!("{PARTITION_PREFIX}{partition}")
}

/// The partition in the name of such an actor.
pub fn partition_of(actor: &str) -> Option<Partition> {
    actor.strip_prefix(PARTITION_PREFIX)?.parse().ok()
}

/// Whether an actor is a robot.
pub fn is_robot(actor: &str) -> bool {
    EntityKind::of_key(actor).is_none() && !actor.starts_with(PARTITION_PREFIX)
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Said {
    /// A silence, or that one is taken back.
    Action(Action),
    Rule(RuleChange),
}

/// A record for all robots of a partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ControlRecord {
    pub(crate) topic: TopicIndex,
    /// It holds for who has read the topic to here: the offset after it.
    pub(crate) from: u64,
    /// Append time, microseconds UTC.
    pub(crate) at: i64,
    /// Changes of rules needed another person's approval when it came: this decides, and not the
    /// configuration of a later start.
    pub(crate) needs_approval: bool,
    pub(crate) said: Said,
}

impl ControlRecord {
    /// Reads a record that comes where changes of rules need another person's approval, or not.
    ///
    /// # Errors
    /// Names what is missing or wrong.
    pub(crate) fn read(
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        needs_approval: bool,
    ) -> Result<Self, String> {
        let said = match batch.dataset.kind {
            DatasetKind::AlertActions => Said::Action(Action::read(batch, row)?),
            DatasetKind::RuleChanges => Said::Rule(RuleChange::read(batch, row)?),
            other => {
                return Err(format!(
                    "records of kind {} are about one robot, facility, surgeon or model each",
                    other.as_str()
                ));
            }
        };
        Ok(Self {
            topic,
            from: batch.offsets[row] + 1,
            at: batch.append_times[row],
            needs_approval,
            said,
        })
    }

    fn holds_at(&self, positions: &Positions) -> bool {
        self.from <= positions.get(self.topic)
    }
}
