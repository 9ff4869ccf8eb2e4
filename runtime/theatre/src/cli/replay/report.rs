//! What a replay says in the end: what became of every line, for people or as JSON, and whether that
//! is a success.

use serde::Serialize;
use serde_json::json;
use theatre_actors::outputs::{Counters, DeadReason};
use theatre_recordings::rows::Kind;

use super::super::output;
use super::super::{Failure, Output};
use super::feed::Fed;
use super::flags::FlagSummary;
use super::reading::Reading;

/// What became of the lines of a replay.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// All lines but those that belong to no row by the rules (headers, comments, blank ones).
    lines: u64,
    applied: u64,
    duplicate: u64,
    late: u64,
    refused: u64,
    dead: u64,
    /// Rows that were read and of which nothing is known yet: of a replay that was interrupted, or
    /// whose rows went missing.
    pending: u64,
    /// Lines that are no rows by the rules.
    left_out: u64,
    refusals: Vec<Reason>,
    /// Cells that could not be read and are missing values in rows that are there.
    missing_cells: Vec<Reason>,
    dead_letters: Vec<Reason>,
    events: Vec<FlagSummary>,
    /// What is to be said of files as a whole.
    remarks: Vec<String>,
    /// Share of the recording during which a robot had a condition open.
    open_share: Option<f64>,
    files: Vec<String>,
}

/// A reason with its count and the first few places.
#[derive(Debug, Serialize)]
struct Reason {
    why: String,
    count: u64,
    examples: Vec<String>,
}

impl From<&Kind> for Reason {
    fn from(kind: &Kind) -> Self {
        let example = |refusal: &theatre_recordings::records::Refusal| {
            let found = &refusal.found;
            if found.is_empty() {
                refusal.place.to_string()
            } else {
                format!("{}: '{found}'", refusal.place)
            }
        };
        Self {
            why: kind.kind.clone(),
            count: kind.count,
            examples: kind.examples.iter().map(example).collect(),
        }
    }
}

impl Report {
    pub(super) fn new(
        files: &[String],
        reading: &Reading,
        fed: Option<&Fed>,
        counted: &Counters,
    ) -> Self {
        let tally = &reading.tally;
        let mut report = Self {
            files: files.to_vec(),
            left_out: tally.left_out,
            refused: tally.refused_lines(),
            remarks: (tally.remarks.iter())
                .map(|(file, remark)| format!("{file}: {remark}"))
                .collect(),
            refusals: tally.refused.iter().map(Reason::from).collect(),
            missing_cells: tally.bad_cells.iter().map(Reason::from).collect(),
            applied: counted.applied,
            late: counted.late,
            dead: counted.dead_total(),
            duplicate: counted.duplicate,
            ..Self::default()
        };
        if counted.late > 0 {
            report.dead_letters.push(Reason {
                why: DeadReason::Late.as_str().to_owned(),
                count: counted.late,
                examples: Vec::new(),
            });
        }
        let place = |(file, line): &(u32, u64)| match files.get(*file as usize) {
            Some(file) => format!("{file} line {line}"),
            None => format!("line {line}"),
        };
        let future = fed.map_or(&[][..], |fed| &fed.future_examples);
        let dead = counted.dead.iter().zip(DeadReason::ALL);
        for (count, reason) in dead.filter(|(count, _)| **count > 0) {
            report.dead_letters.push(Reason {
                why: reason.as_str().to_owned(),
                count: *count,
                examples: match reason {
                    DeadReason::Future => future.iter().map(place).collect(),
                    _ => Vec::new(),
                },
            });
        }
        if let Some(fed) = fed {
            if fed.conflicts > 0 {
                report.refused += fed.conflicts;
                report.refusals.push(Reason {
                    why: "another row of an earlier version of this recording stands at this time: it stays"
                        .to_owned(),
                    count: fed.conflicts,
                    examples: fed.conflict_examples.iter().map(place).collect(),
                });
            }
            report.duplicate += fed.known;
        }
        // What the reader saw and what the pipeline counted are two things: what is missing between
        // them is said. Of a file that was interrupted in its middle only its rows are known.
        let known = report.applied + report.duplicate + report.late + report.refused + report.dead;
        let read = tally.rows.max(reading.rows) + tally.refused_lines();
        let sent = fed.map_or(0, |fed| fed.sent.saturating_sub(counted.total()));
        report.pending = read.saturating_sub(known).max(sent);
        report.lines = known + report.pending;
        report
    }

    /// Of files in which there are no rows.
    pub(super) fn of_nothing(files: &[String]) -> Self {
        Self {
            files: files.to_vec(),
            remarks: files
                .iter()
                .map(|file| match super::is_empty(file) {
                    true => format!("{file}: it is empty"),
                    false => format!("{file}: there are no rows in it"),
                })
                .collect(),
            ..Self::default()
        }
    }

    pub(super) fn set_events(&mut self, events: Vec<FlagSummary>, open_share: Option<f64>) {
        (self.events, self.open_share) = (events, open_share);
    }

    /// Prints it: tables to standard error, JSON to standard output.
    pub(super) fn print(&self, output: Output) -> Result<(), Failure> {
        if output == Output::Json {
            return output::value(&json!(self));
        }
        for remark in &self.remarks {
            eprintln!("{remark}");
        }
        for ([one, several], reasons) in [
            (["line refused", "lines refused"], &self.refusals),
            (
                [
                    "cell taken for a missing value",
                    "cells taken for missing values",
                ],
                &self.missing_cells,
            ),
            (
                [
                    "record dead-lettered (theatre dlq list)",
                    "records dead-lettered (theatre dlq list)",
                ],
                &self.dead_letters,
            ),
        ] {
            for reason in reasons {
                let what = if reason.count == 1 { one } else { several };
                let more = if reason.why == DeadReason::Future.as_str() {
                    ": later than this machine's clock and future_tolerance allow"
                } else {
                    ""
                };
                eprintln!("{} {what}: {}{more}", reason.count, reason.why);
                for example in &reason.examples {
                    eprintln!("  {example}");
                }
            }
        }
        for event in &self.events {
            eprintln!(
                "{}: {} times; {} had a condition of that robot (other than the flags' own) raised within the 60 s before, {} had not",
                event.event,
                event.times,
                event.announced,
                event.times - event.announced
            );
        }
        if let Some(share) = self.open_share {
            eprintln!(
                "robots had a condition open during {:.1} % of their recordings",
                100.0 * share
            );
        }
        let mut parts = vec![format!("{} applied", self.applied)];
        for (count, name) in [
            (self.duplicate, "duplicate"),
            (self.late, "late"),
            (self.refused, "refused"),
            (self.dead, "dead"),
            (self.pending, "not yet read"),
        ] {
            parts.push(format!("{count} {name}"));
        }
        let lines = if self.lines == 1 { "line" } else { "lines" };
        eprintln!("{} {lines}: {}", self.lines, parts.join(", "));
        Ok(())
    }

    /// Whether that is a success: so many lines were applied. Without a number one is enough, or
    /// that all of the recording is there already.
    pub(super) fn check(&self, min_applied: Option<u64>) -> Result<(), Failure> {
        if self.pending > 0 {
            eprintln!(
                "theatre: {} rows were read and did not arrive: theatre reconcile says what is missing",
                self.pending
            );
            return Err(Failure::Difference);
        }
        let is_there_already = self.duplicate > 0 && self.late == 0 && self.dead == 0;
        let is_enough = match min_applied {
            Some(min) => self.applied >= min,
            None => self.applied > 0 || is_there_already,
        };
        if is_enough {
            return Ok(());
        }
        let is_time = |reason: &Reason| reason.why.starts_with("no time in ");
        let why = if self.lines == 0 {
            "there are no rows in it: see that it is not empty and its header has the names of the mapping"
        } else if self.refused == self.lines && self.refusals.iter().all(is_time) {
            "every line was refused for its time: time_format in the mapping (or --time-format) names other forms, also by a pattern such as \"%d.%m.%Y %H.%M.%S\""
        } else if self.refused == self.lines {
            "every line was refused: change the mapping by what is said above"
        } else if self.duplicate == self.lines {
            "all of its rows are there already"
        } else {
            "see above what became of its lines"
        };
        eprintln!(
            "theatre: {} rows were applied, at least {} are wanted (--min-applied): {why}",
            self.applied,
            min_applied.unwrap_or(1)
        );
        Err(Failure::Difference)
    }
}
