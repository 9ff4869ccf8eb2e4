//! A rule is changed and alerts are acknowledged while processes are restarted one after another:
//! the history is that of one process that was never stopped.

use anyhow::{Context, Result, ensure};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{EventLog, PollLimit};
use theatre_config::INPUT_TOPICS;
use theatre_schemas::records::{Alert, Transition};
use theatre_tests::broker::{Audience, seen_once};
use theatre_tests::conclusions::{Conclusions, Rows, all_outputs, all_published};
use theatre_tests::deployment::{Deployment, Member, PATIENCE, same, wait_for};
use theatre_tests::fleet::{self, Fleet};
use theatre_tests::site::Site;

const PARTITIONS: u32 = 4;
const ROBOTS: u64 = 12;
/// Ticks of the fleet before anything is said, until more is said, and to the end.
const STAGES: [std::ops::Range<u64>; 3] = [0..150, 150..300, 300..450];
/// Datasets and tables of what people say: their rows name moments and ids that no two runs have in
/// common.
const SAID: [&str; 2] = ["alert_actions", "rule_changes"];

/// The joint is hot sooner.
const CHANGED: &str = "\
[[rule]]
id = \"joint2_hot\"
version = 2
priority = \"medium\"
dataset = \"robot_telemetry\"
description = \"the motor of joint 2 is hot\"
[rule.kind.threshold]
signal = \"joints[2].temperature\"
raise_above = 40.0
clear_below = 38.0
";

/// The fleet on a deployment, and what people do between two of its stages.
struct Played<'a> {
    deployment: &'a Deployment,
    log: std::sync::Arc<dyn EventLog>,
    fleet: Fleet,
}

impl<'a> Played<'a> {
    fn begin(deployment: &'a Deployment, process: &str) -> Result<Self> {
        let log = deployment.log(process)?;
        log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), PARTITIONS)?;
        Ok(Self {
            deployment,
            log,
            fleet: Fleet::new(ROBOTS, PARTITIONS)?,
        })
    }

    fn feed(&self, stage: usize) -> Result<()> {
        for tick in STAGES[stage].clone() {
            self.fleet.feed(&*self.log, tick..tick + 1)?;
        }
        Ok(())
    }

    /// After the first stage.
    fn change_a_rule(&self, process: &str) -> Result<()> {
        let file = self.deployment.path("changed.toml");
        std::fs::write(&file, CHANGED)?;
        let file = file.display().to_string();
        self.deployment
            .run(process, &["rules", "add", &file, "--by", "Anna"])
            .map(drop)
    }

    /// After the second: one open condition is acknowledged, another one assigned, all of their
    /// rule are silenced, and another rule is disabled, which ends what is open under it.
    fn acknowledge(&self, process: &str) -> Result<()> {
        let open = self.open(process)?;
        ensure!(open.len() >= 2, "{} conditions are open", open.len());
        let run = |arguments: &[&str]| {
            let arguments = [arguments, &["--by", "Ben"]].concat();
            self.deployment.run(process, &arguments).map(drop)
        };
        run(&["alerts", "ack", &open[0], "--comment", "on my way"])?;
        run(&["alerts", "assign", &open[1], "--to", "Carla"])?;
        let silence = ["alerts", "silence", "--rule", "joint2_hot", "--for", "1d"];
        run(&[&silence[..], &["--reason", "a part is ordered"]].concat())?;
        run(&["rules", "disable", "tremor"])
    }

    /// Open conditions of the rule that was changed, in the order of their ids.
    fn open(&self, process: &str) -> Result<Vec<String>> {
        let mut last = std::collections::BTreeMap::new();
        for output in all_outputs(&*self.deployment.ports(process)?.store)? {
            if output.kind == OutputKind::Alert {
                let alert = Alert::decode(&output.payload)?;
                last.insert(alert.condition_id.clone(), alert);
            }
        }
        let open = last.into_values().filter(|alert| {
            alert.rule_id == "joint2_hot" && alert.transition != Transition::Cleared
        });
        Ok(open.map(|alert| alert.condition_id).collect())
    }

    /// Waits until all that is in the log is applied and saved.
    fn settled(&self) -> Result<()> {
        let store = self.deployment.ports("looking")?.store;
        wait_for(PATIENCE, || {
            for partition in 0..PARTITIONS {
                let floor = store.status(partition)?.floor;
                for (index, topic) in INPUT_TOPICS.into_iter().enumerate() {
                    if floor.get(index) < self.log.range(topic, partition)?.end {
                        return Ok(None);
                    }
                }
            }
            Ok(Some(()))
        })
        .context("not everything is applied")
    }
}

/// What must be the same: not the moments at which people said something, nor its ids.
fn comparable(mut concluded: Conclusions) -> Result<Conclusions> {
    for alert in concluded.alerts.values_mut().flatten() {
        if alert.actor.is_some() {
            alert.event_time = 0;
        }
        alert.acknowledged_at = None;
        alert.action_id = None;
        alert.silenced_until = alert.silenced_until.map(|_| 0);
    }
    let alerts = OutputKind::Alert.table();
    let columns = alerts.columns.iter().map(|(name, _)| name.as_str());
    let columns: Vec<&str> = columns.collect();
    for rows in [&mut concluded.lake, &mut concluded.warehouse] {
        rows.retain(|table, _| !SAID.contains(&table.as_str()));
        let of_alerts = rows.get_mut(&alerts.name).context("no table of alerts")?;
        let mut comparable = Rows::new();
        for (row, times) in std::mem::take(of_alerts) {
            *comparable
                .entry(without_moments(&row, &columns)?)
                .or_default() += times;
        }
        *of_alerts = comparable;
    }
    Ok(concluded)
}

/// The same in a row of a table.
fn without_moments(row: &str, columns: &[&str]) -> Result<String> {
    let mut cells: Vec<&str> = row.split('|').collect();
    ensure!(cells.len() == columns.len(), "{columns:?}: {row}");
    let at = |name: &str| columns.iter().position(|column| *column == name);
    let is_by_a_person = at("actor").is_some_and(|at| cells[at] != "null");
    for (name, is_said) in [
        ("event_time", is_by_a_person),
        ("acknowledged_at", true),
        ("action_id", true),
        ("silenced_until", true),
    ] {
        let at = at(name).with_context(|| format!("no column {name}"))?;
        if is_said && cells[at] != "null" {
            cells[at] = "said";
        }
    }
    Ok(cells.join("|"))
}

/// The same stages on one embedded process.
fn calm() -> Result<Conclusions> {
    let deployment = Deployment::new(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let played = Played::begin(&deployment, "calm")?;
    for stage in 0..STAGES.len() {
        played.feed(stage)?;
        deployment.drain("calm")?;
        match stage {
            0 => played.change_a_rule("calm")?,
            1 => played.acknowledge("calm")?,
            _ => continue,
        }
        deployment.drain("calm")?;
    }
    Conclusions::read(&deployment.config()?, &deployment.ports("calm")?)
}

/// A member with a name of its own, that is waited for while it is started again.
fn member(site: &Site, name: &str) -> Result<Member> {
    let named = [
        ("THEATRE__LOG__GROUP_INSTANCE_ID", name),
        ("THEATRE__LOG__SESSION_TIMEOUT", "15s"),
    ];
    site.deployment.start(name, &named)
}

fn restart(site: &Site, running: &mut Member) -> Result<()> {
    ensure!(running.terminate()?.success(), "{}", running.said());
    *running = member(site, &running.name)?;
    running.wait_until_ready()
}

#[test]
fn a_rule_changed_and_an_alert_acknowledged_in_a_rolling_restart_count_as_in_one_process()
-> Result<()> {
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let played = Played::begin(&site.deployment, "producer")?;
    let (mut first, mut second) = (member(&site, "first")?, member(&site, "second")?);
    first.wait_until_ready()?;
    second.wait_until_ready()?;
    let audience = Audience::listen(&site.kafka.bootstrap(), PARTITIONS)?;
    played.feed(0)?;
    played.settled()?;

    // The rule is changed while one process is away.
    ensure!(second.terminate()?.success(), "{}", second.said());
    played.change_a_rule("person")?;
    second = member(&site, "second")?;
    played.settled()?;
    std::thread::scope(|scope| -> Result<()> {
        let feeding = scope.spawn(|| played.feed(1));
        restart(&site, &mut first)?;
        restart(&site, &mut second)?;
        feeding
            .join()
            .map_err(|_| anyhow::anyhow!("the producer panicked"))?
    })?;
    played.settled()?;

    // Conditions are acknowledged while a process is killed.
    second.kill()?;
    played.acknowledge("person")?;
    second = member(&site, "second")?;
    played.settled()?;
    std::thread::scope(|scope| -> Result<()> {
        let feeding = scope.spawn(|| played.feed(2));
        restart(&site, &mut first)?;
        feeding
            .join()
            .map_err(|_| anyhow::anyhow!("the producer panicked"))?
    })?;
    played.settled()?;
    for running in [&mut first, &mut second] {
        ensure!(running.terminate()?.success(), "{}", running.said());
    }
    site.deployment.drain("first")?;
    site.deployment.look(&["reconcile"])?;
    let ports = site.deployment.ports("first")?;
    same(
        "published records",
        &all_published(&*ports.store)?,
        &seen_once(&audience.leave()?)?,
    )?;
    let concluded = comparable(Conclusions::read(&site.deployment.config()?, &ports)?)?;
    let transitions: Vec<Transition> = concluded
        .alerts
        .values()
        .flatten()
        .map(|alert| alert.transition)
        .collect();
    for wanted in [Transition::Acknowledged, Transition::Assigned] {
        ensure!(
            transitions.iter().filter(|it| **it == wanted).count() == 1,
            "{wanted:?} once"
        );
    }
    let versions: std::collections::BTreeSet<i32> = concluded
        .alerts
        .values()
        .flatten()
        .filter(|alert| alert.rule_id == "joint2_hot")
        .map(|alert| alert.rule_version)
        .collect();
    ensure!(versions.contains(&2), "the changed rule raised nothing");
    let silenced = transitions.iter().filter(|it| **it == Transition::Silenced);
    ensure!(silenced.count() >= 2, "the silence hides too little");
    comparable(calm()?)?.must_equal(&concluded)
}

/// Ids of the changes of rules in a partition, in their order.
fn changes(log: &dyn EventLog, partition: u32) -> Result<Vec<String>> {
    let topic = "surgical.rules.control.v1";
    let end = log.range(topic, partition)?.end;
    let all = PollLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };
    let mut reader = log.reader(topic, partition, 0)?;
    let mut ids = Vec::new();
    wait_for(PATIENCE, || {
        let polled = reader.poll(all, &mut |record| {
            ids.push(String::from_utf8_lossy(record.key).into_owned());
        })?;
        Ok((polled.next_offset >= end).then_some(()))
    })?;
    Ok(ids)
}

#[test]
fn two_processes_that_change_one_rule_at_the_same_moment_reach_all_partitions_in_one_order()
-> Result<()> {
    let site = Site::start(&fleet::settings(PARTITIONS), fleet::RULES)?;
    let log = site.deployment.log("looking")?;
    log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), PARTITIONS)?;
    let mut said = 0;
    for _ in 0..5 {
        let outputs = std::thread::scope(|scope| {
            let both = [("anna", "disable"), ("ben", "enable")].map(|(who, what)| {
                let deployment = &site.deployment;
                scope.spawn(move || deployment.output(who, &["rules", what, "tremor", "--by", who]))
            });
            both.map(|one| one.join())
        });
        let before = said;
        for output in outputs {
            let output = output.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => said += 1,
                code => ensure!(
                    code == Some(1) && why.contains("changes the rule 'tremor' at the moment"),
                    "{code:?}: {why}"
                ),
            }
        }
        ensure!(said > before, "one of two has its turn");
    }
    let first = changes(&*log, 0)?;
    ensure!(first.len() == said, "{said} were taken: {first:?}");
    for partition in 1..PARTITIONS {
        let other = changes(&*log, partition)?;
        ensure!(
            other == first,
            "partition {partition}: {other:?}, not {first:?}"
        );
    }
    Ok(())
}
