//! More partitions: robots move, and nothing of what they concluded or will conclude changes.

use anyhow::{Context, Result, ensure};
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::EventLog;
use theatre_actors::processor::Processor;
use theatre_config::INPUT_TOPICS;
use theatre_embedded::data_dir::DataDir;
use theatre_tests::conclusions::Conclusions;
use theatre_tests::deployment::Deployment;
use theatre_tests::fleet::{self, Fleet};
use theatre_tests::site::Site;

use super::rebuild::{DIFFERENCE, damage};

const ROBOTS: u64 = 16;
const BEFORE: u32 = 4;
const AFTER: u32 = 6;
/// The fleet's life, and the tick at which the partitions change.
const TICKS: u64 = 500;
const CHANGE: u64 = 250;
/// Of the ticks before the change so many are sent again after it.
const AGAIN: u64 = 20;
/// Ticks that are written at once.
const STRIDE: usize = 10;

fn feed(log: &dyn EventLog, partitions: u32, ticks: std::ops::Range<u64>) -> Result<()> {
    let fleet = Fleet::new(ROBOTS, partitions)?;
    for begin in ticks.clone().step_by(STRIDE) {
        fleet.feed(log, begin..ticks.end.min(begin + STRIDE as u64))?;
    }
    Ok(())
}

fn inputs() -> [String; INPUT_TOPICS.len()] {
    INPUT_TOPICS.map(str::to_owned)
}

/// What comes after the change.
fn feed_second_half(log: &dyn EventLog) -> Result<()> {
    feed(log, AFTER, CHANGE - AGAIN..CHANGE)?;
    feed(log, AFTER, CHANGE..TICKS)
}

/// The same records on as many partitions from the beginning.
fn undisturbed() -> Result<Conclusions> {
    let deployment = Deployment::new(&fleet::settings(AFTER), fleet::RULES)?;
    let log = deployment.log("calm")?;
    log.ensure_topics(&inputs(), AFTER)?;
    feed(&*log, AFTER, 0..CHANGE)?;
    feed_second_half(&*log)?;
    deployment.drain("calm")?;
    deployment.run("calm", &["reconcile"])?;
    Ok(Conclusions::read(&deployment.config()?, &deployment.ports("calm")?)?.wherever())
}

fn repartition(deployment: &Deployment, more: &[&str]) -> Result<serde_json::Value> {
    let partitions = AFTER.to_string();
    let arguments = [
        &[
            "state",
            "repartition",
            "--partitions",
            &partitions,
            "--output",
            "json",
        ],
        more,
    ]
    .concat();
    Ok(serde_json::from_slice(
        &deployment.run("first", &arguments)?.stdout,
    )?)
}

/// The first half on the old partitions, drained.
fn first_half(deployment: &Deployment) -> Result<()> {
    let log = deployment.log("first")?;
    log.ensure_topics(&inputs(), BEFORE)?;
    feed(&*log, BEFORE, 0..CHANGE)?;
    deployment.drain("first")
}

/// The change itself, looked at first and asked for twice.
fn change(deployment: &Deployment) -> Result<()> {
    let planned = repartition(deployment, &["--dry-run"])?;
    let moving = planned["moved"]
        .as_array()
        .context("no list of robots")?
        .len() as u64;
    ensure!(
        planned["state"] == "planned"
            && planned["robots"] == ROBOTS
            && moving > 0
            && moving < ROBOTS,
        "{planned}"
    );
    ensure!(
        deployment
            .ports("first")?
            .store
            .layout()?
            .is_some_and(|(_, partitions)| partitions == BEFORE),
        "looking changes nothing"
    );
    let done = repartition(deployment, &[])?;
    ensure!(
        done["state"] == "done"
            && done["moved"] == planned["moved"]
            && done["partitions_before"] == BEFORE,
        "{done}"
    );
    ensure!(repartition(deployment, &[])?["state"] == "already");
    deployment.run("first", &["reconcile"])?;
    let why = deployment.refused("first", &["run", "--until-drained"])?;
    ensure!(
        why.contains("has 6 partitions"),
        "the old count is refused: {why}"
    );
    deployment.reconfigure(
        &format!("partitions = {BEFORE}"),
        &format!("partitions = {AFTER}"),
    )
}

fn concluded(deployment: &Deployment) -> Result<Conclusions> {
    deployment.drain("first")?;
    deployment.run("first", &["reconcile"])?;
    let concluded = Conclusions::read(&deployment.config()?, &deployment.ports("first")?)?;
    let duplicates: u64 = concluded
        .counters
        .values()
        .map(|counters| counters.duplicate)
        .sum();
    ensure!(
        duplicates > ROBOTS * AGAIN,
        "only {duplicates} duplicates were noticed: what came again after the change counts as new"
    );
    Ok(concluded.wherever())
}

#[test]
fn a_fleet_concludes_the_same_over_a_change_of_the_partition_count() -> Result<()> {
    let deployment = Deployment::new(&fleet::settings(BEFORE), fleet::RULES)?;
    first_half(&deployment)?;
    // As a command leaves it that crashed on its way: one topic is grown, the store knows nothing
    // of it.
    deployment
        .log("first")?
        .grow_topics(&inputs()[..1], AFTER)?;
    change(&deployment)?;
    feed_second_half(&*deployment.log("first")?)?;
    undisturbed()?.must_equal(&concluded(&deployment)?)?;
    let ports = deployment.ports("first")?;
    let processors = (BEFORE..AFTER)
        .map(|partition| Ok(ports.store.processors(partition)?.len()))
        .sum::<Result<usize>>()?;
    ensure!(processors > 0, "no robot lives in the new partitions");
    drop(ports);
    all_are_built_anew(&deployment, AFTER, &["log", "lake"])?;
    once_more(&deployment)?;
    // All that came again is not in the lake.
    all_are_built_anew(&deployment, 9, &["log"])
}

/// What a rebuild says, which has to end with a code.
fn rebuilt(deployment: &Deployment, more: &[&str], code: i32) -> Result<serde_json::Value> {
    let rebuild = ["state", "rebuild", "--output", "json"];
    let output = deployment.ends_with(code, "first", &[&rebuild[..], more].concat())?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Also those that have moved: their first records lie in the partitions where they lived then.
fn all_are_built_anew(deployment: &Deployment, partitions: u32, sources: &[&str]) -> Result<()> {
    for from in sources.iter().copied() {
        let report = rebuilt(deployment, &["--from", from], 0)?;
        let families = report["families"].as_array().context("no list of actors")?;
        let robots: Vec<&serde_json::Value> = (families.iter())
            .filter(|it| {
                it["name"]
                    .as_str()
                    .is_some_and(|it| it.starts_with("robot-"))
            })
            .collect();
        ensure!(robots.len() as u64 == ROBOTS, "{from}: {report:#}");
        for robot in robots {
            let records = robot["records"].as_u64().unwrap_or_default();
            ensure!(
                robot["state"] == "same" && records > TICKS / 2,
                "{from}: {robot:#}"
            );
        }
        ensure!(
            report["gaps"].as_array().is_some_and(Vec::is_empty),
            "{report:#}"
        );
    }
    // One that was lost is as it was.
    let store = deployment.ports("first")?.store;
    let moved = |partition: u32, name: &str| {
        name.starts_with("robot-") && partition_of(name.as_bytes(), BEFORE) != partition
    };
    let mut found = None;
    for partition in 0..partitions {
        let all = store.processors(partition)?.into_iter();
        let mut movers = all.filter(|stored| moved(partition, &stored.processor));
        found = found.or_else(|| movers.next().map(|stored| (partition, stored)));
    }
    drop(store);
    let (partition, stored) = found.context("no robot has moved")?;
    let dir = DataDir::new(deployment.path("first"));
    let config = theatre::adapters::params(&deployment.config()?, &dir, [7; 32])?.processor;
    let nothing = Processor::new(&stored.processor, config).snapshot();
    let nothing = Processor::moved(&nothing, &stored.positions)?;
    damage(deployment, &stored, partition, nothing)?;
    // The lake has no repetitions, and what counted them is gone.
    let one = ["--robot", &stored.processor, "--from", "log"];
    rebuilt(deployment, &one, DIFFERENCE)?;
    rebuilt(deployment, &[&one[..], &["--switch"]].concat(), 0)?;
    let after = deployment
        .ports("first")?
        .store
        .processor(partition, &stored.processor)?;
    ensure!(
        after.is_some_and(|after| after.state == stored.state),
        "{} is not as it was",
        stored.processor
    );
    deployment.run("first", &["reconcile"]).map(drop)
}

/// A second change, after which everything that comes has been there before.
fn once_more(deployment: &Deployment) -> Result<()> {
    let counted = || -> Result<(u64, u64)> {
        let concluded = Conclusions::read(&deployment.config()?, &deployment.ports("first")?)?;
        let telemetry = &concluded.counters[&0];
        Ok((telemetry.applied, telemetry.duplicate))
    };
    let (applied, duplicate) = counted()?;
    deployment.run("first", &["state", "repartition", "--partitions", "9"])?;
    deployment.reconfigure("partitions = 6", "partitions = 9")?;
    feed(&*deployment.log("first")?, 9, 0..TICKS)?;
    deployment.drain("first")?;
    deployment.run("first", &["reconcile"])?;
    let after = counted()?;
    ensure!(
        after.0 == applied && after.1 > duplicate + ROBOTS * TICKS / 2,
        "{applied} applied and {duplicate} duplicates before, {after:?} afterwards"
    );
    Ok(())
}

#[test]
fn a_fleet_on_servers_concludes_the_same_and_a_process_that_slept_through_it_changes_nothing()
-> Result<()> {
    let site = Site::start(&fleet::settings(BEFORE), fleet::RULES)?;
    let deployment = &site.deployment;
    first_half(deployment)?;
    let mut old = deployment.start("old", &[])?;
    old.wait_until_ready()?;
    old.freeze(true)?;
    change(deployment)?;
    feed_second_half(&*deployment.log("first")?)?;
    old.freeze(false)?;
    old.wait_for_readiness("the new count to be named", |readiness| {
        readiness
            .reasons
            .iter()
            .any(|reason| reason.contains("set partitions = 6"))
    })?;
    old.kill()?;
    undisturbed()?.must_equal(&concluded(deployment)?)
}

#[test]
fn what_is_not_drained_or_would_shrink_is_refused() -> Result<()> {
    let deployment = Deployment::new(&fleet::settings(BEFORE), fleet::RULES)?;
    let refused = |partitions: &str| {
        deployment.refused(
            "first",
            &["state", "repartition", "--partitions", partitions],
        )
    };
    ensure!(
        refused("6")?.contains("nothing has run"),
        "there is nothing yet"
    );
    let log = deployment.log("first")?;
    log.ensure_topics(&inputs(), BEFORE)?;
    feed(&*log, BEFORE, 0..50)?;
    deployment.drain("first")?;
    let why = refused("2")?;
    ensure!(why.contains("can only grow"), "{why}");
    feed(&*log, BEFORE, 50..60)?;
    let why = refused("6")?;
    ensure!(
        why.contains("not everything is drained")
            && why.contains(INPUT_TOPICS[0])
            && why.contains("--until-drained"),
        "{why}"
    );
    ensure!(
        log.partitions(INPUT_TOPICS[0])? == Some(BEFORE),
        "nothing has grown"
    );
    deployment.drain("first")?;
    log.grow_topics(&inputs()[..1], 8)?;
    let why = refused("6")?;
    ensure!(
        why.contains("has 8 partitions") && why.contains("--partitions 8"),
        "{why}"
    );
    deployment
        .run("first", &["state", "repartition", "--partitions", "8"])
        .map(drop)
}

#[test]
fn robots_of_another_partitioner_are_named_and_stay() -> Result<()> {
    let deployment = Deployment::new(&fleet::settings(BEFORE), fleet::RULES)?;
    let log = deployment.log("first")?;
    log.ensure_topics(&inputs(), BEFORE)?;
    // Some other function of the key.
    feed(&*log, BEFORE - 1, 0..50)?;
    deployment.drain("first")?;
    let why = deployment.refused("first", &["state", "repartition", "--partitions", "6"])?;
    ensure!(why.contains("murmur2") && why.contains("'robot-"), "{why}");
    ensure!(
        log.partitions(INPUT_TOPICS[0])? == Some(BEFORE),
        "nothing has grown"
    );
    deployment.run("first", &["reconcile"]).map(drop)
}
