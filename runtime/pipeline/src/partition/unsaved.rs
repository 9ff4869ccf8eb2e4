//! The outputs of each processor of a partition that are in no commit, and which processor is saved
//! when.
//!
//! What every step asks is kept as it changes, so that a step costs what it has changed and not
//! what lives: a partition may have thousands of processors.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use theatre_actors::control;
use theatre_actors::outputs::{DeadRow, OutputEvent, Outputs};
use theatre_actors::ports::ProcessorSave;
use theatre_actors::position::Positions;
use theatre_actors::time::LogTime;
use theatre_telemetry::traces::Cause;

use super::INTAKE_SLOT;
use crate::Limits;
use crate::queue::Urgency;

mod beginnings;
#[cfg(test)]
mod scanned;
#[cfg(test)]
mod tests;

use beginnings::Beginnings;

/// A commit of a partition holds at most so many processors; the others stay due.
const SAVES_MAX: usize = 2048;

/// Under pressure so many of those unsaved for longest go before those with the most outputs.
const OLDEST: usize = 4;

/// What a commit of a partition takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// In the order in which they go in; none when there is nothing to save.
    pub(super) slots: Vec<usize>,
    /// Whether an urgent one is among them.
    pub(super) urgency: Urgency,
}

/// When a processor's turn comes: urgent ones first, then those unsaved for longest.
type Turn = (Reverse<bool>, LogTime, usize);

/// One processor's unsaved outputs.
#[derive(Debug)]
struct Slot {
    name: Arc<str>,
    save_number: u64,
    outputs: Vec<OutputEvent>,
    dead: Vec<DeadRow>,
    weight: usize,
    urgent: bool,
    /// Whether the processor panicked: it gets no rows until it is rebuilt.
    broken: bool,
    /// Where its first row that is in no snapshot was read from, by number.
    dirty_from: Option<u64>,
    saved_at: LogTime,
    /// What caused the first of the outputs that are published, if records did.
    cause: Option<Cause>,
}

impl Slot {
    fn new(name: &Arc<str>, save_number: u64) -> Self {
        Self {
            name: name.clone(),
            save_number,
            outputs: Vec::new(),
            dead: Vec::new(),
            weight: 0,
            urgent: false,
            broken: false,
            dirty_from: None,
            saved_at: LogTime(0),
            cause: None,
        }
    }

    /// The turn of a processor that has something to save and can be saved.
    fn turn(&self, index: usize) -> Option<Turn> {
        let waits = self.dirty_from.is_some() && !self.broken;
        waits.then_some((Reverse(self.urgent), self.saved_at, index))
    }
}

/// All processors of a partition.
#[derive(Debug)]
pub(super) struct UnsavedOutputs {
    limits: Limits,
    intake: Slot,
    slots: Vec<Slot>,
    /// Slot of the actor that remembers what was said to all robots.
    control: Option<usize>,
    under_way: bool,
    /// The last commit took urgent processors only, though others were due: the next one takes
    /// those as well.
    others_are_next: bool,
    /// Slots that have something to save and can be saved.
    waiting: BTreeSet<Turn>,
    /// Slots that panicked.
    broken: BTreeSet<usize>,
    /// Slots in the commit under way.
    saving: Vec<usize>,
    /// Bytes of all outputs and dead letters.
    weight: usize,
    beginnings: Beginnings,
}

impl UnsavedOutputs {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            intake: Slot::new(&Arc::from(""), 0),
            slots: Vec::new(),
            control: None,
            under_way: false,
            others_are_next: false,
            waiting: BTreeSet::new(),
            broken: BTreeSet::new(),
            saving: Vec::new(),
            weight: 0,
            beginnings: Beginnings::default(),
        }
    }

    /// Adds a processor as stored; slots are given in order.
    pub(super) fn restore(&mut self, slot: usize, name: &Arc<str>, save_number: u64) {
        if slot == INTAKE_SLOT {
            self.intake = Slot::new(name, save_number);
            return;
        }
        debug_assert_eq!(slot, self.slots.len(), "slots are given in order");
        if control::partition_of(name).is_some() {
            self.control = Some(slot);
        }
        self.slots.push(Slot::new(name, save_number));
    }

    fn slot(&self, slot: usize) -> &Slot {
        if slot == INTAKE_SLOT {
            &self.intake
        } else {
            &self.slots[slot]
        }
    }

    fn slot_mut(&mut self, slot: usize) -> &mut Slot {
        if slot == INTAKE_SLOT {
            &mut self.intake
        } else {
            &mut self.slots[slot]
        }
    }

    /// Changes something of a slot that decides on its turn.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut Slot)) {
        let slot = self.slot_mut(index);
        let before = slot.turn(index);
        change(slot);
        let after = slot.turn(index);
        if before != after {
            if let Some(turn) = before {
                self.waiting.remove(&turn);
            }
            self.waiting.extend(after);
        }
    }

    /// The processor's name.
    pub(super) fn name(&self, slot: usize) -> &Arc<str> {
        &self.slot(slot).name
    }

    /// Whether the processor applies rows.
    pub(super) fn is_healthy(&self, slot: usize) -> bool {
        !self.slot(slot).broken
    }

    /// Notes that a processor is about to get rows of a chunk that begins at `from`.
    pub(super) fn touched(&mut self, slot: usize, from: &Positions) {
        if self.slot(slot).dirty_from.is_none() {
            let number = self.beginnings.add(from);
            self.change(slot, |slot| slot.dirty_from = Some(number));
        }
    }

    /// Keeps what a processor has put out, and what caused it.
    pub(super) fn add(&mut self, index: usize, outputs: Outputs, cause: Option<Cause>) {
        let slot = self.slot_mut(index);
        slot.cause = slot.cause.or(cause);
        let events = outputs.events.iter().map(OutputEvent::weight);
        let dead = outputs.dead.iter().map(DeadRow::weight);
        let added = events.sum::<usize>() + dead.sum::<usize>();
        slot.weight += added;
        slot.outputs.extend(outputs.events);
        slot.dead.extend(outputs.dead);
        let becomes_urgent = outputs.urgent && !slot.urgent;
        self.weight += added;
        if becomes_urgent {
            self.change(index, |slot| slot.urgent = true);
        }
    }

    /// Keeps a dead letter.
    pub(super) fn add_dead(&mut self, slot: usize, dead: DeadRow) {
        let added = dead.weight();
        let slot = self.slot_mut(slot);
        slot.weight += added;
        slot.dead.push(dead);
        self.weight += added;
    }

    /// Notes that a processor panicked.
    pub(super) fn panicked(&mut self, slot: usize) {
        self.broken.insert(slot);
        self.change(slot, |slot| slot.broken = true);
    }

    /// Replaces the outputs since the last save by those of the rebuilt processor.
    pub(super) fn replace(&mut self, index: usize, outputs: Outputs) {
        let slot = self.slot_mut(index);
        slot.outputs.clear();
        slot.dead.clear();
        let removed = std::mem::take(&mut slot.weight);
        self.weight -= removed;
        self.broken.remove(&index);
        self.change(index, |slot| slot.broken = false);
        self.add(index, outputs, None);
    }

    /// The lowest position a rebuild must read from.
    pub(super) fn unsaved_from(&self, slot: usize) -> Option<&Positions> {
        self.beginnings.get(self.slot(slot).dirty_from?)
    }

    /// Takes what caused the first of a processor's outputs.
    pub(super) fn take_cause(&mut self, slot: usize) -> Option<Cause> {
        self.slot_mut(slot).cause.take()
    }

    /// Moves the unsaved outputs into a save together with the snapshot that concluded them.
    pub(super) fn take_save(
        &mut self,
        index: usize,
        state: Vec<u8>,
        positions: Positions,
    ) -> ProcessorSave {
        if let Some(number) = self.slot(index).dirty_from {
            self.beginnings.remove(number);
            self.saving.push(index);
        }
        self.change(index, |slot| {
            slot.dirty_from = None;
            slot.urgent = false;
        });
        let slot = self.slot_mut(index);
        slot.save_number += 1;
        let removed = std::mem::take(&mut slot.weight);
        let save = ProcessorSave {
            processor: slot.name.to_string(),
            save_number: slot.save_number,
            positions,
            state,
            outputs: std::mem::take(&mut slot.outputs),
            dead: std::mem::take(&mut slot.dead),
        };
        self.weight -= removed;
        save
    }

    pub(super) fn in_flight(&self) -> bool {
        self.under_way
    }

    /// The commit under way is in.
    pub(super) fn committed(&mut self, now: LogTime) {
        self.under_way = false;
        for slot in std::mem::take(&mut self.saving) {
            self.change(slot, |slot| slot.saved_at = now);
        }
    }

    /// Slots that panicked.
    pub(super) fn broken(&self) -> Vec<usize> {
        self.broken.iter().copied().collect()
    }

    /// True when so much is unsaved that reading must wait for the checkpointer.
    pub(super) fn is_full(&self) -> bool {
        self.weight >= 4 * self.limits.unsaved_bytes
    }

    /// True when nothing is unsaved and nothing under way.
    pub(super) fn is_clean(&self) -> bool {
        !self.under_way && self.broken.is_empty() && self.beginnings.lowest().is_none()
    }

    /// True when a processor that can be saved is urgent.
    pub(super) fn is_urgent(&self) -> bool {
        let first = self.waiting.first();
        first.is_some_and(|(Reverse(urgent), ..)| *urgent)
    }

    /// Slots to save now: urgent ones first and, unless they go alone, those unsaved for longest
    /// then; marks a commit as under way when there are any.
    pub(super) fn due(&mut self, now: LogTime, everything: bool) -> Due {
        // What it remembers is saved no later than what robots concluded by it, since a robot that
        // is restored asks for it.
        if self
            .control
            .is_some_and(|control| !self.is_healthy(control))
        {
            return Due::default();
        }
        let urgency = Urgency::of(self.is_urgent());
        let mut due = if self.weight >= self.limits.unsaved_bytes {
            self.others_are_next = false;
            self.heaviest()
        } else {
            self.first(now, everything)
        };
        self.under_way = !due.is_empty();
        // The intake processor goes into every commit when it is dirty: a record that was
        // dead-lettered for an unknown schema must be saved no later than what a robot concluded
        // after it, for at the next reading the schema may be known.
        if !due.is_empty() {
            for first in self.control.into_iter().chain([INTAKE_SLOT]) {
                if self.slot(first).dirty_from.is_some() {
                    due.retain(|slot| *slot != first);
                    due.insert(0, first);
                }
            }
        }
        let slots = due;
        Due { slots, urgency }
    }

    /// The processors whose turn it is, in order. Urgent ones go alone, so that they wait for no
    /// more than themselves; where that has left others behind, these go with the next ones.
    fn first(&mut self, now: LogTime, everything: bool) -> Vec<usize> {
        let interval = i64::try_from(self.limits.save_interval.as_micros()).unwrap_or(i64::MAX);
        let is_due = |(_, saved_at, _): &&Turn| everything || now.0 - saved_at.0 >= interval;
        let is_urgent = |(Reverse(urgent), ..): &&Turn| *urgent;
        let others = (Reverse(false), LogTime(i64::MIN), 0);
        let others_due = self.waiting.range(others..).take_while(is_due);
        let alone = !everything && !self.others_are_next && self.is_urgent();
        self.others_are_next = alone && others_due.clone().next().is_some();
        let urgent = self.waiting.iter().take_while(is_urgent);
        let due = urgent.chain(others_due.take(if alone { 0 } else { SAVES_MAX }));
        due.take(SAVES_MAX).map(|(.., slot)| *slot).collect()
    }

    /// All that wait: urgent ones, then a few of those unsaved for longest, so that none of them
    /// waits as long as there is pressure, then those with the most outputs first.
    fn heaviest(&self) -> Vec<usize> {
        let others = (Reverse(false), LogTime(i64::MIN), 0);
        let oldest: Vec<Turn> = self.waiting.range(others..).take(OLDEST).copied().collect();
        let by_weight = |turn: &Turn| {
            let (urgent, saved_at, index) = *turn;
            let is_other = oldest.last().is_none_or(|last| turn > last);
            (
                urgent,
                is_other,
                Reverse(self.slot(index).weight),
                saved_at,
                index,
            )
        };
        let mut due: Vec<_> = self.waiting.iter().map(by_weight).collect();
        due.sort_unstable();
        let due = due.into_iter().take(SAVES_MAX);
        due.map(|(.., slot)| slot).collect()
    }

    /// The lowest position whose rows are in no snapshot taken so far; `here` when all are.
    pub(super) fn floor(&self, here: &Positions) -> Positions {
        let lowest = self.beginnings.lowest();
        lowest.map_or_else(|| here.clone(), |lowest| here.lowest(lowest))
    }
}
