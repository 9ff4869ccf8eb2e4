//! What the system tests share: the real binary, data directories, and the outputs they end with.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use theatre_actors::outputs::{Counters, OutputKind, OutputTopics};
use theatre_actors::ports::{CheckpointStore, EventLog, OutputFilter, PollLimit, Warehouse};
use theatre_actors::processor::{IntakeProcessor, ProcessorView};
use theatre_config::INPUT_TOPICS;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::log::EmbeddedLog;
use theatre_embedded::store::EmbeddedStore;
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_system::clock::SystemClock;

pub mod acting;
pub mod broker;
pub mod browser;
pub mod conclusions;
pub mod deployment;
pub mod fault_proxy;
pub mod fleet;
pub mod http;
pub mod kafka_cluster;
pub mod receiver;
pub mod registered;
pub mod secured;
pub mod servers;
pub mod simulation;
pub mod site;
pub mod star;

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// The real binary, built once per test process in the profile of the tests.
pub fn binary() -> Result<PathBuf> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        // With the tests, which are built already: alone it would be built with other features of
        // what it stands on, all anew.
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--workspace",
                "--tests",
                "--bin",
                "theatre",
            ])
            .current_dir(repository())
            .status();
        // tests run from target/<profile>/deps.
        let path = std::env::current_exe()
            .ok()?
            .parent()?
            .parent()?
            .join("theatre");
        (built.ok()?.success() && path.exists()).then_some(path)
    };
    BINARY
        .get_or_init(build)
        .clone()
        .context("the theatre binary could not be built")
}

/// A command on a data directory.
pub fn theatre(data: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command
        .current_dir(repository())
        .args(["--data"])
        .arg(data)
        .args(["--admin", "127.0.0.1:0"])
        .args(arguments);
    Ok(command)
}

/// Runs a command and wants it to succeed.
pub fn run(data: &Path, arguments: &[&str]) -> Result<Output> {
    let output = theatre(data, arguments)?.output()?;
    ensure!(
        output.status.success(),
        "theatre {arguments:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

/// Says what a test measured, also if it passes. The harness shows what `println!` and its like say
/// of tests that fail only; it catches these macros, not the stream itself.
pub fn tell(measured: &str) {
    // A closed standard error does not change what the test proves.
    drop(writeln!(std::io::stderr(), "measured: {measured}"));
}

/// Starts a command in the background.
pub fn spawn(data: &Path, arguments: &[&str]) -> Result<Child> {
    Ok(theatre(data, arguments)?
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

/// Has `reconcile` prove that nothing is lost or there twice; says how many records were read.
pub fn reconciled(data: &Path, flags: &[&str]) -> Result<u64> {
    let report: serde_json::Value = serde_json::from_slice(
        &run(data, &[flags, &["--output", "json", "reconcile"]].concat())?.stdout,
    )?;
    Ok(report["lines"]
        .as_array()
        .context("a report without lines")?
        .iter()
        .filter_map(|line| line["read"].as_u64())
        .sum())
}

/// The robots that are known.
pub fn robots(data: &Path, flags: &[&str]) -> Result<Vec<serde_json::Value>> {
    Ok(serde_json::from_slice(
        &run(
            data,
            &[flags, &["--output", "json", "robots", "list"]].concat(),
        )?
        .stdout,
    )?)
}

/// By kind and robot, in order: (id, revision, payload).
pub type OutputsByRobot = BTreeMap<(u8, String), Vec<(String, u32, Vec<u8>)>>;

/// By topic and key, in order.
pub type Published = BTreeMap<(String, Vec<u8>), Vec<Vec<u8>>>;

/// Everything a data directory ended with, as far as it must not depend on crashes.
#[derive(Debug, PartialEq)]
pub struct Ending {
    /// Outputs by kind and robot, in order: (id, revision, payload).
    pub outputs: OutputsByRobot,
    /// States by robot; save numbers and cuts left out.
    pub states: BTreeMap<String, Vec<u8>>,
    /// Counters by topic.
    pub counters: Vec<Counters>,
    /// Published records by topic and key, in order.
    pub published: Published,
    /// Rows per warehouse table, with a checksum of their offsets.
    pub warehouse: BTreeMap<String, (u64, u64)>,
    /// Dead letters: (topic, partition, offset, reason).
    pub dead: Vec<(usize, u32, u64, String)>,
}

/// Reads an ending.
pub fn ending(data: &Path, tables: &[&str]) -> Result<Ending> {
    let dir = DataDir::new(data);
    let store = EmbeddedStore::open_read_only(&dir.store())?;
    let partitions = store.layout()?.context("no layout")?.1;
    let mut outputs: OutputsByRobot = OutputsByRobot::new();
    for partition in 0..partitions {
        for stored in store.outputs_after(partition, 0, usize::MAX >> 1)? {
            let output = stored.output;
            outputs
                .entry((output.kind as u8, output.robot_id))
                .or_default()
                .push((output.id, output.revision, output.payload));
        }
    }
    let mut states = BTreeMap::new();
    let mut counters: Vec<Counters> = INPUT_TOPICS.iter().map(|_| Counters::default()).collect();
    for partition in 0..partitions {
        for stored in store.processors(partition)? {
            let counted = if stored.processor.is_empty() {
                IntakeProcessor::restore(&stored.state)?.counters().to_vec()
            } else {
                ProcessorView::from_state(&stored.processor, &stored.state)?.counters
            };
            for (sum, one) in counters.iter_mut().zip(&counted) {
                sum.add(one);
            }
            states.insert(format!("{partition}/{}", stored.processor), stored.state);
        }
    }
    let mut dead: Vec<_> = store
        .find_dead(0)?
        .into_iter()
        .map(|stored| {
            (
                stored.dead.topic,
                stored.partition,
                stored.dead.offset,
                stored.dead.reason.as_str().to_owned(),
            )
        })
        .collect();
    dead.sort();
    let warehouse = EmbeddedWarehouse::open_read_only(&dir.warehouse())?;
    let mut rows = BTreeMap::new();
    for table in tables {
        let column = if *table == "maintenance_alerts" {
            "rowid * 0"
        } else {
            "_offset"
        };
        let result = warehouse.query(&format!(
            "SELECT count(*), coalesce(sum({column}), 0) FROM {table}"
        ))?;
        let number = |index: usize| result.rows[0][index].as_u64().unwrap_or(0);
        rows.insert((*table).to_owned(), (number(0), number(1)));
    }
    Ok(Ending {
        outputs,
        states,
        counters,
        published: published(&dir)?,
        warehouse: rows,
        dead,
    })
}

/// What a reader of the output topics sees, by topic and key.
pub fn published(dir: &DataDir) -> Result<Published> {
    published_in(&EmbeddedLog::open(&dir.log(), Arc::new(SystemClock))?)
}

/// What a reader of the output topics of a log sees, by topic and key.
pub fn published_in(log: &dyn EventLog) -> Result<Published> {
    let mut published: Published = Published::new();
    for topic in OutputTopics::new(|_| None).iter() {
        for partition in 0..log.partitions(topic)?.unwrap_or(0) {
            let mut reader = log.reader(topic, partition, 0)?;
            reader.poll(
                PollLimit {
                    records: usize::MAX,
                    bytes: usize::MAX,
                },
                &mut |record| {
                    published
                        .entry((topic.to_owned(), record.key.to_vec()))
                        .or_default()
                        .push(record.value.to_vec());
                },
            )?;
        }
    }
    Ok(published)
}

/// Values by topic and partition, in order.
pub type Topics = BTreeMap<(String, u32), Vec<Vec<u8>>>;

/// All values of the input topics.
pub fn topics(data: &Path) -> Result<Topics> {
    topics_named(data, &INPUT_TOPICS)
}

/// All values of some topics.
pub fn topics_named(data: &Path, names: &[&str]) -> Result<Topics> {
    let log = EmbeddedLog::open(&DataDir::new(data).log(), Arc::new(SystemClock))?;
    let mut all = Topics::new();
    for topic in names.iter().copied() {
        for partition in 0..log.partitions(topic)?.unwrap_or(0) {
            let values = all.entry((topic.to_owned(), partition)).or_default();
            let everything = PollLimit {
                records: usize::MAX,
                bytes: usize::MAX,
            };
            log.reader(topic, partition, 0)?
                .poll(everything, &mut |record| values.push(record.value.to_vec()))?;
        }
    }
    Ok(all)
}

/// Records that the input topics still hold.
pub fn records_held(data: &Path) -> Result<usize> {
    let log = EmbeddedLog::open(&DataDir::new(data).log(), Arc::new(SystemClock))?;
    let mut held = 0;
    for topic in INPUT_TOPICS {
        for partition in 0..log.partitions(topic)?.unwrap_or(0) {
            let range = log.range(topic, partition)?;
            held += (range.end - range.start) as usize;
        }
    }
    Ok(held)
}

/// Outputs of a kind.
pub fn outputs(data: &Path, kind: OutputKind) -> Result<Vec<theatre_actors::ports::StoredOutput>> {
    let store = EmbeddedStore::open_read_only(&DataDir::new(data).store())?;
    Ok(store.find_outputs(&OutputFilter {
        kind: Some(kind),
        ..OutputFilter::default()
    })?)
}
