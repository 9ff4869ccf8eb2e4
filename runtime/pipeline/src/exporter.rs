//! The exporter: writes committed outputs into lake datasets, one for each kind.
//!
//! A consumer of the [outbox](super::outbox): outputs above its position go into one file per kind,
//! named by the numbers they span; registering the files and moving the position is one fenced
//! commit. A crash before it leaves an orphan upload, nothing else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use theatre_actors::outputs::{ALL, OutputEvent, OutputKind};
use theatre_actors::ports::{Epoch, Export, LakeFile, Result, StoredOutput};
use theatre_actors::position::Partition;
use theatre_schemas::registry::Registry;

use super::outbox::{Consumer, EXPORTER, OutboxConsumer};
use super::{Limits, Ports, Step};
use theatre_parquet::cpu_limit::CpuLimit;
use theatre_parquet::writer::FileWriter;
use theatre_parquet::{day_of, file_schema, outputs};

/// Outputs whose rows are in memory at a time, beside the columns they become: a window has a row
/// for each signal.
const OUTPUTS_AT_ONCE: usize = 256;

/// Exports under way: partitions move in step, and together their outputs and columns would be most
/// of the process's memory.
static EXPORTS: CpuLimit = CpuLimit::new();

/// Exports the outputs of one partition.
pub struct Exporter {
    partition: Partition,
    epoch: Epoch,
    ports: Ports,
    registry: Arc<Registry>,
    limits: Limits,
    attempt: u64,
}

impl Exporter {
    /// An exporter for a partition owned under `epoch`.
    pub fn new(
        partition: Partition,
        epoch: Epoch,
        ports: Ports,
        registry: Arc<Registry>,
        limits: Limits,
    ) -> Self {
        Self {
            partition,
            epoch,
            ports,
            registry,
            limits,
            attempt: 0,
        }
    }

    /// Exports what waits if there is enough of it, if it has waited long enough, or if it is to
    /// export `everything`.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. `Unavailable`: step again.
    pub fn step(&mut self, everything: bool) -> Result<Step> {
        let status = self.ports.store.status(self.partition)?;
        let exported = status.cursors.get(&EXPORTER.name);
        if exported >= status.last_output {
            return Ok(Step::Idle);
        }
        let waiting = (status.last_output - exported) as usize;
        let Some(first) = self
            .ports
            .store
            .outputs_after(self.partition, exported, 1)?
            .pop()
        else {
            // What waited has expired while there was no lake.
            return self.commit(exported, status.last_output, Vec::new());
        };
        let age = self.ports.clock.now().0 - first.committed_at.0;
        let old = age >= i64::try_from(self.limits.export_age.as_micros()).unwrap_or(i64::MAX);
        if !everything && !old && waiting < self.limits.export_outputs {
            return Ok(Step::Idle);
        }
        let _place = EXPORTS.acquire();
        self.attempt += 1;
        let up_to = status.last_output.min(
            first
                .sequence
                .saturating_add(self.limits.export_outputs.max(1) as u64 - 1),
        );
        let files = self
            .write((exported + 1, up_to))
            .inspect_err(|_| theatre_telemetry::names::lake_upload_failed("export"))?;
        self.commit(exported, up_to, files)
    }

    /// Registers the files and moves the position, in one transaction.
    fn commit(&self, after: u64, up_to: u64, files: Vec<LakeFile>) -> Result<Step> {
        let export = Export {
            consumer: EXPORTER.name.into_owned(),
            after,
            up_to,
            files,
        };
        self.ports
            .store
            .commit_export(self.partition, self.epoch, &export)?;
        Ok(Step::Worked)
    }

    /// Writes the outputs of a span of numbers, first and last, into a file for each kind that is
    /// there.
    fn write(&self, span: (u64, u64)) -> Result<Vec<LakeFile>> {
        let mut files: BTreeMap<OutputKind, FileWriter> = BTreeMap::new();
        let mut after = span.0 - 1;
        loop {
            let mut outputs =
                self.ports
                    .store
                    .outputs_after(self.partition, after, OUTPUTS_AT_ONCE)?;
            outputs.retain(|stored| stored.sequence <= span.1);
            let Some(last) = outputs.last() else { break };
            after = last.sequence;
            for kind in ALL.iter().map(|spec| spec.kind) {
                let stored: Vec<&StoredOutput> = outputs
                    .iter()
                    .filter(|stored| {
                        stored.output.kind == kind && !self.is_left_out(&stored.output)
                    })
                    .collect();
                self.write_kind(kind, &stored, span, &mut files)?;
            }
        }
        files.into_values().map(FileWriter::finish).collect()
    }

    /// True for an output of a dataset that has left the configuration: its signals are not known
    /// any more, and no alert may wait for it.
    fn is_left_out(&self, output: &OutputEvent) -> bool {
        let Some(dataset) = output
            .dataset()
            .filter(|dataset| self.registry.datasets().find(dataset).is_none())
        else {
            return false;
        };
        tracing::error!(
            partition = self.partition,
            kind = output.kind.spec().name,
            id = output.id,
            revision = output.revision,
            dataset,
            "an output is left out of the lake: its dataset is not in the configuration any more"
        );
        theatre_telemetry::names::record_parked("lake");
        true
    }

    fn write_kind(
        &self,
        kind: OutputKind,
        stored: &[&StoredOutput],
        span: (u64, u64),
        files: &mut BTreeMap<OutputKind, FileWriter>,
    ) -> Result<()> {
        let (Some(first), table) = (stored.first(), kind.table()) else {
            return Ok(());
        };
        let schema = file_schema(&table);
        let exported: Vec<&OutputEvent> = stored.iter().map(|stored| &stored.output).collect();
        let rows = outputs::record_batch(kind, &schema, &exported, self.registry.datasets())?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let file = match files.entry(kind) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(none) => {
                let date = theatre_parquet::date(day_of(first.committed_at.0));
                let path = format!(
                    "facts/{}/theatre_version=1/theatre_date={date}/p{}-{}-{}.parquet",
                    table.name, self.partition, span.0, span.1
                );
                let upload = self.ports.lake.begin(
                    &path,
                    &format!("p{}-e{}-x{}", self.partition, self.epoch, self.attempt),
                )?;
                none.insert(FileWriter::new(upload, &schema, path, &table.name)?)
            }
        };
        file.write(rows, exported.iter().map(|output| output.event_time))
    }
}

impl OutboxConsumer for Exporter {
    fn consumer(&self) -> Consumer {
        EXPORTER
    }

    fn deliver(&mut self, everything: bool) -> Result<Step> {
        self.step(everything)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use theatre_actors::ports::{CheckpointStore, CommitOutcome, PartitionCommit, ProcessorSave};
    use theatre_actors::position::Positions;
    use theatre_actors::time::LogTime;
    use theatre_schemas::records::{Alert, Priority, Transition};

    use super::*;
    use theatre_config::Config;
    use theatre_embedded::warehouse::EmbeddedWarehouse;
    use theatre_system::clock::SystemClock;
    use theatre_testkit::memory::lake::MemoryLake;
    use theatre_testkit::memory::log::MemoryLog;
    use theatre_testkit::memory::store::MemoryStore;

    #[test]
    fn windows_of_a_dataset_that_has_left_the_configuration_keep_no_alert_from_the_lake() {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(SystemClock));
        store.ensure_layout(&["a".to_owned()], 1).unwrap();
        let epoch = store.acquire(0).unwrap();
        let alert = Alert {
            alert_id: "a/1".to_owned(),
            condition_id: "a".to_owned(),
            robot_id: "r".to_owned(),
            rule_id: "hot".to_owned(),
            rule_version: 1,
            transition: Transition::Raised,
            priority: Priority::High,
            message: "hot".to_owned(),
            ..Alert::default()
        };
        let output = |kind, subject: &str, payload| OutputEvent {
            kind,
            robot_id: "r".to_owned(),
            id: subject.to_owned(),
            subject: subject.to_owned(),
            revision: 0,
            event_time: 0,
            payload,
        };
        let outputs = vec![
            output(OutputKind::Window, "gone/10s", vec![1, 2, 3]),
            output(OutputKind::Alert, "a", alert.encode()),
        ];
        let positions = Positions::from(vec![1]);
        let save = ProcessorSave {
            processor: "r".to_owned(),
            save_number: 1,
            positions: positions.clone(),
            state: Vec::new(),
            outputs,
            dead: Vec::new(),
        };
        let committed = store
            .commit(
                &[PartitionCommit {
                    partition: 0,
                    epoch,
                    processors: vec![save],
                    floor: positions,
                }],
                LogTime(1),
            )
            .unwrap();
        assert_eq!(
            committed,
            [CommitOutcome::Committed {
                last_output: 2,
                last_dead: 0
            }]
        );
        let params = crate::params::without_sources(&Config::default()).unwrap();
        let ports = Ports {
            log: Arc::new(MemoryLog::new(clock.clone())),
            store: store.clone(),
            lake: Arc::new(MemoryLake::default()),
            warehouse: Arc::new(EmbeddedWarehouse::in_memory().unwrap()),
            clock,
        };
        let mut exporter = Exporter::new(
            0,
            epoch,
            ports,
            params.registry.clone(),
            params.limits.clone(),
        );
        assert_eq!(exporter.step(true), Ok(Step::Worked));
        assert_eq!(store.status(0).unwrap().cursors.get(&EXPORTER.name), 2);
        let files: Vec<(String, u64)> = store
            .all_files()
            .unwrap()
            .into_iter()
            .map(|file| (file.file.dataset, file.file.rows))
            .collect();
        assert_eq!(files, [("maintenance_alerts".to_owned(), 1)]);
    }
}
