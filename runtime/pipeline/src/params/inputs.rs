//! The schemas of a configuration, and its inputs with their schema sources.

use std::path::Path;
use std::sync::Arc;

use theatre_actors::ports::SchemaSource;
use theatre_actors::time::Clock;
use theatre_config::check::Faults;
use theatre_config::inputs::{InputConfig, SchemaOrigin, SchemaSources};
use theatre_config::{Config, ConfigError, INPUT_TOPICS};
use theatre_schemas::dataset::{Dataset, DatasetIndex, SchemaError, is_name};
use theatre_schemas::declaration::{Declaration, FieldPaths};
use theatre_schemas::registry::Registry;

use crate::input_schemas::{InputSchemas, Target};

/// The schemas: shipped, configured and of declared inputs.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn registry(config: &Config, sources: &dyn SchemaSources) -> Result<Registry, ConfigError> {
    let mut faults = Faults::default();
    let (registry, _) = registry_and_inputs(config, sources, &mut faults);
    faults.checked().map(|()| registry)
}

/// The schemas, and the inputs where none of them is at fault.
pub(super) fn registry_and_inputs(
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
pub(super) struct Declared {
    pub(super) topic: String,
    shares: bool,
    target: Option<Target>,
}

impl Declared {
    pub(super) fn schemas(self, registry: &Arc<Registry>, clock: Arc<dyn Clock>) -> InputSchemas {
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
