//! Names that are not known, and which may have been meant.

use std::sync::Arc;

use theatre_schemas::dataset::{Dataset, DatasetKind, Datasets};

use super::spec::RuleSpec;

/// Why a rule's signal is not there.
pub(super) fn unknown_signal(spec: &RuleSpec, signal: &str, datasets: &Datasets) -> String {
    let telemetry = || {
        datasets
            .iter()
            .map(|(_, dataset)| dataset)
            .filter(|dataset| dataset.kind == DatasetKind::Telemetry)
    };
    let names: Vec<&str> = telemetry().map(|dataset| dataset.name.as_str()).collect();
    if let Some(dataset) = &spec.dataset
        && !names.contains(&dataset.as_str())
    {
        let hint = did_you_mean(dataset, &names);
        return format!("there is no telemetry dataset '{dataset}'; {hint}");
    }
    let is_wanted = |dataset: &&Arc<Dataset>| {
        let wanted = spec.dataset.as_ref();
        wanted.is_none_or(|wanted| *wanted == dataset.name)
    };
    let place = match &spec.dataset {
        Some(dataset) => format!("dataset '{dataset}' has no signal '{signal}'"),
        None => format!(
            "no telemetry dataset ({}) has a signal '{signal}'",
            names.join(", ")
        ),
    };
    let is_text = |dataset: &Arc<Dataset>| dataset.column(signal).is_some();
    if telemetry().filter(is_wanted).any(is_text) {
        return format!(
            "{place}: it is a column, and signals are numbers and flags; a text column can limit a rule, as `only` with `state_column`"
        );
    }
    let signals = || {
        let wanted = telemetry().filter(is_wanted);
        wanted.flat_map(|dataset| dataset.signals.iter())
    };
    // Elements that differ in their index only are one line to who reads them all; a pattern is meant
    // to have none.
    let mut any_index: Vec<String> = signals().map(|it| with_any_index(&it.name)).collect();
    any_index.dedup();
    let any_index: Vec<&str> = any_index.iter().map(String::as_str).collect();
    let all: Vec<&str> = signals().map(|it| it.name.as_str()).collect();
    let hint = match signal.contains('*') {
        true => None,
        false => meant(signal, &all),
    };
    let hint = hint.unwrap_or_else(|| did_you_mean(signal, &any_index));
    format!("{place}; {hint}")
}

/// A name with `*` in place of each index.
fn with_any_index(name: &str) -> String {
    let mut parts = name.split('[');
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            Some((index, rest)) if index.chars().all(|sign| sign.is_ascii_digit()) => {
                written.push_str("[*]");
                written.push_str(rest);
            }
            _ => {
                written.push('[');
                written.push_str(part);
            }
        }
    }
    written
}

/// Suggests the names that are [`meant`]; lists all names when none may be.
pub fn did_you_mean(wanted: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return "there is none at all".to_owned();
    }
    meant(wanted, known).unwrap_or_else(|| format!("there are {}", known.join(", ")))
}

/// Suggests the names with the smallest edit distance, whatever the case of letters, the nearest
/// first; without one, those that are a part of what is wanted, or the other way round. `None` where
/// none is near.
pub fn meant(wanted: &str, known: &[&str]) -> Option<String> {
    /// A part of fewer letters is in many names.
    const PART_MIN: usize = 3;
    // A name with more than a third of its characters changed is no typing error. One that is much
    // longer or shorter is not compared: a text of any length would take minutes.
    let most = |name: &str| name.chars().count().div_ceil(3);
    let length = wanted.chars().count();
    let lower = wanted.to_lowercase();
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .filter(|name| name.chars().count().abs_diff(length) <= most(name))
        .map(|name| (strsim::levenshtein(&lower, &name.to_lowercase()), *name))
        .collect();
    near.retain(|(edits, name)| *edits <= most(name));
    if near.is_empty() && length >= PART_MIN {
        let is_part = |name: &&&str| {
            let name = name.to_lowercase();
            name.contains(&lower) || name.chars().count() >= PART_MIN && lower.contains(&name)
        };
        let parts = known.iter().filter(is_part);
        near = parts
            .map(|name| (name.chars().count().abs_diff(length), *name))
            .collect();
    }
    near.sort_unstable();
    near.dedup();
    if near.is_empty() {
        return None;
    }
    Some(format!(
        "did you mean {}?",
        near.iter()
            .take(3)
            .map(|(_, name)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    ))
}

/// Whether a name is that of a pattern, in which `*` stands for an index or another part of a name:
/// any signs but `.`, `[` and `]`. Takes a time that grows with both lengths, whatever the stars.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == name;
    }
    // By length: whether the pattern so far stands for so much of the name.
    let mut reached = vec![false; name.chars().count() + 1];
    reached[0] = true;
    for wanted in pattern.chars() {
        let mut before = std::mem::take(&mut reached[0]);
        let mut is_any = false;
        for (known, reached) in name.chars().zip(&mut reached[1..]) {
            let here = match wanted {
                '*' => !['.', '[', ']'].contains(&known) && (before || is_any),
                sign => before && sign == known,
            };
            before = std::mem::replace(reached, here);
            is_any = here;
        }
        if !reached.contains(&true) {
            return false;
        }
    }
    reached.last().is_some_and(|whole| *whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_a_part_of_a_name() {
        for (pattern, name, expected) in [
            ("joints[*].current", "joints[0].current", true),
            ("joints[*].current", "joints[12].current", true),
            ("joints[*].current", "joints[0].voltage", false),
            ("joints[*].current", "joints[].current", false),
            ("joints[*].*", "joints[3].current", true),
            ("joints*", "joints[3].current", false),
            ("joint*_torque", "joint1_torque", true),
            ("*", "grip_force", true),
            ("grip_force", "grip_force", true),
            ("grip_force", "grip", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_and_long_names_take_no_time() {
        let name = "a".repeat(60);
        let stars = "*".repeat(30);
        assert!(matches(&stars, &name));
        assert!(!matches(&format!("{stars}x"), &name));
        assert!(!matches(&"*".repeat(61), &name));
        assert!(!matches(&"*".repeat(1 << 24), &name));
        assert!(matches("*é*", "aéb") && !matches("*é*", "aé"));
        let hint = did_you_mean(&"grip_force".repeat(1 << 18), &[name.as_str(); 100]);
        assert!(hint.starts_with("there are"));
    }

    #[test]
    fn what_may_have_been_meant_is_near_or_a_part_whatever_the_case() {
        let known = ["operating_hours", "cases", "days_since_service"];
        for (wanted, expected) in [
            ("case", "did you mean cases?"),
            ("CASES", "did you mean cases?"),
            ("hours", "did you mean operating_hours?"),
            ("service", "did you mean days_since_service?"),
            ("cases_so_far", "did you mean cases?"),
            ("se", "there are operating_hours, cases, days_since_service"),
            (
                "lives",
                "there are operating_hours, cases, days_since_service",
            ),
        ] {
            assert_eq!(did_you_mean(wanted, &known), expected, "{wanted}");
        }
        assert_eq!(did_you_mean("x", &[]), "there is none at all");
    }

    #[test]
    fn an_index_is_any_where_all_elements_are_meant() {
        for (name, expected) in [
            ("joints[12].current", "joints[*].current"),
            ("a[0][1].b[2]", "a[*][*].b[*]"),
            ("position[elbow]", "position[elbow]"),
            ("plain", "plain"),
        ] {
            assert_eq!(with_any_index(name), expected);
        }
    }

    #[test]
    fn nearness_of_names_is_counted_in_edits() {
        for (from, to, wanted) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
            ("grip_froce", "grip_force", 2),
        ] {
            assert_eq!(strsim::levenshtein(from, to), wanted, "{from} {to}");
        }
    }
}
