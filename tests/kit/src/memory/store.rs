//! A checkpoint store in memory. Every write checks first and changes then, so that a refused one
//! leaves nothing.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Mutex;

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    CheckpointStore, CommitOutcome, DeadLetterStore, DeadReplay, DeferredBatches, Epoch, Error,
    Expiry, Export, FileFilter, FileRevision, FileStage, LakeCut, LakeFile, LakeRegister,
    LoadBatch, OutputFilter, PartitionCommit, PartitionStatus, PastLayout, PlaceInLog,
    ProcessorMove, ProcessorSave, RegisteredFile, Repartition, Result, StoredDead, StoredOutput,
    StoredProcessor, StoredUndelivered, TableBatch, Undelivered,
};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::time::LogTime;

use super::lock;
use super::tables::{MemoryTables, Row};

mod pages;

type OutputId = (OutputKind, String, u32);

#[derive(Default)]
struct PartitionState {
    status: PartitionStatus,
    processors: BTreeMap<String, StoredProcessor>,
    outputs: Vec<StoredOutput>,
    dead: Vec<StoredDead>,
    /// By consumer and number of the output.
    undelivered: BTreeMap<(String, u64), Undelivered>,
    lake_state: Vec<u8>,
    files: Vec<RegisteredFile>,
}

impl PartitionState {
    fn outputs_above(&self, after: u64) -> impl Iterator<Item = &StoredOutput> {
        self.outputs[self
            .outputs
            .partition_point(|output| output.sequence <= after)..]
            .iter()
    }

    fn is_new(&self, save: &ProcessorSave) -> bool {
        self.processors
            .get(&save.processor)
            .is_none_or(|stored| stored.save_number < save.save_number)
    }

    fn save(&mut self, partition: Partition, save: &ProcessorSave, committed_at: LogTime) {
        for output in &save.outputs {
            self.status.last_output += 1;
            self.outputs.push(StoredOutput {
                partition,
                sequence: self.status.last_output,
                committed_at,
                output: output.clone(),
            });
        }
        for dead in &save.dead {
            self.status.last_dead += 1;
            self.dead.push(StoredDead {
                partition,
                sequence: self.status.last_dead,
                dead: dead.clone(),
                purged_at: None,
            });
        }
        let ProcessorSave {
            processor,
            save_number,
            positions,
            state,
            ..
        } = save.clone();
        self.processors.insert(
            processor.clone(),
            StoredProcessor {
                processor,
                save_number,
                positions,
                state,
                saved_at: committed_at,
            },
        );
    }

    fn register(&mut self, partition: Partition, files: &[LakeFile]) {
        for file in files {
            let number = self.files.len() as u64 + 1;
            self.files.push(RegisteredFile {
                number,
                partition,
                file: file.clone(),
                stage: FileStage::Registered,
                batch: None,
                note: None,
            });
        }
    }

    fn of_batch(&self, batch: &str) -> Vec<u64> {
        let planned = self.files.iter().filter(|file| {
            file.stage == FileStage::Completed && file.batch.as_deref() == Some(batch)
        });
        planned.map(|file| file.number).collect()
    }

    fn file(&mut self, number: u64) -> Option<&mut RegisteredFile> {
        self.files
            .get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Gives files a batch of their own, named by what is in it.
    fn assign(&mut self, partition: Partition, numbers: &[u64]) {
        let Some(first) = numbers.first() else { return };
        let dataset = self
            .file(*first)
            .map(|file| file.file.dataset.clone())
            .unwrap_or_default();
        let batch = LoadBatch::id_of(&dataset, partition, numbers);
        for number in numbers {
            if let Some(file) = self.file(*number) {
                file.batch = Some(batch.clone());
            }
        }
    }

    fn plan(
        &mut self,
        partition: Partition,
        max_files: usize,
        passed_over: &DeferredBatches,
    ) -> Option<LoadBatch> {
        let completed = |file: &&RegisteredFile| file.stage == FileStage::Completed;
        let open = |file: &RegisteredFile| {
            file.batch
                .clone()
                .filter(|batch| !passed_over.batches.contains(batch))
        };
        if !self
            .files
            .iter()
            .filter(completed)
            .any(|file| open(file).is_some())
        {
            let free = |file: &&RegisteredFile| {
                completed(file)
                    && file.batch.is_none()
                    && !passed_over.datasets.contains(&file.file.dataset)
            };
            let dataset = self.files.iter().find(free)?.file.dataset.clone();
            let chosen = self
                .files
                .iter()
                .filter(free)
                .filter(|file| file.file.dataset == dataset)
                .take(max_files.max(1));
            let chosen: Vec<u64> = chosen.map(|file| file.number).collect();
            self.assign(partition, &chosen);
        }
        let id = self.files.iter().filter(completed).find_map(open)?;
        let files: Vec<RegisteredFile> = self
            .files
            .iter()
            .filter(completed)
            .filter(|file| file.batch.as_ref() == Some(&id))
            .cloned()
            .collect();
        Some(LoadBatch {
            dataset: files.first()?.file.dataset.clone(),
            id,
            partition,
            files,
        })
    }

    fn split(&mut self, partition: Partition, batch: &str, bad: &[(u64, String)]) {
        for (number, note) in bad {
            if let Some(file) = self
                .file(*number)
                .filter(|file| file.batch.as_deref() == Some(batch))
            {
                (file.stage, file.batch, file.note) =
                    (FileStage::Quarantined, None, Some(note.clone()));
            }
        }
        let numbers = self.of_batch(batch);
        for number in &numbers {
            if let Some(file) = self.file(*number) {
                file.batch = None;
            }
        }
        if bad.is_empty() && numbers.len() > 1 {
            let (earlier, later) = numbers.split_at(numbers.len() / 2);
            self.assign(partition, earlier);
            self.assign(partition, later);
        }
    }
}

#[derive(Default)]
struct State {
    layout: Option<(Vec<String>, u32)>,
    past: Vec<PastLayout>,
    partitions: BTreeMap<Partition, PartitionState>,
    output_ids: HashSet<OutputId>,
    homes: BTreeMap<String, Partition>,
    /// By partition and number of the dead letter.
    replays: BTreeMap<(Partition, u64), DeadReplay>,
}

impl State {
    /// Refuses a change that was made for an older state.
    fn check_repartition(&self, change: &Repartition) -> Result<()> {
        for (partition, ours) in (0..).zip(&change.epochs) {
            let current = self
                .partitions
                .get(&partition)
                .map_or(0, |known| known.status.epoch);
            if current != *ours {
                return Err(Error::StaleEpoch {
                    partition,
                    ours: *ours,
                    current,
                });
            }
        }
        let there = |partition, robot: &String| {
            self.partitions
                .get(&partition)
                .is_some_and(|known| known.processors.contains_key(robot))
        };
        let fits = |processor: &ProcessorMove| {
            there(processor.from, &processor.robot) && !there(processor.to, &processor.robot)
        };
        if change.moves.iter().all(fits) {
            Ok(())
        } else {
            Err(change.outdated())
        }
    }

    fn rehome(&mut self, processor: &ProcessorMove) {
        let ProcessorMove {
            robot,
            from,
            to,
            positions,
            state,
        } = processor.clone();
        let taken = self
            .partitions
            .get_mut(&from)
            .and_then(|known| known.processors.remove(&robot));
        if let Some(taken) = taken {
            self.partitions.entry(to).or_default().processors.insert(
                robot.clone(),
                StoredProcessor {
                    positions,
                    state,
                    ..taken
                },
            );
            self.homes.insert(robot, to);
        }
    }
}

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

/// The ids of all outputs that the commits would add; an error when one of them is there already.
fn new_ids(state: &State, commits: &[PartitionCommit]) -> Result<HashSet<OutputId>> {
    let mut ids = HashSet::new();
    for commit in commits {
        let Some(known) = state
            .partitions
            .get(&commit.partition)
            .filter(|known| known.status.epoch == commit.epoch)
        else {
            continue;
        };
        for output in commit
            .processors
            .iter()
            .filter(|save| known.is_new(save))
            .flat_map(|save| &save.outputs)
        {
            let id = (output.kind, output.id.clone(), output.revision);
            if state.output_ids.contains(&id) || !ids.insert(id) {
                return Err(Error::Refused(format!(
                    "output {:?} '{}' revision {} is there already",
                    output.kind, output.id, output.revision
                )));
            }
        }
    }
    Ok(ids)
}

impl MemoryStore {
    fn replays(&self, is_asked: impl Fn(&DeadReplay) -> bool) -> Vec<DeadReplay> {
        let state = lock(&self.state);
        let found = state.replays.values().filter(|replay| is_asked(replay));
        found.cloned().collect()
    }
}

impl DeadLetterStore for MemoryStore {
    fn begin_dead_replays(&self, replays: &[DeadReplay]) -> Result<Vec<(Partition, u64)>> {
        let mut state = lock(&self.state);
        let mut begun = state.replays.clone();
        let mut erased = Vec::new();
        let is_erased = |key: (Partition, u64)| {
            let known = state.partitions.get(&key.0);
            let mut dead = known.into_iter().flat_map(|known| &known.dead);
            dead.any(|stored| stored.sequence == key.1 && stored.purged_at.is_some())
        };
        for replay in replays {
            let key = (replay.partition, replay.sequence);
            if is_erased(key) {
                erased.push(key);
                continue;
            }
            if begun.insert(key, replay.clone()).is_some() {
                let what = "the replay of a dead letter";
                return Err(Error::overtaken(replay.partition, what));
            }
        }
        state.replays = begun;
        Ok(erased)
    }

    fn forget_dead_replays(&self, absent: &[(Partition, u64)]) -> Result<()> {
        let is_kept = |key: &(Partition, u64), it: &mut DeadReplay| {
            it.offset.is_some() || !absent.contains(key)
        };
        lock(&self.state).replays.retain(is_kept);
        Ok(())
    }

    fn finish_dead_replays(&self, sent: &[(Partition, u64, u64)]) -> Result<()> {
        let mut state = lock(&self.state);
        for (partition, sequence, offset) in sent {
            if let Some(replay) = state.replays.get_mut(&(*partition, *sequence)) {
                replay.offset = Some(*offset);
            }
        }
        Ok(())
    }

    fn dead_replays(&self, dead: &[(Partition, u64)]) -> Result<Vec<DeadReplay>> {
        let is_asked = |it: &DeadReplay| dead.contains(&(it.partition, it.sequence));
        Ok(self.replays(is_asked))
    }

    fn dead_replays_in_doubt(&self) -> Result<Vec<DeadReplay>> {
        Ok(self.replays(|it| it.offset.is_none()))
    }

    fn dead_replays_at(&self, places: &[PlaceInLog]) -> Result<Vec<DeadReplay>> {
        let place = |it: &DeadReplay| it.offset.map(|offset| (it.topic, it.to, offset));
        Ok(self.replays(|it| place(it).is_some_and(|place| places.contains(&place))))
    }

    fn dead_replays_within(
        &self,
        topic: TopicIndex,
        to: Partition,
        offsets: Range<u64>,
    ) -> Result<Vec<DeadReplay>> {
        let is_within = |it: &DeadReplay| {
            (it.topic, it.to) == (topic, to) && it.offset.is_some_and(|at| offsets.contains(&at))
        };
        let mut found = self.replays(is_within);
        found.sort_by_key(|replay| replay.offset);
        Ok(found)
    }

    fn purge_dead(&self, dead: &[(Partition, u64)], at: LogTime) -> Result<u64> {
        let mut state = lock(&self.state);
        let all = (state.partitions.values_mut()).flat_map(|known| &mut known.dead);
        let wanted = all.filter(|stored| {
            stored.purged_at.is_none() && dead.contains(&(stored.partition, stored.sequence))
        });
        let erase = |stored: &mut StoredDead| {
            stored.dead = stored.dead.clone().erased();
            stored.purged_at = Some(at);
        };
        Ok(wanted.map(erase).count() as u64)
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
