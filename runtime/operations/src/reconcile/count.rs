//! Counts the records of a log by what their processors have saved, and judges duplicates as they
//! were judged when the records came.

use std::collections::{HashMap, HashSet};

use theatre_actors::outputs::{Counters, DeadReason, DeadRow};
use theatre_actors::ports::{Error, PartitionStatus, Result};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::processor::{IntakeProcessor, ProcessorView};

use super::erased::Erasures;
use super::lake::LakeCount;
use theatre_pipeline::actor_keys::{ActorKeys, is_registry};
use theatre_pipeline::intake::{Chunk, Entry, Intake, IntakeParams};
use theatre_pipeline::trackers::{self, Trackers};
use theatre_pipeline::{PipelineParams, Ports};

/// How long to wait before a log is asked again that had nothing to bring and has not ended.
const FETCH_REST: std::time::Duration = std::time::Duration::from_millis(5);

/// A log or source of schemas that does not answer is tried again so often.
const POLLS_AGAIN: usize = 40;
const POLL_PAUSE: std::time::Duration = std::time::Duration::from_millis(250);

/// What is counted of one topic in one partition.
#[derive(Default)]
pub(super) struct Cell {
    pub(super) read: u64,
    pub(super) pending: u64,
    /// What the lake should have, below its position.
    pub(super) in_lake: u64,
    /// What it will have once its writer has come so far.
    pub(super) not_yet_in_lake: u64,
    /// What it had and what was erased.
    pub(super) erased: u64,
    /// Records in the log that repeat one that is also in the log.
    pub(super) duplicates: u64,
    pub(super) counters: Counters,
    pub(super) lake: LakeCount,
    /// The lake's position when the store was looked at.
    pub(super) lake_position: u64,
    /// The records of a topic that is compacted, which are not all that were there.
    pub(super) kept: Option<Kept>,
    /// Dead letters of which the content is erased.
    pub(super) purged: u64,
}

/// What compaction has left of a topic.
#[derive(Default)]
pub(super) struct Kept {
    /// Offsets of the records that are there.
    pub(super) offsets: HashSet<i64>,
    /// The offset after the last of them.
    end: u64,
}

impl Kept {
    /// How many offsets from `start` on have no record.
    pub(super) fn holes(&self, start: u64) -> u64 {
        (self.end.saturating_sub(start)).saturating_sub(self.offsets.len() as u64)
    }
}

/// The counting of a log, one partition count after another.
pub(super) struct Count<'a> {
    intake: IntakeParams,
    ports: &'a Ports,
    with_lake: bool,
    /// What cannot be read.
    pub(super) gaps: Vec<String>,
    /// By partition and topic.
    pub(super) cells: Vec<Vec<Cell>>,
    /// What was erased from the lake.
    pub(super) erasures: Erasures,
    /// Whether robots have moved between partitions.
    pub(super) has_moved: bool,
    saved: Vec<Saved>,
    /// Where the log begins, by partition.
    pub(super) starts: Vec<Positions>,
    /// How far everything is counted, by partition.
    reached: Vec<Positions>,
    /// The duplicate checks, by partition.
    trackers: Vec<Trackers>,
    /// How they move from one partition count to the next.
    keys: ActorKeys,
}

/// What the store says of a partition.
struct Saved {
    status: PartitionStatus,
    positions: HashMap<String, Positions>,
    refused: HashMap<(usize, u64), DeadReason>,
}

impl<'a> Count<'a> {
    /// Looks at the store, before anything else is looked at: what moves meanwhile lies above.
    pub(super) fn begin(params: &PipelineParams, ports: &'a Ports) -> Result<Self> {
        let mut count = Self {
            intake: params.intake(),
            ports,
            with_lake: params.lake,
            gaps: Vec::new(),
            cells: Vec::new(),
            erasures: Erasures::default(),
            has_moved: false,
            saved: Vec::new(),
            starts: Vec::new(),
            reached: Vec::new(),
            trackers: Vec::new(),
            keys: ActorKeys::read(params, &*ports.log, params.partitions)?,
        };
        for partition in 0..params.partitions {
            let mut cells: Vec<Cell> = params.topics.iter().map(|_| Cell::default()).collect();
            let saved = saved(ports, partition, &mut cells)?;
            let mut start = Positions::zero();
            for (topic, (name, cell)) in params.topics.iter().zip(&mut cells).enumerate() {
                cell.kept = is_registry(name).then(Kept::default);
                cell.lake_position = saved.status.lake_positions.get(topic);
                start.advance(topic, ports.log.range(name, partition)?.start);
            }
            count.saved.push(saved);
            count.cells.push(cells);
            count.reached.push(start.clone());
            count.starts.push(start);
        }
        Ok(count)
    }

    /// Where the partitions stood when the store was looked at, by number.
    pub(super) fn statuses(&self) -> impl Iterator<Item = &PartitionStatus> {
        self.saved.iter().map(|saved| &saved.status)
    }

    /// Adds what the lake has.
    pub(super) fn with_lake(
        &mut self,
        topics: &[String],
        lake: &mut HashMap<(String, Partition), LakeCount>,
        erasures: Erasures,
    ) {
        for (partition, cells) in (0..).zip(&mut self.cells) {
            let is_being_erased = erasures.is_under_way_in(partition);
            for (name, cell) in topics.iter().zip(cells) {
                cell.lake = lake.remove(&(name.clone(), partition)).unwrap_or_default();
                cell.lake.is_being_erased = is_being_erased;
            }
        }
        self.erasures = erasures;
    }

    /// Reads on while robots live among so many partitions: to where that ended, or to the end of
    /// the log.
    pub(super) fn read(&mut self, partitions: u32, ended_at: Option<&[Positions]>) -> Result<()> {
        self.trackers =
            trackers::rehome(std::mem::take(&mut self.trackers), partitions, &self.keys);
        for partition in 0..partitions {
            let until = ended_at.map(|ended_at| {
                ended_at
                    .get(partition as usize)
                    .cloned()
                    .unwrap_or_default()
            });
            self.read_partition(partition, until.as_ref())?;
        }
        Ok(())
    }

    /// Counts a partition's records by what their processor has saved.
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
                    reader =
                        Intake::open(&*self.ports.log, partition, self.intake.clone(), &reached)?;
                    continue;
                }
                // What lies behind cannot be counted: it is missing in every sum.
                Err(Error::Refused(why)) => {
                    self.gaps.push(format!("partition {partition}: {why}"));
                    break;
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
            Entry::Dead(index) => (
                chunk.dead[index as usize].topic,
                chunk.dead[index as usize].offset,
            ),
        };
        if until.is_some_and(|until| offset >= until.get(topic)) {
            return;
        }
        let (saved, cell) = (&self.saved[at], &mut self.cells[at][topic]);
        if let Some(kept) = &mut cell.kept {
            kept.offsets.insert(offset as i64);
            kept.end = kept.end.max(offset + 1);
        }
        let processor = match entry {
            Entry::Row { batch, row } => {
                let (batch, row) = (&chunk.batches[batch as usize].1, row as usize);
                let robot = batch.robot_id(row);
                let boot = batch.boot_id(row).unwrap_or(0);
                let refused = saved.refused.get(&(topic, offset));
                // It could not be read when its robot should have seen it, and can be now; the lake
                // may have met it later. Else its number was not seen either: the record may have
                // been sent again.
                let late = refused.is_some_and(|reason| *reason != DeadReason::WrongPartition);
                let expected = !late || cell.lake.seen.contains(&(offset as i64));
                let again = expected
                    && batch.sequence(row).is_some_and(|sequence| {
                        self.trackers[at].is_duplicate(robot, topic, boot, sequence)
                    });
                cell.duplicates += u64::from(again);
                if expected && !again && self.with_lake {
                    if offset >= cell.lake_position {
                        cell.not_yet_in_lake += 1;
                    } else if !cell.lake.seen.contains(&(offset as i64))
                        && self.erasures.takes(at as Partition, batch, row)
                    {
                        cell.erased += 1;
                    } else {
                        cell.in_lake += 1;
                    }
                }
                if refused.is_some() { "" } else { robot }
            }
            Entry::Dead(_) => "",
        };
        let seen = saved
            .positions
            .get(processor)
            .map_or(0, |positions| positions.get(topic))
            .max(saved.status.floor.get(topic));
        if offset < seen {
            cell.read += 1;
        } else {
            cell.pending += 1;
        }
    }
}

/// What the store says of a partition; adds its processors' counters to the cells of their topics.
fn saved(ports: &Ports, partition: Partition, cells: &mut [Cell]) -> Result<Saved> {
    let status = ports.store.status(partition)?;
    let mut positions: HashMap<String, Positions> = HashMap::new();
    for stored in ports.store.processors(partition)? {
        let unreadable = |error| {
            Error::Refused(format!(
                "the state of processor '{}' cannot be read: {error}",
                stored.processor
            ))
        };
        let counters = if stored.processor.is_empty() {
            IntakeProcessor::restore(&stored.state)
                .map_err(unreadable)?
                .counters()
                .to_vec()
        } else {
            ProcessorView::from_state(&stored.processor, &stored.state)
                .map_err(unreadable)?
                .counters
        };
        for (cell, counted) in cells.iter_mut().zip(&counters) {
            cell.counters.add(counted);
        }
        positions.insert(stored.processor, stored.positions);
    }
    Ok(Saved {
        status,
        positions,
        refused: refused(ports, partition, cells)?,
    })
}

/// Records that the intake processor accounts though they may name a robot: the robot's home is
/// another partition, or they could not be read then. By topic and offset. Counts dead letters of
/// which the content is erased: they are among the others.
fn refused(
    ports: &Ports,
    partition: Partition,
    cells: &mut [Cell],
) -> Result<HashMap<(usize, u64), DeadReason>> {
    const PAGE: usize = 1000;
    let (mut found, mut after) = (HashMap::new(), 0);
    loop {
        let page = ports.store.dead_after(partition, after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(found);
        };
        after = last.sequence;
        for purged in page.iter().filter(|stored| stored.purged_at.is_some()) {
            if let Some(cell) = cells.get_mut(purged.dead.topic) {
                cell.purged += 1;
            }
        }
        let ours =
            |dead: &&DeadRow| dead.reason == DeadReason::WrongPartition || dead.robot_id.is_none();
        let dead = page.iter().map(|stored| &stored.dead).filter(ours);
        found.extend(dead.map(|dead| ((dead.topic, dead.offset), dead.reason)));
    }
}
