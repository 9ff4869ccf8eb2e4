//! Where what is unsaved begins, kept so that the lowest of it needs no look at all processors.

use std::collections::BTreeMap;

use theatre_actors::position::Positions;

/// Positions from which on something is unsaved, each with the number of processors of which it is.
/// None is above one that came later in any topic: a partition reads forward.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    /// By numbers in the order in which they came; only those that some processor has.
    counted: BTreeMap<u64, (Positions, usize)>,
    /// The number of the next one.
    next: u64,
}

impl Beginnings {
    /// Notes that a processor has something unsaved from `from` on; returns the number of it.
    pub(super) fn add(&mut self, from: &Positions) -> u64 {
        let last = self
            .counted
            .last_entry()
            .map(|last| (*last.key(), last.into_mut()));
        match last {
            Some((number, (last, count))) if last == from => {
                *count += 1;
                return number;
            }
            Some((_, (last, _))) if !from.covers(last) => self.lower_to(from),
            _ => {}
        }
        let number = self.next;
        self.next += 1;
        self.counted.insert(number, (from.clone(), 1));
        number
    }

    /// The floor must never be too high; that it may be too low for a while costs reading only.
    fn lower_to(&mut self, from: &Positions) {
        let above = self.counted.values_mut().rev();
        for (earlier, _) in above.take_while(|(earlier, _)| !from.covers(earlier)) {
            *earlier = earlier.lowest(from);
        }
    }

    /// What a processor had unsaved from this one on is in a snapshot.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some((_, count)) = self.counted.get_mut(&number) {
            *count -= 1;
            if *count == 0 {
                self.counted.remove(&number);
            }
        }
    }

    /// One that was added and not removed.
    pub(super) fn get(&self, number: u64) -> Option<&Positions> {
        self.counted.get(&number).map(|(from, _)| from)
    }

    /// The lowest of all.
    pub(super) fn lowest(&self) -> Option<&Positions> {
        self.counted.values().next().map(|(from, _)| from)
    }
}
