//! Actions on all robots: each acts once, and none is forgotten.

use super::*;

/// An action for all robots, appended at so many seconds.
fn act(offset: u64, id: &str, verb: &str, at: i64, fields: &[(&str, Value)]) -> Arc<Batch> {
    let mut all = vec![
        ("robot_id", text(&control::name(0))),
        ("actor", text("dana")),
        ("action_id", text(id)),
        ("action", Value::Enum(0, verb.to_owned())),
    ];
    if verb == "silence" {
        all.push(("until", Value::TimestampMicros(NOW + 500_000 * S)));
    }
    all.extend(fields.iter().cloned());
    record_of("alert_actions", offset, (NOW + at * S, NOW + at * S), &all)
}

#[test]
fn an_action_on_all_robots_acts_once_also_over_restarts_and_for_robots_that_are_behind() {
    use Transition::{Acknowledged, Raised, Unacknowledged};
    for restarts in [false, true] {
        let mut fleet = Fleet::new();
        let restart = |fleet: &mut Fleet| {
            if restarts {
                fleet.restart();
            }
        };
        fleet.rows(&[(1, 90.0)]);
        fleet.say(ACTIONS, &act(0, "a", "acknowledge", 50, &[]));
        restart(&mut fleet);
        fleet.say(ACTIONS, &act(1, "b", "unacknowledge", 51, &[]));
        let behind = fleet.robot.snapshot();
        let again = act(2, "a", "acknowledge", 52, &[]);
        fleet.say(ACTIONS, &again);
        restart(&mut fleet);
        let expected = [
            at("hot", Raised, 1),
            at("hot", Acknowledged, 50),
            at("hot", Unacknowledged, 51),
        ];
        assert_eq!(fleet.emitted(), expected, "restarts: {restarts}");
        // The robot was not saved when the process was killed, the partition's actor was.
        let robot = Processor::restore("r", &behind, config_of_book()).unwrap();
        fleet.robot = robot.under(&fleet.book);
        fleet.robot.apply(ACTIONS, &again, &[0], &mut fleet.outputs);
        assert_eq!(fleet.emitted(), []);
        // A day later it is another one.
        fleet.say(ACTIONS, &act(3, "a", "acknowledge", 90_000, &[]));
        assert_eq!(fleet.emitted(), [at("hot", Acknowledged, 90_000)]);
        assert!(fleet.outputs.dead.is_empty());
        assert_eq!(
            fleet.actor.counters()[ACTIONS].applied,
            4,
            "each is accounted"
        );
    }
}

/// A robot that appears when so many actions were read.
fn late(fleet: &Fleet, read: u64) -> Processor {
    let mut after = Positions::from(vec![0; 11]);
    after.advance(ACTIONS, read);
    Processor::begun("late", config_of_book(), &fleet.book, &after)
}

#[test]
fn what_was_taken_back_does_not_come_back_with_a_repetition() {
    let mut fleet = Fleet::new();
    fleet.say(ACTIONS, &act(0, "a", "silence", 50, &[]));
    fleet.say(ACTIONS, &act(1, "b", "unsilence", 51, &[]));
    fleet.say(ACTIONS, &act(2, "a", "silence", 52, &[]));
    assert!(fleet.robot.view().silences.is_empty());
    let late = late(&fleet, 3);
    assert!(late.view().silences.is_empty());
}

#[test]
fn silences_for_all_are_as_many_as_every_robot_can_keep_and_none_is_forgotten() {
    let mut fleet = Fleet::new();
    let silence = |offset: u64| {
        let model = text(&format!("M-{offset:03}"));
        act(
            offset,
            &format!("s{offset}"),
            "silence",
            50,
            &[("robot_model", model)],
        )
    };
    // The robot has as many of its own as it can.
    for own in 0..SILENCES_MAX as u64 {
        let condition = [("condition_id", text(&format!("c{own}")))];
        let batch = alerting::action(own, "silence", &condition);
        fleet.robot.apply(ACTIONS, &batch, &[0], &mut fleet.outputs);
    }
    let first = SILENCES_MAX as u64;
    for offset in first..2 * first {
        fleet.say(ACTIONS, &silence(offset));
    }
    assert!(fleet.outputs.dead.is_empty());
    let count = |fleet: &Fleet| fleet.robot.view().silences.len();
    assert_eq!(count(&fleet), 2 * SILENCES_MAX);
    let behind = fleet.robot.snapshot();
    let refused = silence(2 * first);
    fleet.say(ACTIONS, &refused);
    assert_eq!(fleet.outputs.dead.len(), 1);
    let why = &fleet.outputs.dead[0].detail;
    assert!(
        why.contains("64 silences for all robots") && why.contains("take one back"),
        "{why}"
    );
    assert_eq!(count(&fleet), 2 * SILENCES_MAX);
    // A robot that is behind does not take it either, nor does one that appears later.
    fleet.restart();
    let robot = Processor::restore("r", &behind, config_of_book()).unwrap();
    fleet.robot = robot.under(&fleet.book);
    fleet
        .robot
        .apply(ACTIONS, &refused, &[0], &mut fleet.outputs);
    assert_eq!(count(&fleet), 2 * SILENCES_MAX);
    assert_eq!(
        late(&fleet, 2 * first + 1).view().silences.len(),
        SILENCES_MAX
    );
    // One is taken back; then the same one is taken.
    let back = act(
        2 * first + 1,
        "back",
        "unsilence",
        60,
        &[("silence_id", text("s64"))],
    );
    fleet.say(ACTIONS, &back);
    let model = text("M-128");
    let again = act(
        2 * first + 2,
        "s128",
        "silence",
        61,
        &[("robot_model", model)],
    );
    fleet.say(ACTIONS, &again);
    assert_eq!(count(&fleet), 2 * SILENCES_MAX);
    let ids: Vec<String> = (fleet.robot.view().silences.into_iter())
        .map(|silence| silence.silence_id)
        .collect();
    assert!(ids.contains(&"s128".to_owned()) && !ids.contains(&"s64".to_owned()));
}

#[test]
fn a_facility_that_has_silenced_all_it_can_takes_no_room_from_the_others() {
    let mut fleet = Fleet::new();
    let silence = |offset: u64, facility: &str| {
        let names = [
            ("facility_id", text(facility)),
            ("rule_id", text(&format!("rule-{offset}"))),
        ];
        act(offset, &format!("s{offset}"), "silence", 50, &names)
    };
    let most = SILENCES_MAX as u64;
    for offset in 0..=most {
        fleet.say(ACTIONS, &silence(offset, "FAC-1"));
    }
    let [dead] = &fleet.outputs.dead[..] else {
        panic!("{:?}", fleet.outputs.dead);
    };
    assert!(dead.detail.contains("facility 'FAC-1'"), "{}", dead.detail);
    fleet.say(ACTIONS, &silence(most + 1, "FAC-2"));
    let of_model = [("robot_model", text("M"))];
    fleet.say(ACTIONS, &act(most + 2, "m", "silence", 50, &of_model));
    assert_eq!(fleet.outputs.dead.len(), 1);
    let silences = fleet.robot.view().silences;
    assert_eq!(silences.len(), SILENCES_MAX + 2);
    // The same for who appears later, and after a restart.
    assert_eq!(late(&fleet, most + 3).view().silences, silences);
    fleet.restart();
    assert_eq!(late(&fleet, most + 3).view().silences, silences);
}
