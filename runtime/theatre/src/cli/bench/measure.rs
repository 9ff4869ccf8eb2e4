//! Moments of a run, and what was used between two of them.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::Failure;
use super::process::{cpu_of_tree, cpu_seconds};

/// A server on this machine whose time is measured too.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Name in the report.
    pub(super) name: &'static str,
    pub(super) process: u32,
}

/// A moment of the run.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    at: Instant,
    cpu: f64,
    servers: Vec<(&'static str, f64)>,
    pub(super) records: u64,
}

impl Mark {
    pub(super) fn now(records: u64, servers: &[Server]) -> Result<Self, Failure> {
        let servers = servers
            .iter()
            .filter_map(|server| Some((server.name, cpu_of_tree(server.process)?)))
            .collect();
        Ok(Self {
            at: Instant::now(),
            cpu: cpu_seconds()?,
            servers,
            records,
        })
    }

    /// CPU seconds of this process since an earlier mark.
    pub(super) fn cpu_since(&self, earlier: &Self) -> f64 {
        self.cpu - earlier.cpu
    }

    /// Records a second and CPU seconds per million records since an earlier mark.
    pub(super) fn since(&self, earlier: &Self) -> Value {
        let records = (self.records - earlier.records) as f64;
        let seconds = (self.at - earlier.at).as_secs_f64().max(1e-9);
        let per_million = |cpu: f64| rounded(cpu * 1e6 / records.max(1.0));
        let mut figures = Map::new();
        figures.insert(
            "records_per_s".to_owned(),
            json!((records / seconds) as u64),
        );
        figures.insert(
            "cpu_s_per_million".to_owned(),
            json!(per_million(self.cpu_since(earlier))),
        );
        for ((name, now), (_, then)) in self.servers.iter().zip(&earlier.servers) {
            figures.insert(
                format!("{name}_cpu_s_per_million"),
                json!(per_million(now - then)),
            );
        }
        Value::Object(figures)
    }
}

pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
