//! States of cases: where a case on a robot stands after each of its steps, also while it is under
//! way.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::ProcedureState;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 10;

/// Topic that states are published to.
pub const TOPIC: &str = "surgical.procedure.states.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::Procedure,
    name: "procedure",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.procedure.state",
    key: |output| &output.subject,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "procedures",
        mode: || LoadMode::by_revision("leg_id"),
        keeps_every_row: false,
        identity: &["leg_id", "revision"],
        described: Described {
            rows: None,
            schema: ProcedureState::SCHEMA,
            notes: &[],
            enumerations: &[(
                "status",
                &[
                    "heard_of",
                    "scheduled",
                    "under_way",
                    "paused",
                    "converted",
                    "aborted",
                    "cancelled",
                    "completed",
                ],
            )],
        },
        holds: Holds::History,
        happened: None,
        columns,
        grouped: None,
    },
};

/// The output of a state's revision.
pub fn output(state: &ProcedureState) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::Procedure,
        robot_id: state.robot_id.clone(),
        id: state.leg_id.clone(),
        subject: state.procedure_id.clone(),
        revision: u32::try_from(state.revision).unwrap_or(0),
        event_time: state.changed_at,
        payload: state.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        ProcedureState::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let states: Vec<ProcedureState> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&states, sink)
        .text("leg_id", |of| &of.leg_id)
        .text("procedure_id", |of| &of.procedure_id)
        .text("robot_id", |of| &of.robot_id)
        .int32("revision", |of| of.revision)
        .text("status", |of| &of.status)
        .optional_text("phase", |of| of.phase.as_deref())
        .optional_text("category", |of| of.category.as_deref())
        .optional_text("procedure_type", |of| of.procedure_type.as_deref())
        .optional_text("surgeon_id", |of| of.surgeon_id.as_deref())
        .optional_text("patient_id", |of| of.patient_id.as_deref())
        .float("complexity", |of| of.complexity)
        .time("scheduled_at", |of| of.scheduled_at)
        .time("started_at", |of| of.started_at)
        .time("ended_at", |of| of.ended_at)
        .float("paused_s", |of| Some(of.paused_s))
        .int32("steps", |of| of.steps)
        .time("changed_at", |of| Some(of.changed_at))
        .json("remarks", |of| &of.remarks);
    Ok(())
}
