//! Answers on their way to the thread that asked many processors at once: it is woken once, by the
//! last of them.
//!
//! A sender that is dropped without an answer, with a mailbox that died, counts as well, so the
//! wait always ends.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

struct State<T> {
    answers: Vec<(usize, T)>,
    outstanding: usize,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    complete: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts answers in the order of their slots.
pub(super) fn by_slot<T>(answers: impl Iterator<Item = (usize, T)>) -> Vec<(usize, T)> {
    let mut answers: Vec<(usize, T)> = answers.collect();
    answers.sort_by_key(|(slot, _)| *slot);
    answers
}

/// What one thread gathers.
pub(super) struct Join<T>(Arc<Shared<T>>);

/// The right to answer once, for a slot.
pub(super) struct ReplySender<T> {
    slot: usize,
    value: Option<T>,
    shared: Arc<Shared<T>>,
}

impl<T> Join<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                answers: Vec::new(),
                outstanding: 0,
            }),
            complete: Condvar::new(),
        }))
    }

    /// One more answer to wait for.
    pub(super) fn answer(&self, slot: usize) -> ReplySender<T> {
        self.0.lock().outstanding += 1;
        ReplySender {
            slot,
            value: None,
            shared: self.0.clone(),
        }
    }

    /// Waits until all have answered or can not; the answers are in the order in which they came.
    pub(super) fn wait(self) -> Vec<(usize, T)> {
        let state = self.0.lock();
        let complete = self
            .0
            .complete
            .wait_while(state, |state| state.outstanding > 0);
        std::mem::take(&mut complete.unwrap_or_else(PoisonError::into_inner).answers)
    }
}

impl<T> ReplySender<T> {
    pub(super) fn send(mut self, value: T) {
        self.value = Some(value);
    }
}

impl<T> Drop for ReplySender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let slot = self.slot;
        state
            .answers
            .extend(self.value.take().map(|value| (slot, value)));
        state.outstanding -= 1;
        if state.outstanding == 0 {
            self.shared.complete.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Join;

    #[test]
    fn the_last_answer_ends_the_wait_and_a_dropped_one_is_not_waited_for() {
        let join = Join::new();
        let answers: Vec<_> = (0..3).map(|slot| join.answer(slot)).collect();
        let threads: Vec<_> = answers
            .into_iter()
            .enumerate()
            .map(|(index, answer)| {
                std::thread::spawn(move || {
                    if index == 1 {
                        drop(answer)
                    } else {
                        answer.send(index * 10)
                    }
                })
            })
            .collect();
        let mut given = join.wait();
        given.sort_unstable();
        assert_eq!(given, [(0, 0), (2, 20)]);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_join_without_senders_does_not_wait() {
        assert!(Join::<()>::new().wait().is_empty());
    }
}
