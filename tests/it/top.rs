//! `theatre top` on a process that runs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use theatre_dev::process::wait_until;
use theatre_tests::{binary, theatre};

/// A demo, and where its admin server is; killed at the end.
struct Demo {
    process: Child,
    admin: String,
}

impl Demo {
    fn start(data: &std::path::Path) -> Result<Self> {
        let mut process = theatre(data, &["demo", "--robots", "5"])?
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = process.stderr.take().context("no standard error")?;
        let mut lines = BufReader::new(said).lines();
        let line = lines
            .by_ref()
            .map_while(std::result::Result::ok)
            .find(|line| line.contains("admin: http://"));
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let line = line.context("it did not say where its admin server is")?;
        let admin = line.split("http://").nth(1).context("no address")?;
        let admin = admin.split('/').next().context("no address")?.to_owned();
        Ok(Self { process, admin })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn top(admin: &str, flags: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary()?);
    command.args(["top", "--admin", admin]).args(flags);
    Ok(command.output()?)
}

#[test]
fn top_shows_partitions_that_read_and_save() -> Result<()> {
    let data = tempfile::tempdir()?;
    let demo = Demo::start(data.path())?;
    let mut last = Value::Null;
    let shown = wait_until(Duration::from_secs(60), || {
        let output = top(&demo.admin, &["--once", "--output", "json"]);
        let Ok(output) = output else { return false };
        last = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let process = &last[0];
        let partitions = process["partitions"].as_array().map_or(0, Vec::len);
        partitions == 4
            && process["ready"] == true
            && process["records_per_second"]
                .as_f64()
                .is_some_and(|rate| rate > 1.0)
            && process["cpu"].as_f64().is_some_and(|cpu| cpu > 0.0)
            && process["memory_bytes"]
                .as_f64()
                .is_some_and(|bytes| bytes > 1e6)
            && process["saved_seconds_ago"]
                .as_f64()
                .is_some_and(|age| age < 60.0)
    });
    ensure!(shown, "{last:#}");
    let partitions = last[0]["partitions"].as_array().context("no partitions")?;
    let alive = partitions.iter().all(|one| {
        one["phase"] == "running"
            && one["epoch"].as_u64() >= Some(1)
            && one["lag_records"].is_number()
    });
    ensure!(alive, "{last:#}");
    let busy = partitions.iter().any(|one| {
        one["processors"].as_u64() >= Some(1)
            && one["watermark_age_seconds"].is_number()
            && one["saved_seconds_ago"].is_number()
    });
    ensure!(busy, "{last:#}");

    // Standard output is no terminal here: it prints once by itself.
    let both = format!("http://{},127.0.0.1:9", demo.admin);
    let output = top(&both, &["--every", "200ms"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success()
            && text.contains(&format!("at http://{}: ready", demo.admin))
            && text.contains("partition  phase")
            && text.contains("no process answers: 127.0.0.1:9/metrics")
            && !text.contains('\x1b'),
        "{text}"
    );
    Ok(())
}

/// In a terminal it draws until a key ends it, and leaves the terminal as it was. `script` gives it
/// one.
#[test]
fn top_in_a_terminal_ends_by_a_key_and_leaves_it_as_it_was() -> Result<()> {
    let data = tempfile::tempdir()?;
    let demo = Demo::start(data.path())?;
    let line = format!(
        "stty rows 20 cols 100; before=$(stty -g); {} top --every 200ms --admin {}; [ \"$before\" = \"$(stty -g)\" ] && echo RESTORED",
        binary()?.display(),
        demo.admin
    );
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut keys = terminal.stdin.take().context("no standard input")?;
    std::thread::sleep(Duration::from_secs(2));
    std::io::Write::write_all(&mut keys, b"q")?;
    let output = terminal.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let drawn = text.matches("q quits").count();
    ensure!(
        output.status.success()
            && drawn > 2
            && text.contains("\x1b[?1049h")
            && text.contains("partition  phase")
            && text.contains("\x1b[?25h\x1b[?1049l")
            && text.trim_end().ends_with("RESTORED"),
        "{text:?}"
    );
    Ok(())
}
