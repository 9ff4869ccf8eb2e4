//! How a component is kept going: step, rest, back off, give up.

use std::time::Duration;

use theatre_actors::ports::{Epoch, Error, Result};
use theatre_actors::position::Partition;

use super::Progress;

/// What follows a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Another one.
    On,
    /// Another one; whether what has failed before works again is not known yet.
    Trying,
    /// Nothing is left to do, ever.
    Done,
}

pub(super) const ON: Flow = Flow::On;
pub(super) const TRYING: Flow = Flow::Trying;
pub(super) const DONE: Flow = Flow::Done;

/// How long a component rests that found nothing to do and may be woken.
pub(super) const IDLE: Duration = Duration::from_millis(50);
/// The first pause after a passing fault; it doubles with each further one.
pub(super) const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// The same for one that is refused: only a person can help, who takes his time, and it goes on by itself afterwards.
const REFUSED_FIRST: Duration = Duration::from_secs(1);
const REFUSED_MAX: Duration = Duration::from_secs(30);

/// What a component does that is refused.
pub(super) enum Refused<'a> {
    /// It stops, and what belongs to it.
    Stops,
    /// Nobody waits for it: it is named and tried again, until it works or the partition is left.
    Waits(&'a dyn Fn() -> bool),
}

/// What is kept stepping, and where its troubles are told.
pub(super) struct Component<'a> {
    pub(super) name: &'a str,
    pub(super) progress: &'a Progress,
    /// One that may outlast its partition tells them only as long as the partition is held under this epoch.
    pub(super) held: Option<(Partition, Epoch)>,
    pub(super) refused: Refused<'a>,
}

impl Component<'_> {
    fn tell(&self, tell: impl FnOnce(&Progress)) {
        match self.held {
            Some((partition, epoch)) => self.progress.tell_under(partition, epoch, tell),
            None => tell(self.progress),
        }
    }

    fn trouble(&self, trouble: Option<String>) {
        self.tell(|progress| progress.set_trouble(self.name, trouble));
    }

    fn refused(&self, error: &Error) {
        self.tell(|progress| progress.set_refused(self.name, &error.to_string()));
    }

    /// What troubled it, if anything did, is over.
    fn well(&self, troubled: bool) {
        if troubled {
            self.trouble(None);
        }
    }
}

/// Rests for so long, or until somebody presses: looked at in slices, after the first of them.
pub(super) fn rest(limit: Duration, pressed: impl Fn() -> bool) {
    let mut rested = Duration::ZERO;
    while rested < limit && (rested.is_zero() || !pressed()) {
        std::thread::sleep(IDLE);
        rested += IDLE;
    }
}

/// Steps until a step was the last, until `given_up` says so, or until one fails for good; the failure is returned and stays noted.
pub(super) fn keep_stepping(component: &Component<'_>, given_up: impl Fn() -> bool, mut step: impl FnMut() -> Result<Flow>) -> Option<Error> {
    let name = component.name;
    let (mut passing, mut refused) = (BACK_OFF_FIRST, REFUSED_FIRST);
    let mut troubled = false;
    while !given_up() {
        match (step(), &component.refused) {
            (Ok(Flow::Done), _) => {
                component.well(troubled);
                break;
            }
            (Ok(Flow::Trying), _) if troubled => {}
            (Ok(Flow::On | Flow::Trying), _) => {
                component.well(std::mem::take(&mut troubled));
                (passing, refused) = (BACK_OFF_FIRST, REFUSED_FIRST);
            }
            (Err(error @ Error::Unavailable { .. }), _) => {
                tracing::warn!(component = name, %error, "a step failed and is tried again");
                component.trouble(Some(error.to_string()));
                troubled = true;
                std::thread::sleep(passing);
                passing = (passing * 2).min(BACK_OFF_MAX);
            }
            (Err(error @ (Error::Refused(_) | Error::Gone(_) | Error::Trimmed { .. })), Refused::Waits(leaving)) => {
                tracing::error!(component = name, %error, again_after = ?refused, "a component is refused and tried again later");
                component.refused(&error);
                troubled = true;
                rest(refused, || given_up() || leaving());
                if leaving() {
                    tracing::warn!(component = name, "it is left as it is: the next owner goes on from what is registered");
                    break;
                }
                refused = (refused * 2).min(REFUSED_MAX);
            }
            (Err(error), _) => {
                tracing::error!(component = name, %error, "a component stopped");
                component.trouble(Some(error.to_string()));
                // A lost partition is taken again; anything else is not tried again.
                if !matches!(error, Error::StaleEpoch { .. }) {
                    component.tell(|progress| progress.set_failed(name, &error.to_string()));
                }
                return Some(error);
            }
        }
    }
    None
}
