//! The caller, the pipeline and dead letters.

use schemars::JsonSchema;
use serde::Serialize;
use theatre_actors::ports::{DeadReplay, StoredDead};
use theatre_queries::PartitionState;

use super::Time;

/// Who the caller is.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Me {
    /// Id of its token, `oidc:` and the subject of an issuer's token, or `anonymous`.
    pub(crate) id: String,
    /// `viewer`, `operator`, `engineer` or `admin`.
    pub(crate) role: String,
    /// Whether it is limited to robots or facilities.
    pub(crate) is_limited: bool,
    /// The facilities that it is limited to; empty where it is not.
    pub(crate) facilities: Vec<String>,
    /// Role of callers without a token; absent: they are refused.
    pub(crate) anonymous: Option<String>,
    /// Version of this process.
    pub(crate) version: String,
    /// When this was so, by the clock of this process.
    pub(crate) as_of: Time,
}

/// Where partitions and files stand.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Pipeline {
    /// Input topics; lists by topic are in this order.
    pub(crate) topics: Vec<String>,
    /// The partitions.
    pub(crate) partitions: Vec<PipelinePartition>,
    /// Files of the lake by how far they have come.
    pub(crate) lake_files: Vec<LakeStage>,
    /// When the store was read.
    pub(crate) as_of: Time,
}

/// Where a partition stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PipelinePartition {
    /// Its number.
    pub(crate) partition: u32,
    /// How often it was taken; 0 if never.
    pub(crate) epoch: u64,
    /// By topic: where the log ends.
    pub(crate) log_end: Vec<u64>,
    /// By topic: no processor needs a record below this offset.
    pub(crate) saved_to: Vec<u64>,
    /// By topic: the lake has registered everything below this offset.
    pub(crate) lake_to: Vec<u64>,
    /// Number of the last committed output; 0 if there is none.
    pub(crate) outputs: u64,
    /// Outputs up to this number are published.
    pub(crate) relayed: u64,
    /// Outputs up to this number stand in registered lake files.
    pub(crate) exported: u64,
    /// Number of the last dead letter; 0 if there is none.
    pub(crate) dead: u64,
    /// Dead letters up to this number are published.
    pub(crate) dead_relayed: u64,
}

impl PipelinePartition {
    pub(crate) fn of(state: PartitionState, log_end: Vec<u64>) -> Self {
        Self {
            partition: state.partition,
            epoch: state.epoch,
            log_end,
            saved_to: state.saved_to,
            lake_to: state.lake_to,
            outputs: state.outputs,
            relayed: state.relayed,
            exported: state.exported,
            dead: state.dead,
            dead_relayed: state.dead_relayed,
        }
    }
}

/// Files of the lake in a stage.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LakeStage {
    /// `registered`, `completed`, `loaded`, `quarantined` or `lost`.
    pub(crate) stage: String,
    /// How many files.
    pub(crate) files: u64,
    /// Rows in them.
    pub(crate) rows: u64,
    /// Their length.
    pub(crate) bytes: u64,
}

/// A record that could not be applied. What was in it is not shown here.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeadLetter {
    /// Its partition.
    pub(crate) partition: u32,
    /// Its number within the partition, from 1.
    pub(crate) number: u64,
    /// Input topic of the record; absent for a topic that the store does not list.
    pub(crate) topic: Option<String>,
    /// Offset of the record.
    pub(crate) offset: u64,
    /// When the record was appended.
    pub(crate) appended_at: Time,
    /// Why the record could not be applied.
    pub(crate) reason: String,
    /// The robot, where known.
    pub(crate) robot_id: Option<String>,
    /// The reason in words, without personal data; `erased` once it was purged.
    pub(crate) detail: String,
    /// Schema id of the record, where known.
    pub(crate) schema_id: Option<u32>,
    /// Length of the record, bytes; 0 where only its columns were at hand.
    pub(crate) size_bytes: u64,
    /// Since when its content is erased.
    pub(crate) purged_at: Option<Time>,
    /// How often its record was sent again.
    pub(crate) replays: u32,
    /// When it was sent again last.
    pub(crate) replayed_at: Option<Time>,
}

impl DeadLetter {
    pub(crate) fn of(stored: StoredDead, topics: &[String], replay: Option<&DeadReplay>) -> Self {
        let dead = stored.dead;
        Self {
            partition: stored.partition,
            number: stored.sequence,
            topic: topics.get(dead.topic).cloned(),
            offset: dead.offset,
            appended_at: Time(dead.append_time),
            reason: dead.reason.as_str().to_owned(),
            robot_id: dead.robot_id,
            detail: match stored.purged_at {
                Some(_) => "erased".to_owned(),
                None => dead.detail,
            },
            schema_id: dead.schema_id,
            size_bytes: dead.size,
            purged_at: stored.purged_at.map(Time::from),
            replays: replay.map_or(0, |replay| replay.count),
            replayed_at: replay.map(|replay| replay.begun_at.into()),
        }
    }
}
