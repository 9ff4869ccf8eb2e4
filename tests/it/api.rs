//! The HTTP interface of the real program: who may do what, records that come in once, events that
//! are heard once, and callers that mean harm.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use theatre_actors::outputs::OutputKind;
use theatre_tests::http::{self, Answer, Events};
use theatre_tests::{outputs, reconciled, run, theatre};

const RECORDS: &str = "/api/v1/datasets/robot_events/records";
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// A process that serves the interface; killed at the end.
pub(crate) struct Served {
    process: Child,
    pub(crate) address: String,
    /// What it has said on standard error since it serves.
    said: Arc<Mutex<String>>,
}

impl Served {
    /// Runs a command at an address of the interface; port 0 is any.
    pub(crate) fn start(data: &Path, listen: &str, arguments: &[&str]) -> Result<Self> {
        Self::configured(data, listen, arguments, &[])
    }

    /// The same with variables of the configuration.
    pub(crate) fn configured(
        data: &Path,
        listen: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let mut process = theatre(data, arguments)?
            .env("THEATRE__API__LISTEN", listen)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = process.stderr.take().context("no standard error")?;
        let mut lines = BufReader::new(said).lines();
        let line = lines
            .by_ref()
            .map_while(std::result::Result::ok)
            .find_map(|line| {
                let (_, url) = line.split_once("page: http")?;
                Some(url.split_once("://")?.1.to_owned())
            });
        let said = Arc::new(Mutex::new(String::new()));
        let heard = said.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(std::result::Result::ok) {
                let mut said = heard.lock().unwrap_or_else(PoisonError::into_inner);
                said.push_str(&line);
                said.push('\n');
            }
        });
        let line = line.context("it did not say where the interface is")?;
        let address = line.trim_end_matches('/').to_owned();
        Ok(Self {
            process,
            address,
            said,
        })
    }

    /// Waits until it has said all of these words on standard error.
    pub(crate) fn says(&self, words: &[&str]) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let said = self
                .said
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if words.iter().all(|word| said.contains(word)) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "it never says {words:?}: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> Result<Answer> {
        http::request(&self.address, "GET", path, token, &[], &[])
    }

    fn post(&self, token: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        http::request(&self.address, "POST", RECORDS, Some(token), headers, body)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

pub(crate) fn token(data: &Path, flags: &[&str]) -> Result<String> {
    let arguments = [
        &["--output", "json", "token", "create", "--name", "test"],
        flags,
    ]
    .concat();
    let made: Value = serde_json::from_slice(&run(data, &arguments)?.stdout)?;
    let secret = made[0]["secret"].as_str().context("no secret")?;
    Ok(secret.to_owned())
}

/// Every route and the least role that it wants, written down a second time.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/me", "viewer"),
    ("GET", "/api/v1/fleet", "viewer"),
    ("GET", "/api/v1/robots", "viewer"),
    ("GET", "/api/v1/robots/{robot}", "viewer"),
    ("GET", "/api/v1/robots/{robot}/signals", "viewer"),
    ("GET", "/api/v1/robots/{robot}/telemetry", "viewer"),
    ("GET", "/api/v1/procedures", "viewer"),
    ("GET", "/api/v1/procedures/{procedure}", "viewer"),
    ("GET", "/api/v1/alerts", "viewer"),
    ("GET", "/api/v1/alerts/transitions", "viewer"),
    ("GET", "/api/v1/alerts/{condition}", "viewer"),
    ("POST", "/api/v1/alerts/{condition}/acknowledge", "operator"),
    (
        "POST",
        "/api/v1/alerts/{condition}/unacknowledge",
        "operator",
    ),
    ("POST", "/api/v1/alerts/{condition}/assign", "operator"),
    ("POST", "/api/v1/alerts/{condition}/close", "operator"),
    ("GET", "/api/v1/silences", "viewer"),
    ("POST", "/api/v1/silences", "operator"),
    ("DELETE", "/api/v1/silences/{silence}", "operator"),
    ("GET", "/api/v1/rules", "viewer"),
    ("GET", "/api/v1/rules/changes", "viewer"),
    ("PUT", "/api/v1/rules/{rule}", "engineer"),
    ("DELETE", "/api/v1/rules/{rule}", "engineer"),
    ("POST", "/api/v1/rules/{rule}/enable", "engineer"),
    ("POST", "/api/v1/rules/{rule}/disable", "engineer"),
    ("POST", "/api/v1/rules/changes/{change}/approve", "engineer"),
    ("POST", "/api/v1/rules/changes/{change}/reject", "engineer"),
    ("GET", "/api/v1/reports", "viewer"),
    ("GET", "/api/v1/reports/{report}", "viewer"),
    ("GET", "/api/v1/reports/{report}/csv", "viewer"),
    ("GET", "/api/v1/reports/{report}/picture", "viewer"),
    ("GET", "/api/v1/outcomes", "viewer"),
    ("GET", "/api/v1/maintenance", "viewer"),
    ("GET", "/api/v1/instruments", "viewer"),
    ("GET", "/api/v1/components", "viewer"),
    ("GET", "/api/v1/facilities", "viewer"),
    ("GET", "/api/v1/surgeons", "viewer"),
    ("GET", "/api/v1/models", "viewer"),
    ("GET", "/api/v1/datasets", "viewer"),
    ("GET", "/api/v1/pipeline", "viewer"),
    ("GET", "/api/v1/events", "viewer"),
    ("POST", "/api/v1/datasets/{dataset}/records", "operator"),
    ("GET", "/api/v1/dead-letters", "engineer"),
    ("POST", "/api/v1/dead-letters/replays", "engineer"),
    ("GET", "/api/v1/tokens", "admin"),
    ("POST", "/api/v1/tokens", "admin"),
    ("DELETE", "/api/v1/tokens/{token}", "admin"),
    ("GET", "/api/v1/audit", "admin"),
    ("GET", "/", ""),
    ("GET", "/assets/{name}", ""),
    ("GET", "/api/openapi.json", ""),
    ("GET", "/api/v1/analytics/robot-utilization", "viewer"),
    ("GET", "/api/v1/analytics/outcomes-summary", "viewer"),
    ("GET", "/api/v1/analytics/procedures-by-category", "viewer"),
    ("GET", "/api/robots", "viewer"),
    ("GET", "/api/robots/{robot}", "viewer"),
    ("GET", "/api/procedures", "viewer"),
    ("GET", "/api/procedures/{procedure}", "viewer"),
    ("GET", "/api/outcomes", "viewer"),
    ("GET", "/api/analytics/robot-utilization", "viewer"),
    ("GET", "/api/analytics/outcomes-summary", "viewer"),
    ("GET", "/api/analytics/procedures-by-category", "viewer"),
    ("POST", "/ingest/telemetry", "operator"),
    ("POST", "/ingest/procedure", "operator"),
    ("POST", "/ingest/outcome", "operator"),
    ("POST", "/ingest/maintenance", "operator"),
    ("POST", "/ingest/robot", "operator"),
    ("POST", "/ingest/batch", "operator"),
    ("GET", "/ingest/stats", "viewer"),
    ("GET", "/ingest/health", ""),
    ("GET", "/health", ""),
    ("GET", "/api/health", ""),
    ("GET", "/livez", ""),
    ("GET", "/readyz", ""),
];
const ROLES: [&str; 4] = ["viewer", "operator", "engineer", "admin"];

/// Whether it is about the whole deployment: refused to who is limited to robots or facilities.
fn is_of_all(method: &str, path: &str) -> bool {
    let below = |folder: &str| path.starts_with(&format!("/api/v1/{folder}"));
    let is_change = method != "GET";
    let mut of_all = [
        "tokens",
        "audit",
        "pipeline",
        "reports",
        "facilities",
        "surgeons",
        "models",
        "analytics",
    ]
    .iter();
    let is_shown = of_all.any(|folder| below(folder)) || path.starts_with("/api/analytics/");
    is_shown || (below("rules") && is_change) || below("dead-letters/")
}

#[test]
fn every_route_lets_in_the_roles_that_may_use_it_and_no_others() -> Result<()> {
    let data = tempfile::tempdir()?;
    let served = Served::start(data.path(), "127.0.0.1:0", &["run"])?;
    let document = served.get("/api/openapi.json", None)?.json();
    let paths = document["paths"].as_object().context("no paths")?;
    let there: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, _)| (method.to_ascii_uppercase(), path.clone()))
        })
        .collect();
    let known = ROUTES
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()));
    ensure!(there == known.collect(), "{there:?}");

    let mut secrets: Vec<(Option<usize>, bool, Option<String>)> = vec![(None, false, None)];
    for (rank, role) in ROLES.iter().enumerate() {
        for limit in [&[][..], &["--facility", "FAC-1"], &["--robots", "r"]] {
            let secret = token(data.path(), &[&["--role", *role], limit].concat())?;
            secrets.push((Some(rank), !limit.is_empty(), Some(secret)));
        }
    }
    for (method, path, needed) in ROUTES {
        let path = path.replace("{name}", "app.js").replace(['{', '}'], "");
        let needed = ROLES.iter().position(|role| role == needed);
        for (rank, is_limited, secret) in &secrets {
            // Of events the head is enough.
            let answer = if path.ends_with("/events") {
                let listening = Events::listen(&served.address, secret.as_deref(), Some("x"))?;
                drop(listening);
                http::request(
                    &served.address,
                    method,
                    "/api/v1/events?last_event_id=x",
                    secret.as_deref(),
                    &[],
                    &[],
                )?
            } else {
                http::request(&served.address, method, &path, secret.as_deref(), &[], &[])?
            };
            let wanted = match (rank, needed) {
                (None, Some(_)) => Some(401),
                (Some(rank), Some(needed)) if *rank < needed => Some(403),
                (Some(_), Some(_)) if *is_limited && is_of_all(method, &path) => Some(403),
                _ => None,
            };
            let is_let_in = ![401, 403].contains(&answer.status);
            ensure!(
                wanted.map_or(is_let_in, |status| answer.status == status),
                "{method} {path} as {rank:?}, limited {is_limited}: {answer:?}"
            );
            ensure!(
                answer.status < 500,
                "{method} {path} as {rank:?}: {answer:?}"
            );
        }
    }
    let unknown = served.get("/api/v1/secrets", None)?;
    ensure!(unknown.status == 404, "{unknown:?}");
    ensure!(unknown.headers.contains("x-content-type-options: nosniff"));
    let wrong = served.get("/api/v1/robots", Some("theatre_wrong"))?;
    ensure!(
        wrong.status == 401 && wrong.headers.contains("www-authenticate"),
        "{wrong:?}"
    );
    Ok(())
}

#[test]
fn a_token_ends_when_it_is_revoked_expired_or_limited() -> Result<()> {
    let data = tempfile::tempdir()?;
    let served = Served::start(data.path(), "127.0.0.1:0", &["run"])?;
    let admin = token(data.path(), &["--role", "admin"])?;
    let brief = token(data.path(), &["--role", "viewer", "--expires", "2s"])?;
    let limited = token(
        data.path(),
        &["--role", "operator", "--robots", "mine,ours"],
    )?;
    ensure!(served.get("/api/v1/robots", Some(&brief))?.status == 200);

    let body = |robot: &str| {
        json!({"robot_id": robot, "event_time": "2026-01-01T00:00:00Z", "event_id": "1", "event_type": "started"})
            .to_string()
            .into_bytes()
    };
    let json = [("content-type", "application/json")];
    let refused = served.post(&limited, &json, &body("theirs"))?;
    ensure!(
        refused.status == 403 && refused.json()["code"] == "forbidden",
        "{refused:?}"
    );
    ensure!(served.post(&limited, &json, &body("mine"))?.status == 202);
    ensure!(served.post(&admin, &json, &body("theirs"))?.status == 202);
    let until = Instant::now() + Duration::from_secs(30);
    let seen = |secret: &str| -> Result<usize> {
        let robots = served.get("/api/v1/robots", Some(secret))?.json();
        Ok(robots["items"].as_array().map_or(0, Vec::len))
    };
    while seen(&admin)? < 2 {
        ensure!(Instant::now() < until, "the robots do not appear");
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(seen(&limited)? == 1, "others are not shown");
    ensure!(served.get("/api/v1/robots/theirs", Some(&limited))?.status == 404);

    let tokens = served.get("/api/v1/tokens", Some(&admin))?;
    ensure!(
        !tokens.body.contains(&admin[8..]) && !tokens.body.contains("hash"),
        "no secret is kept"
    );
    let tokens = tokens.json();
    let of = |role: &str| -> Result<String> {
        let items = tokens["items"].as_array().context("no tokens")?;
        let found = items.iter().find(|token| token["role"] == role);
        Ok(found.context("no such token")?["id"]
            .as_str()
            .context("no id")?
            .to_owned())
    };
    let path = format!("/api/v1/tokens/{}", of("operator")?);
    let revoked = http::request(&served.address, "DELETE", &path, Some(&admin), &[], &[])?;
    ensure!(revoked.status == 204, "{revoked:?}");
    let again = http::request(&served.address, "DELETE", &path, Some(&admin), &[], &[])?;
    ensure!(again.status == 404, "{again:?}");
    std::thread::sleep(Duration::from_millis(2500));
    ensure!(served.get("/api/v1/robots", Some(&limited))?.status == 401);
    ensure!(served.get("/api/v1/robots", Some(&brief))?.status == 401);
    let trail = served.get("/api/v1/audit", Some(&admin))?.json();
    ensure!(trail["items"][0]["action"] == "token.revoke", "{trail:#}");
    Ok(())
}

/// Sends a batch until it is answered; `None` while nothing answers.
fn try_to_send(address: &str, secret: &str, key: &str, batch: &[u8]) -> Result<Option<Value>> {
    let headers = [NDJSON, ("idempotency-key", key)];
    let answer = http::request(address, "POST", RECORDS, Some(secret), &headers, batch);
    match answer {
        Ok(answer) if answer.status == 202 => Ok(Some(answer.json())),
        // The request is under way, or the server stops.
        Ok(answer) if [409, 429, 503].contains(&answer.status) => Ok(None),
        Ok(answer) => bail!("batch {key}: {answer:?}"),
        Err(_) => Ok(None),
    }
}

/// A gateway repeats what was not answered while the process is killed at any moment: nothing is
/// lost, and nothing is there twice. Its records have no numbers, so only the key tells.
#[test]
fn records_of_a_gateway_that_repeats_itself_come_in_once() -> Result<()> {
    const BATCHES: usize = 30;
    const RECORDS_EACH: usize = 40;
    let data = tempfile::tempdir()?;
    let mut served = Some(Served::start(data.path(), "127.0.0.1:0", &["run"])?);
    let address = served.as_ref().context("it runs")?.address.clone();
    let secret = token(data.path(), &["--role", "operator"])?;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(24);
    let mut kills = 0;
    for batch in 0..BATCHES {
        let records: Vec<String> = (0..RECORDS_EACH)
            .map(|record| {
                json!({
                    "robot_id": format!("gw-{}", record % 7), "event_time": 1_767_225_600_000_000_i64 + (batch * 1000 + record) as i64,
                    "event_id": format!("{batch}/{record}"), "event_type": "fault",
                })
                .to_string()
            })
            .collect();
        let body = records.join("\n").into_bytes();
        let key = format!("batch-{batch}");
        let killed = batch % 3 == 1;
        if killed {
            // In the middle of the request, or shortly before or after.
            let sender = std::thread::spawn({
                let (address, secret) = (address.clone(), secret.clone());
                let (key, body) = (key.clone(), body.clone());
                move || try_to_send(&address, &secret, &key, &body)
            });
            std::thread::sleep(Duration::from_micros(random.random_range(0..12_000)));
            drop(served.take());
            kills += 1;
            drop(sender.join());
            served = Some(Served::start(data.path(), &address, &["run"])?);
        }
        let until = Instant::now() + Duration::from_secs(120);
        let answer = loop {
            if let Some(answer) = try_to_send(&address, &secret, &key, &body)? {
                break answer;
            }
            ensure!(Instant::now() < until, "batch {batch} is never answered");
            std::thread::sleep(Duration::from_millis(300));
        };
        ensure!(answer["accepted"] == RECORDS_EACH, "{answer:#}");
        // Once more, now that it was answered: the same answer.
        let again = try_to_send(&address, &secret, &key, &body)?;
        ensure!(
            again.as_ref() == Some(&answer),
            "{again:?} is not {answer:?}"
        );
    }
    ensure!(kills == BATCHES / 3, "{kills}");
    let served_now = served.take().context("it runs")?;
    let other =
        json!({"robot_id": "gw-0", "event_time": 0, "event_id": "other", "event_type": "fault"});
    let headers = [NDJSON, ("idempotency-key", "batch-0")];
    let other = served_now.post(&secret, &headers, other.to_string().as_bytes())?;
    ensure!(
        other.status == 409 && other.json()["code"] == "conflict",
        "the key belongs to another request: {other:?}"
    );
    drop(served_now);
    let sent = BATCHES * RECORDS_EACH;
    let held = theatre_tests::records_held(data.path())?;
    ensure!(held == sent, "{sent} were sent, the log holds {held}");
    run(data.path(), &["run", "--until-drained"])?;
    reconciled(data.path(), &[])?;
    let sql = "SELECT count(*), count(DISTINCT event_id) FROM robot_events";
    let output = run(
        data.path(),
        &["--output", "json", "warehouse", "query", sql],
    )?;
    let rows: Value = serde_json::from_slice(&output.stdout)?;
    let counts: Vec<i64> = rows[0]
        .as_object()
        .context("no row")?
        .values()
        .filter_map(Value::as_i64)
        .collect();
    ensure!(
        counts == [sent as i64, sent as i64],
        "{sent} were sent: {rows}"
    );
    Ok(())
}

/// A listener that comes back again and again gets every alert and outcome once.
#[test]
fn records_come_in_by_the_paths_of_the_platform_before() -> Result<()> {
    let data = tempfile::tempdir()?;
    let served = Served::start(data.path(), "127.0.0.1:0", &["run"])?;
    let operator = token(data.path(), &["--role", "operator"])?;
    let limited = token(data.path(), &["--role", "operator", "--robots", "r1"])?;
    let send = |path: &str, secret: &str, key: &str, body: &Value| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let body = body.to_string();
        http::request(
            &served.address,
            "POST",
            path,
            Some(secret),
            &headers,
            body.as_bytes(),
        )
    };
    let record = |robot: &str, id: &str| json!({"robot_id": robot, "event_time": "2026-01-31T12:00:00Z", "event_id": id});
    let with = |mut record: Value, more: &[(&str, &str)]| {
        for (name, value) in more {
            record[*name] = json!(value);
        }
        record
    };
    let work = |robot: &str, id: &str| {
        let of_work = [
            ("maintenance_id", id),
            ("maintenance_type", "routine"),
            ("status", "planned"),
        ];
        with(record(robot, id), &of_work)
    };
    let step = |robot: &str, id: &str| {
        let of_step = [("procedure_id", id), ("step", "started")];
        with(record(robot, id), &of_step)
    };
    let (of_work, of_steps) = (
        "surgical.maintenance.logs.v1",
        "surgical.procedure.events.v1",
    );
    for (path, topic, body) in [
        ("/ingest/maintenance", of_work, work("r1", "m1")),
        ("/ingest/procedure", of_steps, step("r1", "p1")),
        (
            "/ingest/batch",
            of_work,
            json!({"type": "maintenance", "records": [work("r2", "m2")]}),
        ),
        (
            "/ingest/batch",
            of_steps,
            json!({"records": [step("r2", "p2"), step("r2", "p3")], "type": "procedure"}),
        ),
    ] {
        let key = body.to_string().len().to_string();
        let sent = send(path, &operator, &key, &body)?;
        ensure!(sent.status == 202, "{path}: {sent:?}");
        ensure!(
            sent.json()["positions"][0]["topic"] == topic,
            "{path}: {sent:?}"
        );
        ensure!(send(path, &operator, &key, &body)?.body == sent.body);
        let other = send(path, &operator, &key, &json!({"records": []}))?;
        ensure!([400, 409].contains(&other.status), "{path}: {other:?}");
    }
    let nameless = json!({"records": [{"robot_id": "r1", "timestamp": "2026-01-31T12:00:00Z"}]});
    let refused = send("/ingest/batch", &operator, "nameless", &nameless)?;
    let fault = &refused.json()["records"][0]["faults"][0]["pointer"];
    ensure!(
        refused.status == 400 && fault == "/event_time",
        "{refused:?}"
    );
    let of_other = send("/ingest/maintenance", &limited, "other", &work("r2", "m3"))?;
    ensure!(of_other.status == 403, "{of_other:?}");
    let registry = with(
        record("r1", "e"),
        &[("serial_number", "S-1"), ("status", "operational")],
    );
    let of_registry = send("/ingest/robot", &limited, "registry", &registry)?;
    ensure!(of_registry.status == 403, "{of_registry:?}");
    let taken = send("/ingest/robot", &operator, "registry", &registry)?;
    ensure!(taken.status == 202, "{taken:?}");

    super::alerts::until(&served, &operator, "/ingest/stats", |stats| {
        stats["procedures"] == 3 && stats["robots"] == 2
    })?;
    let stats = served.get("/ingest/stats", Some(&limited))?.json();
    ensure!(
        stats["procedures"] == 1 && stats["latest"].is_string(),
        "{stats}"
    );
    Ok(())
}

#[test]
fn a_listener_that_comes_back_gets_every_event_once() -> Result<()> {
    const EVENTS: usize = 60;
    let data = tempfile::tempdir()?;
    run(
        data.path(),
        &["simulate", "--robots", "30", "--ticks", "1200"],
    )?;
    let anonymous = [("THEATRE__API__ANONYMOUS", "viewer")];
    let served = Served::configured(data.path(), "127.0.0.1:0", &["run"], &anonymous)?;
    let mut heard: BTreeMap<(String, u64), usize> = BTreeMap::new();
    // From the very beginning.
    let mut last = "-".to_owned();
    let until = Instant::now() + Duration::from_secs(180);
    let mut visits = 0;
    while heard.len() < EVENTS && Instant::now() < until {
        visits += 1;
        let mut events = Events::listen(&served.address, None, Some(&last))?;
        for _ in 0..7 {
            let Ok((kind, said)) = events.next_event() else {
                break;
            };
            let (id, revision) = match kind.as_str() {
                "alert" => (said["alert_id"].clone(), 0),
                _ => (
                    json!(format!("{}/{}", said["procedure_id"], said["robot_id"])),
                    said["revision"].as_u64().unwrap_or(u64::MAX),
                ),
            };
            *heard.entry((id.to_string(), revision)).or_default() += 1;
        }
        last = events.last;
    }
    ensure!(
        heard.len() >= EVENTS && visits > 3,
        "{} in {visits} visits",
        heard.len()
    );
    ensure!(
        heard.values().all(|times| *times == 1),
        "heard twice: {heard:?}"
    );
    drop(served);
    let stored: usize = [OutputKind::Alert, OutputKind::Outcome]
        .into_iter()
        .map(|kind| Ok(outputs(data.path(), kind)?.len()))
        .sum::<Result<usize>>()?;
    // Everything up to some moment: as many of each partition as its position says.
    let upto: u64 = last
        .split('.')
        .filter_map(|part| whole(part.split_once('-')?.1))
        .sum();
    ensure!(
        upto > 0 && stored >= heard.len(),
        "{stored} stored, {} heard",
        heard.len()
    );
    let missing = missing(data.path(), &last, &heard)?;
    ensure!(missing.is_empty(), "not heard: {missing:?}");
    Ok(())
}

/// The output of which a listener has heard: all of it, or what it says itself.
fn whole(place: &str) -> Option<u64> {
    place.split('_').next()?.parse().ok()
}

/// Outputs up to a position that were not heard.
fn missing(
    data: &Path,
    position: &str,
    heard: &BTreeMap<(String, u64), usize>,
) -> Result<Vec<String>> {
    let upto: BTreeMap<u32, u64> = position
        .split('.')
        .filter_map(|part| {
            let (partition, sequence) = part.split_once('-')?;
            Some((partition.parse().ok()?, whole(sequence)?))
        })
        .collect();
    let mut missing = Vec::new();
    for kind in [OutputKind::Alert, OutputKind::Outcome] {
        for stored in outputs(data, kind)? {
            let is_due = upto
                .get(&stored.partition)
                .is_some_and(|upto| stored.sequence <= *upto);
            let key = match kind {
                OutputKind::Alert => {
                    let alert = theatre_schemas::records::Alert::decode(&stored.output.payload)?;
                    (json!(alert.alert_id).to_string(), 0)
                }
                _ => {
                    let ended = theatre_schemas::records::Outcome::decode(&stored.output.payload)?;
                    let id = format!("{}/{}", json!(ended.procedure_id), json!(ended.robot_id));
                    (json!(id).to_string(), ended.revision as u64)
                }
            };
            if is_due && !heard.contains_key(&key) {
                missing.push(format!("{} {}", stored.partition, stored.sequence));
            }
        }
    }
    Ok(missing)
}

#[test]
fn callers_that_mean_harm_are_refused_and_the_others_are_served() -> Result<()> {
    let data = tempfile::tempdir()?;
    let served = Served::start(data.path(), "127.0.0.1:0", &["run"])?;
    let secret = token(data.path(), &["--role", "operator"])?;
    let json = ("content-type", "application/json");
    let zeros = vec![b' '; 64 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zeros)?;
    let gzip = gzip.finish()?;
    let nested = "[".repeat(100_000);
    let many = format!("[{}]", vec!["{}"; 200_000].join(","));
    let long = "x".repeat(2 << 20);
    let event = |name: &str, value: Value| {
        let mut event =
            json!({"robot_id": "r", "event_time": 0, "event_id": "e", "event_type": "fault"});
        event[name] = value;
        event.to_string()
    };
    let long = event("detail", json!(long));
    let unnamed = event("robot_id", json!("y".repeat(513)));
    let actor = event("robot_id", json!("@surgeon/s"));
    let ancient = event("event_time", json!("-000001-01-01T00:00:00Z"));
    let half = event("detail", json!("?")).replace('?', "\\ud83e");
    let beyond = event("event_time", json!("?")).replace("\"?\"", "1e999");
    let twice = event("detail", json!("a")).replace('}', ",\"detail\":\"b\"}");
    let key = "k".repeat(201);
    for (what, headers, body, status) in [
        (
            "an id that is too long",
            vec![json],
            unnamed.as_bytes(),
            400,
        ),
        ("an id of another actor", vec![json], actor.as_bytes(), 400),
        ("a year before all", vec![json], ancient.as_bytes(), 400),
        ("half of a character", vec![json], half.as_bytes(), 400),
        ("a number beyond all", vec![json], beyond.as_bytes(), 400),
        ("a key twice", vec![json], twice.as_bytes(), 400),
        (
            "packed twice",
            vec![json, ("content-encoding", "gzip, gzip")],
            gzip.as_slice(),
            415,
        ),
        (
            "a key that is too long",
            vec![json, ("idempotency-key", key.as_str())],
            b"[]".as_slice(),
            400,
        ),
        (
            "a bomb of gzip",
            vec![json, ("content-encoding", "gzip")],
            gzip.as_slice(),
            413,
        ),
        ("a long body", vec![json], zeros.as_slice(), 413),
        ("deep nesting", vec![json], nested.as_bytes(), 400),
        ("many bad records", vec![json], many.as_bytes(), 400),
        (
            "a record that is too long",
            vec![json],
            long.as_bytes(),
            400,
        ),
        ("no JSON", vec![json], b"\xff\xfe\x00".as_slice(), 400),
        (
            "an unknown type",
            vec![("content-type", "text/html")],
            b"".as_slice(),
            415,
        ),
        (
            "an unknown encoding",
            vec![json, ("content-encoding", "br")],
            b"".as_slice(),
            415,
        ),
        (
            "rubbish as gzip",
            vec![json, ("content-encoding", "gzip")],
            b"rubbish".as_slice(),
            400,
        ),
        (
            "an empty key",
            vec![json, ("idempotency-key", "")],
            b"[]".as_slice(),
            400,
        ),
    ] {
        let answer = served.post(&secret, &headers, body);
        let answer = answer.with_context(|| what.to_owned())?;
        ensure!(answer.status == status, "{what}: {answer:?}");
        ensure!(answer.json()["code"].is_string(), "{what}: {answer:?}");
        ensure!(answer.body.len() < 100_000, "{what}: the answer is short");
    }
    for path in [
        "/api/v1/robots/..%2f..%2fetc%2fpasswd",
        "/assets/..%2fserver.rs",
        "/assets/../../etc/passwd",
        "/api/v1/robots/%00",
        "/api/v1/robots/%ff",
        "/api/v1/robots?limit=-1",
        "/api/v1/robots?limit=99999999999999999999",
        "/api/v1/robots?nothing=1",
        "/api/v1/robots/x/signals?signal=%27%3B--",
        "//api/v1/robots",
        "/api/v1/robots?after=%00",
        "/api/v1/procedures/..%2f..%2frobots",
        "/api/v1/outcomes?from=99999999999999999999",
        "/api/v1/outcomes?success_status=%27%20or%201%3D1",
        "/api/v1/alerts/%2e%2e%2ftokens",
        "/api/v1/reports/..%2fsecrets/csv",
        "/ingest/batch",
        "/ingest/..%2fetc%2fpasswd",
    ] {
        let answer = served.get(path, Some(&secret))?;
        ensure!((400..500).contains(&answer.status), "{path}: {answer:?}");
    }
    for batch in [
        format!("{{\"records\":{nested}"),
        format!("{{\"type\":{nested}"),
        format!("{{{}}}", vec!["\"type\":\"robot\""; 1000].join(",")),
        "{\"records\":[],\"type\":\"../robot_events\"}".to_owned(),
        "{\"records\":".to_owned(),
    ] {
        let (path, body) = ("/ingest/batch", batch.as_bytes());
        let answer = http::request(&served.address, "POST", path, Some(&secret), &[json], body)?;
        ensure!(answer.status == 400, "{batch:.80}: {answer:?}");
    }
    let huge = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(1 << 20)
    );
    // It is cut off, or refused because it asks for too much.
    let answered = http::raw(&served.address, huge.as_bytes());
    ensure!(
        answered
            .as_ref()
            .map_or(true, |answer| answer.status >= 400),
        "{answered:?}"
    );
    // Slow callers do not hold up the others.
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = std::net::TcpStream::connect(&served.address)?;
        stream.write_all(b"GET /api/v1/robots HTTP/1.1\r\nhost: x\r\n")?;
        slow.push(stream);
    }
    let begun = Instant::now();
    ensure!(served.get("/api/v1/robots", Some(&secret))?.status == 200);
    ensure!(begun.elapsed() < Duration::from_secs(5));
    let page = served.get("/", None)?;
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
    ] {
        ensure!(page.headers.contains(header), "{page:?}");
    }
    drop(slow);
    Ok(())
}
