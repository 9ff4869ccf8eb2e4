//! Reconcile: proves that in = applied + late + duplicate + dead-lettered, and that lake and
//! warehouse hold every record once.
//!
//! `in` is counted by reading the log and decoding every record, not by any counter: a record
//! counts as read when it lies below what its processor has saved, so that holds at any moment,
//! also after a crash. Lake and warehouse are counted one after the other: while files are on their
//! way, they may differ for a moment. Lake rows are counted in the Parquet files, warehouse rows by
//! query. Of outputs, alerts and windows are compared: as many rows as files that were loaded have.
//!
//! After a repartition a processor's counters stand in its new partition and its first records in
//! its old one: then counters add up by topic, not by partition. Duplicates are judged as they were
//! when the records came, partition count by partition count.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use serde::Serialize;
use theatre_actors::outputs::{ALL, DeadReason};
use theatre_actors::ports::{Error, FileStage, RegisteredFile, Result};
use theatre_actors::position::Partition;

use count::{Cell, Count};
use theatre_pipeline::{PipelineParams, Ports};

mod count;

/// One topic and partition.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Line {
    pub topic: String,
    pub partition: Partition,
    /// Offsets below this were deleted: what was there is not provable any more, and counters may
    /// hold up to so many records more than `read`.
    pub trimmed_below: u64,
    /// Records in the log that their processors have seen.
    pub read: u64,
    pub pending: u64,
    pub applied: u64,
    pub late: u64,
    pub duplicate: u64,
    pub dead: u64,
    /// Decodable records in the log that are no duplicates, below the lake's position: what the
    /// lake must hold of what is still in the log.
    pub lake_expected: u64,
    /// Of these, in the lake.
    pub lake_found: u64,
    /// Rows in the lake, of deleted offsets too.
    pub lake_rows: u64,
    pub lake_duplicates: u64,
    pub warehouse_rows: u64,
    /// Rows of records that are in the warehouse once more.
    pub warehouse_duplicates: u64,
    pub warehouse_pending: u64,
    /// Records read less records accounted for; after a repartition those of the whole topic.
    pub gap: i64,
    /// Records in the log that repeat one that is also in the log.
    #[serde(skip)]
    pub duplicates_in_log: u64,
}

/// The proof.
#[derive(Debug, Serialize)]
pub struct Report {
    /// By topic and partition.
    pub lines: Vec<Line>,
    /// True if robots have moved between partitions: a line's counters are those of the robots that
    /// live there now.
    pub repartitioned: bool,
    /// What does not add up, in words.
    pub gaps: Vec<String>,
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
    for (topic, name) in params.topics.iter().enumerate() {
        let cells = (0..).zip(count.cells.iter().zip(&count.starts));
        let of_topic = cells.map(|(partition, (cells, start))| {
            let in_warehouse = warehouse
                .remove(&(name.clone(), partition))
                .unwrap_or_default();
            line(
                name,
                partition,
                start.get(topic),
                &cells[topic],
                in_warehouse,
            )
        });
        let mut of_topic: Vec<Line> = of_topic.collect();
        if past.is_empty() {
            of_topic.iter_mut().for_each(|line| {
                judge(
                    &format!("{name} partition {}", line.partition),
                    std::slice::from_mut(line),
                    &mut gaps,
                )
            });
        } else {
            judge(&format!("{name}, all partitions"), &mut of_topic, &mut gaps);
        }
        if params.warehouse {
            of_topic.iter().for_each(|line| judge_rows(line, &mut gaps));
        }
        lines.extend(of_topic);
    }
    if params.warehouse {
        judge_outputs(ports, &mut gaps)?;
    }
    lines.sort_by_key(|line| line.partition);
    Ok(Report {
        lines,
        repartitioned: !past.is_empty(),
        gaps,
    })
}

/// What must add up over lines that hold all records of their processors; notes their gap.
fn judge(place: &str, lines: &mut [Line], gaps: &mut Vec<String>) {
    let sum = |value: fn(&Line) -> u64| lines.iter().map(value).sum::<u64>();
    let (read, trimmed) = (sum(|line| line.read), sum(|line| line.trimmed_below));
    let gap = gap(
        read,
        sum(|line| line.applied + line.late + line.duplicate + line.dead),
        trimmed,
    );
    if gap != 0 {
        gaps.push(format!(
            "{place}: {read} read, but applied + late + duplicate + dead = {}",
            read as i64 - gap
        ));
    }
    // A record whose first copy was deleted looks like a new one here; processors have counted it
    // as a duplicate.
    let first_copy_deleted = if trimmed > 0 {
        sum(|line| line.duplicate).saturating_sub(sum(|line| line.duplicates_in_log))
    } else {
        0
    };
    let (expected, found, doubled) = (
        sum(|line| line.lake_expected),
        sum(|line| line.lake_found),
        sum(|line| line.lake_duplicates),
    );
    let too_many = lines
        .iter()
        .any(|line| line.lake_found > line.lake_expected);
    if too_many || found + first_copy_deleted < expected || doubled > 0 {
        gaps.push(format!(
            "{place}: of {expected} records in the log that the lake should hold it holds {found}, {} rows in all ({doubled} twice)",
            sum(|line| line.lake_rows)
        ));
    }
    lines.iter_mut().for_each(|line| line.gap = gap);
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
    if line.warehouse_duplicates > 0 {
        gaps.push(format!(
            "{topic} partition {partition}: {} of {} rows in the warehouse are there once more",
            line.warehouse_duplicates, line.warehouse_rows
        ));
    }
}

/// Tables of outputs that get a row for each row of a file: what was loaded is what is there. Kinds
/// whose rows replace each other are left out.
fn judge_outputs(ports: &Ports, gaps: &mut Vec<String>) -> Result<()> {
    let files = ports.store.all_files()?;
    let comparable = ALL.iter().filter(|spec| spec.table.keeps_every_row);
    for table in comparable.map(|spec| spec.kind.table()) {
        let loaded: u64 = files
            .iter()
            .filter(|file| file.stage == FileStage::Loaded && file.file.dataset == table.name)
            .map(|file| file.file.rows)
            .sum();
        let found = ports
            .warehouse
            .query(&format!("SELECT count(*) FROM \"{}\"", table.name))?
            .rows;
        let found = found
            .first()
            .and_then(|row| row.first()?.as_u64())
            .unwrap_or(0);
        if found != loaded {
            gaps.push(format!(
                "{}: {loaded} rows of lake files were loaded, the warehouse has {found}",
                table.name
            ));
        }
    }
    Ok(())
}

fn line(
    topic: &str,
    partition: Partition,
    trimmed_below: u64,
    cell: &Cell,
    (warehouse_rows, warehouse_duplicates): (u64, u64),
) -> Line {
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
        lake_found: cell
            .lake_seen
            .iter()
            .filter(|offset| **offset >= trimmed_below as i64)
            .count() as u64,
        lake_rows: cell.lake_rows,
        lake_duplicates: cell.lake_duplicates,
        warehouse_rows,
        warehouse_duplicates,
        warehouse_pending: cell.unloaded,
        gap: 0,
        duplicates_in_log: cell.duplicates,
    }
}

/// Records read less records accounted for; as many may be accounted for beyond those read as were
/// deleted.
fn gap(read: u64, accounted: u64, trimmed: u64) -> i64 {
    let beyond = accounted as i64 - read as i64;
    if beyond < 0 {
        -beyond
    } else {
        -(beyond - trimmed as i64).max(0)
    }
}

type LakeCount = (u64, HashSet<i64>, u64, u64, u64);

/// Rows in completed files by topic and partition: (rows, offsets, offsets seen twice, of them
/// loaded, not loaded).
fn lake_rows(ports: &Ports) -> Result<HashMap<(String, Partition), LakeCount>> {
    let mut counts: HashMap<(String, Partition), LakeCount> = HashMap::new();
    let visible = |file: &RegisteredFile| {
        file.file.path.starts_with("data/")
            && !matches!(file.stage, FileStage::Registered | FileStage::Lost)
    };
    for file in ports.store.all_files()?.into_iter().filter(visible) {
        for rows in theatre_parquet::read(&file.file.path, ports.lake.read(&file.file.path)?)? {
            let rows = rows.map_err(|error| {
                Error::Refused(format!("lake file '{}': {error}", file.file.path))
            })?;
            let meta = rows.columns().get(..3).and_then(|meta| {
                Some((
                    meta[0].as_string_opt::<i32>()?,
                    meta[1].as_primitive_opt::<Int32Type>()?,
                    meta[2].as_primitive_opt::<Int64Type>()?,
                ))
            });
            let (topics, partitions, offsets) = meta.ok_or_else(|| {
                Error::Refused(format!(
                    "lake file '{}' does not begin with topic, partition and offset",
                    file.file.path
                ))
            })?;
            for row in 0..rows.num_rows() {
                let count = counts
                    .entry((
                        topics.value(row).to_owned(),
                        partitions.value(row) as Partition,
                    ))
                    .or_default();
                count.0 += 1;
                count.2 += u64::from(!count.1.insert(offsets.value(row)));
                if file.stage == FileStage::Loaded {
                    count.3 += 1
                } else {
                    count.4 += 1
                }
            }
        }
    }
    Ok(counts)
}

/// Rows of records by topic and partition: all of them, and those whose offset is there once more.
fn warehouse_rows(
    params: &PipelineParams,
    ports: &Ports,
) -> Result<HashMap<(String, Partition), (u64, u64)>> {
    let mut counts: HashMap<(String, Partition), (u64, u64)> = HashMap::new();
    if !params.warehouse {
        return Ok(counts);
    }
    for (_, dataset) in params.registry.datasets().iter() {
        let sql = format!(
            "SELECT _topic, _partition, count(*), count(DISTINCT _offset) FROM \"{}\" GROUP BY 1, 2",
            dataset.name
        );
        for row in ports.warehouse.query(&sql)?.rows {
            if let [topic, partition, rows, offsets] = row.as_slice() {
                let key = (
                    topic.as_str().unwrap_or_default().to_owned(),
                    partition.as_u64().unwrap_or(0) as Partition,
                );
                let (rows, offsets) = (rows.as_u64().unwrap_or(0), offsets.as_u64().unwrap_or(0));
                let count = counts.entry(key).or_default();
                (count.0, count.1) = (count.0 + rows, count.1 + rows.saturating_sub(offsets));
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
        *counts
            .entry(DeadReason::as_str(stored.dead.reason))
            .or_insert(0) += 1;
    }
    Ok(counts)
}
