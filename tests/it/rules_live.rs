//! Rules of the real program change while it runs and while it does not: by the command line and over
//! HTTP, in the shadow, with another person's yes, and in partitions that were made since.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use theatre_tests::http;
use theatre_tests::{reconciled, run};

use super::alerts::{Case, open, post, send, until};
use super::api::{Served, token};

/// The limit of `hot` is another one, and there is one more rule.
const CHANGED: &str = r#"[[rule]]
id = "hot"
version = 2
priority = "medium"
dataset = "probe"
kind = { threshold = { signal = "v", raise_above = 80.0, clear_below = 75.0 } }
[[rule]]
id = "cold"
priority = "low"
dataset = "probe"
kind = { threshold = { signal = "v", raise_below = 10.0 } }
"#;

const SHADOW: &str = r#"[[rule]]
id = "hot"
version = 3
priority = "medium"
dataset = "probe"
kind = { threshold = { signal = "v", raise_above = 30.0, clear_below = 25.0 } }
"#;

/// A rule file: versions and limits of `hot` and `burning`, of which each may be left out.
fn rule_file(rules: &[(&str, i32, f64)]) -> String {
    let rule = |(id, version, above): &(&str, i32, f64)| {
        format!(
            "[[rule]]\nid = \"{id}\"\nversion = {version}\npriority = \"medium\"\ndataset = \"probe\"\nkind = {{ threshold = {{ signal = \"v\", raise_above = {above:?} }} }}\n"
        )
    };
    rules.iter().map(rule).collect()
}

/// The rules that hold, as (id, version).
fn versions(rules: &Value) -> Vec<(String, i64)> {
    let all = rules.as_array().map(Vec::as_slice).unwrap_or_default();
    let version = |rule: &Value| {
        let id = rule["id"].as_str().or(rule["rule"].as_str());
        Some((id?.to_owned(), rule["version"].as_i64()?))
    };
    all.iter().filter_map(version).collect()
}

/// Changes as (what, rule, who).
fn changes(history: &Value) -> Vec<(String, String, String)> {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let all = history.as_array().map(Vec::as_slice).unwrap_or_default();
    let change = |it: &Value| (text(it, "change"), text(it, "rule_id"), text(it, "actor"));
    all.iter().map(change).collect()
}

/// Transitions as (rule, robot, how).
fn moves(history: &Value) -> Vec<(String, String, String)> {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let all = history.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .map(|it| {
            (
                text(it, "rule_id"),
                text(it, "robot_id"),
                text(it, "transition"),
            )
        })
        .collect()
}

#[test]
fn rules_change_while_it_runs_and_while_it_does_not() -> Result<()> {
    let case = Case::new()?;
    let data = case.data();
    for (name, text) in [("changed.toml", CHANGED), ("shadow.toml", SHADOW)] {
        std::fs::write(case.folder.path().join(name), text)?;
    }
    let file = |name: &str| case.folder.path().join(name).display().to_string();
    let (config, changed, shadow) = (case.config(), file("changed.toml"), file("shadow.toml"));
    let change = |arguments: &[&str]| {
        let all = [
            &["--config", &config, "rules"],
            arguments,
            &["--by", "Anna"],
        ]
        .concat();
        run(&data, &all).map(|_| ())
    };
    // Before anything has run.
    change(&["add", &shadow, "--shadow", "--comment", "is 30 too low?"])?;
    let refused = case.refused(&["rules", "disable", "hit", "--by", "Anna"])?;
    ensure!(refused.contains("did you mean hot"), "{refused}");
    let served = case.serve()?;
    let operator = token(&data, &["--role", "operator"])?;
    let engineer = token(&data, &["--role", "engineer"])?;
    send(&served, &operator, "r1", 1, 50.0)?;
    send(&served, &operator, "r1", 2, 85.0)?;
    let alerts = "/api/v1/alerts";
    until(&served, &operator, alerts, |seen| {
        open(seen, "r1", "hot").is_some()
    })?;
    // While it runs, through its own interface.
    change(&["add", &changed])?;
    let rules = until(&served, &operator, "/api/v1/rules", |seen| {
        seen["items"].as_array().is_some_and(|all| all.len() == 4)
    })?;
    ensure!(rules["items"][0]["version"] == 2, "{rules:#}");
    // A version has one content, by either way.
    let other = case.folder.path().join("other.toml").display().to_string();
    std::fs::write(&other, CHANGED.replace("80.0", "81.0"))?;
    let taken = case.refused(&["rules", "add", &other, "--by", "Anna"])?;
    ensure!(
        taken.contains("'hot'") && taken.contains("version 3 or higher"),
        "{taken}"
    );
    for (version, status) in [(1, 409), (2, 409)] {
        let limits = json!({"signal": "v", "raise_above": 81.0});
        let rule = json!({"id": "hot", "version": version, "priority": "low", "kind": {"threshold": limits}});
        let answer = http::request(
            &served.address,
            "PUT",
            "/api/v1/rules/hot",
            Some(&engineer),
            &[("content-type", "application/json")],
            json!({"rule": rule}).to_string().as_bytes(),
        )?;
        let detail = answer.json()["detail"].to_string();
        ensure!(
            answer.status == status && detail.contains("version 3 or higher"),
            "{version}: {} {detail}",
            answer.status
        );
    }
    send(&served, &operator, "r1", 3, 70.5)?;
    until(&served, &operator, alerts, |seen| {
        open(seen, "r1", "hot").is_none()
    })?;
    send(&served, &operator, "r1", 4, 5.0)?;
    until(&served, &operator, alerts, |seen| {
        open(seen, "r1", "cold").is_some()
    })?;
    let path = "/api/v1/rules/cold/disable";
    ensure!(post(&served, &operator, path, &json!({}))?.status == 403);
    ensure!(post(&served, &engineer, path, &json!({}))?.status == 202);
    until(&served, &operator, alerts, |seen| {
        open(seen, "r1", "cold").is_none()
    })?;
    let forged = json!({"robot_id": "@partition/0"});
    let path = "/api/v1/datasets/rule_changes/records";
    ensure!(post(&served, &engineer, path, &forged)?.status == 403);
    let body =
        json!({"rule": {"id": "x", "priority": "low", "kind": {"boolean": {"signal": "w"}}}});
    let answer = http::request(
        &served.address,
        "PUT",
        "/api/v1/rules/x",
        Some(&engineer),
        &[("content-type", "application/json")],
        body.to_string().as_bytes(),
    )?;
    ensure!(answer.status == 400 && answer.json()["detail"].to_string().contains("'w'"));
    drop(served);
    // Killed, it goes on under the same rules.
    change(&["enable", "cold"])?;
    let served = case.serve()?;
    until(&served, &operator, "/api/v1/rules", |seen| {
        seen["items"].as_array().is_some_and(|all| all.len() == 4)
    })?;
    send(&served, &operator, "r2", 1, 4.0)?;
    until(&served, &operator, alerts, |seen| {
        open(seen, "r2", "cold").is_some()
    })?;
    // One comes and goes over HTTP.
    let limits = json!({"signal": "v", "raise_above": 1e6});
    let spare = json!({"rule": {"id": "spare", "priority": "low", "kind": {"threshold": limits}}});
    for (method, body, count) in [("PUT", spare.to_string(), 5), ("DELETE", String::new(), 4)] {
        let path = "/api/v1/rules/spare";
        let (who, json) = (Some(&*engineer), [("content-type", "application/json")]);
        let answer = http::request(&served.address, method, path, who, &json, body.as_bytes())?;
        ensure!(answer.status == 202, "{method}: {}", answer.json());
        until(&served, &operator, "/api/v1/rules", |seen| {
            seen["items"]
                .as_array()
                .is_some_and(|all| all.len() == count)
        })?;
    }
    drop(served);
    run(&data, &["--config", &config, "run", "--until-drained"])?;
    // A replay of all records meets the changes at their places.
    for from in ["log", "lake"] {
        let rebuild = ["--config", &config, "state", "rebuild", "--from", from];
        run(&data, &rebuild)?;
    }
    let is =
        |rule: &str, robot: &str, how: &str| (rule.to_owned(), robot.to_owned(), how.to_owned());
    let expected = [
        is("hot", "r1", "raised"),
        is("burning", "r1", "raised"),
        is("hot", "r1", "cleared"),
        is("burning", "r1", "cleared"),
        is("cold", "r1", "raised"),
        is("cold", "r1", "cleared"),
        is("cold", "r2", "raised"),
    ];
    let history = moves(&case.history(&data)?);
    let mut sorted = (history.clone(), expected.to_vec());
    sorted.0.sort();
    sorted.1.sort();
    ensure!(sorted.0 == sorted.1, "{history:?}");
    let compared = case.json(&data, &["rules", "compare", "hot"])?;
    let beside = &compared["robots"][0];
    ensure!(
        beside["version"] == 3 && beside["in_the_shadow"] == 1 && beside["raised"] == 1,
        "{compared:#}"
    );
    ensure!(compared["differing"]["count"] == 0, "{compared:#}");
    let changes = case.json(&data, &["rules", "history"])?;
    let kinds: Vec<&str> = changes
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|it| it["change"].as_str())
        .collect();
    ensure!(
        kinds == ["put", "put", "put", "disable", "enable", "put", "remove"],
        "{kinds:?}"
    );
    reconciled(&data, &["--config", &config])?;
    Ok(())
}

#[test]
fn a_change_waits_for_another_person_where_two_are_needed() -> Result<()> {
    let case = Case::new()?;
    let (data, config) = (case.data(), case.config());
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, format!("rules_approval = true\n{text}"))?;
    let command = |arguments: &[&str]| run(&data, &[&["--config", &config], arguments].concat());
    let rules = |arguments: &[&str]| command(&[&["rules"], arguments].concat());
    rules(&["remove", "hot", "--by", "Anna"])?;
    command(&["run", "--until-drained"])?;
    let standing = || case.json(&data, &["rules", "list"]);
    let count = |listed: &Value| listed.as_array().map_or(0, Vec::len);
    ensure!(count(&standing()?) == 2, "it waits");
    let history = case.json(&data, &["rules", "history"])?;
    let id = history[0]["change_id"]
        .as_str()
        .context("an id")?
        .to_owned();
    ensure!(history[0]["is_waiting"] == true, "{history:#}");
    let own = case.refused(&["rules", "approve", &id, "--by", "Anna"])?;
    ensure!(own.contains("another person"), "{own}");
    rules(&["approve", &id, "--by", "Lee"])?;
    // That stands in the log, though nothing has read it yet.
    let twice = case.refused(&["rules", "approve", &id, "--by", "Kim"])?;
    ensure!(twice.contains("no change"), "{twice}");
    command(&["run", "--until-drained"])?;
    ensure!(count(&standing()?) == 1, "it counts");
    // Another one is rejected, through the process that runs.
    let served = case.serve()?;
    rules(&["disable", "burning", "--by", "Anna"])?;
    let operator = token(&data, &["--role", "operator"])?;
    let changes = "/api/v1/rules/changes";
    let waits = until(&served, &operator, changes, |seen| {
        seen["items"][0]["is_waiting"] == true
    })?;
    let id = waits["items"][0]["change_id"].as_str().context("an id")?;
    let path = format!("{changes}/{id}/reject");
    let reason = json!({"reason": "it is needed"});
    ensure!(post(&served, &operator, &path, &reason)?.status == 403);
    let engineer = token(&data, &["--role", "engineer"])?;
    ensure!(post(&served, &engineer, &path, &json!({"reason": " "}))?.status == 400);
    rules(&["reject", id, "--reason", "it is needed", "--by", "Lee"])?;
    until(&served, &operator, changes, |seen| {
        seen["items"][1]["fate"]
            == json!({"state": "rejected", "by": "Lee", "reason": "it is needed"})
    })?;
    ensure!(
        post(&served, &engineer, &path, &reason)?.status == 404,
        "it waits no more"
    );
    // The same request with its key is answered alike, and is one change.
    let key = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let ask = |body: &Value| {
        let (address, path) = (&served.address, "/api/v1/rules/burning/disable");
        let body = body.to_string().into_bytes();
        http::request(address, "POST", path, Some(&engineer), &key, &body)
    };
    let (first, again) = (ask(&json!({}))?, ask(&json!({}))?);
    ensure!(
        first.status == 202 && first.json() == again.json(),
        "{first:?} {again:?}"
    );
    ensure!(ask(&json!({"comment": "why"}))?.status == 409);
    let waits = until(&served, &operator, changes, |seen| {
        seen["items"].as_array().is_some_and(|all| all.len() == 5)
    })?;
    ensure!(
        waits["items"][0]["change_id"] == first.json()["change_id"],
        "{waits:#}"
    );
    let own = waits["items"][0]["change_id"].as_str().context("an id")?;
    rules(&["reject", own, "--reason", "a mistake", "--by", "test"])?;
    drop(served);
    command(&["run", "--until-drained"])?;
    ensure!(count(&standing()?) == 1 && standing()?[0]["enabled"] == true);
    let history = case.json(&data, &["rules", "history"])?;
    ensure!(history[4]["fate"] == "withdrawn: a mistake", "{history:#}");
    Ok(())
}

#[test]
fn a_rule_that_is_put_over_http_is_looked_at_as_one_of_a_file() -> Result<()> {
    let case = Case::new()?;
    let data = case.data();
    let served = case.serve()?;
    let engineer = token(&data, &["--role", "engineer"])?;
    let put = |id: &str, rule: &Value| {
        let (path, body) = (
            format!("/api/v1/rules/{id}"),
            json!({"rule": rule}).to_string(),
        );
        let (who, json) = (Some(&*engineer), [("content-type", "application/json")]);
        http::request(&served.address, "PUT", &path, who, &json, body.as_bytes())
    };
    let warm = |more: Value| {
        let limits = json!({"signal": "v", "raise_above": 50.0});
        let mut rule = json!({"id": "warm", "priority": "medium", "kind": {"threshold": limits}});
        for (key, value) in more.as_object().into_iter().flatten() {
            rule[key] = value.clone();
        }
        rule
    };
    for (more, why) in [
        (json!({"version": 0}), "versions begin with 1"),
        (json!({"prioritty": "low"}), "did you mean priority"),
        (
            json!({"kind": {"threshold": {"signal": "v", "raise_above": "50"}}}),
            "kind.threshold.raise_above: ",
        ),
    ] {
        let answer = put("warm", &warm(more))?;
        let detail = answer.json()["detail"].to_string();
        ensure!(answer.status == 400 && detail.contains(why), "{detail}");
    }
    let idle = json!({"unacknowledged": [{"after": "10m", "priority": "low"}]});
    let answer = put("warm", &warm(idle))?;
    let warnings = answer.json()["warnings"].clone();
    ensure!(
        answer.status == 202 && warnings[0].to_string().contains("keeps the higher one"),
        "{}",
        answer.json()
    );
    // Another one follows it before any partition has saved it.
    let follows =
        json!({"id": "follows", "priority": "low", "kind": {"combination": {"of": "warm"}}});
    let answer = put("follows", &follows)?;
    ensure!(
        answer.status == 202 && answer.json()["warnings"] == json!([]),
        "{}",
        answer.json()
    );
    // A command beside the process says why, too.
    let config = case.config();
    let remove = [
        "--config", &config, "rules", "remove", "follows", "--by", "Anna",
    ];
    run(
        &data,
        &[&remove[..], &["--comment", "not needed & loud"]].concat(),
    )?;
    until(&served, &engineer, "/api/v1/rules/changes", |seen| {
        let latest = &seen["items"][0];
        latest["kind"] == "remove" && latest["comment"] == "not needed & loud"
    })?;
    Ok(())
}

#[test]
fn partitions_that_are_made_later_know_the_rules_that_hold() -> Result<()> {
    let case = Case::new()?;
    let (data, config) = (case.data(), case.config());
    let command = |arguments: &[&str]| run(&data, &[&["--config", &config], arguments].concat());
    command(&["rules", "remove", "hot", "--by", "Anna"])?;
    let served = case.serve()?;
    let operator = token(&data, &["--role", "operator"])?;
    for robot in 0..24 {
        send(&served, &operator, &format!("r{robot}"), 1, 50.0)?;
    }
    drop(served);
    command(&["run", "--until-drained"])?;
    command(&["state", "repartition", "--partitions", "16"])?;
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, format!("partitions = 16\n{text}"))?;
    let served = case.serve()?;
    for robot in 0..24 {
        send(&served, &operator, &format!("r{robot}"), 2, 85.0)?;
    }
    let burning = until(&served, &operator, "/api/v1/alerts?limit=100", |seen| {
        seen["items"].as_array().is_some_and(|all| all.len() >= 24)
    })?;
    let all = burning["items"].as_array().context("a list")?;
    ensure!(
        all.iter().all(|open| open["rule_id"] == "burning") && all.len() == 24,
        "{burning:#}"
    );
    drop(served);
    command(&["run", "--until-drained"])?;
    // Robots that have moved were under the same rules where they lived before.
    for from in ["log", "lake"] {
        command(&["state", "rebuild", "--from", from])?;
    }
    Ok(())
}

#[test]
fn what_changes_in_the_rule_file_counts_and_nothing_else_does() -> Result<()> {
    let case = Case::new()?;
    let (data, config) = (case.data(), case.config());
    let (file, by_hand) = (
        case.folder.path().join("rules.toml"),
        case.folder.path().join("by-hand.toml"),
    );
    std::fs::write(&file, rule_file(&[("hot", 1, 60.0), ("burning", 1, 70.0)]))?;
    std::fs::write(&by_hand, rule_file(&[("burning", 5, 75.0)]))?;
    let served = case.serve()?;
    let operator = token(&data, &["--role", "operator"])?;
    let hold = |served: &Served, expected: &[(&str, i64)]| {
        let expected: Vec<(String, i64)> = (expected.iter())
            .map(|(id, version)| ((*id).to_owned(), *version))
            .collect();
        until(served, &operator, "/api/v1/rules", |seen| {
            versions(&seen["items"]) == expected
        })
    };
    let by_hand = by_hand.display().to_string();
    let add = [
        "--config", &config, "rules", "add", &by_hand, "--by", "Anna",
    ];
    run(&data, &add)?;
    hold(&served, &[("hot", 1), ("burning", 5)])?;

    // While it runs.
    send(&served, &operator, "r1", 1, 50.0)?;
    std::fs::write(&file, rule_file(&[("hot", 2, 40.0), ("burning", 1, 70.0)]))?;
    hold(&served, &[("hot", 2), ("burning", 5)])?;
    send(&served, &operator, "r1", 2, 72.0)?;
    let alerts = until(&served, &operator, "/api/v1/alerts", |seen| {
        open(seen, "r1", "hot").is_some()
    })?;
    ensure!(open(&alerts, "r1", "burning").is_none(), "{alerts:#}");

    // What is wrong changes nothing, and is said with its place.
    let good = rule_file(&[("hot", 2, 40.0), ("burning", 1, 70.0)]);
    std::fs::write(&file, format!("{}[[rule]\n", rule_file(&[("hot", 9, 1.0)])))?;
    served.says(&["nothing of it is taken", "rules.toml", "line 7"])?;
    let wrong = rule_file(&[("hot", 9, 1.0), ("warm", 1, 1.0)]);
    std::fs::write(
        &file,
        wrong.replace(
            "\"v\", raise_above = 1.0 } }\n",
            "\"w\", raise_above = 1.0 } }\n",
        ),
    )?;
    served.says(&[
        "rules.toml:1: rule 'hot'",
        "rules.toml:7: rule 'warm'",
        "'w'",
    ])?;
    std::fs::write(&file, "")?;
    served.says(&["there is no rule in it"])?;
    hold(&served, &[("hot", 2), ("burning", 5)])?;
    std::fs::write(&file, &good)?;
    drop(served);

    // Killed and begun anew; then edited while nothing ran.
    let served = case.serve()?;
    hold(&served, &[("hot", 2), ("burning", 5)])?;
    drop(served);
    std::fs::write(&file, rule_file(&[("hot", 3, 90.0)]))?;
    let served = case.serve()?;
    hold(&served, &[("hot", 3)])?;
    send(&served, &operator, "r1", 3, 72.0)?;
    until(&served, &operator, "/api/v1/alerts", |seen| {
        open(seen, "r1", "hot").is_none()
    })?;
    drop(served);
    // Edited without another version: it gets the next one, once.
    std::fs::write(&file, rule_file(&[("hot", 3, 95.0)]))?;
    for _ in 0..2 {
        run(&data, &["--config", &config, "run", "--until-drained"])?;
    }
    let of_hot = case.json(&data, &["rules", "history", "--rule", "hot"])?;
    let said = of_hot.as_array().context("a list")?.iter().map(|it| {
        let limit = it["rule"]["kind"]["threshold"]["raise_above"].as_f64();
        (it["version"].as_i64(), limit)
    });
    let said: Vec<_> = said.collect();
    let expected = [(1, 60.0), (2, 40.0), (3, 90.0), (4, 95.0)];
    ensure!(
        said == expected.map(|(version, limit)| (Some(version), Some(limit))),
        "{of_hot:#}"
    );
    let comment = of_hot[3]["comment"].as_str().unwrap_or_default();
    ensure!(comment.contains("recorded as version 4"), "{comment}");
    let unknown = case.refused(&["rules", "history", "--rule", "hit"])?;
    ensure!(unknown.contains("did you mean hot"), "{unknown}");
    let history = changes(&case.json(&data, &["rules", "history"])?);
    let is = |what: &str, rule: &str, who: &str| (what.to_owned(), rule.to_owned(), who.to_owned());
    ensure!(
        history
            == [
                is("put", "burning", "Anna"),
                is("put", "hot", "rule file"),
                is("put", "hot", "rule file"),
                is("remove", "burning", "rule file"),
                is("put", "hot", "rule file"),
            ],
        "{history:?}"
    );
    reconciled(&data, &["--config", &config])?;
    Ok(())
}

#[test]
fn a_change_of_the_rule_file_waits_for_another_person_also_over_restarts() -> Result<()> {
    let case = Case::new()?;
    let (data, config) = (case.data(), case.config());
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, format!("rules_approval = true\n{text}"))?;
    let file = case.folder.path().join("rules.toml");
    std::fs::write(&file, rule_file(&[("hot", 1, 60.0)]))?;
    let drained = || run(&data, &["--config", &config, "run", "--until-drained"]);
    let standing = || Ok::<_, anyhow::Error>(versions(&case.json(&data, &["rules", "list"])?));
    drained()?;
    std::fs::write(&file, rule_file(&[("hot", 2, 50.0)]))?;
    for _ in 0..3 {
        drained()?;
        ensure!(standing()? == [("hot".to_owned(), 1)], "it waits");
    }
    let history = case.json(&data, &["rules", "history"])?;
    ensure!(changes(&history).len() == 1, "{history:#}");
    let id = history[0]["change_id"].as_str().context("an id")?;
    ensure!(history[0]["is_waiting"] == true, "{history:#}");
    // Nor does it count because changes to come need no second person.
    std::fs::write(&config, &text)?;
    drained()?;
    ensure!(
        standing()? == [("hot".to_owned(), 1)],
        "it waits as it did when it came"
    );
    std::fs::write(&config, format!("rules_approval = true\n{text}"))?;
    let approve = ["--config", &config, "rules", "approve", id, "--by", "Lee"];
    run(&data, &approve)?;
    drained()?;
    ensure!(standing()? == [("hot".to_owned(), 2)], "it counts");
    Ok(())
}
