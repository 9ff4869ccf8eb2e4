//! What is said to all robots of a partition: silences and changes of rules.

mod again;
mod changed;
mod once;

use apache_avro::types::Value;

use super::*;
use crate::control::{self, ControlBook};
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
        clear_after: Micros(0),
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
    let tally = &fleet.outputs.tally;
    assert_eq!(tally.transitions[..3], [1, 0, 1]);
    assert_eq!(tally.shadow_transitions[..3], [1, 0, 1], "counted apart");
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
