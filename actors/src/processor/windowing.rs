//! How applied rows come to windows and sessions, with what falls due for alerts in its place.

use theatre_schemas::batch::Batch;

use super::Processor;
use crate::outputs::Outputs;
use crate::time::EventTime;

impl Processor {
    /// Adds rows to the windows and the sessions. What falls due for alerts comes in its place: by the
    /// log's clock before the row that has come so far, by the watermark behind it. The last row's
    /// own alerts come first, so what the watermark makes due behind it is left to the caller.
    pub(super) fn aggregate_between_dues(
        &mut self,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
        outputs: &mut Outputs,
    ) {
        let of_dataset = self.config.rules.for_dataset(batch.dataset_index);
        // A window that closes may raise something, which is as old as the row that closes it.
        let by_row = of_dataset.is_some_and(|rules| !rules.on_windows.is_empty());
        let mut from = 0;
        while from < rows.len() {
            let rules = &self.config.rules;
            let due = self.state.alerts.next_due(rules);
            let quiet = self.state.alerts.next_quiet(rules);
            let is_due = |at: &usize| batch.append_times[rows[*at] as usize] >= due;
            let is_quiet = |at: &usize| self.watermark_at(clocks[*at]) >= quiet;
            if is_due(&from) {
                self.note_now(batch.append_times[rows[from] as usize]);
                self.fall_due(outputs);
                continue;
            }
            let mut to = rows.len();
            if due != i64::MAX {
                to = (from..to).find(is_due).unwrap_or(to);
            }
            if quiet != i64::MAX {
                to = (from..to).find(is_quiet).map_or(to, |at| at + 1);
            }
            if by_row {
                to = from + 1;
                self.note_now(batch.append_times[rows[from] as usize]);
            }
            self.aggregate(batch, &rows[from..to], &clocks[from..to], outputs);
            self.note_now(batch.append_times[rows[to - 1] as usize]);
            if to < rows.len() {
                self.settle_alerts(self.watermark_at(clocks[to - 1]), outputs);
            }
            from = to;
        }
    }

    pub(super) fn watermark_at(&self, clock: EventTime) -> i64 {
        clock.0.saturating_sub(self.config.time.reorder_bound_us)
    }

    /// Adds rows to the windows and the sessions. Of what a row closes the windows come first.
    pub(super) fn aggregate(
        &mut self,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
        outputs: &mut Outputs,
    ) {
        if rows.is_empty() {
            return;
        }
        let mut from = 0;
        for (at, session) in self.follow_sessions(batch, rows, clocks) {
            if from <= at {
                self.add_to_windows(batch, &rows[from..=at], &clocks[from..=at], outputs);
                from = at + 1;
            }
            outputs.events.push(session);
        }
        self.add_to_windows(batch, &rows[from..], &clocks[from..], outputs);
    }

    pub(super) fn add_to_windows(
        &mut self,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
        outputs: &mut Outputs,
    ) {
        if rows.is_empty() {
            return;
        }
        let config = self.config.clone();
        let mut closed = Vec::new();
        self.state.robot.aggregate(
            &config.windows,
            &config.time,
            batch,
            rows,
            clocks,
            &mut closed,
        );
        self.emit_windows(&batch.dataset.name, closed, outputs);
    }
}
