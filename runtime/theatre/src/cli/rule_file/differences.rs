//! What has changed between two readings of a rule file, as changes of rules.

use theatre_actors::control::{ChangeKind, RuleChange, StandingRules};
use theatre_actors::rules::RuleSpec;

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

/// The changes by `who` that wait to be approved and that these changes take the place of, withdrawn;
/// then those of the changes that are still needed: no rule is removed that is gone already, nor put as
/// it is where only what was withdrawn would have changed it.
pub(super) fn in_place_of(
    changes: Vec<RuleChange>,
    standing: &StandingRules,
    who: &str,
) -> Vec<RuleChange> {
    let is_about = |one: &RuleChange, other: &RuleChange| {
        (&one.rule_id, one.shadow) == (&other.rule_id, other.shadow)
    };
    let replaced: Vec<&RuleChange> = (standing.waiting().iter())
        .filter(|waits| waits.actor == who && changes.iter().any(|new| is_about(waits, new)))
        .collect();
    let withdrawn = replaced.iter().map(|waits| {
        let comment = Some("the file says something else by now".to_owned());
        RuleChange::answering(waits, ChangeKind::Reject, comment)
    });
    let withdrawn: Vec<RuleChange> = withdrawn.collect();
    let is_needed = |change: &RuleChange| {
        let is_replaced = || replaced.iter().any(|waits| is_about(waits, change));
        !is_so(change, standing) || change.kind == ChangeKind::Put && !is_replaced()
    };
    let needed = changes.iter().filter(|change| is_needed(change)).cloned();
    withdrawn.into_iter().chain(needed).collect()
}

/// Whether the rules are already what a change makes of them: it is gone, or put and judges; maybe
/// under a higher version, which it got because its own was taken.
fn is_so(change: &RuleChange, standing: &StandingRules) -> bool {
    if change.kind == ChangeKind::Remove {
        let is = |spec: &RuleSpec| (&spec.id, spec.shadow) == (&change.rule_id, change.shadow);
        return !standing.has(&change.rule_id, change.shadow)
            && !standing.refused().iter().any(|refused| is(&refused.spec));
    }
    let mut known = standing.known();
    known.any(|(rule, is_enabled)| {
        is_enabled && change.spec().is_ok_and(|wanted| has_become(&wanted, rule))
    })
}

/// Whether a rule is one of the file, as it is or under a higher version.
pub(in crate::cli) fn has_become(wanted: &RuleSpec, rule: &RuleSpec) -> bool {
    let under_its_version = RuleSpec {
        version: rule.version,
        ..wanted.clone()
    };
    wanted.version <= rule.version && under_its_version == *rule
}

/// Gives each rule that is put and has another content than its version has already the next
/// version, and says so in the change. Rules are often edited without raising it.
///
/// # Errors
/// When a rule cannot be written as JSON, or there is no higher version.
pub(in crate::cli) fn with_versions(
    changes: &mut [RuleChange],
    mut standing: StandingRules,
) -> Result<(), String> {
    // Versions of what the file withdraws are free.
    for change in changes.iter().filter(|it| it.kind == ChangeKind::Reject) {
        standing.check(change)?;
    }
    for change in changes {
        let Some(version) = standing.version_instead(change)? else {
            continue;
        };
        let written = change.spec()?;
        let known = written.version;
        let rule = RuleSpec { version, ..written };
        let json = serde_json::to_string(&rule)
            .map_err(|error| format!("rule '{}' cannot be written: {error}", rule.id))?;
        let why = format!("version {known} of it was taken, it is recorded as version {version}");
        tracing::warn!(
            rule = rule.id,
            "the rule was changed in the file without a higher version: {why}"
        );
        change.comment = Some(match change.comment.take() {
            Some(comment) => format!("{comment}; {why}"),
            None => why,
        });
        change.rule = Some(json);
    }
    Ok(())
}

/// Whether the rules are not what a change by `who` makes of them, and no such change waits.
pub(super) fn is_to_be_said(change: &RuleChange, standing: &StandingRules, who: &str) -> bool {
    let mut waiting = standing.waiting().iter();
    let waits = waiting.any(|waits| {
        let has_become = || match (change.spec(), waits.spec()) {
            (Ok(wanted), Ok(rule)) => has_become(&wanted, &rule),
            _ => change.rule == waits.rule,
        };
        waits.actor == who
            && (waits.kind, &waits.rule_id, waits.shadow)
                == (change.kind, &change.rule_id, change.shadow)
            && has_become()
    });
    !waits && !is_so(change, standing)
}

/// The changes in an order in which each is accepted upon those before it: a rule comes after those
/// that it follows, whatever their order in the file.
///
/// # Errors
/// Names the rules that do not fit those that hold, and why.
pub(in crate::cli) fn in_order(
    mut changes: Vec<RuleChange>,
    mut standing: StandingRules,
) -> Result<Vec<RuleChange>, String> {
    let mut ordered = Vec::new();
    loop {
        let (mut left, mut faults) = (Vec::new(), Vec::new());
        let count = changes.len();
        for change in changes {
            match standing.check(&change) {
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
            return Err(faults.join("\n"));
        }
        changes = left;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use theatre_actors::control::RuleBase;
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

    fn holding(rules: &[RuleSpec], needs_approval: bool) -> StandingRules {
        let registry = Registry::builtin();
        let base = RuleBase {
            rules,
            needs_approval,
            datasets: registry.datasets(),
            windows: None,
        };
        StandingRules::read(base, None).unwrap()
    }

    /// What is said where the file changes, and the rules `standing` hold.
    fn said(
        before: &[String],
        now: &[String],
        standing: &[String],
    ) -> Result<Vec<(&'static str, String)>, String> {
        said_to(before, now, holding(&rules(standing), false))
    }

    fn said_to(
        before: &[String],
        now: &[String],
        standing: StandingRules,
    ) -> Result<Vec<(&'static str, String)>, String> {
        let changes = between(&rules(before), &rules(now))?;
        let ordered = in_order(in_place_of(changes, &standing, "rule file"), standing)?;
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
    fn what_waits_is_withdrawn_where_the_file_says_something_else() {
        let (a, b) = (limit("a", 1.0), limit("b", 2.0));
        let first = [a.clone(), b.clone()];
        // The file had said `now`, and that waits.
        let waiting = |now: &[String], who: &str| {
            let mut standing = holding(&rules(&first), true);
            for (number, change) in (0..).zip(between(&rules(&first), &rules(now)).unwrap()) {
                let change = RuleChange {
                    change_id: format!("chg_{number}"),
                    actor: who.to_owned(),
                    ..change
                };
                standing.meet(change);
            }
            standing
        };
        let is = |what: &'static str, id: &str| (what, id.to_owned());
        let added = [a.clone(), b.clone(), limit("c", 3.0)];
        let changed = [a.clone(), limit("b", 3.0)];
        let removed = [a.clone()];
        for (before, now, expected) in [
            // A rule that was added is lost again.
            (&added[..], &first[..], vec![is("reject", "c")]),
            // One that was changed is as it was, or another one.
            (&changed, &first, vec![is("reject", "b")]),
            (
                &changed,
                &[a.clone(), limit("b", 4.0)],
                vec![is("reject", "b"), is("put", "b")],
            ),
            (
                &changed,
                &removed,
                vec![is("reject", "b"), is("remove", "b")],
            ),
            // One that was removed is there again.
            (&removed, &first, vec![is("reject", "b")]),
            // What is said of other rules leaves it alone.
            (
                &added,
                &[limit("a", 9.0), b.clone(), limit("c", 3.0)],
                vec![is("put", "a")],
            ),
        ] {
            let standing = waiting(before, "rule file");
            assert_eq!(said_to(before, now, standing), Ok(expected), "{now:?}");
        }
        // What people have said is theirs.
        let standing = waiting(&changed, "Anna");
        assert_eq!(
            said_to(&changed, &first, standing),
            Ok(vec![is("put", "b")])
        );
    }

    #[test]
    fn a_rule_that_was_edited_without_a_higher_version_gets_the_next_one() {
        let versioned = |version: i32, above: f64| {
            let raised = format!("id = \"a\"\nversion = {version}");
            limit("a", above).replace("id = \"a\"", &raised)
        };
        let first = [versioned(1, 1.0)];
        // What is said of `now`: its version, and whether the history says that it is another one.
        let taken = |standing: &StandingRules, now: String| -> Vec<(i32, bool)> {
            let mut changes = between(&rules(&first), &rules(&[now])).unwrap();
            changes = in_place_of(changes, standing, "rule file");
            with_versions(&mut changes, standing.clone()).unwrap();
            let puts = changes.iter().filter(|it| it.kind == ChangeKind::Put);
            let said = |put: &RuleChange| {
                let comment = put.comment.as_deref().unwrap_or_default();
                let is_noted = comment.contains("is recorded as version");
                (put.spec().unwrap().version, is_noted)
            };
            puts.map(said).collect()
        };
        let standing = holding(&rules(&first), false);
        assert_eq!(taken(&standing, versioned(1, 2.0)), [(2, true)]);
        assert_eq!(taken(&standing, versioned(2, 2.0)), [(2, false)]);
        let standing = holding(&rules(&[versioned(5, 2.0)]), false);
        assert_eq!(taken(&standing, versioned(3, 3.0)), [(6, true)]);
        // It holds already, under the version that it got.
        let is_said = |rule: String| {
            let change = &between(&rules(&first), &rules(&[rule])).unwrap()[0];
            is_to_be_said(change, &standing, "rule file")
        };
        assert!(!is_said(versioned(1, 2.0)) && is_said(versioned(1, 3.0)));
        assert!(is_said(versioned(6, 2.0)), "it is to have that version");
        // A waiting change of the file leaves its version to the one that takes its place.
        let mut standing = holding(&rules(&first), true);
        let waits = between(&rules(&first), &rules(&[versioned(2, 2.0)])).unwrap();
        standing.meet(RuleChange {
            change_id: "chg_1".to_owned(),
            actor: "rule file".to_owned(),
            ..waits[0].clone()
        });
        assert_eq!(taken(&standing, versioned(2, 3.0)), [(2, false)]);
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
