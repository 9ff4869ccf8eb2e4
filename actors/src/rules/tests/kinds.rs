//! Rules of all kinds as people write them, and those that cannot work.

use serde_json::{Value, json};

use super::*;

fn read(id: &str, more: Value) -> RuleSpec {
    let mut rule = json!({"id": id, "priority": "medium"});
    let fields = rule.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    serde_json::from_value(rule).unwrap()
}

fn compile(rules: &[RuleSpec]) -> Result<RuleSet, String> {
    RuleSet::compile(rules, Registry::builtin().datasets()).map_err(|error| error.to_string())
}

fn refused(more: Value) -> String {
    let hot = json!({"kind": {"boolean": {"signal": "motor_temperature"}}});
    compile(&[read("hot", hot), read("new", more)]).unwrap_err()
}

fn of(kind: &str, fields: Value) -> Value {
    json!({ "kind": { kind: fields } })
}

#[test]
fn rules_that_cannot_work_say_why_and_what_may_have_been_meant() {
    let signal = "motor_temperature";
    let rate = |over: &str| {
        of(
            "rate",
            json!({"signal": signal, "over": over, "raise_above": 1.0}),
        )
    };
    let deviation = |fields: Value| {
        let mut all = json!({"signal": signal, "raise_above": 3.0});
        all.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        of("deviation", all)
    };
    let cohort = |normal: Value| {
        let fields = json!({"signal": signal, "over": "1h", "raise_above": 4.0, "normal": normal});
        of("cohort", fields)
    };
    let with = |mut rule: Value, key: &str, value: Value| {
        rule[key] = value;
        rule
    };
    let happens = |first: Value| {
        of(
            "sequence",
            json!({"first": first, "then": {"condition": "hot"}, "within": "1m"}),
        )
    };
    let together = |expression: Value| of("combination", json!({ "of": expression }));
    let usage = of("usage", json!({"counter": "cases", "raise_above": 10.0}));
    let threshold = |signal: &str| of("threshold", json!({"signal": signal, "raise_above": 1.0}));
    let count = json!({"signal": signal, "raise_above": 1.0, "count": {"n": 6, "of": 5}});
    let trend = json!({"signal": signal, "limit": 90.0, "within": "1h", "over": "1d", "clear_beyond": "30m"});
    for (rule, why) in [
        (rate("0s"), "over must be longer"),
        (rate("400d"), "at most 366d"),
        (
            of("rate", json!({"signal": signal, "over": "1s"})),
            "exactly one of raise_above",
        ),
        (of("threshold", count), "not 6 of 5"),
        (of("trend", trend), "clear_beyond must not be less"),
        (cohort(json!([])), "theatre rules learn"),
        (
            cohort(json!([{"model": "m", "middle": 1.0, "spread": 0.0}])),
            "give the rule a least_deviation",
        ),
        (deviation(json!({"least": 1})), "least must be 2"),
        (
            deviation(json!({"by": "operating_stat"})),
            "no text column 'operating_stat'",
        ),
        (
            deviation(json!({"by": "procedur_id"})),
            "did you mean procedure_id",
        ),
        (
            threshold("joints[*].curent"),
            "has a signal 'joints[*].curent'",
        ),
        (with(rate("1s"), "only", json!({})), "only must name"),
        (
            with(rate("1s"), "only", json!({"states": ["a"]})),
            "no text column 'operating_state'",
        ),
        (
            with(
                threshold("network_latency_ms"),
                "only",
                json!({"states": ["enabled"]}),
            ),
            "set dataset = \"robot_telemetry\"",
        ),
        (
            with(usage.clone(), "only", json!({"phases": ["a"]})),
            "are of rows",
        ),
        (
            with(usage.clone(), "warm_up", json!("1m")),
            "warm_up goes with rules on a signal",
        ),
        (
            with(usage.clone(), "order", json!("arrival")),
            "leave out order",
        ),
        (
            with(usage, "dataset", json!("fleet_telemetry")),
            "leave out dataset",
        ),
        (
            with(rate("1s"), "warm_up", json!("0s")),
            "warm_up must be longer",
        ),
        (happens(json!({"event": "falut"})), "did you mean fault"),
        (
            happens(json!({"condition": "hott"})),
            "there is no rule 'hott'; did you mean hot?",
        ),
        (
            together(json!({"and": ["hot", "warm"]})),
            "there is no rule 'warm'",
        ),
        (together(json!("new")), "in a circle: new -> new"),
        (together(json!({"not": "hot"})), "while no condition is"),
        (
            with(together(json!("hot")), "max_gap", json!("1m")),
            "max_gap goes with hold",
        ),
        (
            with(threshold(signal), "id", json!(" ")),
            "its id is empty: give it one",
        ),
        (
            with(threshold(signal), "id", json!("a\u{1f}b")),
            "signs that cannot be seen",
        ),
    ] {
        let error = refused(rule.clone());
        assert!(error.contains(why), "{rule}\n{error}\n{why}");
    }
}

#[test]
fn every_kind_with_limits_may_clear_after_a_while_and_says_nothing_of_it_otherwise() {
    let signal = "motor_temperature";
    let normal = json!([{"model": "m", "middle": 1.0, "spread": 1.0}]);
    let limited = [
        ("threshold", json!({"signal": signal})),
        (
            "threshold",
            json!({"signal": signal, "count": {"n": 2, "of": 3}}),
        ),
        ("rate", json!({"signal": signal, "over": "1s"})),
        (
            "aggregate",
            json!({"signal": signal, "window": "w", "aggregate": "mean"}),
        ),
        ("deviation", json!({"signal": signal})),
        (
            "cohort",
            json!({"signal": signal, "over": "1s", "normal": normal}),
        ),
        ("usage", json!({"counter": "cases"})),
    ];
    let trend = json!({"signal": signal, "limit": 90.0, "within": "1m", "over": "1s"});
    let with_limit = limited.map(|(kind, mut fields)| {
        fields["raise_above"] = json!(5.0);
        (kind, fields)
    });
    for (kind, fields) in with_limit.into_iter().chain([("trend", trend)]) {
        for (written, after_us) in [(Some("2h"), 7_200_000_000), (None, 0)] {
            let mut fields = fields.clone();
            if let Some(written) = written {
                fields["clear_after"] = json!(written);
            }
            let spec = read("it", of(kind, fields));
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(json.contains("clear_after"), written.is_some(), "{json}");
            assert_eq!(serde_json::from_str::<RuleSpec>(&json).unwrap(), spec);
            let set = compile(std::slice::from_ref(&spec)).unwrap();
            let Predicate::Limit(limit) = &set.rules()[0].predicate else {
                panic!("{kind} has no limit")
            };
            assert_eq!(limit.clear_after_us, after_us, "{kind}");
            assert!(limit.max_gap_us >= after_us, "{kind}: it could never clear");
        }
    }
}

#[test]
fn a_count_of_what_is_made_of_many_values_already_is_refused() {
    let count = json!({"n": 2, "of": 3});
    let rate = json!({"signal": "s", "over": "1s", "raise_above": 1.0, "count": count});
    let rule = json!({"id": "a", "priority": "low", "kind": {"rate": rate}});
    let error = serde_json::from_value::<RuleSpec>(rule).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `count`"),
        "{error}"
    );
}

#[test]
fn rules_that_follow_each_other_in_a_circle_are_refused_with_it() {
    let follows = |id: &str, of: &str| read(id, json!({"kind": {"combination": {"of": of}}}));
    let hot = read(
        "hot",
        json!({"kind": {"boolean": {"signal": "motor_temperature"}}}),
    );
    let chain = [
        follows("a", "b"),
        follows("b", "c"),
        follows("c", "hot"),
        hot.clone(),
    ];
    assert!(compile(&chain).is_ok());
    let circle = [follows("a", "b"), follows("b", "c"), follows("c", "b"), hot];
    assert_eq!(
        compile(&circle).unwrap_err(),
        "rule 'a': rules follow each other in a circle: b -> c -> b"
    );
}

#[test]
fn a_rule_by_itself_is_checked_without_those_that_it_follows() {
    let rule = read("new", json!({"kind": {"combination": {"of": "elsewhere"}}}));
    let registry = Registry::builtin();
    assert!(RuleSet::check(&rule, registry.datasets()).is_ok());
    assert!(compile(&[rule]).is_err());
}

#[test]
fn units_are_those_of_what_is_judged() {
    let signal = "motor_temperature";
    let limits = |mut fields: Value| {
        fields["signal"] = json!(signal);
        fields["raise_above"] = json!(1.0);
        fields
    };
    for (rule, unit) in [
        (of("threshold", limits(json!({}))), "degC"),
        (of("rate", limits(json!({"over": "1s"}))), "degC/s"),
        (of("deviation", limits(json!({}))), "1"),
        (
            of(
                "aggregate",
                limits(json!({"window": "w", "aggregate": "count"})),
            ),
            "1",
        ),
        (
            of(
                "aggregate",
                limits(json!({"window": "w", "aggregate": "mean"})),
            ),
            "degC",
        ),
        (
            of(
                "trend",
                json!({"signal": signal, "limit": 1.0, "within": "1h", "over": "1d"}),
            ),
            "s",
        ),
    ] {
        let set = compile(&[read("it", rule.clone())]).unwrap();
        let rules = set.for_name("fleet_telemetry").unwrap();
        let found = rules.all().next().unwrap();
        assert_eq!(found.unit.as_deref(), Some(unit), "{rule}");
    }
}
