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
            clear_after: Micros(0),
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
fn a_rule_that_others_follow_does_not_go_before_them_and_they_are_named() {
    use ChangeKind::{Disable, Remove};
    let follows = |id: &str, of: &str| RuleSpec {
        kind: RuleKind::Combination(CombinationSpec {
            of: Expression::Rule(of.to_owned()),
            hold: Micros(0),
        }),
        ..rule(id, 1.0)
    };
    let base = [
        rule("cold", 10.0),
        follows("of_cold", "cold"),
        follows("of_it", "of_cold"),
    ];
    let registry = Registry::builtin();
    let known = KnownRules::of(&base);
    let why = |kind, id| {
        let change = change(kind, id, None);
        let is_refused = known.changed(&change, registry.datasets(), None).is_err();
        let why = known.followed(&change);
        assert_eq!(why.is_some(), is_refused);
        why
    };
    assert_eq!(
        why(Disable, "of_cold").as_deref(),
        Some("'of_it' follows the rule 'of_cold' and cannot judge without it: disable it first")
    );
    assert_eq!(
        why(Remove, "cold").as_deref(),
        Some(
            "'of_cold', 'of_it' follow the rule 'cold' and cannot judge without it: remove them first"
        )
    );
    assert_eq!(why(Disable, "of_it"), None);
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

#[test]
fn what_was_forgotten_is_recalled_in_its_place_and_changes_no_rule() {
    let put = |above: f64| change(ChangeKind::Put, "hot", Some(&rule("hot", above)));
    let (first, second, third) = (put(1.0), put(2.0), put(3.0));
    let rejected = put(4.0);
    let reject = RuleChange {
        actor: "lee".to_owned(),
        ..RuleChange::answering(&rejected, ChangeKind::Reject, Some("too low".to_owned()))
    };
    // What the partition remembers; of the first one the topic has nothing any more.
    let mut standing = holding(&[], false, &[first.clone(), third.clone()]);
    let rules = standing.rules();
    let topic = [&second, &rejected, &reject, &third, &third];
    standing.recall_all(topic.into_iter().cloned());
    let all = [&first, &second, &rejected, &reject, &third].map(Clone::clone);
    assert_eq!(standing.changes(), all);
    assert_eq!(standing.rules(), rules);
    let fates: Vec<String> = all.iter().map(|it| standing.fate(it).to_string()).collect();
    let rejected = "rejected by lee: too low";
    assert_eq!(fates, ["counts", "counts", rejected, "counts", "counts"]);
}

#[test]
fn no_version_of_a_rule_judges_whose_last_one_does_not_fit_any_more_nor_what_follows_it() {
    use ChangeKind::{Disable, Put};
    let follows = |id: &str, other: &str| {
        let mut follows = rule(id, 1.0);
        follows.kind = RuleKind::Combination(CombinationSpec {
            of: Expression::Rule(other.to_owned()),
            hold: Micros(0),
        });
        follows
    };
    let base = [
        rule("hot", 85.0),
        follows("both", "hot"),
        rule("cold", 10.0),
    ];
    let mut gone = rule("hot", 80.0);
    if let RuleKind::Threshold { signal, .. } = &mut gone.kind {
        *signal = "gone".to_owned();
    }
    let lost = change(Put, "hot", Some(&gone));
    let again = change(Put, "hot", Some(&rule("hot", 60.0)));
    let third = change(Put, "third", Some(&follows("third", "hot")));
    let disable = change(Disable, "both", None);
    let circle = change(Put, "cold", Some(&follows("cold", "cold")));
    for (changes, judging, refused) in [
        (vec![&lost], vec!["cold"], vec!["hot", "both"]),
        // What followed it judges again with a version that fits, as it was said meanwhile.
        (vec![&lost, &again], vec!["hot", "both", "cold"], vec![]),
        (vec![&lost, &disable, &again], vec!["hot", "cold"], vec![]),
        (
            vec![&lost, &third],
            vec!["cold"],
            vec!["hot", "both", "third"],
        ),
        (
            vec![&lost, &third, &again],
            vec!["hot", "both", "cold", "third"],
            vec![],
        ),
        (vec![&circle], vec!["hot", "both"], vec!["cold"]),
    ] {
        let registry = Registry::builtin();
        let (mut known, mut replayed) = (KnownRules::of(&base), KnownRules::of(&base));
        for change in &changes {
            let fault = known.remember(change, registry.datasets(), None).unwrap();
            replayed.take(change, fault.as_deref());
        }
        for known in [&known, &replayed] {
            let ids: Vec<&str> = known.enabled().map(|spec| spec.id.as_str()).collect();
            assert_eq!(ids, judging, "{changes:?}");
            let of_refused = known.refused();
            let ids: Vec<&str> = of_refused.iter().map(|it| it.spec.id.as_str()).collect();
            assert_eq!(ids, refused, "{changes:?}");
        }
        assert!(
            RuleSet::compile(
                &known.enabled().cloned().collect::<Vec<_>>(),
                registry.datasets()
            )
            .is_ok()
        );
    }
}

#[test]
fn a_silence_that_was_shortened_does_not_come_back_when_the_short_one_is_forgotten() {
    const DAY: i64 = 86_400_000_000;
    let silence = |id: &str, rule: &str, until: i64| -> Action {
        // Verb, id, at, actor, condition, rule, facility, model, until, whether it hides high ones,
        // silence, assignee and comment.
        let none: Option<&str> = None;
        let first = (2_u32, id, 0_i64, "dana", none, Some(rule), none, none);
        let stored = (first, Some(until), false, none, none, none);
        postcard::from_bytes(&postcard::to_allocvec(&stored).unwrap()).unwrap()
    };
    let mut state = ControlState::default();
    let mut take = |from: u64, at: i64, action: Action| {
        let record = ControlRecord {
            topic: 9,
            from,
            at,
            needs_approval: false,
            said: Said::Action(action),
        };
        state.take(record).unwrap();
        let records = state.records().iter();
        records.map(|record| record.from).collect::<Vec<u64>>()
    };
    take(1, 0, silence("long", "hot", 10 * DAY));
    take(2, 0, silence("other", "cold", 10 * DAY));
    assert_eq!(take(3, 0, silence("short", "hot", DAY)), [1, 2, 3]);
    assert_eq!(take(4, 3 * DAY, silence("new", "hot", 9 * DAY)), [2, 4]);
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

/// The rules that hold after changes that came, each where changes need approval or not.
fn holding(base: &[RuleSpec], needs_approval: bool, came: &[RuleChange]) -> StandingRules {
    let registry = Registry::builtin();
    let base = RuleBase {
        rules: base,
        needs_approval,
        datasets: registry.datasets(),
        windows: None,
    };
    let mut standing = StandingRules::read(base, None).unwrap();
    came.iter().for_each(|change| standing.meet(change.clone()));
    standing
}

#[test]
fn a_version_of_a_rule_has_one_content_and_the_next_one_is_higher() {
    use ChangeKind::{Disable, Put, Remove};
    let of = |version: i32, above: f64| RuleSpec {
        version,
        ..rule("hot", above)
    };
    let put = |version: i32, above: f64| change(Put, "hot", Some(&of(version, above)));
    let base = [of(2, 85.0)];
    let (disabled, removed) = (change(Disable, "hot", None), change(Remove, "hot", None));
    let in_shadow = RuleChange {
        shadow: true,
        ..put(1, 70.0)
    };
    for (came, wanted, refused, instead) in [
        (vec![], put(3, 70.0), None, None),
        // As it is, once more.
        (vec![], put(2, 85.0), None, None),
        (vec![disabled], put(2, 85.0), None, None),
        (vec![], in_shadow.clone(), None, None),
        (vec![in_shadow], put(3, 75.0), None, None),
        (
            vec![],
            put(2, 70.0),
            Some("version 2 is recorded, with another"),
            Some(3),
        ),
        (
            vec![],
            put(1, 85.0),
            Some("version 1 is not higher than 2"),
            Some(3),
        ),
        // Back to what it was only under a new version, and no version is taken again.
        (
            vec![put(7, 70.0)],
            put(2, 85.0),
            Some("not higher than 7"),
            Some(8),
        ),
        (vec![put(7, 70.0)], put(8, 85.0), None, None),
        (
            vec![put(7, 70.0), removed.clone()],
            put(7, 75.0),
            Some("another content"),
            Some(8),
        ),
        (vec![put(7, 70.0), removed], put(7, 70.0), None, None),
        // Records of before may have two contents under one version.
        (
            vec![put(7, 70.0), put(7, 75.0)],
            put(7, 75.0),
            Some("another content"),
            Some(8),
        ),
        (
            vec![put(i32::MAX, 70.0)],
            put(1, 70.0),
            Some("no higher version"),
            None,
        ),
    ] {
        let standing = holding(&base, false, &came);
        let checked = standing.check_version(&wanted);
        match refused {
            None => assert_eq!(checked, Ok(()), "{came:?}, {wanted:?}"),
            Some(why) => {
                let said = checked.unwrap_err();
                let names = ["rule 'hot'", why, "rules history --rule hot"];
                assert!(names.iter().all(|part| said.contains(part)), "{said}");
            }
        }
        let takes = standing.version_instead(&wanted);
        assert_eq!(takes.ok().flatten(), instead, "{came:?}, {wanted:?}");
    }
}

#[test]
fn versions_begin_with_1_and_a_lower_one_that_is_recorded_judges_on() {
    use ChangeKind::{Approve, Put};
    let of = |version: i32, above: f64| RuleSpec {
        version,
        ..rule("hot", above)
    };
    let put = |version: i32, above: f64| change(Put, "hot", Some(&of(version, above)));
    let (none, base) = (holding(&[], false, &[]), [of(-3, 85.0)]);
    let known = holding(&base, false, &[]);
    assert_eq!(known.rules(), base);
    for standing in [&none, &known] {
        for low in [put(0, 70.0), put(-3, 85.0)] {
            let refused = standing.check_version(&low).unwrap_err();
            let is_said = refused.contains("rule 'hot'") && refused.contains("begin with 1");
            assert!(is_said, "{refused}");
        }
        assert_eq!(standing.check_version(&put(1, 70.0)), Ok(()));
    }
    assert_eq!(known.version_instead(&put(0, 70.0)), Ok(Some(1)));
    assert!(none.version_instead(&put(0, 70.0)).is_err());
    // One that waits since before may be approved.
    let waits = put(0, 70.0);
    let standing = holding(&[], true, std::slice::from_ref(&waits));
    let approval = RuleChange {
        actor: "lee".to_owned(),
        ..RuleChange::answering(&waits, Approve, None)
    };
    assert_eq!(standing.check_version(&approval), Ok(()));
}

#[test]
fn a_change_that_waits_has_its_version_until_it_is_rejected() {
    use ChangeKind::{Approve, Put, Reject};
    let of = |version: i32, above: f64| RuleSpec {
        version,
        ..rule("hot", above)
    };
    let put = |version: i32, above: f64| change(Put, "hot", Some(&of(version, above)));
    let answered = |waits: &RuleChange, kind: ChangeKind| RuleChange {
        change_id: format!("{kind:?} of {}", waits.change_id),
        actor: "lee".to_owned(),
        ..RuleChange::answering(waits, kind, None)
    };
    let base = [of(1, 85.0)];
    let (second, third) = (put(2, 70.0), put(3, 75.0));
    let both = [second.clone(), third.clone()];
    let standing = holding(&base, true, &both);
    let refused = standing.check_version(&put(3, 80.0)).unwrap_err();
    assert!(
        refused.contains("waits to be approved") && refused.contains(&third.change_id),
        "{refused}"
    );
    // Each may be approved, until a higher one counts.
    for waits in &both {
        let approval = answered(waits, Approve);
        assert_eq!(standing.check_version(&approval), Ok(()));
        assert_eq!(standing.check_version(&answered(waits, Reject)), Ok(()));
    }
    let came = [&both[..], &[answered(&third, Approve)]].concat();
    let standing = holding(&base, true, &came);
    let refused = standing.check_version(&answered(&second, Approve));
    let refused = refused.unwrap_err();
    assert!(
        refused.contains("2 is not higher than 3, which counts") && refused.contains("reject"),
        "{refused}"
    );
    // What was rejected never judged; within one command, too.
    let came = [&both[..], &[answered(&third, Reject)]].concat();
    let standing = holding(&base, true, &came);
    assert_eq!(standing.check_version(&put(3, 80.0)), Ok(()));
    let mut standing = holding(&base, true, &both);
    standing.check(&answered(&third, Reject)).unwrap();
    assert_eq!(standing.check_version(&put(3, 80.0)), Ok(()));
}
