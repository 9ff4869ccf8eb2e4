//! The state of a robot in parts that have names, so that it can be said in what two states
//! differ.

use super::RobotActor;
use crate::state;
use crate::time::LogTime;

/// A part of a robot that was made once more.
#[cfg(test)]
pub(crate) type Remade = Box<dyn std::any::Any>;

impl RobotActor {
    /// Its parts: what kind of thing, of what, and the value, encoded. What is at its beginning has
    /// no part.
    pub(crate) fn parts(&self) -> Vec<(&'static str, String, Vec<u8>)> {
        let mut parts = Vec::new();
        for (dataset, windows) in self.windows.iter() {
            parts.push(("window values", dataset.to_owned(), state::body(windows)));
        }
        for (dataset, rules) in self.conditions.iter() {
            for (key, condition) in rules.iter() {
                let name = format!("{key} {dataset}").trim_end().to_owned();
                parts.push(("rule", name, state::body(condition)));
            }
        }
        for (dataset, rules) in self.measures.iter() {
            for (key, measure) in rules.iter() {
                let name = format!("{key} {dataset}").trim_end().to_owned();
                parts.push(("what a rule has measured", name, state::body(measure)));
            }
        }
        for (rule, following) in self.following.iter() {
            let value = state::body(following);
            parts.push(("what a rule follows", rule.to_owned(), value));
        }
        for (dataset, waiting) in self.waiting.iter() {
            let value = state::body(waiting);
            parts.push(("rows that no rule has judged", dataset.to_owned(), value));
        }
        for (topic, numbers) in self.numbers.iter().enumerate() {
            let value = state::body(numbers);
            parts.push(("sequence numbers", format!("input {topic}"), value));
        }
        let clocks = (self.clock, self.ended_clock, self.last_seen, self.boot);
        parts.push(("clock", String::new(), state::body(&clocks)));
        let feed = (self.began_anew, &self.feed, self.valid_rows_in_a_row);
        let events = (&self.last_event, &self.starts, self.usage_due);
        let rest = (feed, events, self.not_finite);
        parts.push(("events", String::new(), state::body(&rest)));
        parts
    }

    /// It was heard at this append time, if not later.
    pub(crate) fn note_heard(&mut self, at: Option<LogTime>) {
        self.last_seen = self.last_seen.max(at);
    }

    /// Its fields: the name, what it takes in the robot, and what it takes of the heap by `weigh`,
    /// which is given a way to make it once more; bytes.
    #[cfg(test)]
    pub(crate) fn weigh(
        &self,
        weigh: &dyn Fn(&dyn Fn() -> Remade) -> usize,
    ) -> Vec<(&'static str, usize, usize)> {
        macro_rules! fields {
            ($($field:ident)*) => {
                vec![$((
                    stringify!($field),
                    size_of_val(&self.$field),
                    weigh(&|| Box::new(self.$field.clone())),
                )),*]
            };
        }
        fields!(numbers windows conditions waiting measures following starts feed last_event)
    }
}
