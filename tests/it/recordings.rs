//! Recordings as people have them, end to end on the real program: what counts as the same row, what
//! a replay says in the end, and that what it says is so. The small inputs in tests/data/recordings
//! were made by hand after public reports; each test says what is right about one of them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use theatre_tests::{binary, reconciled, repository, run, theatre};

/// A data directory and the folder of an input.
struct Case {
    data: tempfile::TempDir,
    folder: PathBuf,
}

/// What a replay ended with.
struct Ended {
    code: Option<i32>,
    report: Value,
    said: String,
}

impl Ended {
    fn of(output: &Output) -> Result<Self> {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = if output.stdout.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&output.stdout).with_context(|| said.clone())?
        };
        Ok(Self {
            code: output.status.code(),
            report,
            said,
        })
    }

    /// (applied, duplicate, late, refused, dead)
    fn counts(&self) -> [u64; 5] {
        ["applied", "duplicate", "late", "refused", "dead"]
            .map(|key| self.report[key].as_u64().unwrap_or(u64::MAX))
    }

    /// The exit code is this, and so many lines were applied, duplicate, late, refused, dead.
    fn must_be(&self, code: i32, counts: [u64; 5]) -> Result<()> {
        ensure!(
            self.code == Some(code) && self.counts() == counts,
            "code {:?}, {:?} (applied, duplicate, late, refused, dead), not {code}, {counts:?}: {}",
            self.code,
            self.counts(),
            self.said
        );
        Ok(())
    }
}

impl Case {
    fn new(name: &str) -> Result<Self> {
        Ok(Self {
            data: tempfile::tempdir()?,
            folder: repository().join("tests/data/recordings").join(name),
        })
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).to_string_lossy().into_owned()
    }

    /// Replays a file of the input, or one with a path of its own.
    fn replay(&self, file: &str, mapping: &str, more: &[&str]) -> Result<Ended> {
        let (file, mapping) = (self.path(file), self.path(mapping));
        let mut arguments = vec![
            "--output",
            "json",
            "replay",
            &file,
            "--mapping",
            &mapping,
            "--quiet",
        ];
        arguments.extend(more);
        Ended::of(&theatre(self.data.path(), &arguments)?.output()?)
    }

    fn query(&self, sql: &str) -> Result<Vec<Value>> {
        let output = run(
            self.data.path(),
            &["--output", "json", "warehouse", "query", sql],
        )?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Rule, transition and event time of all alerts, in order.
    fn alerts(&self) -> Result<Vec<(String, String, String)>> {
        let output = run(self.data.path(), &["--output", "json", "alerts", "history"])?;
        let alerts: Vec<Value> = serde_json::from_slice(&output.stdout)?;
        let text = |alert: &Value, key: &str| alert[key].as_str().unwrap_or_default().to_owned();
        let alert = |alert: &Value| {
            (
                text(alert, "rule_id"),
                text(alert, "transition").to_lowercase(),
                text(alert, "event_time"),
            )
        };
        Ok(alerts.iter().map(alert).collect())
    }

    /// Count, mean and maximum of signal v in the windows of a robot.
    fn windows(&self, robot: &str, window: &str) -> Result<Vec<Value>> {
        let output = run(
            self.data.path(),
            &[
                "--output", "json", "windows", "show", robot, "--window", window,
            ],
        )?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn raised_and_cleared(rule: &str, raised: &str, cleared: &str) -> Vec<(String, String, String)> {
    let moved =
        |transition: &str, at: &str| (rule.to_owned(), transition.to_owned(), at.to_owned());
    vec![moved("raised", raised), moved("cleared", cleared)]
}

#[test]
fn a_second_recording_of_a_robot_is_new_rows_and_the_first_again_is_none() -> Result<()> {
    let case = Case::new("second_file")?;
    case.replay("day1.csv", "m.toml", &[])?
        .must_be(0, [5, 0, 0, 0, 0])?;
    case.replay("day2.csv", "m.toml", &[])?
        .must_be(0, [5, 0, 0, 0, 0])?;
    ensure!(case.query("SELECT v FROM ds")?.len() == 10);
    let expected = raised_and_cleared(
        "hot",
        "2026-02-01T08:00:02.000Z",
        "2026-02-01T08:00:03.000Z",
    );
    ensure!(case.alerts()? == expected, "{:?}", case.alerts()?);
    // All of it is there: that is a success unless new rows are wanted.
    case.replay("day1.csv", "m.toml", &[])?
        .must_be(0, [0, 5, 0, 0, 0])?;
    case.replay("day2.csv", "m.toml", &["--min-applied", "1"])?
        .must_be(4, [0, 5, 0, 0, 0])?;
    ensure!(case.query("SELECT v FROM ds")?.len() == 10);
    ensure!(case.alerts()? == expected, "{:?}", case.alerts()?);
    reconciled(case.data.path(), &[])?;
    Ok(())
}

#[test]
fn an_older_recording_after_a_newer_one_is_not_late() -> Result<()> {
    let case = Case::new("second_file")?;
    case.replay("day2.csv", "m.toml", &[])?
        .must_be(0, [5, 0, 0, 0, 0])?;
    case.replay("day1.csv", "m.toml", &[])?
        .must_be(0, [5, 0, 0, 0, 0])?;
    ensure!(
        case.windows("r1", "60s")?.len() == 2,
        "{:?}",
        case.windows("r1", "60s")?
    );
    Ok(())
}

#[test]
fn a_rotated_log_and_a_counter_that_begins_anew_lose_nothing() -> Result<()> {
    let case = Case::new("second_file")?;
    case.replay("day1.csv", "m.toml", &[])?
        .must_be(0, [5, 0, 0, 0, 0])?;
    case.replay("rotated.csv", "m.toml", &[])?
        .must_be(0, [3, 2, 0, 0, 0])?;
    ensure!(case.query("SELECT v FROM ds")?.len() == 8);
    let case = Case::new("second_file")?;
    case.replay("reboot.csv", "m_reboot.toml", &[])?
        .must_be(0, [10, 0, 0, 0, 0])?;
    let expected = raised_and_cleared(
        "hot",
        "2026-01-31T08:00:07.000Z",
        "2026-01-31T08:00:08.000Z",
    );
    ensure!(case.alerts()? == expected, "{:?}", case.alerts()?);
    Ok(())
}

#[test]
fn a_recording_is_the_same_whatever_it_is_called_and_however_it_is_packed() -> Result<()> {
    let case = Case::new("second_file")?;
    case.replay("day1.csv", "m.toml", &[])?
        .must_be(0, [5, 0, 0, 0, 0])?;
    let text = std::fs::read(case.path("day1.csv"))?;
    let other = tempfile::tempdir()?;
    let renamed = other.path().join("renamed.csv");
    std::fs::write(&renamed, &text)?;
    let packed = other.path().join("packed.csv.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(std::fs::File::create(&packed)?, flate2::Compression::fast());
    encoder.write_all(&text)?;
    encoder.finish()?;
    for file in [&renamed, &packed] {
        case.replay(&file.to_string_lossy(), "m.toml", &[])?
            .must_be(0, [0, 5, 0, 0, 0])?;
    }
    piped(&case, &[&text], Duration::ZERO)?.must_be(0, [0, 5, 0, 0, 0])?;
    ensure!(case.query("SELECT v FROM ds")?.len() == 5);
    Ok(())
}

/// Replays what comes through a pipe, in parts with a pause between them.
fn piped(case: &Case, parts: &[&[u8]], pause: Duration) -> Result<Ended> {
    let mapping = case.path("m.toml");
    let arguments = [
        "--output",
        "json",
        "replay",
        "-",
        "--mapping",
        &mapping,
        "--quiet",
    ];
    let mut child = theatre(case.data.path(), &arguments)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut pipe = child.stdin.take().context("a pipe")?;
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            std::thread::sleep(pause);
        }
        pipe.write_all(part)?;
        pipe.flush()?;
    }
    drop(pipe);
    Ended::of(&child.wait_with_output()?)
}

#[test]
fn a_pipe_that_pauses_loses_nothing() -> Result<()> {
    let case = Case::new("slow_pipe")?;
    let text = std::fs::read_to_string(case.path("in.csv"))?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (first, rest) = (lines[..3].concat(), lines[3..].concat());
    let ended = piped(
        &case,
        &[first.as_bytes(), rest.as_bytes()],
        Duration::from_secs(4),
    )?;
    ended.must_be(0, [6, 0, 0, 0, 0])?;
    ensure!(case.alerts()?.len() == 2, "{:?}", case.alerts()?);
    // Six rows, the beginning and the end of the recording.
    ensure!(reconciled(case.data.path(), &[])? == 8);
    Ok(())
}

#[test]
fn rows_that_were_left_out_come_in_with_a_corrected_recording() -> Result<()> {
    let case = Case::new("fixed_cell")?;
    let refusing = case.data.path().join("refusing.toml");
    let mapping = std::fs::read_to_string(case.path("m.toml"))?
        .replace(
            "[columns]",
            "bad_cells = \"refuse\"\nmissing = []\n[columns]",
        )
        .replace("\"s.avsc\"", &format!("{:?}", case.path("s.avsc")))
        .replace("\"rules.toml\"", &format!("{:?}", case.path("rules.toml")));
    std::fs::write(&refusing, mapping)?;
    let refusing = refusing.to_string_lossy();
    case.replay("bad.csv", &refusing, &[])?
        .must_be(0, [2, 0, 0, 1, 0])?;
    case.replay("good.csv", &refusing, &[])?
        .must_be(0, [1, 2, 0, 0, 0])?;
    let windows = case.windows("r1", "10s")?;
    let v = &windows[0];
    ensure!(
        windows.len() == 1 && v["count"] == 3 && v["mean"] == 8.0 && v["max"] == 13.0,
        "{windows:?}"
    );
    Ok(())
}

#[test]
fn a_row_with_a_typing_error_in_its_year_costs_itself_and_can_be_put_right() -> Result<()> {
    let case = Case::new("typo_year")?;
    let ended = case.replay("bad.csv", "m.toml", &[])?;
    ended.must_be(0, [4, 0, 0, 0, 1])?;
    let example = ended.report["dead_letters"][0]["examples"][0].as_str();
    ensure!(
        example.is_some_and(|example| example.ends_with("bad.csv line 3")),
        "{}",
        ended.report
    );
    let windows = case.windows("r1", "60s")?;
    ensure!(
        windows.len() == 1 && windows[0]["count"] == 4,
        "{windows:?}"
    );
    case.replay("good.csv", "m.toml", &[])?
        .must_be(0, [1, 4, 0, 0, 0])?;
    let windows = case.windows("r1", "60s")?;
    ensure!(
        windows.len() == 1 && windows[0]["count"] == 5,
        "{windows:?}"
    );
    let expected = raised_and_cleared(
        "hot",
        "2026-01-31T08:00:01.000Z",
        "2026-01-31T08:00:02.000Z",
    );
    ensure!(
        case.alerts()?
            .iter()
            .filter(|(rule, ..)| rule == "hot")
            .eq(&expected),
        "{:?}",
        case.alerts()?
    );
    Ok(())
}

#[test]
fn a_file_that_runs_backwards_gives_what_the_sorted_one_gives() -> Result<()> {
    let case = Case::new("newest_first")?;
    case.replay("in.csv", "m.toml", &[])?
        .must_be(0, [180, 0, 0, 0, 0])?;
    let expected = raised_and_cleared(
        "hot",
        "2026-01-31T09:00:00.000Z",
        "2026-01-31T09:10:00.000Z",
    );
    ensure!(case.alerts()? == expected, "{:?}", case.alerts()?);
    // One wrong time costs nothing but its own row. (The robot is silent until then.)
    let case = Case::new("newest_first")?;
    case.replay("glitch.csv", "m.toml", &[])?
        .must_be(0, [180, 0, 0, 0, 0])?;
    let mut hot = case.alerts()?;
    hot.retain(|(rule, ..)| rule == "hot");
    ensure!(hot == expected, "{hot:?}");
    Ok(())
}

#[test]
fn a_hold_does_not_count_over_a_gap() -> Result<()> {
    let case = Case::new("hold_over_gap")?;
    case.replay("in.csv", "m.toml", &[])?
        .must_be(0, [3, 0, 0, 0, 0])?;
    ensure!(case.alerts()?.is_empty(), "{:?}", case.alerts()?);
    Ok(())
}

#[test]
fn numbers_that_follow_each_other_miss_nothing_from_one_recording_to_the_next() -> Result<()> {
    let case = Case::new("missing_numbers")?;
    case.replay("day1.csv", "m.toml", &[])?
        .must_be(0, [5, 0, 0, 0, 0])?;
    case.replay("day2.csv", "m.toml", &[])?
        .must_be(0, [5, 0, 0, 0, 0])?;
    let robots = theatre_tests::robots(case.data.path(), &[])?;
    ensure!(robots.len() == 1 && robots[0]["missing"] == 0, "{robots:?}");
    Ok(())
}

#[test]
fn an_open_quote_costs_its_line() -> Result<()> {
    let case = Case::new("open_quote")?;
    let ended = case.replay("in.csv", "m.toml", &[])?;
    ended.must_be(0, [5, 0, 0, 1, 0])?;
    ensure!(
        ended.report["refusals"][0]["examples"][0]
            .as_str()
            .is_some_and(|example| example.contains("line 3")),
        "{}",
        ended.report
    );
    Ok(())
}

#[test]
fn a_replay_of_which_nothing_was_applied_is_no_success_and_keeps_nothing() -> Result<()> {
    let case = Case::new("all_refused")?;
    let refusing = case.data.path().join("m.toml");
    let text = std::fs::read_to_string(case.path("m.toml"))?
        .replace("[columns]", "bad_cells = \"refuse\"\n[columns]")
        .replace("\"s.avsc\"", &format!("{:?}", case.path("s.avsc")))
        .replace("\"rules.toml\"", &format!("{:?}", case.path("rules.toml")));
    std::fs::write(&refusing, text)?;
    let ended = case.replay("in.csv", &refusing.to_string_lossy(), &[])?;
    ended.must_be(4, [0, 0, 0, 2, 0])?;
    ensure!(
        ended.report["refusals"][0]["count"] == 2,
        "{}",
        ended.report
    );
    ensure!(
        !case.data.path().join("log.sqlite").exists(),
        "a log was made"
    );
    // Known before the first row: a field that nothing fills.
    let ended = case.replay("good.csv", "m_required.toml", &[])?;
    ensure!(
        ended.code == Some(2) && ended.said.contains("'w'"),
        "{}",
        ended.said
    );
    case.replay("good.csv", "m_millis.toml", &[])?
        .must_be(0, [2, 0, 0, 0, 0])
}

#[test]
fn events_of_several_robots_are_told_apart_and_said_again() -> Result<()> {
    let case = Case::new("two_robot_flags")?;
    for more in [&[][..], &[]] {
        let ended = case.replay("in.csv", "m.toml", more)?;
        let event = &ended.report["events"][0];
        ensure!(
            event["event"] == "stop" && event["times"] == 1 && event["announced"] == 0,
            "{}",
            ended.report
        );
    }
    Ok(())
}

#[test]
fn times_that_need_a_key_are_one_refusal_that_names_it_and_with_it_all_are_right() -> Result<()> {
    for (file, keys) in [
        ("epoch_s.csv", "time_format = \"epoch_s\""),
        ("float_s.csv", "time_format = \"epoch_s\""),
        ("epoch_ms.csv", "time_format = \"epoch_ms\""),
        ("epoch_ns.csv", "time_format = \"epoch_ns\""),
        ("naive.csv", "time_zone = \"UTC\""),
        (
            "us.csv",
            "time_format = \"month_first\"\ntime_zone = \"UTC\"",
        ),
    ] {
        let case = Case::new("time_formats")?;
        let ended = case.replay(file, "m.toml", &[])?;
        let key = keys.split(' ').next().unwrap_or_default();
        ensure!(
            ended.code == Some(2) && ended.said.contains(key),
            "{file} without {key}: {:?} {}",
            ended.code,
            ended.said
        );
        let mapping = case.data.path().join("m.toml");
        let text = std::fs::read_to_string(case.path("m.toml"))?
            .replace("[columns]", &format!("{keys}\n[columns]"))
            .replace("\"s.avsc\"", &format!("{:?}", case.path("s.avsc")))
            .replace("\"rules.toml\"", &format!("{:?}", case.path("rules.toml")));
        std::fs::write(&mapping, text)?;
        case.replay(file, &mapping.to_string_lossy(), &[])?
            .must_be(0, [5, 0, 0, 0, 0])
            .with_context(|| file.to_owned())?;
        let rows = case.query("SELECT event_time, v FROM ds ORDER BY event_time")?;
        let first = rows.first().context("rows")?;
        ensure!(first["v"] == 0.0, "{file}: {rows:?}");
    }
    Ok(())
}

#[test]
fn a_hundred_robots_of_one_row_each_are_one_commit_and_not_a_hundred() -> Result<()> {
    let case = Case::new("two_robot_flags")?;
    let file = case.data.path().join("many.csv");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file)?);
    writeln!(out, "robot,time,v,stop")?;
    for robot in 0..1000 {
        writeln!(out, "robot-{robot},2026-01-31T08:00:00Z,20,0")?;
    }
    out.into_inner()?;
    case.replay(&file.to_string_lossy(), "m.toml", &[])?
        .must_be(0, [1000, 0, 0, 0, 0])?;
    ensure!(reconciled(case.data.path(), &[])? == 3000);
    Ok(())
}

/// Kills replays at any moment; the last one makes up for them.
#[test]
fn a_replay_that_was_killed_is_run_again_and_nothing_is_lost_or_there_twice() -> Result<()> {
    let case = Case::new("two_robot_flags")?;
    let file = case.data.path().join("long.csv");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file)?);
    writeln!(out, "robot,time,v,stop")?;
    for row in 0..20_000 {
        writeln!(out, "r{},{},{},0", row % 3, time(row), row % 50)?;
    }
    out.into_inner()?;
    let (file, mapping) = (file.to_string_lossy().into_owned(), case.path("m.toml"));
    for round in 0..4 {
        let mut child = theatre(
            case.data.path(),
            &["replay", &file, "--mapping", &mapping, "--quiet"],
        )?
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
        std::thread::sleep(Duration::from_millis(300 + 350 * round));
        child.kill()?;
        child.wait()?;
    }
    let ended = case.replay(&file, "m.toml", &["--min-applied", "0"])?;
    let [applied, duplicate, late, refused, dead] = ended.counts();
    ensure!(
        applied + duplicate == 20_000 && [late, refused, dead] == [0; 3],
        "{:?}: {}",
        ended.counts(),
        ended.said
    );
    let rows = case.query("SELECT count(*) AS n, count(DISTINCT event_time) AS d FROM ds")?;
    ensure!(rows[0]["n"] == 20_000 && rows[0]["d"] == 20_000, "{rows:?}");
    reconciled(case.data.path(), &[])?;
    Ok(())
}

fn time(row: i64) -> String {
    let at = jiff::Timestamp::from_microsecond(1_769_846_400_000_000 + row * 100_000);
    at.map(|at| at.to_string()).unwrap_or_default()
}

#[test]
fn a_pace_that_makes_no_sense_is_refused() -> Result<()> {
    let case = Case::new("slow_pipe")?;
    for speed in ["1e-300", "nan", "0", "-1", "inf"] {
        let ended = case.replay("in.csv", "m.toml", &[&format!("--speed={speed}")])?;
        ensure!(
            ended.code == Some(2) && ended.said.contains("--speed"),
            "{speed}: {:?} {}",
            ended.code,
            ended.said
        );
    }
    ensure!(!Path::new(case.data.path()).join("log.sqlite").exists());
    Ok(())
}

/// A replay ends by itself and is not looked for at an address: it takes another when its own is
/// taken. The service is, so it says so and ends.
#[test]
fn a_replay_needs_no_free_admin_port_and_the_service_does() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("log.csv");
    std::fs::write(
        &file,
        "time,force\n2026-01-31T08:00:00Z,1.5\n2026-01-31T08:00:01Z,2.5\n",
    )?;
    let file = file.to_string_lossy().into_owned();
    let theatre = |arguments: &[&str]| -> Result<Output> {
        Ok(std::process::Command::new(binary()?)
            .env("THEATRE__ADMIN", &address)
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(arguments)
            .output()?)
    };
    let replay = [
        "--output", "json", "replay", &file, "--yes", "--robot", "arm-1",
    ];
    Ended::of(&theatre(&replay)?)?.must_be(0, [2, 0, 0, 0, 0])?;

    let refused = theatre(&[&replay[..], &["--admin", &address]].concat())?;
    for ended in [refused, theatre(&["run", "--until-drained"])?] {
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            ended.status.code() == Some(2) && said.contains(&address) && said.contains("--admin"),
            "{:?}: {said}",
            ended.status
        );
    }
    Ok(())
}

/// What the first look at a file writes replays the file: all of its rows, once.
#[test]
fn what_schema_infer_writes_replays_the_file() -> Result<()> {
    let case = Case::new("")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("press.csv");
    let mut text = "# press 3\nzeit;Kraft (N);ok\n".to_owned();
    for second in 0..120 {
        text.push_str(&format!(
            "2026-01-31 08:{:02}:{:02};{},5;{}\n",
            second / 60,
            second % 60,
            second % 7,
            if second % 5 == 0 { "nein" } else { "ja" }
        ));
    }
    std::fs::write(&file, text)?;
    let file = file.to_string_lossy().into_owned();
    let written = folder.path().join("mapped").to_string_lossy().into_owned();
    let infer = [
        "--output", "json", "schema", "infer", &file, "--write", &written,
    ];
    let zone = ["--time-zone", "Europe/Berlin", "--robot", "press-3"];
    run(case.data.path(), &[&infer[..], &zone[..]].concat())?;
    let mapping = Path::new(&written).join("press.toml");
    let ended = case.replay(&file, &mapping.to_string_lossy(), &[])?;
    ended.must_be(0, [120, 0, 0, 0, 0])?;
    ensure!(
        ended.report["missing_cells"]
            .as_array()
            .is_some_and(Vec::is_empty),
        "cells were lost: {}",
        ended.report
    );
    // The rows, and the events that begin and end the recording.
    ensure!(reconciled(case.data.path(), &[])? == 122);
    Ok(())
}

fn written(folder: &Path, name: &str, text: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path.to_string_lossy().into_owned())
}

/// A table of so many rows, a second apart, whose values begin with this one.
fn table(first: i64, rows: i64) -> String {
    let mut text = "time,v\n".to_owned();
    for row in 0..rows {
        text.push_str(&format!("{},{}.5\n", time(row), first + row));
    }
    text
}

/// A folder may hold a day twice, packed, renamed, or as part of a longer file.
#[test]
fn a_recording_that_is_there_twice_in_one_replay_is_there_once() -> Result<()> {
    let case = Case::new("second_file")?;
    let folder = tempfile::tempdir()?;
    written(folder.path(), "day.csv", &table(0, 50))?;
    written(folder.path(), "day-copy.csv", &table(0, 50))?;
    written(folder.path(), "longer.csv", &table(0, 60))?;
    written(folder.path(), "nothing.csv", "")?;
    let ended = case.replay(&folder.path().to_string_lossy(), "m.toml", &[])?;
    ended.must_be(0, [60, 100, 0, 0, 0])?;
    ensure!(
        ended.said.contains("nothing.csv: is empty"),
        "{}",
        ended.said
    );
    let rows = case.query("SELECT count(*) AS n, sum(v) AS sum FROM ds")?;
    ensure!(rows[0]["n"] == 60 && rows[0]["sum"] == 1800.0, "{rows:?}");
    reconciled(case.data.path(), &[])?;
    Ok(())
}

/// Rows without times of their own have those of their file.
#[test]
fn two_files_of_a_robot_without_times_are_refused() -> Result<()> {
    let case = Case::new("second_file")?;
    let folder = tempfile::tempdir()?;
    let schema = case.path("s.avsc");
    let mapping = format!(
        "schema = \"{schema}\"\nrobot_id = \"r1\"\nrate = \"1Hz\"\ntime_start = \"2026-01-31T08:00:00Z\"\n[columns]\nv = \"v\"\n"
    );
    let mapping = written(folder.path(), "m.toml", &mapping)?;
    written(folder.path(), "a.csv", "v\n1\n2\n")?;
    let second = written(folder.path(), "b.csv", "v\n3\n4\n")?;
    let pattern = folder.path().join("*.csv").to_string_lossy().into_owned();
    let ended = case.replay(&pattern, &mapping, &[])?;
    ensure!(
        ended.code == Some(2) && ended.said.contains("begin at time_start"),
        "{}",
        ended.said
    );
    let error = ended.report["error"].as_str().unwrap_or_default();
    ensure!(error.contains("b.csv"), "{}", ended.report);
    ensure!(!case.data.path().join("recordings.sqlite").exists());
    let later = ["--time-start", "2026-01-31T09:00:00Z"];
    case.replay(&second, &mapping, &later)?
        .must_be(0, [2, 0, 0, 0, 0])?;
    let rows = case.query("SELECT min(event_time) AS at FROM ds")?;
    ensure!(rows[0]["at"] == 1_769_850_000_000_000_i64, "{rows:?}");
    Ok(())
}

/// Files of several robots that no column names are not mixed up, and a folder is read with those
/// in it.
#[test]
fn of_several_files_the_robot_is_asked_for_or_read_from_their_names() -> Result<()> {
    let case = Case::new("")?;
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("day2"))?;
    written(folder.path(), "arm-1.csv", &table(0, 20))?;
    written(folder.path(), "arm-2.csv", &table(0, 10))?;
    written(&folder.path().join("day2"), "arm-1.csv", &table(100, 5))?;
    let path = folder.path().to_string_lossy().into_owned();
    let replay = |more: &[&str]| -> Result<Ended> {
        let begin = [
            "--output",
            "json",
            "replay",
            &path,
            "--yes",
            "--quiet",
            "--dataset",
            "ds",
        ];
        Ended::of(&theatre(case.data.path(), &[&begin[..], more].concat())?.output()?)
    };
    let asked = replay(&[])?;
    ensure!(
        asked.code == Some(2) && asked.said.contains("--robot-from-file"),
        "{}",
        asked.said
    );
    replay(&["--robot-from-file", "{robot}.csv"])?.must_be(0, [35, 0, 0, 0, 0])?;
    let sql = "SELECT robot_id AS r, count(*) AS n FROM ds GROUP BY 1 ORDER BY 1";
    let rows: Vec<(Value, Value)> = (case.query(sql)?.iter())
        .map(|row| (row["r"].clone(), row["n"].clone()))
        .collect();
    ensure!(
        rows == [("arm-1".into(), 25.into()), ("arm-2".into(), 10.into())],
        "{rows:?}"
    );
    Ok(())
}

/// Nothing in a file, a pipe or a packed file is nothing applied.
#[test]
fn a_replay_of_nothing_at_all_ends_with_4() -> Result<()> {
    let case = Case::new("second_file")?;
    let folder = tempfile::tempdir()?;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"\n")?;
    std::fs::write(folder.path().join("packed.csv.gz"), packed.finish()?)?;
    let empty = written(folder.path(), "empty.csv", "")?;
    let packed = folder
        .path()
        .join("packed.csv.gz")
        .to_string_lossy()
        .into_owned();
    for file in [&empty, &packed, "/dev/null"] {
        let ended = case.replay(file, "m.toml", &[])?;
        ended.must_be(4, [0, 0, 0, 0, 0])?;
        ensure!(ended.said.contains("not empty"), "{}", ended.said);
    }
    let header = written(folder.path(), "header.csv", "time,v\n")?;
    let nothing = folder.path().join("nothing.csv.gz");
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::fs::write(&nothing, gzip.finish()?)?;
    let nothing = nothing.to_string_lossy().into_owned();
    for file in [&empty, &packed, "/dev/null", &header, &nothing] {
        let unmapped = ["--output", "json", "replay", file, "--yes"];
        let ended = Ended::of(&theatre(case.data.path(), &unmapped)?.output()?)?;
        ended.must_be(4, [0, 0, 0, 0, 0])?;
    }
    ensure!(!case.data.path().join("recordings.sqlite").exists());
    Ok(())
}

/// Rows of many robots that are there once have one window each.
#[test]
fn many_robots_of_one_row_have_one_window_each() -> Result<()> {
    let case = Case::new("")?;
    let folder = tempfile::tempdir()?;
    let mut text = "time,robot,v\n".to_owned();
    for robot in 0..1_500 {
        text.push_str(&format!("2026-01-31T08:00:00Z,r{robot},1.5\n"));
    }
    let file = written(folder.path(), "once.csv", &text)?;
    let replay = ["--output", "json", "replay", &file, "--yes", "--quiet"];
    let ended = Ended::of(&theatre(case.data.path(), &replay)?.output()?)?;
    ended.must_be(0, [1_500, 0, 0, 0, 0])?;
    ensure!(
        ended.said.contains("robots have one row each"),
        "{}",
        ended.said
    );
    ensure!(case.windows("r7", "1h")?.len() == 1);
    reconciled(case.data.path(), &[])?;
    Ok(())
}

/// A mapping that an earlier replay kept is not that of every file of this name.
#[test]
fn what_a_kept_mapping_leaves_out_is_said_and_a_failed_look_keeps_nothing() -> Result<()> {
    let case = Case::new("")?;
    let folder = tempfile::tempdir()?;
    let replay = |text: &str, more: &[&str]| -> Result<Ended> {
        let file = written(folder.path(), "log.csv", text)?;
        let begin = ["--output", "json", "replay", &file, "--yes", "--quiet"];
        Ended::of(&theatre(case.data.path(), &[&begin[..], more].concat())?.output()?)
    };
    let naive = "at,v\n2026-01-31 08:00:00,1.5\n";
    let failed = replay(naive, &["--time-column", "at"])?;
    ensure!(
        failed.code == Some(2) && failed.said.contains("time_zone"),
        "{}",
        failed.said
    );
    let zone = ["--time-column", "at", "--time-zone", "Europe/Berlin"];
    replay(naive, &zone)?.must_be(0, [1, 0, 0, 0, 0])?;
    let wider = replay("at,v,temp\n2026-01-31 09:00:00,1.5,20\n", &[])?;
    wider.must_be(0, [1, 0, 0, 0, 0])?;
    ensure!(
        wider
            .said
            .contains("leaves out columns that the file has: temp"),
        "{}",
        wider.said
    );
    let other = replay("stamp;v\n2026-01-31T10:00:00Z;1,5\n", &[])?;
    ensure!(
        other.code == Some(2) && other.said.contains("--dataset NAME"),
        "{}",
        other.said
    );
    Ok(())
}

/// Without a mapping, too, a file is known under another name, and fractions are no missing values.
#[test]
fn a_look_knows_a_renamed_file_and_makes_numbers_of_whole_numbers_with_fractions() -> Result<()> {
    let case = Case::new("")?;
    let folder = tempfile::tempdir()?;
    let replay = |name: &str, text: &str, more: &[&str]| -> Result<Ended> {
        let file = written(folder.path(), name, text)?;
        let begin = ["--output", "json", "replay", &file, "--yes", "--quiet"];
        Ended::of(&theatre(case.data.path(), &[&begin[..], more].concat())?.output()?)
    };
    let rows = |rows: std::ops::Range<i64>, fraction: &str| {
        let rows = rows.map(|row| format!("{},{row}{fraction}\n", time(row)));
        format!("time,n\n{}", rows.collect::<String>())
    };
    let whole = rows(0..20, "");
    replay("arm.csv", &whole, &[])?.must_be(0, [20, 0, 0, 0, 0])?;
    let renamed = replay("copy.csv", &whole, &[])?;
    renamed.must_be(0, [0, 20, 0, 0, 0])?;
    ensure!(renamed.said.contains("renamed"), "{}", renamed.said);
    replay("third.csv", &whole, &["--robot", "arm-2"])?.must_be(0, [20, 0, 0, 0, 0])?;
    replay("fourth.csv", &whole, &["--dataset", "own"])?.must_be(0, [20, 0, 0, 0, 0])?;
    let wider = replay("arm.csv", &rows(100..110, ".5"), &[])?;
    wider.must_be(0, [10, 0, 0, 0, 0])?;
    ensure!(wider.said.contains("the next version"), "{}", wider.said);
    replay("arm.csv", &whole, &[])?.must_be(0, [0, 20, 0, 0, 0])?;
    let there = case.query("SELECT count(n) AS n, max(n) AS most FROM arm")?;
    ensure!(
        there[0]["n"] == 50 && there[0]["most"] == 109.5,
        "{there:?}"
    );
    reconciled(case.data.path(), &[])?;
    Ok(())
}
