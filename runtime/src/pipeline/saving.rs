//! The saver: commits what partitions submit, many families and partitions in one transaction.
//!
//! One per process. A commit whose fate is unknown is repeated as it was: a save that is already there is skipped by its number.

use std::sync::Arc;

use theatre_actors::ports::{PartitionCommit, Result};
use theatre_actors::time::LogTime;

use super::progress::Progress;
use super::queue::SaveQueue;
use super::{Ports, Step};

/// Commits from the save queue to the store.
pub struct Saver {
    ports: Ports,
    queue: Arc<SaveQueue>,
    progress: Arc<Progress>,
    /// Bytes of one transaction, over all partitions in it.
    commit_bytes: usize,
    under_way: Vec<PartitionCommit>,
    started_at: LogTime,
}

impl Saver {
    /// A saver over a queue.
    pub fn new(ports: Ports, queue: Arc<SaveQueue>, progress: Arc<Progress>, commit_bytes: usize) -> Self {
        Self { ports, queue, progress, commit_bytes, under_way: Vec::new(), started_at: LogTime(0) }
    }

    /// Commits what waits. On an error the same commit is tried again at the next step.
    pub fn step(&mut self) -> Result<Step> {
        if self.under_way.is_empty() {
            self.under_way = self.queue.take(self.commit_bytes);
            self.started_at = self.ports.clock.now();
        }
        if self.under_way.is_empty() {
            return Ok(Step::Idle);
        }
        let outcomes = self.ports.store.commit(&self.under_way, self.started_at).inspect_err(|_| self.progress.save_failed())?;
        let bytes: usize = self.under_way.iter().flat_map(|commit| &commit.families).map(|family| family.weight()).sum();
        self.progress.saved(self.started_at, self.ports.clock.now(), bytes);
        let partitions = self.under_way.drain(..).map(|commit| commit.partition);
        self.queue.settle(partitions.zip(outcomes));
        Ok(Step::Worked)
    }
}
