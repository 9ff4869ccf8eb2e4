//! What the files of the lake hold: records by where they stood in the log, and outputs by what
//! tells them apart. Files are read, not believed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use theatre_actors::outputs::{ALL, OutputSpec};
use theatre_actors::ports::{Error, FileStage, RegisteredFile, Result};
use theatre_actors::position::Partition;

use super::outputs::{OutputRows, RowKey};
use super::{Findings, rows_of};
use theatre_pipeline::{PipelineParams, Ports};

/// What completed files hold of a topic in one partition.
#[derive(Debug, Default)]
pub(super) struct LakeCount {
    pub(super) rows: u64,
    pub(super) seen: HashSet<i64>,
    pub(super) duplicates: u64,
    /// Rows of files that are loaded.
    pub(super) loaded: u64,
    /// Rows of files that are still to be loaded.
    pub(super) unloaded: u64,
    /// Rows of files of the partition are being erased: the warehouse may have them or not, also
    /// where a file has none left that would say of which topic it is.
    pub(super) is_being_erased: bool,
}

/// What the files hold.
#[derive(Default)]
pub(super) struct LakeFiles {
    pub(super) records: HashMap<(String, Partition), LakeCount>,
    /// By table.
    pub(super) outputs: BTreeMap<&'static str, OutputRows>,
    /// Rows of record files that are registered and not completed.
    pub(super) registered: u64,
    /// What is known to be missing.
    pub(super) gaps: Vec<String>,
    /// Files that are lost, in words: whether records are, the log knows as far as it is there.
    pub(super) lost: Vec<String>,
}

/// Files as the store has them, with what tells whether any moved since.
pub(super) fn files(params: &PipelineParams, ports: &Ports) -> Result<Vec<RegisteredFile>> {
    let mut files = ports.store.all_files()?;
    let mut receipts: HashMap<String, bool> = HashMap::new();
    for file in &mut files {
        let Some(batch) = file.batch.clone().filter(|_| params.warehouse) else {
            continue;
        };
        if file.stage != FileStage::Completed {
            continue;
        }
        // Loaded, and not noted by the store before its owner ended.
        let loaded = match receipts.get(&batch) {
            Some(known) => *known,
            None => ports.warehouse.receipt(&batch)?.is_some(),
        };
        receipts.insert(batch, loaded);
        if loaded {
            file.stage = FileStage::Loaded;
        }
    }
    Ok(files)
}

/// Reads all files.
///
/// # Errors
/// When the lake does not answer. A file that is not there, or is damaged, is a gap.
pub(super) fn read(files: &[RegisteredFile], ports: &Ports) -> Result<LakeFiles> {
    let mut lake = LakeFiles::default();
    for spec in ALL {
        lake.outputs.insert(spec.table.name, OutputRows::default());
    }
    for file in files {
        let spec = output_of(file);
        let name = &file.file.path;
        match (file.stage, spec) {
            (FileStage::Registered, Some(spec)) => {
                lake.of(spec).registered += file.file.rows;
                continue;
            }
            (FileStage::Registered, None) => {
                lake.registered += file.file.rows;
                continue;
            }
            (FileStage::Lost, _) => {
                lake.lost.push(format!(
                    "lake file '{name}' is lost, and with it {} rows: its upload was gone before it was completed",
                    file.file.rows
                ));
                continue;
            }
            (FileStage::Quarantined, _) => lake.gaps.push(format!(
                "lake file '{name}' is set aside, and its {} rows are not in the warehouse: `theatre lake list` says why",
                file.file.rows
            )),
            (FileStage::Completed | FileStage::Loaded, _) => {}
        }
        let read = match spec {
            Some(spec) => lake.read_outputs(file, spec, ports),
            None => lake.read_records(file, ports),
        };
        match read {
            Ok(rows) if file.file.has_rows(rows) => {}
            Ok(rows) => lake.gaps.push(format!(
                "lake file '{name}' has {rows} rows, {} were registered",
                file.file.rows
            )),
            Err(error @ Error::Unavailable { .. }) => return Err(error),
            Err(error) => lake
                .gaps
                .push(format!("{error}; {} rows were registered", file.file.rows)),
        }
    }
    Ok(lake)
}

/// Notes what is wrong with files as such: what reading them has found, those that are in the lake
/// and not registered, and those that were loaded without an entry in the warehouse's ledger.
pub(super) fn judge(
    params: &PipelineParams,
    ports: &Ports,
    files: &[RegisteredFile],
    lake: &mut LakeFiles,
    found: &mut Findings,
) -> Result<()> {
    found.gaps.append(&mut lake.gaps);
    let there = [ports.lake.list("data/")?, ports.lake.list("facts/")?].concat();
    // Asked for after the lake was listed: a running process registers a file before it is there.
    let registered = ports.store.all_files()?;
    let registered: HashSet<&str> = registered
        .iter()
        .map(|file| file.file.path.as_str())
        .collect();
    let others = there.iter().map(|entry| entry.path.as_str());
    let others = others.filter(|path| !registered.contains(path));
    found.surplus.extend(others.map(|path| {
        format!("lake file '{path}' is not registered: readers of its folder meet its rows, too")
    }));
    if !params.warehouse {
        return Ok(());
    }
    let ledger = rows_of(ports, "SELECT batch FROM load_ledger")?;
    let entries = ledger.iter().filter_map(|row| row.first()?.as_str());
    let entries: HashSet<&str> = entries.collect();
    let loaded = files.iter().filter(|file| file.stage == FileStage::Loaded);
    let batches: BTreeSet<&str> = loaded.filter_map(|file| file.batch.as_deref()).collect();
    let missing = batches.iter().filter(|batch| !entries.contains(*batch));
    found.gaps.extend(missing.map(|batch| {
        format!(
            "batch '{batch}' was loaded, and the warehouse's ledger has no entry of it: loaded again, its rows would be there twice"
        )
    }));
    Ok(())
}

/// The kind of output that a file holds; `None` for a file of records.
fn output_of(file: &RegisteredFile) -> Option<&'static OutputSpec> {
    let of = |spec: &&&'static OutputSpec| spec.table.name == file.file.dataset;
    ALL.iter()
        .find(of)
        .copied()
        .filter(|_| !file.file.path.starts_with("data/"))
}

impl LakeFiles {
    fn of(&mut self, spec: &OutputSpec) -> &mut OutputRows {
        self.outputs.entry(spec.table.name).or_default()
    }

    fn read_records(&mut self, file: &RegisteredFile, ports: &Ports) -> Result<u64> {
        let path = &file.file.path;
        let mut read = 0;
        for rows in theatre_parquet::read(path, ports.lake.read(path)?)? {
            let rows = rows?;
            self.count_records(file, &rows)?;
            read += rows.num_rows() as u64;
        }
        Ok(read)
    }

    fn count_records(&mut self, file: &RegisteredFile, rows: &RecordBatch) -> Result<()> {
        let meta = rows.columns().get(..3).and_then(|meta| {
            Some((
                meta[0].as_string_opt::<i32>()?,
                meta[1].as_primitive_opt::<Int32Type>()?,
                meta[2].as_primitive_opt::<Int64Type>()?,
            ))
        });
        let (topics, partitions, offsets) = meta.ok_or_else(|| {
            damaged(
                &file.file.path,
                &"it does not begin with topic, partition and offset",
            )
        })?;
        for row in 0..rows.num_rows() {
            let place = (
                topics.value(row).to_owned(),
                partitions.value(row) as Partition,
            );
            let count = self.records.entry(place).or_default();
            count.rows += 1;
            count.duplicates += u64::from(!count.seen.insert(offsets.value(row)));
            match file.stage {
                FileStage::Loaded => count.loaded += 1,
                FileStage::Completed => count.unloaded += 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_outputs(
        &mut self,
        file: &RegisteredFile,
        spec: &'static OutputSpec,
        ports: &Ports,
    ) -> Result<u64> {
        let path = &file.file.path;
        let key = RowKey::of(spec);
        let mut read = 0;
        for rows in theatre_parquet::read_columns(path, ports.lake.read(path)?, &key.columns())? {
            let rows = rows?;
            self.of(spec).count(&key, &rows, file.stage)?;
            read += rows.num_rows() as u64;
        }
        Ok(read)
    }
}

fn damaged(path: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Refused(format!("lake file '{path}' is damaged: {why}"))
}
