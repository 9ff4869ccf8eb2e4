//! A first rule file: limits from the data's own distribution.

use theatre_schemas::dataset::ColumnType;

use crate::look::{Column, Looked};

/// Rules that are active; the others are comments.
const ACTIVE_MAX: usize = 12;

/// Fewest numbers from which a limit is taken.
const NUMBERS_MIN: u64 = 20;

/// Longest time in a rule, milliseconds: ten years. A wrong date can put centuries between two rows,
/// and no rule takes that long.
const LONGEST_MS: i64 = 3650 * 86_400_000;

/// The file's text.
pub(super) fn of(looked: &Looked) -> String {
    let dataset = looked.dataset.as_str();
    let mut text = format!(
        "# First rules for the data set {dataset}. Every limit is a GUESS: the value that the data \
         themselves\n# exceed in 0.5 % of the rows, not one that is known to matter. Change \
         limits, priorities and\n# descriptions, and delete what is of no use.\n"
    );
    let mut active = 0;
    for column in &looked.columns {
        let rule = match column.column_type {
            ColumnType::Boolean => flag(column, dataset, looked),
            ColumnType::Float64 | ColumnType::Int64 => limit(column, dataset, looked),
            _ => None,
        };
        let Some(rule) = rule else {
            continue;
        };
        text.push('\n');
        if active < ACTIVE_MAX {
            text.push_str(&rule);
        } else {
            for line in rule.lines() {
                text.push_str(&format!("# {line}\n"));
            }
        }
        active += 1;
    }
    if let Some(first) = looked.columns.iter().find(|column| is_signal(column)) {
        text.push_str(&format!(
            "\n# GUESS: so long without a value is unusual.\n[[rule]]\nid = \"{dataset}_{0}_missing\"\npriority = \"low\"\ndataset = \"{dataset}\"\n\
             description = \"{0} has had no value for long\"\nkind = {{ missing_data = {{ signal = \"{0}\", after = \"{1}ms\" }} }}\n",
            first.field,
            looked.pace_us.map_or(60_000, |pace| (pace / 1000 * 100).clamp(3000, LONGEST_MS)),
        ));
    }
    text
}

fn is_signal(column: &Column) -> bool {
    matches!(
        column.column_type,
        ColumnType::Boolean | ColumnType::Float64 | ColumnType::Int64
    )
}

/// A flag whose name says that something is wrong.
fn flag(column: &Column, dataset: &str, looked: &Looked) -> Option<String> {
    let field = &column.field;
    looked.mapping.events.contains(field).then(|| {
        format!(
            "# GUESS: the name of the flag sounds like something that is to be known.\n[[rule]]\nid = \"{dataset}_{field}\"\npriority = \"low\"\n\
             dataset = \"{dataset}\"\ndescription = \"{field} is set\"\nkind = {{ boolean = {{ signal = \"{field}\" }} }}\n"
        )
    })
}

/// A limit that few rows exceed.
fn limit(column: &Column, dataset: &str, looked: &Looked) -> Option<String> {
    let profile = &column.profile;
    let (least, most) = profile.range?;
    if profile.numbers < NUMBERS_MIN || least >= most {
        return None;
    }
    let raise = rounded(profile.quantile(0.995)?);
    let clear = rounded(profile.quantile(0.98)?).min(raise);
    // A value that the data never exceed is no limit worth a rule.
    if raise >= most || !raise.is_finite() {
        return None;
    }
    let field = &column.field;
    let unit = column
        .unit
        .as_ref()
        .map(|unit| format!(" {}", plain(unit)))
        .unwrap_or_default();
    let gap = looked.pace_us.map_or(String::new(), |pace| {
        format!(
            "# max_gap = \"{}ms\"      # a gap in the data after which a hold begins anew\n",
            (pace / 100).clamp(1000, LONGEST_MS)
        )
    });
    Some(format!(
        "# GUESS: 99.5 % of the rows have at most {raise:?}{unit}; they range from {least:?} to {most:?}.\n[[rule]]\nid = \"{dataset}_{field}_high\"\n\
         priority = \"low\"\ndataset = \"{dataset}\"\ndescription = \"{field} is higher than in 99.5 % of the rows\"\n{gap}\
         kind = {{ threshold = {{ signal = \"{field}\", raise_above = {raise:?}, clear_below = {clear:?} }} }}\n"
    ))
}

/// A unit as a comment can hold it.
fn plain(unit: &str) -> String {
    unit.chars().filter(|sign| !sign.is_control()).collect()
}

/// A number to four digits.
fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}
