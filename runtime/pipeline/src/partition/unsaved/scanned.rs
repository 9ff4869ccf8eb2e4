//! The same decisions by looks at all processors: what the kept lists must agree with.

use theatre_actors::control;
use theatre_actors::outputs::{DeadRow, OutputEvent, Outputs};
use theatre_actors::ports::ProcessorSave;
use theatre_actors::position::Positions;
use theatre_actors::time::LogTime;

use crate::Limits;
use crate::partition::INTAKE_SLOT;

/// How a processor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    /// Applies rows.
    Healthy,
    /// Panicked; gets no rows until it is rebuilt.
    Broken,
}

/// One processor's unsaved outputs.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) state: SlotState,
    save_number: u64,
    outputs: Vec<OutputEvent>,
    dead: Vec<DeadRow>,
    weight: usize,
    urgent: bool,
    /// Where its first row that is in no snapshot was read from.
    dirty_from: Option<Positions>,
    /// The same for the snapshot that is under way.
    in_flight_from: Option<Positions>,
    saved_at: LogTime,
}

impl Slot {
    fn new(name: &str, save_number: u64) -> Self {
        Self {
            name: name.to_owned(),
            state: SlotState::Healthy,
            save_number,
            outputs: Vec::new(),
            dead: Vec::new(),
            weight: 0,
            urgent: false,
            dirty_from: None,
            in_flight_from: None,
            saved_at: LogTime(0),
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.state == SlotState::Healthy
    }

    pub(super) fn add(&mut self, outputs: Outputs) {
        self.urgent |= outputs.urgent;
        let events = outputs
            .events
            .iter()
            .map(OutputEvent::weight)
            .sum::<usize>();
        let dead = outputs.dead.iter().map(DeadRow::weight).sum::<usize>();
        self.weight += events + dead;
        self.outputs.extend(outputs.events);
        self.dead.extend(outputs.dead);
    }

    pub(super) fn add_dead(&mut self, dead: DeadRow) {
        self.weight += dead.weight();
        self.dead.push(dead);
    }

    /// Replaces the outputs since the last save by those of the rebuilt processor.
    pub(super) fn replace(&mut self, outputs: Outputs) {
        self.outputs.clear();
        self.dead.clear();
        self.weight = 0;
        self.state = SlotState::Healthy;
        self.add(outputs);
    }

    /// The lowest position a rebuild must read from.
    pub(super) fn unsaved_from(&self) -> Option<Positions> {
        self.dirty_from.clone()
    }

    /// Moves the unsaved outputs into a save together with the snapshot that concluded them.
    pub(super) fn take_save(&mut self, state: Vec<u8>, positions: Positions) -> ProcessorSave {
        self.save_number += 1;
        self.in_flight_from = self.dirty_from.take();
        self.urgent = false;
        self.weight = 0;
        ProcessorSave {
            processor: self.name.clone(),
            save_number: self.save_number,
            positions,
            state,
            outputs: std::mem::take(&mut self.outputs),
            dead: std::mem::take(&mut self.dead),
        }
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
    others_are_next: bool,
}

impl UnsavedOutputs {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            intake: Slot::new("", 0),
            slots: Vec::new(),
            control: None,
            under_way: false,
            others_are_next: false,
        }
    }

    /// Adds a processor as stored; slots are given in order.
    pub(super) fn restore(&mut self, slot: usize, name: &str, save_number: u64) {
        if slot == INTAKE_SLOT {
            self.intake = Slot::new("", save_number);
            return;
        }
        debug_assert_eq!(slot, self.slots.len(), "slots are given in order");
        if control::partition_of(name).is_some() {
            self.control = Some(slot);
        }
        self.slots.push(Slot::new(name, save_number));
    }

    pub(super) fn slot(&mut self, slot: usize) -> &mut Slot {
        if slot == INTAKE_SLOT {
            &mut self.intake
        } else {
            &mut self.slots[slot]
        }
    }

    /// Notes that a processor is about to get rows of a chunk that begins at `from`.
    pub(super) fn touched(&mut self, slot: usize, from: &Positions) {
        let slot = self.slot(slot);
        if slot.dirty_from.is_none() {
            slot.dirty_from = Some(from.clone());
        }
    }

    pub(super) fn in_flight(&self) -> bool {
        self.under_way
    }

    /// The commit under way is in.
    pub(super) fn committed(&mut self, now: LogTime) {
        self.under_way = false;
        for slot in self.slots.iter_mut().chain([&mut self.intake]) {
            if slot.in_flight_from.take().is_some() {
                slot.saved_at = now;
            }
        }
    }

    /// Slots that panicked.
    pub(super) fn broken(&self) -> Vec<usize> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| !slot.is_healthy())
            .map(|(index, _)| index)
            .collect()
    }

    /// True when so much is unsaved that reading must wait for the checkpointer.
    pub(super) fn is_full(&self) -> bool {
        self.unsaved_bytes() >= 4 * self.limits.unsaved_bytes
    }

    /// True when nothing is unsaved and nothing under way.
    pub(super) fn is_clean(&self) -> bool {
        !self.under_way
            && self
                .slots
                .iter()
                .chain([&self.intake])
                .all(|slot| slot.dirty_from.is_none() && slot.is_healthy())
    }

    /// Slots to save now: urgent ones first, then those unsaved for longest; marks a commit as
    /// under way when there are any.
    pub(super) fn due(&mut self, now: LogTime, everything: bool) -> Vec<usize> {
        let control = self.control.map(|slot| (slot, &self.slots[slot]));
        // What it remembers is saved no later than what robots concluded by it, since a robot that
        // is restored asks for it.
        if control.is_some_and(|(_, actor)| !actor.is_healthy()) {
            return Vec::new();
        }
        let control = control.filter(|(_, actor)| actor.dirty_from.is_some());
        let control = control.map(|(slot, _)| slot);
        let pressed = self.unsaved_bytes() >= self.limits.unsaved_bytes;
        let interval = i64::try_from(self.limits.save_interval.as_micros()).unwrap_or(i64::MAX);
        let all = self
            .slots
            .iter()
            .enumerate()
            .chain([(INTAKE_SLOT, &self.intake)]);
        let is_urgent = |slot: &Slot| slot.is_healthy() && slot.dirty_from.is_some() && slot.urgent;
        let mut slots = self.slots.iter().chain([&self.intake]);
        let any_urgent = slots.any(is_urgent);
        let alone = any_urgent && !everything && !pressed && !self.others_are_next;
        let mut due: Vec<(bool, std::cmp::Reverse<usize>, LogTime, usize)> = all
            .filter(|(_, slot)| slot.is_healthy() && slot.dirty_from.is_some())
            .filter(|(_, slot)| {
                everything || pressed || slot.urgent || now.0 - slot.saved_at.0 >= interval
            })
            .map(|(index, slot)| {
                let heavy = if pressed { slot.weight } else { 0 };
                (!slot.urgent, std::cmp::Reverse(heavy), slot.saved_at, index)
            })
            .collect();
        due.sort_unstable();
        if pressed {
            // A few of those unsaved for longest go before the others that are not urgent.
            let mut others: Vec<_> = due.iter().copied().filter(|(other, ..)| *other).collect();
            others.sort_unstable_by_key(|(_, _, saved_at, index)| (*saved_at, *index));
            let mut oldest = others[..others.len().min(super::OLDEST)].to_vec();
            oldest.sort_unstable();
            due.retain(|slot| !oldest.contains(slot));
            let at = due.iter().take_while(|(other, ..)| !*other).count();
            due.splice(at..at, oldest);
        }
        let found = due.len();
        due.retain(|(is_other, ..)| !(alone && *is_other));
        self.others_are_next = due.len() < found;
        self.under_way = !due.is_empty();
        let mut due: Vec<usize> = due.into_iter().map(|(.., index)| index).collect();
        // The intake processor goes into every commit when it is dirty: a record that was
        // dead-lettered for an unknown schema must be saved no later than what a robot concluded
        // after it, for at the next reading the schema may be known.
        let intake = self.intake.dirty_from.is_some().then_some(INTAKE_SLOT);
        if !due.is_empty() {
            for first in [control, intake].into_iter().flatten() {
                due.retain(|slot| *slot != first);
                due.insert(0, first);
            }
        }
        due
    }

    /// The lowest position whose rows are in no snapshot taken so far; `here` when all are.
    pub(super) fn floor(&self, here: &Positions) -> Positions {
        let unsaved = self
            .slots
            .iter()
            .chain([&self.intake])
            .filter_map(|slot| slot.dirty_from.as_ref());
        unsaved.fold(here.clone(), |floor, from| floor.lowest(from))
    }

    fn unsaved_bytes(&self) -> usize {
        self.slots
            .iter()
            .chain([&self.intake])
            .map(|slot| slot.weight)
            .sum()
    }
}
