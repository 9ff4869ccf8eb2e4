//! How far averages are from what is normal, and what cannot be normal.

use super::*;

const S: i64 = 1_000_000;

fn normal(model: &str, state: Option<&str>, middle: f64, spread: f64) -> CohortNormal {
    CohortNormal {
        model: model.to_owned(),
        state: state.map(str::to_owned),
        signal: None,
        middle,
        spread,
        robots: 9,
    }
}

fn spec(normal: Vec<CohortNormal>) -> CohortSpec {
    CohortSpec {
        signal: "current".to_owned(),
        over: Micros(160 * S),
        average: Average::Median,
        by: None,
        least_deviation: 0.0,
        normal,
        learns: false,
        raise_above: Some(4.0),
        clear_below: None,
        raise_below: None,
        clear_above: None,
        hold: Micros(0),
        clear_after: Micros(0),
        escalate: Vec::new(),
    }
}

/// The latest distance after values, one every second, in a state.
fn score(
    of: &Cohort,
    averages: &mut Averages,
    (model, state): (Option<&str>, Option<&str>),
    values: impl IntoIterator<Item = (i64, f64)>,
) -> Option<f64> {
    let mut last = None;
    for (time, value) in values {
        let input = Input {
            time: time * S,
            value,
            state,
            learns: true,
            model,
            signal: "current",
        };
        let reading = of.observe(averages, &input);
        last = reading
            .map(|reading| (reading.value * 1e9).round() / 1e9)
            .or(last);
    }
    last
}

#[test]
fn a_score_is_how_many_spreads_the_average_is_from_the_middle_of_the_model() {
    let two = vec![normal("m1", None, 10.0, 2.0), normal("m2", None, 4.0, 0.5)];
    let seconds = |to: i64| (0..to).map(|at| (at, 14.0));
    let spike = |to: i64| (0..to).map(|at| (at, if at == 30 { 1e9 } else { 14.0 }));
    for (average, model, rows, expected) in [
        (Average::Median, Some("m1"), 200, Some(2.0)),
        (Average::Mean, Some("m1"), 200, Some(2.0)),
        (Average::Median, Some("m2"), 200, Some(20.0)),
        (Average::Median, Some("m3"), 200, None),
        (Average::Median, None, 200, None),
        // Less than half of the span.
        (Average::Median, Some("m1"), 80, None),
        (Average::Median, Some("m1"), 82, Some(2.0)),
    ] {
        let spec = CohortSpec {
            average,
            ..spec(two.clone())
        };
        let (of, mut averages) = (spec.measure().unwrap(), Averages::default());
        let known = score(&of, &mut averages, (model, None), seconds(rows));
        assert_eq!(known, expected, "{average:?} {model:?} {rows}");
    }
    let of = spec(two.clone()).measure().unwrap();
    let robust = score(
        &of,
        &mut Averages::default(),
        (Some("m1"), None),
        spike(160),
    );
    assert_eq!(robust, Some(2.0), "a single value does not move the median");
    let floor = CohortSpec {
        least_deviation: 8.0,
        ..spec(two)
    };
    let of = floor.measure().unwrap();
    let known = score(
        &of,
        &mut Averages::default(),
        (Some("m1"), None),
        seconds(200),
    );
    assert_eq!(known, Some(0.5));
    let knows = |model| of.knows(model, "motor_temperature");
    assert!(knows(Some("m2")) && !knows(Some("m3")) && !knows(None));
}

#[test]
fn states_have_averages_and_normals_of_their_own() {
    let by_state = CohortSpec {
        by: Some("operating_state".to_owned()),
        ..spec(vec![
            normal("m", Some("cut"), 50.0, 1.0),
            normal("m", Some("idle"), 1.0, 1.0),
        ])
    };
    let (of, mut averages) = (by_state.measure().unwrap(), Averages::default());
    let every_other = |from: i64, value: f64| (0..100).map(move |at| (2 * at + from, value));
    let (mut cut, mut idle) = (None, None);
    for (one, other) in every_other(0, 53.0).zip(every_other(1, 1.0)) {
        cut = score(&of, &mut averages, (Some("m"), Some("cut")), [one]).or(cut);
        idle = score(&of, &mut averages, (Some("m"), Some("idle")), [other]).or(idle);
    }
    assert_eq!((cut, idle), (Some(3.0), Some(0.0)));
    let other = (200..400).map(|at| (at, 1.0));
    assert_eq!(
        score(&of, &mut averages, (Some("m"), Some("parked")), other),
        None
    );
    for state in 0..20 {
        let state = state.to_string();
        score(&of, &mut averages, (Some("m"), Some(&state)), [(500, 1.0)]);
    }
    assert_eq!(averages.states.len(), STATES_MAX);
}

#[test]
fn averages_are_kept_to_learn_from_and_a_new_normal_goes_on_with_the_values() {
    let learning = CohortSpec {
        learns: true,
        ..spec(Vec::new())
    };
    let (of, mut averages) = (learning.measure().unwrap(), Averages::default());
    let rows = (0..200).map(|at| (at, 14.0));
    assert_eq!(score(&of, &mut averages, (Some("m"), None), rows), None);
    assert_eq!(averages.kept().len(), 1);
    let kept = &averages.kept()[0];
    assert_eq!((&*kept.model, kept.values.len()), ("m", 12));
    assert!(kept.values.iter().all(|value| *value == 14.0));
    assert!(
        averages.forget(),
        "also when the values are of no use any more"
    );
    let mark =
        |spec: &CohortSpec| super::super::measure::Measure::Cohort(spec.measure().unwrap()).mark();
    let first = spec(vec![normal("m", None, 1.0, 1.0)]);
    let next = spec(vec![normal("m", None, 2.0, 1.0)]);
    let longer = CohortSpec {
        over: Micros(320 * S),
        ..first.clone()
    };
    assert_eq!(mark(&first), mark(&next));
    assert_ne!(mark(&first), mark(&longer));
}

#[test]
fn half_of_the_robots_say_what_is_normal() {
    for (values, expected) in [
        (vec![], None),
        (vec![3.0], Some((3.0, 0.0))),
        (vec![1.0, 2.0, 3.0, 4.0, 5.0], Some((3.0, 1.4826))),
        (vec![1.0, 2.0, 3.0, 4e9, 5e9], Some((3.0, 2.0 * 1.4826))),
    ] {
        assert_eq!(middle_and_spread(&values), expected, "{values:?}");
    }
    assert_eq!(Average::Mean.of_values(vec![1.0, 2.0, 6.0]), Some(3.0));
    assert_eq!(Average::Median.of_values(vec![1.0, 2.0, 6.0]), Some(2.0));
    assert_eq!(Average::Mean.of_values(vec![]), None);
}

#[test]
fn what_cannot_be_is_said_with_its_place() {
    let good = || normal("m", None, 1.0, 1.0);
    let with = |change: &dyn Fn(&mut CohortSpec)| {
        let mut spec = spec(vec![good()]);
        change(&mut spec);
        spec.measure().map(drop).unwrap_err()
    };
    for (why, words) in [
        (with(&|it| it.over = Micros(0)), "over must be longer"),
        (with(&|it| it.least_deviation = -1.0), "least_deviation"),
        (with(&|it| it.normal.clear()), "theatre rules learn"),
        (
            with(&|it| it.normal.push(good())),
            "model 'm': it is said twice",
        ),
        (with(&|it| it.normal[0].model.clear()), "names no model"),
        (
            with(&|it| it.by = Some("s".to_owned())),
            "by = \"s\" it needs a state",
        ),
        (
            with(&|it| it.normal[0].state = Some("s".to_owned())),
            "which goes with by",
        ),
        (
            with(&|it| it.signal = "joints[*].current".to_owned()),
            "name one of them",
        ),
        (
            with(&|it| it.normal[0].signal = Some("x".to_owned())),
            "leave out signal",
        ),
        (with(&|it| it.normal[0].middle = f64::NAN), "middle"),
        (with(&|it| it.normal[0].spread = -1.0), "spread must be"),
        (with(&|it| it.normal[0].spread = 0.0), "least_deviation"),
    ] {
        assert!(why.contains(words), "{why}");
    }
}
