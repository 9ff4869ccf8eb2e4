//! The section `[lake]`.

use serde::{Deserialize, Serialize};

/// Where the lake is, and how to reach it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// `s3://bucket/prefix`. Absent: embedded, in the data directory.
    pub url: Option<String>,
    /// Whether there is a lake at all. Without one there is no warehouse either: it is loaded from the lake. Default true.
    pub enabled: bool,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self { url: None, enabled: true }
    }
}
