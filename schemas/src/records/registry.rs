//! Versions of robots, facilities, surgeons and models, and work on robots, as they are published.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Published, RecordError};
use std::sync::OnceLock;

/// A decimal in units of its last digit, as Avro writes it: big-endian two's complement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecimalUnits(pub i64);

impl Serialize for DecimalUnits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.to_be_bytes())
    }
}

impl<'de> Deserialize<'de> for DecimalUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Units;

        impl<'de> Visitor<'de> for Units {
            type Value = DecimalUnits;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the bytes of a decimal of 64 bits")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<DecimalUnits, E> {
                let units = crate::decode::decimal::units(bytes);
                units
                    .map(DecimalUnits)
                    .ok_or_else(|| E::invalid_length(bytes.len(), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<DecimalUnits, A::Error> {
                let mut all = Vec::new();
                while let Some(byte) = bytes.next_element::<u8>()? {
                    all.push(byte);
                }
                self.visit_bytes(&all)
            }
        }

        deserializer.deserialize_bytes(Units)
    }
}

/// A component with a serial number. Fields as in `avro/robot_versions/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InstalledComponent {
    pub component: String,
    pub part: String,
    pub serial: String,
}

/// What a robot was from a moment on. Fields as in `avro/robot_versions/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RobotVersion {
    pub robot_id: String,
    pub valid_from: i64,
    pub revision: i32,
    pub is_withdrawn: bool,
    pub serial_number: String,
    pub robot_model: Option<String>,
    pub manufacturer: Option<String>,
    pub facility_id: Option<String>,
    pub installation_date: Option<i32>,
    pub hardware_revision: Option<String>,
    pub software_version: Option<String>,
    pub firmware_version: Option<String>,
    pub status: String,
    pub decommission_date: Option<i32>,
    pub components: Vec<InstalledComponent>,
}
published!(RobotVersion, 1105, "../../avro/robot_versions/v1.avsc");

/// What a facility was from a moment on. Fields as in `avro/facility_versions/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct FacilityVersion {
    pub facility_id: String,
    pub valid_from: i64,
    pub revision: i32,
    pub is_withdrawn: bool,
    pub facility_name: String,
    pub city: Option<String>,
    pub state: Option<String>,
    pub country: Option<String>,
    pub facility_type: String,
    pub bed_count: Option<i32>,
    pub time_zone: Option<String>,
    pub is_closed: bool,
}
published!(
    FacilityVersion,
    1106,
    "../../avro/facility_versions/v1.avsc"
);

/// Who a surgeon was from a moment on. Fields as in `avro/surgeon_versions/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SurgeonVersion {
    pub surgeon_id: String,
    pub valid_from: i64,
    pub revision: i32,
    pub is_withdrawn: bool,
    pub surgeon_name: Option<String>,
    pub specialization: Option<String>,
    pub practising_since: Option<i32>,
    pub certification_level: Option<String>,
    pub facility_id: Option<String>,
    pub is_retired: bool,
}
published!(SurgeonVersion, 1107, "../../avro/surgeon_versions/v1.avsc");

/// What a robot model was from a moment on. Fields as in `avro/model_versions/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ModelVersion {
    pub robot_model: String,
    pub valid_from: i64,
    pub revision: i32,
    pub is_withdrawn: bool,
    pub manufacturer: Option<String>,
    pub arms: Option<i32>,
    pub joints_per_arm: Option<i32>,
    pub categories: Vec<String>,
    pub service_interval_hours: Option<f64>,
    pub instrument_lives: Option<i32>,
    pub is_discontinued: bool,
}
published!(ModelVersion, 1108, "../../avro/model_versions/v1.avsc");

/// A part that was replaced. Fields as in `avro/maintenance_records/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PartReplacement {
    pub part: String,
    pub component: Option<String>,
    pub old_serial: Option<String>,
    pub new_serial: Option<String>,
}

/// Work on a robot. Fields as in `avro/maintenance_records/v1.avsc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MaintenanceRecord {
    pub maintenance_id: String,
    pub robot_id: String,
    pub revision: i32,
    pub reported_at: i64,
    pub maintenance_type: String,
    pub status: String,
    pub is_planned: bool,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub downtime_hours: Option<f64>,
    pub technician_id: Option<String>,
    pub technician_name: Option<String>,
    pub issue_code: Option<String>,
    pub issues_found: Option<String>,
    pub actions: Vec<String>,
    pub actions_taken: Option<String>,
    pub parts: Vec<PartReplacement>,
    pub cost: Option<DecimalUnits>,
    pub currency: String,
    pub next_maintenance_date: Option<i32>,
    pub condition_id: Option<String>,
    pub is_condition_reported: bool,
    pub first_alert_at: Option<i64>,
    pub lead_time_s: Option<f64>,
}
published!(
    MaintenanceRecord,
    1109,
    "../../avro/maintenance_records/v1.avsc"
);
