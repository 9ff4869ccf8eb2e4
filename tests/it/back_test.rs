//! Rules on the past: what the actors raise over the lake's files is what they raised live, and the
//! figures are those of a program that knows the truth and shares no line with the scoring.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use theatre_dev::object_store::ObjectStore;
use theatre_tests::deployment::Deployment;
use theatre_tests::{repository, run, tell, theatre};

/// Windows of an hour, since samples are a minute apart.
const CONFIG: &str = "[[windows]]\nname = \"1h\"\nsize = \"1h\"\n";

/// The rules that the configuration has where none are named.
fn shipped() -> String {
    let file = repository().join("runtime/config/src/default_rules.toml");
    file.to_string_lossy().into_owned()
}

fn answer(data: &Path, arguments: &[&str]) -> Result<Value> {
    let output = run(data, &[arguments, &["--output", "json"]].concat())?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the program says that scores the live alerts by the truth.
fn recomputed(truth: &Path, data: &Path, horizon_s: &str) -> Result<Value> {
    let python = std::env::var("THEATRE_PYTHON")
        .context("THEATRE_PYTHON names no interpreter with duckdb: run the tests with tests/run")?;
    let output = Command::new(python)
        .arg(repository().join("tests/it/back_test_recomputed.py"))
        .args([truth, &data.join("lake")])
        .arg(horizon_s)
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Whether two figures are the same, or both are not there.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => (left - right).abs() <= 1e-9 * right.abs().max(1.0),
        _ => left == right,
    }
}

/// The figures of a rule that differ.
fn differences(of: &Value, recomputed: &Value) -> Vec<String> {
    let lead = &of["lead_time_s"];
    let lead = match lead {
        Value::Null => Value::Null,
        lead => json!([lead["p25"], lead["median"], lead["p75"]]),
    };
    let mut differ = Vec::new();
    for name in [
        "conditions",
        "robots",
        "open_share",
        "followed",
        "not_followed",
        "serviced",
        "undecided",
        "precision",
        "incidents_seen",
        "recall",
        "alerts",
        "alerts_per_robot_month",
    ] {
        if !is_same(&of[name], &recomputed[name]) {
            differ.push(format!("{name}: {} and {}", of[name], recomputed[name]));
        }
    }
    let quarters = &recomputed["lead_time_s"];
    let is_lead_same = (0..3).all(|at| is_same(&lead[at], &quarters[at]));
    if !is_lead_same {
        differ.push(format!("lead time: {lead} and {quarters}"));
    }
    differ
}

#[test]
fn the_shipped_rules_do_on_the_past_what_they_did_live_and_as_the_truth_has_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, truth) = (folder.path().join("data"), folder.path().join("truth"));
    let (config, picture) = (folder.path().join("t.toml"), folder.path().join("p.svg"));
    std::fs::write(&config, CONFIG)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (config, truth_file) = (text(&config), text(&truth));
    let fleet = [
        "--config",
        &config,
        "simulate",
        "--profile",
        "degrading",
        "--days",
        "75",
        "--interval",
        "60s",
        "--robots",
        "16",
        "--seed",
        "3",
        "--truth",
        &truth_file,
    ];
    run(&data, &fleet)?;
    run(&data, &["--config", &config, "run", "--until-drained"])?;
    let rules = shipped();
    let back_test = ["--config", &config, "rules", "test", &rules];
    let drawn = text(&picture);
    let past = answer(&data, &[&back_test[..], &["--picture", &drawn]].concat())?;

    // The same conditions, by their ids, with the same times.
    let live = recomputed(&truth, &data, "1209600")?;
    let conditions = past["conditions"].as_array().context("no conditions")?;
    let mut raised: Vec<Value> = conditions
        .iter()
        .map(|of| {
            json!([
                of["condition_id"],
                of["robot_id"],
                of["rule_id"],
                of["raised_at"],
                of["cleared_at"],
                of["alerts"]
            ])
        })
        .collect();
    raised.sort_by_key(|condition| condition[0].to_string());
    let expected = live["conditions"].as_array().context("no alerts")?;
    ensure!(expected.len() > 100, "{} conditions only", expected.len());
    ensure!(&raised == expected, "the live run raised something else");

    // The same figures, of every rule and of all.
    for name in ["from", "to", "incidents"] {
        ensure!(past[name] == live[name], "{name}: {}", past[name]);
    }
    let all = &past["all"];
    let found = differences(all, &live["all"]);
    ensure!(found.is_empty(), "all: {}", found.join("; "));
    for of in past["rules"].as_array().context("no rules")? {
        let id = of["rule_id"].as_str().context("a rule without id")?;
        match &live["rules"][id] {
            Value::Null => ensure!(of["conditions"] == 0, "{id} raised nothing live"),
            known => {
                let found = differences(of, known);
                ensure!(found.is_empty(), "{id}: {}", found.join("; "));
            }
        }
    }
    let unseen = past["unseen"].as_array().context("no unseen incidents")?;
    let mut unseen: Vec<Value> = unseen
        .iter()
        .map(|of| json!([of["robot_id"], of["at"]]))
        .collect();
    unseen.sort_by_key(ToString::to_string);
    ensure!(json!(unseen) == live["all"]["unseen"], "{unseen:?}");
    ensure!(past["too_early"] == live["all"]["too_early"]);

    // There was something to be wrong about, and it would have shown.
    let counted = |name: &str| all[name].as_u64().unwrap_or(0);
    ensure!(
        counted("followed") > 20 && counted("not_followed") > 20 && counted("undecided") > 0,
        "{all}"
    );
    ensure!(counted("incidents_seen") > 2 && unseen.len() > 2, "{all}");
    let other = recomputed(&truth, &data, "259200")?;
    let found = differences(all, &other["all"]);
    ensure!(
        ["precision", "lead time", "recall"]
            .iter()
            .all(|name| found.iter().any(|found| found.starts_with(name))),
        "another horizon changes nothing: {found:?}"
    );
    let picture = std::fs::read_to_string(&picture)?;
    ensure!(
        picture.matches("<rect").count() == raised.len() + 3,
        "the picture has other bars"
    );
    tell(&format!("a back-test: {}", past["speed"]));
    warmed_up(folder.path(), &data, &back_test, conditions)?;
    refusals(folder.path(), &data, &rules)
}

/// A back-test that begins in the middle, warmed up by all that was before, and one of the same rules
/// in the shadow.
fn warmed_up(folder: &Path, data: &Path, back_test: &[&str], whole: &[Value]) -> Result<()> {
    const MIDDLE_US: i64 = 1_739_145_600_000_000; // 2025-02-10
    let robots: Vec<String> = (0..8).map(|robot| format!("robot-{robot:04}")).collect();
    let of_them = |of: &&Value| robots.iter().any(|robot| of["robot_id"] == robot.as_str());
    let only = ["--robots", &robots.join(",")];
    let counted = |conditions: &mut dyn Iterator<Item = &Value>, from: i64| {
        let counts = conditions.filter(|of| of["cleared_at"].as_i64().is_none_or(|at| at > from));
        let mut counted: Vec<Value> = counts
            .map(|of| {
                let raised = of["raised_at"].as_i64().map(|at| at.max(from));
                json!([of["condition_id"], raised, of["cleared_at"], of["rule_id"]])
            })
            .collect();
        counted.sort_by_key(ToString::to_string);
        counted
    };
    let asked = |arguments: &[&str], from: i64| -> Result<Vec<Value>> {
        let answer = answer(data, &[arguments, &only].concat())?;
        let conditions = answer["conditions"].as_array().context("no conditions")?;
        Ok(counted(&mut conditions.iter(), from))
    };
    let wanted = counted(&mut whole.iter().filter(of_them), MIDDLE_US);
    ensure!(wanted.len() > 3, "{} conditions only", wanted.len());
    let late = [back_test, &["--from", "2025-02-10", "--warm-up", "400d"]].concat();
    let found = asked(&late, i64::MIN)?;
    ensure!(
        found == wanted,
        "warmed up: {found:#?} instead of {wanted:#?}"
    );
    let (rules, before) = back_test.split_last().context("no arguments")?;
    let shadow = std::fs::read_to_string(rules)?.replace("[[rule]]\n", "[[rule]]\nshadow = true\n");
    let path = folder.join("shadow.toml");
    std::fs::write(&path, shadow)?;
    let path = path.to_string_lossy().into_owned();
    let found = asked(&[before, &[&*path]].concat(), i64::MIN)?;
    let wanted = counted(&mut whole.iter().filter(of_them), i64::MIN);
    ensure!(
        found == wanted,
        "in the shadow: {found:#?} instead of {wanted:#?}"
    );
    Ok(())
}

/// What cannot be answered is refused, with what to do.
fn refusals(folder: &Path, data: &Path, rules: &str) -> Result<()> {
    let wrong = folder.join("wrong.toml");
    std::fs::write(
        &wrong,
        "[[rule]]\nid = \"a\"\npriority = \"low\"\nkind = { boolean = { signal = \"tool_activ\" } }\n",
    )?;
    let wrong = wrong.to_string_lossy().into_owned();
    for (arguments, code, words) in [
        (
            vec!["rules", "test", rules, "--from", "2031-01-01"],
            1,
            ["no telemetry", "2025-03-"],
        ),
        (
            vec!["rules", "test", rules, "--robots", "robot-9999"],
            1,
            ["robot-9999", "theatre robots list"],
        ),
        (
            vec!["rules", "test", &wrong],
            2,
            ["wrong.toml:1", "tool_active"],
        ),
        (
            vec!["rules", "check", &wrong],
            2,
            ["wrong.toml:1", "tool_active"],
        ),
        (
            vec![
                "rules",
                "test",
                rules,
                "--from",
                "2025-02-01",
                "--to",
                "2025-01-01",
            ],
            2,
            ["--to", "--from"],
        ),
    ] {
        let output = theatre(data, &arguments)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(code) && words.iter().all(|word| said.contains(word)),
            "{arguments:?}: {}: {said}",
            output.status
        );
    }
    let checked = answer(data, &["rules", "check", rules])?;
    ensure!(
        checked[0]["watches"] == json!(["robot_telemetry.joints[2].current (A)"]),
        "{checked}"
    );
    Ok(())
}

#[test]
fn a_back_test_over_a_lake_on_s3_answers_what_one_over_a_folder_answers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let objects = ObjectStore::start(&folder.path().join("objects"), "127.0.0.1:0")?;
    objects.create_bucket("lake")?;
    let on_s3 = format!(
        "[lake]\nurl = \"s3://lake/past\"\nendpoint = \"{}\"\npath_style = true\nregion = \"us-east-1\"\n",
        objects.endpoint()
    );
    let rules = std::fs::read_to_string(shipped())?;
    let answers = ["", on_s3.as_str()].map(|lake| -> Result<Value> {
        let settings = format!("{CONFIG}[warehouse]\nenabled = false\n{lake}");
        let deployment = Deployment::new(&settings, &rules)?;
        let fleet = [
            "simulate",
            "--profile",
            "degrading",
            "--days",
            "20",
            "--interval",
            "60s",
            "--robots",
            "3",
            "--seed",
            "3",
        ];
        deployment.run("one", &fleet)?;
        deployment.run("one", &["run", "--until-drained"])?;
        let file = shipped();
        let asked = ["rules", "test", &file, "--output", "json"];
        let output = deployment.run("one", &asked)?;
        let mut answer: Value = serde_json::from_slice(&output.stdout)?;
        // How fast it was.
        answer.as_object_mut().context("no object")?.remove("speed");
        let is_on_s3 = folder.path().join("objects/lake/past").exists();
        ensure!(is_on_s3 != lake.is_empty(), "the lake lies elsewhere");
        Ok(answer)
    });
    let [of_folder, of_s3] = answers;
    let (of_folder, of_s3) = (of_folder?, of_s3?);
    let count = of_folder["conditions"].as_array().map_or(0, Vec::len);
    ensure!(count > 3, "{count} conditions only: {of_folder}");
    ensure!(of_folder == of_s3, "{of_folder}\n{of_s3}");
    Ok(())
}
