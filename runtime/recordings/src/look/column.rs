//! What the cells of a column are, gathered over the rows of a file.

use std::collections::BTreeSet;

use theatre_schemas::dataset::ColumnType;

use crate::cells::{CellRules, Read, Value};
use crate::records::Cell;

/// Most values that are kept for the distribution of a column.
const SAMPLE_MAX: usize = 4096;

/// Most texts that are kept to find the form of times.
const TEXTS_MAX: usize = 256;

/// Most different values that are counted.
const DISTINCT_MAX: usize = 1000;

/// Share of the cells that must be numbers for the others to be bad cells.
const NUMBERS_AT_LEAST: f64 = 0.95;

/// A sample of what came, evenly spread, in bounded memory.
#[derive(Debug, Clone)]
struct Sample<T> {
    kept: Vec<T>,
    most: usize,
    stride: u64,
    came: u64,
}

impl<T> Sample<T> {
    fn new(most: usize) -> Self {
        Self {
            kept: Vec::new(),
            most,
            stride: 1,
            came: 0,
        }
    }

    fn take(&mut self, value: impl FnOnce() -> T) {
        if self.came.is_multiple_of(self.stride) {
            if self.kept.len() == self.most {
                let mut number = 0u64;
                self.kept.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                self.stride *= 2;
            }
            if self.came.is_multiple_of(self.stride) {
                self.kept.push(value());
            }
        }
        self.came += 1;
    }
}

/// What the cells of a column were.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Rows that were looked at.
    pub rows: u64,
    /// Cells without a value.
    pub missing: u64,
    /// Cells that are numbers.
    pub numbers: u64,
    /// Smallest and greatest number.
    pub range: Option<(f64, f64)>,
    whole: u64,
    /// Whole numbers of more than 64 bits, written with all their digits.
    beyond: u64,
    /// Numbers without an end, which no field takes.
    infinite: u64,
    words: u64,
    zeros: u64,
    ones: u64,
    flags: u64,
    times: u64,
    falls: bool,
    last: Option<f64>,
    values: Sample<f64>,
    texts: Sample<String>,
    distinct: BTreeSet<String>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            rows: 0,
            missing: 0,
            numbers: 0,
            range: None,
            whole: 0,
            beyond: 0,
            infinite: 0,
            words: 0,
            zeros: 0,
            ones: 0,
            flags: 0,
            times: 0,
            falls: false,
            last: None,
            values: Sample::new(SAMPLE_MAX),
            texts: Sample::new(TEXTS_MAX),
            distinct: BTreeSet::new(),
        }
    }
}

impl Profile {
    /// Takes the cell of a row.
    pub(super) fn take(&mut self, cell: &Cell, rules: &CellRules) {
        self.rows += 1;
        let text = match cell {
            Cell::Missing => {
                self.missing += 1;
                return;
            }
            Cell::Text(text) => {
                let text = text.trim();
                if rules.is_missing(text) {
                    self.missing += 1;
                    return;
                }
                text.to_owned()
            }
            Cell::Integer(number) => number.to_string(),
            Cell::Number(number) if number.is_nan() => {
                self.missing += 1;
                return;
            }
            Cell::Number(number) => number.to_string(),
            Cell::Flag(flag) => {
                self.flags += 1;
                flag.to_string()
            }
            Cell::Time(nanos) => {
                self.times += 1;
                nanos.to_string()
            }
        };
        let is_typed = matches!(cell, Cell::Flag(_) | Cell::Time(_));
        if !is_typed {
            if let Read::Value(Value::Number(number)) = rules.read(cell, ColumnType::Float64, true)
            {
                self.number(number, matches!(cell, Cell::Integer(_)) || is_whole(&text));
                self.beyond += u64::from(matches!(cell, Cell::Text(_)) && is_beyond(&text));
            } else if is_flag_word(&text) {
                self.words += 1;
            } else if text.parse().is_ok_and(f64::is_infinite) {
                self.infinite += 1;
            }
        }
        self.texts.take(|| text.clone());
        if self.distinct.len() <= DISTINCT_MAX {
            self.distinct.insert(text);
        }
    }

    fn number(&mut self, number: f64, is_whole: bool) {
        self.numbers += 1;
        self.whole += u64::from(is_whole);
        self.zeros += u64::from(number == 0.0);
        self.ones += u64::from(number == 1.0);
        let (least, most) = self.range.unwrap_or((number, number));
        self.range = Some((least.min(number), most.max(number)));
        self.falls |= self.last.is_some_and(|last| number < last);
        self.last = Some(number);
        self.values.take(|| number);
    }

    /// Cells with a value.
    pub fn present(&self) -> u64 {
        self.rows - self.missing
    }

    /// Cells with a value that is no number though the column is one of numbers.
    pub fn bad(&self) -> u64 {
        self.present() - self.numbers
    }

    /// The type of the column; none when no cell has a value. `whole_file` says whether no other
    /// rows can come that have other values.
    pub(super) fn column_type(&self, name: &str, whole_file: bool) -> Option<ColumnType> {
        let present = self.present();
        if present == 0 {
            return None;
        }
        if self.times == present {
            return Some(ColumnType::TimestampMicros);
        }
        let both = self.zeros > 0 && self.ones > 0 || is_flag_name(name);
        if self.words + self.flags == present
            || whole_file && both && self.zeros + self.ones == present
        {
            return Some(ColumnType::Boolean);
        }
        if self.whole == present && whole_file {
            return Some(ColumnType::Int64);
        }
        if self.has_long_numbers() {
            return Some(ColumnType::Utf8);
        }
        // What has no end costs its row, but makes no text of its column.
        let like_numbers = self.numbers + self.infinite;
        if self.numbers > 0 && like_numbers as f64 >= NUMBERS_AT_LEAST * present as f64 {
            return Some(ColumnType::Float64);
        }
        Some(ColumnType::Utf8)
    }

    /// Whether all are whole numbers and some have more than 64 bits: as numbers they would lose
    /// digits.
    pub(super) fn has_long_numbers(&self) -> bool {
        self.beyond > 0 && self.whole + self.beyond == self.present()
    }

    /// Texts of cells, evenly spread.
    pub(super) fn texts(&self) -> Vec<&str> {
        self.texts.kept.iter().map(String::as_str).collect()
    }

    /// How many different values there are; none when they are too many to count.
    pub fn distinct(&self) -> Option<usize> {
        (self.distinct.len() <= DISTINCT_MAX).then_some(self.distinct.len())
    }

    /// Whether all cells are times of a typed file.
    pub(super) fn is_time(&self) -> bool {
        self.times > 0 && self.times == self.present()
    }

    /// Whether all cells are numbers.
    pub(super) fn is_number(&self) -> bool {
        self.numbers > 0 && self.numbers == self.present()
    }

    /// Whether the numbers never fall from row to row, and do rise.
    pub(super) fn rises(&self) -> bool {
        !self.falls && self.range.is_some_and(|(least, most)| least < most)
    }

    /// Whether all numbers are whole.
    pub fn is_whole(&self) -> bool {
        self.whole == self.numbers
    }

    /// The value below which this share of the numbers lies.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let mut sorted = self.values.kept.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = (share * (sorted.len().checked_sub(1)?) as f64).round() as usize;
        sorted.get(at).copied()
    }
}

fn is_whole(text: &str) -> bool {
    text.parse::<i64>().is_ok()
}

fn is_beyond(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit()) && !is_whole(text)
}

fn is_flag_word(text: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a name is one that flags have.
pub(crate) fn is_flag_name(name: &str) -> bool {
    let name = name.to_lowercase();
    [
        "stop",
        "alarm",
        "error",
        "fault",
        "fail",
        "lost",
        "anomal",
        "warn",
        "emergency",
        "flag",
        "enabled",
        "is_",
    ]
    .iter()
    .any(|word| name.contains(word))
}
