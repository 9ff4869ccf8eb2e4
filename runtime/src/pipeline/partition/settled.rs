//! Records that were dead-lettered for want of their schema, and saved so. After a restart they may be read again, and by now their schema may be
//! known; they stay what they were, or they would count twice.

use std::collections::HashSet;

use theatre_actors::effect::DeadReason;
use theatre_actors::ports::{CheckpointStore, PartitionStatus, Result};
use theatre_actors::position::{Partition, TopicIndex};

/// So many of the last dead letters are looked at: more are not saved above a floor, which a sweep moves on.
const LOOKED_AT: u64 = 20_000;
const PAGE: usize = 500;

/// By topic and offset, those at or above the floor.
pub(super) fn unknown_before(store: &dyn CheckpointStore, partition: Partition, status: &PartitionStatus) -> Result<HashSet<(TopicIndex, u64)>> {
    let (mut found, mut after) = (HashSet::new(), status.last_dead.saturating_sub(LOOKED_AT));
    loop {
        let page = store.dead_after(partition, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.sequence;
        let unknown = page.iter().map(|stored| &stored.dead).filter(|dead| dead.reason == DeadReason::UnknownSchema);
        found.extend(unknown.filter(|dead| dead.offset >= status.floor.get(dead.topic)).map(|dead| (dead.topic, dead.offset)));
    }
}
