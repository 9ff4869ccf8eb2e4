//! Times as numbers.

use super::TimeFault;
use crate::cells::decimal::Decimal;
use crate::records::Cell;

/// Microseconds of 1971 and 2150: times of files are hardly ever beyond.
const OUR_TIME: std::ops::Range<i64> = 31_536_000_000_000..5_680_281_600_000_000;

/// A unit of time since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// Value of `time_format` for times since 1970.
    pub(super) epoch: &'static str,
    /// Value of `time_format` for times since `time_start`.
    pub(super) elapsed: &'static str,
    /// Its length.
    pub(super) nanos: i128,
}

/// The units, as `time_format` names them.
pub(super) const UNITS: [Unit; 4] = [
    Unit {
        epoch: "epoch_s",
        elapsed: "elapsed_s",
        nanos: 1_000_000_000,
    },
    Unit {
        epoch: "epoch_ms",
        elapsed: "elapsed_ms",
        nanos: 1_000_000,
    },
    Unit {
        epoch: "epoch_us",
        elapsed: "elapsed_us",
        nanos: 1_000,
    },
    Unit {
        epoch: "epoch_ns",
        elapsed: "elapsed_ns",
        nanos: 1,
    },
];

/// A number of a unit, as nanoseconds; none when the cell is no number, or out of range.
pub(super) fn nanos(cell: &Cell, text: &str, unit: i128, decimal: char) -> Option<i128> {
    match cell {
        Cell::Integer(number) => i128::from(*number).checked_mul(unit),
        Cell::Number(number) if number.is_finite() && number.abs() < 1e30 => {
            // The part behind the point is multiplied apart, so that no digit is lost.
            let whole = number.trunc() as i128 * unit;
            Some(whole + (number.fract() * unit as f64).round() as i128)
        }
        Cell::Text(_) => parse(text, decimal)?.times(unit),
        _ => None,
    }
}

fn parse(text: &str, decimal: char) -> Option<Decimal> {
    if decimal == '.' {
        Decimal::parse(text)
    } else {
        Decimal::parse(&text.replace(decimal, "."))
    }
}

/// Whether a number is written so coarsely that it does not tell seconds apart. Other numbers of the
/// column say whether digits were lost or only zeros left away.
pub(super) fn is_coarse(text: &str, unit: i128, decimal: char) -> bool {
    parse(text, decimal).is_some_and(|number| number.has_exponent && coarseness(&number, unit) > 0)
}

/// Whether numbers with exponents keep their digits: one of them tells seconds apart, or all of
/// several differ and have more digits than short forms give.
pub(super) fn keeps_digits(texts: &[String], unit: i128, decimal: char) -> bool {
    let numbers: Vec<Decimal> = texts
        .iter()
        .filter_map(|text| parse(text, decimal))
        .collect();
    let are_long = numbers.iter().all(|number| number.written > 6);
    let differ = numbers.windows(2).all(|pair| pair[0] != pair[1]);
    numbers.iter().any(|number| coarseness(number, unit) <= 0)
        || numbers.len() > 2 && are_long && differ
}

/// Power of ten, in seconds, of the last digit.
fn coarseness(number: &Decimal, unit: i128) -> i32 {
    let power = 9 - unit.checked_ilog10().map_or(0, |power| power as i32);
    number.resolution() - power
}

/// Whether a time is of our time.
pub(super) fn is_ours(micros: i64) -> bool {
    OUR_TIME.contains(&micros)
}

/// The unit by which a number since 1970 is of our time.
pub(super) fn likely_unit(cell: &Cell, text: &str, decimal: char) -> Option<Unit> {
    UNITS.into_iter().find(|unit| {
        nanos(cell, text, unit.nanos, decimal)
            .and_then(|nanos| micros(nanos).ok())
            .is_some_and(is_ours)
    })
}

/// Nanoseconds since 1970 as microseconds, rounded down, within the calendar.
pub(super) fn micros(nanos: i128) -> Result<i64, TimeFault> {
    let micros = i64::try_from(nanos.div_euclid(1000)).map_err(|_| TimeFault::OutOfRange)?;
    jiff::Timestamp::from_microsecond(micros)
        .map(|_| micros)
        .map_err(|_| TimeFault::OutOfRange)
}
