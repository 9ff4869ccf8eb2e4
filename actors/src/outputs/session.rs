//! Sessions: stretches of a robot's activity. Each revision holds the whole session; one that is in
//! another session now is withdrawn.

use std::borrow::Cow;

use theatre_schemas::dataset::{Dataset, Datasets};
use theatre_schemas::records::{RobotSession, SignalSummary};

use super::columns::{ColumnSink, Columns};
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::{LoadMode, Result};
use crate::window::SessionRow;

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 13;

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::Session,
    name: "session",
    topic: Topic::WhereConfigured,
    event_type: "theatre.robot.session",
    key: |output| &output.robot_id,
    // The names of its signals are in it.
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: false,
    table: OutputTable {
        name: "robot_sessions",
        mode: || LoadMode::by_revision("session_id"),
        keeps_every_row: false,
        identity: &["session_id", "revision"],
        described: Described {
            rows: None,
            schema: RobotSession::SCHEMA,
            notes: &[("duration_s", "From began_at to ended_at, in s.")],
            enumerations: &[],
        },
        holds: Holds::Measurements,
        happened: Some("began_at"),
        columns,
        grouped: None,
    },
};

/// The output of a session's revision: of a kind of session window, on a dataset.
pub fn output(robot_id: &str, dataset: &Dataset, window: &str, row: &SessionRow) -> OutputEvent {
    let id = format!("{window}/{robot_id}/{}/{}", dataset.name, row.start_us);
    let with_values = row.signals.iter().zip(&dataset.signals);
    let with_values = with_values.filter(|(of, _)| of.count > 0);
    let finite = |value: f64| value.is_finite().then_some(value);
    let signals = with_values.map(|(of, signal)| SignalSummary {
        name: signal.name.clone(),
        count: of.count as i64,
        sum: of.sum,
        min: finite(of.min),
        max: finite(of.max),
        mean: finite(of.mean),
    });
    let session = RobotSession {
        session_id: id.clone(),
        robot_id: robot_id.to_owned(),
        dataset: dataset.name.clone(),
        window_name: window.to_owned(),
        revision: i32::try_from(row.revision).unwrap_or(i32::MAX),
        is_withdrawn: row.is_withdrawn,
        began_at: row.start_us,
        ended_at: row.end_us,
        is_cut: row.is_cut,
        row_count: row.rows as i64,
        signals: signals.collect(),
    };
    OutputEvent {
        kind: OutputKind::Session,
        robot_id: robot_id.to_owned(),
        id,
        subject: format!("{}/{window}", dataset.name),
        revision: row.revision,
        event_time: row.start_us,
        payload: session.encode(),
    }
}

fn columns(outputs: &[&OutputEvent], _: &Datasets, sink: &mut dyn ColumnSink) -> Result<()> {
    let read = |output: &&OutputEvent| {
        RobotSession::decode(&output.payload).map_err(|error| output.unreadable(error))
    };
    let sessions: Vec<RobotSession> = outputs.iter().map(read).collect::<Result<_>>()?;
    let seconds = |of: &RobotSession| of.ended_at.saturating_sub(of.began_at) as f64 / 1e6;
    Columns::new(&sessions, sink)
        .text("session_id", |of| &of.session_id)
        .text("robot_id", |of| &of.robot_id)
        .text("dataset", |of| &of.dataset)
        .text("window_name", |of| &of.window_name)
        .int32("revision", |of| of.revision)
        .int32("is_withdrawn", |of| i32::from(of.is_withdrawn))
        .time("began_at", |of| Some(of.began_at))
        .time("ended_at", |of| Some(of.ended_at))
        .float("duration_s", |of| Some(seconds(of)))
        .int32("is_cut", |of| i32::from(of.is_cut))
        .int64("row_count", |of| of.row_count)
        .json("signals", |of| &of.signals);
    Ok(())
}
