//! The shared servers themselves: one of each kind for all tests, and nothing left of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use theatre_dev::process::{Process, wait_until};
use theatre_tests::{reconciled, robots, run, servers, theatre};

#[test]
fn tests_share_a_broker() -> Result<()> {
    ensure!(servers::kafka()? == servers::kafka()?);
    Ok(())
}

#[test]
fn tests_share_a_server_and_not_a_database() -> Result<()> {
    let (first, second) = (servers::database()?, servers::database()?);
    let server = |url: &str| url.rsplit_once('/').map(|(server, _)| server.to_owned());
    ensure!(
        first != second && server(&first) == server(&second),
        "{first} {second}"
    );
    Ok(())
}

/// Another run of the test above in a process of its own, killed as soon as its server stands.
#[test]
fn nothing_is_left_of_a_test_process_that_was_killed() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let mut tests = Command::new(std::env::current_exe()?);
    tests
        .args([
            "--exact",
            "servers::tests_share_a_server_and_not_a_database",
        ])
        .env("TMPDIR", temporary.path())
        .env_remove("DATABASE_URL");
    let mut tests = tests.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut root = None;
    wait_until(Duration::from_secs(60), || {
        root = server_root(temporary.path());
        root.is_some()
    });
    tests.kill()?;
    tests.wait()?;
    let root = root.context("no server was started")?;
    ensure!(
        wait_until(Duration::from_secs(20), || Process::running(&root)
            .is_none()),
        "its server runs on"
    );
    ensure!(
        wait_until(Duration::from_secs(20), || !root.exists()),
        "its files are left"
    );
    Ok(())
}

fn server_root(temporary: &Path) -> Option<PathBuf> {
    let roots = fs::read_dir(temporary)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("postgres")));
    roots.filter(|root| Process::running(root).is_some()).last()
}

/// Takes down what a failed test leaves.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        if let Err(error) = run(self.0, &["dev", "down"]) {
            eprintln!("{error:#}");
        }
    }
}

/// Servers and where they answer, if they do.
type Addresses = Vec<(String, Option<String>)>;

/// The exit code, and what is said.
fn status(data: &Path) -> Result<(Option<i32>, Addresses)> {
    let output = theatre(data, &["dev", "status", "--output", "json"])?.output()?;
    let servers: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let servers = servers.iter().map(|server| {
        (
            text(&server["server"]).unwrap_or_default(),
            text(&server["address"]).filter(|_| server["answers"] == true),
        )
    });
    Ok((output.status.code(), servers.collect()))
}

#[test]
fn servers_of_a_person_come_up_stay_up_and_go_down_when_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path();
    let _down = Down(data);
    ensure!(status(data)?.0 == Some(1), "nothing runs yet");
    run(data, &["dev", "up"])?;
    let (code, up) = status(data)?;
    ensure!(
        code == Some(0) && up.iter().all(|(_, address)| address.is_some()),
        "{up:?}"
    );
    let config = data.join("dev/theatre.toml");
    run(
        data,
        &["config", "check", "--config", &config.to_string_lossy()],
    )?;
    let (text, key) = (
        fs::read_to_string(&config)?,
        fs::read(data.join("dev/pseudonym.key"))?,
    );
    for (_, address) in &up {
        ensure!(
            text.contains(address.as_deref().unwrap_or_default()),
            "{address:?} in {text}"
        );
    }
    run(data, &["dev", "up"])?;
    ensure!(status(data)?.1 == up, "they ran already");
    // What it wrote is all that the other commands need.
    let config_flag = config.to_string_lossy().into_owned();
    let on_them = ["--config", &config_flag];
    run(
        data,
        &[
            &on_them[..],
            &[
                "simulate",
                "--profile",
                "demo",
                "--robots",
                "4",
                "--for",
                "1m",
            ],
        ]
        .concat(),
    )?;
    run(data, &[&on_them[..], &["run", "--until-drained"]].concat())?;
    let read = reconciled(data, &on_them)?;
    // The demo finds them by itself, and goes on with the fleet that is there.
    run(data, &["demo", "--servers", "--for", "4s", "--robots", "4"])?;
    let (known, more) = (robots(data, &on_them)?.len(), reconciled(data, &on_them)?);
    ensure!(
        known == 4 && more >= read + 4,
        "{known} robots; {read} records were read before the demo, {more} after it"
    );
    run(data, &["dev", "down"])?;
    let (code, down) = status(data)?;
    ensure!(
        code == Some(1) && down.iter().all(|(_, address)| address.is_none()),
        "{down:?}"
    );
    run(data, &["dev", "up"])?;
    ensure!(status(data)?.1 == up, "the same addresses as before");
    ensure!(
        fs::read_to_string(&config)? == text && fs::read(data.join("dev/pseudonym.key"))? == key
    );
    Ok(())
}
