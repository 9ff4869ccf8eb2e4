//! Clocks: how far a server's is from this machine's.
//!
//! Silence of robots, ages of files and the life of tokens are judged by the wall clock, and append
//! times are the brokers': clocks that differ by seconds make alerts too early or too late.

use theatre_actors::time::LogTime;
use theatre_operations::checkup::Judgement;

/// Beyond this much a clock is called wrong, microseconds.
const SKEW_MAX: i64 = 2_000_000;

/// Judges a server's time, which was asked for and answered at these times of this machine, and is
/// exact to `grain` microseconds.
pub(super) fn judge(
    whose: &str,
    asked: LogTime,
    server: LogTime,
    answered: LogTime,
    grain: i64,
) -> Judgement {
    // The server read its clock at some moment in between.
    let ahead = server.0 + grain - asked.0;
    let behind = answered.0 - server.0;
    let seconds = |skew: i64| skew as f64 / 1e6;
    let (skew, way) = if server.0 > answered.0 {
        (server.0 - answered.0, "ahead of")
    } else if server.0 + grain < asked.0 {
        (asked.0 - server.0 - grain, "behind")
    } else {
        return Judgement::ok(format!(
            "the clock of {whose} is this machine's, to within {:.1} s",
            seconds(ahead.max(behind).max(0)).max(0.1)
        ));
    };
    let seen = format!(
        "the clock of {whose} is {:.1} s {way} this machine's",
        seconds(skew)
    );
    if skew <= SKEW_MAX {
        Judgement::ok(seen)
    } else {
        Judgement::warning(
            seen,
            "let NTP set both clocks: silence, ages and tokens are judged by them",
        )
    }
}

/// The time that a `Date` header names, exact to a second.
#[cfg(any(feature = "s3", test))]
pub(super) fn of_http(date: &str) -> Option<LogTime> {
    let zoned = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(LogTime(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use theatre_operations::checkup::Verdict;

    use super::*;

    #[test]
    fn a_clock_that_may_be_the_same_is_called_so_and_one_that_is_seconds_off_is_not() {
        const S: i64 = 1_000_000;
        let at = |server: i64, grain| {
            judge(
                "it",
                LogTime(100 * S),
                LogTime(server),
                LogTime(101 * S),
                grain,
            )
        };
        for (server, grain, verdict, said) in [
            (100 * S + S / 2, 0, Verdict::Ok, "is this machine's"),
            // A date in whole seconds: the clock may have been at 100.9.
            (100 * S, S, Verdict::Ok, "is this machine's"),
            (99 * S + 1, S, Verdict::Ok, "is this machine's"),
            (102 * S, 0, Verdict::Ok, "1.0 s ahead of"),
            (103 * S, 0, Verdict::Ok, "2.0 s ahead of"),
            (104 * S, 0, Verdict::Warning, "3.0 s ahead of"),
            (98 * S, 0, Verdict::Ok, "2.0 s behind"),
            (95 * S, 0, Verdict::Warning, "5.0 s behind"),
            (95 * S, S, Verdict::Warning, "4.0 s behind"),
        ] {
            let judged = at(server, grain);
            assert!(
                judged.verdict == verdict && judged.seen.contains(said),
                "{server} {grain}: {judged:?}"
            );
        }
    }

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(
            of_http("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(LogTime(784_111_777_000_000))
        );
        assert_eq!(of_http("yesterday"), None);
    }
}
