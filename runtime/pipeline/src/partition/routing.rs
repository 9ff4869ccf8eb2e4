//! Rows of a chunk by processor: which robot's rows go where, and one message per processor and
//! chunk that names rows of the shared batches.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use theatre_actors::control;
use theatre_actors::ports::{CheckpointStore, Epoch, Result};
use theatre_actors::position::{Partition, Positions, TopicIndex};

use super::key_ownership::KeyOwnership;
use super::table::{Places, Table};
use crate::intake::{Chunk, Entry};

/// The processors of a partition by robot, and what has none.
pub(super) struct Routes {
    /// The actor of what is said to all robots of the partition.
    own_name: String,
    slots: Slots,
    places: Places,
    key_ownership: KeyOwnership,
    /// Records that stay dead letters, by topic and offset, at or above the position.
    known_dead_letters: HashSet<(TopicIndex, u64)>,
}

/// A chunk's rows by where they go.
pub(super) struct Routed {
    /// Processors' shares.
    pub(super) table: Table,
    /// Robots without a processor so far, with the slots they get, in order.
    pub(super) newcomers: Vec<(usize, String)>,
    /// Entries that are rows of robots at home elsewhere, ascending.
    pub(super) foreign_rows: Vec<usize>,
    /// Rows for all robots of the partition (batch and row), in order.
    pub(super) wide: Vec<(u32, u32)>,
}

impl Routes {
    /// No processor so far; records among `known_dead_letters` are dead letters already, so their
    /// rows go nowhere.
    pub(super) fn new(
        partition: Partition,
        known_dead_letters: HashSet<(TopicIndex, u64)>,
    ) -> Self {
        Self {
            own_name: control::name(partition),
            slots: Slots::default(),
            places: Places::default(),
            key_ownership: KeyOwnership::default(),
            known_dead_letters,
        }
    }

    /// Adds a robot; returns its slot. Slots are given in order.
    pub(super) fn add(&mut self, robot_id: &str) -> usize {
        self.slots.add(robot_id)
    }

    /// Everything below was routed and will not be read again: its dead letters need not be known.
    pub(super) fn evict_dead_letters_below(&mut self, positions: &Positions) {
        self.known_dead_letters
            .retain(|(topic, offset)| *offset >= positions.get(*topic));
    }

    /// The name of an actor with a slot.
    pub(super) fn name(&self, slot: usize) -> &Arc<str> {
        &self.slots.names[slot]
    }

    /// Number of processors.
    pub(super) fn len(&self) -> usize {
        self.slots.names.len()
    }

    /// Where a robot without a processor here is at home.
    pub(super) fn home_of(&self, robot_id: &str) -> Option<Partition> {
        control::partition_of(robot_id).or_else(|| self.key_ownership.of(robot_id))
    }

    /// Counts a record of such a robot; returns how many of its topic there were.
    pub(super) fn count_foreign(&mut self, topic: TopicIndex) -> u64 {
        self.key_ownership.count(topic)
    }

    /// Where every row of a chunk goes; robots without a processor are claimed for the partition,
    /// if they are at home nowhere else.
    ///
    /// # Errors
    /// When homes cannot be claimed; nothing has changed then.
    pub(super) fn route(
        &mut self,
        chunk: &Chunk,
        store: &dyn CheckpointStore,
        partition: Partition,
        epoch: Epoch,
    ) -> Result<Routed> {
        let mut table = Table::default();
        let (places, dead) = (&mut self.places, &self.known_dead_letters);
        let (mut unrouted, mut wide) = (Vec::new(), Vec::new());
        for (at, entry) in chunk.entries.iter().enumerate() {
            let Entry::Row { batch, row } = *entry else {
                continue;
            };
            let batch_of = &chunk.batches[batch as usize].1;
            let robot_id = batch_of.robot_id(row as usize);
            let is_wide = batch_of.dataset.kind.reaches_partitions()
                && control::partition_of(robot_id).is_some();
            // Each robot counts what is said to all, also what the actor of the partition refused.
            if is_wide && robot_id == self.own_name {
                wide.push((batch, row));
                let robots = self.slots.robots();
                robots.for_each(|slot| table.push(places, slot, batch, row));
                unrouted.push((at, batch, row));
                continue;
            }
            if !dead.is_empty() && dead.contains(&chunk.place(batch, row)) {
                continue;
            }
            match self.slots.next(robot_id) {
                Some(slot) => table.push(places, slot, batch, row),
                None => unrouted.push((at, batch, row)),
            }
        }
        let mut routed = Routed {
            table,
            newcomers: Vec::new(),
            foreign_rows: Vec::new(),
            wide,
        };
        if unrouted.is_empty() {
            return Ok(routed);
        }
        let robot = |batch: u32, row: u32| chunk.batches[batch as usize].1.robot_id(row as usize);
        let robots = unrouted.iter().map(|(_, batch, row)| robot(*batch, *row));
        let robots = robots.filter(|robot| control::partition_of(robot).is_none());
        // The claim is the only call that can fail, and it comes before any change of the routes: a
        // chunk that is routed again after an error meets the same slots.
        let known = self.len();
        for robot in self.key_ownership.claim(store, partition, epoch, robots)? {
            routed.newcomers.push((self.add(robot), robot.to_owned()));
        }
        // No other actor can be at home under this name: it needs no claim.
        if !routed.wide.is_empty() && self.slots.of(&self.own_name).is_none() {
            let own = self.own_name.clone();
            routed.newcomers.push((self.add(&own), own));
        }
        for (at, batch, row) in unrouted {
            let name = robot(batch, row);
            if name == self.own_name {
                let newcomers = self.slots.robots().filter(|slot| *slot >= known);
                for slot in newcomers.chain(self.slots.of(name)) {
                    routed.table.push(&mut self.places, slot, batch, row);
                }
                continue;
            }
            match self.slots.next(name) {
                Some(slot) => routed.table.push(&mut self.places, slot, batch, row),
                None => routed.foreign_rows.push(at),
            }
        }
        Ok(routed)
    }
}

/// Slots by robot. Robots that report at a steady rate come in the same order again and again: the
/// one that followed last time is looked at first, which is cheaper than to hash a name.
#[derive(Default)]
struct Slots {
    by_name: HashMap<Arc<str>, usize, foldhash::fast::RandomState>,
    /// Robots by slot.
    names: Vec<Arc<str>>,
    /// By slot: the slot of the row that came after its last row.
    followers: Vec<usize>,
    /// The slot of the last row.
    last: usize,
}

impl Slots {
    fn add(&mut self, robot_id: &str) -> usize {
        let (slot, name) = (self.names.len(), Arc::<str>::from(robot_id));
        self.by_name.insert(name.clone(), slot);
        self.names.push(name);
        self.followers.push(slot);
        slot
    }

    /// The slot of an actor.
    fn of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The slots of robots.
    fn robots(&self) -> impl Iterator<Item = usize> {
        let names = self.names.iter().enumerate();
        names
            .filter(|(_, name)| control::is_robot(name))
            .map(|(slot, _)| slot)
    }

    /// The slot of the next row's robot.
    fn next(&mut self, robot_id: &str) -> Option<usize> {
        let guess = self.followers.get(self.last).copied();
        let slot = match guess.filter(|guess| *self.names[*guess] == *robot_id) {
            Some(slot) => slot,
            None => {
                let slot = *self.by_name.get(robot_id)?;
                self.followers[self.last] = slot;
                slot
            }
        };
        self.last = slot;
        Some(slot)
    }
}
