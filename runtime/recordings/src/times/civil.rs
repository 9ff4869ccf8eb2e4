//! Dates and times as people and programs write them.

mod scan;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use scan::{Scan, Zone};

/// What comes first in a date of three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `26-01-31`; `2026-01-31` is understood in any case.
    Year,
    /// `01/31/2026`.
    Month,
    /// `31/01/2026`.
    Day,
}

/// A date and a time that were read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Civil {
    pub(super) local: DateTime,
    /// The zone that stands behind it.
    pub(super) zone: Option<TimeZone>,
    /// The letters for a zone that stand there instead, such as CET.
    pub(super) letters: Option<String>,
    /// The second is a 60th one, of which `local` has the 59th.
    pub(super) is_leap: bool,
}

impl Civil {
    /// A local time and nothing else.
    pub(super) fn local(local: DateTime) -> Self {
        Self {
            local,
            zone: None,
            letters: None,
            is_leap: false,
        }
    }

    /// Whether it stands for no time at all, as clocks that were not set and programs without a
    /// value write it: the beginning of 1970 or of 1900, or a year before.
    pub(super) fn is_none(&self) -> bool {
        let beginning = |year| DateTime::constant(year, 1, 1, 0, 0, 0, 0);
        self.local.year() < 1900 || [beginning(1900), beginning(1970)].contains(&self.local)
    }
}

/// Why a text is no date and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CivilFault {
    Unreadable,
    DayOrMonth,
}

/// Reads a date, or a date and a time, in any usual form.
pub(super) fn read(text: &str, order: Option<Order>) -> Result<Civil, CivilFault> {
    let mut scan = Scan { rest: text.trim() };
    let date = scan.date().ok_or(CivilFault::Unreadable)?;
    let (time, zone, late_year) = scan.time_and_zone().ok_or(CivilFault::Unreadable)?;
    let is_leap = time.second == 60;
    let second = if is_leap { 59 } else { time.second };
    let (year, month, day) = date.resolved(order, late_year)?;
    let local = || {
        let day_of = jiff::civil::Date::new(year, month, day).ok()?;
        let (hour, is_next) = if time.hour == 24 {
            (0, true)
        } else {
            (time.hour, false)
        };
        let clock = jiff::civil::Time::new(hour, time.minute, second, time.nanos).ok()?;
        let day_of = if is_next {
            day_of.tomorrow().ok()?
        } else {
            day_of
        };
        Some(day_of.to_datetime(clock))
    };
    let (zone, letters) = match zone {
        Some(Zone::Known(zone)) => (Some(zone), None),
        Some(Zone::Letters(letters)) => (None, Some(letters)),
        None => (None, None),
    };
    Ok(Civil {
        local: local().ok_or(CivilFault::Unreadable)?,
        zone,
        letters,
        is_leap,
    })
}

/// An ambiguous date read both ways, day first and month first, as the user sees them.
pub(super) fn readings(text: &str) -> Option<(String, String)> {
    let read = |order| match read(text, Some(order)) {
        Ok(civil) => civil.local.date().strftime("%-d %B %Y").to_string(),
        Err(_) => "no date".to_owned(),
    };
    Some((read(Order::Day), read(Order::Month)))
}

/// Hours, minutes and seconds of a duration, as nanoseconds; hours may be more than 24.
pub(super) fn duration(text: &str) -> Option<i128> {
    let text = text.trim();
    let (is_minus, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut scan = Scan { rest: text };
    // `1 days 02:00:00`, as pandas writes a Timedelta.
    let mut days = 0;
    if let Some((before, after)) = text.split_once("day") {
        days = before.trim().parse::<i128>().ok()?;
        scan.rest = after.trim_start_matches('s').trim_start_matches([',', ' ']);
    }
    let (hours, _) = scan.digits(1, 6)?;
    scan.eat(&[':'])?;
    let (minutes, _) = scan.digits(1, 2)?;
    let (seconds, nanos) = match scan.eat(&[':']) {
        Some(_) => (scan.digits(1, 2)?.0, scan.fraction()?),
        None => (0, 0),
    };
    if !scan.rest.trim().is_empty() || minutes > 59 || seconds > 59 {
        return None;
    }
    let whole = ((days * 24 + i128::from(hours)) * 60 + i128::from(minutes)) * 60;
    let total = (whole + i128::from(seconds)) * 1_000_000_000 + i128::from(nanos);
    Some(if is_minus { -total } else { total })
}

/// The parts of a date as they stand.
#[derive(Debug, Clone, Copy)]
enum Date {
    /// Year, month, day.
    Known(i16, i8, i8),
    /// Month and day; the year comes after the time.
    Yearless(i8, i8),
    /// Three numbers; the last one is the year unless the order says otherwise.
    Numbers([u32; 3], [usize; 3]),
}

impl Date {
    fn resolved(
        self,
        order: Option<Order>,
        late_year: Option<i16>,
    ) -> Result<(i16, i8, i8), CivilFault> {
        match (self, late_year) {
            (Self::Known(year, month, day), None) => Ok((year, month, day)),
            (Self::Yearless(month, day), Some(year)) => Ok((year, month, day)),
            (Self::Numbers(numbers, lengths), None) => {
                let [year, month, day] = match order {
                    None if lengths[2] == 4 || lengths[2] == 2 => {
                        return Err(CivilFault::DayOrMonth);
                    }
                    None => return Err(CivilFault::Unreadable),
                    Some(Order::Year) => [0, 1, 2],
                    Some(Order::Month) => [2, 0, 1],
                    Some(Order::Day) => [2, 1, 0],
                };
                let year = year_of(numbers[year], lengths[year]).ok_or(CivilFault::Unreadable)?;
                // Neither has more than two digits.
                Ok((year, numbers[month] as i8, numbers[day] as i8))
            }
            _ => Err(CivilFault::Unreadable),
        }
    }
}

/// Years of two digits are those from 1969 to 2068.
fn year_of(number: u32, length: usize) -> Option<i16> {
    match length {
        4 => i16::try_from(number).ok(),
        2 => i16::try_from(if number >= 69 {
            1900 + number
        } else {
            2000 + number
        })
        .ok(),
        _ => None,
    }
}
