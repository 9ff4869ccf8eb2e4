//! The records that leave the world, and their bytes.

use super::avro::Datum;
use super::telemetry::Sample;

/// A topic that the fleet writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Topic {
    Facilities,
    Models,
    Surgeons,
    Robots,
    RobotEvents,
    ProcedureEvents,
    ProcedureResults,
    MaintenanceLogs,
    Telemetry,
}

impl Topic {
    /// All topics, in the order in which records of the same moments are written: what a sample
    /// refers to is there before it.
    pub const ALL: [Self; 9] = [
        Self::Facilities,
        Self::Models,
        Self::Surgeons,
        Self::Robots,
        Self::RobotEvents,
        Self::ProcedureEvents,
        Self::ProcedureResults,
        Self::MaintenanceLogs,
        Self::Telemetry,
    ];

    /// Name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Facilities => "surgical.facility.registry.v1",
            Self::Models => "surgical.model.registry.v1",
            Self::Surgeons => "surgical.surgeon.registry.v1",
            Self::Robots => "surgical.robot.registry.v1",
            Self::RobotEvents => "surgical.robot.events.v1",
            Self::ProcedureEvents => "surgical.procedure.events.v1",
            Self::ProcedureResults => "surgical.procedure.results.v1",
            Self::MaintenanceLogs => "surgical.maintenance.logs.v1",
            Self::Telemetry => "surgical.robot.telemetry.v1",
        }
    }

    /// Id of the schema that its records are written with.
    pub(super) fn schema_id(self) -> u32 {
        match self {
            Self::Telemetry => 1001,
            Self::ProcedureEvents => 1015,
            Self::ProcedureResults => 1004,
            Self::RobotEvents => 1005,
            Self::MaintenanceLogs => 1006,
            Self::Robots => 1007,
            Self::Facilities => 1008,
            Self::Surgeons => 1009,
            Self::Models => 1010,
        }
    }
}

/// Symbols of the schemas, in their order.
pub(super) mod symbols {
    pub(crate) const FACILITY: [&str; 5] =
        ["unknown", "teaching", "private", "specialty", "regional"];
    pub(crate) const STATUS: [&str; 4] = ["unknown", "operational", "maintenance", "retired"];
    pub(crate) const STEP: [&str; 10] = [
        "unknown",
        "scheduled",
        "started",
        "phase_started",
        "paused",
        "resumed",
        "converted",
        "aborted",
        "cancelled",
        "completed",
    ];
    pub(crate) const GENDER: [&str; 4] = ["unknown", "female", "male", "other"];
    pub(crate) const SUCCESS: [&str; 4] = ["unknown", "successful", "complicated", "failed"];
    pub(crate) const SEVERITY: [&str; 4] = ["unknown", "minor", "moderate", "severe"];
    pub(crate) const EVENT: [&str; 9] = [
        "unknown",
        "started",
        "stopped",
        "maintenance_started",
        "maintenance_completed",
        "part_replaced",
        "fault",
        "recording_ended",
        "recording_started",
    ];
    pub(crate) const PROGRESS: [&str; 5] =
        ["unknown", "planned", "started", "completed", "cancelled"];
    pub(crate) const STATE: [&str; 5] = ["unknown", "disabled", "enabled", "fault", "homed"];
}

/// A record of the world, before it is numbered and encoded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    /// Event time, microseconds UTC.
    pub(super) time: i64,
    /// Robot, facility, surgeon or model: the first field and the message key.
    pub(super) key: String,
    /// Unique id; empty for telemetry, which has none.
    pub(super) event_id: String,
    pub(super) content: Content,
}

/// What a record says beside key, time and number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Facility(usize),
    Model(usize),
    Surgeon(super::surgeon::Surgeon),
    Robot(super::robot::Entry),
    RobotEvent(RobotEvent),
    Step(super::procedure::Step),
    Result(super::outcome::ClinicalResult),
    Log(super::service::Log),
    Telemetry(Box<Sample>),
}

/// What happened to a robot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RobotEvent {
    pub(super) event_type: &'static str,
    pub(super) component: Option<String>,
    pub(super) code: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) facility_id: String,
}

impl Fact {
    /// Where it goes.
    pub(super) fn topic(&self) -> Topic {
        match self.content {
            Content::Facility(_) => Topic::Facilities,
            Content::Model(_) => Topic::Models,
            Content::Surgeon(_) => Topic::Surgeons,
            Content::Robot(_) => Topic::Robots,
            Content::RobotEvent(_) => Topic::RobotEvents,
            Content::Step(_) => Topic::ProcedureEvents,
            Content::Result(_) => Topic::ProcedureResults,
            Content::Log(_) => Topic::MaintenanceLogs,
            Content::Telemetry(_) => Topic::Telemetry,
        }
    }

    /// The framed bytes, with the number among the key's records of this topic.
    pub(super) fn encode(&self, catalogue: &super::catalogue::Catalogue, number: i64) -> Vec<u8> {
        let mut datum = Datum::new(self.topic().schema_id());
        datum.text(&self.key).whole(self.time);
        if let Content::Telemetry(sample) = &self.content {
            sample.encode(&mut datum);
            return datum.finish();
        }
        datum
            .optional_whole(None)
            .optional_whole(Some(number))
            .text(&self.event_id);
        match &self.content {
            Content::Facility(index) => facility(&catalogue.facilities[*index], &mut datum),
            Content::Model(index) => model(&catalogue.models[*index], &mut datum),
            Content::Surgeon(surgeon) => surgeon.encode(&mut datum),
            Content::Robot(entry) => entry.encode(&mut datum),
            Content::RobotEvent(event) => event.encode(&mut datum),
            Content::Step(step) => step.encode(&mut datum),
            Content::Result(result) => result.encode(&mut datum),
            Content::Log(log) => log.encode(&mut datum),
            Content::Telemetry(_) => {}
        }
        datum.finish()
    }
}

impl RobotEvent {
    fn encode(&self, datum: &mut Datum) {
        datum
            .symbol(&symbols::EVENT, self.event_type)
            .optional_text(self.component.as_deref())
            .optional_text(self.code.as_deref())
            .optional_text(self.detail.as_deref())
            .optional_text(Some(&self.facility_id));
    }
}

fn facility(facility: &super::catalogue::Facility, datum: &mut Datum) {
    datum
        .text(&facility.facility_name)
        .optional_text(Some(&facility.city))
        .optional_text(Some(&facility.state))
        .optional_text(Some("XA"))
        .symbol(&symbols::FACILITY, &facility.facility_type)
        .optional_whole(Some(i64::from(facility.bed_count)))
        .optional_text(Some(&facility.time_zone))
        .boolean(false);
}

fn model(model: &super::catalogue::Model, datum: &mut Datum) {
    datum
        .optional_text(Some(&model.manufacturer))
        .optional_whole(Some(i64::from(model.arms)))
        .optional_whole(Some(i64::from(model.joints_per_arm)))
        .array(&model.categories, |datum, name| {
            datum.text(name);
        })
        .optional_double(Some(model.service_interval_hours))
        .optional_whole(Some(i64::from(model.instrument_lives)))
        .boolean(false);
}
