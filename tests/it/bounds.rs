//! Memory stays bounded whatever lies behind in the log, and the benchmark's own recomputation
//! agrees.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, OutputFilter};
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::store::EmbeddedStore;
use theatre_tests::{run, theatre};

/// Most memory of the process, MiB.
const MEMORY_MIB: u64 = 512;

/// The most memory a process has held so far, MiB; nothing once it has ended.
fn peak_mib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()?
            / 1024,
    )
}

#[test]
fn a_thousand_robots_with_a_full_log_behind_them_and_an_hour_of_lateness_fit_in_512_mib()
-> Result<()> {
    let data = tempfile::tempdir()?;
    let config = data.path().join("theatre.toml");
    std::fs::write(
        &config,
        "silence_after = \"1d\"\nallowed_lateness = \"1h\"\n",
    )?;
    run(
        data.path(),
        &[
            "simulate",
            "--profile",
            "fleet",
            "--robots",
            "1000",
            "--records",
            "500000",
        ],
    )?;
    let flags = [
        "--config",
        &config.to_string_lossy(),
        "run",
        "--until-drained",
    ];
    let mut child = theatre(data.path(), &flags)?
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut peak = 0;
    let status = loop {
        peak = peak_mib(child.id()).unwrap_or(0).max(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    println!("peak {peak} MiB");
    ensure!(status.success(), "it ended with {status}");
    ensure!(peak > 0 && peak < MEMORY_MIB, "{peak} MiB");
    run(data.path(), &["reconcile"])?;
    Ok(())
}

#[test]
fn the_fleet_benchmark_finds_the_windows_and_alerts_of_a_recomputation() -> Result<()> {
    let data = tempfile::tempdir()?;
    let flags = [
        "--output",
        "json",
        "bench",
        "fleet",
        "--records",
        "60000",
        "--robots",
        "100",
    ];
    let output = run(data.path(), &flags)?;
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("one JSON object")?;
    ensure!(
        report["differences"].as_array().is_some_and(Vec::is_empty),
        "{report}"
    );
    ensure!(
        report["windows"].as_u64() > Some(500) && report["alerts"].as_u64() > Some(5),
        "{report}"
    );
    ensure!(
        report["whole"]["cpu_s_per_million"].as_f64() > Some(0.0)
            && report["stages"]
                .as_array()
                .is_some_and(|stages| stages.len() >= 4),
        "{report}"
    );
    Ok(())
}

/// Has a fleet of 8 robots produce up to a tick, processes all of it, and keeps none of it in the
/// log.
fn process_and_delete(data: &Path, ticks: u32) -> Result<()> {
    let config = data.join("theatre.toml");
    std::fs::write(&config, "silence_after = \"1d\"\nlog_retention = \"1ms\"\n")?;
    run(
        data,
        &["simulate", "--robots", "8", "--ticks", &ticks.to_string()],
    )?;
    run(
        data,
        &[
            "--config",
            &config.to_string_lossy(),
            "run",
            "--until-drained",
        ],
    )?;
    Ok(())
}

#[test]
fn old_input_is_deleted_once_nobody_needs_it_and_reconcile_says_so() -> Result<()> {
    let data = tempfile::tempdir()?;
    process_and_delete(data.path(), 300)?;
    let kept: usize = theatre_tests::records_held(data.path())?;
    ensure!(kept == 0, "{kept} records are still in the log");
    let before = theatre_tests::ending(data.path(), &["robot_telemetry"])?;
    process_and_delete(data.path(), 600)?;
    let after = theatre_tests::ending(data.path(), &["robot_telemetry"])?;
    ensure!(
        before.counters[0].applied == 2400 && after.counters[0].applied == 4800,
        "it went on where it stood: {:?}",
        after.counters
    );
    let said = run(data.path(), &["--output", "json", "reconcile"])?;
    let report: serde_json::Value = serde_json::from_slice(&said.stdout)?;
    let trimmed = report["lines"]
        .as_array()
        .context("lines")?
        .iter()
        .filter(|line| line["trimmed_below"].as_u64() > Some(0))
        .count();
    ensure!(trimmed > 0, "{report}");
    Ok(())
}

#[test]
fn a_lake_that_was_switched_off_for_longer_than_the_log_keeps_records_waits_until_it_may_skip_them()
-> Result<()> {
    let data = tempfile::tempdir()?;
    let config = data.path().join("theatre.toml");
    let path = config.to_string_lossy().into_owned();
    let go = |settings: &str, ticks: &str| -> Result<std::process::Output> {
        std::fs::write(
            &config,
            format!("silence_after = \"1d\"\npartitions = 1\n{settings}"),
        )?;
        run(
            data.path(),
            &[
                "--config", &path, "simulate", "--robots", "4", "--ticks", ticks,
            ],
        )?;
        Ok(theatre(data.path(), &["--config", &path, "run", "--until-drained"])?.output()?)
    };
    ensure!(go("", "50")?.status.success());
    ensure!(
        go("log_retention = \"1ms\"\n[lake]\nenabled = false\n", "100")?
            .status
            .success()
    );
    let waits = go("", "150")?;
    let why = String::from_utf8_lossy(&waits.stderr);
    ensure!(
        !waits.status.success()
            && why.contains("records from offset 200 to before 400 are gone from the log")
            && why.contains("`theatre lake skip`"),
        "{why}"
    );

    let skip = |flags: &[&str]| -> Result<serde_json::Value> {
        let output = run(
            data.path(),
            &[
                &["--config", &path, "--output", "json", "lake", "skip"],
                flags,
            ]
            .concat(),
        )?;
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let holes = skip(&["--dry-run"])?;
    ensure!(
        holes[0]["from"] == 200 && holes[0]["to"] == 400 && holes[0]["records"] == 200,
        "{holes}"
    );
    ensure!(
        skip(&[])? == holes && skip(&[])? == serde_json::json!([]),
        "skipped once"
    );
    ensure!(go("", "200")?.status.success());
    run(data.path(), &["--config", &path, "reconcile"])?;
    let counted = run(
        data.path(),
        &[
            "--config",
            &path,
            "--output",
            "json",
            "warehouse",
            "query",
            "SELECT count(*) AS n FROM robot_telemetry",
        ],
    )?;
    let counted: serde_json::Value = serde_json::from_slice(&counted.stdout)?;
    ensure!(
        counted[0]["n"] == 600,
        "800 records less those that are gone: {counted}"
    );
    Ok(())
}

#[test]
fn old_windows_leave_the_store_and_stay_in_the_warehouse() -> Result<()> {
    let data = tempfile::tempdir()?;
    let config = data.path().join("theatre.toml");
    std::fs::write(
        &config,
        "silence_after = \"1d\"\nwindow_retention = \"1ms\"\n",
    )?;
    let process = |ticks: &str| -> Result<()> {
        run(
            data.path(),
            &["simulate", "--robots", "8", "--ticks", ticks],
        )?;
        run(
            data.path(),
            &[
                "--config",
                &config.to_string_lossy(),
                "run",
                "--until-drained",
            ],
        )?;
        Ok(())
    };
    let count = |kind: OutputKind| -> Result<usize> {
        let filter = OutputFilter {
            kind: Some(kind),
            ..OutputFilter::default()
        };
        Ok(EmbeddedStore::open(&DataDir::new(data.path()).store())?
            .find_outputs(&filter)?
            .len())
    };
    let loaded = |table: &str| -> Result<usize> {
        let said = run(
            data.path(),
            &[
                "--output",
                "json",
                "warehouse",
                "query",
                &format!("SELECT count(*) AS held FROM {table}"),
            ],
        )?;
        let rows: serde_json::Value = serde_json::from_slice(&said.stdout)?;
        rows[0]["held"]
            .as_u64()
            .map(|count| count as usize)
            .with_context(|| rows.to_string())
    };
    process("1200")?;
    let first = loaded("robot_windows")?;
    process("2400")?;
    let (second, kept) = (loaded("robot_windows")?, count(OutputKind::Window)?);
    // Each window is a row for each of its signals. What was committed before the second start has
    // left the store at its latest then.
    ensure!(
        first > 0 && second > first,
        "{first} rows of windows, then {second}"
    );
    let settled = count(OutputKind::Outcome)? + count(OutputKind::Alert)?;
    ensure!(
        settled > 0 && settled == loaded("procedure_outcomes")? + loaded("maintenance_alerts")?,
        "{settled}"
    );
    run(
        data.path(),
        &[
            "--config",
            &config.to_string_lossy(),
            "run",
            "--until-drained",
        ],
    )?;
    ensure!(
        count(OutputKind::Window)? < kept.max(1) && loaded("robot_windows")? == second,
        "{kept} windows were left, now {}",
        count(OutputKind::Window)?
    );
    run(data.path(), &["reconcile"])?;
    Ok(())
}

#[test]
fn a_log_whose_beginning_was_deleted_is_read_from_what_is_left() -> Result<()> {
    let data = tempfile::tempdir()?;
    process_and_delete(data.path(), 300)?;
    // Another deployment meets the log for the first time.
    let dir = DataDir::new(data.path());
    for place in [dir.store(), dir.warehouse()] {
        for file in ["", "-wal", "-shm"].map(|end| format!("{}{end}", place.display())) {
            if std::fs::exists(&file)? {
                std::fs::remove_file(&file)?;
            }
        }
    }
    std::fs::remove_dir_all(dir.lake())?;
    // It has published nothing: the embedded log has one deployment's lanes.
    rusqlite::Connection::open(dir.log())?.execute("DELETE FROM lane", [])?;
    process_and_delete(data.path(), 500)?;
    let ending = theatre_tests::ending(data.path(), &["robot_telemetry"])?;
    ensure!(
        ending.counters[0].applied == 8 * 200,
        "{:?}",
        ending.counters
    );
    run(data.path(), &["reconcile"])?;
    Ok(())
}
