mod kinds;

use theatre_schemas::records::{Priority, Transition};
use theatre_schemas::registry::Registry;

use super::*;

fn threshold(hold: &str) -> RuleSpec {
    let kind = RuleKind::Threshold {
        signal: "motor_temperature".into(),
        raise_above: Some(85.0),
        clear_below: Some(80.0),
        raise_below: None,
        clear_above: None,
        hold: Micros::parse(hold).unwrap(),
        clear_after: Micros(0),
        escalate: vec![Escalation {
            at: 95.0,
            priority: Priority::High,
        }],
        count: None,
    };
    RuleSpec {
        dataset: Some("fleet_telemetry".into()),
        ..RuleSpec::new("hot", Priority::Low, kind)
    }
}

fn moves(spec: RuleSpec, values: &[(i64, Option<f64>)]) -> Vec<(i64, Transition)> {
    let set = RuleSet::compile(&[spec], Registry::builtin().datasets()).unwrap();
    let mut condition = Condition::default();
    let changes = values.iter().filter_map(|(time, value)| {
        condition.evaluate(&set.rules()[0], *value, *time, Manner::Next)
    });
    changes
        .map(|change| (change.event_time, change.transition))
        .collect()
}

#[test]
fn a_threshold_raises_above_one_limit_and_clears_below_another() {
    let values = [
        (1, Some(85.0)),
        (2, Some(85.1)),
        (3, Some(81.0)),
        (4, Some(90.0)),
        (5, Some(79.9)),
        (6, Some(70.0)),
    ];
    assert_eq!(
        moves(threshold("0s"), &values),
        [(2, Transition::Raised), (5, Transition::Cleared)]
    );
}

#[test]
fn a_missing_value_is_no_news() {
    let values = [(1, Some(90.0)), (2, None), (3, Some(90.0)), (4, None)];
    assert_eq!(moves(threshold("0s"), &values), [(1, Transition::Raised)]);
}

#[test]
fn an_escalation_is_told_once_and_only_upwards() {
    let values = [
        (1, Some(90.0)),
        (2, Some(96.0)),
        (3, Some(97.0)),
        (4, Some(90.0)),
        (5, Some(96.0)),
        (6, Some(10.0)),
    ];
    assert_eq!(
        moves(threshold("0s"), &values),
        [
            (1, Transition::Raised),
            (2, Transition::Updated),
            (6, Transition::Cleared)
        ]
    );
}

#[test]
fn what_is_beyond_an_escalation_at_once_is_raised_with_its_priority() {
    let set = RuleSet::compile(&[threshold("0s")], Registry::builtin().datasets()).unwrap();
    let mut condition = Condition::default();
    let raised = condition
        .evaluate(&set.rules()[0], Some(99.0), 1, Manner::Next)
        .unwrap();
    assert_eq!(
        (raised.transition, condition.raised()),
        (Transition::Raised, Some((1, Priority::High)))
    );
    assert_eq!(
        condition.evaluate(&set.rules()[0], Some(99.5), 2, Manner::Next),
        None
    );
}

#[test]
fn a_threshold_from_below_is_the_mirror_of_one_from_above() {
    let mut spec = threshold("0s");
    let (signal, hold) = ("motor_temperature".to_owned(), Micros(0));
    spec.kind = RuleKind::Threshold {
        signal,
        raise_above: None,
        clear_below: None,
        raise_below: Some(10.0),
        clear_above: Some(15.0),
        hold,
        clear_after: Micros(0),
        escalate: vec![Escalation {
            at: 5.0,
            priority: Priority::High,
        }],
        count: None,
    };
    let values = [
        (1, Some(10.0)),
        (2, Some(9.9)),
        (3, Some(14.0)),
        (4, Some(4.0)),
        (5, Some(15.0)),
        (6, Some(15.1)),
    ];
    assert_eq!(
        moves(spec, &values),
        [
            (2, Transition::Raised),
            (4, Transition::Updated),
            (6, Transition::Cleared)
        ]
    );
}

#[test]
fn a_flag_clears_only_after_it_was_down_for_long_enough() {
    let mut spec = threshold("0s");
    let signal = "motor_temperature".to_owned();
    spec.kind = RuleKind::Boolean {
        signal,
        when: true,
        hold: Micros(0),
        clear_after: Micros(3),
    };
    let values = [
        (1, Some(1.0)),
        (2, Some(0.0)),
        (4, Some(1.0)),
        (5, Some(0.0)),
        (7, None),
        (8, Some(0.0)),
    ];
    assert_eq!(
        moves(spec, &values),
        [(1, Transition::Raised), (8, Transition::Cleared)]
    );
}

#[test]
fn a_threshold_clears_only_after_it_was_within_its_limit_for_long_enough() {
    use Transition::{Cleared, Raised, Updated};
    let second = 1_000_000;
    let read = |limits: serde_json::Value| -> RuleSpec {
        let mut kind = serde_json::json!({"signal": "motor_temperature", "clear_after": "3s"});
        let fields = kind.as_object_mut().unwrap();
        fields.extend(limits.as_object().unwrap().clone());
        let kind = serde_json::json!({ "threshold": kind });
        let rule =
            serde_json::json!({"id": "hot", "priority": "low", "max_gap": "9s", "kind": kind});
        serde_json::from_value(rule).unwrap()
    };
    let above = serde_json::json!({"raise_above": 85.0, "clear_below": 80.0,
        "escalate": [{"at": 95.0, "priority": "high"}]});
    let below = serde_json::json!({"raise_below": -85.0, "clear_above": -80.0,
        "escalate": [{"at": -95.0, "priority": "high"}]});
    type Case<'a> = (&'a [(i64, f64)], &'a [(i64, Transition)]);
    let table: [Case<'_>; 6] = [
        (&[(0, 90.0), (1, 70.0), (3, 70.0)], &[(0, Raised)]),
        (
            &[(0, 90.0), (1, 70.0), (4, 70.0)],
            &[(0, Raised), (4, Cleared)],
        ),
        // A value between the limits, or one that is worse, interrupts it.
        (
            &[
                (0, 90.0),
                (1, 70.0),
                (3, 82.0),
                (4, 70.0),
                (6, 70.0),
                (7, 70.0),
            ],
            &[(0, Raised), (7, Cleared)],
        ),
        (
            &[(0, 90.0), (1, 70.0), (3, 99.0), (4, 70.0), (7, 70.0)],
            &[(0, Raised), (3, Updated), (7, Cleared)],
        ),
        // Nothing is known of a long gap.
        (
            &[(0, 90.0), (1, 70.0), (11, 70.0), (13, 70.0), (14, 70.0)],
            &[(0, Raised), (14, Cleared)],
        ),
        (
            &[(0, 90.0), (1, 70.0), (10, 70.0), (11, 90.0)],
            &[(0, Raised), (10, Cleared), (11, Raised)],
        ),
    ];
    for (values, expected) in table {
        for (sign, limits) in [(1.0, &above), (-1.0, &below)] {
            let values: Vec<_> = (values.iter())
                .map(|(at, value)| (at * second, Some(sign * value)))
                .collect();
            let moves: Vec<_> = (moves(read(limits.clone()), &values).into_iter())
                .map(|(at, transition)| (at / second, transition))
                .collect();
            assert_eq!(moves, expected, "{values:?}");
        }
    }
}

#[test]
fn a_row_that_comes_late_interrupts_the_clearing_only_where_it_lies_within() {
    let mut spec = threshold("0s");
    if let RuleKind::Threshold { clear_after, .. } = &mut spec.kind {
        *clear_after = Micros(10);
    }
    let set = RuleSet::compile(&[spec], Registry::builtin().datasets()).unwrap();
    for (late, expected) in [(4, Transition::Cleared), (7, Transition::Raised)] {
        let mut condition = Condition::default();
        let mut last = None;
        for (value, time, manner) in [
            (90.0, 1, Manner::Next),
            (70.0, 5, Manner::Next),
            (82.0, late, Manner::Late),
            (70.0, 15, Manner::Next),
        ] {
            let change = condition.evaluate(&set.rules()[0], Some(value), time, manner);
            last = change.map(|change| change.transition).or(last);
        }
        assert_eq!(last, Some(expected), "late: {late}");
    }
}

#[test]
fn a_signal_that_stays_away_raises_and_clears_when_it_is_back() {
    let mut spec = threshold("0s");
    spec.kind = RuleKind::MissingData {
        signal: Some("motor_temperature".into()),
        after: Micros(10),
    };
    let values = [
        (1, Some(1.0)),
        (2, None),
        (10, None),
        (11, None),
        (12, None),
        (13, Some(1.0)),
        (14, None),
    ];
    assert_eq!(
        moves(spec, &values),
        [(11, Transition::Raised), (13, Transition::Cleared)]
    );
}

#[test]
fn rules_are_read_as_people_write_them() {
    let read = |json: serde_json::Value| {
        serde_json::from_value::<RuleSpec>(json).map_err(|error| error.to_string())
    };
    let spec = read(serde_json::json!({
        "id": "quiet", "priority": "medium", "kind": {"missing_data": {"after": "5m"}}
    }));
    assert_eq!(
        spec.unwrap().kind,
        RuleKind::MissingData {
            signal: None,
            after: Micros(300_000_000)
        }
    );
    let spec = read(serde_json::json!({
        "id": "gone", "priority": "low", "kind": {"missing_signal": {"signal": "x", "after": "500ms"}}
    }));
    assert_eq!(
        spec.unwrap().kind,
        RuleKind::MissingData {
            signal: Some("x".into()),
            after: Micros(500_000)
        }
    );
    let spec = read(serde_json::json!({
        "id": "now", "priority": "high", "order": "arrival", "max_gap": "10m", "kind": {"boolean": {"signal": "x"}}
    }));
    let spec = spec.unwrap();
    assert_eq!(
        (spec.order, spec.max_gap),
        (RuleOrder::Arrival, Some(Micros(600_000_000)))
    );
    let order = serde_json::json!({"id": "a", "priority": "low", "order": "random", "kind": {"boolean": {"signal": "x"}}});
    assert!(read(order).unwrap_err().contains("event_time"));
    let typo = serde_json::json!({"id": "a", "priority": "low", "kind": {"boolean": {"signal": "x", "hould": "1s"}}});
    assert!(read(typo).unwrap_err().contains("hould"));
}

#[test]
fn a_hold_wants_the_limit_exceeded_without_a_break() {
    let second = 1_000_000;
    let values = [
        (0, Some(90.0)),
        (second, Some(70.0)),
        (2 * second, Some(90.0)),
        (4 * second, Some(90.0)),
        (5 * second, Some(90.0)),
    ];
    assert_eq!(
        moves(threshold("3s"), &values),
        [(5 * second, Transition::Raised)]
    );
}

#[test]
fn nothing_is_held_over_a_gap_without_values() {
    let second = 1_000_000;
    let over = |max_gap: Option<i64>, hold: &str, seconds: &[i64]| {
        let mut spec = threshold(hold);
        spec.max_gap = max_gap.map(|seconds| Micros(seconds * second));
        let values: Vec<_> = seconds.iter().map(|at| (at * second, Some(90.0))).collect();
        let moves = moves(spec, &values);
        moves
            .into_iter()
            .map(|(at, _)| at / second)
            .collect::<Vec<_>>()
    };
    // By default a minute, or the hold where it is longer.
    assert!(over(None, "5s", &[0, 100]).is_empty());
    assert_eq!(over(None, "5s", &[0, 60]), [60]);
    assert_eq!(over(None, "5s", &[0, 100, 104, 105]), [105]);
    assert_eq!(over(None, "5m", &[0, 300]), [300]);
    assert_eq!(over(None, "5m", &[0, 301, 400, 601]), [601]);
    assert!(over(Some(10), "5s", &[0, 11, 15]).is_empty());
    assert_eq!(over(Some(200), "5s", &[0, 100]), [100]);
    assert_eq!(over(None, "0s", &[0, 100]), [0]);
    // A row without a value is no value.
    let mut spec = threshold("5s");
    spec.max_gap = Some(Micros(10 * second));
    let values = [
        (0, Some(90.0)),
        (6 * second, None),
        (12 * second, Some(90.0)),
    ];
    assert_eq!(moves(spec, &values), []);
}

#[test]
fn nothing_is_cleared_over_a_gap_without_values() {
    let second = 1_000_000;
    let mut spec = threshold("0s");
    spec.kind = RuleKind::Boolean {
        signal: "motor_temperature".into(),
        when: true,
        hold: Micros(0),
        clear_after: Micros(5 * second),
    };
    let at = |seconds: i64, value: f64| (seconds * second, Some(value));
    let values = [
        at(0, 1.0),
        at(1, 0.0),
        at(100, 0.0),
        at(104, 0.0),
        at(105, 0.0),
    ];
    assert_eq!(
        moves(spec, &values),
        [(0, Transition::Raised), (105 * second, Transition::Cleared)]
    );
}

#[test]
fn rules_that_cannot_work_are_refused_with_the_reason() {
    let registry = Registry::builtin();
    let compile = |spec: RuleSpec| {
        RuleSet::compile(&[spec], registry.datasets())
            .unwrap_err()
            .to_string()
    };
    let mut spec = threshold("0s");
    spec.kind = RuleKind::Boolean {
        signal: "motor_temprature".into(),
        when: true,
        hold: Micros(0),
        clear_after: Micros(0),
    };
    assert!(
        compile(spec.clone()).contains("did you mean motor_temperature"),
        "the nearest signals are named"
    );
    spec.dataset = Some("nowhere".into());
    assert!(
        compile(spec).contains("fleet_telemetry"),
        "the known datasets are named"
    );
    let mut spec = threshold("0s");
    if let RuleKind::Threshold { clear_below, .. } = &mut spec.kind {
        *clear_below = Some(90.0);
    }
    assert!(compile(spec.clone()).contains("clear at 90"));
    if let RuleKind::Threshold {
        clear_below,
        escalate,
        ..
    } = &mut spec.kind
    {
        *clear_below = None;
        escalate.push(Escalation {
            at: 97.0,
            priority: Priority::Medium,
        });
    }
    assert!(compile(spec.clone()).contains("higher priority"));
    if let RuleKind::Threshold { raise_above, .. } = &mut spec.kind {
        *raise_above = Some(f64::NAN);
    }
    assert!(compile(spec.clone()).contains("finite"));
    spec.kind = RuleKind::MissingData {
        signal: None,
        after: Micros(1),
    };
    assert!(compile(spec).contains("as a whole"));
    assert!(RuleSet::compile(&[threshold("0s"), threshold("0s")], registry.datasets()).is_err());
    let mut spec = threshold("0s");
    spec.max_gap = Some(Micros(0));
    assert!(compile(spec.clone()).contains("max_gap must be longer"));
    spec.max_gap = Some(Micros(1));
    spec.kind = RuleKind::MissingData {
        signal: Some("motor_temperature".into()),
        after: Micros(1),
    };
    assert!(compile(spec.clone()).contains("max_gap goes with hold"));
    spec.max_gap = None;
    spec.dataset = None;
    spec.order = RuleOrder::Arrival;
    spec.kind = RuleKind::MissingData {
        signal: None,
        after: Micros(1),
    };
    assert!(compile(spec).contains("leave out order"));
}

#[test]
fn spans_are_read_and_written_alike() {
    for text in ["500ms", "30s", "5m", "1h", "2d"] {
        assert_eq!(Micros::parse(text).unwrap().to_string(), text);
    }
    assert!(Micros::parse("5").is_err() && Micros::parse("x s").is_err());
}
