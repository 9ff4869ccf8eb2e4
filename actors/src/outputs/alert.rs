//! Transitions of conditions: an alert was raised, has another priority, or ended.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::Alert;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 2;

/// Topic that transitions are published to.
pub const TOPIC: &str = "surgical.maintenance.alerts.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::Alert,
    name: "alert",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.alert.transition",
    key: |output| &output.robot_id,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "maintenance_alerts",
        mode: || LoadMode::by_revision("alert_id"),
        // The id names the transition, so none replaces another.
        keeps_every_row: true,
        identity: &["alert_id"],
        described: Described {
            rows: None,
            schema: Alert::SCHEMA,
            notes: &[],
            enumerations: &[],
        },
        holds: Holds::Measurements,
        happened: Some("event_time"),
        columns,
        grouped: None,
    },
};

/// The output of a condition's transition.
pub fn output(robot_id: &str, alert: &Alert) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::Alert,
        robot_id: robot_id.to_owned(),
        id: alert.condition_id.clone(),
        subject: alert.rule_id.clone(),
        revision: u32::try_from(alert.revision).unwrap_or(0),
        event_time: alert.event_time,
        payload: alert.encode(),
    }
}

pub(super) fn columns(
    outputs: &[&OutputEvent],
    _: &Datasets,
    sink: &mut dyn ColumnSink,
) -> Result<()> {
    let read = |output: &&OutputEvent| {
        Alert::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let alerts: Vec<Alert> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&alerts, sink)
        .text("alert_id", |alert| &alert.alert_id)
        .text("condition_id", |alert| &alert.condition_id)
        .text("robot_id", |alert| &alert.robot_id)
        .optional_text("procedure_id", |alert| alert.procedure_id.as_deref())
        .text("rule_id", |alert| &alert.rule_id)
        .int32("rule_version", |alert| alert.rule_version)
        .json("transition", |alert| &alert.transition)
        .int32("revision", |alert| alert.revision)
        .json("priority", |alert| &alert.priority)
        .time("event_time", |alert| Some(alert.event_time))
        .time("raised_at", |alert| Some(alert.raised_at))
        .float("value", |alert| alert.value)
        .float("limit", |alert| alert.limit)
        .optional_text("signal", |alert| alert.signal.as_deref())
        .optional_text("unit", |alert| alert.unit.as_deref())
        .text("message", |alert| &alert.message)
        .optional_text("subject", |alert| alert.subject.as_deref())
        .optional_text("reason", |alert| alert.reason.as_deref())
        .optional_text("actor", |alert| alert.actor.as_deref())
        .optional_text("comment", |alert| alert.comment.as_deref())
        .optional_text("action_id", |alert| alert.action_id.as_deref())
        .optional_text("acknowledged_by", |alert| alert.acknowledged_by.as_deref())
        .time("acknowledged_at", |alert| alert.acknowledged_at)
        .optional_text("assignee", |alert| alert.assignee.as_deref())
        .time("silenced_until", |alert| alert.silenced_until)
        .int32("escalation", |alert| alert.escalation)
        .flag("is_latched", |alert| alert.is_latched)
        .flag("is_flapping", |alert| alert.is_flapping);
    Ok(())
}
