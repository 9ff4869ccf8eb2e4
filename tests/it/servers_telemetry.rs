//! Rows of telemetry on servers: from files in S3 and, behind them, from Kafka.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{EventLog, NewRecord};
use theatre_config::INPUT_TOPICS;
use theatre_simulator::fleet::START_US;
use theatre_simulator::{Faults, Simulator};
use theatre_tests::deployment::{Member, PATIENCE, wait_for};
use theatre_tests::fleet;
use theatre_tests::http;
use theatre_tests::site::Site;

const PARTITIONS: u32 = 2;
const ROBOTS: u64 = 4;
/// Ten seconds.
const HALF: u64 = 100;
/// The minute in which the fleet begins.
const RANGE: &str =
    "dataset=robot_telemetry&from=2026-01-01T00:00:00Z&to=2026-01-01T00:01:00Z&limit=70";
const ANY_PORT: [(&str, &str); 1] = [("THEATRE__API__LISTEN", "127.0.0.1:0")];

/// Writes some ticks of a fleet of which a few records come twice.
fn feed(log: &dyn EventLog, ticks: std::ops::Range<u64>) -> Result<()> {
    let faults = Faults {
        duplicate: 0.05,
        ..Faults::default()
    };
    let simulator = Simulator::new(7, ROBOTS, START_US)?.with_faults(faults);
    let mut records: BTreeMap<(usize, u32), Vec<NewRecord>> = BTreeMap::new();
    for tick in ticks {
        for (topic, record) in simulator.tick(tick)? {
            let partition = partition_of(&record.key, PARTITIONS);
            records.entry((topic, partition)).or_default().push(record);
        }
    }
    for ((topic, partition), records) in records {
        log.append(INPUT_TOPICS[topic], partition, &records)?;
    }
    Ok(())
}

/// Waits until all that is in the log is applied and saved.
fn settled(site: &Site, log: &dyn EventLog) -> Result<()> {
    let store = site.deployment.ports("looking")?.store;
    let is_applied = |partition: u32| -> Result<bool> {
        let floor = store.status(partition)?.floor;
        for (index, topic) in INPUT_TOPICS.into_iter().enumerate() {
            if floor.get(index) < log.range(topic, partition)?.end {
                return Ok(false);
            }
        }
        Ok(true)
    };
    wait_for(PATIENCE, || {
        for partition in 0..PARTITIONS {
            if !is_applied(partition)? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .context("not everything is applied")
}

/// What a process answers to a path.
fn ask(member: &mut Member, secret: &str, path: &str) -> Result<Value> {
    member.wait_until_it_says("page: http://")?;
    let said = member.said();
    let address = said.split("page: http://").nth(1).context("no address")?;
    let end = address.find(['/', '\n']).unwrap_or(address.len());
    let answer = http::request(&address[..end], "GET", path, Some(secret), &[], &[])?;
    ensure!(answer.status == 200, "{path}: {answer:?}");
    Ok(answer.json())
}

/// All rows of all robots by pages, none of which may be missing.
fn rows(member: &mut Member, secret: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let robots = ask(member, secret, "/api/v1/robots")?;
    let robots = robots["items"].as_array().context("no robots")?;
    ensure!(robots.len() as u64 == ROBOTS, "{robots:?}");
    for robot in robots {
        let robot = robot["robot_id"].as_str().context("no id")?;
        let mut after = String::new();
        loop {
            let path = format!("/api/v1/robots/{robot}/telemetry?{RANGE}{after}");
            let page = ask(member, secret, &path)?;
            ensure!(page["missing"] == json!([]), "{page:#}");
            ensure!(page["complete_until"].is_null(), "{page:#}");
            found.extend(page["items"].as_array().into_iter().flatten().cloned());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
    }
    Ok(found)
}

/// Which records they are.
fn places(rows: &[Value]) -> Vec<String> {
    let place = |row: &Value| format!("{} {} {}", row["topic"], row["partition"], row["offset"]);
    rows.iter().map(place).collect()
}

#[test]
fn rows_come_from_files_in_s3_and_from_kafka_behind_them_as_they_will_be_in_files() -> Result<()> {
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let log = site.deployment.log("producer")?;
    log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), PARTITIONS)?;
    let made = site.deployment.run(
        "looking",
        &[
            "--output", "json", "token", "create", "--name", "test", "--role", "viewer",
        ],
    )?;
    let made: Value = serde_json::from_slice(&made.stdout)?;
    let secret = made[0]["secret"].as_str().context("no secret")?;

    // All of the first half is in files when it ends.
    feed(&*log, 0..HALF)?;
    site.deployment.drain("first")?;
    let (hasty, patient) = ("lake_roll_age = \"3s\"", "lake_roll_age = \"1d\"");
    site.deployment.reconfigure(hasty, patient)?;
    let mut first = site.deployment.start("first", &ANY_PORT)?;
    first.wait_until_ready()?;
    let of_files = rows(&mut first, secret)?;
    ensure!(!of_files.is_empty());

    // Nothing of the second one is.
    feed(&*log, HALF..2 * HALF)?;
    settled(&site, &*log)?;
    let found = rows(&mut first, secret)?;
    ensure!(
        found.len() > of_files.len(),
        "{} of {}",
        of_files.len(),
        found.len()
    );
    let mut other = site
        .deployment
        .start_command("other", &["api"], &ANY_PORT)?;
    ensure!(places(&rows(&mut other, secret)?) == places(&found));
    other.kill()?;

    ensure!(first.terminate()?.success(), "{}", first.said());
    site.deployment.reconfigure(patient, hasty)?;
    site.deployment.drain("first")?;
    let mut again = site.deployment.start("first", &ANY_PORT)?;
    again.wait_until_ready()?;
    let in_files = rows(&mut again, secret)?;
    ensure!(places(&in_files) == places(&found));
    let differs = in_files
        .iter()
        .zip(&found)
        .find(|(one, other)| one != other);
    ensure!(differs.is_none(), "{differs:#?}");
    Ok(())
}
