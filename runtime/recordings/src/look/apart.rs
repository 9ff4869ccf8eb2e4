//! Times whose parts stand in columns of their own: seconds and nanoseconds, date and time of day.

use super::Looking;
use super::column::Profile;
use super::roles::{Named, last, plain, settle};
use crate::mapping::Mapping;
use crate::times::forms;

/// Columns of seconds and of the nanoseconds within them, by the ends of their names.
const SPLIT_TIMES: &[(&str, &str)] = &[
    ("secs", "nsecs"),
    ("sec", "nanosec"),
    ("sec", "nsec"),
    ("seconds", "nanoseconds"),
];

/// Seconds and nanoseconds apart.
pub(super) fn split(columns: &[Named<'_>], mapping: &mut Mapping) -> bool {
    for (seconds_end, nanos_end) in SPLIT_TIMES {
        let seconds = columns.iter().find(|(name, profile)| {
            profile.is_number()
                && plain(name).ends_with(seconds_end)
                && is_epoch_of_seconds(profile)
        });
        let Some((seconds, _)) = seconds else {
            continue;
        };
        let head = plain(seconds);
        let nanos = format!("{}{nanos_end}", &head[..head.len() - seconds_end.len()]);
        if let Some((nanos, _)) = columns.iter().find(|(name, _)| plain(name) == nanos) {
            mapping.time_column = Some((*seconds).to_owned());
            mapping.nanos_column = Some((*nanos).to_owned());
            mapping.time_format = Some("epoch_s".to_owned());
            return true;
        }
    }
    false
}

fn is_epoch_of_seconds(profile: &Profile) -> bool {
    forms(&profile.texts())
        .first()
        .is_some_and(|form| form.time_format == Some("epoch_s"))
}

/// Date and time of day apart.
pub(super) fn date_and_time(
    columns: &[Named<'_>],
    mapping: &mut Mapping,
    looking: &mut Looking,
) -> bool {
    let named = |names: &[&str]| {
        columns
            .iter()
            .find(|(name, profile)| names.contains(&last(name).as_str()) && !profile.is_number())
    };
    let called = (
        named(&["date", "datum", "day"]),
        named(&["time", "uhrzeit", "zeit", "time of day", "clock"]),
    );
    let (date, time) = match called {
        (Some(date), Some(time)) => (date, time),
        _ => match beside(columns) {
            Some(found) => found,
            None => return false,
        },
    };
    let joined: Vec<String> = date
        .1
        .texts()
        .iter()
        .zip(time.1.texts())
        .map(|(date, time)| format!("{date} {time}"))
        .collect();
    let joined: Vec<&str> = joined.iter().map(String::as_str).collect();
    let found = forms(&joined);
    if found.is_empty() {
        return false;
    }
    mapping.date_column = Some(date.0.to_owned());
    mapping.time_column = Some(time.0.to_owned());
    settle(&found, date.0, mapping, looking);
    true
}

/// A column of dates and one of times of day beside it, whatever they are called, where no column
/// has both.
fn beside<'a, 'b>(columns: &'b [Named<'a>]) -> Option<(&'b Named<'a>, &'b Named<'a>)> {
    let are = |column: &Named<'_>, is: &dyn Fn(&str) -> bool| {
        let texts = column.1.texts();
        let of = texts.iter().filter(|text| is(text)).count();
        of > 0 && of * 10 >= texts.len() * 9
    };
    let has_both = |text: &str| text.contains(':') && !is_clock(text) && !forms(&[text]).is_empty();
    if columns.iter().any(|column| are(column, &has_both)) {
        return None;
    }
    columns.windows(2).find_map(|pair| {
        let (left, right) = (&pair[0], &pair[1]);
        if are(left, &is_date) && are(right, &is_clock) {
            Some((left, right))
        } else if are(left, &is_clock) && are(right, &is_date) {
            Some((right, left))
        } else {
            None
        }
    })
}

/// Whether a text is a date without a time of day.
pub(super) fn is_date(text: &str) -> bool {
    !text.contains(':') && text.parse::<f64>().is_err() && !forms(&[text]).is_empty()
}

/// Whether a text is a time of day without a date.
pub(super) fn is_clock(text: &str) -> bool {
    text.contains(':') && !forms(&[format!("2026-01-31 {}", text.trim()).as_str()]).is_empty()
}
