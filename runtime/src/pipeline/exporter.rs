//! The exporter: committed alerts, outcomes and windows into lake datasets of their own.
//!
//! Facts above the exported position go into one file per kind, named by the numbers they span;
//! registering the files and moving the position is one fenced commit. A crash before it leaves an
//! orphan upload, nothing else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use theatre_actors::effect::{Fact, FactKind};
use theatre_actors::ports::{Epoch, Export, LakeFile, Result, StoredFact};
use theatre_actors::position::Partition;
use theatre_schemas::registry::Registry;

use super::{Limits, Ports, Step};
use crate::gate::Gate;
use crate::parquet::writer::FileWriter;
use crate::parquet::{day_of, facts, file_schema};

/// Facts whose rows are in memory at a time, beside the columns they become: a window has a row for
/// each signal.
const FACTS_AT_ONCE: usize = 256;

/// Exports under way: partitions move in step, and together their facts and columns would be most
/// of the process's memory.
static EXPORTS: Gate = Gate::new();

/// Exports the facts of one partition.
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

    /// Exports what waits if there is enough of it, if it has waited long enough, or if `now` says
    /// so.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. `Unavailable`: step again.
    pub fn step(&mut self, everything: bool) -> Result<Step> {
        let status = self.ports.store.status(self.partition)?;
        if status.exported_fact >= status.last_fact {
            return Ok(Step::Idle);
        }
        let waiting = (status.last_fact - status.exported_fact) as usize;
        let Some(first) = self
            .ports
            .store
            .facts_after(self.partition, status.exported_fact, 1)?
            .pop()
        else {
            // What waited were window revisions that expired while there was no lake.
            self.ports.store.commit_export(
                self.partition,
                self.epoch,
                &Export {
                    after: status.exported_fact,
                    up_to: status.last_fact,
                    files: Vec::new(),
                },
            )?;
            return Ok(Step::Worked);
        };
        let age = self.ports.clock.now().0 - first.committed_at.0;
        let old = age >= i64::try_from(self.limits.export_age.as_micros()).unwrap_or(i64::MAX);
        if !everything && !old && waiting < self.limits.export_facts {
            return Ok(Step::Idle);
        }
        let _place = EXPORTS.enter();
        self.attempt += 1;
        let up_to = status.last_fact.min(
            first
                .sequence
                .saturating_add(self.limits.export_facts.max(1) as u64 - 1),
        );
        let files = self.write((status.exported_fact + 1, up_to))?;
        self.ports.store.commit_export(
            self.partition,
            self.epoch,
            &Export {
                after: status.exported_fact,
                up_to,
                files,
            },
        )?;
        Ok(Step::Worked)
    }

    /// Writes the facts of a span of numbers, first and last, into a file for each kind that is
    /// there.
    fn write(&self, span: (u64, u64)) -> Result<Vec<LakeFile>> {
        let mut files: BTreeMap<FactKind, FileWriter> = BTreeMap::new();
        let mut after = span.0 - 1;
        loop {
            let mut facts = self
                .ports
                .store
                .facts_after(self.partition, after, FACTS_AT_ONCE)?;
            facts.retain(|stored| stored.sequence <= span.1);
            let Some(last) = facts.last() else { break };
            after = last.sequence;
            for kind in [FactKind::Window, FactKind::Alert, FactKind::Outcome] {
                let stored: Vec<&StoredFact> = facts
                    .iter()
                    .filter(|stored| stored.fact.kind == kind && !self.is_left_out(&stored.fact))
                    .collect();
                self.write_kind(kind, &stored, span, &mut files)?;
            }
        }
        files.into_values().map(FileWriter::finish).collect()
    }

    /// A window of a dataset that has left the configuration: nobody knows its signals any more,
    /// and no alert may wait for it.
    fn is_left_out(&self, fact: &Fact) -> bool {
        let dataset = fact.subject.split('/').next().unwrap_or_default();
        if fact.kind != FactKind::Window || self.registry.datasets().find(dataset).is_some() {
            return false;
        }
        tracing::error!(
            partition = self.partition,
            window = fact.id,
            revision = fact.revision,
            dataset,
            "left out of the lake: there is no such dataset any more"
        );
        crate::telemetry::names::record_parked("lake");
        true
    }

    fn write_kind(
        &self,
        kind: FactKind,
        stored: &[&StoredFact],
        span: (u64, u64),
        files: &mut BTreeMap<FactKind, FileWriter>,
    ) -> Result<()> {
        let (Some(first), table) = (stored.first(), facts::table(kind)) else {
            return Ok(());
        };
        let schema = file_schema(&table);
        let told: Vec<&Fact> = stored.iter().map(|stored| &stored.fact).collect();
        let rows = facts::record_batch(kind, &schema, &told, self.registry.datasets())?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let file = match files.entry(kind) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(none) => {
                let date = crate::parquet::date(day_of(first.committed_at.0));
                let path = format!(
                    "facts/{}/v=1/date={date}/p{}-{}-{}.parquet",
                    table.name, self.partition, span.0, span.1
                );
                let upload = self.ports.lake.begin(
                    &path,
                    &format!("p{}-e{}-x{}", self.partition, self.epoch, self.attempt),
                )?;
                none.insert(FileWriter::new(upload, &schema, path, &table.name)?)
            }
        };
        file.write(rows, told.iter().map(|fact| fact.event_time))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use theatre_actors::ports::{CheckpointStore, CommitOutcome, FamilySave, PartitionCommit};
    use theatre_actors::position::Positions;
    use theatre_actors::time::LogTime;
    use theatre_schemas::records::{Alert, Priority, Transition};

    use super::*;
    use crate::clock::SystemClock;
    use crate::config::Config;
    use crate::embedded::warehouse::EmbeddedWarehouse;
    use crate::memory::lake::MemoryLake;
    use crate::memory::log::MemoryLog;
    use crate::memory::store::MemoryStore;

    #[test]
    fn windows_of_a_dataset_that_has_left_the_configuration_keep_no_alert_from_the_lake() {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(SystemClock));
        store.ensure_layout(&["a".to_owned()], 1).unwrap();
        let epoch = store.acquire(0).unwrap();
        let alert = Alert {
            alert_id: "a/1".to_owned(),
            condition_id: "a".to_owned(),
            robot_id: "r".to_owned(),
            procedure_id: None,
            rule_id: "hot".to_owned(),
            rule_version: 1,
            transition: Transition::Raised,
            revision: 0,
            priority: Priority::High,
            event_time: 0,
            raised_at: 0,
            value: None,
            limit: None,
            signal: None,
            unit: None,
            message: "hot".to_owned(),
        };
        let fact = |kind, subject: &str, payload| Fact {
            kind,
            robot_id: "r".to_owned(),
            id: subject.to_owned(),
            subject: subject.to_owned(),
            revision: 0,
            event_time: 0,
            payload,
        };
        let facts = vec![
            fact(FactKind::Window, "gone/10s", vec![1, 2, 3]),
            fact(FactKind::Alert, "a", alert.encode()),
        ];
        let positions = Positions::from(vec![1]);
        let save = FamilySave {
            family: "r".to_owned(),
            save_number: 1,
            positions: positions.clone(),
            state: Vec::new(),
            facts,
            dead: Vec::new(),
        };
        let committed = store
            .commit(
                &[PartitionCommit {
                    partition: 0,
                    epoch,
                    families: vec![save],
                    floor: positions,
                }],
                LogTime(1),
            )
            .unwrap();
        assert_eq!(
            committed,
            [CommitOutcome::Committed {
                last_fact: 2,
                last_dead: 0
            }]
        );
        let params = Config::default().pipeline([0; 32]).unwrap();
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
        assert_eq!(store.status(0).unwrap().exported_fact, 2);
        let files: Vec<(String, u64)> = store
            .all_files()
            .unwrap()
            .into_iter()
            .map(|file| (file.file.dataset, file.file.rows))
            .collect();
        assert_eq!(files, [("maintenance_alerts".to_owned(), 1)]);
    }
}
