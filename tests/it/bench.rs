//! The benchmarks on a real broker: what they find is what was recomputed, and they print what they
//! promise. Never how fast.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use theatre_tests::{run, servers};

fn report(arguments: &[&str]) -> Result<Value> {
    let data = tempfile::tempdir()?;
    let output = run(
        data.path(),
        &[&["--output", "json", "bench"], arguments].concat(),
    )?;
    serde_json::from_slice(&output.stdout).context("one JSON object")
}

#[test]
fn the_fleet_benchmark_on_kafka_finds_the_windows_and_alerts_of_a_recomputation() -> Result<()> {
    let (brokers, topic) = (servers::kafka()?, servers::unique("fleet"));
    let flags = [
        "fleet",
        "--brokers",
        &brokers,
        "--topic",
        &topic,
        "--robots",
        "50",
        "--partitions",
        "3",
    ];
    let first = report(&[&flags[..], &["--fill", "30000", "--lake", "off"]].concat())?;
    // The same topic again, by a deployment of its own, with a lake.
    let second = report(&[&flags[..], &["--aggregates", "sketch"]].concat())?;
    for report in [&first, &second] {
        ensure!(
            report["differences"].as_array().is_some_and(Vec::is_empty),
            "{report}"
        );
        ensure!(
            report["records"] == 30_050 && report["robots"] == 50 && report["partitions"] == 3,
            "{report}"
        );
        ensure!(
            report["windows"].as_u64() > Some(250) && report["alerts"].as_u64() > Some(2),
            "{report}"
        );
        let (whole, drain) = (&report["whole"], &report["bare_drain"]);
        ensure!(
            whole["records_per_s"].as_f64() > Some(0.0)
                && whole["cpu_s_per_million"].as_f64() > Some(0.0),
            "whole: {report}"
        );
        // So few records may be drained in less than the 10 ms in which the system counts CPU time.
        ensure!(
            drain["records_per_s"].as_f64() > Some(0.0) && drain["cpu_s_per_million"].is_f64(),
            "bare_drain: {report}"
        );
        ensure!(
            report["peak_mib"].as_u64() > Some(0) && report["machine"].is_string(),
            "{report}"
        );
    }
    ensure!(first["lake"] == "off" && second["lake"] == "folder");
    Ok(())
}

#[test]
fn every_record_that_crosses_the_limit_is_heard_of() -> Result<()> {
    let brokers = servers::kafka()?;
    let report = report(&[
        "latency",
        "--brokers",
        &brokers,
        "--rate",
        "500",
        "--robots",
        "50",
        "--alerts-per-second",
        "3",
        "--for",
        "4s",
    ])?;
    ensure!(
        report["alerts"].as_u64() > Some(5) && report["missing"] == 0,
        "{report}"
    );
    let figures = [
        "p50_ms",
        "p99_ms",
        "max_ms",
        "store_ms",
        "relay_ms",
        "fetch_and_rest_ms",
    ];
    ensure!(
        figures.iter().all(|figure| report[figure].is_f64()),
        "{report}"
    );
    let [p50, p99, max] =
        [0, 1, 2].map(|index| report[figures[index]].as_f64().unwrap_or_default());
    ensure!(0.0 < p50 && p50 <= p99 && p99 <= max, "{report}");
    Ok(())
}

#[test]
fn the_interface_answers_all_pages_and_every_listener_of_its_benchmark() -> Result<()> {
    let report = report(&[
        "api",
        "--robots",
        "250",
        "--pages-per-second",
        "20",
        "--load",
        "100",
        "--records",
        "2000",
        "--listeners",
        "20",
        "--alerts-per-second",
        "2",
        "--for",
        "3s",
    ])?;
    let pages = &report["pages"];
    ensure!(
        pages["pages"].as_u64() > Some(40) && pages["failed"] == 0 && pages["p99_ms"].is_f64(),
        "{report}"
    );
    ensure!(report["streams"]["missing"] == 0, "{report}");
    Ok(())
}
