//! States built anew: the same as those that are stored, whatever the records come from; damaged
//! ones are found and mended, and nothing is sent twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use theatre::adapters::{Access, Adapters};
use theatre_actors::outputs::{OutputEvent, OutputKind, alert};
use theatre_actors::ports::{
    CheckpointStore, CommitOutcome, PartitionCommit, ProcessorSave, StoredProcessor,
};
use theatre_actors::processor::{Processor, differences};
use theatre_actors::rules::ROBOT_SILENT;
use theatre_actors::time::LogTime;
use theatre_config::INPUT_TOPICS;
use theatre_embedded::data_dir::DataDir;
use theatre_tests::conclusions::{Conclusions, all_outputs};
use theatre_tests::deployment::{Deployment, PATIENCE};
use theatre_tests::fleet::{self, Fleet};
use theatre_tests::site::Site;

const ROBOTS: u64 = 6;
const PARTITIONS: u32 = 2;
const TICKS: u64 = 200;
/// Exit code of a command that found a difference.
pub(super) const DIFFERENCE: i32 = 4;
const PLACE: &str = "first";

fn inputs() -> [String; INPUT_TOPICS.len()] {
    INPUT_TOPICS.map(str::to_owned)
}

fn feed(deployment: &Deployment, ticks: std::ops::Range<u64>) -> Result<()> {
    let log = deployment.log(PLACE)?;
    log.ensure_topics(&inputs(), PARTITIONS)?;
    let fleet = Fleet::new(ROBOTS, PARTITIONS)?;
    for begin in ticks.clone().step_by(10) {
        fleet.feed(&*log, begin..ticks.end.min(begin + 10))?;
    }
    Ok(())
}

/// A deployment that has processed the fleet in two runs: some of its rows came again.
fn deployed() -> Result<Deployment> {
    let settings = format!("{}[lake]\nenabled = true\n", fleet::settings(PARTITIONS));
    let deployment = Deployment::new(&settings, fleet::RULES)?;
    feed(&deployment, 0..TICKS / 2)?;
    deployment.drain(PLACE)?;
    feed(&deployment, TICKS / 2 - 10..TICKS)?;
    deployment.drain(PLACE)?;
    Ok(deployment)
}

fn arguments<'a>(from: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let all = ["state", "rebuild", "--from", from, "--output", "json"];
    [&all[..], more].concat()
}

/// What a rebuild says that ends with a code.
fn rebuild(deployment: &Deployment, from: &str, more: &[&str], code: i32) -> Result<Value> {
    let output = deployment.ends_with(code, PLACE, &arguments(from, more))?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn families(report: &Value) -> Result<&Vec<Value>> {
    report["families"].as_array().context("no list of actors")
}

/// The names of those that are not the same.
fn differing(report: &Value) -> Result<BTreeSet<String>> {
    let differs = families(report)?.iter().filter(|it| it["state"] != "same");
    Ok(differs
        .map(|it| it["name"].as_str().unwrap_or_default().to_owned())
        .collect())
}

fn sum(report: &Value, number: &str) -> Result<u64> {
    Ok(families(report)?
        .iter()
        .filter_map(|family| family[number].as_u64())
        .sum())
}

fn all_same(report: &Value) -> Result<()> {
    let found = differing(report)?;
    ensure!(found.is_empty(), "{found:?} differ: {report:#}");
    ensure!(families(report)?.len() as u64 >= ROBOTS, "{report:#}");
    ensure!(sum(report, "records")? > ROBOTS * TICKS, "{report:#}");
    ensure!(report["gaps"].as_array().is_some_and(Vec::is_empty));
    Ok(())
}

/// All stored states by partition and actor.
fn states(store: &dyn CheckpointStore) -> Result<BTreeMap<(u32, String), StoredProcessor>> {
    let mut states = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for stored in store.processors(partition)? {
            states.insert((partition, stored.processor.clone()), stored);
        }
    }
    Ok(states)
}

/// Puts another state in the place of a stored one, as a fault of the disk or of a program might.
pub(super) fn damage(
    deployment: &Deployment,
    stored: &StoredProcessor,
    partition: u32,
    state: Vec<u8>,
) -> Result<()> {
    let (config, dir) = (deployment.config()?, DataDir::new(deployment.path(PLACE)));
    let store = Adapters::new(&config, &dir, Access::Write)?.store()?;
    let epoch = store.acquire(partition)?;
    let commit = PartitionCommit {
        partition,
        epoch,
        processors: vec![ProcessorSave {
            processor: stored.processor.clone(),
            save_number: stored.save_number + 1,
            positions: stored.positions.clone(),
            state,
            outputs: Vec::new(),
            dead: Vec::new(),
        }],
        floor: store.status(partition)?.floor,
    };
    let done = store.commit(&[commit], LogTime(1))?;
    ensure!(
        matches!(done[..], [CommitOutcome::Committed { .. }]),
        "{done:?}"
    );
    Ok(())
}

/// The state with one bit of the value of an open window turned.
fn with_a_wrong_window(state: &[u8]) -> Result<Vec<u8>> {
    for at in (0..state.len()).step_by(3) {
        let mut wrong = state.to_vec();
        wrong[at] ^= 4;
        let found = differences(state, &wrong).unwrap_or_default();
        if !found.is_empty() && found.iter().all(|it| it.part == "window values") {
            return Ok(wrong);
        }
    }
    anyhow::bail!("no bit is of a window's value")
}

/// No output has the id of another, and the topic has each alert once.
fn nothing_is_sent_twice(deployment: &Deployment) -> Result<usize> {
    let ports = deployment.ports(PLACE)?;
    let outputs = all_outputs(&*ports.store)?;
    let ids: BTreeSet<_> = outputs
        .iter()
        .map(|output| (output.kind, &output.id, output.revision))
        .collect();
    ensure!(ids.len() == outputs.len(), "an output is there twice");
    let alerts = outputs.iter().filter(|it| it.kind == OutputKind::Alert);
    let (alerts, mut published) = (alerts.count(), 0);
    for partition in 0..PARTITIONS {
        let range = ports.log.range(alert::TOPIC, partition)?;
        published += (range.end - range.start) as usize;
    }
    ensure!(
        alerts == published,
        "{alerts} alerts, {published} in the topic"
    );
    Ok(alerts)
}

#[test]
fn states_that_were_left_alone_are_the_same_from_the_lake_and_from_the_log() -> Result<()> {
    let deployment = deployed()?;
    let from_log = rebuild(&deployment, "log", &[], 0)?;
    all_same(&from_log)?;
    ensure!(sum(&from_log, "repeats")? == 0);
    let from_lake = rebuild(&deployment, "lake", &[], 0)?;
    all_same(&from_lake)?;
    ensure!(sum(&from_lake, "repeats")? > 0, "the fleet repeats records");
    // What the lake does not have is read from the log.
    deployment.reconfigure("enabled = true", "enabled = false")?;
    feed(&deployment, TICKS..TICKS + 50)?;
    deployment.drain(PLACE)?;
    let refused = deployment.refused(PLACE, &arguments("lake", &[]))?;
    ensure!(refused.contains("the lake is off"), "{refused}");
    deployment.reconfigure("enabled = false", "enabled = true")?;
    let both = rebuild(&deployment, "lake", &[], 0)?;
    all_same(&both)?;
    ensure!(sum(&both, "records")? > sum(&from_lake, "records")?);
    // One robot, one partition; and those that are not there.
    let one = rebuild(&deployment, "log", &["--partition", "1"], 0)?;
    ensure!(
        families(&one)?
            .iter()
            .all(|family| family["partition"] == 1)
    );
    let name = families(&one)?[0]["name"].as_str().context("no name")?;
    let one = rebuild(&deployment, "log", &["--robot", name], 0)?;
    ensure!(families(&one)?.len() == 1, "{one:#}");
    let refused = deployment.refused(PLACE, &arguments("log", &["--robot", "robot-none"]))?;
    ensure!(refused.contains("knows nothing of robot-none"), "{refused}");
    // Nothing to switch changes nothing.
    let before = states(&*deployment.ports(PLACE)?.store)?;
    all_same(&rebuild(&deployment, "log", &["--switch"], 0)?)?;
    ensure!(states(&*deployment.ports(PLACE)?.store)? == before);
    deployment.drain(PLACE)?;
    deployment.run(PLACE, &["reconcile"])?;
    nothing_is_sent_twice(&deployment).map(drop)
}

#[test]
fn damaged_states_are_found_and_go_on_as_if_nothing_had_happened() -> Result<()> {
    let (deployment, twin) = (deployed()?, deployed()?);
    let before = states(&*deployment.ports(PLACE)?.store)?;
    let robots: Vec<_> = before
        .iter()
        .filter(|((_, name), _)| !name.is_empty() && !name.starts_with('@'))
        .collect();
    let [((here, wrong), with_window), .., ((there, lost), emptied)] = &robots[..] else {
        anyhow::bail!("there are too few robots");
    };
    damage(
        &deployment,
        with_window,
        *here,
        with_a_wrong_window(&with_window.state)?,
    )?;
    let dir = DataDir::new(deployment.path(PLACE));
    let config = theatre::adapters::params(&deployment.config()?, &dir, [7; 32])?.processor;
    let nothing = Processor::new(lost, config).snapshot();
    let nothing = Processor::moved(&nothing, &emptied.positions)?;
    damage(&deployment, emptied, *there, nothing)?;
    deployment.ends_with(DIFFERENCE, PLACE, &["reconcile"])?;
    let damaged = states(&*deployment.ports(PLACE)?.store)?;
    let expected: BTreeSet<String> = [wrong.clone(), lost.clone()].into();
    let found = rebuild(&deployment, "log", &[], DIFFERENCE)?;
    ensure!(differing(&found)? == expected, "{found:#}");
    let of_window = families(&found)?.iter().find(|it| it["name"] == **wrong);
    let parts = &of_window.context("not in the report")?["differences"];
    ensure!(
        parts[0]["part"] == "window values" && parts[1].is_null(),
        "{parts:#}"
    );
    ensure!(
        states(&*deployment.ports(PLACE)?.store)? == damaged,
        "looking changes nothing"
    );
    // One by one.
    rebuild(&deployment, "log", &["--robot", wrong, "--switch"], 0)?;
    let left = rebuild(&deployment, "log", &[], DIFFERENCE)?;
    ensure!(differing(&left)? == [lost.clone()].into(), "{left:#}");
    rebuild(&deployment, "log", &["--switch"], 0)?;
    all_same(&rebuild(&deployment, "log", &[], 0)?)?;
    let (config, dir) = (deployment.config()?, DataDir::new(deployment.path(PLACE)));
    let access = Adapters::new(&config, &dir, Access::Write)?.access()?;
    let trail = access.audit_trail(10)?;
    let acts: Vec<&str> = trail.iter().map(|it| it.action.as_str()).collect();
    let each = ["state.rebuilt", "state.rebuild"];
    ensure!(acts == [each, each].concat(), "{acts:?}");
    drop(access);
    let after = states(&*deployment.ports(PLACE)?.store)?;
    for (key, stored) in &before {
        ensure!(after[key].state == stored.state, "{key:?} is not as it was");
    }
    deployment.run(PLACE, &["reconcile"])?;
    for each in [&deployment, &twin] {
        feed(each, TICKS..TICKS + 100)?;
        each.drain(PLACE)?;
        each.run(PLACE, &["reconcile"])?;
        nothing_is_sent_twice(each)?;
    }
    let read = |deployment: &Deployment| {
        Conclusions::read(&deployment.config()?, &deployment.ports(PLACE)?)
    };
    read(&twin)?.must_equal(&read(&deployment)?)
}

#[test]
fn what_the_wall_clock_decided_is_taken_over_where_it_was_sent() -> Result<()> {
    let settings = fleet::settings(PARTITIONS);
    let settings = settings.replace("silence_after = \"1d\"", "silence_after = \"3s\"");
    let deployment = Deployment::new(&settings, fleet::RULES)?;
    let mut running = deployment.start(PLACE, &[])?;
    running.wait_until_ready()?;
    let silences = || -> Result<usize> {
        let outputs = all_outputs(&*deployment.ports(PLACE)?.store)?;
        let is_silence = |it: &OutputEvent| it.subject == ROBOT_SILENT;
        Ok(outputs.iter().filter(|it| is_silence(it)).count())
    };
    // Silent, heard again, silent again.
    for (ticks, expected) in [(0..60, ROBOTS), (60..120, 3 * ROBOTS)] {
        feed(&deployment, ticks)?;
        let begun = Instant::now();
        while (silences()? as u64) < expected {
            ensure!(begun.elapsed() < PATIENCE, "the robots do not fall silent");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    ensure!(running.terminate()?.success(), "{}", running.said());
    deployment.drain(PLACE)?;
    for from in ["log", "lake"] {
        let found = differing(&rebuild(&deployment, from, &[], 0)?)?;
        ensure!(found.is_empty(), "{found:?} differ from the {from}");
    }
    Ok(())
}

#[test]
fn under_another_rule_only_what_was_never_sent_is_sent() -> Result<()> {
    let deployment = deployed()?;
    let alerts = nothing_is_sent_twice(&deployment)?;
    let rules = deployment.path("rules.toml");
    let changed =
        std::fs::read_to_string(&rules)?.replace("raise_above = 10.0", "raise_above = 9.0");
    std::fs::write(&rules, changed)?;
    let found = rebuild(&deployment, "lake", &["--allow-gap"], DIFFERENCE)?;
    let sent = |report: &Value| -> Result<u64> {
        let of_family = |family: &Value| family["never_sent"]["by_kind"]["alert"].as_u64();
        Ok(families(report)?.iter().filter_map(of_family).sum())
    };
    let never_sent = sent(&rebuild(&deployment, "log", &[], DIFFERENCE)?)?;
    ensure!(never_sent > 0 && sent(&found)? == never_sent, "{found:#}");
    ensure!(
        nothing_is_sent_twice(&deployment)? == alerts,
        "looking tells nothing"
    );
    rebuild(&deployment, "log", &["--switch"], 0)?;
    deployment.drain(PLACE)?;
    deployment.run(PLACE, &["reconcile"])?;
    let after = nothing_is_sent_twice(&deployment)?;
    ensure!(
        after as u64 == alerts as u64 + never_sent,
        "{alerts}, {never_sent}, {after}"
    );
    // What was sent before stays, and there is nothing more to tell.
    let again = rebuild(&deployment, "log", &[], DIFFERENCE)?;
    ensure!(sent(&again)? == 0, "{again:#}");
    feed(&deployment, TICKS..TICKS + 50)?;
    deployment.drain(PLACE)?;
    deployment.run(PLACE, &["reconcile"])?;
    nothing_is_sent_twice(&deployment).map(drop)
}

#[test]
fn what_is_missing_is_named_and_refused() -> Result<()> {
    let deployment = deployed()?;
    let refused = |from: &str| deployment.refused(PLACE, &arguments(from, &["--switch"]));
    let before = states(&*deployment.ports(PLACE)?.store)?;
    let files = deployment.ports(PLACE)?.store.all_files()?;
    let file = files
        .iter()
        .find(|file| file.file.dataset == "robot_telemetry");
    let path = &file.context("no file")?.file.path;
    std::fs::remove_file(deployment.path(PLACE).join("lake").join(path))?;
    let why = refused("lake")?;
    ensure!(
        why.contains(path) && why.contains("was deleted") && why.contains("--allow-gap"),
        "{why}"
    );
    all_same(&rebuild(&deployment, "log", &[], 0)?)?;
    let log = deployment.log(PLACE)?;
    log.trim(INPUT_TOPICS[0], 0, 100)?;
    let start = log.range(INPUT_TOPICS[0], 0)?.start;
    ensure!(start > 0, "nothing was deleted");
    drop(log);
    let why = refused("log")?;
    let begins = format!("the log begins at offset {start} of {}", INPUT_TOPICS[0]);
    ensure!(why.contains(&begins), "{why}");
    ensure!(states(&*deployment.ports(PLACE)?.store)? == before);
    let found = rebuild(&deployment, "log", &["--allow-gap"], DIFFERENCE)?;
    ensure!(
        found["gaps"]
            .as_array()
            .is_some_and(|gaps| !gaps.is_empty()),
        "{found:#}"
    );
    Ok(())
}

#[test]
fn on_servers_a_lost_state_is_built_anew_though_its_process_still_runs() -> Result<()> {
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let deployment = &site.deployment;
    feed(deployment, 0..TICKS)?;
    deployment.drain(PLACE)?;
    for from in ["log", "lake"] {
        all_same(&rebuild(deployment, from, &[], 0)?)?;
    }
    let before = states(&*deployment.ports(PLACE)?.store)?;
    let (key, stored) = before.last_key_value().context("no state")?;
    let dir = DataDir::new(deployment.path(PLACE));
    let config = theatre::adapters::params(&deployment.config()?, &dir, [7; 32])?.processor;
    let nothing = Processor::new(&key.1, config).snapshot();
    let nothing = Processor::moved(&nothing, &stored.positions)?;
    damage(deployment, stored, key.0, nothing)?;
    // A process that restored the damaged state, and knows nothing of the switch.
    let mut running = deployment.start("other", &[])?;
    running.wait_until_ready()?;
    running.freeze(true)?;
    let switched = rebuild(deployment, "log", &["--switch"], 0)?;
    ensure!(
        differing(&switched)? == [key.1.clone()].into(),
        "{switched:#}"
    );
    ensure!(states(&*deployment.ports(PLACE)?.store)?[key].state == stored.state);
    feed(deployment, TICKS..TICKS + 20)?;
    running.freeze(false)?;
    running.terminate()?;
    deployment.drain(PLACE)?;
    deployment.run(PLACE, &["reconcile"])?;
    all_same(&rebuild(deployment, "log", &[], 0)?)
}

#[test]
fn nothing_is_rebuilt_while_a_process_runs_or_before_all_is_drained() -> Result<()> {
    let deployment = deployed()?;
    feed(&deployment, TICKS..TICKS + 10)?;
    let why = deployment.refused(PLACE, &arguments("log", &[]))?;
    ensure!(why.contains("not everything is drained"), "{why}");
    let mut running = deployment.start(PLACE, &[])?;
    running.wait_until_ready()?;
    for more in [&[][..], &["--switch"]] {
        let why = deployment.refused(PLACE, &arguments("log", more))?;
        ensure!(
            why.contains("in use") || why.contains("another process"),
            "{why}"
        );
    }
    running.terminate().map(drop)
}
