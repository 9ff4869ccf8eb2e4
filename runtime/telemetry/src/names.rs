//! Every metric of the runtime: name, kind and help in one place, emitted by small functions.
//!
//! Names: prefix `theatre_`, base units, one quantity each. Labels are bounded: topic, partition,
//! lane, reason, dataset; never a robot, a procedure or an offset.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution.
    Histogram,
}

/// The catalogue.
pub const CATALOGUE: &[(&str, Kind, &str)] = &[
    (
        "theatre_build_info",
        Kind::Gauge,
        "1, labelled with the version",
    ),
    (
        "theatre_records_in_total",
        Kind::Counter,
        "Records read, by partition",
    ),
    (
        "theatre_records_late_total",
        Kind::Counter,
        "Records beyond the allowed lateness, by topic",
    ),
    (
        "theatre_records_wrong_partition_total",
        Kind::Counter,
        "Records of robots whose home is another partition, by topic",
    ),
    (
        "theatre_records_out_total",
        Kind::Counter,
        "Records published, by lane",
    ),
    (
        "theatre_records_parked_total",
        Kind::Counter,
        "Records that cannot be published, or written to the lake, and that stay in the store, by lane",
    ),
    (
        "theatre_dlq_records_total",
        Kind::Counter,
        "Records dead-lettered, by reason",
    ),
    (
        "theatre_partition_owned",
        Kind::Gauge,
        "1 while this process owns the partition, 0 once it has left it",
    ),
    (
        "theatre_consumer_lag_records",
        Kind::Gauge,
        "Records not yet read, by partition",
    ),
    (
        "theatre_event_time_lag_seconds",
        Kind::Gauge,
        "Wall clock less the event time of the last telemetry record read, by partition",
    ),
    (
        "theatre_consumer_stalls_total",
        Kind::Counter,
        "Readers given up because nothing came though there were records, by topic",
    ),
    (
        "theatre_kafka_rebalances_total",
        Kind::Counter,
        "Times that partitions came or went, by what happened",
    ),
    (
        "theatre_alert_transitions_total",
        Kind::Counter,
        "Conditions that moved, as committed",
    ),
    ("theatre_actors_live", Kind::Gauge, "Live processors"),
    (
        "theatre_actor_restarts_total",
        Kind::Counter,
        "Processors rebuilt after a panic",
    ),
    (
        "theatre_mailbox_depth_messages",
        Kind::Gauge,
        "Messages in mailboxes, by actor type and lane",
    ),
    (
        "theatre_step_duration_seconds",
        Kind::Histogram,
        "Time of one message, by actor type",
    ),
    (
        "theatre_checkpoint_duration_seconds",
        Kind::Histogram,
        "Time of one commit",
    ),
    (
        "theatre_checkpoint_bytes",
        Kind::Histogram,
        "Size of one commit",
    ),
    (
        "theatre_checkpoint_last_success_timestamp_seconds",
        Kind::Gauge,
        "End of the last commit, Unix time",
    ),
    (
        "theatre_checkpoint_failures_total",
        Kind::Counter,
        "Commits that failed and are tried again",
    ),
    (
        "theatre_lake_file_bytes",
        Kind::Histogram,
        "Size of a completed lake file, by dataset",
    ),
    (
        "theatre_lake_file_rows",
        Kind::Histogram,
        "Rows of a completed lake file, by dataset",
    ),
    (
        "theatre_lake_files_lost_total",
        Kind::Counter,
        "Lake files set aside because their uploads are gone, by dataset",
    ),
    (
        "theatre_warehouse_rows_loaded_total",
        Kind::Counter,
        "Rows loaded, by table",
    ),
    (
        "theatre_warehouse_load_failures_total",
        Kind::Counter,
        "Files refused, by class",
    ),
];

/// Describes the catalogue to the recorder.
pub fn describe() {
    for (name, kind, help) in CATALOGUE {
        match kind {
            Kind::Counter => describe_counter!(*name, *help),
            Kind::Gauge => describe_gauge!(*name, *help),
            Kind::Histogram => describe_histogram!(*name, *help),
        }
    }
    gauge!("theatre_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics_process::Collector::default().describe();
}

/// Records were read.
pub fn records_in(partition: u32, records: u64) {
    counter!("theatre_records_in_total", "partition" => partition.to_string()).increment(records);
}

/// A reader brought nothing though there were records.
pub fn consumer_stalled(topic: &str) {
    counter!("theatre_consumer_stalls_total", "topic" => topic.to_owned()).increment(1);
}

/// Partitions came or went.
pub fn rebalanced(what: &'static str) {
    counter!("theatre_kafka_rebalances_total", "what" => what).increment(1);
}

/// A record was too late.
pub fn record_late(topic: &str) {
    counter!("theatre_records_late_total", "topic" => topic.to_owned()).increment(1);
}

/// A record's robot is at home in another partition.
pub fn wrong_partition(topic: &str) {
    counter!("theatre_records_wrong_partition_total", "topic" => topic.to_owned()).increment(1);
}

/// Records were published.
pub fn records_out(lane: &'static str, records: u64) {
    counter!("theatre_records_out_total", "lane" => lane).increment(records);
}

/// A record cannot be published, or written to the lake, for good.
pub fn record_parked(lane: &'static str) {
    counter!("theatre_records_parked_total", "lane" => lane).increment(1);
}

/// A record was dead-lettered.
pub fn dead_letter(reason: &'static str) {
    counter!("theatre_dlq_records_total", "reason" => reason).increment(1);
}

/// A partition was taken or left; what is left lags no more here.
pub fn partition_owned(partition: u32, owned: bool) {
    gauge!("theatre_partition_owned", "partition" => partition.to_string()).set(f64::from(owned));
    if !owned {
        gauge!("theatre_consumer_lag_records", "partition" => partition.to_string()).set(0.0);
    }
}

/// A partition's lag and processors.
pub fn partition(partition: u32, lag_records: u64) {
    gauge!("theatre_consumer_lag_records", "partition" => partition.to_string())
        .set(lag_records as f64);
}

/// How far a partition's telemetry is behind the wall clock.
pub fn event_time_lag(partition: u32, seconds: f64) {
    gauge!("theatre_event_time_lag_seconds", "partition" => partition.to_string()).set(seconds);
}

/// Conditions moved.
pub fn alert_transitions(count: u64) {
    counter!("theatre_alert_transitions_total").increment(count);
}

/// Live processors.
pub fn actors_live(processors: u64) {
    gauge!("theatre_actors_live", "actor_type" => "processor").set(processors as f64);
}

/// A processor was rebuilt.
pub fn actor_restarted() {
    counter!("theatre_actor_restarts_total", "actor_type" => "processor").increment(1);
}

/// A commit ended at Unix time `at`.
pub fn checkpoint_done(seconds: f64, bytes: usize, at: f64) {
    histogram!("theatre_checkpoint_duration_seconds").record(seconds);
    histogram!("theatre_checkpoint_bytes").record(bytes as f64);
    gauge!("theatre_checkpoint_last_success_timestamp_seconds").set(at);
}

/// A commit failed.
pub fn checkpoint_failed() {
    counter!("theatre_checkpoint_failures_total").increment(1);
}

/// A lake file was completed.
pub fn lake_file(dataset: &str, bytes: u64, rows: u64) {
    histogram!("theatre_lake_file_bytes", "dataset" => dataset.to_owned()).record(bytes as f64);
    histogram!("theatre_lake_file_rows", "dataset" => dataset.to_owned()).record(rows as f64);
}

/// A lake file was set aside: its upload is gone.
pub fn lake_file_lost(dataset: &str) {
    counter!("theatre_lake_files_lost_total", "dataset" => dataset.to_owned()).increment(1);
}

/// Rows were loaded.
pub fn warehouse_loaded(table: &str, rows: u64) {
    counter!("theatre_warehouse_rows_loaded_total", "table" => table.to_owned()).increment(rows);
}

/// A file was refused.
pub fn warehouse_load_failed(class: &'static str) {
    counter!("theatre_warehouse_load_failures_total", "class" => class).increment(1);
}

#[cfg(test)]
mod tests {
    use super::{CATALOGUE, Kind};

    #[test]
    fn names_follow_the_conventions_and_are_there_once() {
        let mut names: Vec<&str> = CATALOGUE.iter().map(|(name, ..)| *name).collect();
        for (name, kind, help) in CATALOGUE {
            assert!(name.starts_with("theatre_") && !help.is_empty(), "{name}");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn every_metric_that_is_emitted_is_in_the_catalogue() {
        let source = concat!(
            include_str!("names.rs"),
            include_str!("../../../actors/src/actix_host.rs")
        );
        let emitted = ["counter!(\"", "gauge!(\"", "histogram!(\""]
            .iter()
            .flat_map(|call| source.split(call).skip(1));
        for rest in emitted {
            let name = rest.split('"').next().unwrap();
            assert!(
                CATALOGUE.iter().any(|(known, ..)| *known == name)
                    || name.is_empty()
                    || name.starts_with(']')
                    || name == ", ",
                "{name}"
            );
        }
    }
}
