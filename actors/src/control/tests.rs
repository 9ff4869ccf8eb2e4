use super::change::fold;
use super::*;
use crate::rules::{Micros, RuleKind, RuleSpec};
use theatre_schemas::records::Priority;

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
    RuleChange {
        change_id: format!("{kind:?} {rule_id}"),
        kind,
        rule_id: rule_id.to_owned(),
        rule: rule.map(|rule| serde_json::to_string(rule).unwrap()),
        shadow: false,
        at: 0,
        actor: "dana".to_owned(),
        approves: None,
        comment: None,
    }
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
    for from in 1..=RECORDS_MAX as u64 + 1 {
        let id = if from % 100 == 0 { "rare" } else { "often" };
        state.take(ControlRecord {
            topic: 10,
            from,
            at: 0,
            said: Said::Rule(change(ChangeKind::Put, id, Some(&rule(id, from as f64)))),
        });
    }
    assert!(state.records().len() < RECORDS_MAX / 2 + 10);
    let base: Vec<RuleSpec> = Vec::new();
    let changes = state
        .records()
        .iter()
        .filter_map(|record| match &record.said {
            Said::Rule(change) => Some(change),
            Said::Action(_) => None,
        });
    let rules = fold(&base, changes).unwrap();
    let limits: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(limits, ["rare", "often"]);
    let latest = RECORDS_MAX as u64 + 1;
    assert!(state.records().iter().any(|record| record.from == latest));
}
