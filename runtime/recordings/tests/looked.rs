//! What a look at the files of the corpus finds, held against their mappings.

#![allow(clippy::unwrap_used)] // Of helpers of tests, too.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use theatre_recordings::infer::Inferred;
use theatre_recordings::look::{Hints, look};
use theatre_recordings::mapping::Mapping;
use theatre_recordings::rows::{Plan, Rows};

/// Where a row's only value is no number, the mapping has no row.
const TEXT: &str = "a text column is inferred";

/// Cases whose mapping says what the file does not, so that a look finds other rows.
const BY_THE_MAPPING: &[(&str, &str)] = &[
    ("bad_cell_costs_row", "a text column is inferred"),
    (
        "bad_cell_of_a_field_without_null",
        "inferred fields may be null",
    ),
    ("crlf", TEXT),
    ("flags", TEXT),
    ("own_missing_words", TEXT),
    ("point_where_comma_is_decimal", TEXT),
    ("thousands_comma", TEXT),
    ("thousands_point", TEXT),
    ("whole_numbers", TEXT),
    ("counter", "no column of numbers is taken for a sequence"),
    ("hour_left_out", "no zone is known, so no hour is left out"),
    ("hour_twice_unsaid", "no zone is known, so no hour is twice"),
    ("latin1_row_unsaid", "the encoding is found"),
    ("decimal_comma_and_thousands", TEXT),
    ("groups_of_two_digits", TEXT),
    (
        "nanoseconds_beyond_a_second",
        "no such names of seconds and nanoseconds are known",
    ),
];

/// Cases of which the file does not say what a mapping must: a look asks.
const ASKS: &[(&str, &str)] = &[
    ("a_third_of_a_second", "no time"),
    ("blank_lines_only", "nothing"),
    ("day_first_in_many_forms", "a month that is none"),
    (
        "elapsed_before_the_start",
        "numbers and clocks in one column",
    ),
    (
        "elapsed_over_a_change_of_clocks",
        "seconds or parts of them",
    ),
    ("empty", "nothing"),
    ("epoch_dotnet", "other counts of our days"),
    ("epoch_julian", "other counts of our days"),
    ("epoch_matlab", "other counts of our days"),
    ("epoch_modified_julian", "other counts of our days"),
    ("epoch_windows", "other counts of our days"),
    ("epoch_without_a_value", "two units in one column"),
    ("layout_ai4i", "no time"),
    ("layout_cmapss", "no time"),
    ("letters_for_the_zone", "CET is of several zones"),
    ("missing_words", "no value"),
    ("no_day_of_the_calendar", "most times are none"),
    ("no_quotes", "a quote that does not close"),
    ("no_time_but_a_period", "no time"),
    ("no_time_but_a_rate", "no time"),
    ("one_column", "no time"),
    ("only_a_header", "no row"),
    ("pattern", "times of a form of their own"),
    ("thousands_unsaid", "1,234 can be either"),
];

/// Times of all rows, and how many rows there are.
fn times(mapping: Mapping, file: &str) -> Result<(BTreeSet<i64>, u64), String> {
    let plan = Arc::new(Plan::new(mapping).map_err(|error| error.to_string())?);
    let mut rows = Rows::open(&plan, file).map_err(|error| error.to_string())?;
    let mut times = BTreeSet::new();
    while let Some(row) = rows.next_row().map_err(|error| error.to_string())? {
        times.extend(row.map(|row| row.event_time));
    }
    Ok((times, rows.tally().rows))
}

/// What is wrong with a look at a case; it may find the same rows, say what it assumes, or ask, which
/// is true.
fn wrong(case: &Path) -> Result<bool, String> {
    let input = fs::read_dir(case)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("in.")
        })
        .unwrap();
    let file = input.to_string_lossy().into_owned();
    let right = Mapping::load(&case.join("mapping.toml")).unwrap();
    // Of a file that is refused as a whole nothing is to be found.
    let Ok(right) = times(right, &file) else {
        return Ok(false);
    };
    let looked = look(&file, &Hints::default()).map_err(|error| error.to_string())?;
    if !looked.unclear.is_empty() {
        return Ok(true);
    }
    let folder = tempfile::tempdir().unwrap();
    let written = Inferred::of(&looked, &|_| false)
        .write(folder.path(), false)
        .unwrap();
    let found = Mapping::load(&written[1]).map_err(|error| error.to_string())?;
    let found = times(found, &file)?;
    let assumed = looked
        .findings
        .iter()
        .any(|finding| finding.contains("taken as UTC") || finding.contains("give time_start"));
    if found.1 == right.1 && (assumed || found.0 == right.0) {
        return Ok(false);
    }
    Err(format!(
        "{} rows at {:?}, right are {} at {:?}\n{}\n{}",
        found.1,
        found.0.first(),
        right.1,
        right.0.first(),
        looked.findings.join("\n"),
        looked.table()
    ))
}

#[test]
fn a_look_finds_the_rows_of_the_corpus_or_asks() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut cases: Vec<PathBuf> = fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    let mut report = String::new();
    let mut asks = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let known = BY_THE_MAPPING.iter().any(|(known, _)| *known == name);
        match wrong(case) {
            Ok(true) => asks.push(name),
            Ok(false) if known => {
                let _ = writeln!(
                    report,
                    "--- {name}: as its mapping has it; take it off the list"
                );
            }
            Err(why) if !known => {
                let _ = writeln!(report, "--- {name}: {why}");
            }
            Ok(false) | Err(_) => {}
        }
    }
    assert!(report.is_empty(), "{report}");
    let known: Vec<&str> = ASKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(asks, known);
}
