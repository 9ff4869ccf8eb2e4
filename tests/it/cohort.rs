//! What is normal for the robots of a model is learnt from the lake of the real program, and finds the
//! robot that is unlike the others: on the past and live.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use theatre_tests::http;
use theatre_tests::{reconciled, run};

use super::alerts::{Case, open, until};
use super::api::{Served, token};

/// The rule, as it is written before anything was learnt.
const RULE: &str = r#"[[rule]]
id = "unlike"
version = 3
priority = "medium"
dataset = "probe"
kind = { cohort = { signal = "v", over = "160s", raise_above = 4.0, clear_below = 2.0 } }
"#;

/// When rows begin, microseconds.
const BEGIN: i64 = 1_767_225_600_000_000;
const SECOND: i64 = 1_000_000;

/// Robots, their models, and the value that each always has. One is unlike the others of its model,
/// one is the only one of its own, one is not registered.
const ROBOTS: [(&str, Option<&str>, f64); 9] = [
    ("r1", Some("X1"), 10.0),
    ("r2", Some("X1"), 10.1),
    ("r3", Some("X1"), 10.2),
    ("r4", Some("X1"), 10.3),
    ("r5", Some("X1"), 10.4),
    ("r6", Some("X1"), 10.5),
    ("r7", Some("X1"), 30.0),
    ("r8", Some("X2"), 90.0),
    ("r9", None, 90.0),
];

fn post(served: &Served, secret: &str, dataset: &str, rows: &[Value]) -> Result<()> {
    let path = format!("/api/v1/datasets/{dataset}/records");
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let headers = [("content-type", "application/x-ndjson")];
    let address = &served.address;
    let body = lines.into_bytes();
    let answer = http::request(address, "POST", &path, Some(secret), &headers, &body)?;
    ensure!(answer.status == 202, "{answer:?}");
    Ok(())
}

/// Rows of all robots, one a second.
fn rows(seconds: std::ops::Range<i64>) -> Vec<Value> {
    let of_robot = |(robot, _, value): &(&str, Option<&str>, f64)| {
        let (robot, value) = ((*robot).to_owned(), *value);
        seconds.clone().map(move |at| {
            json!({"robot_id": robot, "event_time": BEGIN + at * SECOND, "sequence": at + 1, "v": value})
        })
    };
    ROBOTS.iter().flat_map(of_robot).collect()
}

fn entries() -> Vec<Value> {
    let entry = |(robot, model, _): &(&str, Option<&str>, f64)| {
        let model = (*model)?;
        Some(json!({
            "robot_id": robot, "event_time": BEGIN - SECOND, "event_id": format!("entry/{robot}"),
            "serial_number": robot, "robot_model": model, "facility_id": "F1",
            "status": "operational", "components": [],
        }))
    };
    ROBOTS.iter().filter_map(entry).collect()
}

#[test]
fn what_is_normal_is_learnt_and_finds_the_robot_that_is_unlike_its_model() -> Result<()> {
    let case = Case::new()?;
    let (data, config) = (case.data(), case.config());
    let file = |name: &str| case.folder.path().join(name).display().to_string();
    let (asked, learnt) = (file("cohort.toml"), file("learnt.toml"));
    std::fs::write(&asked, RULE)?;
    let served = case.serve()?;
    let operator = token(&data, &["--role", "operator"])?;
    post(&served, &operator, "robot_registry", &entries())?;
    post(&served, &operator, "probe", &rows(0..200))?;
    drop(served);
    let command = |arguments: &[&str]| run(&data, &[&["--config", &config], arguments].concat());
    command(&["run", "--until-drained"])?;

    let unlearnt = case.refused(&["rules", "add", &asked, "--by", "Anna"])?;
    ensure!(unlearnt.contains("theatre rules learn"), "{unlearnt}");
    let learn = [
        "--output", "json", "rules", "learn", &asked, "--write", &learnt,
    ];
    let answer = command(&learn)?;
    let said = String::from_utf8_lossy(&answer.stderr);
    ensure!(said.contains("'X2'") && said.contains("r8"), "{said}");
    let normal: Value = serde_json::from_slice(&answer.stdout)?;
    let found = normal.as_array().context("a list")?;
    ensure!(found.len() == 1, "{normal:#}");
    let number = |name: &str| found[0][name].as_f64().unwrap_or(f64::NAN);
    // Middle 10.3; the others are 0.3, 0.2, 0.1, 0, 0.1, 0.2 and 19.7 away from it.
    let expected = (10.3, 0.2 * 1.4826);
    ensure!(
        found[0]["model"] == "X1" && found[0]["robots"] == 7,
        "{normal:#}"
    );
    ensure!(
        (number("middle") - expected.0).abs() < 1e-9
            && (number("spread") - expected.1).abs() < 1e-9,
        "{normal:#}"
    );
    let text = std::fs::read_to_string(&learnt)?;
    ensure!(text.contains("version = 4"), "{text}");
    let refused = case.refused(&["rules", "learn", &asked, "--least-robots", "8"])?;
    ensure!(
        refused.contains("nothing was learnt for rule 'unlike'"),
        "{refused}"
    );
    let none = case.refused(&["rules", "learn", &file("rules.toml")])?;
    ensure!(none.contains("kind cohort"), "{none}");

    // On the past.
    let past = case.json(&data, &["rules", "test", &learnt])?;
    let of_rule = |it: &&Value| it["rule_id"] == "unlike";
    let conditions = past["conditions"].as_array().context("conditions")?;
    let robots: Vec<&Value> = (conditions.iter().filter(of_rule))
        .map(|it| &it["robot_id"])
        .collect();
    ensure!(robots == [&json!("r7")], "{conditions:#?}");

    // Live, from where it is added.
    command(&["rules", "add", &learnt, "--by", "Anna"])?;
    let served = case.serve()?;
    until(&served, &operator, "/api/v1/rules", |seen| {
        let rules = seen["items"].as_array();
        rules.is_some_and(|all| all.iter().any(|rule| rule["id"] == "unlike"))
    })?;
    post(&served, &operator, "probe", &rows(200..400))?;
    let alerts = until(&served, &operator, "/api/v1/alerts?limit=100", |seen| {
        open(seen, "r7", "unlike").is_some()
    })?;
    for (robot, _, _) in ROBOTS.iter().filter(|(robot, _, _)| *robot != "r7") {
        ensure!(
            open(&alerts, robot, "unlike").is_none(),
            "{robot}: {alerts:#}"
        );
    }
    drop(served);
    command(&["run", "--until-drained"])?;
    reconciled(&data, &["--config", &config])?;
    Ok(())
}
