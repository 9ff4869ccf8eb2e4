//! Records that could not be applied, why, and what is counted of all that were read.

use serde::{Deserialize, Serialize};

use super::OVERHEAD;

/// Why a record was dead-lettered. The names are stored and published; never re-used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The frame is not one we know.
    BadFrame,
    /// The schema id is not known to any source.
    UnknownSchema,
    /// The bytes do not decode by the schema they name.
    Undecodable,
    /// Longer than the configured limit.
    TooLarge,
    /// No robot or no event time in it.
    Unroutable,
    /// Dated too far after its append time.
    Future,
    /// Behind the robot's clock by more than the allowed lateness. Counted as late, not as dead.
    Late,
    /// From a range of sequence numbers that was given up: may or may not be a duplicate.
    SequenceGivenUp,
    /// An actor panicked on it, twice.
    Poison,
    /// A value that its kind of event does not allow, such as an unknown procedure step.
    Invalid,
    /// Its robot is at home in another partition: written by a producer with another partitioner.
    WrongPartition,
}

impl DeadReason {
    /// The name used in tables, metrics and published records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::UnknownSchema => "unknown_schema",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
            Self::Unroutable => "unroutable",
            Self::Future => "future",
            Self::Late => "late",
            Self::SequenceGivenUp => "sequence_given_up",
            Self::Poison => "poison",
            Self::Invalid => "invalid",
            Self::WrongPartition => "wrong_partition",
        }
    }

    /// All reasons, in order of their stored index.
    pub const ALL: [DeadReason; 11] = [
        Self::BadFrame,
        Self::UnknownSchema,
        Self::Undecodable,
        Self::TooLarge,
        Self::Unroutable,
        Self::Future,
        Self::Late,
        Self::SequenceGivenUp,
        Self::Poison,
        Self::Invalid,
        Self::WrongPartition,
    ];
}

/// A record that could not be applied: where it stood and why. The intake adds the bytes, which
/// processors do not have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadRow {
    /// Input topic.
    pub topic: usize,
    /// Its offset.
    pub offset: u64,
    /// Its append time, microseconds UTC.
    pub append_time: i64,
    /// Why.
    pub reason: DeadReason,
    /// The same in words, without personal data.
    pub detail: String,
    /// The robot, where known.
    pub robot_id: Option<String>,
    /// Schema id, where known.
    pub schema_id: Option<u32>,
    /// Decodable rows: their columns as JSON (persons already pseudonymised). Others: their bytes,
    /// sealed.
    pub payload: Vec<u8>,
    /// True when `payload` is sealed bytes.
    pub sealed: bool,
    /// Length of the record's value in the log, bytes; 0 where only columns are at hand.
    pub size: u64,
    /// SHA-256 of the record's value in hex; empty where only columns are at hand.
    pub sha256: String,
}

impl DeadRow {
    /// The same without what may name persons or was in the record: its place, reason, robot and
    /// hash stay, by which it is accounted for.
    #[must_use]
    pub fn erased(mut self) -> Self {
        self.payload = Vec::new();
        self.detail = String::new();
        self
    }

    /// Rough size in memory and in a commit, bytes.
    pub fn weight(&self) -> usize {
        self.payload.len() + OVERHEAD
    }
}

/// What became of the records of one input topic, counted per processor. Sums to the records that
/// were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Applied to the state.
    pub applied: u64,
    /// Beyond the allowed lateness; dead-lettered with reason `late`.
    pub late: u64,
    /// Seen before; dropped.
    pub duplicate: u64,
    /// Dead-lettered for any other reason, by index in [`DeadReason::ALL`]; trailing zeros may be
    /// missing.
    pub dead: Vec<u64>,
}

impl Counters {
    /// Counts one dead-lettered record; `Late` goes to `late`.
    pub fn count_dead(&mut self, reason: DeadReason) {
        if reason == DeadReason::Late {
            self.late += 1;
            return;
        }
        let index = DeadReason::ALL
            .iter()
            .position(|other| *other == reason)
            .expect("ALL lists every reason");
        if self.dead.len() <= index {
            self.dead.resize(index + 1, 0);
        }
        self.dead[index] += 1;
    }

    /// All dead-lettered records but the late ones.
    pub fn dead_total(&self) -> u64 {
        self.dead.iter().sum()
    }

    /// Everything that was read.
    pub fn total(&self) -> u64 {
        self.applied + self.late + self.duplicate + self.dead_total()
    }

    /// What was counted since these counts were taken.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let counted = |(at, now): (usize, &u64)| {
            now.saturating_sub(before.dead.get(at).copied().unwrap_or(0))
        };
        Self {
            applied: self.applied.saturating_sub(before.applied),
            late: self.late.saturating_sub(before.late),
            duplicate: self.duplicate.saturating_sub(before.duplicate),
            dead: self.dead.iter().enumerate().map(counted).collect(),
        }
    }

    /// Adds another processor's counts.
    pub fn add(&mut self, other: &Self) {
        self.applied += other.applied;
        self.late += other.late;
        self.duplicate += other.duplicate;
        if self.dead.len() < other.dead.len() {
            self.dead.resize(other.dead.len(), 0);
        }
        for (mine, theirs) in self.dead.iter_mut().zip(&other.dead) {
            *mine += theirs;
        }
    }
}
