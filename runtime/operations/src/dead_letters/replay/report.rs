//! What a replay did or would do, and why it does not send a dead letter.

use std::collections::BTreeMap;

use serde::Serialize;
use theatre_actors::position::Partition;

/// Why a dead letter is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Purged,
    AlreadyReplayed,
    ReplayedTooOften,
    RecordGone,
    Unproven,
    OfRegistry,
}

impl Refusal {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Purged => "purged",
            Self::AlreadyReplayed => "already_replayed",
            Self::ReplayedTooOften => "replayed_too_often",
            Self::RecordGone => "record_gone",
            Self::Unproven => "unproven",
            Self::OfRegistry => "of_registry",
        }
    }

    pub(super) fn words(self, count: u32) -> String {
        match self {
            Self::Purged => "what it held is erased".to_owned(),
            Self::AlreadyReplayed => "its copy is in the log".to_owned(),
            Self::ReplayedTooOften => format!("its record was sent again {count} times already"),
            Self::RecordGone => {
                "its record is not in the log any more, and not whole in the dead letter".to_owned()
            }
            Self::Unproven => {
                "a replay of it was interrupted, and the log has lost the records since: whether the copy was appended cannot be proven"
                    .to_owned()
            }
            Self::OfRegistry => {
                "its topic keeps the latest entry of each key, and the copy would be later than a newer one: name it by partition and number if it is to be the latest"
                    .to_owned()
            }
        }
    }
}

/// A dead letter that was looked at, and what would become of it.
#[derive(Debug, Clone, Serialize)]
pub struct Letter {
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

/// What was done, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Dead letters that were meant and looked at.
    pub selected: u64,
    /// Records that were appended, or would be.
    pub sent: u64,
    /// Copies that an interrupted replay had appended, found in the log.
    pub found: u64,
    /// Dead letters that are not sent, by the reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Of a dry run: what would become of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub letters: Vec<Letter>,
}

impl Report {
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal.as_str()).or_default() += 1;
    }
}
