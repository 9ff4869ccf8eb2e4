//! Where a partition stands: noted once for each chunk or step, exposed when metrics are asked for.

use super::{
    ALERTS_ACTIVE, CLOCK_SKEW, INPUT_PAUSED, LAKE_OLDEST_UNCOMMITTED, LAKE_OPEN_FILES,
    PARTITION_BUSY, READ_TIMESTAMP, ROBOTS_STALE, WAREHOUSE_FILES_PENDING,
    WAREHOUSE_OLDEST_UNLOADED, WATERMARK,
};

/// Where a partition stands, as [`partition_stands`] exposes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// Append time of the last record read, seconds Unix time; 0 before the first.
    pub read_at: f64,
    /// Event time of the last telemetry record less the reorder bound, seconds Unix time; 0 before
    /// the first.
    pub watermark: f64,
    /// Seconds by which event times are ahead of append times, at most.
    pub skew: f64,
    /// Silent robots.
    pub stale: u64,
    /// Whether the partition waits to read on.
    pub is_paused: bool,
    /// Share of the time in which it worked.
    pub busy: f64,
    /// Open conditions of high, medium and low priority.
    pub conditions: [u64; 3],
    /// Lake files being written.
    pub lake_open_files: usize,
    /// Append time of the oldest record in no registered file, seconds Unix time; 0 if there is
    /// none.
    pub lake_oldest: f64,
    /// Completed files that are not loaded.
    pub files_pending: usize,
    /// Since when the oldest of them waits, seconds Unix time; 0 if there is none.
    pub unloaded_since: f64,
}

impl Standing {
    /// Takes over what the partition's reader knows; the lake's and the warehouse's part stays.
    pub fn watch(&mut self, reader: &Self) {
        *self = Self {
            read_at: self.read_at,
            lake_open_files: self.lake_open_files,
            lake_oldest: self.lake_oldest,
            files_pending: self.files_pending,
            unloaded_since: self.unloaded_since,
            ..reader.clone()
        };
    }
}

/// Exposes where a partition stands; one that was left stands at the default.
pub fn partition_stands(partition: u32, standing: &Standing) {
    let label = || [partition.to_string().into()];
    READ_TIMESTAMP.set(label(), standing.read_at);
    WATERMARK.set(label(), standing.watermark);
    CLOCK_SKEW.set(label(), standing.skew);
    ROBOTS_STALE.set(label(), standing.stale as f64);
    INPUT_PAUSED.set(label(), f64::from(standing.is_paused));
    PARTITION_BUSY.set(label(), standing.busy);
    for (priority, open) in ["high", "medium", "low"]
        .into_iter()
        .zip(standing.conditions)
    {
        let labels = [partition.to_string().into(), priority.into()];
        ALERTS_ACTIVE.set(labels, open as f64);
    }
    LAKE_OPEN_FILES.set(label(), standing.lake_open_files as f64);
    LAKE_OLDEST_UNCOMMITTED.set(label(), standing.lake_oldest);
    WAREHOUSE_FILES_PENDING.set(label(), standing.files_pending as f64);
    WAREHOUSE_OLDEST_UNLOADED.set(label(), standing.unloaded_since);
}
