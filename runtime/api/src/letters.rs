//! Records of dead letters that are sent again. The work is the program's: the interface knows of no
//! pipeline.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use theatre_actors::ports::Result;
use theatre_actors::position::Partition;

/// Sends records of dead letters again to the topics that they came from.
pub trait LetterReplays: Send + Sync {
    /// What would become of these, by partition and number; nothing is changed. Blocks.
    ///
    /// # Errors
    /// When log or store do not answer, or another producer's transaction stays open.
    fn look(&self, letters: &[(Partition, u64)]) -> Result<LetterReport>;

    /// Sends them; says also after a failure what was done. Blocks. It can be repeated: what was
    /// sent is not sent again.
    fn send(&self, letters: &[(Partition, u64)]) -> (LetterReport, Result<()>);
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct LetterReport {
    /// Dead letters that were found and looked at.
    pub selected: u64,
    /// Records that were appended, or would be.
    pub sent: u64,
    /// Copies that an interrupted replay had appended, found in the log.
    pub found: u64,
    /// How many are not sent, by the reason: `purged`, `already_replayed`, `replayed_too_often`,
    /// `record_gone`, `unproven` or `of_registry`.
    pub refused: BTreeMap<&'static str, u64>,
    /// Of a dry run: what would become of each.
    pub letters: Vec<LetterFate>,
}

/// What would become of a dead letter.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LetterFate {
    /// Its partition.
    pub partition: Partition,
    /// Its number within the partition.
    pub number: u64,
    /// Input topic of its record.
    pub topic: Option<String>,
    /// Offset of its record.
    pub offset: u64,
    /// Why it died.
    pub reason: &'static str,
    /// How often its record was sent again before it died.
    pub replays: u32,
    /// The actor that it would go to, where that is known.
    pub robot_id: Option<String>,
    /// Where its bytes are from: `log` or `seal`.
    pub source: Option<&'static str>,
    /// The partition that it would go to.
    pub to_partition: Option<Partition>,
    /// `applies`, `duplicate`, the reason for which it would die again, `unknown`, or why it is not
    /// sent.
    pub fate: &'static str,
    /// The same in words.
    pub detail: String,
}
