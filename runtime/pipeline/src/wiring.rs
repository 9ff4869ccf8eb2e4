//! The wiring: prepares the world, starts the checkpointer, and joins the log's members; what
//! partitions come is run by the [`Assignment`].
//!
//! One checkpointer for all partitions. A passing fault is retried with back-off and named by
//! readiness; a lost partition is taken again under a new epoch; a refused lake or warehouse is
//! named by readiness and tried again later, without the others. Anything else stops what it
//! belongs to and stays named.
//!
//! **Invariant:** neither lake nor warehouse is asked for anything here: a process starts, saves
//! and alerts while both are away. The loaders make the warehouse's tables ([`super::loading`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use theatre_actors::host::ProcessorHost;
use theatre_actors::ports::{Error, Lane, Membership, Result, TableSpec};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::questions::QuestionDesk;

use super::assignment::Assignment;
use super::checkpointer::Checkpointer;
use super::commit_feed::CommitFeed;
use super::components::{
    Acquired, LakeComponent, PartitionComponent, PublisherComponent, RelayComponent,
};
use super::ends::Ends;
use super::live::LiveQueries;
use super::loading::{LoaderComponent, Tables};
use super::progress::CHECKPOINTER;
use super::queue::CommitQueue;
use super::relay::Relay;
use super::retry::Need;
use super::run_loop::{Component, Flow, IDLE, ON, Rest, Stepper, run_loop};
use super::supervisor::{Hosts, SharedContext};
use super::{PipelineParams, Ports, Progress, Step, notifier};
use theatre_parquet::{outputs, table_spec};
use theatre_telemetry::names;

/// A pipeline that runs.
pub struct Pipeline {
    progress: Arc<Progress>,
    committed: Arc<CommitFeed>,
    flush: Arc<AtomicBool>,
    live: LiveQueries,
    assignment: Arc<Assignment>,
    membership: Box<dyn Membership>,
    checkpointer: JoinHandle<()>,
    /// The checkpointer may end: no partition needs it any more.
    saved: Arc<AtomicBool>,
}

/// Prepares topics and layout, starts the checkpointer, and takes the partitions that this process
/// gets.
///
/// # Errors
/// When the layout differs from the stored one, log or store do not answer, or threads cannot be
/// had.
pub fn start(mut params: PipelineParams, ports: Ports) -> Result<Pipeline> {
    if let Some((known, _)) = ports.store.layout()? {
        params.follow(&known);
    }
    prepare(&params, &ports)?;
    names::begin(&params.topics, params.lake, params.warehouse);
    let context = context(params, ports.clone())?;
    let saved = Arc::new(AtomicBool::new(false));
    let checkpointer = start_checkpointer(&context, saved.clone())?;
    let (progress, committed, flush) = (
        context.progress.clone(),
        context.committed.clone(),
        context.flush.clone(),
    );
    let (params, live) = (context.params.clone(), context.live.clone());
    let assignment = Arc::new(Assignment::new(context));
    let membership = ports
        .log
        .join(&params.topics, params.partitions, assignment.clone())?;
    Ok(Pipeline {
        progress,
        committed,
        flush,
        live,
        assignment,
        membership,
        checkpointer,
        saved,
    })
}

/// What all partitions will share, and a desk at which processors are asked.
pub(super) fn context(params: PipelineParams, ports: Ports) -> Result<SharedContext> {
    let desk = QuestionDesk::start().map_err(thread_error)?;
    let cores = params.cores;
    let hosts: Hosts = Arc::new(move || ProcessorHost::asked_at(desk.address()));
    let context = context_on(Arc::new(params), ports, hosts)?;
    context.progress.run_on(cores);
    Ok(context)
}

/// What all partitions of a process share; `hosts` makes the host of a
/// partition's processors.
///
/// # Errors
/// When a dataset has a column that no table can have.
pub fn context_on(
    params: Arc<PipelineParams>,
    ports: Ports,
    hosts: Hosts,
) -> Result<SharedContext> {
    Ok(SharedContext {
        hosts,
        tables: Arc::new(Tables::new(tables(&params)?)),
        live: LiveQueries::new(params.partitions),
        params,
        ports,
        saves: Arc::new(CommitQueue::default()),
        committed: Arc::new(CommitFeed::default()),
        progress: Arc::new(Progress::default()),
        flush: Arc::new(AtomicBool::new(false)),
    })
}

/// The components of a partition that was just acquired, sink first: threads and simulation run
/// these.
pub(super) fn components(context: &SharedContext, acquired: Acquired) -> Vec<Box<dyn Component>> {
    let (partition, epoch) = (acquired.partition, acquired.epoch);
    let relays = Lane::ALL.map(|lane| {
        Relay::new(
            partition,
            epoch,
            lane,
            &acquired.status,
            context.params.clone(),
            context.ports.clone(),
            context.committed.clone(),
        )
    });
    let news = context.committed.news(partition);
    let (notifiers, at_work) = notifier::components(context, partition, epoch);
    let mut components: Vec<Box<dyn Component>> =
        vec![Box::new(LoaderComponent::new(context, &acquired))];
    components.extend(notifiers);
    components.extend([
        Box::new(PublisherComponent::new(context, &acquired, at_work)) as Box<dyn Component>,
        Box::new(LakeComponent::new(context, &acquired)),
        Box::new(RelayComponent::new(relays, news, acquired.tenure)),
        Box::new(PartitionComponent::new(context, acquired.actor)),
    ]);
    components
}

/// The checkpointer of a process, for all its partitions.
pub fn checkpointer(context: &SharedContext) -> Checkpointer {
    Checkpointer::new(
        &context.params,
        context.ports.clone(),
        context.saves.clone(),
        context.committed.clone(),
        context.progress.clone(),
    )
}

pub(super) fn start_checkpointer(
    context: &SharedContext,
    saved: Arc<AtomicBool>,
) -> Result<JoinHandle<()>> {
    let mut checkpointer = checkpointer(context);
    let submitted = context.saves.submitted.clone();
    let name = CHECKPOINTER.to_owned();
    let mut stepper = Stepper::new(name.clone(), context.progress.clone(), Need::Needed);
    let work = move || {
        let step = || {
            Ok(match checkpointer.step()? {
                Step::Worked => ON,
                Step::Idle => Flow::On(Rest::News(submitted.clone(), IDLE)),
            })
        };
        // What it fails with for good is noted by the stepper.
        drop(run_loop(
            &mut stepper,
            || saved.load(Ordering::Acquire),
            step,
        ));
    };
    spawn(name, work).map_err(thread_error)
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

/// The warehouse's tables: one for each dataset, and those of outputs.
///
/// # Errors
/// When a dataset has a column that no table can have.
pub fn tables(params: &PipelineParams) -> Result<Vec<TableSpec>> {
    let mut tables = Vec::new();
    for (_, dataset) in params.registry.datasets().iter() {
        tables.push(table_spec(dataset)?);
    }
    tables.extend(outputs::tables());
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
    pub fn committed(&self) -> &CommitFeed {
        &self.committed
    }

    /// Asks the processors of the partitions that this process owns.
    pub fn live(&self) -> &LiveQueries {
        &self.live
    }

    /// Where the log ends now, in all partitions, also those of other processes.
    ///
    /// # Errors
    /// When the log cannot be asked.
    pub fn ends(&self) -> Result<Ends> {
        let SharedContext { params, ports, .. } = self.assignment.context();
        Ends::now(&*ports.log, &params.topics, params.partitions)
    }

    /// True when this process owns all partitions and everything below the ends is saved,
    /// published, in the lake and in the warehouse.
    pub fn is_drained_to(&self, ends: &Ends) -> bool {
        ends.iter()
            .all(|(partition, end)| self.is_partition_drained_to(partition, end))
    }

    /// True when this process owns the partition and the same holds for it.
    pub fn is_partition_drained_to(&self, partition: Partition, end: &Positions) -> bool {
        self.owned().contains(&partition) && self.progress.is_partition_drained_to(partition, end)
    }

    /// The partitions that this process owns.
    pub fn owned(&self) -> Vec<Partition> {
        self.assignment.partitions()
    }

    /// Saves everything and writes it outward as soon as it is there instead of waiting for size or
    /// age; for the end of a bounded input. It holds until it is taken back.
    pub fn flush(&self, on: bool) {
        self.flush.store(on, Ordering::Release);
    }

    /// Stops reading, saves all processors, closes files, publishes, leaves the log's members, and
    /// ends; gives up at `deadline`. True when nothing was left behind.
    pub fn stop(self, deadline: Duration) -> bool {
        let mut whole = self.assignment.close(Instant::now() + deadline);
        if let Err(error) = self.membership.leave() {
            tracing::warn!(%error, "the group could not be left in order; it will notice by itself");
        }
        self.saved.store(true, Ordering::Release);
        whole &= self.checkpointer.join().is_ok();
        whole
    }
}
