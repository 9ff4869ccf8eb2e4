//! A replay under way: what is looked at, appended, noted.

use std::collections::{BTreeMap, HashMap, HashSet};

use theatre_actors::control;
use theatre_actors::outputs::DeadReason;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{Appender, DeadReplay, Error, NewRecord, Result, StoredDead};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::processor::foresee;
use theatre_actors::robot::Judgement;
use theatre_pipeline::actor_keys::is_registry;
use theatre_pipeline::intake::reread::{Reread, actor, key_of};

use super::report::{Letter, Refusal, Report};
use super::{COUNT_HEADER, ORIGIN_HEADER, Replaying};
use crate::dead_letters::ledger::Ledger;
use crate::dead_letters::reading::{reread_patiently, settled_end};
use crate::dead_letters::records::{Original, Records, Wanted, find};

/// Actors whose state is at hand.
const ACTORS_MAX: usize = 64;

/// A topic and a partition of it.
type InputPartition = (TopicIndex, Partition);
/// A dead letter: its partition and number.
type Number = (Partition, u64);

/// A record that is to be appended.
pub(super) struct Planned {
    letter: (Partition, u64),
    topic: TopicIndex,
    to: Partition,
    count: u32,
    record: NewRecord,
}

impl Planned {
    /// Bytes of its key and its value.
    pub(super) fn bytes(&self) -> usize {
        self.record.key.len() + self.record.value.len()
    }
}

/// What is known of a dead letter that can be sent.
pub(super) struct Looked {
    pub(super) planned: Planned,
    actor: Option<String>,
    source: &'static str,
    /// What it would become now; `None` while a source of schemas does not say.
    reread: Option<Reread>,
}

/// A replay under way.
pub(super) struct Work<'a> {
    asked: &'a Replaying<'a>,
    ledger: Ledger<'a>,
    records: Records<'a>,
    partitions: u32,
    /// Robots have moved between partitions.
    has_moved: bool,
    /// Homes of actors, and their states.
    actors: HashMap<String, (Partition, Option<Vec<u8>>)>,
}

impl<'a> Work<'a> {
    pub(super) fn begin(asked: &'a Replaying<'a>) -> Result<Self> {
        Ok(Self {
            asked,
            ledger: Ledger::of_store(asked.store),
            records: Records::new(asked.params, asked.log),
            partitions: asked.store.layout()?.unwrap_or_default().1,
            has_moved: !asked.store.past_layouts()?.is_empty(),
            actors: HashMap::new(),
        })
    }

    fn topic(&self, topic: TopicIndex) -> Result<&'a str> {
        let name = self.asked.params.topics.get(topic).map(String::as_str);
        name.ok_or_else(|| {
            Error::Refused(format!(
                "input {topic} of the store is not in the configuration: use the one that it runs with"
            ))
        })
    }

    /// At most so many records are appended together.
    pub(super) fn at_once(&self) -> usize {
        self.asked.at_once
    }

    /// These dead letters come next.
    pub(super) fn turn_to(&mut self, page: &[StoredDead]) -> Result<()> {
        self.ledger.turn_to(page)
    }

    /// Looks for the copies of replays that were interrupted.
    pub(super) fn settle(
        &mut self,
        report: &mut Report,
        is_noted: bool,
        hold: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let in_doubt = self.ledger.in_doubt()?;
        for (topic, to, after) in Ledger::ranges(&in_doubt) {
            let name = self.topic(topic)?;
            let ours: Vec<&DeadReplay> = in_doubt
                .iter()
                .filter(|replay| (replay.topic, replay.to) == (topic, to))
                .collect();
            let wanted = self.wanted(&ours)?;
            let mut absent: HashSet<_> = wanted.iter().map(|wanted| wanted.name).collect();
            let end = settled_end(self.asked.log, (name, to), self.asked.patience, hold)?;
            let is_taken = |place| self.ledger.is_copy(place);
            let found = find(
                self.asked.log,
                (topic, name, to),
                end,
                wanted,
                &is_taken,
                hold,
            )?;
            let known: HashMap<(Partition, u64), u64> = found.iter().copied().collect();
            absent.retain(|letter| !known.contains_key(letter));
            // What the log has lost, also while it was read, may have been a copy.
            if self.asked.log.range(name, to)?.start > after {
                absent.clear();
            }
            if is_noted {
                hold()?;
                self.note(&found)?;
                let absent: Vec<_> = absent.iter().copied().collect();
                self.asked.store.forget_dead_replays(&absent)?;
            }
            report.found += found.len() as u64;
            for replay in ours {
                let letter = (replay.partition, replay.sequence);
                if absent.contains(&letter) {
                    self.ledger.forget(letter);
                    continue;
                }
                self.ledger.settle(DeadReplay {
                    offset: known.get(&letter).copied(),
                    ..replay.clone()
                });
            }
        }
        Ok(())
    }

    /// The records of interrupted replays, which are looked for, as far as anything has them.
    fn wanted(&mut self, replays: &[&DeadReplay]) -> Result<Vec<Wanted<(Partition, u64)>>> {
        let mut wanted = Vec::new();
        for replay in replays {
            let from = replay.sequence.saturating_sub(1);
            let stored = self.asked.store.dead_after(replay.partition, from, 1)?;
            let original = stored.first().map(|stored| self.records.of(stored));
            let original = original.transpose()?.flatten();
            wanted.extend(original.map(|original| Wanted {
                name: (replay.partition, replay.sequence),
                after: replay.after,
                key: original.key,
                value: original.value,
            }));
        }
        Ok(wanted)
    }

    /// Notes where copies stand.
    fn note(&self, found: &[((Partition, u64), u64)]) -> Result<()> {
        let places: Vec<_> = found
            .iter()
            .map(|((partition, sequence), offset)| (*partition, *sequence, *offset))
            .collect();
        self.asked.store.finish_dead_replays(&places)
    }

    /// What would be sent for a dead letter, or why nothing is.
    pub(super) fn look(
        &mut self,
        stored: &StoredDead,
    ) -> Result<std::result::Result<Looked, Refusal>> {
        let number = (stored.partition, stored.sequence);
        let count = self.ledger.count(stored);
        if stored.purged_at.is_some() {
            return Ok(Err(Refusal::Purged));
        }
        match self.ledger.of(stored) {
            Some(replay) if replay.offset.is_some() => return Ok(Err(Refusal::AlreadyReplayed)),
            Some(_) => return Ok(Err(Refusal::Unproven)),
            None if count >= self.asked.max_replays => return Ok(Err(Refusal::ReplayedTooOften)),
            _ => {}
        }
        // A copy would take the place of a newer entry on a compacted topic.
        let of_registry = is_registry(self.topic(stored.dead.topic)?);
        if of_registry && !self.asked.selection.names(number) {
            return Ok(Err(Refusal::OfRegistry));
        }
        let Some(Original { key, value }) = self.records.of(stored)? else {
            return Ok(Err(Refusal::RecordGone));
        };
        let source = if key.is_some() { "log" } else { "seal" };
        let reread = self.reread(stored.dead.topic, &value)?;
        let named = match &reread {
            Some(Reread::Row(batch)) => Some(actor(batch).to_owned()),
            _ => stored.dead.robot_id.clone(),
        };
        // Of a seal the key is that of the actor, or unknown.
        let key = key.or_else(|| named.as_deref().map_or(Some(Vec::new()), key_of));
        let Some(key) = key else {
            return Ok(Err(Refusal::RecordGone));
        };
        let to = self.home(stored, named.as_deref(), &key)?;
        let count = count + 1;
        let topic = self.topic(stored.dead.topic)?;
        let origin = format!("{topic}/{}/{}", stored.partition, stored.dead.offset);
        let headers = vec![
            (COUNT_HEADER.to_owned(), count.to_string()),
            (ORIGIN_HEADER.to_owned(), origin),
        ];
        let planned = Planned {
            letter: number,
            topic: stored.dead.topic,
            to,
            count,
            record: NewRecord {
                key,
                value,
                headers,
            },
        };
        Ok(Ok(Looked {
            planned,
            actor: named,
            source,
            reread,
        }))
    }

    /// What a record would become; `None` if no source says what its schema is.
    fn reread(&self, topic: TopicIndex, value: &[u8]) -> Result<Option<Reread>> {
        let params = self.asked.params.intake();
        match reread_patiently(&params, topic, value, self.asked.clock.now()) {
            Err(Error::Unavailable { .. }) => Ok(None),
            read => read.map(Some),
        }
    }

    /// The partition in which an actor lives, with its state; where it was never seen, the one that
    /// its records go to.
    fn home(&mut self, stored: &StoredDead, actor: Option<&str>, key: &[u8]) -> Result<Partition> {
        let origin = stored.partition;
        let hashed = match key {
            [] => origin,
            key => partition_of(key, self.partitions.max(1)),
        };
        // Its producer would write it there again, unless that was wrong or is over.
        let by_default = match stored.dead.reason {
            DeadReason::WrongPartition => hashed,
            _ if self.has_moved => hashed,
            _ => origin,
        };
        let Some(actor) = actor else {
            return Ok(by_default);
        };
        if let Some((home, _)) = self.actors.get(actor) {
            return Ok(*home);
        }
        let own = control::partition_of(actor).filter(|own| *own < self.partitions);
        let likely = [own, Some(origin), Some(hashed)].into_iter().flatten();
        let mut home = (own.unwrap_or(by_default), None);
        for partition in likely.chain(0..self.partitions) {
            if let Some(found) = self.asked.store.processor(partition, actor)? {
                home = (partition, Some(found.state));
                break;
            }
        }
        if self.actors.len() >= ACTORS_MAX {
            self.actors.clear();
        }
        let partition = home.0;
        self.actors.insert(actor.to_owned(), home);
        Ok(partition)
    }

    /// Notes what is about to be appended; returns the topic partitions it goes to, and the dead
    /// letters of it that were erased meanwhile.
    fn begin_batch(&self, batch: &[Planned]) -> Result<(Vec<InputPartition>, Vec<Number>)> {
        let begun_at = self.asked.clock.now();
        let mut ends: BTreeMap<InputPartition, u64> = BTreeMap::new();
        let mut replays = Vec::new();
        for planned in batch {
            let place = (planned.topic, planned.to);
            let after = match ends.get(&place) {
                Some(end) => *end,
                None => {
                    let name = self.topic(planned.topic)?;
                    self.asked.log.written_end(name, planned.to)?
                }
            };
            ends.insert(place, after);
            replays.push(DeadReplay {
                partition: planned.letter.0,
                sequence: planned.letter.1,
                count: planned.count,
                topic: planned.topic,
                to: planned.to,
                after,
                offset: None,
                begun_at,
            });
        }
        let erased = self.asked.store.begin_dead_replays(&replays)?;
        Ok((ends.into_keys().collect(), erased))
    }

    /// Appends records and notes where they stand; `hold` makes sure before each append that no
    /// other command does the same.
    pub(super) fn send(
        &mut self,
        batch: &[Planned],
        appender: &mut dyn Appender,
        report: &mut Report,
        hold: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let log = self.asked.log;
        hold()?;
        let (places, erased) = self.begin_batch(batch)?;
        for _ in &erased {
            report.refuse(Refusal::Purged);
        }
        for (topic, to) in places {
            let name = self.topic(topic)?;
            let left = || batch.iter().filter(|it| !erased.contains(&it.letter));
            let ours = || left().filter(|it| (it.topic, it.to) == (topic, to));
            let records: Vec<NewRecord> = ours().map(|planned| planned.record.clone()).collect();
            if records.is_empty() {
                continue;
            }
            hold()?;
            let base = appender.append(name, to, &records)?;
            report.sent += records.len() as u64;
            // Other producers write there, too: each copy is looked for.
            let wanted = ours().map(|planned| Wanted {
                name: planned.letter,
                after: base,
                key: Some(planned.record.key.clone()),
                value: planned.record.value.clone(),
            });
            let end = settled_end(log, (name, to), self.asked.patience, hold)?;
            let is_taken = |place| self.ledger.is_copy(place);
            let sent = find(log, (topic, name, to), end, wanted, &is_taken, hold)?;
            self.note(&sent)?;
        }
        Ok(())
    }

    fn letter(&self, stored: &StoredDead) -> Letter {
        Letter {
            partition: stored.partition,
            number: stored.sequence,
            topic: self.asked.params.topics.get(stored.dead.topic).cloned(),
            offset: stored.dead.offset,
            reason: stored.dead.reason.as_str(),
            replays: self.ledger.count(stored),
            robot_id: stored.dead.robot_id.clone(),
            source: None,
            to_partition: None,
            fate: "",
            detail: String::new(),
        }
    }

    pub(super) fn refused(&self, stored: &StoredDead, refusal: Refusal) -> Letter {
        let letter = self.letter(stored);
        Letter {
            fate: refusal.as_str(),
            detail: refusal.words(letter.replays),
            ..letter
        }
    }

    /// What a record would become that is sent now.
    pub(super) fn foreseen(&self, stored: &StoredDead, looked: Looked) -> Result<Letter> {
        let state = looked.actor.as_ref().and_then(|it| self.actors.get(it));
        let state = state.and_then(|(_, state)| state.as_deref());
        let (fate, detail) = match looked.reread {
            None => (
                "unknown",
                "no source says what the id of its schema means".to_owned(),
            ),
            Some(Reread::Dead(reason, detail)) => (reason.as_str(), detail),
            Some(Reread::Row(batch)) => {
                let time = &self.asked.params.processor.time;
                let judged = foresee(state, stored.dead.topic, &batch, 0, time);
                let judged = judged.map_err(|error| {
                    Error::Refused(format!(
                        "the state of '{}' cannot be read: {error}",
                        looked.actor.as_deref().unwrap_or_default()
                    ))
                })?;
                judgement(judged)
            }
        };
        Ok(Letter {
            robot_id: looked.actor,
            source: Some(looked.source),
            to_partition: Some(looked.planned.to),
            fate,
            detail,
            ..self.letter(stored)
        })
    }
}

/// What is judged, in a word and in words.
fn judgement(judged: Judgement) -> (&'static str, String) {
    match judged {
        Judgement::Apply { .. } => (
            "applies",
            "its number and time are good as things stand".to_owned(),
        ),
        Judgement::Duplicate => (
            "duplicate",
            "a record of its number was seen: it would be dropped".to_owned(),
        ),
        Judgement::Dead(DeadReason::Late) => (
            DeadReason::Late.as_str(),
            "older than the robot's clock by more than the allowed lateness".to_owned(),
        ),
        Judgement::Dead(reason) => (reason.as_str(), "it would die again".to_owned()),
    }
}
