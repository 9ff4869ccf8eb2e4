//! A mapping as a file with every key: those that are set, and the others as comments.

use schemars::schema_for;

use crate::look::Looked;
use crate::mapping::Header;
use crate::mapping::{Mapping, TimeZero};
use crate::records::shown;

/// Columns of a line of comment.
const WIDTH: usize = 96;

/// Examples of keys that are not set.
const EXAMPLES: &[(&str, &str)] = &[
    ("topic", "\"/joint_states\""),
    ("robot_id", "\"robot-1\""),
    ("robot_column", "\"robot\""),
    ("robot_from_file", "\"log_{robot}_*.csv\""),
    ("time_column", "\"Time\""),
    ("date_column", "\"Date\""),
    ("nanos_column", "\"nsecs\""),
    ("time_format", "\"day_first\""),
    ("time_zone", "\"Europe/Berlin\""),
    ("repeated_hour", "\"by_order\""),
    ("time_start", "\"2026-01-31T08:00:00Z\""),
    ("time_zero", "\"first_row\""),
    ("rate", "\"125Hz\""),
    ("period", "\"8ms\""),
    ("sequence_column", "\"counter\""),
    ("sequence_step", "1"),
    ("delimiter", "\",\""),
    ("quote", "'\"'"),
    ("escape", "'\\'"),
    ("comment", "\"#\""),
    ("header", "\"none\""),
    ("names", "[\"t\", \"position\"]"),
    ("skip_lines", "0"),
    ("skip_after_header", "0"),
    ("footer_lines", "0"),
    ("encoding", "\"windows-1252\""),
    ("decimal", "\".\""),
    ("thousands", "\",\""),
    ("missing", "[\"N/A\", \"-\"]"),
    ("bad_cells", "\"refuse\""),
    ("events", "[\"protective_stop\"]"),
];

/// The file's text.
pub(super) fn of(looked: &Looked) -> String {
    let mut text = comment(&format!(
        "How {} becomes telemetry of the data set {}. What is not needed may be deleted.",
        shown(&looked.file),
        looked.dataset
    ));
    for unclear in &looked.unclear {
        text.push_str(&comment(&format!("TO DECIDE: {}", shown_whole(unclear))));
    }
    for finding in &looked.findings {
        text.push_str(&comment(&format!("- {}", shown_whole(finding))));
    }
    let schema = schema_for!(Mapping);
    let properties = schema
        .as_value()
        .get("properties")
        .and_then(serde_json::Value::as_object);
    for (key, property) in properties.into_iter().flatten() {
        if key == "columns" {
            continue;
        }
        let described = property["description"].as_str().unwrap_or_default();
        text.push('\n');
        text.push_str(&comment(&described.replace('\n', " ")));
        match set(&looked.mapping, key) {
            Some(value) => text.push_str(&format!("{key} = {value}\n")),
            None => {
                let example = EXAMPLES.iter().find(|(known, _)| known == key);
                if let Some((_, example)) = example {
                    text.push_str(&format!("# {key} = {example}\n"));
                }
            }
        }
    }
    text.push_str("\n# Field of the schema = column of the file.\n[columns]\n");
    for column in &looked.columns {
        text.push_str(&format!("{} = {}\n", column.field, quoted(&column.name)));
    }
    text
}

/// A text without control characters, which a comment cannot hold.
fn shown_whole(text: &str) -> String {
    text.chars()
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .collect()
}

/// Text as lines of comment.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.len() > 1 {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn listed(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// The value of a key, as TOML, if it is set and not what it would be anyway.
fn set(mapping: &Mapping, key: &str) -> Option<String> {
    let text = |value: &Option<String>| value.as_deref().map(quoted);
    let path = |path: &std::path::Path| quoted(&path.to_string_lossy());
    let sign = |sign: char| quoted(&sign.to_string());
    match key {
        "schema" => Some(path(&mapping.schema)),
        "rules" => mapping.rules.as_deref().map(path),
        "topic" => text(&mapping.topic),
        "robot_id" => text(&mapping.robot_id),
        "robot_column" => text(&mapping.robot_column),
        "robot_from_file" => text(&mapping.robot_from_file),
        "time_column" => text(&mapping.time_column),
        "date_column" => text(&mapping.date_column),
        "nanos_column" => text(&mapping.nanos_column),
        "time_format" => text(&mapping.time_format),
        "time_zone" => text(&mapping.time_zone),
        "time_start" => text(&mapping.time_start),
        "time_zero" => {
            (mapping.time_zero == TimeZero::FirstRow).then(|| "\"first_row\"".to_owned())
        }
        "rate" => text(&mapping.rate),
        "delimiter" => (mapping.delimiter != ",").then(|| quoted(&mapping.delimiter)),
        "quote" => (mapping.quote != "\"").then(|| quoted(&mapping.quote)),
        "escape" => text(&mapping.escape),
        "comment" => text(&mapping.comment),
        "header" => (mapping.header == Header::None).then(|| "\"none\"".to_owned()),
        "names" => (!mapping.names.is_empty()).then(|| listed(&mapping.names)),
        "skip_lines" => (mapping.skip_lines > 0).then(|| mapping.skip_lines.to_string()),
        "skip_after_header" => {
            (mapping.skip_after_header > 0).then(|| mapping.skip_after_header.to_string())
        }
        "footer_lines" => (mapping.footer_lines > 0).then(|| mapping.footer_lines.to_string()),
        "encoding" => text(&mapping.encoding),
        "decimal" => (mapping.decimal != '.').then(|| sign(mapping.decimal)),
        "thousands" => mapping.thousands.map(sign),
        "events" => (!mapping.events.is_empty()).then(|| listed(&mapping.events)),
        _ => None,
    }
}
