//! A rule file in place of the configured one: read, compiled, and what is wrong with it or may not be
//! meant so.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use theatre_actors::rules::{KnownNames, RuleSet, RuleSpec};
use theatre_actors::window::WindowPlan;
use theatre_config::{Config, RuleText};
use theatre_pipeline::params::window_plan;
use theatre_schemas::dataset::Datasets;

use crate::cli::Failure;
use crate::cli::service::Place;

/// The rules of a file, compiled against the datasets and the windows; the configuration is changed to
/// use them.
///
/// # Errors
/// Names every rule that is wrong, with its line and why.
pub(super) fn compiled(
    file: &Path,
    config: &mut Config,
    datasets: &Datasets,
) -> Result<RuleSet, Failure> {
    compile(file, &whole(file, config, datasets)?, (config, datasets))
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
    let mut specs = whole(file, config, datasets)?;
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
    compile(file, &specs, (config, datasets))
}

fn compile(
    file: &Path,
    specs: &[RuleSpec],
    (config, datasets): (&Config, &Datasets),
) -> Result<RuleSet, Failure> {
    let compiled = RuleSet::compile(specs, datasets).and_then(|mut rules| {
        if let Some(windows) = window_plan(config) {
            rules.bind(&windows)?;
        }
        Ok(rules)
    });
    compiled.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

/// The rules of a file that are good together.
///
/// # Errors
/// As [`compiled`].
fn whole(file: &Path, config: &mut Config, datasets: &Datasets) -> Result<Vec<RuleSpec>, Failure> {
    let text = chosen(file, config)?;
    let windows = window_plan(config);
    let rules = RuleText {
        path: file,
        text: &text,
    };
    let each = rules.each(datasets, windows.as_ref());
    let whole = each.and_then(|_| rules.whole(datasets, windows.as_ref()));
    some(file, whole).map_err(Failure::Usage)
}

/// The rules of a file, each by itself: what it says of other rules is not looked at.
///
/// # Errors
/// As [`compiled`].
pub(super) fn checked(
    file: &Path,
    config: &mut Config,
    datasets: &Datasets,
) -> Result<Vec<RuleSpec>, Failure> {
    let text = chosen(file, config)?;
    of_text(file, &text, (datasets, window_plan(config).as_ref())).map_err(Failure::Usage)
}

/// The text of a file, which the configuration uses from now on.
fn chosen(file: &Path, config: &mut Config) -> Result<String, Failure> {
    config.rules = Some(file.to_owned().into());
    Ok(theatre_config::read(file)?)
}

/// The same of a text that was read from a file.
///
/// # Errors
/// As [`checked`], each fault on a line.
pub(in crate::cli) fn of_text(
    path: &Path,
    text: &str,
    (datasets, windows): (&Datasets, Option<&WindowPlan>),
) -> Result<Vec<RuleSpec>, String> {
    some(path, RuleText { path, text }.each(datasets, windows))
}

/// Refuses a file without any rule.
fn some(file: &Path, rules: Result<Vec<RuleSpec>, Vec<String>>) -> Result<Vec<RuleSpec>, String> {
    let rules = rules.map_err(|faults| faults.join("\n"))?;
    if rules.is_empty() {
        return Err(format!(
            "{}: there is no rule in it: begin one with [[rule]]",
            file.display()
        ));
    }
    Ok(rules)
}

/// Says on standard error what of rules may not be meant so, by the schemas and by what the store
/// knows.
pub(super) fn say_doubts<'a>(
    rules: impl IntoIterator<Item = &'a RuleSpec>,
    place: &Place,
    datasets: &Datasets,
) {
    let known = match known_names(place) {
        Ok(known) => known,
        Err(Failure::Usage(why) | Failure::Failed(why) | Failure::Unreachable(why)) => {
            eprintln!("warning: what is registered is not known: {why}");
            None
        }
        Err(Failure::Difference | Failure::Interrupted) => None,
    };
    for rule in rules {
        for doubt in rule.doubts(datasets, known.as_ref()) {
            eprintln!("warning: {doubt}");
        }
    }
}

/// The names that the store knows; nothing where nothing has run yet.
fn known_names(place: &Place) -> Result<Option<KnownNames>, Failure> {
    if place.config.store.url.is_none() && !place.dir.store().exists() {
        return Ok(None);
    }
    let store = place.look()?.store()?;
    Ok(Some(theatre_queries::known_names(&*store)?))
}

/// Rules as a rule file has them.
///
/// # Errors
/// When one cannot be written as TOML.
pub(super) fn as_toml(rules: &[RuleSpec]) -> Result<String, String> {
    #[derive(Serialize)]
    struct RuleFile<'a> {
        rule: &'a [RuleSpec],
    }
    toml::to_string(&RuleFile { rule: rules })
        .map_err(|error| format!("the rules cannot be written as TOML: {error}"))
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
