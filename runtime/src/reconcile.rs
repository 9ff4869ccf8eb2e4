//! Reconcile: proves that in = applied + late + duplicate + dead-lettered, and that lake and warehouse hold every record once.
//!
//! `in` is counted by reading the log and decoding every record, not by any counter: a record counts as read when it lies below what its
//! family has saved, so the proof holds at any moment, also after a crash. Lake rows are counted in the Parquet files, warehouse rows
//! by query.
//!
//! After a repartition a family's counters stand in its new partition and its first records in its old one: then counters add up by topic, not by
//! partition. Duplicates are judged as they were when the records came, partition count by partition count.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use serde::Serialize;
use theatre_actors::effect::{Counters, DeadReason};
use theatre_actors::family::{FamilyView, IntakeFamily};
use theatre_actors::ports::{Error, FileStage, PartitionStatus, Result};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::sequence::Verdict;

use crate::pipeline::intake::{Chunk, Entry, Intake, IntakeParams};
use crate::pipeline::trackers::{self, Trackers};
use crate::pipeline::{PipelineParams, Ports};

/// How long to wait before a log is asked again that had nothing to bring and has not ended.
const FETCH_REST: std::time::Duration = std::time::Duration::from_millis(5);

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
    /// Records read less records accounted for. After a repartition it is the whole topic's that must be 0.
    pub gap: i64,
}

/// The proof.
#[derive(Debug, Serialize)]
pub struct Report {
    /// By topic and partition.
    pub lines: Vec<Line>,
    /// True if robots have moved between partitions: a line's counters are those of the robots that live there now.
    pub repartitioned: bool,
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
    let past = ports.store.past_layouts()?;
    let lake = lake_rows(ports)?;
    let mut warehouse = warehouse_rows(params, ports)?;
    let mut count = Count::begin(params, ports, lake)?;
    for layout in &past {
        count.read(layout.partitions, Some(&layout.ended_at))?;
    }
    count.read(params.partitions, None)?;
    let (mut lines, mut gaps) = (Vec::new(), Vec::new());
    for (partition, (cells, trimmed)) in (0..).zip(count.cells.iter().zip(&count.starts)) {
        for (topic, (name, cell)) in params.topics.iter().zip(cells).enumerate() {
            let warehouse_rows = warehouse.remove(&(name.clone(), partition)).unwrap_or(0);
            lines.push((cell.duplicates, line(name, partition, trimmed.get(topic), cell, warehouse_rows)));
        }
    }
    for name in &*params.topics {
        let of_topic: Vec<&(u64, Line)> = lines.iter().filter(|(_, line)| line.topic == *name).collect();
        if past.is_empty() {
            of_topic.iter().for_each(|one| judge(&format!("{name} partition {}", one.1.partition), &[one], &mut gaps));
        } else {
            judge(&format!("{name}, all partitions"), &of_topic, &mut gaps);
        }
        of_topic.iter().for_each(|(_, line)| judge_rows(line, &mut gaps));
    }
    Ok(Report { lines: lines.into_iter().map(|(_, line)| line).collect(), repartitioned: !past.is_empty(), gaps })
}

/// What must add up over lines whose families' records are all in them, each with the duplicates that the log itself shows.
fn judge(place: &str, lines: &[&(u64, Line)], gaps: &mut Vec<String>) {
    let sum = |value: fn(&Line) -> u64| lines.iter().map(|(_, line)| value(line)).sum::<u64>();
    let (read, trimmed) = (sum(|line| line.read), sum(|line| line.trimmed_below));
    let accounted = sum(|line| line.applied + line.late + line.duplicate + line.dead);
    let gap = gap(read, accounted, trimmed);
    if gap != 0 {
        gaps.push(format!("{place}: {read} read, but applied + late + duplicate + dead = {}", read as i64 - gap));
    }
    // A record whose first copy was deleted looks like a new one here; families have counted it as a duplicate.
    let shown: u64 = lines.iter().map(|(duplicates, _)| duplicates).sum();
    let first_copy_deleted = if trimmed > 0 { sum(|line| line.duplicate).saturating_sub(shown) } else { 0 };
    let (expected, found, doubled) = (sum(|line| line.lake_expected), sum(|line| line.lake_found), sum(|line| line.lake_duplicates));
    let too_many = lines.iter().any(|(_, line)| line.lake_found > line.lake_expected);
    if too_many || found + first_copy_deleted < expected || doubled > 0 {
        gaps.push(format!(
            "{place}: of {expected} records in the log that the lake should hold it holds {found}, {} rows in all ({doubled} twice)",
            sum(|line| line.lake_rows)
        ));
    }
}

/// What must add up in each partition by itself: a row says where its record was.
fn judge_rows(line: &Line, gaps: &mut Vec<String>) {
    let (topic, partition) = (&line.topic, line.partition);
    if line.warehouse_rows + line.warehouse_pending != line.lake_rows {
        gaps.push(format!(
            "{topic} partition {partition}: {} rows in the lake, {} in the warehouse and {} on the way",
            line.lake_rows, line.warehouse_rows, line.warehouse_pending
        ));
    }
}

fn line(topic: &str, partition: Partition, trimmed_below: u64, cell: &Cell, warehouse_rows: u64) -> Line {
    let counters = &cell.counters;
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
        gap: gap(cell.read, counters.total(), trimmed_below),
    }
}

/// Records read less records accounted for; as many may be accounted for beyond those read as were deleted.
fn gap(read: u64, accounted: u64, trimmed: u64) -> i64 {
    let beyond = accounted as i64 - read as i64;
    if beyond < 0 { -beyond } else { -(beyond - trimmed as i64).max(0) }
}

/// The counting of a log, one partition count after another.
struct Count<'a> {
    intake: IntakeParams,
    ports: &'a Ports,
    /// By partition and topic.
    cells: Vec<Vec<Cell>>,
    saved: Vec<Saved>,
    /// Where the log begins, by partition.
    starts: Vec<Positions>,
    /// How far everything is counted, by partition.
    reached: Vec<Positions>,
    /// The duplicate checks, by partition.
    trackers: Vec<Trackers>,
}

/// What the store says of a partition.
struct Saved {
    status: PartitionStatus,
    positions: HashMap<String, Positions>,
    refused: HashMap<(usize, u64), DeadReason>,
}

impl<'a> Count<'a> {
    fn begin(params: &PipelineParams, ports: &'a Ports, mut lake: HashMap<(String, Partition), LakeCount>) -> Result<Self> {
        let mut count =
            Self { intake: params.intake(), ports, cells: Vec::new(), saved: Vec::new(), starts: Vec::new(), reached: Vec::new(), trackers: Vec::new() };
        for partition in 0..params.partitions {
            let mut cells: Vec<Cell> = params.topics.iter().map(|_| Cell::default()).collect();
            let mut start = Positions::zero();
            for (topic, (name, cell)) in params.topics.iter().zip(&mut cells).enumerate() {
                if let Some((rows, seen, duplicates, loaded, unloaded)) = lake.remove(&(name.clone(), partition)) {
                    (cell.lake_rows, cell.lake_seen, cell.lake_duplicates, cell.loaded, cell.unloaded) = (rows, seen, duplicates, loaded, unloaded);
                }
                start.advance(topic, ports.log.range(name, partition)?.start);
            }
            count.saved.push(saved(ports, partition, &mut cells)?);
            count.cells.push(cells);
            count.reached.push(start.clone());
            count.starts.push(start);
        }
        Ok(count)
    }

    /// Reads on while robots live among so many partitions: to where that ended, or to the end of the log.
    fn read(&mut self, partitions: u32, ended_at: Option<&[Positions]>) -> Result<()> {
        self.trackers = trackers::rehome(std::mem::take(&mut self.trackers), partitions);
        for partition in 0..partitions {
            let until = ended_at.map(|ended_at| ended_at.get(partition as usize).cloned().unwrap_or_default());
            self.read_partition(partition, until.as_ref())?;
        }
        Ok(())
    }

    /// Counts a partition's records by what their family has saved.
    fn read_partition(&mut self, partition: Partition, until: Option<&Positions>) -> Result<()> {
        let at = partition as usize;
        let mut reached = self.reached[at].clone();
        let mut reader = Intake::open(&*self.ports.log, partition, self.intake.clone(), &reached)?;
        let mut patience = POLLS_AGAIN;
        while until.is_none_or(|until| !reached.covers(until)) {
            let chunk = match reader.poll() {
                // A schema may have to be asked for.
                Err(Error::Unavailable { .. }) if patience > 0 => {
                    patience -= 1;
                    std::thread::sleep(POLL_PAUSE);
                    reader = Intake::open(&*self.ports.log, partition, self.intake.clone(), &reached)?;
                    continue;
                }
                polled => polled?,
            };
            if chunk.is_empty() {
                if chunk.caught_up {
                    break;
                }
                // A log that is fetched from afar brings nothing at first.
                std::thread::sleep(FETCH_REST);
                continue;
            }
            reached = chunk.to.clone();
            for entry in &chunk.entries {
                self.take(at, &chunk, *entry, until);
            }
        }
        // What a chunk brought from beyond the end of a layout is read again under the next.
        self.reached[at] = until.map_or(reached, |until| self.reached[at].highest(until));
        Ok(())
    }

    fn take(&mut self, at: usize, chunk: &Chunk, entry: Entry, until: Option<&Positions>) {
        let (topic, offset) = match entry {
            Entry::Row { batch, row } => chunk.place(batch, row),
            Entry::Dead(index) => (chunk.dead[index as usize].topic, chunk.dead[index as usize].offset),
        };
        if until.is_some_and(|until| offset >= until.get(topic)) {
            return;
        }
        let (saved, cell) = (&self.saved[at], &mut self.cells[at][topic]);
        let family = match entry {
            Entry::Row { batch, row } => {
                let (batch, row) = (&chunk.batches[batch as usize].1, row as usize);
                let robot = batch.robot_id(row);
                let again = batch.sequence(row).is_some_and(|sequence| {
                    let tracker = self.trackers[at].entry((robot.to_owned(), topic)).or_default();
                    tracker.judge(batch.boot_id(row).unwrap_or(0), sequence) == Verdict::Duplicate
                });
                cell.duplicates += u64::from(again);
                let refused = saved.refused.get(&(topic, offset));
                // Its schema came too late for it; the lake may have met it later.
                let late = refused == Some(&DeadReason::UnknownSchema);
                let expected = !late || cell.lake_seen.contains(&(offset as i64));
                if expected && !again && offset < saved.status.lake_positions.get(topic) {
                    cell.in_lake += 1;
                }
                if refused.is_some() { "" } else { robot }
            }
            Entry::Dead(_) => "",
        };
        let seen = saved.positions.get(family).map_or(0, |positions| positions.get(topic)).max(saved.status.floor.get(topic));
        if offset < seen {
            cell.read += 1;
        } else {
            cell.pending += 1;
        }
    }
}

/// What the store says of a partition; adds its families' counters to the cells of their topics.
fn saved(ports: &Ports, partition: Partition, cells: &mut [Cell]) -> Result<Saved> {
    let status = ports.store.status(partition)?;
    let mut positions: HashMap<String, Positions> = HashMap::new();
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
        positions.insert(stored.family, stored.positions);
    }
    Ok(Saved { status, positions, refused: refused(ports, partition)? })
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
