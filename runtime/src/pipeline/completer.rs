//! The file completer: makes registered lake files visible. Completing twice is detected by the lake and does no harm.

use theatre_actors::ports::{Epoch, FileStage, Result};
use theatre_actors::position::Partition;

use super::{Ports, Step};

/// Files completed in one step.
const FILES_PER_STEP: usize = 64;

/// Completes the files of one partition.
pub struct Completer {
    partition: Partition,
    epoch: Epoch,
    ports: Ports,
}

impl Completer {
    /// A completer for a partition owned under `epoch`.
    pub fn new(partition: Partition, epoch: Epoch, ports: Ports) -> Self {
        Self { partition, epoch, ports }
    }

    /// Completes registered files and notes it; returns how many.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. `Unavailable`: step again.
    pub fn step(&mut self) -> Result<(Step, usize)> {
        let files = self.ports.store.files(self.partition, FileStage::Registered, FILES_PER_STEP)?;
        if files.is_empty() {
            return Ok((Step::Idle, 0));
        }
        for registered in &files {
            self.ports.lake.complete(&registered.file.path, &registered.file.upload)?;
            crate::telemetry::names::lake_file(&registered.file.dataset, registered.file.bytes, registered.file.rows);
        }
        let numbers: Vec<u64> = files.iter().map(|registered| registered.number).collect();
        self.ports.store.mark_completed(self.partition, self.epoch, &numbers)?;
        Ok((Step::Worked, files.len()))
    }
}
