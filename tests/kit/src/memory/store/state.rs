//! What the store holds, and the changes of it that several calls share.

use std::collections::{BTreeMap, HashSet};

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    DeadReplay, DeferredBatches, Error, FileStage, LakeFile, LoadBatch, PartitionCommit,
    PartitionStatus, PastLayout, ProcessorMove, ProcessorSave, RegisteredFile, Repartition, Result,
    StoredDead, StoredOutput, StoredProcessor, Undelivered,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

pub(super) type OutputId = (OutputKind, String, u32);

#[derive(Default)]
pub(super) struct PartitionState {
    pub(super) status: PartitionStatus,
    pub(super) processors: BTreeMap<String, StoredProcessor>,
    pub(super) outputs: Vec<StoredOutput>,
    pub(super) dead: Vec<StoredDead>,
    /// By consumer and number of the output.
    pub(super) undelivered: BTreeMap<(String, u64), Undelivered>,
    pub(super) lake_state: Vec<u8>,
    pub(super) files: Vec<RegisteredFile>,
}

impl PartitionState {
    pub(super) fn outputs_above(&self, after: u64) -> impl Iterator<Item = &StoredOutput> {
        self.outputs[self
            .outputs
            .partition_point(|output| output.sequence <= after)..]
            .iter()
    }

    pub(super) fn is_new(&self, save: &ProcessorSave) -> bool {
        self.processors
            .get(&save.processor)
            .is_none_or(|stored| stored.save_number < save.save_number)
    }

    pub(super) fn save(
        &mut self,
        partition: Partition,
        save: &ProcessorSave,
        committed_at: LogTime,
    ) {
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

    pub(super) fn register(&mut self, partition: Partition, files: &[LakeFile]) {
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

    pub(super) fn of_batch(&self, batch: &str) -> Vec<u64> {
        let planned = self.files.iter().filter(|file| {
            file.stage == FileStage::Completed && file.batch.as_deref() == Some(batch)
        });
        planned.map(|file| file.number).collect()
    }

    pub(super) fn file(&mut self, number: u64) -> Option<&mut RegisteredFile> {
        self.files
            .get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Gives files a batch of their own, named by what is in it.
    pub(super) fn assign(&mut self, partition: Partition, numbers: &[u64]) {
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

    pub(super) fn plan(
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

    pub(super) fn split(&mut self, partition: Partition, batch: &str, bad: &[(u64, String)]) {
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
pub(super) struct State {
    pub(super) layout: Option<(Vec<String>, u32)>,
    pub(super) past: Vec<PastLayout>,
    pub(super) partitions: BTreeMap<Partition, PartitionState>,
    pub(super) output_ids: HashSet<OutputId>,
    pub(super) homes: BTreeMap<String, Partition>,
    /// By partition and number of the dead letter.
    pub(super) replays: BTreeMap<(Partition, u64), DeadReplay>,
}

impl State {
    /// Refuses a change that was made for an older state.
    pub(super) fn check_repartition(&self, change: &Repartition) -> Result<()> {
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

    pub(super) fn rehome(&mut self, processor: &ProcessorMove) {
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

/// The ids of all outputs that the commits would add; an error when one of them is there already.
pub(super) fn new_ids(state: &State, commits: &[PartitionCommit]) -> Result<HashSet<OutputId>> {
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
