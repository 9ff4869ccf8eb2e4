//! How a component is kept going: step, rest, back off, give up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use theatre_actors::actix_host::panic_message;
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
/// The same for one that is refused: only a person can help, who takes his time, and it goes on by
/// itself afterwards.
const REFUSED_FIRST: Duration = Duration::from_secs(1);
const REFUSED_MAX: Duration = Duration::from_secs(30);
/// Who leaves a partition waits so long for one that nobody waits for, and that is away: well below
/// the time for a hand-over.
const LEAVING_PATIENCE: Duration = Duration::from_secs(5);
/// Meanwhile it is tried at least this often.
const LEAVING_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Said of a component that is left before it could end its work.
const LEFT: &str = "it is left as it is: the next owner goes on from what is registered";

/// What a component does that is refused.
pub(super) enum Refused<'a> {
    /// It stops, and what belongs to it.
    Stops,
    /// Nobody waits for it: it is named and tried again, until it works or the partition is left.
    /// Should it panic, it stops alone.
    Waits(&'a dyn Fn() -> bool),
}

/// What is kept run_loop, and where its troubles are told.
pub(super) struct Component<'a> {
    pub(super) name: &'a str,
    pub(super) progress: &'a Progress,
    /// One that may outlast its partition tells them only as long as the partition is held under
    /// this epoch.
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

    fn failed(&self, error: &Error) {
        tracing::error!(component = self.name, %error, "a component stopped");
        self.trouble(Some(error.to_string()));
        // A lost partition is taken again; anything else is not tried again.
        if !matches!(error, Error::StaleEpoch { .. }) {
            self.tell(|progress| progress.set_failed(self.name, &error.to_string()));
        }
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

/// Steps until a step was the last, until `given_up` says so, or until one fails for good; the
/// failure is returned and stays noted. So is a panic, which is a bug: what the component holds may
/// be half changed, and it is not stepped again.
pub(super) fn run_loop(
    component: &Component<'_>,
    given_up: impl Fn() -> bool,
    mut step: impl FnMut() -> Result<Flow>,
) -> Option<Error> {
    let name = component.name;
    let (mut passing, mut refused) = (BACK_OFF_FIRST, REFUSED_FIRST);
    let mut troubled = false;
    let mut leaving_since: Option<Instant> = None;
    while !given_up() {
        let stepped = match catch_unwind(AssertUnwindSafe(&mut step)) {
            Ok(stepped) => stepped,
            Err(panic) => {
                let error = Error::Refused(format!(
                    "it panicked, which is a bug: {}",
                    panic_message(&*panic)
                ));
                component.failed(&error);
                return matches!(component.refused, Refused::Stops).then_some(error);
            }
        };
        match (stepped, &component.refused) {
            (Ok(Flow::Done), _) => {
                component.well(troubled);
                break;
            }
            (Ok(Flow::Trying), _) if troubled => {}
            (Ok(Flow::On | Flow::Trying), _) => {
                component.well(std::mem::take(&mut troubled));
                (passing, refused, leaving_since) = (BACK_OFF_FIRST, REFUSED_FIRST, None);
            }
            (Err(error @ Error::Unavailable { .. }), waits) => {
                tracing::warn!(component = name, %error, "a step failed and is tried again");
                component.trouble(Some(error.to_string()));
                troubled = true;
                let leaving = || matches!(waits, Refused::Waits(leaving) if leaving());
                let left_before = leaving_since.is_some();
                if leaving() {
                    if leaving_since.get_or_insert_with(Instant::now).elapsed() >= LEAVING_PATIENCE
                    {
                        tracing::warn!(component = name, "{LEFT}");
                        break;
                    }
                    passing = passing.min(LEAVING_PAUSE_MAX);
                }
                rest(passing, || !left_before && leaving());
                passing = (passing * 2).min(BACK_OFF_MAX);
            }
            (
                Err(error @ (Error::Refused(_) | Error::Gone(_) | Error::Trimmed { .. })),
                Refused::Waits(leaving),
            ) => {
                tracing::error!(component = name, %error, again_after = ?refused, "a component is refused and tried again later");
                component.refused(&error);
                troubled = true;
                rest(refused, || given_up() || leaving());
                if leaving() {
                    tracing::warn!(component = name, "{LEFT}");
                    break;
                }
                refused = (refused * 2).min(REFUSED_MAX);
            }
            (Err(error), _) => {
                component.failed(&error);
                return Some(error);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_named_and_stops_the_component_and_its_partition_only_if_that_needs_it() {
        for (name, refused, stops) in [
            ("relay 0", Refused::Stops, true),
            ("lake writer 0", Refused::Waits(&|| false), false),
        ] {
            let progress = Progress::default();
            let mut steps = 0;
            let ended = run_loop(
                &Component {
                    name,
                    progress: &progress,
                    held: None,
                    refused,
                },
                || false,
                || {
                    steps += 1;
                    if steps == 3 {
                        panic!("seven is no prime after all")
                    } else {
                        Ok(ON)
                    }
                },
            );
            assert_eq!((ended.is_some(), steps), (stops, 3), "{name}");
            let why =
                format!("{name} stopped: it panicked, which is a bug: seven is no prime after all");
            assert_eq!(
                (progress.failures(), progress.troubles().len()),
                (vec![why], 1),
                "{name}"
            );
        }
    }
}
