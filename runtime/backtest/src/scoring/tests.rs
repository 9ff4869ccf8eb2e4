use theatre_schemas::records::Priority;

use super::*;

const DAY: i64 = 86_400_000_000;
/// Ten days, and the data lasts a hundred.
const HORIZON: i64 = 10 * DAY;
const PERIOD: (i64, i64) = (0, 100 * DAY);

fn condition(rule: &str, raised: i64, cleared: Option<i64>) -> ConditionSpan {
    ConditionSpan {
        condition_id: format!("{rule}@{raised}"),
        robot_id: "r".to_owned(),
        rule_id: rule.to_owned(),
        rule_version: 1,
        priority: Priority::Low,
        raised_at: raised * DAY,
        cleared_at: cleared.map(|at| at * DAY),
        alerts: 1 + u32::from(cleared.is_some()),
    }
}

fn happened(days: &[i64]) -> Vec<Happening> {
    let at = |day: &i64| Happening {
        at: day * DAY,
        what: "fault".to_owned(),
    };
    days.iter().map(at).collect()
}

/// Conditions of a rule on one robot, by the days on which they were raised, and incidents.
fn scored(raised: &[i64], unplanned: &[i64], planned: &[i64]) -> Score {
    let robot = RobotRecord {
        robot_id: "r".to_owned(),
        observed: Some(PERIOD),
        conditions: raised
            .iter()
            .map(|at| condition("a", *at, Some(at + 1)))
            .collect(),
        unplanned: happened(unplanned),
        planned: happened(planned),
    };
    score(&[robot], &rules(&["a"]), PERIOD, HORIZON)
}

fn rules(ids: &[&str]) -> Vec<ScoredRule> {
    let rule = |id: &&str| ScoredRule {
        rule_id: (*id).to_owned(),
        is_built_in: id.starts_with('_'),
    };
    ids.iter().map(rule).collect()
}

#[test]
fn what_follows_a_condition_within_the_horizon_counts() {
    // Days of conditions, of incidents, of planned services; followed, not, serviced, undecided;
    // seen, unseen, too early.
    type Row<'a> = (&'a [i64], &'a [i64], &'a [i64], [u64; 4], [u64; 3]);
    let table: [Row<'_>; 14] = [
        (&[20], &[25], &[], [1, 0, 0, 0], [1, 0, 0]),
        (&[20], &[20], &[], [1, 0, 0, 0], [1, 0, 0]),
        (&[20], &[30], &[], [1, 0, 0, 0], [1, 0, 0]),
        (&[20], &[31], &[], [0, 1, 0, 0], [0, 1, 0]),
        (&[20], &[19], &[], [0, 1, 0, 0], [0, 1, 0]),
        (&[20], &[], &[25], [0, 1, 1, 0], [0, 0, 0]),
        (&[20], &[], &[31], [0, 1, 0, 0], [0, 0, 0]),
        // A service that was planned beside a fault changes nothing.
        (&[20], &[26], &[25], [1, 0, 0, 0], [1, 0, 0]),
        (&[20, 22, 24], &[25], &[], [3, 0, 0, 0], [1, 0, 0]),
        // A fault and its service are one incident; two days later it is another.
        (&[20], &[25, 26], &[], [1, 0, 0, 0], [1, 0, 0]),
        (&[20], &[25, 27], &[], [1, 0, 0, 0], [2, 0, 0]),
        // At the end: not known unless it has happened.
        (&[90], &[], &[], [0, 1, 0, 0], [0, 0, 0]),
        (&[91, 95], &[94], &[], [1, 0, 0, 1], [1, 0, 0]),
        // At the beginning.
        (&[], &[9, 10], &[], [0, 0, 0, 0], [0, 0, 1]),
    ];
    for (raised, unplanned, planned, conditions, incidents) in table {
        let score = scored(raised, unplanned, planned);
        let of = &score.all;
        let counted = [of.followed, of.not_followed, of.serviced, of.undecided];
        assert_eq!(counted, conditions, "{raised:?} {unplanned:?} {planned:?}");
        let found = [
            of.incidents_seen,
            score.unseen.len() as u64,
            score.too_early,
        ];
        assert_eq!(found, incidents, "{raised:?} {unplanned:?} {planned:?}");
        assert_eq!(of.conditions, raised.len() as u64);
        assert_eq!(score.rules[0].followed, of.followed);
    }
}

#[test]
fn an_incident_that_nothing_announced_is_named() {
    let score = scored(&[20], &[25, 50], &[]);
    let named: Vec<(i64, &str)> = score
        .unseen
        .iter()
        .map(|incident| (incident.at / DAY, incident.what.as_str()))
        .collect();
    assert_eq!(named, [(50, "fault")]);
    assert_eq!(score.incidents, 2);
    assert_eq!(score.all.recall, Some(0.5));
}

#[test]
fn shares_are_of_those_whose_horizon_is_inside_the_data() {
    // Day 95 is followed, but had nothing come by day 100, it would not count either.
    let score = scored(&[20, 40, 95], &[5, 25, 96], &[]);
    assert_eq!(score.all.followed, 2);
    assert_eq!(score.all.precision, Some(0.5));
    // Day 5 is unseen, but a condition of day -3 would not be known.
    assert_eq!(score.all.recall, Some(1.0));
    let nothing = scored(&[], &[], &[]);
    assert_eq!((nothing.all.precision, nothing.all.recall), (None, None));
    assert_eq!(nothing.all.lead_time_s, None);
}

#[test]
fn lead_times_have_quartiles_between_their_values() {
    let day = 86_400.0;
    for (raised, quarters) in [
        (&[20][..], [5.0, 5.0, 5.0]),
        (&[20, 24][..], [2.0, 3.0, 4.0]),
        (&[16, 20, 21, 24, 25][..], [1.0, 4.0, 5.0]),
    ] {
        let lead = scored(raised, &[25], &[]).all.lead_time_s.unwrap();
        assert_eq!(
            [lead.p25, lead.median, lead.p75],
            quarters.map(|days| days * day),
            "{raised:?}"
        );
    }
}

#[test]
fn open_time_counts_once_and_within_what_was_observed() {
    // Conditions from and to; observed from and to; days open.
    type Row<'a> = (&'a [(i64, Option<i64>)], (i64, i64), i64);
    let table: [Row<'_>; 6] = [
        (&[(10, Some(20))], (0, 100), 10),
        (&[(10, Some(20)), (15, Some(30))], (0, 100), 20),
        (&[(10, Some(30)), (15, Some(20))], (0, 100), 20),
        (&[(10, None)], (0, 60), 50),
        (&[(10, Some(20)), (30, Some(40))], (15, 35), 10),
        (&[(10, Some(20))], (50, 60), 0),
    ];
    for (spans, observed, open) in table {
        let robot = RobotRecord {
            observed: Some((observed.0 * DAY, observed.1 * DAY)),
            conditions: spans
                .iter()
                .map(|(from, to)| condition("a", *from, *to))
                .collect(),
            ..RobotRecord::default()
        };
        // A second robot without conditions is observed, too.
        let quiet = RobotRecord {
            observed: robot.observed,
            ..RobotRecord::default()
        };
        let score = score(&[robot, quiet], &rules(&["a"]), PERIOD, HORIZON);
        let share = open as f64 / (2 * (observed.1 - observed.0)) as f64;
        assert_eq!(score.all.open_share, Some(share), "{spans:?}");
    }
}

#[test]
fn alerts_are_counted_by_robot_and_month() {
    let robot = RobotRecord {
        observed: Some((0, 60 * DAY)),
        conditions: vec![condition("a", 10, Some(11)), condition("a", 20, None)],
        ..RobotRecord::default()
    };
    let quiet = RobotRecord {
        observed: Some((0, 30 * DAY)),
        ..RobotRecord::default()
    };
    let score = score(&[robot, quiet], &rules(&["a"]), PERIOD, HORIZON);
    assert_eq!(score.all.alerts, 3);
    assert_eq!(score.all.alerts_per_robot_month, Some(1.0));
    assert_eq!(score.all.robots, 1);
}

#[test]
fn rules_are_scored_apart_and_built_in_ones_announce_nothing_for_the_file() {
    let robot = RobotRecord {
        robot_id: "r".to_owned(),
        observed: Some(PERIOD),
        conditions: vec![
            condition("a", 20, None),
            condition("b", 24, None),
            condition("_silent", 49, None),
        ],
        unplanned: happened(&[25, 50]),
        planned: Vec::new(),
    };
    let listed = rules(&["a", "b", "c", "_silent", "_skew"]);
    let score = score(&[robot], &listed, PERIOD, HORIZON);
    let by_rule: Vec<(&str, u64, u64)> = score
        .rules
        .iter()
        .map(|rule| (rule.rule_id.as_str(), rule.followed, rule.incidents_seen))
        .collect();
    assert_eq!(
        by_rule,
        [("a", 1, 1), ("b", 1, 1), ("c", 0, 0), ("_silent", 1, 1)]
    );
    assert_eq!((score.all.followed, score.all.incidents_seen), (2, 1));
    assert_eq!(score.unseen.len(), 1);
}

#[test]
fn robots_do_not_announce_each_others_faults() {
    let with = |conditions: Vec<ConditionSpan>, unplanned: &[i64]| RobotRecord {
        observed: Some(PERIOD),
        conditions,
        unplanned: happened(unplanned),
        ..RobotRecord::default()
    };
    let robots = [
        with(vec![condition("a", 20, None)], &[]),
        with(Vec::new(), &[25]),
    ];
    let score = score(&robots, &rules(&["a"]), PERIOD, HORIZON);
    assert_eq!((score.all.followed, score.all.not_followed), (0, 1));
    assert_eq!(score.unseen.len(), 1);
}
