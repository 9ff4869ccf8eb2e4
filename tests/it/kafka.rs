//! What the adapter of Kafka does beyond the contract of its port, against a real broker:
//! transactions, deleted records, groups, topics.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use theatre_actors::ports::{
    Error, EventLog, Lane, LogReader, NewRecord, Outgoing, Ownership, PollEnd, PollLimit,
};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::rules::Micros;
use theatre_config::INPUT_TOPICS;
use theatre_config::log::{LogConfig, LogFetcher};
use theatre_dev::kafka::Kafka;
use theatre_kafka::{self, TopicAudit};
use theatre_system::blocking::IoRuntime;
use theatre_tests::broker::group_offsets;
use theatre_tests::deployment::Deployment;
use theatre_tests::servers::{kafka as brokers, unique};

const ALL: PollLimit = PollLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};
const PATIENCE: Duration = Duration::from_secs(30);

/// A deployment of its own on the shared broker.
fn config() -> LogConfig {
    LogConfig {
        deployment: unique("deployment"),
        session_timeout: Micros(10_000_000),
        ..LogConfig::default()
    }
}

fn url() -> Result<String> {
    Ok(format!("kafka://{}", brokers()?))
}

fn open(config: &LogConfig) -> Result<Arc<dyn EventLog>> {
    Ok(theatre_kafka::open(&url()?, config, &IoRuntime::start()?)?)
}

fn record(text: &str) -> NewRecord {
    NewRecord {
        key: text.as_bytes().to_vec(),
        value: text.as_bytes().to_vec(),
        headers: Vec::new(),
    }
}

/// Reads on until the reader says that it is at the end, and what it brought has as many records as
/// are waited for.
fn read(reader: &mut dyn LogReader, records: usize) -> Result<(Vec<String>, PollEnd)> {
    let begun = Instant::now();
    let mut seen = Vec::new();
    while begun.elapsed() < PATIENCE {
        let end = reader.poll(ALL, &mut |record| {
            seen.push(String::from_utf8_lossy(record.value).into_owned())
        })?;
        if end.at_end && seen.len() >= records {
            return Ok((seen, end));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("not at the end after {PATIENCE:?}: {seen:?}")
}

#[test]
fn a_lane_ends_the_open_transaction_of_its_dead_predecessor_at_once() -> Result<()> {
    let config = config();
    let log = open(&config)?;
    let topic = unique("results");
    log.ensure_topics(std::slice::from_ref(&topic), 1)?;
    // The predecessor: the lane's transactional id, a record that is written but not committed, and
    // far more time than this test has.
    let dead: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers()?)
        .set(
            "transactional.id",
            format!("{}-0-results", config.deployment),
        )
        .set("transaction.timeout.ms", "600000")
        .create()?;
    dead.init_transactions(PATIENCE)?;
    dead.begin_transaction()?;
    dead.send(
        BaseRecord::to(&topic)
            .partition(0)
            .key("k")
            .payload("of the dead"),
    )
    .map_err(|(error, _)| anyhow!(error))?;
    dead.flush(PATIENCE)?;
    ensure!(
        log.range(&topic, 0)?.end <= 1,
        "only the record of the dead is there"
    );

    let mut lane = log.open_lane(0, Lane::Results, 2)?;
    lane.publish(
        &[Outgoing {
            topic: topic.clone(),
            partition: 0,
            record: record("of the living"),
        }],
        1,
    )?;
    let (seen, _) = read(&mut *log.reader(&topic, 0, 0)?, 1)?;
    ensure!(seen == ["of the living"], "{seen:?}");
    ensure!(
        dead.commit_transaction(PATIENCE).is_err(),
        "the dead are fenced"
    );
    ensure!(lane.position()? == 1);
    Ok(())
}

#[test]
fn the_next_appender_decides_what_the_one_before_had_under_way_and_ends_it() -> Result<()> {
    let config = config();
    let log = open(&config)?;
    let topic = unique("input");
    log.ensure_topics(std::slice::from_ref(&topic), 1)?;
    let mut first = log.open_appender("copies")?;
    ensure!(first.append(&topic, 0, &[record("one"), record("two")])? == 0);
    // As a command that is killed leaves it: a record that is written and not committed.
    let killed: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers()?)
        .set("transactional.id", format!("{}-copies", config.deployment))
        .set("transaction.timeout.ms", "600000")
        .create()?;
    killed.init_transactions(PATIENCE)?;
    killed.begin_transaction()?;
    killed
        .send(
            BaseRecord::to(&topic)
                .partition(0)
                .key("k")
                .payload("of the killed"),
        )
        .map_err(|(error, _)| anyhow!(error))?;
    killed.flush(PATIENCE)?;
    let (readable, written) = (log.range(&topic, 0)?.end, log.written_end(&topic, 0)?);
    ensure!(
        readable + 1 == written,
        "{readable} of {written} can be read"
    );
    let fenced = first.append(&topic, 0, &[record("too late")]);
    ensure!(
        matches!(&fenced, Err(Error::Refused(why)) if why.contains("another command")),
        "{fenced:?}"
    );

    let mut next = log.open_appender("copies")?;
    let (readable, written) = (log.range(&topic, 0)?.end, log.written_end(&topic, 0)?);
    ensure!(readable == written, "{readable} of {written} can be read");
    ensure!(next.append(&topic, 0, &[record("three")])? >= written);
    ensure!(killed.commit_transaction(PATIENCE).is_err());
    let (seen, _) = read(&mut *log.reader(&topic, 0, 0)?, 3)?;
    ensure!(seen == ["one", "two", "three"], "{seen:?}");
    Ok(())
}

#[test]
fn the_reader_of_a_transactional_topic_is_at_the_end_behind_the_marker() -> Result<()> {
    let log = open(&config())?;
    let topic = unique("results");
    log.ensure_topics(std::slice::from_ref(&topic), 1)?;
    let mut lane = log.open_lane(0, Lane::Results, 1)?;
    lane.publish(
        &[Outgoing {
            topic: topic.clone(),
            partition: 0,
            record: record("one"),
        }],
        1,
    )?;
    let (seen, end) = read(&mut *log.reader(&topic, 0, 0)?, 1)?;
    ensure!(
        seen == ["one"] && end.next_offset == 2 && end.end_offset == 2,
        "the marker has offset 1: {seen:?} {end:?}"
    );
    Ok(())
}

#[test]
fn records_that_the_broker_deleted_are_not_passed_over_in_silence() -> Result<()> {
    deleted_records_end_the_reading(LogFetcher::Lean)?;
    deleted_records_end_the_reading(LogFetcher::Librdkafka)
}

fn deleted_records_end_the_reading(fetcher: LogFetcher) -> Result<()> {
    let log = open(&LogConfig {
        fetcher,
        ..config()
    })?;
    let topic = unique("input");
    log.ensure_topics(std::slice::from_ref(&topic), 1)?;
    log.append(&topic, 0, &["0", "1", "2", "3", "4"].map(record))?;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers()?)
        .create()?;
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 0, Offset::Offset(3))?;
    let deleted =
        IoRuntime::start()?.block_on(admin.delete_records(&before, &AdminOptions::new()))?;
    deleted.elements().first().context("no answer")?.error()?;

    let mut reader = log.reader(&topic, 0, 0)?;
    let begun = Instant::now();
    let error = loop {
        match reader.poll(ALL, &mut |_| {}) {
            Err(error) => break error,
            Ok(end) => ensure!(
                !end.at_end && begun.elapsed() < PATIENCE,
                "passed over: {end:?}"
            ),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    ensure!(
        matches!(
            error,
            Error::Trimmed {
                wanted: 0,
                start: 3,
                ..
            }
        ),
        "{error}"
    );
    ensure!(read(&mut *log.reader(&topic, 0, 3)?, 2)?.0 == ["3", "4"]);
    Ok(())
}

/// An owner that only remembers what it owns and what it left.
#[derive(Default)]
struct Owner {
    owned: Mutex<BTreeSet<Partition>>,
    left: Mutex<BTreeSet<Partition>>,
    /// So far, and the partition's number, is the first topic saved when a partition is left; the
    /// second one never is. Nowhere at 0.
    saved_to: AtomicU64,
}

impl Owner {
    fn owned(&self) -> BTreeSet<Partition> {
        self.owned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn without(&self, partitions: &[Partition]) {
        self.owned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|partition| !partitions.contains(partition));
    }
}

/// What an [`Owner`] that leaves partitions at `saved_to` lets the group note.
fn noted(
    topic: &str,
    saved_to: u64,
    partitions: impl IntoIterator<Item = Partition>,
) -> BTreeMap<(String, Partition), u64> {
    partitions
        .into_iter()
        .map(|partition| {
            (
                (topic.to_owned(), partition),
                saved_to + u64::from(partition),
            )
        })
        .collect()
}

impl Ownership for Owner {
    fn assigned(&self, partitions: &[Partition]) {
        self.owned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(partitions);
    }

    fn revoked(&self, partitions: &[Partition]) {
        self.without(partitions);
        self.left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(partitions);
    }

    fn lost(&self, partitions: &[Partition]) {
        self.without(partitions);
    }

    fn saved(&self) -> Vec<(Partition, Positions)> {
        Vec::new()
    }

    fn left(&self) -> Vec<(Partition, Positions)> {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        let saved_to = self.saved_to.load(Ordering::Acquire);
        let position = |partition: Partition| {
            if saved_to == 0 {
                0
            } else {
                saved_to + u64::from(partition)
            }
        };
        left.into_iter()
            .map(|partition| (partition, Positions::from(vec![position(partition)])))
            .collect()
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !holds() {
        ensure!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn two_members_share_the_partitions_and_the_one_that_stays_has_them_all() -> Result<()> {
    let config = config();
    let log = open(&config)?;
    let topics = [unique("input"), unique("input")];
    log.ensure_topics(&topics, 4)?;
    let all: BTreeSet<Partition> = (0..4).collect();
    let (first, second) = (Arc::new(Owner::default()), Arc::new(Owner::default()));
    let in_the_group = || {
        group_offsets(
            &brokers()?,
            &config.deployment,
            &topics.each_ref().map(String::as_str),
            4,
        )
    };
    first.saved_to.store(200, Ordering::Release);
    let staying = log.join(&topics, 4, first.clone())?;
    wait_until("the only member has all", || first.owned() == all)?;
    let leaving = log.join(&topics, 4, second.clone())?;
    wait_until("both have two", || {
        first.owned().len() == 2 && second.owned().len() == 2
    })?;
    ensure!(
        &first.owned() | &second.owned() == all,
        "each has one owner"
    );
    ensure!(
        in_the_group()? == noted(&topics[0], 200, second.owned()),
        "what was handed over is noted: {:?}",
        in_the_group()?
    );
    second.revoked(&Vec::from_iter(second.owned()));
    leaving.leave()?;
    wait_until("the one that stays has all", || first.owned() == all)?;
    first.saved_to.store(300, Ordering::Release);
    first.revoked(&Vec::from_iter(all.clone()));
    staying.leave()?;
    ensure!(
        in_the_group()? == noted(&topics[0], 300, all),
        "and so is what was left at the end: {:?}",
        in_the_group()?
    );
    Ok(())
}

#[test]
fn topics_are_created_as_wanted_and_what_differs_is_told() -> Result<()> {
    let config = config();
    let io = IoRuntime::start()?;
    let survey = TopicAudit::open(&url()?, &config, &io)?;
    let (good, bad) = (unique("good"), unique("bad"));
    let wanted = TopicAudit::wanted(
        &config,
        vec![good.clone(), bad.clone()],
        &[good.clone(), bad.clone()],
        2,
    );
    ensure!(wanted.len() == 3, "two topics, and the one of the lanes");
    ensure!(survey.differences(&wanted)?.len() == 3, "none is there");
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers()?)
        .create()?;
    let other = NewTopic::new(&bad, 3, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "CreateTime")
        .set("retention.ms", "1000")
        .set("max.message.bytes", "1000000");
    for made in io.block_on(admin.create_topics([&other], &AdminOptions::new()))? {
        made.map_err(|(name, code)| anyhow!("{name}: {code}"))?;
    }
    wait_until("the topic is known", || {
        survey.partitions(&bad).is_ok_and(|there| there.is_some())
    })?;
    for one in wanted.iter().filter(|one| one.topic != bad) {
        survey.create(one)?;
    }
    let differences = survey.differences(&wanted)?;
    ensure!(
        differences.iter().all(|one| one.topic == bad),
        "{differences:?}"
    );
    let names: BTreeSet<&str> = differences.iter().map(|one| one.setting.as_str()).collect();
    ensure!(
        names
            == BTreeSet::from([
                "partitions",
                "message.timestamp.type",
                "retention.ms",
                "max.message.bytes"
            ]),
        "{differences:?}"
    );
    Ok(())
}

/// Topics and what the command says of each.
fn states(output: &Output) -> Result<BTreeMap<String, String>> {
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let text = |value: &serde_json::Value| {
        value
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("{value} is no text"))
    };
    rows.iter()
        .map(|row| Ok((text(&row["topic"])?, text(&row["state"])?)))
        .collect()
}

#[test]
fn the_command_makes_all_topics_that_are_missing_and_none_beside_one_with_another_count()
-> Result<()> {
    const TOPIC: &str = "acme.arm.telemetry";
    let folder = tempfile::tempdir()?;
    // One of its own: topics have the names that robots know.
    let broker = Kafka::start(folder.path())?;
    let sections = format!(
        "[log]\nurl = \"kafka://{}\"\n[[input]]\ntopic = \"{TOPIC}\"\nkind = \"telemetry\"\ndataset = \"fleet_telemetry\"\n",
        broker.bootstrap()
    );
    let deployment = Deployment::new(&sections, "")?;
    let log = deployment.log("one")?;
    log.ensure_topics(&[TOPIC.to_owned()], 12)?;
    let create = ["topics", "create", "--output", "json"];
    let all_others = |found: &BTreeMap<String, String>, state: &str| {
        found.len() > 10
            && found
                .iter()
                .all(|(topic, there)| topic == TOPIC || there == state)
    };

    let found = states(&deployment.ends_with(4, "one", &create)?)?;
    ensure!(
        found[TOPIC] == "differs" && all_others(&found, "missing"),
        "{found:?}"
    );
    for topic in INPUT_TOPICS {
        ensure!(
            log.partitions(topic)?.is_none(),
            "{topic} was made beside one with another count"
        );
    }
    deployment.reconfigure("rules = ", "partitions = 12\nrules = ")?;
    let found = states(&deployment.run("one", &create)?)?;
    ensure!(
        found[TOPIC] == "there" && all_others(&found, "created"),
        "{found:?}"
    );
    let found = states(&deployment.run("one", &create)?)?;
    ensure!(
        found[TOPIC] == "there" && all_others(&found, "there"),
        "{found:?}"
    );
    deployment.run("one", &["topics", "check"]).map(drop)
}
