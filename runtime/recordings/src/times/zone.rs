//! Zones: from local to universal time.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::TimeFault;
use super::rules::Reading;

/// A local time in a zone, as microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    /// It was once.
    Once(i64),
    /// It was twice, as clocks went back.
    Twice { first: i64, second: i64 },
}

/// A zone by name or offset.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    let name = name.trim();
    if matches!(name.to_ascii_uppercase().as_str(), "UTC" | "GMT" | "Z") {
        return Ok(TimeZone::UTC);
    }
    if let Some((offset, "")) = offset(name) {
        return Ok(TimeZone::fixed(offset));
    }
    TimeZone::get(name).map_err(|_| {
        format!(
            "time_zone = \"{name}\" is no name of the IANA database, such as \"Europe/Berlin\" or \
             \"UTC\", and no offset, such as \"+02:00\""
        )
    })
}

/// An offset at the beginning of a text (`+02:00`, `+0200`, `-05`), and what comes after it.
pub(super) fn offset(text: &str) -> Option<(Offset, &str)> {
    let is_minus = match text.chars().next()? {
        '+' => false,
        '-' | '\u{2212}' => true,
        _ => return None,
    };
    let rest = text.trim_start_matches(['+', '-', '\u{2212}']);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (hours, minutes, rest) = match digits {
        4 => (&rest[..2], &rest[2..4], &rest[4..]),
        1 | 2 => match rest[digits..].strip_prefix(':') {
            Some(after) if after.len() >= 2 && after.is_char_boundary(2) => {
                (&rest[..digits], &after[..2], &after[2..])
            }
            _ => (&rest[..digits], "0", &rest[digits..]),
        },
        _ => return None,
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hours > 24 || !(0..60).contains(&minutes) {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60;
    let offset = Offset::from_seconds(if is_minus { -seconds } else { seconds }).ok()?;
    Some((offset, rest))
}

/// A local time with an offset.
pub(super) fn at(local: DateTime, offset: Offset) -> Result<i64, TimeFault> {
    let time = offset
        .to_timestamp(local)
        .map_err(|_| TimeFault::OutOfRange)?;
    Ok(time.as_microsecond())
}

/// A local time in a zone.
pub(super) fn within(local: DateTime, zone: &TimeZone) -> Result<Local, TimeFault> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => Ok(Local::Once(at(local, offset)?)),
        AmbiguousOffset::Gap { .. } => Err(TimeFault::Skipped),
        AmbiguousOffset::Fold { before, after } => Ok(Local::Twice {
            first: at(local, before)?,
            second: at(local, after)?,
        }),
    }
}

/// The reading of a local time for which the zone uses these letters.
pub(super) fn lettered(local: Local, zone: &TimeZone, letters: &str) -> Option<Reading> {
    let fits = |micros: i64| {
        let time = jiff::Timestamp::from_microsecond(micros).ok()?;
        (zone.to_offset_info(time).abbreviation() == letters).then_some(Reading::At(micros))
    };
    match local {
        Local::Once(micros) => fits(micros),
        Local::Twice { first, second } => fits(first).or_else(|| fits(second)),
    }
}

/// Whether a time is in a last second of universal time after which a leap second can be: that
/// before a January or a July.
pub(super) fn ends_in_leap(micros: i64) -> bool {
    let next = jiff::Timestamp::from_second(micros.div_euclid(1_000_000) + 1);
    next.is_ok_and(|next| {
        let next = TimeZone::UTC.to_datetime(next);
        matches!((next.month(), next.day()), (1 | 7, 1))
            && next.time() == jiff::civil::Time::midnight()
    })
}
