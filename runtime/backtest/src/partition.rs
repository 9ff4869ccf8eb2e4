//! One partition: its files cut by cut, a processor for each robot, and what they put out.

use std::collections::HashMap;
use std::sync::Arc;

use theatre_actors::outputs::Outputs;
use theatre_actors::ports::{Error, LakeBytes, Result};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::processor::Processor;
use theatre_actors::rules::CohortAverages;
use theatre_actors::time::LogTime;
use theatre_parquet::merge::{Merge, Run};
use theatre_parquet::records::RecordReader;
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::{Dataset, DatasetIndex, DatasetKind};

use super::Shared;
use super::history::RobotHistory;
use super::plan::{Absent, Cut, Stretch};
use super::seen::Seen;

/// Rows that are handed to the processors at once.
const ROWS_AT_ONCE: usize = 65_536;

/// When a robot was heard last: append time of its row, and whether the row came as it was
/// measured.
#[derive(Debug, Clone, Copy)]
struct Heard {
    append_time: i64,
    is_live: bool,
}

/// A robot on its way through the period.
pub(crate) struct Robot {
    pub(crate) name: String,
    /// Where its rows were met.
    pub(crate) partition: Partition,
    processor: Processor,
    heard: Option<Heard>,
    pub(crate) history: RobotHistory,
}

/// Rows of a batch that are for one robot.
struct Share {
    topic: TopicIndex,
    batch: Arc<Batch>,
    rows: Vec<u32>,
}

/// What a partition came to.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) robots: Vec<Robot>,
    pub(crate) seen: Seen,
    /// Registered as completed, and not in the lake any more.
    pub(crate) gone: Absent,
    /// Rows of topics that are not among the inputs.
    pub(crate) strangers: u64,
}

/// Reads one stretch of a partition.
pub(crate) struct Reader<'a> {
    shared: &'a Shared<'a>,
    stretch: &'a Stretch,
    slots: HashMap<Arc<str>, Option<usize>, foldhash::fast::RandomState>,
    shares: Vec<Vec<Share>>,
    waiting: usize,
    /// Append time of the last row.
    last_append: i64,
    done: Outcome,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>, stretch: &'a Stretch) -> Self {
        Self {
            shared,
            stretch,
            slots: HashMap::default(),
            shares: Vec::new(),
            waiting: 0,
            last_append: i64::MIN,
            done: Outcome::default(),
        }
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// When the lake does not answer, or a file is damaged.
    pub(crate) fn run(mut self) -> Result<Outcome> {
        for cut in &self.stretch.cuts {
            self.read(cut)?;
        }
        self.deliver()?;
        if self.stretch.to.is_none() {
            self.end()?;
        }
        Ok(self.done)
    }

    fn read(&mut self, cut: &Cut) -> Result<()> {
        let mut readers = Vec::with_capacity(cut.files.len());
        for file in &cut.files {
            let path = &file.file.path;
            let Some((index, dataset)) = self.shared.datasets.find(&file.file.dataset) else {
                continue;
            };
            match self.shared.lake.open_file(path) {
                Ok(bytes) => readers.push(self.shared.open(path, &*bytes, dataset, index)?),
                // Deleted by those who keep the lake: the period begins later there.
                Err(Error::Gone(_)) => self.done.gone.count(file),
                Err(error) => return Err(error),
            }
        }
        let mut merge = Merge::new(readers, self.shared.topics)?;
        while let Some(run) = merge.next_run()? {
            self.take(&run)?;
            if self.waiting >= ROWS_AT_ONCE {
                self.deliver()?;
            }
        }
        self.done.strangers += merge.strangers;
        Ok(())
    }

    /// Sorts rows by robot; leaves out those that are outside of the period or of other robots.
    fn take(&mut self, run: &Run) -> Result<()> {
        let batch = &run.batch;
        let is_telemetry = batch.dataset.kind == DatasetKind::Telemetry;
        let times = batch.event_times();
        let mut last: Option<(&str, Option<usize>)> = None;
        for row in run.rows.clone() {
            let append_time = batch.append_times[row];
            // A row of a clock that runs ahead happened when it was appended, at the latest.
            let time = times[row].min(append_time);
            if self.shared.question.to.is_some_and(|to| time >= to)
                || (is_telemetry && self.shared.question.from.is_some_and(|from| time < from))
                || !self.stretch.has(run.topic, batch.offsets[row])
            {
                continue;
            }
            self.last_append = self.last_append.max(append_time);
            let robot = batch.robot_id(row);
            let slot = match last {
                Some((known, slot)) if known == robot => slot,
                _ => self.slot(robot)?,
            };
            last = Some((robot, slot));
            let Some(slot) = slot else { continue };
            self.waiting += 1;
            let shares = &mut self.shares[slot];
            match shares.last_mut() {
                Some(share) if share.topic == run.topic && Arc::ptr_eq(&share.batch, batch) => {
                    share.rows.push(row as u32);
                }
                _ => shares.push(Share {
                    topic: run.topic,
                    batch: batch.clone(),
                    rows: vec![row as u32],
                }),
            }
        }
        Ok(())
    }

    /// The slot of a robot, which it gets when it is met first; `None` for one that is not asked
    /// for.
    fn slot(&mut self, robot: &str) -> Result<Option<usize>> {
        if let Some(slot) = self.slots.get(robot) {
            return Ok(*slot);
        }
        let mut slot = None;
        if self.shared.wants(robot) {
            slot = Some(self.done.robots.len());
            self.done.robots.push(self.newcomer(robot)?);
            self.shares.push(Vec::new());
        }
        self.slots.insert(robot.into(), slot);
        Ok(slot)
    }

    /// A robot that is met first here: as it came out of the layout before, or new.
    fn newcomer(&self, robot: &str) -> Result<Robot> {
        let (partition, config) = (self.stretch.partition, self.shared.config);
        let Some(mut known) = self.shared.parked(robot) else {
            return Ok(Robot {
                name: robot.to_owned(),
                partition,
                processor: Processor::new(robot, config.clone()),
                heard: None,
                history: RobotHistory::default(),
            });
        };
        if known.partition != partition {
            let moved = Processor::moved(&known.processor.snapshot(), &self.stretch.from);
            let restored =
                moved.and_then(|state| Processor::restore(robot, &state, config.clone()));
            known.processor = restored.map_err(|error| {
                Error::Refused(format!(
                    "robot '{robot}' cannot change its partition: {error}"
                ))
            })?;
            known.partition = partition;
        }
        Ok(known)
    }

    /// Hands every robot its rows.
    fn deliver(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        for (slot, shares) in self.shares.iter_mut().enumerate() {
            if shares.is_empty() {
                continue;
            }
            let robot = &mut self.done.robots[slot];
            let mut outputs = Outputs::default();
            for share in std::mem::take(shares) {
                self.done
                    .seen
                    .note(&share.batch, &share.rows, self.shared.watched);
                let from = self.shared.question.from.unwrap_or(i64::MIN);
                robot.history.note_rows(&share.batch, &share.rows, from);
                robot.apply(&share, self.shared, &mut outputs);
            }
            self.done.seen.missing(&outputs);
            robot.history.take(outputs)?;
        }
        self.shared.progress(rows as u64);
        Ok(())
    }

    /// The last row is there: robots that were silent before it are so now.
    fn end(&mut self) -> Result<()> {
        for robot in &mut self.done.robots {
            let mut outputs = Outputs::default();
            robot.tick(self.last_append, self.shared, &mut outputs);
            robot.history.take(outputs)?;
        }
        Ok(())
    }
}

impl Shared<'_> {
    /// Opens a file. Of telemetry only the columns are read on which conditions depend: most of a
    /// row is not looked at by any rule.
    fn open(
        &self,
        path: &str,
        bytes: &dyn LakeBytes,
        dataset: &Arc<Dataset>,
        index: DatasetIndex,
    ) -> Result<RecordReader> {
        let (dataset, is_telemetry) = (dataset.clone(), dataset.kind == DatasetKind::Telemetry);
        let needed = self.needed.get(&index).filter(|_| is_telemetry);
        RecordReader::open_some(path, bytes, dataset, index, |column| {
            needed.is_none_or(|needed| needed.contains(&column))
        })
    }
}

impl Robot {
    /// Averages that rules on cohorts kept to learn from.
    pub(crate) fn averages(&self) -> Vec<CohortAverages> {
        self.processor.cohort_averages()
    }

    /// Applies rows; before a row that comes after a silence the wall clock has gone on.
    fn apply(&mut self, share: &Share, shared: &Shared<'_>, outputs: &mut Outputs) {
        let batch = &share.batch;
        let mut from = 0;
        if batch.dataset.kind.is_of_robot() {
            let times = batch.event_times();
            for (at, row) in share.rows.iter().map(|row| *row as usize).enumerate() {
                let append_time = batch.append_times[row];
                if self.is_silent(append_time, shared) {
                    self.processor
                        .apply(share.topic, batch, &share.rows[from..at], outputs);
                    from = at;
                    self.tick(append_time, shared, outputs);
                }
                self.heard = Some(Heard {
                    append_time,
                    is_live: append_time.saturating_sub(times[row]) <= shared.live_within_us,
                });
            }
        }
        self.processor
            .apply(share.topic, batch, &share.rows[from..], outputs);
    }

    /// Whether the wall clock would have found the robot silent at a moment. One whose rows are
    /// appended long after they were measured is not heard live.
    fn is_silent(&self, now: i64, shared: &Shared<'_>) -> bool {
        self.heard.is_some_and(|heard| {
            heard.is_live && now.saturating_sub(heard.append_time) >= shared.silence_us
        })
    }

    fn tick(&mut self, now: i64, shared: &Shared<'_>, outputs: &mut Outputs) {
        if self.is_silent(now, shared) {
            self.processor.tick(LogTime(now), outputs);
        }
    }
}
