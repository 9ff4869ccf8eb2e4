//! Reconcile: proves that in = applied + late + duplicate + dead-lettered, and that lake and warehouse hold every record once.
//!
//! `in` is counted by reading the log and decoding every record, not by any counter: a record counts as read when it lies below what its
//! family has saved, so the proof holds at any moment, also after a crash. Lake rows are counted in the Parquet files, warehouse rows
//! by query.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use serde::Serialize;
use theatre_actors::effect::{Counters, DeadReason};
use theatre_actors::family::{FamilyView, IntakeFamily};
use theatre_actors::ports::{Error, FileStage, Result};
use theatre_actors::position::{Partition, Positions};

use crate::pipeline::intake::{Entry, Intake, IntakeParams};
use crate::pipeline::{PipelineParams, Ports};

/// A log or source of schemas that does not answer is tried again so often.
const POLLS_AGAIN: usize = 40;
const POLL_PAUSE: std::time::Duration = std::time::Duration::from_millis(250);

/// One topic and partition.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Line {
    pub topic: String,
    pub partition: Partition,
    /// Offsets below this were deleted: what was there is not provable any more, and counters may hold up to so many records more than `read`.
    pub trimmed_below: u64,
    /// Records in the log that their families have seen.
    pub read: u64,
    pub pending: u64,
    pub applied: u64,
    pub late: u64,
    pub duplicate: u64,
    pub dead: u64,
    /// Decodable records in the log that are no duplicates, below the lake's position: what the lake must hold of what is still in the log.
    pub lake_expected: u64,
    /// Of these, in the lake.
    pub lake_found: u64,
    /// Rows in the lake, of deleted offsets too.
    pub lake_rows: u64,
    pub lake_duplicates: u64,
    pub warehouse_rows: u64,
    pub warehouse_pending: u64,
    pub gap: i64,
}

/// The proof.
#[derive(Debug, Serialize)]
pub struct Report {
    /// By topic and partition.
    pub lines: Vec<Line>,
    /// What does not add up, in words.
    pub gaps: Vec<String>,
}

#[derive(Default)]
struct Cell {
    read: u64,
    pending: u64,
    in_lake: u64,
    /// Records in the log that repeat one that is also in the log.
    duplicates: u64,
    counters: Counters,
    lake_rows: u64,
    lake_seen: HashSet<i64>,
    lake_duplicates: u64,
    loaded: u64,
    unloaded: u64,
}

/// Counts everything.
///
/// # Errors
/// When something cannot be read.
pub fn run(params: &PipelineParams, ports: &Ports) -> Result<Report> {
    let mut lines = Vec::new();
    let mut gaps = Vec::new();
    let intake = params.intake();
    let mut lake = lake_rows(ports)?;
    let mut warehouse = warehouse_rows(params, ports)?;
    for partition in 0..params.partitions {
        let mut cells: Vec<Cell> = params.topics.iter().map(|_| Cell::default()).collect();
        for (name, cell) in params.topics.iter().zip(&mut cells) {
            if let Some((rows, seen, duplicates, loaded, unloaded)) = lake.remove(&(name.clone(), partition)) {
                (cell.lake_rows, cell.lake_seen, cell.lake_duplicates, cell.loaded, cell.unloaded) = (rows, seen, duplicates, loaded, unloaded);
            }
        }
        let trimmed = read_log(&intake, ports, partition, &mut cells)?;
        for (topic, (name, cell)) in params.topics.iter().zip(&mut cells).enumerate() {
            let warehouse_rows = warehouse.remove(&(name.clone(), partition)).unwrap_or(0);
            let line = line(name, partition, trimmed.get(topic), cell, warehouse_rows);
            if line.gap != 0 {
                gaps.push(format!("{name} partition {partition}: {} read, but applied + late + duplicate + dead = {}", line.read, line.read as i64 - line.gap));
            }
            // A record whose first copy was deleted looks like a new one here; families have counted it as a duplicate.
            let first_copy_deleted = if line.trimmed_below > 0 { line.duplicate.saturating_sub(cell.duplicates) } else { 0 };
            let whole = line.lake_found <= line.lake_expected && line.lake_found + first_copy_deleted >= line.lake_expected;
            let foreign = line.trimmed_below == 0 && line.lake_rows != line.lake_found;
            if !whole || foreign || line.lake_duplicates > 0 {
                gaps.push(format!(
                    "{name} partition {partition}: of {} records in the log that the lake should hold it holds {}, {} rows in all ({} twice)",
                    line.lake_expected, line.lake_found, line.lake_rows, line.lake_duplicates
                ));
            }
            if line.warehouse_rows + line.warehouse_pending != line.lake_rows {
                gaps.push(format!(
                    "{name} partition {partition}: {} rows in the lake, {} in the warehouse and {} on the way",
                    line.lake_rows, line.warehouse_rows, line.warehouse_pending
                ));
            }
            lines.push(line);
        }
    }
    Ok(Report { lines, gaps })
}

fn line(topic: &str, partition: Partition, trimmed_below: u64, cell: &Cell, warehouse_rows: u64) -> Line {
    let counters = &cell.counters;
    let beyond = counters.total() as i64 - cell.read as i64;
    Line {
        topic: topic.to_owned(),
        partition,
        trimmed_below,
        read: cell.read,
        pending: cell.pending,
        applied: counters.applied,
        late: counters.late,
        duplicate: counters.duplicate,
        dead: counters.dead_total(),
        lake_expected: cell.in_lake,
        lake_found: cell.lake_seen.iter().filter(|offset| **offset >= trimmed_below as i64).count() as u64,
        lake_rows: cell.lake_rows,
        lake_duplicates: cell.lake_duplicates,
        warehouse_rows,
        warehouse_pending: cell.unloaded,
        gap: if beyond < 0 { -beyond } else { -(beyond - trimmed_below as i64).max(0) },
    }
}

/// Counts the log's records by what their family has saved; returns where the log begins.
fn read_log(intake: &IntakeParams, ports: &Ports, partition: Partition, cells: &mut [Cell]) -> Result<Positions> {
    let status = ports.store.status(partition)?;
    let mut saved: HashMap<String, Positions> = HashMap::new();
    for stored in ports.store.families(partition)? {
        let unreadable = |error| Error::Refused(format!("the state of family '{}' cannot be read: {error}", stored.family));
        let counters = if stored.family.is_empty() {
            IntakeFamily::restore(&stored.state).map_err(unreadable)?.counters().to_vec()
        } else {
            FamilyView::from_state(&stored.family, &stored.state).map_err(unreadable)?.counters
        };
        for (cell, counted) in cells.iter_mut().zip(&counters) {
            cell.counters.add(counted);
        }
        saved.insert(stored.family, stored.positions);
    }
    let refused = refused(ports, partition)?;
    let mut start = Positions::zero();
    for (topic, name) in intake.topics.iter().enumerate() {
        start.advance(topic, ports.log.range(name, partition)?.start);
    }
    let mut trackers: BTreeMap<(String, usize), theatre_actors::sequence::SequenceTracker> = BTreeMap::new();
    let mut reader = Intake::open(&*ports.log, partition, intake.clone(), &start)?;
    let mut patience = POLLS_AGAIN;
    let mut reached = start.clone();
    loop {
        let chunk = match reader.poll() {
            // A schema may have to be asked for.
            Err(Error::Unavailable { .. }) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(POLL_PAUSE);
                reader = Intake::open(&*ports.log, partition, intake.clone(), &reached)?;
                continue;
            }
            polled => polled?,
        };
        if chunk.is_empty() {
            break;
        }
        reached = chunk.to.clone();
        for entry in &chunk.entries {
            let (topic, offset, family) = match *entry {
                Entry::Row { batch, row } => {
                    let (topic, batch) = &chunk.batches[batch as usize];
                    let at = row as usize;
                    let robot = batch.robot_id(at).to_owned();
                    let again = batch.sequence(at).is_some_and(|sequence| {
                        let tracker = trackers.entry((robot.clone(), *topic)).or_default();
                        tracker.judge(batch.boot_id(at).unwrap_or(0), sequence) == theatre_actors::sequence::Verdict::Duplicate
                    });
                    cells[*topic].duplicates += u64::from(again);
                    // Its schema came too late for it; the lake may have met it later.
                    let late = refused.get(&(*topic, batch.offsets[at])) == Some(&DeadReason::UnknownSchema);
                    let expected = !late || cells[*topic].lake_seen.contains(&(batch.offsets[at] as i64));
                    if expected && !again && batch.offsets[at] < status.lake_positions.get(*topic) {
                        cells[*topic].in_lake += 1;
                    }
                    let family = if refused.contains_key(&(*topic, batch.offsets[at])) { String::new() } else { robot };
                    (*topic, batch.offsets[at], family)
                }
                Entry::Dead(index) => (chunk.dead[index as usize].topic, chunk.dead[index as usize].offset, String::new()),
            };
            let seen = saved.get(&family).map_or(0, |positions| positions.get(topic)).max(status.floor.get(topic));
            if offset < seen {
                cells[topic].read += 1;
            } else {
                cells[topic].pending += 1;
            }
        }
    }
    Ok(start)
}

/// Records that the intake family accounts though they may name a robot: the robot's home is another partition, or the schema was unknown then. By
/// topic and offset.
fn refused(ports: &Ports, partition: Partition) -> Result<HashMap<(usize, u64), DeadReason>> {
    const PAGE: usize = 1000;
    let (mut found, mut after) = (HashMap::new(), 0);
    loop {
        let page = ports.store.dead_after(partition, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.sequence;
        let ours = |reason| matches!(reason, DeadReason::WrongPartition | DeadReason::UnknownSchema);
        let dead = page.iter().map(|stored| &stored.dead).filter(|dead| ours(dead.reason));
        found.extend(dead.map(|dead| ((dead.topic, dead.offset), dead.reason)));
    }
}

type LakeCount = (u64, HashSet<i64>, u64, u64, u64);

/// Rows in completed files by topic and partition: (rows, offsets, offsets seen twice, of them loaded, not loaded).
fn lake_rows(ports: &Ports) -> Result<HashMap<(String, Partition), LakeCount>> {
    let mut counts: HashMap<(String, Partition), LakeCount> = HashMap::new();
    for file in ports.store.all_files()?.into_iter().filter(|file| file.file.path.starts_with("data/") && file.stage != FileStage::Registered) {
        for rows in crate::parquet::read(&file.file.path, ports.lake.read(&file.file.path)?)? {
            let rows = rows.map_err(|error| Error::Refused(format!("lake file '{}': {error}", file.file.path)))?;
            let topics = arrow::compute::cast(rows.column(0), &arrow::datatypes::DataType::Utf8).map_err(|error| Error::Refused(error.to_string()))?;
            let (topics, partitions, offsets) =
                (topics.as_string::<i32>(), rows.column(1).as_primitive::<Int32Type>(), rows.column(2).as_primitive::<Int64Type>());
            for row in 0..rows.num_rows() {
                let count = counts.entry((topics.value(row).to_owned(), partitions.value(row) as Partition)).or_default();
                count.0 += 1;
                count.2 += u64::from(!count.1.insert(offsets.value(row)));
                if file.stage == FileStage::Loaded { count.3 += 1 } else { count.4 += 1 }
            }
        }
    }
    Ok(counts)
}

fn warehouse_rows(params: &PipelineParams, ports: &Ports) -> Result<HashMap<(String, Partition), u64>> {
    let mut counts = HashMap::new();
    for (_, dataset) in params.registry.datasets().iter() {
        let sql = format!("SELECT _topic, _partition, count(*) FROM \"{}\" GROUP BY 1, 2", dataset.name);
        for row in ports.warehouse.query(&sql)?.rows {
            if let [topic, partition, rows] = row.as_slice() {
                let key = (topic.as_str().unwrap_or_default().to_owned(), partition.as_u64().unwrap_or(0) as Partition);
                *counts.entry(key).or_insert(0) += rows.as_u64().unwrap_or(0);
            }
        }
    }
    Ok(counts)
}

/// The reasons of dead letters with their counts, over all partitions.
///
/// # Errors
/// When the store cannot be read.
pub fn dead_by_reason(ports: &Ports) -> Result<BTreeMap<&'static str, u64>> {
    let mut counts = BTreeMap::new();
    for stored in ports.store.find_dead(0)? {
        *counts.entry(DeadReason::as_str(stored.dead.reason)).or_insert(0) += 1;
    }
    Ok(counts)
}
