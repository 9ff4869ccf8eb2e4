//! Revisions of procedures' outcomes: what became of a case on one robot.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::Outcome;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 3;

/// Topic that outcomes are published to.
pub const TOPIC: &str = "surgical.procedure.outcomes.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::Outcome,
    name: "outcome",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.procedure.outcome",
    // The subject is the procedure's id: all legs of a case are in one partition of the topic.
    key: |output| &output.subject,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "procedure_outcomes",
        // Not by procedure: a case that moved has a leg on each robot, and a procedure's number may
        // be given anew to another case.
        mode: || LoadMode::by_revision("outcome_id"),
        keeps_every_row: false,
        identity: &["outcome_id", "revision"],
        described: Described {
            rows: None,
            schema: Outcome::SCHEMA,
            notes: &[(
                "outcome_id",
                "The leg of the case on this robot; a case that moves has a leg on each robot.",
            )],
            enumerations: &[],
        },
        holds: Holds::History,
        happened: None,
        columns,
        grouped: None,
    },
};

/// The output of an outcome's revision, under the id of the robot's leg of the case.
pub fn output(robot_id: &str, id: String, outcome: &Outcome) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::Outcome,
        robot_id: robot_id.to_owned(),
        id,
        subject: outcome.procedure_id.clone(),
        revision: u32::try_from(outcome.revision).unwrap_or(0),
        event_time: outcome.ended_at,
        payload: outcome.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| match Outcome::decode(&output.payload) {
        Ok(outcome) => Ok((output.id.clone(), outcome)),
        Err(error) => Err(output.unreadable(error)),
    };
    let outcomes: Vec<(String, Outcome)> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&outcomes, sink)
        .text("procedure_id", |(_, of)| &of.procedure_id)
        .text("robot_id", |(_, of)| &of.robot_id)
        .int32("revision", |(_, of)| of.revision)
        .json("status", |(_, of)| &of.status)
        .optional_text("category", |(_, of)| of.category.as_deref())
        .optional_text("procedure_type", |(_, of)| of.procedure_type.as_deref())
        .optional_text("surgeon_id", |(_, of)| of.surgeon_id.as_deref())
        .time("started_at", |(_, of)| of.started_at)
        .time("ended_at", |(_, of)| Some(of.ended_at))
        .float("duration_s", |(_, of)| of.duration_s)
        .float("paused_s", |(_, of)| Some(of.paused_s))
        .json("phases", |(_, of)| &of.phases)
        .json("indicators", |(_, of)| &of.indicators)
        .int32("alerts_high", |(_, of)| of.alerts_high)
        .int32("alerts_medium", |(_, of)| of.alerts_medium)
        .int32("alerts_low", |(_, of)| of.alerts_low)
        .json("alert_conditions", |(_, of)| &of.alert_conditions)
        .int64("telemetry_rows", |(_, of)| of.telemetry_rows)
        .int64("telemetry_missing", |(_, of)| of.telemetry_missing)
        .float("completeness", |(_, of)| of.completeness)
        .json("result", |(_, of)| &of.result)
        .text("outcome_id", |(id, _)| id);
    Ok(())
}
