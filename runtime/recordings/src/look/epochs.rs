//! What numbers in a column of times may count that is no time since 1970.

use super::column::Profile;
use super::roles::last;
use crate::columns::unit;
use crate::times::{Form, forms};

/// Seconds of the years 2000 and 2040, since 1970: recordings are hardly of others.
const OUR_DAYS: std::ops::Range<f64> = 946_684_800.0..2_208_988_800.0;

/// Rows that follow each other within a minute, in days: a count of seconds hardly has such small
/// steps.
const MINUTE_IN_DAYS: f64 = 0.0007;

const DAY: f64 = 86_400.0;

/// Smaller numbers are counts since a robot was switched on rather than since 2001.
const LEAST: f64 = 1e8;

/// A way of counting time.
struct Count {
    what: &'static str,
    /// The keys of a mapping for it.
    keys: &'static str,
    /// Seconds of one.
    unit: f64,
    /// Seconds from its beginning to 1970.
    before: f64,
}

const COUNTS: &[Count] = &[
    Count {
        what: "units of 100 ns since the year 1 (ticks of .NET)",
        keys: "time_format = \"elapsed_100ns\" and time_start = \"0001-01-01T00:00:00Z\"",
        unit: 1e-7,
        before: 62_135_596_800.0,
    },
    Count {
        what: "units of 100 ns since 1601 (times of Windows)",
        keys: "time_format = \"elapsed_100ns\" and time_start = \"1601-01-01T00:00:00Z\"",
        unit: 1e-7,
        before: 11_644_473_600.0,
    },
    Count {
        what: "units of 100 ns since 1970",
        keys: "time_format = \"elapsed_100ns\" and time_start = \"1970-01-01T00:00:00Z\"",
        unit: 1e-7,
        before: 0.0,
    },
    Count {
        what: "microseconds since 1601",
        keys: "time_format = \"elapsed_us\" and time_start = \"1601-01-01T00:00:00Z\"",
        unit: 1e-6,
        before: 11_644_473_600.0,
    },
    Count {
        what: "seconds since 2001 (times of Apple)",
        keys: "time_format = \"elapsed_s\" and time_start = \"2001-01-01T00:00:00Z\"",
        unit: 1.0,
        before: -978_307_200.0,
    },
    Count {
        what: "seconds since 1904 (times of LabVIEW)",
        keys: "time_format = \"elapsed_s\" and time_start = \"1904-01-01T00:00:00Z\"",
        unit: 1.0,
        before: 2_082_844_800.0,
    },
    Count {
        what: "days as workbooks count them",
        keys: "time_format = \"excel\" and time_zone",
        unit: DAY,
        before: 25_569.0 * DAY,
    },
    Count {
        what: "days as MATLAB counts them",
        keys: "time_format = \"matlab\" and time_zone",
        unit: DAY,
        before: 719_529.0 * DAY,
    },
    Count {
        what: "Julian days",
        keys: "time_format = \"julian\" and time_zone = \"UTC\"",
        unit: DAY,
        before: 2_440_587.5 * DAY,
    },
    Count {
        what: "modified Julian days",
        keys: "time_format = \"modified_julian\" and time_zone = \"UTC\"",
        unit: DAY,
        before: 40_587.0 * DAY,
    },
];

/// The forms of a column's numbers. `is_named` says whether it is called as columns of times are.
pub(super) fn forms_of(name: &str, profile: &Profile, decimal: char, is_named: bool) -> Vec<Form> {
    let texts: Vec<String> = profile
        .texts()
        .iter()
        .map(|text| text.replace(decimal, "."))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = forms(&texts);
    let first = found.first().copied();
    // A time since 1970 of long ago counts from another start where its name says what it counts.
    if let Some(form) = first
        && unit_of(form).is_some()
        && let Some(elapsed) = elapsed_by_name(name)
        && !texts.iter().all(|text| is_of_our_days(text, form))
    {
        return vec![Form {
            time_format: Some(elapsed),
            needs_zone: false,
            needs_start: true,
            has_letters: false,
        }];
    }
    if is_named
        && first.is_none_or(|form| form.needs_start)
        && let Some(form) = form_of_most(&texts)
    {
        return vec![form];
    }
    found
}

/// The form that most numbers have, of our days: a clock that was not set, or another unit, costs
/// its own row.
fn form_of_most(texts: &[&str]) -> Option<Form> {
    let mut counts: Vec<(Form, usize)> = Vec::new();
    for text in texts {
        let own = forms(&[*text]);
        let Some(form) = own.into_iter().find(|form| is_of_our_days(text, *form)) else {
            continue;
        };
        match counts.iter_mut().find(|(known, _)| *known == form) {
            Some((_, count)) => *count += 1,
            None => counts.push((form, 1)),
        }
    }
    let (form, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count * 2 > texts.len()).then_some(form)
}

/// Whether a number is a time of our days since 1970.
fn is_of_our_days(text: &str, form: Form) -> bool {
    let number = text.parse::<f64>().ok();
    unit_of(form)
        .zip(number)
        .is_some_and(|(unit, number)| OUR_DAYS.contains(&(number * unit)))
}

/// Seconds of the unit since 1970 that a form counts in.
fn unit_of(form: Form) -> Option<f64> {
    match form.time_format? {
        "epoch_s" => Some(1.0),
        "epoch_ms" => Some(1e-3),
        "epoch_us" => Some(1e-6),
        "epoch_ns" => Some(1e-9),
        _ => None,
    }
}

/// What a column counts by its name or the unit in it.
pub(super) fn elapsed_by_name(name: &str) -> Option<&'static str> {
    let unit = unit(name).map(str::to_lowercase);
    let end = last(name);
    match unit.as_deref() {
        Some("ms" | "msec" | "milliseconds") => Some("elapsed_ms"),
        Some("us" | "µs" | "usec" | "microseconds") => Some("elapsed_us"),
        Some("ns" | "nsec" | "nanoseconds") => Some("elapsed_ns"),
        Some("s" | "sec" | "seconds") => Some("elapsed_s"),
        Some("min" | "minutes") => Some("elapsed_min"),
        Some("h" | "hours") => Some("elapsed_h"),
        _ if end.ends_with("_ms") => Some("elapsed_ms"),
        _ if end.ends_with("_us") => Some("elapsed_us"),
        _ if end.ends_with("_ns") => Some("elapsed_ns"),
        _ if end.ends_with("_s") || end.ends_with("_sec") => Some("elapsed_s"),
        _ if end.ends_with("_min") => Some("elapsed_min"),
        _ => None,
    }
}

/// The question that must be asked of a column of numbers, which may count something else than the
/// first of these forms says; none when nothing else is likely.
pub(super) fn question(
    name: &str,
    profile: &Profile,
    decimal: char,
    forms: &[Form],
) -> Option<String> {
    let (form, (least, most)) = (*forms.first()?, profile.range?);
    let epoch = unit_of(form);
    let texts = profile.texts();
    let ours = texts
        .iter()
        .filter(|text| is_of_our_days(&text.replace(decimal, "."), form));
    // A pattern, or what the name says, is clear.
    let is_clear = epoch.is_none() && !form.needs_start || elapsed_by_name(name).is_some();
    if is_clear || ours.count() * 2 > texts.len() {
        return None;
    }
    let steps = profile.rows.saturating_sub(1).max(1) as f64;
    let are_days = !profile.is_whole() && (most - least) / steps < MINUTE_IN_DAYS;
    let are_ours = |count: &&Count| {
        let of = |number: f64| OUR_DAYS.contains(&(number * count.unit - count.before));
        of(least) && of(most)
    };
    let mut found: Vec<String> = COUNTS
        .iter()
        .filter(|count| {
            if count.unit < DAY {
                least >= LEAST
            } else {
                are_days
            }
        })
        .filter(are_ours)
        .map(|count| format!("{}: {}", count.what, count.keys))
        .collect();
    match form.time_format {
        Some(format) if epoch.is_some() => found.push(format!(
            "times since 1970, of before 2000 or after 2040: time_format = \"{format}\""
        )),
        _ if found.is_empty() => return None,
        _ => {}
    }
    found.push(
        "a count from a start: time_format = \"elapsed_s\" or the like, and time_start".to_owned(),
    );
    Some(format!(
        "the times in column '{name}' can be {}",
        found.join("; or ")
    ))
}
