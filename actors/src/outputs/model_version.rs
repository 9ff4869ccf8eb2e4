//! What a robot model was from a moment on, by its registry.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::ModelVersion;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic, version_id};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 7;

/// Topic that versions are published to.
pub const TOPIC: &str = "surgical.model.versions.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::ModelVersion,
    name: "model_version",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.model.version",
    key: |output| &output.subject,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "model_versions",
        mode: || LoadMode::by_revision_of(&["robot_model", "valid_from"]),
        keeps_every_row: false,
        identity: &["robot_model", "valid_from", "revision"],
        described: Described {
            rows: None,
            schema: ModelVersion::SCHEMA,
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
pub fn output(actor: &str, version: &ModelVersion) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::ModelVersion,
        robot_id: actor.to_owned(),
        id: version_id(&version.robot_model, version.valid_from),
        subject: version.robot_model.clone(),
        revision: u32::try_from(version.revision).unwrap_or(0),
        event_time: version.valid_from,
        payload: version.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        ModelVersion::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let versions: Vec<ModelVersion> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&versions, sink)
        .text("robot_model", |of| &of.robot_model)
        .time("valid_from", |of| Some(of.valid_from))
        .int32("revision", |of| of.revision)
        .flag("is_withdrawn", |of| of.is_withdrawn)
        .optional_text("manufacturer", |of| of.manufacturer.as_deref())
        .optional_int32("arms", |of| of.arms)
        .optional_int32("joints_per_arm", |of| of.joints_per_arm)
        .json("categories", |of| &of.categories)
        .float("service_interval_hours", |of| of.service_interval_hours)
        .optional_int32("instrument_lives", |of| of.instrument_lives)
        .flag("is_discontinued", |of| of.is_discontinued);
    Ok(())
}
