//! How applied rows come to windows and sessions, with what falls due for alerts in its place.

use theatre_schemas::batch::Batch;

use super::Processor;
use super::telemetry::Telemetry;
use crate::outputs::Outputs;
use crate::time::EventTime;

impl Processor {
    /// Adds rows to the windows and the sessions. What falls due for alerts comes in its place: by the
    /// log's clock before the row that has come so far, by the watermark behind it. The last row's
    /// own alerts come first, so what the watermark makes due behind it is left to the caller.
    pub(super) fn aggregate_between_dues(
        &mut self,
        message: &Telemetry<'_>,
        rows: &[u32],
        clocks: &[EventTime],
        outputs: &mut Outputs,
    ) {
        let append_times = message.columns.append_times;
        let mut from = 0;
        while from < rows.len() {
            let rules = &message.config.rules;
            let due = self.state.alerts.next_due(rules);
            let quiet = self.state.alerts.next_quiet(rules);
            let is_due = |at: &usize| append_times[rows[*at] as usize] >= due;
            let is_quiet = |at: &usize| message.watermark_at(clocks[*at]) >= quiet;
            if is_due(&from) {
                self.note_now(append_times[rows[from] as usize]);
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
            if message.has_rules_on_windows() {
                // A window that closes may raise something, which is as old as the row that closes it.
                let closes_at = self.judged_windows_close_at(message, clocks[from]);
                let may_close = |at: &usize| clocks[*at].0 >= closes_at;
                to = (from..to).find(may_close).map_or(to, |at| at.max(from + 1));
                for row in &rows[from..to] {
                    self.note_now(append_times[*row as usize]);
                }
            }
            self.aggregate(message.batch, &rows[from..to], &clocks[from..to], outputs);
            self.note_now(append_times[rows[to - 1] as usize]);
            if to < rows.len() {
                self.settle_alerts(message.watermark_at(clocks[to - 1]), outputs);
            }
            from = to;
        }
    }

    /// The robot's clock before which no window closes that rules judge, whatever rows come from
    /// `clock` on, microseconds UTC; `i64::MAX` without such rules.
    pub(super) fn judged_windows_close_at(&self, message: &Telemetry<'_>, clock: EventTime) -> i64 {
        if !message.has_rules_on_windows() {
            return i64::MAX;
        }
        let (config, dataset) = (message.config, &message.batch.dataset.name);
        let robot = &self.state.robot;
        robot.windows_close_at(&config.windows, &config.time, dataset, clock)
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
        if !closed.is_empty() {
            self.emit_windows(&batch.dataset.name, closed, outputs);
        }
    }
}
