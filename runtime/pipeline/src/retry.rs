//! Retry as a value: what follows an error, and after how long.
//!
//! A passing fault is tried again after a pause that doubles. A refusal stops a component that its
//! partition needs; one that the partition can do without tries again at longer pauses, for only a
//! person can help, and it goes on by itself afterwards. A component that is to end does not wait
//! for something that is away for long.

use std::time::Duration;

use theatre_actors::ports::Error;

/// The first pause after a passing fault; it doubles with each further one.
pub(super) const PASSING_FIRST: Duration = Duration::from_millis(50);
const PASSING_MAX: Duration = Duration::from_secs(5);
/// The first pause after a refusal, and the longest.
const REFUSED_FIRST: Duration = Duration::from_secs(1);
const REFUSED_MAX: Duration = Duration::from_secs(30);
/// A component that is to end tries so long what fails: well below the time for a hand-over.
const LEAVING_PATIENCE: Duration = Duration::from_secs(5);
/// Meanwhile it is tried at least this often.
const LEAVING_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a refusal means for the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The partition cannot go on without the component: both stop.
    Needed,
    /// The partition goes on without: the component names the refusal and tries again.
    Spared,
}

/// What follows an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The component tries again after this pause.
    Again(Duration),
    /// The component stops for good.
    Stop,
    /// The component ends before its work is done, which the next owner goes on with.
    Leave,
}

/// How often in a row a component has failed, by what the failure was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    passing: u32,
    refused: u32,
}

impl Attempts {
    /// Counts an error; returns how many of its kind came before it.
    pub fn count(&mut self, error: &Error) -> u32 {
        let count = match error {
            Error::Unavailable { .. } => &mut self.passing,
            _ => &mut self.refused,
        };
        let before = *count;
        *count = count.saturating_add(1);
        before
    }
}

/// Decides what follows `error`, before which `attempt` others of its kind came in a row.
///
/// `leaving` is how long a component that is to end has been failing since it should. Only spared
/// ones say so: a partition that is left waits for what it needs until its deadline. `random`, from
/// 0 to 1, shortens a pause by up to a quarter, so that components that failed together do not try
/// again together.
pub fn decide(
    error: &Error,
    need: Need,
    attempt: u32,
    leaving: Option<Duration>,
    random: f64,
) -> Decision {
    match (error, need, leaving) {
        (Error::Unavailable { .. }, _, Some(since)) if since >= LEAVING_PATIENCE => Decision::Leave,
        (Error::Unavailable { .. }, _, leaving) => {
            let most = leaving.map_or(PASSING_MAX, |_| LEAVING_PAUSE_MAX);
            Decision::Again(pause(PASSING_FIRST, most, attempt, random))
        }
        (Error::StaleEpoch { .. }, _, _) | (_, Need::Needed, _) => Decision::Stop,
        (_, Need::Spared, Some(_)) => Decision::Leave,
        (_, Need::Spared, None) => {
            Decision::Again(pause(REFUSED_FIRST, REFUSED_MAX, attempt, random))
        }
    }
}

/// A pause that doubles with each attempt up to `most`, shortened at random.
fn pause(first: Duration, most: Duration, attempt: u32, random: f64) -> Duration {
    let doubled = first.saturating_mul(1 << attempt.min(16)).min(most);
    doubled.mul_f64(1.0 - random.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_decision() {
        use Decision::{Again, Leave, Stop};
        use Need::{Needed, Spared};
        let away = || Error::Unavailable {
            what: "test",
            why: "away".to_owned(),
        };
        let refused = || Error::Refused("no".to_owned());
        let gone = || Error::Gone("no more".to_owned());
        let trimmed = || Error::Trimmed {
            topic: "t".to_owned(),
            partition: 0,
            wanted: 1,
            start: 2,
        };
        let stale = || Error::StaleEpoch {
            partition: 0,
            ours: 1,
            current: 2,
        };
        let (millis, secs) = (Duration::from_millis, Duration::from_secs);
        let table = [
            // A passing fault is tried again, by every component, after 50 ms to 5 s.
            (away(), Needed, 0, None, Again(millis(50))),
            (away(), Needed, 1, None, Again(millis(100))),
            (away(), Spared, 6, None, Again(millis(3200))),
            (away(), Spared, 7, None, Again(secs(5))),
            (away(), Needed, u32::MAX, None, Again(secs(5))),
            // A component that is to end tries at least every second, for five seconds.
            (away(), Spared, 0, Some(secs(0)), Again(millis(50))),
            (away(), Spared, 9, Some(millis(4999)), Again(secs(1))),
            (away(), Spared, 9, Some(secs(5)), Leave),
            // A refusal stops what is needed; the rest tries again, after 1 s to 30 s.
            (refused(), Needed, 0, None, Stop),
            (gone(), Needed, 0, None, Stop),
            (trimmed(), Needed, 0, None, Stop),
            (refused(), Spared, 0, None, Again(secs(1))),
            (gone(), Spared, 3, None, Again(secs(8))),
            (trimmed(), Spared, 4, None, Again(secs(16))),
            (refused(), Spared, 5, None, Again(secs(30))),
            (refused(), Spared, u32::MAX, None, Again(secs(30))),
            (refused(), Spared, 0, Some(secs(0)), Leave),
            (gone(), Spared, 0, Some(secs(0)), Leave),
            // A lost partition is lost.
            (stale(), Needed, 0, None, Stop),
            (stale(), Spared, 0, None, Stop),
            (stale(), Spared, 0, Some(secs(0)), Stop),
        ];
        for (error, need, attempt, leaving, expected) in table {
            assert_eq!(
                decide(&error, need, attempt, leaving, 0.0),
                expected,
                "{error} {need:?} {attempt} {leaving:?}"
            );
        }
    }

    #[test]
    fn chance_shortens_a_pause_by_a_quarter_at_most() {
        for (random, millis) in [(0.0, 5000), (0.5, 4375), (1.0, 3750), (7.0, 3750)] {
            let error = Error::Unavailable {
                what: "test",
                why: String::new(),
            };
            assert_eq!(
                decide(&error, Need::Needed, 20, None, random),
                Decision::Again(Duration::from_millis(millis))
            );
        }
    }

    #[test]
    fn attempts_are_counted_by_kind() {
        let mut attempts = Attempts::default();
        let away = Error::Unavailable {
            what: "test",
            why: String::new(),
        };
        let refused = Error::Refused(String::new());
        let counted = [&away, &away, &refused, &away].map(|error| attempts.count(error));
        assert_eq!(counted, [0, 1, 0, 2]);
    }
}
