//! Rules that follow conditions which flap or are latched.

use super::*;

/// A rule that follows others.
pub(super) fn follower(id: &str, kind: serde_json::Value) -> RuleSpec {
    let rule = serde_json::json!({"id": id, "priority": "low", "kind": kind});
    serde_json::from_value(rule).unwrap()
}

/// A combination of nothing but the condition on heat.
pub(super) fn also() -> RuleSpec {
    follower("also", serde_json::json!({"combination": {"of": "hot"}}))
}

/// What was emitted since the last call: of which rule, how and when (seconds).
fn emitted_of(robot: &mut Robot) -> Vec<(String, Transition, i64)> {
    let emitted = alerts(&robot.outputs).into_iter();
    robot.outputs.events.clear();
    emitted
        .map(|it| (it.rule_id, it.transition, (it.event_time - NOW) / S))
        .collect()
}

fn of(given: &[(&str, Transition, i64)]) -> Vec<(String, Transition, i64)> {
    let given = given.iter();
    given
        .map(|(rule, how, at)| ((*rule).to_owned(), *how, *at))
        .collect()
}

fn restart(robot: &mut Robot, rules: &[RuleSpec]) {
    let saved = robot.processor.snapshot();
    robot.processor = Processor::restore("r", &saved, with_rules(rules)).unwrap();
}

#[test]
fn what_follows_a_condition_is_quiet_while_that_flaps() {
    use Transition::{Cleared, Flapping, Raised, Settled};
    let rules = [flapping(), also()];
    let turns = |from: i64, to: i64| -> Vec<(i64, f64)> {
        let turn = |at: i64| (at, if at % 2 == 1 { 90.0 } else { 70.0 });
        (from..to).map(turn).collect()
    };
    for restarts in [false, true] {
        let mut robot = Robot::new(&rules);
        let rows = |robot: &mut Robot, samples: &[(i64, f64)]| {
            for sample in samples.chunks(if restarts { 1 } else { samples.len() }) {
                robot.rows(sample);
                if restarts {
                    restart(robot, &rules);
                }
            }
        };
        rows(&mut robot, &turns(1, 12));
        let before_it_flaps = [
            ("hot", Raised, 1),
            ("also", Raised, 1),
            ("hot", Cleared, 2),
            ("also", Cleared, 2),
            ("hot", Raised, 3),
            ("also", Raised, 3),
            ("hot", Flapping, 4),
        ];
        assert_eq!(emitted_of(&mut robot), of(&before_it_flaps));
        rows(&mut robot, &[(35, 90.0), (36, 90.0), (37, 70.0)]);
        let settled = [
            ("hot", Settled, 31),
            ("hot", Cleared, 37),
            ("also", Cleared, 37),
        ];
        assert_eq!(emitted_of(&mut robot), of(&settled));
        // Over when it is quiet.
        rows(&mut robot, &turns(101, 111));
        emitted_of(&mut robot);
        rows(&mut robot, &[(134, 70.0), (135, 70.0)]);
        let over = [("hot", Cleared, 130), ("also", Cleared, 130)];
        assert_eq!(emitted_of(&mut robot), of(&over));
    }
}

#[test]
fn what_follows_a_latched_condition_is_open_until_that_is_closed() {
    use Transition::{Cleared, Latched, Raised, Updated};
    let latching = RuleSpec {
        latch: true,
        ..hot_rule()
    };
    let rules = [latching.clone(), also()];
    for restarts in [false, true] {
        let mut robot = Robot::new(&rules);
        robot.rows(&[(1, 90.0), (2, 70.0), (3, 90.0), (4, 70.0)]);
        let latched = [
            ("hot", Raised, 1),
            ("also", Raised, 1),
            ("hot", Latched, 2),
            ("hot", Updated, 3),
            ("hot", Latched, 4),
        ];
        assert_eq!(emitted_of(&mut robot), of(&latched));
        if restarts {
            restart(&mut robot, &rules);
        }
        robot.act("close", &[]);
        // The person closed it at 50 s; the robot's clock stands at 4 s.
        let closed = [("hot", Cleared, 50), ("also", Cleared, 4)];
        assert_eq!(emitted_of(&mut robot), of(&closed));
        // Closed before its cause is over, it ends with that.
        robot.rows(&[(60, 90.0)]);
        robot.act("close", &[]);
        robot.rows(&[(61, 70.0)]);
        let ended = [
            ("hot", Raised, 60),
            ("also", Raised, 60),
            ("hot", Updated, 50),
            ("hot", Cleared, 61),
            ("also", Cleared, 61),
        ];
        assert_eq!(emitted_of(&mut robot), of(&ended));
    }
    // A combination that is new knows what is latched, and what only another rule kept open ends.
    let mut robot = Robot::new(&rules[..1]);
    robot.rows(&[(1, 90.0), (2, 70.0)]);
    emitted_of(&mut robot);
    restart(&mut robot, &rules);
    robot.rows(&[(3, 70.0)]);
    assert_eq!(emitted_of(&mut robot), of(&[("also", Raised, 2)]));
    restart(&mut robot, &[hot_rule(), also()]);
    robot.rows(&[(4, 70.0)]);
    let ended = [("hot", Cleared, 2), ("also", Cleared, 3)];
    assert_eq!(emitted_of(&mut robot), of(&ended));
}
