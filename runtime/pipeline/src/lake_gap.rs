//! Where a partition's lake begins, and what it can never have.
//!
//! A lake begins with a cut that holds no file: every record from there on is to be in it. Should
//! the log lose such records before the lake has them, as when it was away or switched off for
//! longer than the log keeps them, its writer does not go on as if nothing were missing: it says so
//! until an operator lets it, with `theatre lake skip`.

use theatre_actors::ports::{
    CheckpointStore, Epoch, Error, EventLog, LakeCut, PartitionStatus, Result,
};
use theatre_actors::position::{Partition, Positions};

use super::{PipelineParams, Ports, intake};

/// Records that are in the log no more and in the lake not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGap {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: Partition,
    /// Offset of the first record that is gone.
    pub from: u64,
    /// Offset of the first that is there.
    pub to: u64,
}

/// Notes where the lake of a partition begins: with what the log has of topics that were never
/// read. To be called under a new epoch, before anything of the partition is saved.
///
/// # Errors
/// Errors of log and store.
pub fn begin(
    partition: Partition,
    epoch: Epoch,
    params: &PipelineParams,
    ports: &Ports,
) -> Result<()> {
    let status = ports.store.status(partition)?;
    let mut positions = status.lake_positions.clone();
    for (topic, name) in params.topics.iter().enumerate() {
        let unread =
            status.lake_cuts == 0 || status.floor.get(topic) == 0 && positions.get(topic) == 0;
        if unread {
            positions.advance(
                topic,
                ports
                    .log
                    .range(name, partition)?
                    .start
                    .max(positions.get(topic)),
            );
        }
    }
    if status.lake_cuts == 0 || positions != status.lake_positions {
        commit_empty_cut(&*ports.store, partition, epoch, &status, positions)?;
    }
    Ok(())
}

/// Where the writer goes on.
///
/// # Errors
/// `Refused`: records are gone. Others are those of the log.
pub(super) fn position(
    log: &dyn EventLog,
    topics: &[String],
    partition: Partition,
    status: &PartitionStatus,
) -> Result<Positions> {
    if status.lake_cuts == 0 {
        return intake::beginning(log, topics, partition, &status.lake_positions);
    }
    match holes(log, topics, partition, status)?.first() {
        None => Ok(status.lake_positions.clone()),
        Some(LogGap {
            topic, from, to, ..
        }) => Err(Error::Refused(format!(
            "topic '{topic}' partition {partition}: records from offset {from} to before {to} are gone from the log and were never in the lake; \
             `theatre lake skip` lets it go on without them"
        ))),
    }
}

/// What a partition's lake can never have.
///
/// # Errors
/// Errors of the log.
pub fn holes(
    log: &dyn EventLog,
    topics: &[String],
    partition: Partition,
    status: &PartitionStatus,
) -> Result<Vec<LogGap>> {
    let mut holes = Vec::new();
    for (topic, name) in topics.iter().enumerate().filter(|_| status.lake_cuts > 0) {
        let (from, to) = (
            status.lake_positions.get(topic),
            log.range(name, partition)?.start,
        );
        if from < to {
            holes.push(LogGap {
                topic: name.clone(),
                partition,
                from,
                to,
            });
        }
    }
    Ok(holes)
}

/// Lets a partition's lake go on behind what it can never have, which is returned. An owner that
/// runs loses the partition and takes it again.
///
/// # Errors
/// Errors of log and store.
pub fn skip(
    log: &dyn EventLog,
    store: &dyn CheckpointStore,
    topics: &[String],
    partition: Partition,
) -> Result<Vec<LogGap>> {
    if holes(log, topics, partition, &store.status(partition)?)?.is_empty() {
        return Ok(Vec::new());
    }
    let epoch = store.acquire(partition)?;
    // What the owner has written until it was fenced counts.
    let status = store.status(partition)?;
    let holes = holes(log, topics, partition, &status)?;
    let mut positions = status.lake_positions.clone();
    for hole in &holes {
        if let Some(topic) = topics.iter().position(|topic| *topic == hole.topic) {
            positions.advance(topic, hole.to);
        }
    }
    commit_empty_cut(store, partition, epoch, &status, positions)?;
    Ok(holes)
}

/// Moves the lake's position; its duplicate check stays as it is.
fn commit_empty_cut(
    store: &dyn CheckpointStore,
    partition: Partition,
    epoch: Epoch,
    status: &PartitionStatus,
    positions: Positions,
) -> Result<()> {
    let state = store.lake_state(partition)?;
    store.commit_cut(
        partition,
        epoch,
        &LakeCut {
            cut_number: status.lake_cuts + 1,
            positions,
            state,
            files: Vec::new(),
        },
    )
}
