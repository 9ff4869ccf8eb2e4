//! How a component is kept going: step, rest, try again, give up; and what is reported of it.
//!
//! [`Runner::turn`] is one step and what follows it, without threads and without time: the
//! simulation takes turns itself. Only [`keep`] and [`run_loop`] wait.

use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use theatre_actors::host::panic_message;
use theatre_actors::ports::{Epoch, Error, Result};
use theatre_actors::position::Partition;

use super::Progress;
use super::lifecycle::{Event, Life, Role, Tenure};
use super::queue::Notifier;
use super::retry::{Attempts, Decision, Need, decide};

/// What follows a step.
#[derive(Debug)]
pub enum Flow {
    /// Another one, after a rest.
    On(Rest),
    /// Another step after a rest; whether what has failed before works again is not known yet.
    Trying(Rest),
    /// Nothing is left to do, ever.
    Done,
    /// Something is left, which the next owner goes on with.
    Leave,
}

/// Another step at once.
pub(super) const ON: Flow = Flow::On(Rest::None);

/// What a component waits for before its next step.
#[derive(Debug)]
pub enum Rest {
    /// Nothing.
    None,
    /// News, at most for so long.
    News(Arc<Notifier>, Duration),
    /// So long, unless the component is hurried.
    Time(Duration),
}

/// A part of an owned partition: one thread's work, or one of the simulation's.
pub trait Component: Send {
    /// Which one it is.
    fn role(&self) -> Role;
    /// What its troubles are reported under, before the number of the partition.
    fn name(&self) -> String {
        self.role().name().to_owned()
    }
    /// Does a bounded piece of work, as far as the partition's life allows.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. `Unavailable`: step again. Others: refused.
    fn step(&mut self, life: Life) -> Result<Flow>;
    /// Whether a rest ends early.
    fn is_hurried(&self, life: Life) -> bool;
}

/// How long a component rests that found nothing to do and may be woken.
pub(super) const IDLE: Duration = Duration::from_millis(50);

/// Logged of a component that is left before it could end its work.
const LEFT: &str = "it is left as it is: the next owner goes on from what is registered";

/// Steps one component, reports its troubles, and decides what follows a failure.
pub(super) struct Stepper {
    name: String,
    progress: Arc<Progress>,
    /// One that may outlast its partition reports only as long as the partition is held under this
    /// epoch.
    held: Option<(Partition, Epoch)>,
    need: Need,
    attempts: Attempts,
    troubled: bool,
    /// Since when a component that is to end has been failing.
    leaving_since: Option<Duration>,
    random: u64,
}

/// What came of a step.
pub(super) enum Outcome {
    Again(Rest),
    Retry(Duration),
    Done,
    Left,
    Failed(Error),
}

impl Stepper {
    pub(super) fn new(name: String, progress: Arc<Progress>, need: Need) -> Self {
        let random = std::hash::RandomState::new().hash_one(&name);
        Self {
            name,
            progress,
            held: None,
            need,
            attempts: Attempts::default(),
            troubled: false,
            leaving_since: None,
            random,
        }
    }

    /// The same, reporting only as long as the partition is held under this epoch.
    pub(super) fn held(self, partition: Partition, epoch: Epoch) -> Self {
        Self {
            held: Some((partition, epoch)),
            ..self
        }
    }

    fn report(&self, report: impl FnOnce(&Progress)) {
        match self.held {
            Some((partition, epoch)) => self.progress.tell_under(partition, epoch, report),
            None => report(&self.progress),
        }
    }

    fn failed(&self, error: &Error) {
        // A lost partition is taken again; anything else is not tried again.
        let is_lost = matches!(error, Error::StaleEpoch { .. });
        if is_lost {
            tracing::warn!(component = self.name, %error, "a component ends: its partition has another owner");
        } else {
            tracing::error!(component = self.name, %error, "a component stopped for good: put right what is wrong, then restart the process");
        }
        self.report(|progress| progress.set_trouble(&self.name, Some(error.to_string())));
        if !is_lost {
            self.report(|progress| progress.set_failed(&self.name, &error.to_string()));
        }
    }

    /// What troubled it, if anything did, is over.
    fn well(&mut self) {
        if std::mem::take(&mut self.troubled) {
            self.report(|progress| progress.set_trouble(&self.name, None));
        }
        (self.attempts, self.leaving_since) = (Attempts::default(), None);
    }

    /// A number from 0 to 1, another each time.
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Steps once. A failure for good is returned and stays noted. So is a panic, which is a bug:
    /// what the component holds may be half changed, and it is not stepped again.
    ///
    /// `leaving`: the component is to end soon, and the partition does not need it. `now`: the time
    /// since any fixed moment.
    pub(super) fn step(
        &mut self,
        leaving: bool,
        now: Duration,
        step: impl FnOnce() -> Result<Flow>,
    ) -> Outcome {
        let stepped = catch_unwind(AssertUnwindSafe(step));
        let error = match stepped {
            Err(panic) => {
                let why = panic_message(&*panic);
                let error = Error::Refused(format!("it panicked, which is a bug: {why}"));
                self.failed(&error);
                return match self.need {
                    Need::Needed => Outcome::Failed(error),
                    Need::Spared => Outcome::Left,
                };
            }
            Ok(Ok(Flow::Done)) => {
                self.well();
                return Outcome::Done;
            }
            Ok(Ok(Flow::Leave)) => {
                tracing::warn!(component = self.name, "{LEFT}");
                return Outcome::Left;
            }
            Ok(Ok(Flow::Trying(rest))) if self.troubled => return Outcome::Again(rest),
            Ok(Ok(Flow::On(rest) | Flow::Trying(rest))) => {
                self.well();
                return Outcome::Again(rest);
            }
            Ok(Err(error)) => error,
        };
        let leaving = leaving.then(|| now.saturating_sub(*self.leaving_since.get_or_insert(now)));
        let (attempt, random) = (self.attempts.count(&error), self.random());
        let decision = decide(&error, self.need, attempt, leaving, random);
        if decision == Decision::Stop {
            self.failed(&error);
            return Outcome::Failed(error);
        }
        self.troubled = true;
        let why = error.to_string();
        if matches!(error, Error::Unavailable { .. }) {
            tracing::warn!(component = self.name, %error, "a step failed and is tried again");
            self.report(|progress| progress.set_trouble(&self.name, Some(why)));
        } else {
            tracing::error!(component = self.name, %error, ?decision, "a component is refused and tried again later");
            self.report(|progress| progress.set_refused(&self.name, &why));
        }
        match decision {
            Decision::Again(pause) => Outcome::Retry(pause),
            Decision::Leave | Decision::Stop => {
                tracing::warn!(component = self.name, "{LEFT}");
                Outcome::Left
            }
        }
    }
}

/// A component of one tenure and what keeps it going.
pub struct Runner {
    component: Box<dyn Component>,
    tenure: Tenure,
    stepper: Stepper,
    over: bool,
}

/// What came of a turn.
#[derive(Debug)]
pub enum Turn {
    /// Another one after a rest.
    Again(Rest),
    /// The step failed: another one after a pause.
    Retry(Duration),
    /// The component has nothing left to do.
    Done,
    /// The component has ended before its work was done, which the next owner goes on with.
    Left,
    /// The component failed for good.
    Failed(Error),
    /// The partition was left or lost.
    Over,
}

impl Runner {
    pub(super) fn new(component: Box<dyn Component>, tenure: Tenure, stepper: Stepper) -> Self {
        Self {
            component,
            tenure,
            stepper,
            over: false,
        }
    }

    /// Which component it is.
    pub fn role(&self) -> Role {
        self.component.role()
    }

    /// Whether there is nothing left to do, ever.
    pub fn is_over(&self) -> bool {
        self.over || self.tenure.now().is_over()
    }

    /// Whether a failure of this component lets its partition go on.
    fn is_spared(&self) -> bool {
        self.stepper.need == Need::Spared
    }

    /// Steps the component once and tells the partition's life what came of it. `now` is the time
    /// since any fixed moment.
    pub fn turn(&mut self, now: Duration) -> Turn {
        let life = self.tenure.now();
        if self.over || life.is_over() {
            self.over = true;
            return Turn::Over;
        }
        let (role, leaving) = (self.role(), self.is_spared() && life.is_draining());
        let component = &mut self.component;
        let outcome = self.stepper.step(leaving, now, || component.step(life));
        let (event, turn) = match outcome {
            Outcome::Again(rest) => return Turn::Again(rest),
            Outcome::Retry(pause) => return Turn::Retry(pause),
            Outcome::Done => (Event::Ended(role), Turn::Done),
            Outcome::Left => (Event::Ended(role), Turn::Left),
            Outcome::Failed(error @ Error::StaleEpoch { .. }) => {
                (Event::Stale, Turn::Failed(error))
            }
            Outcome::Failed(error) => (Event::Failed, Turn::Failed(error)),
        };
        self.over = true;
        self.tenure.send(event);
        turn
    }
}

/// Takes turns until the last, with rests between.
pub(super) fn keep(runner: &mut Runner) {
    let begun = Instant::now();
    let mut seen = 0;
    loop {
        match runner.turn(begun.elapsed()) {
            Turn::Again(Rest::None) => {}
            Turn::Again(Rest::News(news, limit)) => seen = news.wait(seen, limit),
            Turn::Again(Rest::Time(limit)) => rest(limit, || {
                let life = runner.tenure.now();
                life.is_over() || runner.component.is_hurried(life)
            }),
            Turn::Retry(pause) => {
                // One that is to end from now on tries once more at once.
                let draining = runner.tenure.now().is_draining();
                rest(pause, || {
                    let life = runner.tenure.now();
                    life.is_over() || runner.is_spared() && !draining && life.is_draining()
                });
            }
            Turn::Done | Turn::Left | Turn::Failed(_) | Turn::Over => return,
        }
    }
}

/// Rests for so long, or until something hurries: looked at in slices, after the first of them.
fn rest(limit: Duration, hurried: impl Fn() -> bool) {
    let mut left = limit;
    while !left.is_zero() && (left == limit || !hurried()) {
        let slice = left.min(IDLE);
        std::thread::sleep(slice);
        left -= slice;
    }
}

/// Steps what is no component of a partition, until a step was the last, until `given_up` says so,
/// or until one fails for good; the failure is returned.
pub(super) fn run_loop(
    stepper: &mut Stepper,
    given_up: impl Fn() -> bool,
    mut step: impl FnMut() -> Result<Flow>,
) -> Option<Error> {
    let begun = Instant::now();
    let mut seen = 0;
    while !given_up() {
        match stepper.step(false, begun.elapsed(), &mut step) {
            Outcome::Again(Rest::None) => {}
            Outcome::Again(Rest::News(news, limit)) => seen = news.wait(seen, limit),
            Outcome::Again(Rest::Time(pause)) | Outcome::Retry(pause) => rest(pause, &given_up),
            Outcome::Done | Outcome::Left => return None,
            Outcome::Failed(error) => return Some(error),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_named_and_stops_the_component_and_its_partition_only_if_that_needs_it() {
        for (name, need, stops) in [
            ("relay 0", Need::Needed, true),
            ("lake writer 0", Need::Spared, false),
        ] {
            let progress = Arc::new(Progress::default());
            let mut steps = 0;
            let ended = run_loop(
                &mut Stepper::new(name.to_owned(), progress.clone(), need),
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

    #[test]
    fn what_leaves_names_its_trouble_until_then_and_no_longer_than_its_patience() {
        let away = || {
            Err(Error::Unavailable {
                what: "test",
                why: "away".to_owned(),
            })
        };
        let progress = Arc::new(Progress::default());
        let mut stepper = Stepper::new("publisher 0".to_owned(), progress.clone(), Need::Spared);
        let mut step = |leaving, millis, step: &dyn Fn() -> Result<Flow>| {
            stepper.step(leaving, Duration::from_millis(millis), step)
        };
        assert!(matches!(step(false, 0, &away), Outcome::Retry(_)));
        assert_eq!(progress.troubles().len(), 1);
        let trying = || Ok(Flow::Trying(Rest::None));
        assert!(matches!(step(false, 1, &trying), Outcome::Again(_)));
        assert_eq!(progress.troubles().len(), 1, "it may not work yet");
        assert!(matches!(step(false, 2, &|| Ok(ON)), Outcome::Again(_)));
        assert_eq!(progress.troubles().len(), 0);
        for (millis, leaves) in [(10_000, false), (14_999, false), (15_000, true)] {
            let left = matches!(step(true, millis, &away), Outcome::Left);
            assert_eq!(left, leaves, "after {millis} ms");
        }
    }
}
