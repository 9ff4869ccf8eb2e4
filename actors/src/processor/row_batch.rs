//! How a processor applies rows: telemetry in batches within which nothing falls due, events one by
//! one.

use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::records::{ClinicalResult, Complication, Severity, SuccessStatus};

use super::{Judgement, Processor};
use crate::outputs::{DeadReason, Outputs};
use crate::position::TopicIndex;
use crate::procedure::{
    EVENTS_MAX, InsertResult, ProcedureEvent, ProcedureMetadata, ProcedureStep,
};
use crate::robot::Columns;
use crate::time::EventTime;

/// Accepted rows that procedures, rules and windows have not got yet.
#[derive(Default)]
struct RowBatch {
    rows: Vec<u32>,
    clocks: Vec<EventTime>,
    missing: Vec<i64>,
}

impl Processor {
    pub(super) fn apply_telemetry(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        rows: &[u32],
        outputs: &mut Outputs,
    ) {
        let mut row_batch = RowBatch::default();
        let config = self.config.clone();
        let columns = Columns::of(batch);
        let mut last_procedure = None;
        for row in rows {
            let at = *row as usize;
            match self.state.robot.judge(topic, &columns, at, &config.time) {
                Judgement::Apply { missing } => {
                    let clock = self.state.robot.clock();
                    let procedure = columns.procedure(at);
                    if procedure != last_procedure
                        && let Some(id) = procedure
                    {
                        self.on_procedure(id, clock, topic, batch, &mut row_batch, outputs);
                    }
                    last_procedure = procedure;
                    row_batch.rows.push(*row);
                    row_batch.clocks.push(clock);
                    row_batch.missing.push(missing);
                    if clock.0 >= self.state.procedures.next_due() {
                        self.flush_rows(topic, batch, &mut row_batch, outputs);
                        self.emit_due_outcomes(clock.0, outputs);
                        last_procedure = None;
                    }
                }
                Judgement::Duplicate => self.state.counters[topic].duplicate += 1,
                Judgement::Dead(reason) => {
                    self.flush_rows(topic, batch, &mut row_batch, outputs);
                    self.refuse(topic, batch, at, reason, outputs);
                }
            }
        }
        self.flush_rows(topic, batch, &mut row_batch, outputs);
    }

    /// Gives accepted rows to procedures, rules and windows. The outputs are in row
    /// order, of one row the windows it closed before the alerts it raised, so that their order does
    /// not depend on where the batch was cut.
    fn flush_rows(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row_batch: &mut RowBatch,
        outputs: &mut Outputs,
    ) {
        if row_batch.rows.is_empty() {
            return;
        }
        let config = self.config.clone();
        let RowBatch {
            rows,
            clocks,
            missing,
        } = std::mem::take(row_batch);
        #[cfg(any(test, feature = "test-hooks"))]
        self.panic_if_asked(batch, &rows);
        self.state.counters[topic].applied += rows.len() as u64;
        self.feed_procedures(batch, &rows, &missing);
        let mut alerts = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            if !self.state.robot.has_open_robot_condition() {
                break;
            }
            let ended = self.state.robot.on_valid_record(
                &self.robot_id,
                &config.rules,
                batch.append_times[*row as usize],
            );
            alerts.extend(ended.into_iter().map(|alert| (at, alert)));
        }
        alerts.extend(self.state.robot.evaluate(
            &self.robot_id,
            &config.rules,
            &config.time,
            batch,
            &rows,
            &clocks,
        ));
        alerts.sort_by_key(|(at, _)| *at);
        self.state.robot.count_not_finite(batch, &rows);
        let mut from = 0;
        for (at, alert) in alerts {
            // Of several alerts of one row only the first has rows before it.
            if from <= at {
                self.aggregate(batch, &rows[from..=at], &clocks[from..=at], outputs);
                from = at + 1;
            }
            self.emit_alert(alert, outputs);
        }
        self.aggregate(batch, &rows[from..], &clocks[from..], outputs);
    }

    fn aggregate(
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

    /// Runs of rows of one procedure.
    fn feed_procedures(&mut self, batch: &Batch, rows: &[u32], missing: &[i64]) {
        let config = self.config.clone();
        let sources = config.indicators.get(&batch.dataset_index);
        let columns = Columns::of(batch);
        let mut from = 0;
        while from < rows.len() {
            let id = columns.procedure(rows[from] as usize);
            let run = rows[from..]
                .iter()
                .take_while(|row| columns.procedure(**row as usize) == id)
                .count();
            let to = from + run;
            // A procedure that was finished and evicted is not there: its samples are the robot's
            // only.
            if let Some(procedure) = id.and_then(|id| self.state.procedures.get_mut(id)) {
                procedure.add_samples(sources, batch, &rows[from..to], &missing[from..to]);
            }
            from = to;
        }
    }

    /// The next row is of another procedure than the one before. A new procedure may need room; one
    /// whose outcome was published corrects it after the reorder bound, in one revision for all rows
    /// until then. Decided row by row, since either may end the row batch.
    fn on_procedure(
        &mut self,
        id: &str,
        clock: EventTime,
        topic: TopicIndex,
        batch: &Batch,
        row_batch: &mut RowBatch,
        outputs: &mut Outputs,
    ) {
        let max = self.config.procedures_max;
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
                    self.flush_rows(topic, batch, row_batch, outputs);
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
        let values = batch.signals[signal].values();
        if let Some(row) = rows.iter().find(|row| values[**row as usize] > hook.above) {
            panic!(
                "asked to panic at {} = {}",
                hook.signal, values[*row as usize]
            );
        }
    }

    pub(super) fn apply_event(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) {
        let config = self.config.clone();
        match self
            .state
            .robot
            .judge(topic, &Columns::of(batch), row, &config.time)
        {
            Judgement::Duplicate => self.state.counters[topic].duplicate += 1,
            Judgement::Dead(reason) => self.refuse(topic, batch, row, reason, outputs),
            Judgement::Apply { .. } => match self.take_event(batch, row, outputs) {
                Ok(()) => self.state.counters[topic].applied += 1,
                Err(why) => self.dead(topic, batch, row, DeadReason::Invalid, why, outputs),
            },
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
        if reason == DeadReason::Future {
            let config = self.config.clone();
            if let Some(alert) =
                self.state
                    .robot
                    .on_future_record(&self.robot_id, &config.rules, batch, row)
            {
                self.emit_alert(alert, outputs);
            }
        }
    }

    /// Hears an event; nothing has changed when it is refused.
    fn take_event(
        &mut self,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) -> Result<(), String> {
        let text = |name: &str| {
            batch
                .dataset
                .column(name)
                .and_then(|column| batch.text(column, row))
        };
        let time = batch.event_times()[row];
        if batch.dataset.kind == DatasetKind::RobotEvents {
            let event_type = text("event_type").ok_or("the event has no event_type")?;
            self.state.robot.note_event(event_type, time);
            if event_type == "recording_ended" {
                self.close_all(outputs);
            }
            return Ok(());
        }
        let id = text("procedure_id").ok_or("the event names no procedure")?;
        let max = self.config.procedures_max;
        let forgotten = || {
            "the procedure was finished and is not remembered any more: its outcome cannot be corrected".to_owned()
        };
        let ended_at = if batch.dataset.kind == DatasetKind::ProcedureResults {
            let procedure = self
                .state
                .procedures
                .get_or_insert(id, max)
                .ok_or_else(forgotten)?;
            procedure.insert_result(time, result(batch, row));
            procedure.ended_at()
        } else {
            let step = text("step")
                .and_then(ProcedureStep::parse)
                .ok_or("the step of the event is not known")?;
            let owned = |name: &str| text(name).map(str::to_owned);
            let metadata = ProcedureMetadata {
                category: owned("category"),
                procedure_type: owned("procedure_type"),
                surgeon_id: owned("surgeon_id"),
            };
            // Without an id it is known by what it says.
            let event_id = owned("event_id").unwrap_or_else(|| {
                format!("{step:?}/{time}/{}", text("phase").unwrap_or_default())
            });
            let procedure = self
                .state
                .procedures
                .get_or_insert(id, max)
                .ok_or_else(forgotten)?;
            if procedure.insert_event(
                &event_id,
                ProcedureEvent {
                    time,
                    step,
                    phase: owned("phase"),
                    metadata,
                },
            ) == InsertResult::TooMany
            {
                return Err(format!(
                    "the procedure has {EVENTS_MAX} events already: more are not remembered"
                ));
            }
            procedure.ended_at()
        };
        // Published when the robot's clock has passed the end by the reorder bound; at once if it has
        // already.
        if let Some(ended_at) = ended_at {
            self.state.procedures.due(
                id,
                ended_at.saturating_add(self.config.time.reorder_bound_us),
            );
        }
        let clock = self.state.robot.clock().0;
        self.emit_due_outcomes(clock, outputs);
        Ok(())
    }
}

fn result(batch: &Batch, row: usize) -> ClinicalResult {
    let column = |name: &str| batch.dataset.column(name);
    let text = |name: &str| column(name).and_then(|column| batch.text(column, row));
    let int = |name: &str| {
        column(name)
            .and_then(|column| batch.int(column, row))
            .and_then(|value| i32::try_from(value).ok())
    };
    let flag = |name: &str| {
        column(name)
            .and_then(|column| batch.number(column, row))
            .map(|value| value != 0.0)
    };
    let word = |name: &str| serde_json::Value::String(text(name).unwrap_or("unknown").to_owned());
    let complications = (0..4).filter_map(|index| {
        let kind = text(&format!("complications[{index}].kind"))?.to_owned();
        let severity = serde_json::from_value(word(&format!("complications[{index}].severity")))
            .unwrap_or(Severity::Unknown);
        Some(Complication { kind, severity })
    });
    ClinicalResult {
        success_status: serde_json::from_value(word("success_status"))
            .unwrap_or(SuccessStatus::Unknown),
        blood_loss_ml: int("blood_loss_ml"),
        complications: complications.collect(),
        hospital_stay_days: int("hospital_stay_days"),
        readmission_30day: flag("readmission_30day"),
        patient_satisfaction_score: int("patient_satisfaction_score"),
        recovery_score: int("recovery_score"),
        follow_up_required: flag("follow_up_required"),
    }
}

fn explain(reason: DeadReason, batch: &Batch, row: usize) -> String {
    let seconds = |from: i64, to: i64| to.saturating_sub(from) as f64 / 1e6;
    match reason {
        DeadReason::Future => format!(
            "dated {:.1} s after it was appended",
            seconds(batch.append_times[row], batch.event_times()[row])
        ),
        DeadReason::Late => {
            "older than the robot's clock by more than the allowed lateness".to_owned()
        }
        DeadReason::SequenceGivenUp => format!(
            "sequence {:?} is from a range that was given up",
            batch.sequence(row)
        ),
        _ => String::new(),
    }
}
