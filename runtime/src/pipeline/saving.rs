//! The saver: commits what partitions submit, many families and partitions in one transaction.
//!
//! One per process. A commit whose fate is unknown is repeated as it was: a save that is already there is skipped by its number.

use std::sync::Arc;
use std::time::Instant;

use theatre_actors::effect::FactKind;
use theatre_actors::ports::{PartitionCommit, Result};
use theatre_actors::time::LogTime;

use super::committed::Committed;
use super::progress::Progress;
use super::queue::SaveQueue;
use super::{PipelineParams, Ports, Step};

/// Commits from the save queue to the store.
pub struct Saver {
    ports: Ports,
    queue: Arc<SaveQueue>,
    committed: Arc<Committed>,
    progress: Arc<Progress>,
    /// Whether window revisions are published.
    windows: bool,
    /// Bytes of one transaction, over all partitions in it.
    commit_bytes: usize,
    under_way: Vec<PartitionCommit>,
    started_at: LogTime,
}

impl Saver {
    /// A saver from a queue to those who tell what is committed.
    pub fn new(params: &PipelineParams, ports: Ports, queue: Arc<SaveQueue>, committed: Arc<Committed>, progress: Arc<Progress>) -> Self {
        // A commit of several partitions may be twice as large as that of one.
        let commit_bytes = params.limits.commit_bytes * 2;
        Self { ports, queue, committed, progress, windows: params.window_topic.is_some(), commit_bytes, under_way: Vec::new(), started_at: LogTime(0) }
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
        let begun = Instant::now();
        let outcomes = self.ports.store.commit(&self.under_way, self.started_at).inspect_err(|_| self.progress.save_failed())?;
        if self.under_way.iter().flat_map(|commit| &commit.families).flat_map(|save| &save.facts).any(|fact| fact.kind == FactKind::Alert) {
            self.committed.commits.add(begun.elapsed());
        }
        let bytes: usize = self.under_way.iter().flat_map(|commit| &commit.families).map(|family| family.weight()).sum();
        self.progress.saved(self.started_at, self.ports.clock.now(), bytes);
        let partitions: Vec<_> = self.under_way.iter().map(|commit| commit.partition).collect();
        self.committed.note(self.under_way.drain(..).zip(outcomes.iter().cloned()), self.windows);
        self.queue.settle(partitions.into_iter().zip(outcomes));
        Ok(Step::Worked)
    }
}
