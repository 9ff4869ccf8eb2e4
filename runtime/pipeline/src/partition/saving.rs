//! What a partition has saved: which processors are due, their snapshots, and the outcome of the
//! commit under way, of which there is one at a time.

use theatre_actors::ports::{CommitOutcome, Error, PartitionCommit, ProcessorSave, Result};

use super::unsaved::Due;
use super::{INTAKE_SLOT, PartitionActor};

impl PartitionActor {
    /// Takes the outcome of the commit under way; true when it is committed.
    pub(super) fn take_outcome(&mut self) -> Result<bool> {
        match self.saves.outcome(self.partition).transpose()? {
            None => Ok(false),
            Some(CommitOutcome::Committed { .. }) => {
                let now = self.ports.clock.now();
                self.unsaved.committed(now);
                let floor = std::mem::take(&mut self.floor_under_way);
                self.progress.update(self.partition, |share| {
                    share.saved.positions = share.saved.positions.highest(&floor);
                    share.saved_at = now.0;
                });
                Ok(true)
            }
            Some(CommitOutcome::Stale { current }) => Err(Error::StaleEpoch {
                partition: self.partition,
                ours: self.epoch,
                current,
            }),
        }
    }

    /// Whether what is read is kept unsaved, however long: until the log has shown that this store
    /// is the one that it knows.
    pub fn hold_saves(&mut self, holds: bool) {
        self.holds_saves = holds;
    }

    /// Whether what is read is saved at once when nothing is left to read, instead of within the
    /// save interval.
    pub fn hurry(&mut self, hurries: bool) {
        self.hurries = hurries;
    }

    /// Submits the processors that are due, when no commit is under way.
    pub(super) fn submit(&mut self, everything: bool) -> bool {
        if self.unsaved.in_flight() && self.unsaved.is_urgent() {
            // It goes into the next commit, so the one that waits before it is urgent as well.
            self.saves.hasten(self.partition);
        }
        if self.holds_saves || self.unsaved.in_flight() {
            return false;
        }
        let now = self.ports.clock.now();
        let Due {
            slots: due,
            urgency,
        } = self.unsaved.due(now, everything);
        if due.is_empty() {
            return false;
        }
        let mut processors = Vec::new();
        let mut weight = 0;
        // Snapshots are taken eight at a time, and no more than fill a commit: those that are due
        // and not taken stay due for the next one.
        let mut due = due.into_iter().peekable();
        while weight < self.params.limits.commit_bytes && due.peek().is_some() {
            let batch: Vec<usize> = due.by_ref().take(8).collect();
            for save in self.snapshot(&batch) {
                weight += save.weight();
                processors.push(save);
            }
        }
        // After the snapshots: those of this commit hold no processor's floor back any more.
        let floor = self.unsaved.floor(&self.positions);
        self.floor_under_way = floor.clone();
        self.committed
            .submitting(self.partition, self.observed.submitting(), now);
        let commit = PartitionCommit {
            partition: self.partition,
            epoch: self.epoch,
            processors,
            floor,
        };
        self.saves.submit(commit, urgency);
        true
    }

    fn snapshot(&mut self, slots: &[usize]) -> Vec<ProcessorSave> {
        let mut saves = Vec::with_capacity(slots.len());
        if slots.contains(&INTAKE_SLOT) {
            let (state, positions) = (
                self.intake_processor.snapshot(),
                self.intake_processor.positions().clone(),
            );
            saves.push(self.unsaved.take_save(INTAKE_SLOT, state, positions));
        }
        let processors: Vec<usize> = slots
            .iter()
            .copied()
            .filter(|slot| *slot != INTAKE_SLOT)
            .collect();
        for (slot, snapshot) in self.host.save(&processors) {
            self.observed.saving(self.unsaved.take_cause(slot));
            let save = self
                .unsaved
                .take_save(slot, snapshot.state, snapshot.positions);
            saves.push(save);
        }
        saves
    }
}
