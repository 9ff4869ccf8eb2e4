//! The mapping: how the columns of a file become the fields of a schema. A TOML file beside the
//! schema; the doc comments of its keys are the reference in `docs/inputs.md`.

mod check;
mod robot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_config::{ConfigError, ConfigPath};

use crate::csv::{Delimiter, Dialect, HeaderLine};
use robot::Pattern;

/// What a cell that cannot be read costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadCells {
    /// The value is missing and the cell is counted, where the schema allows null; elsewhere the
    /// row is refused.
    #[default]
    Null,
    /// The row is refused.
    Refuse,
}

/// Where the names of the columns stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    /// In the first line, of the first hundred, that has all names of the mapping; lines before it
    /// are left out.
    #[default]
    Line,
    /// Nowhere: the first line is a row. `names` gives the names; without it they are `#1`, `#2`
    /// and so on.
    None,
}

/// Which of two times is meant by an hour that is there twice, when clocks go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepeatedHour {
    /// The first, in summer time.
    First,
    /// The second, in winter time.
    Second,
    /// The first, until the times of a robot jump back by more than half an hour: its rows stand
    /// in the order of time, or in that order backwards.
    ByOrder,
}

/// What `time_start` is the time of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeZero {
    /// Of the number 0, as when a controller counts since it was switched on then.
    #[default]
    Start,
    /// Of the first row of the file, whatever number stands there.
    FirstRow,
}

/// How a file becomes telemetry.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Avro schema of the records.
    #[schemars(with = "ConfigPath")]
    pub schema: PathBuf,
    /// Rule file; used when no configuration names one.
    #[schemars(with = "Option<ConfigPath>")]
    pub rules: Option<PathBuf>,

    /// Topic of an MCAP file; absent: the only one that can be read.
    pub topic: Option<String>,

    /// The robot of all rows.
    pub robot_id: Option<String>,
    /// Column that names the robot of a row.
    pub robot_column: Option<String>,
    /// Pattern of the file's name that says the robot, such as `"log_{robot}_*.csv"`: `*` stands
    /// for any text, `{robot}` for as few characters as fit. With a `/` it is compared with the
    /// folders above the file, too: `"{robot}/*.csv"`. An ending `.gz` or `.zst` of the file may
    /// be left out.
    pub robot_from_file: Option<String>,

    /// Column of the time.
    pub time_column: Option<String>,
    /// Column of the date, where date and time stand apart.
    pub date_column: Option<String>,
    /// Column of the nanoseconds within the second, where they stand apart (`secs` and `nsecs` of
    /// ROS).
    pub nanos_column: Option<String>,
    /// How times are written. `rfc3339`; `year_first`, `month_first` or `day_first` for dates such
    /// as `2026/01/31`, `01/31/2026` or `31.01.26`, with hours of 24 or AM and PM; `epoch_s`,
    /// `epoch_ms`, `epoch_us` or `epoch_ns` for numbers since 1970, also with fractions or
    /// exponents; `elapsed_s`, `elapsed_ms`, `elapsed_us`, `elapsed_ns`, `elapsed_100ns`,
    /// `elapsed_min` or `elapsed_h` for numbers since `time_start`, `elapsed_hms` for hours, minutes
    /// and seconds since then, which go on after midnight; `excel`, `matlab`, `julian` or
    /// `modified_julian` for days as workbooks, MATLAB or astronomers count them; or a pattern such
    /// as `"%d.%m.%Y %H-%M-%S%.f"` (as of strftime). Absent: times with a zone, and, with
    /// `time_zone`, those without one that begin with the year or name the month; with
    /// `time_start`, `elapsed_s`.
    pub time_format: Option<String>,
    /// Zone of times that are written without one: a name of the IANA database, such as
    /// `"Europe/Berlin"`, `"UTC"`, or an offset, such as `"+02:00"`. A time in an hour that a
    /// change of clocks leaves out costs its row.
    pub time_zone: Option<String>,
    /// Which time is meant by one that is there twice, when clocks go back. Absent: it costs its
    /// row.
    pub repeated_hour: Option<RepeatedHour>,
    /// The time from which `elapsed_s` and its like, `rate` and `period` count, such as
    /// `"2026-01-31T08:00:00Z"`.
    pub time_start: Option<String>,
    /// What `time_start` is the time of.
    #[serde(default)]
    pub time_zero: TimeZero,
    /// Rows a second, such as `"125Hz"`, of a file without times: the first line of a robot in each
    /// file has the time `time_start`. A line that is refused takes its time with it.
    pub rate: Option<String>,
    /// Time from row to row, such as `"8ms"`, in place of `rate`.
    pub period: Option<String>,

    /// Column that numbers the rows of a robot.
    pub sequence_column: Option<String>,
    /// By how much that column grows from row to row.
    #[serde(default = "one")]
    pub sequence_step: i64,

    /// What stands between cells: one or several characters, `"\t"` for a tab, or `"blanks"` for
    /// one or several blanks and tabs.
    #[serde(default = "comma")]
    pub delimiter: String,
    /// Sign around cells that hold delimiters or line ends, doubled within them; `""`: there is
    /// none. Within a cell that does not begin with it, it is text.
    #[serde(default = "double_quote")]
    pub quote: String,
    /// Sign that takes the meaning from the next one within quotes, such as `"\\"`.
    pub escape: Option<String>,
    /// What begins a line that is a comment.
    pub comment: Option<String>,
    /// Where the names of the columns stand.
    #[serde(default)]
    pub header: Header,
    /// Names of the columns, from the left, in place of those in the file.
    #[serde(default)]
    pub names: Vec<String>,
    /// Lines at the beginning that belong to nothing.
    #[serde(default)]
    pub skip_lines: u64,
    /// Lines after the header that are no rows, such as one of units.
    #[serde(default)]
    pub skip_after_header: u64,
    /// Lines at the end that are no rows, such as one of sums; blank ones do not count.
    #[serde(default)]
    pub footer_lines: usize,
    /// Encoding of the text, such as `"windows-1252"`, `"latin1"`, `"utf-16le"` or `"shift_jis"`.
    /// Absent: UTF-8, or UTF-16 where the file begins like it. A byte order mark is believed in
    /// any case.
    pub encoding: Option<String>,

    /// Decimal separator.
    #[serde(default = "point")]
    pub decimal: char,
    /// Sign between groups of three digits, such as `","`, `"."`, `"'"` or `" "`. Absent: there is
    /// none, and a number with one cannot be read.
    pub thousands: Option<char>,
    /// Words that stand for a missing value, in any case of letters, in place of the usual ones;
    /// a blank cell is one in any case.
    pub missing: Option<Vec<String>>,
    /// What a cell that cannot be read costs.
    #[serde(default)]
    pub bad_cells: BadCells,

    /// Field of the schema = column of the file. A column is named as its header has it, with or
    /// without the unit that stands there in brackets; `"name#2"` is the second of several of one
    /// name, `"#5"` the fifth of all.
    pub columns: BTreeMap<String, String>,
    /// Boolean fields whose rising edges the summary looks back from.
    #[serde(default)]
    pub events: Vec<String>,
}

fn one() -> i64 {
    1
}

fn comma() -> String {
    ",".to_owned()
}

fn double_quote() -> String {
    "\"".to_owned()
}

fn point() -> char {
    '.'
}

impl Mapping {
    /// Reads a mapping file; the paths in it are relative to its folder.
    ///
    /// # Errors
    /// Names the file and the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError(format!(
                "mapping {} cannot be read: {error}",
                path.display()
            ))
        })?;
        let mut mapping: Self = theatre_config::parse(path, &text)?;
        let base = path.parent().unwrap_or(Path::new("."));
        mapping.schema = base.join(&mapping.schema);
        mapping.rules = mapping.rules.map(|rules| base.join(rules));
        Ok(mapping)
    }

    /// The columns that it names.
    pub fn wanted(&self) -> Vec<String> {
        let roles = [
            &self.robot_column,
            &self.date_column,
            &self.time_column,
            &self.nanos_column,
            &self.sequence_column,
        ];
        let roles = roles.into_iter().flatten();
        roles.chain(self.columns.values()).cloned().collect()
    }

    /// How its text files are written.
    ///
    /// # Errors
    /// Names the key whose value has no meaning.
    pub fn dialect(&self) -> Result<Dialect, ConfigError> {
        let one_sign = |key: &str, value: &str| {
            let mut signs = value.chars();
            match (signs.next(), signs.next()) {
                (sign, None) => Ok(sign),
                _ => Err(ConfigError(format!(
                    "mapping: {key} must be one character, not '{value}'"
                ))),
            }
        };
        let delimiter = match self.delimiter.as_str() {
            "" => {
                return Err(ConfigError(
                    "mapping: the delimiter is empty; \"blanks\" is for one or several blanks"
                        .to_owned(),
                ));
            }
            "blanks" => Delimiter::Blanks,
            "tab" | "\\t" => Delimiter::Text("\t".to_owned()),
            text => Delimiter::Text(text.to_owned()),
        };
        Ok(Dialect {
            delimiter,
            quote: one_sign("quote", &self.quote)?,
            escape: match &self.escape {
                Some(escape) => one_sign("escape", escape)?,
                None => None,
            },
            comment: self.comment.clone().filter(|comment| !comment.is_empty()),
            header: match self.header {
                Header::Line => HeaderLine::Found,
                Header::None => HeaderLine::Absent,
            },
            names: self.names.clone(),
            skip_lines: self.skip_lines,
            skip_after_header: self.skip_after_header,
            footer_lines: self.footer_lines,
            wanted: self.wanted(),
        })
    }

    /// The robot of all rows of a file; none when a column names it.
    ///
    /// # Errors
    /// When the file's name does not fit the pattern.
    pub fn robot_of_file(&self, file: &str) -> Result<Option<String>, String> {
        let Some(pattern) = &self.robot_from_file else {
            return Ok(self.robot_id.clone());
        };
        if file == "-" {
            return Err(
                "robot_from_file needs the name of a file, and standard input has none: give \
                 robot_id or robot_column in the mapping"
                    .to_owned(),
            );
        }
        match Pattern::parse(pattern)?.robot(file) {
            Some(robot) => Ok(Some(robot)),
            None => Err(format!(
                "the name of the file does not fit robot_from_file = \"{pattern}\""
            )),
        }
    }
}
