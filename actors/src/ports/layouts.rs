//! The layouts of a store: how many partitions it has and had, and the change of that number.

use serde::{Deserialize, Serialize};

use super::{Epoch, Error};
use crate::position::{Partition, Positions};

/// A partition count that the store had before a repartition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastLayout {
    /// Partitions it had.
    pub partitions: u32,
    /// Where each of them stood, by number: what lies below was processed while robots lived by
    /// this count, the rest afterwards.
    pub ended_at: Vec<Positions>,
}

/// A robot's processor on its way to another partition.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessorMove {
    /// The robot.
    pub robot: String,
    /// Where it is stored.
    pub from: Partition,
    /// Where it is to be.
    pub to: Partition,
    /// Where it begins to read there.
    pub positions: Positions,
    /// Its state, of which nothing but the positions has changed.
    pub state: Vec<u8>,
}

/// A change of the partition count.
#[derive(Debug, Clone, PartialEq)]
pub struct Repartition {
    /// The layout that ends; its count is the one that the store must have.
    pub ended: PastLayout,
    /// The new count, larger than the old one.
    pub partitions: u32,
    /// The epochs, by partition of the old layout, under which everything here was read.
    pub epochs: Vec<Epoch>,
    /// Processors that move.
    pub moves: Vec<ProcessorMove>,
    /// New duplicate-check states of lake writers, by partition of the new layout; partitions that
    /// are not named keep theirs.
    pub lake_states: Vec<(Partition, Vec<u8>)>,
}

impl Repartition {
    /// Why a store of `known` partitions cannot be changed so.
    pub fn misfit(&self, known: u32) -> Error {
        let (from, to) = (self.ended.partitions, self.partitions);
        Error::Refused(format!(
            "the store has {known} partitions, so it cannot be changed from {from} to {to}: look again with `theatre state show`"
        ))
    }

    /// The refusal of a move that does not find its processor.
    pub fn outdated(&self) -> Error {
        Error::Refused("processors that were to move are not where they were: another process has changed the store; stop it and repeat".to_owned())
    }
}
