//! The path type of the configuration.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How the schema of the configuration marks a path.
pub(super) const PATH_FORMAT: &str = "path";

/// A path that a key of the configuration holds.
///
/// A relative path in a file is relative to the folder of that file, one in a variable to the
/// working directory. The type marks the key in the configuration's schema, by which the layers
/// resolve every path when they read a file: a key of this type needs no other mention anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigPath(PathBuf);

impl Deref for ConfigPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for ConfigPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl From<PathBuf> for ConfigPath {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl From<&str> for ConfigPath {
    fn from(path: &str) -> Self {
        Self(path.into())
    }
}

impl JsonSchema for ConfigPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ConfigPath".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": PATH_FORMAT})
    }
}
