//! Reads a text from left to right: numbers, names and signs of dates and times.

use jiff::tz::{Offset, TimeZone};

use super::{Date, year_of};
use crate::times::zone;

/// Names of the months in English, German, Dutch, French, Spanish, Italian and Portuguese, whole
/// and as they are shortened. Other words that begin like one of them may be another month elsewhere.
const MONTHS: [&[&str]; 12] = [
    &[
        "january", "jan", "januar", "jänner", "januari", "janvier", "janv", "enero", "ene",
        "gennaio", "gen", "janeiro",
    ],
    &[
        "february",
        "feb",
        "februar",
        "februari",
        "février",
        "fevrier",
        "févr",
        "fév",
        "febrero",
        "febbraio",
        "fevereiro",
        "fev",
    ],
    &[
        "march", "mar", "märz", "maerz", "mär", "mrz", "maart", "mrt", "mars", "marzo", "março",
    ],
    &["april", "apr", "avril", "avr", "abril", "abr", "aprile"],
    &["may", "mai", "mei", "mayo", "maggio", "mag", "maio"],
    &[
        "june", "jun", "juni", "juin", "junio", "giugno", "giu", "junho",
    ],
    &[
        "july", "jul", "juli", "juillet", "juil", "julio", "luglio", "lug", "julho",
    ],
    &["august", "aug", "augustus", "août", "aout", "agosto", "ago"],
    &[
        "september",
        "sept",
        "sep",
        "septembre",
        "septiembre",
        "settembre",
        "set",
        "setembro",
    ],
    &[
        "october", "oct", "oktober", "okt", "octobre", "octubre", "ottobre", "ott", "outubro",
        "out",
    ],
    &["november", "nov", "novembre", "noviembre", "novembro"],
    &[
        "december",
        "dec",
        "dezember",
        "dez",
        "décembre",
        "decembre",
        "déc",
        "diciembre",
        "dic",
        "dicembre",
        "dezembro",
    ],
];
const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// A time of day as it stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    pub(super) hour: i8,
    pub(super) minute: i8,
    pub(super) second: i8,
    pub(super) nanos: i32,
}

/// What says of which zone a time is.
pub(super) enum Zone {
    /// An offset, UTC, or a name of the IANA database.
    Known(TimeZone),
    /// Letters such as CET, which several zones may use.
    Letters(String),
}

/// Fewest and most letters for a zone.
const ZONE_LETTERS: std::ops::RangeInclusive<usize> = 2..=5;

/// What is still to be read.
pub(super) struct Scan<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Scan<'a> {
    /// A number of so many digits at least and at most.
    pub(super) fn digits(&mut self, least: usize, most: usize) -> Option<(u32, usize)> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if count < least || count > most {
            return None;
        }
        let number = self.rest[..count].parse().ok()?;
        self.rest = &self.rest[count..];
        Some((number, count))
    }

    pub(super) fn eat(&mut self, signs: &[char]) -> Option<char> {
        let sign = self
            .rest
            .chars()
            .next()
            .filter(|sign| signs.contains(sign))?;
        self.rest = &self.rest[sign.len_utf8()..];
        Some(sign)
    }

    fn blanks(&mut self) {
        self.rest = self
            .rest
            .trim_start_matches([' ', '\t', '\u{a0}', '\u{202f}', '\n']);
    }

    fn word(&mut self) -> &'a str {
        let is_other = |sign: char| !sign.is_alphabetic();
        let end = self.rest.find(is_other).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A word of which something is known, and a point behind it.
    fn known<T>(&mut self, find: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let before = self.rest;
        let word = self.word().to_lowercase();
        let found = find(&word);
        if found.is_none() {
            self.rest = before;
        } else {
            self.eat(&['.']);
        }
        found
    }

    /// The number of a month, from 1.
    fn month(&mut self) -> Option<i8> {
        let number = |word: &str| MONTHS.iter().position(|names| names.contains(&word));
        self.known(number).and_then(|at| i8::try_from(at + 1).ok())
    }

    /// The name of a day, of which three letters are enough.
    fn day_name(&mut self) -> Option<()> {
        let is_day = |word: &str| word.len() >= 3 && DAYS.iter().any(|day| day.starts_with(word));
        self.known(|word| is_day(word).then_some(()))
    }

    pub(super) fn date(&mut self) -> Option<Date> {
        if self.day_name().is_some() {
            self.eat(&[',']);
            self.blanks();
        }
        if self.rest.starts_with(char::is_alphabetic) {
            return self.date_of_month_name();
        }
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if count == 8 || count == 14 {
            // 20260131, and 20260131080000: the time follows.
            let (year, rest) = (self.rest[..4].parse().ok()?, &self.rest[4..]);
            let (month, day) = (rest[..2].parse().ok()?, rest[2..4].parse().ok()?);
            self.rest = &rest[4..];
            return Some(Date::Known(year, month, day));
        }
        let (first, first_length) = self.digits(1, 4)?;
        let separators = ['-', '/', '.', ' '];
        let separator = self.eat(&separators)?;
        self.blanks();
        if let Some(month) = self.month() {
            self.eat(&separators[..3]);
            self.eat(&[',']);
            self.blanks();
            let (last, last_length) = self.digits(1, 4)?;
            let (year, day) = if first_length == 4 {
                (first, last)
            } else {
                (last, first)
            };
            let length = if first_length == 4 { 4 } else { last_length };
            return Some(Date::Known(
                year_of(year, length)?,
                month,
                i8::try_from(day).ok()?,
            ));
        }
        if separator == ' ' {
            return None;
        }
        let (second, second_length) = self.digits(1, 2)?;
        self.eat(&[separator])?;
        self.blanks_after(separator);
        let (third, third_length) = self.digits(1, 4)?;
        if first_length == 4 {
            let month = i8::try_from(second).ok()?;
            return (third_length <= 2).then(|| {
                Some(Date::Known(
                    year_of(first, 4)?,
                    month,
                    i8::try_from(third).ok()?,
                ))
            })?;
        }
        let lengths = [first_length, second_length, third_length];
        (first_length <= 2).then_some(Date::Numbers([first, second, third], lengths))
    }

    /// `31. 1. 2026` has blanks behind its points.
    fn blanks_after(&mut self, separator: char) {
        if separator == '.' {
            self.blanks();
        }
    }

    /// `Jan 31, 2026`, or `Jan 31` with the year behind the time.
    fn date_of_month_name(&mut self) -> Option<Date> {
        let month = self.month()?;
        self.eat(&['-', '/']);
        self.blanks();
        let day = i8::try_from(self.digits(1, 2)?.0).ok()?;
        let before = self.rest;
        self.eat(&[',', '-', '/']);
        self.blanks();
        match self.digits(4, 4) {
            Some((year, _)) => Some(Date::Known(i16::try_from(year).ok()?, month, day)),
            None => {
                self.rest = before;
                Some(Date::Yearless(month, day))
            }
        }
    }

    /// The rest of a text after its date: a time, a zone, and a year as of ctime.
    pub(super) fn time_and_zone(&mut self) -> Option<(Clock, Option<Zone>, Option<i16>)> {
        let before = self.rest;
        self.eat(&[',']);
        self.blanks();
        self.eat(&['T', 't', '_', ':', '-']);
        self.blanks();
        if self.rest.is_empty() {
            return before
                .trim()
                .is_empty()
                .then_some((Clock::default(), None, None));
        }
        let clock = self.clock()?;
        self.blanks();
        let mut late_year = self.late_year();
        self.blanks();
        let zone = self.zone()?;
        self.blanks();
        if late_year.is_none() {
            late_year = self.late_year();
        }
        self.rest
            .trim()
            .is_empty()
            .then_some((clock, zone, late_year))
    }

    fn late_year(&mut self) -> Option<i16> {
        let (year, _) = self.digits(4, 4)?;
        i16::try_from(year).ok()
    }

    fn clock(&mut self) -> Option<Clock> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut clock = Clock::default();
        if count == 4 || count == 6 {
            let part = |at: usize| self.rest.get(at..at + 2).unwrap_or("0").parse::<i8>().ok();
            clock.hour = part(0)?;
            clock.minute = part(2)?;
            clock.second = if count == 6 { part(4)? } else { 0 };
            self.rest = &self.rest[count..];
            clock.nanos = self.fraction()?;
        } else {
            clock.hour = i8::try_from(self.digits(1, 2)?.0).ok()?;
            self.eat(&[':', '.'])?;
            clock.minute = i8::try_from(self.digits(2, 2)?.0).ok()?;
            if self.eat(&[':']).is_some() {
                clock.second = i8::try_from(self.digits(2, 2)?.0).ok()?;
                clock.nanos = self.fraction()?;
            }
        }
        self.half_of_day(&mut clock)?;
        let is_end = clock.hour == 24 && (clock.minute, clock.second, clock.nanos) == (0, 0, 0);
        ((0..24).contains(&clock.hour) || is_end).then_some(clock)
    }

    /// AM and PM, `a.m.` and `p.m.`.
    fn half_of_day(&mut self, clock: &mut Clock) -> Option<()> {
        let before = self.rest;
        self.blanks();
        let half = match self.eat(&['A', 'a', 'P', 'p']) {
            Some(half) => half.to_ascii_lowercase(),
            None => {
                self.rest = before;
                return Some(());
            }
        };
        self.eat(&['.']);
        let is_whole = self.eat(&['M', 'm']).is_some();
        self.eat(&['.']);
        if !is_whole || self.rest.starts_with(char::is_alphabetic) {
            // Letters for a zone, such as AEST.
            self.rest = before;
            return Some(());
        }
        if !(1..=12).contains(&clock.hour) {
            return None;
        }
        clock.hour = clock.hour % 12 + if half == 'p' { 12 } else { 0 };
        Some(())
    }

    /// A fraction of a second behind a point, a comma, or (three digits) a colon; as nanoseconds.
    pub(super) fn fraction(&mut self) -> Option<i32> {
        let before = self.rest;
        let Some(sign) = self.eat(&['.', ',', ':']) else {
            return Some(0);
        };
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 || sign == ':' && count != 3 {
            self.rest = before;
            return if sign == ',' { Some(0) } else { None };
        }
        // What is finer than a nanosecond is left away.
        let kept = &self.rest[..count.min(9)];
        let nanos = kept.parse::<i32>().ok()? * 10_i32.pow(9 - u32::try_from(kept.len()).ok()?);
        self.rest = &self.rest[count..];
        Some(nanos)
    }

    /// A zone, or none at the end of the text; none of both fails.
    fn zone(&mut self) -> Option<Option<Zone>> {
        if let Some((offset, rest)) = zone::offset(self.rest) {
            self.rest = rest;
            self.bracketed();
            return Some(Some(Zone::Known(TimeZone::fixed(offset))));
        }
        let before = self.rest;
        match self.word() {
            "" => Some(None),
            "Z" | "z" | "UTC" | "GMT" | "utc" | "gmt" => {
                if let Some((offset, rest)) = zone::offset(self.rest) {
                    self.rest = rest;
                    return Some(Some(Zone::Known(TimeZone::fixed(offset))));
                }
                self.bracketed();
                Some(Some(Zone::Known(TimeZone::fixed(Offset::UTC))))
            }
            letters => {
                if !self.rest.starts_with(['/', '_']) {
                    let is_zone = ZONE_LETTERS.contains(&letters.len())
                        && letters.bytes().all(|byte| byte.is_ascii_uppercase());
                    return is_zone.then(|| Some(Zone::Letters(letters.to_owned())));
                }
                // Europe/Berlin.
                let is_other = |sign: char| !sign.is_ascii_alphanumeric() && !"/_+-".contains(sign);
                let (name, rest) = before.split_at(before.find(is_other).unwrap_or(before.len()));
                self.rest = rest;
                TimeZone::get(name).ok().map(|zone| Some(Zone::Known(zone)))
            }
        }
    }

    /// The name of a zone behind its offset says nothing more.
    fn bracketed(&mut self) {
        if let Some(after) = self.rest.strip_prefix('[')
            && let Some((_, rest)) = after.split_once(']')
        {
            self.rest = rest;
        }
    }
}
