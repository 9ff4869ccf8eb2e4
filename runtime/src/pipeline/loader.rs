//! The loader: brings completed lake files into the warehouse, a batch of one table at a time.
//!
//! The ledger row in the warehouse's own transaction is the proof of a load; the plan in the store is only the intent. A batch
//! of unknown fate is asked for and, if need be, loaded again under the same id. A refused batch is halved until the bad file
//! stands alone, which is then quarantined; the others load.

use theatre_actors::ports::{Epoch, Error, LoadBatch, Result};
use theatre_actors::position::Partition;

use super::{Ports, Step};

/// Loads the files of one partition.
pub struct Loader {
    partition: Partition,
    epoch: Epoch,
    ports: Ports,
    files_max: usize,
}

impl Loader {
    /// A loader for a partition owned under `epoch`; a batch has at most `files_max` files.
    pub fn new(partition: Partition, epoch: Epoch, ports: Ports, files_max: usize) -> Self {
        Self { partition, epoch, ports, files_max }
    }

    /// Loads one batch; returns its rows.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. `Unavailable`: step again.
    pub fn step(&mut self) -> Result<(Step, u64)> {
        let Some(batch) = self.ports.store.plan_load(self.partition, self.epoch, self.files_max)? else {
            return Ok((Step::Idle, 0));
        };
        let rows = match self.ports.warehouse.load(&batch, &*self.ports.lake) {
            Ok(receipt) => receipt.rows,
            Err(Error::Refused(why)) => return self.take_apart(&batch, &why),
            Err(error) => return Err(error),
        };
        self.ports.store.mark_loaded(self.partition, self.epoch, &batch.id)?;
        crate::telemetry::names::warehouse_loaded(&batch.dataset, rows);
        Ok((Step::Worked, rows))
    }

    fn take_apart(&self, batch: &LoadBatch, why: &str) -> Result<(Step, u64)> {
        let bad: Vec<(u64, String)> = match batch.files.as_slice() {
            [only] => vec![(only.number, why.to_owned())],
            _ => Vec::new(),
        };
        if let Some((number, _)) = bad.first() {
            tracing::error!(partition = self.partition, file = number, why, "a lake file is quarantined: the warehouse refuses it");
            crate::telemetry::names::warehouse_load_failed("refused");
        }
        self.ports.store.split_load(self.partition, self.epoch, &batch.id, &bad)?;
        Ok((Step::Worked, 0))
    }
}
