//! The simulator as a source: killed and started again it loses nothing, its ground truth is
//! written apart, and the demo stands on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use theatre_tests::{Ending, ending, reconciled, robots, run, spawn};

const TABLES: [&str; 5] = [
    "robot_telemetry",
    "procedure_events",
    "procedure_results",
    "robot_events",
    "maintenance_alerts",
];
/// Faults of records that can be decoded: what can not names no number by which a repetition is
/// known.
const FLAGS: [&str; 18] = [
    "simulate",
    "--robots",
    "12",
    "--ticks",
    "1500",
    "--seed",
    "9",
    "--fault-duplicate",
    "0.01",
    "--fault-gap",
    "0.01",
    "--fault-reorder",
    "0.02",
    "--fault-late",
    "0.005",
    "--fault-nan",
    "0.005",
    "--late-ticks=300",
];

fn settle(data: &Path, config: &Path) -> Result<Ending> {
    // The same pseudonyms in both directories.
    std::fs::create_dir_all(data.join("keys"))?;
    std::fs::write(data.join("keys/pseudonym.key"), [7; 32])?;
    run(
        data,
        &[
            "--config",
            &config.to_string_lossy(),
            "run",
            "--until-drained",
        ],
    )?;
    run(data, &["reconcile"])?;
    ending(data, &TABLES)
}

#[test]
fn a_simulator_that_is_killed_and_started_again_changes_nothing_but_the_duplicate_counter()
-> Result<()> {
    let (calm, killed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let config = calm.path().join("theatre.toml");
    std::fs::write(
        &config,
        "silence_after = \"1d\"\nallowed_lateness = \"20s\"\nreorder_bound = \"3s\"\n",
    )?;
    run(calm.path(), &FLAGS)?;

    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let mut kills = 0;
    loop {
        let mut child = spawn(killed.path(), &FLAGS)?;
        std::thread::sleep(Duration::from_millis(random.random_range(30..250)));
        if child.try_wait()?.is_some() {
            break;
        }
        child.kill()?;
        child.wait()?;
        kills += 1;
    }
    ensure!(kills >= 3, "it was killed {kills} times only");
    let (calm_end, killed_end) = (
        settle(calm.path(), &config)?,
        settle(killed.path(), &config)?,
    );
    ensure!(calm_end.outputs == killed_end.outputs, "outputs differ");
    ensure!(
        calm_end.published == killed_end.published,
        "published records differ"
    );
    let rows = |end: &Ending| {
        end.warehouse
            .iter()
            .map(|(table, (rows, _))| (table.clone(), *rows))
            .collect::<BTreeMap<_, _>>()
    };
    ensure!(
        rows(&calm_end) == rows(&killed_end),
        "{:?} is not {:?}",
        rows(&killed_end),
        rows(&calm_end)
    );
    for (topic, (calm, killed)) in calm_end
        .counters
        .iter()
        .zip(&killed_end.counters)
        .enumerate()
    {
        ensure!(
            calm.applied == killed.applied && calm.late == killed.late,
            "topic {topic}: {killed:?} is not {calm:?}"
        );
        ensure!(
            calm.dead_total() == killed.dead_total() && calm.duplicate <= killed.duplicate,
            "topic {topic}: {killed:?} is not {calm:?}"
        );
    }
    let telemetry = &calm_end.counters[0];
    ensure!(
        telemetry.duplicate > 50 && telemetry.late > 20,
        "the faults were not there: {telemetry:?}"
    );
    ensure!(
        calm_end.counters[1].applied > 0 && calm_end.counters[3].applied > 0,
        "events and results were not there"
    );
    Ok(())
}

#[test]
fn the_same_flags_write_the_same_bytes_and_the_truth_apart() -> Result<()> {
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let flags = [
        "simulate",
        "--robots",
        "5",
        "--ticks",
        "300",
        "--fault-gap",
        "0.02",
        "--fault-unknown-schema",
        "0.01",
        "--fault-future",
        "0.01",
    ];
    let mut written = Vec::new();
    for folder in &folders {
        let truth = folder.path().join("truth.jsonl");
        let truth_flag = truth.to_string_lossy().into_owned();
        run(
            folder.path(),
            &[&flags[..], &["--truth", &truth_flag]].concat(),
        )?;
        written.push((
            std::fs::read_to_string(&truth)?,
            theatre_tests::topics(folder.path())?,
        ));
    }
    ensure!(written[0] == written[1], "the same flags gave other bytes");
    let count = |what: &str| {
        written[0]
            .0
            .lines()
            .filter(|line| line.contains(what))
            .count()
    };
    ensure!(
        (10..60).contains(&count("\"gap\"")) && count("unknown_schema") > 3 && count("future") > 3,
        "{}",
        written[0].0
    );
    // 1,500 samples, less those that never arrived.
    let telemetry: usize = written[0]
        .1
        .iter()
        .filter(|((topic, _), _)| topic.contains("telemetry"))
        .map(|(_, values)| values.len())
        .sum();
    ensure!(
        telemetry == 1500 - count("\"gap\""),
        "{telemetry} records, {} lost",
        count("\"gap\"")
    );
    let refused =
        theatre_tests::theatre(folders[0].path(), &["simulate", "--fault-gap", "1.5"])?.output()?;
    ensure!(
        refused.status.code() == Some(2),
        "a share above 1 is refused"
    );
    Ok(())
}

/// The next tick of a live fleet that ran for a while and was asked to stop.
fn live(data: &Path, time: Duration) -> Result<u64> {
    let child = theatre_tests::theatre(data, &["simulate", "--live", "--robots", "3"])?
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    std::thread::sleep(time);
    let asked = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()?;
    ensure!(asked.success(), "it had ended already");
    let ended = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.success(), "{said}");
    let tick = said
        .trim()
        .rsplit(' ')
        .next()
        .and_then(|tick| tick.parse().ok());
    tick.with_context(|| format!("no tick: {said}"))
}

#[test]
fn a_live_fleet_keeps_up_with_the_clock_makes_up_for_a_pause_and_stops_when_asked() -> Result<()> {
    let data = tempfile::tempdir()?;
    let first = live(data.path(), Duration::from_secs(3))?;
    // Ten ticks a second, less what the start took.
    ensure!((5..40).contains(&first), "{first} ticks in 3 s");
    std::thread::sleep(Duration::from_secs(2));
    let second = live(data.path(), Duration::from_secs(2))?;
    ensure!(second >= first + 20, "{second} after {first} and a pause");
    let telemetry: usize = theatre_tests::topics(data.path())?
        .iter()
        .filter(|((topic, _), _)| topic.contains("telemetry"))
        .map(|(_, values)| values.len())
        .sum();
    ensure!(
        telemetry as u64 == 3 * second,
        "{telemetry} samples of 3 robots in {second} ticks"
    );
    Ok(())
}

#[test]
fn the_demo_brings_a_fleet_to_life_goes_on_with_it_and_loses_nothing() -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut read = 0;
    for _ in 0..2 {
        run(data.path(), &["demo", "--for", "4s", "--robots", "5"])?;
        let before = std::mem::replace(&mut read, reconciled(data.path(), &[])?);
        ensure!(
            read >= before + 5 && robots(data.path(), &[])?.len() == 5,
            "{before} records were read, then {read}"
        );
    }
    Ok(())
}

#[test]
fn the_rules_for_simulated_fleets_announce_what_fails_in_few_alerts() -> Result<()> {
    let data = tempfile::tempdir()?;
    let shipped = run(data.path(), &["rules", "shipped", "--simulated"])?;
    let (rules, truth) = (data.path().join("rules.toml"), data.path().join("truth"));
    std::fs::write(&rules, &shipped.stdout)?;
    let config = data.path().join("theatre.toml");
    std::fs::write(
        &config,
        "silence_after = \"1d\"\nrules = \"rules.toml\"\n[[windows]]\nname = \"1h\"\nsize = \"1h\"\n",
    )?;
    let config = config.to_string_lossy().into_owned();
    let with_config = |arguments: &[&str]| {
        run(
            data.path(),
            &[&["--config", config.as_str()], arguments].concat(),
        )
    };
    let truth = truth.to_string_lossy().into_owned();
    with_config(&[
        "simulate",
        "--profile",
        "demo",
        "--for",
        "30m",
        "--truth",
        &truth,
    ])?;
    with_config(&["run", "--until-drained"])?;
    let history = ["--output", "json", "alerts", "history", "--limit", "0"];
    let alerts: Vec<Value> = serde_json::from_slice(&with_config(&history)?.stdout)?;
    let truth = std::fs::read_to_string(truth)?;
    let lines: Vec<Value> = truth
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let failures: Vec<&Value> = lines
        .iter()
        .filter(|line| line["what"] == "failure")
        .collect();
    let of_robot = |failure: &&&Value| {
        let begun = alerts.iter().filter(|alert| {
            alert["robot_id"] == failure["robot_id"] && alert["transition"] == "raised"
        });
        // Times are RFC 3339 here, and microseconds there.
        let failed = failure["event_time"].as_i64().unwrap_or(0);
        begun
            .filter_map(|alert| {
                alert["event_time"]
                    .as_str()?
                    .parse::<jiff::Timestamp>()
                    .ok()
            })
            .any(|raised| raised.as_microsecond() < failed)
    };
    let announced = failures.iter().filter(of_robot).count();
    ensure!(
        failures.len() >= 3 && announced + 1 >= failures.len(),
        "{announced} of {} failures were announced",
        failures.len()
    );
    let raised = |robot: &str, transition: &str| {
        alerts.iter().any(|alert| {
            alert["robot_id"] == robot
                && alert["rule_id"] == "joint2_current_high"
                && alert["transition"] == transition
        })
    };
    ensure!(raised("lanternport-1", "raised") && raised("lanternport-1", "cleared"));
    ensure!(
        alerts.len() <= 60,
        "{} alerts in half an hour",
        alerts.len()
    );
    Ok(())
}
