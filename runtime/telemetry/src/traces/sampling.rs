//! Which ways become traces: so many a second at most, and those with failures before others.

use theatre_actors::time::{LogTime, MICROS_PER_SECOND};

/// A bucket of tokens, filled at a constant rate, from which each trace takes one.
///
/// The last token is kept for a way on which something failed: it finds one although ordinary ways
/// use up the rate, and all together stay within it.
#[derive(Debug)]
pub(super) struct Sampler {
    per_second: f64,
    tokens: f64,
    filled_at: Option<LogTime>,
}

impl Sampler {
    pub(super) fn new(per_second: f64) -> Self {
        Self {
            per_second,
            tokens: Self::room(per_second),
            filled_at: None,
        }
    }

    /// Tokens of a full bucket: those of a second, at least one, and the one that is kept.
    fn room(per_second: f64) -> f64 {
        per_second.max(1.0) + 1.0
    }

    /// Whether a way that ended `now` becomes a trace.
    pub(super) fn admits(&mut self, now: LogTime, has_failed: bool) -> bool {
        // A wall clock that was put back fills nothing until it has caught up.
        let filled_at = *self.filled_at.get_or_insert(now);
        if now > filled_at {
            let seconds = (now.0 - filled_at.0) as f64 / MICROS_PER_SECOND as f64;
            self.tokens =
                (self.tokens + seconds * self.per_second).min(Self::room(self.per_second));
            self.filled_at = Some(now);
        }
        let kept = if has_failed { 0.0 } else { 1.0 };
        let admits = self.tokens >= kept + 1.0;
        if admits {
            self.tokens -= 1.0;
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the ways that end at these times, microseconds, become traces.
    fn admitted(sampler: &mut Sampler, times: impl Iterator<Item = i64>, has_failed: bool) -> u32 {
        times
            .map(|at| u32::from(sampler.admits(LogTime(at), has_failed)))
            .sum()
    }

    #[test]
    fn so_many_a_second_become_traces_however_many_ways_end() {
        // (traces a second, of a thousand ways a second, for so many seconds, so many traces)
        let table = [
            (1.0, 10, 10),
            (0.1, 100, 10),
            (10.0, 10, 110),
            (100.0, 1, 199),
            (0.001, 10, 1),
        ];
        for (per_second, seconds, wanted) in table {
            let mut sampler = Sampler::new(per_second);
            let times = (0..seconds * 1000).map(|way| way * 1000);
            let admitted = admitted(&mut sampler, times, false);
            // The fractions of a token add up to a little more or less than the whole.
            assert!(
                admitted.abs_diff(wanted) <= 1,
                "{per_second}: {admitted} instead of {wanted}"
            );
        }
    }

    #[test]
    fn a_way_with_a_failure_finds_a_token_within_the_same_bound() {
        let mut sampler = Sampler::new(1.0);
        let busy = |from: i64| (from..from + 1_000_000).step_by(1000);
        assert_eq!(admitted(&mut sampler, busy(0), false), 1);
        assert!(sampler.admits(LogTime(1_000_000), true), "it comes first");
        assert!(!sampler.admits(LogTime(1_000_000), false));
        // Failures alone use up the bucket, and no more than the rate afterwards.
        let all =
            (0..10).map(|second| admitted(&mut sampler, busy(1_000_000 * (second + 1)), true));
        assert!((9..=11).contains(&all.sum::<u32>()));
    }

    #[test]
    fn a_clock_that_is_put_back_admits_nothing_more() {
        let mut sampler = Sampler::new(1.0);
        assert!(sampler.admits(LogTime(10_000_000), false));
        assert!(!sampler.admits(LogTime(0), false));
        assert!(!sampler.admits(LogTime(9_000_000), false));
        assert!(sampler.admits(LogTime(11_000_000), false));
    }
}
