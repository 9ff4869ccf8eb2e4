//! What moves where.

use theatre_actors::ports::{
    CheckpointStore, Error, PartitionStatus, PastLayout, ProcessorMove, Repartition, Result,
};
use theatre_actors::position::Partition;
use theatre_actors::processor::Processor;

use theatre_pipeline::actor_keys::ActorKeys;
use theatre_pipeline::trackers::{self, Trackers};

/// So many robots that are elsewhere than they should be are named.
const NAMED: usize = 5;

/// What the store is to do.
pub(super) struct Plan {
    pub(super) change: Repartition,
    /// Robots in all.
    pub(super) robots: u64,
}

/// Reads the store and finds out.
pub(super) fn make(
    store: &dyn CheckpointStore,
    keys: &ActorKeys,
    before: u32,
    after: u32,
) -> Result<Plan> {
    let status: Vec<PartitionStatus> = (0..after)
        .map(|partition| store.status(partition))
        .collect::<Result<_>>()?;
    let (mut moves, mut robots, mut elsewhere) = (Vec::new(), 0, Vec::new());
    for partition in 0..before {
        // The intake processor is the partition's own.
        for stored in store
            .processors(partition)?
            .into_iter()
            .filter(|stored| !stored.processor.is_empty())
        {
            robots += 1;
            if keys.partition(&stored.processor, before) != partition {
                elsewhere.push((stored.processor, partition));
                continue;
            }
            let to = keys.partition(&stored.processor, after);
            if to == partition {
                continue;
            }
            let positions = status[to as usize].floor.clone();
            let unreadable = |error| {
                Error::Refused(format!(
                    "the state of robot '{}' in partition {partition} cannot be read: {error}",
                    stored.processor
                ))
            };
            let state = Processor::moved(&stored.state, &positions).map_err(unreadable)?;
            moves.push(ProcessorMove {
                robot: stored.processor,
                from: partition,
                to,
                positions,
                state,
            });
        }
    }
    if !elsewhere.is_empty() {
        return Err(misplaced(&elsewhere, keys, before, after));
    }
    let old = &status[..before as usize];
    let ended = PastLayout {
        partitions: before,
        ended_at: old.iter().map(|status| status.floor.clone()).collect(),
    };
    let epochs = old.iter().map(|status| status.epoch).collect();
    Ok(Plan {
        change: Repartition {
            ended,
            partitions: after,
            epochs,
            moves,
            lake_states: lake_states(store, keys, before, after)?,
        },
        robots,
    })
}

/// States of the lake writers whose robots come or go.
fn lake_states(
    store: &dyn CheckpointStore,
    keys: &ActorKeys,
    before: u32,
    after: u32,
) -> Result<Vec<(Partition, Vec<u8>)>> {
    let read = |partition| Trackers::decode(partition, &store.lake_state(partition)?);
    let old: Vec<Trackers> = (0..before).map(read).collect::<Result<_>>()?;
    let new = trackers::rehome(old.clone(), after, keys);
    let nothing = Trackers::default();
    let changed = (0..)
        .zip(&new)
        .filter(|(partition, new)| old.get(*partition as usize).unwrap_or(&nothing) != *new);
    Ok(changed
        .map(|(partition, new)| (partition, new.encode()))
        .collect())
}

fn misplaced(
    elsewhere: &[(String, Partition)],
    keys: &ActorKeys,
    before: u32,
    after: u32,
) -> Error {
    let named = |(robot, partition): &(String, Partition)| {
        format!(
            "'{robot}' in partition {partition} instead of {}",
            keys.partition(robot, before)
        )
    };
    let names: Vec<String> = elsewhere.iter().take(NAMED).map(named).collect();
    Error::Refused(format!(
        "{} robots are not in the partition that Kafka's murmur2 gives their names: {}. Their producer uses another partitioner, or another key than the robot's id, so it is not known where \
         it will write among {after} partitions: they cannot be moved, and nothing was changed",
        elsewhere.len(),
        names.join(", ")
    ))
}
