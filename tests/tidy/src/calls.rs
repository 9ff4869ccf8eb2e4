//! Words of the code that may stand in named places only, such as a clock, a sleep, actix.

use crate::Findings;
use crate::source::{Source, find_word, line_of};

/// A rule: words that only the named files may use.
#[derive(Debug)]
pub struct Rule<'a> {
    /// The words, as they stand in code.
    pub words: &'a [&'a str],
    /// Why they stand nowhere else, and what to use instead.
    pub why: &'a str,
    /// Files, or folders with a `/` at their end, that may use them, and the reason. One that no
    /// longer does is a finding, so that the list only shrinks.
    pub allowed: &'a [(&'a str, &'a str)],
}

/// Finds the words of a rule in the product code outside of the places that may use them, and
/// places that may and do not.
#[must_use]
pub fn check(rule: &Rule<'_>, sources: &[Source]) -> Findings {
    let mut findings = Vec::new();
    let mut used = vec![false; rule.allowed.len()];
    for source in sources {
        let allowance = rule
            .allowed
            .iter()
            .position(|(place, _)| is_in(&source.path, place));
        for word in rule.words {
            for at in find_word(&source.product, word) {
                match allowance {
                    Some(allowance) => used[allowance] = true,
                    None => findings.push(format!(
                        "{}:{}: `{word}`: {}",
                        source.path,
                        line_of(&source.product, at),
                        rule.why
                    )),
                }
            }
        }
    }
    for ((place, _), used) in rule.allowed.iter().zip(used) {
        if !used {
            findings.push(format!(
                "{place}: uses none of {} any more; take it off the list",
                rule.words.join(", ")
            ));
        }
    }
    findings
}

fn is_in(path: &str, place: &str) -> bool {
    path == place || place.ends_with('/') && path.starts_with(place)
}

#[cfg(test)]
mod tests {
    use super::{Rule, check};
    use crate::source::Source;

    #[test]
    fn a_clock_outside_of_the_named_files_is_found_and_so_is_an_idle_allowance() {
        let rule = Rule {
            words: &["Instant::now"],
            why: "time is a port",
            allowed: &[("a/src/clock.rs", "is the port"), ("b/src/", "polls")],
        };
        let clock = "fn now() { Instant::now() }";
        let planted = [
            Source::new("a/src/clock.rs", clock),
            Source::new("a/src/window.rs", &format!("// Instant::now\n{clock}")),
            Source::new(
                "a/src/rules.rs",
                &format!("#[cfg(test)]\nmod tests {{ {clock} }}"),
            ),
        ];
        assert_eq!(
            check(&rule, &planted),
            [
                "a/src/window.rs:2: `Instant::now`: time is a port",
                "b/src/: uses none of Instant::now any more; take it off the list",
            ]
        );
    }
}
