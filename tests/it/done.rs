//! Never done when it is not: who waits for input to be drained, and who proves that everything is
//! there, says what is missing.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use theatre_tests::{ending, run, theatre};

const SCHEMA: &str = r#"{"type": "record", "name": "Sample", "theatre": {"id": 3500, "dataset": "ds", "kind": "telemetry", "version": 1},
    "fields": [{"name": "robot_id", "type": "string"},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "sequence", "type": "long"},
    {"name": "v", "type": ["null", "double"], "default": null}]}"#;

const MAPPING: &str = r#"schema = "s.avsc"
rules = "rules.toml"
robot_id = "r1"
time_column = "time"
[columns]
v = "v"
"#;

const RULES: &str = r#"[[rule]]
id = "hot"
priority = "high"
dataset = "ds"
description = "hot"
kind = { threshold = { signal = "v", raise_above = 60.0, clear_below = 55.0 } }
"#;

/// Rows of which the fifth is hot.
fn rows(seconds: std::ops::Range<u32>) -> Vec<String> {
    let row = |second: u32| {
        let value = if second % 10 == 4 { 70 } else { 20 };
        format!(
            "2026-01-31T08:{:02}:{:02}.000Z,{value}\n",
            second / 60,
            second % 60
        )
    };
    seconds.map(row).collect()
}

fn lay_out(folder: &Path) -> Result<String> {
    std::fs::write(folder.join("s.avsc"), SCHEMA)?;
    std::fs::write(folder.join("rules.toml"), RULES)?;
    let mapping = folder.join("m.toml");
    std::fs::write(&mapping, MAPPING)?;
    Ok(mapping.to_string_lossy().into_owned())
}

#[test]
fn rows_that_come_after_a_pause_are_applied_before_a_replay_ends() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mapping = lay_out(folder.path())?;
    let mut child = theatre(
        data.path(),
        &["replay", "-", "--mapping", &mapping, "--quiet"],
    )?
    .stdin(Stdio::piped())
    .stdout(Stdio::null())
    .stderr(Stdio::piped())
    .spawn()?;
    let mut pipe = child.stdin.take().context("a pipe")?;
    let rows = rows(0..6);
    pipe.write_all(b"time,v\n")?;
    pipe.write_all(rows[..3].concat().as_bytes())?;
    pipe.flush()?;
    // Longer than an idle pipeline takes to have nothing to do.
    std::thread::sleep(Duration::from_secs(4));
    pipe.write_all(rows[3..].concat().as_bytes())?;
    drop(pipe);
    let ended = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.success(), "{said}");
    let end = ending(data.path(), &["ds", "maintenance_alerts"])?;
    ensure!(end.counters[0].applied == 6, "{:?}: {said}", end.counters);
    ensure!(end.warehouse["ds"].0 == 6, "{:?}: {said}", end.warehouse);
    ensure!(
        end.warehouse["maintenance_alerts"].0 == 2,
        "raised and cleared: {:?}",
        end.warehouse
    );
    run(data.path(), &["reconcile"]).map(drop)
}

#[test]
fn a_tiny_replay_never_waits_for_the_next_save() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mapping = lay_out(folder.path())?;
    let config = folder.path().join("theatre.toml");
    std::fs::write(&config, "save_interval = \"5m\"\n")?;
    let config = config.to_string_lossy().into_owned();
    for at in 0..6_u32 {
        let file = folder.path().join(format!("{at}.csv"));
        let text = format!("time,v\n{}", rows(20 * at..20 * at + 15).concat());
        std::fs::write(&file, text)?;
        let begun = Instant::now();
        let file = file.to_string_lossy().into_owned();
        let arguments = ["--config", &config, "replay", &file, "--mapping", &mapping];
        run(data.path(), &arguments)?;
        let took = begun.elapsed();
        ensure!(took < Duration::from_secs(60), "replay {at} took {took:?}");
    }
    Ok(())
}
