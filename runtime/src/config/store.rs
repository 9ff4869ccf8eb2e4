//! The section `[store]`.

use serde::{Deserialize, Serialize};

/// Where the store is, and how to reach it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `postgres://user@host:port/database`. Absent: embedded, in the data directory.
    pub url: Option<String>,
}
