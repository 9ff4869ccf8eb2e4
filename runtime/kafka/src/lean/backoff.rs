//! Pauses between attempts: each twice as long as the last, and none quite as long as another
//! process's.

use std::time::Duration;

use super::settings::Settings;

/// Pauses within bounds.
#[derive(Debug)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    pause: Duration,
}

impl Backoff {
    /// Between connections.
    pub(super) fn new(settings: &Settings) -> Self {
        Self::between(settings.reconnect_min, settings.reconnect_max)
    }

    /// Within these bounds.
    pub(super) fn between(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most: most.max(least),
            pause: least,
        }
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(self.most);
        pause.mul_f64(rand::random_range(0.8..1.2))
    }

    /// The longest pause, after a refusal that will hardly pass.
    pub(super) fn longest(&mut self) -> Duration {
        self.pause = self.most;
        self.next()
    }

    /// Begins anew after a success.
    pub(super) fn reset(&mut self) {
        self.pause = self.least;
    }
}
