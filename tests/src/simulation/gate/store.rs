//! The store behind the gate: commits may come in late.

use std::ops::Range;
use std::sync::Arc;

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::*;
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::time::LogTime;

use super::bugs::{publish, spoil_versions, spoil_what_was_said};
use super::{Gate, Lanes, Late};
use crate::simulation::Bug;
use crate::simulation::pager;

pub(super) struct GatedStore {
    pub(super) inner: Arc<dyn CheckpointStore>,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) gate: Arc<Gate>,
    pub(super) late: Arc<Late>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) bug: Option<Bug>,
}

impl GatedStore {
    /// The epoch a call is made under: with the bug, whatever the store wants to hear.
    fn epoch(&self, partition: Partition, epoch: Epoch) -> Result<Epoch> {
        if self.bug == Some(Bug::NoFence) {
            Ok(self.inner.status(partition)?.epoch)
        } else {
            Ok(epoch)
        }
    }

    /// A look, which does not wait for what is being committed.
    fn look<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.gate.call(|| {
            if self.gate.roll() < self.gate.rate {
                self.late.land(&*self.inner);
            }
            work()
        })
    }

    /// A write that is never given up half way.
    fn write<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.gate.call(|| {
            self.late.land(&*self.inner);
            work()
        })
    }

    /// A write whose caller may give up while it is being committed.
    fn commit_late<T>(
        &self,
        work: impl FnOnce(&dyn CheckpointStore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.gate.call(|| {
            self.late.land(&*self.inner);
            if self.gate.roll() >= self.gate.late {
                return work(&*self.inner);
            }
            self.late.begin(Box::new(|store| drop(work(store))));
            Err(Error::Unavailable {
                what: "simulation",
                why: "not answered yet".to_owned(),
            })
        })
    }
}

impl DeadLetterStore for GatedStore {
    fn begin_dead_replays(&self, replays: &[DeadReplay]) -> Result<Vec<(Partition, u64)>> {
        self.gate.call(|| self.inner.begin_dead_replays(replays))
    }
    fn forget_dead_replays(&self, absent: &[(Partition, u64)]) -> Result<()> {
        self.gate.call(|| self.inner.forget_dead_replays(absent))
    }
    fn finish_dead_replays(&self, sent: &[(Partition, u64, u64)]) -> Result<()> {
        self.gate.call(|| self.inner.finish_dead_replays(sent))
    }
    fn dead_replays(&self, dead: &[(Partition, u64)]) -> Result<Vec<DeadReplay>> {
        self.gate.call(|| self.inner.dead_replays(dead))
    }
    fn dead_replays_in_doubt(&self) -> Result<Vec<DeadReplay>> {
        self.gate.call(|| self.inner.dead_replays_in_doubt())
    }
    fn dead_replays_at(&self, places: &[PlaceInLog]) -> Result<Vec<DeadReplay>> {
        self.gate.call(|| self.inner.dead_replays_at(places))
    }
    fn dead_replays_within(
        &self,
        topic: TopicIndex,
        to: Partition,
        offsets: Range<u64>,
    ) -> Result<Vec<DeadReplay>> {
        self.gate
            .call(|| self.inner.dead_replays_within(topic, to, offsets.clone()))
    }
    fn purge_dead(&self, dead: &[(Partition, u64)], at: LogTime) -> Result<u64> {
        self.gate.call(|| self.inner.purge_dead(dead, at))
    }
}

impl PageStore for GatedStore {
    fn time(&self) -> Result<Option<LogTime>> {
        self.gate.call(|| self.inner.time())
    }
    fn last_revisions(
        &self,
        kind: OutputKind,
        ids: &[String],
        seen: &[u64],
    ) -> Result<Vec<StoredOutput>> {
        self.gate
            .call(|| self.inner.last_revisions(kind, ids, seen))
    }
    fn of_subjects(
        &self,
        kind: OutputKind,
        after: Option<&str>,
        subjects: usize,
    ) -> Result<Vec<StoredOutput>> {
        self.gate
            .call(|| self.inner.of_subjects(kind, after, subjects))
    }
    fn last_outputs(&self) -> Result<Vec<u64>> {
        self.gate.call(|| self.inner.last_outputs())
    }
    fn output_page(&self, filter: &PageFilter) -> Result<OutputPage> {
        self.gate.call(|| self.inner.output_page(filter))
    }
    fn dead_page(&self, after: Option<(u64, Partition)>, limit: usize) -> Result<Vec<StoredDead>> {
        self.gate.call(|| self.inner.dead_page(after, limit))
    }
}

impl LakeRegister for GatedStore {
    fn revise_files(&self, revisions: &[FileRevision]) -> Result<()> {
        self.write(|| self.inner.revise_files(revisions))
    }
}

impl CheckpointStore for GatedStore {
    fn ensure_layout(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.gate
            .call(|| self.inner.ensure_layout(topics, partitions))
    }
    fn layout(&self) -> Result<Option<(Vec<String>, u32)>> {
        self.gate.call(|| self.inner.layout())
    }
    fn past_layouts(&self) -> Result<Vec<PastLayout>> {
        self.gate.call(|| self.inner.past_layouts())
    }
    fn repartition(&self, change: &Repartition) -> Result<()> {
        self.write(|| self.inner.repartition(change))
    }
    fn acquire(&self, partition: Partition) -> Result<Epoch> {
        self.write(|| self.inner.acquire(partition))
    }
    fn claim_homes(
        &self,
        partition: Partition,
        epoch: Epoch,
        robots: &[&str],
    ) -> Result<Vec<Partition>> {
        self.write(|| {
            self.inner
                .claim_homes(partition, self.epoch(partition, epoch)?, robots)
        })
    }
    fn status(&self, partition: Partition) -> Result<PartitionStatus> {
        self.look(|| self.inner.status(partition))
    }
    fn processors(&self, partition: Partition) -> Result<Vec<StoredProcessor>> {
        let found = self.look(|| self.inner.processors(partition))?;
        spoil_what_was_said(self.bug, &*self.log, found)
    }
    fn save_numbers(&self, partition: Partition) -> Result<Vec<(String, u64)>> {
        self.look(|| self.inner.save_numbers(partition))
    }
    fn processor(&self, partition: Partition, processor: &str) -> Result<Option<StoredProcessor>> {
        self.gate
            .call(|| self.inner.processor(partition, processor))
    }
    fn commit(
        &self,
        commits: &[PartitionCommit],
        committed_at: LogTime,
    ) -> Result<Vec<CommitOutcome>> {
        let mut commits = commits.to_vec();
        for commit in &mut commits {
            commit.epoch = self.epoch(commit.partition, commit.epoch)?;
            self.lanes.check(commit);
        }
        spoil_versions(self.bug, &mut commits);
        let (log, bug) = (self.log.clone(), self.bug);
        self.commit_late(move |store| {
            if bug == Some(Bug::PublishBeforeCommit) {
                publish(&*log, &commits)?;
            }
            store.commit(&commits, committed_at)
        })
    }
    fn outputs_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        self.look(|| self.inner.outputs_after(partition, after, limit))
    }
    fn outputs_of_kind_after(
        &self,
        partition: Partition,
        kind: OutputKind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        let found = self.look(|| {
            self.inner
                .outputs_of_kind_after(partition, kind, after, limit)
        })?;
        if self.bug == Some(Bug::NotesBeforeDelivery)
            && let Some(last) = found.last()
        {
            let epoch = self.inner.status(partition)?.epoch;
            self.inner
                .advance_cursor(partition, epoch, pager::NAME, last.sequence)?;
        }
        Ok(found)
    }
    fn dead_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredDead>> {
        self.gate
            .call(|| self.inner.dead_after(partition, after, limit))
    }
    fn advance_cursor(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        position: u64,
    ) -> Result<()> {
        let (epoch, consumer) = (self.epoch(partition, epoch)?, consumer.to_owned());
        self.commit_late(move |store| store.advance_cursor(partition, epoch, &consumer, position))
    }
    fn set_aside(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        undelivered: &Undelivered,
    ) -> Result<()> {
        let (epoch, consumer) = (self.epoch(partition, epoch)?, consumer.to_owned());
        let undelivered = undelivered.clone();
        self.commit_late(move |store| store.set_aside(partition, epoch, &consumer, &undelivered))
    }
    fn undelivered(&self, consumer: Option<&str>, limit: usize) -> Result<Vec<StoredUndelivered>> {
        self.gate.call(|| self.inner.undelivered(consumer, limit))
    }
    fn settle_undelivered(
        &self,
        partition: Partition,
        consumer: &str,
        sequence: u64,
    ) -> Result<bool> {
        self.gate
            .call(|| self.inner.settle_undelivered(partition, consumer, sequence))
    }
    fn expire_outputs(&self, partition: Partition, epoch: Epoch, expiry: Expiry) -> Result<u64> {
        let epoch = self.epoch(partition, epoch)?;
        self.commit_late(move |store| store.expire_outputs(partition, epoch, expiry))
    }
    fn lake_state(&self, partition: Partition) -> Result<Vec<u8>> {
        self.look(|| self.inner.lake_state(partition))
    }
    fn commit_cut(&self, partition: Partition, epoch: Epoch, cut: &LakeCut) -> Result<()> {
        let (epoch, cut) = (self.epoch(partition, epoch)?, cut.clone());
        self.commit_late(move |store| store.commit_cut(partition, epoch, &cut))
    }
    fn commit_export(&self, partition: Partition, epoch: Epoch, export: &Export) -> Result<()> {
        let (epoch, export) = (self.epoch(partition, epoch)?, export.clone());
        self.commit_late(move |store| store.commit_export(partition, epoch, &export))
    }
    fn row_count(&self, kind: OutputKind) -> Result<u64> {
        self.look(|| self.inner.row_count(kind))
    }
    fn commit_rows(&self, partition: Partition, epoch: Epoch, batch: &TableBatch) -> Result<()> {
        let (epoch, batch) = (self.epoch(partition, epoch)?, batch.clone());
        self.commit_late(move |store| store.commit_rows(partition, epoch, &batch))
    }
    fn files(
        &self,
        partition: Partition,
        stage: FileStage,
        limit: usize,
    ) -> Result<Vec<RegisteredFile>> {
        self.look(|| self.inner.files(partition, stage, limit))
    }
    fn mark_completed(&self, partition: Partition, epoch: Epoch, numbers: &[u64]) -> Result<()> {
        let (epoch, numbers) = (self.epoch(partition, epoch)?, numbers.to_vec());
        self.commit_late(move |store| store.mark_completed(partition, epoch, &numbers))
    }
    fn mark_lost(&self, partition: Partition, epoch: Epoch, number: u64, note: &str) -> Result<()> {
        let (epoch, note) = (self.epoch(partition, epoch)?, note.to_owned());
        self.commit_late(move |store| store.mark_lost(partition, epoch, number, &note))
    }
    fn plan_load_beside(
        &self,
        partition: Partition,
        epoch: Epoch,
        max_files: usize,
        passed_over: &DeferredBatches,
    ) -> Result<Option<LoadBatch>> {
        let (epoch, passed_over) = (self.epoch(partition, epoch)?, passed_over.clone());
        self.commit_late(move |store| {
            store.plan_load_beside(partition, epoch, max_files, &passed_over)
        })
    }
    fn mark_loaded(&self, partition: Partition, epoch: Epoch, batch: &str) -> Result<()> {
        let (epoch, batch) = (self.epoch(partition, epoch)?, batch.to_owned());
        self.commit_late(move |store| store.mark_loaded(partition, epoch, &batch))
    }
    fn split_load(
        &self,
        partition: Partition,
        epoch: Epoch,
        batch: &str,
        bad: &[(u64, String)],
    ) -> Result<()> {
        let (epoch, batch, bad) = (
            self.epoch(partition, epoch)?,
            batch.to_owned(),
            bad.to_vec(),
        );
        self.commit_late(move |store| store.split_load(partition, epoch, &batch, &bad))
    }
    fn requeue_quarantined(&self) -> Result<u64> {
        self.write(|| self.inner.requeue_quarantined())
    }
    fn find_outputs(&self, filter: &OutputFilter) -> Result<Vec<StoredOutput>> {
        self.gate.call(|| self.inner.find_outputs(filter))
    }
    fn find_dead(&self, limit: usize) -> Result<Vec<StoredDead>> {
        self.gate.call(|| self.inner.find_dead(limit))
    }
    fn find_files(&self, filter: &FileFilter) -> Result<Vec<RegisteredFile>> {
        self.gate.call(|| self.inner.find_files(filter))
    }
    fn all_files(&self) -> Result<Vec<RegisteredFile>> {
        self.gate.call(|| self.inner.all_files())
    }
}
