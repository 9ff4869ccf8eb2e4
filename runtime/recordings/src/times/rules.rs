//! What a mapping says about times, and a time read by it.

use jiff::tz::TimeZone;

use super::civil::{self, Civil, CivilFault, Order};
use super::format::{self, Format, WORKBOOK_HALVES};
use super::number::{self, UNITS, Unit};
use super::zone::{self, Local};
use super::{TimeFault, Times};
use crate::mapping::{Mapping, RepeatedHour, TimeZero};
use crate::records::Cell;

/// What a mapping says about times.
#[derive(Debug, Clone)]
pub struct TimeRules {
    format: Format,
    zone: Option<TimeZone>,
    pub(super) repeated_hour: Option<RepeatedHour>,
    /// Nanoseconds since 1970 of the start.
    start: i128,
    pub(super) zero: TimeZero,
    decimal: char,
    /// Times that stand for none are times, too: for the start from which others count.
    takes_any: bool,
}

/// A time that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Microseconds since 1970.
    At(i64),
    /// Clocks went back, and it was twice.
    Twice { first: i64, second: i64 },
    /// Nanoseconds since the start.
    Elapsed(i128),
    /// The file has no times.
    Paced,
}

impl TimeRules {
    /// The rules of a mapping.
    ///
    /// # Errors
    /// Names the key whose value has no meaning, or that is missing.
    pub fn new(mapping: &Mapping) -> Result<Self, String> {
        let (rules, faults) = Self::checked(mapping);
        match rules {
            Some(rules) if faults.is_empty() => Ok(rules),
            _ => Err(faults.join("; ")),
        }
    }

    /// All that is wrong with what a mapping says about times.
    pub fn faults(mapping: &Mapping) -> Vec<String> {
        Self::checked(mapping).1
    }

    fn checked(mapping: &Mapping) -> (Option<Self>, Vec<String>) {
        let mut faults = Vec::new();
        let zone = mapping.time_zone.as_deref().map(zone::zone).transpose();
        let zone = zone.map_err(|why| faults.push(why)).unwrap_or_default();
        let start = mapping.time_start.as_deref();
        let start = start.map(|text| start_of(text, zone.as_ref())).transpose();
        let has_start = !matches!(start, Ok(None));
        let start = start.map_err(|why| faults.push(why)).unwrap_or_default();
        let format = match format::of(mapping) {
            Ok(format) => format,
            Err(why) => {
                faults.push(why);
                return (None, faults);
            }
        };
        let counts = matches!(
            format,
            Format::Elapsed(_) | Format::ElapsedHms | Format::Pace { .. }
        );
        if counts && !has_start {
            faults.push(
                "times are counted from a start: say which, such as time_start = \
                 \"2026-01-31T08:00:00Z\""
                    .to_owned(),
            );
        }
        if !counts && has_start {
            faults.push(
                "time_start has no use with this time_format: it is for elapsed_s and its like, \
                 rate and period"
                    .to_owned(),
            );
        }
        let takes_nanos = matches!(format, Format::Epoch(unit) if unit.nanos > 1);
        if mapping.nanos_column.is_some() && !takes_nanos {
            faults.push(
                "nanos_column is added to whole seconds: give time_format = \"epoch_s\" with it"
                    .to_owned(),
            );
        }
        let rules = Self {
            format,
            zone,
            repeated_hour: mapping.repeated_hour,
            start: start.unwrap_or(0),
            zero: mapping.time_zero,
            decimal: mapping.decimal,
            takes_any: false,
        };
        (Some(rules), faults)
    }

    /// Whether the time can be read, and is of our time.
    ///
    /// # Errors
    /// Why not.
    pub fn try_read(&self, times: &Times<'_>) -> Result<(), TimeFault> {
        let reading = self.read(times);
        let (Format::Epoch(unit), Some(cell)) = (&self.format, times.time) else {
            return match reading? {
                Reading::Twice { .. } if self.repeated_hour.is_none() => Err(TimeFault::Repeated),
                _ => Ok(()),
            };
        };
        let is_far = matches!(reading, Err(TimeFault::OutOfRange | TimeFault::NotOurs));
        let text = times.text();
        let likely = number::likely_unit(cell, &text, self.decimal).filter(|_| is_far);
        if let Some(likely) = likely {
            return Err(TimeFault::OtherUnit {
                given: unit.epoch,
                likely: likely.epoch,
            });
        }
        reading?;
        let is_text = matches!(cell, Cell::Text(_));
        if is_text && number::is_coarse(&text, unit.nanos, self.decimal) {
            return Err(TimeFault::LostDigits);
        }
        Ok(())
    }

    /// Whether a stamp tells seconds apart by its own digits, or else the stamps beside it.
    pub(super) fn is_coarse(&self, text: &str) -> bool {
        match &self.format {
            Format::Epoch(unit) => number::is_coarse(text, unit.nanos, self.decimal),
            _ => false,
        }
    }

    /// Whether such stamps keep their digits.
    pub(super) fn keeps_digits(&self, texts: &[String]) -> bool {
        match &self.format {
            Format::Epoch(unit) => number::keeps_digits(texts, unit.nanos, self.decimal),
            _ => true,
        }
    }

    /// The time of the row with this number, from 0, of a file without times.
    pub(super) fn paced(&self, row: u64) -> Result<i64, TimeFault> {
        let Format::Pace { nanos, rows } = self.format else {
            return Err(TimeFault::Missing);
        };
        let elapsed = i128::from(row)
            .checked_mul(nanos)
            .ok_or(TimeFault::OutOfRange)?;
        self.elapsed(elapsed.div_euclid(rows))
    }

    /// The time so many nanoseconds after the start.
    pub(super) fn elapsed(&self, nanos: i128) -> Result<i64, TimeFault> {
        number::micros(self.start.checked_add(nanos).ok_or(TimeFault::OutOfRange)?)
    }

    pub(super) fn read(&self, times: &Times<'_>) -> Result<Reading, TimeFault> {
        if let Format::Pace { .. } = self.format {
            return Ok(Reading::Paced);
        }
        let cell = times.time.ok_or(TimeFault::Missing)?;
        if let Cell::Time(nanos) = cell {
            return match nanos {
                0 => Err(TimeFault::NotOurs),
                nanos => number::micros(*nanos).map(Reading::At),
            };
        }
        let text = times.text();
        if text.is_empty() {
            return Err(TimeFault::Missing);
        }
        match &self.format {
            Format::Epoch(unit) => self.epoch(times, cell, &text, *unit),
            Format::Elapsed(unit) => number::nanos(cell, &text, unit.nanos, self.decimal)
                .map(Reading::Elapsed)
                .ok_or_else(|| expected("a number")),
            Format::ElapsedHms => civil::duration(&text)
                .map(Reading::Elapsed)
                .ok_or_else(|| expected("hours, minutes and seconds, such as 01:02:03.5")),
            Format::Days(halves) => self.days(cell, &text, *halves),
            Format::Pattern(pattern) => self.by_pattern(pattern, &text),
            Format::Rfc3339 => self.clear(&text),
            Format::Numbers(order) => self.written(&text, Some(*order)),
            Format::Clear | Format::Pace { .. } => match self.clear(&text) {
                // Digits could also be a date without separators.
                Err(fault) => Err(match self.needed(cell, &text) {
                    Some(needed) if !matches!(fault, TimeFault::NeedsZone) => needed,
                    _ => fault,
                }),
                read => read,
            },
        }
    }

    fn epoch(
        &self,
        times: &Times<'_>,
        cell: &Cell,
        text: &str,
        unit: Unit,
    ) -> Result<Reading, TimeFault> {
        let number = |cell: &Cell, text: &str, unit: i128| {
            number::nanos(cell, text, unit, self.decimal)
                .ok_or_else(|| expected(&format!("a number ({})", unit_of(unit))))
        };
        let nanos = number(cell, text, unit.nanos)?;
        let more = match times.nanos {
            None | Some(Cell::Missing) => 0,
            Some(cell @ Cell::Text(text)) => number(cell, text.trim(), 1)?,
            Some(cell) => number(cell, "", 1)?,
        };
        if !(0..1_000_000_000).contains(&more) {
            return Err(expected("nanoseconds within a second (nanos_column)"));
        }
        let micros = number::micros(nanos.checked_add(more).ok_or(TimeFault::OutOfRange)?)?;
        if number::is_ours(micros) {
            Ok(Reading::At(micros))
        } else {
            Err(TimeFault::NotOurs)
        }
    }

    /// Days as workbooks, MATLAB or astronomers count them. They keep milliseconds at most.
    fn days(&self, cell: &Cell, text: &str, halves: i128) -> Result<Reading, TimeFault> {
        const DAY_NANOS: i128 = 86_400_000_000_000;
        const MILLI: i128 = 1_000_000;
        let nanos = number::nanos(cell, text, DAY_NANOS, self.decimal).ok_or_else(|| {
            expected(if halves == WORKBOOK_HALVES {
                "a number (days, as workbooks count them)"
            } else {
                "a number (days)"
            })
        })?;
        let millis = (nanos - halves * (DAY_NANOS / 2) + MILLI / 2).div_euclid(MILLI);
        let micros = number::micros(millis * MILLI)?;
        let time = jiff::Timestamp::from_microsecond(micros).map_err(|_| TimeFault::OutOfRange)?;
        self.placed(Civil::local(TimeZone::UTC.to_datetime(time)))
    }

    /// Whether times are hours, minutes and seconds, which may be those of a day.
    pub(super) fn are_clock_times(&self) -> bool {
        self.format == Format::ElapsedHms
    }

    fn clear(&self, text: &str) -> Result<Reading, TimeFault> {
        // The driver takes a 60th second for the 59th, wherever it stands.
        if !text.contains("60")
            && let Ok(time) = text.parse::<jiff::Timestamp>()
            && number::is_ours(time.as_microsecond())
        {
            return Ok(Reading::At(time.as_microsecond()));
        }
        self.written(text, None)
    }

    fn written(&self, text: &str, order: Option<Order>) -> Result<Reading, TimeFault> {
        let civil = civil::read(text, order).map_err(|fault| match (fault, order) {
            (CivilFault::DayOrMonth, _) => TimeFault::DayOrMonth,
            (CivilFault::Unreadable, None) => {
                expected("a date and a time, such as 2026-01-31T08:00:00Z")
            }
            (CivilFault::Unreadable, Some(Order::Year)) => expected("2026-01-31 08:00:00"),
            (CivilFault::Unreadable, Some(Order::Month)) => expected("01/31/2026 08:00:00"),
            (CivilFault::Unreadable, Some(Order::Day)) => expected("31/01/2026 08:00:00"),
        })?;
        self.placed(civil)
    }

    fn by_pattern(&self, pattern: &str, text: &str) -> Result<Reading, TimeFault> {
        let fails = || expected(&format!("time_format = \"{pattern}\""));
        let parts = jiff::fmt::strtime::parse(pattern, text).map_err(|_| fails())?;
        if let Some(time) = parts.timestamp() {
            return Ok(Reading::At(time.as_microsecond()));
        }
        let local = parts
            .to_datetime()
            .or_else(|_| parts.to_date().map(|date| date.at(0, 0, 0, 0)))
            .map_err(|_| fails())?;
        let zone = match (parts.offset(), parts.iana_time_zone()) {
            (Some(offset), _) => Some(TimeZone::fixed(offset)),
            (None, Some(name)) => Some(TimeZone::get(name).map_err(|_| fails())?),
            (None, None) => None,
        };
        self.placed(Civil {
            zone,
            ..Civil::local(local)
        })
    }

    fn placed(&self, civil: Civil) -> Result<Reading, TimeFault> {
        if civil.is_none() && !self.takes_any {
            return Err(TimeFault::NotOurs);
        }
        let zone = civil.zone.as_ref().or(self.zone.as_ref());
        let missing = match civil.letters {
            Some(_) => TimeFault::Letters,
            None => TimeFault::NeedsZone,
        };
        let zone = zone.ok_or(missing)?;
        let local = zone::within(civil.local, zone)?;
        let reading = match (local, &civil.letters) {
            (Local::Once(micros), None) => Reading::At(micros),
            (Local::Twice { first, second }, None) => Reading::Twice { first, second },
            (local, Some(letters)) => {
                zone::lettered(local, zone, letters).ok_or(TimeFault::OtherLetters)?
            }
        };
        match reading {
            // Only where a leap second is.
            Reading::At(micros) if civil.is_leap && !zone::ends_in_leap(micros) => {
                Err(expected("a date and a time: seconds go up to 59"))
            }
            reading => Ok(reading),
        }
    }

    /// The key that a number needs; none when it is no number.
    fn needed(&self, cell: &Cell, text: &str) -> Option<TimeFault> {
        number::nanos(cell, text, 1, self.decimal)?;
        let likely = number::likely_unit(cell, text, self.decimal);
        let days = 30_000 * 1_000_000_i128..60_000 * 1_000_000;
        let millionths = number::nanos(cell, text, 1_000_000, self.decimal)?;
        let are_days = days.contains(&millionths) && millionths % 1_000_000 != 0;
        let other = if are_days { "excel" } else { "elapsed_s" };
        Some(TimeFault::NeedsUnit {
            likely: likely.map_or(other, |unit| unit.epoch),
        })
    }
}

fn expected(what: &str) -> TimeFault {
    TimeFault::Unreadable {
        expected: what.to_owned(),
    }
}

fn unit_of(nanos: i128) -> &'static str {
    UNITS
        .iter()
        .find(|unit| unit.nanos == nanos)
        .map_or("", |unit| unit.epoch)
}

/// Nanoseconds since 1970 of `time_start`.
fn start_of(text: &str, zone: Option<&TimeZone>) -> Result<i128, String> {
    let rules = TimeRules {
        format: Format::Clear,
        zone: zone.cloned(),
        repeated_hour: None,
        start: 0,
        zero: TimeZero::Start,
        decimal: '.',
        takes_any: true,
    };
    match rules.clear(text) {
        Ok(Reading::At(micros)) => Ok(i128::from(micros) * 1000),
        Ok(Reading::Twice { .. }) => Err(format!(
            "time_start = \"{text}\" was there twice: write it with its offset, such as +01:00"
        )),
        Ok(_) | Err(TimeFault::Unreadable { .. } | TimeFault::DayOrMonth) => Err(format!(
            "time_start = \"{text}\" is no time such as \"2026-01-31T08:00:00Z\""
        )),
        Err(fault) => Err(format!("time_start = \"{text}\": {}", fault.kind(None))),
    }
}
