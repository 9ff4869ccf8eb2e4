//! Which columns say when a row was taken, and of which robot it is.

use super::Looking;
use super::apart::{date_and_time, split};
use super::column::Profile;
use super::epochs;
use crate::columns::{without_mark, without_unit};
use crate::mapping::Mapping;
use crate::records::shown;
use crate::times::{Form, forms};

/// Names of columns of times, the likeliest first.
const TIME_NAMES: &[&str] = &[
    "event_time",
    "timestamp",
    "time_stamp",
    "timestamps",
    "datetime",
    "date_time",
    "date time",
    "time",
    "stamp",
    "zeitstempel",
    "zeit",
    "ts",
    "t",
    "rectime",
    "recorded_at",
    "created_at",
    "sample_time",
    "unix_time",
    "epoch",
    "rosbagtimestamp",
    "header.stamp",
    "log_time",
    "date",
    "datum",
];

/// Names of columns that name the robot.
const ROBOT_NAMES: &[&str] = &[
    "robot_id",
    "robotid",
    "robot",
    "robot_name",
    "machine_id",
    "machineid",
    "machine",
    "device_id",
    "deviceid",
    "device",
    "unit_id",
    "unitid",
    "asset_id",
    "asset",
    "serial_number",
    "serial",
    "vehicle_id",
    "arm_id",
];

/// How many of these say so by themselves; in columns of the others, values must repeat.
const ROBOT_NAMES_CLEAR: usize = 6;

/// A column of the file.
pub(super) type Named<'a> = (&'a str, &'a Profile);

pub(super) fn plain(name: &str) -> String {
    without_unit(without_mark(name)).trim().to_lowercase()
}

/// The last part of a nested name, in lower case.
pub(super) fn last(name: &str) -> String {
    let plain = plain(name);
    plain
        .rsplit(['.', '/'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Whether a name is one that columns of times have.
pub(super) fn is_time_name(name: &str) -> bool {
    TIME_NAMES.contains(&plain(name).as_str())
}

/// How well a name fits a column of times; the less the better, none: not at all.
fn rank(name: &str) -> Option<usize> {
    let (whole, end) = (plain(name), last(name));
    TIME_NAMES
        .iter()
        .position(|known| *known == whole || *known == end)
        .or_else(|| (whole.contains("time") || whole.contains("stamp")).then_some(TIME_NAMES.len()))
}

/// Finds the column of the robot; none: the robot goes by the file's name.
pub(super) fn robot(columns: &[Named<'_>]) -> Option<String> {
    ROBOT_NAMES.iter().enumerate().find_map(|(rank, known)| {
        let (name, _) = columns.iter().find(|(name, profile)| {
            let repeats = profile
                .distinct()
                .is_some_and(|distinct| distinct as u64 * 2 <= profile.rows.max(2));
            let names = profile.present() * 2 > profile.rows
                && (!profile.is_number() || profile.is_whole())
                && !profile.is_time();
            is_called(name, known) && names && (repeats || rank < ROBOT_NAMES_CLEAR)
        })?;
        Some((*name).to_owned())
    })
}

/// Whether a column has this name, also as the nested value that it says: `device.id`.
fn is_called(name: &str, known: &str) -> bool {
    let name = plain(name);
    let joined = name.replace(['.', '/', ' ', '-'], "_");
    name == known || joined == known || last(&name) == known
}

/// Finds the columns of the time and sets the mapping's keys.
pub(super) fn time(columns: &[Named<'_>], mapping: &mut Mapping, looking: &mut Looking) {
    let found = typed(columns, mapping)
        || split(columns, mapping)
        || date_and_time(columns, mapping, looking)
        || written(columns, mapping, looking)
        || counted(columns, mapping, looking)
        || as_said(columns, mapping, looking);
    if !found {
        looking.unclear.push(not_found(columns));
    } else if let Some(column) = &mapping.time_column {
        let form = match (
            &mapping.time_format,
            &mapping.date_column,
            &mapping.nanos_column,
        ) {
            (_, Some(date), _) => format!("with the date in '{date}'"),
            (_, _, Some(nanos)) => format!("whole seconds, with nanoseconds in '{nanos}'"),
            (Some(format), ..) => format!("as {format}"),
            (None, ..) => "as dates with times".to_owned(),
        };
        looking
            .findings
            .push(format!("time: column '{column}', {form}"));
    }
}

/// What is asked where no column has times.
fn not_found(columns: &[Named<'_>]) -> String {
    let is_named = |(name, profile): &&Named<'_>| profile.present() > 0 && rank(name).is_some();
    let named = columns.iter().filter(is_named);
    match named.min_by_key(|(name, _)| rank(name)) {
        Some((name, profile)) if profile.is_number() => format!(
            "column '{}' has numbers that do not rise, such as {}: where they are times, give time_column = \"{0}\" and time_format, such as \"elapsed_s\" (with time_start) or \"epoch_s\"",
            shown(name),
            shown(profile.texts().first().copied().unwrap_or_default()),
        ),
        Some((name, profile)) => format!(
            "column '{}' has times such as '{}', of no form that is known: give time_column = \"{0}\" and a pattern for them, such as time_format = \"%d.%m.%Y %H-%M-%S\" (as of strftime), or another column",
            shown(name),
            shown(profile.texts().first().copied().unwrap_or_default()),
        ),
        None => "no column says when the rows were taken: give time_column, or for a file without times rate = \"10Hz\" and time_start = \"2026-01-31T08:00:00Z\", in a mapping"
            .to_owned(),
    }
}

/// Times of a typed file.
fn typed(columns: &[Named<'_>], mapping: &mut Mapping) -> bool {
    let mut times: Vec<&Named<'_>> = columns
        .iter()
        .filter(|(_, profile)| profile.is_time())
        .collect();
    times.sort_by_key(|(name, profile)| {
        let gaps = profile.missing * 100 > profile.rows;
        let recorded = ["log_time", "publish_time"].contains(name);
        (gaps, recorded, rank(name).unwrap_or(usize::MAX))
    });
    mapping.time_column = times.first().map(|(name, _)| (*name).to_owned());
    mapping.time_column.is_some()
}

/// Times in words and dates.
fn written(columns: &[Named<'_>], mapping: &mut Mapping, looking: &mut Looking) -> bool {
    let mut found: Vec<(bool, usize, &str, Vec<Form>)> = columns
        .iter()
        .filter(|(_, profile)| profile.present() > 0 && !profile.is_number() && !profile.is_time())
        .map(|(name, profile)| {
            let rank = rank(name).unwrap_or(usize::MAX);
            // When a file was made is no time of its rows.
            let is_constant = profile.distinct() == Some(1) && profile.present() > 1;
            let forms = forms_of_most(profile, rank < usize::MAX);
            (is_constant, rank, *name, forms)
        })
        .filter(|(.., forms)| !forms.is_empty())
        .collect();
    found.sort_by_key(|(is_constant, rank, ..)| (*is_constant, *rank));
    let Some((.., name, forms)) = found.first() else {
        return false;
    };
    let others: Vec<&str> = found[1..].iter().map(|(.., name, _)| *name).collect();
    if !others.is_empty() {
        looking.findings.push(format!(
            "there are times also in '{}': give time_column where one of these is meant",
            shown(&others.join("', '"))
        ));
    }
    mapping.time_column = Some((*name).to_owned());
    settle(forms, name, mapping, looking);
    true
}

/// The forms of the times of a column, of which some may not be readable: more of them where the
/// column's name says that it is one of times.
fn forms_of_most(profile: &Profile, named: bool) -> Vec<Form> {
    let texts = profile.texts();
    let found = forms(&texts);
    if !found.is_empty() {
        return found;
    }
    let readable: Vec<&str> = texts
        .iter()
        .copied()
        .filter(|text| !forms(&[*text]).is_empty() && text.parse::<f64>().is_err())
        .collect();
    let tenths = if named { 5 } else { 9 };
    if readable.len() * 10 >= texts.len() * tenths && !readable.is_empty() {
        forms(&readable)
    } else {
        Vec::new()
    }
}

/// Times that are numbers.
fn counted(columns: &[Named<'_>], mapping: &mut Mapping, looking: &mut Looking) -> bool {
    let mut found: Vec<(bool, usize, &str, &Profile, Vec<Form>)> = columns
        .iter()
        .filter(|(_, profile)| profile.is_number())
        .filter_map(|(name, profile)| {
            let forms = epochs::forms_of(name, profile, mapping.decimal, rank(name).is_some());
            let counts = forms.first()?.needs_start;
            let rank = rank(name);
            let fits = if counts {
                rank.is_some() && profile.rises()
            } else {
                rank.is_some() || profile.rises()
            };
            fits.then_some((counts, rank.unwrap_or(usize::MAX), *name, *profile, forms))
        })
        .collect();
    found.sort_by_key(|(counts, rank, ..)| (*counts, *rank));
    let Some((counts, _, name, profile, forms)) = found.into_iter().next() else {
        return false;
    };
    mapping.time_column = Some(name.to_owned());
    if mapping.time_format.is_none()
        && let Some(question) = epochs::question(name, profile, mapping.decimal, &forms)
    {
        looking.unclear.push(question);
        return true;
    }
    if !counts {
        settle(&forms, name, mapping, looking);
        return true;
    }
    if mapping.time_format.is_some() {
        if mapping
            .time_format
            .as_deref()
            .is_some_and(|format| format.starts_with("elapsed"))
        {
            looking.assume_start(mapping, name);
        }
        return true;
    }
    let by_name = epochs::elapsed_by_name(name);
    if by_name.is_none() && profile.is_whole() {
        looking.unclear.push(format!(
            "the times in column '{name}' are whole numbers from a start that is not said: give time_format (elapsed_s, elapsed_ms, elapsed_us, elapsed_ns, elapsed_min or elapsed_h)"
        ));
    }
    mapping.time_format = Some(by_name.unwrap_or("elapsed_s").to_owned());
    looking.assume_start(mapping, name);
    true
}

/// Times of which the user has said how they are written, in the column whose name says that it has
/// them.
fn as_said(columns: &[Named<'_>], mapping: &mut Mapping, looking: &mut Looking) -> bool {
    let Some(format) = &mapping.time_format else {
        return false;
    };
    let named = columns
        .iter()
        .filter(|(_, profile)| profile.present() > 0)
        .filter_map(|(name, _)| Some((rank(name)?, *name)))
        .min();
    let Some((_, name)) = named else {
        return false;
    };
    let has_zone = ["%z", "%:z", "%Q", "%s"]
        .iter()
        .any(|zone| format.contains(zone));
    if format.contains('%') && !has_zone {
        assume_zone(name, mapping, looking);
    }
    mapping.time_column = Some(name.to_owned());
    true
}

/// Takes UTC for the zone that no time names.
fn assume_zone(name: &str, mapping: &mut Mapping, looking: &mut Looking) {
    if mapping.time_zone.is_none() {
        mapping.time_zone = Some("UTC".to_owned());
        looking.findings.push(format!(
            "the times in column '{name}' name no zone: taken as UTC; if it is another, give time_zone = \"Europe/Berlin\" or the like"
        ));
    }
}

/// Sets the keys for a form; several are a question.
pub(super) fn settle(found: &[Form], name: &str, mapping: &mut Mapping, looking: &mut Looking) {
    let Some(form) = found.first() else {
        return;
    };
    if mapping.time_format.is_none() {
        mapping.time_format = form.time_format.map(str::to_owned);
        let several: Vec<&str> = found.iter().filter_map(|form| form.time_format).collect();
        if several.len() > 1 {
            mapping.time_format = None;
            looking.unclear.push(format!(
                "the times in column '{name}' can be read in more than one way: give time_format = \"{}\"",
                several.join("\" or \"")
            ));
        }
    }
    if form.has_letters && mapping.time_zone.is_none() {
        looking.unclear.push(format!(
            "the times in column '{name}' have letters for their zone, which several zones use: give time_zone = \"Europe/Berlin\" or the like"
        ));
    } else if form.needs_zone {
        assume_zone(name, mapping, looking);
    }
    if form.needs_start {
        looking.assume_start(mapping, name);
    }
}
