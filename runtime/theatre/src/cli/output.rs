//! Printing: tables for people, JSON for programs.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::{Failure, Output};

/// Prints rows of equal length under headings.
pub(super) fn rows(output: Output, headings: &[&str], rows: &[Vec<Value>]) -> Result<(), Failure> {
    let mut text = String::new();
    match output {
        Output::Json => {
            let objects = rows.iter().map(|row| {
                Value::Object(
                    headings
                        .iter()
                        .map(|heading| (*heading).to_owned())
                        .zip(row.iter().cloned())
                        .collect(),
                )
            });
            text = format!("{}\n", Value::Array(objects.collect()));
        }
        Output::Table => {
            let cells: Vec<Vec<String>> = rows
                .iter()
                .map(|row| row.iter().map(plain).collect())
                .collect();
            let width = |index: usize| {
                cells
                    .iter()
                    .map(|row| row[index].chars().count())
                    .chain([headings[index].len()])
                    .max()
                    .unwrap_or(0)
            };
            let widths: Vec<usize> = (0..headings.len()).map(width).collect();
            let mut line = |cells: &mut dyn Iterator<Item = &str>| {
                let padded: Vec<String> = cells
                    .zip(&widths)
                    .map(|(cell, width)| format!("{cell:<width$}"))
                    .collect();
                text.push_str(padded.join("  ").trim_end());
                text.push('\n');
            };
            line(&mut headings.iter().copied());
            for row in &cells {
                line(&mut row.iter().map(String::as_str));
            }
        }
    }
    write(&text)
}

/// Prints one value.
pub(super) fn value(value: &Value) -> Result<(), Failure> {
    write(&format!("{value:#}\n"))
}

/// Prints a value where the output is JSON: people read the same on standard error.
pub(super) fn if_json(output: Output, printed: &Value) -> Result<(), Failure> {
    match output {
        Output::Json => value(printed),
        Output::Table => Ok(()),
    }
}

/// Whether anything was written to standard output.
static WRITTEN: AtomicBool = AtomicBool::new(false);

/// Whether anything was written to standard output.
pub(super) fn has_written() -> bool {
    WRITTEN.load(Ordering::Relaxed)
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    WRITTEN.store(true, Ordering::Relaxed);
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::from),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => escaped(text),
        Value::Number(number) => number
            .as_f64()
            .filter(|_| !number.is_i64() && !number.is_u64())
            .map_or_else(|| number.to_string(), |float| format!("{float:.6}")),
        other => other.to_string(),
    }
}

/// A text without control characters, which would colour a terminal or break a table.
pub(super) fn escaped(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for sign in text.chars() {
        if sign.is_control() {
            escaped.extend(sign.escape_default());
        } else {
            escaped.push(sign);
        }
    }
    escaped
}

/// A time as RFC 3339, to milliseconds.
pub(super) fn time(us: i64) -> Value {
    jiff::Timestamp::from_microsecond(us).map_or(Value::Null, |time| {
        Value::String(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
    })
}

/// Says on standard error how far something is, in place; prints nothing if that is no terminal.
pub(super) fn progress(text: std::fmt::Arguments<'_>) {
    let mut error = std::io::stderr();
    if error.is_terminal() {
        // A terminal that refuses the text has gone away; the work goes on.
        drop(write!(error, "\r{text}\x1b[K").and_then(|()| error.flush()));
    }
}

/// Ends a line of progress.
pub(super) fn progress_done() {
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
}
