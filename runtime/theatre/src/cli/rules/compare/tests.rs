use theatre_actors::control::RuleBase;
use theatre_schemas::registry::Registry;

use super::*;

fn condition(id: &str, version: i32, (raised_at, cleared_at): (i64, i64)) -> Condition {
    Condition {
        id: id.to_owned(),
        robot: "r1".to_owned(),
        version,
        priority: Priority::Low,
        saved_at: raised_at,
        raised_at,
        cleared_at: (cleared_at < 1000).then_some(cleared_at),
    }
}

/// What is raised, raised in the shadow, and of each what the other has not, by version.
fn counts(live: &[Condition], shadow: &[Condition]) -> Vec<(i32, [u64; 4])> {
    let stretches = BTreeMap::from([(2, vec![(10, 20), (40, 50)]), (3, vec![(20, 40)])]);
    let found = compared(live, shadow, &stretches);
    let of = |((version, _), beside): (&(i32, &str), &Beside)| {
        let only = [beside.only_raised, beside.only_in_the_shadow];
        (
            *version,
            [beside.raised, beside.in_the_shadow, only[0], only[1]],
        )
    };
    let all: u64 = found
        .beside
        .iter()
        .map(of)
        .map(|(_, it)| it[2] + it[3])
        .sum();
    assert_eq!(all, found.differing.len() as u64);
    found.beside.iter().map(of).collect()
}

#[test]
fn each_version_of_the_shadow_is_compared_with_what_was_raised_while_it_judged() {
    let live = |at: (i64, i64)| condition("live", 1, at);
    let other = |at: (i64, i64)| Condition {
        robot: "r2".to_owned(),
        ..live(at)
    };
    for (live, shadow, expected) in [
        // From before the shadow: not counted, but what is open then is no difference.
        (vec![live((1, 5))], vec![], vec![]),
        (
            vec![live((1, 1000))],
            vec![condition("s", 2, (10, 1000))],
            vec![(2, [0, 1, 0, 0])],
        ),
        (
            vec![live((1, 5))],
            vec![condition("s", 2, (10, 12))],
            vec![(2, [0, 1, 0, 1])],
        ),
        (
            vec![live((12, 15))],
            vec![condition("s", 2, (14, 16))],
            vec![(2, [1, 1, 0, 0])],
        ),
        (
            vec![live((12, 15))],
            vec![condition("s", 2, (16, 18))],
            vec![(2, [1, 1, 1, 1])],
        ),
        // Each version by itself, also one that judged twice.
        (
            vec![
                live((12, 13)),
                live((25, 26)),
                live((41, 42)),
                live((50, 51)),
            ],
            vec![condition("s", 3, (25, 26)), condition("t", 2, (48, 49))],
            vec![(2, [2, 1, 2, 1]), (3, [1, 1, 0, 0])],
        ),
        // On another robot it is another condition.
        (
            vec![other((12, 15))],
            vec![condition("s", 2, (12, 15))],
            vec![(2, [0, 1, 0, 1]), (2, [1, 0, 1, 0])],
        ),
    ] {
        assert_eq!(counts(&live, &shadow), expected, "{live:?}, {shadow:?}");
    }
}

#[test]
fn a_version_of_the_shadow_judges_from_its_change_to_the_next_one() {
    let rule = |version: i32| {
        format!(
            r#"{{"id":"hot","version":{version},"priority":"low","kind":{{"threshold":{{"signal":"motor_temperature","raise_above":1.0}}}}}}"#
        )
    };
    let said = |at: i64, kind: ChangeKind, version: Option<i32>, shadow: bool| RuleChange {
        change_id: at.to_string(),
        kind,
        rule_id: "hot".to_owned(),
        rule: version.map(rule),
        shadow,
        at,
        actor: "dana".to_owned(),
        ..RuleChange::default()
    };
    use ChangeKind::{Disable, Enable, Put, Remove};
    let registry = Registry::builtin();
    let standing = |needs_approval: bool, came: Vec<RuleChange>| {
        let base = RuleBase {
            rules: &[],
            needs_approval,
            datasets: registry.datasets(),
            windows: None,
        };
        let mut standing = StandingRules::read(base, None).unwrap();
        came.into_iter().for_each(|change| standing.meet(change));
        stretches(&standing, "hot")
    };
    let came = vec![
        said(5, Put, Some(1), false),
        said(10, Put, Some(2), true),
        said(20, Put, Some(3), true),
        said(30, Disable, None, true),
        said(40, Enable, None, true),
        said(50, Remove, None, true),
        said(60, Put, Some(4), true),
    ];
    let expected = [
        (2, vec![(10, 20)]),
        (3, vec![(20, 30), (40, 50)]),
        (4, vec![(60, i64::MAX)]),
    ];
    assert_eq!(standing(false, came), BTreeMap::from(expected));
    // One that waits judges once it is approved.
    let (first, second) = (said(10, Put, Some(2), true), said(11, Put, Some(3), true));
    let approval = RuleChange {
        change_id: "yes".to_owned(),
        actor: "lee".to_owned(),
        at: 15,
        ..RuleChange::answering(&first, ChangeKind::Approve, None)
    };
    let expected = BTreeMap::from([(2, vec![(15, i64::MAX)])]);
    assert_eq!(standing(true, vec![first, second, approval]), expected);
}

#[test]
fn a_condition_is_of_the_version_that_has_raised_it() {
    let alert = |revision: i32, transition: Transition, event_time: i64| {
        let alert = Alert {
            condition_id: "c".to_owned(),
            robot_id: "r1".to_owned(),
            rule_version: revision + 2,
            revision,
            transition,
            event_time,
            raised_at: 10,
            ..Alert::default()
        };
        (LogTime(event_time + 1), alert)
    };
    let (raised, cleared) = (
        alert(0, Transition::Raised, 10),
        alert(1, Transition::Cleared, 20),
    );
    for alerts in [vec![raised.clone(), cleared.clone()], vec![cleared, raised]] {
        let found = conditions(alerts);
        let [condition] = found.as_slice() else {
            panic!("{found:?}");
        };
        let seen = (condition.version, condition.saved_at, condition.cleared_at);
        assert_eq!(seen, (2, 11, Some(20)));
    }
}
