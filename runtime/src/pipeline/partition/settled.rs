//! Records that were dead-lettered for want of their schema, and saved so. After a restart they may be read again, and by now their schema may be
//! known; they stay what they were, or they would count twice.

use std::collections::HashSet;

use theatre_actors::effect::DeadReason;
use theatre_actors::ports::{CheckpointStore, PartitionStatus, Result};
use theatre_actors::position::{Partition, TopicIndex};

/// Dead letters are looked through backwards in stretches of this many: they are in the log's order but for the topics side by side and the order of
/// saves, so before a stretch in which all lie below the floor there are none above it.
const STRETCH: u64 = 20_000;
const PAGE: u64 = 500;

/// By topic and offset, those at or above the floor.
pub(super) fn unknown_before(store: &dyn CheckpointStore, partition: Partition, status: &PartitionStatus) -> Result<HashSet<(TopicIndex, u64)>> {
    let mut found = HashSet::new();
    let mut end = status.last_dead;
    while end > 0 {
        let begin = end.saturating_sub(STRETCH);
        let (mut after, mut all_below) = (begin, true);
        while after < end {
            let page = store.dead_after(partition, after, PAGE.min(end - after) as usize)?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            for dead in page.iter().map(|stored| &stored.dead).filter(|dead| dead.offset >= status.floor.get(dead.topic)) {
                all_below = false;
                if dead.reason == DeadReason::UnknownSchema {
                    found.insert((dead.topic, dead.offset));
                }
            }
        }
        if all_below {
            break;
        }
        end = begin;
    }
    Ok(found)
}
