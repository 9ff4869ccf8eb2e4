//! How a processor applies telemetry: in batches within which nothing falls due.

use theatre_schemas::batch::Batch;
use theatre_schemas::records::Alert;

use super::following::{Around, Emission};
use super::row_order::{RowOrder, explain};
use super::telemetry::{RowBatch, Telemetry};
use super::{Judgement, Processor};
use crate::outputs::{DeadReason, Outputs};
use crate::position::TopicIndex;
use crate::procedure::CaseRows;
use crate::robot::RuleContext;
use crate::time::EventTime;

impl Processor {
    pub(super) fn apply_telemetry(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        rows: &[u32],
        outputs: &mut Outputs,
    ) {
        let config = self.config.clone();
        let message = Telemetry::of(topic, batch, &config);
        let mut row_batch = RowBatch::with_room(rows.len());
        self.collect_rows(&message, rows, &mut row_batch, outputs);
        self.flush_rows(&message, &mut row_batch, outputs);
        row_batch.put_back();
        let watermark = self.watermark();
        self.state.procedures.settle(&config.indicators, watermark);
    }

    /// Judges rows one by one and collects those that are accepted, as long as nothing falls due.
    fn collect_rows(
        &mut self,
        message: &Telemetry<'_>,
        rows: &[u32],
        row_batch: &mut RowBatch,
        outputs: &mut Outputs,
    ) {
        let Telemetry {
            topic,
            batch,
            columns,
            config,
            rules,
        } = message;
        let (mut last_procedure, mut revised_at) = (None, i64::MAX);
        let dataset = batch.dataset.name.as_str();
        let mut order = RowOrder::of(*rules, &self.state.robot, dataset);
        let has_deadlines = config.rules.has_deadlines();
        let has_warm_up = config.rules.has_warm_up();
        let mut usage_due = self.usage_due();
        for row in rows {
            let at = *row as usize;
            let boot = has_warm_up.then(|| self.state.robot.boot());
            match self.state.robot.judge(*topic, columns, at, &config.time) {
                Judgement::Apply { missing, in_order } => {
                    let clock = self.state.robot.clock();
                    if boot.is_some_and(|boot| self.state.robot.boot() != boot) {
                        // Rows before a start are judged before it is noted that there were others.
                        self.flush_rows(message, row_batch, outputs);
                    }
                    let procedure = columns.procedure(at);
                    let is_other = procedure != last_procedure;
                    if is_other && let Some(id) = procedure {
                        self.on_procedure(id, clock, message, row_batch, outputs);
                    }
                    last_procedure = procedure;
                    if row_batch.rows.is_empty() {
                        revised_at = self.may_be_revised_at(clock);
                    }
                    row_batch.push(*row, clock, missing, is_other);
                    if !order.takes(in_order, columns.times[at]) {
                        self.judge_in_turn(message, in_order, row_batch);
                        order.refresh(&self.state.robot, dataset);
                    }
                    if has_deadlines {
                        row_batch.progress.push(self.progress(order.is_calm));
                    }
                    let due = self.state.procedures.next_event().min(usage_due);
                    if clock.0 >= due.min(revised_at) {
                        self.flush_rows(message, row_batch, outputs);
                        self.emit_due(clock.0, outputs);
                        usage_due = self.usage_due();
                        last_procedure = None;
                    }
                }
                Judgement::Duplicate => {
                    self.state.counters[*topic].duplicate += 1;
                    if self.state.robot.began_anew() || self.state.robot.is_recording() {
                        self.flush_rows(message, row_batch, outputs);
                        self.judge_again(batch, at, outputs);
                        order.refresh(&self.state.robot, dataset);
                    }
                }
                Judgement::Dead(reason) => {
                    self.flush_rows(message, row_batch, outputs);
                    self.refuse(*topic, batch, at, reason, outputs);
                }
            }
        }
    }

    /// The earliest clock at which rows from this one on, by what they raise, may revise an outcome
    /// that was published: then no more are collected, since it is not known before they are judged.
    fn may_be_revised_at(&self, clock: EventTime) -> i64 {
        if self.state.procedures.are_published() {
            return clock.0.saturating_add(self.config.time.reorder_bound_us);
        }
        i64::MAX
    }

    /// What is due at the robot's clock: outcomes, and the judgement of its usage.
    fn emit_due(&mut self, clock: i64, outputs: &mut Outputs) {
        if clock >= self.state.procedures.next_event() {
            self.emit_due_outcomes(clock, outputs);
        }
        if clock >= self.usage_due() {
            self.judge_usage(outputs);
        }
    }

    /// The robot's clock less the reorder bound.
    pub(super) fn watermark(&self) -> i64 {
        let clock = self.state.robot.clock().0;
        clock.saturating_sub(self.config.time.reorder_bound_us)
    }

    /// Up to which event time rules have judged all there is: to the clock while nothing waits.
    fn progress(&self, is_calm: bool) -> i64 {
        if is_calm {
            return self.state.robot.clock().0;
        }
        self.watermark()
    }

    /// Has the rules that judge in event time judge the rows before the last one, which are in
    /// order; the last one takes its turn.
    fn judge_in_turn(&mut self, message: &Telemetry<'_>, in_order: bool, row_batch: &mut RowBatch) {
        let Telemetry { topic, batch, .. } = *message;
        let context = RuleContext {
            robot_id: &self.robot_id,
            rules: &message.config.rules,
            policy: &message.config.time,
            around: &Around {
                record: &self.state.record,
                procedures: &self.state.procedures,
            },
        };
        let last = row_batch.rows.len() - 1;
        row_batch.judge_to(last, &mut self.state.robot, context, batch);
        let (row, clock) = (row_batch.rows[last] as usize, row_batch.clocks[last]);
        let number = message.columns.sequence(row);
        let number = number.map(|(boot, sequence)| (topic, boot, sequence));
        let robot = &mut self.state.robot;
        let alerts = robot.judge_in_turn(context, batch, row, (number, in_order), clock);
        let alerts = alerts.into_iter().map(|alert| (last, alert));
        row_batch.alerts.extend(alerts);
        row_batch.judged = last + 1;
    }

    /// A row came once more that was applied: it shows that the robot was not silent, and may end
    /// what has begun since the clock began anew.
    fn judge_again(&mut self, batch: &Batch, row: usize, outputs: &mut Outputs) {
        self.state.robot.note_again(batch.event_times()[row]);
        if self.state.robot.began_anew() {
            self.with_rules(outputs, |robot, context| {
                robot.judge_again(context, batch, row)
            });
        }
    }

    /// Hands the collected rows on, which is decided by nothing but what the rows are: to the
    /// procedures, the rules and the windows. Of what a row causes the windows it closes come first,
    /// then the alerts: those of the robot as a whole, of rules that judge as rows come, of rows whose
    /// turn it was, and of instruments.
    fn flush_rows(
        &mut self,
        message: &Telemetry<'_>,
        row_batch: &mut RowBatch,
        outputs: &mut Outputs,
    ) {
        if row_batch.rows.is_empty() {
            return;
        }
        #[cfg(any(test, feature = "test-hooks"))]
        self.panic_if_asked(message.batch, &row_batch.rows);
        self.state.counters[message.topic].applied += row_batch.rows.len() as u64;
        self.feed_procedures(message, row_batch);
        let alerts = self.judge_rows(message, row_batch);
        let mut emission = Emission::default();
        let mut alerts = alerts.into_iter().peekable();
        while let Some((at, alert)) = alerts.next() {
            self.pass_deadlines_to(at, message, row_batch, &mut emission, outputs);
            // Of several alerts of one row only the first has rows before it.
            let from = emission.aggregated;
            let RowBatch { rows, clocks, .. } = &*row_batch;
            if from <= at {
                let (rows, clocks) = (&rows[from..=at], &clocks[from..=at]);
                self.aggregate_between_dues(message, rows, clocks, outputs);
                emission.aggregated = at + 1;
            }
            self.row_clock = Some(clocks[at]);
            self.emit_alert(alert, outputs);
            if alerts.peek().is_none_or(|(next, _)| *next > at) {
                self.settle_alerts(message.watermark_at(clocks[at]), outputs);
            }
        }
        let end = row_batch.rows.len();
        self.pass_deadlines_to(end, message, row_batch, &mut emission, outputs);
        let RowBatch { rows, clocks, .. } = &*row_batch;
        let from = emission.aggregated;
        self.aggregate_between_dues(message, &rows[from..], &clocks[from..], outputs);
        if let Some(last) = clocks.last() {
            self.settle_alerts(message.watermark_at(*last), outputs);
        }
        self.row_clock = None;
        row_batch.clear();
    }

    /// The alerts of collected rows, each with the index of the row that caused it, in row order.
    fn judge_rows(
        &mut self,
        message: &Telemetry<'_>,
        row_batch: &mut RowBatch,
    ) -> Vec<(usize, Alert)> {
        let Telemetry {
            batch,
            columns,
            config,
            ..
        } = message;
        self.state.record.operate(&row_batch.clocks);
        let context = RuleContext {
            robot_id: &self.robot_id,
            rules: &config.rules,
            policy: &config.time,
            around: &Around {
                record: &self.state.record,
                procedures: &self.state.procedures,
            },
        };
        let robot = &mut self.state.robot;
        robot.note_applied();
        let mut alerts = Vec::new();
        for (at, row) in row_batch.rows.iter().enumerate() {
            if !robot.watches_rows() {
                break;
            }
            let row = *row as usize;
            let (time, append_time) = (columns.times[row], columns.append_times[row]);
            let ended = robot.on_valid_record(context, time, append_time);
            alerts.extend(ended.into_iter().map(|alert| (at, alert)));
        }
        row_batch.judge_to(row_batch.rows.len(), robot, context, batch);
        let RowBatch { rows, clocks, .. } = &*row_batch;
        alerts.extend(robot.judge_on_arrival(context, batch, rows, clocks));
        alerts.append(&mut row_batch.alerts);
        if let Some(columns) = config.entities.instruments.get(&batch.dataset_index) {
            let instruments = &mut self.state.entities.instruments;
            alerts.extend(instruments.on_rows(context, columns, batch, &row_batch.rows));
        }
        alerts.sort_by_key(|(at, _)| *at);
        robot.count_not_finite(batch, &row_batch.rows);
        alerts
    }

    /// Runs of rows of one procedure.
    fn feed_procedures(&mut self, message: &Telemetry<'_>, row_batch: &RowBatch) {
        let Telemetry {
            batch,
            columns,
            config,
            ..
        } = message;
        if batch.dataset.roles.procedure_id.is_none() {
            return;
        }
        let sources = config.indicators.get(&batch.dataset_index);
        let rows = &row_batch.rows;
        let (mut watermarks, mut numbers) = (Vec::new(), Vec::new());
        if sources.is_some() {
            let clocks = row_batch.clocks.iter();
            watermarks.extend(clocks.map(|clock| message.watermark_at(*clock)));
            numbers.extend(rows.iter().map(|row| columns.sequence(*row as usize)));
        }
        for run in row_batch.runs() {
            let id = columns.procedure(rows[run.start] as usize);
            // A procedure that was finished and evicted is not there: its samples are the robot's
            // only.
            if let Some(procedure) = id.and_then(|id| self.state.procedures.get_mut(id)) {
                let of_case = CaseRows {
                    rows: &rows[run.clone()],
                    watermarks: watermarks.get(run.clone()).unwrap_or_default(),
                    numbers: numbers.get(run.clone()).unwrap_or_default(),
                };
                procedure.add_samples(sources, batch, of_case, &row_batch.missing[run]);
            }
        }
    }

    /// The next row is of another procedure than the one before. A new procedure may need room; one
    /// whose outcome was published corrects it after the reorder bound, in one revision for all rows
    /// until then. Decided row by row, since either may end the row batch.
    fn on_procedure(
        &mut self,
        id: &str,
        clock: EventTime,
        message: &Telemetry<'_>,
        row_batch: &mut RowBatch,
        outputs: &mut Outputs,
    ) {
        let max = message.config.procedures_max;
        match self.state.procedures.get_mut(id) {
            Some(procedure) => {
                if procedure.is_published() && procedure.due.is_none() {
                    self.state.procedures.due(
                        id,
                        clock.0.saturating_add(self.config.time.reorder_bound_us),
                    );
                }
            }
            None => {
                if self.state.procedures.is_full(max) {
                    self.flush_rows(message, row_batch, outputs);
                }
                self.state.procedures.get_or_insert(id, max);
            }
        }
    }

    #[cfg(any(test, feature = "test-hooks"))]
    fn panic_if_asked(&self, batch: &Batch, rows: &[u32]) {
        let Some(hook) = self
            .config
            .panic_on
            .as_ref()
            .filter(|hook| hook.robot_id == self.robot_id)
        else {
            return;
        };
        let Some(signal) = batch.dataset.signal(&hook.signal) else {
            return;
        };
        let value = |row: &u32| batch.signals.value(*row as usize, signal);
        if let Some(value) = rows.iter().map(value).find(|value| *value > hook.above) {
            panic!("asked to panic at {} = {value}", hook.signal);
        }
    }

    /// Dead-letters a row by its judgement; one from the future raises clock skew.
    pub(super) fn refuse(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        reason: DeadReason,
        outputs: &mut Outputs,
    ) {
        self.dead(
            topic,
            batch,
            row,
            reason,
            explain(reason, batch, row),
            outputs,
        );
        if reason == DeadReason::Future && batch.dataset.kind.is_of_robot() {
            self.with_rules(outputs, |robot, context| {
                robot.on_future_record(context, batch, row)
            });
        }
    }
}
