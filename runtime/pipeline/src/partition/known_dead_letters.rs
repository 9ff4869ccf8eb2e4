//! Records that became no row and were saved as dead letters. After a restart they may be read
//! again, and by now they may be readable: their schema is known, a limit was raised, a dataset
//! declared. They stay what they were, or they would count twice.

use std::collections::HashSet;

use theatre_actors::ports::{CheckpointStore, PartitionStatus, Result};
use theatre_actors::position::{Partition, TopicIndex};

/// Dead letters are looked through backwards in stretches of this many: they are in the log's order
/// but for the topics side by side and the order of saves, so before a stretch in which all lie
/// below the floor there are none above it.
const STRETCH: u64 = 20_000;
const PAGE: u64 = 500;

/// By topic and offset, those at or above the floor.
pub(super) fn before(
    store: &dyn CheckpointStore,
    partition: Partition,
    status: &PartitionStatus,
) -> Result<HashSet<(TopicIndex, u64)>> {
    let mut found = HashSet::new();
    let mut end = status.last_dead;
    while end > 0 {
        let begin = end.saturating_sub(STRETCH);
        let (mut after, mut all_below) = (begin, true);
        while after < end {
            let page = store.dead_after(partition, after, PAGE.min(end - after) as usize)?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            for dead in page
                .iter()
                .map(|stored| &stored.dead)
                .filter(|dead| dead.offset >= status.floor.get(dead.topic))
            {
                all_below = false;
                // Of a record that was a row its robot is known, and the robot's own state says
                // what became of it.
                if dead.robot_id.is_none() {
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

#[cfg(test)]
mod tests {
    use theatre_actors::outputs::{DeadReason, DeadRow};
    use theatre_actors::ports::{PartitionCommit, ProcessorSave};
    use theatre_actors::position::Positions;
    use theatre_actors::time::LogTime;

    use super::*;
    use theatre_testkit::memory::store::MemoryStore;

    fn dead(offset: u64, reason: DeadReason, robot: Option<&str>) -> DeadRow {
        let (detail, sha256) = (String::new(), String::new());
        DeadRow {
            topic: 0,
            offset,
            append_time: 0,
            reason,
            detail,
            robot_id: robot.map(str::to_owned),
            schema_id: None,
            payload: Vec::new(),
            sealed: false,
            size: 0,
            sha256,
        }
    }

    #[test]
    fn whatever_could_not_be_read_stays_a_dead_letter_while_it_may_be_read_again() {
        let store = MemoryStore::default();
        store.ensure_layout(&["a".to_owned()], 1).unwrap();
        let epoch = store.acquire(0).unwrap();
        let (none, robot) = (None, Some("r"));
        let dead = vec![
            dead(3, DeadReason::TooLarge, none),
            dead(5, DeadReason::TooLarge, none),
            dead(6, DeadReason::WrongPartition, robot),
            dead(7, DeadReason::Undecodable, none),
            dead(9, DeadReason::UnknownSchema, none),
        ];
        let intake = ProcessorSave {
            processor: String::new(),
            save_number: 1,
            positions: Positions::from(vec![10]),
            state: vec![1],
            outputs: Vec::new(),
            dead,
        };
        let commit = PartitionCommit {
            partition: 0,
            epoch,
            processors: vec![intake],
            floor: Positions::from(vec![4]),
        };
        store.commit(&[commit], LogTime(1)).unwrap();
        let known_dead_letters = before(&store, 0, &store.status(0).unwrap()).unwrap();
        assert_eq!(known_dead_letters, HashSet::from([(0, 5), (0, 7), (0, 9)]));
    }
}
