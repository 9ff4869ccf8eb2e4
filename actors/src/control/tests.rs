use std::sync::atomic::{AtomicU64, Ordering};

use super::known::KnownRules;
use super::remembered::RECORDS_MAX;
use super::*;
use crate::rules::{CombinationSpec, Expression, Micros, RuleKind, RuleSet, RuleSpec};
use proptest::prelude::*;
use theatre_schemas::records::Priority;
use theatre_schemas::registry::Registry;

fn rule(id: &str, above: f64) -> RuleSpec {
    RuleSpec::new(
        id,
        Priority::Medium,
        RuleKind::Threshold {
            signal: "motor_temperature".into(),
            raise_above: Some(above),
            clear_below: None,
            raise_below: None,
            clear_above: None,
            hold: Micros(0),
            escalate: Vec::new(),
            count: None,
        },
    )
}

fn change(kind: ChangeKind, rule_id: &str, rule: Option<&RuleSpec>) -> RuleChange {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    RuleChange {
        change_id: format!("{kind:?} {rule_id} {number}"),
        kind,
        rule_id: rule_id.to_owned(),
        rule: rule.map(|rule| serde_json::to_string(rule).unwrap()),
        shadow: false,
        at: 0,
        actor: "dana".to_owned(),
        approves: None,
        comment: None,
        rejects: None,
    }
}

/// The rules that changes make, or why one does not fit.
fn fold<'a>(
    base: &[RuleSpec],
    mut changes: impl Iterator<Item = &'a RuleChange>,
) -> Result<Vec<RuleSpec>, String> {
    let mut rules = KnownRules::of(base);
    changes.try_for_each(|change| rules.apply(change).map(drop))?;
    Ok(rules.enabled().cloned().collect())
}

#[test]
fn changes_make_rules_of_those_of_the_configuration() {
    use ChangeKind::{Disable, Enable, Put, Remove};
    let base = [rule("hot", 85.0), rule("cold", 10.0)];
    let later = RuleSpec {
        version: 2,
        ..rule("hot", 90.0)
    };
    let shadow = RuleChange {
        shadow: true,
        ..change(Put, "hot", Some(&rule("hot", 70.0)))
    };
    let mut in_shadow = rule("hot", 70.0);
    in_shadow.shadow = true;
    for (changes, expected) in [
        (vec![], base.to_vec()),
        (
            vec![change(Put, "hot", Some(&later))],
            vec![later.clone(), base[1].clone()],
        ),
        (
            vec![change(Put, "new", Some(&rule("new", 1.0)))],
            vec![base[0].clone(), base[1].clone(), rule("new", 1.0)],
        ),
        (vec![change(Remove, "cold", None)], vec![base[0].clone()]),
        (vec![change(Disable, "hot", None)], vec![base[1].clone()]),
        (
            vec![change(Disable, "hot", None), change(Enable, "hot", None)],
            base.to_vec(),
        ),
        (
            vec![shadow.clone()],
            vec![base[0].clone(), base[1].clone(), in_shadow],
        ),
    ] {
        assert_eq!(fold(&base, changes.iter()).unwrap(), expected);
    }
    for (change, why) in [
        (change(Remove, "cpld", None), "did you mean cold"),
        (
            change(Put, "hot", Some(&base[1])),
            "the rule's id is 'cold'",
        ),
        (change(Put, "hot", None), "is needed"),
        (
            RuleChange {
                shadow: true,
                ..change(Enable, "hot", None)
            },
            "in the shadow",
        ),
    ] {
        let refused = fold(&base, [&change].into_iter()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn names_tell_partitions_robots_and_others_apart() {
    assert_eq!(partition_of(&name(7)), Some(7));
    assert_eq!(partition_of("@partition/x"), None);
    for (actor, robot) in [
        ("r", true),
        ("@home", true),
        ("@partition/3", false),
        ("@facility/F", false),
    ] {
        assert_eq!(is_robot(actor), robot, "{actor}");
    }
}

#[test]
fn only_changes_that_were_replaced_are_forgotten() {
    let mut state = ControlState::default();
    let mut all = Vec::new();
    for from in 1..=RECORDS_MAX as u64 + 1 {
        let change = match from {
            // Others follow the first version of `often`.
            2 => {
                let mut follows = rule("follows", 1.0);
                follows.kind = RuleKind::Combination(CombinationSpec {
                    of: Expression::Rule("often".to_owned()),
                    hold: Micros(0),
                });
                change(ChangeKind::Put, "follows", Some(&follows))
            }
            from => {
                let id = if from % 100 == 0 { "rare" } else { "often" };
                change(ChangeKind::Put, id, Some(&rule(id, from as f64)))
            }
        };
        all.push(change.clone());
        let taken = state.take(ControlRecord {
            topic: 10,
            from,
            at: 0,
            // Approvals may come at any time.
            needs_approval: from == 3,
            said: Said::Rule(change),
        });
        taken.unwrap();
    }
    assert!(state.records().len() < RECORDS_MAX / 2 + 10);
    let base: Vec<RuleSpec> = Vec::new();
    let remembered = state
        .records()
        .iter()
        .filter_map(|record| match &record.said {
            Said::Rule(change) => Some(change),
            Said::Action(_) => None,
        });
    let registry = Registry::builtin();
    let mut known = KnownRules::of(&base);
    for change in remembered {
        let next = known.changed(change, registry.datasets(), None);
        known = next.unwrap();
    }
    let rules: Vec<RuleSpec> = known.enabled().cloned().collect();
    assert_eq!(rules, fold(&base, all.iter()).unwrap());
    let has = |from| state.records().iter().any(|record| record.from == from);
    assert!(has(3) && has(RECORDS_MAX as u64 + 1) && !has(4));
}

/// A change of one of three rules, of which some cannot be put and some follow others.
fn some_change() -> impl Strategy<Value = RuleChange> {
    use ChangeKind::{Disable, Enable, Put, Remove};
    let id = || prop::sample::select(vec!["a", "b", "c"]);
    let kind = prop::sample::select(vec![Put, Put, Put, Put, Remove, Enable, Disable]);
    (kind, id(), id(), 0..8_u8, any::<bool>()).prop_map(|(kind, about, other, what, shadow)| {
        let mut put = rule(about, 80.0);
        match (&mut put.kind, what) {
            (RuleKind::Threshold { signal, .. }, 0) => *signal = "motor_temprature".to_owned(),
            (RuleKind::Threshold { clear_below, .. }, 1) => *clear_below = Some(90.0),
            (kind, 2 | 3) => {
                *kind = RuleKind::Combination(CombinationSpec {
                    of: Expression::Rule(other.to_owned()),
                    hold: Micros(0),
                });
            }
            (RuleKind::Threshold { .. }, 4) => put.id = "clock_skew".to_owned(),
            _ => {}
        }
        let about = put.id.clone();
        RuleChange {
            shadow,
            ..change(kind, &about, (kind == Put).then_some(&put))
        }
    })
}

proptest! {
    #[test]
    fn a_change_is_judged_as_if_all_rules_were_compiled_again(
        changes in prop::collection::vec(some_change(), 1..12)
    ) {
        let registry = Registry::builtin();
        let base = [rule("a", 85.0), rule("b", 10.0)];
        let mut known = KnownRules::of(&base);
        for change in &changes {
            let mut all = known.clone();
            let whole = all.apply(change).and_then(|_| {
                let specs: Vec<RuleSpec> = all.enabled().cloned().collect();
                let compiled = RuleSet::compile(&specs, registry.datasets());
                compiled.map(|set| set.written()).map_err(|error| error.to_string())
            });
            let one = known.changed(change, registry.datasets(), None);
            let specs = |known: &KnownRules| known.enabled().cloned().collect::<Vec<RuleSpec>>();
            prop_assert_eq!(one.as_ref().map(specs).map_err(Clone::clone), whole);
            known = one.unwrap_or(known);
        }
    }
}
