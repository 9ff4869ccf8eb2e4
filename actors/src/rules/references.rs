//! What rules say of other rules: that these are there, and that none follows itself.

use super::names::did_you_mean;
use super::{Rule, RuleError, RuleKind};

/// The ids of the rules whose conditions a rule follows.
pub(super) fn of(rule: &Rule) -> Vec<&str> {
    match &rule.spec.kind {
        RuleKind::Sequence(sequence) => sequence.rules(),
        RuleKind::Combination(combination) => combination.of.rules(),
        _ => Vec::new(),
    }
}

/// # Errors
/// Names a rule that is not there, with those that may have been meant, or a circle.
pub(super) fn check(rules: &[Rule]) -> Result<(), RuleError> {
    let fault = |rule: &Rule, why: String| RuleError {
        rule: rule.spec.id.clone(),
        why,
    };
    let find = |id: &str| rules.iter().find(|rule| rule.spec.id == id);
    for rule in rules {
        for id in of(rule) {
            if find(id).is_none() {
                let is_other = |other: &&Rule| other.spec.id != rule.spec.id;
                let known: Vec<&str> = (rules.iter().filter(is_other))
                    .map(|other| other.spec.id.as_str())
                    .collect();
                let hint = did_you_mean(id, &known);
                return Err(fault(rule, format!("there is no rule '{id}'; {hint}")));
            }
        }
    }
    // Each rule is left once what it follows is known to be sound.
    let mut sound: Vec<&str> = Vec::new();
    for rule in rules {
        let mut way: Vec<(&Rule, usize)> = vec![(rule, 0)];
        while let Some((at, next)) = way.pop() {
            let Some(id) = of(at).get(next).copied() else {
                sound.push(&at.spec.id);
                continue;
            };
            way.push((at, next + 1));
            if way.iter().any(|(on_way, _)| on_way.spec.id == id) {
                let circle: Vec<&str> = (way.iter())
                    .skip_while(|(on_way, _)| on_way.spec.id != id)
                    .map(|(on_way, _)| on_way.spec.id.as_str())
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
