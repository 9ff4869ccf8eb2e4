//! What a partition reads: chunks of its inputs, applied by its processors and offered to the lake,
//! and the ticks of the wall clock between them.

use std::sync::Arc;

use theatre_actors::host::Reply;
use theatre_actors::outputs::DeadRow;
use theatre_actors::ports::Result;
use theatre_actors::processor::Processor;
use theatre_actors::time::{LogTime, Tick};

use super::routing::Routed;
use super::{INTAKE_SLOT, PartitionActor, observed};
use crate::intake::{Chunk, Entry, Intake};

/// So long a record may be on its way from the broker to what knows the log's end, microseconds.
const ON_THE_WAY_US: i64 = 1_000_000;
/// Wall-clock ticks come at most this often, microseconds.
const TICK_EVERY_US: i64 = 1_000_000;

impl PartitionActor {
    pub(super) fn read(&mut self) -> Result<bool> {
        self.offer_again();
        if self.to_lake.is_some() {
            return Ok(false);
        }
        if self.unsaved.is_full() {
            // A robot that sends meanwhile is not read, so it must not count as silent either.
            self.caught_up_since = None;
            return Ok(false);
        }
        if self.intake.is_none() {
            let mut intake = Intake::open(
                &*self.ports.log,
                self.partition,
                self.params.intake(),
                &self.positions,
            )?;
            let notifier = self.notifier.clone();
            let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || notifier.ring());
            self.log_notifies = intake.on_news(&wake);
            self.intake = Some(intake);
        }
        let asked = self.ports.clock.now();
        let polled = self
            .intake
            .as_mut()
            .map(Intake::poll)
            .unwrap_or_else(|| Ok(Chunk::default()));
        let routed = polled.and_then(|chunk| {
            Ok((
                self.routes
                    .route(&chunk, &*self.ports.store, self.partition, self.epoch)?,
                chunk,
            ))
        });
        let (routed, chunk) = routed.inspect_err(|_| {
            // What the reader had prefetched is of unknown completeness: read it again from our
            // position.
            self.intake = None;
            self.caught_up_since = None;
        })?;
        self.note_read(&chunk);
        if chunk.is_current {
            let age = i64::try_from(chunk.end_age.as_micros()).unwrap_or(i64::MAX);
            let known = asked.0.saturating_sub(ON_THE_WAY_US).saturating_sub(age);
            self.read_to = self.read_to.max(Some(LogTime(known)));
        }
        if chunk.is_empty() {
            return Ok(false);
        }
        self.apply(&chunk, routed);
        self.positions = chunk.to.clone();
        self.routes.evict_dead_letters_below(&self.positions);
        self.offer(Arc::new(chunk), self.ports.clock.now());
        Ok(true)
    }

    pub(super) fn offer_again(&mut self) {
        if let Some((chunk, since)) = self.to_lake.take() {
            self.offer(chunk, since);
        }
    }

    /// Hands a chunk to the lake writer, or keeps it until there is room; a writer that makes none
    /// for too long is left behind, so that no alert waits for the lake.
    fn offer(&mut self, chunk: Arc<Chunk>, since: LogTime) {
        let now = self.ports.clock.now();
        if !self.lake.offer(&chunk, now) {
            if now.0 - since.0
                < i64::try_from(self.params.limits.lake_patience.as_micros()).unwrap_or(i64::MAX)
            {
                self.to_lake = Some((chunk, since));
                return;
            }
            tracing::warn!(
                partition = self.partition,
                "the lake writer is left behind: it reads by itself what it has missed"
            );
            self.lake.skip_ahead(&chunk, now);
        }
    }

    fn note_read(&mut self, chunk: &Chunk) {
        self.caught_up_since = match (chunk.caught_up, self.caught_up_since) {
            (false, _) => None,
            (true, None) => Some(self.ports.clock.now()),
            (true, since) => since,
        };
        self.progress.update(self.partition, |share| {
            share.lag_records = chunk.lag_records;
            share.caught_up = chunk.caught_up && chunk.is_empty();
            if let Some(last) = chunk.last_append {
                share.last_append = last.0;
            }
        });
        if !chunk.is_empty() {
            let now = self.ports.clock.now();
            self.progress
                .records_read(self.partition, chunk.entries.len(), chunk.lag_records);
            let reorder_bound_us = self.params.processor.time.reorder_bound_us;
            self.observed.chunk(chunk, reorder_bound_us, now);
            let telemetry = observed::last_telemetry(chunk);
            if let Some(last) = telemetry.and_then(|batch| batch.event_times().last()) {
                self.progress.telemetry_read(self.partition, *last, now);
            }
        }
    }

    /// Hands every processor its rows, and the intake processor the failures and the rows of
    /// foreign robots, in the log's order.
    fn apply(&mut self, chunk: &Chunk, routed: Routed) {
        for (slot, robot) in routed.newcomers {
            let config = self.params.processor.clone();
            let begun = Processor::begun(&robot, config, &self.book, &chunk.from);
            self.host.insert(slot, begun);
            self.unsaved.restore(slot, self.routes.name(slot), 0);
            self.list_slot(slot);
        }
        let is_told = !routed.wide.is_empty();
        for (batch, row) in routed.wide {
            let (topic, batch) = &chunk.batches[batch as usize];
            self.book.note(*topic, batch, row as usize);
        }
        let work = routed
            .table
            .finish(chunk, |slot| self.unsaved.is_healthy(slot));
        for (slot, _) in &work {
            self.unsaved.touched(*slot, &chunk.from);
        }
        let replies = self.host.deliver(work);
        self.collect(replies);
        if is_told {
            self.book.settle();
        }
        self.observed.applied();
        let mut foreign_rows = routed.foreign_rows.into_iter().peekable();
        for (at, entry) in chunk.entries.iter().enumerate() {
            let dead_letter = match *entry {
                Entry::Dead(index) => {
                    let dead = &chunk.dead[index as usize];
                    self.intake_processor
                        .dead_letter_row(dead)
                        .then(|| dead.clone())
                }
                Entry::Row { batch, row } => foreign_rows
                    .next_if_eq(&at)
                    .and_then(|_| self.reject(chunk, batch, row)),
            };
            if let Some(dead) = dead_letter {
                self.unsaved.touched(INTAKE_SLOT, &chunk.from);
                self.progress
                    .count_dead(&self.params.topics, std::slice::from_ref(&dead));
                self.unsaved.add_dead(INTAKE_SLOT, dead);
            }
        }
    }

    fn reject(&mut self, chunk: &Chunk, batch: u32, row: u32) -> Option<DeadRow> {
        let (topic, batch) = &chunk.batches[batch as usize];
        let home = self.routes.home_of(batch.robot_id(row as usize))?;
        let dead = self
            .intake_processor
            .reject(*topic, batch, row as usize, home)?;
        let records = self.routes.count_foreign(*topic);
        self.progress
            .turned_away(&self.params.topics[*topic], self.partition, records, home);
        Some(dead)
    }

    fn collect(&mut self, replies: Vec<(usize, Reply)>) {
        let now = self.ports.clock.now();
        for (slot, reply) in replies {
            match reply {
                Reply::Applied { outputs } => {
                    self.progress
                        .count_outputs(outputs.events.iter().map(|output| &output.kind));
                    self.progress.count_dead(&self.params.topics, &outputs.dead);
                    self.progress.count(&self.params.topics, &outputs.tally);
                    let topics = &self.params.output_topics;
                    let cause = self.observed.outputs(slot, &outputs, topics, now);
                    self.unsaved.add(slot, outputs, cause);
                }
                Reply::Panicked { message } => {
                    tracing::error!(
                        robot = &**self.unsaved.name(slot),
                        partition = self.partition,
                        message,
                        "a processor panicked and goes back to its last save"
                    );
                    self.unsaved.panicked(slot);
                }
            }
        }
    }

    /// Wall-clock ticks. What was said of conditions falls due by the time up to which everything
    /// has been read, so that what would have prevented a step is known before, and a replay of the
    /// log does the same. Silence is judged once the partition has seen the log's end for as long
    /// as makes a robot silent, so that an outage of the log, in which no record could be read,
    /// makes no robot silent.
    pub(super) fn tick(&mut self) {
        let now = self.ports.clock.now();
        if now.0 - self.last_tick.0 < TICK_EVERY_US {
            return;
        }
        let silence = self.params.processor.time.silence_after_us;
        let at_end_long_enough = self
            .caught_up_since
            .is_some_and(|since| now.0 - since.0 >= silence);
        let Some(read_to) = self.read_to else {
            return;
        };
        let tick = Tick {
            read_to,
            silence: at_end_long_enough.then_some(now),
        };
        self.last_tick = now;
        let slots: Vec<usize> = (0..self.routes.len())
            .filter(|slot| self.unsaved.is_healthy(*slot))
            .collect();
        let replies = self.host.tick(&slots, tick);
        self.observed.ticked(&replies);
        for (slot, reply) in replies {
            // A tick without outputs changed nothing that a restart would not find out again, so it
            // makes no processor dirty: an idle fleet is not saved every second.
            let changed = match &reply {
                Reply::Applied { outputs } => {
                    !outputs.events.is_empty() || !outputs.dead.is_empty()
                }
                Reply::Panicked { .. } => true,
            };
            // What a tick decided is saved like what rows decided: a restart must not decide it
            // again by another wall clock.
            if changed {
                let here = self.positions.clone();
                self.unsaved.touched(slot, &here);
                self.ticks += 1;
                self.collect(vec![(slot, reply)]);
            }
        }
    }
}
