//! What is committed to the store, and how it is read back.

use serde::{Deserialize, Serialize};

use super::Epoch;
use crate::outputs::{DeadRow, OutputEvent};
use crate::position::{Partition, Positions};
use crate::time::LogTime;

/// One processor at one moment: its state, and all it concluded since its last save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessorSave {
    /// The robot's id; empty for the partition's intake processor (records that name no robot).
    pub processor: String,
    /// Number of this save of this processor, from 1. A save that is not newer than the stored one
    /// is already there and is skipped together with its outputs.
    pub save_number: u64,
    /// What the state has seen.
    pub positions: Positions,
    /// Encoded, versioned state.
    pub state: Vec<u8>,
    /// Outputs since the last save, in order.
    pub outputs: Vec<OutputEvent>,
    /// Dead letters since the last save, in order.
    pub dead: Vec<DeadRow>,
}

impl ProcessorSave {
    /// Rough size in bytes, for cutting commits.
    pub fn weight(&self) -> usize {
        let outputs: usize = self.outputs.iter().map(OutputEvent::weight).sum();
        let dead: usize = self.dead.iter().map(DeadRow::weight).sum();
        self.state.len() + outputs + dead + 64
    }
}

/// What one partition wants committed.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionCommit {
    /// The partition.
    pub partition: Partition,
    /// The epoch under which it is owned.
    pub epoch: Epoch,
    /// Processors to save.
    pub processors: Vec<ProcessorSave>,
    /// No processor needs a record below this any more once this commit is in. Never moves back.
    pub floor: Positions,
}

/// What became of one partition's part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Committed (or had been already).
    Committed {
        /// Highest output sequence number of the partition.
        last_output: u64,
        /// Highest dead-letter sequence number of the partition.
        last_dead: u64,
    },
    /// Refused, nothing of it was written: the partition has another owner.
    Stale {
        /// The epoch the store holds.
        current: Epoch,
    },
}

/// A stored processor.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredProcessor {
    /// The robot's id; empty for the intake processor.
    pub processor: String,
    /// Number of its last save.
    pub save_number: u64,
    /// What that save has seen.
    pub positions: Positions,
    /// Encoded state.
    pub state: Vec<u8>,
    /// When that save was committed; 0 where an earlier build has saved it, which did not say so.
    pub saved_at: LogTime,
}

/// A committed output.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredOutput {
    /// Its partition.
    pub partition: Partition,
    /// Its number within the partition: dense, from 1, in order of commit.
    pub sequence: u64,
    /// When it was committed.
    pub committed_at: LogTime,
    /// The output.
    pub output: OutputEvent,
}

/// A committed dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDead {
    /// Its partition.
    pub partition: Partition,
    /// Its number within the partition: dense, from 1.
    pub sequence: u64,
    /// The dead letter.
    pub dead: DeadRow,
    /// Since when its payload and detail are erased.
    pub purged_at: Option<LogTime>,
}

/// An output that a consumer could not deliver and has passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// Its number within the partition.
    pub sequence: u64,
    /// Why it was not delivered, in words.
    pub reason: String,
    /// When it was set aside.
    pub at: LogTime,
}

/// An undelivered output, as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredUndelivered {
    /// The consumer.
    pub consumer: String,
    /// Why it was not delivered, in words.
    pub reason: String,
    /// When it was set aside.
    pub at: LogTime,
    /// The output.
    pub output: StoredOutput,
}
