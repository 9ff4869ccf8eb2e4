//! The wiring: prepares the world, starts the saver, and joins the log's members; what partitions
//! come is run by the [`Roster`].
//!
//! One saver for all partitions. A passing fault is retried with back-off and named by readiness; a
//! lost partition is taken again under a new epoch; a refused lake or warehouse is named by
//! readiness and tried again later, without the others. Anything else stops what it belongs to and
//! stays named.
//!
//! **Invariant:** neither lake nor warehouse is asked for anything here: a process starts, saves
//! and alerts while both are away. The loaders make the warehouse's tables ([`super::loading`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use theatre_actors::effect::FactKind;
use theatre_actors::ports::{Error, Membership, Result, TableSpec};
use theatre_actors::position::Partition;
use theatre_actors::shell::Stage;

use super::committed::Committed;
use super::loading::Tables;
use super::queue::SaveQueue;
use super::roster::Roster;
use super::saving::Saver;
use super::stepping::{Component, IDLE, ON, Refused, keep_stepping};
use super::unit::Common;
use super::{PipelineParams, Ports, Progress, Step};
use crate::parquet::{facts, table_spec};

/// A pipeline that runs.
pub struct Pipeline {
    progress: Arc<Progress>,
    committed: Arc<Committed>,
    flush: Arc<AtomicBool>,
    roster: Arc<Roster>,
    membership: Box<dyn Membership>,
    saver: JoinHandle<()>,
    /// The saver may end: no partition needs it any more.
    saved: Arc<AtomicBool>,
}

/// Prepares topics and layout, starts the saver, and takes the partitions that this process gets.
///
/// # Errors
/// When the layout differs from the stored one, log or store do not answer, or threads cannot be
/// had.
pub fn start(params: PipelineParams, ports: Ports) -> Result<Pipeline> {
    prepare(&params, &ports)?;
    let common = common(params, ports.clone())?;
    let saved = Arc::new(AtomicBool::new(false));
    let saver = start_saver(&common, saved.clone())?;
    let (progress, committed, flush) = (
        common.progress.clone(),
        common.committed.clone(),
        common.flush.clone(),
    );
    let params = common.params.clone();
    let roster = Arc::new(Roster::new(common));
    let membership = ports
        .log
        .join(&params.topics, params.partitions, roster.clone())?;
    Ok(Pipeline {
        progress,
        committed,
        flush,
        roster,
        membership,
        saver,
        saved,
    })
}

/// What all partitions will share.
pub(super) fn common(params: PipelineParams, ports: Ports) -> Result<Common> {
    Ok(Common {
        stage: Arc::new(Stage::start(params.arbiters).map_err(thread_error)?),
        tables: Arc::new(Tables::new(tables(&params)?)),
        params: Arc::new(params),
        ports,
        saves: Arc::new(SaveQueue::default()),
        committed: Arc::new(Committed::default()),
        progress: Arc::new(Progress::default()),
        flush: Arc::new(AtomicBool::new(false)),
    })
}

pub(super) fn start_saver(common: &Common, saved: Arc<AtomicBool>) -> Result<JoinHandle<()>> {
    let (progress, saves) = (common.progress.clone(), common.saves.clone());
    let mut saver = Saver::new(
        &common.params,
        common.ports.clone(),
        saves.clone(),
        common.committed.clone(),
        progress.clone(),
    );
    let work = move || {
        let mut seen = 0;
        let step = || {
            if saver.step()? == Step::Idle {
                seen = saves.submitted.wait(seen, IDLE);
            }
            Ok(ON)
        };
        // What it fails with for good is noted by the one who steps it.
        let component = Component {
            name: "saver",
            progress: &progress,
            held: None,
            refused: Refused::Stops,
        };
        drop(keep_stepping(
            &component,
            || saved.load(Ordering::Acquire),
            step,
        ));
    };
    spawn("saver".to_owned(), work).map_err(thread_error)
}

/// Makes topics and layout; refuses a layout that differs from the stored one.
///
/// What is recorded once, a partition count or one more input, cannot be taken back: where the
/// store has no objection, topics that are there have the first word.
///
/// # Errors
/// Says what differs.
pub fn prepare(params: &PipelineParams, ports: &Ports) -> Result<()> {
    let topics = || {
        ports
            .log
            .ensure_topics(&params.all_topics(), params.partitions)
    };
    let layout = || ports.store.ensure_layout(&params.topics, params.partitions);
    let fits = |(known, count): (Vec<String>, u32)| {
        params.topics.starts_with(&known) && count == params.partitions
    };
    if ports.store.layout()?.is_none_or(fits) {
        topics().and_then(|()| layout())
    } else {
        layout()
    }
}

/// The warehouse's tables: one for each dataset, and those of facts.
///
/// # Errors
/// When a dataset has a column that no table can have.
pub fn tables(params: &PipelineParams) -> Result<Vec<TableSpec>> {
    let mut tables = Vec::new();
    for (_, dataset) in params.registry.datasets().iter() {
        tables.push(table_spec(dataset)?);
    }
    tables.extend([FactKind::Alert, FactKind::Outcome, FactKind::Window].map(facts::table));
    Ok(tables)
}

pub(super) fn spawn<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name).spawn(work)
}

pub(super) fn thread_error(error: std::io::Error) -> Error {
    Error::Refused(format!("a thread cannot be started: {error}"))
}

impl Pipeline {
    /// How far it is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// What is committed, and how long committing and publishing takes.
    pub fn committed(&self) -> &Committed {
        &self.committed
    }

    /// True when this process owns partitions and everything read of them so far is saved,
    /// published, in the lake and in the warehouse, and nothing is left to read.
    pub fn drained(&self) -> bool {
        self.progress.drained(&self.roster.partitions())
    }

    /// The partitions that this process owns.
    pub fn owned(&self) -> Vec<Partition> {
        self.roster.partitions()
    }

    /// Writes everything outward as soon as it is there instead of waiting for size or age; for the
    /// end of a bounded input.
    pub fn flush(&self, on: bool) {
        self.flush.store(on, Ordering::Release);
    }

    /// Stops reading, saves all families, closes files, publishes, leaves the log's members, and
    /// ends; gives up at `deadline`. True when nothing was left behind.
    pub fn stop(self, deadline: Duration) -> bool {
        let mut whole = self.roster.close(Instant::now() + deadline);
        if let Err(error) = self.membership.leave() {
            tracing::warn!(%error, "the group could not be left in order; it will notice by itself");
        }
        self.saved.store(true, Ordering::Release);
        whole &= self.saver.join().is_ok();
        whole
    }
}
