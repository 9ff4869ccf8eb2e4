//! The tables' consumer: has the store write committed outputs into the tables that people read.
//!
//! A consumer of the [outbox](super::outbox): rows of the outputs above its position and the new
//! position are one fenced commit, so each output takes effect in its table once. What it passes
//! over (kinds that are not kept, outputs of a dataset that is gone) moves the position only.

mod rows;

use std::sync::Arc;

use theatre_actors::outputs::{ALL, OutputEvent, OutputKind};
use theatre_actors::ports::{Epoch, Result, StoredOutput, TableBatch, TableRows};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;
use theatre_config::store::KeptTables;
use theatre_telemetry::tables as shown;

use super::outbox::{Consumer, OutboxConsumer, TABLES};
use super::{PipelineParams, Ports, Step};
use rows::Rows;

/// Time between two batches of a partition that is not behind, microseconds: what people see is
/// about so old, and a batch costs about the same however little is in it.
const EVERY_US: i64 = 1_000_000;
/// Time between two notes of a position above which nothing is for the tables, microseconds.
const NOTE_EVERY_US: i64 = 10_000_000;
/// Outputs in one batch.
const OUTPUTS_AT_ONCE: usize = 1000;

/// Writes the outputs of one partition into tables.
pub struct Tables {
    partition: Partition,
    epoch: Epoch,
    params: Arc<PipelineParams>,
    ports: Ports,
    left_out: Vec<OutputKind>,
    looked: Option<LogTime>,
    noted: Option<LogTime>,
}

impl Tables {
    /// A consumer for a partition owned under `epoch`.
    pub fn new(
        partition: Partition,
        epoch: Epoch,
        params: Arc<PipelineParams>,
        ports: Ports,
    ) -> Self {
        let left_out = left_out(params.tables).to_vec();
        for spec in ALL.iter().filter(|spec| !left_out.contains(&spec.kind)) {
            shown::written(spec.table.name, 0);
        }
        shown::wait(partition, 0.0);
        Self {
            partition,
            epoch,
            left_out,
            params,
            ports,
            looked: None,
            noted: None,
        }
    }

    /// Writes a batch if it is time for one, or if it is to write `everything`.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. `Unavailable`: step again.
    pub fn step(&mut self, everything: bool) -> Result<Step> {
        let now = self.ports.clock.now();
        if !everything && is_within(self.looked, now, EVERY_US) {
            return Ok(Step::Idle);
        }
        let status = self.ports.store.status(self.partition)?;
        let after = status.cursors.get(&TABLES.name);
        if after >= status.last_output {
            self.looked = Some(now);
            return Ok(Step::Idle);
        }
        let outputs = self.ports.store.outputs_beside(
            self.partition,
            &self.left_out,
            after,
            OUTPUTS_AT_ONCE,
        )?;
        let last = outputs.last().map_or(after, |last| last.sequence);
        self.show_oldest(outputs.first());
        // Of a batch that is not full nothing is left up to where the store was looked at.
        let is_full = outputs.len() >= OUTPUTS_AT_ONCE;
        let up_to = if is_full {
            last
        } else {
            last.max(status.last_output)
        };
        self.looked = (!is_full).then_some(now);
        if outputs.is_empty() && !everything && is_within(self.noted, now, NOTE_EVERY_US) {
            return Ok(Step::Idle);
        }
        let batch = TableBatch {
            consumer: TABLES.name.into_owned(),
            after,
            up_to,
            rows: self.rows(&outputs)?,
        };
        self.ports
            .store
            .commit_rows(self.partition, self.epoch, &batch)?;
        for rows in &batch.rows {
            shown::written(rows.kind.spec().table.name, rows.committed_at.len() as u64);
        }
        // What follows a full batch is not known yet, and no older than its last.
        self.show_oldest(outputs.last().filter(|_| is_full));
        self.noted = Some(now);
        Ok(Step::Worked)
    }

    /// Shows since when the oldest output waits that is not in its table, if there is one.
    fn show_oldest(&self, oldest: Option<&StoredOutput>) {
        let committed = oldest.map_or(0.0, |oldest| oldest.committed_at.0 as f64 / 1e6);
        shown::wait(self.partition, committed);
    }

    /// The rows of these outputs, by table.
    fn rows(&self, outputs: &[StoredOutput]) -> Result<Vec<TableRows>> {
        let mut tables = Vec::new();
        for kind in ALL.iter().map(|spec| spec.kind) {
            let of_kind = |stored: &&StoredOutput| {
                stored.output.kind == kind && !self.is_left_out(&stored.output)
            };
            let of_kind: Vec<&StoredOutput> = outputs.iter().filter(of_kind).collect();
            if of_kind.is_empty() {
                continue;
            }
            let mut rows = Rows::default();
            // What was committed together has one moment.
            for commit in of_kind.chunk_by(|one, next| one.committed_at == next.committed_at) {
                let outputs: Vec<&OutputEvent> =
                    commit.iter().map(|stored| &stored.output).collect();
                let datasets = self.params.registry.datasets();
                rows.begin();
                match kind.spec().table.grouped {
                    Some(grouped) => {
                        let counts = (grouped.columns)(&outputs, datasets, &mut rows)?;
                        rows.grouped(counts);
                    }
                    None => (kind.spec().table.columns)(&outputs, datasets, &mut rows)?,
                }
                rows.end(commit[0].committed_at);
            }
            tables.push(rows.of(kind));
        }
        Ok(tables)
    }

    /// True for an output of a dataset that has left the configuration: its signals are not known
    /// any more, and no alert may wait for it.
    fn is_left_out(&self, output: &OutputEvent) -> bool {
        let datasets = self.params.registry.datasets();
        output
            .dataset()
            .is_some_and(|dataset| datasets.find(dataset).is_none())
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // The next owner says what waits.
        shown::wait(self.partition, 0.0);
    }
}

impl OutboxConsumer for Tables {
    fn consumer(&self) -> Consumer {
        TABLES
    }

    fn deliver(&mut self, everything: bool) -> Result<Step> {
        self.step(everything)
    }
}

/// Whether outputs of a kind have rows in these tables.
pub fn is_kept(params: &PipelineParams, kind: OutputKind) -> bool {
    params.tables != KeptTables::Off && !left_out(params.tables).contains(&kind)
}

/// The kinds that have no rows.
fn left_out(kept: KeptTables) -> &'static [OutputKind] {
    match kept {
        KeptTables::Off | KeptTables::All => &[],
        KeptTables::WithoutWindows => &[OutputKind::Window],
    }
}

fn is_within(since: Option<LogTime>, now: LogTime, span: i64) -> bool {
    since.is_some_and(|since| (0..span).contains(&(now.0 - since.0)))
}
