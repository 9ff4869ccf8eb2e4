//! The end of a command that works in steps, asked for by a signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use theatre_actors::ports::Error;
use theatre_operations::lease::Lease;

use super::Failure;

/// A stop that was asked for: the work ends between two steps.
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens to signals from now on.
    pub(super) fn listen() -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The second signal ends at once, with the code for it; the first is a request.
            signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
            signal_hook::flag::register(signal, stop.clone())?;
        }
        Ok(Self(stop))
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Before each step: goes on while the lease is held and no stop is asked for.
    pub(super) fn hold(&self, lease: &mut Lease<'_>) -> Result<(), Error> {
        if self.is_asked_for() {
            return Err(Error::Refused("interrupted".to_owned()));
        }
        lease.hold()
    }
}
