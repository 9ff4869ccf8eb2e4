//! Dead letters on the real binary: what was wrong is mended, they are sent again and count once;
//! what dies each time is given up; what is erased stays accounted for; and who did it is known.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value as Avro;
use serde_json::Value;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{AccessStore, Begun, EventLog, NewRecord, PollLimit, Reservation};
use theatre_actors::time::{Clock, LogTime};
use theatre_config::INPUT_TOPICS;
use theatre_dev::kafka::Kafka;
use theatre_embedded::access::EmbeddedAccess;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::log::EmbeddedLog;
use theatre_schemas::records::RecordWriter;
use theatre_system::clock::SystemClock;
use theatre_tests::deployment::Deployment;
use theatre_tests::{run, servers, theatre};

const NOW: i64 = 1_767_225_600_000_000;
const PARTITIONS: u32 = 4;
/// A schema that nothing knows at first.
const ARM: &str = r#"{"type": "record", "name": "Arm",
    "theatre": {"id": 3700, "dataset": "arm", "kind": "telemetry", "version": 1},
    "fields": [
        {"name": "robot_id", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "sequence", "type": "long"},
        {"name": "force", "type": "double"}]}"#;

struct Case {
    data: tempfile::TempDir,
    config: PathBuf,
}

impl Case {
    fn new() -> Result<Self> {
        let data = tempfile::tempdir()?;
        let config = data.path().join("theatre.toml");
        std::fs::write(&config, "silence_after = \"1d\"\n")?;
        DataDir::new(data.path()).create()?;
        Ok(Self { data, config })
    }

    /// Has the configuration name the schema.
    fn mend(&self) -> Result<()> {
        std::fs::write(self.data.path().join("arm.avsc"), ARM)?;
        let text = "silence_after = \"1d\"\nschemas = [\"arm.avsc\"]\n";
        Ok(std::fs::write(&self.config, text)?)
    }

    fn append(&self, records: &[NewRecord]) -> Result<()> {
        self.append_by(Arc::new(SystemClock), records)
    }

    fn append_by(&self, clock: Arc<dyn Clock>, records: &[NewRecord]) -> Result<()> {
        let log = EmbeddedLog::open(&DataDir::new(self.data.path()).log(), clock)?;
        log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), PARTITIONS)?;
        for record in records {
            let partition = partition_of(&record.key, PARTITIONS);
            log.append(INPUT_TOPICS[0], partition, std::slice::from_ref(record))?;
        }
        Ok(())
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Result<Vec<&'a str>> {
        let config = self.config.to_str().context("a path that is no text")?;
        Ok([&["--config", config, "--output", "json"], arguments].concat())
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = run(self.data.path(), &self.arguments(arguments)?)?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What a command prints and says that has to end with this code.
    fn ended(&self, arguments: &[&str], code: i32) -> Result<(Value, String)> {
        let output = theatre(self.data.path(), &self.arguments(arguments)?)?.output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(code), "{arguments:?}: {said}");
        Ok((serde_json::from_slice(&output.stdout)?, said))
    }

    fn drain(&self) -> Result<()> {
        self.json(&["run", "--until-drained"]).map(drop)
    }

    /// Has `reconcile` prove that all is held once; gives its lines' sum of a column.
    fn proven(&self, column: &str) -> Result<u64> {
        let report = self.json(&["reconcile"])?;
        ensure!(report["gaps"] == serde_json::json!([]), "{report}");
        let lines = report["lines"].as_array().context("no lines")?;
        Ok(lines.iter().filter_map(|line| line[column].as_u64()).sum())
    }

    fn rows(&self) -> Result<Value> {
        let sql = "SELECT count(*) AS copies, count(DISTINCT sequence) AS numbers, sum(force) AS force FROM arm";
        Ok(self.json(&["warehouse", "query", sql])?[0].clone())
    }

    /// How many dead letters there are of each reason.
    fn dead(&self) -> Result<BTreeMap<String, usize>> {
        let listed = self.json(&["dlq", "list", "--limit", "0"])?;
        let mut counts = BTreeMap::new();
        for dead in listed.as_array().context("no list")? {
            let reason = dead["reason"].as_str().context("no reason")?.to_owned();
            *counts.entry(reason).or_default() += 1;
        }
        Ok(counts)
    }

    /// What a dry run says would become of dead letters.
    fn fates(&self, arguments: &[&str]) -> Result<BTreeMap<String, usize>> {
        let arguments = [&["dlq", "replay", "--dry-run"], arguments].concat();
        let looked = self.json(&arguments)?;
        let mut counts = BTreeMap::new();
        for letter in looked["letters"].as_array().context("no letters")? {
            let fate = letter["fate"].as_str().context("no fate")?.to_owned();
            *counts.entry(fate).or_default() += 1;
        }
        Ok(counts)
    }
}

fn counted<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.map(|(name, count)| (name.to_owned(), count)).into()
}

/// A record of a robot, numbered, of a moment.
fn record(robot: &str, number: i64, at: i64) -> Result<NewRecord> {
    let writer = RecordWriter::new(3700, ARM)?;
    let fields = [
        ("robot_id", Avro::String(robot.to_owned())),
        ("event_time", Avro::TimestampMicros(at)),
        ("sequence", Avro::Long(number)),
        ("force", Avro::Double(number as f64)),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Ok(NewRecord {
        key: robot.as_bytes().to_vec(),
        value: writer.encode(Avro::Record(fields.to_vec()))?,
        headers: Vec::new(),
    })
}

fn records() -> Result<Vec<NewRecord>> {
    let of = |number: i64| {
        let robot = format!("arm-{}", number % 3);
        record(&robot, number, NOW + number * 1_000_000)
    };
    (0..9).map(of).collect()
}

#[test]
fn what_was_mended_is_sent_again_and_counts_once_however_often_it_comes() -> Result<()> {
    let (case, records) = (Case::new()?, records()?);
    case.append(&records)?;
    case.drain()?;
    ensure!(case.dead()? == counted([("unknown_schema", 9)]));
    ensure!(case.fates(&["--all"])? == counted([("unknown_schema", 9)]));

    case.mend()?;
    ensure!(case.fates(&["--reason", "unknown_schema"])? == counted([("applies", 9)]));
    let (_, said) = case.ended(&["dlq", "replay"], 2)?;
    ensure!(said.contains("--all"), "{said}");
    let lock = DataDir::new(case.data.path()).lock()?;
    let (_, said) = case.ended(&["dlq", "replay", "--all"], 1)?;
    ensure!(said.contains("in use"), "{said}");
    drop(lock);
    ensure!(case.proven("applied")? == 0);

    let two = [
        "dlq", "replay", "--all", "--limit", "2", "--rate", "50/s", "--by", "anna",
    ];
    let sent = case.json(&two)?;
    ensure!(sent["sent"] == 2, "{sent}");
    // As after a kill between what was appended and the note of it.
    let store = rusqlite::Connection::open(DataDir::new(case.data.path()).store())?;
    ensure!(store.execute("UPDATE dead_replay SET copy_offset = NULL", [])? == 2);
    drop(store);
    let sent = case.json(&[
        "dlq",
        "replay",
        "--reason",
        "unknown_schema",
        "--by",
        "anna",
    ])?;
    ensure!(
        sent["sent"] == 7 && sent["found"] == 2 && sent["refused"]["already_replayed"] == 2,
        "{sent}"
    );
    case.drain()?;
    let once = case.rows()?;
    let all = serde_json::json!({"copies": 9, "numbers": 9, "force": 36.0});
    ensure!(once == all, "{once}");
    ensure!(case.proven("applied")? == 9 && case.proven("dead")? == 9);

    // Again, and once more behind the command's back, as a producer repeats what it has sent.
    let again = case.json(&["dlq", "replay", "--all", "--by", "anna"])?;
    ensure!(
        again["sent"] == 0 && again["refused"]["already_replayed"] == 9,
        "{again}"
    );
    case.append(&records)?;
    case.drain()?;
    ensure!(case.rows()? == once);
    ensure!(case.proven("applied")? == 9 && case.proven("duplicate")? == 9);
    ensure!(case.dead()? == counted([("unknown_schema", 9)]));
    let partition = partition_of(b"arm-0", PARTITIONS).to_string();
    let shown = case.json(&["dlq", "show", &partition, "1"])?;
    ensure!(
        shown["replay"]["count"] == 1 && shown["purged_at"].is_null(),
        "{shown}"
    );
    Ok(())
}

#[test]
fn what_dies_each_time_is_given_up_and_what_is_erased_stays_accounted_for() -> Result<()> {
    let case = Case::new()?;
    let bad = NewRecord {
        key: b"arm-0".to_vec(),
        value: b"Jane Doe".to_vec(),
        headers: Vec::new(),
    };
    case.append(&[bad])?;
    let partition = partition_of(b"arm-0", PARTITIONS).to_string();
    case.drain()?;
    for turn in 1..=3 {
        let sent = case.json(&["dlq", "replay", "--all", "--by", "anna"])?;
        ensure!(sent["sent"] == 1, "turn {turn}: {sent}");
        case.drain()?;
        ensure!(case.dead()? == counted([("bad_frame", turn + 1)]));
    }
    let (given_up, said) = case.ended(&["dlq", "replay", "--all", "--by", "anna"], 4)?;
    let refused = serde_json::json!({"already_replayed": 3, "replayed_too_often": 1});
    ensure!(
        given_up["sent"] == 0 && given_up["refused"] == refused,
        "{given_up}"
    );
    ensure!(said.contains("replayed too often"), "{said}");
    ensure!(case.proven("dead")? == 4);

    let sealed = case.json(&["dlq", "show", &partition, "1"])?;
    let opened = case.json(&["dlq", "show", &partition, "1", "--unseal", "--by", "eve"])?;
    ensure!(
        sealed["payload"]
            .as_str()
            .is_some_and(|it| it.contains("sealed"))
    );
    ensure!(opened["payload"] == "4a616e6520446f65", "{opened}");

    let would = case.json(&["dlq", "purge", "--all", "--dry-run"])?;
    ensure!(
        would["purged"] == 4 && case.proven("purged")? == 0,
        "{would}"
    );
    let none = case.json(&["dlq", "purge", "--before", "2026-01-01", "--by", "ben"])?;
    ensure!(none["selected"] == 0, "{none}");
    let purge = [
        "dlq",
        "purge",
        "--reason",
        "bad_frame",
        "--limit",
        "3",
        "--by",
        "ben",
        "--comment",
        "asked for",
    ];
    ensure!(case.json(&purge)?["purged"] == 3);
    ensure!(case.proven("dead")? == 4 && case.proven("purged")? == 3);
    let left = case.json(&["dlq", "show", &partition, "1", "--unseal", "--by", "eve"])?;
    ensure!(
        left["payload"].is_null() && left["purged_at"].is_string(),
        "{left}"
    );
    ensure!(
        left["reason"] == "bad_frame" && left["detail"] == "",
        "{left}"
    );
    ensure!(case.fates(&["--all"])? == counted([("purged", 3), ("replayed_too_often", 1)]));
    // It runs on, and what is read again after a crash is known by its place.
    case.drain()?;
    ensure!(case.dead()? == counted([("bad_frame", 4)]));
    let (_, said) = case.ended(&["dlq", "purge", "0", "99", "--by", "ben"], 1)?;
    ensure!(said.contains("no dead letter 99"), "{said}");

    let dir = DataDir::new(case.data.path());
    let trail = EmbeddedAccess::open(&dir.access())?.audit_trail(100)?;
    let mut done = Vec::new();
    for entry in trail.iter().rev() {
        let after: Value = serde_json::from_str(entry.after.as_deref().context("no words")?)?;
        let by = after["by"].as_str().context("no name")?.to_owned();
        done.push(format!("{by} {} {}", entry.action, entry.target));
    }
    let unsealed = format!("eve dead_letter.unseal {partition}/1");
    ensure!(
        done.iter().filter(|it| **it == unsealed).count() == 1,
        "{done:?}"
    );
    let count = |what: &str| done.iter().filter(|it| *it == what).count();
    ensure!(
        count("anna dead_letters.replay dead letters") == 4,
        "{done:?}"
    );
    ensure!(
        count("anna dead_letters.replayed dead letters") == 4,
        "{done:?}"
    );
    ensure!(
        count("ben dead_letters.purged dead letters") == 2
            && count("ben dead_letters.purged 0/99") == 1,
        "{done:?}"
    );
    ensure!(
        !trail
            .iter()
            .any(|entry| format!("{entry:?}").contains("Jane"))
    );
    Ok(())
}

/// A clock that stands.
struct Stands(LogTime);

impl Clock for Stands {
    fn now(&self) -> LogTime {
        self.0
    }
}

#[test]
fn a_record_that_came_before_its_time_and_was_sent_again_is_found_by_a_rebuild_from_the_lake()
-> Result<()> {
    let case = Case::new()?;
    case.mend()?;
    // Two hours ago, when the fourth record was one from the future.
    let began = SystemClock.now().0 - 7_200_000_000;
    let at = |number: i64| match number {
        3 => began + 3_600_000_000,
        number => began + number * 1_000_000,
    };
    let records = (0..6).map(|number| record("arm-0", number, at(number)));
    let records: Vec<NewRecord> = records.collect::<Result<_>>()?;
    case.append_by(Arc::new(Stands(LogTime(began))), &records)?;
    case.drain()?;
    ensure!(case.dead()? == counted([("future", 1)]));
    let sent = case.json(&["dlq", "replay", "--reason", "future", "--by", "anna"])?;
    ensure!(sent["sent"] == 1, "{sent}");
    case.drain()?;
    ensure!(case.proven("applied")? == 6);
    let rows = case.rows()?;
    ensure!(
        rows["copies"] == 6,
        "the lake has the first of them: {rows}"
    );
    for source in ["log", "lake"] {
        let rebuilt = case.json(&["state", "rebuild", "--from", source])?;
        let families = rebuilt["families"].as_array().context("no actors")?;
        let found = families.iter().find(|family| family["name"] == "arm-0");
        let arm = found.context("no arm")?;
        ensure!(
            arm["state"] == "same" && arm["records"] == 7,
            "{source}: {arm}"
        );
        ensure!(rebuilt["gaps"] == serde_json::json!([]), "{rebuilt}");
    }
    Ok(())
}

/// As a command leaves it that is killed while it works.
fn leave_lease(dir: &DataDir) -> Result<()> {
    let now = SystemClock.now();
    let access = EmbeddedAccess::open(&dir.access())?;
    let lease = Reservation {
        key: "theatre/dead-letters".to_owned(),
        fingerprint: String::new(),
        ends: Vec::new(),
        begun_at: now,
        held_at: now,
    };
    if let Begun::Unanswered(known) = access.begin_request(&lease)? {
        ensure!(access.take_over_request(&lease.key, known.held_at, now)?);
    }
    Ok(())
}

#[test]
fn on_an_embedded_store_a_killed_command_is_not_waited_for_and_a_living_one_is_named() -> Result<()>
{
    let case = Case::new()?;
    case.append(&[NewRecord {
        key: b"arm-0".to_vec(),
        value: b"no frame".to_vec(),
        headers: Vec::new(),
    }])?;
    case.drain()?;
    let dir = DataDir::new(case.data.path());
    leave_lease(&dir)?;
    let sent = case.json(&["dlq", "replay", "--all", "--by", "anna"])?;
    ensure!(sent["sent"] == 1, "{sent}");
    case.drain()?;
    let alive = dir.lock_dead_letters()?;
    for command in ["replay", "purge"] {
        let (_, said) = case.ended(&["dlq", command, "--all", "--by", "anna"], 1)?;
        let process = format!("process {}", std::process::id());
        ensure!(said.contains(&process), "{said}");
    }
    drop(alive);
    leave_lease(&dir)?;
    let purged = case.json(&["dlq", "purge", "--all", "--by", "anna"])?;
    ensure!(purged["purged"] == 2, "{purged}");
    Ok(())
}

/// A sum over the lines of what `reconcile` proves of a deployment.
fn proven_of(deployment: &Deployment, column: &str) -> Result<u64> {
    let output = deployment.run("one", &["reconcile", "--output", "json"])?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["gaps"] == serde_json::json!([]), "{report}");
    let lines = report["lines"].as_array().context("no lines")?;
    Ok(lines.iter().filter_map(|line| line[column].as_u64()).sum())
}

/// How many records a partition of the first input has, markers of transactions apart.
fn records_of(log: &dyn EventLog, partition: u32) -> Result<usize> {
    let end = log.written_end(INPUT_TOPICS[0], partition)?;
    let mut reader = log.reader(INPUT_TOPICS[0], partition, 0)?;
    let (mut count, limit) = (
        0,
        PollLimit {
            records: 100,
            bytes: 1 << 20,
        },
    );
    while reader.poll(limit, &mut |_| count += 1)?.next_offset < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(count)
}

#[test]
fn on_servers_two_commands_at_once_send_each_record_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kafka = Kafka::start(&folder.path().join("kafka"))?;
    let (schema, store) = (folder.path().join("arm.avsc"), servers::database()?);
    let settings = format!(
        "partitions = {PARTITIONS}\nsilence_after = \"1d\"\nschemas = []\n\
         [log]\nurl = \"kafka://{}\"\n[store]\nurl = \"{store}\"\n[lake]\nenabled = false\n[warehouse]\nenabled = false\n",
        kafka.bootstrap()
    );
    let deployment = Deployment::new(&settings, "")?;
    deployment.look(&["migrate"])?;
    deployment.drain("one")?;
    let log = deployment.log("one")?;
    let records = records()?;
    for record in &records {
        let partition = partition_of(&record.key, PARTITIONS);
        log.append(INPUT_TOPICS[0], partition, std::slice::from_ref(record))?;
    }
    deployment.drain("one")?;
    ensure!(proven_of(&deployment, "dead")? == 9);

    std::fs::write(&schema, ARM)?;
    let mended = format!("schemas = [\"{}\"]", schema.display());
    deployment.reconfigure("schemas = []", &mended)?;
    let replay = |name: &str| -> Result<Value> {
        let all = ["dlq", "replay", "--all", "--by", name, "--output", "json"];
        let output = deployment.output(name, &all)?;
        let printed: Value = serde_json::from_slice(&output.stdout)?;
        let waits = printed["error"]
            .as_str()
            .is_some_and(|it| it.contains("another command"));
        ensure!(output.status.success() || waits, "{printed}");
        Ok(printed)
    };
    let (one, two) = std::thread::scope(|scope| {
        let other = scope.spawn(|| replay("two"));
        (replay("one"), other.join())
    });
    let two = two.map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    let sent = |printed: &Value| printed["sent"].as_u64().unwrap_or(0);
    let (one, two) = (one?, two?);
    ensure!(sent(&one) + sent(&two) == 9, "{one} {two}");
    let there = (0..PARTITIONS).map(|partition| records_of(&*log, partition));
    let there: Vec<usize> = there.collect::<Result<_>>()?;
    ensure!(there.iter().sum::<usize>() == 18, "{there:?}");
    let again = replay("one")?;
    ensure!(
        again["refused"]["already_replayed"] == 9 && sent(&again) == 0,
        "{again}"
    );
    deployment.drain("one")?;
    ensure!(proven_of(&deployment, "applied")? == 9 && proven_of(&deployment, "dead")? == 9);
    let purge = ["dlq", "purge", "--all", "--by", "one", "--output", "json"];
    let purged: Value = serde_json::from_slice(&deployment.run("two", &purge)?.stdout)?;
    ensure!(purged["purged"] == 9, "{purged}");
    ensure!(proven_of(&deployment, "purged")? == 9 && proven_of(&deployment, "dead")? == 9);
    Ok(())
}
