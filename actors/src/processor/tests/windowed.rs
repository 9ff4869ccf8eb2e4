//! Rules on windows: rows are added a run at a time, which is cut where a window may close.

use serde_json::json;

use super::alerting::{action, appended};
use super::kinds::read;
use super::*;
use crate::rules::{FlappingSpec, Unacknowledged};

/// Rules on windows, rules that follow them after a time, and one on rows.
fn rules() -> Vec<RuleSpec> {
    let on_window = |id: &str, window: &str, aggregate: &str, limit: f64| {
        let signal = "motor_temperature";
        let kind = json!({"aggregate": {
            "signal": signal, "window": window, "aggregate": aggregate, "raise_above": limit}});
        read(id, json!({ "kind": kind }))
    };
    vec![
        RuleSpec {
            flapping: Some(FlappingSpec {
                turns: 3,
                within: Micros(45 * S),
            }),
            unacknowledged: vec![Unacknowledged {
                after: Micros(7 * S),
                priority: None,
            }],
            ..on_window("peak", "10s", "max", 90.0)
        },
        on_window("mean", "sliding", "mean", 85.0),
        on_window("late", "sliding", "last", 87.0),
        rule("hot", Priority::High, hot(1)),
        read(
            "for_long",
            json!({"kind": {"combination": {"of": {"or": ["peak", "mean"]}, "hold": "4s"}}}),
        ),
        read(
            "one_by_one",
            json!({"kind": {"sequence": {
                "first": {"condition": "mean"}, "then": {"condition": "peak"},
                "within": "60s", "clear_after": "5s"}}}),
        ),
    ]
}

fn with_windows(rules: &[RuleSpec]) -> Arc<ProcessorConfig> {
    let mut config = Arc::unwrap_or_clone(with_rules(rules));
    let window = |name: &str, size: i64, hop: i64| WindowSpec {
        name: name.into(),
        size_us: size * S,
        hop_us: hop * S,
    };
    let windows = vec![window("10s", 10, 10), window("sliding", 24, 6)];
    config.windows = WindowPlan::new(windows, AggregateSet::Full).unwrap();
    config.rules.bind(&config.windows).unwrap();
    Arc::new(config)
}

/// Applies rows so many at a time.
fn applied(batch: &Batch, at_once: usize) -> (Vec<u8>, Outputs) {
    let mut processor = Processor::new("r", with_windows(&rules()));
    let mut outputs = Outputs::default();
    let until = ("until", Value::TimestampMicros(NOW + 90 * S));
    let silence = appended(&action(0, "silence", &[until]), &[0]);
    processor.apply(9, &silence, &[0], &mut outputs);
    let rows: Vec<u32> = (0..batch.len() as u32).collect();
    for rows in rows.chunks(at_once) {
        processor.apply(0, batch, rows, &mut outputs);
    }
    (processor.snapshot(), outputs)
}

/// Rows a second or more apart, some of them late, with the seconds at which they were appended;
/// numbered by event time or as they come.
fn batch(rows: &[(i64, Option<i64>, f64, i64)], by_time: bool) -> Batch {
    let mut now = 0;
    let times: Vec<i64> = (rows.iter())
        .map(|(step, back, ..)| {
            now += step;
            now - back.unwrap_or(0)
        })
        .collect();
    let number = |at: usize| {
        let before = |(other, time): &(usize, &i64)| (**time, *other) < (times[at], at);
        let rank = times.iter().enumerate().filter(before).count();
        1 + if by_time { rank } else { at } as i64
    };
    let samples: Vec<Sample> = (rows.iter().enumerate())
        .map(|(at, (_, _, value, _))| (times[at], number(at), *value, None))
        .collect();
    let mut now = 0;
    let append = |(step, _, _, delay): &(i64, Option<i64>, f64, i64)| {
        now += step;
        now + delay
    };
    appended(
        &telemetry(&samples),
        &rows.iter().map(append).collect::<Vec<_>>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_run_of_rows_concludes_what_its_rows_conclude_one_by_one(
        rows in proptest::collection::vec(
            (0..5_i64, proptest::option::weighted(0.15, 1..40_i64), 76.0..95.0, -2..5_i64), 1..150),
        by_time in any::<bool>(),
        at_once in 2..60_usize,
    ) {
        let batch = batch(&rows, by_time);
        let (state, outputs) = applied(&batch, 1);
        for at_once in [at_once, rows.len()] {
            let (run_state, run_outputs) = applied(&batch, at_once);
            prop_assert_eq!(&outputs, &run_outputs);
            prop_assert_eq!(&state, &run_state);
        }
    }
}

#[test]
fn the_rows_of_the_property_make_windows_rules_and_what_follows_them_speak() {
    let rows: Vec<_> = (0..240)
        .map(|at| {
            let value = if at / 20 % 2 == 0 { 93.0 } else { 77.0 };
            (1, (at % 7 == 3).then_some(9), value, at % 3)
        })
        .collect();
    let (_, outputs) = applied(&batch(&rows, false), rows.len());
    let spoken: Vec<(String, Transition)> = alerts(&outputs)
        .into_iter()
        .map(|alert| (alert.rule_id, alert.transition))
        .collect();
    for (rule, transition) in [
        ("peak", Transition::Raised),
        ("peak", Transition::Flapping),
        ("peak", Transition::Escalated),
        ("mean", Transition::Cleared),
        ("late", Transition::Raised),
        ("hot", Transition::Raised),
        ("for_long", Transition::Raised),
        ("one_by_one", Transition::Cleared),
    ] {
        let expected = (rule.to_owned(), transition);
        assert!(spoken.contains(&expected), "{expected:?} of {spoken:?}");
    }
    let revised = by_kind(&outputs, OutputKind::Window).len();
    assert!(revised > 24 + 40, "late rows revise windows: {revised}");
}
