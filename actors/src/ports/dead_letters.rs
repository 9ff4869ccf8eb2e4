//! What is done about dead letters once they are committed: their records are sent again, or what
//! they hold is erased. Their numbers, places and reasons stay for ever.

use std::ops::Range;

use super::Result;
use crate::position::{Partition, TopicIndex};
use crate::time::LogTime;

/// The record of a dead letter that was sent again, or is about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadReplay {
    /// Partition of the dead letter.
    pub partition: Partition,
    /// Its number within the partition.
    pub sequence: u64,
    /// How often its record was sent again, this time included; from 1. The copy of a copy counts
    /// on.
    pub count: u32,
    /// The input topic that it came from and goes to.
    pub topic: TopicIndex,
    /// The partition of the topic that the copy goes to.
    pub to: Partition,
    /// The offset at which that ended before: the copy stands there or above.
    pub after: u64,
    /// The offset of the copy; `None` as long as it is not known to be in the log.
    pub offset: Option<u64>,
    /// When it was begun.
    pub begun_at: LogTime,
}

/// A place in the log: an input topic, a partition of it, and an offset.
pub type PlaceInLog = (TopicIndex, Partition, u64);

/// Keeps what was done about dead letters. No call needs an epoch: none touches what the owner of a
/// partition writes.
pub trait DeadLetterStore: Send + Sync {
    /// Notes records that are about to be sent again, all or none; one that is noted already is
    /// [`Error::overtaken`](super::Error::overtaken). Those of which the dead letter is erased are
    /// passed over: returns these, by partition and number.
    fn begin_dead_replays(&self, replays: &[DeadReplay]) -> Result<Vec<(Partition, u64)>>;

    /// Forgets replays of which it is known that no copy is in the log, by partition and number;
    /// one whose copy is noted stays.
    fn forget_dead_replays(&self, absent: &[(Partition, u64)]) -> Result<()>;

    /// Notes where copies stand, by partition and number of their dead letters, in one transaction.
    fn finish_dead_replays(&self, sent: &[(Partition, u64, u64)]) -> Result<()>;

    /// The replays of these dead letters, by partition and number, as far as they were begun; in
    /// that order.
    fn dead_replays(&self, dead: &[(Partition, u64)]) -> Result<Vec<DeadReplay>>;

    /// The replays that were begun and of which it is not known whether the copy is in the log, in
    /// order of partition and number.
    fn dead_replays_in_doubt(&self) -> Result<Vec<DeadReplay>>;

    /// The replays whose copies stand at these places of the log, in order of partition and number.
    fn dead_replays_at(&self, places: &[PlaceInLog]) -> Result<Vec<DeadReplay>>;

    /// The replays whose copies stand in a partition of an input topic, at these offsets; in the
    /// order of the copies.
    fn dead_replays_within(
        &self,
        topic: TopicIndex,
        to: Partition,
        offsets: Range<u64>,
    ) -> Result<Vec<DeadReplay>>;

    /// Erases payload and detail of dead letters, by partition and number, and notes when; those of
    /// which they are erased already, or that are not there, stay as they are. Returns how many it
    /// were. What was erased is still found under its number.
    fn purge_dead(&self, dead: &[(Partition, u64)], at: LogTime) -> Result<u64>;
}
