//! Times of the rows of one file, which may depend on the rows before.

use std::collections::HashMap;
use std::sync::Arc;

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
    /// For each robot within an hour that is there twice: its local time, and whether it is in the
    /// second one.
    twice: HashMap<String, (i64, bool)>,
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
                if !self.twice.is_empty() {
                    self.twice.remove(robot);
                }
                Ok(micros)
            }
            Reading::Twice { first, second } => match self.rules.repeated_hour {
                None => Err(TimeFault::Repeated),
                Some(RepeatedHour::First) => Ok(first),
                Some(RepeatedHour::Second) => Ok(second),
                Some(RepeatedHour::ByOrder) => {
                    let seen = self.twice.entry(robot.to_owned()).or_insert((first, false));
                    seen.1 = seen.1 || seen.0 - first > JUMP_BACK_US;
                    seen.0 = first;
                    Ok(if seen.1 { second } else { first })
                }
            },
            Reading::Elapsed(nanos) => {
                let zero = match self.rules.zero {
                    TimeZero::Start => 0,
                    TimeZero::FirstRow => *self.zero.get_or_insert(nanos),
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
