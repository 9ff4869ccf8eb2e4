//! The section `[warehouse]`.

use serde::{Deserialize, Serialize};

/// Where the warehouse is, and how to reach it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarehouseConfig {
    /// `redshift://workgroup-or-cluster/database`. Absent: embedded, in the data directory.
    pub url: Option<String>,
}
