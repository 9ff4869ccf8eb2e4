//! Lake files, dead letters, partitions.

use std::collections::BTreeMap;

use serde::Serialize;
use theatre_actors::ports::{CheckpointStore, EventLog, FileStage, Result, StoredDead};
use theatre_actors::position::{Partition, Positions};
use theatre_pipeline::lake_gap::{self, LogGap};
use theatre_pipeline::outbox;
use theatre_schemas::pseudonym::Pseudonyms;

/// A registered lake file.
#[derive(Debug, Clone, Serialize)]
pub struct LakeFileStatus {
    /// Path below the lake's root.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Rows that it had and that were erased.
    pub erased: u64,
    /// Its length.
    pub bytes: u64,
    /// How far it has come: `registered`, `completed`, `loaded`, `quarantined` or `lost`.
    pub stage: &'static str,
    /// Why it was set aside.
    pub note: Option<String>,
}

/// A dead letter in one line.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetterSummary {
    /// Its partition.
    pub partition: Partition,
    /// Its number within the partition, from 1.
    pub number: u64,
    /// Input topic of the record; `None` for a topic that the store does not list.
    pub topic: Option<String>,
    /// Offset of the record.
    pub offset: u64,
    /// Why the record could not be applied.
    pub reason: &'static str,
    /// The robot, where known.
    pub robot_id: Option<String>,
    /// The reason in words, without personal data; `erased` once it was purged.
    pub detail: String,
}

/// Where a partition stands.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionState {
    /// The partition.
    pub partition: Partition,
    /// Current epoch; 0 if it was never taken.
    pub epoch: u64,
    /// By topic: no processor needs a record below this offset.
    pub saved_to: Vec<u64>,
    /// By topic: the lake has registered everything below this offset.
    pub lake_to: Vec<u64>,
    /// Number of the last committed output; 0 if there is none.
    pub outputs: u64,
    /// Outputs up to this number are published.
    pub relayed: u64,
    /// Outputs up to this number stand in registered lake files.
    pub exported: u64,
    /// Number of the last dead letter; 0 if there is none.
    pub dead: u64,
    /// Dead letters up to this number are published.
    pub dead_relayed: u64,
    /// Every consumer of outputs or dead letters that has a position in the partition, by name:
    /// those above, and all others.
    pub consumers: BTreeMap<String, u64>,
}

/// All registered lake files.
///
/// # Errors
/// When the store cannot be read.
pub fn lake_files(store: &dyn CheckpointStore) -> Result<Vec<LakeFileStatus>> {
    let files = store.all_files()?.into_iter();
    Ok(files
        .map(|file| LakeFileStatus {
            rows: file.file.rows,
            erased: file.file.erased_rows(),
            path: file.file.path,
            bytes: file.file.bytes,
            stage: stage_name(file.stage),
            note: file.note,
        })
        .collect())
}

fn stage_name(stage: FileStage) -> &'static str {
    match stage {
        FileStage::Registered => "registered",
        FileStage::Completed => "completed",
        FileStage::Loaded => "loaded",
        FileStage::Quarantined => "quarantined",
        FileStage::Lost => "lost",
    }
}

/// Records that are gone from the log before the lake had them, over all partitions.
///
/// # Errors
/// When log or store cannot be read.
pub fn lake_gaps(log: &dyn EventLog, store: &dyn CheckpointStore) -> Result<Vec<LogGap>> {
    let (topics, partitions) = store.layout()?.unwrap_or_default();
    let mut gaps = Vec::new();
    for partition in 0..partitions {
        let status = store.status(partition)?;
        gaps.extend(lake_gap::holes(log, &topics, partition, &status)?);
    }
    Ok(gaps)
}

/// The newest `limit` dead letters (0: all).
///
/// # Errors
/// When the store cannot be read.
pub fn dead_letters(store: &dyn CheckpointStore, limit: usize) -> Result<Vec<DeadLetterSummary>> {
    let (topics, _) = store.layout()?.unwrap_or_default();
    let summary = |stored: StoredDead| DeadLetterSummary {
        partition: stored.partition,
        number: stored.sequence,
        topic: topics.get(stored.dead.topic).cloned(),
        offset: stored.dead.offset,
        reason: stored.dead.reason.as_str(),
        robot_id: stored.dead.robot_id,
        detail: match stored.purged_at {
            Some(_) => "erased".to_owned(),
            None => stored.dead.detail,
        },
    };
    Ok(store.find_dead(limit)?.into_iter().map(summary).collect())
}

/// One dead letter in full, its payload as it is stored; `None` if there is none of this number.
///
/// # Errors
/// When the store cannot be read.
pub fn dead_letter(
    store: &dyn CheckpointStore,
    partition: Partition,
    number: u64,
) -> Result<Option<StoredDead>> {
    let after = store.dead_after(partition, number.saturating_sub(1), 1)?;
    let mut after = after.into_iter();
    Ok(after.find(|stored| stored.sequence == number))
}

/// The bytes of a sealed payload in hex; `None` if it was sealed with another key. They may name
/// persons.
pub fn unsealed(payload: &[u8], pseudonyms: &Pseudonyms) -> Option<String> {
    let bytes = pseudonyms.unseal(payload)?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where every partition stands.
///
/// # Errors
/// When the store cannot be read.
pub fn partitions(store: &dyn CheckpointStore) -> Result<Vec<PartitionState>> {
    let (topics, partitions) = store.layout()?.unwrap_or_default();
    let by_topic = |positions: &Positions| -> Vec<u64> {
        (0..topics.len())
            .map(|topic| positions.get(topic))
            .collect()
    };
    let state = |partition| {
        let status = store.status(partition)?;
        Ok(PartitionState {
            partition,
            epoch: status.epoch,
            saved_to: by_topic(&status.floor),
            lake_to: by_topic(&status.lake_positions),
            outputs: status.last_output,
            relayed: status.cursors.get(&outbox::RELAY.name),
            exported: status.cursors.get(&outbox::EXPORTER.name),
            dead: status.last_dead,
            dead_relayed: status.cursors.get(&outbox::DEAD_LETTER_RELAY.name),
            consumers: outbox::positions(&status),
        })
    };
    (0..partitions).map(state).collect()
}
