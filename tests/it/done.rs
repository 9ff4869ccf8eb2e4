//! Never done when it is not: who waits for input to be drained, and who proves that everything is
//! there, says what is missing.

mod reload;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use theatre_actors::ports::Lake;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::lake::DirectoryLake;
use theatre_tests::{binary, ending, run, theatre};

use reload::{first_once_more, reload, second_for_the_first, without_the_first};

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

fn replay(data: &Path, mapping: &str, file: &str) -> Result<Output> {
    run(data, &["replay", file, "--mapping", mapping, "--quiet"])
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

/// A data directory in which everything is done.
fn whole(folder: &Path) -> Result<tempfile::TempDir> {
    let data = tempfile::tempdir()?;
    let mapping = lay_out(folder)?;
    let file = folder.join("in.csv");
    std::fs::write(&file, format!("time,v\n{}", rows(0..40).concat()))?;
    replay(data.path(), &mapping, &file.to_string_lossy())?;
    Ok(data)
}

fn copied(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copied(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Runs `reconcile` on a copy in which something was done; returns its exit code and what it said.
fn judged(
    data: &Path,
    arguments: &[&str],
    plant: impl FnOnce(&DataDir) -> Result<()>,
) -> Result<(Option<i32>, String)> {
    let copy = tempfile::tempdir()?;
    copied(data, copy.path())?;
    plant(&DataDir::new(copy.path()))?;
    let ended = theatre(copy.path(), &[&["reconcile"], arguments].concat())?.output()?;
    let said = [&ended.stdout[..], &ended.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok((ended.status.code(), said))
}

fn sql(path: &Path, statement: &str) -> Result<()> {
    let changed = Connection::open(path)?.execute(statement, [])?;
    ensure!(changed > 0, "{statement} changed nothing");
    Ok(())
}

/// The lake's files whose paths begin so.
fn lake_files(dir: &DataDir, prefix: &str) -> Result<Vec<PathBuf>> {
    let found = DirectoryLake::open_read_only(&dir.lake()).list(prefix)?;
    ensure!(!found.is_empty(), "no file below {prefix}");
    Ok(found
        .into_iter()
        .map(|entry| dir.lake().join(entry.path))
        .collect())
}

/// Writes a file anew without its first row.
fn shorten(path: &Path, dir: &DataDir) -> Result<()> {
    let lake = DirectoryLake::open(&dir.lake())?;
    let name = path
        .strip_prefix(dir.lake())?
        .to_string_lossy()
        .into_owned();
    let rows: Vec<_> =
        theatre_parquet::read(&name, lake.read(&name)?)?.collect::<std::result::Result<_, _>>()?;
    let schema = rows.first().context("rows")?.schema();
    std::fs::remove_file(path)?;
    let upload = lake.begin(&name, "p0-test")?;
    let mut file = theatre_parquet::writer::FileWriter::new(upload, &schema, name.clone(), "ds")?;
    for (at, rows) in rows.into_iter().enumerate() {
        let skipped = usize::from(at == 0);
        file.write(
            rows.slice(skipped, rows.num_rows() - skipped),
            std::iter::empty(),
        )?;
    }
    let shorter = file.finish()?;
    Ok(lake.complete(&name, &shorter.upload)?)
}

#[test]
fn a_loss_at_any_stage_is_seen_and_what_waits_is_not_said_to_be_there() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = whole(folder.path())?;
    let (code, said) = judged(data.path(), &[], |_| Ok(()))?;
    ensure!(
        code == Some(0) && said.contains("lake and warehouse hold every record once"),
        "{said}"
    );
    type Plant = fn(&DataDir) -> Result<()>;
    let lost: [(&str, Plant, &str); 13] = [
        (
            "an entry of the ledger",
            |dir| {
                let of_records = "DELETE FROM load_ledger WHERE table_name = 'ds'";
                sql(&dir.warehouse(), of_records)
            },
            "ledger has no entry",
        ),
        (
            "no file, but one that nothing registered",
            |dir| {
                let file = &lake_files(dir, "data/ds/")?[0];
                std::fs::copy(file, file.with_file_name("again.parquet"))?;
                Ok(())
            },
            "is not registered",
        ),
        (
            "records of the log",
            |dir| sql(&dir.log(), "DELETE FROM block WHERE topic = 1"),
            "applied + late",
        ),
        (
            "a file of records",
            |dir| Ok(std::fs::remove_file(&lake_files(dir, "data/ds/")?[0])?),
            "is not there",
        ),
        (
            "a row of a file of records",
            |dir| shorten(&lake_files(dir, "data/ds/")?[0], dir),
            "were registered",
        ),
        (
            "a file of alerts",
            |dir| {
                Ok(std::fs::remove_file(
                    &lake_files(dir, "facts/maintenance_alerts/")?[0],
                )?)
            },
            "maintenance_alerts",
        ),
        (
            "a row of a file of windows",
            |dir| shorten(&lake_files(dir, "facts/robot_windows/")?[0], dir),
            "robot_windows",
        ),
        (
            "a row of the warehouse",
            |dir| reload(dir, "ds", without_the_first),
            "in the warehouse and 0 on the way",
        ),
        (
            "a row that another stands for in the warehouse",
            |dir| reload(dir, "ds", second_for_the_first),
            "are there once more",
        ),
        (
            "an alert of the warehouse",
            |dir| {
                sql(
                    &dir.warehouse(),
                    "DELETE FROM maintenance_alerts WHERE rowid = 1",
                )
            },
            "the warehouse has",
        ),
        (
            "an alert that is in the warehouse twice",
            |dir| {
                let twice = "PRAGMA legacy_alter_table = ON; CREATE TABLE twice AS SELECT * FROM maintenance_alerts;
                    INSERT INTO twice SELECT * FROM maintenance_alerts LIMIT 1;
                    DROP TABLE maintenance_alerts; ALTER TABLE twice RENAME TO maintenance_alerts;";
                Ok(Connection::open(dir.warehouse())?.execute_batch(twice)?)
            },
            "are there once more",
        ),
        (
            "a window that is in the warehouse twice",
            |dir| reload(dir, "robot_windows", first_once_more),
            "are there once more",
        ),
        (
            "a file that was exported and is in no list",
            |dir| {
                sql(
                    &dir.store(),
                    "DELETE FROM lake_file WHERE dataset = 'maintenance_alerts'",
                )
            },
            "are in no lake file",
        ),
    ];
    for (what, plant, why) in lost {
        for arguments in [&[][..], &["--allow-pending"]] {
            let (code, said) = judged(data.path(), arguments, plant)?;
            ensure!(
                code == Some(4) && said.contains("gap: ") && said.contains(why),
                "{what}: {code:?} {said}"
            );
            ensure!(!said.contains("every record once"), "{what}: {said}");
        }
    }
    let waits: [(&str, Plant, &str); 4] = [
        (
            "a file that is registered and not completed",
            |dir| {
                std::fs::remove_file(&lake_files(dir, "data/ds/")?[0])?;
                sql(
                    &dir.warehouse(),
                    "DELETE FROM loaded_files WHERE table_name = 'ds'",
                )?;
                sql(
                    &dir.store(),
                    "UPDATE lake_file SET stage = 1, batch = NULL WHERE dataset = 'ds'",
                )
            },
            "40 records wait for the lake",
        ),
        (
            "a file that is not loaded",
            |dir| {
                sql(
                    &dir.warehouse(),
                    "DELETE FROM loaded_files WHERE table_name = 'ds'",
                )?;
                sql(
                    &dir.store(),
                    "UPDATE lake_file SET stage = 2, batch = NULL WHERE dataset = 'ds'",
                )
            },
            "40 rows wait for the warehouse",
        ),
        (
            "outputs that are not exported",
            |dir| {
                for file in lake_files(dir, "facts/")? {
                    std::fs::remove_file(file)?;
                }
                sql(
                    &dir.store(),
                    "DELETE FROM lake_file WHERE dataset IN ('maintenance_alerts', 'robot_windows')",
                )?;
                for rows in [
                    "maintenance_alerts",
                    "loaded_files WHERE table_name = 'robot_windows'",
                ] {
                    sql(&dir.warehouse(), &format!("DELETE FROM {rows}"))?;
                }
                sql(
                    &dir.store(),
                    "DELETE FROM cursor WHERE consumer = 'exporter'",
                )
            },
            "outputs wait for their export",
        ),
        (
            "outputs that are not published",
            |dir| sql(&dir.store(), "DELETE FROM cursor WHERE consumer = 'relay'"),
            "outputs are not published",
        ),
    ];
    for (what, plant, why) in waits {
        for (arguments, expected) in [(&[][..], 4), (&["--allow-pending"], 0)] {
            let (code, said) = judged(data.path(), arguments, plant)?;
            ensure!(
                code == Some(expected) && said.contains(why) && !said.contains("gap: "),
                "{what} {arguments:?}: {code:?} {said}"
            );
            ensure!(!said.contains("every record once"), "{what}: {said}");
        }
    }
    Ok(())
}

#[test]
fn records_that_nobody_has_read_yet_are_pending() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = whole(folder.path())?;
    run(data.path(), &["simulate", "--robots", "2", "--ticks", "5"])?;
    for (arguments, expected) in [(&[][..], 4), (&["--allow-pending"], 0)] {
        let (code, said) = judged(data.path(), arguments, |_| Ok(()))?;
        ensure!(
            code == Some(expected)
                && said.contains("records wait for their processors")
                && said.contains("records wait for the lake")
                && !said.contains("every record once"),
            "{arguments:?}: {code:?} {said}"
        );
    }
    run(data.path(), &["run", "--until-drained"])?;
    let (code, said) = judged(data.path(), &[], |_| Ok(()))?;
    ensure!(code == Some(0), "{said}");
    Ok(())
}

#[test]
fn a_data_directory_that_cannot_be_written_is_looked_at_all_the_same() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir()?;
    let data = whole(folder.path())?;
    // For another user, who may read everything and write nothing, and run this very program.
    let theirs = tempfile::tempdir()?;
    let program = theirs.path().join("theatre");
    // By another process: one that another test begins meanwhile would inherit a file that is open
    // for writing, and a program that is being written cannot be run.
    let copied_by = std::process::Command::new("cp")
        .arg(binary()?)
        .arg(&program)
        .status()?;
    ensure!(copied_by.success(), "cp: {copied_by}");
    let copy = theirs.path().join("data ?#%");
    copied(data.path(), &copy)?;
    let allowed = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    let mut all = vec![theirs.path().to_owned()];
    while let Some(path) = all.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                all.push(entry?.path());
            }
            allowed(&path, 0o555)?;
        } else {
            allowed(&path, if path == program { 0o555 } else { 0o444 })?;
        }
    }
    let mut command = std::process::Command::new(&program);
    command.arg("--data").arg(&copy).arg("reconcile");
    // The superuser may write whatever the permissions say.
    let is_root = std::fs::metadata("/proc/self").map(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    })?;
    if is_root {
        command.uid(65_534).gid(65_534);
    }
    let ended = command.current_dir("/").output()?;
    allowed(theirs.path(), 0o755)?;
    for entry in walked(&copy)? {
        allowed(&entry, 0o755)?;
    }
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(
        ended.status.success() && said.contains("hold every record once"),
        "{said}"
    );
    Ok(())
}

/// A folder and the folders below, each before what is in it.
fn walked(folder: &Path) -> Result<Vec<PathBuf>> {
    use std::os::unix::fs::PermissionsExt;
    let mut folders = vec![folder.to_owned()];
    let mut at = 0;
    while at < folders.len() {
        std::fs::set_permissions(&folders[at], std::fs::Permissions::from_mode(0o755))?;
        for entry in std::fs::read_dir(&folders[at])? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
        at += 1;
    }
    Ok(folders)
}
