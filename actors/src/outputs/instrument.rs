//! Uses of instruments: what an instrument did on one robot, revised at the end of each case.

use std::borrow::Cow;

use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::InstrumentUse;

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::{LoadMode, Result};

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 11;

/// Topic that uses of instruments are published to.
pub const TOPIC: &str = "surgical.instrument.uses.v1";

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::Instrument,
    name: "instrument",
    topic: Topic::Named(TOPIC),
    event_type: "theatre.instrument.use",
    key: |output| &output.robot_id,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "instruments",
        mode: || LoadMode::by_revision("instrument_id"),
        keeps_every_row: false,
        identity: &["instrument_id", "revision"],
        described: Described {
            rows: None,
            schema: InstrumentUse::SCHEMA,
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
pub fn output(instrument: &InstrumentUse) -> OutputEvent {
    OutputEvent {
        kind: OutputKind::Instrument,
        robot_id: instrument.robot_id.clone(),
        id: instrument.instrument_id.clone(),
        subject: instrument.tool_serial.clone(),
        revision: u32::try_from(instrument.revision).unwrap_or(0),
        event_time: instrument.last_seen,
        payload: instrument.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        InstrumentUse::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let uses: Vec<InstrumentUse> = outputs.iter().map(read).collect::<Result<_>>()?;
    Columns::new(&uses, sink)
        .text("instrument_id", |of| &of.instrument_id)
        .text("tool_serial", |of| &of.tool_serial)
        .text("robot_id", |of| &of.robot_id)
        .int32("revision", |of| of.revision)
        .optional_text("tool_type", |of| of.tool_type.as_deref())
        .time("first_seen", |of| Some(of.first_seen))
        .time("last_seen", |of| Some(of.last_seen))
        // There are no columns of whole numbers that may be missing.
        .float("lives_used", |of| of.lives_used.map(|lives| lives as f64))
        .float("lives_left", |of| of.lives_left.map(|lives| lives as f64))
        .float("attached_hours", |of| Some(of.attached_hours))
        .float("active_hours", |of| Some(of.active_hours))
        .int64("cases", |of| of.cases)
        .float("sterilisations", |of| of.sterilisations.map(|of| of as f64))
        .json("recent_cases", |of| &of.recent_cases)
        .optional_text("ended_in", |of| of.ended_in.as_deref());
    Ok(())
}
