//! The shared servers themselves: one of each kind for all tests, and nothing left of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use theatre_runtime::dev::process::{Process, wait_until};
use theatre_tests::servers;

#[test]
fn tests_share_a_broker() -> Result<()> {
    ensure!(servers::kafka()? == servers::kafka()?);
    Ok(())
}

#[test]
fn tests_share_a_server_and_not_a_database() -> Result<()> {
    let (first, second) = (servers::database()?, servers::database()?);
    let server = |url: &str| url.rsplit_once('/').map(|(server, _)| server.to_owned());
    ensure!(first != second && server(&first) == server(&second), "{first} {second}");
    Ok(())
}

/// Another run of the test above in a process of its own, killed as soon as its server stands.
#[test]
fn nothing_is_left_of_a_test_process_that_was_killed() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let mut tests = Command::new(std::env::current_exe()?);
    tests.args(["--exact", "servers::tests_share_a_server_and_not_a_database"]).env("TMPDIR", temporary.path()).env_remove("DATABASE_URL");
    let mut tests = tests.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut root = None;
    wait_until(Duration::from_secs(60), || {
        root = server_root(temporary.path());
        root.is_some()
    });
    tests.kill()?;
    tests.wait()?;
    let root = root.context("no server was started")?;
    ensure!(wait_until(Duration::from_secs(20), || Process::running(&root).is_none()), "its server runs on");
    ensure!(wait_until(Duration::from_secs(20), || !root.exists()), "its files are left");
    Ok(())
}

fn server_root(temporary: &Path) -> Option<PathBuf> {
    let roots = fs::read_dir(temporary).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("postgres")));
    roots.filter(|root| Process::running(root).is_some()).last()
}
