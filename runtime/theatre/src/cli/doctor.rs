//! `theatre doctor`: asks everything that the configuration names, and says what is wrong and how
//! to put it right.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use theatre_actors::rules::Micros;
use theatre_embedded::data_dir::DataDir;
use theatre_operations::checkup::{Finding, Verdict};
use theatre_telemetry::logs;

use super::output::{escaped, value, write};
use super::{Common, Failure, Output, service};
use crate::doctor::{self, Deployment};

/// Asks every dependency.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Warnings fail, too.
    #[arg(long)]
    strict: bool,
    /// Try the lake as well by writing a small object below its prefix, reading and deleting it.
    #[arg(long)]
    write: bool,
    /// A check that has no answer after this long has failed.
    #[arg(long, default_value = "5s", value_parser = Micros::parse)]
    deadline: Micros,
}

impl Doctor {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        if self.deadline.0 <= 0 {
            return Err(Failure::Usage(
                "--deadline: a check needs some time".to_owned(),
            ));
        }
        quiet();
        let findings = self.findings(common)?;
        match common.output {
            Output::Json => value(&json!({
                "good": !is_failure(&findings, self.strict),
                "findings": findings,
            }))?,
            Output::Table => {
                write(&text(&findings, std::io::stdout().is_terminal()))?;
                eprintln!("{}", summary(&findings));
            }
        }
        if is_failure(&findings, self.strict) {
            return Err(Failure::Difference);
        }
        Ok(())
    }

    fn findings(&self, common: &Common) -> Result<Vec<Finding>, Failure> {
        let config = match service::config(common) {
            Ok(config) => config,
            // Nothing else can be asked then.
            Err(Failure::Usage(why)) => return Ok(vec![doctor::unreadable(&why)]),
            Err(other) => return Err(other),
        };
        let admin = common.admin.clone().unwrap_or_else(|| config.admin.clone());
        let deadline = Duration::from_micros(self.deadline.0.unsigned_abs());
        let dir = DataDir::new(&common.data);
        let deployment = Deployment::new(config, dir, admin, self.write, deadline)?;
        Ok(doctor::run(deployment, deadline))
    }
}

/// Lets clients of servers say nothing beside the findings, which have all of it: one of Kafka repeats
/// twenty times a second that its brokers are away. With `THEATRE_LOG` they are heard.
fn quiet() {
    if std::env::var_os(logs::LEVELS).is_none_or(|levels| levels.is_empty()) {
        // Without logging there is nothing to be quiet.
        drop(logs::set_levels("off"));
    }
}

/// Whether the exit code says that something is wrong.
fn is_failure(findings: &[Finding], strict: bool) -> bool {
    let worst = findings.iter().map(|one| one.judgement.verdict).max();
    match worst {
        Some(Verdict::Failed) => true,
        Some(Verdict::Warning) => strict,
        Some(Verdict::Ok) | None => false,
    }
}

/// A line for each finding, and below it what to do.
fn text(findings: &[Finding], is_terminal: bool) -> String {
    let width = findings.iter().map(|one| one.check.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let judgement = &finding.judgement;
        let verdict = format!("{:<7}", judgement.verdict.as_str());
        let verdict = match (is_terminal, judgement.verdict) {
            (true, Verdict::Warning) => format!("\x1b[33m{verdict}\x1b[0m"),
            (true, Verdict::Failed) => format!("\x1b[31m{verdict}\x1b[0m"),
            _ => verdict,
        };
        let seen = one_line(&judgement.seen);
        text.push_str(&format!("{verdict}  {:<width$}  {seen}\n", finding.check));
        if let Some(advice) = &judgement.advice {
            text.push_str(&format!("{:9}{:width$}  -> {}\n", "", "", one_line(advice)));
        }
    }
    text
}

/// A text in one line and without what would move a terminal's cursor.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    escaped(&words.join(" "))
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| {
        let of = findings
            .iter()
            .filter(|one| one.judgement.verdict == verdict);
        of.count()
    };
    format!(
        "{} ok, {} warnings, {} failed",
        count(Verdict::Ok),
        count(Verdict::Warning),
        count(Verdict::Failed)
    )
}

#[cfg(test)]
mod tests {
    use theatre_operations::checkup::Judgement;

    use super::*;

    fn finding(check: &'static str, judgement: Judgement) -> Finding {
        Finding { check, judgement }
    }

    fn all() -> Vec<Finding> {
        vec![
            finding("kafka", Judgement::ok("3 brokers")),
            finding(
                "postgresql",
                Judgement::warning("fsync = off", "switch it on"),
            ),
            finding("s3", Judgement::failed("no\nbucket \x1b[2J", "create it")),
        ]
    }

    #[test]
    fn a_finding_is_a_line_and_its_advice_stands_below() {
        let wanted = "ok       kafka       3 brokers\n\
                      warning  postgresql  fsync = off\n\
                      \x20                    -> switch it on\n\
                      failed   s3          no bucket \\u{1b}[2J\n\
                      \x20                    -> create it\n";
        assert_eq!(text(&all(), false), wanted);
        assert!(text(&all(), true).starts_with("ok       kafka"));
        assert!(text(&all(), true).contains("\x1b[31mfailed \x1b[0m  s3"));
        assert_eq!(summary(&all()), "1 ok, 1 warnings, 1 failed");
    }

    #[test]
    fn only_what_failed_fails_unless_it_is_strict() {
        let all = all();
        for (count, strict, fails) in [
            (0, true, false),
            (1, true, false),
            (2, false, false),
            (2, true, true),
            (3, false, true),
        ] {
            assert_eq!(is_failure(&all[..count], strict), fails, "{count} {strict}");
        }
    }
}
