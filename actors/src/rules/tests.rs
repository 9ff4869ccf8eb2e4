use theatre_schemas::records::{Priority, Transition};
use theatre_schemas::registry::Registry;

use super::*;

fn threshold(hold: &str) -> RuleSpec {
    RuleSpec {
        id: "hot".into(),
        version: 1,
        priority: Priority::Low,
        dataset: Some("fleet_telemetry".into()),
        description: String::new(),
        kind: RuleKind::Threshold {
            signal: "motor_temperature".into(),
            raise_above: Some(85.0),
            clear_below: Some(80.0),
            raise_below: None,
            clear_above: None,
            hold: Micros::parse(hold).unwrap(),
            escalate: vec![Escalation { at: 95.0, priority: Priority::High }],
        },
    }
}

fn moves(spec: RuleSpec, values: &[(i64, Option<f64>)]) -> Vec<(i64, Transition)> {
    let set = RuleSet::compile(&[spec], Registry::builtin().datasets()).unwrap();
    let mut condition = Condition::default();
    let heard = values.iter().filter_map(|(time, value)| condition.hear(&set.rules()[0], *value, *time));
    heard.map(|moved| (moved.event_time, moved.transition)).collect()
}

#[test]
fn a_threshold_raises_above_one_limit_and_clears_below_another() {
    let values = [(1, Some(85.0)), (2, Some(85.1)), (3, Some(81.0)), (4, Some(90.0)), (5, Some(79.9)), (6, Some(70.0))];
    assert_eq!(moves(threshold("0s"), &values), [(2, Transition::Raised), (5, Transition::Cleared)]);
}

#[test]
fn a_missing_value_is_no_news() {
    let values = [(1, Some(90.0)), (2, None), (3, Some(90.0)), (4, None)];
    assert_eq!(moves(threshold("0s"), &values), [(1, Transition::Raised)]);
}

#[test]
fn an_escalation_is_told_once_and_only_upwards() {
    let values = [(1, Some(90.0)), (2, Some(96.0)), (3, Some(97.0)), (4, Some(90.0)), (5, Some(96.0)), (6, Some(10.0))];
    assert_eq!(moves(threshold("0s"), &values), [(1, Transition::Raised), (2, Transition::Updated), (6, Transition::Cleared)]);
}

#[test]
fn a_hold_wants_the_limit_exceeded_without_a_break() {
    let second = 1_000_000;
    let values = [(0, Some(90.0)), (second, Some(70.0)), (2 * second, Some(90.0)), (4 * second, Some(90.0)), (5 * second, Some(90.0))];
    assert_eq!(moves(threshold("3s"), &values), [(5 * second, Transition::Raised)]);
}

#[test]
fn rules_that_cannot_work_are_refused_with_the_reason() {
    let registry = Registry::builtin();
    let compile = |spec: RuleSpec| RuleSet::compile(&[spec], registry.datasets()).unwrap_err().to_string();
    let mut spec = threshold("0s");
    spec.kind = RuleKind::Boolean { signal: "motor_tmp".into(), when: true, hold: Micros(0) };
    assert!(compile(spec.clone()).contains("motor_temperature"), "the known signals are named");
    spec.dataset = Some("nowhere".into());
    assert!(compile(spec).contains("fleet_telemetry"), "the known datasets are named");
    let mut spec = threshold("0s");
    if let RuleKind::Threshold { clear_below, .. } = &mut spec.kind {
        *clear_below = Some(90.0);
    }
    assert!(compile(spec).contains("clear at 90"));
    assert!(RuleSet::compile(&[threshold("0s"), threshold("0s")], registry.datasets()).is_err());
}

#[test]
fn spans_are_read_and_written_alike() {
    for text in ["500ms", "30s", "5m", "1h", "2d"] {
        assert_eq!(Micros::parse(text).unwrap().to_string(), text);
    }
    assert!(Micros::parse("5").is_err() && Micros::parse("x s").is_err());
}
