//! One actor that is built anew: its rows in order, and what it concludes from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use theatre_actors::control::ControlBook;
use theatre_actors::host::{GuardedProcessor, Reply, Segment};
use theatre_actors::outputs::{DeadRow, OutputEvent, OutputKind, Outputs};
use theatre_actors::ports::{Error, Result, StoredProcessor};
use theatre_actors::position::{Partition, Positions, TopicIndex};
use theatre_actors::processor::{Processor, ProcessorConfig};
use theatre_actors::time::{LogTime, Tick};
use theatre_schemas::batch::Batch;

use super::report::OutputList;
use super::sent::{Dead, Sent, Verdict};

/// Rows of a batch that are for one actor.
struct Share {
    topic: TopicIndex,
    batch: Arc<Batch>,
    rows: Vec<u32>,
}

/// An actor on its way from nothing to where it is stored.
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) stored: Option<StoredProcessor>,
    /// `None` before its first row.
    pub(super) processor: Option<Processor>,
    /// Where its records are at the moment.
    pub(super) partition: Partition,
    /// Rows of that partition below belong to others: it lived elsewhere then.
    pub(super) from: Positions,
    /// What of it cannot be kept, in words.
    pub(super) lost: Vec<String>,
    shares: Vec<Share>,
    /// Append time of its last row, microseconds UTC.
    last_append: i64,
    /// When something of it was committed, the next one last.
    commits: Vec<i64>,
    /// The wall clock has moved something.
    pub(super) was_ticked: bool,
    pub(super) records: u64,
    /// Outputs that were never sent, in order.
    pub(super) unsent: Vec<OutputEvent>,
    pub(super) unsent_dead: Vec<DeadRow>,
    pub(super) sent_otherwise: OutputList,
    pub(super) perhaps_sent: u64,
}

impl Actor {
    pub(super) fn new(
        name: &str,
        partition: Partition,
        stored: Option<StoredProcessor>,
        mut commits: Vec<i64>,
    ) -> Self {
        commits.reverse();
        Self {
            name: name.to_owned(),
            stored,
            processor: None,
            partition,
            from: Positions::zero(),
            lost: Vec::new(),
            shares: Vec::new(),
            last_append: i64::MIN,
            commits,
            was_ticked: false,
            records: 0,
            unsent: Vec::new(),
            unsent_dead: Vec::new(),
            sent_otherwise: OutputList::default(),
            perhaps_sent: 0,
        }
    }

    /// Adds a row to what it is handed next.
    pub(super) fn push(&mut self, topic: TopicIndex, batch: &Arc<Batch>, row: usize) {
        let row = row as u32;
        match self.shares.last_mut() {
            Some(share) if share.topic == topic && Arc::ptr_eq(&share.batch, batch) => {
                share.rows.push(row);
            }
            _ => self.shares.push(Share {
                topic,
                batch: batch.clone(),
                rows: vec![row],
            }),
        }
    }

    /// Applies what it was handed.
    ///
    /// # Errors
    /// `Refused` when it panics on a row.
    pub(super) fn apply(&mut self, sent: &mut Sent, silence_us: i64) -> Result<()> {
        for share in std::mem::take(&mut self.shares) {
            let (topic, batch) = (share.topic, &share.batch);
            let mut from = 0;
            for (at, row) in share.rows.iter().map(|row| *row as usize).enumerate() {
                let append_time = batch.append_times[row];
                if self.commits.last().is_some_and(|next| *next < append_time) {
                    self.deliver(topic, batch, &share.rows[from..at], sent)?;
                    from = at;
                    self.pass_time(append_time, silence_us, sent);
                }
                let dead = sent.dead(topic, batch.offsets[row]);
                if let Some(Dead::Poison { actor, detail }) = dead
                    && *actor == self.name
                {
                    let detail = detail.clone();
                    self.deliver(topic, batch, &share.rows[from..at], sent)?;
                    from = at + 1;
                    self.bury(topic, batch, row, &detail, sent);
                }
                self.last_append = self.last_append.max(append_time);
            }
            self.deliver(topic, batch, &share.rows[from..], sent)?;
            self.records += share.rows.len() as u64;
        }
        Ok(())
    }

    /// Goes on in a partition from these positions, under what was said there; as a repartition moved
    /// it, if it was elsewhere.
    ///
    /// # Errors
    /// When its state cannot be read, which would be a bug.
    pub(super) fn go_on(
        &mut self,
        (partition, from): (Partition, &Positions),
        config: &Arc<ProcessorConfig>,
        book: &Arc<ControlBook>,
    ) -> Result<()> {
        if let Some(processor) = &self.processor {
            let state = processor.snapshot();
            let state = match self.partition == partition {
                true => Ok(state),
                false => Processor::moved(&state, from),
            };
            let moved = state.and_then(|it| Processor::restore(&self.name, &it, config.clone()));
            let moved = moved.map_err(|why| {
                Error::Refused(format!(
                    "'{}' cannot go on in partition {partition}: {why}",
                    self.name
                ))
            })?;
            self.processor = Some(moved.under(book));
        }
        (self.partition, self.from) = (partition, from.clone());
        Ok(())
    }

    /// It leaves a partition: what of its records there was no dead letter and would be one now cannot
    /// be noted elsewhere, since a dead letter is known by its place.
    pub(super) fn leave_dead_letters(&mut self, partition: Partition) {
        let left = std::mem::take(&mut self.unsent_dead).len();
        if left > 0 {
            self.lost.push(format!(
                "'{}': {left} of its records in partition {partition}, where it lived before a repartition, would be dead letters, which cannot be noted there any more",
                self.name
            ));
        }
    }

    /// All rows are applied: what the wall clock did after the last of them.
    pub(super) fn end(&mut self, sent: &mut Sent) {
        self.pass_time(i64::MAX, 0, sent);
    }

    fn deliver(
        &mut self,
        topic: TopicIndex,
        batch: &Arc<Batch>,
        rows: &[u32],
        sent: &mut Sent,
    ) -> Result<()> {
        let Some(processor) = self.processor.take_if(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let mut guarded = GuardedProcessor::new(processor);
        let segment = Segment {
            topic,
            batch: batch.clone(),
            rows: rows.to_vec().into(),
        };
        match guarded.deliver(&[segment]) {
            Reply::Applied { outputs } => {
                self.processor = Some(guarded.into_processor());
                self.keep(outputs, sent);
                Ok(())
            }
            Reply::Panicked { message } => Err(Error::Refused(format!(
                "'{}' cannot be rebuilt: the actor panicked on a row that was applied before (input {topic}, offsets {:?} to {:?}): {message}; please report it",
                self.name,
                rows.first().map(|row| batch.offsets[*row as usize]),
                rows.last().map(|row| batch.offsets[*row as usize]),
            ))),
        }
    }

    /// A row that an actor panicked on is a dead letter and stays one.
    fn bury(
        &mut self,
        topic: TopicIndex,
        batch: &Arc<Batch>,
        row: usize,
        detail: &str,
        sent: &mut Sent,
    ) {
        let mut outputs = Outputs::default();
        if let Some(processor) = &mut self.processor {
            processor.dead_letter_row(topic, batch, row, detail, &mut outputs);
        }
        self.keep(outputs, sent);
    }

    /// What the wall clock decided between the last row and `until` is known by what was sent of
    /// it: no record says when a process was there and looked at the time. So each moment at which
    /// something of the actor was committed is tried, and what a tick then concludes is taken over
    /// if its alerts were sent.
    fn pass_time(&mut self, until: i64, silence_us: i64, sent: &mut Sent) {
        let mut is_open = true;
        while let Some(at) = self.commits.pop_if(|at| *at < until) {
            if !is_open {
                continue;
            }
            let Some(processor) = &self.processor else {
                continue;
            };
            let mut ticked = processor.clone();
            let mut outputs = Outputs::default();
            // Silence is judged only by a process that has seen the end of the log for so long.
            let is_judged = at.saturating_sub(self.last_append) >= silence_us;
            let (read_to, silence) = (LogTime(at), is_judged.then_some(LogTime(at)));
            ticked.advance_time(Tick { read_to, silence }, &mut outputs);
            if outputs.events.is_empty() {
                continue;
            }
            // What is due at one moment is due at all later ones.
            is_open = was_sent(&outputs, sent);
            if is_open {
                self.processor = Some(ticked);
                self.was_ticked = true;
                self.keep(outputs, sent);
            }
        }
    }

    fn keep(&mut self, outputs: Outputs, sent: &mut Sent) {
        for output in outputs.events {
            match sent.take(&output) {
                Verdict::Same => {}
                Verdict::Otherwise => self.sent_otherwise.note(&output),
                Verdict::Never if sent.may_have_expired(output.kind) => self.perhaps_sent += 1,
                Verdict::Never => self.unsent.push(output),
            }
        }
        for dead in outputs.dead {
            if sent.dead(dead.topic, dead.offset).is_none() {
                self.unsent_dead.push(dead);
            }
        }
    }
}

/// Whether all alerts among outputs were sent; where there is none, all outputs with their content.
fn was_sent(outputs: &Outputs, sent: &Sent) -> bool {
    let mut by_kind: BTreeMap<bool, bool> = BTreeMap::new();
    for output in &outputs.events {
        let is_alert = output.kind == OutputKind::Alert;
        let verdict = sent.verdict(output);
        let fits = verdict == Verdict::Same || (is_alert && verdict == Verdict::Otherwise);
        let all = by_kind.entry(is_alert).or_insert(true);
        *all &= fits;
    }
    let of_alerts = by_kind.get(&true).copied();
    of_alerts.or(by_kind.get(&false).copied()).unwrap_or(false)
}
