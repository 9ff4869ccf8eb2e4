//! Servers pause, restart, refuse and hang while data flows: everything recovers by itself, nothing
//! is lost or doubled, readiness says why meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use theatre::adapters::{Access, Adapters};
use theatre_embedded::data_dir::DataDir;
use theatre_tests::broker::{Audience, seen_once};
use theatre_tests::conclusions::{Conclusions, all_published};
use theatre_tests::deployment::{Member, PATIENCE, Readiness, same, wait_for};
use theatre_tests::fault_proxy::{FaultProxy, Mode};
use theatre_tests::fleet::{self, Flow};
use theatre_tests::site::Site;

const PARTITIONS: u32 = 4;
const ROBOTS: u64 = 12;
/// Longer than a robot may be unheard before it is called silent.
const OUTAGE: Duration = Duration::from_secs(30);
/// How long a server stays as it is once readiness has named it.
const HOLD: Duration = Duration::from_secs(2);
const POSTGRES_RESTARTS: usize = 3;

fn names(readiness: &Readiness, component: &str) -> bool {
    !readiness.ready
        && readiness
            .reasons
            .iter()
            .any(|reason| reason.contains(component))
}

/// Ends a test: everything is drained, proven, seen once, and as if nothing had happened.
fn must_be_whole(site: &Site, mut member: Member, flow: Flow, audience: Audience) -> Result<()> {
    member.wait_until_ready()?;
    let ticks = flow.end()?;
    ensure!(member.terminate()?.success(), "{}", member.said());
    site.deployment.drain("first")?;
    site.deployment.run("first", &["reconcile"])?;
    let ports = site.deployment.ports("first")?;
    same(
        "published records",
        &all_published(&*ports.store)?,
        &seen_once(&audience.leave()?)?,
    )?;
    fleet::calm(ROBOTS, PARTITIONS, ticks)?
        .must_equal(&Conclusions::read(&site.deployment.config()?, &ports)?)
}

/// Settings under which a robot is soon called silent.
fn watchful() -> String {
    fleet::settings(PARTITIONS).replace("silence_after = \"1d\"", "silence_after = \"16s\"")
}

#[test]
fn kafka_away_for_thirty_seconds_makes_nobody_silent() -> Result<()> {
    let site = Site::start(&watchful(), fleet::RULES)?;
    let flow = Flow::start(site.deployment.log("producer")?, ROBOTS, PARTITIONS)?;
    let mut member = site.deployment.start("first", &[])?;
    member.wait_until_ready()?;
    let audience = Audience::listen(&site.kafka.bootstrap(), PARTITIONS)?;
    // Longer than silence takes: the partition has seen its log's end for that long, and may judge.
    std::thread::sleep(Duration::from_secs(18));
    flow.pause();
    site.kafka.pause()?;
    std::thread::sleep(OUTAGE);
    let meanwhile = member
        .readiness()
        .context("the admin server does not answer")?;
    ensure!(names(&meanwhile, "event log"), "{meanwhile:?}");
    site.kafka.resume()?;
    flow.resume();
    member.wait_until_ready()?;
    std::thread::sleep(HOLD);
    let outputs = theatre_tests::conclusions::all_outputs(&*site.deployment.ports("first")?.store)?;
    let silent = outputs
        .iter()
        .filter(|output| {
            output.subject.contains("robot_silent") || output.id.contains("robot_silent")
        })
        .count();
    ensure!(silent == 0, "{silent} robots were called silent");
    must_be_whole(&site, member, flow, audience)
}

/// Lets a line refuse, then hang; each is named, and passes when the line is well again.
fn trouble(member: &mut Member, line: &FaultProxy, component: &str) -> Result<()> {
    for mode in [Mode::Refuse, Mode::Hang] {
        line.set(mode);
        let said = member.wait_for_readiness(
            &format!("{component} to be named in mode {mode:?}"),
            |readiness| names(readiness, component),
        )?;
        println!("{component} {mode:?}: {:?}", said.reasons.first());
        std::thread::sleep(HOLD);
        line.set(Mode::Pass);
        member.wait_until_ready()?;
    }
    Ok(())
}

#[test]
fn store_lake_and_warehouse_fail_one_after_another_and_nothing_is_lost_or_doubled() -> Result<()> {
    let mut site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let flow = Flow::start(site.deployment.log("producer")?, ROBOTS, PARTITIONS)?;
    let mut member = site.deployment.start("first", &[])?;
    member.wait_until_ready()?;
    let audience = Audience::listen(&site.kafka.bootstrap(), PARTITIONS)?;
    trouble(&mut member, &site.lake, "lake")?;
    trouble(&mut member, &site.warehouse, "redshift")?;
    for _ in 0..POSTGRES_RESTARTS {
        site.postgres.kill()?;
        member.wait_for_readiness("the store to be named", |readiness| {
            names(readiness, "store")
        })?;
        site.postgres.restart()?;
        member.wait_until_ready()?;
    }
    must_be_whole(&site, member, flow, audience)
}

/// Outputs that are published, over all partitions.
fn published(site: &Site) -> Result<u64> {
    let (config, dir) = (
        site.deployment.config()?,
        DataDir::new(site.deployment.path("first")),
    );
    let store = Adapters::new(&config, &dir, Access::Read)?.store()?;
    let statuses =
        (0..PARTITIONS).map(|partition| Ok(store.status(partition)?.cursors.get("relay")));
    statuses.sum()
}

/// Waits until more is published than is now.
fn must_publish(site: &Site) -> Result<()> {
    let before = published(site)?;
    wait_for(PATIENCE, || Ok((published(site)? > before).then_some(())))
        .context("nothing is published")
}

#[test]
fn a_process_that_starts_while_lake_and_warehouse_are_away_alerts_and_makes_up_for_it_by_itself()
-> Result<()> {
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let flow = Flow::start(site.deployment.log("producer")?, ROBOTS, PARTITIONS)?;
    let audience = Audience::listen(&site.kafka.bootstrap(), PARTITIONS)?;
    site.lake.set(Mode::Hang);
    site.warehouse.set(Mode::Refuse);
    let mut member = site.deployment.start("first", &[])?;
    must_publish(&site)?;
    let named = |readiness: &Readiness| names(readiness, "lake") && names(readiness, "redshift");
    member.wait_for_readiness("lake and warehouse to be named", named)?;
    site.lake.set(Mode::Refuse);
    site.warehouse.set(Mode::Hang);
    // Longer than a partition waits for its lake writer, and than its queue lasts.
    for _ in 0..10 {
        std::thread::sleep(HOLD);
        must_publish(&site)?;
    }
    let meanwhile = member
        .readiness()
        .context("the admin server does not answer")?;
    ensure!(named(&meanwhile), "{meanwhile:?}");
    let seen = audience.so_far().len();
    ensure!(seen > 0, "no alert was received");
    site.lake.set(Mode::Pass);
    site.warehouse.set(Mode::Pass);
    must_be_whole(&site, member, flow, audience)
}

#[test]
fn a_warehouse_that_lacks_its_migrations_is_named_and_loaded_once_it_has_them() -> Result<()> {
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    site.deployment
        .reconfigure("[warehouse]\n", "[warehouse]\nschema = \"later\"\n")?;
    let flow = Flow::start(site.deployment.log("producer")?, ROBOTS, PARTITIONS)?;
    let mut member = site.deployment.start("first", &[])?;
    member.wait_for_readiness("the migrations to be named", |readiness| {
        names(readiness, "theatre migrate --warehouse")
    })?;
    must_publish(&site)?;
    site.deployment.look(&["migrate", "--warehouse"])?;
    member.wait_until_ready()?;
    flow.end()?;
    ensure!(member.terminate()?.success(), "{}", member.said());
    site.deployment.drain("first")?;
    site.deployment.run("first", &["reconcile"]).map(drop)
}
