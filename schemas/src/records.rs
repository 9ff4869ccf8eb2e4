//! What Theatre publishes: alerts, outcomes, windows and dead letters, as structs that mirror their
//! schemas, and a writer for anything else.

use std::sync::OnceLock;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::datums::Datums;
use crate::framing;

/// Why published bytes cannot be read, or a value cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RecordError(String);

impl RecordError {
    pub(crate) fn of(why: impl ToString) -> Self {
        Self(why.to_string())
    }
}

/// The writer and the readers of a shipped schema, which live as long as the process: they borrow
/// it.
struct Published {
    id: u32,
    #[cfg(test)]
    schema: &'static Schema,
    writer: GenericDatumWriter<'static>,
    /// By the versions that stores and lakes may have, the last one first.
    readers: Vec<(u32, GenericDatumReader<'static>)>,
}

fn shipped(id: u32, json: &str) -> &'static Schema {
    let schema = Schema::parse_str(json)
        .unwrap_or_else(|error| unreachable!("shipped schema {id}: {error}"));
    Box::leak(Box::new(schema))
}

impl Published {
    fn new(id: u32, json: &str, earlier: &[(u32, &str)]) -> Self {
        let schema = shipped(id, json);
        let writer = GenericDatumWriter::builder(schema).build();
        let reader = |(id, written_by): (u32, &'static Schema)| {
            let reader = GenericDatumReader::builder(written_by).reader_schema(schema);
            let reader = reader.build();
            let broken = |error| unreachable!("shipped schema {id}: {error}");
            (id, reader.unwrap_or_else(broken))
        };
        let earlier = earlier.iter().map(|(id, json)| (*id, shipped(*id, json)));
        Self {
            id,
            #[cfg(test)]
            schema,
            writer: writer.unwrap_or_else(|error| unreachable!("shipped schema {id}: {error}")),
            readers: std::iter::once((id, schema))
                .chain(earlier)
                .map(reader)
                .collect(),
        }
    }

    /// Writes the fields straight into the message. A tree of values that is resolved against the
    /// schema gives the same bytes at a multiple of the cost: `records/tests.rs` compares both.
    fn encode<T: Serialize>(&self, record: &T) -> Vec<u8> {
        let mut message = framing::frame(self.id, &[]);
        if let Err(error) = self.writer.write_ser(&mut message, record) {
            unreachable!("the struct mirrors schema {}: {error}", self.id);
        }
        message
    }

    fn decode<T: DeserializeOwned>(&self, message: &[u8]) -> Result<T, RecordError> {
        let (id, mut datum) =
            framing::parse(message).map_err(|error| RecordError(error.to_string()))?;
        let Some((_, reader)) = self.readers.iter().find(|(known, _)| *known == id) else {
            return Err(RecordError(format!(
                "schema id {id} where {} was expected",
                self.id
            )));
        };
        let value = reader
            .read_value(&mut datum)
            .map_err(|error| RecordError(error.to_string()))?;
        apache_avro::from_value(&value).map_err(|error| RecordError(error.to_string()))
    }
}

fn write(schema: &Schema, value: Value) -> apache_avro::AvroResult<Vec<u8>> {
    GenericDatumWriter::builder(schema)
        .build()?
        .write_value_to_vec(value)
}

/// A record, the id and file of its schema, and those of the versions before.
macro_rules! published {
    ($record:ty, $id:literal, $file:literal $(, ($earlier:literal, $earlier_file:literal))* $(,)?) => {
        impl $record {
            /// Schema id of the record.
            pub const SCHEMA_ID: u32 = $id;

            /// The schema itself, which says what the record and its fields are.
            pub const SCHEMA: &str = include_str!($file);

            pub(in crate::records) fn schema() -> &'static Published {
                static SCHEMA: OnceLock<Published> = OnceLock::new();
                SCHEMA.get_or_init(|| {
                    let earlier = [$(($earlier, include_str!($earlier_file))),*];
                    Published::new($id, Self::SCHEMA, &earlier)
                })
            }

            /// The framed bytes of the record.
            pub fn encode(&self) -> Vec<u8> {
                Self::schema().encode(self)
            }

            /// Reads framed bytes.
            ///
            /// # Errors
            /// When they are not a frame of this schema.
            pub fn decode(message: &[u8]) -> Result<Self, RecordError> {
                Self::schema().decode(message)
            }
        }
    };
}

mod alert;
mod entities;
mod registry;

pub use alert::{Alert, Priority, Transition};
pub use entities::{
    ComponentUse, InstrumentUse, ProcedurePhase, ProcedureState, RobotSession, SignalSummary,
};
pub use registry::{
    DecimalUnits, FacilityVersion, InstalledComponent, MaintenanceRecord, ModelVersion,
    PartReplacement, RobotVersion, SurgeonVersion,
};

/// How a procedure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum OutcomeStatus {
    Unknown,
    Completed,
    Converted,
    Aborted,
    Cancelled,
}

/// Time spent in a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PhaseDuration {
    pub name: String,
    pub duration_s: f64,
}

/// An objective performance indicator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Indicator {
    pub name: String,
    pub value: f64,
    pub unit: String,
}

/// One complication of a procedure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Complication {
    pub kind: String,
    pub severity: Severity,
}

/// How severe a complication was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Severity {
    Unknown,
    Minor,
    Moderate,
    Severe,
}

/// How a procedure went, by the hospital's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum SuccessStatus {
    Unknown,
    Successful,
    Complicated,
    Failed,
}

/// The hospital's report on a procedure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ClinicalResult {
    pub success_status: SuccessStatus,
    pub blood_loss_ml: Option<i32>,
    pub complications: Vec<Complication>,
    pub hospital_stay_days: Option<i32>,
    pub readmission_30day: Option<bool>,
    pub patient_satisfaction_score: Option<i32>,
    pub recovery_score: Option<i32>,
    pub follow_up_required: Option<bool>,
}

/// What became of a procedure. Fields as in `avro/procedure_outcomes/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Outcome {
    pub procedure_id: String,
    pub robot_id: String,
    pub revision: i32,
    pub status: OutcomeStatus,
    pub category: Option<String>,
    pub procedure_type: Option<String>,
    pub surgeon_id: Option<String>,
    pub started_at: Option<i64>,
    pub ended_at: i64,
    pub duration_s: Option<f64>,
    pub paused_s: f64,
    pub phases: Vec<PhaseDuration>,
    pub indicators: Vec<Indicator>,
    pub alerts_high: i32,
    pub alerts_medium: i32,
    pub alerts_low: i32,
    pub alert_conditions: Vec<String>,
    pub telemetry_rows: i64,
    pub telemetry_missing: i64,
    pub completeness: Option<f64>,
    pub result: Option<ClinicalResult>,
}
published!(Outcome, 1102, "../avro/procedure_outcomes/v1.avsc");

/// Aggregates of one signal. Fields as in `avro/window_aggregates/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignalAggregates {
    pub name: String,
    pub count: i64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub mean: Option<f64>,
    pub m2: Option<f64>,
    pub first: Option<f64>,
    pub last: Option<f64>,
}

/// A revision of a window. Fields as in `avro/window_aggregates/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct WindowAggregates {
    pub robot_id: String,
    pub dataset: String,
    pub window: String,
    pub window_start: i64,
    pub window_size_us: i64,
    pub revision: i32,
    pub rows: i64,
    pub signals: Vec<SignalAggregates>,
}
published!(WindowAggregates, 1104, "../avro/window_aggregates/v1.avsc");

/// A record that could not be applied. Fields as in `avro/dead_letters/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DeadLetter {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub append_time: i64,
    pub reason: String,
    pub detail: String,
    pub robot_id: Option<String>,
    pub schema_id: Option<i64>,
    pub size: i64,
    pub sha256: String,
    pub sealed: bool,
    #[serde(with = "apache_avro::serde::bytes")]
    pub payload: Vec<u8>,
    pub version: String,
}
published!(DeadLetter, 1103, "../avro/dead_letters/v1.avsc");

/// Writes records of any schema; for sources that build values field by field.
#[derive(Debug)]
pub struct RecordWriter {
    id: u32,
    schema: Schema,
}

impl RecordWriter {
    /// A writer of a schema under an id.
    ///
    /// # Errors
    /// When the schema is invalid.
    pub fn new(id: u32, json: &str) -> Result<Self, RecordError> {
        let schema = Schema::parse_str(json).map_err(|error| RecordError(error.to_string()))?;
        Ok(Self { id, schema })
    }

    /// The framed bytes of a record; absent fields take their defaults.
    ///
    /// # Errors
    /// When the value does not fit the schema.
    pub fn encode(&self, value: Value) -> Result<Vec<u8>, RecordError> {
        let datum = value
            .resolve(&self.schema)
            .and_then(|value| write(&self.schema, value));
        datum
            .map(|datum| framing::frame(self.id, &datum))
            .map_err(|error| RecordError(error.to_string()))
    }
}

/// The text under a path of fields, joined by `.`, in a datum; `None` where there is none. It reads
/// the whole datum by apache-avro, which is slow: for a record now and then.
///
/// # Errors
/// When the datum does not fit its schema, or bytes are left over.
pub fn text_of(json: &str, datum: &[u8], path: &str) -> Result<Option<String>, RecordError> {
    let mut text = None;
    Datums::new(json)?.each(datum, 1, path, |_, found| {
        text = found;
        true
    })?;
    Ok(text)
}

/// The text under a path of fields of a record.
pub(crate) fn text_at(mut value: Value, path: &str) -> Option<String> {
    for name in path.split('.') {
        let Value::Record(fields) = value else {
            return None;
        };
        let (_, field) = fields.into_iter().find(|(field, _)| field == name)?;
        value = match field {
            Value::Union(_, inner) => *inner,
            field => field,
        };
    }
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// The subjects of what is published, with their schemas, and how a message is read and written
/// again: each keeps the bytes of every version.
#[cfg(test)]
pub(crate) const PUBLISHED: &[(&str, &str, Rewrite)] = &[
    (
        "maintenance_alerts",
        include_str!("../avro/maintenance_alerts/v2.avsc"),
        |bytes| Ok(Alert::decode(bytes)?.encode()),
    ),
    (
        "procedure_outcomes",
        include_str!("../avro/procedure_outcomes/v1.avsc"),
        |bytes| Ok(Outcome::decode(bytes)?.encode()),
    ),
    (
        "dead_letters",
        include_str!("../avro/dead_letters/v1.avsc"),
        |bytes| Ok(DeadLetter::decode(bytes)?.encode()),
    ),
    (
        "window_aggregates",
        include_str!("../avro/window_aggregates/v1.avsc"),
        |bytes| Ok(WindowAggregates::decode(bytes)?.encode()),
    ),
    (
        "robot_versions",
        include_str!("../avro/robot_versions/v1.avsc"),
        |bytes| Ok(RobotVersion::decode(bytes)?.encode()),
    ),
    (
        "facility_versions",
        include_str!("../avro/facility_versions/v1.avsc"),
        |bytes| Ok(FacilityVersion::decode(bytes)?.encode()),
    ),
    (
        "surgeon_versions",
        include_str!("../avro/surgeon_versions/v1.avsc"),
        |bytes| Ok(SurgeonVersion::decode(bytes)?.encode()),
    ),
    (
        "model_versions",
        include_str!("../avro/model_versions/v1.avsc"),
        |bytes| Ok(ModelVersion::decode(bytes)?.encode()),
    ),
    (
        "maintenance_records",
        include_str!("../avro/maintenance_records/v1.avsc"),
        |bytes| Ok(MaintenanceRecord::decode(bytes)?.encode()),
    ),
    (
        "procedure_phases",
        include_str!("../avro/procedure_phases/v1.avsc"),
        |bytes| Ok(ProcedurePhase::decode(bytes)?.encode()),
    ),
    (
        "procedures",
        include_str!("../avro/procedures/v1.avsc"),
        |bytes| Ok(ProcedureState::decode(bytes)?.encode()),
    ),
    (
        "instruments",
        include_str!("../avro/instruments/v1.avsc"),
        |bytes| Ok(InstrumentUse::decode(bytes)?.encode()),
    ),
    (
        "components",
        include_str!("../avro/components/v1.avsc"),
        |bytes| Ok(ComponentUse::decode(bytes)?.encode()),
    ),
    (
        "sessions",
        include_str!("../avro/sessions/v1.avsc"),
        |bytes| Ok(RobotSession::decode(bytes)?.encode()),
    ),
];

#[cfg(test)]
pub(crate) type Rewrite = fn(&[u8]) -> Result<Vec<u8>, RecordError>;

#[cfg(test)]
mod tests;
