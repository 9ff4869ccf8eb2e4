//! What is refused, what is meant, and how it is written.

use std::sync::Arc;

use theatre_actors::position::Positions;
use theatre_actors::processor::{ConditionView, ProcessorView, SilenceView};
use theatre_actors::registry::RobotRecordView;
use theatre_actors::rules::RuleSpec;
use theatre_schemas::batch::Batch;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::framing;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::records::Priority;
use theatre_schemas::registry::Registry;

use super::*;

const NOW: LogTime = LogTime(1_767_225_600_000_000);

fn condition(id: &str, rule: &str) -> ConditionView {
    ConditionView {
        rule_id: rule.to_owned(),
        dataset: None,
        priority: Priority::Medium,
        raised_at: 0,
        condition_id: Some(id.to_owned()),
        signal: None,
        message: None,
        acknowledged_by: None,
        acknowledged_at: None,
        assignee: None,
        silenced_until: None,
        escalation: 0,
        is_latched: false,
        is_flapping: false,
        is_stale: false,
    }
}

fn silence(id: &str) -> SilenceView {
    SilenceView {
        silence_id: id.to_owned(),
        rule_id: Some("hot".to_owned()),
        condition_id: None,
        facility_id: None,
        robot_model: None,
        until: NOW.0 + 1,
        hides_high: false,
        actor: "Anna".to_owned(),
        comment: None,
        is_wide: id.starts_with(WIDE),
    }
}

fn robot(id: &str, conditions: Vec<ConditionView>, silences: Vec<SilenceView>) -> ProcessorView {
    ProcessorView {
        robot_id: id.to_owned(),
        clock: None,
        heard_at: None,
        last_event: None,
        conditions,
        silences,
        open_panes: 0,
        missing: 0,
        given_up: 0,
        restarts: 0,
        not_finite: 0,
        positions: Positions::default(),
        counters: Vec::new(),
        procedures: Vec::new(),
        record: RobotRecordView {
            status: "operational".to_owned(),
            serial_number: None,
            robot_model: Some("MX-2".to_owned()),
            manufacturer: None,
            facility_id: Some("FAC-001".to_owned()),
            hardware_revision: None,
            software_version: None,
            firmware_version: None,
            versions: 1,
            operating_hours: 0.0,
            cases: 0,
            last_service: None,
            next_service: None,
        },
    }
}

fn robots() -> Vec<ProcessorView> {
    vec![
        robot(
            "r1",
            vec![condition("abc123", "hot"), condition("abd456", "latching")],
            vec![silence("act_1"), silence("all_2")],
        ),
        robot(
            "r2",
            vec![condition("fff789", "hot")],
            vec![silence("all_2")],
        ),
    ]
}

fn rules() -> Vec<RuleSpec> {
    let rule = |id: &str, latch: bool| {
        serde_json::from_value(json!({
            "id": id, "priority": "medium", "latch": latch,
            "kind": {"threshold": {"signal": "s", "raise_above": 1.0, "clear_below": 0.5}},
        }))
        .unwrap()
    };
    vec![rule("hot", false), rule("latching", true)]
}

fn why<T: std::fmt::Debug>(refused: std::result::Result<T, Refusal>) -> String {
    match refused.unwrap_err() {
        Refusal::Missing(why) | Refusal::Wrong(why) => why,
    }
}

#[test]
fn a_condition_is_named_by_as_much_of_its_id_as_no_other_has() {
    let (robots, rules) = (robots(), rules());
    let known = Known::new(robots.iter(), &rules);
    for (id, robot) in [("abc", "r1"), ("abc123", "r1"), ("f", "r2")] {
        assert_eq!(known.condition(id).unwrap().0, robot, "{id}");
    }
    for (id, said) in [
        ("ab", "2 open conditions"),
        ("abc12x", "did you mean abc123"),
        ("r1", "--robot"),
        (
            "zzzzzzzz",
            "it has ended, or never was; open are abc123 (hot on r1)",
        ),
        ("", "no open condition has the id ''"),
    ] {
        let refused = why(known.condition(id));
        assert!(refused.contains(said), "{id}: {refused}");
    }
    let none = Known::new(robots.iter().take(0), &rules);
    assert!(why(none.condition("abc123")).ends_with("none is open"));
    assert_eq!(known.conditions_of("r1", None).unwrap().len(), 2);
    assert_eq!(known.conditions_of("r1", Some("hot")).unwrap(), ["abc123"]);
    let refused = why(known.conditions_of("r2", Some("latching")));
    assert!(refused.contains("open are fff789"), "{refused}");
    assert!(why(known.conditions_of("r3", None)).contains("did you mean"));
}

#[test]
fn only_conditions_of_rules_that_latch_are_closed() {
    let (robots, rules) = (robots(), rules());
    let known = Known::new(robots.iter(), &rules);
    let close = |id: &str| known.to_condition(id, |condition| Deed::Close { condition });
    let condition = "abd456".to_owned();
    assert_eq!(
        close("abd").unwrap(),
        (Some("r1".to_owned()), Deed::Close { condition })
    );
    assert!(why(close("abc")).contains("does not latch"));
    // It latched by its rule as it was then.
    let mut latched = robots.clone();
    latched[0].conditions[0].is_latched = true;
    let known = Known::new(latched.iter(), &rules);
    assert!(
        known
            .to_condition("abc", |condition| Deed::Close { condition })
            .is_ok()
    );
}

#[test]
fn a_silence_that_means_nothing_is_refused_with_what_may_have_been_meant() {
    let (robots, rules) = (robots(), rules());
    let known = Known::new(robots.iter(), &rules);
    let wish = |change: &dyn Fn(&mut SilenceWish)| {
        let mut wish = SilenceWish {
            lasts: Some("2h".to_owned()),
            reason: "calibration".to_owned(),
            ..SilenceWish::default()
        };
        change(&mut wish);
        known.silence(&wish, NOW)
    };
    let said = |text: &str| Some(text.to_owned());
    type Change<'a> = &'a dyn Fn(&mut SilenceWish);
    let wrong: [(Change<'_>, &str); 12] = [
        (&|_| {}, "name a robot"),
        (&|wish| wish.robot = said("r9"), "did you mean r1, r2?"),
        (&|wish| wish.rule = said("hott"), "did you mean hot?"),
        (
            &|wish| wish.facility = said("FAC-002"),
            "did you mean FAC-001?",
        ),
        (&|wish| wish.model = said("MX-3"), "did you mean MX-2?"),
        (
            &|wish| wish.condition = said("nothing"),
            "no open condition",
        ),
        (
            &|wish| (wish.robot, wish.condition) = (said("r2"), said("abc123")),
            "is on robot 'r1'",
        ),
        (
            &|wish| (wish.robot, wish.model) = (said("r2"), said("MX-2")),
            "leave one out",
        ),
        (
            &|wish| (wish.robot, wish.reason) = (said("r1"), " ".to_owned()),
            "needs a reason",
        ),
        (
            &|wish| (wish.robot, wish.lasts) = (said("r1"), None),
            "needs an end",
        ),
        (
            &|wish| (wish.robot, wish.lasts) = (said("r1"), said("91d")),
            "90 days",
        ),
        (
            &|wish| {
                wish.robot = said("r1");
                (wish.lasts, wish.until) = (None, said("2025-12-31T23:59:59Z"));
            },
            "before it begins",
        ),
    ];
    for (change, because) in wrong {
        let refused = why(wish(change));
        assert!(refused.contains(because), "{refused}");
    }
    let of = |change: Change<'_>| wish(change).unwrap();
    let (robot, deed) = of(&|wish| wish.condition = said("fff"));
    let Deed::Silence(scope) = deed else {
        panic!("{deed:?}")
    };
    assert_eq!(robot.as_deref(), Some("r2"));
    assert_eq!(scope.condition.as_deref(), Some("fff789"));
    assert_eq!(scope.until.0 - NOW.0, 7_200_000_000);
    for wide in [
        (&|wish: &mut SilenceWish| wish.rule = said("robot_silent")) as Change<'_>,
        &|wish| wish.facility = said("FAC-001"),
    ] {
        assert_eq!(of(wide).0, None, "for all robots");
    }
}

#[test]
fn a_silence_is_taken_back_where_it_was_made() {
    let (robots, rules) = (robots(), rules());
    let known = Known::new(robots.iter(), &rules);
    let of = |id: &str| known.unsilence(id).map(|(robot, _)| robot);
    assert_eq!(of("act_1"), Ok(Some("r1".to_owned())));
    assert_eq!(of("all_2"), Ok(None));
    assert_eq!(of("all"), Ok(None));
    assert!(why(of("a")).contains("give more of it"));
    assert!(why(of("act_2")).contains("did you mean act_1"));
    // One robot is left that knows of it: it was made for all all the same.
    let alone = Known::new(robots.iter().skip(1), &rules);
    assert_eq!(alone.unsilence("all_2").unwrap().0, None);
}

/// A record as the pipeline reads it.
fn read(value: &[u8]) -> Batch {
    let registry = Registry::builtin();
    let (id, datum) = framing::parse(value).unwrap();
    let writer = registry.lookup(id).unwrap();
    let dataset = registry.datasets().get(writer.dataset_index).clone();
    let pseudonyms = Arc::new(Pseudonyms::new([1; 32]));
    let mut builder = BatchBuilder::new(dataset, writer.dataset_index, pseudonyms);
    builder.push(&writer.plan, datum, 0, 0).unwrap();
    builder.finish().unwrap()
}

#[test]
fn a_wide_action_is_written_once_into_every_partition_and_another_one_into_its_robots() {
    let mut action = Action {
        id: new_id(true),
        at: NOW,
        actor: "Anna".to_owned(),
        robot: None,
        deed: Deed::Silence(Scope {
            condition: None,
            rule: None,
            facility: Some("FAC-001".to_owned()),
            model: None,
            until: LogTime(NOW.0 + 5),
            hides_high: true,
        }),
        comment: Some("calibration".to_owned()),
    };
    let records = record::records(&action, 3).unwrap();
    assert_eq!(records.len(), 3);
    for (number, (partition, record)) in (0..).zip(&records) {
        let key = format!("@partition/{number}");
        assert_eq!(
            (*partition, record.key.as_slice()),
            (number, key.as_bytes())
        );
        let batch = read(&record.value);
        let text = |name: &str| batch.text(batch.dataset.column(name).unwrap(), 0);
        let number = |name: &str| batch.int(batch.dataset.column(name).unwrap(), 0);
        let flag = |name: &str| batch.number(batch.dataset.column(name).unwrap(), 0);
        assert_eq!(batch.robot_id(0), key);
        assert_eq!(batch.event_times(), [NOW.0]);
        assert_eq!(text("action"), Some("silence"));
        assert_eq!(text("action_id"), Some(action.id.as_str()));
        assert_eq!(text("actor"), Some("Anna"));
        assert_eq!(text("facility_id"), Some("FAC-001"));
        assert_eq!(text("rule_id"), None);
        assert_eq!(text("comment"), Some("calibration"));
        assert_eq!(number("until"), Some(NOW.0 + 5));
        assert_eq!(flag("hides_high"), Some(1.0));
    }
    action.robot = Some("r1".to_owned());
    action.deed = Deed::Assign {
        condition: "abc123".to_owned(),
        assignee: Some("Ben".to_owned()),
    };
    let records = record::records(&action, 3).unwrap();
    let [(partition, record)] = records.as_slice() else {
        panic!("{records:?}")
    };
    let wanted = theatre_actors::partitioner::partition_of(b"r1", 3);
    assert_eq!(
        (*partition, record.key.as_slice()),
        (wanted, b"r1".as_slice())
    );
    let batch = read(&record.value);
    let text = |name: &str| batch.text(batch.dataset.column(name).unwrap(), 0);
    assert_eq!(text("condition_id"), Some("abc123"));
    assert_eq!(text("assignee"), Some("Ben"));
}

#[test]
fn ids_are_unique_and_tell_for_whom_an_action_is() {
    assert_ne!(new_id(false), new_id(false));
    assert!(new_id(true).starts_with(WIDE) && new_id(false).len() == 36);
}

#[test]
fn an_action_that_is_kept_is_read_as_it_was() {
    let of = |deed| Action {
        id: new_id(false),
        at: NOW,
        actor: "Anna".to_owned(),
        robot: Some("r1".to_owned()),
        deed,
        comment: None,
    };
    let silence = Deed::Silence(Scope {
        condition: None,
        rule: Some("hot".to_owned()),
        facility: None,
        model: None,
        until: LogTime(NOW.0 + 5),
        hides_high: true,
    });
    let assign = Deed::Assign {
        condition: "c".to_owned(),
        assignee: None,
    };
    for action in [of(silence), of(assign)] {
        let kept = serde_json::to_vec(&action).unwrap();
        assert_eq!(serde_json::from_slice::<Action>(&kept).unwrap(), action);
    }
}

#[test]
fn a_silence_is_refused_where_there_are_as_many_as_can_be() {
    let rules = rules();
    let (of_robot, of_facility, of_all) = (
        (false, None),
        (true, Some("FAC-001".to_owned())),
        (true, None),
    );
    let of = |count: usize, (is_wide, facility): &(bool, Option<String>)| {
        let (is_wide, facility) = (*is_wide, facility.clone());
        let one = |number: usize| SilenceView {
            facility_id: facility.clone(),
            condition_id: Some(format!("c{number}")),
            is_wide,
            ..silence(&format!("{}{number}", if is_wide { WIDE } else { "act_" }))
        };
        robot(
            "r1",
            vec![condition("c1", "hot"), condition("d1", "hot")],
            (0..count).map(one).collect(),
        )
    };
    let said = |text: &str| Some(text.to_owned());
    let wish = |change: &dyn Fn(&mut SilenceWish)| {
        let mut wish = SilenceWish {
            lasts: said("2h"),
            reason: "calibration".to_owned(),
            ..SilenceWish::default()
        };
        change(&mut wish);
        wish
    };
    let (own, site, wide) = (
        wish(&|wish| wish.robot = said("r1")),
        wish(&|wish| wish.facility = said("FAC-001")),
        wish(&|wish| wish.model = said("MX-2")),
    );
    let full_site = "there are 64 silences of the facility 'FAC-001' already";
    for (count, standing, wish, because) in [
        (63, &of_robot, &own, None),
        (
            64,
            &of_robot,
            &own,
            Some("the robot has 64 silences already"),
        ),
        (64, &of_robot, &site, None),
        (64, &of_robot, &wide, None),
        (64, &of_facility, &own, None),
        (64, &of_facility, &site, Some(full_site)),
        (64, &of_facility, &wide, None),
        (64, &of_all, &own, None),
        (64, &of_all, &site, None),
        (
            64,
            &of_all,
            &wide,
            Some("64 silences for all robots already"),
        ),
    ] {
        let robots = [of(count, standing)];
        let known = Known::new(robots.iter(), &rules);
        let refused = known.silence(wish, NOW).map_err(|refusal| match refusal {
            Refusal::Missing(why) | Refusal::Wrong(why) => why,
        });
        match because {
            None => assert!(refused.is_ok(), "{refused:?}"),
            Some(because) => assert!(refused.unwrap_err().contains(because)),
        }
    }
    // What has ended takes no room.
    let mut ended = of(64, &of_robot);
    ended.silences[0].until = NOW.0;
    assert!(
        Known::new([ended].iter(), &rules)
            .silence(&own, NOW)
            .is_ok()
    );
    // One about the same conditions takes the place of the one before.
    let mut full = of(64, &of_robot);
    let standing = &mut full.silences[1];
    (standing.rule_id, standing.condition_id) = (None, said("c1"));
    let robots = [full];
    let known = Known::new(robots.iter(), &rules);
    assert!(
        known
            .silence(&wish(&|wish| wish.condition = said("c1")), NOW)
            .is_ok()
    );
    assert!(
        known
            .silence(&wish(&|wish| wish.condition = said("d1")), NOW)
            .is_err()
    );
}
