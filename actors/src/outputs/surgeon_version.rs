//! Who a surgeon was from a moment on, by the registry.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::SurgeonVersion;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic, version_id};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 6;

/// Topic that versions are published to.
pub const TOPIC: &str = "surgical.surgeon.versions.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::SurgeonVersion,
    name: "surgeon_version",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.surgeon.version",
    key: |output| &output.subject,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "surgeon_versions",
        mode: || LoadMode::by_revision_of(&["surgeon_id", "valid_from"]),
        keeps_every_row: false,
        identity: &["surgeon_id", "valid_from", "revision"],
        described: Described {
            rows: None,
            schema: SurgeonVersion::SCHEMA,
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
pub fn output(actor: &str, version: &SurgeonVersion) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::SurgeonVersion,
        robot_id: actor.to_owned(),
        id: version_id(&version.surgeon_id, version.valid_from),
        subject: version.surgeon_id.clone(),
        revision: u32::try_from(version.revision).unwrap_or(0),
        event_time: version.valid_from,
        payload: version.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        SurgeonVersion::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let versions: Vec<SurgeonVersion> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&versions, sink)
        .text("surgeon_id", |of| &of.surgeon_id)
        .time("valid_from", |of| Some(of.valid_from))
        .int32("revision", |of| of.revision)
        .flag("is_withdrawn", |of| of.is_withdrawn)
        .optional_text("surgeon_name", |of| of.surgeon_name.as_deref())
        .optional_text("specialization", |of| of.specialization.as_deref())
        .date("practising_since", |of| of.practising_since)
        .optional_text("certification_level", |of| {
            of.certification_level.as_deref()
        })
        .optional_text("facility_id", |of| of.facility_id.as_deref())
        .flag("is_retired", |of| of.is_retired);
    Ok(())
}
