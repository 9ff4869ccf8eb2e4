//! Where what is unsaved begins, kept so that the lowest of it needs no look at all processors.

use std::collections::VecDeque;

use theatre_actors::position::Positions;

/// Positions from which on something is unsaved, each with the number of processors of which it is.
/// None is above one that came later in any topic: a partition reads forward.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    /// The number of the first of them; they are numbered in the order in which they came.
    first: u64,
    counted: VecDeque<(Positions, usize)>,
}

impl Beginnings {
    /// Notes that a processor has something unsaved from `from` on; returns the number of it.
    pub(super) fn add(&mut self, from: &Positions) -> u64 {
        match self.counted.back_mut() {
            Some((last, count)) if last == from => *count += 1,
            last => {
                if last.is_some_and(|(last, _)| !from.covers(last)) {
                    self.lower_to(from);
                }
                self.counted.push_back((from.clone(), 1));
            }
        }
        self.first + self.counted.len() as u64 - 1
    }

    /// The floor must never be too high; that it may be too low for a while costs reading only.
    fn lower_to(&mut self, from: &Positions) {
        let above = self.counted.iter_mut().rev();
        for (earlier, _) in above.take_while(|(earlier, _)| !from.covers(earlier)) {
            *earlier = earlier.lowest(from);
        }
    }

    /// What a processor had unsaved from this one on is in a snapshot.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some((_, count)) = self.counted.get_mut((number - self.first) as usize) {
            *count -= 1;
        }
        while self.counted.front().is_some_and(|(_, count)| *count == 0) {
            self.counted.pop_front();
            self.first += 1;
        }
    }

    /// One that was added and not removed.
    pub(super) fn get(&self, number: u64) -> Option<&Positions> {
        let (from, _) = self.counted.get((number - self.first) as usize)?;
        Some(from)
    }

    /// The lowest of all.
    pub(super) fn lowest(&self) -> Option<&Positions> {
        self.counted.front().map(|(from, _)| from)
    }
}
