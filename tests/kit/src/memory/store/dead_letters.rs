//! What is done about dead letters.

use std::ops::Range;

use theatre_actors::ports::{DeadLetterStore, DeadReplay, Error, PlaceInLog, Result, StoredDead};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::time::LogTime;

use super::super::lock;
use super::MemoryStore;

impl MemoryStore {
    fn replays(&self, is_asked: impl Fn(&DeadReplay) -> bool) -> Vec<DeadReplay> {
        let state = lock(&self.state);
        let found = state.replays.values().filter(|replay| is_asked(replay));
        found.cloned().collect()
    }
}

impl DeadLetterStore for MemoryStore {
    fn begin_dead_replays(&self, replays: &[DeadReplay]) -> Result<Vec<(Partition, u64)>> {
        let mut state = lock(&self.state);
        let mut begun = state.replays.clone();
        let mut erased = Vec::new();
        let is_erased = |key: (Partition, u64)| {
            let known = state.partitions.get(&key.0);
            let mut dead = known.into_iter().flat_map(|known| &known.dead);
            dead.any(|stored| stored.sequence == key.1 && stored.purged_at.is_some())
        };
        for replay in replays {
            let key = (replay.partition, replay.sequence);
            if is_erased(key) {
                erased.push(key);
                continue;
            }
            if begun.insert(key, replay.clone()).is_some() {
                let what = "the replay of a dead letter";
                return Err(Error::overtaken(replay.partition, what));
            }
        }
        state.replays = begun;
        Ok(erased)
    }

    fn forget_dead_replays(&self, absent: &[(Partition, u64)]) -> Result<()> {
        let is_kept = |key: &(Partition, u64), it: &mut DeadReplay| {
            it.offset.is_some() || !absent.contains(key)
        };
        lock(&self.state).replays.retain(is_kept);
        Ok(())
    }

    fn finish_dead_replays(&self, sent: &[(Partition, u64, u64)]) -> Result<()> {
        let mut state = lock(&self.state);
        for (partition, sequence, offset) in sent {
            if let Some(replay) = state.replays.get_mut(&(*partition, *sequence)) {
                replay.offset = Some(*offset);
            }
        }
        Ok(())
    }

    fn dead_replays(&self, dead: &[(Partition, u64)]) -> Result<Vec<DeadReplay>> {
        let is_asked = |it: &DeadReplay| dead.contains(&(it.partition, it.sequence));
        Ok(self.replays(is_asked))
    }

    fn dead_replays_in_doubt(&self) -> Result<Vec<DeadReplay>> {
        Ok(self.replays(|it| it.offset.is_none()))
    }

    fn dead_replays_at(&self, places: &[PlaceInLog]) -> Result<Vec<DeadReplay>> {
        let place = |it: &DeadReplay| it.offset.map(|offset| (it.topic, it.to, offset));
        Ok(self.replays(|it| place(it).is_some_and(|place| places.contains(&place))))
    }

    fn dead_replays_within(
        &self,
        topic: TopicIndex,
        to: Partition,
        offsets: Range<u64>,
    ) -> Result<Vec<DeadReplay>> {
        let is_within = |it: &DeadReplay| {
            (it.topic, it.to) == (topic, to) && it.offset.is_some_and(|at| offsets.contains(&at))
        };
        let mut found = self.replays(is_within);
        found.sort_by_key(|replay| replay.offset);
        Ok(found)
    }

    fn purge_dead(&self, dead: &[(Partition, u64)], at: LogTime) -> Result<u64> {
        let mut state = lock(&self.state);
        let all = (state.partitions.values_mut()).flat_map(|known| &mut known.dead);
        let wanted = all.filter(|stored| {
            stored.purged_at.is_none() && dead.contains(&(stored.partition, stored.sequence))
        });
        let erase = |stored: &mut StoredDead| {
            stored.dead = stored.dead.clone().erased();
            stored.purged_at = Some(at);
        };
        Ok(wanted.map(erase).count() as u64)
    }
}
