//! Rules of the kinds that look at more than one value, through a processor: what they raise does
//! not depend on how rows are cut, in which order they come, or when the state is saved.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;
use crate::instrument::{InstrumentColumns, InstrumentSpec};

/// A rule as a rule file has it.
pub(super) fn read(id: &str, more: serde_json::Value) -> RuleSpec {
    let mut rule = json!({"id": id, "priority": "medium"});
    let fields = rule.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    serde_json::from_value(rule).unwrap()
}

/// Rules of each kind that judges rows in event time or follows such rules at once.
pub(super) fn rules_by_event_time() -> Vec<RuleSpec> {
    let signal = "motor_temperature";
    vec![
        read(
            "hot",
            json!({"kind": {"threshold": {"signal": signal, "raise_above": 85.0, "clear_below": 80.0}}}),
        ),
        read(
            "twice",
            json!({"kind": {"threshold": {"signal": signal, "raise_above": 84.0, "count": {"n": 2, "of": 3}}}}),
        ),
        read(
            "rising",
            json!({"kind": {"rate": {"signal": signal, "over": "8s", "raise_above": 0.4, "clear_below": 0.2}}}),
        ),
        read(
            "odd",
            json!({"kind": {"deviation": {"signal": signal, "learn": "16s", "least": 3, "raise_above": 1.2}}}),
        ),
        read(
            "odd_in_case",
            json!({"kind": {"deviation": {"signal": signal, "learn": "16s", "least": 3, "by": "procedure_id", "raise_below": -1.0}}}),
        ),
        read(
            "soon",
            json!({"kind": {"trend": {"signal": signal, "limit": 95.0, "within": "40s", "over": "32s"}}}),
        ),
        read(
            "peak",
            json!({"kind": {"aggregate": {"signal": "motor_*", "window": "10s", "aggregate": "max", "raise_above": 88.0}}}),
        ),
        read(
            "in_case",
            json!({"only": {"state_column": "procedure_id", "states": ["p0"]}, "kind": {"threshold": {"signal": signal, "raise_above": 82.0, "hold": "2s"}}}),
        ),
        read(
            "both",
            json!({"kind": {"combination": {"of": {"and": ["hot", "twice"]}}}}),
        ),
        read(
            "hot_for_long",
            json!({"kind": {"combination": {"of": {"and": ["hot", {"not": "rising"}]}, "hold": "2s"}}}),
        ),
        read(
            "hot_after_odd",
            json!({"kind": {"sequence": {"first": {"condition": "odd"}, "then": {"condition": "hot"}, "within": "20s", "clear_after": "5s"}}}),
        ),
    ]
}

/// Rules of every kind.
pub(super) fn rules() -> Vec<RuleSpec> {
    let mut rules = rules_by_event_time();
    let signal = "motor_temperature";
    rules.extend([
        read("torque", json!({"kind": {"threshold": {"signal": "joint*_torque", "raise_above": 0.5, "hold": "3s"}}})),
        read("mean", json!({"kind": {"aggregate": {"signal": signal, "window": "10s", "aggregate": "mean", "raise_above": 81.0}}})),
        read("hours", json!({"kind": {"usage": {"counter": "operating_hours", "raise_above": 0.001}}})),
        read("awake", json!({"warm_up": "10s", "kind": {"threshold": {"signal": signal, "raise_above": 80.0}}})),
        read("now", json!({"order": "arrival", "kind": {"rate": {"signal": signal, "over": "8s", "raise_below": -0.3}}})),
        read("fault_then_hot", json!({"kind": {"sequence": {
            "first": {"event": "fault"}, "then": {"condition": "hot"}, "within": "30s", "without": {"event": "started"}}}})),
        read("peak_for_long", json!({"kind": {"combination": {"of": {"or": ["peak", {"and": ["mean", "hot_for_long"]}]}, "hold": "9s"}}})),
    ]);
    rules
}

/// Rules that no golden file has met, which remember something of their own.
fn later_rules() -> Vec<RuleSpec> {
    let signal = "motor_temperature";
    vec![
        read(
            "cooled",
            json!({"kind": {"threshold": {"signal": signal, "raise_above": 82.0, "clear_after": "3s"}}}),
        ),
        read(
            "slowly",
            json!({"kind": {"rate": {"signal": signal, "over": "8s", "raise_above": 0.3, "clear_after": "2s"}}}),
        ),
        read(
            "unlike",
            json!({"kind": {"deviation": {"signal": signal, "learn": "16s", "least": 3, "average": "median", "raise_above": 1.2}}}),
        ),
    ]
}

/// The alerts as (rule, transition, seconds).
fn emitted(outputs: &Outputs) -> Vec<(String, Transition, i64)> {
    let alert = |alert: Alert| {
        let seconds = (alert.event_time - NOW) / S;
        (alert.rule_id, alert.transition, seconds)
    };
    alerts(outputs).into_iter().map(alert).collect()
}

/// What rules tell of values, one a second from 0 on.
fn tell(rules: &[RuleSpec], values: &[f64]) -> Vec<(String, Transition, i64)> {
    let mut processor = Processor::new("r", with_rules(rules));
    let samples: Vec<Sample> = (values.iter().enumerate())
        .map(|(at, value)| (at as i64, at as i64 + 1, *value, None))
        .collect();
    let mut outputs = Outputs::default();
    let rows: Vec<u32> = (0..samples.len() as u32).collect();
    processor.apply(0, &telemetry(&samples), &rows, &mut outputs);
    emitted(&outputs)
}

fn raised(rule: &str, at: i64) -> (String, Transition, i64) {
    (rule.to_owned(), Transition::Raised, at)
}

fn cleared(rule: &str, at: i64) -> (String, Transition, i64) {
    (rule.to_owned(), Transition::Cleared, at)
}

fn only(id: &str) -> Vec<RuleSpec> {
    let wanted = |rule: &RuleSpec| rule.id == id;
    rules().into_iter().filter(wanted).collect()
}

/// A configuration in which windows that no rule judges share the panes of one that rules do.
fn with_other_windows() -> Arc<ProcessorConfig> {
    let mut config = Arc::unwrap_or_clone(with_rules(&rules()));
    let window = |name: &str, size: i64, hop: i64| WindowSpec {
        name: name.into(),
        size_us: size * S,
        hop_us: hop * S,
    };
    let windows = vec![
        window("10s", 10, 10),
        window("6s", 6, 3),
        window("1min", 60, 60),
    ];
    config.windows = WindowPlan::new(windows, AggregateSet::Full).unwrap();
    Arc::new(config)
}

/// Rows without the columns on which no condition depends, as a reader gives them that reads the
/// others only.
fn without_unread(config: &ProcessorConfig, batch: &Batch) -> Batch {
    let (index, dataset) = (batch.dataset_index, &batch.dataset);
    let read = config.columns_of_rules(index, dataset);
    assert!(read.len() < dataset.columns.len() - 3, "{read:?}");
    let is_signal = |at: usize| dataset.signals.iter().any(|signal| signal.column == at);
    let columns = batch.columns().enumerate().map(|(at, column)| {
        if read.contains(&at) {
            return Some(column.clone());
        }
        let null = || arrow_array::new_null_array(column.data_type(), batch.len());
        (!is_signal(at)).then(null)
    });
    Batch::of_some(
        dataset.clone(),
        index,
        columns.collect(),
        batch.offsets.clone(),
        batch.append_times.clone(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_no_rule_asks_for_can_be_left_out_and_alerts_stay_the_same(
        samples in samples(),
        cuts in proptest::collection::vec(any::<usize>(), 0..4),
    ) {
        let whole = with_other_windows();
        let lean = Arc::new(whole.for_rules());
        prop_assert_eq!(lean.windows.specs().len(), 1);
        let (_, outputs) = run_from(Processor::new("r", whole), &samples, &cuts);
        let batch = without_unread(&lean, &telemetry(&samples));
        let (_, of_rules) = run_batch(Processor::new("r", lean), &batch, &cuts);
        prop_assert_eq!(alerts(&outputs), alerts(&of_rules));
        let windows = |of: &Outputs| by_kind(of, OutputKind::Window).len();
        prop_assert!(windows(&of_rules) <= windows(&outputs));
    }
}

#[test]
fn the_columns_that_are_read_are_those_of_the_row_of_rules_and_of_instruments() {
    let watched = json!({"dataset": "robot_telemetry",
        "only": {"facilities": ["F"], "tools": ["scissors"]},
        "kind": {"threshold": {"signal": "joints[2].current", "raise_above": 4.0}}});
    let mut config = Arc::unwrap_or_clone(with_rules(&[read("strained", watched)]));
    let (index, dataset) = registry().datasets().find("robot_telemetry").unwrap();
    let names = |config: &ProcessorConfig| -> BTreeSet<&str> {
        let columns = config.columns_of_rules(index, dataset).into_iter();
        columns
            .map(|at| dataset.columns[at].name.as_str())
            .collect()
    };
    let of_rows = [
        "boot_id",
        "event_time",
        "procedure_id",
        "robot_id",
        "sequence",
    ];
    let of_rule = ["facility_id", "joints[2].current", "tool_type"];
    let expected: BTreeSet<&str> = of_rows.into_iter().chain(of_rule).collect();
    assert_eq!(names(&config), expected);
    let spec = InstrumentSpec {
        dataset: "robot_telemetry".into(),
        serial: "firmware_version".into(),
        kind: Some("robot_model".into()),
        lives_used: Some("joints[0].current".into()),
        active: Some("joints[1].current".into()),
        lives: BTreeMap::new(),
    };
    let columns = InstrumentColumns::resolve(&spec, dataset).unwrap();
    config.entities.instruments.insert(index, columns);
    let mut with_instruments = expected;
    with_instruments.extend([
        "firmware_version",
        "robot_model",
        "joints[0].current",
        "joints[1].current",
    ]);
    assert_eq!(names(&config), with_instruments);
}

/// A processor that is fed by name.
struct Fed {
    processor: Processor,
    outputs: Outputs,
    next: [u64; 3],
}

impl Fed {
    fn new(rules: &[RuleSpec]) -> Self {
        Self {
            processor: Processor::new("r", with_rules(rules)),
            outputs: Outputs::default(),
            next: [0; 3],
        }
    }

    fn rows(&mut self, samples: &[Sample]) {
        let rows: Vec<u32> = (0..samples.len() as u32).collect();
        let batch = telemetry_from(self.next[0], samples);
        self.processor.apply(0, &batch, &rows, &mut self.outputs);
        self.next[0] += samples.len() as u64;
    }

    fn event(&mut self, event_type: &str, code: Option<&str>, at: i64) {
        let mut fields = vec![("event_id", text("e")), ("event_type", text(event_type))];
        fields.extend(code.map(|code| ("code", text(code))));
        let event = record("robot_events", self.next[1], NOW + at * S, &fields);
        self.processor.apply(1, &event, &[0], &mut self.outputs);
        self.next[1] += 1;
    }

    fn step(&mut self, procedure: u8, at: i64, name: &str, phase: Option<&str>) {
        let step = step(self.next[2], procedure, at, name, phase);
        self.processor.apply(2, &step, &[0], &mut self.outputs);
        self.next[2] += 1;
    }

    fn restart(&mut self) {
        let config = self.processor.config.clone();
        self.processor = Processor::restore("r", &self.processor.snapshot(), config).unwrap();
    }

    fn emitted(&self) -> Vec<(String, Transition, i64)> {
        emitted(&self.outputs)
    }
}

#[test]
fn a_rate_is_raised_by_a_slope_and_not_by_an_outlier() {
    let flat_then_steep = |at: i64| if at < 20 { 70.0 } else { 50.0 + at as f64 };
    let mut values: Vec<f64> = (0..40).map(flat_then_steep).collect();
    values[10] = 1e6;
    values.extend([89.0; 10]);
    let emitted = tell(&only("rising"), &values);
    assert_eq!(emitted.len(), 2, "{emitted:?}");
    assert!((23..28).contains(&emitted[0].2) && emitted[0].1 == Transition::Raised);
    assert!((42..48).contains(&emitted[1].2) && emitted[1].1 == Transition::Cleared);
}

#[test]
fn so_many_of_the_last_values_raise_and_clear() {
    let values = [90.0, 70.0, 70.0, 90.0, 70.0, 90.0, 70.0, 70.0];
    let expected = [raised("twice", 5), cleared("twice", 6)];
    assert_eq!(tell(&only("twice"), &values), expected);
}

#[test]
fn what_is_not_normal_for_the_robot_raises() {
    let value = |at: i64| 70.0 + (at % 2) as f64;
    let mut values: Vec<f64> = (0..20).map(value).collect();
    values.extend([75.0, 75.0, 70.0]);
    let expected = [raised("odd", 20), cleared("odd", 22)];
    assert_eq!(tell(&only("odd"), &values), expected);
}

#[test]
fn what_is_far_from_the_median_raises_and_what_is_back_for_long_enough_clears() {
    let value = |at: i64| 70.0 + (at % 2) as f64;
    let mut values: Vec<f64> = (0..20).map(value).collect();
    values.extend([75.0, 75.0, 70.0]);
    let rules = later_rules();
    let expected = [raised("unlike", 20), cleared("unlike", 22)];
    assert_eq!(tell(&rules[2..], &values), expected);
    let values = [70.0, 90.0, 70.0, 70.0, 83.0, 70.0, 70.0, 70.0, 70.0, 70.0];
    let expected = [raised("cooled", 1), cleared("cooled", 8)];
    assert_eq!(tell(&rules[..1], &values), expected);
}

#[test]
fn what_is_normal_is_learnt_anew_after_a_service_of_the_component() {
    for rules in [only("odd"), later_rules().split_off(2)] {
        learnt_anew_after_a_service(&rules);
    }
}

fn learnt_anew_after_a_service(rules: &[RuleSpec]) {
    let rule = rules[0].id.as_str();
    let run = |is_served: bool| {
        let mut fed = Fed::new(rules);
        let samples: Vec<Sample> = (0..20)
            .map(|at| (at, at + 1, 70.0 + (at % 2) as f64, None))
            .collect();
        fed.rows(&samples);
        if is_served {
            let log = registered::log(0, "m1", "completed", (19, Some(20)), &[]);
            fed.processor.apply(4, &log, &[0], &mut fed.outputs);
        }
        fed.rows(&[(21, 21, 75.0, None), (22, 22, 75.0, None)]);
        fed.emitted()
    };
    assert_eq!(run(false), [raised(rule, 21)]);
    assert_eq!(run(true), []);
}

#[test]
fn a_trend_raises_before_the_limit_is_reached_and_says_how_certain_it_is() {
    let values: Vec<f64> = (0..60).map(|at| 30.0 + f64::from(at)).collect();
    let mut fed = Fed::new(&only("soon"));
    let samples: Vec<Sample> = (values.iter().enumerate())
        .map(|(at, value)| (at as i64, at as i64 + 1, *value, None))
        .collect();
    fed.rows(&samples);
    // 30 + 25 is 40 from 95, and the time left must be less than 40 s.
    assert_eq!(fed.emitted(), [raised("soon", 26)]);
    let alert = &alerts(&fed.outputs)[0];
    assert_eq!(
        (alert.unit.as_deref(), alert.limit),
        (Some("s"), Some(40.0))
    );
    assert!(
        alert.message.contains("39.0 s to 39.0 s left"),
        "{}",
        alert.message
    );
}

#[test]
fn an_aggregate_is_judged_when_its_window_closes_and_by_what_was_in_time() {
    let mut fed = Fed::new(&only("mean"));
    fed.rows(&[(1, 1, 90.0, None), (9, 2, 80.0, None), (14, 3, 70.0, None)]);
    assert_eq!(
        fed.emitted(),
        [],
        "the window from 0 to 10 s closes at 15 s"
    );
    fed.rows(&[(15, 4, 70.0, None)]);
    assert_eq!(fed.emitted(), [raised("mean", 10)]);
    // Late rows revise the window, and judge nothing.
    fed.rows(&[
        (2, 5, -900.0, None),
        (24, 6, 70.0, None),
        (26, 7, 70.0, None),
    ]);
    assert_eq!(fed.emitted()[1..], [cleared("mean", 20)]);
}

#[test]
fn each_signal_of_a_pattern_has_a_condition_of_its_own() {
    let rules = only("torque");
    let mut fed = Fed::new(&rules);
    fed.rows(&[(0, 1, 70.0, None), (3, 2, 70.0, None)]);
    let alerts = alerts(&fed.outputs);
    let mut signals: Vec<&str> = alerts
        .iter()
        .filter_map(|it| it.signal.as_deref())
        .collect();
    signals.sort_unstable();
    let expected: Vec<String> = (1..=6)
        .map(|joint| format!("joint{joint}_torque"))
        .collect();
    assert_eq!(signals, expected);
    let mut ids: Vec<&str> = alerts.iter().map(|it| it.condition_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    let view = fed.processor.view();
    let signals: Vec<_> = view.conditions.iter().map(|it| it.signal.clone()).collect();
    assert_eq!(signals, expected.into_iter().map(Some).collect::<Vec<_>>());
    assert!(view.conditions.iter().all(|it| it.rule_id == "torque"));
    // A rule that goes takes all of them with it.
    let saved = fed.processor.snapshot();
    fed.processor = Processor::restore("r", &saved, with_rules(&[])).unwrap();
    fed.outputs = Outputs::default();
    fed.rows(&[(4, 3, 70.0, None)]);
    assert_eq!(fed.emitted(), vec![cleared("torque", 3); 6]);
}

#[test]
fn usage_is_judged_once_a_minute_of_the_robots_clock() {
    let rule = read(
        "hours",
        json!({"kind": {"usage": {"counter": "operating_hours", "raise_above": 0.02}}}),
    );
    let values = [70.0; 200];
    // More than 72 s of operation, at the first row of a minute. 10,000,000 s are 40 s into one.
    assert_eq!(tell(&[rule], &values), [raised("hours", 80)]);
    let rule = read(
        "days",
        json!({"kind": {"usage": {"counter": "days_since_service", "raise_above": 0.005}}}),
    );
    let mut fed = Fed::new(&[rule]);
    fed.rows(&[(0, 1, 70.0, None)]);
    fed.event("maintenance_completed", None, 1);
    // More than 432 s; the minute begins at 440 s.
    fed.rows(&[
        (400, 2, 70.0, None),
        (439, 3, 70.0, None),
        (445, 4, 70.0, None),
    ]);
    assert_eq!(fed.emitted(), [raised("days", 445)]);
    fed.event("maintenance_completed", None, 450);
    fed.rows(&[(460, 5, 70.0, None), (505, 6, 70.0, None)]);
    assert_eq!(fed.emitted()[1..], [cleared("days", 505)]);
}

#[test]
fn a_sequence_follows_events_and_conditions() {
    let rules: Vec<RuleSpec> = only("hot")
        .into_iter()
        .chain(only("fault_then_hot"))
        .collect();
    let run = |between: Option<&str>| {
        let mut fed = Fed::new(&rules);
        fed.rows(&[(0, 1, 70.0, None)]);
        fed.event("fault", Some("E1"), 1);
        if let Some(event) = between {
            fed.event(event, None, 2);
        }
        fed.restart();
        fed.rows(&[(3, 2, 90.0, None), (30, 3, 70.0, None), (34, 4, 70.0, None)]);
        let emitted = fed.emitted().into_iter();
        emitted
            .filter(|(rule, ..)| rule == "fault_then_hot")
            .collect::<Vec<_>>()
    };
    let expected = [raised("fault_then_hot", 3), cleared("fault_then_hot", 33)];
    assert_eq!(run(None), expected);
    assert_eq!(run(Some("stopped")), expected);
    assert_eq!(run(Some("started")), []);
}

#[test]
fn a_sequence_follows_a_latched_condition_that_is_raised_again_and_none_that_flaps() {
    let life = |json: serde_json::Value| {
        let mut more =
            json!({"kind": {"threshold": {"signal": "motor_temperature", "raise_above": 85.0}}});
        let fields = more.as_object_mut().unwrap();
        fields.extend(json.as_object().unwrap().clone());
        read("hot", more)
    };
    let latch = life(json!({"latch": true}));
    let flapping = life(json!({"flapping": {"turns": 3, "within": "60s"}}));
    let follows: Vec<RuleSpec> = only("fault_then_hot");
    for (hot, expected) in [
        (latch, vec![raised("fault_then_hot", 6)]),
        (flapping, vec![]),
    ] {
        let mut fed = Fed::new(&[vec![hot], follows.clone()].concat());
        let turns = [90.0, 70.0, 90.0, 70.0].into_iter().enumerate();
        let turns: Vec<Sample> = turns
            .map(|(at, value)| (at as i64, at as i64 + 1, value, None))
            .collect();
        fed.rows(&turns);
        fed.event("fault", Some("E1"), 4);
        fed.restart();
        fed.rows(&[(6, 5, 90.0, None)]);
        let emitted = fed.emitted().into_iter();
        let of_sequence: Vec<_> = emitted
            .filter(|(rule, ..)| rule == "fault_then_hot")
            .collect();
        assert_eq!(of_sequence, expected);
    }
}

#[test]
fn a_combination_follows_what_is_open_and_holds_by_event_time() {
    let rules: Vec<RuleSpec> = only("hot").into_iter().chain([
        read("both", json!({"kind": {"combination": {"of": {"and": ["hot", {"not": "cold"}]}, "hold": "3s"}}})),
        read("cold", json!({"kind": {"threshold": {"signal": "motor_temperature", "raise_below": 60.0}}})),
    ]).collect();
    let of_both = |values: &[(i64, f64)]| {
        let mut fed = Fed::new(&rules);
        for (at, (time, value)) in values.iter().enumerate() {
            fed.rows(&[(*time, at as i64 + 1, *value, None)]);
            fed.restart();
        }
        let emitted = fed.emitted().into_iter();
        emitted
            .filter(|(rule, ..)| rule == "both")
            .collect::<Vec<_>>()
    };
    let open = [(0, 90.0), (3, 90.0), (4, 90.0), (5, 70.0)];
    assert_eq!(of_both(&open), [raised("both", 3), cleared("both", 5)]);
    // Known to be over only by a row after it.
    assert_eq!(of_both(&[(0, 90.0), (3, 90.0)]), []);
    assert_eq!(of_both(&[(0, 90.0), (3, 70.0), (9, 70.0)]), []);
    assert_eq!(
        of_both(&[(0, 90.0), (7, 70.0)]),
        [raised("both", 3), cleared("both", 7)]
    );
}

#[test]
fn a_combination_that_is_new_counts_what_is_open_already() {
    let mut fed = Fed::new(&only("hot"));
    fed.rows(&[(0, 1, 90.0, None)]);
    let rules: Vec<RuleSpec> = only("hot")
        .into_iter()
        .chain([read(
            "also",
            json!({"kind": {"combination": {"of": "hot"}}}),
        )])
        .collect();
    let saved = fed.processor.snapshot();
    fed.processor = Processor::restore("r", &saved, with_rules(&rules)).unwrap();
    fed.rows(&[(1, 2, 90.0, None), (2, 3, 70.0, None)]);
    let expected = [
        raised("hot", 0),
        raised("also", 0),
        cleared("hot", 2),
        cleared("also", 2),
    ];
    assert_eq!(fed.emitted(), expected);
}

#[test]
fn a_rule_sees_nothing_outside_of_its_scope() {
    let rule = read(
        "in_phase",
        json!({
            "only": {"phases": ["dissection"]},
            "kind": {"threshold": {"signal": "motor_temperature", "raise_above": 82.0}},
        }),
    );
    let mut fed = Fed::new(&[rule]);
    fed.step(0, 0, "started", None);
    fed.step(0, 10, "phase_started", Some("dissection"));
    fed.step(0, 20, "phase_started", Some("closure"));
    fed.rows(&[
        (5, 1, 90.0, Some(0)),
        (10, 2, 90.0, Some(0)),
        (19, 3, 90.0, Some(0)),
    ]);
    assert_eq!(fed.emitted(), [raised("in_phase", 10)]);
    fed.restart();
    fed.rows(&[(20, 4, 90.0, Some(0)), (21, 5, 90.0, None)]);
    assert_eq!(fed.emitted()[1..], [cleared("in_phase", 20)]);
    let alert = alerts(&fed.outputs).pop().unwrap();
    assert_eq!(alert.reason.as_deref(), Some("outside of its scope"));
}

#[test]
fn a_model_is_that_of_the_registry_at_the_time() {
    let rule = read(
        "of_site",
        json!({
            "only": {"facilities": ["FAC-001"]},
            "kind": {"threshold": {"signal": "motor_temperature", "raise_above": 82.0}},
        }),
    );
    let mut fed = Fed::new(&[rule]);
    let entry = registered::entry(0, 5, "1.0.0", "operational");
    fed.processor.apply(5, &entry, &[0], &mut fed.outputs);
    fed.rows(&[(4, 1, 90.0, None), (6, 2, 90.0, None)]);
    assert_eq!(fed.emitted(), [raised("of_site", 6)]);
}

#[test]
fn a_robot_is_compared_with_its_model_as_registered_at_the_time() {
    let rule = read(
        "unlike",
        json!({"kind": {"cohort": {
            "signal": "motor_temperature", "over": "16s", "raise_above": 3.0, "clear_below": 2.0,
            "normal": [
                {"model": "X1", "middle": 70.0, "spread": 2.0, "robots": 9},
                {"model": "X2", "middle": 77.0, "spread": 2.0},
            ]
        }}}),
    );
    let entry = |offset: u64, at: i64, model: &str| {
        let fields = [
            ("event_id", text(&format!("entry/{at}"))),
            ("serial_number", text("S-1")),
            ("facility_id", text("FAC-001")),
            ("status", text("operational")),
            ("robot_model", text(model)),
        ];
        record("robot_registry", offset, NOW + at * S, &fields)
    };
    let told = |cut: usize, restarts: bool| {
        let mut fed = Fed::new(std::slice::from_ref(&rule));
        let value = |at: i64| if at < 40 { 70.0 } else { 77.5 };
        let samples: Vec<Sample> = (0..140).map(|at| (at, at + 1, value(at), None)).collect();
        for (offset, (at, model)) in [(30, "X1"), (90, "X2"), (120, "X3")].iter().enumerate() {
            let entry = entry(offset as u64, *at, model);
            fed.processor.apply(5, &entry, &[0], &mut fed.outputs);
        }
        for rows in samples.chunks(cut) {
            fed.rows(rows);
            if restarts {
                fed.restart();
            }
        }
        fed.emitted()
    };
    let emitted = told(140, false);
    // Seconds 40 to 90 are far from X1, the same is normal for X2.
    assert_eq!(emitted.len(), 2, "{emitted:?}");
    assert_eq!(
        (emitted[0].1, emitted[1].1),
        (Transition::Raised, Transition::Cleared)
    );
    assert!(
        (45..60).contains(&emitted[0].2) && (90..93).contains(&emitted[1].2),
        "{emitted:?}"
    );
    assert_eq!(told(7, true), emitted);
}

#[test]
fn a_robot_that_changes_to_a_model_without_a_normal_is_judged_no_more() {
    let normal = json!([{"model": "X1", "middle": 70.0, "spread": 2.0}]);
    let rule = read(
        "unlike",
        json!({"kind": {"cohort": {
            "signal": "motor_temperature", "over": "16s", "raise_above": 3.0, "normal": normal
        }}}),
    );
    let mut fed = Fed::new(&[rule]);
    for (offset, at, model) in [(0, 0, "X1"), (1, 50, "X3")] {
        let fields = [
            ("event_id", text(&format!("entry/{at}"))),
            ("serial_number", text("S-1")),
            ("facility_id", text("FAC-001")),
            ("status", text("operational")),
            ("robot_model", text(model)),
        ];
        let entry = record("robot_registry", offset, NOW + at * S, &fields);
        fed.processor.apply(5, &entry, &[0], &mut fed.outputs);
    }
    let samples: Vec<Sample> = (0..80).map(|at| (at, at + 1, 90.0, None)).collect();
    fed.rows(&samples);
    let emitted = fed.emitted();
    assert_eq!(emitted[1..], [cleared("unlike", 50)]);
    let ended = alerts(&fed.outputs).pop().unwrap();
    assert!(
        format!("{ended:?}").contains("outside of its scope"),
        "{ended:?}"
    );
}

#[test]
fn nothing_is_raised_while_the_robot_warms_up() {
    let mut fed = Fed::new(&only("awake"));
    fed.rows(&[(0, 1, 70.0, None)]);
    fed.event("started", None, 1);
    fed.rows(&[(2, 2, 90.0, None), (10, 3, 90.0, None)]);
    assert_eq!(fed.emitted(), []);
    fed.restart();
    fed.rows(&[(11, 4, 90.0, None)]);
    assert_eq!(fed.emitted(), [raised("awake", 11)]);
    // What is open goes on, and clears.
    fed.event("maintenance_completed", None, 12);
    fed.rows(&[
        (13, 5, 90.0, None),
        (14, 6, 70.0, None),
        (15, 7, 90.0, None),
    ]);
    assert_eq!(fed.emitted()[1..], [cleared("awake", 14)]);
}

#[test]
fn a_window_that_a_rule_needs_must_be_there() {
    let refused = |kind: serde_json::Value| {
        let rule = read("mean", json!({ "kind": { "aggregate": kind } }));
        let rules = RuleSet::compile(&[rule], registry().datasets()).unwrap();
        let config = config(None);
        let made = ProcessorConfig::new(
            config.time.clone(),
            config.windows.clone(),
            rules,
            &[],
            registry().datasets(),
        );
        made.unwrap_err()
    };
    let kind = |window: &str, aggregate: &str| json!({"signal": "motor_temperature", "window": window, "aggregate": aggregate, "raise_above": 1.0});
    let why = refused(kind("11s", "mean"));
    assert!(
        why.contains("rule 'mean'") && why.contains("did you mean 10s"),
        "{why}"
    );
    let why = refused(kind("10s", "p95"));
    assert!(why.contains("aggregates = \"sketch\""), "{why}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_of_rows_in_order_change_no_byte(
        blocks in proptest::collection::vec((1..25_usize, 70.0..95.0), 4..12),
        cuts in proptest::collection::vec(any::<usize>(), 0..10),
    ) {
        let values = blocks.iter().flat_map(|(rows, value)| vec![*value; *rows]);
        let samples: Vec<Sample> = (values.enumerate())
            .map(|(at, value)| (at as i64, at as i64 + 1, value, None))
            .collect();
        let run = |cuts: &[usize]| {
            let mut fed = Fed::new(&[rules(), later_rules()].concat());
            fed.event("fault", None, 0);
            let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % samples.len()).chain([0, samples.len()]).collect();
            bounds.sort_unstable();
            bounds.dedup();
            for pair in bounds.windows(2) {
                fed.rows(&samples[pair[0]..pair[1]]);
                fed.restart();
            }
            (fed.processor.snapshot(), fed.outputs)
        };
        let (state, outputs) = run(&[]);
        let (cut_state, cut_outputs) = run(&cuts);
        prop_assert_eq!(outputs, cut_outputs);
        prop_assert_eq!(state, cut_state);
    }
}
