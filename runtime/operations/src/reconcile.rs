//! Reconcile: proves that in = applied + late + duplicate + dead-lettered, that lake and warehouse
//! hold every record once, and every output too; and says what is on its way.
//!
//! `in` is counted by reading the log and decoding every record, not by any counter: a record
//! counts as read when it lies below what its processor has saved, so that holds at any moment,
//! also after a crash. Lake rows are counted in the Parquet files, warehouse rows by query. The
//! store is looked at first, then the lake, then the warehouse, so that on a running system each
//! has at least what the one before it says; files that go on meanwhile are found by looking twice.
//!
//! What is not there yet is counted where it waits: records for their processors, records for the
//! lake (its writer has not come so far, or their file is not completed), outputs for their
//! publication and their export, rows for the warehouse. What is neither there nor on its way is a
//! gap.
//!
//! After a repartition a processor's counters stand in its new partition and its first records in
//! its old one: then counters add up by topic, not by partition. Duplicates are judged as they were
//! when the records came, partition count by partition count.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use theatre_actors::outputs::DeadReason;
use theatre_actors::ports::{Error, PartitionStatus, RegisteredFile, Result};
use theatre_actors::position::Partition;

use count::{Cell, Count};
use erased::Erasures;
use theatre_pipeline::outbox::{self, EXPORTER};
use theatre_pipeline::{PipelineParams, Ports};

mod count;
mod erased;
mod lake;
mod outputs;
mod tables;

pub use outputs::OutputLine;

/// One topic and partition.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Line {
    pub topic: String,
    pub partition: Partition,
    /// Offsets below this were deleted: what was there is not provable any more, and counters may
    /// hold up to so many records more than `read`.
    pub trimmed_below: u64,
    /// Offsets above it whose records a compaction has removed, as it does with the registries':
    /// the same holds for them.
    pub compacted: u64,
    /// Records in the log that their processors have seen.
    pub read: u64,
    /// Records in the log that their processors have not seen yet.
    pub pending: u64,
    pub applied: u64,
    pub late: u64,
    pub duplicate: u64,
    pub dead: u64,
    /// Of the late and the dead: those of which `theatre dlq purge` has erased what they held.
    pub purged: u64,
    /// Decodable records in the log that are no duplicates, below the lake's position: what the
    /// lake must hold of what is still in the log.
    pub lake_expected: u64,
    /// Of these, in the lake.
    pub lake_found: u64,
    /// Records in the log that the lake had, and that were erased (`theatre lake erase`).
    pub erased: u64,
    /// Records that the lake is still to get.
    pub lake_pending: u64,
    /// Rows in the lake, of deleted offsets too.
    pub lake_rows: u64,
    pub lake_duplicates: u64,
    pub warehouse_rows: u64,
    /// Rows of records that are in the warehouse once more.
    pub warehouse_duplicates: u64,
    /// Rows of the lake that are not in the warehouse yet.
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
    /// By table of outputs.
    pub outputs: Vec<OutputLine>,
    /// Rows that were erased, or are being erased, by table: those of deleted offsets, too.
    pub erased: BTreeMap<String, u64>,
    /// Outputs and dead letters that are not published yet, by consumer.
    pub unpublished: BTreeMap<String, u64>,
    /// True if robots have moved between partitions: a line's counters are those of the robots that
    /// live there now.
    pub repartitioned: bool,
    /// What does not add up, in words.
    pub gaps: Vec<String>,
    /// What is on its way, in words.
    pub pending: Vec<String>,
}

impl Report {
    /// How many records are lost or there twice, at least: a gap that is no count of records, as of
    /// a file that cannot be read, counts as one.
    pub fn gap_records(&self) -> u64 {
        if self.gaps.is_empty() {
            return 0;
        }
        let of_line = |line: &Line| {
            let missing = (line.lake_expected).saturating_sub(line.lake_found + line.lake_pending);
            missing + line.lake_duplicates + line.warehouse_duplicates
        };
        let counted: u64 = self.lines.iter().map(of_line).sum();
        let gaps: u64 = self.lines.iter().map(|line| line.gap.unsigned_abs()).sum();
        (counted + gaps).max(self.gaps.len() as u64)
    }
}

/// What was found not to add up.
#[derive(Default)]
struct Findings {
    gaps: Vec<String>,
    /// More than there should be; on a running system it may have come while this was counting.
    surplus: Vec<String>,
}

impl Findings {
    /// Adds the files that are lost, unless the log is whole and says that no record of theirs is
    /// missing.
    fn add_lost(&mut self, lost: Vec<String>, lines: &[Line]) {
        if !self.gaps.is_empty()
            || lines
                .iter()
                .any(|line| line.trimmed_below + line.compacted > 0)
        {
            self.gaps.extend(lost);
        }
    }
}

/// Counts everything.
///
/// # Errors
/// When something cannot be read.
pub fn run(params: &PipelineParams, ports: &Ports) -> Result<Report> {
    loop {
        let before = erased_files(ports)?;
        let report = look(params, ports)?;
        // A file that was replaced after the register was looked at has other rows than that says.
        if report.gaps.is_empty() || erased_files(ports)? == before {
            return Ok(report);
        }
    }
}

/// Files of which rows are erased, or are being erased.
fn erased_files(ports: &Ports) -> Result<Vec<RegisteredFile>> {
    let mut files = ports.store.all_files()?;
    files.retain(|file| file.file.erased_rows() + file.file.erasing_rows() > 0);
    Ok(files)
}

fn look(params: &PipelineParams, ports: &Ports) -> Result<Report> {
    let past = ports.store.past_layouts()?;
    let mut count = Count::begin(params, ports)?;
    let unpublished = unpublished(params, count.statuses());
    let before = lake::files(params, ports)?;
    let mut lake = lake::read(&before, ports)?;
    count.with_lake(&params.topics, &mut lake.records, Erasures::of(&before));
    let mut found = Findings::default();
    lake::judge(params, ports, &before, &mut lake, &mut found)?;
    let in_warehouse = warehouse_rows(params, ports)?;
    let statuses: Vec<_> = count.statuses().cloned().collect();
    let looked_at = (statuses.as_slice(), &count.erasures);
    let outputs = outputs::judge(params, ports, looked_at, lake.outputs, &mut found)?;
    for layout in &past {
        count.read(layout.partitions, Some(&layout.ended_at))?;
    }
    count.read(params.partitions, None)?;
    count.has_moved = !past.is_empty();
    found.gaps.append(&mut count.gaps);
    found.gaps.extend(count.erasures.gaps());
    // Rows of files that are registered only, until they are found to be those of records that the
    // lake should have.
    let mut registered = lake.registered;
    let mut lines = lines(params, &count, in_warehouse, &mut registered, &mut found);
    lines.sort_by_key(|line| line.partition);
    found.add_lost(lake.lost, &lines);
    if lake::files(params, ports)? == before {
        found.gaps.append(&mut found.surplus);
    }
    let mut pending = pending(&lines, &outputs, &unpublished, registered);
    pending.extend(count.erasures.pending());
    Ok(Report {
        pending,
        erased: count.erasures.by_table(),
        lines,
        outputs,
        unpublished,
        repartitioned: !past.is_empty(),
        gaps: found.gaps,
    })
}

/// A line for each topic and partition, judged. `registered` are rows of files that are registered
/// only, of which those are taken that are found to be on their way.
fn lines(
    params: &PipelineParams,
    count: &Count<'_>,
    mut in_warehouse: HashMap<(String, Partition), (u64, u64)>,
    registered: &mut u64,
    found: &mut Findings,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for (topic, name) in params.topics.iter().enumerate() {
        let cells = (0..).zip(count.cells.iter().zip(&count.starts));
        let of_topic = cells.map(|(partition, (cells, start))| {
            let key = (name.clone(), partition);
            let rows = in_warehouse.remove(&key).unwrap_or_default();
            line(name, partition, start.get(topic), &cells[topic], rows)
        });
        let mut of_topic: Vec<Line> = of_topic.collect();
        if count.has_moved {
            let place = format!("{name}, all partitions");
            judge(&place, &mut of_topic, registered, &mut found.gaps);
        } else {
            for line in &mut of_topic {
                let place = format!("{name} partition {}", line.partition);
                let lines = std::slice::from_mut(line);
                judge(&place, lines, registered, &mut found.gaps);
            }
        }
        for (line, cells) in of_topic.iter_mut().zip(&count.cells) {
            if !params.warehouse {
                line.warehouse_pending = 0;
            } else if !cells[topic].lake.is_being_erased {
                judge_rows(line, &cells[topic], found);
            }
        }
        lines.extend(of_topic);
    }
    lines
}

/// What the consumers that publish have still to do; the exporter's part is counted by table.
fn unpublished<'a>(
    params: &PipelineParams,
    statuses: impl Iterator<Item = &'a PartitionStatus>,
) -> BTreeMap<String, u64> {
    let mut unpublished = BTreeMap::new();
    for status in statuses {
        for (consumer, behind) in outbox::backlogs(params, status) {
            if consumer.name != EXPORTER.name {
                let what = consumer.backlog.into_owned();
                *unpublished.entry(what).or_default() += behind;
            }
        }
    }
    unpublished
}

/// What is on its way, in words, stage by stage.
fn pending(
    lines: &[Line],
    outputs: &[OutputLine],
    unpublished: &BTreeMap<String, u64>,
    registered: u64,
) -> Vec<String> {
    let sum = |value: fn(&Line) -> u64| lines.iter().map(value).sum::<u64>();
    let of_outputs = |value: fn(&OutputLine) -> u64| outputs.iter().map(value).sum::<u64>();
    let records = [
        (
            sum(|line| line.pending),
            "records wait for their processors",
        ),
        (
            sum(|line| line.lake_pending) + registered,
            "records wait for the lake",
        ),
        (
            of_outputs(|line| line.export_pending),
            "outputs wait for their export",
        ),
        (
            of_outputs(|line| line.lake_pending),
            "rows of outputs wait for the lake",
        ),
        (
            sum(|line| line.warehouse_pending) + of_outputs(|line| line.warehouse_pending),
            "rows wait for the warehouse",
        ),
    ];
    let unpublished = unpublished
        .iter()
        .map(|(what, count)| (*count, what.as_str()));
    records
        .into_iter()
        .chain(unpublished)
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
}

/// What must add up over lines that hold all records of their processors; notes their gap.
/// `registered` are rows of files that are not completed: so many may be missing.
fn judge(place: &str, lines: &mut [Line], registered: &mut u64, gaps: &mut Vec<String>) {
    let sum = |value: fn(&Line) -> u64| lines.iter().map(value).sum::<u64>();
    let (read, trimmed) = (
        sum(|line| line.read),
        sum(|line| line.trimmed_below + line.compacted),
    );
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
    let missing = expected.saturating_sub(found + first_copy_deleted);
    let on_the_way = missing.min(*registered);
    if too_many || missing > on_the_way || doubled > 0 {
        gaps.push(format!(
            "{place}: of {expected} records in the log that the lake should hold it holds {found}, {} rows in all ({doubled} twice)",
            sum(|line| line.lake_rows)
        ));
    }
    *registered -= on_the_way;
    let mut left = on_the_way;
    for line in lines.iter_mut() {
        line.gap = gap;
        let here = left.min(line.lake_expected.saturating_sub(line.lake_found));
        line.lake_pending += here;
        left -= here;
    }
}

/// What must add up in each partition by itself: a row says where its record was.
fn judge_rows(line: &Line, cell: &Cell, found: &mut Findings) {
    let place = format!("{} partition {}", line.topic, line.partition);
    let said = format!(
        "{place}: {} rows in the lake, {} in the warehouse and {} on the way",
        line.lake_rows, line.warehouse_rows, line.warehouse_pending
    );
    match line.warehouse_rows.cmp(&cell.lake.loaded) {
        Ordering::Less => found.gaps.push(said),
        Ordering::Greater => found.surplus.push(said),
        Ordering::Equal => {}
    }
    if line.warehouse_duplicates > 0 {
        found.gaps.push(format!(
            "{place}: {} of {} rows in the warehouse are there once more",
            line.warehouse_duplicates, line.warehouse_rows
        ));
    }
}

fn line(
    topic: &str,
    partition: Partition,
    trimmed_below: u64,
    cell: &Cell,
    (warehouse_rows, warehouse_duplicates): (u64, u64),
) -> Line {
    let counters = &cell.counters;
    let in_question = trimmed_below as i64..cell.lake_position as i64;
    let found = cell
        .lake
        .seen
        .iter()
        .filter(|offset| in_question.contains(offset))
        .filter(|offset| (cell.kept.as_ref()).is_none_or(|kept| kept.offsets.contains(offset)));
    Line {
        topic: topic.to_owned(),
        partition,
        trimmed_below,
        compacted: (cell.kept.as_ref()).map_or(0, |kept| kept.holes(trimmed_below)),
        read: cell.read,
        pending: cell.pending,
        applied: counters.applied,
        late: counters.late,
        duplicate: counters.duplicate,
        dead: counters.dead_total(),
        purged: cell.purged,
        lake_expected: cell.in_lake,
        lake_found: found.count() as u64,
        erased: cell.erased,
        lake_pending: cell.not_yet_in_lake,
        lake_rows: cell.lake.rows,
        lake_duplicates: cell.lake.duplicates,
        warehouse_rows,
        warehouse_duplicates,
        warehouse_pending: cell.lake.unloaded,
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
        for row in rows_of(ports, &sql)? {
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

/// What a query of the warehouse finds; nothing where it refuses, for then its table is not there:
/// if anything was loaded into it, that is missing.
fn rows_of(ports: &Ports, sql: &str) -> Result<Vec<Vec<serde_json::Value>>> {
    match ports.warehouse.query(sql) {
        Ok(found) => Ok(found.rows),
        Err(Error::Refused(why)) => {
            tracing::warn!(why, "a table of the warehouse cannot be counted");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
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
