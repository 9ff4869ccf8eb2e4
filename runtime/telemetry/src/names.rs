//! Every metric of the runtime: defined once, emitted by small functions.
//!
//! What a metric is called, what kind it is and what labels it has stands in its definition only;
//! see [`theatre_actors::metrics`] for the conventions.

mod notifications;
mod standing;

use theatre_actors::define_metrics;
use theatre_actors::metrics::Metric;
use theatre_actors::outputs::{DeadReason, Tally};
use theatre_actors::ports::Lane;

pub use notifications::{
    notification_delivered, notification_failed, notification_undelivered, notifications_begin,
    notifications_wait,
};
pub use standing::{Standing, partition_stands};

define_metrics! {
    /// What the runtime emits.
    const RUNTIME;
    BUILD_INFO: Gauge(
        "theatre_build_info", "info", ["version"],
        "1, labelled with the version"
    );
    CONFIG_INFO: Gauge(
        "theatre_config_info", "info", ["hash"],
        "1, labelled with a hash of the effective configuration: processes that share work have \
         the same"
    );
    UNREADY_REASONS: Gauge(
        "theatre_unready_reasons", "reasons", [],
        "Reasons for which readiness answers 503, 0 while it answers 200"
    );
    COMPONENTS_TROUBLED: Gauge(
        "theatre_components_troubled", "components", ["component"],
        "Components whose last step failed, by what they do"
    );
    RECORDS_IN: Counter(
        "theatre_records_in_total", "records", ["partition"],
        "Records read, by partition"
    );
    RECORDS_LATE: Counter(
        "theatre_records_late_total", "records", ["topic"],
        "Records beyond the allowed lateness, by topic"
    );
    RECORDS_DUPLICATE: Counter(
        "theatre_records_duplicate_total", "records", ["topic"],
        "Records that were seen before and are dropped, by topic"
    );
    RECORDS_GAP: Counter(
        "theatre_records_gap_total", "records", ["topic"],
        "Records found missing by the sequence numbers around them, by topic; those that come late \
         are not taken off"
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
    READ_TIMESTAMP: Gauge(
        "theatre_read_timestamp_seconds", "seconds", ["partition"],
        "Append time of the last record read, Unix time, by partition; 0 before the first"
    );
    WATERMARK: Gauge(
        "theatre_watermark_timestamp_seconds", "seconds", ["partition"],
        "Event time of the last telemetry record read less the reorder bound, Unix time, by \
         partition; 0 before the first"
    );
    CLOCK_SKEW: Gauge(
        "theatre_clock_skew_seconds", "seconds", ["partition"],
        "How far event times are ahead of append times at most, in rows sampled from the last \
         telemetry read, by partition; negative where all of them are behind"
    );
    ROBOTS_STALE: Gauge(
        "theatre_robots_stale", "robots", ["partition"],
        "Robots that are silent, by partition; judged only at the log's end"
    );
    INPUT_PAUSED: Gauge(
        "theatre_input_paused", "partitions", ["partition"],
        "1 while the partition does not read on because what it has read is not saved, or not \
         taken by the lake writer, yet"
    );
    PARTITION_BUSY: Gauge(
        "theatre_partition_busy_ratio", "ratio", ["partition"],
        "Share of the last 10 seconds or more in which the partition read, applied and saved \
         instead of waiting for something to do"
    );
    RECOMMENDED_REPLICAS: Gauge(
        "theatre_recommended_replicas", "processes", [],
        "Processes that the partitions of this process need, as a fraction: summed over all \
         processes and rounded up, how many to run"
    );
    RESTORE_PROGRESS: Gauge(
        "theatre_restore_progress_ratio", "ratio", ["partition"],
        "Share of the stored processors that are restored since the partition was taken, by \
         partition; 1 once it reads"
    );
    END_TO_END_LATENCY: Histogram(
        "theatre_end_to_end_latency_seconds", "seconds", ["stage"],
        "Time since a record was appended to the log, by stage: read (the last record of a batch), \
         commit and publish (alerts and outcomes that it caused), lake (the oldest row of files \
         that are registered)"
    );
    CONSUMER_STALLS: Counter(
        "theatre_consumer_stalls_total", "readers", ["topic"],
        "Readers given up because nothing came though there were records, by topic"
    );
    REBALANCES: Counter(
        "theatre_kafka_rebalances_total", "rebalances", ["what"],
        "Times that partitions came or went, by what happened"
    );
    KAFKA_AUTH_FAILURES: Counter(
        "theatre_kafka_auth_failures_total", "connections", ["cause"],
        "Connections to a broker that failed for good reasons, by cause: credentials, \
         client_certificate, broker_certificate"
    );
    ALERT_TRANSITIONS: Counter(
        "theatre_alert_transitions_total", "transitions", ["to"],
        "Transitions of conditions, by what they became: raised, updated, cleared, acknowledged, \
         silenced and so on"
    );
    SHADOW_TRANSITIONS: Counter(
        "theatre_shadow_transitions_total", "transitions", ["to"],
        "Transitions of conditions of rules in the shadow, which are sent to no one, by what they became"
    );
    ALERTS_ACTIVE: Gauge(
        "theatre_alerts_active", "conditions", ["partition", "priority"],
        "Conditions that are open, by partition and priority"
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
    LAKE_OPEN_FILES: Gauge(
        "theatre_lake_open_files", "files", ["partition"],
        "Lake files that are being written, by partition"
    );
    LAKE_OLDEST_UNCOMMITTED: Gauge(
        "theatre_lake_oldest_uncommitted_timestamp_seconds", "seconds", ["partition"],
        "Append time of the oldest record that is in no registered lake file, Unix time, by \
         partition; 0 while there is none"
    );
    LAKE_UPLOAD_FAILURES: Counter(
        "theatre_lake_upload_failures_total", "calls", ["step"],
        "Calls to the lake that failed and are tried again, by step: write, export, complete"
    );
    WAREHOUSE_ROWS_LOADED: Counter(
        "theatre_warehouse_rows_loaded_total", "rows", ["table"],
        "Rows loaded, by table"
    );
    WAREHOUSE_LOAD_FAILURES: Counter(
        "theatre_warehouse_load_failures_total", "loads", ["class"],
        "Loads that failed, by class: file (a file is refused and set aside), refused (the \
         warehouse refuses the load), unavailable (it does not answer)"
    );
    WAREHOUSE_LOAD_DURATION: Histogram(
        "theatre_warehouse_load_duration_seconds", "seconds", [],
        "Time of one load that succeeded"
    );
    WAREHOUSE_FILES_PENDING: Gauge(
        "theatre_warehouse_files_pending", "files", ["partition"],
        "Completed lake files that are not loaded, by partition; at most 1,000 are counted"
    );
    WAREHOUSE_OLDEST_UNLOADED: Gauge(
        "theatre_warehouse_oldest_unloaded_timestamp_seconds", "seconds", ["partition"],
        "Since when the oldest completed lake file waits to be loaded, as this process has seen it, \
         Unix time, by partition; 0 while none waits"
    );
    NOTIFICATIONS_DELIVERED: Counter(
        "theatre_notifications_delivered_total", "notifications", ["recipient"],
        "Transitions of conditions that a recipient has taken, by recipient"
    );
    NOTIFICATIONS_FAILED: Counter(
        "theatre_notifications_failed_total", "attempts", ["recipient"],
        "Deliveries that failed and are tried again, by recipient"
    );
    NOTIFICATIONS_UNDELIVERED: Counter(
        "theatre_notifications_undelivered_total", "notifications", ["recipient"],
        "Transitions that were set aside because a recipient refused them or was away for too \
         long, by recipient"
    );
    NOTIFICATIONS_WAIT: Gauge(
        "theatre_notifications_oldest_waiting_timestamp_seconds", "seconds",
        ["partition", "recipient"],
        "When the oldest transition was saved that a recipient has not taken though it was tried, \
         Unix time, by partition and recipient; 0 while there is none"
    );
    TRACES_EXPORTED: Counter(
        "theatre_traces_exported_total", "traces", [],
        "Traces that the collector has taken"
    );
    TRACES_DROPPED: Counter(
        "theatre_traces_dropped_total", "traces", ["cause"],
        "Traces that were chosen and then dropped, by cause: queue (the exporter is behind), \
         collector (it refuses them, or does not answer)"
    );
    RECONCILE_GAP: Gauge(
        "theatre_reconcile_gap_records", "records", [],
        "Records that are lost or there twice, as `theatre reconcile --metrics-file` found"
    );
    RECONCILE_LAST_RUN: Gauge(
        "theatre_reconcile_last_run_timestamp_seconds", "seconds", [],
        "When `theatre reconcile --metrics-file` last ended, Unix time"
    );
}

/// Every metric of the runtime and of the actors, in order of name.
pub fn catalogue() -> Vec<Metric> {
    let mut all = [
        RUNTIME,
        theatre_actors::metrics::CATALOGUE,
        crate::series::CATALOGUE,
        crate::rule_file::CATALOGUE,
        crate::disk::CATALOGUE,
        crate::http::CATALOGUE,
        crate::tables::CATALOGUE,
    ]
    .concat();
    all.sort_by_key(|metric| metric.name);
    all
}

/// Describes the catalogue to the recorder.
pub fn describe() {
    catalogue().iter().for_each(Metric::describe);
    BUILD_INFO.set([env!("CARGO_PKG_VERSION").into()], 1.0);
    metrics_process::Collector::default().describe();
}

/// A pipeline begins, on these input topics, with or without a lake and a warehouse. Counters whose
/// labels are known begin at 0: the first count of a series that was not there before is no growth
/// to Prometheus.
pub fn begin(topics: &[String], lake: bool, warehouse: bool) {
    for topic in topics {
        RECORDS_WRONG_PARTITION.increment([topic.to_owned().into()], 0);
        CONSUMER_STALLS.increment([topic.to_owned().into()], 0);
    }
    for reason in DeadReason::ALL {
        DEAD_LETTERS.increment([reason.as_str().into()], 0);
    }
    for lane in Lane::ALL {
        RECORDS_PARKED.increment([lane.as_str().into()], 0);
        RECORDS_OUT.increment([lane.as_str().into()], 0);
    }
    alert_transitions(&Tally::default());
    shadow_transitions(&Tally::default());
    ACTOR_RESTARTS.increment(["processor".into()], 0);
    CHECKPOINT_FAILURES.increment([], 0);
    traces_exported(0);
    for cause in ["queue", "collector"] {
        traces_dropped(cause, 0);
    }
    if lake {
        RECORDS_PARKED.increment(["lake".into()], 0);
        for step in ["write", "export", "complete"] {
            LAKE_UPLOAD_FAILURES.increment([step.into()], 0);
        }
    }
    if warehouse {
        for class in ["file", "refused", "unavailable"] {
            WAREHOUSE_LOAD_FAILURES.increment([class.into()], 0);
        }
    }
}

/// A process joins the members of a log on Kafka; its counters begin at 0, likewise.
pub fn kafka_joined() {
    for what in ["assigned", "lost", "revoked"] {
        REBALANCES.increment([what.into()], 0);
    }
    for cause in ["credentials", "client_certificate", "broker_certificate"] {
        KAFKA_AUTH_FAILURES.increment([cause.into()], 0);
    }
}

/// The collector has taken traces.
pub fn traces_exported(traces: u64) {
    TRACES_EXPORTED.increment([], traces);
}

/// Traces were dropped.
pub fn traces_dropped(cause: &'static str, traces: u64) {
    TRACES_DROPPED.increment([cause.into()], traces);
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

/// The effective configuration has this hash.
pub fn config(hash: &str) {
    CONFIG_INFO.set([hash.to_owned().into()], 1.0);
}

/// Readiness has so many reasons to answer 503.
pub fn unready(reasons: usize) {
    UNREADY_REASONS.set([], reasons as f64);
}

/// So many components of a kind are in trouble.
pub fn troubled(component: &str, count: usize) {
    COMPONENTS_TROUBLED.set([component.to_owned().into()], count as f64);
}

/// Records were seen before, or found missing.
pub fn records_seen(topic: &str, duplicates: u64, missing: u64) {
    RECORDS_DUPLICATE.increment([topic.to_owned().into()], duplicates);
    RECORDS_GAP.increment([topic.to_owned().into()], missing);
}

/// A connection to a broker failed for a reason that does not pass by itself.
pub fn kafka_auth_failed(cause: &'static str) {
    KAFKA_AUTH_FAILURES.increment([cause.into()], 1);
}

/// What was appended so long ago has come to a stage.
pub fn end_to_end(stage: &'static str, seconds: f64) {
    END_TO_END_LATENCY.record([stage.into()], seconds);
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
        restore_progress(partition, 1.0);
    }
}

/// So large a part of a partition that was taken is restored.
pub fn restore_progress(partition: u32, ratio: f64) {
    RESTORE_PROGRESS.set([partition.to_string().into()], ratio);
}

/// So many processes would do for the partitions of this one.
pub fn recommended_replicas(processes: f64) {
    RECOMMENDED_REPLICAS.set([], processes);
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
pub fn alert_transitions(tally: &Tally) {
    for (to, count) in tally.transitions_by_name() {
        ALERT_TRANSITIONS.increment([to.into()], count);
    }
}

/// Conditions of rules in the shadow moved.
pub fn shadow_transitions(tally: &Tally) {
    for (to, count) in tally.shadow_transitions_by_name() {
        SHADOW_TRANSITIONS.increment([to.into()], count);
    }
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

/// A call to the lake failed and is tried again.
pub fn lake_upload_failed(step: &'static str) {
    LAKE_UPLOAD_FAILURES.increment([step.into()], 1);
}

/// Rows were loaded within so many seconds.
pub fn warehouse_loaded(table: &str, rows: u64, seconds: f64) {
    WAREHOUSE_ROWS_LOADED.increment([table.to_owned().into()], rows);
    WAREHOUSE_LOAD_DURATION.record([], seconds);
}

/// A load failed.
pub fn warehouse_load_failed(class: &'static str) {
    WAREHOUSE_LOAD_FAILURES.increment([class.into()], 1);
}

/// What `theatre reconcile` found, at Unix time `at`.
pub fn reconciled(gap_records: u64, at: f64) {
    RECONCILE_GAP.set([], gap_records as f64);
    RECONCILE_LAST_RUN.set([], at);
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
