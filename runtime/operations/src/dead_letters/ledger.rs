//! What was sent again, as the store has it: only what is asked for is held.

use std::collections::HashMap;

use theatre_actors::ports::{CheckpointStore, DeadReplay, PlaceInLog, Result, StoredDead};
use theatre_actors::position::{Partition, TopicIndex};

/// The replays of the dead letters at hand, and those that were in doubt.
pub(super) struct Ledger<'a> {
    store: &'a dyn CheckpointStore,
    /// Those that were in doubt, as they were found; `None`: no copy is in the log. A look does not
    /// note it in the store.
    settled: HashMap<(Partition, u64), Option<DeadReplay>>,
    /// Of the page at hand, by their dead letters.
    by_letter: HashMap<(Partition, u64), DeadReplay>,
    /// How often what stands at a place was sent, of the page at hand and of what was in doubt.
    by_copy: HashMap<PlaceInLog, u32>,
    /// Copies that were in doubt.
    found: HashMap<PlaceInLog, u32>,
}

impl<'a> Ledger<'a> {
    pub(super) fn of_store(store: &'a dyn CheckpointStore) -> Self {
        Self {
            store,
            settled: HashMap::new(),
            by_letter: HashMap::new(),
            by_copy: HashMap::new(),
            found: HashMap::new(),
        }
    }

    /// Those of which it is not known whether the copy is in the log.
    pub(super) fn in_doubt(&self) -> Result<Vec<DeadReplay>> {
        self.store.dead_replays_in_doubt()
    }

    /// Notes what was found of one that was in doubt.
    pub(super) fn settle(&mut self, replay: DeadReplay) {
        if let Some(offset) = replay.offset {
            let copy = (replay.topic, replay.to, offset);
            self.found.insert(copy, replay.count);
        }
        let letter = (replay.partition, replay.sequence);
        self.settled.insert(letter, Some(replay));
    }

    /// Notes that no copy of one that was in doubt is in the log: it is as if it had not begun.
    pub(super) fn forget(&mut self, letter: (Partition, u64)) {
        self.settled.insert(letter, None);
    }

    /// Asks for what is known of these dead letters; those before are forgotten.
    pub(super) fn turn_to(&mut self, page: &[StoredDead]) -> Result<()> {
        let letter = |stored: &StoredDead| (stored.partition, stored.sequence);
        let letters: Vec<_> = page.iter().map(letter).collect();
        let places: Vec<_> = page.iter().map(place).collect();
        let of_letters = self.store.dead_replays(&letters)?.into_iter();
        self.by_letter = of_letters
            .map(|replay| ((replay.partition, replay.sequence), replay))
            .collect();
        for (letter, replay) in &self.settled {
            match replay {
                Some(replay) => self.by_letter.insert(*letter, replay.clone()),
                None => self.by_letter.remove(letter),
            };
        }
        let of_copies = self.store.dead_replays_at(&places)?.into_iter();
        self.by_copy = of_copies
            .filter_map(|replay| Some(((replay.topic, replay.to, replay.offset?), replay.count)))
            .collect();
        self.by_copy.extend(&self.found);
        Ok(())
    }

    /// The replay of a dead letter of the page at hand.
    pub(super) fn of(&self, stored: &StoredDead) -> Option<&DeadReplay> {
        self.by_letter.get(&(stored.partition, stored.sequence))
    }

    /// How often the record of a dead letter of the page at hand was sent again before it died.
    pub(super) fn count(&self, stored: &StoredDead) -> u32 {
        self.by_copy.get(&place(stored)).copied().unwrap_or(0)
    }

    /// Whether a place holds a copy that is known.
    pub(super) fn is_copy(&self, place: PlaceInLog) -> Result<bool> {
        let is_found = self.found.contains_key(&place);
        Ok(is_found || !self.store.dead_replays_at(&[place])?.is_empty())
    }

    /// The topic partitions of such replays, with the lowest offset at which a copy may stand.
    pub(super) fn ranges(replays: &[DeadReplay]) -> Vec<(TopicIndex, Partition, u64)> {
        let mut lowest: HashMap<(TopicIndex, Partition), u64> = HashMap::new();
        for replay in replays {
            let after = lowest.entry((replay.topic, replay.to)).or_insert(u64::MAX);
            *after = replay.after.min(*after);
        }
        let mut ranges: Vec<_> = lowest
            .into_iter()
            .map(|((topic, to), after)| (topic, to, after))
            .collect();
        ranges.sort_unstable();
        ranges
    }
}

/// Where the record of a dead letter stands.
fn place(stored: &StoredDead) -> PlaceInLog {
    (stored.dead.topic, stored.partition, stored.dead.offset)
}
