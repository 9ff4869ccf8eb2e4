//! Pauses between attempts: each twice as long as the last, and none quite as long as another
//! process's.

use std::time::Duration;

use super::settings::Settings;

/// Least pause after a refusal.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

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

    /// The pause after a refusal, which will hardly pass soon.
    pub(super) fn after_refusal(&self) -> Duration {
        self.most
            .max(REFUSED_PAUSE)
            .mul_f64(rand::random_range(0.8..1.2))
    }

    /// Begins anew after a success.
    pub(super) fn reset(&mut self) {
        self.pause = self.least;
    }
}
