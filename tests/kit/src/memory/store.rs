//! A checkpoint store in memory. Every write checks first and changes then, so that a refused one
//! leaves nothing.

use std::sync::Mutex;

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    CheckpointStore, CommitOutcome, DeferredBatches, Epoch, Error, Expiry, Export, FileFilter,
    FileRevision, FileStage, LakeCut, LakeRegister, LoadBatch, OutputFilter, PartitionCommit,
    PartitionStatus, PastLayout, RegisteredFile, Repartition, Result, RowSelection, StoredDead,
    StoredOutput, StoredProcessor, StoredUndelivered, TableBatch, Undelivered,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::lock;
use super::tables::{MemoryTables, Row};

mod dead_letters;
mod pages;
mod state;

use state::{PartitionState, State, new_ids};

/// A store in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    tables: Mutex<MemoryTables>,
}

impl MemoryStore {
    /// The rows of the table of a kind.
    pub fn rows(&self, kind: OutputKind) -> Vec<Row> {
        lock(&self.tables).of(kind)
    }

    fn fenced<T>(
        &self,
        partition: Partition,
        epoch: Epoch,
        work: impl FnOnce(&mut PartitionState) -> T,
    ) -> Result<T> {
        let mut state = lock(&self.state);
        let current = state
            .partitions
            .get(&partition)
            .map_or(0, |state| state.status.epoch);
        match state.partitions.get_mut(&partition) {
            Some(known) if current == epoch => Ok(work(known)),
            _ => Err(Error::StaleEpoch {
                partition,
                ours: epoch,
                current,
            }),
        }
    }

    fn read<T: Default>(&self, partition: Partition, work: impl FnOnce(&PartitionState) -> T) -> T {
        lock(&self.state)
            .partitions
            .get(&partition)
            .map(work)
            .unwrap_or_default()
    }
}

impl LakeRegister for MemoryStore {
    fn revise_files(&self, revisions: &[FileRevision]) -> Result<()> {
        let mut state = lock(&self.state);
        for revision in revisions {
            let partition = revision.seen.partition;
            let known = state.partitions.get_mut(&partition);
            let present = known.and_then(|known| known.file(revision.seen.number).cloned());
            if !present.is_some_and(|present| revision.fits(&present)) {
                return Err(Error::overtaken(partition, "a change of a lake file"));
            }
        }
        for revision in revisions {
            let known = state.partitions.get_mut(&revision.seen.partition);
            if let Some(file) = known.and_then(|known| known.file(revision.seen.number)) {
                file.file = revision.file.clone();
            }
        }
        Ok(())
    }
}

impl CheckpointStore for MemoryStore {
    fn ensure_layout(&self, topics: &[String], partitions: u32) -> Result<()> {
        let mut state = lock(&self.state);
        if let Some((known, count)) = &state.layout
            && (!topics.starts_with(known) || *count != partitions)
        {
            return Err(Error::Refused(format!(
                "this store has {count} partitions of {}",
                known.join(", ")
            )));
        }
        state.layout = Some((topics.to_vec(), partitions));
        Ok(())
    }

    fn layout(&self) -> Result<Option<(Vec<String>, u32)>> {
        Ok(lock(&self.state).layout.clone())
    }

    fn past_layouts(&self) -> Result<Vec<PastLayout>> {
        Ok(lock(&self.state).past.clone())
    }

    fn repartition(&self, change: &Repartition) -> Result<()> {
        let mut state = lock(&self.state);
        let known = state.layout.as_ref().map_or(0, |(_, count)| *count);
        if known == change.partitions {
            return Ok(());
        }
        if known != change.ended.partitions || change.partitions < known {
            return Err(change.misfit(known));
        }
        state.check_repartition(change)?;
        state.past.push(change.ended.clone());
        if let Some((_, count)) = &mut state.layout {
            *count = change.partitions;
        }
        for partition in 0..change.partitions {
            state.partitions.entry(partition).or_default().status.epoch += 1;
        }
        for processor in &change.moves {
            state.rehome(processor);
        }
        for (partition, lake_state) in &change.lake_states {
            state.partitions.entry(*partition).or_default().lake_state = lake_state.clone();
        }
        let State {
            homes, partitions, ..
        } = &mut *state;
        homes.retain(|robot, _| {
            partitions
                .values()
                .any(|known| known.processors.contains_key(robot))
        });
        Ok(())
    }

    fn acquire(&self, partition: Partition) -> Result<Epoch> {
        let mut state = lock(&self.state);
        let status = &mut state.partitions.entry(partition).or_default().status;
        status.epoch += 1;
        Ok(status.epoch)
    }

    fn claim_homes(
        &self,
        partition: Partition,
        epoch: Epoch,
        robots: &[&str],
    ) -> Result<Vec<Partition>> {
        self.fenced(partition, epoch, |_| ())?;
        let homes = &mut lock(&self.state).homes;
        Ok(robots
            .iter()
            .map(|robot| *homes.entry((*robot).to_owned()).or_insert(partition))
            .collect())
    }

    fn status(&self, partition: Partition) -> Result<PartitionStatus> {
        Ok(self.read(partition, |state| state.status.clone()))
    }

    fn processors(&self, partition: Partition) -> Result<Vec<StoredProcessor>> {
        Ok(self.read(partition, |state| {
            state.processors.values().cloned().collect()
        }))
    }

    fn save_numbers(&self, partition: Partition) -> Result<Vec<(String, u64)>> {
        let number = |stored: &StoredProcessor| (stored.processor.clone(), stored.save_number);
        Ok(self.read(partition, |state| {
            state.processors.values().map(number).collect()
        }))
    }

    fn processor(&self, partition: Partition, processor: &str) -> Result<Option<StoredProcessor>> {
        Ok(self.read(partition, |state| state.processors.get(processor).cloned()))
    }

    fn commit(
        &self,
        commits: &[PartitionCommit],
        committed_at: LogTime,
    ) -> Result<Vec<CommitOutcome>> {
        let mut state = lock(&self.state);
        let ids = new_ids(&state, commits)?;
        state.output_ids.extend(ids);
        let mut outcomes = Vec::new();
        for commit in commits {
            let known = state.partitions.entry(commit.partition).or_default();
            if known.status.epoch != commit.epoch {
                outcomes.push(CommitOutcome::Stale {
                    current: known.status.epoch,
                });
                continue;
            }
            for save in &commit.processors {
                if known.is_new(save) {
                    known.save(commit.partition, save, committed_at);
                }
            }
            known.status.floor = known.status.floor.highest(&commit.floor);
            outcomes.push(CommitOutcome::Committed {
                last_output: known.status.last_output,
                last_dead: known.status.last_dead,
            });
        }
        Ok(outcomes)
    }

    fn outputs_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        Ok(self.read(partition, |state| {
            state.outputs_above(after).take(limit).cloned().collect()
        }))
    }

    fn outputs_of_kind_after(
        &self,
        partition: Partition,
        kind: OutputKind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        Ok(self.read(partition, |state| {
            let of_kind = |output: &&StoredOutput| output.output.kind == kind;
            let found = state.outputs_above(after).filter(of_kind);
            found.take(limit).cloned().collect()
        }))
    }

    fn dead_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredDead>> {
        Ok(self.read(partition, |state| {
            state
                .dead
                .iter()
                .skip(after as usize)
                .take(limit)
                .cloned()
                .collect()
        }))
    }

    fn advance_cursor(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        position: u64,
    ) -> Result<()> {
        self.fenced(partition, epoch, |state| {
            let cursors = &mut state.status.cursors;
            let noted = cursors.get(consumer);
            cursors.set(consumer, position.max(noted));
        })
    }

    fn set_aside(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        undelivered: &Undelivered,
    ) -> Result<()> {
        self.fenced(partition, epoch, |state| {
            let key = (consumer.to_owned(), undelivered.sequence);
            let noted = state.undelivered.entry(key);
            noted.or_insert_with(|| undelivered.clone());
            let cursors = &mut state.status.cursors;
            let position = cursors.get(consumer).max(undelivered.sequence);
            cursors.set(consumer, position);
        })
    }

    fn undelivered(&self, consumer: Option<&str>, limit: usize) -> Result<Vec<StoredUndelivered>> {
        let state = lock(&self.state);
        let mut found = Vec::new();
        for known in state.partitions.values() {
            for ((of, sequence), noted) in &known.undelivered {
                let output = known.outputs_above(sequence - 1).next();
                let output = output.filter(|output| output.sequence == *sequence);
                if let Some(output) = output
                    && consumer.is_none_or(|consumer| consumer == of)
                {
                    found.push(StoredUndelivered {
                        consumer: of.clone(),
                        reason: noted.reason.clone(),
                        at: noted.at,
                        output: output.clone(),
                    });
                }
            }
        }
        found.sort_by(|left, right| {
            let key = |noted: &StoredUndelivered| (noted.output.partition, noted.output.sequence);
            let consumers = left.consumer.cmp(&right.consumer);
            consumers.then_with(|| key(left).cmp(&key(right)))
        });
        if limit > 0 {
            found.truncate(limit);
        }
        Ok(found)
    }

    fn settle_undelivered(
        &self,
        partition: Partition,
        consumer: &str,
        sequence: u64,
    ) -> Result<bool> {
        let mut state = lock(&self.state);
        let known = state.partitions.get_mut(&partition);
        let key = (consumer.to_owned(), sequence);
        Ok(known.is_some_and(|known| known.undelivered.remove(&key).is_some()))
    }

    fn expire_outputs(&self, partition: Partition, epoch: Epoch, expiry: Expiry) -> Result<u64> {
        self.fenced(partition, epoch, |state| {
            let looked_at = state
                .outputs_above(expiry.after)
                .take_while(|output| output.sequence <= expiry.up_to)
                .take(expiry.limit);
            let reached = looked_at
                .filter(|output| output.committed_at < expiry.before)
                .last()
                .map_or(expiry.after, |output| output.sequence);
            let expired = |output: &StoredOutput| {
                output.sequence > expiry.after
                    && output.sequence <= reached
                    && output.committed_at < expiry.before
            };
            state
                .outputs
                .retain(|output| !output.output.kind.spec().expires || !expired(output));
            reached
        })
    }

    fn lake_state(&self, partition: Partition) -> Result<Vec<u8>> {
        Ok(self.read(partition, |state| state.lake_state.clone()))
    }

    fn commit_cut(&self, partition: Partition, epoch: Epoch, cut: &LakeCut) -> Result<()> {
        self.fenced(partition, epoch, |state| {
            if state.status.lake_cuts + 1 != cut.cut_number {
                return Err(Error::overtaken(partition, "a cut of the lake"));
            }
            state.status.lake_cuts = cut.cut_number;
            state.status.lake_positions = cut.positions.clone();
            state.lake_state = cut.state.clone();
            state.register(partition, &cut.files);
            Ok(())
        })?
    }

    fn commit_export(&self, partition: Partition, epoch: Epoch, export: &Export) -> Result<()> {
        self.fenced(partition, epoch, |state| {
            let cursors = &mut state.status.cursors;
            if cursors.get(&export.consumer) != export.after {
                return Err(Error::overtaken(partition, "an export of outputs"));
            }
            cursors.set(&export.consumer, export.up_to);
            state.register(partition, &export.files);
            Ok(())
        })?
    }

    fn row_count(&self, kind: OutputKind) -> Result<u64> {
        Ok(self.rows(kind).len() as u64)
    }

    fn meant_rows(&self, kind: OutputKind, rows: &RowSelection) -> Result<u64> {
        Ok(lock(&self.tables).meant(kind, rows, false))
    }

    fn erase_rows(&self, kind: OutputKind, rows: &RowSelection) -> Result<u64> {
        Ok(lock(&self.tables).meant(kind, rows, true))
    }

    fn commit_rows(&self, partition: Partition, epoch: Epoch, batch: &TableBatch) -> Result<()> {
        self.fenced(partition, epoch, |state| {
            let cursors = &mut state.status.cursors;
            if cursors.get(&batch.consumer) != batch.after {
                return Err(Error::overtaken(partition, "rows"));
            }
            cursors.set(&batch.consumer, batch.up_to);
            let mut tables = lock(&self.tables);
            batch.rows.iter().for_each(|rows| tables.write(rows));
            Ok(())
        })?
    }

    fn files(
        &self,
        partition: Partition,
        stage: FileStage,
        limit: usize,
    ) -> Result<Vec<RegisteredFile>> {
        Ok(self.read(partition, |state| {
            state
                .files
                .iter()
                .filter(|file| file.stage == stage)
                .take(limit)
                .cloned()
                .collect()
        }))
    }

    fn mark_completed(&self, partition: Partition, epoch: Epoch, numbers: &[u64]) -> Result<()> {
        self.fenced(partition, epoch, |state| {
            for number in numbers {
                if let Some(file) = state
                    .file(*number)
                    .filter(|file| file.stage == FileStage::Registered)
                {
                    file.stage = FileStage::Completed;
                }
            }
        })
    }

    fn mark_lost(&self, partition: Partition, epoch: Epoch, number: u64, note: &str) -> Result<()> {
        self.fenced(partition, epoch, |state| {
            if let Some(file) = state
                .file(number)
                .filter(|file| file.stage == FileStage::Registered)
            {
                (file.stage, file.note) = (FileStage::Lost, Some(note.to_owned()));
            }
        })
    }

    fn plan_load_beside(
        &self,
        partition: Partition,
        epoch: Epoch,
        max_files: usize,
        passed_over: &DeferredBatches,
    ) -> Result<Option<LoadBatch>> {
        self.fenced(partition, epoch, |state| {
            state.plan(partition, max_files, passed_over)
        })
    }

    fn mark_loaded(&self, partition: Partition, epoch: Epoch, batch: &str) -> Result<()> {
        self.fenced(partition, epoch, |state| {
            for number in state.of_batch(batch) {
                if let Some(file) = state.file(number) {
                    file.stage = FileStage::Loaded;
                }
            }
        })
    }

    fn split_load(
        &self,
        partition: Partition,
        epoch: Epoch,
        batch: &str,
        bad: &[(u64, String)],
    ) -> Result<()> {
        self.fenced(partition, epoch, |state| state.split(partition, batch, bad))
    }

    fn requeue_quarantined(&self) -> Result<u64> {
        let mut state = lock(&self.state);
        let mut put_back = 0;
        for file in state
            .partitions
            .values_mut()
            .flat_map(|known| &mut known.files)
        {
            let stage = match file.stage {
                FileStage::Quarantined => FileStage::Completed,
                FileStage::Lost => FileStage::Registered,
                _ => continue,
            };
            (file.stage, file.batch, file.note) = (stage, None, None);
            put_back += 1;
        }
        Ok(put_back)
    }

    fn find_outputs(&self, filter: &OutputFilter) -> Result<Vec<StoredOutput>> {
        let wanted = |stored: &&StoredOutput| {
            let output = &stored.output;
            filter.kind.is_none_or(|kind| kind == output.kind)
                && filter
                    .robot_id
                    .as_ref()
                    .is_none_or(|robot| *robot == output.robot_id)
                && filter.id.as_ref().is_none_or(|id| *id == output.id)
                && filter
                    .subject
                    .as_ref()
                    .is_none_or(|subject| *subject == output.subject)
                && filter.from.is_none_or(|from| output.event_time >= from)
                && filter.until.is_none_or(|until| output.event_time < until)
        };
        let state = lock(&self.state);
        let mut found: Vec<StoredOutput> = state
            .partitions
            .values()
            .flat_map(|known| &known.outputs)
            .filter(wanted)
            .cloned()
            .collect();
        if filter.limit > 0 {
            found.sort_by_key(|stored| {
                (
                    std::cmp::Reverse(stored.committed_at),
                    stored.partition,
                    std::cmp::Reverse(stored.sequence),
                )
            });
            found.truncate(filter.limit);
        }
        let order = |stored: &StoredOutput| {
            let output = &stored.output;
            (
                output.event_time,
                output.robot_id.clone(),
                output.kind,
                output.id.clone(),
                output.revision,
            )
        };
        found.sort_by_cached_key(order);
        Ok(found)
    }

    fn find_dead(&self, limit: usize) -> Result<Vec<StoredDead>> {
        let mut found: Vec<StoredDead> = lock(&self.state)
            .partitions
            .values()
            .flat_map(|known| &known.dead)
            .cloned()
            .collect();
        found.sort_by_key(|stored| (std::cmp::Reverse(stored.sequence), stored.partition));
        if limit > 0 {
            found.truncate(limit);
        }
        Ok(found)
    }

    fn find_files(&self, filter: &FileFilter) -> Result<Vec<RegisteredFile>> {
        let mut files = self.all_files()?;
        files.retain(|file| filter.takes(file));
        Ok(files)
    }

    fn all_files(&self) -> Result<Vec<RegisteredFile>> {
        Ok(lock(&self.state)
            .partitions
            .values()
            .flat_map(|known| &known.files)
            .cloned()
            .collect())
    }
}
