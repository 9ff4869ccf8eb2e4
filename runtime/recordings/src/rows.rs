//! Records and a mapping make rows, or refusals.
//!
//! A [`Plan`] is a mapping with its schema, checked: what can be known to be wrong before the first
//! row is an error of [`Plan::new`] or [`Rows::open`]. After that a line costs itself at most: it
//! becomes a [`Row`], or a [`Refusal`] that says why not, and the [`Tally`] counts both.

mod draft;
mod plan;
mod slot;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

pub use draft::Draft;
pub use plan::Plan;
pub use tally::{Kind, Tally};
use theatre_schemas::dataset::{EntityKind, PARTITION_PREFIX};
use theatre_schemas::decode::ID_BYTES_MAX;

use crate::cells::Read;
use crate::columns;
use crate::open;
use crate::records::{Cell, Place, ReadError, Record, Records, Refusal, shown};
use crate::source::Input;
use crate::times::{Clock, TimeFault, Times};

/// Records that are looked at, at most, to find out at the start that times need a key.
const TIMES_LOOKED_AT: usize = 20;

/// A row on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Robot, which is also the key.
    pub robot_id: String,
    /// Event time, microseconds since 1970-01-01T00:00:00Z.
    pub event_time: i64,
    /// What `sequence_column` says, divided by `sequence_step`; none without such a column.
    pub counter: Option<i64>,
    /// For each of the mapping's events: is it true here?
    pub events: Vec<bool>,
    /// What the row says, without its number: equal for equal values under equal names, whatever
    /// the file, the order of its columns or the width of its numbers.
    pub content: [u8; 16],
    /// Where it stands.
    pub place: Place,
    /// The record, without its number.
    pub draft: Draft,
}

/// The rows of one file.
pub struct Rows {
    plan: Arc<Plan>,
    file: Arc<str>,
    records: Box<dyn Records>,
    columns: Bound,
    clock: Clock,
    /// Records that were looked at ahead of their turn.
    ahead: VecDeque<Result<Record, Refusal>>,
    /// The robot of every row, unless a column names it.
    robot_id: Option<String>,
    tally: Tally,
}

/// Where the columns stand that the mapping names.
#[derive(Debug, Default)]
struct Bound {
    robot: Option<usize>,
    date: Option<usize>,
    time: Option<usize>,
    nanos: Option<usize>,
    counter: Option<usize>,
    /// For each of the plan's fields.
    fields: Vec<usize>,
}

impl Rows {
    /// Opens a file by its path, or standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be read, or does not fit the mapping; says what to change.
    pub fn open(plan: &Arc<Plan>, file: &str) -> Result<Self, ReadError> {
        Self::of_input(plan, Input::open(file)?)
    }

    /// The same for an input that is open.
    ///
    /// # Errors
    /// When it cannot be read, or does not fit the mapping; says what to change.
    pub fn of_input(plan: &Arc<Plan>, input: Input) -> Result<Self, ReadError> {
        let file = input.name().clone();
        let records = open::records(input, plan.mapping())?;
        Self::of_records(plan, &file, records)
    }

    /// The same for records of any kind of file.
    ///
    /// # Errors
    /// When a column is missing, or the times need a key.
    pub fn of_records(
        plan: &Arc<Plan>,
        file: &Arc<str>,
        records: Box<dyn Records>,
    ) -> Result<Self, ReadError> {
        let columns = Bound::new(plan, file, records.columns())?;
        let robot_id = plan
            .mapping()
            .robot_of_file(file)
            .map_err(|why| ReadError {
                place: start(file),
                why,
            })?;
        let mut rows = Self {
            plan: plan.clone(),
            file: file.clone(),
            clock: Clock::new(plan.times().clone()),
            records,
            columns,
            ahead: VecDeque::new(),
            robot_id,
            tally: Tally::default(),
        };
        rows.look_at_times()?;
        Ok(rows)
    }

    /// The next row, or the refusal of a line; `None` at the end. What comes out is counted in
    /// [`Rows::tally`].
    ///
    /// # Errors
    /// When the file cannot be read any further.
    pub fn next_row(&mut self) -> Result<Option<Result<Row, Refusal>>, ReadError> {
        let record = match self.ahead.pop_front() {
            Some(record) => record,
            None => match self.records.next_record()? {
                Some(record) => record,
                None => {
                    self.tally.left_out = self.records.left_out();
                    for remark in self.records.remarks() {
                        self.tally.remark(&self.file, remark);
                    }
                    if let Some(remark) = self.clock.remark() {
                        self.tally.remark(&self.file, remark);
                    }
                    return Ok(None);
                }
            },
        };
        self.tally.left_out = self.records.left_out();
        let row = match record {
            Ok(record) => self.convert(record),
            Err(refusal) => {
                self.clock.pass(self.robot_id.as_deref());
                Err(refusal)
            }
        };
        match &row {
            Ok(_) => self.tally.rows += 1,
            Err(refusal) => self.tally.refuse(refusal),
        }
        Ok(Some(row))
    }

    /// What became of the lines so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn convert(&mut self, record: Record) -> Result<Row, Refusal> {
        let place = record.place.clone();
        let refuse = |kind: String, found: &str| Refusal::new(place.clone(), kind, found);
        let robot_id = self
            .robot(&record.cells)
            .map_err(|(kind, found)| refuse(kind, &found))?;
        let time = self.columns.time_of(&record.cells);
        let event_time = self.clock.read(&time, &robot_id).map_err(|fault| {
            let column = self
                .columns
                .time
                .map(|at| self.records.columns()[at].as_str());
            refuse(fault.kind(column), &time.shown())
        })?;
        let counter = self
            .counter(&record.cells)
            .map_err(|(kind, found)| refuse(kind, &found))?;
        let plan = self.plan.clone();
        let mut values = Vec::with_capacity(plan.fields().len());
        let mut bad = Vec::new();
        for (field, index) in plan.fields().iter().zip(&self.columns.fields) {
            let cell = &record.cells[*index];
            let read = plan
                .cells()
                .read(cell, field.column_type, field.is_nullable);
            let value = match read {
                Read::Value(value) => field.fitting(value),
                Read::Missing => Ok(None),
                Read::Bad(why) => Err(why),
            };
            let column = &self.records.columns()[*index];
            values.push(match value {
                Ok(None) if !field.is_nullable => {
                    let kind = format!(
                        "no value in column '{column}', and field '{}' cannot be null",
                        field.name
                    );
                    return Err(refuse(kind, &cell_shown(cell)));
                }
                Ok(value) => value,
                Err(why) => {
                    let kind = format!("{why} in column '{column}'");
                    let refusal = refuse(kind, &cell_shown(cell));
                    if plan.cells().costs_row() || !field.is_nullable {
                        return Err(refusal);
                    }
                    bad.push(refusal);
                    None
                }
            });
        }
        // A line without any value is no row: a corrected recording may bring it.
        if !values.is_empty() && values.iter().all(Option::is_none) {
            let why = "no value in any column of the mapping";
            return Err(bad
                .into_iter()
                .next()
                .unwrap_or_else(|| refuse(why.to_owned(), "")));
        }
        for refusal in &bad {
            self.tally.bad_cell(refusal);
        }
        Ok(plan.row(robot_id, event_time, counter, &values, place))
    }

    /// The robot of a line, or why it has none and what it has instead.
    fn robot(&self, cells: &[Cell]) -> Result<String, (String, String)> {
        let robot = match self.columns.robot {
            Some(index) => text_of(&cells[index]).ok_or_else(|| {
                let column = &self.records.columns()[index];
                (format!("column '{column}' names no robot"), String::new())
            })?,
            None => self.robot_id.clone().unwrap_or_default(),
        };
        match fault_of_robot(&robot) {
            Some(kind) => Err((kind, robot)),
            None => Ok(robot),
        }
    }

    fn counter(&self, cells: &[Cell]) -> Result<Option<i64>, (String, String)> {
        let Some(index) = self.columns.counter else {
            return Ok(None);
        };
        let column = &self.records.columns()[index];
        let number = self.plan.cells().whole(&cells[index]);
        let number = number.ok_or_else(|| {
            (
                format!("no whole number in column '{column}' (sequence_column)"),
                cell_shown(&cells[index]),
            )
        })?;
        Ok(Some(number.div_euclid(self.plan.mapping().sequence_step)))
    }

    /// Reads ahead until one time can be read. When none of the first can and the mapping lacks a
    /// key for them, the whole file is refused at once and not line by line.
    fn look_at_times(&mut self) -> Result<(), ReadError> {
        let mut asking: Option<(Place, TimeFault, String)> = None;
        let mut stamps = Vec::new();
        while self.ahead.len() < TIMES_LOOKED_AT {
            let Some(record) = self.records.next_record()? else {
                break;
            };
            self.ahead.push_back(record);
            let Some(Ok(record)) = self.ahead.back() else {
                continue;
            };
            let place = record.place.clone();
            let cell = self.columns.time_of(&record.cells);
            match self.plan.times().try_read(&cell) {
                Ok(()) => {
                    asking = None;
                    if !stamps.is_empty() {
                        stamps.push(cell.shown());
                    }
                    break;
                }
                Err(TimeFault::LostDigits) => stamps.push(cell.shown()),
                Err(fault) if fault.asks_for_a_key() && asking.is_none() => {
                    asking = Some((place, fault, cell.shown()));
                }
                Err(_) => {}
            }
        }
        if let Some((place, fault, found)) = asking {
            let column = self
                .columns
                .time
                .map(|at| self.records.columns()[at].as_str());
            return Err(ReadError {
                place,
                why: fault.sentence(column, &shown(&found)),
            });
        }
        self.clock.judge_digits(&stamps);
        Ok(())
    }

    /// The file as the user named it.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }
}

fn start(file: &Arc<str>) -> Place {
    Place {
        file: file.clone(),
        line: 1,
    }
}

impl Bound {
    fn new(plan: &Plan, file: &Arc<str>, names: &[String]) -> Result<Self, ReadError> {
        let mapping = plan.mapping();
        if let Some(why) = columns::missing_of(names, &mapping.wanted()) {
            return Err(ReadError {
                place: start(file),
                why,
            });
        }
        let find = |wanted: &str| {
            columns::find(names, wanted).map_err(|why| ReadError {
                place: start(file),
                why,
            })
        };
        let maybe = |wanted: &Option<String>| wanted.as_deref().map(find).transpose();
        Ok(Self {
            robot: maybe(&mapping.robot_column)?,
            date: maybe(&mapping.date_column)?,
            time: maybe(&mapping.time_column)?,
            nanos: maybe(&mapping.nanos_column)?,
            counter: maybe(&mapping.sequence_column)?,
            fields: plan
                .fields()
                .iter()
                .map(|field| find(&field.column))
                .collect::<Result<_, _>>()?,
        })
    }

    /// What the cells of a record say about its time.
    fn time_of<'a>(&self, cells: &'a [Cell]) -> Times<'a> {
        let cell = |at: Option<usize>| at.map(|at| &cells[at]);
        Times {
            date: cell(self.date),
            time: cell(self.time),
            nanos: cell(self.nanos),
        }
    }
}

/// A cell as the name of something; none when it is blank.
fn text_of(cell: &Cell) -> Option<String> {
    let text = match cell {
        Cell::Text(text) => text.trim().to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Number(number) => number.to_string(),
        Cell::Flag(flag) => flag.to_string(),
        Cell::Missing | Cell::Time(_) => String::new(),
    };
    (!text.is_empty()).then_some(text)
}

/// Why no robot can have this name; none when it can.
fn fault_of_robot(name: &str) -> Option<String> {
    if name.len() > ID_BYTES_MAX {
        return Some(format!(
            "the name of a robot has at most {ID_BYTES_MAX} bytes, this one has {}",
            name.len()
        ));
    }
    let kept = EntityKind::ALL.map(EntityKind::prefix).into_iter();
    let prefix = kept
        .chain([PARTITION_PREFIX])
        .find(|prefix| name.starts_with(prefix))?;
    Some(format!(
        "names that begin with '{prefix}' stand for something else than robots: give the robot another one"
    ))
}

/// A cell as messages show it.
fn cell_shown(cell: &Cell) -> String {
    match cell {
        Cell::Time(nanos) => format!("{nanos} ns"),
        cell => text_of(cell).unwrap_or_default(),
    }
}
