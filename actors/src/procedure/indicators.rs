//! Objective performance indicators, computed sample by sample.
//!
//! Path length and economy of motion as in surgical skill assessment (sum of distances; distance between the ends over the path).
//! Differences are taken between samples in order of event time; a sample older than the last one used is left out of them.

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::Dataset;
use theatre_schemas::records::Indicator;

/// Slower than this the instrument is idle, in units of position per second.
const IDLE_SPEED: f64 = 1.0;
/// A longer silence than this between two samples is a gap, not idleness, microseconds.
const GAP_US: i64 = 5_000_000;

/// Which columns of a telemetry dataset the indicators come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndicatorSpec {
    /// The dataset.
    pub dataset: String,
    /// Signals of the tip's position, one per axis.
    #[serde(default)]
    pub position: Vec<String>,
    /// Signals of the force at the tip, one per axis.
    #[serde(default)]
    pub force: Vec<String>,
    /// Column that names the instrument.
    pub tool: Option<String>,
}

/// An [`IndicatorSpec`] resolved to a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    position: Vec<usize>,
    force: Vec<usize>,
    tool: Option<usize>,
}

impl Sources {
    /// Finds the columns.
    ///
    /// # Errors
    /// Names a signal or column that the dataset does not have.
    pub fn resolve(spec: &IndicatorSpec, dataset: &Dataset) -> Result<Self, String> {
        let missing = |name: &String| format!("indicators of dataset '{}': there is no '{name}'", dataset.name);
        let signals = |names: &[String]| -> Result<Vec<usize>, String> { names.iter().map(|name| dataset.signal(name).ok_or_else(|| missing(name))).collect() };
        let tool = spec.tool.as_ref().map(|name| dataset.column(name).ok_or_else(|| missing(name))).transpose()?;
        Ok(Self { position: signals(&spec.position)?, force: signals(&spec.force)?, tool })
    }
}

/// Running indicators of one procedure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Indicators {
    last_time: Option<i64>,
    start: Vec<f64>,
    last: Vec<f64>,
    path: f64,
    idle_us: i64,
    forces: u64,
    force_sum: f64,
    force_peak: f64,
    tool: Option<String>,
    tool_changes: u32,
}

impl Indicators {
    /// Hears a sample.
    pub fn sample(&mut self, sources: &Sources, batch: &Batch, row: usize, time: i64) {
        if let Some(force) = vector(batch, &sources.force, row) {
            let force = force.iter().map(|axis| axis * axis).sum::<f64>().sqrt();
            self.forces += 1;
            self.force_sum += force;
            self.force_peak = self.force_peak.max(force);
        }
        if self.last_time.is_some_and(|last| time < last) {
            return;
        }
        if let Some(tool) = sources.tool.and_then(|column| batch.text(column, row))
            && self.tool.as_deref() != Some(tool)
        {
            self.tool_changes += u32::from(self.tool.is_some());
            self.tool = Some(tool.to_owned());
        }
        if let Some(position) = vector(batch, &sources.position, row) {
            self.advance(position, time);
        }
    }

    fn advance(&mut self, position: Vec<f64>, time: i64) {
        match self.last_time {
            None => self.start.clone_from(&position),
            Some(last) => {
                let distance = self.last.iter().zip(&position).map(|(from, to)| (to - from) * (to - from)).sum::<f64>().sqrt();
                self.path += distance;
                let elapsed = time - last;
                if elapsed <= GAP_US && distance < IDLE_SPEED * elapsed as f64 / 1e6 {
                    self.idle_us += elapsed;
                }
            }
        }
        self.last = position;
        self.last_time = Some(time);
    }

    /// The indicators there is data for.
    pub fn told(&self, duration_s: Option<f64>) -> Vec<Indicator> {
        let mut told = Vec::new();
        let mut tell = |name: &str, value: f64, unit: &str| told.push(Indicator { name: name.to_owned(), value, unit: unit.to_owned() });
        if self.last_time.is_some() {
            tell("path_length", self.path, "mm");
            let straight = self.start.iter().zip(&self.last).map(|(from, to)| (to - from) * (to - from)).sum::<f64>().sqrt();
            if self.path > 0.0 {
                tell("economy_of_motion", straight / self.path, "1");
            }
            tell("idle_time", self.idle_us as f64 / 1e6, "s");
            if let Some(duration) = duration_s.filter(|duration| *duration > 0.0) {
                tell("mean_speed", self.path / duration, "mm/s");
            }
        }
        if self.forces > 0 {
            tell("peak_force", self.force_peak, "N");
            tell("mean_force", self.force_sum / self.forces as f64, "N");
        }
        if self.tool.is_some() {
            tell("tool_changes", f64::from(self.tool_changes), "1");
        }
        told
    }
}

/// The values of some signals in a row; `None` unless all are there and finite.
fn vector(batch: &Batch, signals: &[usize], row: usize) -> Option<Vec<f64>> {
    use arrow::array::Array;
    if signals.is_empty() {
        return None;
    }
    signals
        .iter()
        .map(|signal| {
            let column = &batch.signals[*signal];
            (column.is_valid(row) && column.value(row).is_finite()).then(|| column.value(row))
        })
        .collect()
}
