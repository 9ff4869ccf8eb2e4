//! Times of rows, in all the forms that files have.
//!
//! What is not said is not guessed: a time without a zone, a number, or a date whose day could be
//! its month needs a key of the mapping, and [`TimeFault`] says which.

mod civil;
mod clock;
mod fault;
mod format;
mod look;
mod number;
mod pace;
mod rules;
#[cfg(test)]
mod tests;
mod zone;

use std::borrow::Cow;

pub use civil::Order;
pub use clock::Clock;
pub use fault::TimeFault;
pub use look::{Form, example, forms};
pub use rules::TimeRules;

use crate::records::Cell;

/// The cells that say the time of a row.
#[derive(Debug, Clone, Copy)]
pub struct Times<'a> {
    /// The date, where it stands apart.
    pub date: Option<&'a Cell>,
    /// The time; none in a file without times.
    pub time: Option<&'a Cell>,
    /// Nanoseconds within the second, where they stand apart.
    pub nanos: Option<&'a Cell>,
}

impl Times<'_> {
    /// Date and time as one text; empty where there is none.
    fn text(&self) -> Cow<'_, str> {
        let part = |cell: Option<&Cell>| match cell {
            Some(Cell::Text(text)) => text.trim().to_owned(),
            Some(Cell::Integer(number)) => number.to_string(),
            Some(Cell::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        match (self.date, self.time) {
            (None, Some(Cell::Text(text))) => Cow::Borrowed(text.trim()),
            (None, time) => Cow::Owned(part(time)),
            (date, time) => {
                let (date, time) = (part(date), part(time));
                // A date without its time is no time, and the other way round.
                if date.is_empty() || time.is_empty() {
                    Cow::Borrowed("")
                } else {
                    Cow::Owned(format!("{date} {time}"))
                }
            }
        }
    }

    /// As messages show it.
    pub fn shown(&self) -> String {
        match self.time {
            Some(Cell::Time(nanos)) => format!("{nanos} ns since 1970"),
            _ => self.text().into_owned(),
        }
    }
}
