//! How far everything is, for people and for metrics: atomics that components move and anybody may
//! read.

mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, Weak};

use dashmap::DashMap;
use theatre_actors::outputs::{DeadReason, DeadRow, KINDS, OutputKind, Tally};
use theatre_actors::ports::Epoch;
use theatre_actors::position::{Partition, Positions};
use theatre_actors::time::LogTime;

use super::ends::{Ends, Reach};
use super::lifecycle::{Lifecycle, Role};
use super::taking::Taking;
pub use states::PartitionState;
use theatre_telemetry::names::{self, Standing};

/// A process is meant to be this busy: beyond it more are recommended.
const BUSY_TARGET: f64 = 0.7;

/// One partition's share.
#[derive(Debug, Clone, Default)]
pub struct PartitionProgress {
    /// Records not yet read.
    pub lag_records: u64,
    /// Live processors.
    pub processors: u64,
    /// True when the end of the log was seen. It may have grown since: what is drained, the
    /// positions below say.
    pub caught_up: bool,
    /// Read and handed to processors and lake writer.
    pub read: Reach,
    /// Of that, saved: no processor needs a record below this, as committed.
    pub saved: Reach,
    /// Registered in the lake.
    pub lake: Positions,
    /// Saved, in the lake, delivered by all consumers of the outbox, and completed.
    pub outward: Reach,
    /// All that, and loaded.
    pub loaded: Reach,
    /// It was taken under this epoch.
    pub epoch: Epoch,
    /// Append time of the last record read, microseconds UTC.
    pub last_append: i64,
    /// End of its last commit, microseconds UTC; 0 before the first.
    pub saved_at: i64,
    /// What of it is only watched.
    pub standing: Standing,
}

impl PartitionProgress {
    /// A partition that was just taken, with so many processors, saved up to `floor`.
    pub(super) fn begun(epoch: Epoch, processors: usize, floor: &Positions) -> Self {
        let mut begun = Self {
            epoch,
            processors: processors as u64,
            ..Self::default()
        };
        begun.saved.positions = floor.clone();
        begun
    }

    /// Whether all that lies below `end` is done, and what the wall clock decided.
    pub fn is_drained_to(&self, end: &Positions) -> bool {
        self.loaded.ticks >= self.read.ticks && self.loaded.positions.covers(end)
    }
}

/// Whose gauges were set by the last scrape: they are set once more when they have left.
#[derive(Debug, Default)]
struct Shown {
    partitions: BTreeSet<Partition>,
    /// Kinds of components.
    components: BTreeSet<String>,
}

/// Counts since the process started, and where things stand.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records read.
    pub records_in: AtomicU64,
    /// Records dead-lettered, late ones included.
    pub dead: AtomicU64,
    /// Committed outputs, by the index of their kind.
    outputs: [AtomicU64; KINDS],
    /// End of the last commit, microseconds UTC.
    pub last_save_at: AtomicI64,
    /// Commits.
    pub saves: AtomicU64,
    /// Bytes of the last commit.
    pub save_bytes: AtomicU64,
    /// Lake files completed.
    pub lake_files: AtomicU64,
    /// Lake files set aside because their uploads are gone.
    pub lost_files: AtomicU64,
    /// Warehouse rows loaded.
    pub warehouse_rows: AtomicU64,
    /// Processors rebuilt after a panic.
    pub recoveries: AtomicU64,
    partitions: DashMap<Partition, PartitionProgress>,
    /// The lives of partitions that are had or being taken.
    lives: DashMap<Partition, Weak<Lifecycle>>,
    /// Partitions that do not run yet.
    pub(super) taking: Taking,
    /// Threads on which processors run; 0 until that is known.
    threads: AtomicUsize,
    /// What metrics show.
    shown: Mutex<Shown>,
    /// The log's members share partitions without this process: it is there should one of them end.
    standing_by: AtomicBool,
    /// What each component last failed with; empty when all is well.
    trouble: Mutex<BTreeMap<String, String>>,
    /// What people should know though all works, by whom it is about.
    notices: Mutex<BTreeMap<String, String>>,
    /// Components that stopped for good, and why.
    failed: Mutex<Vec<String>>,
    /// Components that are refused, and why. They are tried again, and go on once a person has put
    /// it right.
    refused: Mutex<BTreeMap<String, String>>,
}

impl Progress {
    /// Changes a partition's share.
    pub fn update(&self, partition: Partition, change: impl FnOnce(&mut PartitionProgress)) {
        change(&mut self.partitions.entry(partition).or_default());
    }

    /// Changes a partition's share if it is held under this epoch still: a component that outlasts
    /// its partition has no say in what came after.
    pub(super) fn update_under(
        &self,
        partition: Partition,
        epoch: Epoch,
        change: impl FnOnce(&mut PartitionProgress),
    ) {
        if let Some(mut share) = self
            .partitions
            .get_mut(&partition)
            .filter(|share| share.epoch == epoch)
        {
            change(&mut share);
        }
    }

    /// Says something of a partition if it is held under this epoch still, and before it is
    /// forgotten.
    pub(super) fn tell_under(&self, partition: Partition, epoch: Epoch, tell: impl FnOnce(&Self)) {
        if let Some(_held) = self
            .partitions
            .get(&partition)
            .filter(|share| share.epoch == epoch)
        {
            tell(self);
        }
    }

    /// One partition's share.
    pub(super) fn share(&self, partition: Partition) -> PartitionProgress {
        self.partitions
            .get(&partition)
            .map(|share| share.clone())
            .unwrap_or_default()
    }

    /// All partitions' shares.
    pub fn partitions(&self) -> BTreeMap<Partition, PartitionProgress> {
        self.partitions
            .iter()
            .map(|entry| (*entry.key(), entry.value().clone()))
            .collect()
    }

    /// Live robots' processors.
    pub fn robots(&self) -> u64 {
        self.partitions.iter().map(|entry| entry.processors).sum()
    }

    /// Records not yet read, over all partitions.
    pub fn lag_records(&self) -> u64 {
        self.partitions.iter().map(|entry| entry.lag_records).sum()
    }

    /// True when this process has all the partitions, and everything below their ends is read,
    /// saved, in the lake, published, and loaded.
    pub fn is_drained_to(&self, ends: &Ends) -> bool {
        ends.iter()
            .all(|(partition, end)| self.is_partition_drained_to(partition, end))
    }

    /// Whether one partition is drained to its end.
    pub fn is_partition_drained_to(&self, partition: Partition, end: &Positions) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(|share| share.is_drained_to(end))
    }

    /// Forgets a partition that was left, and what troubled it; returns how far it was, if that is
    /// known.
    pub(super) fn forget(&self, partition: Partition) -> Option<PartitionProgress> {
        let share = self.partitions.remove(&partition);
        self.taking.left(partition);
        let own = format!(" {partition}");
        for noted in [&self.trouble, &self.notices, &self.refused] {
            noted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|component, _| !component.ends_with(&own));
        }
        share.map(|(_, share)| share)
    }

    /// Notes whether the log's members left no partition to this process.
    pub(super) fn stand_by(&self, alone: bool) {
        self.standing_by.store(alone, Ordering::Release);
    }

    /// Why this process is not ready: what is wrong, that it starts and has not restored what it
    /// was given, or that it has no partition yet and none is left to it. Empty when it is ready.
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = self.troubles();
        if let Some(taking) = self.taking.unready() {
            reasons.push(taking);
        } else if self.partitions.is_empty() && !self.standing_by.load(Ordering::Acquire) {
            reasons.push("no partition is taken yet".to_owned());
        }
        reasons
    }

    /// Notes a component's trouble, one that may pass; or clears whatever troubled it.
    pub fn set_trouble(&self, component: &str, trouble: Option<String>) {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(component);
        let mut all = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(why) => all.insert(component.to_owned(), why),
            None => all.remove(component),
        };
    }

    /// Notes that a component is refused and waits for a person to put it right, until its trouble
    /// is cleared.
    pub fn set_refused(&self, component: &str, why: &str) {
        self.set_trouble(component, Some(why.to_owned()));
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(component.to_owned(), why.to_owned());
    }

    /// Notes that a component stopped for good, which is its trouble too.
    pub fn set_failed(&self, component: &str, why: &str) {
        self.set_trouble(component, Some(why.to_owned()));
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(format!("{component} stopped: {why}"));
    }

    /// Components that stopped for good, or that wait for a person: who waits for them may wait for
    /// ever.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = self
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        failures.extend(
            refused
                .iter()
                .map(|(component, why)| format!("{component} is refused: {why}")),
        );
        failures
    }

    /// What is wrong, component by component.
    pub fn troubles(&self) -> Vec<String> {
        let all = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(component, why)| format!("{component}: {why}"))
            .collect()
    }

    /// What works and should yet be looked into: a producer's mistake stops no robot, so the
    /// process stays ready.
    pub fn notices(&self) -> Vec<String> {
        let all = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(about, what)| format!("{about}: {what}"))
            .chain(self.taking.notice())
            .collect()
    }

    /// Notes something that leaves the process ready.
    pub fn set_notice(&self, about: &str, what: String) {
        self.notices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(about.to_owned(), what);
    }

    /// What was said of this is over.
    pub fn clear_notice(&self, about: &str) {
        self.notices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(about);
    }

    /// A record of a robot that is at home in partition `home` was turned away, with it so many of
    /// the topic.
    pub(super) fn turned_away(
        &self,
        topic: &str,
        partition: Partition,
        records: u64,
        home: Partition,
    ) {
        names::wrong_partition(topic);
        let what = format!(
            "{records} records of robots whose home is another partition, e.g. {home}: a producer with another partitioner"
        );
        self.notices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(format!("topic {topic} partition {partition}"), what);
    }

    /// So many lake files of a partition are set aside because neither they nor their uploads were
    /// there.
    pub(super) fn files_missing(&self, partition: Partition, files: usize) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if files == 0 {
            notices.remove(&lake_of(partition));
            return;
        }
        let what = "set aside because neither they nor their uploads were there: `theatre lake list` names them, `theatre reconcile` the missing rows";
        notices.insert(lake_of(partition), format!("{files} files are {what}"));
    }

    /// Whether it is said that lake files of a partition are set aside.
    pub(super) fn misses_files(&self, partition: Partition) -> bool {
        self.notices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&lake_of(partition))
    }

    pub(super) fn save_failed(&self) {
        names::checkpoint_failed();
    }

    pub(super) fn saved(&self, started: LogTime, ended: LogTime, bytes: usize) {
        self.last_save_at.store(ended.0, Ordering::Relaxed);
        self.saves.fetch_add(1, Ordering::Relaxed);
        self.save_bytes.store(bytes as u64, Ordering::Relaxed);
        names::checkpoint_done(
            (ended.0 - started.0).max(0) as f64 / 1e6,
            bytes,
            ended.0 as f64 / 1e6,
        );
    }

    /// Outputs of a kind that were committed.
    pub fn outputs(&self, kind: OutputKind) -> u64 {
        self.outputs[kind.index()].load(Ordering::Relaxed)
    }

    pub(super) fn count_outputs<'a>(&self, kinds: impl Iterator<Item = &'a OutputKind>) {
        for kind in kinds {
            self.outputs[kind.index()].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts what a processor only counted.
    pub(super) fn count(&self, topics: &[String], tally: &Tally) {
        if tally.transitions.iter().any(|count| *count > 0) {
            names::alert_transitions(tally);
        }
        if tally.shadow_transitions.iter().any(|count| *count > 0) {
            names::shadow_transitions(tally);
        }
        for (topic, counted) in topics.iter().zip(&tally.by_topic) {
            names::records_seen(topic, counted.duplicates, counted.missing);
        }
    }

    pub(super) fn count_dead(&self, topics: &[String], dead: &[DeadRow]) {
        for row in dead {
            self.dead.fetch_add(1, Ordering::Relaxed);
            if row.reason == DeadReason::Late {
                names::record_late(&topics[row.topic]);
            }
            names::dead_letter(row.reason.as_str());
        }
    }
}

/// What troubles of the checkpointer are reported under.
pub(super) const CHECKPOINTER: &str = "checkpointer";

/// What readiness and metrics call the membership of the processes that share partitions.
pub(super) const GROUP: &str = "event log: group";

/// What notices call a partition's part of the lake.
fn lake_of(partition: Partition) -> String {
    format!("lake partition {partition}")
}

impl Progress {
    pub(super) fn records_read(&self, partition: Partition, records: usize, lag_records: u64) {
        self.records_in.fetch_add(records as u64, Ordering::Relaxed);
        names::records_in(partition, records as u64);
        names::partition(partition, lag_records);
    }

    /// The last telemetry read was dated `event_time`, and it is `now`; both microseconds UTC.
    pub(super) fn telemetry_read(&self, partition: Partition, event_time: i64, now: LogTime) {
        names::event_time_lag(partition, now.0.saturating_sub(event_time) as f64 / 1e6);
    }

    /// Notes how many cores the partitions share.
    pub(super) fn run_on(&self, threads: usize) {
        self.threads.store(threads, Ordering::Relaxed);
    }

    /// Shows where everything stands as metrics, when they are asked for: that costs nothing
    /// between two scrapes. A partition that was left stands at nothing once more.
    pub fn show(&self) {
        names::unready(self.unready().len());
        names::actors_live(self.robots());
        let partitions = self.partitions();
        for (component, count) in self.troubled_now() {
            names::troubled(&component, count);
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |shown: &&Partition| !partitions.contains_key(*shown);
        for partition in shown.partitions.iter().filter(left) {
            names::partition_stands(*partition, &Standing::default());
        }
        let mut busy = 0.0;
        for (partition, share) in &partitions {
            let standing = Standing {
                read_at: share.last_append as f64 / 1e6,
                ..share.standing.clone()
            };
            busy += standing.busy;
            names::partition_stands(*partition, &standing);
        }
        let threads = self.threads.load(Ordering::Relaxed).max(1) as f64;
        // One process for each partition is all that can have work.
        let wanted = (busy / threads / BUSY_TARGET).min(partitions.len() as f64);
        names::recommended_replicas(wanted);
        shown.partitions = partitions.into_keys().collect();
    }

    /// How many components are in trouble, by what they do: those that every process has, and
    /// others that were ever named here, with none once they have recovered.
    pub(super) fn troubled_now(&self) -> BTreeMap<String, usize> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let of_partitions = Role::ALL.map(Role::name).into_iter();
        let known = of_partitions.chain([CHECKPOINTER, GROUP]);
        let mut troubled: BTreeMap<String, usize> = known
            .map(str::to_owned)
            .chain(shown.components.iter().cloned())
            .map(|name| (name, 0))
            .collect();
        let all = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        for component in all.keys() {
            let name = component.trim_end_matches(|sign: char| sign.is_ascii_digit());
            let name = match name.split_once(' ') {
                // One for each receiver, which is named after it.
                Some((notifier, _)) if notifier == Role::Notifier.name() => notifier,
                _ => name.trim_end(),
            };
            *troubled.entry(name.to_owned()).or_default() += 1;
        }
        shown.components = troubled.keys().cloned().collect();
        troubled
    }

    pub(super) fn recovered(&self) {
        self.recoveries.fetch_add(1, Ordering::Relaxed);
        names::actor_restarted();
    }
}
