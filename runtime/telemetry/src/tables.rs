//! What is emitted of the tables that people read, by partition.

use theatre_actors::define_metrics;

define_metrics! {
    /// What is emitted of the tables.
    pub(crate) const CATALOGUE;
    WAITING: Gauge(
        "theatre_tables_oldest_waiting_timestamp_seconds", "seconds", ["partition"],
        "When the oldest output was committed that is not in the store's tables for people, Unix \
         time, by partition; 0 while none waits"
    );
    ROWS: Counter(
        "theatre_tables_rows_total", "rows", ["table"],
        "Rows written into the store's tables for people, by table"
    );
}

/// The oldest output of a partition that is not in the tables was committed then, Unix time in
/// seconds; 0: there is none.
pub fn wait(partition: u32, since: f64) {
    WAITING.set([partition.to_string().into()], since);
}

/// Rows were written.
pub fn written(table: &'static str, rows: u64) {
    ROWS.increment([table.into()], rows);
}
