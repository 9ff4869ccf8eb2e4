//! Three processes share twelve partitions while data flows: one joins late, one leaves, one is
//! killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use theatre_actors::ports::CheckpointStore;
use theatre_config::INPUT_TOPICS;
use theatre_tests::broker::{Audience, group_members, group_offsets, seen_once};
use theatre_tests::conclusions::{Conclusions, all_published};
use theatre_tests::deployment::{Member, PATIENCE, same, wait_for};
use theatre_tests::fleet::{self, Flow};
use theatre_tests::site::{SESSION_TIMEOUT, Site};
use theatre_tests::tell;

const PARTITIONS: u32 = 12;
const ROBOTS: u64 = 36;
/// Time for a rebalance, and for what the next event is to find under way.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a member with a name of its own is waited for: as long as a restart may take. As its
/// setting says it, and as it is meant.
const NAMED_SESSION_TIMEOUT: (&str, Duration) = ("15s", Duration::from_secs(15));

fn epochs(store: &dyn CheckpointStore) -> Result<Vec<u64>> {
    (0..PARTITIONS)
        .map(|partition| Ok(store.status(partition)?.epoch))
        .collect()
}

/// Partitions that a process says are its own; none before it listens.
fn owned(member: &Member) -> Result<Vec<u32>> {
    let metrics = member.get("/metrics").unwrap_or_default();
    let mut owned: Vec<u32> = Vec::new();
    for line in metrics
        .lines()
        .filter(|line| line.starts_with("theatre_partition_owned{") && line.ends_with(" 1"))
    {
        owned.push(
            line.split("partition=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .context("no partition")?
                .parse()?,
        );
    }
    Ok(owned)
}

/// How long each partition said nothing after a moment, once all have spoken: the worst of them.
fn silence(audience: &Audience, from: Instant, partitions: &[u32]) -> Result<Duration> {
    let mut worst = Duration::ZERO;
    for partition in partitions {
        let spoke = wait_for(PATIENCE, || Ok(audience.first_after(from, *partition)))
            .with_context(|| format!("partition {partition} is silent"))?;
        worst = worst.max(spoke - from);
    }
    Ok(worst)
}

/// A member with a name of its own.
fn instance(name: &str) -> [(&str, &str); 2] {
    [
        ("THEATRE__LOG__GROUP_INSTANCE_ID", name),
        ("THEATRE__LOG__SESSION_TIMEOUT", NAMED_SESSION_TIMEOUT.0),
    ]
}

#[test]
fn partitions_move_between_three_processes_and_nothing_is_lost_or_doubled() -> Result<()> {
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let broker = site.kafka.bootstrap();
    let flow = Flow::start(site.deployment.log("producer")?, ROBOTS, PARTITIONS)?;
    let mut first = site.deployment.start("first", &[])?;
    let mut second = site.deployment.start("second", &[])?;
    first.wait_until_ready()?;
    second.wait_until_ready()?;
    let audience = Audience::listen(&broker, PARTITIONS)?;
    std::thread::sleep(SETTLE);

    let mut third = site.deployment.start("third", &[])?;
    third.wait_until_ready()?;
    std::thread::sleep(SETTLE);
    ensure!(first.terminate()?.success(), "{}", first.said());
    std::thread::sleep(SETTLE);

    let theirs = wait_for(PATIENCE, || {
        Ok(Some(owned(&second)?).filter(|owned| !owned.is_empty()))
    })?;
    second.kill()?;
    let killed = Instant::now();
    let noticed = wait_for(PATIENCE, || {
        Ok((group_members(&broker, "theatre")? == 1).then(Instant::now))
    })?;
    let silent = silence(&audience, noticed, &theirs)?;
    tell(&format!(
        "a process is killed: noticed after {:?}, its {} partitions speak again {silent:?} after that",
        noticed - killed,
        theirs.len()
    ));
    ensure!(
        silent < SESSION_TIMEOUT,
        "its partitions were silent for {silent:?} after it was noticed, as if a second session had to end"
    );

    let mut again = site.deployment.start("second", &[])?;
    again.wait_until_ready()?;
    std::thread::sleep(SETTLE);
    let ticks = flow.end()?;
    for member in [&mut again, &mut third] {
        ensure!(member.terminate()?.success(), "{}", member.said());
    }
    site.deployment.drain("first")?;
    site.deployment.look(&["reconcile"])?;
    let ports = site.deployment.ports("first")?;
    println!("{ticks} ticks, epochs {:?}", epochs(&*ports.store)?);
    same(
        "published records",
        &all_published(&*ports.store)?,
        &seen_once(&audience.leave()?)?,
    )?;
    fleet::calm(ROBOTS, PARTITIONS, ticks)?
        .must_equal(&Conclusions::read(&site.deployment.config()?, &ports)?)
}

/// Epochs of all partitions by owner.
fn by_owner(
    members: &[&Member],
    store: &dyn CheckpointStore,
) -> Result<BTreeMap<u32, (String, u64)>> {
    let epochs = epochs(store)?;
    let mut by_partition = BTreeMap::new();
    for member in members {
        for partition in owned(member)? {
            by_partition.insert(partition, (member.name.clone(), epochs[partition as usize]));
        }
    }
    Ok(by_partition)
}

#[test]
fn a_rolling_restart_of_named_members_moves_no_partition_and_leaves_nothing_to_replay() -> Result<()>
{
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let flow = Flow::start(site.deployment.log("producer")?, ROBOTS, PARTITIONS)?;
    let names = ["first", "second", "third"];
    let mut members = names
        .iter()
        .map(|name| site.deployment.start(name, &instance(name)))
        .collect::<Result<Vec<_>>>()?;
    let store = site.deployment.ports("looking")?.store;
    let settled = |members: &[Member]| -> Result<BTreeMap<u32, (String, u64)>> {
        let look = || by_owner(&members.iter().collect::<Vec<_>>(), &*store);
        wait_for(PATIENCE, || {
            let owners = look()?;
            if owners.len() != PARTITIONS as usize
                || !members
                    .iter()
                    .all(|member| member.readiness().is_some_and(|it| it.ready))
            {
                return Ok(None);
            }
            // Owners and epochs are asked one after another: in the middle of a move they do not
            // belong together.
            std::thread::sleep(Duration::from_secs(3));
            Ok(Some(look()?).filter(|again| *again == owners))
        })
    };
    // A hand-over that takes long looks like rest; the group has come to rest when everybody has an
    // equal share.
    let shared = |owners: &BTreeMap<u32, (String, u64)>| {
        names.iter().all(|name| {
            owners.values().filter(|(owner, _)| owner == name).count()
                == PARTITIONS as usize / names.len()
        })
    };
    let mut before = wait_for(PATIENCE, || Ok(Some(settled(&members)?).filter(shared)))?;
    let audience = Audience::listen(&site.kafka.bootstrap(), PARTITIONS)?;
    for index in 0..members.len() {
        ensure!(
            members[index].terminate()?.success(),
            "{}",
            members[index].said()
        );
        let left = owners_floor(&*store, &before, names[index])?;
        members[index] = site
            .deployment
            .start(names[index], &instance(names[index]))?;
        let after = settled(&members)?;
        for (partition, (owner, epoch)) in &before {
            let expected = (owner.clone(), epoch + u64::from(owner == names[index]));
            ensure!(
                after[partition] == expected,
                "restart of {}: partition {partition} went from {owner} at epoch {epoch} to {:?}",
                names[index],
                after[partition]
            );
        }
        ensure!(!left.is_empty(), "{} had partitions", names[index]);
        before = after;
    }

    // Killed and started again under its name: no other process waits for its session to end.
    let theirs: Vec<u32> = before
        .iter()
        .filter(|(_, (owner, _))| owner == names[1])
        .map(|(partition, _)| *partition)
        .collect();
    members[1].kill()?;
    let killed = Instant::now();
    members[1] = site.deployment.start(names[1], &instance(names[1]))?;
    let silent = silence(&audience, members[1].started, &theirs)?;
    let since_kill = members[1].started - killed + silent;
    tell(&format!(
        "a process is killed and started again under its name: its {} partitions speak {silent:?} after its start",
        theirs.len()
    ));
    ensure!(
        since_kill < NAMED_SESSION_TIMEOUT.1,
        "its partitions were silent for {since_kill:?} after it was killed, as if its session had to end first"
    );
    let after = settled(&members)?;
    ensure!(
        after
            .iter()
            .all(|(partition, (owner, _))| *owner == before[partition].0),
        "partitions moved: {before:?} {after:?}"
    );

    let ticks = flow.end()?;
    for member in &mut members {
        ensure!(member.terminate()?.success(), "{}", member.said());
    }
    // Tools that watch lag see what is saved, to the last record.
    let noted = group_offsets(
        &site.kafka.bootstrap(),
        "theatre",
        &INPUT_TOPICS,
        PARTITIONS,
    )?;
    for partition in 0..PARTITIONS {
        let floor = store.status(partition)?.floor;
        for (index, topic) in INPUT_TOPICS.into_iter().enumerate() {
            let group_position = noted
                .get(&(topic.to_owned(), partition))
                .copied()
                .unwrap_or(0);
            ensure!(
                group_position == floor.get(index),
                "{topic} {partition}: the group has noted {group_position}, saved is {floor:?}"
            );
        }
    }
    site.deployment.drain("first")?;
    site.deployment.look(&["reconcile"])?;
    let ports = site.deployment.ports("first")?;
    same(
        "published records",
        &all_published(&*ports.store)?,
        &seen_once(&audience.leave()?)?,
    )?;
    fleet::calm(ROBOTS, PARTITIONS, ticks)?
        .must_equal(&Conclusions::read(&site.deployment.config()?, &ports)?)
}

/// The saved positions of a process's partitions once it has ended: what it had read is saved, so
/// every processor is at its partition's floor or has had no record since.
fn owners_floor(
    store: &dyn CheckpointStore,
    owners: &BTreeMap<u32, (String, u64)>,
    name: &str,
) -> Result<Vec<u32>> {
    let mut clean = Vec::new();
    for (partition, _) in owners.iter().filter(|(_, (owner, _))| owner == name) {
        let status = store.status(*partition)?;
        for stored in store.processors(*partition)? {
            for topic in 0..INPUT_TOPICS.len() {
                let (floor, seen) = (status.floor.get(topic), stored.positions.get(topic));
                ensure!(
                    seen <= floor,
                    "partition {partition}: '{}' has seen topic {topic} up to {seen}, the next start reads from {floor}",
                    stored.processor
                );
            }
        }
        ensure!(
            status.cursors.get("relay") == status.last_output,
            "partition {partition}: outputs up to {} are relayed of {}",
            status.cursors.get("relay"),
            status.last_output
        );
        ensure!(
            status.cursors.get("exporter") == status.last_output,
            "partition {partition}: outputs up to {} are exported of {}",
            status.cursors.get("exporter"),
            status.last_output
        );
        clean.push(*partition);
    }
    Ok(clean)
}

#[test]
fn who_runs_until_all_is_drained_waits_for_the_partitions_of_others_and_can_be_told_to_stop_before()
-> Result<()> {
    const UNTIL_DRAINED: [&str; 2] = ["run", "--until-drained"];
    const WAITS: &str = "with other processes";
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let flow = Flow::start(site.deployment.log("producer")?, ROBOTS, PARTITIONS)?;
    let mut other = site.deployment.start("first", &[])?;
    other.wait_until_ready()?;

    let mut stopped = site
        .deployment
        .start_command("second", &UNTIL_DRAINED, &[])?;
    stopped.wait_until_it_says(WAITS)?;
    let status = stopped.terminate()?;
    ensure!(
        status.code() == Some(130),
        "asked to stop before all is drained it ended with {status}: {}",
        stopped.said()
    );

    // Two of them beside a process that goes on: none of them waits for the end of another.
    let mut waiting = ["third", "fourth"]
        .iter()
        .map(|name| site.deployment.start_command(name, &UNTIL_DRAINED, &[]))
        .collect::<Result<Vec<_>>>()?;
    waiting
        .iter_mut()
        .try_for_each(|member| member.wait_until_it_says(WAITS))?;
    let ticks = flow.end()?;
    for member in &mut waiting {
        let status = member.wait()?;
        ensure!(
            status.success(),
            "it ended with {status}: {}",
            member.said()
        );
    }
    ensure!(other.is_running()?, "{}", other.said());
    site.deployment.look(&["reconcile"])?;
    ensure!(other.terminate()?.success(), "{}", other.said());
    fleet::calm(ROBOTS, PARTITIONS, ticks)?.must_agree(&Conclusions::read(
        &site.deployment.config()?,
        &site.deployment.ports("looking")?,
    )?)
}
