//! Rules tried on the past: the very actors of a live run, over the records that the lake keeps.
//!
//! [`run()`] reads the files of a period, partition by partition in the order of the log, hands the
//! rows to a processor for each robot, and gathers their conditions, faults and services.
//! [`scoring`] says, as a function of those, how well the conditions announced what happened;
//! [`unknown`] says what cannot be known from a lake; [`picture`] draws it. [`learning`] makes of
//! the same actors' averages what is normal for the robots of a model. The actors are without what
//! no condition depends on: windows that no rule judges, and columns that no rule looks at.
//!
//! Called by `theatre rules test` and `theatre rules learn`. Invariants: nothing is written,
//! neither to the lake nor to the store; no clock is read; the result depends on the files and the
//! question alone, not on how many threads read. Memory holds the files of one cut for each thread,
//! and the robots.

pub mod history;
pub mod learning;
mod partition;
pub mod picture;
mod plan;
pub mod scoring;
pub mod seen;
#[cfg(test)]
mod tests;
pub mod unknown;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use theatre_actors::ports::{Error, Lake, PastLayout, RegisteredFile, Result};
use theatre_actors::position::Partition;
use theatre_actors::processor::ProcessorConfig;
use theatre_schemas::dataset::{DatasetIndex, Datasets};

use history::RobotHistory;
use learning::RobotAverages;
use partition::{Outcome, Reader, Robot};
use plan::{Absent, Plan, Stretch};
use seen::{Seen, Watched};
use unknown::Unknown;

/// What is asked. Times are event times, microseconds UTC.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Where the period begins; `None`: with the lake.
    pub from: Option<i64>,
    /// Before when it ends; `None`: with the lake.
    pub to: Option<i64>,
    /// Only these robots; empty: all.
    pub robots: BTreeSet<String>,
}

/// Where the past is.
pub struct Archive<'a> {
    /// The lake.
    pub lake: &'a dyn Lake,
    /// Its files, as the store registered them.
    pub files: &'a [RegisteredFile],
    /// Input topics in the store's order.
    pub topics: &'a [String],
    /// Partitions now.
    pub partitions: u32,
    /// Partition counts before, oldest first.
    pub past: &'a [PastLayout],
    /// Which of these partitions a robot is at home in; `None` where that is not known.
    pub home: &'a (dyn Fn(&str, &[Partition]) -> Option<Partition> + Sync),
}

/// What became of the robots.
#[derive(Debug, Default)]
pub struct Past {
    /// By robot.
    pub robots: BTreeMap<String, RobotHistory>,
    /// First and last telemetry row of all, event times in microseconds UTC.
    pub period: (i64, i64),
    /// Rows that were applied.
    pub rows: u64,
    /// Averages that rules on cohorts kept to learn from, by robot.
    pub averages: RobotAverages,
    /// What the rows had.
    pub seen: Seen,
    /// What cannot be known.
    pub unknown: Vec<Unknown>,
}

/// What all partitions share.
struct Shared<'a> {
    lake: &'a dyn Lake,
    topics: &'a [String],
    datasets: &'a Datasets,
    config: &'a Arc<ProcessorConfig>,
    question: &'a Question,
    watched: &'a Watched,
    /// Columns on which conditions depend, by dataset.
    needed: BTreeMap<DatasetIndex, BTreeSet<usize>>,
    /// After so long without a row a robot is silent by some rule, microseconds.
    silence_us: i64,
    /// A row that is appended within this of its event time came live, microseconds.
    live_within_us: i64,
    /// Robots between two layouts.
    parked: Mutex<BTreeMap<String, Robot>>,
    done: AtomicU64,
    on_progress: &'a (dyn Fn(u64) + Sync),
}

impl Shared<'_> {
    fn wants(&self, robot: &str) -> bool {
        let robots = &self.question.robots;
        robots.is_empty() || robots.contains(robot)
    }

    fn parked(&self, robot: &str) -> Option<Robot> {
        lock(&self.parked).remove(robot)
    }

    fn progress(&self, rows: u64) {
        (self.on_progress)(self.done.fetch_add(rows, Ordering::Relaxed) + rows);
    }
}

/// Locks what no holder leaves half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the actors over the past, with so many threads. `on_progress` is called with the rows so
/// far.
///
/// # Errors
/// `Refused` when there is no row in the period, or a file is damaged; others when the lake does
/// not answer.
pub fn run(
    archive: &Archive<'_>,
    config: &Arc<ProcessorConfig>,
    datasets: &Datasets,
    question: &Question,
    threads: usize,
    on_progress: &(dyn Fn(u64) + Sync),
) -> Result<Past> {
    let plan = Plan::new(
        archive.files,
        archive.partitions,
        archive.past,
        datasets,
        question,
    );
    let config = &Arc::new(config.for_rules());
    let mut watched = Watched::new();
    for slot in 0..config.rules.rules().len() {
        for (dataset, signal) in config.rules.watched(slot) {
            watched.entry(dataset).or_default().insert(signal);
        }
    }
    let shared = Shared {
        lake: archive.lake,
        topics: archive.topics,
        datasets,
        config,
        question,
        watched: &watched,
        needed: datasets
            .iter()
            .map(|(index, dataset)| (index, config.columns_of_rules(index, dataset)))
            .collect(),
        silence_us: config.rules.silence_us(config.time.silence_after_us),
        live_within_us: config
            .time
            .allowed_lateness_us
            .max(config.time.silence_after_us),
        parked: Mutex::default(),
        done: AtomicU64::new(0),
        on_progress,
    };
    let mut sum = Sum::default();
    for layout in &plan.layouts {
        let outcomes = read(&shared, layout, threads.max(1))?;
        sum.add(outcomes, archive, &shared);
    }
    let mut past = Past {
        seen: std::mem::take(&mut sum.seen),
        ..Past::default()
    };
    for (name, robot) in std::mem::take(&mut *lock(&shared.parked)) {
        past.rows += robot.history.rows;
        past.averages.insert(name.clone(), robot.averages());
        past.robots.insert(name, robot.history);
    }
    let spans = || past.robots.values().filter_map(|robot| robot.telemetry);
    let first = spans().map(|(first, _)| first).min();
    let last = spans().map(|(_, last)| last).max();
    let Some(period) = first.zip(last) else {
        return Err(nothing(&plan, archive, question));
    };
    past.period = period;
    past.unknown = unknown::of(&plan, &past, config, datasets, question);
    past.unknown.extend(sum.unknown());
    Ok(past)
}

/// Reads the stretches of a layout, each by one thread.
fn read(shared: &Shared<'_>, layout: &[Stretch], threads: usize) -> Result<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Result<Outcome>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.min(layout.len()) {
            scope.spawn(|| {
                while let Some(stretch) = layout.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = Reader::new(shared, stretch).run();
                    if result.is_err() {
                        // The others need not begin.
                        next.store(layout.len(), Ordering::Relaxed);
                    }
                    lock(&results).push(result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().collect()
}

/// What all partitions came to.
#[derive(Default)]
struct Sum {
    seen: Seen,
    gone: Absent,
    strangers: u64,
    /// Rows of robots at home elsewhere, and some of these robots.
    elsewhere: (u64, BTreeSet<String>),
}

impl Sum {
    /// Adds the partitions of a layout; their robots wait for the next one. Of a robot that was met
    /// in several partitions the one in which it is at home counts.
    fn add(&mut self, outcomes: Vec<Outcome>, archive: &Archive<'_>, shared: &Shared<'_>) {
        let mut by_name: BTreeMap<String, Vec<Robot>> = BTreeMap::new();
        for outcome in outcomes {
            self.seen.add(outcome.seen);
            self.gone.files += outcome.gone.files;
            self.gone.rows += outcome.gone.rows;
            self.strangers += outcome.strangers;
            for robot in outcome.robots {
                by_name.entry(robot.name.clone()).or_default().push(robot);
            }
        }
        let mut parked = lock(&shared.parked);
        for (name, mut robots) in by_name {
            robots.sort_by_key(|robot| robot.partition);
            let partitions: Vec<Partition> = robots.iter().map(|robot| robot.partition).collect();
            let home = (partitions.len() > 1)
                .then(|| (archive.home)(&name, &partitions))
                .flatten();
            let most = |robot: &Robot| (Some(robot.partition) == home, robot.history.rows);
            let Some(at) = (0..robots.len()).max_by_key(|at| most(&robots[*at])) else {
                continue;
            };
            let kept = robots.swap_remove(at);
            for other in robots {
                self.elsewhere.0 += other.history.rows;
                self.elsewhere.1.insert(name.clone());
            }
            parked.insert(name, kept);
        }
    }

    fn unknown(&self) -> Vec<Unknown> {
        let mut unknown = Vec::new();
        if self.gone.files > 0 {
            unknown.push(Unknown::new(
                "files_gone",
                format!(
                    "{} rows in {} files were deleted from the lake",
                    self.gone.rows, self.gone.files
                ),
            ));
        }
        if self.strangers > 0 {
            unknown.push(Unknown::new(
                "other_topics",
                format!(
                    "{} rows came from topics that are no inputs any more: left out",
                    self.strangers
                ),
            ));
        }
        let (rows, robots) = &self.elsewhere;
        if *rows > 0 {
            let some: Vec<&str> = robots.iter().take(3).map(String::as_str).collect();
            unknown.push(Unknown::new(
                "wrong_partition",
                format!(
                    "{rows} rows of {} robots ({}) were written to a partition in which the robot is not at home: left out, as a live run refuses them",
                    robots.len(),
                    some.join(", ")
                ),
            ));
        }
        unknown
    }
}

/// Why there is nothing to say.
fn nothing(plan: &Plan, archive: &Archive<'_>, question: &Question) -> Error {
    let robots = if question.robots.is_empty() {
        String::new()
    } else {
        let named: Vec<&str> = question.robots.iter().map(String::as_str).collect();
        format!(" of {}", named.join(", "))
    };
    let why = match plan.lake {
        Some((first, last)) => format!(
            "it holds telemetry from {} to {}: give another period (--from, --to), or other robots (`theatre robots list`)",
            unknown::time(first),
            unknown::time(last)
        ),
        None if archive.files.is_empty() => {
            "no file is registered: let `theatre run` write them first".to_owned()
        }
        None => "it holds no telemetry: `theatre lake list` shows its files".to_owned(),
    };
    Error::Refused(format!(
        "the lake has no telemetry{robots} in the period; {why}"
    ))
}
