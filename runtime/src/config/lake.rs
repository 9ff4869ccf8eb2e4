//! The section `[lake]`.

use serde::{Deserialize, Serialize};

/// Where the lake is, and how to reach it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// `s3://bucket/prefix`. Absent: embedded, in the data directory.
    pub url: Option<String>,
}
