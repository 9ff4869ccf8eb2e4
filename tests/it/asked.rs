//! What is asked over HTTP of the real program: rows of telemetry from the lake, and dead letters that
//! are sent again beside the pipeline.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use theatre_actors::time::Clock;
use theatre_system::clock::SystemClock;
use theatre_tests::run;

use super::alerts::{Case, post, send, until};
use super::api::{Served, token};

const RANGE: &str = "dataset=probe&from=2026-01-01T00:00:00Z&to=2026-01-01T00:01:00Z&limit=2";

/// A field of the items.
fn field(page: &Value, name: &str) -> Vec<Value> {
    let items = page["items"].as_array().into_iter().flatten();
    items.map(|item| item[name].clone()).collect()
}

/// All rows of a robot of the minute, by pages, and the last page.
fn rows(served: &Served, secret: &str, robot: &str) -> Result<(Vec<Value>, Value)> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/robots/{robot}/telemetry?{RANGE}{after}");
        let answer = served.get(&path, Some(secret))?;
        ensure!(answer.status == 200, "{answer:?}");
        let page = answer.json();
        found.extend(
            page["items"]
                .as_array()
                .context("no items")?
                .iter()
                .cloned(),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok((found, page)),
        }
        ensure!(found.len() < 99, "{found:?}");
    }
}

fn remove_files(folder: &Path) -> Result<usize> {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            removed += remove_files(&path)?;
        } else if path.extension().is_some_and(|it| it == "parquet") {
            std::fs::remove_file(path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[test]
fn rows_of_a_minute_come_from_the_lake_each_once_and_what_is_missing_is_said() -> Result<()> {
    let case = Case::new()?;
    let served = case.serve()?;
    let secret = token(&case.data(), &["--role", "operator"])?;
    for sequence in 0..5 {
        send(&served, &secret, "r1", sequence, sequence as f64)?;
        send(&served, &secret, "r2", sequence, 50.0)?;
    }
    until(&served, &secret, "/api/v1/robots/r2", |seen| {
        seen["records_applied"] == 5
    })?;
    drop(served);
    run(
        &case.data(),
        &["--config", &case.config(), "run", "--until-drained"],
    )?;
    let served = case.serve()?;
    let (found, last) = rows(&served, &secret, "r1")?;
    let values: Vec<f64> = found
        .iter()
        .filter_map(|row| row["values"]["v"].as_f64())
        .collect();
    ensure!(values == [0.0, 1.0, 2.0, 3.0, 4.0], "{found:#?}");
    ensure!(
        last["complete_until"] == Value::Null && last["missing"] == json!([]),
        "{last:#}"
    );
    ensure!(found.iter().all(|row| row["values"]["robot_id"] == "r1"));

    // The lake gets what comes now later.
    send(&served, &secret, "r1", 5, 5.0)?;
    until(&served, &secret, "/api/v1/robots/r1", |seen| {
        seen["records_applied"] == 6
    })?;
    let (found, last) = rows(&served, &secret, "r1")?;
    ensure!(
        found.len() == 6 || last["complete_until"].is_string(),
        "{last:#}"
    );
    for (query, status) in [
        (
            "dataset=probe&from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z",
            400,
        ),
        ("dataset=none", 404),
        ("dataset=probe&limit=2001", 400),
        ("dataset=probe&after=x", 400),
    ] {
        let path = format!("/api/v1/robots/r1/telemetry?{query}");
        let answer = served.get(&path, Some(&secret))?;
        ensure!(answer.status == status, "{query}: {answer:?}");
    }
    let other = token(&case.data(), &["--role", "viewer", "--robots", "r2"])?;
    let path = format!("/api/v1/robots/r1/telemetry?{RANGE}");
    ensure!(served.get(&path, Some(&other))?.status == 404);

    ensure!(remove_files(&case.data().join("lake"))? > 0);
    let (found, last) = rows(&served, &secret, "r1")?;
    ensure!(found.len() < 5, "{found:#?}");
    let why: Vec<Value> = last["missing"]
        .as_array()
        .context("nothing is missing")?
        .iter()
        .map(|files| files["why"].clone())
        .collect();
    ensure!(why == ["gone"], "{last:#}");
    Ok(())
}

#[test]
fn dead_letters_are_sent_again_over_http_beside_the_pipeline() -> Result<()> {
    let case = Case::new()?;
    let served = case.serve()?;
    let engineer = token(&case.data(), &["--role", "engineer"])?;
    let in_a_month = SystemClock.now().0 + 30 * 86_400_000_000;
    let row = json!({"robot_id": "r1", "event_time": in_a_month, "sequence": 1, "v": 1.0});
    let sent = post(&served, &engineer, "/api/v1/datasets/probe/records", &row)?;
    ensure!(sent.status == 202, "{sent:?}");
    let list = "/api/v1/dead-letters?reason=future";
    let seen = until(&served, &engineer, list, |seen| {
        field(seen, "number").len() == 1
    })?;
    let letter = &seen["items"][0];
    let chosen = json!([{"partition": letter["partition"], "number": letter["number"]}]);
    let path = "/api/v1/dead-letters/replays";
    let ask = |dry_run: bool| -> Result<Value> {
        let wish = json!({"letters": chosen, "dry_run": dry_run});
        let answer = post(&served, &engineer, path, &wish)?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.json())
    };
    let looked = ask(true)?;
    ensure!(
        looked["dry_run"] == true && looked["letters"][0]["fate"] == "duplicate",
        "{looked:#}"
    );
    ensure!(field(&served.get(list, Some(&engineer))?.json(), "replays") == [0]);
    let done = ask(false)?;
    ensure!(done["sent"] == 1 && done["dry_run"] == false, "{done:#}");
    ensure!(field(&served.get(list, Some(&engineer))?.json(), "replays") == [1]);
    let again = ask(false)?;
    ensure!(
        again["sent"] == 0 && again["refused"]["already_replayed"] == 1,
        "{again:#}"
    );
    let admin = token(&case.data(), &["--role", "admin"])?;
    let trail = served
        .get("/api/v1/audit?action=dead_letters.", Some(&admin))?
        .json();
    let actions = field(&trail, "action");
    ensure!(
        actions.len() == 4 && actions[0] == "dead_letters.replayed",
        "{trail:#}"
    );
    for wrong in [json!([]), json!([[0, 1]]), json!([{"partition": 0}])] {
        let answer = post(&served, &engineer, path, &json!({"letters": wrong}))?;
        ensure!(answer.status == 400, "{wrong}: {answer:?}");
    }
    Ok(())
}
