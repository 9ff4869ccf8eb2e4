//! Duplicates, gaps and restarts of one robot's records on one topic, judged by (boot, sequence).
//!
//! The robot actor and the lake writer each keep a tracker and ask it of every record that carries
//! a sequence, in the log's order and before anything else. A verdict depends on the order of the
//! numbers alone.
//!
//! Per boot the tracker knows a high-water mark and the ranges below it that are missing. Memory is
//! bounded: at most [`BOOTS_MAX`] boots of [`RANGES_MAX`] ranges. What does not fit is *given up*,
//! lowest numbers and oldest boots first, and never judged again: a number that was given up may
//! have been seen or not, so its verdict is [`Verdict::GivenUp`].
//!
//! | number | verdict |
//! |---|---|
//! | above the mark | [`Verdict::New`]; those skipped are missing from now on |
//! | below the mark, in a missing range | [`Verdict::Filled`], once |
//! | below the mark, not missing, above what was given up | [`Verdict::Duplicate`] |
//! | at or below what was given up, not missing | [`Verdict::GivenUp`] |
//!
//! The first number seen of a boot need not be its first number: the [`UNKNOWN_BELOW_FIRST`]
//! numbers below it may still come, once each, as `Filled`; they are not counted as missing. What
//! lies lower counts as given up.
//!
//! **Invariant:** a number that was never judged before is never judged a duplicate.

use serde::{Deserialize, Serialize};

/// Most boots remembered per robot and topic.
pub const BOOTS_MAX: usize = 4;
/// Most missing ranges remembered per boot.
pub const RANGES_MAX: usize = 64;
/// How many numbers below the first one seen of a boot may still come.
pub const UNKNOWN_BELOW_FIRST: u64 = 1_024;

/// The verdict on a record's sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The number is above all numbers seen in this boot.
    New {
        /// How many numbers before it are missing from now on.
        gap: u64,
    },
    /// The number was missing and has come late.
    Filled,
    /// The number was seen before.
    Duplicate,
    /// The number is in a range that was given up: it may have been seen or not.
    GivenUp,
}

/// Numbers seen of one robot on one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceTracker {
    /// The boots remembered, ascending by boot number.
    boots: Vec<Boot>,
    /// Boots up to this that are not remembered were given up.
    forgotten_to: Option<i64>,
    /// How often a boot newer than all before it appeared.
    restarts: u64,
    /// How many missing numbers were given up.
    given_up: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Boot {
    boot: i64,
    /// The first number seen.
    first: i64,
    /// The highest number seen: the high-water mark.
    high: i64,
    /// Numbers up to this that are not missing may or may not have been seen.
    given_up_to: Option<i64>,
    /// Missing ranges below `high`: ascending, not adjacent, at most [`RANGES_MAX`].
    missing: Vec<Range>,
}

/// The numbers from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    low: i64,
    high: i64,
}

impl Range {
    fn len(self) -> u64 {
        self.high.abs_diff(self.low).saturating_add(1)
    }

    /// How many of its numbers are at or above `first`.
    fn len_from(self, first: i64) -> u64 {
        if self.high < first {
            0
        } else {
            Self {
                low: self.low.max(first),
                ..self
            }
            .len()
        }
    }
}

impl SequenceTracker {
    /// Judges a record's number and remembers it. Records without a boot number pass one constant.
    pub fn judge(&mut self, boot: i64, sequence: i64) -> Verdict {
        // Nearly every record follows the one before it in the newest boot.
        if let Some(newest) = self.boots.last_mut()
            && newest.boot == boot
            && newest.follows(sequence)
        {
            newest.high = sequence;
            return Verdict::New { gap: 0 };
        }
        match self.boots.binary_search_by_key(&boot, |known| known.boot) {
            Ok(at) => {
                let (verdict, given_up) = self.boots[at].judge(sequence);
                self.given_up = self.given_up.saturating_add(given_up);
                verdict
            }
            Err(at) => self.judge_new_boot(at, boot, sequence),
        }
    }

    /// The number after the highest that was seen of a boot; 0 when none was.
    pub fn next_of(&self, boot: i64) -> i64 {
        let known = self.boots.iter().find(|known| known.boot == boot);
        known.map_or(0, |known| known.high.saturating_add(1))
    }

    /// Numbers known to be missing and not given up.
    pub fn missing(&self) -> u64 {
        self.boots
            .iter()
            .fold(0, |sum, boot| sum.saturating_add(boot.missing_count()))
    }

    /// The newest boot seen and its highest number; `None` before the first record.
    pub fn newest(&self) -> Option<(i64, i64)> {
        let newest = self.boots.last()?;
        Some((newest.boot, newest.high))
    }

    /// The lowest number above `above` that is missing in a boot; `None` when none is, or when the
    /// boot is not remembered.
    pub fn first_missing(&self, boot: i64, above: i64) -> Option<i64> {
        let at = self
            .boots
            .binary_search_by_key(&boot, |known| known.boot)
            .ok()?;
        let missing = &self.boots[at].missing;
        let range = missing.get(missing.partition_point(|range| range.high <= above))?;
        Some(range.low.max(above.saturating_add(1)))
    }

    /// How often a boot newer than all before it appeared.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Missing numbers that were given up.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Judges the first number of a boot that is not remembered; `at` is where the boot belongs in
    /// `boots`.
    fn judge_new_boot(&mut self, at: usize, boot: i64, sequence: i64) -> Verdict {
        if self
            .forgotten_to
            .is_some_and(|forgotten_to| boot <= forgotten_to)
        {
            return Verdict::GivenUp;
        }
        // A boot older than all remembered ones would be evicted at once: it is given up instead.
        if at == 0 && self.boots.len() == BOOTS_MAX {
            self.forgotten_to = Some(boot);
            return Verdict::GivenUp;
        }
        if at == self.boots.len() && at > 0 {
            self.restarts += 1;
        }
        // Nearly every robot has one for long.
        self.boots.reserve_exact(1);
        self.boots.insert(at, Boot::new(boot, sequence));
        if self.boots.len() > BOOTS_MAX {
            let oldest = self.boots.remove(0);
            self.forgotten_to = Some(oldest.boot);
            self.given_up = self.given_up.saturating_add(oldest.missing_count());
        }
        Verdict::New { gap: 0 }
    }
}

impl Boot {
    fn new(boot: i64, first: i64) -> Self {
        let low = first.saturating_sub_unsigned(UNKNOWN_BELOW_FIRST);
        let unknown = (low < first).then(|| Range {
            low,
            high: first - 1,
        });
        Self {
            boot,
            first,
            high: first,
            given_up_to: low.checked_sub(1),
            missing: Vec::from_iter(unknown),
        }
    }

    /// True for the number right above the mark.
    fn follows(&self, sequence: i64) -> bool {
        sequence > self.high && sequence - 1 == self.high
    }

    fn missing_count(&self) -> u64 {
        self.missing.iter().fold(0, |sum, range| {
            sum.saturating_add(range.len_from(self.first))
        })
    }

    /// Judges a number of this boot; returns the verdict and how many missing numbers were given up
    /// to stay within [`RANGES_MAX`].
    fn judge(&mut self, sequence: i64) -> (Verdict, u64) {
        if sequence > self.high {
            let skipped = (!self.follows(sequence)).then(|| Range {
                low: self.high + 1,
                high: sequence - 1,
            });
            self.high = sequence;
            self.missing.extend(skipped);
            return (
                Verdict::New {
                    gap: skipped.map_or(0, Range::len),
                },
                self.give_up_excess(),
            );
        }
        let at = self.missing.partition_point(|range| range.high < sequence);
        match self.missing.get(at) {
            Some(range) if range.low <= sequence => {
                self.fill(at, sequence);
                (Verdict::Filled, self.give_up_excess())
            }
            _ if self
                .given_up_to
                .is_some_and(|given_up_to| sequence <= given_up_to) =>
            {
                (Verdict::GivenUp, 0)
            }
            _ => (Verdict::Duplicate, 0),
        }
    }

    /// Takes a number out of the missing range at index `at`, which may split the range.
    fn fill(&mut self, at: usize, sequence: i64) {
        let Range { low, high } = self.missing[at];
        match (low == sequence, high == sequence) {
            (true, true) => {
                self.missing.remove(at);
            }
            (true, false) => self.missing[at].low = sequence + 1,
            (false, true) => self.missing[at].high = sequence - 1,
            (false, false) => {
                self.missing[at].low = sequence + 1;
                self.missing.insert(
                    at,
                    Range {
                        low,
                        high: sequence - 1,
                    },
                );
            }
        }
    }

    /// Gives up the lowest missing range when there are more than [`RANGES_MAX`]; returns how many
    /// numbers that were.
    fn give_up_excess(&mut self) -> u64 {
        if self.missing.len() <= RANGES_MAX {
            return 0;
        }
        let lowest = self.missing.remove(0);
        self.given_up_to = Some(lowest.high);
        lowest.len_from(self.first)
    }
}

#[cfg(test)]
mod tests;
