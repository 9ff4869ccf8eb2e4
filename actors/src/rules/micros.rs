//! Spans of time as rule files write them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time, written as `"500ms"`, `"30s"`, `"5m"`, `"1h"` or `"2d"`; kept in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

impl Micros {
    /// Reads a span.
    ///
    /// # Errors
    /// When it is not a number with a unit.
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
        Ok(Self((number * factor) as i64))
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

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
