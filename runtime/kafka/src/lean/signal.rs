//! Wakes a thread that waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A signal that is kept until it is seen.
#[derive(Debug, Default)]
pub(super) struct Signal {
    is_rung: Mutex<bool>,
    rung: Condvar,
    is_awaited: AtomicBool,
}

impl Signal {
    /// Wakes the thread that waits, or the next one that will.
    pub(super) fn ring(&self) {
        *self.is_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rung.notify_all();
    }

    /// Wakes the thread only if it waits: what has changed is looked at in any case before it does.
    pub(super) fn ring_if_awaited(&self) {
        if self.is_awaited.load(Ordering::Acquire) {
            self.ring();
        }
    }

    /// Announces that this thread will look at what others change, and wait if it finds nothing.
    pub(super) fn expect(&self) {
        self.is_awaited.store(true, Ordering::Release);
    }

    /// Announces that this thread found something to do.
    pub(super) fn expect_none(&self) {
        self.is_awaited.store(false, Ordering::Release);
    }

    /// Waits for a signal, for as long as `most`; true if there was one.
    pub(super) fn wait(&self, most: Duration) -> bool {
        let is_rung = self.is_rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut is_rung, _) = self
            .rung
            .wait_timeout_while(is_rung, most, |is_rung| !*is_rung)
            .unwrap_or_else(PoisonError::into_inner);
        self.is_awaited.store(false, Ordering::Release);
        std::mem::take(&mut *is_rung)
    }

    /// Waits for the whole time, whatever rings, and lets a signal stand; ends early with the log.
    pub(super) fn pause(&self, time: Duration, ended: &AtomicBool) {
        let until = Instant::now() + time;
        let mut is_rung = false;
        while !ended.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            is_rung |= self.wait(left);
        }
        if is_rung {
            self.ring();
        }
    }
}
