//! What is said to all robots of a partition: silences and changes of rules.

use apache_avro::types::Value;

use super::*;
use crate::control::{
    self, ChangeFate, ChangeKind, ControlBook, RuleBase, RuleChange, StandingRules,
};
use crate::rules::COMPILED;

const ACTIONS: usize = 9;
const RULES: usize = 10;

fn book(needs_approval: bool) -> Arc<ControlBook> {
    let config = with_rules(&[rule("hot", Priority::Medium, hot(0))]);
    let topics = vec![ACTIONS, RULES];
    Arc::new(ControlBook::new(
        config,
        registry().datasets(),
        topics,
        needs_approval,
    ))
}

fn config_of_book() -> Arc<ProcessorConfig> {
    with_rules(&[rule("hot", Priority::Medium, hot(0))])
}

/// The book of a partition whose rule file is another one, with what its actor remembers.
fn restored_book(rules: &[RuleSpec], actor: &Processor) -> Arc<ControlBook> {
    let (config, topics) = (with_rules(rules), vec![ACTIONS, RULES]);
    let book = ControlBook::new(config, registry().datasets(), topics, false);
    book.restore(&actor.snapshot()).unwrap();
    Arc::new(book)
}

/// A record for partition 0.
fn wide(subject: &str, offset: u64, fields: &[(&str, Value)]) -> Arc<Batch> {
    let mut all = vec![
        ("robot_id", text(&control::name(0))),
        ("actor", text("dana")),
    ];
    all.retain(|(name, _)| fields.iter().all(|(given, _)| given != name));
    all.extend(fields.iter().cloned());
    record_of(subject, offset, (NOW + 50 * S, NOW + 100 * S), &all)
}

fn change(offset: u64, kind: &str, id: &str, rule: Option<&RuleSpec>, shadow: bool) -> Arc<Batch> {
    let mut fields = vec![
        ("change_id", text(&format!("change {offset}"))),
        ("change", Value::Enum(0, kind.to_owned())),
        ("rule_id", text(id)),
        ("shadow", Value::Boolean(shadow)),
    ];
    if let Some(rule) = rule {
        fields.push(("rule", text(&serde_json::to_string(rule).unwrap())));
    }
    wide("rule_changes", offset, &fields)
}

/// A partition with its own actor and one robot.
struct Fleet {
    book: Arc<ControlBook>,
    robot: Processor,
    actor: Processor,
    outputs: Outputs,
    next: u64,
}

impl Fleet {
    fn new() -> Self {
        let book = book(false);
        let begun =
            |name: &str| Processor::begun(name, config_of_book(), &book, &Positions::zero());
        Self {
            robot: begun("r"),
            actor: begun(&control::name(0)),
            book,
            outputs: Outputs::default(),
            next: 0,
        }
    }

    fn say(&mut self, topic: usize, batch: &Batch) {
        self.book.note(topic, batch, 0);
        self.actor.apply(topic, batch, &[0], &mut self.outputs);
        self.robot.apply(topic, batch, &[0], &mut self.outputs);
    }

    fn rows(&mut self, samples: &[(i64, f64)]) {
        let next = self.next;
        let numbered = |(index, (time, value)): (usize, &(i64, f64))| {
            (*time, next as i64 + index as i64 + 1, *value, None)
        };
        let samples: Vec<Sample> = samples.iter().enumerate().map(numbered).collect();
        let batch = telemetry_from(self.next, &samples);
        let rows: Vec<u32> = (0..batch.len() as u32).collect();
        self.robot.apply(0, &batch, &rows, &mut self.outputs);
        self.next += samples.len() as u64;
    }

    /// The process ends and begins anew, from what is saved.
    fn restart(&mut self) {
        self.restart_under(false);
    }

    /// The same with the setting that changes of rules need approval, or not.
    fn restart_under(&mut self, needs_approval: bool) {
        let book = book(needs_approval);
        book.restore(&self.actor.snapshot()).unwrap();
        let restored = |name: &str, of: &Processor| {
            let config = config_of_book();
            Processor::restore(name, &of.snapshot(), config)
                .unwrap()
                .under(&book)
        };
        self.robot = restored("r", &self.robot);
        self.actor = restored(&control::name(0), &self.actor);
        self.book = book;
    }

    fn emitted(&mut self) -> Vec<(String, Transition, i64)> {
        let emitted = alerts(&self.outputs);
        self.outputs.events.clear();
        let seconds = |alert: &Alert| (alert.event_time - NOW) / S;
        emitted
            .iter()
            .map(|alert| (alert.rule_id.clone(), alert.transition, seconds(alert)))
            .collect()
    }
}

fn at(rule: &str, transition: Transition, seconds: i64) -> (String, Transition, i64) {
    (rule.to_owned(), transition, seconds)
}

#[test]
fn a_changed_rule_judges_from_its_record_on_also_after_a_restart() {
    use Transition::{Cleared, Raised};
    let mut fleet = Fleet::new();
    fleet.rows(&[(1, 87.0)]);
    assert_eq!(fleet.emitted(), [at("hot", Raised, 1)]);
    let later = RuleSpec {
        version: 2,
        ..rule("hot", Priority::Medium, hot(0))
    };
    let cold = RuleKind::Threshold {
        signal: "motor_temperature".into(),
        raise_above: None,
        clear_below: None,
        raise_below: Some(75.0),
        clear_above: None,
        hold: Micros(0),
        escalate: vec![],
        count: None,
    };
    let cold = rule("cold", Priority::Low, cold);
    fleet.say(RULES, &change(0, "put", "hot", Some(&later), false));
    fleet.say(RULES, &change(1, "put", "cold", Some(&cold), false));
    assert_eq!(
        fleet.emitted(),
        [],
        "what is open under a rule stays open under its next version"
    );
    fleet.restart();
    fleet.rows(&[(2, 70.0)]);
    assert_eq!(
        fleet.emitted(),
        [at("hot", Cleared, 2), at("cold", Raised, 2)]
    );
    fleet.say(RULES, &change(2, "remove", "cold", None, false));
    assert_eq!(fleet.emitted(), [at("cold", Cleared, 2)]);
    fleet.say(RULES, &change(3, "disable", "hot", None, false));
    fleet.restart();
    fleet.rows(&[(3, 99.0)]);
    assert_eq!(fleet.emitted(), []);
    fleet.say(RULES, &change(4, "enable", "hot", None, false));
    fleet.rows(&[(4, 99.0)]);
    assert_eq!(fleet.emitted(), [at("hot", Raised, 4)]);
    assert_eq!(
        fleet.robot.counters().get(RULES).map_or(0, Counters::total),
        0
    );
    assert_eq!(fleet.actor.counters()[RULES].applied, 5, "accounted once");
}

#[test]
fn a_change_counts_as_it_did_when_it_came_whatever_is_needed_since() {
    use Transition::Raised;
    let mut fleet = Fleet::new();
    fleet.say(RULES, &change(0, "disable", "hot", None, false));
    fleet.restart_under(true);
    fleet.rows(&[(1, 90.0)]);
    assert_eq!(fleet.emitted(), [], "no one has to approve it now");
    fleet.say(RULES, &change(1, "enable", "hot", None, false));
    fleet.restart_under(false);
    fleet.rows(&[(2, 90.0)]);
    assert_eq!(fleet.emitted(), [], "it waits as it did");
    let approval = [
        ("change_id", text("change 2")),
        ("change", Value::Enum(4, "approve".into())),
        ("rule_id", text("hot")),
        ("approves", text("change 1")),
        ("actor", text("ben")),
    ];
    fleet.say(RULES, &wide("rule_changes", 2, &approval));
    fleet.rows(&[(3, 90.0)]);
    assert_eq!(fleet.emitted(), [at("hot", Raised, 3)]);
}

#[test]
fn a_processor_that_was_saved_before_a_change_meets_it_again_at_its_place() {
    use Transition::{Cleared, Raised};
    let mut fleet = Fleet::new();
    fleet.rows(&[(1, 87.0)]);
    let saved = fleet.robot.snapshot();
    let removed = change(0, "remove", "hot", None, false);
    fleet.say(RULES, &removed);
    assert_eq!(
        fleet.emitted(),
        [at("hot", Raised, 1), at("hot", Cleared, 1)]
    );
    // Killed: the actor was saved, the robot was not.
    let book = book(false);
    book.restore(&fleet.actor.snapshot()).unwrap();
    let robot = Processor::restore("r", &saved, config_of_book()).unwrap();
    fleet.robot = robot.under(&book);
    fleet.book = book;
    fleet.rows(&[(2, 70.0), (3, 87.0)]);
    assert_eq!(
        fleet.emitted(),
        [at("hot", Cleared, 2), at("hot", Raised, 3)]
    );
    fleet.robot.apply(RULES, &removed, &[0], &mut fleet.outputs);
    assert_eq!(fleet.emitted(), [at("hot", Cleared, 3)]);
}

#[test]
fn a_change_that_does_not_fit_is_a_dead_letter_and_changes_nothing() {
    let mut fleet = Fleet::new();
    let unknown = RuleKind::Boolean {
        signal: "motor_temprature".into(),
        when: true,
        hold: Micros(0),
        clear_after: Micros(0),
    };
    let unknown = rule("new", Priority::Low, unknown);
    fleet.say(RULES, &change(0, "put", "new", Some(&unknown), false));
    fleet.say(RULES, &change(1, "disable", "hit", None, false));
    let why: Vec<&str> = fleet
        .outputs
        .dead
        .iter()
        .map(|dead| dead.detail.as_str())
        .collect();
    assert!(why[0].contains("did you mean motor_temperature"), "{why:?}");
    assert!(why[1].contains("did you mean hot"), "{why:?}");
    fleet.rows(&[(1, 90.0)]);
    assert_eq!(fleet.emitted().len(), 1);
    let own = record(
        "rule_changes",
        2,
        NOW,
        &[
            ("change_id", text("c")),
            ("change", Value::Enum(0, "remove".into())),
            ("rule_id", text("hot")),
            ("actor", text("dana")),
        ],
    );
    fleet.robot.apply(RULES, &own, &[0], &mut fleet.outputs);
    assert!(fleet.outputs.dead[2].detail.contains("for all robots"));
}

#[test]
fn a_rule_in_the_shadow_sends_nothing_and_is_counted() {
    let mut fleet = Fleet::new();
    let shadow = rule("hot", Priority::High, hot(0));
    fleet.say(RULES, &change(0, "put", "hot", Some(&shadow), true));
    // Who changes rules sees soon that they hold; what a shadow says is not urgent.
    fleet.outputs.urgent = false;
    fleet.rows(&[(1, 90.0), (2, 70.0)]);
    let shadows = by_kind(&fleet.outputs, OutputKind::ShadowAlert);
    assert!(!fleet.outputs.urgent);
    let emitted: Vec<Alert> = shadows
        .iter()
        .map(|output| Alert::decode(&output.payload).unwrap())
        .collect();
    assert_eq!(emitted.len(), 2);
    let of_rule = alerts(&fleet.outputs);
    assert_eq!((of_rule.len(), of_rule[0].priority), (2, Priority::Medium));
    assert_eq!(
        (emitted[0].rule_id.as_str(), emitted[0].priority),
        ("hot", Priority::High)
    );
    assert_ne!(emitted[0].condition_id, of_rule[0].condition_id);
    fleet.rows(&[(3, 90.0)]);
    assert_eq!(fleet.robot.open_conditions(), [0, 1, 0]);
    assert_eq!(fleet.robot.view().conditions.len(), 1);
}

/// How many rules are compiled meanwhile.
fn compiled(meanwhile: impl FnOnce()) -> usize {
    let before = COMPILED.get();
    meanwhile();
    COMPILED.get() - before
}

#[test]
fn a_partition_is_taken_without_compiling_all_rules_for_every_change() {
    let mut fleet = Fleet::new();
    let changes = 100;
    for offset in 0..changes {
        let id = format!("rule {offset}");
        let put = rule(&id, Priority::Low, hot(0));
        let batch = change(offset, "put", &id, Some(&put), false);
        fleet.book.note(RULES, &batch, 0);
        fleet.actor.apply(RULES, &batch, &[0], &mut fleet.outputs);
    }
    let (saved, book) = (fleet.actor.snapshot(), book(false));
    let restored = compiled(|| book.restore(&saved).unwrap());
    assert_eq!(restored, changes as usize, "each change its own rule");
    let here = |read: u64| {
        let mut positions = Positions::zero();
        positions.advance(RULES, read);
        positions
    };
    let latest = compiled(|| {
        let first = book.config_at(&here(changes));
        let again = book.config_at(&here(changes));
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(first.rules.written().len(), changes as usize + 1);
    });
    assert_eq!(latest, changes as usize + 1, "all rules once");
    assert_eq!(book.config_at(&here(7)).rules.written().len(), 8);
    assert_eq!(book.config_at(&here(0)).rules.written().len(), 1);
}

#[test]
fn what_no_processor_does_any_more_is_not_kept() {
    let mut fleet = Fleet::new();
    for offset in 0..3 {
        let id = format!("rule {offset}");
        let put = rule(&id, Priority::Low, hot(0));
        fleet.say(RULES, &change(offset, "put", &id, Some(&put), false));
    }
    let here = |read: u64| {
        let mut positions = Positions::zero();
        positions.advance(RULES, read);
        positions
    };
    let asked = |read: u64| compiled(|| drop(fleet.book.config_at(&here(read))));
    assert_eq!([1, 2, 3].map(asked), [0; 3], "robots may be on their way");
    let held = fleet.book.config_at(&here(1));
    fleet.book.settle();
    assert_eq!(
        [1, 2, 3].map(asked),
        [0, 3, 0],
        "made again for who goes back"
    );
    assert!(Arc::ptr_eq(&held, &fleet.book.config_at(&here(1))));
}

#[test]
fn a_silence_for_all_holds_for_robots_that_appear_later() {
    let mut fleet = Fleet::new();
    let until = NOW + 2_000 * S;
    let silence = wide(
        "alert_actions",
        0,
        &[
            ("action_id", text("a")),
            ("action", Value::Enum(0, "silence".into())),
            ("until", Value::TimestampMicros(until)),
        ],
    );
    let before = Positions::from(vec![0; 11]);
    fleet.say(ACTIONS, &silence);
    fleet.restart();
    let mut after = before.clone();
    after.advance(ACTIONS, 1);
    for (at, silences) in [(before, 0), (after, 1)] {
        let late = Processor::begun("late", config_of_book(), &fleet.book, &at);
        assert_eq!(late.view().silences.len(), silences);
    }
    fleet.rows(&[(1, 90.0)]);
    assert_eq!(alerts(&fleet.outputs)[0].silenced_until, Some(until));
}

fn combination(of: serde_json::Value, hold: &str) -> RuleSpec {
    serde_json::from_value(serde_json::json!({
        "id": "both", "priority": "low",
        "kind": {"combination": {"of": of, "hold": hold}},
    }))
    .unwrap()
}

fn above(id: &str, limit: f64) -> RuleSpec {
    let mut kind = hot(0);
    if let RuleKind::Threshold {
        raise_above,
        clear_below,
        ..
    } = &mut kind
    {
        (*raise_above, *clear_below) = (Some(limit), Some(limit));
    }
    rule(id, Priority::Low, kind)
}

/// What becomes of a combination of `hot` (open) and `warm` (open or not) that is changed.
fn changed_combination(
    warm_above: f64,
    (before, hold_before): (&serde_json::Value, &str),
    (now, hold_now): (&serde_json::Value, &str),
    restarts: bool,
) -> Vec<(String, Transition, i64)> {
    let mut fleet = Fleet::new();
    let restart = |fleet: &mut Fleet| {
        if restarts {
            fleet.restart();
        }
    };
    let put = |offset: u64, rule: &RuleSpec| change(offset, "put", &rule.id, Some(rule), false);
    fleet.say(RULES, &put(0, &above("warm", warm_above)));
    fleet.say(RULES, &put(1, &combination(before.clone(), hold_before)));
    fleet.rows(&[(1, 90.0), (2, 90.0)]);
    restart(&mut fleet);
    fleet.say(RULES, &put(2, &combination(now.clone(), hold_now)));
    restart(&mut fleet);
    fleet.rows(&[
        (3, 90.0),
        (4, 90.0),
        (5, 90.0),
        (6, 90.0),
        (7, 90.0),
        (8, 90.0),
    ]);
    let emitted = fleet.emitted().into_iter();
    emitted.filter(|(rule, ..)| rule == "both").collect()
}

#[test]
fn a_changed_combination_is_judged_at_its_place_by_what_is_open_then() {
    use Transition::{Cleared, Raised};
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let (and, or) = (
        json(r#"{"and": ["hot", "warm"]}"#),
        json(r#"{"or": ["hot", "warm"]}"#),
    );
    let (hot, not) = (
        json(r#""hot""#),
        json(r#"{"and": ["hot", {"not": "warm"}]}"#),
    );
    let (open, closed) = (80.0, 95.0);
    let (raised, cleared) = (
        |seconds: i64| at("both", Raised, seconds),
        |seconds: i64| at("both", Cleared, seconds),
    );
    for (warm, before, now, expected) in [
        // Not true before, true now: from the clock at the change on.
        (closed, (&and, "0s"), (&or, "0s"), vec![raised(2)]),
        (
            closed,
            (&or, "0s"),
            (&and, "0s"),
            vec![raised(1), cleared(2)],
        ),
        // True under both: it stays open.
        (open, (&and, "0s"), (&or, "0s"), vec![raised(1)]),
        // Other members.
        (closed, (&and, "0s"), (&hot, "0s"), vec![raised(2)]),
        (
            open,
            (&hot, "0s"),
            (&not, "0s"),
            vec![raised(1), cleared(2)],
        ),
        // The hold of another expression begins at the change, also where the one before was true.
        (closed, (&and, "0s"), (&or, "3s"), vec![raised(5)]),
        (open, (&and, "3s"), (&or, "3s"), vec![raised(5)]),
        // The same expression goes on, for as long as it says now.
        (open, (&and, "5s"), (&and, "3s"), vec![raised(4)]),
        (open, (&and, "5s"), (&and, "0s"), vec![raised(2)]),
        (open, (&and, "3s"), (&and, "3s"), vec![raised(4)]),
    ] {
        for restarts in [false, true] {
            let told = changed_combination(warm, before, now, restarts);
            assert_eq!(
                told, expected,
                "{before:?} -> {now:?}, restarts: {restarts}"
            );
        }
    }
}

#[test]
fn a_combination_of_another_rule_file_is_judged_when_the_robot_goes_on() {
    use Transition::{Cleared, Raised};
    let json = |of: &str| serde_json::json!({of: ["hot", "warm"]});
    let rules = |of: &str| {
        [
            rule("hot", Priority::Medium, hot(0)),
            above("warm", 95.0),
            combination(json(of), "0s"),
        ]
    };
    let mut fleet = Fleet::new();
    fleet.robot = Processor::new("r", with_rules(&rules("and")));
    fleet.rows(&[(1, 90.0)]);
    let goes_on = |fleet: &mut Fleet, of: &str| {
        let saved = fleet.robot.snapshot();
        fleet.robot = Processor::restore("r", &saved, with_rules(&rules(of))).unwrap();
    };
    goes_on(&mut fleet, "or");
    fleet.rows(&[(2, 90.0)]);
    goes_on(&mut fleet, "or");
    fleet.rows(&[(3, 90.0)]);
    goes_on(&mut fleet, "and");
    fleet.rows(&[(4, 90.0)]);
    let expected = [
        at("hot", Raised, 1),
        at("both", Raised, 1),
        at("both", Cleared, 2),
    ];
    let emitted = fleet.emitted();
    assert_eq!(emitted[..2], expected[..2]);
    assert_eq!(emitted[2], at("both", Cleared, 3));
    assert_eq!(emitted.len(), 3);
}

/// An answer to a change of rules.
fn answer(offset: u64, kind: &str, of: &str, actor: &str) -> Arc<Batch> {
    let field = if kind == "approve" {
        "approves"
    } else {
        "rejects"
    };
    let fields = [
        ("change_id", text(&format!("change {offset}"))),
        ("change", Value::Enum(0, kind.to_owned())),
        ("rule_id", text("hot")),
        ("actor", text(actor)),
        ("comment", text("no")),
        (field, text(of)),
    ];
    wide("rule_changes", offset, &fields)
}

#[test]
fn a_change_that_was_rejected_or_withdrawn_never_counts() {
    use Transition::Raised;
    for who in ["ben", "dana"] {
        for restarts in [false, true] {
            let mut fleet = Fleet::new();
            fleet.restart_under(true);
            let restart = |fleet: &mut Fleet| {
                if restarts {
                    fleet.restart_under(true);
                }
            };
            fleet.say(RULES, &change(0, "disable", "hot", None, false));
            restart(&mut fleet);
            fleet.say(RULES, &answer(1, "reject", "change 0", who));
            restart(&mut fleet);
            fleet.say(RULES, &answer(2, "approve", "change 0", "ben"));
            fleet.say(RULES, &answer(3, "reject", "change 0", "ben"));
            fleet.rows(&[(1, 90.0)]);
            assert_eq!(
                fleet.emitted(),
                [at("hot", Raised, 1)],
                "it judges as before"
            );
            let dead: Vec<&str> = (fleet.outputs.dead.iter())
                .map(|dead| dead.detail.as_str())
                .collect();
            assert_eq!(dead.len(), 2, "{dead:?}");
            assert!(dead[0].contains("waits to be approved") && dead[1].contains("none waits"));
        }
    }
}

#[test]
fn an_approval_that_is_refused_leaves_the_change_waiting() {
    use Transition::{Cleared, Raised};
    let mut fleet = Fleet::new();
    fleet.rows(&[(1, 90.0)]);
    fleet.restart_under(true);
    // It follows a rule that is not there.
    let follows: RuleSpec = serde_json::from_value(serde_json::json!({
        "id": "hot", "priority": "low", "kind": {"combination": {"of": "warm"}},
    }))
    .unwrap();
    fleet.say(RULES, &change(0, "put", "hot", Some(&follows), false));
    fleet.say(RULES, &answer(1, "approve", "change 0", "ben"));
    assert!(fleet.outputs.dead[0].detail.contains("'warm'"));
    fleet.say(
        RULES,
        &change(2, "put", "warm", Some(&above("warm", 99.0)), false),
    );
    fleet.say(RULES, &answer(3, "approve", "change 2", "ben"));
    fleet.say(RULES, &answer(4, "approve", "change 0", "lee"));
    assert_eq!(fleet.outputs.dead.len(), 1);
    assert_eq!(
        fleet.emitted(),
        [at("hot", Raised, 1), at("hot", Cleared, 1)],
        "it is a rule on another one now"
    );
}

#[test]
fn a_change_that_comes_again_under_its_id_changes_nothing() {
    let mut fleet = Fleet::new();
    let again = |offset: u64, kind: &str| {
        let fields = [
            ("change_id", text("once")),
            ("change", Value::Enum(0, kind.to_owned())),
            ("rule_id", text("hot")),
        ];
        wide("rule_changes", offset, &fields)
    };
    fleet.say(RULES, &again(0, "disable"));
    fleet.restart();
    fleet.say(RULES, &change(1, "enable", "hot", None, false));
    fleet.say(RULES, &again(2, "disable"));
    fleet.restart();
    fleet.rows(&[(1, 90.0)]);
    assert_eq!(fleet.emitted().len(), 1, "it judges");
    assert!(fleet.outputs.dead.is_empty());
    assert_eq!(fleet.actor.counters()[RULES].applied, 3);
}

#[test]
fn a_rule_that_follows_one_which_is_gone_is_refused_and_holds_up_no_other_change() {
    let mut fleet = Fleet::new();
    let follows = combination(serde_json::json!({"and": ["hot", "robot_silent"]}), "0s");
    fleet.say(RULES, &change(0, "put", "both", Some(&follows), false));
    // A newer rule file has no `hot`.
    let base = [above("warm", 80.0)];
    let registry = registry();
    let rules = RuleBase {
        rules: &base,
        needs_approval: false,
        datasets: registry.datasets(),
        windows: None,
    };
    let ids = |rules: Vec<RuleSpec>| rules.into_iter().map(|rule| rule.id).collect::<Vec<_>>();
    for removed in [false, true] {
        fleet.book = restored_book(&base, &fleet.actor);
        let mut positions = Positions::zero();
        positions.advance(RULES, 9);
        let state = fleet.actor.snapshot();
        let mut standing = StandingRules::read(rules, Some(&state)).unwrap();
        assert_eq!(
            ids(fleet.book.config_at(&positions).rules.written()),
            ["warm"]
        );
        assert_eq!(ids(standing.rules()), ["warm"], "it is not enabled");
        if removed {
            assert!(standing.refused().is_empty());
            break;
        }
        let [refused] = standing.refused() else {
            panic!("{:?}", standing.refused())
        };
        assert!(
            refused.spec.id == "both" && refused.why.contains("no rule 'hot'"),
            "{refused:?}"
        );
        let fate = standing.fate(&standing.changes()[0].clone());
        assert!(matches!(fate, ChangeFate::Refused { .. }), "{fate:?}");
        let put = |rule: &RuleSpec| RuleChange {
            change_id: format!("put {}", rule.id),
            rule_id: rule.id.clone(),
            rule: Some(serde_json::to_string(rule).unwrap()),
            actor: "dana".to_owned(),
            ..RuleChange::default()
        };
        let gone = |kind: ChangeKind| RuleChange {
            change_id: "gone".to_owned(),
            kind,
            rule_id: "both".to_owned(),
            actor: "dana".to_owned(),
            ..RuleChange::default()
        };
        assert_eq!(standing.check(&put(&above("cold", 1.0))), Ok(()));
        let why = standing.check(&gone(ChangeKind::Disable)).unwrap_err();
        assert!(why.contains("put it again, or remove it"), "{why}");
        assert_eq!(standing.check(&gone(ChangeKind::Remove)), Ok(()));
        // Processors think so, too.
        let under = |processor: &Processor, name: &str, book: &Arc<ControlBook>| {
            let restored = Processor::restore(name, &processor.snapshot(), with_rules(&base));
            restored.unwrap().under(book)
        };
        fleet.actor = under(&fleet.actor, &control::name(0), &fleet.book);
        fleet.robot = under(&fleet.robot, "r", &fleet.book);
        fleet.say(
            RULES,
            &change(1, "put", "cold", Some(&above("cold", 99.0)), false),
        );
        fleet.say(RULES, &change(2, "remove", "cold", None, false));
        fleet.say(RULES, &change(3, "remove", "both", None, false));
        assert!(fleet.outputs.dead.is_empty(), "{:?}", fleet.outputs.dead);
    }
    // With the file of before it was removed, too.
    let book = restored_book(&[rule("hot", Priority::Medium, hot(0))], &fleet.actor);
    let mut positions = Positions::zero();
    positions.advance(RULES, 9);
    assert_eq!(ids(book.config_at(&positions).rules.written()), ["hot"]);
}

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

#[test]
fn what_was_taken_back_does_not_come_back_with_a_repetition() {
    let mut fleet = Fleet::new();
    fleet.say(ACTIONS, &act(0, "a", "silence", 50, &[]));
    fleet.say(ACTIONS, &act(1, "b", "unsilence", 51, &[]));
    fleet.say(ACTIONS, &act(2, "a", "silence", 52, &[]));
    assert!(fleet.robot.view().silences.is_empty());
    let mut after = Positions::from(vec![0; 11]);
    after.advance(ACTIONS, 3);
    let late = Processor::begun("late", config_of_book(), &fleet.book, &after);
    assert!(late.view().silences.is_empty());
}

#[test]
fn silences_for_all_are_as_many_as_every_robot_can_keep_and_none_is_forgotten() {
    let mut fleet = Fleet::new();
    let silence = |offset: u64| {
        let facility = text(&format!("FAC-{offset:03}"));
        act(
            offset,
            &format!("s{offset}"),
            "silence",
            50,
            &[("facility_id", facility)],
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
    let mut after = Positions::from(vec![0; 11]);
    after.advance(ACTIONS, 2 * first + 1);
    let late = Processor::begun("late", config_of_book(), &fleet.book, &after);
    assert_eq!(late.view().silences.len(), SILENCES_MAX);
    // One is taken back; then the same one is taken.
    let back = act(
        2 * first + 1,
        "back",
        "unsilence",
        60,
        &[("silence_id", text("s64"))],
    );
    fleet.say(ACTIONS, &back);
    let facility = text("FAC-128");
    let again = act(
        2 * first + 2,
        "s128",
        "silence",
        61,
        &[("facility_id", facility)],
    );
    fleet.say(ACTIONS, &again);
    assert_eq!(count(&fleet), 2 * SILENCES_MAX);
    let ids: Vec<String> = (fleet.robot.view().silences.into_iter())
        .map(|silence| silence.silence_id)
        .collect();
    assert!(ids.contains(&"s128".to_owned()) && !ids.contains(&"s64".to_owned()));
}
