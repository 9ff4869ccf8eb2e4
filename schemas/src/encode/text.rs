//! A text in JSON, read from its beginning: as much of the language as records in their usual form
//! use. What it does not take may still be JSON.

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// One that is written as a whole number.
    Whole(i64),
    /// Any other, as the nearest that there is.
    Float(f64),
}

/// Most digits of a number that a `u64` holds for certain.
const DIGITS: usize = 18;
/// Up to here, whole numbers and powers of ten are exact as `f64`, and so is the nearest number to
/// their quotient what a division gives.
const EXACT: u64 = 1 << 53;
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// A text and how far it is read.
#[derive(Debug)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
    /// A line's end is the end of a record, and no space.
    has_lines: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(bytes: &'a [u8], has_lines: bool) -> Self {
        Self {
            bytes,
            at: 0,
            has_lines,
        }
    }

    /// Bytes that are read.
    pub(super) fn read(&self) -> usize {
        self.at
    }

    /// The next byte that is no space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' if !self.has_lines => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Takes a byte, where it is the next one that is no space.
    pub(super) fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes a word, where it is what comes next.
    pub(super) fn takes_word(&mut self, word: &[u8]) -> bool {
        let is_next = self.bytes[self.at..].starts_with(word);
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    /// A text in quotes, without any escape.
    pub(super) fn string(&mut self) -> Option<&'a str> {
        let bytes = self.bytes;
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let begin = self.at + 1;
        let is_end = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        let end = begin + bytes[begin..].iter().position(is_end)?;
        self.at = end + 1;
        let is_whole = bytes[end] == b'"';
        is_whole.then(|| std::str::from_utf8(&bytes[begin..end]).ok())?
    }

    /// A number: the same that any reader of JSON makes of it which rounds correctly.
    pub(super) fn number(&mut self) -> Option<Number> {
        let begin = self.at;
        let is_negative = self.takes_sign(b"-");
        let (mut value, first) = (0, self.at);
        let digits = self.digits(&mut value);
        let has_zeros = digits > 1 && self.bytes[first] == b'0';
        if digits == 0 || has_zeros {
            return None;
        }
        let mut decimals = 0;
        let is_whole = !self.takes_sign(b".");
        if !is_whole {
            decimals = self.digits(&mut value);
            if decimals == 0 {
                return None;
            }
        }
        let has_exponent = self.takes_sign(b"eE");
        if !has_exponent && digits + decimals <= DIGITS {
            if is_whole && !(is_negative && value == 0) {
                let value = value as i64;
                return Some(Number::Whole(if is_negative { -value } else { value }));
            }
            if let (true, Some(power)) = (value <= EXACT, POWERS.get(decimals)) {
                let number = value as f64 / power;
                return Some(Number::Float(if is_negative { -number } else { number }));
            }
        }
        if has_exponent {
            self.takes_sign(b"+-");
            if self.digits(&mut 0) == 0 {
                return None;
            }
        }
        let text = std::str::from_utf8(&self.bytes[begin..self.at]).ok()?;
        let number: f64 = text.parse().ok()?;
        number.is_finite().then_some(Number::Float(number))
    }

    /// A number as it is written.
    pub(super) fn number_as_written(&mut self) -> Option<&'a [u8]> {
        let (bytes, begin) = (self.bytes, self.at);
        self.number()?;
        Some(&bytes[begin..self.at])
    }

    /// Takes one of some bytes, where it is the next.
    fn takes_sign(&mut self, signs: &[u8]) -> bool {
        let next = self.bytes.get(self.at);
        let is_next = next.is_some_and(|next| signs.contains(next));
        self.at += usize::from(is_next);
        is_next
    }

    /// Reads digits onto a number, which is right as long as there is room; returns how many.
    fn digits(&mut self, value: &mut u64) -> usize {
        let begin = self.at;
        while let Some(byte @ b'0'..=b'9') = self.bytes.get(self.at) {
            *value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            self.at += 1;
        }
        self.at - begin
    }
}

/// Microseconds since 1970 of a time in the form `2026-01-31T12:00:00.000001Z`; `None` for any
/// other, which may be a time as well.
pub(super) fn micros(text: &str) -> Option<i64> {
    let (date_time, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let number = |at: usize, length: usize| {
        let digits = &date_time[at..at + length];
        let mut digits = digits.iter().map(|byte| byte.wrapping_sub(b'0'));
        digits.try_fold(0_i64, |value, digit| {
            Some(value * 10 + i64::from((digit < 10).then_some(digit)?))
        })
    };
    let is_mark = |(at, mark): (usize, u8)| date_time[at] == mark;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.into_iter().all(is_mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    // Before 1970 what is below a microsecond is rounded the other way.
    let is_plain = (1970..=9998).contains(&year) && hour < 24 && minute < 60 && second < 60;
    if !is_plain || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let fraction = match rest {
        b"Z" => 0,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            let all = digits.iter().all(u8::is_ascii_digit);
            let digit = |at: usize| digits.get(at).map_or(0, |digit| i64::from(digit - b'0'));
            all.then(|| (0..6).fold(0, |value, at| value * 10 + digit(at)))?
        }
        _ => return None,
    };
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000 + fraction)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Years are counted from March, so that the day that some have is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let leaps = year / 4 - year / 100 + year / 400;
    year * 365 + leaps + of_year - 719_468
}
