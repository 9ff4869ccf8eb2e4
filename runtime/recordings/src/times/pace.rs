//! How fast the rows of a file without times come.

use crate::cells::decimal::Decimal;

/// A number and a unit, such as `125Hz`.
fn quantity(text: &str) -> Option<(Decimal, String)> {
    let text = text.trim();
    let end = text
        .find(|sign: char| sign.is_alphabetic())
        .unwrap_or(text.len());
    let number = Decimal::parse(text[..end].trim())?;
    Some((number, text[end..].to_ascii_lowercase()))
}

/// Nanoseconds and the rows in them of a rate such as `125Hz`.
///
/// # Errors
/// When it is none.
pub(super) fn of_rate(rate: &str) -> Result<(i128, i128), String> {
    let wrong = || format!("rate = \"{rate}\" is no rate such as \"125Hz\" or \"1kHz\"");
    let (number, unit) = quantity(rate).ok_or_else(wrong)?;
    let factor = match unit.as_str() {
        "hz" => 1,
        "khz" => 1_000,
        _ => return Err(wrong()),
    };
    // Millionths of a Hertz keep fractions.
    let rows = number
        .times(factor * 1_000_000)
        .filter(|rows| *rows > 0)
        .ok_or_else(wrong)?;
    Ok((1_000_000_000 * 1_000_000, rows))
}

/// Nanoseconds of a period such as `8ms`.
///
/// # Errors
/// When it is none.
pub(super) fn of_period(period: &str) -> Result<i128, String> {
    let wrong = || format!("period = \"{period}\" is no time such as \"8ms\", \"1s\" or \"10min\"");
    let (number, unit) = quantity(period).ok_or_else(wrong)?;
    let factor = match unit.as_str() {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" | "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(wrong()),
    };
    number
        .times(factor)
        .filter(|nanos| *nanos > 0)
        .ok_or_else(wrong)
}
