//! The section `[traces]`.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;
use super::check::{Faults, Table};
use super::path::ConfigPath;
use super::redact;

/// How many traces a second can be asked for: from one in a quarter of an hour or so to what a
/// process can spare the time for.
const PER_SECOND: RangeInclusive<f64> = 0.001..=100.0;

/// Where traces go, and how many: each is the way of a record from the log to what it caused on the
/// log. They are off unless there is an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// `http://host:4318` or `https://host:4318` of a collector that takes OpenTelemetry's protocol
    /// over HTTP in JSON; `/v1/traces` is added to the path. Absent: there are no traces.
    #[serde(serialize_with = "redact::url")]
    pub endpoint: Option<String>,
    /// Most traces a second of each process, 0.001 to 100; ways on which something failed come
    /// before others.
    pub per_second: f64,
    /// PEM file of the authorities that may have signed the collector's certificate. Absent: the
    /// system's.
    pub ca_file: Option<ConfigPath>,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            per_second: 1.0,
            ca_file: None,
        }
    }
}

impl Table for TracesConfig {
    fn check(&self, _config: &Config, faults: &mut Faults) {
        let form = "http://host:4318 or https://host:4318 of a collector, without a query";
        let (key, url) = ("[traces] endpoint", self.endpoint.as_deref());
        faults.url(key, url, &["http://", "https://"], form);
        let has_query = url.is_some_and(|url| url.contains(['?', '#']));
        faults.unless(!has_query, || format!("{key}: expected {form}"));
        faults.unless(PER_SECOND.contains(&self.per_second), || {
            format!(
                "[traces] per_second: {} is not within {} to {}",
                self.per_second,
                PER_SECOND.start(),
                PER_SECOND.end()
            )
        });
        faults.file("[traces] ca_file", self.ca_file.as_ref());
    }
}
