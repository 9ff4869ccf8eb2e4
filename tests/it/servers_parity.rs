//! The same input gives the same on Kafka, PostgreSQL, S3 and Redshift as it does embedded, by
//! whichever client it was produced.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use theatre_actors::outputs::{OutputEvent, OutputKind, OutputTopics};
use theatre_actors::ports::{CheckpointStore, EventLog, NewRecord, PollLimit};
use theatre_actors::window::WindowRow;
use theatre_config::INPUT_TOPICS;
use theatre_schemas::records::WindowAggregates;
use theatre_tests::broker::{Audience, Partitioner, Seen, kcat, seen_once};
use theatre_tests::conclusions::{Conclusions, all_outputs, all_published};
use theatre_tests::deployment::Deployment;
use theatre_tests::fleet::{self, Fleet};
use theatre_tests::repository;
use theatre_tests::site::Site;

const ROBOTS: u64 = 10;
const TICKS: u64 = 600;
const PARTITIONS: u32 = 4;
const RECORDING: &str = "tests/data/ur3/ur3_cobotops.csv";
const MAPPING: &str = "tests/data/ur3/mapping.toml";
const WINDOW_TOPIC: &str = "surgical.window.aggregates.v1";

/// A fleet and the UR3 recording on one deployment: both schemas, both rule files; windows are
/// published too.
fn settings() -> String {
    let schema = repository().join("tests/data/ur3/ur3.avsc");
    format!(
        "schemas = [\"{}\"]\nwindow_topic = \"{WINDOW_TOPIC}\"\n{}",
        schema.display(),
        fleet::settings(PARTITIONS)
    )
}

fn rules() -> Result<String> {
    Ok(format!(
        "{}\n{}",
        fleet::RULES,
        std::fs::read_to_string(repository().join("tests/data/ur3/rules.toml"))?
    ))
}

/// Theatre's own producers: the simulated fleet, then the recording.
fn produce(deployment: &Deployment, process: &str) -> Result<()> {
    deployment.run(
        process,
        &Fleet::flags(ROBOTS, TICKS)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    )?;
    deployment
        .run(
            process,
            &["replay", RECORDING, "--mapping", MAPPING, "--quiet"],
        )
        .map(drop)
}

/// All that a log's input topics hold, topic by topic, partitions one after another.
fn records(log: &dyn EventLog) -> Result<Vec<Vec<NewRecord>>> {
    let everything = PollLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };
    let mut topics = Vec::new();
    for topic in INPUT_TOPICS {
        let mut records = Vec::new();
        for partition in 0..PARTITIONS {
            let mut reader = log.reader(topic, partition, 0)?;
            while !reader
                .poll(everything, &mut |record| {
                    records.push(NewRecord {
                        key: record.key.to_vec(),
                        value: record.value.to_vec(),
                        headers: Vec::new(),
                    })
                })?
                .at_end
            {}
        }
        topics.push(records);
    }
    Ok(topics)
}

/// The same records by kcat: the fleet's events before its telemetry, the recording's after.
fn produce_with_kcat(broker: &str, topics: &[Vec<NewRecord>]) -> Result<()> {
    let of_fleet = |record: &&NewRecord| record.key.starts_with(b"robot-");
    for topic in (0..topics.len()).rev() {
        kcat(
            broker,
            INPUT_TOPICS[topic],
            Partitioner::Murmur2,
            &topics[topic]
                .iter()
                .filter(of_fleet)
                .cloned()
                .collect::<Vec<_>>(),
        )?;
    }
    for (topic, records) in topics.iter().enumerate() {
        kcat(
            broker,
            INPUT_TOPICS[topic],
            Partitioner::Murmur2,
            &records
                .iter()
                .filter(|record| !of_fleet(record))
                .cloned()
                .collect::<Vec<_>>(),
        )?;
    }
    Ok(())
}

/// Drained, proven by `reconcile`, and read back; what a consumer of the broker saw is what the
/// store says was published.
fn concluded(site: &Site) -> Result<Conclusions> {
    site.deployment.drain("first")?;
    site.deployment.run("first", &["reconcile"])?;
    let ports = site.deployment.ports("first")?;
    let topics =
        OutputTopics::new(|kind| (kind == OutputKind::Window).then(|| WINDOW_TOPIC.to_owned()));
    let topics: Vec<&str> = topics.iter().collect();
    let seen = Audience::listen_to(&site.kafka.bootstrap(), &topics, PARTITIONS)?.leave()?;
    let (windows, others): (Vec<Seen>, Vec<Seen>) = seen
        .into_iter()
        .partition(|seen| seen.topic == WINDOW_TOPIC);
    theatre_tests::deployment::same(
        "published records",
        &all_published(&*ports.store)?,
        &seen_once(&others)?,
    )?;
    must_be_the_windows_of(&*ports.store, &windows)?;
    Conclusions::read(&site.deployment.config()?, &ports)
}

/// Wants the window topic to have each revision that is committed, once and as it is, and no other.
fn must_be_the_windows_of(store: &dyn CheckpointStore, seen: &[Seen]) -> Result<()> {
    seen_once(seen)?;
    let mut published: BTreeMap<&str, &Seen> =
        seen.iter().map(|seen| (seen.id.as_str(), seen)).collect();
    for output in all_outputs(store)?
        .into_iter()
        .filter(|output| output.kind == OutputKind::Window)
    {
        let id = format!("{}#{}", output.id, output.revision);
        let seen = published
            .remove(id.as_str())
            .with_context(|| format!("window {id} is not on its topic"))?;
        must_tell(&output, seen).with_context(|| format!("window {id}"))?;
    }
    ensure!(
        published.is_empty(),
        "{} windows were published that the store does not have, such as {:?}",
        published.len(),
        published.keys().next()
    );
    Ok(())
}

fn must_tell(output: &OutputEvent, seen: &Seen) -> Result<()> {
    let (window, row) = (
        WindowAggregates::decode(&seen.value)?,
        WindowRow::decode(&output.payload)?,
    );
    let subject = format!("{}/{}", window.dataset, window.window);
    ensure!(
        seen.key == output.robot_id
            && window.robot_id == output.robot_id
            && subject == output.subject,
        "key {}: {window:?}",
        seen.key
    );
    let got = (
        window.window_start,
        window.window_size_us,
        window.revision,
        window.rows,
    );
    ensure!(
        got == (
            row.start_us,
            row.size_us,
            row.revision as i32,
            row.rows as i64
        ),
        "{window:?} is not {row:?}"
    );
    let expected: Vec<(i64, f64)> = row
        .signals
        .iter()
        .filter(|signal| signal.count > 0)
        .map(|signal| (signal.count as i64, signal.sum))
        .collect();
    ensure!(
        window
            .signals
            .iter()
            .map(|signal| (signal.count, signal.sum))
            .eq(expected),
        "{window:?} is not {row:?}"
    );
    let time = jiff::Timestamp::from_microsecond(row.start_us)?.to_string();
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_type", "theatre.window.revision"),
        ("ce_time", time.as_str()),
        ("ce_subject", output.robot_id.as_str()),
        ("ce_partitionkey", output.robot_id.as_str()),
        ("content-type", "application/avro"),
    ];
    let wrong = headers
        .iter()
        .find(|(name, value)| seen.headers.get(*name).is_none_or(|there| there != value));
    ensure!(wrong.is_none(), "{wrong:?} is not among {:?}", seen.headers);
    Ok(())
}

#[test]
fn a_fleet_and_a_recording_come_to_the_same_on_servers_as_embedded() -> Result<()> {
    let rules = rules()?;
    let embedded = Deployment::new(&settings(), &rules)?;
    produce(&embedded, "embedded")?;
    embedded.run("embedded", &["reconcile"])?;
    let expected = Conclusions::read(&embedded.config()?, &embedded.ports("embedded")?)?;

    let own = Site::start(&settings(), &rules)?;
    produce(&own.deployment, "first")?;
    expected
        .must_equal(&concluded(&own)?)
        .context("produced by theatre")?;
    drop(own);

    let other = Site::start(&settings(), &rules)?;
    other
        .deployment
        .log("first")?
        .ensure_topics(&INPUT_TOPICS.map(str::to_owned), PARTITIONS)?;
    produce_with_kcat(
        &other.kafka.bootstrap(),
        &records(&*embedded.log("embedded")?)?,
    )?;
    // Topic by topic, and not as the robots sent.
    expected
        .in_any_order_of_topics()
        .must_equal(&concluded(&other)?.in_any_order_of_topics())
        .context("produced by kcat")
}

#[test]
fn a_topic_written_with_another_partitioner_is_noticed_and_named() -> Result<()> {
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    site.deployment
        .log("first")?
        .ensure_topics(&INPUT_TOPICS.map(str::to_owned), PARTITIONS)?;
    let records = Fleet::new(ROBOTS, PARTITIONS)?.records(0..300)?;
    let (broker, events) = (
        site.kafka.bootstrap(),
        records.get(&2).context("no procedure events")?,
    );
    // Telemetry as Java's client does it: it comes first and decides where each robot is at home.
    // Then events as kcat does it.
    kcat(&broker, INPUT_TOPICS[0], Partitioner::Murmur2, &records[&0])?;
    site.deployment.drain("first")?;
    kcat(&broker, INPUT_TOPICS[2], Partitioner::Crc32, events)?;
    let mut member = site.deployment.start("first", &[])?;
    member.wait_for_readiness("another partitioner to be named", |readiness| {
        readiness.ready
            && readiness
                .notices
                .iter()
                .any(|notice| notice.contains(INPUT_TOPICS[2]) && notice.contains("partitioner"))
    })?;
    ensure!(member.terminate()?.success(), "{}", member.said());
    site.deployment.drain("first")?;
    let ports = site.deployment.ports("first")?;
    let counters = Conclusions::read(&site.deployment.config()?, &ports)?.counters;
    let published = |topic: usize| (counters[&topic].total(), records[&topic].len() as u64);
    ensure!(
        published(0).0 == published(0).1 && published(2).0 == published(2).1,
        "records counted and sent: {:?} {:?}",
        published(0),
        published(2)
    );
    let dead = ports.store.find_dead(0)?;
    let turned_away = dead
        .iter()
        .filter(|stored| stored.dead.topic == 2 && stored.dead.reason.as_str() == "wrong_partition")
        .count();
    ensure!(
        turned_away > 0 && turned_away < events.len(),
        "{turned_away} of {} events were turned away",
        events.len()
    );
    ensure!(
        dead.iter().all(
            |stored| stored.dead.topic == 2 || stored.dead.reason.as_str() != "wrong_partition"
        ),
        "telemetry was turned away"
    );
    site.deployment.run("first", &["reconcile"]).map(drop)
}
