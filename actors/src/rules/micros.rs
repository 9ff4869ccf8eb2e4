//! Spans of time as rule files write them.

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest span, microseconds: a hundred years. Added to any time that a record may have, it is a
/// time still; and a float has all of its digits.
const LONGEST_US: f64 = 36_525.0 * 86_400e6;

/// A span of time, written as `"500ms"`, `"30s"`, `"5m"`, `"1h"` or `"2d"`; kept in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

impl Micros {
    /// Reads a span.
    ///
    /// # Errors
    /// When it is not a number with a unit, or longer than a hundred years.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim() {
            "us" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "m" | "min" => 60e6,
            "h" => 3600e6,
            "d" => 86_400e6,
            _ => {
                return Err(format!(
                    "'{text}' is not a duration: write a number and a unit, such as 500ms, 30s, 5m, 1h or 2d"
                ));
            }
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("'{text}' is not a duration: '{number}' is no number"))?;
        let micros = number * factor;
        if micros > LONGEST_US {
            return Err(format!(
                "'{text}' is longer than a hundred years: write a shorter duration"
            ));
        }
        Ok(Self(micros as i64))
    }

    /// True of no time at all.
    pub(super) fn is_nothing(&self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [
            (86_400_000_000, "d"),
            (3_600_000_000, "h"),
            (60_000_000, "m"),
            (1_000_000, "s"),
            (1_000, "ms"),
        ];
        let whole = units
            .iter()
            .find(|(unit, _)| self.0 != 0 && self.0 % unit == 0);
        let (unit, name) = whole.copied().unwrap_or((1, "us"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

/// Reads the text of a span.
struct SpanReader;

impl Visitor<'_> for SpanReader {
    type Value = Micros;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a duration with its unit, in quotes, such as \"30s\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Micros, E> {
        Micros::parse(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanReader)
    }
}

#[cfg(test)]
mod tests {
    use super::Micros;

    #[test]
    fn a_span_of_more_than_a_hundred_years_is_refused_before_times_overflow() {
        let century = Micros::parse("36525d").unwrap();
        assert_eq!(century, Micros(3_155_760_000_000_000));
        assert_eq!(Micros::parse(&century.to_string()), Ok(century));
        for long in ["36526d", "9999999999999999999999d", "9223372036854775807us"] {
            let why = Micros::parse(long).unwrap_err();
            assert!(why.contains(long) && why.contains("hundred years"), "{why}");
        }
    }
}
