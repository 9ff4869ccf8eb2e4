//! Values that are neither records nor arrays, maps or unions of several types.

use serde_json::Value;

use crate::avro_type::{AvroType, Logical};
use crate::decode::{DATE_RANGE, TIMESTAMP_RANGE};

/// Appends a value and returns true; or appends nothing and returns false, because the value does
/// not fit or is no scalar.
pub(super) fn write(avro_type: &AvroType, value: &Value, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let written = try_write(avro_type, value, out).is_some();
    if !written {
        out.truncate(start);
    }
    written
}

fn try_write(avro_type: &AvroType, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match avro_type {
        AvroType::Null => value.is_null().then_some(()),
        AvroType::Boolean => {
            out.push(u8::from(value.as_bool()?));
            Some(())
        }
        AvroType::Int(Logical::Date) => {
            varint(i64::from(date(value)?), out);
            Some(())
        }
        AvroType::Int(_) => {
            varint(i64::from(i32::try_from(whole(value)?).ok()?), out);
            Some(())
        }
        AvroType::Long(logical) => {
            varint(long(*logical, value)?, out);
            Some(())
        }
        AvroType::Float => {
            let number = number(value)?;
            let narrow = number as f32;
            // A number that a float cannot come near is no rounding any more.
            (narrow.is_finite() || !number.is_finite()).then_some(())?;
            out.extend_from_slice(&narrow.to_le_bytes());
            Some(())
        }
        AvroType::Double => {
            out.extend_from_slice(&number(value)?.to_le_bytes());
            Some(())
        }
        AvroType::String => {
            bytes(value.as_str()?.as_bytes(), out);
            Some(())
        }
        AvroType::Bytes(logical) => {
            bytes(&blob(*logical, value)?, out);
            Some(())
        }
        AvroType::Fixed(size, logical) => fixed(*size, *logical, value, out),
        AvroType::Enum { symbols, .. } => {
            let symbol = value.as_str()?;
            let index = symbols.iter().position(|known| known == symbol)?;
            varint(index as i64, out);
            Some(())
        }
        AvroType::Union(branches) => {
            // The common union: null and one type.
            let [first, second] = branches.as_slice() else {
                return None;
            };
            for (index, branch) in [first, second].into_iter().enumerate() {
                let start = out.len();
                varint(index as i64, out);
                if try_write(branch, value, out).is_some() {
                    return Some(());
                }
                out.truncate(start);
            }
            None
        }
        AvroType::Record(_) | AvroType::Array { .. } | AvroType::Map(_) => None,
    }
}

/// The bytes of a value: a decimal, or what a text in hex says.
fn blob(logical: Logical, value: &Value) -> Option<Vec<u8>> {
    match logical {
        Logical::Decimal { precision, scale } => {
            let unscaled = decimal(value, scale)?;
            let beyond = 10_u128.checked_pow(precision);
            let fits = beyond.is_none_or(|beyond| unscaled.unsigned_abs() < beyond);
            fits.then(|| shortest(unscaled))
        }
        _ => hex(value.as_str()?),
    }
}

/// The same in as many bytes as the type has.
fn fixed(size: usize, logical: Logical, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    let bytes = blob(logical, value)?;
    let padding = size.checked_sub(bytes.len())?;
    if !matches!(logical, Logical::Decimal { .. }) && padding > 0 {
        return None;
    }
    let is_negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    out.extend(std::iter::repeat_n(
        if is_negative { 0xff } else { 0 },
        padding,
    ));
    out.extend_from_slice(&bytes);
    Some(())
}

/// What is expected of a value, in words.
pub(super) fn expected(avro_type: &AvroType) -> String {
    match avro_type {
        AvroType::Null => "null".to_owned(),
        AvroType::Boolean => "true or false".to_owned(),
        AvroType::Int(Logical::Date) => "a date such as 2026-01-31".to_owned(),
        AvroType::Int(_) => "a whole number of 32 bits".to_owned(),
        AvroType::Long(Logical::TimestampMicros | Logical::TimestampMillis) => {
            "a time such as 2026-01-31T12:00:00.000001Z, or microseconds since 1970 (no seconds, milliseconds or nanoseconds)".to_owned()
        }
        AvroType::Long(_) => "a whole number of 64 bits".to_owned(),
        AvroType::Float | AvroType::Double => "a number".to_owned(),
        AvroType::Bytes(Logical::Decimal { precision, scale })
        | AvroType::Fixed(_, Logical::Decimal { precision, scale }) => {
            let as_text = match *precision as usize > EXACT_DIGITS {
                true => format!("; as a text where it has more than {EXACT_DIGITS}"),
                false => String::new(),
            };
            format!(
                "a decimal number with at most {scale} digits after the point, {precision} in all{as_text}"
            )
        }
        AvroType::Bytes(_) => "bytes as text in hex".to_owned(),
        AvroType::Fixed(size, _) => format!("{size} bytes as text in hex"),
        AvroType::String => "a text".to_owned(),
        AvroType::Enum { symbols, .. } => format!("one of {}", symbols.join(", ")),
        AvroType::Record(_) => "an object".to_owned(),
        AvroType::Array { .. } => "an array".to_owned(),
        AvroType::Map(_) => "an object of values by name".to_owned(),
        AvroType::Union(branches) => {
            let others = branches
                .iter()
                .filter(|branch| !matches!(branch, AvroType::Null));
            let kinds: Vec<String> = others.map(expected).collect();
            kinds.join(" or ")
        }
    }
}

/// A whole number, also one that is written as `3.0`.
fn whole(value: &Value) -> Option<i64> {
    /// The first number that an `i64` has no room for.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    value.as_i64().or_else(|| {
        let number = value.as_f64()?;
        let fits = value.is_f64() && number.fract() == 0.0 && (-BEYOND..BEYOND).contains(&number);
        fits.then_some(number as i64)
    })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => no_number(text),
        _ => None,
    }
}

/// A number that JSON has no form for.
pub(super) fn no_number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn long(logical: Logical, value: &Value) -> Option<i64> {
    let micros = match (logical, value) {
        (Logical::TimestampMicros | Logical::TimestampMillis, Value::String(text)) => micros(text)?,
        (Logical::TimestampMicros | Logical::TimestampMillis, _) => {
            whole(value).filter(|micros| !is_other_unit(*micros))?
        }
        _ => whole(value)?,
    };
    match logical {
        Logical::TimestampMillis => Some(micros.div_euclid(1000)),
        _ => Some(micros),
    }
}

/// Microseconds since 1970 of a time of RFC 3339. A 60th second is taken for the 59th where a leap second can
/// be, and is none elsewhere.
pub(super) fn micros(text: &str) -> Option<i64> {
    const DAY_S: i64 = 86_400;
    let micros = text.parse::<jiff::Timestamp>().ok()?.as_microsecond();
    let is_last = || (micros.div_euclid(1_000_000) + 1).rem_euclid(DAY_S) == 0;
    let is_time = TIMESTAMP_RANGE.contains(&micros) && (!text.contains(":60") || is_last());
    is_time.then_some(micros)
}

/// Whether a number counts no microseconds since 1970 but seconds, milliseconds or nanoseconds: as
/// one of these it is of our time, as microseconds in early 1970 or in no year that is taken.
pub(super) fn is_other_unit(micros: i64) -> bool {
    const SECONDS: std::ops::Range<i64> = 1_000_000_000..5_000_000_000;
    SECONDS.contains(&micros)
        || SECONDS.contains(&(micros / 1000))
        || !TIMESTAMP_RANGE.contains(&micros)
}

fn date(value: &Value) -> Option<i32> {
    let days = match value.as_str() {
        Some(text) => {
            let date: jiff::civil::Date = text.parse().ok()?;
            date.since(jiff::civil::date(1970, 1, 1)).ok()?.get_days()
        }
        None => i32::try_from(whole(value)?).ok()?,
    };
    DATE_RANGE.contains(&i64::from(days)).then_some(days)
}

/// Digits that a number in JSON keeps, whichever they are: it is read as a `f64`.
const EXACT_DIGITS: usize = 15;

/// Most zeros that are added to the digits of a decimal: only 0 has room for more.
const ZEROS_MAX: usize = 64;

/// The digits of a decimal as a whole number: 12.3 with two digits after the point is 1230.
fn decimal(value: &Value, scale: u32) -> Option<i128> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let after = after.trim_end_matches('0');
    let missing = (scale as usize).checked_sub(after.len());
    let missing = missing.filter(|missing| *missing <= ZEROS_MAX)?;
    let all = format!("{before}{after}{}", "0".repeat(missing));
    let plain = !before.is_empty() && all.bytes().all(|digit| digit.is_ascii_digit());
    if value.is_f64() && format!("{before}{after}").trim_start_matches('0').len() > EXACT_DIGITS {
        return None;
    }
    let unscaled: i128 = plain.then(|| all.parse().ok()).flatten()?;
    Some(if negative { -unscaled } else { unscaled })
}

/// A number in as few bytes of two's complement as hold it, the highest first.
fn shortest(unscaled: i128) -> Vec<u8> {
    let bytes = unscaled.to_be_bytes();
    let filler = if unscaled < 0 { 0xff } else { 0 };
    let is_sign = |byte: u8| (byte & 0x80) == (filler & 0x80);
    let mut first = 0;
    while first + 1 < bytes.len() && bytes[first] == filler && is_sign(bytes[first + 1]) {
        first += 1;
    }
    bytes[first..].to_vec()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    // What reads numbers takes a sign, too.
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

/// Bytes after their length.
pub(super) fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// Avro's variable-length number, zigzag.
pub(super) fn varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
