//! The first rows of a file as its mapping has them, and how fast rows come.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Column, Looked};
use crate::cells::{CellRules, Read, Value};
use crate::open;
use crate::records::{Cell, Place, ReadError, Record};
use crate::source::Input;
use crate::times::{Clock, TimeRules, Times};

/// Rows that are shown.
const ROWS_SHOWN: usize = 5;

/// Columns that are shown, beside robot and time.
const COLUMNS_SHOWN: usize = 6;

/// Rows by which the pace is judged.
const PACE_ROWS: usize = 5000;

impl Looked {
    /// Reads the first rows as the mapping has them, and how fast they come.
    pub(super) fn show(&mut self) -> Result<(), ReadError> {
        let shown_columns: Vec<&Column> = self.columns.iter().take(COLUMNS_SHOWN).collect();
        self.headings = ["robot", "time"].map(str::to_owned).to_vec();
        self.headings
            .extend(shown_columns.iter().map(|column| column.field.clone()));
        let mut records = open::records(Input::open(&self.file)?, &self.mapping)?;
        let names = records.columns().to_vec();
        let at = |name: &Option<String>| {
            let name = name.as_deref()?;
            names.iter().position(|known| known == name)
        };
        let rules = CellRules::new(&self.mapping);
        let named = self.robot()?;
        let mut clock = TimeRules::new(&self.mapping)
            .ok()
            .filter(|_| self.unclear.is_empty())
            .map(|rules| Clock::new(Arc::new(rules)));
        let robot_at = at(&self.mapping.robot_column);
        let date_at = at(&self.mapping.date_column);
        let time_at = at(&self.mapping.time_column);
        let nanos_at = at(&self.mapping.nanos_column);
        let shown = |column: &Column, cells: &[Cell]| {
            let at = names.iter().position(|name| *name == column.name);
            at.map_or(String::new(), |at| {
                value(rules.read(&cells[at], column.column_type, true))
            })
        };
        let (mut paces, mut first, mut rows) = (Paces::default(), Vec::new(), 0);
        while rows < PACE_ROWS {
            let record = match records.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                // Of a file that breaks off, what came before is shown.
                Err(_) if rows > 0 => break,
                Err(error) => return Err(error),
            };
            let Ok(Record { cells, .. }) = record else {
                continue;
            };
            rows += 1;
            let robot = match robot_at {
                Some(at) => plain(&cells[at]),
                None => named.clone().unwrap_or_default(),
            };
            let times = Times {
                date: date_at.map(|at| &cells[at]),
                time: time_at.map(|at| &cells[at]),
                nanos: nanos_at.map(|at| &cells[at]),
            };
            let read = clock.as_mut().map(|clock| clock.read(&times, &robot));
            if let Some(Ok(time)) = read {
                paces.take(&robot, time);
            }
            if first.len() < ROWS_SHOWN {
                let time = match read {
                    Some(Ok(time)) => written(time),
                    _ => format!("? {}", times.shown()),
                };
                let mut row = vec![robot, time];
                row.extend(shown_columns.iter().map(|column| shown(column, &cells)));
                first.push(row);
            }
        }
        self.first = first;
        self.pace_us = paces.usual();
        self.findings.extend(self.pace_us.map(|pace| {
            let seconds = pace as f64 / 1e6;
            format!("a row comes every {seconds} s, usually")
        }));
        Ok(())
    }
}

impl Looked {
    /// The robot of all rows, where no column names it.
    fn robot(&self) -> Result<Option<String>, ReadError> {
        let robot = self.mapping.robot_of_file(&self.file);
        robot.map_err(|why| ReadError {
            place: Place {
                file: self.file.as_str().into(),
                line: 0,
            },
            why,
        })
    }
}

/// Times from row to row of each robot.
#[derive(Default)]
struct Paces {
    last: BTreeMap<String, i64>,
    found: Vec<i64>,
}

impl Paces {
    fn take(&mut self, robot: &str, time: i64) {
        if let Some(before) = self.last.insert(robot.to_owned(), time) {
            self.found
                .push(time.abs_diff(before).try_into().unwrap_or(i64::MAX));
        }
    }

    fn usual(mut self) -> Option<i64> {
        self.found.sort_unstable();
        let usual = self.found.get(self.found.len() / 2).copied();
        usual.filter(|pace| *pace > 0)
    }
}

fn plain(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.trim().to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Number(number) => number.to_string(),
        Cell::Flag(flag) => flag.to_string(),
        Cell::Missing | Cell::Time(_) => String::new(),
    }
}

/// A time, microseconds since 1970, as text.
fn written(time: i64) -> String {
    jiff::Timestamp::from_microsecond(time)
        .map_or_else(|_| time.to_string(), |time| time.to_string())
}

fn value(read: Read) -> String {
    match read {
        Read::Value(Value::Flag(flag)) => flag.to_string(),
        Read::Value(Value::Whole(number)) => number.to_string(),
        Read::Value(Value::Single(number)) => number.to_string(),
        Read::Value(Value::Number(number)) => number.to_string(),
        Read::Value(Value::Text(text)) => text,
        Read::Value(Value::Time(time)) => written(time),
        Read::Value(Value::Day(day)) => format!("day {day}"),
        Read::Missing => "-".to_owned(),
        Read::Bad(_) => "- (cannot be read)".to_owned(),
    }
}
