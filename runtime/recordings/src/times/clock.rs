//! Times of the rows of one file, which may depend on the rows before.

mod day;

use std::collections::HashMap;
use std::sync::Arc;

use day::{Count, DayClock};

use super::rules::{Reading, TimeRules};
use super::{TimeFault, Times};
use crate::mapping::{RepeatedHour, TimeZero};

/// A robot whose local times jump back by more than this has come to the second of two equal hours.
const JUMP_BACK_US: i64 = 1_800_000_000;

/// Reads the times of a file, row by row.
#[derive(Debug)]
pub struct Clock {
    rules: Arc<TimeRules>,
    /// Stamps with exponents keep their digits.
    keeps_digits: bool,
    /// What the first row says that is counted from a start.
    zero: Option<i128>,
    /// Rows so far of each robot of a file without times.
    rows: HashMap<String, u64>,
    /// For each robot, where equal hours go by the order of rows.
    twice: HashMap<String, Order>,
    /// For each robot with times of day.
    days: HashMap<String, DayClock>,
    /// For each robot whose times count from a start.
    counts: HashMap<String, Count>,
}

/// Where a robot's rows stand, for hours that are there twice.
#[derive(Debug, Default)]
struct Order {
    /// The time of the last row outside of such an hour.
    outside: Option<i64>,
    within: Option<Within>,
}

/// A place in an hour that is there twice.
#[derive(Debug, Clone, Copy)]
struct Within {
    local: i64,
    is_second: bool,
    /// The rows run backwards.
    is_backwards: bool,
}

impl Order {
    /// Whether a time is in the second of two equal hours.
    fn is_second(&mut self, first: i64, second: i64) -> bool {
        let mut within = self.within.unwrap_or_else(|| {
            let is_backwards = self.outside.is_some_and(|outside| outside > second);
            Within {
                local: first,
                is_second: is_backwards,
                is_backwards,
            }
        });
        if within.is_backwards {
            within.is_second &= first - within.local <= JUMP_BACK_US;
        } else {
            within.is_second |= within.local - first > JUMP_BACK_US;
        }
        within.local = first;
        self.within = Some(within);
        within.is_second
    }

    fn leave(&mut self, time: i64) {
        (self.outside, self.within) = (Some(time), None);
    }
}

/// Does something with what is known of a robot, which is begun when it is new.
fn with<T: Default, R>(
    of: &mut HashMap<String, T>,
    robot: &str,
    work: impl FnOnce(&mut T) -> R,
) -> R {
    match of.get_mut(robot) {
        Some(found) => work(found),
        None => work(of.entry(robot.to_owned()).or_default()),
    }
}

impl Clock {
    /// Before the first row.
    pub fn new(rules: Arc<TimeRules>) -> Self {
        Self {
            rules,
            keeps_digits: false,
            zero: None,
            rows: HashMap::new(),
            twice: HashMap::new(),
            days: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    /// Takes in the first stamps that are written coarsely: together they may show that zeros were
    /// left away and no digits lost.
    pub fn judge_digits(&mut self, stamps: &[String]) {
        self.keeps_digits =
            self.keeps_digits || !stamps.is_empty() && self.rules.keeps_digits(stamps);
    }

    /// The time of a robot's row, microseconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Why it has none.
    pub fn read(&mut self, times: &Times<'_>, robot: &str) -> Result<i64, TimeFault> {
        let reading = self.rules.read(times)?;
        match reading {
            Reading::At(micros) => {
                self.check_digits(times)?;
                if self.rules.repeated_hour == Some(RepeatedHour::ByOrder) {
                    with(&mut self.twice, robot, |order| order.leave(micros));
                }
                Ok(micros)
            }
            Reading::Twice { first, second } => match self.rules.repeated_hour {
                None => Err(TimeFault::Repeated),
                Some(RepeatedHour::First) => Ok(first),
                Some(RepeatedHour::Second) => Ok(second),
                Some(RepeatedHour::ByOrder) => {
                    let is_second = |order: &mut Order| order.is_second(first, second);
                    let is_second = with(&mut self.twice, robot, is_second);
                    Ok(if is_second { second } else { first })
                }
            },
            Reading::Elapsed(nanos) => {
                let zero = match self.rules.zero {
                    TimeZero::Start => 0,
                    TimeZero::FirstRow => *self.zero.get_or_insert(nanos),
                };
                let nanos = if self.rules.are_clock_times() {
                    with(&mut self.days, robot, |days| days.take(nanos))
                } else {
                    with(&mut self.counts, robot, |count| count.take(nanos));
                    nanos
                };
                self.rules
                    .elapsed(nanos.checked_sub(zero).ok_or(TimeFault::OutOfRange)?)
            }
            Reading::Paced => {
                let row = self.next_row(robot);
                self.rules.paced(row)
            }
        }
    }

    /// What is to be said of the times of the whole file.
    pub fn remark(&self) -> Option<String> {
        let falls: u64 = self.counts.values().map(|count| count.falls).sum();
        let (from, to) = self.counts.values().find_map(|count| count.first_fall)?;
        let seconds = |nanos: i128| nanos as f64 / 1e9;
        Some(format!(
            "times that count from a start fall back {falls} times, first from {} s to {} s: where the count began anew, rows before and after have the same times; split the file there and give each part its time_start",
            seconds(from),
            seconds(to)
        ))
    }

    /// Passes a line that was refused: in a file without times it had one.
    pub fn pass(&mut self, robot: Option<&str>) {
        if let Some(robot) = robot {
            self.next_row(robot);
        }
    }

    fn next_row(&mut self, robot: &str) -> u64 {
        match self.rows.get_mut(robot) {
            Some(rows) => {
                *rows += 1;
                *rows
            }
            None => {
                self.rows.insert(robot.to_owned(), 0);
                0
            }
        }
    }

    fn check_digits(&mut self, times: &Times<'_>) -> Result<(), TimeFault> {
        if self.keeps_digits {
            return Ok(());
        }
        let text = times.text();
        if !text.contains(['e', 'E']) {
            return Ok(());
        }
        if self.rules.is_coarse(&text) {
            return Err(TimeFault::LostDigits);
        }
        self.keeps_digits = true;
        Ok(())
    }
}
