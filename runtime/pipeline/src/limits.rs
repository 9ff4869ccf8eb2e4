//! Every bound of the pipeline, in one place.

use std::time::Duration;

use theatre_actors::rules::Micros;
use theatre_config::Config;

/// Every bound of the pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Most records one poll of a topic brings.
    pub poll_records: usize,
    /// Most bytes one poll of a topic brings.
    pub poll_bytes: usize,
    /// Longest record that is decoded, bytes.
    pub record_bytes: usize,
    /// A processor with news is saved after this long.
    pub save_interval: Duration,
    /// One commit of a partition holds about this many bytes.
    pub commit_bytes: usize,
    /// Unsaved outputs and dead letters of a partition, bytes: beyond it processors are saved
    /// early; at four times it, polling stops.
    pub unsaved_bytes: usize,
    /// Chunks waiting for the lake writer of a partition.
    pub lake_queue: usize,
    /// A partition waits so long for its lake writer to take a chunk; then it goes on without, and
    /// the writer reads by itself what it has missed.
    pub lake_patience: Duration,
    /// A lake cut is made when a partition's open files hold this many bytes.
    pub lake_roll_bytes: usize,
    /// A lake cut is made when the oldest row in an open file has waited this long.
    pub lake_roll_age: Duration,
    /// A lake cut is made when a partition has more open files than this. A chunk is written whole
    /// first; days keep its files few.
    pub lake_open_files: usize,
    /// Memory of a partition's open lake files, bytes; beyond it a cut is made.
    pub lake_memory_bytes: usize,
    /// Outputs in one export.
    pub export_outputs: usize,
    /// Outputs wait at most this long to be exported.
    pub export_age: Duration,
    /// Files in one warehouse load.
    pub load_files: usize,
    /// Records in one relay transaction.
    pub relay_records: usize,
    /// Input older than this by its append time is deleted once processors and lake need it no
    /// more.
    pub log_retention: Duration,
    /// Outputs of the kinds that expire, committed longer ago than this, are deleted from the store
    /// once all consumers of the outbox have delivered them.
    pub window_retention: Duration,
}

impl Limits {
    /// The bounds that a configuration sets, and the fixed ones.
    pub fn of(config: &Config) -> Self {
        let duration = |micros: Micros| Duration::from_micros(micros.0.unsigned_abs());
        Self {
            poll_records: 4096,
            poll_bytes: 2 << 20,
            record_bytes: config.record_bytes,
            save_interval: duration(config.save_interval),
            commit_bytes: 128 << 10,
            unsaved_bytes: 1 << 20,
            lake_queue: 2,
            lake_patience: Duration::from_secs(5),
            lake_roll_bytes: 64 << 20,
            lake_roll_age: duration(config.lake_roll_age),
            lake_open_files: 32,
            lake_memory_bytes: 16 << 20,
            export_outputs: 4_000,
            export_age: duration(config.export_age),
            load_files: 64,
            relay_records: 1000,
            log_retention: duration(config.log_retention),
            window_retention: duration(config.window_retention),
        }
    }
}

/// The bounds of the default configuration.
impl Default for Limits {
    fn default() -> Self {
        Self::of(&Config::default())
    }
}
