//! So many of the last values beyond a limit: the value that is judged is the n-th of the last m
//! from the limit's side, which is beyond the limit just when n of them are.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::measure::Reading;

/// Most values that are looked at.
const OF_MAX: u32 = 256;

/// `n` of the last `of` values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountSpec {
    /// So many must be beyond the limit,
    pub n: u32,
    /// of so many, the last ones that have a value.
    pub of: u32,
}

impl CountSpec {
    pub(super) fn measure(&self, sign: f64, max_gap_us: i64) -> Result<Count, String> {
        let Self { n, of } = *self;
        if n == 0 || n > of || of > OF_MAX {
            return Err(format!(
                "count must be n of m with n at least 1, m at least n and at most {OF_MAX}, not {n} of {of}"
            ));
        }
        Ok(Count {
            n: n as usize,
            of: of as usize,
            sign,
            max_gap_us,
        })
    }
}

/// The n-th of the last values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Count {
    n: usize,
    of: usize,
    sign: f64,
    /// Values before a longer gap do not count.
    max_gap_us: i64,
}

/// The last values and the time of the latest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latest {
    values: VecDeque<f64>,
    last: Option<i64>,
}

impl Count {
    /// Adds a value; returns the n-th from the limit's side when there are as many.
    pub(super) fn observe(&self, latest: &mut Latest, time: i64, value: f64) -> Option<Reading> {
        if Some(time) < latest.last {
            return None;
        }
        let gap = latest.last.map_or(0, |last| time.saturating_sub(last));
        if gap > self.max_gap_us {
            latest.values.clear();
        }
        latest.last = Some(time);
        if latest.values.len() >= self.of {
            latest.values.pop_front();
        }
        latest.values.push_back(value);
        let mut levels: Vec<f64> = latest.values.iter().map(|it| self.sign * it).collect();
        levels.sort_unstable_by(|left, right| right.total_cmp(left));
        let level = levels.get(self.n - 1)?;
        Some(Reading::of(self.sign * level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(n: u32, of: u32, sign: f64, values: &[(i64, f64)]) -> Vec<Option<f64>> {
        let count = CountSpec { n, of }.measure(sign, 10).unwrap();
        let mut latest = Latest::default();
        let read = |(time, value): &(i64, f64)| {
            let reading = count.observe(&mut latest, *time, *value);
            reading.map(|reading| reading.value)
        };
        values.iter().map(read).collect()
    }

    #[test]
    fn the_nth_value_is_beyond_a_limit_just_when_n_of_the_last_m_are() {
        let values = [(1, 9.0), (2, 1.0), (3, 8.0), (4, 2.0), (5, 7.0), (6, 3.0)];
        assert_eq!(
            readings(2, 3, 1.0, &values),
            [None, Some(1.0), Some(8.0), Some(2.0), Some(7.0), Some(3.0)]
        );
        assert_eq!(
            readings(2, 3, -1.0, &values),
            [None, Some(9.0), Some(8.0), Some(2.0), Some(7.0), Some(3.0)]
        );
        assert_eq!(readings(1, 1, 1.0, &values[..2]), [Some(9.0), Some(1.0)]);
    }

    #[test]
    fn values_before_a_long_gap_or_out_of_order_do_not_count() {
        let values = [(1, 9.0), (12, 8.0), (13, 7.0), (12, 99.0)];
        assert_eq!(readings(2, 3, 1.0, &values), [None, None, Some(7.0), None]);
    }

    #[test]
    fn a_count_that_cannot_be_is_refused() {
        for (n, of) in [(0, 5), (6, 5), (1, 257)] {
            assert!(
                CountSpec { n, of }
                    .measure(1.0, 1)
                    .unwrap_err()
                    .contains("n of m")
            );
        }
    }
}
