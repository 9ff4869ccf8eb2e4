//! Why a time cannot be read.

/// Why a time cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFault {
    /// There is none.
    Missing,
    /// It is not written as the mapping says, or in no form that is known.
    Unreadable {
        /// What was expected.
        expected: String,
    },
    /// It has no zone, and the mapping has none either.
    NeedsZone,
    /// The day could be the month.
    DayOrMonth,
    /// It is a number, and the mapping does not say what it counts.
    NeedsUnit {
        /// The value of `time_format` that it probably has.
        likely: &'static str,
    },
    /// As the mapping reads it, it is not of our time, and by another unit it is.
    OtherUnit {
        /// The value of `time_format` that it has now.
        given: &'static str,
        /// The one that it probably has.
        likely: &'static str,
    },
    /// It was rounded when it was written.
    LostDigits,
    /// It stands for no time at all, or is a number that gives none of our time.
    NotOurs,
    /// Letters stand for its zone, and the mapping does not say which zone they are of.
    Letters,
    /// Letters stand for its zone that the zone of the mapping does not use then.
    OtherLetters,
    /// It is no time of the calendar from year 1 to 9999.
    OutOfRange,
    /// Clocks went forward over it.
    Skipped,
    /// Clocks went back, and it is there twice.
    Repeated,
}

impl TimeFault {
    /// Whether a key of the mapping is missing or wrong, so that other rows fail, too.
    pub fn asks_for_a_key(&self) -> bool {
        matches!(
            self,
            Self::NeedsZone
                | Self::Letters
                | Self::DayOrMonth
                | Self::NeedsUnit { .. }
                | Self::OtherUnit { .. }
        )
    }

    /// In words, without what stands there, and with what to do.
    pub fn kind(&self, column: Option<&str>) -> String {
        let of = column.map_or(String::new(), |column| format!(" in column '{column}'"));
        match self {
            Self::Missing => format!("no time{of}"),
            Self::Unreadable { expected } => format!("no time{of} that reads as {expected}"),
            Self::NeedsZone => format!(
                "a time without a zone{of}: say which it is in the mapping, such as time_zone = \
                 \"UTC\" or time_zone = \"Europe/Berlin\""
            ),
            Self::DayOrMonth => format!(
                "a date{of} whose day and month could be either: say which comes first in the \
                 mapping, time_format = \"day_first\" or time_format = \"month_first\""
            ),
            Self::NeedsUnit { likely } => {
                let more = if *likely == "excel" {
                    " (days, as workbooks count them, with time_zone) or time_format = \
                     \"elapsed_s\" with the time_start from which it counts"
                } else if likely.starts_with("elapsed") {
                    " and the time from which it counts, such as time_start = \
                     \"2026-01-31T08:00:00Z\""
                } else {
                    ""
                };
                format!(
                    "a number as time{of}: say what it counts in the mapping, probably \
                     time_format = \"{likely}\"{more}"
                )
            }
            Self::OtherUnit { given, likely } => format!(
                "a number as time{of} that time_format = \"{given}\" puts far away from our time: \
                 time_format = \"{likely}\" fits"
            ),
            Self::LostDigits => format!(
                "a time{of} that lost its digits when it was written, so that rows cannot be kept \
                 apart: export it with all digits"
            ),
            Self::NotOurs => format!(
                "a time{of} far away from ours, as a clock that was not set or a stamp without a \
                 value gives it"
            ),
            Self::Letters => format!(
                "a time{of} with letters for its zone, which several zones use: say in the mapping \
                 which it is, such as time_zone = \"Europe/Berlin\""
            ),
            Self::OtherLetters => format!(
                "a time{of} with letters for a zone that time_zone does not use at that time"
            ),
            Self::OutOfRange => format!("a time{of} beyond the calendar (years 1 to 9999)"),
            Self::Skipped => {
                format!("a time{of} that did not exist: clocks of time_zone went forward over it")
            }
            Self::Repeated => format!(
                "a time{of} that was there twice, when clocks of time_zone went back: say which \
                 is meant, repeated_hour = \"first\", \"second\" or \"by_order\""
            ),
        }
    }

    /// In words for the whole file: what stands there, how it could be read, and what to do.
    pub fn sentence(&self, column: Option<&str>, found: &str) -> String {
        let readings = match self {
            Self::DayOrMonth => super::civil::readings(found),
            _ => None,
        };
        let readings = readings.map_or(String::new(), |(day_first, month_first)| {
            format!(" (day first it is {day_first}, month first it is {month_first})")
        });
        format!("'{found}'{readings}: {}", self.kind(column))
    }
}
