//! What has changed between two readings of a rule file, as changes of rules.

use theatre_actors::control::{ChangeKind, RuleChange, StandingRules};
use theatre_actors::rules::RuleSpec;
use theatre_schemas::dataset::Datasets;

/// The changes that make the rules of a file `now` of those that it had `before`: each rule that is
/// new or another is put, each that is gone removed. Ids, times and names are yet to be said.
///
/// # Errors
/// When a rule cannot be written as JSON.
pub(super) fn between(before: &[RuleSpec], now: &[RuleSpec]) -> Result<Vec<RuleChange>, String> {
    let find = |rules: &[RuleSpec], wanted: &RuleSpec| {
        let is = |rule: &&RuleSpec| (&rule.id, rule.shadow) == (&wanted.id, wanted.shadow);
        rules.iter().find(is).cloned()
    };
    let mut changes = Vec::new();
    for rule in now {
        if find(before, rule).as_ref() == Some(rule) {
            continue;
        }
        let json = serde_json::to_string(rule)
            .map_err(|error| format!("rule '{}' cannot be written: {error}", rule.id))?;
        changes.push(RuleChange {
            kind: ChangeKind::Put,
            rule_id: rule.id.clone(),
            shadow: rule.shadow,
            rule: Some(json),
            ..RuleChange::default()
        });
    }
    let gone = before.iter().filter(|rule| find(now, rule).is_none());
    changes.extend(gone.map(|rule| RuleChange {
        kind: ChangeKind::Remove,
        rule_id: rule.id.clone(),
        shadow: rule.shadow,
        ..RuleChange::default()
    }));
    Ok(changes)
}

/// The changes in an order in which each is accepted upon those before it: a rule comes after those
/// that it follows, whatever their order in the file. A rule that is gone already is not removed.
/// `again`: the rules that hold may be those of some partitions only, since the changes were said in
/// part; then all of them are said once more, those last that do not fit.
///
/// # Errors
/// Names the rules that do not fit those that hold, and why.
pub(super) fn in_order(
    mut changes: Vec<RuleChange>,
    mut standing: StandingRules,
    datasets: &Datasets,
    again: bool,
) -> Result<Vec<RuleChange>, String> {
    changes.retain(|change| {
        again || change.kind != ChangeKind::Remove || standing.has(&change.rule_id, change.shadow)
    });
    let mut ordered = Vec::new();
    loop {
        let (mut left, mut faults) = (Vec::new(), Vec::new());
        let count = changes.len();
        for change in changes {
            match standing.check(&change, datasets) {
                Ok(()) => ordered.push(change),
                Err(why) => {
                    faults.push(why);
                    left.push(change);
                }
            }
        }
        if left.is_empty() {
            return Ok(ordered);
        }
        if left.len() == count {
            if again {
                ordered.extend(left);
                return Ok(ordered);
            }
            return Err(faults.join("\n"));
        }
        changes = left;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use theatre_schemas::registry::Registry;

    use super::*;

    fn limit(id: &str, above: f64) -> String {
        format!(
            "[[rule]]\nid = \"{id}\"\npriority = \"low\"\nkind = {{ threshold = {{ signal = \"motor_temperature\", raise_above = {above:?} }} }}\n"
        )
    }

    fn follows(id: &str, other: &str) -> String {
        format!(
            "[[rule]]\nid = \"{id}\"\npriority = \"low\"\nkind = {{ combination = {{ of = \"{other}\" }} }}\n"
        )
    }

    fn rules(texts: &[String]) -> Vec<RuleSpec> {
        theatre_config::rules_of(Path::new("r.toml"), &texts.concat()).unwrap()
    }

    /// What is said where the file changes, and the rules `standing` hold.
    fn said(
        before: &[String],
        now: &[String],
        standing: &[String],
    ) -> Result<Vec<(&'static str, String)>, String> {
        said_where(before, now, standing, false)
    }

    fn said_where(
        before: &[String],
        now: &[String],
        standing: &[String],
        again: bool,
    ) -> Result<Vec<(&'static str, String)>, String> {
        let changes = between(&rules(before), &rules(now))?;
        let standing = StandingRules::read(&rules(standing), false, None).unwrap();
        let ordered = in_order(changes, standing, Registry::builtin().datasets(), again)?;
        Ok(ordered
            .into_iter()
            .map(|change| (change.kind.as_str(), change.rule_id))
            .collect())
    }

    #[test]
    fn only_what_differs_is_said_in_an_order_that_fits() {
        let (a, b) = (limit("a", 1.0), limit("b", 2.0));
        let (put, remove) = (
            |id: &str| ("put", id.to_owned()),
            |id: &str| ("remove", id.to_owned()),
        );
        let first = [a.clone(), b.clone()];
        for (now, standing, expected) in [
            (vec![a.clone(), b.clone()], first.to_vec(), vec![]),
            (vec![b.clone(), a.clone()], first.to_vec(), vec![]),
            (
                vec![a.clone(), limit("b", 3.0)],
                first.to_vec(),
                vec![put("b")],
            ),
            // What was done otherwise meanwhile stays: a is another, b is gone.
            (
                vec![a.clone(), b.clone(), limit("c", 3.0)],
                vec![limit("a", 9.0)],
                vec![put("c")],
            ),
            (vec![b.clone()], first.to_vec(), vec![remove("a")]),
            (vec![b.clone()], vec![b.clone()], vec![]),
            // One that follows comes after what it follows, what is followed goes after it.
            (
                vec![a.clone(), b.clone(), follows("d", "c"), limit("c", 3.0)],
                first.to_vec(),
                vec![put("c"), put("d")],
            ),
        ] {
            assert_eq!(said(&first, &now, &standing), Ok(expected), "{now:?}");
        }
        let followed = [a.clone(), follows("d", "a")];
        assert_eq!(
            said(&followed, std::slice::from_ref(&b), &followed),
            Ok(vec![put("b"), remove("d"), remove("a")])
        );
    }

    #[test]
    fn what_was_said_in_part_is_said_whole_once_more() {
        let (a, b) = (limit("a", 1.0), limit("b", 2.0));
        let now = [b.clone(), follows("d", "c"), limit("c", 3.0)];
        // One partition has read all of it, others may have read none.
        let said = said_where(&[a, b], &now, &now, true).unwrap();
        let mut kinds: Vec<&str> = said.iter().map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["put", "put", "remove"], "{said:?}");
    }

    #[test]
    fn what_does_not_fit_the_rules_that_hold_is_refused_whole() {
        let (a, b) = (limit("a", 1.0), limit("b", 2.0));
        let now = [a.clone(), limit("b", 3.0), follows("c", "a")];
        // A command has removed a.
        let refused = said(&[a, b.clone()], &now, &[b]).unwrap_err();
        assert!(
            refused.contains("rule 'c'") && refused.contains("'a'"),
            "{refused}"
        );
    }
}
