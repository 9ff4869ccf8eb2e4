//! Names that are not known, and which may have been meant.

use theatre_schemas::dataset::{DatasetKind, Datasets};

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
    let wanted = |name: &str| {
        spec.dataset
            .as_deref()
            .is_none_or(|dataset| dataset == name)
    };
    let known: Vec<&str> = telemetry()
        .filter(|dataset| wanted(&dataset.name))
        .flat_map(|dataset| dataset.signals.iter().map(|signal| signal.name.as_str()))
        .collect();
    let hint = did_you_mean(signal, &known);
    match &spec.dataset {
        Some(dataset) if !names.contains(&dataset.as_str()) => {
            format!(
                "there is no telemetry dataset '{dataset}'; there are {}",
                names.join(", ")
            )
        }
        Some(dataset) => format!("dataset '{dataset}' has no signal '{signal}'; {hint}"),
        None => format!(
            "no telemetry dataset ({}) has a signal '{signal}'; {hint}",
            names.join(", ")
        ),
    }
}

/// Suggests the names with the smallest edit distance, the nearest first; lists all names when none
/// is near.
pub fn did_you_mean(wanted: &str, known: &[&str]) -> String {
    // A name with more than a third of its characters changed is no typing error. One that is much
    // longer or shorter is not compared: a text of any length would take minutes.
    let most = |name: &str| name.chars().count().div_ceil(3);
    let length = wanted.chars().count();
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .filter(|name| name.chars().count().abs_diff(length) <= most(name))
        .map(|name| (strsim::levenshtein(wanted, name), *name))
        .collect();
    near.retain(|(edits, name)| *edits <= most(name));
    near.sort_unstable();
    near.dedup();
    if near.is_empty() {
        return format!("there are {}", known.join(", "));
    }
    format!(
        "did you mean {}?",
        near.iter()
            .take(3)
            .map(|(_, name)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    )
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
