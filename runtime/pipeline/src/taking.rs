//! Partitions that this process was given and has not restored yet. A process that starts is not
//! ready before the last of them is: what asks it, or waits for it before the next process is
//! restarted, would find a fleet without robots.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use theatre_actors::position::Partition;

/// Partitions in the state of being taken, each with its processors restored so far and all of
/// them.
#[derive(Debug, Default)]
pub(super) struct Taking(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<Partition, (usize, usize)>,
    /// Once all that was given was taken, the process is up: a partition that comes from another
    /// process later holds up none of the others.
    has_started: bool,
}

impl Taking {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a partition was given, and how many of its processors are restored.
    pub(super) fn note(&self, partition: Partition, restored: usize, of: usize) {
        self.lock().partitions.insert(partition, (restored, of));
    }

    /// Notes that a partition runs.
    pub(super) fn taken(&self, partition: Partition) {
        let mut state = self.lock();
        let was_taken = state.partitions.remove(&partition).is_some();
        state.has_started |= was_taken && state.partitions.is_empty();
    }

    /// Forgets a partition that was left before it ran.
    pub(super) fn left(&self, partition: Partition) {
        self.lock().partitions.remove(&partition);
    }

    /// Why a process that starts is not ready yet.
    pub(super) fn unready(&self) -> Option<String> {
        let state = self.lock();
        (!state.has_started).then(|| state.describe()).flatten()
    }

    /// What a process that is up takes over just then.
    pub(super) fn notice(&self) -> Option<String> {
        let state = self.lock();
        state.has_started.then(|| state.describe()).flatten()
    }
}

impl State {
    fn describe(&self) -> Option<String> {
        let (mut restored, mut of) = (0, 0);
        for (done, all) in self.partitions.values() {
            restored += done;
            of += all;
        }
        let numbers: Vec<String> = self.partitions.keys().map(ToString::to_string).collect();
        let partitions = numbers.join(", ");
        match (self.partitions.is_empty(), of) {
            (true, _) => None,
            (false, 0) => Some(format!("taking partitions {partitions}")),
            (false, _) => Some(format!(
                "taking partitions {partitions}: {restored} of {of} processors are restored"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_up_once_all_that_it_was_given_runs() {
        let taking = Taking::default();
        assert_eq!((taking.unready(), taking.notice()), (None, None));
        taking.note(0, 0, 0);
        taking.note(3, 0, 0);
        assert_eq!(taking.unready().as_deref(), Some("taking partitions 0, 3"));
        taking.note(3, 256, 1000);
        taking.taken(0);
        assert_eq!(
            taking.unready().as_deref(),
            Some("taking partitions 3: 256 of 1000 processors are restored")
        );
        taking.taken(3);
        assert_eq!((taking.unready(), taking.notice()), (None, None));
        taking.note(7, 0, 0);
        assert_eq!(
            (taking.unready(), taking.notice().as_deref()),
            (None, Some("taking partitions 7"))
        );
        taking.left(7);
        assert_eq!(taking.notice(), None);
    }

    #[test]
    fn a_partition_that_is_left_before_it_ran_does_not_count_as_a_start() {
        let taking = Taking::default();
        taking.note(0, 0, 0);
        taking.left(0);
        assert_eq!(taking.unready(), None);
        taking.note(1, 0, 0);
        assert_eq!(taking.unready().as_deref(), Some("taking partitions 1"));
    }
}
