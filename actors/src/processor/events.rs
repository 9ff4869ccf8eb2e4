//! How a processor applies the events of a robot and of its procedures.

use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::records::{
    ClinicalResult, Complication, InstalledComponent, PartReplacement, Severity, SuccessStatus,
};

use super::{Judgement, Processor};
use crate::component::Named;
use crate::outputs::{DeadReason, Outputs, procedure};
use crate::position::TopicIndex;
use crate::procedure::{
    EVENTS_MAX, InsertResult, ProcedureEvent, ProcedureMetadata, ProcedureStep,
};
use crate::registry::{RegistryState, Replaced};
use crate::robot::Columns;

/// Why an event of a procedure is refused that was evicted.
const FORGOTTEN: &str =
    "the procedure was finished and is not remembered any more: its outcome cannot be corrected";
/// The robot event before the rows of a recording.
const RECORDING_STARTED: &str = "recording_started";
/// The robot event of a new component; it says where it sits, and which part it is.
const PART_REPLACED: &str = "part_replaced";
/// The robot event after the rows of a recording.
const RECORDING_ENDED: &str = "recording_ended";
/// The robot event after it has started.
const STARTED: &str = "started";
/// The robot events around a service.
const SERVICE_STARTED: &str = "maintenance_started";
const SERVICE_ENDED: &str = "maintenance_completed";

impl Processor {
    pub(super) fn apply_event(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) {
        let config = self.config.clone();
        self.note_now(batch.append_times[row]);
        self.fall_due(outputs);
        match self
            .state
            .robot
            .judge(topic, &Columns::of(batch), row, &config.time)
        {
            Judgement::Duplicate => {
                self.state.counters[topic].duplicate += 1;
                if event_type(batch, row) == Some(RECORDING_ENDED) {
                    self.state.robot.end_known_recording();
                }
            }
            Judgement::Dead(reason) => self.refuse(topic, batch, row, reason, outputs),
            Judgement::Apply { .. } => match self.take(topic, batch, row, outputs) {
                Ok(()) => self.state.counters[topic].applied += 1,
                Err(why) => self.dead(topic, batch, row, DeadReason::Invalid, why, outputs),
            },
        }
    }

    /// A recording that begins is no continuation of what came before it, of which the end may be
    /// missing: as at the end of one, all is closed and the clock begins anew.
    fn take_robot_event(&mut self, event_type: &str, time: i64, outputs: &mut Outputs) {
        self.state.robot.note_event(event_type, time);
        if [STARTED, SERVICE_ENDED].contains(&event_type) {
            self.state.robot.note_start(time);
        }
        if [SERVICE_STARTED, SERVICE_ENDED].contains(&event_type) {
            let begins = event_type == SERVICE_STARTED;
            let record = &mut self.state.record;
            record.note_service(&self.robot_id, time, begins, outputs);
        }
        if [RECORDING_STARTED, RECORDING_ENDED].contains(&event_type) {
            self.begin_anew(outputs);
        }
        if event_type == RECORDING_STARTED {
            self.state.robot.begin_recording();
        }
    }

    /// Applies an event; nothing has changed when it is refused.
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
            let event_type = event_type(batch, row).ok_or("the event has no event_type")?;
            self.take_robot_event(event_type, time, outputs);
            self.follow_event((event_type, text("code")), time, outputs);
            if let Some(component) = text("component").filter(|_| event_type == PART_REPLACED) {
                let (part, serial) = (text("code"), None);
                let named = Named {
                    component,
                    part,
                    serial,
                };
                self.component_replaced(named, time, outputs);
            }
            return Ok(());
        }
        let id = text("procedure_id").ok_or("the event names no procedure")?;
        let max = self.config.procedures_max;
        let ended_at = if batch.dataset.kind == DatasetKind::ProcedureResults {
            let procedure = self
                .state
                .procedures
                .get_or_insert(id, max)
                .ok_or(FORGOTTEN)?;
            procedure.insert_result(time, result(batch, row));
            procedure.ended_at()
        } else {
            self.take_step(id, batch, row)?
        };
        // Published when the robot's clock has passed the end by the reorder bound; at once if it has
        // already.
        if let Some(ended_at) = ended_at {
            self.state.procedures.due(
                id,
                ended_at.saturating_add(self.config.time.reorder_bound_us),
            );
        }
        // After the end of a recording its clock counts for what comes later, such as results.
        let robot = &self.state.robot;
        let ended = robot.shown_clock().filter(|_| !robot.is_recording());
        let clock = ended.map_or(robot.clock(), |clock| clock.max(robot.clock()));
        self.emit_due_outcomes(clock.0, outputs);
        self.emit_states(outputs);
        Ok(())
    }

    /// A procedure takes a step. Returns when it ended, if it has.
    fn take_step(&mut self, id: &str, batch: &Batch, row: usize) -> Result<Option<i64>, String> {
        let text = |name: &str| {
            let column = batch.dataset.column(name)?;
            batch.text(column, row)
        };
        let time = batch.event_times()[row];
        let step = text("step")
            .and_then(ProcedureStep::parse)
            .ok_or("the step of the event is not known")?;
        let owned = |name: &str| text(name).map(str::to_owned);
        let metadata = ProcedureMetadata {
            category: owned("category"),
            procedure_type: owned("procedure_type"),
            surgeon_id: owned("surgeon_id"),
            patient_id: owned("patient_id"),
            complexity: (batch.dataset.column("complexity"))
                .and_then(|column| batch.number(column, row)),
        };
        // Without an id it is known by what it says.
        let event_id = owned("event_id")
            .unwrap_or_else(|| format!("{step:?}/{time}/{}", text("phase").unwrap_or_default()));
        let procedure = self
            .state
            .procedures
            .get_or_insert(id, self.config.procedures_max)
            .ok_or(FORGOTTEN)?;
        let event = ProcedureEvent {
            time,
            step,
            phase: owned("phase"),
            metadata,
        };
        match procedure.insert_event(&event_id, event) {
            InsertResult::TooMany => {
                return Err(format!(
                    "the procedure has {EVENTS_MAX} events already: more are not remembered"
                ));
            }
            InsertResult::Known => {}
            InsertResult::New => {
                if step.cuts()
                    && let Some(course) = procedure.course_mut()
                {
                    course.cut(time);
                }
            }
        }
        Ok(procedure.ended_at())
    }

    /// Emits the states of the procedures that a step has changed: its own, and those of which it
    /// says that they overlap.
    fn emit_states(&mut self, outputs: &mut Outputs) {
        for state in self.state.procedures.revise_states(&self.robot_id) {
            let output = procedure::output(&state);
            outputs.events.push(output);
        }
    }
}

impl Processor {
    /// Takes an event or a report; nothing has changed when it is refused.
    fn take(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) -> Result<(), String> {
        if batch.dataset.kind.reaches_partitions() {
            return self.take_controlled(topic, batch, row, outputs);
        }
        match self.take_report(batch, row, outputs) {
            Some(taken) => taken,
            None => self.take_event(batch, row, outputs),
        }
    }

    /// Takes a report of people and their systems; `None` when the row is none.
    fn take_report(
        &mut self,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) -> Option<Result<(), String>> {
        let (actor, record) = (&self.robot_id, &mut self.state.record);
        let taken = match batch.dataset.kind {
            DatasetKind::RobotRegistry => {
                let listed = record.register(actor, batch, row, outputs);
                let time = batch.event_times()[row];
                listed.map(|listed| self.register_components(&listed, time, outputs))
            }
            DatasetKind::MaintenanceLogs => record
                .serve(actor, batch, row, outputs)
                .map(|replaced| self.renew_parts(replaced.as_ref(), outputs)),
            kind => {
                let entity = kind.entity()?;
                let new = || Box::new(RegistryState::new(entity));
                let registry = self.state.registry.get_or_insert_with(new);
                registry.take(actor, batch, row, outputs)
            }
        };
        Some(taken)
    }
}

impl Processor {
    /// The registry says which components the robot has.
    fn register_components(
        &mut self,
        listed: &[InstalledComponent],
        time: i64,
        outputs: &mut Outputs,
    ) {
        let named = |installed: &InstalledComponent| {
            let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            (said(&installed.part), said(&installed.serial))
        };
        let said: Vec<_> = listed.iter().map(named).collect();
        let list = listed
            .iter()
            .zip(&said)
            .map(|(installed, (part, serial))| Named {
                component: &installed.component,
                part: part.as_deref(),
                serial: serial.as_deref(),
            });
        self.components_registered(list, time, outputs);
    }

    /// What wore is new: conditions on it end, and its hours begin anew.
    fn renew_parts(&mut self, replaced: Option<&Replaced>, outputs: &mut Outputs) {
        let Some(Replaced { at, parts }) = replaced else {
            return;
        };
        self.state.robot.note_start(*at);
        let of_part = |part: &PartReplacement| part.component.clone();
        let components: Vec<String> = parts.iter().filter_map(of_part).collect();
        if !components.is_empty() {
            self.with_rules(outputs, |robot, context| {
                robot.clear_serviced(context, *at, &components)
            });
        }
        for part in parts {
            if let Some(component) = part.component.as_deref() {
                let named = Named {
                    component,
                    part: Some(&part.part),
                    serial: part.new_serial.as_deref(),
                };
                self.component_replaced(named, *at, outputs);
            }
        }
    }
}

fn event_type(batch: &Batch, row: usize) -> Option<&str> {
    batch.text(batch.dataset.column("event_type")?, row)
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
