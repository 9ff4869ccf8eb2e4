//! What was sent again, as the store has it.

use std::collections::HashMap;

use theatre_actors::ports::{CheckpointStore, DeadReplay, Result, StoredDead};
use theatre_actors::position::{Partition, TopicIndex};

/// A place in the log: topic, partition, offset.
pub(super) type PlaceInLog = (TopicIndex, Partition, u64);

/// All replays, by their dead letters and by where the copies stand.
pub(super) struct Ledger {
    by_letter: HashMap<(Partition, u64), DeadReplay>,
    by_copy: HashMap<PlaceInLog, u32>,
}

impl Ledger {
    pub(super) fn read(store: &dyn CheckpointStore) -> Result<Self> {
        let mut ledger = Self {
            by_letter: HashMap::new(),
            by_copy: HashMap::new(),
        };
        for replay in store.dead_replays()? {
            ledger.note(replay);
        }
        Ok(ledger)
    }

    pub(super) fn note(&mut self, replay: DeadReplay) {
        if let Some(offset) = replay.offset {
            let copy = (replay.topic, replay.to, offset);
            self.by_copy.insert(copy, replay.count);
        }
        self.by_letter
            .insert((replay.partition, replay.sequence), replay);
    }

    /// The replay of a dead letter.
    pub(super) fn of(&self, stored: &StoredDead) -> Option<&DeadReplay> {
        self.by_letter.get(&(stored.partition, stored.sequence))
    }

    /// How often the record of a dead letter was sent again before it died.
    pub(super) fn count(&self, stored: &StoredDead) -> u32 {
        let place = (stored.dead.topic, stored.partition, stored.dead.offset);
        self.by_copy.get(&place).copied().unwrap_or(0)
    }

    /// Whether a place holds a copy that is known.
    pub(super) fn is_copy(&self, place: PlaceInLog) -> bool {
        self.by_copy.contains_key(&place)
    }

    /// Those of which it is not known whether the copy is in the log.
    pub(super) fn in_doubt(&self) -> Vec<DeadReplay> {
        let mut found: Vec<DeadReplay> = self.by_letter.values().cloned().collect();
        found.retain(|replay| replay.offset.is_none());
        found.sort_by_key(|replay| (replay.partition, replay.sequence));
        found
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
