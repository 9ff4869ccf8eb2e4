//! Changes of rules that come again under their ids.

use super::changed::above;
use super::*;
use crate::control::{ChangeFate, RuleBase, StandingRules};

/// A change of `hot` under an id: it is turned, or put with another limit, or one that waits is
/// answered by Ben.
fn of_hot(offset: u64, id: &str, what: &str, about: &str) -> Arc<Batch> {
    let mut fields = vec![
        ("change_id", text(id)),
        ("change", Value::Enum(0, what.to_owned())),
        ("rule_id", text("hot")),
    ];
    match what {
        "put" => {
            let rule = above("hot", about.parse().unwrap());
            fields.push(("rule", text(&serde_json::to_string(&rule).unwrap())));
        }
        "approve" => fields.extend([("approves", text(about)), ("actor", text("ben"))]),
        "reject" => fields.extend([("rejects", text(about)), ("actor", text("ben"))]),
        _ => {}
    }
    wide("rule_changes", offset, &fields)
}

/// The rules that changes of `hot` make, as processors, the actor and who asks think.
fn rules_of(changes: &[(&str, &str, &str)], needs_approval: bool, restarts: bool) -> Vec<RuleSpec> {
    let mut fleet = Fleet::new();
    fleet.restart_under(needs_approval);
    for (offset, (id, what, about)) in (0..).zip(changes) {
        fleet.say(RULES, &of_hot(offset, id, what, about));
        if restarts {
            fleet.restart_under(needs_approval);
        }
    }
    let mut positions = Positions::zero();
    positions.advance(RULES, changes.len() as u64);
    let made = fleet.book.config_at(&positions).rules.written();
    let base = config_of_book().rules.written();
    let registry = registry();
    let rules = RuleBase {
        rules: &base,
        needs_approval,
        datasets: registry.datasets(),
        windows: None,
    };
    let standing = StandingRules::read(rules, Some(&fleet.actor.snapshot())).unwrap();
    assert_eq!(standing.rules(), made);
    let mut foreseen = StandingRules::read(rules, None).unwrap();
    for (offset, (id, what, about)) in (0..).zip(changes) {
        foreseen.foresee(&of_hot(offset, id, what, about), 0);
    }
    assert_eq!(foreseen.rules(), made);
    assert_eq!(foreseen.waiting(), standing.waiting());
    made
}

#[test]
fn partitions_agree_where_one_got_a_change_twice_and_another_only_the_repetition() {
    let (x, y) = (("x", "put", "70"), ("y", "put", "60"));
    let (approve_x, approve_y) = (("ax", "approve", "x"), ("ay", "approve", "y"));
    let limit_of = |rules: &[RuleSpec]| serde_json::to_value(&rules[0]).unwrap();
    for (once, twice, needs_approval, expected) in [
        (vec![y, x], vec![x, y, x], false, "70"),
        (vec![y, x], vec![x, y, x, x], false, "70"),
        (
            vec![("y", "enable", ""), ("x", "disable", "")],
            vec![
                ("x", "disable", ""),
                ("y", "enable", ""),
                ("x", "disable", ""),
            ],
            false,
            "",
        ),
        // Nothing has come since: it is the same one.
        (vec![x], vec![x, x], false, "70"),
        (
            vec![y, x, approve_y, approve_x],
            vec![x, y, x, approve_y, approve_x],
            true,
            "70",
        ),
        (
            vec![x, y, approve_y, approve_x],
            vec![x, approve_x, y, approve_y, approve_x],
            true,
            "70",
        ),
        (
            vec![x, y, approve_y, ("r", "reject", "x")],
            vec![x, ("r", "reject", "x"), y, approve_y, ("r", "reject", "x")],
            true,
            "60",
        ),
    ] {
        for restarts in [false, true] {
            let rules = rules_of(&twice, needs_approval, restarts);
            assert_eq!(
                rules,
                rules_of(&once, needs_approval, restarts),
                "{twice:?}"
            );
            match expected {
                "" => assert!(rules.is_empty()),
                limit => assert!(limit_of(&rules).to_string().contains(limit), "{rules:?}"),
            }
        }
    }
}

#[test]
fn a_change_that_comes_again_under_its_id_changes_nothing() {
    let mut fleet = Fleet::new();
    let turned = |offset: u64, id: &str, what: &str| of_hot(offset, id, what, "");
    fleet.say(RULES, &turned(0, "once", "disable"));
    fleet.restart();
    fleet.say(RULES, &turned(1, "once", "enable"));
    fleet.restart();
    fleet.rows(&[(1, 90.0)]);
    assert_eq!(fleet.emitted(), [], "it is disabled");
    assert!(fleet.outputs.dead.is_empty());
    assert_eq!(fleet.actor.counters()[RULES].applied, 2);
}

#[test]
fn a_change_says_of_others_only_what_its_kind_does() {
    let mut fleet = Fleet::new();
    fleet.restart_under(true);
    fleet.say(RULES, &of_hot(0, "x", "disable", ""));
    let mut both = vec![
        ("change_id", text("y")),
        ("change", Value::Enum(0, "enable".to_owned())),
        ("rule_id", text("hot")),
    ];
    both.extend([("approves", text("x")), ("rejects", text("x"))]);
    fleet.say(RULES, &wide("rule_changes", 1, &both));
    let base = config_of_book().rules.written();
    let registry = registry();
    let rules = RuleBase {
        rules: &base,
        needs_approval: true,
        datasets: registry.datasets(),
        windows: None,
    };
    let standing = StandingRules::read(rules, Some(&fleet.actor.snapshot())).unwrap();
    let change = &standing.changes()[1];
    assert_eq!((&change.approves, &change.rejects), (&None, &None));
    assert_eq!(standing.fate(&standing.changes()[0]), ChangeFate::Waiting);
}
