//! How a family applies rows: telemetry in stretches between which nothing is due, events one by one.

use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::records::{ClinicalResult, Complication, Severity, SuccessStatus};

use super::{Family, Judgement};
use crate::effect::{DeadReason, Effects};
use crate::position::TopicIndex;
use crate::procedure::{About, ProcedureEvent, Step};
use crate::time::EventTime;

/// Accepted rows that are not handed on yet.
#[derive(Default)]
struct Stretch {
    rows: Vec<u32>,
    clocks: Vec<EventTime>,
    missing: Vec<i64>,
}

impl Family {
    pub(super) fn apply_telemetry(&mut self, topic: TopicIndex, batch: &Batch, rows: &[u32], effects: &mut Effects) {
        let mut stretch = Stretch::default();
        let config = self.config.clone();
        let mut last_procedure = None;
        for row in rows {
            let at = *row as usize;
            match self.state.robot.judge(topic, batch, at, &config.time) {
                Judgement::Apply { missing } => {
                    let clock = self.state.robot.clock();
                    let procedure = batch.procedure_id(at);
                    if procedure != last_procedure
                        && let Some(id) = procedure
                    {
                        self.note_correction(id, clock);
                    }
                    last_procedure = procedure;
                    stretch.rows.push(*row);
                    stretch.clocks.push(clock);
                    stretch.missing.push(missing);
                    if clock.0 >= self.next_due {
                        self.hand_on(topic, batch, &mut stretch, effects);
                        self.settle(clock.0, effects);
                        last_procedure = None;
                    }
                }
                Judgement::Duplicate => self.state.counters[topic].duplicate += 1,
                Judgement::Dead(reason) => {
                    self.hand_on(topic, batch, &mut stretch, effects);
                    self.dead(topic, batch, at, reason, explain(reason, batch, at), effects);
                    let skew = (reason == DeadReason::Future).then(|| self.state.robot.skewed(&self.robot_id, &config.rules, batch, at));
                    if let Some(alert) = skew.flatten() {
                        self.tell_alert(alert, effects);
                    }
                }
            }
        }
        self.hand_on(topic, batch, &mut stretch, effects);
    }

    /// Gives accepted rows to procedures, rules and windows.
    fn hand_on(&mut self, topic: TopicIndex, batch: &Batch, stretch: &mut Stretch, effects: &mut Effects) {
        if stretch.rows.is_empty() {
            return;
        }
        let config = self.config.clone();
        let Stretch { rows, clocks, missing } = std::mem::take(stretch);
        self.panic_if_asked(batch, &rows);
        self.state.counters[topic].applied += rows.len() as u64;
        self.tell_procedures(batch, &rows, &missing);
        let mut alerts = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let ended = self.state.robot.well(&self.robot_id, &config.rules, batch.append_times[*row as usize]);
            alerts.extend(ended.into_iter().map(|alert| (at, alert)));
        }
        alerts.extend(self.state.robot.evaluate(&self.robot_id, &config.rules, &config.time, batch, &rows, &clocks));
        alerts.sort_by_key(|(at, _)| *at);
        for (_, alert) in alerts {
            self.tell_alert(alert, effects);
        }
        self.state.robot.count_not_finite(batch, &rows);
        let mut closed = Vec::new();
        self.state.robot.aggregate(&config.windows, &config.time, batch, &rows, &clocks, &mut closed);
        self.tell_windows(&batch.dataset.name, closed, effects);
    }

    fn tell_procedures(&mut self, batch: &Batch, rows: &[u32], missing: &[i64]) {
        if batch.dataset.roles.procedure_id.is_none() {
            return;
        }
        let config = self.config.clone();
        let sources = config.indicators.get(&batch.dataset_index);
        for (row, missing) in rows.iter().zip(missing) {
            let Some(id) = batch.procedure_id(*row as usize) else { continue };
            if !self.state.procedures.contains_key(id) {
                self.state.procedures.insert(id.to_owned(), Default::default());
            }
            let Some(procedure) = self.state.procedures.get_mut(id) else { continue };
            procedure.sample(sources, batch, *row as usize, *missing);
        }
    }

    /// A sample after the outcome corrects it, together with others that come about now: decided row by row, since it sets the end
    /// of the stretch.
    fn note_correction(&mut self, procedure_id: &str, clock: EventTime) {
        let Some(procedure) = self.state.procedures.get_mut(procedure_id) else { return };
        if procedure.is_told() && procedure.due.is_none() {
            procedure.due = Some(clock.0.saturating_add(self.config.time.reorder_bound_us));
            self.next_due = self.earliest_due();
        }
    }

    fn panic_if_asked(&self, batch: &Batch, rows: &[u32]) {
        let Some(hook) = self.config.panic_on.as_ref().filter(|hook| hook.robot_id == self.robot_id) else { return };
        let Some(signal) = batch.dataset.signal(&hook.signal) else { return };
        let values = batch.signals[signal].values();
        if let Some(row) = rows.iter().find(|row| values[**row as usize] > hook.above) {
            panic!("asked to panic at {} = {}", hook.signal, values[*row as usize]);
        }
    }

    pub(super) fn apply_event(&mut self, topic: TopicIndex, batch: &Batch, row: usize, effects: &mut Effects) {
        let config = self.config.clone();
        match self.state.robot.judge(topic, batch, row, &config.time) {
            Judgement::Duplicate => self.state.counters[topic].duplicate += 1,
            Judgement::Dead(reason) => self.dead(topic, batch, row, reason, explain(reason, batch, row), effects),
            Judgement::Apply { .. } => match self.take_event(batch, row, effects) {
                Ok(()) => self.state.counters[topic].applied += 1,
                Err(why) => self.dead(topic, batch, row, DeadReason::Invalid, why, effects),
            },
        }
    }

    fn take_event(&mut self, batch: &Batch, row: usize, effects: &mut Effects) -> Result<(), String> {
        let text = |name: &str| batch.dataset.column(name).and_then(|column| batch.text(column, row));
        let time = batch.event_times()[row];
        if batch.dataset.kind == DatasetKind::RobotEvents {
            let event_type = text("event_type").ok_or("the event has no event_type")?;
            self.state.robot.note_event(event_type, time);
            if event_type == "recording_ended" {
                self.close_all(effects);
            }
            return Ok(());
        }
        let id = text("procedure_id").ok_or("the event names no procedure")?.to_owned();
        let event_id = text("event_id").unwrap_or_default().to_owned();
        let procedure = self.state.procedures.entry(id.clone()).or_default();
        if batch.dataset.kind == DatasetKind::ProcedureResults {
            procedure.result(time, result(batch, row));
        } else {
            let step = text("step").and_then(Step::parse).ok_or("the step of the event is not known")?;
            let owned = |name: &str| text(name).map(str::to_owned);
            let about = About { category: owned("category"), procedure_type: owned("procedure_type"), surgeon_id: owned("surgeon_id") };
            procedure.event(&event_id, ProcedureEvent { time, step, phase: owned("phase"), about });
        }
        // Told when the robot's clock has passed the end by the reorder bound; at once if it has already.
        if let Some(ended_at) = procedure.ended_at() {
            procedure.due = Some(ended_at.saturating_add(self.config.time.reorder_bound_us));
        }
        let clock = self.state.robot.clock().0;
        self.settle(clock, effects);
        Ok(())
    }
}

fn result(batch: &Batch, row: usize) -> ClinicalResult {
    let column = |name: &str| batch.dataset.column(name);
    let text = |name: &str| column(name).and_then(|column| batch.text(column, row));
    let int = |name: &str| column(name).and_then(|column| batch.int(column, row)).and_then(|value| i32::try_from(value).ok());
    let flag = |name: &str| column(name).and_then(|column| batch.number(column, row)).map(|value| value != 0.0);
    let word = |name: &str| serde_json::Value::String(text(name).unwrap_or("unknown").to_owned());
    let complications = (0..4).filter_map(|index| {
        let kind = text(&format!("complications[{index}].kind"))?.to_owned();
        let severity = serde_json::from_value(word(&format!("complications[{index}].severity"))).unwrap_or(Severity::Unknown);
        Some(Complication { kind, severity })
    });
    ClinicalResult {
        success_status: serde_json::from_value(word("success_status")).unwrap_or(SuccessStatus::Unknown),
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
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1e6;
    match reason {
        DeadReason::Future => format!("dated {:.1} s after it was appended", seconds(batch.append_times[row], batch.event_times()[row])),
        DeadReason::Late => "older than the robot's clock by more than the allowed lateness".to_owned(),
        DeadReason::SequenceGivenUp => format!("sequence {:?} is from a range that was given up", batch.sequence(row)),
        _ => String::new(),
    }
}
