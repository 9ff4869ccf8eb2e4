//! Which dead letters a command means, and what it needs to work on them.

use std::collections::BTreeMap;

use clap::Args;
use theatre_actors::outputs::DeadReason;
use theatre_embedded::data_dir::DataLock;
use theatre_operations::dead_letters::Selection;

use crate::cli::Failure;
use crate::cli::moment::moment;
use crate::cli::service::Place;

/// Which dead letters are meant. All that is said must hold.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Only one: its partition, and
    #[arg(requires = "number")]
    partition: Option<u32>,
    /// its number within the partition, as `theatre dlq list` has them.
    number: Option<u64>,
    /// Those that died for this reason; may be said several times.
    #[arg(long = "reason", value_name = "REASON", value_parser = reason)]
    reasons: Vec<DeadReason>,
    /// Those of this input topic.
    #[arg(long)]
    topic: Option<String>,
    /// Those of this robot, as far as it was known: a record that could not be decoded names none.
    #[arg(long)]
    robot: Option<String>,
    /// Those whose record was appended to the log then or later: a date, or a time such as
    /// 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    from: Option<i64>,
    /// Those whose record was appended to the log before.
    #[arg(long, visible_alias = "before", value_name = "DATE", value_parser = moment)]
    to: Option<i64>,
    /// At most so many are sent, or erased, the oldest of each partition first; 0 = all.
    #[arg(long, default_value_t = 0)]
    limit: u64,
    /// All of them, where nothing else says which.
    #[arg(long)]
    all: bool,
}

fn reason(text: &str) -> Result<DeadReason, String> {
    let found = DeadReason::ALL.into_iter().find(|it| it.as_str() == text);
    found.ok_or_else(|| {
        let names = DeadReason::ALL.map(DeadReason::as_str).join(", ");
        format!("'{text}' is none of {names}")
    })
}

impl Which {
    /// As a selection among the inputs of a store.
    pub(super) fn selection(&self, topics: &[String]) -> Result<Selection, Failure> {
        let place = |name: &String| {
            let found = topics.iter().position(|topic| topic == name);
            found.ok_or_else(|| {
                Failure::Usage(format!(
                    "'{name}' is none of the input topics: {}",
                    topics.join(", ")
                ))
            })
        };
        let selection = Selection {
            one: self.partition.zip(self.number),
            some: Vec::new(),
            reasons: self.reasons.clone(),
            topic: self.topic.as_ref().map(place).transpose()?,
            robot: self.robot.clone(),
            from: self.from,
            until: self.to,
            limit: self.limit,
        };
        let anything = Selection {
            limit: self.limit,
            ..Selection::default()
        };
        if selection == anything && !self.all {
            return Err(Failure::Usage(
                "say which dead letters: PARTITION NUMBER, --reason, --topic, --robot, --from, --to, or --all"
                    .to_owned(),
            ));
        }
        Ok(selection)
    }

    /// The one that is meant, if it is one.
    pub(super) fn one(&self) -> Option<(u32, u64)> {
        self.partition.zip(self.number)
    }

    /// What is meant, for the audit trail.
    pub(super) fn target(&self) -> String {
        match self.one() {
            Some((partition, number)) => format!("{partition}/{number}"),
            None => "dead letters".to_owned(),
        }
    }
}

/// What proves that no other command works on dead letters here: with an embedded store all of them
/// have the same data directory, whose lock the operating system gives back when one ends, however
/// it ends. With a server there is no such proof.
pub(super) fn alone(place: &Place) -> Result<Option<DataLock>, Failure> {
    match place.config.store.url {
        None => Ok(Some(place.dir.lock_dead_letters()?)),
        Some(_) => Ok(None),
    }
}

/// What was not done, in words; nothing where all was.
pub(super) fn left(refused: &BTreeMap<&'static str, u64>) -> String {
    let said: Vec<String> = refused
        .iter()
        .map(|(why, count)| format!("{count} {}", why.replace('_', " ")))
        .collect();
    if said.is_empty() {
        String::new()
    } else {
        format!("; not: {}", said.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        which: Which,
    }

    fn selection(line: &str) -> Result<Selection, Failure> {
        let words = std::iter::once("dlq").chain(line.split_whitespace());
        let line =
            Line::try_parse_from(words).map_err(|error| Failure::Usage(error.to_string()))?;
        line.which.selection(&["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn what_is_said_is_what_is_meant() {
        let meant = |line| selection(line).unwrap();
        assert_eq!(meant("--all"), Selection::default());
        assert_eq!(meant("0 7").one, Some((0, 7)));
        let both = meant("--reason late --reason invalid --topic b --limit 3");
        assert_eq!(both.reasons, [DeadReason::Late, DeadReason::Invalid]);
        assert_eq!((both.topic, both.limit), (Some(1), 3));
        assert_eq!(meant("--before 1970-01-02").until, Some(86_400_000_000));
        assert_eq!(meant("--from 1970-01-01T00:00:01Z").from, Some(1_000_000));
    }

    #[test]
    fn what_means_nothing_or_nothing_known_is_refused() {
        for (line, why) in [
            ("", "--all"),
            ("--limit 5", "--all"),
            ("3", "NUMBER"),
            ("--topic c", "a, b"),
            ("--reason lame", "unknown_schema"),
            ("--from yesterday", "2026-01-31"),
        ] {
            match selection(line) {
                Err(Failure::Usage(said)) => assert!(said.contains(why), "{line}: {said}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_was_not_done_is_counted_in_words() {
        assert_eq!(left(&BTreeMap::new()), "");
        let refused = BTreeMap::from([("purged", 1), ("record_gone", 2)]);
        assert_eq!(left(&refused), "; not: 1 purged, 2 record gone");
    }
}
