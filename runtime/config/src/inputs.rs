//! The inputs: `[[input]]`, and the sections `[registry]` and `[glue]` of the sources their schemas
//! come from.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::ports::SchemaSource;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::declaration::{FieldPaths, TimeUnit};

use super::check::{Faults, HTTP_FORM, HTTP_SCHEMES, Table};
use super::path::ConfigPath;
use super::{Config, ConfigError, redact};

/// Where an input's schemas come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaOrigin {
    /// The shipped schemas, those of `schemas`, and `schema_folder`.
    #[default]
    Directory,
    /// The Confluent-compatible registry of `[registry]`.
    Registry,
    /// AWS Glue, as in `[glue]`.
    Glue,
}

/// A topic that is read. Its records' key must be the robot's id as text, by which robots are
/// shared among partitions.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// Topic. One of the eleven standard ones is declared anew; others are read beside them. A store
    /// remembers all that it was begun with: none of them may be left out later.
    pub topic: String,
    /// `telemetry`, `robot_events`, `procedure_events`, `procedure_results`, `maintenance_logs`,
    /// `robot_registry`, `facility_registry`, `surgeon_registry`, `model_registry`,
    /// `alert_actions` or `rule_changes`.
    #[schemars(with = "String")]
    pub kind: DatasetKind,
    /// Where its schemas come from. Absent: `directory`.
    #[serde(default)]
    pub schemas: SchemaOrigin,
    /// Dataset of the records: one that is known, or a new one. Absent: the topic in lower case,
    /// with `_` for anything but letters and digits.
    pub dataset: Option<String>,
    /// The reader's schema (.avsc) of a new dataset: its columns, units, and the fields that
    /// identify a person. Absent: the newest of the subject when the process starts.
    pub schema: Option<ConfigPath>,
    /// Subject of the topic in the registry. Absent: the topic with `-value`; in Glue and folders,
    /// the topic.
    pub subject: Option<String>,
    /// Path of the robot's id in a record, such as `device.serial`. Absent: `robot_id`.
    pub robot_id: Option<String>,
    /// Path of the event time in a record. Absent: `event_time`.
    pub event_time: Option<String>,
    /// What an event time counts that is a plain long: `seconds`, `millis`, `micros` or `nanos`.
    /// Absent: an event time must have a logical type.
    #[schemars(with = "Option<String>")]
    pub event_time_unit: Option<TimeUnit>,
    /// Path of the procedure's id in a record; `""`: records have none. Absent: `procedure_id`.
    pub procedure_id: Option<String>,
    /// Path of the sequence number in a record, by which duplicates are recognised: it counts a
    /// robot's records of this topic and may fall only when the boot number grows, or what comes
    /// after is dropped as a duplicate. `""`: records have none, and no record is a duplicate.
    /// Absent: `sequence`.
    pub sequence: Option<String>,
    /// Path of the boot number in a record, which grows with every start of the robot; `""`: records
    /// have none. Absent: `boot_id`.
    pub boot_id: Option<String>,
}

/// A Confluent-compatible schema registry.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// `http://host:port` or `https://host:port` of a Confluent-compatible schema registry.
    #[serde(serialize_with = "redact::url")]
    pub url: Option<String>,
    /// User for basic authentication.
    pub user: Option<String>,
    /// File with that user's password.
    pub password_file: Option<ConfigPath>,
    /// File with the certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<ConfigPath>,
}

/// As it is printed: without secrets.
impl std::fmt::Debug for RegistryConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        redact::debug("RegistryConfig", self, formatter)
    }
}

/// The schema registry of AWS Glue.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GlueConfig {
    /// Region, such as `eu-central-1`.
    pub region: Option<String>,
    /// Another endpoint than the region's.
    #[serde(serialize_with = "redact::url")]
    pub endpoint: Option<String>,
    /// Name of the registry in which subjects are looked up.
    pub registry: String,
}

impl Default for GlueConfig {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            registry: "default-registry".to_owned(),
        }
    }
}

/// As it is printed: without secrets.
impl std::fmt::Debug for GlueConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        redact::debug("GlueConfig", self, formatter)
    }
}

impl InputConfig {
    /// Where the columns that Theatre needs stand in its records.
    pub fn field_paths(&self) -> FieldPaths {
        FieldPaths {
            robot_id: self.robot_id.clone(),
            event_time: self.event_time.clone(),
            event_time_unit: self.event_time_unit,
            procedure_id: self.procedure_id.clone(),
            sequence: self.sequence.clone(),
            boot_id: self.boot_id.clone(),
        }
    }

    /// An error that names this input and the key at fault.
    pub fn error(&self, key: &str, why: impl std::fmt::Display) -> ConfigError {
        ConfigError(format!(
            "[[input]] with topic \"{}\", key {key}: {why}",
            self.topic
        ))
    }

    /// Name of its dataset: as configured, or made of the topic.
    pub fn dataset_name(&self) -> String {
        let simple = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        self.dataset
            .clone()
            .unwrap_or_else(|| self.topic.chars().map(simple).collect())
    }

    /// Subject of its schema: as configured, or made of the topic.
    pub fn subject(&self) -> String {
        let usual = || {
            if self.schemas == SchemaOrigin::Registry {
                format!("{}-value", self.topic)
            } else {
                self.topic.clone()
            }
        };
        self.subject.clone().unwrap_or_else(usual)
    }
}

impl Table for Vec<InputConfig> {
    fn check(&self, config: &Config, faults: &mut Faults) {
        for input in self {
            faults.topic("[[input]] topic", &input.topic);
            faults.file("[[input]] schema", input.schema.as_ref());
            match input.schemas {
                SchemaOrigin::Registry => faults.unless(config.registry.url.is_some(), || {
                    input
                        .error("schemas", "\"registry\" needs [registry] url")
                        .to_string()
                }),
                SchemaOrigin::Glue | SchemaOrigin::Directory => {}
            }
        }
    }
}

impl Table for RegistryConfig {
    fn check(&self, _config: &Config, faults: &mut Faults) {
        let url = self.url.as_deref();
        faults.url("[registry] url", url, HTTP_SCHEMES, HTTP_FORM);
        faults.file("[registry] password_file", self.password_file.as_ref());
        faults.file("[registry] ca_file", self.ca_file.as_ref());
    }
}

impl Table for GlueConfig {
    fn check(&self, _config: &Config, faults: &mut Faults) {
        let endpoint = self.endpoint.as_deref();
        faults.url("[glue] endpoint", endpoint, HTTP_SCHEMES, HTTP_FORM);
    }
}

/// Opens the schema sources that a configuration names.
pub trait SchemaSources {
    /// The folder of schemas by id, where one is configured.
    fn folder(&self) -> Option<Arc<dyn SchemaSource>>;

    /// The source that an input names; none: it has only what the registry knows.
    ///
    /// # Errors
    /// Names the input or the section, and what is wrong with it.
    fn open(&self, input: &InputConfig) -> Result<Option<Arc<dyn SchemaSource>>, ConfigError>;
}

/// No source at all: the shipped schemas and those of `schemas` are the only ones.
#[derive(Debug, Clone, Copy)]
pub struct NoSources;

impl SchemaSources for NoSources {
    fn folder(&self) -> Option<Arc<dyn SchemaSource>> {
        None
    }

    fn open(&self, _input: &InputConfig) -> Result<Option<Arc<dyn SchemaSource>>, ConfigError> {
        Ok(None)
    }
}
