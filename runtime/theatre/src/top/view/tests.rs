//! Numbers of two samples, and how they are laid out.

use super::*;

const READY: &str = r#"{"ready":true,"reasons":[],"notices":[]}"#;

fn metrics(records: u64, cpu: f64) -> String {
    format!(
        "theatre_build_info{{version=\"0.1.0\"}} 1\nprocess_resident_memory_bytes 52428800\n\
         process_cpu_seconds_total {cpu}\nprocess_start_time_seconds 80\ntheatre_records_in_total{{partition=\"0\"}} {records}\n\
         theatre_records_in_total{{partition=\"1\"}} 8\ntheatre_checkpoint_duration_seconds_count 4\n\
         theatre_checkpoint_last_success_timestamp_seconds 98.5\n\
         theatre_alerts_active{{partition=\"0\",priority=\"high\"}} 1\n\
         theatre_alerts_active{{partition=\"1\",priority=\"high\"}} 2\n\
         theatre_alerts_active{{partition=\"1\",priority=\"low\"}} 3\n\
         theatre_dlq_records_total{{reason=\"late\"}} 5\ntheatre_lake_open_files{{partition=\"0\"}} 3\n\
         theatre_warehouse_files_pending{{partition=\"0\"}} 0\n\
         theatre_consumer_lag_records{{partition=\"0\"}} 7\n\
         theatre_watermark_timestamp_seconds{{partition=\"0\"}} 40\n\
         theatre_watermark_timestamp_seconds{{partition=\"1\"}} 0\n\
         theatre_restore_progress_ratio{{partition=\"1\"}} 0.4\n\
         theatre_partition_busy_ratio{{partition=\"0\"}} 0.25\n"
    )
}

const PARTITIONS: &str = r#"[
    {"partition":0,"phase":"running","epoch":3,"processors":12,"unsaved_records":40,"saved_at_us":99000000},
    {"partition":1,"phase":"acquiring","epoch":0,"processors":0,"unsaved_records":0,"saved_at_us":0}]"#;

fn sample(at_s: i64, records: u64, cpu: f64) -> Sample {
    Sample::of(at_s * 1_000_000, &metrics(records, cpu), READY, PARTITIONS)
}

#[test]
fn rates_are_of_two_samples_and_ages_of_the_last() {
    let (before, now) = (sample(98, 100, 1.0), sample(100, 1100, 5.0));
    let of = |earlier: &[Sample]| ProcessView::of("127.0.0.1:9464", &now, earlier);
    let view = of(std::slice::from_ref(&before));
    assert_eq!(view.records_per_second, Some(500.0));
    assert_eq!(view.commits_per_second, Some(0.0));
    assert_eq!(view.cpu, Some(0.25), "since it started");
    assert_eq!(of(&[sample(85, 1, 2.0), before]).cpu, Some(0.2));
    assert_eq!(view.saved_seconds_ago, Some(1.5));
    assert_eq!(view.alerts, [3.0, 0.0, 3.0]);
    assert_eq!(view.lake_files, None, "no file was completed");
    let [first, second] = &view.partitions[..] else {
        panic!("{view:?}")
    };
    assert_eq!(first.records_per_second, Some(500.0));
    assert_eq!(first.watermark_age_seconds, Some(60.0));
    assert_eq!((first.phase.as_str(), first.epoch), ("running", 3));
    assert_eq!(second.phase, "restoring 40 %");
    assert_eq!(second.watermark_age_seconds, None);
    assert_eq!(second.saved_seconds_ago, None);
    // A process that began anew counts from 0.
    let anew = ProcessView::of("a", &sample(102, 50, 0.0), std::slice::from_ref(&now));
    assert_eq!(anew.partitions[0].records_per_second, Some(25.0));
    // One sample has no rates.
    assert_eq!(of(&[]).records_per_second, None);
}

#[test]
fn a_process_is_laid_out_in_lines() {
    let (before, now) = (sample(98, 100, 1.0), sample(100, 1100, 5.0));
    let mut view = ProcessView::of("127.0.0.1:9464", &now, &[before]);
    view.reasons = vec!["relay 1: the event log is unavailable".to_owned()];
    view.ready = false;
    let wanted = "\
theatre 0.1.0 at 127.0.0.1:9464: NOT READY
  memory 50 MiB  cpu 25 %  records 500/s  commits 0/s  saved 1.5 s ago
  alerts 3 high, 0 medium, 3 low  dead letters 5  lake files 3 open, - completed  loads pending 0
  not ready: relay 1: the event log is unavailable
  partition  phase           epoch  robots  records/s  lag  watermark  unsaved  saved  busy
          0  running             3      12        500    7     60.0 s       40  1.0 s  25 %
          1  restoring 40 %      0       0          0    -          -        0      -     -";
    assert_eq!(lines(&view).join("\n"), wanted);
}

#[test]
fn a_paused_partition_is_called_so_and_other_answers_show_nothing() {
    let paused = format!(
        "{}theatre_input_paused{{partition=\"0\"}} 1\n",
        metrics(1, 0.0)
    );
    let now = Sample::of(100_000_000, &paused, READY, PARTITIONS);
    assert_eq!(
        ProcessView::of("a", &now, &[]).partitions[0].phase,
        "paused"
    );
    let other = Sample::of(1, "<html>", "not here", "[1, {}]");
    let shown = lines(&ProcessView::of("a", &other, &[])).join("\n");
    assert!(
        shown.contains("of another kind") && shown.contains("no partition"),
        "{shown}"
    );
}

#[test]
fn spans_and_numbers_are_short() {
    let spans = [0.04, 99.94, 120.0, 7_200.0, 864_000.0].map(|seconds| span(Some(seconds)));
    assert_eq!(spans, ["0.0 s", "99.9 s", "2 min", "2 h", "10 d"]);
    let numbers = [0.0, 1.25, 99.95, 123.4, 1e6].map(|value| number(Some(value)));
    assert_eq!(numbers, ["0", "1.2", "100.0", "123", "1000000"]);
}

#[test]
fn what_conditions_did_is_shown_in_the_order_of_their_lives() {
    let moved = format!(
        "{}theatre_alert_transitions_total{{to=\"acknowledged\"}} 2\n\
         theatre_alert_transitions_total{{to=\"silenced\"}} 0\n\
         theatre_alert_transitions_total{{to=\"raised\"}} 12\n",
        metrics(1, 0.0)
    );
    let now = Sample::of(100_000_000, &moved, READY, PARTITIONS);
    let shown = lines(&ProcessView::of("a", &now, &[])).join("\n");
    assert!(
        shown.contains("  conditions since the start: 12 raised, 2 acknowledged\n"),
        "{shown}"
    );
}
