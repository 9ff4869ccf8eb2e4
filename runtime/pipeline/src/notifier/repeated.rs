//! When a receiver is sent again what still holds.

use std::time::Duration;

use theatre_actors::time::LogTime;

/// After a failure it is sent so much later at most, microseconds.
const AFTER_FAILURE_US: i64 = 30_000_000;

/// The time of it.
pub(super) struct Repeated {
    every_us: Option<i64>,
    due: LogTime,
    has_failed: bool,
}

impl Repeated {
    /// Due at once: who begins to deliver does not know what the receiver still has.
    pub(super) fn new(every: Option<Duration>) -> Self {
        let micros = |every: Duration| i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
        Self {
            every_us: every.map(micros),
            due: LogTime(i64::MIN),
            has_failed: false,
        }
    }

    pub(super) fn is_due(&self, now: LogTime) -> bool {
        self.every_us.is_some() && now >= self.due
    }

    /// What came of it.
    pub(super) fn note(&mut self, now: LogTime, has_failed: bool) {
        let every = self.every_us.unwrap_or(i64::MAX);
        let pause = if has_failed {
            every.min(AFTER_FAILURE_US)
        } else {
            every
        };
        self.due = LogTime(now.0.saturating_add(pause));
        self.has_failed = has_failed;
    }

    /// Whether it failed the last time.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }
}
