//! What is missing in the lake because it was erased: no more than the register says, and nothing
//! else than rows of those robots and times.

use std::collections::{BTreeMap, HashMap};

use theatre_actors::outputs::OutputEvent;
use theatre_actors::ports::{RegisteredFile, Result, RowSelection};
use theatre_actors::position::Partition;
use theatre_parquet::file_schema;
use theatre_parquet::outputs::record_batch;
use theatre_pipeline::PipelineParams;
use theatre_schemas::batch::Batch;

use crate::erasure::{Target, meant};

/// Rows that were erased, and rows that are missing and could be they.
#[derive(Debug, Default)]
pub(super) struct Erased {
    pub(super) rows: RowSelection,
    /// So many, as the register says.
    pub(super) erased: u64,
    /// Of these, rows that are being erased, so that lake and warehouse may have them still.
    pub(super) erasing: u64,
    /// So many rows are not in the lake that could be they.
    missing: u64,
}

impl Erased {
    fn add(&mut self, file: &RegisteredFile) {
        let all = [&file.file.erased, &file.file.erasing];
        let all = all.into_iter().flatten();
        self.rows.include(all.map(|rows| &rows.by));
        self.erased += file.file.erased_rows() + file.file.erasing_rows();
        self.erasing += file.file.erasing_rows();
    }

    /// Whether an output of the table has a row that could have been erased.
    pub(super) fn could_be_of(
        &self,
        params: &PipelineParams,
        output: &OutputEvent,
    ) -> Result<bool> {
        if self.erased == 0 {
            return Ok(false);
        }
        let (kind, datasets) = (output.kind, params.registry.datasets());
        let rows = record_batch(kind, &file_schema(&kind.table()), &[output], datasets)?;
        let meaning = Target::of_outputs(kind).meaning(&self.rows);
        Ok(meant(&rows, &meaning).contains(&true))
    }
}

/// What was erased, by table and partition.
#[derive(Debug, Default)]
pub(super) struct Erasures {
    of: HashMap<(String, Partition), Erased>,
}

impl Erasures {
    /// As the register says.
    pub(super) fn of(files: &[RegisteredFile]) -> Self {
        let mut erasures = Self::default();
        for file in files {
            if file.file.erased_rows() + file.file.erasing_rows() > 0 {
                let key = (file.file.dataset.clone(), file.partition);
                erasures.of.entry(key).or_default().add(file);
            }
        }
        erasures
    }

    /// Takes a record that is not in the lake for one that was erased, if it can be; returns whether
    /// it does.
    pub(super) fn takes(&mut self, partition: Partition, batch: &Batch, row: usize) -> bool {
        // Hardly any record is missing: what names the dataset may cost something.
        let key = (batch.dataset.name.clone(), partition);
        let Some(erased) = self.of.get_mut(&key) else {
            return false;
        };
        let (robot, time) = (batch.entity_id(row), batch.event_times()[row]);
        let is_erased = erased.rows.reason(Some(robot), Some(time)).is_some();
        erased.missing += u64::from(is_erased);
        is_erased
    }

    /// Rows of a table that were erased, over all partitions.
    pub(super) fn of_table(&self, table: &str) -> Erased {
        let mut all = Erased::default();
        for ((_, _), erased) in self.of.iter().filter(|((name, _), _)| name == table) {
            all.rows.robots.extend(erased.rows.robots.iter().cloned());
            all.rows.before = all.rows.before.max(erased.rows.before);
            all.erased += erased.erased;
            all.erasing += erased.erasing;
        }
        all
    }

    /// Whether rows of a table are being erased.
    pub(super) fn is_under_way(&self, table: &str) -> bool {
        self.of_table(table).erasing > 0
    }

    /// Whether rows of files of a partition are being erased.
    pub(super) fn is_under_way_in(&self, partition: Partition) -> bool {
        let mut all = self.of.iter();
        all.any(|((_, of), erased)| *of == partition && erased.erasing > 0)
    }

    /// Rows that were erased, by table.
    pub(super) fn by_table(&self) -> BTreeMap<String, u64> {
        let mut rows = BTreeMap::new();
        for ((table, _), erased) in &self.of {
            *rows.entry(table.clone()).or_default() += erased.erased;
        }
        rows
    }

    /// Erasures that are not finished, in words.
    pub(super) fn pending(&self) -> Vec<String> {
        let tables: BTreeMap<&str, u64> =
            self.of
                .iter()
                .fold(BTreeMap::new(), |mut tables, (key, of)| {
                    *tables.entry(key.0.as_str()).or_default() += of.erasing;
                    tables
                });
        let open = tables.into_iter().filter(|(_, rows)| *rows > 0);
        open.map(|(table, rows)| {
            format!("{rows} rows of {table} are being erased: repeat `theatre lake erase` if no command does it")
        })
        .collect()
    }

    /// More rows are missing than were erased, in words.
    pub(super) fn gaps(&self) -> Vec<String> {
        let more = self.of.iter().filter(|(_, of)| of.missing > of.erased);
        let mut gaps: Vec<String> = more
            .map(|((table, partition), of)| {
                format!(
                    "{table} partition {partition}: {} records in the log that could have been erased are not in the lake, and {} were erased",
                    of.missing, of.erased
                )
            })
            .collect();
        gaps.sort();
        gaps
    }
}
