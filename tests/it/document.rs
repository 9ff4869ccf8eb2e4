//! The HTTP interface against its own document, asked by a fuzzer that reads nothing else.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use theatre_tests::http;

use super::alerts::{Case, open, send, until};
use super::api::{Served, token};

/// Cases of each operation in the phase that makes them at random; those of the limits of each
/// parameter come to it.
const EXAMPLES: &str = "10";
/// What an answer is held against. That a request which the document allows is taken is not among
/// it: whether a comment, a rule or a record makes sense is no matter of types.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    missing_required_header,unsupported_method,allow_header_conformance,ignored_auth";
/// It has no end.
const EVENTS: &str = "/api/v1/events";

/// Runs the fuzzer; `ids` are parameters of paths with what is there.
fn fuzz(
    served: &Served,
    secret: &str,
    folder: &Path,
    ids: &[(&str, &str)],
    left_out: &[&str],
) -> Result<String> {
    let python = std::env::var("THEATRE_PYTHON").context(
        "THEATRE_PYTHON names no interpreter with schemathesis: run the tests with tests/run",
    )?;
    let config = folder.join("schemathesis.toml");
    let lines = ids
        .iter()
        .map(|(name, id)| format!("\"path.{name}\" = {}\n", Value::from(*id)));
    std::fs::write(
        &config,
        format!("[parameters]\n{}", lines.collect::<String>()),
    )?;
    let mut command = Command::new(python);
    command.current_dir(folder);
    command.args(["-m", "schemathesis.cli", "--config-file"]);
    command.arg(&config).arg("run");
    command.arg(format!("http://{}/api/openapi.json", served.address));
    command.args(["--header", &format!("Authorization: Bearer {secret}")]);
    command.args(["--phases", "examples,coverage,fuzzing", "--seed", "1"]);
    command.args(["--max-examples", EXAMPLES, "--checks", CHECKS]);
    command.args([
        "--request-timeout",
        "60",
        "--continue-on-failure",
        "--no-color",
    ]);
    for path in left_out {
        command.args(["--exclude-path", path]);
    }
    let ended = command.output().context("schemathesis does not start")?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let fault = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{said}{fault}");
    Ok(said)
}

#[test]
fn a_fuzzer_finds_no_answer_outside_of_the_document() -> Result<()> {
    let case = Case::new()?;
    let served = case.serve()?;
    let admin = token(&case.data(), &["--role", "admin"])?;
    let folder = case.folder.path();
    send(&served, &admin, "r1", 1, 80.0)?;
    let alerts = until(&served, &admin, "/api/v1/alerts", |seen| {
        open(seen, "r1", "hot").is_some()
    })?;
    let hot = open(&alerts, "r1", "hot").context("it is not open")?;
    let condition = hot["condition_id"].as_str().context("no id")?;
    token(&case.data(), &["--role", "viewer"])?;
    let tokens = served.get("/api/v1/tokens", Some(&admin))?.json();
    let mut tokens = tokens["items"].as_array().context("no tokens")?.iter();
    let viewer = tokens.find(|token| token["role"] == "viewer");
    let viewer = viewer.and_then(|token| token["id"].as_str());
    let viewer = viewer.context("it is not listed")?;

    // By chance it would revoke the token by which it asks.
    let left_out = [EVENTS, "/api/v1/tokens/{token}"];
    let wild = fuzz(&served, &admin, folder, &[], &left_out)?;
    let ids = [
        ("robot", "r1"),
        ("condition", condition),
        ("dataset", "probe"),
        ("report", "busiest_robots"),
        ("rule", "hot"),
        ("token", viewer),
        ("name", "app.js"),
    ];
    let known = fuzz(&served, &admin, folder, &ids, &[EVENTS])?;
    for said in [wild, known] {
        let (before, _) = said.split_once(" generated,").context("no number")?;
        let many = before.split_whitespace().next_back().context("no number")?;
        let many: usize = many.parse()?;
        ensure!(many > 500, "{said}");
    }
    Ok(())
}

#[test]
fn a_path_says_by_which_methods_it_is_asked_and_gives_its_head_alone() -> Result<()> {
    let case = Case::new()?;
    let served = case.serve()?;
    let secret = token(&case.data(), &["--role", "admin"])?;
    let ask = |method: &str, path: &str| {
        http::request(&served.address, method, path, Some(&secret), &[], &[])
    };
    for (method, path, allowed) in [
        ("PUT", "/livez", "allow: get, head"),
        ("TRACE", "/api/v1/tokens", "allow: get, head, post"),
        ("POST", "/api/v1/rules/hot", "allow: put, delete"),
        ("HEAD", "/api/v1/events", "allow: get"),
    ] {
        let answer = ask(method, path)?;
        ensure!(answer.status == 405, "{method} {path}: {answer:?}");
        let is_said = answer.headers.lines().any(|line| line == allowed);
        ensure!(is_said, "{method} {path}: {answer:?}");
    }
    for path in ["/", "/livez", "/assets/app.js", "/api/v1/robots"] {
        let (head, whole) = (ask("HEAD", path)?, ask("GET", path)?);
        ensure!(
            head.status == 200 && whole.status == 200,
            "{path}: {head:?}"
        );
        ensure!(
            head.body.is_empty() && !whole.body.is_empty(),
            "{path}: {head:?}"
        );
    }
    let nothing = ask("HEAD", "/api/v1/secrets")?;
    ensure!(nothing.status == 404, "{nothing:?}");
    Ok(())
}
