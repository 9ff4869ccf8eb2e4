//! What a facility was from a moment on, by its registry.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::FacilityVersion;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic, version_id};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 5;

/// Topic that versions are published to.
pub const TOPIC: &str = "surgical.facility.versions.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::FacilityVersion,
    name: "facility_version",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.facility.version",
    key: |output| &output.subject,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "facility_versions",
        mode: || LoadMode::by_revision_of(&["facility_id", "valid_from"]),
        keeps_every_row: false,
        identity: &["facility_id", "valid_from", "revision"],
        described: Described {
            rows: None,
            schema: FacilityVersion::SCHEMA,
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
pub fn output(actor: &str, version: &FacilityVersion) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::FacilityVersion,
        robot_id: actor.to_owned(),
        id: version_id(&version.facility_id, version.valid_from),
        subject: version.facility_id.clone(),
        revision: u32::try_from(version.revision).unwrap_or(0),
        event_time: version.valid_from,
        payload: version.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        FacilityVersion::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let versions: Vec<FacilityVersion> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&versions, sink)
        .text("facility_id", |of| &of.facility_id)
        .time("valid_from", |of| Some(of.valid_from))
        .int32("revision", |of| of.revision)
        .flag("is_withdrawn", |of| of.is_withdrawn)
        .text("facility_name", |of| &of.facility_name)
        .optional_text("city", |of| of.city.as_deref())
        .optional_text("state", |of| of.state.as_deref())
        .optional_text("country", |of| of.country.as_deref())
        .text("facility_type", |of| &of.facility_type)
        .optional_int32("bed_count", |of| of.bed_count)
        .optional_text("time_zone", |of| of.time_zone.as_deref())
        .flag("is_closed", |of| of.is_closed);
    Ok(())
}
