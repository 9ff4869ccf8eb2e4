//! The file completer: makes registered lake files visible. Completing twice is detected by the
//! lake and does no harm.
//!
//! A file whose upload is gone, such as one that a rule of the bucket ended during a long outage,
//! is set aside as lost: its rows are missing in the lake, `theatre lake list` says so, and the
//! files after it go on. One that is refused for another reason holds up no other either: it is
//! tried again when no other waits.

use std::collections::BTreeSet;

use theatre_actors::ports::{Epoch, Error, FileStage, RegisteredFile, Result};
use theatre_actors::position::Partition;

use super::{Ports, Step};
use theatre_telemetry::names;

/// Files completed in one step.
const FILES_PER_STEP: usize = 64;

/// What a step of the completer brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completed {
    /// Files that are visible now.
    pub files: u64,
    /// Files that were set aside: neither they nor their uploads are there.
    pub lost: u64,
}

impl Completed {
    /// Whether there was anything to do.
    pub fn step(self) -> Step {
        if self == Self::default() {
            Step::Idle
        } else {
            Step::Worked
        }
    }
}

/// Completes the files of one partition.
pub struct Completer {
    partition: Partition,
    epoch: Epoch,
    ports: Ports,
    /// Files that were refused when they were last tried.
    refused: BTreeSet<u64>,
}

impl Completer {
    /// A completer for a partition owned under `epoch`.
    pub fn new(partition: Partition, epoch: Epoch, ports: Ports) -> Self {
        Self {
            partition,
            epoch,
            ports,
            refused: BTreeSet::new(),
        }
    }

    /// Completes registered files and notes it.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. Others: step again; what could be done is done and
    /// noted.
    pub fn step(&mut self) -> Result<Completed> {
        let files = self.files()?;
        let mut done = Vec::new();
        let mut completed = Completed::default();
        let mut failed = None;
        for registered in &files {
            match self
                .ports
                .lake
                .complete(&registered.file.path, &registered.file.upload)
            {
                Ok(()) => done.push(registered.number),
                Err(Error::Gone(why)) => {
                    self.set_aside(registered, &why)?;
                    completed.lost += 1;
                }
                Err(error @ Error::Unavailable { .. }) => {
                    names::lake_upload_failed("complete");
                    failed = Some(error);
                    break;
                }
                Err(error) => {
                    names::lake_upload_failed("complete");
                    self.refused.insert(registered.number);
                    failed.get_or_insert(error);
                }
            }
        }
        if !done.is_empty() {
            self.ports
                .store
                .mark_completed(self.partition, self.epoch, &done)?;
        }
        for registered in files
            .iter()
            .filter(|registered| done.contains(&registered.number))
        {
            names::lake_file(
                &registered.file.dataset,
                registered.file.bytes,
                registered.file.rows,
            );
        }
        completed.files = done.len() as u64;
        // What was done is reported before the error: the next step fails again if this one did.
        failed
            .filter(|_| completed == Completed::default())
            .map_or(Ok(completed), Err)
    }

    /// What to try now.
    fn files(&mut self) -> Result<Vec<RegisteredFile>> {
        let mut files = self.ports.store.files(
            self.partition,
            FileStage::Registered,
            FILES_PER_STEP + self.refused.len(),
        )?;
        if files.iter().all(|file| self.refused.contains(&file.number)) {
            self.refused.clear();
        } else {
            files.retain(|file| !self.refused.contains(&file.number));
        }
        Ok(files)
    }

    fn set_aside(&self, registered: &RegisteredFile, why: &str) -> Result<()> {
        let RegisteredFile { number, file, .. } = registered;
        tracing::error!(
            partition = self.partition,
            file = number,
            rows = file.rows,
            why,
            "neither a registered lake file nor its upload is there: its rows are missing in the lake. `theatre lake requeue` has it looked for once more"
        );
        self.ports
            .store
            .mark_lost(self.partition, self.epoch, *number, why)?;
        names::lake_file_lost(&file.dataset);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use theatre_actors::ports::{CheckpointStore, Lake, LakeCut, LakeFile, LakeUpload};
    use theatre_actors::position::Positions;

    use super::*;
    use theatre_embedded::warehouse::EmbeddedWarehouse;
    use theatre_system::clock::SystemClock;
    use theatre_testkit::memory::lake::MemoryLake;
    use theatre_testkit::memory::log::MemoryLog;
    use theatre_testkit::memory::store::MemoryStore;

    #[test]
    fn a_file_whose_upload_is_gone_is_set_aside_and_the_others_are_completed() {
        let (store, lake, clock) = (
            Arc::new(MemoryStore::default()),
            Arc::new(MemoryLake::default()),
            Arc::new(SystemClock),
        );
        store.ensure_layout(&["a".to_owned()], 1).unwrap();
        let epoch = store.acquire(0).unwrap();
        let sealed = |path: &str| {
            lake.begin(path, &format!("p0-e{epoch}-{path}"))
                .and_then(LakeUpload::seal)
                .unwrap()
        };
        let file = |path: &str, upload: String| LakeFile {
            path: path.to_owned(),
            upload,
            dataset: "t".to_owned(),
            rows: 1,
            bytes: 0,
            event_time_min: 0,
            event_time_max: 0,
            erased: Vec::new(),
            erasing: Vec::new(),
        };
        let files = vec![
            file("gone", "ended by the bucket".to_owned()),
            file("there", sealed("there")),
        ];
        store
            .commit_cut(
                0,
                epoch,
                &LakeCut {
                    cut_number: 1,
                    positions: Positions::from(vec![5]),
                    state: Vec::new(),
                    files,
                },
            )
            .unwrap();
        let warehouse = Arc::new(EmbeddedWarehouse::in_memory().unwrap());
        let ports = Ports {
            log: Arc::new(MemoryLog::new(clock.clone())),
            store: store.clone(),
            lake,
            warehouse,
            clock,
        };
        let mut completer = Completer::new(0, epoch, ports);
        assert_eq!(completer.step(), Ok(Completed { files: 1, lost: 1 }));
        assert_eq!(completer.step(), Ok(Completed::default()));
        let stages: Vec<FileStage> = store
            .all_files()
            .unwrap()
            .iter()
            .map(|file| file.stage)
            .collect();
        assert_eq!(stages, [FileStage::Lost, FileStage::Completed]);
        assert!(
            store.all_files().unwrap()[0]
                .note
                .as_deref()
                .is_some_and(|note| note.contains("neither the file nor its upload"))
        );
    }
}
