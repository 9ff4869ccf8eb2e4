//! Whether rules, boards, runbooks and the example for Alertmanager fit together and name only what
//! is there. Whether they work is tried by `tests/ops/watch/run`, on the real programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_yaml_ng::Value;
use theatre_actors::metrics::Kind;
use theatre_tidy::alerts::{self, RuleFile, TestFile};
use theatre_tidy::boards::{self, Boards};
use theatre_tidy::documents::{Document, check_generated};
use theatre_tidy::promql::{self, Query};
use theatre_tidy::source::{files, read, root};
use theatre_tidy::{Findings, none};

const RULES: &str = "helm/theatre/files/rules/";
const BOARDS: &str = "helm/theatre/files/boards/";
const BOARDS_SOURCE: &str = "compose/grafana/boards.toml";
const ALERTMANAGER: &str = "helm/theatre/files/alertmanager/alertmanager.yaml";
const TESTS: &str = "tests/ops/rules/";
const RUNBOOKS: &str = "docs/runbooks/";

/// Labels that Prometheus or its operator gives.
const GIVEN: [&str; 5] = ["cluster", "namespace", "job", "instance", "le"];
/// Metrics of others, with the labels that are used of them.
const FOREIGN: &[(&str, &[&str])] = &[
    ("up", &[]),
    ("alertmanager_notifications_failed_total", &["integration"]),
    ("process_cpu_seconds_total", &[]),
    ("process_open_fds", &[]),
    ("process_resident_memory_bytes", &[]),
    ("process_start_time_seconds", &[]),
    ("process_threads", &[]),
];

/// Files of a folder, by path and as they are read.
fn parsed<T: serde::de::DeserializeOwned>(folder: &str) -> Vec<(String, T)> {
    let paths = files("yaml")
        .into_iter()
        .filter(|path| path.starts_with(folder));
    let parsed: Vec<(String, T)> = paths
        .map(|path| {
            let file = serde_yaml_ng::from_str(&read(&path));
            let file = file.unwrap_or_else(|error| panic!("{path}: {error}"));
            (path, file)
        })
        .collect();
    assert!(!parsed.is_empty(), "{folder} is empty");
    parsed
}

fn rules() -> Vec<(String, RuleFile)> {
    parsed(RULES)
}

fn the_boards() -> Boards {
    Boards::parse(&read(BOARDS_SOURCE)).unwrap_or_else(|error| panic!("{BOARDS_SOURCE}: {error}"))
}

#[test]
fn generated_boards_are_fresh() {
    let boards = the_boards();
    none(boards::check(&boards));
    let mut expected = BTreeSet::new();
    let mut findings = Findings::new();
    for board in &boards.board {
        let path = format!("{BOARDS}{}.json", board.file);
        let (file, fresh) = (root().join(&path), board.json());
        if std::env::var_os("THEATRE_RENEW").is_some() {
            fs::write(&file, &fresh).unwrap();
        } else {
            let there = fs::read_to_string(&file).unwrap_or_default();
            findings.extend(check_generated(&path, &there, &fresh, "just renew"));
        }
        expected.insert(path);
    }
    let there = files("json")
        .into_iter()
        .filter(|path| path.starts_with(BOARDS));
    let stray = there.filter(|path| !expected.contains(path));
    findings.extend(stray.map(|path| format!("{path}: is made of no board of {BOARDS_SOURCE}")));
    none(findings);
}

/// Everything that a query may name, with its labels: metrics of the catalogue, recorded series,
/// metrics of others.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let mut known = BTreeMap::new();
    let set = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    for metric in theatre_telemetry::catalogue() {
        let endings: &[&str] = match metric.kind {
            Kind::Histogram => &["_bucket", "_sum", "_count"],
            Kind::Counter | Kind::Gauge => &[""],
        };
        for ending in endings {
            known.insert(format!("{}{ending}", metric.name), set(metric.labels));
        }
    }
    for (name, labels) in FOREIGN {
        known.insert((*name).to_owned(), set(labels));
    }
    for (_, file) in rules() {
        for rule in file.groups.into_iter().flat_map(|group| group.rules) {
            if let Some(name) = rule.record {
                known.insert(name, BTreeSet::new());
            }
        }
    }
    known
}

/// What a query names that is not there.
fn unknown(place: &str, query: &Query, known: &BTreeMap<String, BTreeSet<String>>) -> Findings {
    let mut findings = Findings::new();
    let mut of_all: BTreeSet<&str> = GIVEN.into();
    for (name, labels) in &query.selectors {
        let Some(has) = known.get(name) else {
            findings.push(format!("{place}: there is no metric {name}"));
            continue;
        };
        of_all.extend(has.iter().map(String::as_str));
        let strange = labels
            .iter()
            .filter(|label| !has.contains(*label) && !GIVEN.contains(&label.as_str()));
        findings.extend(strange.map(|label| format!("{place}: {name} has no label {label}")));
    }
    let strange = query
        .grouping
        .iter()
        .filter(|label| !of_all.contains(label.as_str()));
    findings.extend(strange.map(|label| format!("{place}: no metric of it has a label {label}")));
    findings
}

#[test]
fn rules_and_boards_name_only_metrics_and_labels_of_the_catalogue() {
    let known = known();
    let mut findings = Findings::new();
    let mut queries = 0;
    let mut look = |place: &str, text: &str| {
        let query = promql::read(text);
        queries += 1;
        findings.extend(unknown(place, &query, &known));
        let bounds = promql::bounds_of_one_version(text).into_iter();
        findings.extend(bounds.map(|bound| {
            format!("{place}: {bound}: Prometheus 2 or 3 keeps it otherwise; take N(\\\\.0)?")
        }));
    };
    for (path, file) in rules() {
        for rule in file.groups.iter().flat_map(|group| &group.rules) {
            let name = rule.alert.as_ref().or(rule.record.as_ref());
            look(&format!("{path}: {}", name.unwrap()), &rule.expr);
        }
    }
    for board in the_boards().board {
        for panel in board.panels() {
            let place = format!("board {}: {}", board.file, panel.title);
            for query in &panel.queries {
                look(&place, &query.expression());
            }
        }
    }
    assert!(queries > 80, "{queries} queries are read");
    none(findings);
}

#[test]
fn a_metric_or_label_that_is_not_there_is_found() {
    let known = known();
    let findings = |text: &str| unknown("x", &promql::read(text), &known);
    let good = "sum by (partition) (rate(theatre_records_in_total{job=\"a\"}[5m]))";
    assert_eq!(findings(good), [""; 0]);
    for (query, finding) in [
        ("theatre_records_gone_total", "there is no metric"),
        ("theatre_checkpoint_bytes", "there is no metric"),
        (
            "theatre_records_in_total{robot=\"a\"}",
            "has no label robot",
        ),
        (
            "sum by (robot) (theatre_records_in_total)",
            "has a label robot",
        ),
    ] {
        let found = findings(query);
        assert!(found.len() == 1 && found[0].contains(finding), "{found:?}");
    }
}

#[test]
fn every_metric_is_in_a_rule_or_on_a_board_or_is_looked_up_when_needed() {
    // Those that a person asks for when a rule or a board has shown something.
    let only_asked_for = [
        "theatre_consumer_stalls_total",
        "theatre_records_wrong_partition_total",
    ];
    let mut used = BTreeSet::new();
    for (_, file) in rules() {
        let rules = file.groups.into_iter().flat_map(|group| group.rules);
        used.extend(rules.flat_map(|rule| promql::read(&rule.expr).selectors));
    }
    for board in the_boards().board {
        let queries = board.panels().flat_map(|panel| &panel.queries);
        used.extend(queries.flat_map(|query| promql::read(&query.expr).selectors));
    }
    let used: Vec<String> = used.into_iter().map(|(name, _)| name).collect();
    let is_used = |name: &str| {
        only_asked_for.contains(&name)
            || used.iter().any(|used| {
                used.trim_end_matches("_bucket")
                    .trim_end_matches("_sum")
                    .trim_end_matches("_count")
                    == name
            })
    };
    let metrics = theatre_telemetry::catalogue();
    let unused = metrics.iter().filter(|metric| !is_used(metric.name));
    none(
        unused
            .map(|metric| format!("{} is shown nowhere", metric.name))
            .collect(),
    );
}

#[test]
fn alerts_say_what_where_and_what_to_do() {
    none(alerts::check_texts(&rules()));
}

#[test]
fn each_alert_has_a_test_in_which_it_fires_is_quiet_and_recovers() {
    let rules = rules();
    let names = alerts::alerts(&rules).map(|(_, name, _)| name).collect();
    // What names no metric depends on nothing.
    let always = alerts::alerts(&rules)
        .filter(|(.., rule)| promql::read(&rule.expr).selectors.is_empty())
        .map(|(_, name, _)| name);
    let always = always.collect();
    none(alerts::check_tests(
        &names,
        &always,
        &parsed::<TestFile>(TESTS),
    ));
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let rules = rules();
    let names = alerts::alerts(&rules).map(|(_, name, _)| name).collect();
    let index = format!("{RUNBOOKS}README.md");
    let runbooks: Vec<Document> = files("md")
        .iter()
        .filter(|path| path.starts_with(RUNBOOKS) && **path != index)
        .map(|path| Document::parse(path, &read(path)))
        .collect();
    none(alerts::check_runbooks(&names, &runbooks));
    none(alerts::check_index(&rules, &read(&index)));
}

/// Names of alerts that matchers such as `alertname="A"` or `alertname=~"A|B.+"` name.
fn named(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Sequence(values) => values.iter().for_each(|value| named(value, found)),
        Value::Mapping(map) => map.values().for_each(|value| named(value, found)),
        Value::String(text) => {
            let matched = text.strip_prefix("alertname");
            if let Some(names) = matched.filter(|names| !names.is_empty()) {
                let names = names.trim_start_matches(['=', '~', '!']).trim_matches('"');
                found.extend(names.split('|').map(str::to_owned));
            }
        }
        _ => {}
    }
}

#[test]
fn the_example_for_alertmanager_names_alerts_that_are_there_and_notifies() {
    let rules = rules();
    let names: BTreeSet<&str> = alerts::alerts(&rules).map(|(_, name, _)| name).collect();
    let example: Value = serde_yaml_ng::from_str(&read(ALERTMANAGER)).unwrap();
    let mut found = Vec::new();
    named(&example["inhibit_rules"], &mut found);
    named(&example["route"], &mut found);
    assert!(found.len() > 10, "{found:?}");
    let mut findings = Findings::new();
    for name in found {
        let beginning = name.trim_end_matches(".+");
        let there = names
            .iter()
            .any(|known| *known == name || beginning != name && known.starts_with(beginning));
        if !there {
            findings.push(format!("{ALERTMANAGER}: there is no alert {name}"));
        }
    }
    for receiver in example["receivers"].as_sequence().unwrap() {
        let webhooks = receiver["webhook_configs"]
            .as_sequence()
            .map_or(0, Vec::len);
        if webhooks == 0 {
            let name = receiver["name"].as_str().unwrap_or_default();
            findings.push(format!(
                "{ALERTMANAGER}: the receiver {name} has no way to notify"
            ));
        }
    }
    none(findings);
}
