//! Being watched: the metric vocabulary, traces, and logging.

pub mod disk;
pub mod http;
pub mod logs;
pub mod names;
pub mod rule_file;
mod series;
pub mod tables;
pub mod traces;

pub use logs::log_to_stderr;
pub use names::catalogue;

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use series::BoundedRecorder;

/// Latency buckets, seconds.
const SECONDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Buckets of the time from the log to a stage: up to an hour, for the lake waits by design.
const END_TO_END_SECONDS: [f64; 16] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
];
/// Size buckets: powers of 4 from 1 KiB.
const BYTES: [f64; 10] = [
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
];
/// Row buckets.
const ROWS: [f64; 8] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];

/// Installs the recorder, which bounds the series of each metric, and describes every metric.
///
/// # Errors
/// When a recorder is installed already; says so.
pub fn install() -> Result<PrometheusHandle, String> {
    let recorder = recorder().map_err(|error| error.to_string())?;
    let handle = recorder.handle();
    metrics::set_global_recorder(BoundedRecorder::new(recorder))
        .map_err(|error| error.to_string())?;
    names::describe();
    Ok(handle)
}

/// What `emit` emits, and nothing else, in Prometheus's text format: for a command that ends.
///
/// # Errors
/// When the recorder cannot be made; says why.
pub fn rendered(emit: impl FnOnce()) -> Result<String, String> {
    let recorder = recorder().map_err(|error| error.to_string())?;
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        catalogue()
            .iter()
            .for_each(theatre_actors::metrics::Metric::describe);
        emit();
    });
    Ok(handle.render())
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let end_to_end = names::END_TO_END_LATENCY.0.name.to_owned();
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(end_to_end), &END_TO_END_SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)?
        .set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), &ROWS)?
        .build_recorder())
}
