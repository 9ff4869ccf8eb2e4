//! `kill -9` of the real binary at random moments, over a log filled beforehand with faults: the
//! end is that of a run never killed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{EventLog, NewRecord};
use theatre_config::INPUT_TOPICS;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::log::EmbeddedLog;
use theatre_simulator::Simulator;
use theatre_system::clock::SystemClock;
use theatre_tests::{ending, run, spawn};

const KILLS: usize = 20;
const TABLES: [&str; 4] = [
    "robot_telemetry",
    "procedure_events",
    "robot_events",
    "maintenance_alerts",
];

/// Fills a log with a fleet's ticks and, among them, duplicates, gaps, late and truncated records
/// and unknown schemas.
fn fill(data: &Path, robots: u64, ticks: u64) -> Result<()> {
    let dir = DataDir::new(data);
    dir.create()?;
    let log = EmbeddedLog::open(&dir.log(), std::sync::Arc::new(SystemClock))?;
    log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), 4)?;
    let simulator = Simulator::new(7, robots, 1_767_225_600_000_000)?;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut held: Vec<(usize, NewRecord)> = Vec::new();
    for tick in 0..ticks {
        let mut records = Vec::new();
        for (topic, record) in simulator.tick(tick)? {
            match random.random_range(0..1000) {
                0..5 => records.extend([(topic, record.clone()), (topic, record)]),
                5..10 => {}
                10..20 if topic == 0 => held.push((topic, record)),
                20..25 => records.push((
                    topic,
                    NewRecord {
                        value: record.value[..record.value.len() / 2].to_vec(),
                        ..record
                    },
                )),
                25..28 => records.push((
                    topic,
                    NewRecord {
                        value: theatre_schemas::framing::frame(987, b"?"),
                        ..record
                    },
                )),
                _ => records.push((topic, record)),
            }
        }
        if tick % 400 == 399 {
            records.append(&mut held);
        }
        for (topic, record) in records {
            let partition = partition_of(&record.key, 4);
            log.append(INPUT_TOPICS[topic], partition, &[record])?;
        }
    }
    Ok(())
}

fn copy_log(from: &Path, to: &Path) -> Result<()> {
    let target = DataDir::new(to);
    target.create()?;
    let source = rusqlite::Connection::open(DataDir::new(from).log())?;
    source.execute("VACUUM INTO ?1", [target.log().to_string_lossy()])?;
    std::fs::create_dir_all(to.join("keys"))?;
    std::fs::write(to.join("keys/pseudonym.key"), [7; 32])?;
    Ok(())
}

#[test]
fn twenty_kills_change_nothing() -> Result<()> {
    let (filled, calm, killed) = (
        tempfile::tempdir()?,
        tempfile::tempdir()?,
        tempfile::tempdir()?,
    );
    let config = filled.path().join("theatre.toml");
    // Everything saved and cut often, so that a kill hits every kind of moment; no wall-clock
    // decision within the test.
    std::fs::write(
        &config,
        "save_interval = \"50ms\"\nlake_roll_age = \"100ms\"\nexport_age = \"100ms\"\nsilence_after = \"1d\"\nallowed_lateness = \"20s\"\nreorder_bound = \"3s\"\n",
    )?;
    let config = config.to_string_lossy().into_owned();
    fill(filled.path(), 12, 1200)?;
    copy_log(filled.path(), calm.path())?;
    copy_log(filled.path(), killed.path())?;
    let drain = ["--config", &config, "run", "--until-drained"];
    run(calm.path(), &drain)?;

    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(20);
    let mut kills = 0;
    while kills < KILLS {
        let mut child = spawn(killed.path(), &["--config", &config, "run"])?;
        std::thread::sleep(Duration::from_millis(random.random_range(20..400)));
        ensure!(child.try_wait()?.is_none(), "it ended by itself");
        child.kill()?;
        child.wait()?;
        kills += 1;
    }
    run(killed.path(), &drain)?;
    let (calm_end, killed_end) = (
        ending(calm.path(), &TABLES)?,
        ending(killed.path(), &TABLES)?,
    );
    ensure!(
        calm_end.counters == killed_end.counters,
        "{:?} is not {:?}",
        killed_end.counters,
        calm_end.counters
    );
    ensure!(calm_end.outputs == killed_end.outputs, "outputs differ");
    ensure!(
        calm_end.published == killed_end.published,
        "published records differ"
    );
    ensure!(
        calm_end.warehouse == killed_end.warehouse,
        "{:?} is not {:?}",
        killed_end.warehouse,
        calm_end.warehouse
    );
    ensure!(calm_end.dead == killed_end.dead, "dead letters differ");
    ensure!(calm_end.states == killed_end.states, "states differ");
    let totals = &calm_end.counters[0];
    ensure!(
        totals.duplicate > 0
            && totals.late > 0
            && totals.dead_total() > 0
            && totals.applied > 10_000,
        "the faults were not there: {totals:?}"
    );
    ensure!(
        calm_end
            .published
            .keys()
            .any(|(topic, _)| topic.contains("alerts"))
            && calm_end
                .published
                .keys()
                .any(|(topic, _)| topic.contains("outcomes"))
    );
    run(calm.path(), &["reconcile"])?;
    run(killed.path(), &["reconcile"])?;
    Ok(())
}
