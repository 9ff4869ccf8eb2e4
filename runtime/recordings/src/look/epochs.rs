//! What numbers in a column of times may count that is no time since 1970.

use super::column::Profile;
use crate::columns::unit;
use crate::times::Form;

/// Seconds of the years 2000 and 2040, since 1970: recordings are hardly of others.
const OUR_DAYS: std::ops::Range<f64> = 946_684_800.0..2_208_988_800.0;

/// Rows that follow each other within a minute, in days: a count of seconds hardly has such small
/// steps.
const MINUTE_IN_DAYS: f64 = 0.0007;

const DAY: f64 = 86_400.0;

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

/// The question that must be asked of a column of numbers, which may count something else than the
/// first of these forms says; none when nothing else is likely.
pub(super) fn question(name: &str, profile: &Profile, forms: &[Form]) -> Option<String> {
    let (form, (least, most)) = (forms.first()?, profile.range?);
    let format = form.time_format?;
    let steps = profile.rows.saturating_sub(1).max(1) as f64;
    let are_days = !profile.is_whole() && (most - least) / steps < MINUTE_IN_DAYS;
    let epoch = match format {
        "epoch_s" => Some(1.0),
        "epoch_ms" => Some(1e-3),
        "epoch_us" => Some(1e-6),
        "epoch_ns" => Some(1e-9),
        _ => None,
    };
    let are_ours = |unit: f64, before: f64| {
        let of = |number: f64| OUR_DAYS.contains(&(number * unit - before));
        of(least) && of(most)
    };
    if epoch.is_some_and(|unit| are_ours(unit, 0.0)) || unit(name).is_some() {
        return None;
    }
    let others: Vec<String> = COUNTS
        .iter()
        .filter(|count| count.unit < DAY || are_days)
        .filter(|count| are_ours(count.unit, count.before))
        .map(|count| format!("{}: {}", count.what, count.keys))
        .collect();
    if others.is_empty() {
        return None;
    }
    let own = match epoch {
        Some(_) => format!("times of another century or decade: time_format = \"{format}\""),
        None => {
            "a count from another start: time_format = \"elapsed_s\" and the like, and time_start"
                .to_owned()
        }
    };
    Some(format!(
        "the times in column '{name}' can be {}; or {own}",
        others.join("; or ")
    ))
}
