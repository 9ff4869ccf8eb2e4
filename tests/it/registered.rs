//! Services and registries through the whole program: sent, concluded, published, in lake and
//! warehouse; in stores of before, and after a change of the partition count.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::CheckpointStore;
use theatre_config::INPUT_TOPICS;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::store::EmbeddedStore;
use theatre_tests::{outputs, reconciled, run};

use super::api::{Served, token};

const ROBOTS: &str = r#"
{"robot_id": "robot-0000", "event_time": "2026-01-01T00:00:00Z", "event_id": "a", "serial_number": "EXA-1", "facility_id": "FAC-001", "firmware_version": "1.0.0", "status": "operational"}
{"robot_id": "robot-0000", "event_time": "2026-01-03T00:00:00Z", "event_id": "c", "serial_number": "EXA-1", "facility_id": "FAC-001", "firmware_version": "1.1.0", "status": "operational"}
{"robot_id": "robot-0000", "event_time": "2026-01-02T00:00:00Z", "event_id": "b", "serial_number": "EXA-1", "facility_id": "FAC-001", "firmware_version": "1.1.0", "status": "operational"}
"#;

const SERVICES: &str = r#"
{"robot_id": "robot-0000", "event_time": "2026-01-04T12:00:00Z", "event_id": "s", "maintenance_id": "W-1", "maintenance_type": "emergency", "status": "completed", "started_at": "2026-01-04T08:00:00Z", "ended_at": "2026-01-04T12:00:00Z", "cost": "9999999999.99", "currency": "EUR", "parts": [{"part": "actuator_assembly", "component": "joints[2]"}]}
{"robot_id": "robot-0000", "event_time": "2026-01-05T12:00:00Z", "event_id": "t", "maintenance_id": "W-2", "maintenance_type": "routine", "status": "planned", "cost": "0.10", "currency": "EUR"}
"#;

const FACILITIES: &str = r#"
{"facility_id": "FAC-001", "event_time": "2026-01-01T00:00:00Z", "event_id": "a", "facility_name": "North", "facility_type": "teaching"}
{"facility_id": "FAC-002", "event_time": "2026-01-01T00:00:00Z", "event_id": "a", "facility_name": "South", "facility_type": "regional"}
"#;

const MODELS: &str = r#"
{"robot_model": "Example 4", "event_time": "2026-01-01T00:00:00Z", "event_id": "a", "arms": 4, "categories": ["thoracic", "general"]}
"#;

fn surgeons(level: &str, day: u32) -> String {
    let line = |number: u32| {
        format!(
            "{{\"surgeon_id\": \"SURG-{number:04}\", \"event_time\": \"2026-01-{day:02}T00:00:00Z\", \"event_id\": \"{level}\", \"surgeon_name\": \"Example {number}\", \"certification_level\": \"{level}\"}}\n"
        )
    };
    (0..20).map(line).collect()
}

fn send(folder: &Path, data: &Path, kind: &str, lines: &str) -> Result<()> {
    let file = folder.join(format!("{kind}.ndjson"));
    std::fs::write(&file, lines)?;
    run(data, &["send", kind, &file.to_string_lossy()]).map(drop)
}

fn send_all(folder: &Path, data: &Path) -> Result<()> {
    for (kind, lines) in [
        ("robot_registry", ROBOTS),
        ("maintenance_logs", SERVICES),
        ("facility_registry", FACILITIES),
        ("model_registry", MODELS),
        ("surgeon_registry", &surgeons("basic", 1)),
    ] {
        send(folder, data, kind, lines)?;
    }
    Ok(())
}

fn asked(data: &Path, sql: &str) -> Result<Value> {
    let answer = run(data, &["warehouse", "query", sql, "--output", "json"])?;
    Ok(serde_json::from_slice(&answer.stdout)?)
}

#[test]
fn what_is_sent_comes_out_of_the_warehouse() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let data = data.path();
    send_all(folder.path(), data)?;
    run(data, &["run", "--until-drained"])?;
    reconciled(data, &[])?;
    let versions = asked(
        data,
        "SELECT valid_from / 3600000000 AS hour, firmware_version, status FROM robot_versions WHERE is_withdrawn = 0 ORDER BY 1",
    )?;
    let day = 490_896;
    let row = |hour: i64, firmware: &str, status: &str| json!({"hour": day + hour, "firmware_version": firmware, "status": status});
    let expected = json!([
        row(0, "1.0.0", "operational"),
        row(24, "1.1.0", "operational"),
        row(80, "1.1.0", "maintenance"),
        row(84, "1.1.0", "operational"),
    ]);
    ensure!(versions == expected, "{versions:#}");
    let withdrawn = asked(
        data,
        "SELECT count(*) AS n FROM robot_versions WHERE is_withdrawn",
    )?;
    ensure!(withdrawn == json!([{"n": 1}]), "{withdrawn}");
    let works = asked(
        data,
        "SELECT maintenance_id, status, is_planned, cost, downtime_hours FROM maintenance_records ORDER BY 1",
    )?;
    let first = json!({"maintenance_id": "W-1", "status": "completed", "is_planned": 0, "cost": 9_999_999_999.99, "downtime_hours": 4.0});
    let second = json!({"maintenance_id": "W-2", "status": "planned", "is_planned": 1, "cost": 0.1, "downtime_hours": null});
    ensure!(works == json!([first, second]), "{works:#}");
    let named = asked(
        data,
        "SELECT surgeon_name FROM surgeon_versions WHERE surgeon_name LIKE 'Example%'",
    )?;
    ensure!(named == json!([]), "a name is shown: {named}");
    let people = asked(data, "SELECT count(*) AS n FROM surgeon_versions")?;
    ensure!(people == json!([{"n": 20}]), "{people}");
    let robots = theatre_tests::robots(data, &[])?;
    ensure!(robots.len() == 1, "only robots are robots: {robots:?}");
    let shown = run(data, &["robots", "show", "robot-0000"])?;
    let shown: Value = serde_json::from_slice(&shown.stdout)?;
    let record = &shown["record"];
    ensure!(
        record["status"] == "operational" && record["firmware_version"] == "1.1.0",
        "{record:#}"
    );
    Ok(())
}

#[test]
fn the_interface_says_what_holds_now() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let data = data.path();
    send_all(folder.path(), data)?;
    send(
        folder.path(),
        data,
        "surgeon_registry",
        &surgeons("expert", 5),
    )?;
    let renamed = FACILITIES
        .replace("South", "South East")
        .replace("2026-01-01", "2026-01-02")
        .replace("\"a\"", "\"b\"");
    send(folder.path(), data, "facility_registry", &renamed)?;
    run(data, &["run", "--until-drained"])?;
    let viewer = token(data, &["--role", "viewer"])?;
    let served = Served::start(data, "127.0.0.1:0", &["run"])?;
    let page = |path: &str| -> Result<Value> {
        let answer = served.get(&format!("/api/v1/{path}"), Some(&viewer))?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        Ok(answer.json())
    };
    let all = |path: &str, limit: usize| -> Result<Vec<Value>> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let mark = if path.contains('?') { "&" } else { "?" };
            let mut page = page(&format!("{path}{mark}limit={limit}{after}"))?;
            let found = page["items"].as_array_mut().context("no items")?;
            ensure!(found.len() <= limit, "{found:#?}");
            items.append(found);
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(items),
            }
        }
    };
    let sites = all("facilities", 1)?;
    let names: Vec<&Value> = sites.iter().map(|site| &site["facility_name"]).collect();
    ensure!(names == ["North", "South East"], "{sites:#?}");
    let models = all("models", 10)?;
    ensure!(
        models.len() == 1
            && models[0]["categories"] == json!(["thoracic", "general"])
            && models[0]["valid_from"] == "2026-01-01T00:00:00.000000Z",
        "{models:#?}"
    );
    let people = all("surgeons", 7)?;
    let mut ids: Vec<&str> = people
        .iter()
        .filter_map(|of| of["surgeon_id"].as_str())
        .collect();
    ids.dedup();
    ensure!(ids.len() == 20 && ids.is_sorted(), "{ids:?}");
    for person in &people {
        let is_shown =
            person.to_string().contains("Example") || person.to_string().contains("SURG-");
        ensure!(
            !is_shown && person["certification_level"] == "expert",
            "{person:#}"
        );
    }
    let works = all("maintenance", 1)?;
    let shown: Vec<Value> = works
        .iter()
        .map(|of| {
            json!([
                of["maintenance_id"],
                of["cost"],
                of["parts"][0]["component"]
            ])
        })
        .collect();
    let wanted = [
        json!(["W-2", 0.1, null]),
        json!(["W-1", 9_999_999_999.99, "joints[2]"]),
    ];
    ensure!(shown == wanted, "{works:#?}");
    let early = all("maintenance?until=2026-01-05T00:00:00Z", 5)?;
    ensure!(
        early.len() == 1 && early[0]["maintenance_id"] == "W-1",
        "{early:#?}"
    );
    let other = token(data, &["--role", "viewer", "--robots", "robot-0001"])?;
    let refused = served.get("/api/v1/facilities", Some(&other))?;
    ensure!(refused.status == 403, "{refused:?}");
    let none = served.get("/api/v1/maintenance", Some(&other))?.json();
    ensure!(none["items"] == json!([]), "{none:#}");
    Ok(())
}

#[test]
fn a_line_that_is_wrong_sends_nothing() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let lines = format!(
        "{}{}",
        FACILITIES.trim_start(),
        FACILITIES.replace("teaching", "school")
    );
    let refused = send(folder.path(), data.path(), "facility_registry", &lines);
    let why = format!("{:#}", refused.expect_err("it is refused"));
    ensure!(
        why.contains("line 4") && why.contains("'facility_type'"),
        "{why}"
    );
    ensure!(!DataDir::new(data.path()).log().exists(), "a log was made");
    Ok(())
}

#[test]
fn a_store_of_before_keeps_the_places_of_its_inputs() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let data = data.path();
    let config = folder.path().join("theatre.toml");
    std::fs::write(
        &config,
        "[[input]]\ntopic = \"mine\"\nkind = \"telemetry\"\ndataset = \"robot_telemetry\"\n",
    )?;
    let config = config.to_string_lossy().into_owned();
    let mut known: Vec<String> = INPUT_TOPICS[..4]
        .iter()
        .map(|it| (*it).to_owned())
        .collect();
    known.push("mine".to_owned());
    EmbeddedStore::open(&DataDir::new(data).store())?.ensure_layout(&known, 4)?;
    run(data, &["simulate", "--robots", "2", "--ticks", "50"])?;
    send_all(folder.path(), data)?;
    run(data, &["run", "--until-drained", "--config", &config])?;
    reconciled(data, &["--config", &config])?;
    let layout = EmbeddedStore::open_read_only(&DataDir::new(data).store())?.layout()?;
    known.extend(INPUT_TOPICS[4..].iter().map(|it| (*it).to_owned()));
    ensure!(layout == Some((known, 4)), "{layout:?}");
    let versions = outputs(data, OutputKind::FacilityVersion)?;
    ensure!(versions.len() == 2, "{versions:?}");
    Ok(())
}

#[test]
fn surgeons_and_sites_move_with_a_repartition() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let data = data.path();
    send_all(folder.path(), data)?;
    run(data, &["run", "--until-drained"])?;
    run(data, &["state", "repartition", "--partitions", "7"])?;
    let config = folder.path().join("theatre.toml");
    std::fs::write(&config, "partitions = 7\n")?;
    let config = config.to_string_lossy().into_owned();
    let again = folder.path().join("again.ndjson");
    std::fs::write(&again, surgeons("expert", 9))?;
    let again = again.to_string_lossy().into_owned();
    run(
        data,
        &["send", "surgeon_registry", &again, "--config", &config],
    )?;
    run(data, &["run", "--until-drained", "--config", &config])?;
    reconciled(data, &["--config", &config])?;
    let versions = outputs(data, OutputKind::SurgeonVersion)?;
    ensure!(versions.len() == 40, "{} versions", versions.len());
    let dead = EmbeddedStore::open_read_only(&DataDir::new(data).store())?.find_dead(0)?;
    ensure!(dead.is_empty(), "{dead:?}");
    Ok(())
}
