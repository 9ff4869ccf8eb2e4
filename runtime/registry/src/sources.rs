//! The schema sources that a configuration names, each opened once.

use std::sync::{Arc, Mutex, PoisonError};

use theatre_actors::ports::SchemaSource;
use theatre_actors::time::Clock;
use theatre_config::inputs::{InputConfig, SchemaOrigin, SchemaSources};
use theatre_config::{Config, ConfigError};
#[cfg(feature = "servers")]
use theatre_config::{read, redacted};

#[cfg(feature = "servers")]
use crate::confluent::ConfluentSource;
use crate::directory::DirectorySource;
#[cfg(feature = "servers")]
use crate::glue::GlueSource;

/// A source that inputs share once it is open.
type Shared = Mutex<Option<Arc<dyn SchemaSource>>>;

/// Opens the sources that the sections of a configuration name.
pub struct Sources<'a> {
    config: &'a Config,
    #[cfg_attr(
        not(feature = "servers"),
        allow(dead_code, reason = "only signed calls are dated")
    )]
    clock: Arc<dyn Clock>,
    registry: Shared,
    glue: Shared,
}

impl<'a> Sources<'a> {
    /// Sources of a configuration; `clock` dates what is signed for AWS.
    pub fn new(config: &'a Config, clock: Arc<dyn Clock>) -> Self {
        Self {
            config,
            clock,
            registry: Mutex::default(),
            glue: Mutex::default(),
        }
    }

    #[cfg(feature = "servers")]
    fn open_registry(&self, input: &InputConfig) -> Result<Arc<dyn SchemaSource>, ConfigError> {
        let section = &self.config.registry;
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

    #[cfg(feature = "servers")]
    fn open_glue(&self, input: &InputConfig) -> Result<Arc<dyn SchemaSource>, ConfigError> {
        let section = &self.config.glue;
        let region = section
            .region
            .as_ref()
            .ok_or_else(|| input.error("schemas", "\"glue\" needs [glue] region = \"...\""))?;
        let source = GlueSource::find(
            region,
            section.endpoint.as_deref(),
            &section.registry,
            self.clock.clone(),
        );
        Ok(Arc::new(source.map_err(|error| {
            ConfigError(format!("[glue]: {error}"))
        })?))
    }
}

#[cfg(not(feature = "servers"))]
impl Sources<'_> {
    fn left_out(input: &InputConfig) -> ConfigError {
        input.error("schemas", "this theatre was built without the feature 'registries': build it with cargo build --release, which has all of them")
    }

    fn open_registry(&self, input: &InputConfig) -> Result<Arc<dyn SchemaSource>, ConfigError> {
        Err(Self::left_out(input))
    }

    fn open_glue(&self, input: &InputConfig) -> Result<Arc<dyn SchemaSource>, ConfigError> {
        Err(Self::left_out(input))
    }
}

impl SchemaSources for Sources<'_> {
    fn folder(&self) -> Option<Arc<dyn SchemaSource>> {
        self.config
            .schema_folder
            .as_ref()
            .map(|folder| Arc::new(DirectorySource::new(folder)) as Arc<dyn SchemaSource>)
    }

    fn open(&self, input: &InputConfig) -> Result<Option<Arc<dyn SchemaSource>>, ConfigError> {
        let shared = match input.schemas {
            SchemaOrigin::Directory => return Ok(self.folder()),
            SchemaOrigin::Registry => &self.registry,
            SchemaOrigin::Glue => &self.glue,
        };
        let mut open = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            *open = Some(match input.schemas {
                SchemaOrigin::Registry => self.open_registry(input)?,
                _ => self.open_glue(input)?,
            });
        }
        Ok(open.clone())
    }
}
