//! How a mapping says that times are written.

use jiff::tz::TimeZone;

use super::civil::Order;
use super::number::{UNITS, Unit};
use super::pace;
use crate::mapping::Mapping;

/// Halves of days before 1970: since 1899-12-30, since the day before the year 0, since noon of the
/// first day of the year -4712 of the Julian calendar, and since 1858-11-17.
pub(super) const WORKBOOK_HALVES: i128 = 2 * 25_569;
const MATLAB_HALVES: i128 = 2 * 719_529;
const JULIAN_HALVES: i128 = 2 * 2_440_587 + 1;
const MODIFIED_JULIAN_HALVES: i128 = 2 * 40_587;

const MINUTE_NANOS: i128 = 60_000_000_000;

/// How times are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Format {
    /// What is clear by itself.
    Clear,
    /// RFC 3339 and nothing else.
    Rfc3339,
    /// Dates of three numbers.
    Numbers(Order),
    /// A number since 1970.
    Epoch(Unit),
    /// A number since a start.
    Elapsed(Unit),
    /// Hours, minutes and seconds since a start.
    ElapsedHms,
    /// Days in local time, of which 1970 begins at this many halves.
    Days(i128),
    /// By a pattern.
    Pattern(String),
    /// The file has none: this many nanoseconds, over this many rows.
    Pace { nanos: i128, rows: i128 },
}

/// How a mapping says that times are written.
///
/// # Errors
/// Names the key whose value has no meaning.
pub(super) fn of(mapping: &Mapping) -> Result<Format, String> {
    if let Some(rate) = &mapping.rate {
        let (nanos, rows) = pace::of_rate(rate)?;
        return Ok(Format::Pace { nanos, rows });
    }
    if let Some(period) = &mapping.period {
        let nanos = pace::of_period(period)?;
        return Ok(Format::Pace { nanos, rows: 1 });
    }
    let Some(format) = mapping.time_format.as_deref() else {
        return Ok(if mapping.time_start.is_some() {
            Format::Elapsed(UNITS[0])
        } else {
            Format::Clear
        });
    };
    if let Some(unit) = UNITS.iter().find(|unit| unit.epoch == format) {
        return Ok(Format::Epoch(*unit));
    }
    if let Some(unit) = UNITS.iter().find(|unit| unit.elapsed == format) {
        return Ok(Format::Elapsed(*unit));
    }
    match format {
        "rfc3339" => Ok(Format::Rfc3339),
        "year_first" => Ok(Format::Numbers(Order::Year)),
        "month_first" => Ok(Format::Numbers(Order::Month)),
        "day_first" => Ok(Format::Numbers(Order::Day)),
        "elapsed_100ns" => Ok(Format::Elapsed(since_a_start("elapsed_100ns", 100))),
        "elapsed_min" => Ok(Format::Elapsed(since_a_start("elapsed_min", MINUTE_NANOS))),
        "elapsed_h" => Ok(Format::Elapsed(since_a_start(
            "elapsed_h",
            60 * MINUTE_NANOS,
        ))),
        "elapsed_hms" => Ok(Format::ElapsedHms),
        "excel" => Ok(Format::Days(WORKBOOK_HALVES)),
        "matlab" => Ok(Format::Days(MATLAB_HALVES)),
        "julian" => Ok(Format::Days(JULIAN_HALVES)),
        "modified_julian" => Ok(Format::Days(MODIFIED_JULIAN_HALVES)),
        pattern if pattern.contains('%') => {
            let example = jiff::Zoned::new(jiff::Timestamp::UNIX_EPOCH, TimeZone::UTC);
            let tried = jiff::fmt::strtime::format(pattern, &example);
            tried.map_err(|error| format!("time_format = \"{pattern}\": {error}"))?;
            Ok(Format::Pattern(pattern.to_owned()))
        }
        other => Err(format!(
            "time_format = \"{other}\" is none of rfc3339, year_first, month_first, day_first, \
             epoch_s, epoch_ms, epoch_us, epoch_ns, elapsed_s, elapsed_ms, elapsed_us, elapsed_ns, \
             elapsed_100ns, elapsed_min, elapsed_h, elapsed_hms, excel, matlab, julian, \
             modified_julian, and no pattern such as \"%d.%m.%Y %H:%M:%S\""
        )),
    }
}

/// A unit that no file counts from 1970.
fn since_a_start(elapsed: &'static str, nanos: i128) -> Unit {
    Unit {
        epoch: "",
        elapsed,
        nanos,
    }
}
