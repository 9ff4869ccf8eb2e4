//! A rule on how much a robot or its instrument was used. It is judged at the first row of each
//! minute of the robot's clock, so that neither the rate of rows nor how they are cut shows.

use serde::{Deserialize, Serialize};

use super::limits::limited_kind;

/// Between two judgements, microseconds of the robot's clock.
const EVERY_US: i64 = 60_000_000;
/// Microseconds of a day.
const DAY_US: f64 = 86_400e6;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageCounter {
    /// Hours that the robot was in operation.
    OperatingHours,
    /// Cases that were concluded on it.
    Cases,
    /// Days since its last service, of which it has told or a report was made.
    DaysSinceService,
    /// Lives that the attached instrument has used.
    InstrumentLivesUsed,
    /// Lives that the attached instrument has left.
    InstrumentLivesLeft,
}

limited_kind! {
    /// How much the robot or its instrument was used.
    UsageSpec {
        /// What is counted.
        pub counter: UsageCounter,
    }
}

/// The counters of a robot at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) operating_us: i64,
    pub(crate) cases: u64,
    /// End of the last service, event time in microseconds UTC.
    pub(crate) served_at: Option<i64>,
    /// Lives used, and lives left, of the attached instrument.
    pub(crate) lives: (Option<i64>, Option<i64>),
}

impl UsageCounter {
    /// The unit of its values.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::OperatingHours => "h",
            Self::DaysSinceService => "d",
            Self::Cases | Self::InstrumentLivesUsed | Self::InstrumentLivesLeft => "1",
        }
    }

    /// Its value at a moment of the robot's clock; `None` while it is not known.
    pub(crate) fn value(self, usage: &Usage, clock: i64) -> Option<f64> {
        match self {
            Self::OperatingHours => Some(usage.operating_us as f64 / 3.6e9),
            Self::Cases => Some(usage.cases as f64),
            Self::DaysSinceService => {
                let since = clock.saturating_sub(usage.served_at?);
                Some(since.max(0) as f64 / DAY_US)
            }
            Self::InstrumentLivesUsed => usage.lives.0.map(|lives| lives as f64),
            Self::InstrumentLivesLeft => usage.lives.1.map(|lives| lives as f64),
        }
    }
}

/// When usage is judged next, after it was at this clock.
pub(crate) fn next_judgement(clock: i64) -> i64 {
    clock
        .div_euclid(EVERY_US)
        .saturating_add(1)
        .saturating_mul(EVERY_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_in_hours_days_and_pieces() {
        let usage = Usage {
            operating_us: 5_400_000_000,
            cases: 3,
            served_at: Some(-43_200_000_000),
            lives: (Some(7), Some(3)),
        };
        for (name, unit, expected) in [
            ("operating_hours", "h", 1.5),
            ("cases", "1", 3.0),
            ("days_since_service", "d", 1.0),
            ("instrument_lives_used", "1", 7.0),
            ("instrument_lives_left", "1", 3.0),
        ] {
            let counter: UsageCounter = serde_json::from_value(name.into()).unwrap();
            assert_eq!(
                counter.value(&usage, 43_200_000_000),
                Some(expected),
                "{counter:?}"
            );
            assert_eq!(counter.unit(), unit);
        }
        let unknown = Usage::default();
        assert_eq!(UsageCounter::DaysSinceService.value(&unknown, 0), None);
        assert_eq!(UsageCounter::InstrumentLivesLeft.value(&unknown, 0), None);
        assert_eq!(
            UsageCounter::DaysSinceService.value(&usage, i64::MIN),
            Some(0.0)
        );
    }

    #[test]
    fn each_minute_is_judged_once() {
        for (clock, expected) in [
            (0, 60_000_000),
            (59_999_999, 60_000_000),
            (60_000_000, 120_000_000),
            (-1, 0),
            (i64::MAX, i64::MAX),
        ] {
            assert_eq!(next_judgement(clock), expected);
        }
    }
}
