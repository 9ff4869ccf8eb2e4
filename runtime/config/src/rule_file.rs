//! Rule files: what is in one, and everything that is wrong with it, each fault with its line.

use std::path::Path;

use serde::Deserialize;
use theatre_actors::rules::{RuleSet, RuleSpec};
use theatre_actors::window::WindowPlan;
use theatre_schemas::dataset::Datasets;

use super::{ConfigError, parse};

/// How a rule begins in the text.
const BEGIN: &str = "[[rule]]";

/// A rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(default, rename = "rule")]
    rules: Vec<RuleSpec>,
}

/// The rules of a rule file's text; `path` is what errors name.
///
/// # Errors
/// Names the file and every rule that cannot be read, a fault on a line or several.
pub fn rules_of(path: &Path, text: &str) -> Result<Vec<RuleSpec>, ConfigError> {
    let written = Written::read(path, text);
    if written.faults.is_empty() {
        return Ok(written.rules.into_iter().map(|(_, rule)| rule).collect());
    }
    Err(ConfigError(written.faults.join("\n")))
}

/// The text of a rule file, to be checked.
#[derive(Debug, Clone, Copy)]
pub struct RuleText<'a> {
    /// What faults name.
    pub path: &'a Path,
    /// What it says.
    pub text: &'a str,
}

impl RuleText<'_> {
    /// The rules, each good by itself and to be put: what they say of other rules is not looked at.
    /// Without windows, rules on these are not compared with them.
    ///
    /// # Errors
    /// With all faults, each with its place, what is wrong, and what may have been meant.
    pub fn each(
        self,
        datasets: &Datasets,
        windows: Option<&WindowPlan>,
    ) -> Result<Vec<RuleSpec>, Vec<String>> {
        self.checked(datasets, windows, RuleSpec::check_version)
    }

    /// The rules, each good by itself and by what else is checked.
    fn checked(
        self,
        datasets: &Datasets,
        windows: Option<&WindowPlan>,
        also: fn(&RuleSpec) -> Result<(), String>,
    ) -> Result<Vec<RuleSpec>, Vec<String>> {
        let Written { rules, mut faults } = Written::read(self.path, self.text);
        for (at, (line, rule)) in rules.iter().enumerate() {
            let mut before = rules[..at].iter();
            let first =
                before.find(|(_, other)| (&other.id, other.shadow) == (&rule.id, rule.shadow));
            let alone = RuleSet::check(rule, datasets);
            let found = alone.and_then(|()| match windows {
                Some(windows) => RuleSet::check_window(rule, windows),
                None => Ok(()),
            });
            let found = found.map_err(|error| error.to_string());
            if let Err(why) = found.and_then(|()| also(rule)) {
                faults.push(self.placed(*line, &why));
            } else if let Some((taken, _)) = first {
                let why = format!(
                    "rule '{}': the id is taken by the rule in line {taken}: give it another",
                    rule.id
                );
                faults.push(self.placed(*line, &why));
            }
        }
        match faults.is_empty() {
            true => Ok(rules.into_iter().map(|(_, rule)| rule).collect()),
            false => Err(faults),
        }
    }

    /// The rules, good together: all that they say of other rules is in the file, too. Versions are
    /// not looked at: a deployment may have begun with lower ones than are put now.
    ///
    /// # Errors
    /// As [`Self::each`].
    pub fn whole(
        self,
        datasets: &Datasets,
        windows: Option<&WindowPlan>,
    ) -> Result<Vec<RuleSpec>, Vec<String>> {
        let rules = self.checked(datasets, windows, |_| Ok(()))?;
        let mut lines = begins(self.text);
        lines.resize(rules.len(), 1);
        let faults = RuleSet::reference_faults(&rules).into_iter();
        let placed = |(at, error)| self.placed(lines.get(at).copied().unwrap_or(1), &error);
        let faults: Vec<String> = faults.map(placed).collect();
        match faults.is_empty() {
            true => Ok(rules),
            false => Err(faults),
        }
    }

    fn placed(self, line: usize, fault: &dyn std::fmt::Display) -> String {
        format!("{}:{line}: {fault}", self.path.display())
    }
}

/// What can be read of a rule file: rules, each with its line, and what is wrong with the others.
struct Written {
    rules: Vec<(usize, RuleSpec)>,
    faults: Vec<String>,
}

impl Written {
    fn read(path: &Path, text: &str) -> Self {
        let lines = begins(text);
        match parse::<RuleFile>(path, text) {
            Ok(file) => {
                let line = |at: usize| lines.get(at).copied().unwrap_or(1);
                let rules = file.rules.into_iter().enumerate();
                Self {
                    rules: rules.map(|(at, rule)| (line(at), rule)).collect(),
                    faults: Vec::new(),
                }
            }
            // The parser ends at the first fault: so each rule is read by itself.
            Err(error) => {
                let parts = Self::by_part(path, text, &lines);
                if parts.faults.is_empty() {
                    return Self {
                        rules: Vec::new(),
                        faults: vec![error.to_string()],
                    };
                }
                parts
            }
        }
    }

    /// Reads what stands before the first rule, and each rule, as a file of its own. Faults name the
    /// lines that the parts have in the whole.
    fn by_part(path: &Path, text: &str, lines: &[usize]) -> Self {
        let all: Vec<&str> = text.split_inclusive('\n').collect();
        let starts: Vec<usize> = std::iter::once(1).chain(lines.iter().copied()).collect();
        let mut parts = Self {
            rules: Vec::new(),
            faults: Vec::new(),
        };
        for (at, start) in starts.iter().copied().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(all.len() + 1);
            let part = all.get(start - 1..end - 1).unwrap_or_default().concat();
            let placed = "\n".repeat(start - 1) + &part;
            match parse::<RuleFile>(path, &placed) {
                Ok(file) => parts
                    .rules
                    .extend(file.rules.into_iter().map(|rule| (start, rule))),
                Err(error) => parts.faults.push(error.to_string()),
            }
        }
        parts
    }
}

/// The lines on which rules begin, from 1.
fn begins(text: &str) -> Vec<usize> {
    // Editors may write a mark before the first line, and people blanks between the brackets.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_one = |line: &str| {
        let mut signs = line.chars().filter(|sign| !sign.is_whitespace());
        BEGIN.chars().all(|sign| signs.next() == Some(sign))
    };
    let lines = text.lines().enumerate();
    let begins = lines.filter(|(_, line)| is_one(line));
    begins.map(|(at, _)| at + 1).collect()
}

#[cfg(test)]
mod tests {
    use theatre_actors::window::{AggregateSet, WindowSpec};
    use theatre_schemas::registry::Registry;

    use super::*;

    const GOOD: &str =
        "kind = { threshold = { signal = \"joints[2].current\", raise_above = 4.0 } }";

    fn rule(id: &str, rest: &str) -> String {
        format!("[[rule]]\nid = \"{id}\"\npriority = \"low\"\n{rest}\n")
    }

    /// The faults of a file of these rules, each without the lines that show the text.
    fn faults(text: &str) -> Vec<String> {
        let window = WindowSpec {
            name: "10s".to_owned(),
            size_us: 10_000_000,
            hop_us: 10_000_000,
        };
        let windows = WindowPlan::new(vec![window], AggregateSet::Full).unwrap();
        let path = Path::new("r.toml");
        let text = RuleText { path, text };
        let registry = Registry::builtin();
        let found = text.whole(registry.datasets(), Some(&windows));
        let faults = found.err().unwrap_or_default();
        let short = |fault: &String| {
            let lines: Vec<&str> = fault.lines().collect();
            format!("{} {}", lines[0], lines.last().unwrap())
        };
        faults.iter().map(short).collect()
    }

    #[test]
    fn every_fault_is_named_at_once_with_its_line_and_what_may_have_been_meant() {
        let combination = |of: &str| format!("kind = {{ combination = {{ of = \"{of}\" }} }}");
        for (rules, expected) in [
            (vec![rule("a", GOOD)], vec![]),
            // What the parser finds in one does not hide what is wrong with the others.
            (
                vec![
                    rule("a", "kind = { treshold = { signal = \"x\" } }"),
                    rule("b", "kind = { boolean = { signal = \"tool_activ\" } }"),
                    rule("c", &format!("latched = true\n{GOOD}")),
                    rule(
                        "d",
                        "kind = { threshold = { signal = \"x\", raise_abov = 1.0 } }",
                    ),
                ],
                vec![
                    ("line 4", "did you mean threshold?"),
                    ("line 12", "did you mean latch?"),
                    ("line 17", "did you mean raise_above"),
                    ("r.toml:5: rule 'b'", "did you mean tool_active"),
                ],
            ),
            (
                vec![rule("a", GOOD), rule("b", GOOD), rule("a", GOOD)],
                vec![("r.toml:9: rule 'a'", "by the rule in line 1")],
            ),
            // Also where two rules name others.
            (
                vec![
                    rule("hot", GOOD),
                    rule("b", &combination("hott")),
                    rule("c", &combination("d")),
                    rule("d", &combination("c")),
                ],
                vec![
                    ("r.toml:5: rule 'b'", "did you mean hot?"),
                    ("r.toml:9: rule 'c'", "in a circle: c -> d -> c"),
                ],
            ),
            // A start compares rules with the windows, and so does everything before it.
            (
                vec![
                    rule("a", &aggregate("15s", "mean")),
                    rule("b", &aggregate("10s", "p95")),
                ],
                vec![
                    ("r.toml:1: rule 'a'", "did you mean 10s?"),
                    ("r.toml:5: rule 'b'", "set aggregates = \"sketch\""),
                ],
            ),
            (
                vec![rule(
                    "a",
                    "max_gap = 3\nkind = { boolean = { signal = \"x\" } }",
                )],
                vec![("line 4", "in quotes, such as \"30s\"")],
            ),
            (
                vec!["[[rules]]\nid = \"a\"\n".to_owned()],
                vec![("line 1", "did you mean rule?")],
            ),
            (
                vec![rule(
                    "a",
                    "kind = { boolean = { signal = \"x\" }, rate = {} }",
                )],
                vec![("line 4", "one kind")],
            ),
            (
                vec![
                    format!(
                        "\u{feff}{}",
                        rule("a", "kind = { boolean = { signal = \"x\" } }")
                    ),
                    rule("b", GOOD).replace("[[rule]]", "[[ rule ]]"),
                    rule("b", GOOD),
                ],
                vec![
                    ("r.toml:1: rule 'a'", "'x'"),
                    ("r.toml:9: rule 'b'", "in line 5"),
                ],
            ),
        ] {
            let found = faults(&rules.concat());
            assert_eq!(found.len(), expected.len(), "{found:#?}");
            for (fault, (place, why)) in found.iter().zip(expected) {
                assert!(fault.contains(place) && fault.contains(why), "{fault}");
            }
        }
    }

    #[test]
    fn a_version_below_1_may_have_been_begun_with_and_is_not_put() {
        let low = rule("low", &format!("version = 0\n{GOOD}"));
        let text = [rule("a", GOOD), low].concat();
        assert_eq!(faults(&text), Vec::<String>::new());
        let (path, text) = (Path::new("r.toml"), text.as_str());
        let each = RuleText { path, text }.each(Registry::builtin().datasets(), None);
        let expected = "r.toml:5: rule 'low': its version is 0: versions begin with 1";
        assert_eq!(each.unwrap_err(), [expected]);
    }

    fn aggregate(window: &str, aggregate: &str) -> String {
        format!(
            "kind = {{ aggregate = {{ signal = \"grip_pressure\", window = \"{window}\", aggregate = \"{aggregate}\", raise_above = 1.0 }} }}"
        )
    }

    #[test]
    fn a_rule_in_a_text_of_several_lines_is_no_beginning() {
        let text = rule("a", "description = '''\n[[rule]]\n'''\nkind = 3");
        assert_eq!(
            faults(&text).len(),
            2,
            "the whole is read, each part is not"
        );
        let good = rule("a", &format!("description = '''\n[[rule]]\n'''\n{GOOD}"));
        assert_eq!(faults(&good), Vec::<String>::new());
    }
}
