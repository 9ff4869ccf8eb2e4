//! What a configuration makes of a pipeline: its registry, its inputs with their schema sources,
//! and its parameters.

use std::path::Path;
use std::sync::Arc;

use theatre_actors::outputs::OutputTopics;
use theatre_actors::ports::SchemaSource;
use theatre_actors::processor::{EntityConfig, ProcessorConfig, SessionConfig};
use theatre_actors::rules::RuleSet;
use theatre_actors::time::{Clock, TimePolicy};
use theatre_actors::window::{WindowPlan, WindowSpec};
use theatre_config::check::Faults;
use theatre_config::inputs::{InputConfig, SchemaOrigin, SchemaSources};
use theatre_config::store::KeptTables;
use theatre_config::{Config, ConfigError, INPUT_TOPICS, RuleText, SessionWindow, WindowConfig};
use theatre_schemas::dataset::{Dataset, DatasetIndex, SchemaError, is_name};
use theatre_schemas::declaration::{Declaration, FieldPaths};
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::Registry;
use theatre_telemetry::traces::Traces;

use crate::input_schemas::{InputSchemas, Target};
use crate::{Limits, PipelineParams};

/// The schemas: shipped, configured and of declared inputs.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn registry(config: &Config, sources: &dyn SchemaSources) -> Result<Registry, ConfigError> {
    let mut faults = Faults::default();
    let (registry, _) = registry_and_inputs(config, sources, &mut faults);
    faults.checked().map(|()| registry)
}

impl PipelineParams {
    /// The pipeline that a configuration makes, with pseudonyms under `key`.
    ///
    /// # Errors
    /// When schemas, rules, windows or indicators do not fit together; names all faults.
    pub fn from_config(
        config: &Config,
        key: [u8; 32],
        sources: &dyn SchemaSources,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        let mut faults = config.faults();
        let made = Self::try_out(config, key, sources, clock, &mut faults);
        faults.checked()?;
        made.ok_or_else(|| ConfigError("the configuration makes no pipeline".to_owned()))
    }

    /// The same as far as it can be had; what is wrong is added to `faults`. Without any there is a
    /// pipeline.
    pub fn try_out(
        config: &Config,
        key: [u8; 32],
        sources: &dyn SchemaSources,
        clock: &Arc<dyn Clock>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let (registry, inputs) = registry_and_inputs(config, sources, faults);
        let windows = windows(config, faults);
        // A dataset that could not be made is at no other fault than its schema.
        let processor = if inputs.is_some() {
            processor(config, &registry, windows?, faults)
        } else {
            None
        };
        let registry = Arc::new(registry);
        let (inputs, processor) = (inputs?, processor?);
        Some(Self {
            partitions: config.partitions,
            topics: Arc::new(inputs.iter().map(|input| input.topic.clone()).collect()),
            inputs: Arc::new(
                inputs
                    .into_iter()
                    .map(|input| Arc::new(input.schemas(&registry, clock.clone())))
                    .collect(),
            ),
            output_topics: OutputTopics::new(|kind| config.output_topic(kind)),
            lake: config.lake.enabled,
            warehouse: config.lake.enabled && config.warehouse.enabled,
            tables: tables(config),
            sinks: Vec::new(),
            rules_approval: config.rules_approval,
            processor: Arc::new(processor),
            registry,
            pseudonyms: Arc::new(Pseudonyms::new(key)),
            limits: Limits::of(config),
            cores: std::thread::available_parallelism().map_or(2, usize::from),
            traces: Traces::default(),
        })
    }
}

/// The tables that are kept: the embedded store has none.
fn tables(config: &Config) -> KeptTables {
    match &config.store.url {
        Some(_) => config.store.tables,
        None => KeptTables::Off,
    }
}

impl PipelineParams {
    /// Takes over the order of inputs that a store has recorded, since positions are stored by it:
    /// inputs that the store does not know come after all that it does. Nothing changes where the
    /// store knows one that is not configured, which the start refuses.
    pub fn follow(&mut self, known: &[String]) {
        let place = |topic: &String| known.iter().position(|other| other == topic);
        if known.iter().any(|topic| !self.topics.contains(topic)) {
            return;
        }
        let mut order: Vec<usize> = (0..self.topics.len()).collect();
        order.sort_by_key(|at| place(&self.topics[*at]).unwrap_or(known.len() + at));
        self.topics = Arc::new(order.iter().map(|at| self.topics[*at].clone()).collect());
        self.inputs = Arc::new(order.iter().map(|at| self.inputs[*at].clone()).collect());
    }

    /// The same, of inputs that the store knows and no others: for commands that look at a store
    /// which the next start is going to give more inputs.
    pub fn follow_only(&mut self, known: &[String]) {
        self.follow(known);
        if self.topics.starts_with(known) {
            self.topics = Arc::new(self.topics[..known.len()].to_vec());
            self.inputs = Arc::new(self.inputs[..known.len()].to_vec());
        }
    }
}

fn named(what: &str, error: &dyn std::fmt::Display) -> String {
    format!("{what}: {error}")
}

/// The windows of a configuration; `None` where they are at fault.
pub fn window_plan(config: &Config) -> Option<WindowPlan> {
    windows(config, &mut Faults::default())
}

fn windows(config: &Config, faults: &mut Faults) -> Option<WindowPlan> {
    let spec = |window: &WindowConfig| WindowSpec {
        name: window.name.clone(),
        size_us: window.size.0,
        hop_us: window.hop.unwrap_or(window.size).0,
    };
    let plan = |windows: &[WindowConfig]| {
        WindowPlan::new(windows.iter().map(spec).collect(), config.aggregates)
            .map_err(|error| named("windows", &error))
    };
    for window in &config.windows {
        faults.take(plan(std::slice::from_ref(window)));
    }
    faults.take(plan(&config.windows))
}

/// What processors do: rules and indicators, each tried by itself first, so that all faults are
/// named.
fn processor(
    config: &Config,
    registry: &Registry,
    windows: WindowPlan,
    faults: &mut Faults,
) -> Option<ProcessorConfig> {
    let text = faults.take(config.rule_text())?;
    let text = RuleText {
        path: config.rule_source(),
        text: &text,
    };
    let specs = match text.whole(registry.datasets(), Some(&windows)) {
        Ok(specs) => specs,
        Err(all) => {
            all.iter().for_each(|fault| faults.add(fault));
            return None;
        }
    };
    let compiled = RuleSet::compile(&specs, registry.datasets());
    let rules = faults.take(compiled.map_err(|error| named("rules", &error)))?;
    let time = TimePolicy {
        reorder_bound_us: config.reorder_bound.0,
        allowed_lateness_us: config.allowed_lateness.0,
        future_tolerance_us: config.future_tolerance.0,
        silence_after_us: config.silence_after.0,
    };
    let entities = entities(config, &windows, registry, faults);
    let made = ProcessorConfig::new(
        time,
        windows,
        rules,
        &config.indicators,
        registry.datasets(),
    );
    let mut processor = faults.take(made)?;
    processor.entities = entities?;
    #[cfg(feature = "test-hooks")]
    {
        processor.panic_on = config.panic_on.clone();
    }
    Some(processor)
}

/// Instruments, components and session windows.
fn entities(
    config: &Config,
    windows: &WindowPlan,
    registry: &Registry,
    faults: &mut Faults,
) -> Option<EntityConfig> {
    let datasets = registry.datasets();
    let (instruments, components) = (&config.instruments, &config.components);
    let made = EntityConfig::new(instruments, components, windows, datasets);
    let mut entities = faults.take(made)?;
    let session = |of: &SessionWindow| SessionConfig {
        name: of.name.clone(),
        dataset: of.dataset.clone(),
        active: of.active.clone(),
        gap_us: of.gap.0,
        longest_us: of.longest.0,
    };
    let sessions: Vec<SessionConfig> = config.sessions.iter().map(session).collect();
    faults.take(entities.add_sessions(&sessions, windows, datasets))?;
    Some(entities)
}

/// The schemas, and the inputs where none of them is at fault.
fn registry_and_inputs(
    config: &Config,
    sources: &dyn SchemaSources,
    faults: &mut Faults,
) -> (Registry, Option<Vec<Declared>>) {
    let mut registry = Registry::builtin();
    let mut schemas = Vec::with_capacity(config.schemas.len());
    let mut good = true;
    for path in &config.schemas {
        let read = theatre_config::read(path).and_then(|json| {
            let dataset = Dataset::from_schema(&json).map_err(|error| in_schema(path, &error))?;
            Ok((dataset.version, path, json))
        });
        match faults.take(read) {
            Some(schema) => schemas.push(schema),
            None => good = false,
        }
    }
    // Version by version, in whatever order they were found: columns keep the places that they had.
    schemas.sort_by_key(|(version, ..)| *version);
    for (_, path, json) in schemas {
        let added = registry.add(&json).map_err(|error| in_schema(path, &error));
        good &= faults.take(added).is_some();
    }
    let inputs = inputs(config, &mut registry, sources, faults).filter(|_| good);
    (registry, inputs)
}

fn in_schema(path: &Path, error: &SchemaError) -> ConfigError {
    ConfigError(format!("schema {}: {error}", path.display()))
}

/// An input with its source, before the registry is complete.
struct Declared {
    topic: String,
    shares: bool,
    target: Option<Target>,
}

impl Declared {
    fn schemas(self, registry: &Arc<Registry>, clock: Arc<dyn Clock>) -> InputSchemas {
        InputSchemas::new(
            &self.topic,
            registry.clone(),
            self.shares,
            self.target,
            clock,
        )
    }
}

/// All inputs in the order of their positions; datasets that are new are added to the registry.
/// `None` where one is at fault.
fn inputs(
    config: &Config,
    registry: &mut Registry,
    sources: &dyn SchemaSources,
    faults: &mut Faults,
) -> Option<Vec<Declared>> {
    let mut topics: Vec<&str> = INPUT_TOPICS.to_vec();
    let mut good = true;
    for (index, input) in config.input.iter().enumerate() {
        if config.input[..index]
            .iter()
            .any(|other| other.topic == input.topic)
        {
            faults.add(input.error("topic", "is declared twice"));
            good = false;
        }
        if !topics.contains(&input.topic.as_str()) {
            topics.push(&input.topic);
        }
    }
    let count = topics.len();
    let mut all = Vec::with_capacity(count);
    for topic in topics {
        let declared = match config.input.iter().find(|input| input.topic == topic) {
            Some(input) => declare(input, registry, sources),
            None => Ok(Declared {
                topic: topic.to_owned(),
                shares: true,
                target: sources.folder().map(|source| Target {
                    source,
                    dataset: None,
                }),
            }),
        };
        all.extend(faults.take(declared));
    }
    (good && all.len() == count).then_some(all)
}

fn declare(
    input: &InputConfig,
    registry: &mut Registry,
    sources: &dyn SchemaSources,
) -> Result<Declared, ConfigError> {
    let name = input.dataset_name();
    if !is_name(&name) {
        return Err(input.error("dataset", format!("\"{name}\" is no name: lower-case letters, digits and _ are, beginning with a letter")));
    }
    let source = sources.open(input)?;
    let known = registry
        .datasets()
        .find(&name)
        .map(|(index, dataset)| (index, dataset.kind));
    let (index, is_new) = match known {
        Some((_, kind)) if kind != input.kind => {
            return Err(input.error(
                "kind",
                format!(
                    "{:?}, but the dataset '{name}' is of kind {kind:?}",
                    input.kind
                ),
            ));
        }
        Some((index, _))
            if input.schema.is_none() && input.field_paths() == FieldPaths::default() =>
        {
            (index, false)
        }
        Some(_) => return Err(input.error(
            "dataset",
            format!(
                "'{name}' is there already, with a schema of its own: give this one another name"
            ),
        )),
        None => (new_dataset(input, name, source.as_deref(), registry)?, true),
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
    input: &InputConfig,
    dataset: String,
    source: Option<&dyn SchemaSource>,
    registry: &mut Registry,
) -> Result<DatasetIndex, ConfigError> {
    let (json, key) = match (&input.schema, source) {
        (Some(path), _) => (
            theatre_config::read(path).map_err(|error| input.error("schema", error))?,
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
            (
                latest.ok_or_else(|| {
                    input.error(
                        "subject",
                        format!(
                            "there is no subject '{subject}'; name a reader's schema with `schema`"
                        ),
                    )
                })?,
                "subject",
            )
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
        paths: input.field_paths(),
    };
    Ok(registry.add_dataset(
        declaration
            .dataset(&json)
            .map_err(|error| input.error(key, error))?,
    ))
}

/// The pipeline of a configuration that names no schema source.
#[cfg(test)]
pub(crate) fn without_sources(config: &Config) -> Result<PipelineParams, ConfigError> {
    let clock: Arc<dyn Clock> = Arc::new(theatre_system::clock::SystemClock);
    PipelineParams::from_config(config, [0; 32], &theatre_config::inputs::NoSources, &clock)
}

#[cfg(test)]
mod tests {
    use theatre_actors::rules::Micros;

    use theatre_config::{Config, INPUT_TOPICS, RECORD_BYTES_MAX};

    use super::without_sources as params;

    #[test]
    fn the_defaults_make_a_pipeline() {
        let params = params(&Config::default()).unwrap();
        assert!(
            params.processor.rules.rules().len() > 2,
            "rules are shipped"
        );
    }

    #[test]
    fn inputs_keep_the_places_that_a_store_gave_them() {
        let inputs = ["mine", "second"].map(|topic| {
            format!(
                "[[input]]\ntopic = \"{topic}\"\nkind = \"telemetry\"\ndataset = \"robot_telemetry\"\n"
            )
        });
        let path = std::path::Path::new("theatre.toml");
        let config: Config = theatre_config::parse(path, &inputs.concat()).unwrap();
        let made = params(&config).unwrap();
        let mut known: Vec<String> = INPUT_TOPICS[..4]
            .iter()
            .map(|it| (*it).to_owned())
            .collect();
        known.push("mine".to_owned());
        // An older build had four inputs of its own, and those that were declared after them.
        let mut older = params(&config).unwrap();
        older.follow(&known);
        let mut expected: Vec<&str> = INPUT_TOPICS[..4].to_vec();
        expected.push("mine");
        expected.extend(&INPUT_TOPICS[4..]);
        expected.push("second");
        assert_eq!(*older.topics, expected);
        assert_eq!(older.inputs.len(), expected.len());
        let all: Vec<String> = older.topics.to_vec();
        let mut again = params(&config).unwrap();
        again.follow(&all);
        assert_eq!(again.topics, older.topics);
        again.follow_only(&known);
        assert_eq!(*again.topics, known);
        let mut other = params(&Config::default()).unwrap();
        other.follow(&known);
        assert_eq!(other.topics, params(&Config::default()).unwrap().topics);
        assert_eq!(made.topics.len(), INPUT_TOPICS.len() + 2);
    }

    #[test]
    fn records_too_long_for_a_row_of_the_warehouse_need_a_pipeline_without_a_lake() {
        let mut config = Config {
            record_bytes: RECORD_BYTES_MAX,
            ..Config::default()
        };
        assert!(params(&config).is_ok());
        config.record_bytes += 1;
        let refused = params(&config).err().expect("it is refused").to_string();
        assert!(
            refused.contains("record_bytes: 3145729") && refused.contains("without a lake"),
            "{refused}"
        );
        config.lake.enabled = false;
        assert!(params(&config).is_ok());
    }

    #[test]
    fn a_schema_that_the_warehouse_would_fold_is_refused_by_name() {
        let mut config = Config::default();
        config.lake.url = Some("s3://bucket".to_owned());
        config.warehouse.url = Some("redshift://workgroup/database".to_owned());
        for schema in ["public", "theatre_2", "_t"] {
            config.warehouse.schema = schema.to_owned();
            assert!(params(&config).is_ok(), "{schema}");
        }
        for schema in ["Theatre", "", "pg_theatre", "2nd", "a b", "a\"b", "ä"] {
            config.warehouse.schema = schema.to_owned();
            let refused = params(&config).err().expect("it is refused").to_string();
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
        assert!(params(&config).is_ok(), "the embedded log is never away");
        config.log.url = Some("kafka://broker:9092".to_owned());
        let refused = params(&config).err().expect("it is refused").to_string();
        assert!(
            refused.contains("silence_after: 4s") && refused.contains("only after 15s"),
            "{refused}"
        );
        config.silence_after = Micros(15_000_000);
        assert!(params(&config).is_ok());
    }
}
