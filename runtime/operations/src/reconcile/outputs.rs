//! Outputs: each that the store has is exported once, each that was loaded is in the warehouse once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use serde::Serialize;
use theatre_actors::outputs::{ALL, OutputEvent, OutputSpec};
use theatre_actors::ports::{Error, FileStage, LoadMode, PartitionStatus, Result, StoredOutput};

use super::Findings;
use super::erased::{Erased, Erasures};
use super::tables::Written;
use crate::erasure::{Target, meant};
use theatre_parquet::file_schema;
use theatre_parquet::outputs::record_batch;
use theatre_pipeline::outbox::EXPORTER;
use theatre_pipeline::{PipelineParams, Ports};

/// Outputs that are looked at in one piece.
const OUTPUTS_AT_ONCE: usize = 256;

/// A table of outputs.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct OutputLine {
    pub table: String,
    /// Outputs that the store has; those that expire leave it once they are delivered.
    pub stored: u64,
    /// Of these, not exported yet.
    pub export_pending: u64,
    /// Rows of files that are registered and not completed.
    pub lake_pending: u64,
    pub lake_rows: u64,
    /// Rows that were erased, or are being erased (`theatre lake erase`).
    pub erased: u64,
    pub warehouse_rows: u64,
    /// Rows of files that are not loaded yet.
    pub warehouse_pending: u64,
    /// Rows of the table for people in the store; nothing where those are not kept.
    pub table_rows: Option<u64>,
}

/// What completed files hold of a table.
#[derive(Debug, Default)]
pub(super) struct OutputRows {
    pub(super) registered: u64,
    rows: u64,
    unloaded: u64,
    loaded: u64,
    /// How often a row is there, by what tells it apart.
    seen: HashMap<u64, u32>,
    /// The highest revision that was loaded, by what a later revision has in common with it.
    merged: HashMap<u64, i64>,
}

/// The columns that tell the rows of a table apart, as a hash.
pub(super) struct RowKey {
    spec: &'static OutputSpec,
    /// The columns of what a later revision replaces, and that of the revision.
    merge: Option<(Vec<String>, String)>,
}

impl RowKey {
    pub(super) fn of(spec: &'static OutputSpec) -> Self {
        let merge = match (spec.table.mode)() {
            LoadMode::MergeByRevision { key, revision } => Some((key, revision)),
            LoadMode::Append => None,
        };
        Self { spec, merge }
    }

    /// Every column that is needed.
    pub(super) fn columns(&self) -> Vec<&str> {
        let mut columns = self.spec.table.identity.to_vec();
        let merge = self.merge.iter();
        let more = merge.flat_map(|(key, revision)| key.iter().chain([revision]));
        for column in more.map(String::as_str) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    fn identity<'a>(&self, rows: &'a RecordBatch) -> Result<Vec<&'a ArrayRef>> {
        columns(rows, self.spec.table.identity.iter().copied())
    }
}

fn columns<'a, 'b>(
    rows: &'a RecordBatch,
    names: impl Iterator<Item = &'b str>,
) -> Result<Vec<&'a ArrayRef>> {
    names
        .map(|name| {
            rows.column_by_name(name)
                .ok_or_else(|| Error::Refused(format!("there is no column '{name}'")))
        })
        .collect()
}

/// A row's values in these columns.
fn hash(columns: &[&ArrayRef], row: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    for column in columns {
        if let Some(texts) = column.as_string_opt::<i32>() {
            (!texts.is_null(row))
                .then(|| texts.value(row))
                .hash(&mut hasher);
        } else {
            number(column, row).hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn number(column: &ArrayRef, row: usize) -> Option<i64> {
    if column.is_null(row) {
        return None;
    }
    if let Some(numbers) = column.as_primitive_opt::<Int32Type>() {
        return Some(i64::from(numbers.value(row)));
    }
    if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        return Some(times.value(row));
    }
    let numbers = column.as_primitive_opt::<Int64Type>();
    numbers.map(|numbers| numbers.value(row))
}

impl OutputRows {
    /// Counts rows of a completed file.
    pub(super) fn count(
        &mut self,
        key: &RowKey,
        rows: &RecordBatch,
        stage: FileStage,
    ) -> Result<()> {
        let identity = key.identity(rows)?;
        for row in 0..rows.num_rows() {
            *self.seen.entry(hash(&identity, row)).or_default() += 1;
        }
        let count = rows.num_rows() as u64;
        self.rows += count;
        match stage {
            FileStage::Loaded => self.loaded += count,
            FileStage::Completed => self.unloaded += count,
            _ => {}
        }
        if let Some((merged_by, revision)) =
            key.merge.as_ref().filter(|_| stage == FileStage::Loaded)
        {
            let by = columns(rows, merged_by.iter().map(String::as_str))?;
            let revisions = columns(rows, [revision.as_str()].into_iter())?;
            for row in 0..rows.num_rows() {
                let revision = number(revisions[0], row).unwrap_or(0);
                let highest = self.merged.entry(hash(&by, row)).or_insert(revision);
                *highest = revision.max(*highest);
            }
        }
        Ok(())
    }
}

/// Compares the outputs of the store, as it stood, with those of the lake, and these with the
/// warehouse's.
///
/// # Errors
/// When something cannot be read.
pub(super) fn judge(
    params: &PipelineParams,
    ports: &Ports,
    (statuses, erasures): (&[PartitionStatus], &Erasures),
    mut lake: BTreeMap<&'static str, OutputRows>,
    found: &mut Findings,
) -> Result<Vec<OutputLine>> {
    let mut lines = Vec::new();
    let mut written = Written::default();
    let mut stored = stored(params, ports, (statuses, erasures), &lake, &mut written)?;
    let tables = written.judge(params, ports, statuses, found)?;
    for spec in ALL {
        let rows = lake.remove(spec.table.name).unwrap_or_default();
        let count = stored.remove(spec.table.name).unwrap_or_default();
        let erased = erasures.of_table(spec.table.name);
        if params.lake {
            judge_lake(spec, &count, (&rows, &erased), found);
        }
        let mut ignored = Findings::default();
        let warehouse_rows = if params.warehouse {
            // Until an erasure is finished the warehouse may have its rows or not.
            let found = match erasures.is_under_way(spec.table.name) {
                true => &mut ignored,
                false => &mut *found,
            };
            judge_warehouse(ports, spec, &rows, found)?
        } else {
            0
        };
        lines.push(OutputLine {
            table: spec.table.name.to_owned(),
            stored: count.outputs,
            export_pending: count.pending,
            lake_pending: rows.registered,
            lake_rows: rows.rows,
            erased: erased.erased,
            warehouse_rows,
            warehouse_pending: if params.warehouse { rows.unloaded } else { 0 },
            table_rows: tables.get(spec.table.name).copied(),
        });
    }
    Ok(lines)
}

/// What the store has of a table.
#[derive(Default)]
struct StoredCount {
    outputs: u64,
    pending: u64,
    /// Rows of exported outputs.
    exported: u64,
    /// Of them, those that are in no completed file.
    missing: u64,
    /// Of these, those that could have been erased.
    erased: u64,
    /// Rows of all outputs that completed files have.
    known: u64,
}

/// Looks every stored output up in the lake.
fn stored(
    params: &PipelineParams,
    ports: &Ports,
    (statuses, erasures): (&[PartitionStatus], &Erasures),
    lake: &BTreeMap<&'static str, OutputRows>,
    written: &mut Written,
) -> Result<HashMap<&'static str, StoredCount>> {
    let mut counts: HashMap<&'static str, StoredCount> = HashMap::new();
    let erased: HashMap<&str, Erased> = (ALL.iter().map(|spec| spec.table.name))
        .map(|table| (table, erasures.of_table(table)))
        .collect();
    for (partition, status) in (0..).zip(statuses) {
        let exported = status.cursors.get(&EXPORTER.name);
        let mut after = 0;
        while after < status.last_output {
            let store = &ports.store;
            let mut page = store.outputs_after(partition, after, OUTPUTS_AT_ONCE)?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            page.retain(|output| output.sequence <= status.last_output);
            written.note(status, &page, |output| {
                erased[output.kind.spec().table.name].could_be_of(params, output)
            })?;
            for spec in ALL {
                let of_kind = page.iter().filter(|stored| stored.output.kind == spec.kind);
                let (done, waiting): (Vec<&StoredOutput>, Vec<&StoredOutput>) =
                    of_kind.partition(|stored| stored.sequence <= exported);
                let count = counts.entry(spec.table.name).or_default();
                count.outputs += (done.len() + waiting.len()) as u64;
                let Some(rows) = lake.get(spec.table.name).filter(|_| params.lake) else {
                    continue;
                };
                count.pending += waiting.len() as u64;
                let rows = (rows, &erased[spec.table.name]);
                let exported = look_up(params, spec, &done, rows)?;
                let waiting = look_up(params, spec, &waiting, rows)?;
                count.exported += exported.rows;
                count.missing += exported.missing;
                count.erased += exported.erased;
                count.known += exported.rows - exported.missing + waiting.rows - waiting.missing;
            }
        }
    }
    Ok(counts)
}

/// What was looked up.
#[derive(Default)]
struct LookedUp {
    /// Rows of outputs.
    rows: u64,
    /// Of them, those that are in no completed file.
    missing: u64,
    /// Of these, those that could have been erased.
    erased: u64,
}

/// Looks for the rows of these outputs.
fn look_up(
    params: &PipelineParams,
    spec: &'static OutputSpec,
    outputs: &[&StoredOutput],
    (lake, erased): (&OutputRows, &Erased),
) -> Result<LookedUp> {
    let datasets = params.registry.datasets();
    // What is of a dataset that has left the configuration is not exported.
    let is_known = |output: &&OutputEvent| {
        output
            .dataset()
            .is_none_or(|dataset| datasets.find(dataset).is_some())
    };
    let events = outputs.iter().map(|stored| &stored.output);
    let events: Vec<&OutputEvent> = events.filter(is_known).collect();
    if events.is_empty() {
        return Ok(LookedUp::default());
    }
    let schema = file_schema(&spec.kind.table());
    let rows = record_batch(spec.kind, &schema, &events, datasets)?;
    let key = RowKey::of(spec);
    let identity = key.identity(&rows)?;
    let is_missing = |row: &usize| !lake.seen.contains_key(&hash(&identity, *row));
    let missing: Vec<usize> = (0..rows.num_rows()).filter(is_missing).collect();
    let mut looked_up = LookedUp {
        rows: rows.num_rows() as u64,
        missing: missing.len() as u64,
        erased: 0,
    };
    if erased.erased > 0 && !missing.is_empty() {
        let could_be = meant(&rows, &Target::of_outputs(spec.kind).meaning(&erased.rows));
        looked_up.erased = missing.iter().filter(|row| could_be[**row]).count() as u64;
    }
    Ok(looked_up)
}

fn judge_lake(
    spec: &OutputSpec,
    count: &StoredCount,
    (rows, erased): (&OutputRows, &Erased),
    found: &mut Findings,
) {
    let table = spec.table.name;
    let missing = count.missing - count.erased.min(erased.erased);
    // Rows of files that are registered only are on their way.
    let lost = missing.saturating_sub(rows.registered);
    if lost > 0 {
        found.gaps.push(format!(
            "{table}: of {} rows that were exported, {lost} are in no lake file",
            count.exported
        ));
    }
    let twice = rows.seen.values().filter(|times| **times > 1).count();
    if twice > 0 {
        found.gaps.push(format!(
            "{table}: {twice} rows are in the lake more than once"
        ));
    }
    // A kind that expires has left the store, and stays in the lake.
    let unknown = (rows.seen.len() as u64).saturating_sub(count.known);
    if !spec.expires && unknown > 0 {
        found.surplus.push(format!(
            "{table}: the lake has {unknown} rows that the store knows nothing of"
        ));
    }
}

/// Compares the warehouse's table with the files that were loaded; returns its rows.
fn judge_warehouse(
    ports: &Ports,
    spec: &'static OutputSpec,
    rows: &OutputRows,
    found: &mut Findings,
) -> Result<u64> {
    let table = spec.table.name;
    let key = RowKey::of(spec);
    let (told_apart, revision): (Vec<&str>, _) = match &key.merge {
        Some((by, revision)) => (by.iter().map(String::as_str).collect(), Some(revision)),
        None => (spec.table.identity.to_vec(), None),
    };
    let names: Vec<String> = told_apart
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect();
    let revisions = revision.map_or("0".to_owned(), |name| {
        format!("coalesce(sum(\"{name}\"), 0)")
    });
    let numbers = |sql: String| -> Result<[u64; 2]> {
        let rows = super::rows_of(ports, &sql)?;
        let number = |at: usize| rows.first()?.get(at)?.as_u64();
        Ok([number(0).unwrap_or(0), number(1).unwrap_or(0)])
    };
    let [there, revisions] = numbers(format!("SELECT count(*), {revisions} FROM \"{table}\""))?;
    let [distinct, _] = numbers(format!(
        "SELECT count(*), 0 FROM (SELECT DISTINCT {} FROM \"{table}\") AS told_apart",
        names.join(", ")
    ))?;
    if distinct < there {
        found.gaps.push(format!(
            "{table}: {} of {there} rows in the warehouse are there once more",
            there - distinct
        ));
    }
    let loaded = if key.merge.is_some() {
        rows.merged.len() as u64
    } else {
        rows.loaded
    };
    let said =
        format!("{table}: {loaded} rows of lake files were loaded, the warehouse has {there}");
    match there.cmp(&loaded) {
        Ordering::Less => found.gaps.push(said),
        Ordering::Greater => found.surplus.push(said),
        Ordering::Equal if key.merge.is_some() => {
            let expected: i64 = rows.merged.values().sum();
            if expected.unsigned_abs() != revisions {
                found.surplus.push(format!(
                    "{table}: the warehouse has other revisions than the lake files that were loaded"
                ));
            }
        }
        Ordering::Equal => {}
    }
    Ok(there)
}
