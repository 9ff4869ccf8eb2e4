//! What a robot was from a moment on, by its registry and its services.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::RobotVersion;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic, version_id};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 4;

/// Topic that versions are published to.
pub const TOPIC: &str = "surgical.robot.versions.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::RobotVersion,
    name: "robot_version",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.robot.version",
    key: |output| &output.subject,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "robot_versions",
        mode: || LoadMode::by_revision_of(&["robot_id", "valid_from"]),
        keeps_every_row: false,
        identity: &["robot_id", "valid_from", "revision"],
        described: Described {
            rows: None,
            schema: RobotVersion::SCHEMA,
            notes: &[],
            enumerations: &[],
        },
        holds: Holds::History,
        happened: None,
        columns,
        grouped: None,
    },
};

/// The output of a version, which `actor` has made.
pub fn output(actor: &str, version: &RobotVersion) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::RobotVersion,
        robot_id: actor.to_owned(),
        id: version_id(&version.robot_id, version.valid_from),
        subject: version.robot_id.clone(),
        revision: u32::try_from(version.revision).unwrap_or(0),
        event_time: version.valid_from,
        payload: version.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        RobotVersion::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let versions: Vec<RobotVersion> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&versions, sink)
        .text("robot_id", |of| &of.robot_id)
        .time("valid_from", |of| Some(of.valid_from))
        .int32("revision", |of| of.revision)
        .flag("is_withdrawn", |of| of.is_withdrawn)
        .text("serial_number", |of| &of.serial_number)
        .optional_text("robot_model", |of| of.robot_model.as_deref())
        .optional_text("manufacturer", |of| of.manufacturer.as_deref())
        .optional_text("facility_id", |of| of.facility_id.as_deref())
        .date("installation_date", |of| of.installation_date)
        .optional_text("hardware_revision", |of| of.hardware_revision.as_deref())
        .optional_text("software_version", |of| of.software_version.as_deref())
        .optional_text("firmware_version", |of| of.firmware_version.as_deref())
        .text("status", |of| &of.status)
        .date("decommission_date", |of| of.decommission_date)
        .json("components", |of| &of.components);
    Ok(())
}
