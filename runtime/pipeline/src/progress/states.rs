//! Where each partition of this process is in its life, for people: metrics have no number for it.

use std::sync::{Arc, Weak};

use theatre_actors::ports::Epoch;
use theatre_actors::position::{Partition, Positions};

use super::Progress;
use crate::lifecycle::{Lifecycle, Phase};

/// A partition as a person sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionState {
    /// The partition.
    pub partition: Partition,
    /// What it goes through.
    pub phase: Phase,
    /// The epoch under which it is held; 0 before it is.
    pub epoch: Epoch,
    /// Live processors.
    pub processors: u64,
    /// Offsets of all inputs that are read and not saved.
    pub unsaved: u64,
    /// When its last commit ended, microseconds UTC; 0 before the first.
    pub saved_at: i64,
}

impl Progress {
    /// Shows the partition's life from now on, until it is dropped.
    pub(crate) fn watch(&self, partition: Partition, life: &Arc<Lifecycle>) {
        self.lives.insert(partition, Arc::downgrade(life));
    }

    /// The partitions that this process has or is taking, in order.
    pub fn states(&self) -> Vec<PartitionState> {
        self.lives.retain(|_, life| life.strong_count() > 0);
        let lives = self.lives.iter();
        let lives = lives.filter_map(|entry| Some((*entry.key(), Weak::upgrade(entry.value())?)));
        let mut states: Vec<PartitionState> = lives
            .map(|(partition, life)| {
                let share = self.share(partition);
                PartitionState {
                    partition,
                    phase: life.now().phase,
                    epoch: share.epoch,
                    processors: share.processors,
                    unsaved: distance(&share.saved.positions, &share.read.positions),
                    saved_at: share.saved_at,
                }
            })
            .collect();
        states.sort_by_key(|state| state.partition);
        states
    }
}

/// Offsets between two positions, over all topics.
fn distance(from: &Positions, to: &Positions) -> u64 {
    let to = to.as_slice().iter().enumerate();
    to.map(|(topic, to)| to.saturating_sub(from.get(topic)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Event, next};
    use crate::queue::Notifier;

    #[test]
    fn a_partition_is_shown_from_its_taking_until_it_is_dropped() {
        let progress = Progress::default();
        assert!(progress.states().is_empty());
        let life = Lifecycle::new(Arc::new(Notifier::default()), next);
        progress.watch(3, &life);
        assert_eq!(progress.states()[0].phase, Phase::Acquiring);
        life.send(Event::Acquired);
        progress.update(3, |share| {
            share.epoch = 7;
            share.saved_at = 5;
            share.read.positions = Positions::from(vec![10, 4]);
            share.saved.positions = Positions::from(vec![7, 4]);
        });
        let state = &progress.states()[0];
        assert_eq!(
            (state.partition, state.phase, state.epoch, state.unsaved),
            (3, Phase::Verifying, 7, 3)
        );
        drop(life);
        assert!(progress.states().is_empty());
    }
}
