//! Cells as values: numbers, flags, texts and what is missing.

pub mod decimal;
mod number;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use theatre_schemas::dataset::ColumnType;

use crate::mapping::{BadCells, Mapping};
use crate::records::Cell;

/// Words that stand for a missing value, in any case of letters, unless a mapping has its own.
pub const MISSING: &[&str] = &[
    "nan",
    "-nan",
    "+nan",
    "nan(ind)",
    "-nan(ind)",
    "1.#qnan",
    "-1.#ind",
    "1.#ind",
    "#n/a",
    "\\n",
    "(null)",
    "#na",
    "n/a",
    "n.a.",
    "na",
    "<na>",
    "null",
    "none",
    "nil",
    "nat",
    "missing",
    "-",
    "--",
    "---",
    "?",
    "#value!",
    "#div/0!",
    "#num!",
    "#ref!",
];

/// A value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A flag.
    Flag(bool),
    /// A whole number of 32 or 64 bits.
    Whole(i64),
    /// A number of 32 bits.
    Single(f32),
    /// A number of 64 bits.
    Number(f64),
    /// A text.
    Text(String),
    /// A time, microseconds since 1970-01-01T00:00:00Z.
    Time(i64),
    /// Days since 1970-01-01.
    Day(i32),
}

/// What a cell says.
#[derive(Debug, Clone, PartialEq)]
pub enum Read {
    /// This value.
    Value(Value),
    /// Nothing.
    Missing,
    /// Something that the field cannot hold: why.
    Bad(&'static str),
}

/// How cells are read.
#[derive(Debug, Clone)]
pub struct CellRules {
    decimal: char,
    thousands: Option<char>,
    missing: HashSet<String>,
    /// Whether the mapping lists them; the usual ones have no plain number among them.
    are_own: bool,
    /// The first bytes of those words.
    first: Box<[bool; 256]>,
    bad_cells: BadCells,
}

impl CellRules {
    /// The rules of a mapping.
    pub fn new(mapping: &Mapping) -> Self {
        let own = mapping.missing.iter().flatten();
        let own: HashSet<String> = own.map(|word| word.trim().to_lowercase()).collect();
        let missing = if mapping.missing.is_some() {
            own
        } else {
            MISSING.iter().map(|word| (*word).to_owned()).collect()
        };
        let mut first = Box::new([false; 256]);
        for byte in missing.iter().filter_map(|word| word.bytes().next()) {
            first[usize::from(byte)] = true;
        }
        Self {
            decimal: mapping.decimal,
            thousands: mapping.thousands,
            missing,
            are_own: mapping.missing.is_some(),
            first,
            bad_cells: mapping.bad_cells,
        }
    }

    /// Whether a cell that cannot be read costs its row in any case.
    pub fn costs_row(&self) -> bool {
        self.bad_cells == BadCells::Refuse
    }

    /// Whether a text stands for a missing value.
    pub fn is_missing(&self, text: &str) -> bool {
        let Some(first) = text.bytes().next() else {
            return true;
        };
        // Nearly all cells begin like no such word, or are plain numbers.
        let is_number = text
            .trim_start_matches('-')
            .starts_with(|sign: char| sign.is_ascii_digit());
        self.first[usize::from(first.to_ascii_lowercase())]
            && (!is_number || self.are_own || text.contains('#'))
            && self.missing.contains(&text.to_lowercase())
    }

    /// Reads a cell as a field of this type. A word for a missing value is a text where the field
    /// is one that cannot be null.
    pub fn read(&self, cell: &Cell, column_type: ColumnType, is_nullable: bool) -> Read {
        match cell {
            Cell::Missing => Read::Missing,
            Cell::Text(text) => {
                let text = text.trim();
                let is_text = column_type == ColumnType::Utf8;
                if text.is_empty() || (is_nullable || !is_text) && self.is_missing(text) {
                    return Read::Missing;
                }
                judged(self.text(text, column_type))
            }
            Cell::Number(number) if number.is_nan() => Read::Missing,
            cell => judged(typed(cell, column_type)),
        }
    }

    /// A whole number, for what counts rows.
    pub fn whole(&self, cell: &Cell) -> Option<i64> {
        match self.read(cell, ColumnType::Int64, false) {
            Read::Value(Value::Whole(number)) => Some(number),
            _ => None,
        }
    }

    fn text(&self, text: &str, column_type: ColumnType) -> Result<Value, &'static str> {
        match column_type {
            ColumnType::Float64 => {
                let plain = self.plain(text)?;
                number::double(&plain).map(Value::Number)
            }
            ColumnType::Float32 => {
                let plain = self.plain(text)?;
                number::single(&plain).map(Value::Single)
            }
            ColumnType::Int64 => {
                let plain = self.plain(text)?;
                number::whole(&plain).map(Value::Whole)
            }
            ColumnType::Int32 => {
                let plain = self.plain(text)?;
                small(number::whole(&plain)?)
            }
            ColumnType::Boolean => self.flag(text).map(Value::Flag),
            ColumnType::Utf8 => Ok(Value::Text(text.to_owned())),
            ColumnType::Date => {
                let day: jiff::civil::Date = text.parse().map_err(|_| "no date as 2026-01-31")?;
                Ok(Value::Day(days(day)))
            }
            ColumnType::TimestampMicros => {
                let time: jiff::Timestamp = text
                    .parse()
                    .map_err(|_| "no time with a zone as 2026-01-31T08:00:00Z")?;
                Ok(Value::Time(time.as_microsecond()))
            }
            ColumnType::Binary => Err("bytes cannot come from text"),
            ColumnType::Decimal { .. } => Err("exact decimals come from producers only"),
        }
    }

    /// A number with a point and without separators of thousands.
    fn plain<'a>(&self, text: &'a str) -> Result<std::borrow::Cow<'a, str>, &'static str> {
        number::plain(text, self.decimal, self.thousands)
    }

    fn flag(&self, text: &str) -> Result<bool, &'static str> {
        let short = text.len() <= 5;
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" if short => Ok(true),
            "0" | "false" | "f" | "no" | "n" | "off" if short => Ok(false),
            _ => {
                let number = self
                    .plain(text)
                    .ok()
                    .and_then(|plain| number::double(&plain).ok());
                match number {
                    Some(1.0) => Ok(true),
                    Some(0.0) => Ok(false),
                    _ => Err("no flag (0, 1, true, false, yes, no, on, off)"),
                }
            }
        }
    }
}

fn judged(read: Result<Value, &'static str>) -> Read {
    match read {
        Ok(value) => Read::Value(value),
        Err(why) => Read::Bad(why),
    }
}

fn small(number: i64) -> Result<Value, &'static str> {
    i32::try_from(number)
        .map(|number| Value::Whole(number.into()))
        .map_err(|_| "a whole number that needs more than 32 bits (the field is an int)")
}

fn days(day: jiff::civil::Date) -> i32 {
    let epoch = jiff::civil::Date::constant(1970, 1, 1);
    day.duration_since(epoch).as_hours().div_euclid(24) as i32
}

/// A cell of a typed file.
fn typed(cell: &Cell, column_type: ColumnType) -> Result<Value, &'static str> {
    const OTHER: &str = "a value of another type than the field's";
    match (column_type, cell) {
        (ColumnType::Float64, Cell::Integer(number)) => Ok(Value::Number(*number as f64)),
        (ColumnType::Float64, Cell::Number(number)) => number::finite(*number).map(Value::Number),
        (ColumnType::Float32, Cell::Integer(number)) => Ok(Value::Single(*number as f32)),
        (ColumnType::Float32, Cell::Number(number)) => {
            number::finite_single(*number).map(Value::Single)
        }
        (ColumnType::Int64, Cell::Integer(number)) => Ok(Value::Whole(*number)),
        (ColumnType::Int32, Cell::Integer(number)) => small(*number),
        (ColumnType::Int64, Cell::Number(number)) => number::exact(*number).map(Value::Whole),
        (ColumnType::Int32, Cell::Number(number)) => small(number::exact(*number)?),
        (ColumnType::Boolean, Cell::Flag(flag)) => Ok(Value::Flag(*flag)),
        (ColumnType::Boolean, Cell::Integer(0)) => Ok(Value::Flag(false)),
        (ColumnType::Boolean, Cell::Integer(1)) => Ok(Value::Flag(true)),
        (ColumnType::Boolean, Cell::Number(number)) if *number == 0.0 => Ok(Value::Flag(false)),
        (ColumnType::Boolean, Cell::Number(number)) if *number == 1.0 => Ok(Value::Flag(true)),
        (ColumnType::Boolean, Cell::Integer(_) | Cell::Number(_)) => {
            Err("no flag (0, 1, true, false, yes, no, on, off)")
        }
        (ColumnType::Utf8, Cell::Integer(number)) => Ok(Value::Text(number.to_string())),
        (ColumnType::Utf8, Cell::Number(number)) => Ok(Value::Text(number.to_string())),
        (ColumnType::Utf8, Cell::Flag(flag)) => Ok(Value::Text(flag.to_string())),
        (ColumnType::TimestampMicros, Cell::Time(nanos)) => i64::try_from(nanos.div_euclid(1000))
            .map(Value::Time)
            .map_err(|_| OTHER),
        (ColumnType::Date, Cell::Time(nanos)) => {
            i32::try_from(nanos.div_euclid(86_400_000_000_000))
                .map(Value::Day)
                .map_err(|_| OTHER)
        }
        _ => Err(OTHER),
    }
}
