//! The actors of a partition that are built anew, and which row goes to which.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use theatre_actors::control::{self, ControlBook};
use theatre_actors::ports::{Result, StoredProcessor};
use theatre_actors::position::{Partition, Positions, TopicIndex};
use theatre_actors::processor::{Processor, ProcessorConfig};
use theatre_schemas::batch::Batch;

use super::actor::Actor;
use super::sent::{Dead, Sent};

/// Rows that are handed to the actors at once.
const ROWS_AT_ONCE: usize = 65_536;

/// All actors of a partition that are wanted.
pub(super) struct Actors<'a> {
    config: &'a Arc<ProcessorConfig>,
    /// What was said to all robots.
    book: Arc<ControlBook>,
    partition: Partition,
    /// The actor of what is said to all robots of the partition.
    own_name: String,
    /// Places in `all`; `None` for one that is not built.
    places: HashMap<String, Option<usize>>,
    pub(super) all: Vec<Actor>,
    pub(super) sent: Sent,
    /// A robot without a state is at home here, if nothing says otherwise.
    takes_newcomers: bool,
    /// Everything below was read.
    at: Positions,
    /// Rows from here on are not to be applied.
    end: Positions,
    waiting: usize,
    rows: u64,
    /// A gap between rows that may be a silence, microseconds.
    silence_us: i64,
    on_rows: &'a dyn Fn(u64),
}

/// What a partition is built from.
pub(super) struct Setting<'a> {
    pub(super) partition: Partition,
    pub(super) config: &'a Arc<ProcessorConfig>,
    pub(super) book: Arc<ControlBook>,
    /// What is stored of the actors that are wanted.
    pub(super) stored: Vec<StoredProcessor>,
    /// Robots may be met that have no state.
    pub(super) takes_newcomers: bool,
    pub(super) sent: Sent,
    /// Where the partition stands.
    pub(super) end: Positions,
    /// The shortest time without a record after which a robot is silent by some rule, microseconds.
    pub(super) silence_us: i64,
    /// Called with the rows so far.
    pub(super) on_rows: &'a dyn Fn(u64),
}

impl<'a> Actors<'a> {
    pub(super) fn new(setting: Setting<'a>) -> Self {
        let mut sent = setting.sent;
        let (mut places, mut all) = (HashMap::new(), Vec::new());
        for stored in setting.stored {
            let name = stored.processor.clone();
            places.insert(name.clone(), Some(all.len()));
            let commits = sent.take_commits(&name);
            all.push(Actor::new(&name, setting.partition, Some(stored), commits));
        }
        Self {
            config: setting.config,
            book: setting.book,
            partition: setting.partition,
            own_name: control::name(setting.partition),
            places,
            all,
            sent,
            takes_newcomers: setting.takes_newcomers,
            at: Positions::zero(),
            end: setting.end,
            waiting: 0,
            rows: 0,
            silence_us: setting.silence_us,
            on_rows: setting.on_rows,
        }
    }

    /// Takes in an actor that has lived elsewhere; rows from these positions on are its own.
    ///
    /// # Errors
    /// As [`Actor::go_on`].
    pub(super) fn adopt(&mut self, mut actor: Actor, from: &Positions) -> Result<()> {
        actor.go_on((self.partition, from), self.config, &self.book)?;
        self.places.insert(actor.name.clone(), Some(self.all.len()));
        self.all.push(actor);
        Ok(())
    }

    /// Everything below these positions was read.
    pub(super) fn note_read(&mut self, to: &Positions) {
        self.at = self.at.highest(to);
    }

    /// Takes the next row of the partition.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    pub(super) fn take(&mut self, topic: TopicIndex, batch: &Arc<Batch>, row: usize) -> Result<()> {
        let offset = batch.offsets[row];
        if offset >= self.end.get(topic) {
            return Ok(());
        }
        self.at.advance(topic, offset);
        let name = batch.robot_id(row);
        let is_wide =
            batch.dataset.kind.reaches_partitions() && control::partition_of(name).is_some();
        // No actor has met it, also where it could be read by now.
        if self.sent.dead(topic, offset) == Some(&Dead::Unread) {
            self.at.advance(topic, offset + 1);
            return Ok(());
        }
        if is_wide && name == self.own_name {
            self.take_wide(topic, batch, row);
        } else if !is_wide && let Some(place) = self.place(name, topic, offset) {
            self.push(place, topic, batch, row);
        }
        self.at.advance(topic, offset + 1);
        if self.waiting >= ROWS_AT_ONCE {
            self.deliver()?;
        }
        Ok(())
    }

    /// A row for all robots of the partition; those that come later begin with it.
    fn take_wide(&mut self, topic: TopicIndex, batch: &Arc<Batch>, row: usize) {
        self.book.note(topic, batch, row);
        for place in 0..self.all.len() {
            let actor = &self.all[place];
            let is_there = actor.processor.is_some() && control::is_robot(&actor.name);
            if is_there || actor.name == self.own_name {
                self.push(place, topic, batch, row);
            }
        }
    }

    fn push(&mut self, place: usize, topic: TopicIndex, batch: &Arc<Batch>, row: usize) {
        let (at, config, book) = (&self.at, self.config, &self.book);
        let (offset, actor) = (batch.offsets[row], &mut self.all[place]);
        let is_foreign = || self.sent.dead(topic, offset) == Some(&Dead::Foreign);
        if offset < actor.from.get(topic) || is_foreign() {
            return;
        }
        if actor.processor.is_none() {
            let begun = Processor::begun(&actor.name, config.clone(), book, at);
            actor.processor = Some(begun);
        }
        actor.push(topic, batch, row);
        self.waiting += 1;
    }

    /// The place of an actor; one that has no state gets one if it is at home here.
    fn place(&mut self, name: &str, topic: TopicIndex, offset: u64) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let is_foreign = self.sent.dead(topic, offset) == Some(&Dead::Foreign);
        let place = (self.takes_newcomers && !is_foreign).then_some(self.all.len());
        if place.is_some() {
            let commits = self.sent.take_commits(name);
            self.all
                .push(Actor::new(name, self.partition, None, commits));
        }
        self.places.insert(name.to_owned(), place);
        place
    }

    /// Hands every actor its rows.
    ///
    /// # Errors
    /// `Refused` when an actor panics.
    pub(super) fn deliver(&mut self) -> Result<()> {
        for actor in &mut self.all {
            actor.apply(&mut self.sent, self.silence_us)?;
        }
        self.rows += std::mem::take(&mut self.waiting) as u64;
        (self.on_rows)(self.rows);
        Ok(())
    }

    /// All rows were read.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    pub(super) fn end(&mut self) -> Result<()> {
        self.deliver()?;
        for actor in &mut self.all {
            actor.end(&mut self.sent);
        }
        Ok(())
    }

    /// The names of all.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.all.iter().map(|actor| actor.name.as_str()).collect()
    }
}
