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
/// Names a rule that is not there, with those that may have been meant, or a circle.
pub(super) fn check(rules: &[&RuleSpec]) -> Result<(), RuleError> {
    let fault = |rule: &RuleSpec, why: String| RuleError {
        rule: rule.id.clone(),
        why,
    };
    let find = |id: &str| rules.iter().copied().find(|rule| rule.id == id);
    for rule in rules.iter().copied() {
        for id in of(rule) {
            if find(id).is_none() {
                let is_other = |other: &&&RuleSpec| other.id != rule.id;
                let known: Vec<&str> = (rules.iter().filter(is_other))
                    .map(|other| other.id.as_str())
                    .collect();
                let hint = did_you_mean(id, &known);
                return Err(fault(rule, format!("there is no rule '{id}'; {hint}")));
            }
        }
    }
    // Each rule is left once what it follows is known to be sound.
    let mut sound: Vec<&str> = Vec::new();
    for rule in rules.iter().copied() {
        let mut way: Vec<(&RuleSpec, usize)> = vec![(rule, 0)];
        while let Some((at, next)) = way.pop() {
            let Some(id) = of(at).get(next).copied() else {
                sound.push(&at.id);
                continue;
            };
            way.push((at, next + 1));
            if way.iter().any(|(on_way, _)| on_way.id == id) {
                let circle: Vec<&str> = (way.iter())
                    .skip_while(|(on_way, _)| on_way.id != id)
                    .map(|(on_way, _)| on_way.id.as_str())
                    .chain([id])
                    .collect();
                let circle = circle.join(" -> ");
                return Err(fault(
                    rule,
                    format!("rules follow each other in a circle: {circle}"),
                ));
            }
            if let Some(followed) = find(id).filter(|_| !sound.contains(&id)) {
                way.push((followed, 0));
            }
        }
    }
    Ok(())
}
