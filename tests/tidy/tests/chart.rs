//! Whether the Helm chart agrees with itself and with the program.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use serde_json::Value;
use theatre_config::reference::SCHEMA;
use theatre_tidy::chart::{config_schema, schema_paths, values};
use theatre_tidy::documents::{RENEW, check_generated, renewed};
use theatre_tidy::none;
use theatre_tidy::source::{read, root};

const CHART: &str = "helm/theatre/Chart.yaml";
const SCHEMA_FILE: &str = "helm/theatre/values.schema.json";
const VALUES: &str = "helm/theatre/values.yaml";
const README: &str = "helm/theatre/README.md";

/// Writes a generated file anew if that is asked for, and compares it otherwise.
fn keep_fresh(path: &str, fresh: &str) {
    if std::env::var_os("THEATRE_RENEW").is_some() {
        fs::write(root().join(path), fresh).expect("a generated file can be written");
    } else {
        none(check_generated(path, &read(path), fresh, RENEW));
    }
}

#[test]
fn the_generated_readme_of_the_chart_is_fresh() {
    let mut table = "\n## Values\n\n| value | default | |\n|---|---|---|\n".to_owned();
    for value in values(&read(VALUES)).unwrap() {
        let default = match &value.default {
            Some(default) => format!("`{}`", default.replace('|', "\\|")),
            None => "see [values.yaml](values.yaml)".to_owned(),
        };
        let doc = value.doc.replace('|', "\\|");
        let _ = writeln!(table, "| `{}` | {default} | {doc} |", value.path);
    }
    keep_fresh(README, &renewed(&read(README), &table));
}

#[test]
fn the_generated_part_of_the_schema_of_values_has_the_keys_of_the_configuration() {
    let mut schema: Value = serde_json::from_str(&read(SCHEMA_FILE)).unwrap();
    let config = schema.pointer_mut("/properties/config").unwrap();
    *config = config_schema(&SCHEMA);
    let fresh = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    keep_fresh(SCHEMA_FILE, &fresh);
}

#[test]
fn the_schema_of_values_knows_every_value_and_no_other() {
    let schema: Value = serde_json::from_str(&read(SCHEMA_FILE)).unwrap();
    let documented: BTreeSet<String> = values(&read(VALUES))
        .unwrap()
        .into_iter()
        .map(|value| value.path)
        .collect();
    let mut known: BTreeSet<String> = schema_paths(&schema, &|path| documented.contains(path))
        .into_iter()
        .collect();
    // Helm gives it to a chart that is a part of another.
    assert!(known.remove("global"));
    let differing: Vec<&String> = known.symmetric_difference(&documented).collect();
    assert!(
        differing.is_empty(),
        "in one of values.yaml and its schema only: {differing:?}"
    );
}

/// The text behind a key of the chart's description, without quotation marks.
fn of_chart(key: &str) -> String {
    let chart = read(CHART);
    let line = chart
        .lines()
        .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{CHART} has no {key}"))
        .trim()
        .trim_matches('"')
        .to_owned()
}

#[test]
fn the_chart_installs_this_version_and_knows_its_commands() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let version = manifest["workspace"]["package"]["version"]
        .as_str()
        .unwrap();
    assert_eq!(of_chart("appVersion"), version);
    let has_api = read("runtime/theatre/src/cli.rs").contains("Api = api::");
    assert_eq!(
        of_chart("theatre/has-api-command"),
        has_api.to_string(),
        "api.enabled is refused exactly as long as there is no such command"
    );
}
