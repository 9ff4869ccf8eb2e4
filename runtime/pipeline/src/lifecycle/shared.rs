//! A partition's life as its threads share it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Command, Event, Life, Phase, Transition};
use crate::queue::Notifier;

/// A partition's life, shared by those who run it.
#[derive(Debug)]
pub struct Lifecycle {
    state: Mutex<State>,
    transition: Transition,
    /// Rung at every change.
    changed: Notifier,
    /// Rung as well: what the partition itself waits for.
    notifier: Arc<Notifier>,
}

#[derive(Debug)]
struct State {
    life: Life,
    commands: VecDeque<Command>,
}

impl Lifecycle {
    /// A partition that is to be taken; `notifier` wakes its thread.
    pub fn new(notifier: Arc<Notifier>, transition: Transition) -> Arc<Self> {
        let state = State {
            life: Life::new(0),
            commands: VecDeque::from([Command::Acquire]),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            transition,
            changed: Notifier::default(),
            notifier,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stands.
    pub fn now(&self) -> Life {
        self.lock().life
    }

    /// Something happened.
    pub fn send(&self, event: Event) {
        self.send_if(event, |_| true);
    }

    /// The next command to carry out.
    pub fn command(&self) -> Option<Command> {
        self.lock().commands.pop_front()
    }

    /// The present tenure, to be held by its components.
    pub fn tenure(self: &Arc<Self>) -> Tenure {
        let number = self.now().tenure;
        Tenure {
            lifecycle: self.clone(),
            number,
        }
    }

    /// How often it has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changed.count()
    }

    /// Waits until it has changed more often than `seen`, at most for `limit`.
    pub(crate) fn wait(&self, seen: u64, limit: Duration) {
        self.changed.wait(seen, limit);
    }

    fn send_if(&self, event: Event, holds: impl FnOnce(Life) -> bool) {
        {
            let mut state = self.lock();
            if !holds(state.life) {
                return;
            }
            let (life, commands) = (self.transition)(state.life, event);
            if life == state.life && commands.is_empty() {
                return;
            }
            state.life = life;
            state.commands.extend(commands);
        }
        self.changed.ring();
        self.notifier.ring();
    }
}

/// A partition's life as the components of one tenure see it: to one that outlasts its tenure, as
/// a loader may, the partition is lost, and stays so should it be taken again.
#[derive(Debug, Clone)]
pub struct Tenure {
    lifecycle: Arc<Lifecycle>,
    number: u64,
}

impl Tenure {
    /// Where the partition stands.
    pub fn now(&self) -> Life {
        let life = self.lifecycle.now();
        if life.tenure == self.number {
            life
        } else {
            Life {
                phase: Phase::Lost,
                ..life
            }
        }
    }

    /// Something happened to the partition under this tenure; it matters only while that lasts.
    pub fn send(&self, event: Event) {
        self.lifecycle
            .send_if(event, |life| life.tenure == self.number);
    }
}
