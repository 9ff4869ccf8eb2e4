//! A process as it says it is at one moment: its metrics, its readiness, its partitions.

use std::collections::BTreeMap;

use serde_json::Value;

use super::exposition::Exposition;
use crate::admin_client::{AskError, ask};

/// What one process answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When it was asked, microseconds UTC.
    pub at: i64,
    /// Its metrics.
    pub metrics: Exposition,
    /// Why it is not ready; none while it is.
    pub reasons: Vec<String>,
    /// What works and should be looked into.
    pub notices: Vec<String>,
    /// Its partitions, by number.
    pub partitions: BTreeMap<u32, Partition>,
}

/// What a process says of a partition beside its metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// What it goes through.
    pub phase: String,
    /// Its epoch; 0 before it is held.
    pub epoch: u64,
    /// Live processors.
    pub processors: u64,
    /// Records that are read and not saved.
    pub unsaved: u64,
    /// End of its last commit, microseconds UTC; 0 before the first.
    pub saved_at: i64,
}

impl Sample {
    /// Asks the process at an admin address.
    ///
    /// # Errors
    /// When it does not answer, or the address cannot be asked.
    pub fn take(admin: &str, at: i64) -> Result<Self, AskError> {
        let metrics = ask(admin, "/metrics")?;
        let readiness = ask(admin, "/readyz")?;
        let partitions = ask(admin, "/partitions")?;
        Ok(Self::of(
            at,
            &metrics.body,
            &readiness.body,
            &partitions.body,
        ))
    }

    /// What the answers say. What a process of another version does not have is missing.
    pub fn of(at: i64, metrics: &str, readiness: &str, partitions: &str) -> Self {
        let readiness: Value = serde_json::from_str(readiness).unwrap_or_default();
        let partitions: Value = serde_json::from_str(partitions).unwrap_or_default();
        let texts = |key: &str| {
            let all = list(&readiness[key]).iter();
            all.filter_map(|text| Some(text.as_str()?.to_owned()))
                .collect()
        };
        let partition = |one: &Value| {
            let number = |key: &str| one[key].as_u64().unwrap_or_default();
            let state = Partition {
                phase: one["phase"].as_str().unwrap_or_default().to_owned(),
                epoch: number("epoch"),
                processors: number("processors"),
                unsaved: number("unsaved_records"),
                saved_at: one["saved_at_us"].as_i64().unwrap_or_default(),
            };
            let number = u32::try_from(one["partition"].as_u64()?).ok()?;
            Some((number, state))
        };
        Self {
            at,
            metrics: Exposition::parse(metrics),
            reasons: texts("reasons"),
            notices: texts("notices"),
            partitions: list(&partitions).iter().filter_map(partition).collect(),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
