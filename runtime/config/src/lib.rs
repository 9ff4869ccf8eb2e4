//! Configuration: what `theatre.toml` may say, and the pipeline it makes.
//!
//! Layers: defaults, file, `theatre.d`, variables ([`layers`]), then flags. Every key is documented
//! where it is defined; an unknown key is an error. A path is relative to the file that names it;
//! one in a variable, to the working directory.

pub mod api;
pub mod check;
mod entities;
pub mod inputs;
pub mod lake;
pub mod layers;
pub mod log;
pub mod notify;
pub mod oidc;
mod path;
mod plain;
mod redact;
pub mod reference;
mod rule_file;
pub mod store;
pub mod traces;
pub mod warehouse;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::component::ComponentSpec;
use theatre_actors::instrument::InstrumentSpec;
use theatre_actors::outputs::{self, OutputKind};
use theatre_actors::procedure::IndicatorSpec;
#[cfg(feature = "test-hooks")]
use theatre_actors::processor::PanicHook;
use theatre_actors::rules::{Micros, RuleSpec};
use theatre_actors::window::AggregateSet;

pub use path::ConfigPath;
pub use plain::in_plain_words;
pub use redact::{redacted, without_path};
pub use rule_file::{RuleText, rules_of};

use reference::Span;

/// Input topics, in the order of their positions in a new store: telemetry, robot events, procedure
/// events, procedure results, maintenance logs, and the registries. A store keeps the order that it
/// began with.
pub const INPUT_TOPICS: [&str; 11] = [
    "surgical.robot.telemetry.v1",
    "surgical.robot.events.v1",
    "surgical.procedure.events.v1",
    "surgical.procedure.results.v1",
    "surgical.maintenance.logs.v1",
    "surgical.robot.registry.v1",
    "surgical.facility.registry.v1",
    "surgical.surgeon.registry.v1",
    "surgical.model.registry.v1",
    "surgical.alert.acks.v1",
    "surgical.rules.control.v1",
];
/// The standard topics of what may be said to all robots of a partition.
pub const CONTROL_TOPICS: [&str; 2] = [INPUT_TOPICS[9], INPUT_TOPICS[10]];
/// Topic of alerts.
pub const ALERT_TOPIC: &str = outputs::alert::TOPIC;
/// Topic of outcomes.
pub const OUTCOME_TOPIC: &str = outputs::outcome::TOPIC;

/// Most that `record_bytes` may be with a lake. A row of the warehouse has 4 MB at most, and its
/// values are no longer than the record they come from; the rest is for what the schema adds:
/// columns of fixed width, pseudonyms, names of symbols.
pub const RECORD_BYTES_MAX: usize = 3 << 20;

/// The shipped rules, which hold where the configuration names no rule file.
pub const SHIPPED_RULES: &str = include_str!("default_rules.toml");

/// Why a configuration cannot be used; says file, key and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// A window as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// Name in tables and commands.
    pub name: String,
    /// Length, such as `"10s"`.
    #[schemars(with = "Span")]
    pub size: Micros,
    /// Distance between starts; absent: as long as the window.
    #[schemars(with = "Option<Span>")]
    pub hop: Option<Micros>,
}

/// What `theatre.toml` may say.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Partitions of every topic: as many as the inputs that are there already have. Recorded at
    /// the first start; `theatre state repartition` makes more.
    pub partitions: u32,
    /// Telemetry schemas beside the shipped ones: a robot with other columns is one file here.
    pub schemas: Vec<ConfigPath>,
    /// Folder of schemas by id, `<id>.avsc`, in which ids are looked up that are not known at
    /// start-up: a schema that a robot changes is a file put there, without a restart. Absent:
    /// there is none.
    pub schema_folder: Option<ConfigPath>,
    /// Further topics to read, or the standard ones with other schemas. Default: the standard ones.
    pub input: Vec<inputs::InputConfig>,
    /// A Confluent-compatible schema registry, for inputs with `schemas = "registry"`.
    pub registry: inputs::RegistryConfig,
    /// AWS Glue's schema registry, for inputs with `schemas = "glue"`.
    pub glue: inputs::GlueConfig,
    /// Rule file, in place of the shipped rules. Absent: the shipped ones, for the reference
    /// telemetry.
    pub rules: Option<ConfigPath>,
    /// A change of rules (`theatre rules add`, `remove`, `enable`, `disable`) counts only once a person
    /// else approves it.
    pub rules_approval: bool,
    /// Windows. Default: 10 s and 60 s tumbling, and 5 min every minute.
    pub windows: Vec<WindowConfig>,
    /// What is aggregated per signal: `basic` (count, sum, min, max), `full` (and mean, variance,
    /// first, last) or `sketch` (and quantiles).
    #[schemars(with = "String")]
    pub aggregates: AggregateSet,
    /// Rows this far behind the robot's clock still join open windows.
    #[schemars(with = "Span")]
    pub reorder_bound: Micros,
    /// Rows this far behind the robot's clock still correct closed windows, by revisions that hold
    /// these rows only; later ones are dead-lettered.
    #[schemars(with = "Span")]
    pub allowed_lateness: Micros,
    /// Rows dated this far after they were appended are dead-lettered. On a topic with
    /// `message.timestamp.type=CreateTime` a producer says when that was.
    #[schemars(with = "Span")]
    pub future_tolerance: Micros,
    /// A robot unheard for this long is silent; with Kafka at least 15s.
    #[schemars(with = "Span")]
    pub silence_after: Micros,
    /// A robot's state is saved this long after it changed; urgent alerts at once.
    #[schemars(with = "Span")]
    pub save_interval: Micros,
    /// Lake files are closed at this age.
    #[schemars(with = "Span")]
    pub lake_roll_age: Micros,
    /// Alerts, outcomes and windows wait this long to be exported to the lake.
    #[schemars(with = "Span")]
    pub export_age: Micros,
    /// Input older than this is deleted from the embedded log once it is no longer needed. On
    /// Kafka topics go by their own retention.
    #[schemars(with = "Span")]
    pub log_retention: Micros,
    /// Window revisions are deleted from the store this long after their commit, once they are
    /// published and exported; lake and warehouse keep them.
    #[schemars(with = "Span")]
    pub window_retention: Micros,
    /// Longest record, bytes; longer ones are dead-lettered. At most 3 MiB with a lake.
    pub record_bytes: usize,
    /// Topic on which revisions of windows are published, such as `surgical.window.aggregates.v1`.
    /// Absent: they are in store, lake and warehouse only.
    pub window_topic: Option<String>,
    /// The 32 bytes that pseudonyms and seals are made with; needed when the log is Kafka, the same
    /// for all processes. Absent: a key of the data directory.
    pub pseudonym_key_file: Option<ConfigPath>,
    /// The event log: Kafka, or embedded.
    pub log: log::LogConfig,
    /// The checkpoint store: PostgreSQL, or embedded.
    pub store: store::StoreConfig,
    /// The lake: S3, or embedded.
    pub lake: lake::LakeConfig,
    /// The warehouse: Redshift, or embedded.
    pub warehouse: warehouse::WarehouseConfig,
    /// Where traces go, and how many.
    pub traces: traces::TracesConfig,
    /// The HTTP interface and the page.
    pub api: api::ApiConfig,
    /// Whose bearer tokens the HTTP interface takes beside its own.
    pub oidc: oidc::OidcConfig,
    /// Recipients of what happens to conditions.
    pub notify: Vec<notify::NotifyConfig>,
    /// Where the admin server listens; port 0 picks a free one.
    pub admin: String,
    /// Which signals a procedure's indicators are computed from, and which others are aggregated by
    /// phase, one table a dataset. Default: those of the reference telemetry.
    #[schemars(with = "Vec<entities::IndicatorKeys>")]
    pub indicators: Vec<IndicatorSpec>,
    /// Which columns name the instrument on a robot, one table a dataset. Default: those of the
    /// reference telemetry, with no number of lives.
    #[schemars(with = "Vec<entities::InstrumentKeys>")]
    pub instruments: Vec<InstrumentSpec>,
    /// Which signals say the load of which component. Hours and load are computed from the shortest
    /// tumbling window. Default: the motors of the joints of the reference telemetry.
    #[schemars(with = "Vec<entities::ComponentKeys>")]
    pub components: Vec<ComponentSpec>,
    /// Session windows: stretches of activity with a gap that ends them.
    pub sessions: Vec<SessionWindow>,
    /// A panic in the rules of one robot, for tests of what happens then.
    #[cfg(feature = "test-hooks")]
    #[schemars(skip)]
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
        Self {
            partitions: 4,
            schemas: Vec::new(),
            schema_folder: None,
            input: Vec::new(),
            registry: inputs::RegistryConfig::default(),
            glue: inputs::GlueConfig::default(),
            rules: None,
            rules_approval: false,
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
            traces: traces::TracesConfig::default(),
            api: api::ApiConfig::default(),
            oidc: oidc::OidcConfig::default(),
            notify: Vec::new(),
            admin: "127.0.0.1:9464".to_owned(),
            indicators: vec![entities::indicators()],
            instruments: vec![entities::instruments()],
            components: vec![entities::components()],
            sessions: Vec::new(),
            #[cfg(feature = "test-hooks")]
            panic_on: None,
        }
    }
}

impl Config {
    /// The tables that can be at fault, in the order in which their faults are named.
    fn tables(&self) -> Vec<&dyn check::Table> {
        vec![
            &self.input,
            &self.registry,
            &self.glue,
            &self.log,
            &self.store,
            &self.lake,
            &self.warehouse,
            &self.traces,
            &self.oidc,
            &self.api,
            &self.notify,
        ]
    }
}

/// A kind of session window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionWindow {
    /// Name in tables and commands.
    pub name: String,
    /// The telemetry dataset. Absent: each that has the signal.
    pub dataset: Option<String>,
    /// Signal that is not 0 in active rows, such as `tool_active`. Absent: every row is active.
    pub active: Option<String>,
    /// Rows further apart than this are of two sessions; at least `"1s"`.
    #[schemars(with = "Span")]
    pub gap: Micros,
    /// The longest session. A longer stretch is cut at the multiples of this length since 1970.
    #[schemars(with = "Span")]
    pub longest: Micros,
}

impl Config {
    /// The topic that the configuration names for a kind of output; `None` where it names none.
    pub fn output_topic(&self, kind: OutputKind) -> Option<String> {
        match kind {
            OutputKind::Window => self.window_topic.clone(),
            _ => None,
        }
    }

    /// The rules, as written.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn rule_specs(&self) -> Result<Vec<RuleSpec>, ConfigError> {
        rules_of(self.rule_source(), &self.rule_text()?)
    }

    /// The text of the rule file, or of the shipped rules where none is named.
    ///
    /// # Errors
    /// Names the file.
    pub fn rule_text(&self) -> Result<String, ConfigError> {
        match &self.rules {
            Some(path) => read(path),
            None => Ok(SHIPPED_RULES.to_owned()),
        }
    }

    /// What errors of that text name.
    pub fn rule_source(&self) -> &Path {
        (self.rules.as_deref()).unwrap_or_else(|| Path::new("the shipped rules"))
    }
}

/// Reads a file that the configuration names.
///
/// # Errors
/// Names the file.
pub fn read(path: &Path) -> Result<String, ConfigError> {
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
            redacted(&in_plain_words(&error.to_string()))
        ))
    })
}
