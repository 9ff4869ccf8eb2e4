//! The thread of one broker, which fetches the partitions that this broker leads over one
//! connection. The next request goes out as soon as an answer is received: readers look into the
//! records on their own threads.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::cluster::Cluster;
use super::connection::{Connection, FETCH_VERSION};
use super::fetch_response;
use super::partition::{Next, Partition};
use super::plan::{Plan, Request};
use super::session::{Session, Taken};
use super::signal::Signal;
use super::transport::{Address, ConnectionFailure, Result};

/// A thread without a partition ends after this, and with it the connection.
const IDLE: Duration = Duration::from_secs(60);
/// Longest pause that a broker may ask for.
const THROTTLE_MAX: Duration = Duration::from_secs(300);
/// Pause after an answer that came early and brought nothing, so that a broker that is at odds with
/// itself is not asked without pause.
const EMPTY_PAUSE: Duration = Duration::from_millis(5);

/// A broker that leads partitions.
#[derive(Debug)]
pub(super) struct Leader {
    id: i32,
    /// Wakes its thread.
    pub(super) signal: Arc<Signal>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    address: Address,
    partitions: Vec<Arc<Partition>>,
    /// Whether one of them has several readers, or had when the last one came.
    are_doubled: bool,
    is_running: bool,
}

impl Leader {
    /// Without a partition and a thread.
    pub(super) fn new(id: i32, address: Address) -> Self {
        Self {
            id,
            signal: Arc::default(),
            state: Mutex::new(State {
                address,
                partitions: Vec::new(),
                are_doubled: false,
                is_running: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn address(&self) -> Address {
        self.lock().address.clone()
    }

    pub(super) fn set_address(&self, address: Address) {
        self.lock().address = address;
    }

    /// Adds a partition, unless it is there; true if a thread has to be started, which counts as
    /// running from now on.
    pub(super) fn add(&self, partition: Arc<Partition>) -> bool {
        let mut state = self.lock();
        if !state
            .partitions
            .iter()
            .any(|other| Arc::ptr_eq(other, &partition))
        {
            state.partitions.push(partition);
            state.are_doubled = are_doubled(&state.partitions);
        }
        !std::mem::replace(&mut state.is_running, true)
    }

    pub(super) fn remove(&self, partition: &Arc<Partition>) {
        self.lock()
            .partitions
            .retain(|other| !Arc::ptr_eq(other, partition));
    }

    /// Whether it leads a partition that is read.
    pub(super) fn has_partitions(&self) -> bool {
        !self.partitions().is_empty()
    }

    /// Notes that its thread could not be started.
    pub(super) fn set_stopped(&self) {
        self.lock().is_running = false;
    }

    /// The partitions that still have a reader.
    fn partitions(&self) -> Vec<Arc<Partition>> {
        self.readers().0
    }

    /// The partitions that still have a reader, and whether one of them may have several.
    fn readers(&self) -> (Vec<Arc<Partition>>, bool) {
        let mut state = self.lock();
        state.partitions.retain(|partition| !partition.is_closed());
        (state.partitions.clone(), state.are_doubled)
    }

    /// Whether the thread may end: no partition came meanwhile.
    fn stop_if_idle(&self) -> bool {
        let mut state = self.lock();
        let is_idle = state.partitions.is_empty();
        state.is_running &= !is_idle;
        is_idle
    }
}

/// Whether several readers are of one partition.
fn are_doubled(partitions: &[Arc<Partition>]) -> bool {
    let mut places = HashSet::with_capacity(partitions.len());
    partitions
        .iter()
        .filter(|partition| !partition.is_closed())
        .any(|partition| !places.insert(&partition.place))
}

/// The thread of a leader.
pub(super) struct Worker {
    leader: Arc<Leader>,
    cluster: Arc<Cluster>,
    backoff: Backoff,
    session: Session,
}

impl Worker {
    /// To be run by a thread of its own.
    pub(super) fn new(leader: Arc<Leader>, cluster: Arc<Cluster>) -> Self {
        Self {
            backoff: Backoff::new(&cluster.settings),
            session: Session::default(),
            leader,
            cluster,
        }
    }

    /// Fetches until the log is closed, or until the leader has had no partition for a while.
    pub(super) fn run(mut self) {
        while !self.has_ended() {
            if !self.leader.has_partitions() {
                if !self.leader.signal.wait(IDLE) && self.leader.stop_if_idle() {
                    return;
                }
                continue;
            }
            let address = self.leader.address();
            let failure = match catch_unwind(AssertUnwindSafe(|| self.converse(&address))) {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure,
                Err(_) => ConnectionFailure::protocol("an answer ended in a panic".to_owned()),
            };
            if self.has_ended() {
                return;
            }
            self.report(&failure.during(&address.to_string()));
        }
    }

    fn has_ended(&self) -> bool {
        self.cluster.ended.load(Ordering::Acquire)
    }

    fn set_outage(&self, why: Option<&str>) {
        let now = Instant::now();
        for partition in self.leader.partitions() {
            partition.set_outage(why, now);
        }
    }

    /// Tells the partitions why there is no connection, has the leaders looked up, and waits.
    fn report(&mut self, failure: &ConnectionFailure) {
        let why = failure.to_string();
        if failure.is_refusal() {
            tracing::warn!(broker = self.leader.id, %why, "Kafka refuses a connection");
        } else {
            tracing::debug!(broker = self.leader.id, %why, "a connection to Kafka ended");
        }
        self.set_outage(Some(&why));
        self.cluster.want_refresh();
        let pause = if failure.is_refusal() {
            self.backoff.after_refusal()
        } else {
            self.backoff.next()
        };
        self.leader.signal.pause(pause, &self.cluster.ended);
    }

    /// Fetches over one connection, until that fails or is not needed any more.
    fn converse(&mut self, address: &Address) -> Result<()> {
        let cluster = self.cluster.clone();
        let mut connection = Connection::open(address, &cluster.settings, cluster.ended.clone())?;
        self.set_outage(None);
        self.session.restart();
        loop {
            let (partitions, are_doubled) = self.leader.readers();
            let is_moved = self.leader.address() != *address;
            if self.has_ended() || partitions.is_empty() || is_moved {
                return Ok(());
            }
            connection.authenticate_if_due(&cluster.settings)?;
            self.leader.signal.expect();
            match Plan::of(partitions, are_doubled, &cluster.settings, &cluster.memory) {
                Plan::Wait(wait) => {
                    self.leader.signal.wait(wait);
                }
                Plan::Request(request) => {
                    self.fetch(&mut connection, request)?;
                    self.backoff.reset();
                }
                Plan::RequestUnlessRung(wait, request) => {
                    if !self.leader.signal.wait(wait) {
                        self.fetch(&mut connection, request)?;
                    }
                }
            }
        }
    }

    /// Sends a request and hands the answer to its partitions.
    fn fetch(&mut self, connection: &mut Connection, request: Request) -> Result<()> {
        self.leader.signal.expect_none();
        let number = self.cluster.next_request();
        let begun = Instant::now();
        for (partition, _) in &request.entries {
            partition.note_asked(number, begun);
        }
        let least = self.cluster.settings.fetch_min_bytes;
        connection.send(&self.session.ask(&request, least), FETCH_VERSION)?;
        let mut answers = Vec::new();
        let head = connection.receive_fetch(request.wait, |frame| {
            fetch_response::read(frame, &self.cluster.memory, &mut |place, answer| {
                answers.push((place, answer));
            })
        })?;
        let taken = self.session.take(&request, head, answers)?;
        note_answers(&request, &taken);
        // All at once, and readers are woken when all have theirs: who merges topics by time is to
        // see of none more than of the others.
        let (mut find_leader, mut is_empty, mut wakes) = (false, true, Vec::new());
        let mut is_said = vec![false; request.entries.len()];
        for (entry, answer) in taken.named {
            let (partition, wanted) = &request.entries[entry];
            is_said[entry] = true;
            is_empty &= answer.records.is_none();
            let (next, wake) = partition.deliver(answer, wanted, number);
            find_leader |= next == Next::FindLeader;
            wakes.extend(wake);
        }
        for (entry, end) in taken.unchanged {
            let (partition, wanted) = &request.entries[entry];
            is_said[entry] = true;
            wakes.extend(partition.look(end, wanted, number));
        }
        // All others end where their readers know; when that was asked says how old it is.
        let is_confirmed = |entry: &usize| taken.is_whole && !is_said[*entry];
        for entry in (0..request.entries.len()).filter(is_confirmed) {
            let (partition, wanted) = &request.entries[entry];
            partition.confirm(wanted, number);
        }
        wakes.iter().for_each(|wake| wake());
        if find_leader {
            self.cluster.want_refresh();
        }
        let signal = &self.leader.signal;
        if head.throttle > 0 {
            let pause = Duration::from_millis(head.throttle.into()).min(THROTTLE_MAX);
            tracing::debug!(broker = self.leader.id, ?pause, "Kafka throttles fetching");
            signal.pause(pause, &self.cluster.ended);
        } else if is_empty && begun.elapsed() < request.wait / 2 {
            signal.pause(EMPTY_PAUSE, &self.cluster.ended);
        }
        Ok(())
    }
}

/// Notes of each partition without an error that its leader has answered for it.
fn note_answers(request: &Request, taken: &Taken) {
    if !taken.is_whole {
        return;
    }
    let failed: Vec<usize> = taken
        .named
        .iter()
        .filter(|(_, answer)| answer.error != 0)
        .map(|(entry, _)| *entry)
        .collect();
    let now = Instant::now();
    for (entry, (partition, _)) in request.entries.iter().enumerate() {
        if !failed.contains(&entry) {
            partition.note_answer(now);
        }
    }
}
