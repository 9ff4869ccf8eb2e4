//! What was sent: the committed outputs and dead letters, by their ids.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use theatre_actors::outputs::{DeadReason, OutputEvent, OutputKind};
use theatre_actors::ports::{CheckpointStore, Result, StoredOutput};
use theatre_actors::position::{Partition, TopicIndex};

use super::report::OutputList;

/// Outputs and dead letters that are read in one piece.
const PAGE: usize = 1000;

/// Whether an output was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With this content.
    Same,
    /// With another.
    Otherwise,
    /// No output of this id was.
    Never,
}

/// What the actors of a partition have sent, and not been asked for yet.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Digest of the content by digest of (kind, id, revision).
    outputs: HashMap<u64, u64>,
    /// When something of an actor was committed, ascending, microseconds UTC.
    commits: HashMap<String, Vec<i64>>,
    /// Outputs have been deleted for their age.
    has_expired: bool,
    dead: HashMap<(TopicIndex, u64), Dead>,
}

/// What a rebuild needs to know of a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Dead {
    /// It could not be read when it came: no actor has met it.
    Unread,
    /// Its actor is at home in another partition.
    Foreign,
    /// This actor panicked on it; in words.
    Poison { actor: String, detail: String },
    /// Its actor has refused it.
    Refused,
}

fn digest(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn key(output: &OutputEvent) -> u64 {
    digest((output.kind.code(), &output.id, output.revision))
}

fn content(output: &OutputEvent) -> u64 {
    digest((&output.subject, output.event_time, &output.payload))
}

impl Sent {
    /// Reads what was sent by actors of a partition; `wanted`: of these only. `elsewhere` are
    /// partitions in which they may have lived before.
    pub(super) fn read(
        store: &dyn CheckpointStore,
        partition: Partition,
        elsewhere: impl Iterator<Item = Partition>,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Self> {
        let mut sent = Self::default();
        for place in std::iter::once(partition).chain(elsewhere) {
            let mut there = 0;
            let last = store.status(place)?.last_output;
            each_output(store, place, &mut |stored| {
                there += 1;
                if is_wanted(&stored.output.robot_id) {
                    sent.note(stored);
                }
            })?;
            sent.has_expired |= there < last;
        }
        for commits in sent.commits.values_mut() {
            commits.sort_unstable();
        }
        sent.read_dead(store, partition)?;
        Ok(sent)
    }

    fn note(&mut self, stored: &StoredOutput) {
        let output = &stored.output;
        self.outputs.insert(key(output), content(output));
        let at = stored.committed_at.0;
        let commits = match self.commits.get_mut(&output.robot_id) {
            Some(commits) => commits,
            None => self.commits.entry(output.robot_id.clone()).or_default(),
        };
        if commits.last() != Some(&at) {
            commits.push(at);
        }
    }

    /// Records are those of another partition from here on: its dead letters take the place of those
    /// that are known.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) fn turn_to(&mut self, store: &dyn CheckpointStore, to: Partition) -> Result<()> {
        self.dead.clear();
        self.read_dead(store, to)
    }

    fn read_dead(&mut self, store: &dyn CheckpointStore, partition: Partition) -> Result<()> {
        let mut after = 0;
        loop {
            let page = store.dead_after(partition, after, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.sequence;
            for row in page.into_iter().map(|stored| stored.dead) {
                let dead = match row.reason {
                    DeadReason::WrongPartition => Dead::Foreign,
                    DeadReason::Poison => Dead::Poison {
                        actor: row.robot_id.unwrap_or_default(),
                        detail: row.detail,
                    },
                    _ if row.robot_id.is_none() => Dead::Unread,
                    _ => Dead::Refused,
                };
                self.dead.insert((row.topic, row.offset), dead);
            }
        }
    }

    /// The dead letter of a record.
    pub(super) fn dead(&self, topic: TopicIndex, offset: u64) -> Option<&Dead> {
        self.dead.get(&(topic, offset))
    }

    /// Takes the moments at which something of an actor was committed, ascending.
    pub(super) fn take_commits(&mut self, actor: &str) -> Vec<i64> {
        self.commits.remove(actor).unwrap_or_default()
    }

    /// Whether an output was sent.
    pub(super) fn verdict(&self, output: &OutputEvent) -> Verdict {
        match self.outputs.get(&key(output)) {
            Some(sent) if *sent == content(output) => Verdict::Same,
            Some(_) => Verdict::Otherwise,
            None => Verdict::Never,
        }
    }

    /// The same of one that was concluded: it is not asked for again.
    pub(super) fn take(&mut self, output: &OutputEvent) -> Verdict {
        let verdict = self.verdict(output);
        self.outputs.remove(&key(output));
        verdict
    }

    /// Whether an output of this kind may have been sent that the store does not have.
    pub(super) fn may_have_expired(&self, kind: OutputKind) -> bool {
        self.has_expired && kind.spec().expires
    }

    /// What these actors have sent and not concluded, by actor.
    pub(super) fn rest(
        &self,
        store: &dyn CheckpointStore,
        partitions: impl Iterator<Item = Partition>,
        actors: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, OutputList>> {
        let mut rest: BTreeMap<String, OutputList> = BTreeMap::new();
        if self.outputs.is_empty() {
            return Ok(rest);
        }
        let mut met = HashSet::new();
        for partition in partitions {
            each_output(store, partition, &mut |stored| {
                let (output, key) = (&stored.output, key(&stored.output));
                let is_left = self.outputs.contains_key(&key) && met.insert(key);
                if is_left && actors.contains(output.robot_id.as_str()) {
                    rest.entry(output.robot_id.clone())
                        .or_default()
                        .note(output);
                }
            })?;
        }
        Ok(rest)
    }
}

fn each_output(
    store: &dyn CheckpointStore,
    partition: Partition,
    take: &mut dyn FnMut(&StoredOutput),
) -> Result<()> {
    let mut after = 0;
    loop {
        let page = store.outputs_after(partition, after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.sequence;
        page.iter().for_each(&mut *take);
    }
}

#[cfg(test)]
mod tests {
    use theatre_actors::outputs::DeadRow;
    use theatre_actors::ports::{Expiry, PartitionCommit, ProcessorSave};
    use theatre_actors::position::Positions;
    use theatre_actors::time::LogTime;
    use theatre_testkit::memory::store::MemoryStore;

    use super::*;

    fn output(kind: OutputKind, robot: &str, id: &str, revision: u32) -> OutputEvent {
        OutputEvent {
            kind,
            robot_id: robot.to_owned(),
            id: id.to_owned(),
            subject: "s".to_owned(),
            revision,
            event_time: 1,
            payload: vec![1],
        }
    }

    fn dead(offset: u64, reason: DeadReason, robot: Option<&str>) -> DeadRow {
        DeadRow {
            topic: 0,
            offset,
            append_time: 0,
            reason,
            detail: "why".to_owned(),
            robot_id: robot.map(str::to_owned),
            schema_id: None,
            payload: Vec::new(),
            sealed: false,
            size: 0,
            sha256: String::new(),
        }
    }

    /// A store in which these outputs of a robot were committed one by one, at 10, 20 and so on.
    fn store(outputs: Vec<OutputEvent>, dead: Vec<DeadRow>) -> MemoryStore {
        let store = MemoryStore::default();
        store.ensure_layout(&["a".to_owned()], 1).unwrap();
        let epoch = store.acquire(0).unwrap();
        let mut dead = Some(dead);
        for (number, output) in (1..).zip(outputs) {
            let save = ProcessorSave {
                processor: output.robot_id.clone(),
                save_number: number,
                positions: Positions::zero(),
                state: vec![1],
                outputs: vec![output],
                dead: dead.take().unwrap_or_default(),
            };
            let commit = PartitionCommit {
                partition: 0,
                epoch,
                processors: vec![save],
                floor: Positions::zero(),
            };
            let at = i64::try_from(number).unwrap() * 10;
            store.commit(&[commit], LogTime(at)).unwrap();
        }
        store
    }

    fn read(store: &MemoryStore) -> Sent {
        Sent::read(store, 0, std::iter::empty(), &|robot| robot != "other").unwrap()
    }

    #[test]
    fn an_output_was_sent_if_the_store_has_its_kind_id_and_revision() {
        let sent_alert = output(OutputKind::Alert, "r", "a", 1);
        let not_concluded = output(OutputKind::Outcome, "r", "b", 0);
        let of_other = output(OutputKind::Alert, "other", "c", 0);
        let all = vec![sent_alert.clone(), not_concluded.clone(), of_other];
        let store = store(all, Vec::new());
        let mut sent = read(&store);
        let mut otherwise = sent_alert.clone();
        otherwise.payload = vec![2];
        for (output, verdict) in [
            (sent_alert.clone(), Verdict::Same),
            (otherwise, Verdict::Otherwise),
            (output(OutputKind::Alert, "r", "a", 2), Verdict::Never),
            (output(OutputKind::Outcome, "r", "a", 1), Verdict::Never),
        ] {
            assert_eq!(sent.verdict(&output), verdict, "{output:?}");
        }
        assert_eq!(sent.take_commits("r"), [10, 20]);
        assert!(!sent.may_have_expired(OutputKind::Window));
        sent.take(&sent_alert);
        let actors = BTreeSet::from(["r", "other"]);
        let rest = sent.rest(&store, std::iter::once(0), &actors).unwrap();
        assert_eq!(rest.keys().collect::<Vec<_>>(), ["r"]);
        assert_eq!(rest["r"].first[0].id, not_concluded.id);
        assert_eq!(rest["r"].count(), 1);
    }

    #[test]
    fn where_windows_have_expired_it_is_not_known_which_were_sent() {
        let all = (0..3).map(|at| output(OutputKind::Window, "r", &at.to_string(), 0));
        let store = store(all.collect(), Vec::new());
        let epoch = store.status(0).unwrap().epoch;
        let expiry = Expiry {
            before: LogTime(15),
            after: 0,
            up_to: 3,
            limit: 10,
        };
        store.expire_outputs(0, epoch, expiry).unwrap();
        let sent = read(&store);
        assert!(sent.may_have_expired(OutputKind::Window));
        assert!(!sent.may_have_expired(OutputKind::Alert));
    }

    #[test]
    fn dead_letters_say_whether_an_actor_has_met_the_record() {
        let letters = vec![
            dead(1, DeadReason::Undecodable, None),
            dead(2, DeadReason::WrongPartition, Some("r")),
            dead(3, DeadReason::Poison, Some("r")),
            dead(4, DeadReason::Late, Some("r")),
        ];
        let sent = read(&store(
            vec![output(OutputKind::Alert, "r", "a", 0)],
            letters,
        ));
        let poison = Dead::Poison {
            actor: "r".to_owned(),
            detail: "why".to_owned(),
        };
        for (offset, expected) in [
            (1, Some(Dead::Unread)),
            (2, Some(Dead::Foreign)),
            (3, Some(poison)),
            (4, Some(Dead::Refused)),
            (5, None),
        ] {
            assert_eq!(sent.dead(0, offset), expected.as_ref(), "{offset}");
        }
    }
}
