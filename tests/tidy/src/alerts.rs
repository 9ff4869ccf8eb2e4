//! Alerting rules, and what belongs to each: a runbook, and tests of promtool in which it fires, is
//! quiet, and recovers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::Findings;
use crate::documents::Document;

/// A file of rules, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub struct RuleFile {
    /// Groups of rules.
    pub groups: Vec<Group>,
}

/// A group of rules.
#[derive(Debug, Deserialize)]
pub struct Group {
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A rule: an alert, or a recorded series.
#[derive(Debug, Deserialize)]
pub struct Rule {
    /// Name of the alert.
    pub alert: Option<String>,
    /// Name of the series.
    pub record: Option<String>,
    /// The query.
    pub expr: String,
    /// Labels of the alert.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Texts for people.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A file of tests for promtool, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub struct TestFile {
    /// The tests.
    pub tests: Vec<Test>,
}

/// A test.
#[derive(Debug, Deserialize)]
pub struct Test {
    /// `Alert: case`.
    pub name: String,
    /// What is asked of alerts.
    #[serde(default)]
    pub alert_rule_test: Vec<AlertTest>,
}

/// What an alert is to be at a moment.
#[derive(Debug, Deserialize)]
pub struct AlertTest {
    /// The alert.
    pub alertname: String,
    /// Those that fire.
    #[serde(default)]
    pub exp_alerts: Vec<serde::de::IgnoredAny>,
}

/// The cases that each alert has.
pub const CASES: [&str; 3] = ["firing", "quiet", "recovering"];
/// Whom an alert is for.
const SEVERITIES: [&str; 3] = ["page", "ticket", "info"];
/// Headings of a runbook.
const SECTIONS: [&str; 5] = ["Meaning", "Impact", "First checks", "Fix", "Escalation"];

/// The alerts of files of rules, with the files they are in.
pub fn alerts(files: &[(String, RuleFile)]) -> impl Iterator<Item = (&str, &str, &Rule)> {
    files.iter().flat_map(|(path, file)| {
        let rules = file.groups.iter().flat_map(|group| &group.rules);
        rules.filter_map(move |rule| Some((path.as_str(), rule.alert.as_deref()?, rule)))
    })
}

/// Finds alerts that say too little, or that are there twice.
#[must_use]
pub fn check_texts(files: &[(String, RuleFile)]) -> Findings {
    let mut findings = Findings::new();
    let mut seen = BTreeSet::new();
    for (path, name, rule) in alerts(files) {
        let mut found = |what: String| findings.push(format!("{path}: {name}: {what}"));
        if !seen.insert(name) {
            found("is there twice".to_owned());
        }
        let severity = rule.labels.get("severity").map_or("", String::as_str);
        if !SEVERITIES.contains(&severity) {
            found(format!("severity '{severity}' is none of {SEVERITIES:?}"));
        }
        let text = |key: &str| rule.annotations.get(key).map_or("", String::as_str);
        if text("summary").is_empty() || text("summary").contains("{{") {
            found("wants a summary, the same for all its instances".to_owned());
        }
        if !text("description").contains("$value") {
            found("wants a description with the value".to_owned());
        }
        let runbook = format!("{{{{ $externalLabels.runbooks }}}}/{name}.md");
        if text("runbook_url") != runbook {
            found(format!("wants the runbook_url {runbook}"));
        }
    }
    findings
}

/// Finds alerts without a test of each case, and tests of alerts that are not there. Those of
/// `always` fire whatever happens, and have one case only.
#[must_use]
pub fn check_tests(
    names: &BTreeSet<&str>,
    always: &BTreeSet<&str>,
    files: &[(String, TestFile)],
) -> Findings {
    let mut findings = Findings::new();
    let mut cases: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, file) in files {
        for test in &file.tests {
            let (alert, case) = test.name.split_once(": ").unwrap_or((&test.name, ""));
            let mut found = |what: &str| findings.push(format!("{path}: '{}': {what}", test.name));
            if !names.contains(alert) && !alert.contains(':') {
                found("there is no such alert");
            }
            let asked: Vec<&AlertTest> = test
                .alert_rule_test
                .iter()
                .filter(|asked| asked.alertname == alert)
                .collect();
            let fires = asked.iter().map(|asked| !asked.exp_alerts.is_empty());
            let fires: Vec<bool> = fires.collect();
            // What a case is called is what it asks for.
            let fits = match case {
                "firing" => fires.contains(&true),
                "quiet" => !fires.is_empty() && !fires.contains(&true),
                "recovering" => fires.first() == Some(&true) && fires.last() == Some(&false),
                _ => names.contains(alert) && !fires.is_empty() || alert.contains(':'),
            };
            if !fits {
                found("does not ask for what it says");
            }
            cases.entry(alert).or_default().insert(case);
        }
    }
    for name in names {
        let cases_of_it = if always.contains(name) {
            1
        } else {
            CASES.len()
        };
        for case in &CASES[..cases_of_it] {
            if !cases.get(name).is_some_and(|known| known.contains(case)) {
                findings.push(format!("{name}: has no test of the case '{case}'"));
            }
        }
    }
    findings
}

/// Finds alerts whose line in the index of runbooks is missing, or says another severity or summary
/// than their rule.
#[must_use]
pub fn check_index(files: &[(String, RuleFile)], index: &str) -> Findings {
    let mut findings = Findings::new();
    let lines: BTreeSet<&str> = index.lines().collect();
    for (_, name, rule) in alerts(files) {
        let severity = rule.labels.get("severity").map_or("", String::as_str);
        let summary = rule.annotations.get("summary").map_or("", String::as_str);
        let line = format!("| [{name}]({name}.md) | {severity} | {summary} |");
        if !lines.contains(line.as_str()) {
            findings.push(format!(
                "{name}: the index of runbooks wants the line {line}"
            ));
        }
    }
    findings
}

/// Finds alerts without a runbook, runbooks without an alert, and runbooks that leave something
/// out.
#[must_use]
pub fn check_runbooks(names: &BTreeSet<&str>, runbooks: &[Document]) -> Findings {
    let mut findings = Findings::new();
    let name_of = |document: &Document| {
        let file = document.path.rsplit('/').next().unwrap_or_default();
        file.trim_end_matches(".md").to_owned()
    };
    let written: BTreeSet<String> = runbooks.iter().map(name_of).collect();
    for name in names.iter().filter(|name| !written.contains(**name)) {
        findings.push(format!("{name}: has no runbook"));
    }
    for runbook in runbooks {
        let name = name_of(runbook);
        let mut found = |what: String| findings.push(format!("{}: {what}", runbook.path));
        if !names.contains(name.as_str()) {
            found("is the runbook of no alert".to_owned());
        }
        if !runbook.text.starts_with(&format!("# {name}\n")) {
            found("does not begin with its name".to_owned());
        }
        let headings: Vec<&str> = runbook
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        if headings != SECTIONS {
            found(format!(
                "has the sections {headings:?} instead of {SECTIONS:?}"
            ));
        }
        let checks = runbook.text.split("## First checks").nth(1);
        let checks = checks.and_then(|rest| rest.split("\n## ").next());
        if !checks.is_some_and(|checks| checks.contains("```sh\n")) {
            found("names no command to look with first".to_owned());
        }
        for line in checks.map(needs_more).unwrap_or_default() {
            found(format!(
                "`{line}` needs more than the program and THEATRE_CONFIG; say in a line before, \
                 which ends in a colon, where it is typed"
            ));
        }
    }
    findings
}

/// Commands of a section that cannot be typed where the process runs, an image with nothing else in
/// it: those of other programs, pipes, and those that name the configuration, which a variable
/// names. A block below a line that ends in a colon is typed elsewhere.
fn needs_more(section: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut before, mut open) = ("", None);
    for line in section.lines() {
        match (open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => (before, open) = ("", None),
            (None, Some(language)) => open = Some(language == "sh" && !before.ends_with(':')),
            (Some(true), None) => {
                let command = line.split(" # ").next().unwrap_or_default();
                let plain = command.starts_with("theatre ") && !command.contains('|');
                if !plain || command.contains("--config ") {
                    found.push(line);
                }
            }
            (Some(false), None) => {}
            (None, None) if line.is_empty() => {}
            (None, None) => before = line,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(yaml: &str) -> Vec<(String, RuleFile)> {
        vec![("r.yaml".to_owned(), serde_yaml_ng::from_str(yaml).unwrap())]
    }

    const GOOD: &str = r#"
groups:
  - name: g
    rules:
      - alert: TheatreA
        expr: a > 0
        labels: {severity: page}
        annotations:
          summary: It is bad
          description: "It is {{ $value }}."
          runbook_url: "{{ $externalLabels.runbooks }}/TheatreA.md"
"#;

    #[test]
    fn an_alert_that_says_too_little_is_found() {
        assert_eq!(check_texts(&rules(GOOD)), [""; 0]);
        for (there, planted, finding) in [
            ("page", "warning", "severity 'warning'"),
            ("It is bad", "\"{{ $value }} bad\"", "the same for all"),
            ("$value }}", "$labels.x }}", "with the value"),
            ("TheatreA.md", "TheatreB.md", "wants the runbook_url"),
        ] {
            let findings = check_texts(&rules(&GOOD.replace(there, planted)));
            assert!(
                findings.len() == 1 && findings[0].contains(finding),
                "{findings:?}"
            );
        }
    }

    #[test]
    fn an_index_of_runbooks_that_says_something_else_is_found() {
        let index = "# Runbooks\n\n| [TheatreA](TheatreA.md) | page | It is bad |\n";
        assert_eq!(check_index(&rules(GOOD), index), [""; 0]);
        for (there, planted) in [
            ("TheatreA.md", "TheatreB.md"),
            ("page", "ticket"),
            ("It is bad", ">-"),
            ("| [", "| not [ "),
        ] {
            let findings = check_index(&rules(GOOD), &index.replace(there, planted));
            assert!(findings.len() == 1, "{planted}: {findings:?}");
        }
    }

    #[test]
    fn a_case_that_is_missing_or_asks_for_another_is_found() {
        let case = |case: &str, expected: &[&str]| {
            let asked: Vec<String> = expected
                .iter()
                .map(|expected| {
                    format!("{{eval_time: 1m, alertname: TheatreA, exp_alerts: {expected}}}")
                })
                .collect();
            format!(
                "  - {{name: 'TheatreA: {case}', alert_rule_test: [{}]}}\n",
                asked.join(",")
            )
        };
        let (fires, not) = ("[{exp_labels: {}}]", "[]");
        let all = [
            case("firing", &[fires]),
            case("quiet", &[not]),
            case("recovering", &[fires, not]),
        ];
        let check = |cases: &[String]| {
            let yaml = format!("tests:\n{}", cases.concat());
            let file = serde_yaml_ng::from_str(&yaml).unwrap();
            let (names, always) = (BTreeSet::from(["TheatreA"]), BTreeSet::new());
            check_tests(&names, &always, &[("t".to_owned(), file)])
        };
        assert_eq!(check(&all), [""; 0]);
        assert_eq!(
            check(&all[1..]),
            ["TheatreA: has no test of the case 'firing'"]
        );
        let wrong = [
            case("firing", &[not]),
            case("quiet", &[fires]),
            case("recovering", &[fires]),
        ];
        assert_eq!(check(&wrong).len(), 3);
        let stranger = all[0].replace("TheatreA: firing", "TheatreB: firing");
        assert_eq!(check(&[all.to_vec(), vec![stranger]].concat()).len(), 2);
    }

    #[test]
    fn a_runbook_that_is_missing_alone_or_short_is_found() {
        let good = "# TheatreA\n\n## Meaning\n\n## Impact\n\n## First checks\n\n```sh\ntheatre x\n```\n\
                    \n## Fix\n\n## Escalation\n";
        let check = |path: &str, text: &str| {
            let names = BTreeSet::from(["TheatreA"]);
            check_runbooks(&names, &[Document::parse(path, text)])
        };
        assert_eq!(check("d/TheatreA.md", good), [""; 0]);
        let elsewhere = good.replace("```sh\ntheatre", "On a broker:\n\n```sh\ncurl");
        assert_eq!(check("d/TheatreA.md", &elsewhere), [""; 0]);
        let other = good.replace("TheatreA", "TheatreB");
        assert_eq!(
            check("d/TheatreB.md", &other),
            [
                "TheatreA: has no runbook",
                "d/TheatreB.md: is the runbook of no alert"
            ]
        );
        for (there, planted, finding) in [
            ("## Impact\n", "", "has the sections"),
            ("```sh", "```text", "names no command"),
            ("theatre x", "curl x", "needs more than"),
            ("theatre x", "theatre x | wc", "needs more than"),
            ("theatre x", "theatre --config a x", "needs more than"),
            ("# TheatreA\n", "# A\n", "does not begin with its name"),
        ] {
            let findings = check("d/TheatreA.md", &good.replacen(there, planted, 1));
            assert!(
                findings.len() == 1 && findings[0].contains(finding),
                "{findings:?}"
            );
        }
    }
}
