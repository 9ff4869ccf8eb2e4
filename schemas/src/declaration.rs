//! Declarations for schemas without Theatre's properties: a schema from a registry has no `theatre`
//! property, and its fields for the robot's id and the time may have any name.

use serde::{Deserialize, Serialize};

use crate::avro_type;
use crate::dataset::{Dataset, DatasetKind, SchemaError};

/// The unit of a time given as a plain number since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds, rounded down to microseconds.
    Nanos,
}

impl TimeUnit {
    /// Converts a number of this unit to microseconds; `None` when the result is out of range.
    pub fn micros(self, value: i64) -> Option<i64> {
        match self {
            Self::Seconds => value.checked_mul(1_000_000),
            Self::Millis => value.checked_mul(1_000),
            Self::Micros => Some(value),
            Self::Nanos => Some(value.div_euclid(1_000)),
        }
    }

    /// The unit's name in the plural, for error texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        }
    }
}

/// The paths of the fields with a role, nested fields joined by `.`.
///
/// `None` means the field with the role's own name, if there is one; an empty path means that no
/// field has the role, even if one has its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldPaths {
    /// The robot's id, a string.
    pub robot_id: Option<String>,
    /// The event time: a timestamp, or a long with `event_time_unit`.
    pub event_time: Option<String>,
    /// The unit of the event time, when its type does not say it.
    pub event_time_unit: Option<TimeUnit>,
    /// The procedure's id, a string.
    pub procedure_id: Option<String>,
    /// A number that counts a robot's records of this topic within a boot.
    pub sequence: Option<String>,
    /// A number that grows with every start of the robot.
    pub boot_id: Option<String>,
}

/// The declaration of an input's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Name of the dataset that they belong to.
    pub dataset: String,
    /// Their kind.
    pub kind: DatasetKind,
    /// Which of their fields have the roles.
    pub paths: FieldPaths,
}

impl Declaration {
    /// Derives the dataset from a reader's schema.
    ///
    /// # Errors
    /// When the schema is invalid, a declared field is missing or of the wrong type, or a field has
    /// no flat form.
    pub fn dataset(&self, json: &str) -> Result<Dataset, SchemaError> {
        let (fields, root) = avro_type::parse(json)?;
        let version = root["theatre"]["version"].as_u64().unwrap_or(1) as u32;
        Dataset::assemble(
            self.dataset.clone(),
            self.kind,
            version,
            &fields,
            &self.paths,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [{"name": "robot_id", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}}, {"name": "sequence", "type": "long"}]}"#;

    fn declared(sequence: Option<&str>) -> Dataset {
        let paths = FieldPaths {
            sequence: sequence.map(str::to_owned),
            ..FieldPaths::default()
        };
        Declaration {
            dataset: "r".to_owned(),
            kind: DatasetKind::Telemetry,
            paths,
        }
        .dataset(SCHEMA)
        .unwrap()
    }

    #[test]
    fn a_field_that_is_called_like_a_part_plays_it_unless_it_is_said_to_play_none() {
        assert!(declared(None).roles.sequence.is_some() && declared(None).signals.is_empty());
        let without = declared(Some(""));
        assert_eq!(
            (without.roles.sequence, without.signals.len()),
            (None, 1),
            "it is a signal like any other"
        );
        let paths = FieldPaths {
            robot_id: Some(String::new()),
            ..FieldPaths::default()
        };
        let error = Declaration {
            dataset: "r".to_owned(),
            kind: DatasetKind::Telemetry,
            paths,
        }
        .dataset(SCHEMA)
        .unwrap_err();
        assert!(
            error.to_string().contains("every record needs a robot id"),
            "{error}"
        );
    }
}
