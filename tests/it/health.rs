//! The health command: what containers ask a running process with.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use theatre_dev::process::wait_until;
use theatre_tests::http::request;
use theatre_tests::{binary, theatre};

/// The exit code and the words of `theatre healthcheck`.
fn ask(admin: &str, flags: &[&str]) -> Result<(Option<i32>, String)> {
    let output = Command::new(binary()?)
        .args(["healthcheck", "--admin", admin])
        .args(flags)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), said))
}

/// The address of the admin server, as a process says it when it starts.
fn admin_of(said: impl Read) -> Result<String> {
    let line = BufReader::new(said)
        .lines()
        .map_while(std::result::Result::ok)
        .find(|line| line.contains("admin: http://"))
        .context("the process did not say where its admin server is")?;
    let address = line.split("http://").nth(1);
    let address = address.and_then(|rest| rest.split('/').next());
    Ok(address.context("no address")?.to_owned())
}

#[test]
fn a_process_is_alive_at_once_ready_soon_and_neither_once_it_has_ended() -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut process = theatre(data.path(), &["run"])?
        .stderr(Stdio::piped())
        .spawn()?;
    let said = process.stderr.take().context("no standard error")?;
    let admin = &admin_of(said)?;
    ensure!(ask(admin, &[])?.0 == Some(0), "it is not alive");
    let mut last = (None, String::new());
    let ready = wait_until(Duration::from_secs(30), || {
        last = ask(admin, &["--ready"]).unwrap_or_default();
        last.0 == Some(0)
    });
    ensure!(ready, "it is not ready: {last:?}");
    let log = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(binary()?);
        let output = command
            .args(["log", "--admin", admin])
            .args(arguments)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    };
    let (_, before) = log(&[])?;
    let changed = log(&["warn,theatre_pipeline=debug"])?;
    ensure!(
        changed == (Some(0), "theatre_pipeline=debug,warn\n".to_owned()),
        "{changed:?}"
    );
    ensure!(log(&[])? == changed);
    let refused = log(&["theatre_pipeline=loud"])?;
    ensure!(
        refused.0 == Some(2) && refused.1.contains("such as info"),
        "{refused:?}"
    );
    ensure!(
        log(&["--reset"])?.0 == Some(0) && log(&[])?.1 != changed.1,
        "{before}"
    );
    process.kill()?;
    process.wait()?;
    for flags in [&[][..], &["--ready"]] {
        let (code, said) = ask(admin, flags)?;
        ensure!(code == Some(3) && said.contains(admin), "{code:?}: {said}");
    }
    Ok(())
}

/// Programs read standard output, whatever a command ends with.
#[test]
fn json_is_json_whether_a_command_succeeds_or_fails() -> Result<()> {
    let data = tempfile::tempdir()?;
    let simulate = ["simulate", "--robots", "1", "--ticks", "3"];
    let commands: [(&[&str], i32); 9] = [
        (&simulate, 0),
        (&["run", "--until-drained"], 0),
        (&["lake", "create"], 0),
        (&["reconcile"], 0),
        (&["robots", "show", "r99"], 1),
        (&["warehouse", "query", "SELEC"], 1),
        (&["topics", "check"], 2),
        (&["replay", "nothing.csv"], 2),
        (&["schema", "infer", "nothing.csv"], 2),
    ];
    for (command, code) in commands {
        let arguments = [&["--output", "json"], command].concat();
        let output = theatre(data.path(), &arguments)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code), "{command:?}: {said}");
        let printed: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{command:?}: {said}"))?;
        ensure!(
            code == 0 || printed["exit_code"] == code && printed["error"].is_string(),
            "{command:?}: {printed}"
        );
    }
    Ok(())
}

/// A number of robots that is 0 after a start would page at night.
#[test]
fn the_robots_of_a_store_count_as_soon_as_a_process_is_ready() -> Result<()> {
    let data = tempfile::tempdir()?;
    let fleet = ["simulate", "--robots", "7", "--for", "60s", "--seed", "1"];
    ensure!(theatre(data.path(), &fleet)?.output()?.status.success());
    let drained = theatre(data.path(), &["run", "--until-drained"])?.output()?;
    ensure!(drained.status.success(), "{drained:?}");
    let mut process = theatre(data.path(), &["run"])?
        .stderr(Stdio::piped())
        .spawn()?;
    let said = process.stderr.take().context("no standard error")?;
    let admin = admin_of(said)?;
    let ready = wait_until(Duration::from_secs(30), || {
        ask(&admin, &["--ready"]).is_ok_and(|(code, _)| code == Some(0))
    });
    ensure!(ready, "it is not ready");
    let metrics = request(&admin, "GET", "/metrics", None, &[], b"")?.body;
    let live: f64 = metrics
        .lines()
        .find_map(|line| {
            line.strip_prefix("theatre_actors_live{")?
                .split(' ')
                .nth(1)?
                .parse()
                .ok()
        })
        .unwrap_or_default();
    // Robots, and the actors of their sites.
    ensure!(live >= 7.0, "{live} actors");
    process.kill()?;
    process.wait()?;
    Ok(())
}
