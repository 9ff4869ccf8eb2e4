//! Objective performance indicators: which columns they come from, and how they were computed in
//! cases that began under an earlier version, sample by sample in order of arrival.
//!
//! Now they come from the rows in event order (`course.rs`), see `motion.rs` for the formulas.

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::Dataset;
use theatre_schemas::records::Indicator;

use super::motion::AXES_MAX;

/// An instrument slower than this is idle. Units of position per second.
const IDLE_SPEED: f64 = 1.0;
/// A longer silence than this between two samples is a gap, not idleness, microseconds.
const GAP_US: i64 = 5_000_000;
/// Most signals of a dataset that are measured in cases and phases.
pub const SIGNALS_MAX: usize = 32;

/// Which columns of a telemetry dataset the indicators come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndicatorSpec {
    /// Name of the telemetry dataset.
    pub dataset: String,
    /// Signals of the tip's position, one per axis; three at most.
    #[serde(default)]
    pub position: Vec<String>,
    /// Signals of the force at the tip, one per axis; three at most.
    #[serde(default)]
    pub force: Vec<String>,
    /// Column that names the instrument.
    pub tool: Option<String>,
    /// Signals of the camera; three at most.
    #[serde(default)]
    pub camera: Vec<String>,
    /// By how much a signal of the camera changes from row to row while the camera moves, in the
    /// signal's own unit.
    #[serde(default = "camera_step")]
    pub camera_step: f64,
    /// Further signals that are aggregated by case and phase.
    #[serde(default)]
    pub signals: Vec<String>,
}

fn camera_step() -> f64 {
    0.5
}

impl Default for IndicatorSpec {
    fn default() -> Self {
        Self {
            dataset: String::new(),
            position: Vec::new(),
            force: Vec::new(),
            tool: None,
            camera: Vec::new(),
            camera_step: camera_step(),
            signals: Vec::new(),
        }
    }
}

/// An [`IndicatorSpec`] resolved to a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct IndicatorColumns {
    dataset: String,
    /// The signals that are measured, by their index in the dataset, each once.
    signals: Vec<usize>,
    names: Vec<String>,
    /// Indices into `signals`.
    position: Vec<usize>,
    force: Vec<usize>,
    camera: Vec<usize>,
    camera_step: f64,
    tool: Option<usize>,
    position_unit: String,
    force_unit: String,
}

impl IndicatorColumns {
    /// Finds the columns of an indicator in a dataset.
    ///
    /// # Errors
    /// Names a signal or column that the dataset does not have, or says what is too much.
    pub fn resolve(spec: &IndicatorSpec, dataset: &Dataset) -> Result<Self, String> {
        let fault = |why: String| format!("indicators of dataset '{}': {why}", dataset.name);
        let missing = |name: &String| fault(format!("there is no '{name}'"));
        let (mut signals, mut names): (Vec<usize>, Vec<String>) = (Vec::new(), Vec::new());
        let mut find = |wanted: &[String], max: usize| -> Result<Vec<usize>, String> {
            if wanted.len() > max {
                return Err(fault(format!(
                    "{} are more than {max} signals",
                    wanted.join(", ")
                )));
            }
            let found = wanted.iter().map(|name| {
                let signal = dataset.signal(name).ok_or_else(|| missing(name))?;
                let known = signals.iter().position(|known| *known == signal);
                Ok(known.unwrap_or_else(|| {
                    signals.push(signal);
                    names.push(name.clone());
                    signals.len() - 1
                }))
            });
            found.collect()
        };
        let position = find(&spec.position, AXES_MAX)?;
        let force = find(&spec.force, AXES_MAX)?;
        let camera = find(&spec.camera, AXES_MAX)?;
        find(&spec.signals, SIGNALS_MAX - 3 * AXES_MAX)?;
        if spec.camera_step.is_nan() || spec.camera_step < 0.0 {
            return Err(fault("camera_step is below 0".to_owned()));
        }
        let tool = spec
            .tool
            .as_ref()
            .map(|name| dataset.column(name).ok_or_else(|| missing(name)))
            .transpose()?;
        let unit = |of: &[usize], default: &str| {
            let unit = of
                .first()
                .and_then(|at| dataset.signals[signals[*at]].unit.clone());
            unit.unwrap_or_else(|| default.to_owned())
        };
        let (position_unit, force_unit) = (unit(&position, "mm"), unit(&force, "N"));
        Ok(Self {
            dataset: dataset.name.clone(),
            signals,
            names,
            position,
            force,
            camera,
            camera_step: spec.camera_step,
            tool,
            position_unit,
            force_unit,
        })
    }

    /// The dataset's name.
    pub(super) fn dataset(&self) -> &str {
        &self.dataset
    }

    /// Names of the signals that are measured.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The signals of the position, by index in [`Self::names`].
    pub(super) fn position(&self) -> &[usize] {
        &self.position
    }

    /// Those of the force.
    pub(super) fn force(&self) -> &[usize] {
        &self.force
    }

    /// Those of the camera.
    pub(super) fn camera(&self) -> &[usize] {
        &self.camera
    }

    /// See [`IndicatorSpec::camera_step`].
    pub(super) fn camera_step(&self) -> f64 {
        self.camera_step
    }

    /// The column that names the instrument.
    pub(super) fn tool(&self) -> Option<usize> {
        self.tool
    }

    /// Unit of the position; `None` without one.
    pub(super) fn position_unit(&self) -> Option<&str> {
        (!self.position.is_empty()).then_some(&*self.position_unit)
    }

    /// Unit of the force; `None` without one.
    pub(super) fn force_unit(&self) -> Option<&str> {
        (!self.force.is_empty()).then_some(&*self.force_unit)
    }

    /// The values of a row, by index in [`Self::names`]; NaN where there is none.
    pub(super) fn values(&self, batch: &Batch, row: usize) -> Box<[f64]> {
        self.signals
            .iter()
            .map(|signal| batch.signals.value(row, *signal))
            .collect()
    }

    /// Indices in the dataset of signals given by index in [`Self::names`].
    fn in_dataset(&self, of: &[usize]) -> Vec<usize> {
        of.iter().map(|at| self.signals[*at]).collect()
    }
}

/// The instrument's position and what its movements have added up to. Each vector has one entry per
/// axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Motion {
    time: i64,
    start: Vec<f64>,
    position: Vec<f64>,
    velocity: Vec<f64>,
    acceleration: Vec<f64>,
    /// How many derivatives are known since the start or the last gap, at most 2.
    derivatives: u8,
    path: f64,
    idle_us: i64,
    jerks: u64,
    jerk_squares: f64,
}

/// Running indicators of a procedure that began under version 2 of the processor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Indicators {
    motion: Option<Motion>,
    position_unit: String,
    force_unit: String,
    forces: u64,
    force_sum: f64,
    force_peak: f64,
    tool: Option<String>,
    tool_time: Option<i64>,
    tool_changes: u32,
}

impl Indicators {
    /// Adds a sample; `time` is its event time, microseconds UTC.
    pub fn add_sample(&mut self, columns: &IndicatorColumns, batch: &Batch, row: usize, time: i64) {
        let (position, force) = (
            columns.in_dataset(&columns.position),
            columns.in_dataset(&columns.force),
        );
        if has_values(batch, &force, row) {
            let force = row_values(batch, &force, row)
                .map(|axis| axis * axis)
                .sum::<f64>()
                .sqrt();
            if self.forces == 0 {
                self.force_unit.clone_from(&columns.force_unit);
            }
            self.forces += 1;
            self.force_sum += force;
            self.force_peak = self.force_peak.max(force);
        }
        if let Some(tool) = columns.tool.and_then(|column| batch.text(column, row))
            && self.tool_time.is_none_or(|last| time >= last)
        {
            self.tool_time = Some(time);
            if self.tool.as_deref() != Some(tool) {
                self.tool_changes = self
                    .tool_changes
                    .saturating_add(u32::from(self.tool.is_some()));
                self.tool = Some(tool.to_owned());
            }
        }
        if has_values(batch, &position, row) {
            let axes = row_values(batch, &position, row);
            match &mut self.motion {
                // The sample is of another dataset with other axes: there is no difference to take.
                Some(motion) if motion.position.len() != position.len() => {}
                Some(motion) if time < motion.time => {}
                Some(motion) => motion.advance(axes, time),
                None => {
                    self.position_unit.clone_from(&columns.position_unit);
                    self.motion = Some(Motion::new(axes.collect(), time));
                }
            }
        }
    }

    /// The indicators for which there is data; `duration_s` is the duration of the procedure.
    pub fn values(&self, duration_s: Option<f64>) -> Vec<Indicator> {
        let mut indicators = Vec::new();
        // Values beyond the range of a float are left out. NaN must be, because it is unequal to
        // itself: every outcome would look like a correction of the one before.
        let mut push = |name: &str, value: f64, unit: &str| {
            if value.is_finite() {
                indicators.push(Indicator {
                    name: name.to_owned(),
                    value,
                    unit: unit.to_owned(),
                });
            }
        };
        if let Some(motion) = &self.motion {
            let unit = &self.position_unit;
            push("path_length", motion.path, unit);
            if motion.path > 0.0 {
                push(
                    "economy_of_motion",
                    distance(&motion.start, &motion.position) / motion.path,
                    "1",
                );
            }
            push("idle_time", motion.idle_us as f64 / 1e6, "s");
            if let Some(duration) = duration_s.filter(|duration| *duration > 0.0) {
                push("mean_speed", motion.path / duration, &format!("{unit}/s"));
            }
            if motion.jerks > 0 {
                push(
                    "mean_squared_jerk",
                    motion.jerk_squares / motion.jerks as f64,
                    &format!("{unit}^2/s^6"),
                );
            }
        }
        if self.forces > 0 {
            push("peak_force", self.force_peak, &self.force_unit);
            push(
                "mean_force",
                self.force_sum / self.forces as f64,
                &self.force_unit,
            );
        }
        if self.tool.is_some() {
            push("tool_changes", f64::from(self.tool_changes), "1");
        }
        indicators
    }
}

impl Motion {
    fn new(position: Vec<f64>, time: i64) -> Self {
        let axes = position.len();
        Self {
            time,
            start: position.clone(),
            position,
            velocity: vec![0.0; axes],
            acceleration: vec![0.0; axes],
            derivatives: 0,
            path: 0.0,
            idle_us: 0,
            jerks: 0,
            jerk_squares: 0.0,
        }
    }

    /// Moves on, without allocating: this runs for every sample of a case.
    fn advance(&mut self, axes: impl Iterator<Item = f64>, time: i64) {
        let elapsed_us = time.saturating_sub(self.time);
        let gap = elapsed_us > GAP_US;
        let elapsed = elapsed_us as f64 / 1e6;
        let (mut distance_squared, mut jerk_squared) = (0.0, 0.0);
        for (axis, to) in axes.enumerate() {
            let step = to - self.position[axis];
            distance_squared += step * step;
            self.position[axis] = to;
            if elapsed_us > 0 && !gap {
                let velocity = step / elapsed;
                let acceleration = (velocity - self.velocity[axis]) / elapsed;
                let jerk = (acceleration - self.acceleration[axis]) / elapsed;
                jerk_squared += jerk * jerk;
                (self.velocity[axis], self.acceleration[axis]) = (velocity, acceleration);
            }
        }
        let moved = distance_squared.sqrt();
        self.path += moved;
        self.time = time;
        if gap {
            self.derivatives = 0;
        } else if elapsed_us > 0 {
            if moved < IDLE_SPEED * elapsed {
                self.idle_us = self.idle_us.saturating_add(elapsed_us);
            }
            // Of the first differences after a start or gap only the velocity means something, of
            // the second the acceleration.
            if self.derivatives == 2 {
                self.jerks += 1;
                self.jerk_squares += jerk_squared;
            }
            self.derivatives = (self.derivatives + 1).min(2);
        }
    }
}

fn distance(from: &[f64], to: &[f64]) -> f64 {
    from.iter()
        .zip(to)
        .map(|(from, to)| (to - from) * (to - from))
        .sum::<f64>()
        .sqrt()
}

/// True when there are signals and all have a finite value in the row.
fn has_values(batch: &Batch, signals: &[usize], row: usize) -> bool {
    let is_finite = |signal: &usize| batch.signals.value(row, *signal).is_finite();
    !signals.is_empty() && signals.iter().all(is_finite)
}

fn row_values<'a>(
    batch: &'a Batch,
    signals: &'a [usize],
    row: usize,
) -> impl Iterator<Item = f64> + 'a {
    signals
        .iter()
        .map(move |signal| batch.signals.value(row, *signal))
}
