//! Every metric of the runtime: defined once, emitted by small functions.
//!
//! What a metric is called, what kind it is and what labels it has stands in its definition only;
//! see [`theatre_actors::metrics`] for the conventions.

use theatre_actors::define_metrics;
use theatre_actors::metrics::Metric;

define_metrics! {
    /// What the runtime emits.
    const RUNTIME;
    BUILD_INFO: Gauge(
        "theatre_build_info", "info", ["version"],
        "1, labelled with the version"
    );
    RECORDS_IN: Counter(
        "theatre_records_in_total", "records", ["partition"],
        "Records read, by partition"
    );
    RECORDS_LATE: Counter(
        "theatre_records_late_total", "records", ["topic"],
        "Records beyond the allowed lateness, by topic"
    );
    RECORDS_WRONG_PARTITION: Counter(
        "theatre_records_wrong_partition_total", "records", ["topic"],
        "Records of robots whose home is another partition, by topic"
    );
    RECORDS_OUT: Counter(
        "theatre_records_out_total", "records", ["lane"],
        "Records published, by lane"
    );
    RECORDS_PARKED: Counter(
        "theatre_records_parked_total", "records", ["lane"],
        "Records that cannot be published, or written to the lake, and that stay in the store, by \
         lane"
    );
    DEAD_LETTERS: Counter(
        "theatre_dlq_records_total", "records", ["reason"],
        "Records dead-lettered, by reason"
    );
    PARTITION_OWNED: Gauge(
        "theatre_partition_owned", "partitions", ["partition"],
        "1 while this process owns the partition, 0 once it has left it"
    );
    CONSUMER_LAG: Gauge(
        "theatre_consumer_lag_records", "records", ["partition"],
        "Records not yet read, by partition"
    );
    EVENT_TIME_LAG: Gauge(
        "theatre_event_time_lag_seconds", "seconds", ["partition"],
        "Wall clock less the event time of the last telemetry record read, by partition"
    );
    CONSUMER_STALLS: Counter(
        "theatre_consumer_stalls_total", "readers", ["topic"],
        "Readers given up because nothing came though there were records, by topic"
    );
    REBALANCES: Counter(
        "theatre_kafka_rebalances_total", "rebalances", ["what"],
        "Times that partitions came or went, by what happened"
    );
    ALERT_TRANSITIONS: Counter(
        "theatre_alert_transitions_total", "transitions", [],
        "Conditions that moved, as committed"
    );
    ACTORS_LIVE: Gauge(
        "theatre_actors_live", "actors", ["actor_type"],
        "Live processors"
    );
    ACTOR_RESTARTS: Counter(
        "theatre_actor_restarts_total", "restarts", ["actor_type"],
        "Processors rebuilt after a panic"
    );
    CHECKPOINT_DURATION: Histogram(
        "theatre_checkpoint_duration_seconds", "seconds", [],
        "Time of one commit"
    );
    CHECKPOINT_BYTES: Histogram(
        "theatre_checkpoint_bytes", "bytes", [],
        "Size of one commit"
    );
    CHECKPOINT_LAST_SUCCESS: Gauge(
        "theatre_checkpoint_last_success_timestamp_seconds", "seconds", [],
        "End of the last commit, Unix time"
    );
    CHECKPOINT_FAILURES: Counter(
        "theatre_checkpoint_failures_total", "commits", [],
        "Commits that failed and are tried again"
    );
    LAKE_FILE_BYTES: Histogram(
        "theatre_lake_file_bytes", "bytes", ["dataset"],
        "Size of a completed lake file, by dataset"
    );
    LAKE_FILE_ROWS: Histogram(
        "theatre_lake_file_rows", "rows", ["dataset"],
        "Rows of a completed lake file, by dataset"
    );
    LAKE_FILES_LOST: Counter(
        "theatre_lake_files_lost_total", "files", ["dataset"],
        "Lake files set aside because their uploads are gone, by dataset"
    );
    WAREHOUSE_ROWS_LOADED: Counter(
        "theatre_warehouse_rows_loaded_total", "rows", ["table"],
        "Rows loaded, by table"
    );
    WAREHOUSE_LOAD_FAILURES: Counter(
        "theatre_warehouse_load_failures_total", "files", ["class"],
        "Files refused, by class"
    );
}

/// Every metric of the runtime and of the actors, in order of name.
pub fn catalogue() -> Vec<Metric> {
    let mut all = [RUNTIME, theatre_actors::metrics::CATALOGUE].concat();
    all.sort_by_key(|metric| metric.name);
    all
}

/// Describes the catalogue to the recorder.
pub fn describe() {
    catalogue().iter().for_each(Metric::describe);
    BUILD_INFO.set([env!("CARGO_PKG_VERSION").into()], 1.0);
    metrics_process::Collector::default().describe();
}

/// Records were read.
pub fn records_in(partition: u32, records: u64) {
    RECORDS_IN.increment([partition.to_string().into()], records);
}

/// A reader brought nothing though there were records.
pub fn consumer_stalled(topic: &str) {
    CONSUMER_STALLS.increment([topic.to_owned().into()], 1);
}

/// Partitions came or went.
pub fn rebalanced(what: &'static str) {
    REBALANCES.increment([what.into()], 1);
}

/// A record was too late.
pub fn record_late(topic: &str) {
    RECORDS_LATE.increment([topic.to_owned().into()], 1);
}

/// A record's robot is at home in another partition.
pub fn wrong_partition(topic: &str) {
    RECORDS_WRONG_PARTITION.increment([topic.to_owned().into()], 1);
}

/// Records were published.
pub fn records_out(lane: &'static str, records: u64) {
    RECORDS_OUT.increment([lane.into()], records);
}

/// A record cannot be published, or written to the lake, for good.
pub fn record_parked(lane: &'static str) {
    RECORDS_PARKED.increment([lane.into()], 1);
}

/// A record was dead-lettered.
pub fn dead_letter(reason: &'static str) {
    DEAD_LETTERS.increment([reason.into()], 1);
}

/// A partition was taken or left; what is left lags no more here.
pub fn partition_owned(partition: u32, owned: bool) {
    PARTITION_OWNED.set([partition.to_string().into()], f64::from(owned));
    if !owned {
        CONSUMER_LAG.set([partition.to_string().into()], 0.0);
    }
}

/// How many records of a partition are not read yet.
pub fn partition(partition: u32, lag_records: u64) {
    CONSUMER_LAG.set([partition.to_string().into()], lag_records as f64);
}

/// How far a partition's telemetry is behind the wall clock.
pub fn event_time_lag(partition: u32, seconds: f64) {
    EVENT_TIME_LAG.set([partition.to_string().into()], seconds);
}

/// Conditions moved.
pub fn alert_transitions(count: u64) {
    ALERT_TRANSITIONS.increment([], count);
}

/// Live processors.
pub fn actors_live(processors: u64) {
    ACTORS_LIVE.set(["processor".into()], processors as f64);
}

/// A processor was rebuilt.
pub fn actor_restarted() {
    ACTOR_RESTARTS.increment(["processor".into()], 1);
}

/// A commit ended at Unix time `at`.
pub fn checkpoint_done(seconds: f64, bytes: usize, at: f64) {
    CHECKPOINT_DURATION.record([], seconds);
    CHECKPOINT_BYTES.record([], bytes as f64);
    CHECKPOINT_LAST_SUCCESS.set([], at);
}

/// A commit failed.
pub fn checkpoint_failed() {
    CHECKPOINT_FAILURES.increment([], 1);
}

/// A lake file was completed.
pub fn lake_file(dataset: &str, bytes: u64, rows: u64) {
    LAKE_FILE_BYTES.record([dataset.to_owned().into()], bytes as f64);
    LAKE_FILE_ROWS.record([dataset.to_owned().into()], rows as f64);
}

/// A lake file was set aside: its upload is gone.
pub fn lake_file_lost(dataset: &str) {
    LAKE_FILES_LOST.increment([dataset.to_owned().into()], 1);
}

/// Rows were loaded.
pub fn warehouse_loaded(table: &str, rows: u64) {
    WAREHOUSE_ROWS_LOADED.increment([table.to_owned().into()], rows);
}

/// A file was refused.
pub fn warehouse_load_failed(class: &'static str) {
    WAREHOUSE_LOAD_FAILURES.increment([class.into()], 1);
}

#[cfg(test)]
mod tests {
    use theatre_actors::metrics::Kind;

    use super::catalogue;

    #[test]
    fn names_follow_the_conventions_and_are_there_once() {
        let mut names: Vec<&str> = catalogue().iter().map(|metric| metric.name).collect();
        for metric in catalogue() {
            let name = metric.name;
            assert!(
                name.starts_with("theatre_") && !metric.help.is_empty(),
                "{name}"
            );
            assert_eq!(
                metric.kind == Kind::Counter,
                name.ends_with("_total"),
                "{name}"
            );
            for unit in ["seconds", "bytes"] {
                assert_eq!(metric.unit == unit, name.ends_with(unit), "{name}");
            }
        }
        names.dedup();
        assert_eq!(names.len(), catalogue().len());
    }
}
