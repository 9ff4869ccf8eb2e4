//! Rules that say something else, wait, are rejected, or do not fit the configuration any more.

use super::*;
use crate::control::{ChangeFate, ChangeKind, RuleBase, RuleChange, StandingRules};
use crate::rules::Unacknowledged;

/// The book of a partition whose rule file is another one, with what its actor remembers.
fn restored_book(rules: &[RuleSpec], actor: &Processor) -> Arc<ControlBook> {
    let (config, topics) = (with_rules(rules), vec![ACTIONS, RULES]);
    let book = ControlBook::new(config, registry().datasets(), topics, false);
    book.restore(&actor.snapshot()).unwrap();
    Arc::new(book)
}

fn combination(of: serde_json::Value, hold: &str) -> RuleSpec {
    serde_json::from_value(serde_json::json!({
        "id": "both", "priority": "low",
        "kind": {"combination": {"of": of, "hold": hold}},
    }))
    .unwrap()
}

pub(super) fn above(id: &str, limit: f64) -> RuleSpec {
    let mut kind = hot(0);
    if let RuleKind::Threshold {
        raise_above,
        clear_below,
        ..
    } = &mut kind
    {
        (*raise_above, *clear_below) = (Some(limit), Some(limit));
    }
    rule(id, Priority::Low, kind)
}

/// What becomes of a combination of `hot` (open) and `warm` (open or not) that is changed.
fn changed_combination(
    warm_above: f64,
    (before, hold_before): (&serde_json::Value, &str),
    (now, hold_now): (&serde_json::Value, &str),
    restarts: bool,
) -> Vec<(String, Transition, i64)> {
    let mut fleet = Fleet::new();
    let restart = |fleet: &mut Fleet| {
        if restarts {
            fleet.restart();
        }
    };
    let put = |offset: u64, rule: &RuleSpec| change(offset, "put", &rule.id, Some(rule), false);
    fleet.say(RULES, &put(0, &above("warm", warm_above)));
    fleet.say(RULES, &put(1, &combination(before.clone(), hold_before)));
    fleet.rows(&[(1, 90.0), (2, 90.0)]);
    restart(&mut fleet);
    fleet.say(RULES, &put(2, &combination(now.clone(), hold_now)));
    restart(&mut fleet);
    fleet.rows(&[
        (3, 90.0),
        (4, 90.0),
        (5, 90.0),
        (6, 90.0),
        (7, 90.0),
        (8, 90.0),
    ]);
    let emitted = fleet.emitted().into_iter();
    emitted.filter(|(rule, ..)| rule == "both").collect()
}

#[test]
fn a_changed_combination_is_judged_at_its_place_by_what_is_open_then() {
    use Transition::{Cleared, Raised};
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let (and, or) = (
        json(r#"{"and": ["hot", "warm"]}"#),
        json(r#"{"or": ["hot", "warm"]}"#),
    );
    let (hot, not) = (
        json(r#""hot""#),
        json(r#"{"and": ["hot", {"not": "warm"}]}"#),
    );
    let (open, closed) = (80.0, 95.0);
    let (raised, cleared) = (
        |seconds: i64| at("both", Raised, seconds),
        |seconds: i64| at("both", Cleared, seconds),
    );
    for (warm, before, now, expected) in [
        // Not true before, true now: from the clock at the change on.
        (closed, (&and, "0s"), (&or, "0s"), vec![raised(2)]),
        (
            closed,
            (&or, "0s"),
            (&and, "0s"),
            vec![raised(1), cleared(2)],
        ),
        // True under both: it stays open.
        (open, (&and, "0s"), (&or, "0s"), vec![raised(1)]),
        // Other members.
        (closed, (&and, "0s"), (&hot, "0s"), vec![raised(2)]),
        (
            open,
            (&hot, "0s"),
            (&not, "0s"),
            vec![raised(1), cleared(2)],
        ),
        // The hold of another expression begins at the change, also where the one before was true.
        (closed, (&and, "0s"), (&or, "3s"), vec![raised(5)]),
        (open, (&and, "3s"), (&or, "3s"), vec![raised(5)]),
        // The same expression goes on, for as long as it says now.
        (open, (&and, "5s"), (&and, "3s"), vec![raised(4)]),
        (open, (&and, "5s"), (&and, "0s"), vec![raised(2)]),
        (open, (&and, "3s"), (&and, "3s"), vec![raised(4)]),
    ] {
        for restarts in [false, true] {
            let told = changed_combination(warm, before, now, restarts);
            assert_eq!(
                told, expected,
                "{before:?} -> {now:?}, restarts: {restarts}"
            );
        }
    }
}

#[test]
fn a_combination_of_another_rule_file_is_judged_when_the_robot_goes_on() {
    use Transition::{Cleared, Raised};
    let json = |of: &str| serde_json::json!({of: ["hot", "warm"]});
    let rules = |of: &str| {
        [
            rule("hot", Priority::Medium, hot(0)),
            above("warm", 95.0),
            combination(json(of), "0s"),
        ]
    };
    let mut fleet = Fleet::new();
    fleet.robot = Processor::new("r", with_rules(&rules("and")));
    fleet.rows(&[(1, 90.0)]);
    let goes_on = |fleet: &mut Fleet, of: &str| {
        let saved = fleet.robot.snapshot();
        fleet.robot = Processor::restore("r", &saved, with_rules(&rules(of))).unwrap();
    };
    goes_on(&mut fleet, "or");
    fleet.rows(&[(2, 90.0)]);
    goes_on(&mut fleet, "or");
    fleet.rows(&[(3, 90.0)]);
    goes_on(&mut fleet, "and");
    fleet.rows(&[(4, 90.0)]);
    let expected = [
        at("hot", Raised, 1),
        at("both", Raised, 1),
        at("both", Cleared, 2),
    ];
    let emitted = fleet.emitted();
    assert_eq!(emitted[..2], expected[..2]);
    assert_eq!(emitted[2], at("both", Cleared, 3));
    assert_eq!(emitted.len(), 3);
}

/// The rule on heat as its next version.
fn next_version(version: i32, priority: Priority, latch: bool) -> RuleSpec {
    RuleSpec {
        version,
        latch,
        ..rule("hot", priority, hot(0))
    }
}

/// What was emitted of conditions, in full.
fn emitted(fleet: &mut Fleet) -> Vec<(Transition, i64, Priority, i32)> {
    let emitted = alerts(&fleet.outputs).into_iter();
    fleet.outputs.events.clear();
    emitted
        .map(|it| {
            let seconds = (it.event_time - NOW) / S;
            (it.transition, seconds, it.priority, it.rule_version)
        })
        .collect()
}

#[test]
fn what_is_open_takes_over_a_higher_priority_at_the_change_and_no_lower_one() {
    use Priority::{High, Low, Medium};
    use Transition::{Cleared, Raised, Updated};
    for restarts in [false, true] {
        let mut fleet = Fleet::new();
        let say = |fleet: &mut Fleet, offset: u64, rule: &RuleSpec| {
            fleet.say(RULES, &change(offset, "put", "hot", Some(rule), false));
            if restarts {
                fleet.restart();
            }
        };
        fleet.rows(&[(1, 90.0), (2, 90.0)]);
        let acknowledge = alerting::action(0, "acknowledge", &[]);
        (fleet.robot).apply(ACTIONS, &acknowledge, &[0], &mut fleet.outputs);
        emitted(&mut fleet);
        say(&mut fleet, 0, &next_version(2, High, false));
        let updated = alerts(&fleet.outputs).pop().unwrap();
        assert_eq!(updated.reason.as_deref(), Some("the rule was changed"));
        assert_eq!(
            updated.acknowledged_by, None,
            "it was for the other priority"
        );
        assert_eq!((updated.revision, updated.value), (2, None));
        // After what a person did at 50 s; the robot's clock stands at 2 s.
        assert_eq!(emitted(&mut fleet), [(Updated, 50, High, 2)]);
        fleet.rows(&[(3, 90.0)]);
        say(&mut fleet, 1, &next_version(3, High, false));
        say(&mut fleet, 2, &next_version(4, Low, false));
        fleet.rows(&[(60, 90.0)]);
        assert_eq!(
            emitted(&mut fleet),
            [],
            "it keeps its priority while it is open"
        );
        assert_eq!(fleet.robot.view().conditions[0].priority, High);
        fleet.rows(&[(61, 70.0), (62, 90.0)]);
        let expected = [(Cleared, 61, High, 4), (Raised, 62, Low, 4)];
        assert_eq!(emitted(&mut fleet), expected);
        say(&mut fleet, 3, &next_version(5, Medium, false));
        assert_eq!(emitted(&mut fleet), [(Updated, 62, Medium, 5)]);
    }
}

#[test]
fn what_is_latched_takes_over_a_higher_priority_of_a_newer_rule_file_with_the_next_message() {
    use Priority::{High, Low};
    use Transition::Updated;
    let mut fleet = Fleet::new();
    let under = |rule: RuleSpec| with_rules(&[rule]);
    fleet.robot = Processor::new("r", under(next_version(1, Low, true)));
    fleet.rows(&[(1, 90.0), (2, 70.0)]);
    emitted(&mut fleet);
    let saved = fleet.robot.snapshot();
    for by_row in [false, true] {
        let rules = under(next_version(2, High, true));
        fleet.robot = Processor::restore("r", &saved, rules).unwrap();
        match by_row {
            true => fleet.rows(&[(3, 70.0)]),
            false => (fleet.robot).tick(LogTime(NOW + 1_001 * S), &mut fleet.outputs),
        }
        assert_eq!(emitted(&mut fleet), [(Updated, 2, High, 2)], "{by_row}");
        assert!(fleet.robot.view().conditions[0].is_latched);
    }
}

#[test]
fn what_a_newer_rule_file_makes_more_urgent_is_not_passed_on_before_anyone_could_see_it() {
    use Priority::{High, Low};
    use Transition::{Escalated, Updated};
    let under = |version: i32, priority: Priority| {
        with_rules(&[RuleSpec {
            unacknowledged: vec![Unacknowledged {
                after: Micros(100 * S),
                priority: None,
            }],
            ..next_version(version, priority, false)
        }])
    };
    let mut fleet = Fleet::new();
    fleet.robot = Processor::new("r", under(1, Low));
    fleet.rows(&[(1, 90.0)]);
    emitted(&mut fleet);
    let saved = fleet.robot.snapshot();
    // It stopped for long; the first to come is a row, as old as a tick would be.
    fleet.robot = Processor::restore("r", &saved, under(2, High)).unwrap();
    let mut told_at = |seconds: i64| {
        let mut batch = telemetry_from(fleet.next, &[(seconds, seconds, 90.0, None)]);
        Arc::get_mut(&mut batch).unwrap().append_times[0] = NOW + seconds * S;
        fleet.robot.apply(0, &batch, &[0], &mut fleet.outputs);
        fleet.next += 1;
        emitted(&mut fleet)
    };
    assert_eq!(told_at(5_000), [(Updated, 1, High, 2)]);
    assert_eq!(told_at(5_099), []);
    assert_eq!(told_at(5_100), [(Escalated, 5_100, High, 2)]);
}

/// An answer to a change of rules.
fn answer(offset: u64, kind: &str, of: &str, actor: &str) -> Arc<Batch> {
    let field = if kind == "approve" {
        "approves"
    } else {
        "rejects"
    };
    let fields = [
        ("change_id", text(&format!("change {offset}"))),
        ("change", Value::Enum(0, kind.to_owned())),
        ("rule_id", text("hot")),
        ("actor", text(actor)),
        ("comment", text("no")),
        (field, text(of)),
    ];
    wide("rule_changes", offset, &fields)
}

#[test]
fn a_change_that_was_rejected_or_withdrawn_never_counts() {
    use Transition::Raised;
    for who in ["ben", "dana"] {
        for restarts in [false, true] {
            let mut fleet = Fleet::new();
            fleet.restart_under(true);
            let restart = |fleet: &mut Fleet| {
                if restarts {
                    fleet.restart_under(true);
                }
            };
            fleet.say(RULES, &change(0, "disable", "hot", None, false));
            restart(&mut fleet);
            fleet.say(RULES, &answer(1, "reject", "change 0", who));
            restart(&mut fleet);
            fleet.say(RULES, &answer(2, "approve", "change 0", "ben"));
            fleet.say(RULES, &answer(3, "reject", "change 0", "ben"));
            fleet.rows(&[(1, 90.0)]);
            assert_eq!(
                fleet.emitted(),
                [at("hot", Raised, 1)],
                "it judges as before"
            );
            let dead: Vec<&str> = (fleet.outputs.dead.iter())
                .map(|dead| dead.detail.as_str())
                .collect();
            assert_eq!(dead.len(), 2, "{dead:?}");
            assert!(dead[0].contains("waits to be approved") && dead[1].contains("none waits"));
        }
    }
}

#[test]
fn an_approval_that_is_refused_leaves_the_change_waiting() {
    use Transition::{Cleared, Raised};
    let mut fleet = Fleet::new();
    fleet.rows(&[(1, 90.0)]);
    fleet.restart_under(true);
    // It follows a rule that is not there.
    let follows: RuleSpec = serde_json::from_value(serde_json::json!({
        "id": "hot", "priority": "low", "kind": {"combination": {"of": "warm"}},
    }))
    .unwrap();
    fleet.say(RULES, &change(0, "put", "hot", Some(&follows), false));
    fleet.say(RULES, &answer(1, "approve", "change 0", "ben"));
    assert!(fleet.outputs.dead[0].detail.contains("'warm'"));
    fleet.say(
        RULES,
        &change(2, "put", "warm", Some(&above("warm", 99.0)), false),
    );
    fleet.say(RULES, &answer(3, "approve", "change 2", "ben"));
    fleet.say(RULES, &answer(4, "approve", "change 0", "lee"));
    assert_eq!(fleet.outputs.dead.len(), 1);
    assert_eq!(
        fleet.emitted(),
        [at("hot", Raised, 1), at("hot", Cleared, 1)],
        "it is a rule on another one now"
    );
}

/// A change by Dana of a rule, which is put where it is given.
fn by_dana(kind: ChangeKind, rule_id: &str, rule: Option<&RuleSpec>) -> RuleChange {
    RuleChange {
        change_id: format!("{kind:?} {rule_id}"),
        kind,
        rule_id: rule_id.to_owned(),
        rule: rule.map(|rule| serde_json::to_string(rule).unwrap()),
        actor: "dana".to_owned(),
        ..RuleChange::default()
    }
}

#[test]
fn a_rule_that_follows_one_which_is_gone_is_refused_and_holds_up_no_other_change() {
    let mut fleet = Fleet::new();
    let follows = combination(serde_json::json!({"and": ["hot", "robot_silent"]}), "0s");
    fleet.say(RULES, &change(0, "put", "both", Some(&follows), false));
    // A newer rule file has no `hot`.
    let base = [above("warm", 80.0)];
    let registry = registry();
    let rules = RuleBase {
        rules: &base,
        needs_approval: false,
        datasets: registry.datasets(),
        windows: None,
    };
    let ids = |rules: Vec<RuleSpec>| rules.into_iter().map(|rule| rule.id).collect::<Vec<_>>();
    for removed in [false, true] {
        fleet.book = restored_book(&base, &fleet.actor);
        let mut positions = Positions::zero();
        positions.advance(RULES, 9);
        let state = fleet.actor.snapshot();
        let mut standing = StandingRules::read(rules, Some(&state)).unwrap();
        assert_eq!(
            ids(fleet.book.config_at(&positions).rules.written()),
            ["warm"]
        );
        assert_eq!(ids(standing.rules()), ["warm"], "it is not enabled");
        if removed {
            assert!(standing.refused().is_empty());
            break;
        }
        let refused = standing.refused();
        let [refused] = refused.as_slice() else {
            panic!("{refused:?}")
        };
        assert!(
            refused.spec.id == "both" && refused.why.contains("no rule 'hot'"),
            "{refused:?}"
        );
        let fate = standing.fate(&standing.changes()[0].clone());
        assert!(matches!(fate, ChangeFate::Refused { .. }), "{fate:?}");
        assert_eq!(
            standing.check(&by_dana(ChangeKind::Put, "cold", Some(&above("cold", 1.0)))),
            Ok(())
        );
        let why = standing
            .check(&by_dana(ChangeKind::Disable, "both", None))
            .unwrap_err();
        assert!(why.contains("put it again, or remove it"), "{why}");
        assert_eq!(
            standing.check(&by_dana(ChangeKind::Remove, "both", None)),
            Ok(())
        );
        // Processors think so, too.
        let under = |processor: &Processor, name: &str, book: &Arc<ControlBook>| {
            let restored = Processor::restore(name, &processor.snapshot(), with_rules(&base));
            restored.unwrap().under(book)
        };
        fleet.actor = under(&fleet.actor, &control::name(0), &fleet.book);
        fleet.robot = under(&fleet.robot, "r", &fleet.book);
        fleet.say(
            RULES,
            &change(1, "put", "cold", Some(&above("cold", 99.0)), false),
        );
        fleet.say(RULES, &change(2, "remove", "cold", None, false));
        fleet.say(RULES, &change(3, "remove", "both", None, false));
        assert!(fleet.outputs.dead.is_empty(), "{:?}", fleet.outputs.dead);
    }
    // With the file of before it was removed, too.
    let book = restored_book(&[rule("hot", Priority::Medium, hot(0))], &fleet.actor);
    let mut positions = Positions::zero();
    positions.advance(RULES, 9);
    assert_eq!(ids(book.config_at(&positions).rules.written()), ["hot"]);
}
