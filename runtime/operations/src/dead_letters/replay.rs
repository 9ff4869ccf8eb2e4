//! Sends the records of dead letters again to the topics that they came from.
//!
//! A copy is a new record, with the bytes and the key of the first, and comes in by the ordinary
//! door. Its dead letter is noted as begun before it is appended, with the end of the log at that
//! moment, and as done with its offset afterwards. Whoever is killed in between leaves it in doubt:
//! the next replay looks in the log from that end on, and appends only what is not there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use serde::Serialize;
use theatre_actors::control;
use theatre_actors::outputs::DeadReason;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{
    CheckpointStore, DeadReplay, Error, EventLog, NewRecord, Result, StoredDead,
};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::processor::foresee;
use theatre_actors::robot::Judgement;
use theatre_actors::time::Clock;
use theatre_pipeline::PipelineParams;
use theatre_pipeline::intake::reread::{Reread, actor, key_of, reread};

use super::ledger::Ledger;
use super::records::{Original, Records, find};
use super::{Pages, Selection};

/// Records that are appended together.
const BATCH: usize = 100;
/// A source of schemas that does not say what an id means is asked again so often.
const ASKED_AGAIN: usize = 12;
const ASK_PAUSE: Duration = Duration::from_millis(250);
/// Actors whose state is at hand.
const ACTORS_MAX: usize = 64;

/// The header that says how often a record was sent again.
pub const COUNT_HEADER: &str = "theatre_replay";
/// The header that names the record of which this is a copy: topic, partition and offset.
pub const ORIGIN_HEADER: &str = "theatre_replay_of";

/// Why a dead letter is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Purged,
    AlreadyReplayed,
    ReplayedTooOften,
    RecordGone,
    Unproven,
}

impl Refusal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Purged => "purged",
            Self::AlreadyReplayed => "already_replayed",
            Self::ReplayedTooOften => "replayed_too_often",
            Self::RecordGone => "record_gone",
            Self::Unproven => "unproven",
        }
    }

    fn words(self, count: u32) -> String {
        match self {
            Self::Purged => "what it held is erased".to_owned(),
            Self::AlreadyReplayed => "its copy is in the log".to_owned(),
            Self::ReplayedTooOften => format!("its record was sent again {count} times already"),
            Self::RecordGone => {
                "its record is not in the log any more, and not whole in the dead letter".to_owned()
            }
            Self::Unproven => {
                "a replay of it was interrupted, and the log has lost the records since: whether the copy was appended cannot be proven"
                    .to_owned()
            }
        }
    }
}

/// A dead letter that was looked at, and what would become of it.
#[derive(Debug, Clone, Serialize)]
pub struct Letter {
    /// Its partition.
    pub partition: Partition,
    /// Its number within the partition.
    pub number: u64,
    /// Input topic of its record.
    pub topic: Option<String>,
    /// Offset of its record.
    pub offset: u64,
    /// Why it died.
    pub reason: &'static str,
    /// How often its record was sent again before it died.
    pub replays: u32,
    /// The actor that it would go to, where that is known.
    pub robot_id: Option<String>,
    /// Where its bytes are from: `log` or `seal`.
    pub source: Option<&'static str>,
    /// The partition that it would go to.
    pub to_partition: Option<Partition>,
    /// `applies`, `duplicate`, the reason for which it would die again, `unknown`, or why it is not
    /// sent.
    pub fate: &'static str,
    /// The same in words.
    pub detail: String,
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Dead letters that were meant and looked at.
    pub selected: u64,
    /// Records that were appended, or would be.
    pub sent: u64,
    /// Copies that an interrupted replay had appended, found in the log.
    pub found: u64,
    /// Dead letters that are not sent, by the reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Of a dry run: what would become of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub letters: Vec<Letter>,
}

impl Report {
    fn refuse(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal.as_str()).or_default() += 1;
    }
}

/// Dead letters that are to be sent again.
pub struct Replaying<'a> {
    /// The pipeline from whose inputs they came.
    pub params: &'a PipelineParams,
    /// The log.
    pub log: &'a dyn EventLog,
    /// The store.
    pub store: &'a dyn CheckpointStore,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Which are meant.
    pub selection: &'a Selection,
    /// A record that was sent again so often is not sent any more.
    pub max_replays: u32,
    /// At most so many records a second.
    pub rate: Option<u32>,
}

/// A record that is to be appended.
struct Planned {
    letter: (Partition, u64),
    topic: TopicIndex,
    to: Partition,
    count: u32,
    /// It is noted as begun already.
    is_begun: bool,
    record: NewRecord,
}

/// What is known of a dead letter that can be sent.
struct Looked {
    planned: Planned,
    actor: Option<String>,
    source: &'static str,
    /// What it would become now; `None` while a source of schemas does not say.
    reread: Option<Reread>,
}

impl Replaying<'_> {
    /// Sends them; `hold` is called before each batch and ends the work when it fails, `progress`
    /// after each. `report` says also after a failure what was done.
    ///
    /// # Errors
    /// When log or store do not answer, and what `hold` fails with. The command can be repeated.
    pub fn run(
        &self,
        report: &mut Report,
        hold: &mut dyn FnMut() -> Result<()>,
        progress: &mut dyn FnMut(&Report),
    ) -> Result<()> {
        let mut work = Work::begin(self)?;
        work.settle(report, true)?;
        let batch_size = self.rate.map_or(BATCH, |rate| {
            usize::try_from(rate / 5).unwrap_or(BATCH).clamp(1, BATCH)
        });
        let began = Instant::now();
        let mut pages = Pages::begin(self.store, self.selection)?;
        let mut batch = Vec::new();
        let mut is_enough = false;
        while let Some(page) = pages.next()? {
            for stored in &page {
                is_enough = self.selection.is_enough(report.sent + batch.len() as u64);
                if is_enough {
                    break;
                }
                report.selected += 1;
                match work.look(stored)? {
                    Ok(looked) => batch.push(looked.planned),
                    Err(refusal) => report.refuse(refusal),
                }
                if batch.len() == batch_size {
                    hold()?;
                    work.send(std::mem::take(&mut batch), report)?;
                    progress(report);
                    self.pace(began, report.sent);
                }
            }
            if is_enough {
                break;
            }
        }
        if !batch.is_empty() {
            hold()?;
            work.send(batch, report)?;
            progress(report);
        }
        Ok(())
    }

    /// Says what would be sent and what would become of it, and changes nothing.
    ///
    /// # Errors
    /// When log or store do not answer.
    pub fn look(&self) -> Result<Report> {
        let mut report = Report::default();
        let mut work = Work::begin(self)?;
        work.settle(&mut report, false)?;
        let mut pages = Pages::begin(self.store, self.selection)?;
        while let Some(page) = pages.next()? {
            for stored in &page {
                if self.selection.is_enough(report.sent) {
                    return Ok(report);
                }
                report.selected += 1;
                let letter = match work.look(stored)? {
                    Ok(looked) => {
                        report.sent += 1;
                        work.foreseen(stored, looked)?
                    }
                    Err(refusal) => {
                        report.refuse(refusal);
                        work.refused(stored, refusal)
                    }
                };
                report.letters.push(letter);
            }
        }
        Ok(report)
    }

    fn pace(&self, began: Instant, sent: u64) {
        if let Some(rate) = self.rate.filter(|rate| *rate > 0) {
            let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
}

/// A replay under way.
struct Work<'a> {
    asked: &'a Replaying<'a>,
    ledger: Ledger,
    records: Records<'a>,
    partitions: u32,
    /// Robots have moved between partitions.
    has_moved: bool,
    /// Interrupted replays of which nothing can be said any more.
    unproven: HashSet<(Partition, u64)>,
    /// Homes of actors, and their states.
    actors: HashMap<String, (Partition, Option<Vec<u8>>)>,
}

impl<'a> Work<'a> {
    fn begin(asked: &'a Replaying<'a>) -> Result<Self> {
        Ok(Self {
            asked,
            ledger: Ledger::read(asked.store)?,
            records: Records::new(asked.params, asked.log),
            partitions: asked.store.layout()?.unwrap_or_default().1,
            has_moved: !asked.store.past_layouts()?.is_empty(),
            unproven: HashSet::new(),
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

    /// Looks for the copies of replays that were interrupted.
    fn settle(&mut self, report: &mut Report, is_noted: bool) -> Result<()> {
        let in_doubt = self.ledger.in_doubt();
        for (topic, to, after) in Ledger::ranges(&in_doubt) {
            let name = self.topic(topic)?;
            let ours = in_doubt
                .iter()
                .filter(|replay| (replay.topic, replay.to) == (topic, to));
            let mut wanted = Vec::new();
            for replay in ours.clone() {
                let number = (replay.partition, replay.sequence);
                let from = replay.sequence.saturating_sub(1);
                let stored = self.asked.store.dead_after(replay.partition, from, 1)?;
                let original = stored.first().map(|stored| self.records.of(stored));
                match original.transpose()?.flatten() {
                    Some(original) => wanted.push((number, original.value)),
                    None => {
                        self.unproven.insert(number);
                    }
                }
            }
            if self.asked.log.range(name, to)?.start > after {
                self.unproven
                    .extend(wanted.iter().map(|(number, _)| *number));
            }
            let is_taken = |place| self.ledger.is_copy(place);
            let found = find(self.asked.log, (topic, name, to), after, wanted, &is_taken)?;
            let found: Vec<_> = found
                .into_iter()
                .map(|((partition, sequence), offset)| (partition, sequence, offset))
                .collect();
            if is_noted {
                self.asked.store.finish_dead_replays(&found)?;
            }
            report.found += found.len() as u64;
            let known: HashMap<_, _> = found
                .into_iter()
                .map(|(partition, sequence, offset)| ((partition, sequence), offset))
                .collect();
            for replay in ours {
                let offset = known.get(&(replay.partition, replay.sequence));
                self.ledger.note(DeadReplay {
                    offset: offset.copied(),
                    ..replay.clone()
                });
            }
        }
        Ok(())
    }

    /// What would be sent for a dead letter, or why nothing is.
    fn look(&mut self, stored: &StoredDead) -> Result<std::result::Result<Looked, Refusal>> {
        let number = (stored.partition, stored.sequence);
        let begun = self.ledger.of(stored).cloned();
        let count = self.ledger.count(stored);
        if stored.purged_at.is_some() {
            return Ok(Err(Refusal::Purged));
        }
        match &begun {
            Some(replay) if replay.offset.is_some() => return Ok(Err(Refusal::AlreadyReplayed)),
            Some(_) if self.unproven.contains(&number) => return Ok(Err(Refusal::Unproven)),
            None if count >= self.asked.max_replays => return Ok(Err(Refusal::ReplayedTooOften)),
            _ => {}
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
        let key = match (key, &named) {
            (Some(key), _) => key,
            // Of a seal the key is that of the actor, or unknown.
            (None, Some(named)) => match key_of(named) {
                Some(key) => key,
                None => return Ok(Err(Refusal::RecordGone)),
            },
            (None, None) => Vec::new(),
        };
        let to = match &begun {
            Some(replay) => replay.to,
            None => self.home(stored, named.as_deref(), &key)?,
        };
        let count = begun.as_ref().map_or(count + 1, |replay| replay.count);
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
            is_begun: begun.is_some(),
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
        for _ in 0..ASKED_AGAIN {
            match reread(&params, topic, value, self.asked.clock.now()) {
                Err(Error::Unavailable { .. }) => std::thread::sleep(ASK_PAUSE),
                read => return read.map(Some),
            }
        }
        Ok(None)
    }

    /// The partition in which an actor lives, with its state; where it was never seen, the one that
    /// its records go to.
    fn home(&mut self, stored: &StoredDead, actor: Option<&str>, key: &[u8]) -> Result<Partition> {
        let origin = stored.partition;
        let hashed = match key {
            [] => origin,
            key => partition_of(key, self.partitions.max(1)),
        };
        // Whoever wrote it there would do so again, unless that was wrong or is over.
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

    /// Appends records and notes where they stand.
    fn send(&mut self, batch: Vec<Planned>, report: &mut Report) -> Result<()> {
        let (store, log) = (self.asked.store, self.asked.log);
        let begun_at = self.asked.clock.now();
        let mut ends: HashMap<(TopicIndex, Partition), u64> = HashMap::new();
        let mut replays = HashMap::new();
        let mut begun = Vec::new();
        for planned in &batch {
            let place = (planned.topic, planned.to);
            let name = self.topic(planned.topic)?;
            let after = match ends.get(&place) {
                Some(end) => *end,
                None => log.range(name, planned.to)?.end,
            };
            ends.insert(place, after);
            let replay = DeadReplay {
                partition: planned.letter.0,
                sequence: planned.letter.1,
                count: planned.count,
                topic: planned.topic,
                to: planned.to,
                after,
                offset: None,
                begun_at,
            };
            if !planned.is_begun {
                begun.push(replay.clone());
            }
            replays.insert(planned.letter, replay);
        }
        store.begin_dead_replays(&begun)?;
        let mut sent = Vec::new();
        for (topic, to) in ends.into_keys() {
            let name = self.topic(topic)?;
            let ours = || batch.iter().filter(|it| (it.topic, it.to) == (topic, to));
            let records: Vec<NewRecord> = ours().map(|planned| planned.record.clone()).collect();
            let base = log.append(name, to, &records)?;
            report.sent += records.len() as u64;
            // Other producers write there, too: each copy is looked for.
            let wanted = ours().map(|planned| (planned.letter, planned.record.value.clone()));
            let is_taken = |place| self.ledger.is_copy(place);
            sent.extend(find(log, (topic, name, to), base, wanted, &is_taken)?);
        }
        let noted: Vec<_> = sent
            .iter()
            .map(|((partition, sequence), offset)| (*partition, *sequence, *offset))
            .collect();
        store.finish_dead_replays(&noted)?;
        for (letter, offset) in sent {
            if let Some(replay) = replays.remove(&letter) {
                let offset = Some(offset);
                self.ledger.note(DeadReplay { offset, ..replay });
            }
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

    fn refused(&self, stored: &StoredDead, refusal: Refusal) -> Letter {
        let letter = self.letter(stored);
        Letter {
            fate: refusal.as_str(),
            detail: refusal.words(letter.replays),
            ..letter
        }
    }

    /// What a record would become that is sent now.
    fn foreseen(&self, stored: &StoredDead, looked: Looked) -> Result<Letter> {
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

#[cfg(test)]
mod tests;
