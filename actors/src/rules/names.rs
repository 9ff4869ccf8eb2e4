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
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (strsim::levenshtein(wanted, name), *name))
        .collect();
    // A name with more than a third of its characters changed is no typing error.
    near.retain(|(edits, name)| *edits <= name.chars().count().div_ceil(3));
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
/// any signs but `.`, `[` and `]`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(tail) = name.strip_prefix(head) else {
        return false;
    };
    let longest = tail.find(['.', '[', ']']).unwrap_or(tail.len());
    let ends = tail.char_indices().map(|(at, sign)| at + sign.len_utf8());
    ends.take_while(|end| *end <= longest)
        .any(|end| matches(rest, &tail[end..]))
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
