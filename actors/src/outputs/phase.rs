//! Phases of cases: what was measured from one step of a case to the next, exact by event time.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::ProcedurePhase;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 9;

/// Topic that phases are published to.
pub const TOPIC: &str = "surgical.procedure.phases.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::Phase,
    name: "phase",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.procedure.phase",
    key: |output| &output.subject,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "procedure_phases",
        mode: || LoadMode::by_revision("phase_id"),
        keeps_every_row: false,
        identity: &["phase_id", "revision"],
        described: Described {
            rows: None,
            schema: ProcedurePhase::SCHEMA,
            notes: &[("duration_s", "From began_at to ended_at, in s.")],
            enumerations: &[],
        },
        holds: Holds::History,
        happened: None,
        columns,
        grouped: None,
    },
};

/// The output of a phase's revision.
pub fn output(phase: &ProcedurePhase) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::Phase,
        robot_id: phase.robot_id.clone(),
        id: phase.phase_id.clone(),
        subject: phase.procedure_id.clone(),
        revision: u32::try_from(phase.revision).unwrap_or(0),
        event_time: phase.ended_at,
        payload: phase.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        ProcedurePhase::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let phases: Vec<ProcedurePhase> = outputs.iter().map(read).collect::<Result<_>>()?;
    let seconds = |of: &ProcedurePhase| {
        let from = of.began_at?;
        Some(of.ended_at.saturating_sub(from).max(0) as f64 / 1e6)
    };
    Columns::new(&phases, sink)
        .text("phase_id", |of| &of.phase_id)
        .text("procedure_id", |of| &of.procedure_id)
        .text("robot_id", |of| &of.robot_id)
        .text("leg_id", |of| &of.leg_id)
        .int32("revision", |of| of.revision)
        .int32("phase_index", |of| of.phase_index)
        .optional_text("phase", |of| of.phase.as_deref())
        .time("began_at", |of| of.began_at)
        .time("ended_at", |of| Some(of.ended_at))
        .float("duration_s", seconds)
        .int32("is_exact", |of| i32::from(of.is_exact))
        .int64("row_count", |of| of.row_count)
        .int64("late_rows", |of| of.late_rows)
        .float("path_length", |of| of.path_length)
        .float("economy_of_motion", |of| of.economy_of_motion)
        .float("idle_time_s", |of| of.idle_time_s)
        .float("mean_speed", |of| of.mean_speed)
        .float("smoothness", |of| of.smoothness)
        .float("mean_squared_jerk", |of| of.mean_squared_jerk)
        .float("mean_force", |of| of.mean_force)
        .float("peak_force", |of| of.peak_force)
        .float("tool_changes", |of| of.tool_changes)
        .float("camera_moves", |of| of.camera_moves)
        .optional_text("position_unit", |of| of.position_unit.as_deref())
        .optional_text("force_unit", |of| of.force_unit.as_deref())
        .json("signals", |of| &of.signals);
    Ok(())
}
