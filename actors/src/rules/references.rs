//! What rules say of other rules: that these are there, and that none follows itself.

use super::names::did_you_mean;
use super::{RuleError, RuleKind, RuleSpec};

/// The ids of the rules whose conditions a rule follows.
pub(super) fn of(rule: &RuleSpec) -> Vec<&str> {
    match &rule.kind {
        RuleKind::Sequence(sequence) => sequence.rules(),
        RuleKind::Combination(combination) => combination.of.rules(),
        _ => Vec::new(),
    }
}

/// # Errors
/// The first of the [`faults`].
pub(super) fn check(rules: &[&RuleSpec]) -> Result<(), RuleError> {
    match faults(rules).into_iter().next() {
        Some((_, fault)) => Err(fault),
        None => Ok(()),
    }
}

/// What is wrong, each with the place of the rule: one that is not there, with those that may have been
/// meant, or a circle.
pub(super) fn faults(rules: &[&RuleSpec]) -> Vec<(usize, RuleError)> {
    let fault = |rule: &RuleSpec, why: String| RuleError {
        rule: rule.id.clone(),
        why,
    };
    let find = |id: &str| rules.iter().copied().find(|rule| rule.id == id);
    let mut faults = Vec::new();
    for (at, rule) in rules.iter().copied().enumerate() {
        for id in of(rule).into_iter().filter(|id| find(id).is_none()) {
            let is_other = |other: &&&RuleSpec| other.id != rule.id;
            let known: Vec<&str> = (rules.iter().filter(is_other))
                .map(|other| other.id.as_str())
                .collect();
            let hint = did_you_mean(id, &known);
            faults.push((at, fault(rule, format!("there is no rule '{id}'; {hint}"))));
        }
    }
    // Each rule is left once what it follows is known to be sound, or found to go in a circle.
    let mut left: Vec<&str> = Vec::new();
    for (place, rule) in rules.iter().copied().enumerate() {
        if left.contains(&rule.id.as_str()) {
            continue;
        }
        let mut way: Vec<(&RuleSpec, usize)> = vec![(rule, 0)];
        while let Some((at, next)) = way.pop() {
            let Some(id) = of(at).get(next).copied() else {
                left.push(&at.id);
                continue;
            };
            way.push((at, next + 1));
            if let Some(begins) = way.iter().position(|(on_way, _)| on_way.id == id) {
                let circle = way
                    .iter()
                    .skip(begins)
                    .map(|(on_way, _)| on_way.id.as_str());
                let circle: Vec<&str> = circle.chain([id]).collect();
                let circle = circle.join(" -> ");
                let why = format!("rules follow each other in a circle: {circle}");
                faults.push((place, fault(rule, why)));
                left.extend(way.drain(..).map(|(on_way, _)| on_way.id.as_str()));
                continue;
            }
            if let Some(followed) = find(id).filter(|_| !left.contains(&id)) {
                way.push((followed, 0));
            }
        }
    }
    faults
}
