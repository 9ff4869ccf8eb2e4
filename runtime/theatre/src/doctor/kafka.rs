//! Kafka: brokers, their release and clock, topics with their copies and settings, rights, and the group.

use theatre_actors::ports::{Error, Result};
use theatre_kafka::{
    Cluster, Difference, ExpectedTopic, Group, Rights, Server, Topic, TopicAudit, TopicSettings,
    differences,
};
use theatre_operations::checkup::Judgement;

use super::{Deployment, clocks, failed, names};

/// To which the clocks of brokers are told, microseconds.
const MILLISECOND: i64 = 1_000;

/// The cluster, once a broker has answered; or why none has.
pub(super) type Opened = Result<(TopicAudit, Cluster)>;

/// A topic that Theatre uses, as it was found.
struct Seen {
    wanted: ExpectedTopic,
    found: Option<Topic>,
    settings: Option<TopicSettings>,
}

impl Deployment {
    /// The cluster; none where the log is embedded.
    pub(super) fn cluster(&self) -> Option<&Opened> {
        let log = &self.config.log;
        let url = log.url.as_ref()?;
        Some(self.kafka.get_or_init(|| {
            let audit = TopicAudit::open(url, log, &self.io)?;
            let cluster = audit.cluster()?;
            Ok((audit, cluster))
        }))
    }

    /// The cluster and what is wanted of it; none where no broker answers or the configuration is
    /// at fault, which checks of their own say.
    fn topics(&self) -> Option<(&TopicAudit, Vec<ExpectedTopic>)> {
        let (audit, _) = self.cluster()?.as_ref().ok()?;
        let params = self.params()?;
        let topics = params.all_topics();
        let wanted =
            TopicAudit::wanted(&self.config.log, topics, &params.topics, params.partitions);
        Some((audit, wanted))
    }
}

pub(super) fn check_brokers(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let (audit, cluster) = match deployment.cluster() {
        None => return,
        Some(Err(error)) => return note(failed(error)),
        Some(Ok((audit, cluster))) => (audit, cluster),
    };
    let server = match audit.server(&deployment.config.log, &*deployment.clock) {
        Ok(server) => Some(server),
        // The check of rights says what could not be asked for, and why.
        Err(Error::Refused(_)) => None,
        Err(error) => return note(failed(&error)),
    };
    note(judge_brokers(cluster, server.as_ref()));
    if let Some(clock) = server.and_then(|server| server.clock) {
        note(clocks::judge(
            "Kafka's controllers",
            clock.asked,
            clock.server,
            clock.answered,
            MILLISECOND,
        ));
    }
}

fn judge_brokers(cluster: &Cluster, server: Option<&Server>) -> Judgement {
    let brokers = cluster.brokers.iter();
    let brokers: Vec<String> = brokers
        .map(|(id, address)| format!("broker {id} at {address}"))
        .collect();
    let id = cluster.id.as_deref().unwrap_or("without an id");
    let release = server.map(|server| format!("Kafka {}, ", server.release));
    let release = release.unwrap_or_default();
    Judgement::ok(format!("{release}cluster {id}: {}", names(&brokers)))
}

pub(super) fn check_topics(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let Some((audit, wanted)) = deployment.topics() else {
        return;
    };
    match look_at(audit, wanted) {
        Ok(seen) => judge_topics(&seen, deployment.config.log.create_topics)
            .into_iter()
            .for_each(note),
        Err(error) => note(failed(&error)),
    }
}

fn look_at(audit: &TopicAudit, wanted: Vec<ExpectedTopic>) -> Result<Vec<Seen>> {
    let mut all = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let found = audit.topic(&wanted.topic)?;
        all.push(Seen {
            wanted,
            found,
            settings: None,
        });
    }
    let there = all.iter().filter(|seen| seen.found.is_some());
    let there: Vec<&str> = there.map(|seen| seen.wanted.topic.as_str()).collect();
    let mut settings = audit.settings(&there)?;
    for seen in &mut all {
        seen.settings = settings.remove(&seen.wanted.topic);
    }
    Ok(all)
}

/// Judges all topics; what several of them have in common is said once.
fn judge_topics(all: &[Seen], may_create: bool) -> Vec<Judgement> {
    let mut judged = Vec::new();
    judged.extend(judge_missing(all, may_create));
    judged.extend(judge_copies(all));
    for seen in all.iter().filter(|seen| seen.found.is_some()) {
        let partitions = seen.found.as_ref().map(|found| found.partitions);
        let differing = differences(&seen.wanted, partitions, seen.settings.as_ref());
        judged.extend(differing.iter().map(judge_difference));
    }
    if judged.is_empty() {
        judged.push(Judgement::ok(format!(
            "{} topics are as they should be",
            all.len()
        )));
    }
    judged
}

fn judge_missing(all: &[Seen], may_create: bool) -> Option<Judgement> {
    let missing: Vec<&str> = all
        .iter()
        .filter(|seen| seen.found.is_none())
        .map(|seen| seen.wanted.topic.as_str())
        .collect();
    let seen = format!(
        "{} topics are not there: {}",
        missing.len(),
        names(&missing)
    );
    match (missing.is_empty(), may_create) {
        (true, _) => None,
        (false, true) => Some(Judgement::warning(
            seen,
            "the next start makes them; `theatre topics create` makes them now",
        )),
        (false, false) => Some(Judgement::failed(
            seen,
            "log.create_topics is off: make them; `theatre topics create --dry-run` says how many partitions they need",
        )),
    }
}

/// Copies of partitions: whether there is a leader, and how many brokers may be lost.
fn judge_copies(all: &[Seen]) -> Vec<Judgement> {
    let of = |is_so: &dyn Fn(&Seen, &Topic, usize) -> bool| {
        let such = all.iter().filter(|seen| {
            let least = seen.setting("min.insync.replicas").unwrap_or(1);
            seen.found
                .as_ref()
                .is_some_and(|found| is_so(seen, found, least))
        });
        such.map(|seen| seen.wanted.topic.as_str())
            .collect::<Vec<_>>()
    };
    let leaderless = of(&|_, found, _| !found.leaderless.is_empty());
    let stopped = of(&|_, found, least| found.leaderless.is_empty() && found.in_sync < least);
    let behind = of(&|_, found, least| found.in_sync >= least && found.in_sync < found.replicas);
    let single = of(&|seen, found, _| !seen.wanted.is_input && found.replicas == 1);
    // MSK Serverless does not say how many have to be in sync, and lets no one change it.
    let trusting = of(&|seen, found, least| {
        let may_be_set = !seen.wanted.is_input && !seen.wanted.is_serverless;
        may_be_set && found.replicas > 1 && least == 1
    });
    let mut judged = Vec::new();
    if !leaderless.is_empty() {
        judged.push(Judgement::failed(
            format!("partitions have no leader: {}", names(&leaderless)),
            "start the brokers that hold them: they can be neither read nor written",
        ));
    }
    if !stopped.is_empty() {
        judged.push(Judgement::failed(
            format!(
                "fewer copies are in sync than min.insync.replicas: {}",
                names(&stopped)
            ),
            "start the brokers that are away: nothing can be appended until then",
        ));
    }
    if !behind.is_empty() {
        judged.push(Judgement::warning(
            format!("copies are not in sync: {}", names(&behind)),
            "see which broker is away or slow",
        ));
    }
    if !single.is_empty() {
        judged.push(Judgement::warning(
            format!("results have 1 copy (replication factor 1): {}", names(&single)),
            "a lost broker loses them: give them 3 copies (kafka-reassign-partitions.sh), unless this cluster is for trying things out",
        ));
    }
    if !trusting.is_empty() {
        judged.push(Judgement::warning(
            format!("min.insync.replicas of results is 1: {}", names(&trusting)),
            "a published alert may be on one broker only: set it to 2 (kafka-configs.sh --alter)",
        ));
    }
    judged
}

impl Seen {
    fn setting(&self, name: &str) -> Option<usize> {
        self.settings.as_ref()?.get(name)?.parse().ok()
    }
}

fn judge_difference(one: &Difference) -> Judgement {
    let found = one.found.as_deref().unwrap_or("not set");
    let seen = format!(
        "{}: {} is {found}, not {}",
        one.topic, one.setting, one.wanted
    );
    let is_compacted = found.contains("compact") && !one.wanted.contains("compact");
    match one.setting.as_str() {
        "partitions" => Judgement::failed(
            seen,
            "robots would move between owners: set `partitions` to what the inputs have, or run `theatre state repartition`",
        ),
        "cleanup.policy" if is_compacted => Judgement::failed(
            seen,
            "the broker deletes all but the newest record of a robot: set it as wanted (kafka-configs.sh --alter)",
        ),
        "retention.ms" => Judgement::warning(
            seen,
            "records are deleted sooner: what Theatre or a reader has not read by then is lost; set it as wanted, or keep outages shorter",
        ),
        "message.timestamp.type" => Judgement::warning(
            seen,
            "append times are those of the producers' clocks: set LogAppendTime (kafka-configs.sh --alter)",
        ),
        "max.message.bytes" => Judgement::warning(
            seen,
            "the broker refuses longer records, whose outputs are then parked: raise it (kafka-configs.sh --alter)",
        ),
        _ => Judgement::warning(seen, "set it as wanted (kafka-configs.sh --alter)"),
    }
}

pub(super) fn check_rights(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let Some((audit, wanted)) = deployment.topics() else {
        return;
    };
    let topics: Vec<&str> = wanted.iter().map(|one| one.topic.as_str()).collect();
    let log = &deployment.config.log;
    match audit.rights(log, &topics) {
        Ok(rights) => judge_rights(&wanted, &rights, &log.deployment)
            .into_iter()
            .for_each(note),
        Err(Error::Refused(why)) => note(Judgement::warning(
            format!("rights could not be asked for: {why}"),
            "a start shows whether they suffice",
        )),
        Err(error) => note(failed(&error)),
    }
}

fn judge_rights(wanted: &[ExpectedTopic], rights: &Rights, group: &str) -> Vec<Judgement> {
    let lacking = |of: fn(&ExpectedTopic) -> bool, may: fn(&theatre_kafka::Right) -> bool| {
        let all = wanted.iter().filter(|one| of(one));
        let without = all.filter(|one| {
            rights
                .topics
                .get(&one.topic)
                .is_some_and(|right| !may(right))
        });
        without.map(|one| one.topic.as_str()).collect::<Vec<_>>()
    };
    let unread = lacking(|one| one.is_input, |right| right.read);
    let unwritten = lacking(|one| !one.is_input, |right| right.write);
    let mut judged = Vec::new();
    if !unread.is_empty() {
        judged.push(Judgement::failed(
            format!("inputs may not be read: {}", names(&unread)),
            "allow Read and Describe on them to this principal (kafka-acls.sh --add, or the IAM policy)",
        ));
    }
    if !unwritten.is_empty() {
        judged.push(Judgement::failed(
            format!("results may not be written: {}", names(&unwritten)),
            "allow Write and Describe on them, and its transactional ids, to this principal (kafka-acls.sh --add, or the IAM policy)",
        ));
    }
    if rights.group == Some(false) {
        judged.push(Judgement::failed(
            format!("the group {group} may not be joined"),
            "allow Read on the group to this principal (kafka-acls.sh --add --group, or the IAM policy)",
        ));
    }
    if judged.is_empty() {
        judged.push(Judgement::ok(match rights.group {
            Some(_) => format!("inputs may be read, results written, and the group {group} joined"),
            None => "inputs may be read, and results written".to_owned(),
        }));
    }
    judged
}

pub(super) fn check_group(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let Some(Ok((audit, _))) = deployment.cluster() else {
        return;
    };
    let log = &deployment.config.log;
    note(match audit.group(log) {
        Ok(group) => judge_group(&log.deployment, group.as_ref()),
        Err(error) => failed(&error),
    });
}

fn judge_group(name: &str, group: Option<&Group>) -> Judgement {
    let Some(group) = group.filter(|group| !["Dead", "Empty", ""].contains(&&*group.state)) else {
        return Judgement::ok(format!("group {name} has no member: no process runs"));
    };
    let seen = format!(
        "group {name} is {}, members: {} ({})",
        group.state,
        group.members.len(),
        names(&group.members)
    );
    if group.state == "Stable" {
        return Judgement::ok(seen);
    }
    Judgement::warning(
        seen,
        "partitions move just now; if it stays so, a member comes and goes: look at the processes' logs",
    )
}

#[cfg(test)]
mod tests;
