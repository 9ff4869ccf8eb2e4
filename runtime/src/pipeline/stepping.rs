//! How a component is kept going: step, rest, back off, give up.

use std::ops::ControlFlow;
use std::time::Duration;

use theatre_actors::ports::{Epoch, Error, Result};
use theatre_actors::position::Partition;

use super::Progress;

/// What follows a step: another one, or the end of the component.
pub(super) type Flow = ControlFlow<()>;
/// Step again.
pub(super) const ON: Flow = ControlFlow::Continue(());
/// Nothing is left to do, ever.
pub(super) const DONE: Flow = ControlFlow::Break(());

/// How long a component rests that found nothing to do and may be woken.
pub(super) const IDLE: Duration = Duration::from_millis(50);
/// The first pause after a passing fault; it doubles with each further one.
pub(super) const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// What is kept stepping, and where its troubles are told.
pub(super) struct Component<'a> {
    pub(super) name: &'a str,
    pub(super) progress: &'a Progress,
    /// One that may outlast its partition tells them only as long as the partition is held under this epoch.
    pub(super) held: Option<(Partition, Epoch)>,
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
    let mut back_off = BACK_OFF_FIRST;
    let mut troubled = false;
    while !given_up() {
        match step() {
            Ok(flow) => {
                if std::mem::take(&mut troubled) {
                    component.trouble(None);
                }
                if flow.is_break() {
                    break;
                }
                back_off = BACK_OFF_FIRST;
            }
            Err(error @ Error::Unavailable { .. }) => {
                tracing::warn!(component = name, %error, "a step failed and is tried again");
                component.trouble(Some(error.to_string()));
                troubled = true;
                std::thread::sleep(back_off);
                back_off = (back_off * 2).min(BACK_OFF_MAX);
            }
            Err(error) => {
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
