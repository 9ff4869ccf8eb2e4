//! People act on conditions of the real program: over HTTP, by the command line while it runs and while
//! it does not; and what they said is there after a restart and after a replay of the log.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use theatre_actors::ports::{EventLog, PollLimit};
use theatre_config::INPUT_TOPICS;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::log::EmbeddedLog;
use theatre_system::clock::SystemClock;
use theatre_tests::http::{self, Answer};
use theatre_tests::{reconciled, run, theatre};

use super::api::{Served, token};

const SCHEMA: &str = r#"{"type": "record", "name": "Sample", "theatre": {"id": 3600, "dataset": "probe", "kind": "telemetry", "version": 1},
    "fields": [{"name": "robot_id", "type": "string"},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "sequence", "type": "long"},
    {"name": "v", "type": "double"}]}"#;

const RULES: &str = r#"[[rule]]
id = "hot"
priority = "medium"
dataset = "probe"
latch = true
description = "it is hot"
kind = { threshold = { signal = "v", raise_above = 60.0, clear_below = 55.0 } }
[[rule]]
id = "burning"
priority = "high"
dataset = "probe"
kind = { threshold = { signal = "v", raise_above = 70.0, clear_below = 65.0 } }
"#;

/// Topic of actions.
const ACTIONS: &str = INPUT_TOPICS[9];
const JSON: (&str, &str) = ("content-type", "application/json");

/// A data directory, and beside it schema, rules and configuration.
pub(super) struct Case {
    pub(super) folder: tempfile::TempDir,
}

impl Case {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for (name, text) in [
            ("probe.avsc", SCHEMA),
            ("rules.toml", RULES),
            (
                "theatre.toml",
                // Nothing of this depends on how long the test takes.
                "schemas = [\"probe.avsc\"]\nrules = \"rules.toml\"\nsilence_after = \"1h\"\n",
            ),
        ] {
            std::fs::write(folder.path().join(name), text)?;
        }
        Ok(Self { folder })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn config(&self) -> String {
        self.folder
            .path()
            .join("theatre.toml")
            .display()
            .to_string()
    }

    pub(super) fn serve(&self) -> Result<Served> {
        self.serve_with(&[])
    }

    /// The same with variables of the configuration.
    pub(super) fn serve_with(&self, variables: &[(&str, &str)]) -> Result<Served> {
        let config = self.config();
        let arguments = ["--config", &config, "run"];
        Served::configured(&self.data(), "127.0.0.1:0", &arguments, variables)
    }

    /// What a command prints as JSON.
    pub(super) fn json(&self, data: &Path, arguments: &[&str]) -> Result<Value> {
        let config = self.config();
        let flags = ["--config", &config, "--output", "json"];
        Ok(serde_json::from_slice(
            &run(data, &[&flags, arguments].concat())?.stdout,
        )?)
    }

    /// Why a command refuses.
    pub(super) fn refused(&self, arguments: &[&str]) -> Result<String> {
        let config = self.config();
        let arguments = [&["--config", &config], arguments].concat();
        let ended = theatre(&self.data(), &arguments)?.output()?;
        ensure!(!ended.status.success(), "{arguments:?} was not refused");
        Ok(String::from_utf8_lossy(&ended.stderr).into_owned())
    }

    /// All transitions, each with everything that it says.
    pub(super) fn history(&self, data: &Path) -> Result<Value> {
        self.json(data, &["alerts", "history", "--limit", "0"])
    }
}

pub(super) fn send(
    served: &Served,
    secret: &str,
    robot: &str,
    sequence: i64,
    v: f64,
) -> Result<()> {
    let row = json!({"robot_id": robot, "event_time": 1_767_225_600_000_000_i64 + sequence * 1_000_000, "sequence": sequence, "v": v});
    let path = "/api/v1/datasets/probe/records";
    let answer = post(served, secret, path, &row)?;
    ensure!(answer.status == 202, "{answer:?}");
    Ok(())
}

pub(super) fn post(served: &Served, secret: &str, path: &str, body: &Value) -> Result<Answer> {
    let body = body.to_string().into_bytes();
    http::request(&served.address, "POST", path, Some(secret), &[JSON], &body)
}

/// Waits until the interface says so.
pub(super) fn until(
    served: &Served,
    secret: &str,
    path: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = served.get(path, Some(secret))?.json();
        if is_so(&seen) {
            return Ok(seen);
        }
        if Instant::now() > end {
            bail!("{path} never says what it should: {seen:#}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The open condition of a robot by a rule.
pub(super) fn open<'a>(alerts: &'a Value, robot: &str, rule: &str) -> Option<&'a Value> {
    let mut items = alerts["items"].as_array()?.iter();
    items.find(|item| item["robot_id"] == robot && item["rule_id"] == rule)
}

fn id_of(alerts: &Value, robot: &str, rule: &str) -> Result<String> {
    let found = open(alerts, robot, rule).context("it is not open")?;
    let id = found["condition_id"].as_str().context("it has no id")?;
    Ok(id.to_owned())
}

/// What a condition did, and who did it.
fn moves(history: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let all = history["transitions"].as_array().into_iter().flatten();
    all.map(|moved| (text(&moved["transition"]), text(&moved["actor"])))
        .collect()
}

fn wanted(moves: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(what, who): &(&str, &str)| ((*what).to_owned(), (*who).to_owned());
    moves.iter().map(owned).collect()
}

fn all_open(served: &Served, secret: &str, robots: &[&str]) -> Result<Value> {
    until(served, secret, "/api/v1/alerts", |seen| {
        let is_open = |robot: &&str| {
            open(seen, robot, "hot").is_some() && open(seen, robot, "burning").is_some()
        };
        robots.iter().all(is_open)
    })
}

#[test]
fn what_people_say_counts_after_a_stop_a_restart_and_a_replay() -> Result<()> {
    let case = Case::new()?;
    let data = case.data();
    let served = case.serve()?;
    let anna = token(&data, &["--role", "operator"])?;
    for robot in ["r1", "r2"] {
        send(&served, &anna, robot, 0, 80.0)?;
    }
    let alerts = all_open(&served, &anna, &["r1", "r2"])?;
    let (hot, burning) = (
        id_of(&alerts, "r1", "hot")?,
        id_of(&alerts, "r2", "burning")?,
    );
    let path = format!("/api/v1/alerts/{hot}/acknowledge");
    let said = json!({"comment": "on my way"});
    let acted = post(&served, &anna, &path, &said)?;
    ensure!(acted.status == 202, "{acted:?}");
    let shown = until(&served, &anna, "/api/v1/alerts", |seen| {
        open(seen, "r1", "hot").is_some_and(|open| open["acknowledged_by"] == "test")
    })?;
    ensure!(open(&shown, "r2", "burning").context("it is open")?["acknowledged_by"].is_null());
    drop(served); // killed

    // No process runs: what is said now counts at the next start.
    let silence = [
        "alerts",
        "silence",
        "--robot",
        "r1",
        "--for",
        "2h",
        "--reason",
        "calibration",
        "--by",
        "Ben",
    ];
    let made = case.json(&data, &silence)?;
    let silence = made[0]["action_id"].as_str().context("no id")?.to_owned();
    let short = &burning[..10];
    case.json(
        &data,
        &[
            "alerts",
            "ack",
            short,
            "--by",
            "Cleo",
            "--comment",
            "called",
        ],
    )?;
    let before = case.json(&data, &["alerts", "show", short])?;
    ensure!(moves(&before) == wanted(&[("raised", "-")]), "{before:#}");

    let served = case.serve()?;
    let path = format!("/api/v1/alerts/{burning}");
    until(&served, &anna, &path, |seen| {
        seen["condition"]["acknowledged_by"] == "Cleo"
    })?;
    let alerts = until(&served, &anna, "/api/v1/alerts", |seen| {
        open(seen, "r1", "hot").is_some_and(|open| open["silenced_until"].is_string())
    })?;
    let high = open(&alerts, "r1", "burning").context("it is open")?;
    ensure!(
        high["silenced_until"].is_null(),
        "high priority is not hidden: {high:#}"
    );

    // The program runs: the command goes through its interface.
    let unsilence = ["alerts", "unsilence", &silence, "--by", "Dora"];
    let why = ["--comment", "mended & tried"];
    case.json(&data, &[&unsilence[..], &why].concat())?;
    until(&served, &anna, "/api/v1/silences", |seen| {
        seen["items"].as_array().is_some_and(Vec::is_empty)
    })?;
    send(&served, &anna, "r1", 1, 10.0)?;
    until(&served, &anna, "/api/v1/alerts", |seen| {
        open(seen, "r1", "hot").is_some_and(|open| open["is_latched"] == true)
            && open(seen, "r1", "burning").is_none()
    })?;
    case.json(&data, &["alerts", "close", &hot[..8], "--by", "Dora"])?;
    let path = format!("/api/v1/alerts/{hot}");
    let ended = until(&served, &anna, &path, |seen| seen["condition"].is_null())?;
    let life = wanted(&[
        ("raised", "-"),
        ("acknowledged", "test"),
        ("silenced", "Ben"),
        ("unsilenced", "Dora"),
        ("latched", "-"),
        ("cleared", "Dora"),
    ]);
    ensure!(moves(&ended) == life, "{ended:#}");
    ensure!(ended["transitions"][1]["comment"] == "on my way");
    ensure!(ended["transitions"][3]["comment"] == "mended & tried");
    drop(served);
    replayed(&case, &hot, &life)
}

#[test]
fn a_silence_ends_by_the_clock_long_before_its_robot_is_silent() -> Result<()> {
    // Which it is after an hour.
    let case = Case::new()?;
    let data = case.data();
    let served = case.serve()?;
    let anna = token(&data, &["--role", "operator"])?;
    send(&served, &anna, "r1", 0, 80.0)?;
    let hot = id_of(&all_open(&served, &anna, &["r1"])?, "r1", "hot")?;
    let said = [
        "alerts",
        "silence",
        "--robot",
        "r1",
        "--for",
        "5s",
        "--reason",
        "calibration",
    ];
    case.json(&data, &[&said[..], &["--by", "Ben"]].concat())?;
    let path = format!("/api/v1/alerts/{hot}");
    // What is open is read once a second, its history each time.
    let ended = until(&served, &anna, &path, |seen| {
        moves(seen).iter().any(|(what, _)| what == "unsilenced")
            && seen["condition"]["silenced_until"].is_null()
    })?;
    let life = wanted(&[("raised", "-"), ("silenced", "Ben"), ("unsilenced", "-")]);
    ensure!(moves(&ended) == life, "{ended:#}");
    Ok(())
}

/// History is the same after a restart, and after a replay of the log into a fresh store.
fn replayed(case: &Case, hot: &str, life: &[(String, String)]) -> Result<()> {
    let (data, config) = (case.data(), case.config());
    let drain = ["--config", config.as_str(), "run", "--until-drained"];
    run(&data, &drain)?;
    let read = reconciled(&data, &["--config", &config])?;
    ensure!(read > 0);
    let shown = case.json(&data, &["alerts", "show", hot])?;
    ensure!(moves(&shown) == life, "{shown:#}");
    let fresh = case.folder.path().join("fresh");
    std::fs::create_dir_all(fresh.join("keys"))?;
    for file in ["log.sqlite", "keys/pseudonym.key"] {
        std::fs::copy(data.join(file), fresh.join(file))?;
    }
    only_input(&fresh.join("log.sqlite"))?;
    run(&fresh, &drain)?;
    let (was, is) = (case.history(&data)?, case.history(&fresh)?);
    ensure!(was == is, "a replay says {is:#}\ninstead of {was:#}");
    Ok(())
}

/// Forgets what was published from a log, and by whom: what came in is left.
fn only_input(log: &Path) -> Result<()> {
    let log = rusqlite::Connection::open(log)?;
    let inputs: Vec<String> = INPUT_TOPICS
        .iter()
        .map(|topic| format!("'{topic}'"))
        .collect();
    let others = format!(
        "(SELECT id FROM topic WHERE name NOT IN ({}))",
        inputs.join(", ")
    );
    log.execute_batch(&format!(
        "DELETE FROM lane; DELETE FROM block WHERE topic IN {others};
         DELETE FROM log_range WHERE topic IN {others}; DELETE FROM topic WHERE id IN {others};"
    ))?;
    Ok(())
}

#[test]
fn only_those_who_may_act_do_and_the_trail_says_who_did() -> Result<()> {
    let case = Case::new()?;
    let data = case.data();
    let served = case.serve()?;
    let operator = token(&data, &["--role", "operator"])?;
    let limited = token(&data, &["--role", "operator", "--robots", "r1"])?;
    let engineer = token(&data, &["--role", "engineer"])?;
    let admin = token(&data, &["--role", "admin"])?;
    for robot in ["r1", "r2"] {
        send(&served, &operator, robot, 0, 80.0)?;
    }
    let alerts = all_open(&served, &operator, &["r1", "r2"])?;
    let (mine, theirs) = (id_of(&alerts, "r1", "hot")?, id_of(&alerts, "r2", "hot")?);
    let burning = id_of(&alerts, "r1", "burning")?;
    let on = |id: &str, what: &str| format!("/api/v1/alerts/{id}/{what}");
    let (silences, wide) = (
        "/api/v1/silences",
        json!({"rule": "robot_silent", "for": "1h", "reason": "works"}),
    );
    let high = json!({"robot": "r1", "for": "1h", "reason": "works", "hides_high": true});
    let unknown_robot = json!({"robot": "r9", "for": "1h", "reason": "works"});
    let forged = json!({"actor": "Anna"});
    let record = json!({"robot_id": "r1", "event_time": 1, "action_id": "a", "action": "silence", "actor": "Anna", "until": 9_000_000_000_000_000_i64, "hides_high": true});
    let unknown = format!("{}x", &mine[..31]);
    for (secret, path, body, status, why) in [
        (
            &limited,
            on(&theirs, "acknowledge"),
            json!({}),
            404,
            "no open condition",
        ),
        (
            &limited,
            silences.to_owned(),
            wide.clone(),
            403,
            "limited to robots",
        ),
        (
            &operator,
            silences.to_owned(),
            high.clone(),
            403,
            "role engineer",
        ),
        (
            &operator,
            silences.to_owned(),
            unknown_robot,
            404,
            "did you mean r1, r2?",
        ),
        (
            &operator,
            on(&mine, "acknowledge"),
            forged,
            400,
            "unknown field",
        ),
        (
            &operator,
            on(&unknown, "assign"),
            json!({}),
            404,
            mine.as_str(),
        ),
        (
            &operator,
            on(&mine[..8], "close"),
            json!({}),
            404,
            mine.as_str(),
        ),
        (
            &operator,
            on(&burning, "close"),
            json!({}),
            400,
            "does not latch",
        ),
        (
            &engineer,
            "/api/v1/datasets/alert_actions/records".to_owned(),
            record,
            403,
            "/api/v1/silences",
        ),
    ] {
        let answer = post(&served, secret, &path, &body)?;
        let detail = answer.json()["detail"].to_string();
        ensure!(
            answer.status == status && detail.contains(why),
            "{path}: {answer:?}"
        );
    }
    let held = |topic: &str| -> Result<Vec<(u32, String)>> { keys(&data, topic) };
    ensure!(held(ACTIONS)?.is_empty(), "what was refused is not written");

    let accepted = |answer: Answer| -> Result<Value> {
        ensure!(answer.status == 202, "{answer:?}");
        Ok(answer.json())
    };
    accepted(post(
        &served,
        &limited,
        &on(&mine, "acknowledge"),
        &json!({}),
    )?)?;
    accepted(post(&served, &engineer, silences, &high)?)?;
    let key = ("idempotency-key", "once");
    let body = wide.to_string().into_bytes();
    let ask = || {
        http::request(
            &served.address,
            "POST",
            silences,
            Some(&operator),
            &[JSON, key],
            &body,
        )
    };
    let (first, again) = (accepted(ask()?)?, accepted(ask()?)?);
    ensure!(first == again, "{first} {again}");
    let mut other = wide.clone();
    other["reason"] = json!("another one");
    for (path, body) in [(silences, &other), (&*on(&mine, "acknowledge"), &json!({}))] {
        let headers = [JSON, key];
        let body = body.to_string().into_bytes();
        let address = &served.address;
        let answer = http::request(address, "POST", path, Some(&operator), &headers, &body)?;
        let detail = answer.json()["detail"].to_string();
        ensure!(
            answer.status == 409 && detail.contains("used for another request"),
            "{path}: {answer:?}"
        );
    }
    let partitions = first["positions"].as_array().map_or(0, Vec::len);
    let held = held(ACTIONS)?;
    for partition in 0..u32::try_from(partitions)? {
        let key = (partition, format!("@partition/{partition}"));
        let count = held.iter().filter(|held| **held == key).count();
        ensure!(count == 1, "once for both requests: {held:?}");
    }
    ensure!(held.len() == 2 + partitions && partitions > 1, "{held:?}");
    until(&served, &operator, "/api/v1/alerts", |seen| {
        let of = |rule: &str| open(seen, "r1", rule).cloned().unwrap_or_default();
        of("hot")["acknowledged_by"] == "test" && of("burning")["silenced_until"].is_string()
    })?;
    audited(&served, &admin, &mine)?;
    let why = case.refused(&["alerts", "ack", "--robot", "r3", "--by", "Anna"])?;
    ensure!(why.contains("did you mean r1, r2?"), "{why}");
    Ok(())
}

fn audited(served: &Served, admin: &str, condition: &str) -> Result<()> {
    let trail = served.get("/api/v1/audit?limit=100", Some(admin))?.json();
    let items = trail["items"].as_array().context("no trail")?;
    let entry = |action: &str| items.iter().find(|entry| entry["action"] == action);
    let acknowledged = entry("alert.acknowledge").context("it is not in the trail")?;
    ensure!(acknowledged["target"] == condition, "{acknowledged:#}");
    let who = acknowledged["who"].as_str().unwrap_or_default();
    ensure!(who.starts_with("tok_") && acknowledged["from"] == "127.0.0.1");
    let silenced = entry("alert.silence").context("it is not in the trail")?;
    let after = silenced["after"].as_str().unwrap_or_default();
    ensure!(after.contains("\"actor\":\"test\""), "{silenced:#}");
    Ok(())
}

/// Partition and key of each record of a topic.
fn keys(data: &Path, topic: &str) -> Result<Vec<(u32, String)>> {
    let log =
        EmbeddedLog::open_read_only(&DataDir::new(data).log(), std::sync::Arc::new(SystemClock))?;
    let mut keys = Vec::new();
    for partition in 0..log.partitions(topic)?.unwrap_or(0) {
        let limit = PollLimit {
            records: 1000,
            bytes: 1 << 20,
        };
        log.reader(topic, partition, 0)?
            .poll(limit, &mut |record| {
                keys.push((partition, String::from_utf8_lossy(record.key).into_owned()));
            })?;
    }
    Ok(keys)
}
