//! The section `[log]`.

use serde::{Deserialize, Serialize};

/// Where the log is, and how to reach it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `kafka://host:port,host:port`. Absent: embedded, in the data directory.
    pub url: Option<String>,
}
