//! Work on a robot, as its latest report says, with the condition that it answered.

use std::borrow::Cow;

use theatre_schemas::dataset::{ColumnType, Datasets};
use theatre_schemas::records::MaintenanceRecord;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 8;

/// Topic that records of work are published to.
pub const TOPIC: &str = "surgical.maintenance.records.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::Maintenance,
    name: "maintenance",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.maintenance.record",
    key: |output| &output.robot_id,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "maintenance_records",
        mode: || LoadMode::by_revision("maintenance_id"),
        keeps_every_row: false,
        identity: &["maintenance_id", "revision"],
        described: Described {
            rows: None,
            schema: MaintenanceRecord::SCHEMA,
            notes: &[],
            enumerations: &[],
        },
        holds: Holds::History,
        happened: None,
        columns,
        grouped: None,
    },
};

/// Money, as the schema has it.
const COST: ColumnType = ColumnType::Decimal {
    precision: 12,
    scale: 2,
};

/// The output of a record's revision.
pub fn output(robot_id: &str, record: &MaintenanceRecord) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::Maintenance,
        robot_id: robot_id.to_owned(),
        id: record.maintenance_id.clone(),
        subject: record.maintenance_type.clone(),
        revision: u32::try_from(record.revision).unwrap_or(0),
        event_time: record.reported_at,
        payload: record.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        MaintenanceRecord::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let records: Vec<MaintenanceRecord> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&records, sink)
        .text("maintenance_id", |of| &of.maintenance_id)
        .text("robot_id", |of| &of.robot_id)
        .int32("revision", |of| of.revision)
        .time("reported_at", |of| Some(of.reported_at))
        .text("maintenance_type", |of| &of.maintenance_type)
        .text("status", |of| &of.status)
        .flag("is_planned", |of| of.is_planned)
        .time("started_at", |of| of.started_at)
        .time("ended_at", |of| of.ended_at)
        .float("downtime_hours", |of| of.downtime_hours)
        .optional_text("technician_id", |of| of.technician_id.as_deref())
        .optional_text("technician_name", |of| of.technician_name.as_deref())
        .optional_text("issue_code", |of| of.issue_code.as_deref())
        .optional_text("issues_found", |of| of.issues_found.as_deref())
        .json("actions", |of| &of.actions)
        .optional_text("actions_taken", |of| of.actions_taken.as_deref())
        .json("parts", |of| &of.parts)
        .decimal("cost", COST, |of| of.cost.map(|units| units.0))
        .text("currency", |of| &of.currency)
        .date("next_maintenance_date", |of| of.next_maintenance_date)
        .optional_text("condition_id", |of| of.condition_id.as_deref())
        .flag("is_condition_reported", |of| of.is_condition_reported)
        .time("first_alert_at", |of| of.first_alert_at)
        .float("lead_time_s", |of| of.lead_time_s);
    Ok(())
}
