//! What is only watched of a partition: kept here, once for each chunk, commit or tick, until the
//! metrics are asked for.

use std::collections::HashMap;

use theatre_actors::host::Reply;
use theatre_actors::outputs::{OutputEvent, OutputTopics, Outputs};
use theatre_actors::time::{LogTime, MICROS_PER_SECOND};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;
use theatre_telemetry::names::{self, Standing};
use theatre_telemetry::traces::Cause;

use crate::intake::Chunk;

/// Rows of a batch whose times are compared, at most: it costs the same however large the batch.
const SAMPLED_ROWS: usize = 64;
/// The share of time spent working is that of a stretch at least this long, microseconds.
const BUSY_OVER_US: i64 = 10 * MICROS_PER_SECOND;

/// A partition as it is watched.
#[derive(Debug, Default)]
pub(super) struct Observed {
    standing: Standing,
    /// Open conditions of each processor that has any, by slot.
    conditions: HashMap<usize, [u32; 3]>,
    /// The records of the chunk that is being applied.
    applying: Option<Cause>,
    /// The first cause of the outputs that are about to be submitted, of those that are published.
    cause: Option<Cause>,
    /// When the stretch began of which the share of time spent working is taken, and how much of it
    /// was spent so far, microseconds.
    busy_since: Option<LogTime>,
    busy_us: i64,
}

impl Observed {
    /// What is exposed.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// A processor was restored, or rebuilt, with so many open conditions.
    pub(super) fn restored(&mut self, slot: usize, open: [u32; 3]) {
        let before = self.conditions.insert(slot, open).unwrap_or_default();
        if open == [0; 3] {
            self.conditions.remove(&slot);
        }
        for (total, (open, before)) in self
            .standing
            .conditions
            .iter_mut()
            .zip(open.into_iter().zip(before))
        {
            *total = (*total + u64::from(open)).saturating_sub(u64::from(before));
        }
    }

    /// A chunk was read, which is about to be applied.
    pub(super) fn chunk(&mut self, chunk: &Chunk, reorder_bound_us: i64, now: LogTime) {
        let (topic, offset) = chunk.last_record;
        self.applying = chunk.last_append.map(|appended| Cause {
            appended,
            read: now,
            applied: now,
            topic,
            offset,
            records: chunk.entries.len(),
        });
        if let Some(last) = chunk.last_append {
            names::end_to_end("read", now.seconds_since(last));
        }
        if let Some(last) = last_telemetry(chunk)
            && let Some(time) = last.event_times().last()
        {
            self.standing.watermark = LogTime(time.saturating_sub(reorder_bound_us))
                .seconds()
                .max(0.0);
            self.standing.skew = skew_us(last) as f64 / MICROS_PER_SECOND as f64;
        }
    }

    /// A chunk was applied: what is put out from here on was caused by no record.
    pub(super) fn applied(&mut self) {
        self.applying = None;
    }

    /// A processor has put something out, by `now`; returns what caused it, if records did and it
    /// is published.
    pub(super) fn outputs(
        &mut self,
        slot: usize,
        outputs: &Outputs,
        topics: &OutputTopics,
        now: LogTime,
    ) -> Option<Cause> {
        if let Some(open) = outputs.tally.open_conditions {
            self.restored(slot, open);
        }
        let is_published = |output: &OutputEvent| topics.get(output.kind).is_some();
        let applying = self.applying?;
        let cause = Cause {
            applied: now,
            ..applying
        };
        outputs.events.iter().any(is_published).then_some(cause)
    }

    /// A processor is saved; this caused what it put out.
    pub(super) fn saving(&mut self, cause: Option<Cause>) {
        self.cause = Cause::first(self.cause, cause);
    }

    /// What is saved is about to be submitted; returns what caused the first of it.
    pub(super) fn submitting(&mut self) -> Option<Cause> {
        self.cause.take()
    }

    /// The wall clock was handed to processors.
    pub(super) fn ticked(&mut self, replies: &[(usize, Reply)]) {
        let is_silent = |reply: &Reply| matches!(reply, Reply::Applied { outputs } if outputs.tally.is_silent == Some(true));
        self.standing.stale = replies.iter().filter(|(_, reply)| is_silent(reply)).count() as u64;
    }

    /// A step has ended, which read on unless it is paused.
    pub(super) fn stepped(&mut self, begun: LogTime, now: LogTime, worked: bool, is_paused: bool) {
        self.standing.is_paused = is_paused;
        if worked {
            self.busy_us += (now.0 - begun.0).max(0);
        }
        let since = *self.busy_since.get_or_insert(begun);
        let elapsed = now.0 - since.0;
        if elapsed >= BUSY_OVER_US {
            self.standing.busy = (self.busy_us as f64 / elapsed as f64).min(1.0);
            (self.busy_since, self.busy_us) = (Some(now), 0);
        }
    }
}

/// The last batch of telemetry of a chunk.
pub(super) fn last_telemetry(chunk: &Chunk) -> Option<&Batch> {
    let mut batches = chunk.batches.iter().rev().map(|(_, batch)| &**batch);
    batches.find(|batch| batch.dataset.kind == DatasetKind::Telemetry)
}

/// By how much event times are ahead of append times at most, in rows spread over a batch.
fn skew_us(batch: &Batch) -> i64 {
    let times = batch.event_times().iter().zip(&batch.append_times);
    let every = batch.append_times.len().div_ceil(SAMPLED_ROWS).max(1);
    times
        .step_by(every)
        .map(|(event, append)| event.saturating_sub(*append))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use theatre_actors::outputs::{OutputKind, Tally};

    use super::*;

    fn topics() -> OutputTopics {
        OutputTopics::new(|_| None)
    }

    fn output(kind: OutputKind) -> OutputEvent {
        OutputEvent {
            kind,
            robot_id: String::new(),
            id: String::new(),
            subject: String::new(),
            revision: 0,
            event_time: 0,
            payload: Vec::new(),
        }
    }

    #[test]
    fn conditions_are_counted_over_processors_through_changes_and_rebuilds() {
        let mut observed = Observed::default();
        observed.restored(0, [1, 0, 2]);
        observed.restored(1, [1, 1, 0]);
        assert_eq!(observed.standing().conditions, [2, 1, 2]);
        let cleared = Outputs {
            tally: Tally {
                open_conditions: Some([0; 3]),
                ..Tally::default()
            },
            ..Outputs::default()
        };
        observed.outputs(0, &cleared, &topics(), LogTime(0));
        assert_eq!(observed.standing().conditions, [1, 1, 0]);
        observed.restored(1, [0, 2, 0]);
        assert_eq!(observed.standing().conditions, [0, 2, 0]);
        assert_eq!(
            observed.conditions.len(),
            1,
            "a processor without any is forgotten"
        );
    }

    #[test]
    fn only_what_records_caused_and_what_is_published_has_a_cause() {
        let mut observed = Observed::default();
        let chunk = |at: i64| Chunk {
            last_append: Some(LogTime(at)),
            last_record: (1, at as u64),
            ..Chunk::default()
        };
        let put_out = |observed: &mut Observed, kind| {
            let outputs = Outputs {
                events: vec![output(kind)],
                ..Outputs::default()
            };
            observed.outputs(0, &outputs, &topics(), LogTime(7))
        };
        observed.chunk(&chunk(5), 0, LogTime(6));
        let window = put_out(&mut observed, OutputKind::Window);
        assert_eq!(window, None, "windows are published nowhere");
        let first = put_out(&mut observed, OutputKind::Alert);
        let cause = Cause {
            appended: LogTime(5),
            read: LogTime(6),
            applied: LogTime(7),
            topic: 1,
            offset: 5,
            records: 0,
        };
        assert_eq!(first, Some(cause));
        observed.chunk(&chunk(9), 0, LogTime(9));
        let second = put_out(&mut observed, OutputKind::Alert);
        for cause in [second, first, None] {
            observed.saving(cause);
        }
        assert_eq!(observed.submitting(), Some(cause), "the first one counts");
        assert_eq!(observed.submitting(), None, "once");
        observed.applied();
        let ticked = put_out(&mut observed, OutputKind::Alert);
        assert_eq!(ticked, None, "the wall clock caused it");
    }

    #[test]
    fn the_share_of_work_is_that_of_the_last_stretch() {
        let mut observed = Observed::default();
        let s = MICROS_PER_SECOND;
        observed.stepped(LogTime(0), LogTime(4 * s), true, false);
        observed.stepped(LogTime(9 * s), LogTime(9 * s), false, true);
        assert!(observed.standing().is_paused);
        assert_eq!(observed.standing().busy, 0.0, "the stretch is not over");
        observed.stepped(LogTime(10 * s), LogTime(10 * s), false, false);
        assert_eq!(observed.standing().busy, 0.4);
        observed.stepped(LogTime(10 * s), LogTime(30 * s), true, false);
        assert_eq!(observed.standing().busy, 1.0);
    }
}
