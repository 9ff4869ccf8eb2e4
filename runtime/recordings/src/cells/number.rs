//! Numbers of text.

use std::borrow::Cow;

use super::decimal::Decimal;

const NO_NUMBER: &str = "no number";
const NOT_FINITE: &str = "an infinite number";
const OVERFLOW: &str = "a number that is too large for the field";

/// A number with a point, a plain minus and without separators of thousands, as other programs
/// write it.
///
/// # Errors
/// When separators stand where they do not belong.
pub(super) fn plain(
    text: &str,
    decimal: char,
    thousands: Option<char>,
) -> Result<Cow<'_, str>, &'static str> {
    if decimal == '.' && thousands.is_none() && text.is_ascii() {
        return Ok(Cow::Borrowed(text));
    }
    let mut plain = text.replace('\u{2212}', "-");
    if let Some(thousands) = thousands {
        plain = ungrouped(&plain, decimal, thousands)
            .ok_or("a number whose groups of thousands are not of three digits")?;
    }
    if decimal != '.' {
        if plain.contains('.') {
            return Err("a number with a point, and the decimal separator is another");
        }
        plain = plain.replace(decimal, ".");
    }
    Ok(Cow::Owned(plain))
}

/// Takes the separators between groups of three digits out; none when a group has not three.
fn ungrouped(text: &str, decimal: char, thousands: char) -> Option<String> {
    // Programs that group by blanks or apostrophes write several kinds of them.
    let is_separator = |sign: char| match thousands {
        ' ' => matches!(sign, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}'),
        '\'' => matches!(sign, '\'' | '\u{2019}'),
        thousands => sign == thousands,
    };
    if !text.contains(is_separator) {
        return Some(text.to_owned());
    }
    let end = text.find([decimal, 'e', 'E']).unwrap_or(text.len());
    let (whole, rest) = text.split_at(end);
    let digits = whole.trim_start_matches(['+', '-']);
    let sign = &whole[..whole.len() - digits.len()];
    let groups: Vec<&str> = digits.split(is_separator).collect();
    let is_group = |(at, group): (usize, &&str)| {
        let fits = if at == 0 {
            (1..=3).contains(&group.len())
        } else {
            group.len() == 3
        };
        fits && group.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_good = groups.iter().enumerate().all(is_group) && !rest.contains(is_separator);
    is_good.then(|| format!("{sign}{}{rest}", groups.concat()))
}

/// A number of 64 bits.
pub(super) fn double(plain: &str) -> Result<f64, &'static str> {
    let is_sign = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if !plain.bytes().all(is_sign) {
        let word = plain.trim_start_matches(['+', '-']).to_ascii_lowercase();
        let is_infinite = matches!(word.as_str(), "inf" | "infinity" | "1.#inf");
        return Err(if is_infinite { NOT_FINITE } else { NO_NUMBER });
    }
    let number: f64 = plain.parse().map_err(|_| NO_NUMBER)?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(OVERFLOW)
    }
}

/// A number of 32 bits.
pub(super) fn single(plain: &str) -> Result<f32, &'static str> {
    double(plain)?;
    let number: f32 = plain.parse().map_err(|_| NO_NUMBER)?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(OVERFLOW)
    }
}

/// A whole number of 64 bits, also as `3.0` or `3e2`.
pub(super) fn whole(plain: &str) -> Result<i64, &'static str> {
    if let Ok(number) = plain.parse() {
        return Ok(number);
    }
    match Decimal::parse(plain) {
        Some(decimal) => decimal.whole().ok_or(if decimal.exponent < 0 {
            "no whole number"
        } else {
            OVERFLOW
        }),
        None => Err(NO_NUMBER),
    }
}

/// A finite number of a typed file.
pub(super) fn finite(number: f64) -> Result<f64, &'static str> {
    if number.is_finite() {
        Ok(number)
    } else {
        Err(NOT_FINITE)
    }
}

/// The same in 32 bits.
pub(super) fn finite_single(number: f64) -> Result<f32, &'static str> {
    let single = finite(number)? as f32;
    if single.is_finite() {
        Ok(single)
    } else {
        Err(OVERFLOW)
    }
}

/// A whole number of a typed file that was written as one with a fraction.
pub(super) fn exact(number: f64) -> Result<i64, &'static str> {
    let finite = finite(number)?;
    // Two to the power of 63 itself does not fit.
    if finite.fract() != 0.0 {
        Err("no whole number")
    } else if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&finite) {
        Ok(finite as i64)
    } else {
        Err(OVERFLOW)
    }
}
