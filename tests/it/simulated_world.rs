//! The surgical fleet whose faults have causes, as a source: killed and started again it writes the
//! same records, and a bad network's faults are those that the pipeline counts.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use theatre_actors::ports::Warehouse;
use theatre_embedded::warehouse::EmbeddedWarehouse;
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

#[test]
fn the_warehouse_has_a_case_that_moved_as_one_and_each_surgeons_samples_to_the_last() -> Result<()>
{
    let data = tempfile::tempdir()?;
    // With this seed a part fails in mid-case, and the case goes on on another robot of the site.
    let flags = "simulate --profile degrading --robots 20 --days 60 --interval 1800s --seed 3";
    run(data.path(), &flags.split(' ').collect::<Vec<_>>())?;
    let config = data.path().join("hours.toml");
    std::fs::write(&config, "[[windows]]\nname = \"1h\"\nsize = \"1h\"\n")?;
    let config = config.to_string_lossy().into_owned();
    run(
        data.path(),
        &["--config", &config, "run", "--until-drained"],
    )?;
    let warehouse = EmbeddedWarehouse::open_read_only(&data.path().join("warehouse.sqlite"))?;
    let row = |sql: &str| -> Result<serde_json::Value> {
        Ok(serde_json::json!(warehouse.query(sql)?.rows[0]))
    };
    let cases = row(
        "SELECT count(*) > 1000, count(*) - count(DISTINCT procedure_id), count(*) - count(patient_age), count(*) - count(patient_gender) FROM fact_procedures",
    )?;
    ensure!(cases == serde_json::json!([1, 0, 0, 0]), "{cases}");
    let moved = row(
        "SELECT count(*), sum(f.started_at = l.started_at), sum(f.ended_at > l.ended_at), sum(f.status = 'completed') \
         FROM fact_procedures f JOIN fact_procedure_legs l ON l.procedure_key = f.procedure_key \
         WHERE f.legs = 2 AND l.leg_number = 1 AND l.status = 'moved'",
    )?;
    ensure!(moved == serde_json::json!([1, 1, 1, 1]), "{moved}");
    // The samples themselves of all legs that ended, which no aggregate has touched.
    let surgeons = row(
        "SELECT count(*) > 40, sum(of_cases.n) > 10000, sum(of_cases.n <> samples.n OR abs(of_cases.s - samples.s) > 1e-6 OR of_cases.least <> samples.least OR of_cases.most <> samples.most) \
         FROM (SELECT o.surgeon_id, count(*) AS n, sum(t.system_temperature) AS s, min(t.system_temperature) AS least, max(t.system_temperature) AS most \
            FROM robot_telemetry t JOIN procedure_outcomes o ON o.procedure_id = t.procedure_id AND o.robot_id = t.robot_id GROUP BY 1) samples \
         LEFT JOIN (SELECT surgeon_id, sum(value_count) AS n, sum(value_sum) AS s, min(\"min\") AS least, max(\"max\") AS most \
            FROM rollup_surgeon_hour WHERE signal = 'system_temperature' GROUP BY 1) of_cases ON of_cases.surgeon_id = samples.surgeon_id",
    )?;
    ensure!(surgeons == serde_json::json!([1, 1, 0]), "{surgeons}");
    Ok(())
}
