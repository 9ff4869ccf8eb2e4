//! Uses of components: hours, load and age since the installation, revised once a day of event time,
//! when the component is replaced, at the end of a recording and when the robot falls silent.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::ComponentUse;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 12;

/// Topic that uses of components are published to.
pub const TOPIC: &str = "surgical.component.uses.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::Component,
    name: "component",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.component.use",
    key: |output| &output.robot_id,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "components",
        mode: || LoadMode::by_revision("component_id"),
        keeps_every_row: false,
        identity: &["component_id", "revision"],
        described: Described {
            rows: None,
            schema: ComponentUse::SCHEMA,
            notes: &[],
            enumerations: &[],
        },
        holds: Holds::Measurements,
        happened: None,
        columns,
        grouped: None,
    },
};

/// The output of a revision.
pub fn output(component: &ComponentUse) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::Component,
        robot_id: component.robot_id.clone(),
        id: component.component_id.clone(),
        subject: component.component.clone(),
        revision: u32::try_from(component.revision).unwrap_or(0),
        event_time: component.as_of,
        payload: component.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        ComponentUse::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let uses: Vec<ComponentUse> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&uses, sink)
        .text("component_id", |of| &of.component_id)
        .text("robot_id", |of| &of.robot_id)
        .text("component", |of| &of.component)
        .optional_text("part", |of| of.part.as_deref())
        .optional_text("serial", |of| of.serial.as_deref())
        .int32("installation", |of| of.installation)
        .int32("revision", |of| of.revision)
        .time("since", |of| Some(of.since))
        .time("removed_at", |of| of.removed_at)
        .time("as_of", |of| Some(of.as_of))
        .float("operating_hours", |of| Some(of.operating_hours))
        .float("age_days", |of| Some(of.age_days))
        .float("load", |of| Some(of.load))
        .float("load_mean_square", |of| of.load_mean_square)
        .float("load_peak", |of| of.load_peak)
        .optional_text("load_unit", |of| of.load_unit.as_deref())
        .int64("value_count", |of| of.value_count);
    Ok(())
}
