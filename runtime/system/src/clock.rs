//! The system's clock: the one place that reads wall-clock time.

use std::time::{SystemTime, UNIX_EPOCH};

use theatre_actors::time::{Clock, LogTime};

/// Wall-clock time of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> LogTime {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        LogTime(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}
