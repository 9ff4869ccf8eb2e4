//! The gate around every port call of one process: passes it, fails it, does it and does not
//! answer, has a commit come in late, or crashes the process.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use theatre_actors::control;
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::*;
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::processor::Processor;
use theatre_actors::time::LogTime;
use theatre_config::{ALERT_TOPIC, INPUT_TOPICS};
use theatre_pipeline::Ports;

use super::{Bug, World, pager};
use crate::acting;

/// Commits that the store has begun and that nobody waits for any more: their caller has given up,
/// they hold their partition's lock, and readers do not see them yet. PostgreSQL can hold one so
/// while it waits for its disk or a standby.
#[derive(Default)]
pub(super) struct Late(Mutex<Vec<Commit>>);

type Commit = Box<dyn FnOnce(&dyn CheckpointStore) + Send>;

impl Late {
    /// They come in. Whoever wants to write waits for that.
    fn land(&self, store: &dyn CheckpointStore) {
        let begun = self
            .0
            .lock()
            .map(|mut begun| std::mem::take(&mut *begun))
            .unwrap_or_default();
        begun.into_iter().for_each(|commit| commit(store));
    }

    fn begin(&self, commit: Commit) {
        if let Ok(mut begun) = self.0.lock() {
            begun.push(commit);
        }
    }
}

/// How far each topic is trimmed for the owners; the log itself keeps everything.
#[derive(Default)]
pub(super) struct Trimmed(Mutex<BTreeMap<(String, Partition), u64>>);

impl Trimmed {
    /// The first offset that can be read.
    pub(super) fn start(&self, topic: &str, partition: Partition) -> u64 {
        let starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        starts
            .get(&(topic.to_owned(), partition))
            .copied()
            .unwrap_or(0)
    }

    fn trim(&self, topic: &str, partition: Partition, before: u64) {
        let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = starts.entry((topic.to_owned(), partition)).or_default();
        *start = before.max(*start);
    }
}

/// Under which epoch each lane was opened last: an older owner cannot publish on it any more.
#[derive(Default)]
pub(super) struct Lanes(Mutex<LaneEpochs>);

#[derive(Default)]
struct LaneEpochs {
    opened: BTreeMap<(Partition, &'static str), Epoch>,
    violation: Option<String>,
}

impl Lanes {
    /// What was committed too early, if anything was.
    pub(super) fn violation(&self) -> Option<String> {
        let lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.violation.clone()
    }

    fn opened(&self, partition: Partition, lane: Lane, epoch: Epoch) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lanes.opened.entry((partition, lane.as_str())).or_default();
        *last = epoch.max(*last);
    }

    /// Nothing is to be committed under an epoch while an older owner has a lane on which it could
    /// publish that.
    fn check(&self, commit: &PartitionCommit) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (partition, epoch) = (commit.partition, commit.epoch);
        let open = lanes
            .opened
            .iter()
            .find(|((of, _), opened)| *of == partition && **opened < epoch);
        if let Some(((_, lane), opened)) = open {
            lanes.violation = Some(format!(
                "epoch {epoch} commits while the lane of {lane} is open under epoch {opened}"
            ));
        }
    }
}

/// The fate of one process's calls.
pub(super) struct Gate {
    random: Mutex<ChaCha8Rng>,
    dead: AtomicBool,
    rate: f64,
    /// How often a commit is given up by its caller and comes in late.
    late: f64,
}

impl Gate {
    pub(super) fn new(seed: u64, rate: f64) -> Arc<Self> {
        Arc::new(Self {
            random: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            dead: AtomicBool::new(false),
            rate,
            late: rate * 6.0,
        })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub(super) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub(super) fn revive(&self) {
        self.dead.store(false, Ordering::Relaxed);
    }

    fn roll(&self) -> f64 {
        self.random
            .lock()
            .map(|mut random| random.random::<f64>())
            .unwrap_or(1.0)
    }

    fn call<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let lost = |why: &str| {
            Err(Error::Unavailable {
                what: "simulation",
                why: why.to_owned(),
            })
        };
        if self.is_dead() {
            return lost("the process is dead");
        }
        let (before, crash_before) = (self.roll(), self.roll());
        if crash_before < self.rate / 4.0 {
            self.kill();
            return lost("crashed before the call");
        }
        if before < self.rate {
            return lost("not done");
        }
        let done = work();
        let (after, crash_after) = (self.roll(), self.roll());
        if crash_after < self.rate / 4.0 {
            self.kill();
            return lost("crashed after the call");
        }
        if after < self.rate {
            lost("done, but not answered")
        } else {
            done
        }
    }

    /// The world's ports behind this gate.
    pub(super) fn around(self: &Arc<Self>, world: &World) -> Ports {
        let ports = &world.ports;
        Ports {
            log: Arc::new(GatedLog {
                inner: ports.log.clone(),
                gate: self.clone(),
                trimmed: world.trimmed.clone(),
                lanes: world.lanes.clone(),
            }),
            store: Arc::new(GatedStore {
                inner: ports.store.clone(),
                log: ports.log.clone(),
                gate: self.clone(),
                late: world.late.clone(),
                lanes: world.lanes.clone(),
                bug: world.bug,
            }),
            lake: Arc::new(GatedLake {
                inner: ports.lake.clone(),
                gate: self.clone(),
            }),
            warehouse: Arc::new(GatedWarehouse {
                inner: ports.warehouse.clone(),
                plain_lake: ports.lake.clone(),
                gate: self.clone(),
            }),
            clock: ports.clock.clone(),
        }
    }
}

struct GatedLog {
    inner: Arc<dyn EventLog>,
    gate: Arc<Gate>,
    trimmed: Arc<Trimmed>,
    lanes: Arc<Lanes>,
}

impl EventLog for GatedLog {
    fn ensure_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.gate
            .call(|| self.inner.ensure_topics(topics, partitions))
    }
    fn grow_topics(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.gate
            .call(|| self.inner.grow_topics(topics, partitions))
    }
    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.gate.call(|| self.inner.partitions(topic))
    }
    fn join(
        &self,
        topics: &[String],
        partitions: u32,
        owner: Arc<dyn Ownership>,
    ) -> Result<Box<dyn Membership>> {
        self.gate
            .call(|| self.inner.join(topics, partitions, owner))
    }
    fn append(&self, topic: &str, partition: Partition, records: &[NewRecord]) -> Result<u64> {
        self.gate
            .call(|| self.inner.append(topic, partition, records))
    }
    fn reader(&self, topic: &str, partition: Partition, from: u64) -> Result<Box<dyn LogReader>> {
        let inner = self
            .gate
            .call(|| self.inner.reader(topic, partition, from))?;
        Ok(Box::new(GatedReader {
            inner,
            gate: self.gate.clone(),
            trimmed: self.trimmed.clone(),
            topic: topic.to_owned(),
            partition,
            next: from,
        }))
    }
    fn range(&self, topic: &str, partition: Partition) -> Result<LogRange> {
        self.gate.call(|| {
            let range = self.inner.range(topic, partition)?;
            let start = range.start.max(self.trimmed.start(topic, partition));
            Ok(LogRange { start, ..range })
        })
    }
    fn written_end(&self, topic: &str, partition: Partition) -> Result<u64> {
        self.gate.call(|| self.inner.written_end(topic, partition))
    }
    fn offset_at(&self, topic: &str, partition: Partition, time: LogTime) -> Result<u64> {
        self.gate.call(|| {
            let offset = self.inner.offset_at(topic, partition, time)?;
            Ok(offset.max(self.trimmed.start(topic, partition)))
        })
    }
    fn open_lane(
        &self,
        partition: Partition,
        lane: Lane,
        epoch: Epoch,
    ) -> Result<Box<dyn LanePublisher>> {
        let inner = self.gate.call(|| {
            let opened = self.inner.open_lane(partition, lane, epoch)?;
            self.lanes.opened(partition, lane, epoch);
            Ok(opened)
        })?;
        Ok(Box::new(GatedLane {
            inner,
            gate: self.gate.clone(),
        }))
    }
    fn trim(&self, topic: &str, partition: Partition, before: u64) -> Result<()> {
        self.gate.call(|| {
            self.trimmed.trim(topic, partition, before);
            Ok(())
        })
    }
}

struct GatedReader {
    inner: Box<dyn LogReader>,
    gate: Arc<Gate>,
    trimmed: Arc<Trimmed>,
    topic: String,
    partition: Partition,
    next: u64,
}

impl LogReader for GatedReader {
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        let start = self.trimmed.start(&self.topic, self.partition);
        if self.next < start {
            return Err(Error::Trimmed {
                topic: self.topic.clone(),
                partition: self.partition,
                wanted: self.next,
                start,
            });
        }
        let (gate, inner, next) = (self.gate.clone(), &mut self.inner, &mut self.next);
        gate.call(|| {
            let end = inner.poll(limit, visit)?;
            *next = end.next_offset;
            Ok(end)
        })
    }
}

struct GatedLane {
    inner: Box<dyn LanePublisher>,
    gate: Arc<Gate>,
}

impl LanePublisher for GatedLane {
    fn position(&mut self) -> Result<u64> {
        let (gate, inner) = (self.gate.clone(), &mut self.inner);
        gate.call(|| inner.position())
    }
    fn publish(&mut self, records: &[Outgoing], position: u64) -> Result<Vec<(usize, String)>> {
        let (gate, inner) = (self.gate.clone(), &mut self.inner);
        gate.call(|| inner.publish(records, position))
    }
}

struct GatedStore {
    inner: Arc<dyn CheckpointStore>,
    log: Arc<dyn EventLog>,
    gate: Arc<Gate>,
    late: Arc<Late>,
    lanes: Arc<Lanes>,
    bug: Option<Bug>,
}

impl GatedStore {
    /// The epoch a call is made under: with the bug, whatever the store wants to hear.
    fn epoch(&self, partition: Partition, epoch: Epoch) -> Result<Epoch> {
        if self.bug == Some(Bug::NoFence) {
            Ok(self.inner.status(partition)?.epoch)
        } else {
            Ok(epoch)
        }
    }

    /// A look, which does not wait for what is being committed.
    fn look<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.gate.call(|| {
            if self.gate.roll() < self.gate.rate {
                self.late.land(&*self.inner);
            }
            work()
        })
    }

    /// A write that is never given up half way.
    fn write<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.gate.call(|| {
            self.late.land(&*self.inner);
            work()
        })
    }

    /// A write whose caller may give up while it is being committed.
    fn commit_late<T>(
        &self,
        work: impl FnOnce(&dyn CheckpointStore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.gate.call(|| {
            self.late.land(&*self.inner);
            if self.gate.roll() >= self.gate.late {
                return work(&*self.inner);
            }
            self.late.begin(Box::new(|store| drop(work(store))));
            Err(Error::Unavailable {
                what: "simulation",
                why: "not answered yet".to_owned(),
            })
        })
    }
}

/// What the bug does: alerts are told that nobody has committed.
fn publish(log: &dyn EventLog, commits: &[PartitionCommit]) -> Result<()> {
    for commit in commits {
        let alerts = commit
            .processors
            .iter()
            .flat_map(|save| &save.outputs)
            .filter(|output| output.kind == OutputKind::Alert);
        for output in alerts {
            let record = NewRecord {
                key: output.robot_id.clone().into_bytes(),
                value: output.payload.clone(),
                headers: Vec::new(),
            };
            log.append(ALERT_TOPIC, commit.partition, &[record])?;
        }
    }
    Ok(())
}

/// What the bugs do to versions.
fn spoil_versions(bug: Option<Bug>, commits: &mut [PartitionCommit]) {
    let saves = commits.iter_mut().flat_map(|commit| &mut commit.processors);
    for save in saves {
        let is_version = |output: &OutputEvent| output.kind == OutputKind::FacilityVersion;
        match bug {
            Some(Bug::LosesVersions) => save
                .outputs
                .retain(|output| !is_version(output) || output.revision == 0),
            Some(Bug::RepeatsVersions) => {
                let again = save.outputs.iter().find(|output| is_version(output));
                let again = again.cloned().map(|output| OutputEvent {
                    revision: output.revision + 1,
                    ..output
                });
                save.outputs.extend(again);
            }
            _ => {}
        }
    }
}

/// What the bugs do to what was said to all robots, when an owner begins.
fn spoil_what_was_said(
    bug: Option<Bug>,
    log: &dyn EventLog,
    mut found: Vec<StoredProcessor>,
) -> Result<Vec<StoredProcessor>> {
    match bug {
        Some(Bug::ForgetsWhatWasSaid) => {
            found.retain(|stored| control::partition_of(&stored.processor).is_none());
        }
        Some(Bug::ForgetsSilences) => {
            for stored in &mut found {
                silence_another_rule(&mut stored.state);
            }
        }
        Some(Bug::RulesFromElsewhere) => {
            let rules = 10;
            let end = log.range(INPUT_TOPICS[rules], 0)?.end;
            for stored in &mut found {
                if control::is_robot(&stored.processor) && !stored.processor.is_empty() {
                    let mut positions = stored.positions.clone();
                    positions.advance(rules, end);
                    let moved = Processor::moved(&stored.state, &positions);
                    stored.state = moved.map_err(|error| Error::Refused(error.to_string()))?;
                }
            }
        }
        Some(Bug::ForgetsRejections) => {
            let of_partition = |it: &&mut StoredProcessor| control::partition_of(&it.processor);
            for stored in found.iter_mut().filter(|it| of_partition(it).is_some()) {
                name_other_changes(&mut stored.state);
            }
        }
        _ => {}
    }
    Ok(found)
}

/// Has the silences of a robot that name a rule name one that is not there, so that they hide nothing.
/// The rule follows the silence's id, which ends in a number, behind the sign that there is one and its
/// length.
fn silence_another_rule(state: &mut [u8]) {
    let named = b"\x01\x09far_right";
    let follows_id = |at: &usize| {
        let before = at.checked_sub(1).and_then(|before| state.get(before));
        before.is_some_and(u8::is_ascii_digit)
    };
    let places = state.windows(named.len()).enumerate();
    let places = places.filter(|(_, bytes)| bytes == named).map(|(at, _)| at);
    let places: Vec<usize> = places.filter(follows_id).collect();
    for at in places {
        if let Some(rule) = state.get_mut(at + 2..at + named.len()) {
            rule.copy_from_slice(b"forgotten");
        }
    }
}

/// Has rejections in a state name changes that never were. The id follows the reason, each behind its
/// length.
fn name_other_changes(state: &mut [u8]) {
    let reason = acting::REASON.as_bytes();
    let places = state.windows(reason.len()).enumerate();
    let places = places.filter(|(_, bytes)| *bytes == reason);
    let ids: Vec<usize> = places.map(|(at, _)| at + reason.len() + 2).collect();
    for at in ids {
        if let Some(first @ b'c') = state.get_mut(at) {
            *first = b'x';
        }
    }
}

impl DeadLetterStore for GatedStore {
    fn begin_dead_replays(&self, replays: &[DeadReplay]) -> Result<Vec<(Partition, u64)>> {
        self.gate.call(|| self.inner.begin_dead_replays(replays))
    }
    fn forget_dead_replays(&self, absent: &[(Partition, u64)]) -> Result<()> {
        self.gate.call(|| self.inner.forget_dead_replays(absent))
    }
    fn finish_dead_replays(&self, sent: &[(Partition, u64, u64)]) -> Result<()> {
        self.gate.call(|| self.inner.finish_dead_replays(sent))
    }
    fn dead_replays(&self, dead: &[(Partition, u64)]) -> Result<Vec<DeadReplay>> {
        self.gate.call(|| self.inner.dead_replays(dead))
    }
    fn dead_replays_in_doubt(&self) -> Result<Vec<DeadReplay>> {
        self.gate.call(|| self.inner.dead_replays_in_doubt())
    }
    fn dead_replays_at(&self, places: &[PlaceInLog]) -> Result<Vec<DeadReplay>> {
        self.gate.call(|| self.inner.dead_replays_at(places))
    }
    fn dead_replays_within(
        &self,
        topic: TopicIndex,
        to: Partition,
        offsets: Range<u64>,
    ) -> Result<Vec<DeadReplay>> {
        self.gate
            .call(|| self.inner.dead_replays_within(topic, to, offsets.clone()))
    }
    fn purge_dead(&self, dead: &[(Partition, u64)], at: LogTime) -> Result<u64> {
        self.gate.call(|| self.inner.purge_dead(dead, at))
    }
}

impl PageStore for GatedStore {
    fn time(&self) -> Result<Option<LogTime>> {
        self.gate.call(|| self.inner.time())
    }
    fn last_outputs(&self) -> Result<Vec<u64>> {
        self.gate.call(|| self.inner.last_outputs())
    }
    fn output_page(&self, filter: &PageFilter) -> Result<OutputPage> {
        self.gate.call(|| self.inner.output_page(filter))
    }
    fn last_revisions(
        &self,
        kind: OutputKind,
        ids: &[String],
        seen: &[u64],
    ) -> Result<Vec<StoredOutput>> {
        self.gate
            .call(|| self.inner.last_revisions(kind, ids, seen))
    }
    fn of_subjects(
        &self,
        kind: OutputKind,
        after: Option<&str>,
        subjects: usize,
    ) -> Result<Vec<StoredOutput>> {
        self.gate
            .call(|| self.inner.of_subjects(kind, after, subjects))
    }
    fn dead_page(&self, after: Option<(u64, Partition)>, limit: usize) -> Result<Vec<StoredDead>> {
        self.gate.call(|| self.inner.dead_page(after, limit))
    }
}

impl LakeRegister for GatedStore {
    fn revise_files(&self, revisions: &[FileRevision]) -> Result<()> {
        self.write(|| self.inner.revise_files(revisions))
    }
}

impl CheckpointStore for GatedStore {
    fn ensure_layout(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.gate
            .call(|| self.inner.ensure_layout(topics, partitions))
    }
    fn layout(&self) -> Result<Option<(Vec<String>, u32)>> {
        self.gate.call(|| self.inner.layout())
    }
    fn past_layouts(&self) -> Result<Vec<PastLayout>> {
        self.gate.call(|| self.inner.past_layouts())
    }
    fn repartition(&self, change: &Repartition) -> Result<()> {
        self.write(|| self.inner.repartition(change))
    }
    fn acquire(&self, partition: Partition) -> Result<Epoch> {
        self.write(|| self.inner.acquire(partition))
    }
    fn claim_homes(
        &self,
        partition: Partition,
        epoch: Epoch,
        robots: &[&str],
    ) -> Result<Vec<Partition>> {
        self.write(|| {
            self.inner
                .claim_homes(partition, self.epoch(partition, epoch)?, robots)
        })
    }
    fn status(&self, partition: Partition) -> Result<PartitionStatus> {
        self.look(|| self.inner.status(partition))
    }
    fn processors(&self, partition: Partition) -> Result<Vec<StoredProcessor>> {
        let found = self.look(|| self.inner.processors(partition))?;
        spoil_what_was_said(self.bug, &*self.log, found)
    }
    fn save_numbers(&self, partition: Partition) -> Result<Vec<(String, u64)>> {
        self.look(|| self.inner.save_numbers(partition))
    }
    fn processor(&self, partition: Partition, processor: &str) -> Result<Option<StoredProcessor>> {
        self.gate
            .call(|| self.inner.processor(partition, processor))
    }
    fn commit(
        &self,
        commits: &[PartitionCommit],
        committed_at: LogTime,
    ) -> Result<Vec<CommitOutcome>> {
        let mut commits = commits.to_vec();
        for commit in &mut commits {
            commit.epoch = self.epoch(commit.partition, commit.epoch)?;
            self.lanes.check(commit);
        }
        spoil_versions(self.bug, &mut commits);
        let (log, bug) = (self.log.clone(), self.bug);
        self.commit_late(move |store| {
            if bug == Some(Bug::PublishBeforeCommit) {
                publish(&*log, &commits)?;
            }
            store.commit(&commits, committed_at)
        })
    }
    fn outputs_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        self.look(|| self.inner.outputs_after(partition, after, limit))
    }
    fn outputs_of_kind_after(
        &self,
        partition: Partition,
        kind: OutputKind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>> {
        let found = self.look(|| {
            self.inner
                .outputs_of_kind_after(partition, kind, after, limit)
        })?;
        if self.bug == Some(Bug::NotesBeforeDelivery)
            && let Some(last) = found.last()
        {
            let epoch = self.inner.status(partition)?.epoch;
            self.inner
                .advance_cursor(partition, epoch, pager::NAME, last.sequence)?;
        }
        Ok(found)
    }
    fn dead_after(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredDead>> {
        self.gate
            .call(|| self.inner.dead_after(partition, after, limit))
    }
    fn advance_cursor(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        position: u64,
    ) -> Result<()> {
        let (epoch, consumer) = (self.epoch(partition, epoch)?, consumer.to_owned());
        self.commit_late(move |store| store.advance_cursor(partition, epoch, &consumer, position))
    }
    fn set_aside(
        &self,
        partition: Partition,
        epoch: Epoch,
        consumer: &str,
        undelivered: &Undelivered,
    ) -> Result<()> {
        let (epoch, consumer) = (self.epoch(partition, epoch)?, consumer.to_owned());
        let undelivered = undelivered.clone();
        self.commit_late(move |store| store.set_aside(partition, epoch, &consumer, &undelivered))
    }
    fn undelivered(&self, consumer: Option<&str>, limit: usize) -> Result<Vec<StoredUndelivered>> {
        self.gate.call(|| self.inner.undelivered(consumer, limit))
    }
    fn settle_undelivered(
        &self,
        partition: Partition,
        consumer: &str,
        sequence: u64,
    ) -> Result<bool> {
        self.gate
            .call(|| self.inner.settle_undelivered(partition, consumer, sequence))
    }
    fn expire_outputs(&self, partition: Partition, epoch: Epoch, expiry: Expiry) -> Result<u64> {
        let epoch = self.epoch(partition, epoch)?;
        self.commit_late(move |store| store.expire_outputs(partition, epoch, expiry))
    }
    fn lake_state(&self, partition: Partition) -> Result<Vec<u8>> {
        self.look(|| self.inner.lake_state(partition))
    }
    fn commit_cut(&self, partition: Partition, epoch: Epoch, cut: &LakeCut) -> Result<()> {
        let (epoch, cut) = (self.epoch(partition, epoch)?, cut.clone());
        self.commit_late(move |store| store.commit_cut(partition, epoch, &cut))
    }
    fn commit_export(&self, partition: Partition, epoch: Epoch, export: &Export) -> Result<()> {
        let (epoch, export) = (self.epoch(partition, epoch)?, export.clone());
        self.commit_late(move |store| store.commit_export(partition, epoch, &export))
    }
    fn row_count(&self, kind: OutputKind) -> Result<u64> {
        self.look(|| self.inner.row_count(kind))
    }
    fn commit_rows(&self, partition: Partition, epoch: Epoch, batch: &TableBatch) -> Result<()> {
        let (epoch, batch) = (self.epoch(partition, epoch)?, batch.clone());
        self.commit_late(move |store| store.commit_rows(partition, epoch, &batch))
    }
    fn files(
        &self,
        partition: Partition,
        stage: FileStage,
        limit: usize,
    ) -> Result<Vec<RegisteredFile>> {
        self.look(|| self.inner.files(partition, stage, limit))
    }
    fn mark_completed(&self, partition: Partition, epoch: Epoch, numbers: &[u64]) -> Result<()> {
        let (epoch, numbers) = (self.epoch(partition, epoch)?, numbers.to_vec());
        self.commit_late(move |store| store.mark_completed(partition, epoch, &numbers))
    }
    fn mark_lost(&self, partition: Partition, epoch: Epoch, number: u64, note: &str) -> Result<()> {
        let (epoch, note) = (self.epoch(partition, epoch)?, note.to_owned());
        self.commit_late(move |store| store.mark_lost(partition, epoch, number, &note))
    }
    fn plan_load_beside(
        &self,
        partition: Partition,
        epoch: Epoch,
        max_files: usize,
        passed_over: &DeferredBatches,
    ) -> Result<Option<LoadBatch>> {
        let (epoch, passed_over) = (self.epoch(partition, epoch)?, passed_over.clone());
        self.commit_late(move |store| {
            store.plan_load_beside(partition, epoch, max_files, &passed_over)
        })
    }
    fn mark_loaded(&self, partition: Partition, epoch: Epoch, batch: &str) -> Result<()> {
        let (epoch, batch) = (self.epoch(partition, epoch)?, batch.to_owned());
        self.commit_late(move |store| store.mark_loaded(partition, epoch, &batch))
    }
    fn split_load(
        &self,
        partition: Partition,
        epoch: Epoch,
        batch: &str,
        bad: &[(u64, String)],
    ) -> Result<()> {
        let (epoch, batch, bad) = (
            self.epoch(partition, epoch)?,
            batch.to_owned(),
            bad.to_vec(),
        );
        self.commit_late(move |store| store.split_load(partition, epoch, &batch, &bad))
    }
    fn requeue_quarantined(&self) -> Result<u64> {
        self.write(|| self.inner.requeue_quarantined())
    }
    fn find_outputs(&self, filter: &OutputFilter) -> Result<Vec<StoredOutput>> {
        self.gate.call(|| self.inner.find_outputs(filter))
    }
    fn find_dead(&self, limit: usize) -> Result<Vec<StoredDead>> {
        self.gate.call(|| self.inner.find_dead(limit))
    }
    fn find_files(&self, filter: &FileFilter) -> Result<Vec<RegisteredFile>> {
        self.gate.call(|| self.inner.find_files(filter))
    }

    fn all_files(&self) -> Result<Vec<RegisteredFile>> {
        self.gate.call(|| self.inner.all_files())
    }
}

struct GatedLake {
    inner: Arc<dyn Lake>,
    gate: Arc<Gate>,
}

struct GatedUpload {
    inner: Box<dyn LakeUpload>,
    gate: Arc<Gate>,
}

impl LakeUpload for GatedUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let (gate, inner) = (self.gate.clone(), &mut self.inner);
        gate.call(|| inner.write(bytes))
    }
    fn seal(self: Box<Self>) -> Result<String> {
        let Self { inner, gate } = *self;
        gate.call(|| inner.seal())
    }
}

impl Lake for GatedLake {
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>> {
        let inner = self.gate.call(|| self.inner.begin(path, attempt))?;
        Ok(Box::new(GatedUpload {
            inner,
            gate: self.gate.clone(),
        }))
    }
    fn complete(&self, path: &str, upload: &str) -> Result<()> {
        self.gate.call(|| self.inner.complete(path, upload))
    }
    fn replace(&self, path: &str, bytes: bytes::Bytes) -> Result<()> {
        self.gate.call(|| self.inner.replace(path, bytes))
    }
    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>> {
        self.gate.call(|| self.inner.list(prefix))
    }
    fn read(&self, path: &str) -> Result<bytes::Bytes> {
        self.gate.call(|| self.inner.read(path))
    }
    fn location(&self, path: &str) -> Option<String> {
        self.inner.location(path)
    }
    fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize> {
        self.gate.call(|| self.inner.sweep(partition, epoch, keep))
    }
}

struct GatedWarehouse {
    inner: Arc<dyn Warehouse>,
    plain_lake: Arc<dyn Lake>,
    gate: Arc<Gate>,
}

impl Warehouse for GatedWarehouse {
    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()> {
        self.gate.call(|| self.inner.ensure_tables(tables))
    }
    fn load(&self, batch: &LoadBatch, _: &dyn Lake) -> Result<LoadReceipt> {
        // A warehouse reads the lake by itself, not through the process.
        self.gate.call(|| self.inner.load(batch, &*self.plain_lake))
    }
    fn erase(&self, erasure: &TableErasure) -> Result<Option<u64>> {
        self.gate.call(|| self.inner.erase(erasure))
    }
    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>> {
        self.gate.call(|| self.inner.receipt(batch))
    }
    fn query(&self, sql: &str) -> Result<QueryResult> {
        self.gate.call(|| self.inner.query(sql))
    }
}
