//! Configuration: what `theatre.toml` may say, and the pipeline it makes.
//!
//! Layers: defaults, file, `theatre.d`, variables ([`layers`]), then flags. Every key is documented
//! where it is defined; an unknown key is an error. A path is relative to the file that names it;
//! one in a variable, to the working directory.

pub mod inputs;
pub mod lake;
pub mod layers;
pub mod log;
mod redact;
pub mod store;
pub mod warehouse;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use theatre_actors::family::{FamilyConfig, PanicHook};
use theatre_actors::procedure::IndicatorSpec;
use theatre_actors::rules::{Micros, RuleSet, RuleSpec};
use theatre_actors::time::TimePolicy;
use theatre_actors::window::{AggregateSet, WindowPlan, WindowSpec};
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::Registry;

use crate::pipeline::{Limits, PipelineParams};

pub use redact::redacted;

/// Input topics, in the order of their positions: telemetry, robot events, procedure events,
/// procedure results.
pub const INPUT_TOPICS: [&str; 4] = [
    "surgical.robot.telemetry.v1",
    "surgical.robot.events.v1",
    "surgical.procedure.events.v1",
    "surgical.procedure.results.v1",
];
/// Topic of alerts.
pub const ALERT_TOPIC: &str = "surgical.maintenance.alerts.v1";
/// Topic of outcomes.
pub const OUTCOME_TOPIC: &str = "surgical.procedure.outcomes.v1";

/// Most that `record_bytes` may be with a lake. A row of the warehouse has 4 MB at most, and its
/// values are no longer than the record they come from; the rest is for what the schema adds:
/// columns of fixed width, pseudonyms, names of symbols.
pub const RECORD_BYTES_MAX: usize = 3 << 20;

const DEFAULT_RULES: &str = include_str!("simulator/rules.toml");

/// Why a configuration cannot be used; says file, key and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// A window as configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// Name in tables and commands.
    pub name: String,
    /// Length, such as `"10s"`.
    pub size: Micros,
    /// Distance between starts; absent: as long as the window.
    pub hop: Option<Micros>,
}

/// What `theatre.toml` may say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Partitions of every topic: as many as the inputs that are there already have. Recorded at
    /// the first start; `theatre state repartition` makes more. Default 4.
    pub partitions: u32,
    /// Telemetry schemas beside the shipped ones: a robot with other columns is one file here.
    /// Default: none. Relative to this file.
    pub schemas: Vec<PathBuf>,
    /// Folder of schemas by id, `<id>.avsc`, in which ids are looked up that are not known at
    /// start-up: a schema that a robot changes is a file put there, without a restart. Absent:
    /// there is none. Relative to this file.
    pub schema_folder: Option<PathBuf>,
    /// Further topics to read, or the standard ones with other schemas. Default: the standard ones.
    pub input: Vec<inputs::InputConfig>,
    /// A Confluent-compatible schema registry, for inputs with `schemas = "registry"`.
    pub registry: inputs::RegistryConfig,
    /// AWS Glue's schema registry, for inputs with `schemas = "glue"`.
    pub glue: inputs::GlueConfig,
    /// Rule file, in place of the shipped rules. Absent: the shipped ones, for the reference
    /// telemetry. Relative to this file.
    pub rules: Option<PathBuf>,
    /// Windows. Default: 10 s and 60 s tumbling, and 5 min every minute.
    pub windows: Vec<WindowConfig>,
    /// What is aggregated per signal: `basic` (count, sum, min, max), `full` (and mean, variance,
    /// first, last) or `sketch` (and quantiles). Default full.
    pub aggregates: AggregateSet,
    /// Rows this far behind the robot's clock still join open windows. Default 30s.
    pub reorder_bound: Micros,
    /// Rows this far behind the robot's clock still correct closed windows, by revisions that hold
    /// these rows only; later ones are dead-lettered. Default 1h.
    pub allowed_lateness: Micros,
    /// Rows dated this far after they were appended are dead-lettered. On a topic with
    /// `message.timestamp.type=CreateTime` a producer says when that was. Default 5m.
    pub future_tolerance: Micros,
    /// A robot unheard for this long is silent; with Kafka at least 15s. Default 60s.
    pub silence_after: Micros,
    /// A robot's state is saved this long after it changed; urgent alerts at once. Default 10s.
    pub save_interval: Micros,
    /// Lake files are closed at this age. Default 60s.
    pub lake_roll_age: Micros,
    /// Alerts, outcomes and windows wait this long to be exported to the lake. Default 30s.
    pub export_age: Micros,
    /// Input older than this is deleted from the embedded log once nobody needs it any more. On
    /// Kafka topics go by their own retention. Default 7d.
    pub log_retention: Micros,
    /// Window revisions are deleted from the store this long after their commit, once they are
    /// published and exported; lake and warehouse keep them. Default 7d.
    pub window_retention: Micros,
    /// Longest record, bytes; longer ones are dead-lettered. At most 3 MiB with a lake. Default 1
    /// MiB.
    pub record_bytes: usize,
    /// Topic on which revisions of windows are published, such as `surgical.window.aggregates.v1`.
    /// Absent: they are in store, lake and warehouse only.
    pub window_topic: Option<String>,
    /// The 32 bytes that pseudonyms and seals are made with; needed when the log is Kafka, the same
    /// for all processes. Absent: a key of the data directory. Relative to this file.
    pub pseudonym_key_file: Option<PathBuf>,
    /// The event log: Kafka, or embedded.
    pub log: log::LogConfig,
    /// The checkpoint store: PostgreSQL, or embedded.
    pub store: store::StoreConfig,
    /// The lake: S3, or embedded.
    pub lake: lake::LakeConfig,
    /// The warehouse: Redshift, or embedded.
    pub warehouse: warehouse::WarehouseConfig,
    /// Where the admin server listens; port 0 picks a free one. Default 127.0.0.1:9464.
    pub admin: String,
    /// Where a procedure's indicators come from, by dataset. Default: the reference telemetry.
    pub indicators: Vec<IndicatorSpec>,
    /// For tests of panics: panics in the rules of one robot. Not for production. Absent: nobody
    /// panics.
    pub panic_on: Option<PanicHook>,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = |seconds: i64| Micros(seconds * 1_000_000);
        let window = |name: &str, size: i64, hop: i64| WindowConfig {
            name: name.to_owned(),
            size: seconds(size),
            hop: Some(seconds(hop)),
        };
        let axes = |signal: &str| {
            ["x", "y", "z"]
                .map(|axis| format!("{signal}.{axis}"))
                .to_vec()
        };
        Self {
            partitions: 4,
            schemas: Vec::new(),
            schema_folder: None,
            input: Vec::new(),
            registry: inputs::RegistryConfig::default(),
            glue: inputs::GlueConfig::default(),
            rules: None,
            windows: vec![
                window("10s", 10, 10),
                window("60s", 60, 60),
                window("5m-every-1m", 300, 60),
            ],
            aggregates: AggregateSet::Full,
            reorder_bound: seconds(30),
            allowed_lateness: seconds(3600),
            future_tolerance: seconds(300),
            silence_after: seconds(60),
            save_interval: seconds(10),
            lake_roll_age: seconds(60),
            export_age: seconds(30),
            log_retention: seconds(7 * 86_400),
            window_retention: seconds(7 * 86_400),
            record_bytes: 1 << 20,
            window_topic: None,
            pseudonym_key_file: None,
            log: log::LogConfig::default(),
            store: store::StoreConfig::default(),
            lake: lake::LakeConfig::default(),
            warehouse: warehouse::WarehouseConfig::default(),
            admin: "127.0.0.1:9464".to_owned(),
            indicators: vec![IndicatorSpec {
                dataset: "robot_telemetry".to_owned(),
                position: axes("arm_position"),
                force: axes("force_feedback"),
                tool: Some("tool_type".to_owned()),
            }],
            panic_on: None,
        }
    }
}

/// A rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(default, rename = "rule")]
    rules: Vec<RuleSpec>,
}

impl Config {
    /// The schemas: shipped, configured and of declared inputs.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn registry(&self) -> Result<Registry, ConfigError> {
        Ok(self.registry_and_inputs()?.0)
    }

    fn registry_and_inputs(&self) -> Result<(Registry, Vec<inputs::Declared>), ConfigError> {
        let mut registry = Registry::builtin();
        for path in &self.schemas {
            registry
                .add(&read(path)?)
                .map_err(|error| ConfigError(format!("schema {}: {error}", path.display())))?;
        }
        let inputs = self.inputs(&mut registry)?;
        Ok((registry, inputs))
    }

    /// The rules, as written.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn rule_specs(&self) -> Result<Vec<RuleSpec>, ConfigError> {
        match &self.rules {
            Some(path) => Ok(parse::<RuleFile>(path, &read(path)?)?.rules),
            None => Ok(parse::<RuleFile>(Path::new("the shipped rules"), DEFAULT_RULES)?.rules),
        }
    }

    /// The pipeline this makes, with pseudonyms under `key`.
    ///
    /// # Errors
    /// When schemas, rules, windows or indicators do not fit together; says which.
    pub fn pipeline(&self, key: [u8; 32]) -> Result<PipelineParams, ConfigError> {
        let (registry, inputs) = self.registry_and_inputs()?;
        let named =
            |what: &str, error: &dyn std::fmt::Display| ConfigError(format!("{what}: {error}"));
        let rules = RuleSet::compile(&self.rule_specs()?, registry.datasets())
            .map_err(|error| named("rules", &error))?;
        let spec = |window: &WindowConfig| WindowSpec {
            name: window.name.clone(),
            size_us: window.size.0,
            hop_us: window.hop.unwrap_or(window.size).0,
        };
        let windows = WindowPlan::new(self.windows.iter().map(spec).collect(), self.aggregates)
            .map_err(|error| named("windows", &error))?;
        let time = TimePolicy {
            reorder_bound_us: self.reorder_bound.0,
            allowed_lateness_us: self.allowed_lateness.0,
            future_tolerance_us: self.future_tolerance.0,
            silence_after_us: self.silence_after.0,
        };
        if self.partitions == 0 {
            return Err(ConfigError("partitions: at least 1 is needed".to_owned()));
        }
        if self.lake.enabled && self.warehouse.url.is_some() && self.lake.url.is_none() {
            return Err(ConfigError("warehouse.url: Redshift loads from S3 only: set lake.url to s3://bucket/prefix, or leave warehouse.url out".to_owned()));
        }
        if self.lake.enabled && self.record_bytes > RECORD_BYTES_MAX {
            return Err(ConfigError(format!(
                "record_bytes: {} is more than the {RECORD_BYTES_MAX} of which the warehouse takes every row; only without a lake records may be longer",
                self.record_bytes
            )));
        }
        if self.warehouse.url.is_some() {
            self.warehouse.check_schema().map_err(ConfigError)?;
        }
        if self.log.url.is_some() && self.silence_after < log::SILENCE_MIN {
            return Err(ConfigError(format!(
                "silence_after: {} is too short with Kafka, whose absence is told from a robot's silence only after {}",
                self.silence_after,
                log::SILENCE_MIN
            )));
        }
        let mut family =
            FamilyConfig::new(time, windows, rules, &self.indicators, registry.datasets())
                .map_err(ConfigError)?;
        family.panic_on = self.panic_on.clone();
        let duration = |micros: Micros| Duration::from_micros(micros.0.unsigned_abs());
        let limits = Limits {
            save_interval: duration(self.save_interval),
            lake_roll_age: duration(self.lake_roll_age),
            export_age: duration(self.export_age),
            record_bytes: self.record_bytes,
            log_retention: duration(self.log_retention),
            window_retention: duration(self.window_retention),
            ..Limits::default()
        };
        let registry = Arc::new(registry);
        Ok(PipelineParams {
            partitions: self.partitions,
            topics: Arc::new(inputs.iter().map(|input| input.topic.clone()).collect()),
            inputs: Arc::new(
                inputs
                    .into_iter()
                    .map(|input| input.schemas(&registry))
                    .collect(),
            ),
            alert_topic: ALERT_TOPIC.to_owned(),
            outcome_topic: OUTCOME_TOPIC.to_owned(),
            window_topic: self.window_topic.clone(),
            lake: self.lake.enabled,
            warehouse: self.lake.enabled && self.warehouse.enabled,
            family: Arc::new(family),
            registry,
            pseudonyms: Arc::new(Pseudonyms::new(key)),
            limits,
            arbiters: std::thread::available_parallelism().map_or(2, usize::from),
        })
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("{} cannot be read: {error}", path.display())))
}

/// Reads TOML; an error names the file and shows the line.
pub fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    // The error shows the line, which may be one with a password.
    toml::from_str(text).map_err(|error| {
        ConfigError(format!(
            "{}: {}",
            path.display(),
            redacted(&error.to_string())
        ))
    })
}

#[cfg(test)]
mod tests {
    use theatre_actors::rules::Micros;

    use super::{Config, RECORD_BYTES_MAX};

    #[test]
    fn the_defaults_make_a_pipeline() {
        let params = Config::default().pipeline([0; 32]).unwrap();
        assert!(params.family.rules.rules().len() > 2, "rules are shipped");
    }

    #[test]
    fn records_too_long_for_a_row_of_the_warehouse_need_a_pipeline_without_a_lake() {
        let mut config = Config {
            record_bytes: RECORD_BYTES_MAX,
            ..Config::default()
        };
        assert!(config.pipeline([0; 32]).is_ok());
        config.record_bytes += 1;
        let refused = config
            .pipeline([0; 32])
            .err()
            .expect("it is refused")
            .to_string();
        assert!(
            refused.contains("record_bytes: 3145729") && refused.contains("without a lake"),
            "{refused}"
        );
        config.lake.enabled = false;
        assert!(config.pipeline([0; 32]).is_ok());
    }

    #[test]
    fn a_schema_that_the_warehouse_would_fold_is_refused_by_name() {
        let mut config = Config::default();
        config.lake.url = Some("s3://bucket".to_owned());
        config.warehouse.url = Some("redshift://workgroup/database".to_owned());
        for schema in ["public", "theatre_2", "_t"] {
            config.warehouse.schema = schema.to_owned();
            assert!(config.pipeline([0; 32]).is_ok(), "{schema}");
        }
        for schema in ["Theatre", "", "pg_theatre", "2nd", "a b", "a\"b", "ä"] {
            config.warehouse.schema = schema.to_owned();
            let refused = config
                .pipeline([0; 32])
                .err()
                .expect("it is refused")
                .to_string();
            assert!(
                refused.contains(&format!("[warehouse] schema {schema:?}"))
                    && refused.contains("lower-case"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_silence_that_an_absent_broker_could_cause_is_refused() {
        let mut config = Config {
            silence_after: Micros(4_000_000),
            ..Config::default()
        };
        assert!(
            config.pipeline([0; 32]).is_ok(),
            "the embedded log is never away"
        );
        config.log.url = Some("kafka://broker:9092".to_owned());
        let refused = config
            .pipeline([0; 32])
            .err()
            .expect("it is refused")
            .to_string();
        assert!(
            refused.contains("silence_after: 4s") && refused.contains("only after 15s"),
            "{refused}"
        );
        config.silence_after = Micros(15_000_000);
        assert!(config.pipeline([0; 32]).is_ok());
    }
}
