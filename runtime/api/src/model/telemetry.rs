//! Rows of telemetry.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Time;

/// Rows of a robot's telemetry, of the lake and of what the log has beyond it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TelemetryRows {
    /// The robot.
    pub(crate) robot_id: String,
    /// The dataset; `GET /api/v1/datasets` has its columns and units.
    pub(crate) dataset: String,
    /// First moment of the range, by event time.
    pub(crate) from: Time,
    /// The moment after its last.
    pub(crate) to: Time,
    /// The rows by event time, each once.
    pub(crate) items: Vec<TelemetryRow>,
    /// Give this as `after`, with the same range, to get the next rows; absent: these are the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// Rows that were appended to the log from this moment on may not be here, because there was more to
    /// read than an answer reads; absent: all that were appended before `as_of` are here, but for those
    /// in `missing`.
    pub(crate) complete_until: Option<Time>,
    /// Files and records of the range that could not be read.
    pub(crate) missing: Vec<MissingRows>,
    /// When the store was read.
    pub(crate) as_of: Time,
}

/// A row.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TelemetryRow {
    /// When it was measured.
    pub(crate) event_time: Time,
    /// When it was appended to the log.
    pub(crate) appended_at: Time,
    /// Its topic.
    pub(crate) topic: String,
    /// Its partition there.
    pub(crate) partition: u32,
    /// Its offset there.
    pub(crate) offset: u64,
    /// Its values by the names of columns; those that are missing are left out.
    pub(crate) values: Map<String, Value>,
}

/// What could not be read, for one reason.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MissingRows {
    /// `lake_off`: the lake is switched off, and the log does not reach back so far. `log_trimmed`: the
    /// log has lost records before the lake had them. `unknown_schema`: records of the log have a schema
    /// that this process does not know. `not_complete_yet`: the upload of a file ends soon. `lost`:
    /// neither file nor upload is there. `gone`: the file was removed from the lake. `too_many_rows`: ask
    /// for a shorter range.
    pub(crate) why: String,
    /// How many files.
    pub(crate) files: u64,
    /// Rows in them, of all robots.
    pub(crate) rows: u64,
}
