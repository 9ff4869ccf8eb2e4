//! What is emitted of the disk of the data directory.

use theatre_actors::define_metrics;

define_metrics! {
    /// What is emitted of the disk.
    pub(crate) const CATALOGUE;
    FREE: Gauge(
        "theatre_data_disk_free_bytes", "bytes", [],
        "What is free on the disk of the data directory"
    );
    SIZE: Gauge(
        "theatre_data_disk_size_bytes", "bytes", [],
        "Size of the disk of the data directory"
    );
}

/// The disk has so much room, of so much.
pub fn is(free: u64, size: u64) {
    FREE.set([], free as f64);
    SIZE.set([], size as f64);
}
