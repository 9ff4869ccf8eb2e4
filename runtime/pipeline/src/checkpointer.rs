//! The checkpointer: commits what partitions submit, many processors and partitions in one
//! transaction.
//!
//! One per process. A commit whose fate is unknown is repeated as it was: a save that is already
//! there is skipped by its number. One that is refused is tried partition by partition, so that
//! only the partition with what cannot be stored stops.

use std::sync::Arc;
use std::time::Instant;

use theatre_actors::outputs::{OutputKind, OutputTopics};
use theatre_actors::ports::{CommitOutcome, Error, PartitionCommit, Result};
use theatre_actors::time::LogTime;

use super::commit_feed::CommitFeed;
use super::progress::Progress;
use super::queue::CommitQueue;
use super::{PipelineParams, Ports, Step};

/// Commits from the save queue to the store.
pub struct Checkpointer {
    ports: Ports,
    queue: Arc<CommitQueue>,
    committed: Arc<CommitFeed>,
    progress: Arc<Progress>,
    /// Topics of the kinds that are published.
    topics: OutputTopics,
    /// Bytes of one transaction, over all partitions in it.
    commit_bytes: usize,
    /// Transactions to make, the next one last.
    under_way: Vec<Vec<PartitionCommit>>,
    started_at: LogTime,
    /// How often the next of them has failed.
    failures: u32,
}

impl Checkpointer {
    /// A checkpointer that commits what is in `queue` and hands it on to `committed`.
    pub fn new(
        params: &PipelineParams,
        ports: Ports,
        queue: Arc<CommitQueue>,
        committed: Arc<CommitFeed>,
        progress: Arc<Progress>,
    ) -> Self {
        // A commit of several partitions may be twice as large as that of one.
        let commit_bytes = params.limits.commit_bytes * 2;
        Self {
            ports,
            queue,
            committed,
            progress,
            topics: params.output_topics.clone(),
            commit_bytes,
            under_way: Vec::new(),
            started_at: LogTime(0),
            failures: 0,
        }
    }

    /// Commits what waits. On an error the same commit is tried again at the next step.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub fn step(&mut self) -> Result<Step> {
        if self.under_way.is_empty() {
            self.under_way.extend(
                Some(self.queue.take(self.commit_bytes)).filter(|commits| !commits.is_empty()),
            );
            self.started_at = self.ports.clock.now();
        }
        let Some(commits) = self.under_way.last() else {
            return Ok(Step::Idle);
        };
        let begun = Instant::now();
        let committed = self
            .ports
            .store
            .commit(commits, self.started_at)
            .inspect_err(|_| self.progress.save_failed());
        if matches!(committed, Err(Error::Unavailable { .. })) {
            self.failures += 1;
            return committed.map(|_| Step::Idle);
        }
        let commits = self.under_way.pop().unwrap_or_default();
        let failures = std::mem::take(&mut self.failures);
        match committed {
            Ok(outcomes) => self.settle(commits, outcomes, begun, failures),
            Err(_) if commits.len() > 1 => self
                .under_way
                .extend(commits.into_iter().rev().map(|commit| vec![commit])),
            Err(error) => self.queue.settle(
                commits
                    .into_iter()
                    .map(|commit| commit.partition)
                    .zip([Err(error)]),
            ),
        }
        Ok(Step::Worked)
    }

    /// Hands committed outputs to the relays, and outcomes to the partitions.
    fn settle(
        &self,
        commits: Vec<PartitionCommit>,
        outcomes: Vec<CommitOutcome>,
        begun: Instant,
        failures: u32,
    ) {
        self.committed.all_commits.add(begun.elapsed());
        if commits
            .iter()
            .flat_map(|commit| &commit.processors)
            .flat_map(|save| &save.outputs)
            .any(|output| output.kind == OutputKind::Alert)
        {
            self.committed.commits.add(begun.elapsed());
        }
        let bytes: usize = commits
            .iter()
            .flat_map(|commit| &commit.processors)
            .map(|processor| processor.weight())
            .sum();
        let now = self.ports.clock.now();
        self.progress.saved(self.started_at, now, bytes);
        let partitions: Vec<_> = commits.iter().map(|commit| commit.partition).collect();
        self.committed.note(
            commits.into_iter().zip(outcomes.iter().cloned()),
            &self.topics,
            now,
            failures,
        );
        self.queue
            .settle(partitions.into_iter().zip(outcomes.into_iter().map(Ok)));
    }
}
