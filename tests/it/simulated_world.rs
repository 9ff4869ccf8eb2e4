//! The surgical fleet whose faults have causes, as a source: killed and started again it writes the
//! same records, and a bad network's faults are those that the pipeline counts.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use theatre_simulator::world::Topic;
use theatre_tests::{ending, reconciled, run, spawn, topics_named};

/// The values of records, by topic and partition.
type Written = BTreeMap<(String, u32), Vec<Vec<u8>>>;

/// The records of each topic and partition, each where it was written first.
fn first_written(data: &Path) -> Result<Written> {
    let mut written = BTreeMap::new();
    for (place, mut values) in topics_named(data, &Topic::ALL.map(Topic::name))? {
        let mut known = HashSet::new();
        values.retain(|value| known.insert(value.clone()));
        written.insert(place, values);
    }
    Ok(written)
}

#[test]
fn a_surgical_fleet_that_is_killed_goes_on_with_the_same_records() -> Result<()> {
    let flags = [
        "simulate",
        "--profile",
        "degrading",
        "--days",
        "10",
        "--interval",
        "60s",
        "--fault-gap",
        "0.01",
        "--fault-days-late",
        "0.01",
        "--fault-offline",
        "0.01",
    ];
    let (calm, killed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    run(calm.path(), &flags)?;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let mut kills = 0_u64;
    loop {
        let mut child = spawn(killed.path(), &flags)?;
        // Each attempt has longer than the one before: a fast machine is killed too before it is done,
        // and a slow one comes to the end.
        let longest = 100 << kills;
        std::thread::sleep(Duration::from_millis(
            random.random_range(longest / 2..longest),
        ));
        if child.try_wait()?.is_some() {
            break;
        }
        child.kill()?;
        child.wait()?;
        kills += 1;
    }
    ensure!(kills >= 2, "it was killed {kills} times only");
    let (calm, killed) = (first_written(calm.path())?, first_written(killed.path())?);
    let records: usize = calm.values().map(Vec::len).sum();
    ensure!(records > 20_000, "{records} records");
    ensure!(
        calm == killed,
        "after {kills} kills there are other records"
    );
    Ok(())
}

#[test]
fn a_bad_network_shows_in_the_counters_and_another_fleet_is_refused() -> Result<()> {
    let data = tempfile::tempdir()?;
    let truth = data.path().join("truth.jsonl");
    let truth_flag = truth.to_string_lossy().into_owned();
    let flags = [
        "simulate",
        "--profile",
        "stress",
        "--robots",
        "20",
        "--for",
        "20s",
    ];
    run(
        data.path(),
        &[&flags[..], &["--truth", &truth_flag]].concat(),
    )?;
    run(data.path(), &["run", "--until-drained"])?;
    reconciled(data.path(), &[])?;
    let noted = std::fs::read_to_string(&truth)?;
    let count = |fault: &str| {
        let fault = format!("\"fault\":\"{fault}\"");
        noted.lines().filter(|line| line.contains(&fault)).count() as u64
    };
    let ending = ending(data.path(), &["robot_telemetry"])?;
    let telemetry = &ending.counters[0];
    ensure!(
        count("truncated") + count("unknown_schema") > 3 && count("duplicate") > 10,
        "the faults were not there"
    );
    // Also offline robots send late, and samples of the future are refused.
    ensure!(
        telemetry.duplicate > 10 && telemetry.dead_total() >= count("truncated"),
        "{telemetry:?}"
    );
    let mut other = theatre_tests::theatre(data.path(), &["simulate", "--profile", "reference"])?;
    ensure!(
        other.output()?.status.code() == Some(2),
        "a directory holds one fleet"
    );
    Ok(())
}
