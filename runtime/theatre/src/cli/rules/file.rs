//! A rule file in place of the configured one: read, compiled, and what is wrong with it.

use std::collections::BTreeSet;
use std::path::Path;

use theatre_actors::rules::{RuleError, RuleSet, RuleSpec};
use theatre_config::Config;
use theatre_schemas::dataset::Datasets;

use crate::cli::Failure;

/// The rules of a file, compiled against the datasets; the configuration is changed to use them.
///
/// # Errors
/// Names every rule that is wrong, with its line and why.
pub(super) fn compiled(
    file: &Path,
    config: &mut Config,
    datasets: &Datasets,
) -> Result<RuleSet, Failure> {
    compile(file, &checked(file, config, datasets)?, datasets)
}

/// The same, of which those in the shadow are tried as if they were not.
///
/// # Errors
/// As [`compiled`]; when a rule is there twice, once in the shadow.
pub(super) fn out_of_the_shadow(
    file: &Path,
    config: &mut Config,
    datasets: &Datasets,
) -> Result<RuleSet, Failure> {
    let mut specs = checked(file, config, datasets)?;
    let mut ids = BTreeSet::new();
    for spec in &mut specs {
        spec.shadow = false;
        if !ids.insert(spec.id.clone()) {
            return Err(Failure::Usage(format!(
                "{}: rule '{}' is in it twice, once in the shadow: try them from two files",
                file.display(),
                spec.id
            )));
        }
    }
    compile(file, &specs, datasets)
}

fn compile(file: &Path, specs: &[RuleSpec], datasets: &Datasets) -> Result<RuleSet, Failure> {
    RuleSet::compile(specs, datasets)
        .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

/// The same, each rule by itself: what it says of other rules is not looked at.
///
/// # Errors
/// As [`compiled`].
pub(super) fn checked(
    file: &Path,
    config: &mut Config,
    datasets: &Datasets,
) -> Result<Vec<RuleSpec>, Failure> {
    config.rules = Some(file.to_owned().into());
    of_text(file, &theatre_config::read(file)?, datasets).map_err(Failure::Usage)
}

/// The same of a text that was read from a file.
///
/// # Errors
/// As [`checked`], each fault on a line.
pub(in crate::cli) fn of_text(
    file: &Path,
    text: &str,
    datasets: &Datasets,
) -> Result<Vec<RuleSpec>, String> {
    let specs = theatre_config::rules_of(file, text).map_err(|error| error.to_string())?;
    if specs.is_empty() {
        return Err(format!(
            "{}: there is no rule in it: begin one with [[rule]]",
            file.display()
        ));
    }
    let mut faults: Vec<String> = Vec::new();
    let mut fault = |at: usize, error: &RuleError| {
        faults.push(format!("{}:{}: {error}", file.display(), line(text, at)));
    };
    for (at, spec) in specs.iter().enumerate() {
        if let Err(error) = RuleSet::check(spec, datasets) {
            fault(at, &error);
        } else if specs[..at].iter().any(|other| other.id == spec.id) {
            // Alone it is good: what is wrong is that there are two.
            if let Err(error) = RuleSet::compile(&pair(&specs[..=at], spec), datasets) {
                fault(at, &error);
            }
        }
    }
    if faults.is_empty() {
        return Ok(specs);
    }
    Err(faults.join("\n"))
}

/// A rule twice, as two rules of one id are.
fn pair(before: &[RuleSpec], spec: &RuleSpec) -> [RuleSpec; 2] {
    let first = before.iter().find(|other| other.id == spec.id);
    [first.unwrap_or(spec).clone(), spec.clone()]
}

/// The line on which the rule with this place in the file begins, from 1.
fn line(text: &str, place: usize) -> usize {
    let mut begins = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.trim_start().starts_with("[[rule]]"));
    begins.nth(place).map_or(1, |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use theatre_schemas::registry::Registry;

    use super::*;

    const GOOD: &str =
        "kind = { threshold = { signal = \"joints[2].current\", raise_above = 4.0 } }";

    fn tried(text: &str) -> Result<usize, String> {
        let folder = std::env::temp_dir().join(format!("theatre-rules-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{}.toml", text.len()));
        std::fs::write(&file, text).unwrap();
        let registry = Registry::builtin();
        match compiled(&file, &mut Config::default(), registry.datasets()) {
            Ok(rules) => Ok(rules.rules().len()),
            Err(Failure::Usage(why)) => Err(why),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn every_wrong_rule_is_named_with_its_line_and_why() {
        let rule =
            |id: &str, kind: &str| format!("[[rule]]\nid = \"{id}\"\npriority = \"low\"\n{kind}\n");
        let good = format!("# The first.\n\n{}", rule("a", GOOD));
        // With the three built-in ones.
        assert_eq!(tried(&good), Ok(4));
        let wrong = good.clone()
            + &rule(
                "b",
                "kind = { boolean = { signal = \"joints[2].curent\" } }",
            )
            + &rule("a", GOOD);
        let why = tried(&wrong).unwrap_err();
        let lines: Vec<&str> = why.lines().collect();
        assert_eq!(lines.len(), 2, "{why}");
        assert!(
            lines[0].contains(".toml:7: rule 'b'") && lines[0].contains("joints[2].current"),
            "{why}"
        );
        assert!(lines[1].contains(".toml:11: rule 'a'"), "{why}");
        let unknown = tried(&(good + "prioritty = \"low\"\n")).unwrap_err();
        assert!(
            unknown.contains("line 7") && unknown.contains("prioritty"),
            "{unknown}"
        );
        assert!(tried("# none\n").unwrap_err().contains("[[rule]]"));
    }
}
