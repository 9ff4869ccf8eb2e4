//! The relay: publishes a lane's committed outputs (or dead letters) to the log, in order, exactly
//! once.
//!
//! Two consumers of the [`outbox`], one per lane of a partition. The log moves the
//! lane's position together with the records; the position in the store lags a little behind, since
//! noting each publish would cost the store a commit of its own. After a publish of unknown fate
//! the relay opens the lane anew and asks the log for its position. A transaction takes longer than
//! a commit, so what was committed while one ran is published together in the next.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use theatre_actors::outputs::{self, OutputEvent};
use theatre_actors::ports::{
    Epoch, Error, Lane, LanePublisher, Outgoing, PartitionStatus, PollLimit, Result,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;
use theatre_telemetry::names;
use theatre_telemetry::traces::Published;

use super::commit_feed::{CommitFeed, FeedEntry};
use super::outbox::{self, Consumer, OutboxConsumer};
use super::{PipelineParams, Ports, Step};

mod cloud_event;
mod records;
#[cfg(test)]
mod tests;

use cloud_event::event_id;
use records::Records;

/// The position is noted in the store at most this often, microseconds.
const NOTE_EVERY_US: i64 = 200_000;
/// Commits that were handed over are published together up to this many bytes. A log takes records
/// in batches and may refuse one that is long: what waits for a relay at most, 1 MiB, would be more
/// than some topics take.
const TOGETHER_BYTES: usize = 256 << 10;

/// Publishes one lane of one partition.
pub struct Relay {
    partition: Partition,
    epoch: Epoch,
    lane: Lane,
    params: Arc<PipelineParams>,
    ports: Ports,
    committed: Arc<CommitFeed>,
    publisher: Option<Box<dyn LanePublisher>>,
    /// The last sequence number that was committed when the partition was taken; `None` once the
    /// lane was opened and fitted the store.
    at_first: Option<u64>,
    /// Everything up to here is published.
    position: u64,
    noted: u64,
    noted_at: LogTime,
    /// How often publishing what comes next has failed.
    failures: u32,
    records: Records,
}

/// What to publish next.
#[derive(Default)]
struct Batch {
    records: Vec<Outgoing>,
    /// All that has a number up to this one is in it, or has no topic.
    upto: u64,
    /// When the first of it was committed; absent for dead letters, and for what was handed over.
    since: Option<LogTime>,
    /// The commits that it comes from, where they were handed over, each with its records.
    commits: Vec<(Arc<FeedEntry>, Range<usize>)>,
    /// What cannot be published at all: topic, bytes, and why.
    parked: Vec<(String, usize, String)>,
}

impl Relay {
    /// A relay for a partition owned under `epoch`; `taken` is the partition's status when it was
    /// taken, before anything was committed under that epoch.
    pub fn new(
        partition: Partition,
        epoch: Epoch,
        lane: Lane,
        taken: &PartitionStatus,
        params: Arc<PipelineParams>,
        ports: Ports,
        committed: Arc<CommitFeed>,
    ) -> Self {
        let at_first = Some(consumer_of(lane).stream.last(taken));
        Self {
            partition,
            epoch,
            lane,
            params,
            ports,
            committed,
            publisher: None,
            at_first,
            position: 0,
            noted: 0,
            noted_at: LogTime(0),
            failures: 0,
            records: Records::new(partition),
        }
    }

    /// True once no predecessor can publish, none having a lane for what none has committed.
    pub fn fits(&self) -> bool {
        self.at_first.is_none() || self.lane == Lane::DeadLetters && self.at_first == Some(0)
    }

    /// Publishes what is committed and not published yet, a bounded number of records.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. `Unavailable`: step again.
    pub fn step(&mut self) -> Result<Step> {
        if !self.has_news() {
            return self.note_in_time();
        }
        if let Err(error) = self.open() {
            self.failures += 1;
            return Err(error);
        }
        let batch = self.next_batch()?;
        if batch.upto == self.position {
            return self.note_in_time();
        }
        if !batch.records.is_empty() && !self.publish(&batch)? {
            return Ok(Step::Idle);
        }
        for (topic, bytes, why) in &batch.parked {
            self.park_one(topic, *bytes, why);
        }
        self.failures = 0;
        self.position = batch.upto;
        if self.lane == Lane::Results {
            self.records.keep(batch.records);
        }
        Ok(Step::Worked)
    }

    /// One transaction; false without a lane.
    fn publish(&mut self, batch: &Batch) -> Result<bool> {
        let Some(publisher) = self.publisher.as_mut() else {
            return Ok(false);
        };
        let records = &batch.records;
        let begun = Instant::now();
        let refused = match publisher.publish(records, batch.upto) {
            Ok(refused) => refused,
            Err(error) => {
                // Published or not? Only the log knows: ask it at the next step.
                self.publisher = None;
                self.failures += 1;
                return Err(error);
            }
        };
        if self.lane == Lane::Results {
            self.committed.publishes.add(begun.elapsed());
        }
        self.park(records, &refused);
        names::records_out(self.lane.as_str(), (records.len() - refused.len()) as u64);
        self.observe(batch);
        Ok(true)
    }

    /// Whether a step can find anything. The relay opens the lane of results at once, so that a
    /// dead predecessor's transaction ends and the first alert finds an open lane; it opens that of
    /// dead letters only when there is one, which is at once where a predecessor has committed one.
    fn has_news(&self) -> bool {
        let Some((last_output, last_dead)) = self.committed.latest(self.partition) else {
            return true;
        };
        match self.lane {
            Lane::Results => self.publisher.is_none() || last_output > self.position,
            Lane::DeadLetters if self.publisher.is_none() => last_dead > 0,
            Lane::DeadLetters => last_dead > self.position,
        }
    }

    /// Opens the lane: checks the epoch first, fences any predecessor, and learns where the log
    /// stands.
    fn open(&mut self) -> Result<()> {
        if self.publisher.is_some() {
            return Ok(());
        }
        let status = self.ports.store.status(self.partition)?;
        if status.epoch != self.epoch {
            return Err(Error::StaleEpoch {
                partition: self.partition,
                ours: self.epoch,
                current: status.epoch,
            });
        }
        let mut publisher = match self
            .ports
            .log
            .open_lane(self.partition, self.lane, self.epoch)
        {
            Err(Error::StaleEpoch { current, .. })
                if current > self.ports.store.status(self.partition)?.epoch =>
            {
                // Epochs come from the store, and this store has not given out that one.
                return Err(Self::younger(
                    &format!("has epoch {current} of partition {}", self.partition),
                    &format!("epoch {}", self.epoch),
                ));
            }
            opened => opened?,
        };
        let noted = status.cursors.get(&consumer_of(self.lane).name);
        // The log may have forgotten its position after a long rest, and the store's may lag behind
        // it: the higher one is true.
        let position = publisher.position()?.max(noted);
        if position > self.position {
            // What had failed is published all the same.
            self.failures = 0;
        }
        self.position = position;
        // Before this relay opened the lane only predecessors published, and only what was
        // committed when the partition was taken. A higher position comes from another store: what
        // this one numbers anew up to there would count as published.
        let committed = self
            .at_first
            .unwrap_or(consumer_of(self.lane).stream.last(&status));
        if self.position > committed {
            let published = format!(
                "says that {} {} of partition {} were published",
                self.position,
                self.lane.as_str(),
                self.partition
            );
            return Err(Self::younger(&published, &committed.to_string()));
        }
        self.at_first = None;
        self.noted = noted;
        self.publisher = Some(publisher);
        Ok(())
    }

    /// The refusal of a store that knows less than the log.
    fn younger(log: &str, store: &str) -> Error {
        Error::Refused(format!(
            "the log {log}, the store knows of {store}: it was made anew, or restored from a backup that is older than the log. Restore a newer one, or go on \
             with a log of its own (on Kafka: another [log] deployment), to which all that this store knows is published"
        ))
    }

    /// A batch was published: how long that took from the log to the log, and now and then a trace
    /// of the way, for each commit in it.
    fn observe(&self, batch: &Batch) {
        let now = self.ports.clock.now();
        if let Some(since) = batch.since {
            names::end_to_end("publish", now.seconds_since(since));
        }
        for (commit, records) in &batch.commits {
            let records = batch.records.get(records.clone()).unwrap_or_default();
            if !records.is_empty() {
                self.observe_commit(commit, records, now);
            }
        }
    }

    fn observe_commit(&self, commit: &FeedEntry, records: &[Outgoing], now: LogTime) {
        let Some(way) = commit.way else { return };
        names::end_to_end("publish", now.seconds_since(way.cause.appended));
        let failures = self.failures + way.commit_failures;
        self.params.traces.published(now, failures, || {
            let outputs: Vec<&OutputEvent> = above(commit, self.position).collect();
            let counts = outputs::ALL.iter().map(|spec| {
                let of_kind = outputs.iter().filter(|output| output.kind == spec.kind);
                (spec.name, of_kind.count() as u64)
            });
            let only = <[&OutputEvent; 1]>::try_from(outputs.as_slice()).ok();
            Published {
                partition: self.partition,
                epoch: self.epoch,
                way,
                at: now,
                failures: self.failures,
                source: self.params.topics[way.cause.topic].clone(),
                counts: counts.filter(|(_, count)| *count > 0).collect(),
                topic: same(records.iter().map(|record| record.topic.as_str())),
                robot_id: same(outputs.iter().map(|output| output.robot_id.as_str())),
                id: only.map(|[output]| event_id(output)),
            }
        });
    }

    /// What follows the position: from the commits that were handed over, else from the store.
    fn next_batch(&mut self) -> Result<Batch> {
        if self.lane == Lane::DeadLetters {
            return self.dead_batch();
        }
        let most = PollLimit {
            records: self.params.limits.relay_records,
            bytes: TOGETHER_BYTES,
        };
        let handed = self.committed.after(self.partition, self.position, most);
        if handed.is_empty() {
            return self.stored_batch();
        }
        let mut batch = Batch::default();
        for commit in handed {
            let first = batch.records.len();
            for output in above(&commit, self.position) {
                self.add(&mut batch, output);
            }
            batch.upto = commit.last;
            let records = first..batch.records.len();
            batch.commits.push((commit, records));
        }
        Ok(batch)
    }

    fn stored_batch(&mut self) -> Result<Batch> {
        let limit = self.params.limits.relay_records;
        let outputs = self
            .ports
            .store
            .outputs_after(self.partition, self.position, limit)?;
        let mut batch = Batch {
            upto: outputs.last().map_or(self.position, |last| last.sequence),
            since: outputs.first().map(|first| first.committed_at),
            ..Batch::default()
        };
        for stored in &outputs {
            self.add(&mut batch, &stored.output);
        }
        Ok(batch)
    }

    fn dead_batch(&self) -> Result<Batch> {
        let limit = self.params.limits.relay_records;
        let dead = self
            .ports
            .store
            .dead_after(self.partition, self.position, limit)?;
        let records = dead
            .iter()
            .map(|stored| self.records.of_dead(stored, &self.params.topics));
        Ok(Batch {
            records: records.collect(),
            upto: dead.last().map_or(self.position, |last| last.sequence),
            ..Batch::default()
        })
    }

    /// Adds an output as it is published, unless its kind has no topic.
    fn add(&mut self, batch: &mut Batch, output: &OutputEvent) {
        let Some(topic) = self.params.output_topics.get(output.kind) else {
            return;
        };
        match (output.kind.spec().record)(output, self.params.registry.datasets()) {
            Ok(value) => {
                let partitions = self.params.partitions;
                let record = self.records.of_output(output, value, topic, partitions);
                batch.records.push(record);
            }
            // Of a dataset that has left the configuration, or damaged: no alert may wait for it.
            Err(error) => {
                let (bytes, why) = (output.payload.len(), error.to_string());
                batch.parked.push((topic.to_owned(), bytes, why));
            }
        }
    }

    /// Passes over records that cannot be published, above all those that the log refuses for good:
    /// they stay in the store, are logged and counted, and hold up no other.
    fn park(&self, records: &[Outgoing], refused: &[(usize, String)]) {
        for (index, why) in refused {
            let Some(outgoing) = records.get(*index) else {
                continue;
            };
            self.park_one(&outgoing.topic, outgoing.record.value.len(), why);
        }
    }

    fn park_one(&self, topic: &str, bytes: usize, why: &str) {
        tracing::error!(
            partition = self.partition,
            lane = self.lane.as_str(),
            topic,
            bytes,
            why,
            "the broker refuses a record for good: it stays in the store and is not published. If it is too long, raise the topic's max.message.bytes before the next one"
        );
        names::record_parked(self.lane.as_str());
    }

    fn note_in_time(&mut self) -> Result<Step> {
        if self.ports.clock.now().0 - self.noted_at.0 >= NOTE_EVERY_US {
            self.note()?;
        }
        Ok(Step::Idle)
    }

    /// Notes in the store how far the lane is.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn note(&mut self) -> Result<()> {
        if self.noted < self.position {
            self.ports.store.advance_cursor(
                self.partition,
                self.epoch,
                &consumer_of(self.lane).name,
                self.position,
            )?;
            self.noted = self.position;
            self.noted_at = self.ports.clock.now();
        }
        Ok(())
    }
}

/// The consumer of the outbox that a lane publishes for.
pub fn consumer_of(lane: Lane) -> Consumer {
    match lane {
        Lane::Results => outbox::RELAY,
        Lane::DeadLetters => outbox::DEAD_LETTER_RELAY,
    }
}

impl OutboxConsumer for Relay {
    fn consumer(&self) -> Consumer {
        consumer_of(self.lane)
    }

    fn deliver(&mut self, _: bool) -> Result<Step> {
        self.step()
    }

    fn close(&mut self) -> Result<()> {
        self.note()
    }
}

/// The outputs of a commit above a position: one that straddles it was published in part.
fn above(commit: &FeedEntry, position: u64) -> impl Iterator<Item = &OutputEvent> {
    let outputs = commit.outputs.iter();
    let above = outputs.filter(move |(number, _)| *number > position);
    above.map(|(_, output)| output)
}

/// What all of these are, if they are the same.
fn same<'a>(mut all: impl Iterator<Item = &'a str>) -> Option<String> {
    let first = all.next()?;
    all.all(|other| other == first).then(|| first.to_owned())
}
