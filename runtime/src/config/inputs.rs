//! The inputs: `[[input]]`, and the sections `[registry]` and `[glue]` of the sources their schemas
//! come from.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use theatre_actors::time::Clock;
use theatre_schemas::dataset::{DatasetIndex, DatasetKind, is_name};
use theatre_schemas::declaration::{Declaration, Places, TimeUnit};
use theatre_schemas::registry::Registry;

use super::{Config, ConfigError, INPUT_TOPICS, read, redact, redacted};
use crate::clock::SystemClock;
use crate::schema_source::confluent::ConfluentSource;
use crate::schema_source::directory::DirectorySource;
use crate::schema_source::glue::GlueSource;
use crate::schema_source::{InputSchemas, SchemaSource, Target};

/// Where an input's schemas come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// Topic. One of the four standard ones is declared anew; others come after them, in this
    /// order, which must stay.
    pub topic: String,
    /// `telemetry`, `robot_events`, `procedure_events` or `procedure_results`.
    pub kind: DatasetKind,
    /// `directory`, `registry` or `glue`. Default directory.
    #[serde(default)]
    pub schemas: SchemaOrigin,
    /// Dataset of the records: one that is known, or a new one. Default: the topic in lower case
    /// with `_` for anything else.
    pub dataset: Option<String>,
    /// The reader's schema (.avsc) of a new dataset: its columns, units, and the fields that
    /// identify a person. Absent: the newest of the subject when the process starts. Relative to
    /// this file.
    pub schema: Option<PathBuf>,
    /// Subject of the topic in the registry. Default: the topic with `-value`; in Glue and folders,
    /// the topic.
    pub subject: Option<String>,
    /// Path of the robot's id, such as `device.serial`. Default `robot_id`.
    pub robot_id: Option<String>,
    /// Path of the event time. Default `event_time`.
    pub event_time: Option<String>,
    /// What an event time counts that is a plain long: `seconds`, `millis`, `micros` or `nanos`.
    pub event_time_unit: Option<TimeUnit>,
    /// Path of the procedure's id. Default `procedure_id`; `""`: records have none.
    pub procedure_id: Option<String>,
    /// Path of the sequence number, by which duplicates are told: it counts a robot's records of
    /// this topic and may fall only when the boot number grows, or what comes after is dropped as a
    /// duplicate. Default `sequence`; `""`: records have none, and nothing is a duplicate.
    pub sequence: Option<String>,
    /// Path of the boot number, which grows with every start of the robot. Default `boot_id`; `""`:
    /// records have none.
    pub boot_id: Option<String>,
}

/// The section `[registry]`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// `http://host:port` or `https://host:port` of a Confluent-compatible schema registry.
    #[serde(serialize_with = "redact::url")]
    pub url: Option<String>,
    /// User for basic authentication.
    pub user: Option<String>,
    /// File with that user's password. Relative to this file.
    pub password_file: Option<PathBuf>,
    /// File with the certificates (PEM) to trust instead of the system's. Relative to this file.
    pub ca_file: Option<PathBuf>,
}

/// As it is printed: without secrets.
impl std::fmt::Debug for RegistryConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        redact::debug("RegistryConfig", self, formatter)
    }
}

/// The section `[glue]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlueConfig {
    /// Region, such as `eu-central-1`.
    pub region: Option<String>,
    /// Another endpoint than the region's.
    #[serde(serialize_with = "redact::url")]
    pub endpoint: Option<String>,
    /// Name of the registry in which subjects are looked up. Default `default-registry`.
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

/// An input with its source, before the registry is complete.
pub(super) struct Declared {
    pub(super) topic: String,
    shares: bool,
    target: Option<Target>,
}

impl Declared {
    pub(super) fn schemas(self, registry: &Arc<Registry>) -> InputSchemas {
        InputSchemas::new(
            &self.topic,
            registry.clone(),
            self.shares,
            self.target,
            Arc::new(SystemClock),
        )
    }
}

impl InputConfig {
    fn places(&self) -> Places {
        Places {
            robot_id: self.robot_id.clone(),
            event_time: self.event_time.clone(),
            event_time_unit: self.event_time_unit,
            procedure_id: self.procedure_id.clone(),
            sequence: self.sequence.clone(),
            boot_id: self.boot_id.clone(),
        }
    }

    fn error(&self, key: &str, why: impl std::fmt::Display) -> ConfigError {
        ConfigError(format!(
            "[[input]] with topic \"{}\", key {key}: {why}",
            self.topic
        ))
    }

    fn dataset_name(&self) -> String {
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

    fn subject(&self) -> String {
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

impl Config {
    /// All inputs in the order of their positions; datasets that are new are added to the registry.
    pub(super) fn inputs(&self, registry: &mut Registry) -> Result<Vec<Declared>, ConfigError> {
        let mut topics: Vec<&str> = INPUT_TOPICS.to_vec();
        for (index, input) in self.input.iter().enumerate() {
            if self.input[..index]
                .iter()
                .any(|other| other.topic == input.topic)
            {
                return Err(input.error("topic", "is declared twice"));
            }
            if !topics.contains(&input.topic.as_str()) {
                topics.push(&input.topic);
            }
        }
        let mut sources = Sources::default();
        let declared = topics.into_iter().map(|topic| {
            match self.input.iter().find(|input| input.topic == topic) {
                Some(input) => self.declare(input, registry, &mut sources),
                None => Ok(Declared {
                    topic: topic.to_owned(),
                    shares: true,
                    target: self.folder().map(|source| Target {
                        source,
                        dataset: None,
                    }),
                }),
            }
        });
        declared.collect()
    }

    fn declare(
        &self,
        input: &InputConfig,
        registry: &mut Registry,
        sources: &mut Sources,
    ) -> Result<Declared, ConfigError> {
        let name = input.dataset_name();
        if !is_name(&name) {
            return Err(input.error("dataset", format!("\"{name}\" is no name: lower-case letters, digits and _ are, beginning with a letter")));
        }
        let source = self.source(input, sources)?;
        let known = registry
            .datasets()
            .find(&name)
            .map(|(index, dataset)| (index, dataset.kind));
        let (index, is_new) = match known {
            Some((_, kind)) if kind != input.kind => {
                return Err(input.error("kind", format!("{:?}, but the dataset '{name}' is of kind {kind:?}", input.kind)));
            }
            Some((index, _)) if input.schema.is_none() && input.places() == Places::default() => (index, false),
            Some(_) => return Err(input.error("dataset", format!("'{name}' is there already, with a schema of its own: give this one another name"))),
            None => (self.new_dataset(input, name, source.as_deref(), registry)?, true),
        };
        if is_new && source.is_none() {
            return Err(input.error("schemas", "a new dataset's schemas come from a registry, Glue, or the folder that schema_folder names"));
        }
        let shares = input.schemas == SchemaOrigin::Directory && !is_new;
        Ok(Declared {
            topic: input.topic.clone(),
            shares,
            target: source.map(|source| Target {
                source,
                dataset: Some(index),
            }),
        })
    }

    fn new_dataset(
        &self,
        input: &InputConfig,
        dataset: String,
        source: Option<&dyn SchemaSource>,
        registry: &mut Registry,
    ) -> Result<DatasetIndex, ConfigError> {
        let (json, key) = match (&input.schema, source) {
            (Some(path), _) => (
                read(path).map_err(|error| input.error("schema", error))?,
                "schema",
            ),
            (None, Some(source)) => {
                let subject = input.subject();
                let latest = source.latest(&subject).map_err(|error| {
                    input.error(
                        "schemas",
                        format!("{error} (or name a reader's schema with `schema`)"),
                    )
                })?;
                (latest.ok_or_else(|| input.error("subject", format!("there is no subject '{subject}'; name a reader's schema with `schema`")))?, "subject")
            }
            (None, None) => {
                return Err(input.error(
                    "dataset",
                    format!("'{dataset}' is not known: name its reader's schema with `schema`"),
                ));
            }
        };
        let declaration = Declaration {
            dataset,
            kind: input.kind,
            places: input.places(),
        };
        Ok(registry.add_dataset(
            declaration
                .dataset(&json)
                .map_err(|error| input.error(key, error))?,
        ))
    }

    fn folder(&self) -> Option<Arc<dyn SchemaSource>> {
        self.schema_folder
            .as_ref()
            .map(|folder| Arc::new(DirectorySource::new(folder)) as Arc<dyn SchemaSource>)
    }

    fn source(
        &self,
        input: &InputConfig,
        sources: &mut Sources,
    ) -> Result<Option<Arc<dyn SchemaSource>>, ConfigError> {
        let made = match input.schemas {
            SchemaOrigin::Directory => return Ok(self.folder()),
            SchemaOrigin::Registry => &mut sources.registry,
            SchemaOrigin::Glue => &mut sources.glue,
        };
        if made.is_none() {
            *made = Some(if input.schemas == SchemaOrigin::Registry {
                self.open_registry(input)?
            } else {
                self.open_glue(input)?
            });
        }
        Ok(made.clone())
    }

    fn open_registry(&self, input: &InputConfig) -> Result<Arc<dyn SchemaSource>, ConfigError> {
        let section = &self.registry;
        let url = section.url.as_ref().ok_or_else(|| {
            input.error(
                "schemas",
                "\"registry\" needs [registry] url = \"http://host:port\"",
            )
        })?;
        let password = match &section.password_file {
            Some(path) => read(path)?.trim_end_matches(['\r', '\n']).to_owned(),
            None => String::new(),
        };
        let user = section
            .user
            .as_deref()
            .map(|user| (user, password.as_str()));
        let source = ConfluentSource::new(url, user, section.ca_file.as_deref())
            .map_err(|error| ConfigError(redacted(&format!("[registry]: {error}"))))?;
        Ok(Arc::new(source))
    }

    fn open_glue(&self, input: &InputConfig) -> Result<Arc<dyn SchemaSource>, ConfigError> {
        let section = &self.glue;
        let region = section
            .region
            .as_ref()
            .ok_or_else(|| input.error("schemas", "\"glue\" needs [glue] region = \"...\""))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let source = GlueSource::find(
            region,
            section.endpoint.as_deref(),
            &section.registry,
            clock,
        );
        Ok(Arc::new(source.map_err(|error| {
            ConfigError(format!("[glue]: {error}"))
        })?))
    }
}

/// Sources that were opened, each once.
#[derive(Default)]
struct Sources {
    registry: Option<Arc<dyn SchemaSource>>,
    glue: Option<Arc<dyn SchemaSource>>,
}
