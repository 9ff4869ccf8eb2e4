//! Brokers that make only so many partitions in a time (KIP-599; MSK Serverless: 250 in five
//! minutes): a change of topics waits until they make more.

use std::time::Duration;

use rdkafka::admin::TopicResult;
use rdkafka::error::RDKafkaErrorCode as Code;
use theatre_actors::ports::{Error, Result};

use super::client::{WHAT, by_code};

/// Between two tries. Brokers do not say how long it takes.
const AGAIN_AFTER: Duration = Duration::from_secs(15);
/// The change of one topic is given up after this long: two windows of MSK Serverless, of which the
/// first may be used up by others.
const GIVEN_UP_AFTER: Duration = Duration::from_mins(10);

/// What brokers said to a change of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The topic is made, by this process or by another one.
    Done,
    /// Not now: their quota of new partitions is used up.
    NotNow,
}

/// Reads the answer to a change of one topic; `already` is the code of what was done before.
///
/// # Errors
/// With any other code.
pub(super) fn answer(results: &[TopicResult], call: &str, already: Code) -> Result<Answer> {
    match results.iter().find_map(|result| result.as_ref().err()) {
        None => Ok(Answer::Done),
        Some((_, code)) if *code == already => Ok(Answer::Done),
        Some((_, Code::ThrottlingQuotaExceeded)) => Ok(Answer::NotNow),
        Some((_, code)) => Err(by_code(call, *code)),
    }
}

/// Repeats a change until brokers take it. `pause` waits.
///
/// # Errors
/// The change's own, and unavailable when brokers have put it off for ten minutes.
pub(super) fn until_taken(
    call: &str,
    pause: impl Fn(Duration),
    mut change: impl FnMut() -> Result<Answer>,
) -> Result<()> {
    let mut waited = Duration::ZERO;
    while change()? == Answer::NotNow {
        if waited >= GIVEN_UP_AFTER {
            return Err(Error::Unavailable {
                what: WHAT,
                why: format!(
                    "{call}: for {} minutes the brokers made no more partitions, since their quota is used up (THROTTLING_QUOTA_EXCEEDED): \
                     others make or delete partitions all the time, or the quota of this client (controller_mutation_rate) is too low. \
                     What was made stays: repeat later, or raise the quota",
                    waited.as_secs() / 60
                ),
            });
        }
        tracing::warn!(
            waited_s = waited.as_secs(),
            given_up_after_s = GIVEN_UP_AFTER.as_secs(),
            "{call}: the brokers make no more partitions for now, since their quota is used up; it is tried again in {} s",
            AGAIN_AFTER.as_secs()
        );
        pause(AGAIN_AFTER);
        waited += AGAIN_AFTER;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn only_a_quota_that_is_used_up_is_waited_for() {
        let failed = |code| vec![Err(("t".to_owned(), code))];
        for (results, wanted) in [
            (vec![Ok("t".to_owned())], Some(Answer::Done)),
            (failed(Code::TopicAlreadyExists), Some(Answer::Done)),
            (failed(Code::ThrottlingQuotaExceeded), Some(Answer::NotNow)),
            (failed(Code::PolicyViolation), None),
            (failed(Code::InvalidRequest), None),
            (failed(Code::InvalidPartitions), None),
            (failed(Code::RequestTimedOut), None),
        ] {
            let found = answer(&results, "creating topic 't'", Code::TopicAlreadyExists);
            assert_eq!(found.as_ref().ok().copied(), wanted, "{results:?}");
            if let Err(error) = found {
                assert!(error.to_string().contains("creating topic 't'"), "{error}");
            }
        }
        let more = failed(Code::InvalidPartitions);
        assert_eq!(
            answer(&more, "adding", Code::InvalidPartitions),
            Ok(Answer::Done)
        );
    }

    /// What came of a change that is put off so many times, how often it was tried, and how long
    /// was waited.
    fn put_off(times: u32, last: &Result<Answer>) -> (Result<()>, u32, Duration) {
        let (tried, slept) = (Cell::new(0), Cell::new(Duration::ZERO));
        let change = || {
            tried.set(tried.get() + 1);
            if tried.get() <= times {
                return Ok(Answer::NotNow);
            }
            last.clone()
        };
        let done = until_taken("adding", |time| slept.set(slept.get() + time), change);
        (done, tried.get(), slept.get())
    }

    #[test]
    fn a_change_that_is_put_off_is_tried_again_and_given_up_after_ten_minutes() {
        let most = (GIVEN_UP_AFTER.as_secs() / AGAIN_AFTER.as_secs()) as u32;
        for times in [0, 1, 20, most] {
            let found = put_off(times, &Ok(Answer::Done));
            assert_eq!(found, (Ok(()), times + 1, AGAIN_AFTER * times), "{times}");
        }
        let (done, tried, slept) = put_off(most + 1, &Ok(Answer::Done));
        assert_eq!((tried, slept), (most + 1, GIVEN_UP_AFTER));
        let Err(Error::Unavailable { why, .. }) = done else {
            panic!("{done:?}");
        };
        assert!(
            why.starts_with("adding: for 10 minutes") && why.contains("repeat later"),
            "{why}"
        );
    }

    #[test]
    fn another_refusal_ends_the_waiting() {
        let refused = Err(Error::Refused("no".to_owned()));
        let (done, tried, _) = put_off(2, &refused);
        assert_eq!((done, tried), (Err(Error::Refused("no".to_owned())), 3));
    }
}
