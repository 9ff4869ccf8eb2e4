//! Rows erased from the lake and the warehouse by the real binary: every other row is met once at any
//! moment, wherever the command is killed; nothing is taken for a loss, and a loss is still one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow_array::cast::AsArray;
use serde_json::Value;
use theatre_actors::ports::{AccessStore, FileStage, Lake};
use theatre_dev::object_store::ObjectStore;
use theatre_embedded::access::EmbeddedAccess;
use theatre_embedded::data_dir::DataDir;
use theatre_tests::deployment::{Deployment, PATIENCE, wait_for};
use theatre_tests::site::Site;

const PLACE: &str = "one";
const TELEMETRY: &str = "robot_telemetry";
/// Small cuts, so that there are many files.
const SETTINGS: &str = "partitions = 2\nsilence_after = \"1d\"\n";

fn json(deployment: &Deployment, arguments: &[&str]) -> Result<Value> {
    let output = deployment.run(PLACE, &[&["--output", "json"], arguments].concat())?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Rows of a table in the lake by robot, as one meets them who lists it.
fn by_robot(lake: &dyn Lake, table: &str) -> Result<BTreeMap<String, u64>> {
    let mut rows = BTreeMap::new();
    for entry in lake.list("")? {
        if !entry.path.contains(&format!("/{table}/")) {
            continue;
        }
        let bytes = lake.read(&entry.path)?;
        for batch in theatre_parquet::read_columns(&entry.path, bytes, &["robot_id"])? {
            for robot in batch?.column(0).as_string::<i32>() {
                let robot = robot.context("a row without a robot")?.to_owned();
                *rows.entry(robot).or_default() += 1;
            }
        }
    }
    Ok(rows)
}

fn in_warehouse(deployment: &Deployment, table: &str, robot: &str) -> Result<u64> {
    let sql = format!("SELECT count(*) AS n FROM {table} WHERE robot_id = '{robot}'");
    let rows = json(deployment, &["warehouse", "query", &sql])?;
    rows[0]["n"].as_u64().context("no number")
}

/// Records of some robots, in several cuts.
fn fill(deployment: &Deployment) -> Result<()> {
    for ticks in ["150", "300", "450"] {
        deployment.run(PLACE, &["simulate", "--robots", "4", "--ticks", ticks])?;
        deployment.drain(PLACE)?;
    }
    Ok(())
}

/// A robot of which there are rows everywhere.
fn chosen(lake: &dyn Lake) -> Result<(String, BTreeMap<String, u64>)> {
    let rows = by_robot(lake, TELEMETRY)?;
    ensure!(rows.len() == 4, "{rows:?}");
    let robot = rows.keys().next().cloned().context("no robot")?;
    Ok((robot, rows))
}

/// Has `reconcile` find nothing missing, and say what is erased of a table.
fn reconciled(deployment: &Deployment, table: &str) -> Result<u64> {
    let report = json(deployment, &["reconcile"])?;
    ensure!(report["gaps"] == serde_json::json!([]), "{report}");
    Ok(report["erased"][table].as_u64().unwrap_or(0))
}

#[test]
fn rows_of_a_robot_are_erased_and_nothing_else_and_it_is_known_by_whom_and_why() -> Result<()> {
    let deployment = Deployment::new(SETTINGS, "")?;
    fill(&deployment)?;
    let lake = deployment.ports(PLACE)?.lake;
    let (robot, before) = chosen(&*lake)?;
    let cases = in_warehouse(&deployment, "procedure_events", &robot)?;
    let dry = json(
        &deployment,
        &["lake", "erase", "--robot", &robot, "--dry-run"],
    )?;
    let of = |report: &Value, table: &str, what: &str| {
        let lines = report["lines"].as_array().into_iter().flatten();
        let mut lines = lines.filter(|line| line["table"] == table);
        lines
            .next()
            .and_then(|line| line[what].as_u64())
            .unwrap_or(0)
    };
    ensure!(of(&dry, TELEMETRY, "rows") == before[&robot], "{dry}");
    ensure!(of(&dry, "robot_windows", "rows") > 0, "{dry}");
    let said = deployment.ends_with(2, PLACE, &["lake", "erase", "--robot", &robot])?;
    ensure!(String::from_utf8_lossy(&said.stderr).contains("--yes"));
    ensure!(
        by_robot(&*lake, TELEMETRY)? == before,
        "asked for is not done"
    );

    let erase = [
        "lake",
        "erase",
        "--robot",
        &robot,
        "--yes",
        "--by",
        "anna",
        "--reason",
        "asked for",
    ];
    let erased = json(&deployment, &erase)?;
    ensure!(erased["lines"].as_array().map(Vec::len) == dry["lines"].as_array().map(Vec::len));
    for table in [TELEMETRY, "robot_events", "robot_windows"] {
        let rows = of(&dry, table, "rows");
        ensure!(
            of(&erased, table, "rows") == rows && of(&erased, table, "warehouse_rows") == rows,
            "{table}: {dry} {erased}"
        );
        ensure!(!by_robot(&*lake, table)?.contains_key(&robot), "{table}");
        ensure!(in_warehouse(&deployment, table, &robot)? == 0, "{table}");
    }
    let mut others = before.clone();
    others.remove(&robot);
    ensure!(by_robot(&*lake, TELEMETRY)? == others);
    ensure!(in_warehouse(&deployment, "procedure_events", &robot)? == cases && cases > 0);
    ensure!(reconciled(&deployment, TELEMETRY)? == before[&robot]);

    let dir = DataDir::new(deployment.path(PLACE));
    let trail = EmbeddedAccess::open(&dir.access())?.audit_trail(10)?;
    let done: Vec<String> = trail
        .iter()
        .rev()
        .map(|entry| {
            format!(
                "{} {} {}",
                entry.action,
                entry.target,
                entry.after.as_deref().unwrap_or("")
            )
        })
        .collect();
    ensure!(done.len() == 2, "{done:?}");
    for (entry, what) in done.iter().zip(["lake.erase ", "lake.erased "]) {
        ensure!(
            entry.starts_with(&format!("{what}rows of {robot}")),
            "{entry}"
        );
        ensure!(
            entry.contains("anna") && entry.contains("asked for"),
            "{entry}"
        );
    }
    ensure!(
        done[1].contains(&format!("\"rows\":{}", before[&robot])),
        "{}",
        done[1]
    );

    // What is built anew from the lake says why it lacks something.
    let refused = deployment.refused(PLACE, &["state", "rebuild", "--from", "lake"])?;
    ensure!(
        refused.contains("were erased (theatre lake erase)") && refused.contains(&robot),
        "{refused}"
    );
    deployment.run(PLACE, &["state", "rebuild", "--from", "log"])?;

    // It runs on: what the robot sends now is there, and can be erased again.
    deployment.run(PLACE, &["simulate", "--robots", "4", "--ticks", "500"])?;
    deployment.drain(PLACE)?;
    let later = by_robot(&*lake, TELEMETRY)?;
    ensure!(
        later[&robot] > 0 && later[&robot] < before[&robot],
        "{later:?}"
    );
    ensure!(reconciled(&deployment, TELEMETRY)? == before[&robot]);
    json(&deployment, &erase)?;
    ensure!(reconciled(&deployment, TELEMETRY)? == before[&robot] + later[&robot]);
    Ok(())
}

#[test]
fn old_rows_are_erased_and_a_loss_is_still_found() -> Result<()> {
    let deployment = Deployment::new(SETTINGS, "")?;
    fill(&deployment)?;
    let ports = deployment.ports(PLACE)?;
    let times = "SELECT min(event_time) AS first, max(event_time) AS last, count(*) AS n FROM robot_telemetry";
    let all = json(&deployment, &["warehouse", "query", times])?;
    let number = |row: &Value, what: &str| row[0][what].as_i64().context("no number");
    let middle = (number(&all, "first")? + number(&all, "last")?) / 2;
    let middle = jiff::Timestamp::from_microsecond(middle)?.to_string();
    json(
        &deployment,
        &[
            "lake",
            "erase",
            "--before",
            &middle,
            "--dataset",
            TELEMETRY,
            "--yes",
            "--by",
            "anna",
        ],
    )?;
    let left = json(&deployment, &["warehouse", "query", times])?;
    let erased = reconciled(&deployment, TELEMETRY)?;
    ensure!(erased > 0 && number(&left, "n")? as u64 + erased == number(&all, "n")? as u64);
    ensure!(number(&left, "first")? >= (number(&all, "first")? + number(&all, "last")?) / 2);
    let rows: u64 = by_robot(&*ports.lake, TELEMETRY)?.values().sum();
    ensure!(rows == number(&left, "n")? as u64);
    let versions = deployment.ends_with(
        2,
        PLACE,
        &[
            "lake",
            "erase",
            "--before",
            &middle,
            "--dataset",
            "robot_versions",
            "--yes",
        ],
    )?;
    ensure!(String::from_utf8_lossy(&versions.stderr).contains("still hold"));

    // A file of rows that stayed is gone.
    let files = ports.store.all_files()?;
    let of = |file: &&theatre_actors::ports::RegisteredFile| {
        file.file.dataset == TELEMETRY && file.file.rows > 0
    };
    let lost = files.iter().find(of).context("no file has rows")?;
    let path = DataDir::new(deployment.path(PLACE))
        .lake()
        .join(&lost.file.path);
    let kept = std::fs::read(&path)?;
    std::fs::remove_file(&path)?;
    let said = deployment.ends_with(4, PLACE, &["reconcile"])?;
    ensure!(String::from_utf8_lossy(&said.stderr).contains("is not there"));
    // And one that has lost rows which could have been erased, and were not.
    let rest = theatre_parquet::erase::without(
        &lost.file.path,
        kept.into(),
        &theatre_actors::ports::RowSelection {
            time_column: Some("event_time".to_owned()),
            before: Some(lost.file.event_time_max),
            ..Default::default()
        },
    )?;
    ensure!(rest.erased.rows() > 0);
    std::fs::write(&path, &rest.bytes)?;
    let said = deployment.ends_with(4, PLACE, &["reconcile"])?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(said.contains("were registered"), "{said}");
    Ok(())
}

/// Reads the lake again and again, as others do, and fails if a row that stays is met twice or not
/// at all; returns how often it looked.
fn meanwhile(
    lake: &dyn Lake,
    others: &BTreeMap<String, u64>,
    robot: &str,
    work: impl FnOnce() -> Result<()>,
) -> Result<u64> {
    let (is_done, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<()> {
            while !is_done.load(Ordering::Acquire) {
                let mut met = by_robot(lake, TELEMETRY)?;
                met.remove(robot);
                ensure!(
                    met == *others,
                    "a reader met {met:?}, and should {others:?}"
                );
                looks.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let worked = work();
        is_done.store(true, Ordering::Release);
        reader.join().expect("the reader does not panic")?;
        worked
    })?;
    Ok(looks.load(Ordering::Relaxed))
}

#[test]
fn a_command_that_is_killed_again_and_again_hides_no_row_and_comes_to_its_end() -> Result<()> {
    let deployment = Deployment::new(SETTINGS, "")?;
    fill(&deployment)?;
    let lake = deployment.ports(PLACE)?.lake;
    let (robot, mut others) = chosen(&*lake)?;
    let all = others.remove(&robot).context("no rows")?;
    let erase = ["lake", "erase", "--robot", &robot, "--yes", "--by", "anna"];
    let mut kills = 0;
    let looks = meanwhile(&*lake, &others, &robot, || {
        let mut patience = Duration::from_millis(10);
        loop {
            let mut command = deployment.start_command(PLACE, &erase, &[])?;
            std::thread::sleep(patience);
            if !command.is_running()? {
                return Ok(());
            }
            command.kill()?;
            kills += 1;
            patience += Duration::from_millis(10);
        }
    })?;
    ensure!(kills > 1 && looks > 1, "{kills} kills, {looks} looks");
    deployment.run(PLACE, &erase)?;
    ensure!(by_robot(&*lake, TELEMETRY)? == others);
    ensure!(in_warehouse(&deployment, TELEMETRY, &robot)? == 0);
    ensure!(reconciled(&deployment, TELEMETRY)? == all);
    Ok(())
}

#[test]
fn rows_are_erased_on_s3_while_theatre_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let objects = ObjectStore::start(folder.path(), "127.0.0.1:0")?;
    objects.create_bucket("lake")?;
    let lake = format!(
        "[lake]\nurl = \"s3://lake/fleet\"\nendpoint = \"{}\"\npath_style = true\nregion = \"eu-central-1\"\n",
        objects.endpoint()
    );
    let deployment = Deployment::new(&format!("{SETTINGS}{lake}"), "")?;
    fill(&deployment)?;
    let ports = deployment.ports(PLACE)?;
    let (robot, mut others) = chosen(&*ports.lake)?;
    let all = others.remove(&robot).context("no rows")?;
    let mut service = deployment.start(PLACE, &[])?;
    service.wait_until_ready()?;
    let looks = meanwhile(&*ports.lake, &others, &robot, || {
        let erase = ["lake", "erase", "--robot", &robot, "--yes", "--by", "anna"];
        deployment.run(PLACE, &erase).map(drop)
    })?;
    ensure!(looks > 0);
    ensure!(service.terminate()?.success(), "{}", service.said());
    ensure!(by_robot(&*ports.lake, TELEMETRY)? == others);
    ensure!(in_warehouse(&deployment, TELEMETRY, &robot)? == 0);
    ensure!(reconciled(&deployment, TELEMETRY)? == all);
    Ok(())
}

#[test]
fn rows_are_erased_on_servers_and_what_is_not_loaded_is_left() -> Result<()> {
    let site = Site::start(SETTINGS, "")?;
    let deployment = &site.deployment;
    fill(deployment)?;
    let ports = deployment.ports(PLACE)?;
    let (robot, mut others) = chosen(&*ports.lake)?;
    let all = others.remove(&robot).context("no rows")?;
    // More of it is in the log only.
    deployment.run(PLACE, &["simulate", "--robots", "4", "--ticks", "500"])?;
    let erase = ["lake", "erase", "--robot", &robot, "--yes", "--by", "anna"];
    let left = deployment.ends_with(4, PLACE, &erase)?;
    let left = String::from_utf8_lossy(&left.stderr).into_owned();
    ensure!(
        left.contains("robot_telemetry: ") && left.contains("are not in the lake yet"),
        "{left}"
    );
    ensure!(by_robot(&*ports.lake, TELEMETRY)? == others);
    ensure!(in_warehouse(deployment, TELEMETRY, &robot)? == 0);
    deployment.drain(PLACE)?;
    ensure!(reconciled(deployment, TELEMETRY)? == all);
    let later = by_robot(&*ports.lake, TELEMETRY)?[&robot];
    deployment.run(PLACE, &erase)?;
    wait_for(PATIENCE, || {
        let files = ports.store.all_files()?;
        let is_done = files
            .iter()
            .all(|file| file.stage == FileStage::Loaded && file.file.erasing.is_empty());
        Ok(is_done.then_some(()))
    })?;
    ensure!(reconciled(deployment, TELEMETRY)? == all + later);
    Ok(())
}
