//! The loader: brings completed lake files into the warehouse, a batch of one table at a time.
//!
//! The ledger row in the warehouse's own transaction is the proof of a load; the plan in the store
//! is only the intent. A batch of unknown fate is asked for and, if need be, loaded again under the
//! same id. A refused batch is halved until the bad file stands alone, which is then quarantined;
//! the others load.
//!
//! A batch that fails for a reason not known to lie in its files keeps them: it may have been
//! loaded, or be about to be by an older owner, and halves beside the whole would be there twice.
//! It is stuck. Others go ahead of it, those of other datasets first, and it is tried again. Where
//! the warehouse refuses it for good, such as for a missing right, a command that waits for it
//! ends.

use theatre_actors::ports::{DeferredBatches, Epoch, Error, LoadBatch, LoadReceipt, Result};
use theatre_actors::position::Partition;

use super::{Ports, Step};
use theatre_telemetry::names;

#[cfg(test)]
mod tests;

/// So many batches of a dataset fail before no more of its files are planned: then it is not the
/// batches that are odd.
const STUCK_MAX: usize = 4;
/// So many loads go ahead of what is stuck before that is tried again: few at first, for most
/// faults pass with the outage that made them, then twice as many after each time that it failed.
const AHEAD_MIN: u32 = 4;
const AHEAD_MAX: u32 = 16;

/// A batch that could not be loaded.
#[derive(Debug)]
struct Stuck {
    batch: String,
    dataset: String,
    why: String,
    /// Others go first.
    deferred: bool,
}

/// Loads the files of one partition.
pub struct Loader {
    partition: Partition,
    epoch: Epoch,
    ports: Ports,
    files_max: usize,
    /// In the order in which they failed first.
    stuck: Vec<Stuck>,
    /// Loads since the last failure.
    ahead: u32,
    /// How many of them go ahead of what is stuck.
    ahead_max: u32,
}

impl Loader {
    /// A loader for a partition owned under `epoch`; a batch has at most `files_max` files.
    pub fn new(partition: Partition, epoch: Epoch, ports: Ports, files_max: usize) -> Self {
        Self {
            partition,
            epoch,
            ports,
            files_max,
            stuck: Vec::new(),
            ahead: 0,
            ahead_max: AHEAD_MIN,
        }
    }

    /// Loads one batch; returns its rows.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. Others: step again; another batch may be next.
    pub fn step(&mut self) -> Result<(Step, u64)> {
        let Some(batch) = self.plan()? else {
            return Ok((Step::Idle, 0));
        };
        let begun = self.ports.clock.now();
        let loaded = self
            .ports
            .warehouse
            .load(&batch, &*self.ports.lake)
            .and_then(|receipt| rows_of(&batch, &receipt));
        let rows = match loaded {
            Ok(rows) => rows,
            Err(Error::BadFile(why)) => return self.split(&batch, &why),
            Err(error) => {
                names::warehouse_load_failed(class_of(&error));
                self.skip_ahead(batch, &error);
                return Err(error);
            }
        };
        let seconds = self.ports.clock.now().seconds_since(begun);
        self.succeeded(&batch);
        self.ports
            .store
            .mark_loaded(self.partition, self.epoch, &batch.id)?;
        names::warehouse_loaded(&batch.dataset, rows, seconds);
        Ok((Step::Worked, rows))
    }

    /// Which batches wait because they cannot be loaded, and why the first of them cannot.
    pub fn stuck(&self) -> Option<String> {
        let first = self.stuck.first()?;
        let count = self.stuck.len();
        Some(format!(
            "{count} batches cannot be loaded and are tried again, such as '{}' of {}: {}",
            first.batch, first.dataset, first.why
        ))
    }

    /// The batch to load next: what others have first, then what else the datasets have of which a
    /// batch is stuck, then what is stuck.
    fn plan(&mut self) -> Result<Option<LoadBatch>> {
        if self.ahead < self.ahead_max && !self.stuck.is_empty() {
            for stuck_max in [1, STUCK_MAX] {
                let planned = self.planned(&self.deferred(stuck_max))?;
                if planned.is_some() {
                    return Ok(planned);
                }
            }
        }
        self.ahead = 0;
        for stuck in &mut self.stuck {
            stuck.deferred = false;
        }
        self.planned(&self.deferred(STUCK_MAX))
    }

    fn planned(&self, deferred: &DeferredBatches) -> Result<Option<LoadBatch>> {
        self.ports
            .store
            .plan_load_beside(self.partition, self.epoch, self.files_max, deferred)
    }

    /// The batches whose turn it is not, and the datasets of which so many are stuck.
    fn deferred(&self, stuck_max: usize) -> DeferredBatches {
        let batches = self
            .stuck
            .iter()
            .filter(|stuck| stuck.deferred)
            .map(|stuck| stuck.batch.clone())
            .collect();
        let of = |dataset: &str| {
            self.stuck
                .iter()
                .filter(|stuck| stuck.dataset == dataset)
                .count()
        };
        let datasets = self
            .stuck
            .iter()
            .map(|stuck| stuck.dataset.clone())
            .filter(|dataset| of(dataset) >= stuck_max)
            .collect();
        DeferredBatches { batches, datasets }
    }

    fn skip_ahead(&mut self, batch: LoadBatch, error: &Error) {
        self.ahead = 0;
        let why = error.to_string();
        match self.stuck.iter_mut().find(|stuck| stuck.batch == batch.id) {
            Some(stuck) => {
                (stuck.why, stuck.deferred) = (why, true);
                self.ahead_max = (self.ahead_max * 2).min(AHEAD_MAX);
            }
            None => self.stuck.push(Stuck {
                batch: batch.id,
                dataset: batch.dataset,
                why,
                deferred: true,
            }),
        }
    }

    /// A batch is stuck no more. Known before the store says so, which may fail: what is stuck is
    /// planned for sure.
    fn succeeded(&mut self, batch: &LoadBatch) {
        self.ahead += 1;
        self.stuck.retain(|stuck| stuck.batch != batch.id);
        if self.stuck.is_empty() {
            self.ahead_max = AHEAD_MIN;
        }
    }

    fn split(&mut self, batch: &LoadBatch, why: &str) -> Result<(Step, u64)> {
        let bad: Vec<(u64, String)> = match batch.files.as_slice() {
            [only] => vec![(only.number, why.to_owned())],
            _ => Vec::new(),
        };
        if let Some((number, _)) = bad.first() {
            tracing::error!(
                partition = self.partition,
                file = number,
                why,
                "the warehouse refuses a lake file, which is quarantined: once it fits, `theatre lake requeue` has it tried again"
            );
            names::warehouse_load_failed("file");
        }
        self.succeeded(batch);
        self.ports
            .store
            .split_load(self.partition, self.epoch, &batch.id, &bad)?;
        Ok((Step::Worked, 0))
    }
}

/// What kind of failure an error is, for metrics.
fn class_of(error: &Error) -> &'static str {
    match error {
        Error::Unavailable { .. } => "unavailable",
        _ => "refused",
    }
}

/// The rows of a batch that is loaded. With another number of them the ledger means another batch
/// of the same id, and ours is still to be loaded.
fn rows_of(batch: &LoadBatch, receipt: &LoadReceipt) -> Result<u64> {
    let expected: u64 = batch.files.iter().map(|file| file.file.rows).sum();
    if receipt.rows == expected {
        return Ok(expected);
    }
    let why = format!(
        "its ledger has batch '{}' with {} rows, the batch's files have {expected}: a store that was made anew, or restored, gives batches the ids of old \
         ones; load into a warehouse, or a [warehouse] schema, of its own",
        batch.id, receipt.rows
    );
    Err(Error::Refused(why))
}
