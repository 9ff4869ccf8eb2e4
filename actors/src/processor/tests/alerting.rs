//! The life of conditions: what people do about them, what falls due, and what flaps.

mod following;

use apache_avro::types::Value;

use super::*;
use crate::rules::{FlappingSpec, Unacknowledged};

const ACTIONS: usize = 9;

/// What a person does at 50 s about conditions of the robot; its id is its offset.
pub(super) fn action(offset: u64, action: &str, fields: &[(&str, Value)]) -> Arc<Batch> {
    let mut all = vec![
        ("action_id", text(&format!("action {offset}"))),
        ("action", Value::Enum(0, action.to_owned())),
        ("actor", text("dana")),
    ];
    if action == "silence" {
        all.push(("until", Value::TimestampMicros(NOW + 2_000 * S)));
    }
    all.extend(fields.iter().cloned());
    record("alert_actions", offset, NOW + 50 * S, &all)
}

/// The same samples, appended at so many seconds.
pub(super) fn appended(batch: &Batch, at: &[i64]) -> Batch {
    let times = at.iter().map(|at| NOW + at * S).collect();
    Batch::new(
        batch.dataset.clone(),
        batch.dataset_index,
        batch.columns().cloned().collect(),
        batch.offsets.clone(),
        times,
    )
}

struct Robot {
    processor: Processor,
    outputs: Outputs,
    next: u64,
    actions: u64,
}

impl Robot {
    fn new(rules: &[RuleSpec]) -> Self {
        Self {
            processor: Processor::new("r", with_rules(rules)),
            outputs: Outputs::default(),
            next: 0,
            actions: 0,
        }
    }

    /// Samples (event time and temperature), appended when they were taken.
    fn rows(&mut self, samples: &[(i64, f64)]) {
        let at: Vec<i64> = samples.iter().map(|(time, _)| *time).collect();
        self.rows_at(samples, &at);
    }

    fn rows_at(&mut self, samples: &[(i64, f64)], at: &[i64]) {
        let next = self.next;
        let numbered = |(index, (time, value)): (usize, &(i64, f64))| {
            (*time, next as i64 + index as i64 + 1, *value, None)
        };
        let samples: Vec<Sample> = samples.iter().enumerate().map(numbered).collect();
        let batch = appended(&telemetry_from(self.next, &samples), at);
        let rows: Vec<u32> = (0..batch.len() as u32).collect();
        self.processor.apply(0, &batch, &rows, &mut self.outputs);
        self.next += samples.len() as u64;
    }

    fn act(&mut self, verb: &str, fields: &[(&str, Value)]) {
        let batch = appended(&action(self.actions, verb, fields), &[50]);
        self.processor
            .apply(ACTIONS, &batch, &[0], &mut self.outputs);
        self.actions += 1;
    }

    /// What was emitted since the last call: how, when (seconds) and with which number.
    fn emitted(&mut self) -> Vec<(Transition, i64, i32)> {
        let emitted = alerts(&self.outputs);
        self.outputs.events.clear();
        emitted
            .iter()
            .map(|alert| {
                (
                    alert.transition,
                    (alert.event_time - NOW) / S,
                    alert.revision,
                )
            })
            .collect()
    }
}

fn hot_rule() -> RuleSpec {
    rule("hot", Priority::Medium, hot(0))
}

#[test]
fn a_condition_is_acknowledged_assigned_silenced_and_ends() {
    use Transition::{Acknowledged, Assigned, Cleared, Raised, Silenced, Unacknowledged};
    let mut robot = Robot::new(&[hot_rule()]);
    robot.rows(&[(1, 90.0)]);
    let raised = alerts(&robot.outputs)[0].clone();
    assert_eq!(robot.emitted(), [(Raised, 1, 0)]);
    let condition = [("condition_id", text(&raised.condition_id))];
    robot.act("acknowledge", &condition);
    let acknowledged = alerts(&robot.outputs)[0].clone();
    assert_eq!(acknowledged.acknowledged_by.as_deref(), Some("dana"));
    assert_eq!(acknowledged.action_id.as_deref(), Some("action 0"));
    assert_eq!(
        (acknowledged.signal, acknowledged.condition_id),
        (raised.signal, raised.condition_id)
    );
    assert_eq!(robot.emitted(), [(Acknowledged, 50, 1)]);
    robot.act("acknowledge", &condition);
    assert_eq!(robot.emitted(), [], "it is acknowledged already");
    robot.act("assign", &[("assignee", text("lee"))]);
    robot.act("silence", &[("rule_id", text("hot"))]);
    robot.act("unacknowledge", &[]);
    let expected = [
        (Assigned, 50, 2),
        (Silenced, 50, 3),
        (Unacknowledged, 50, 4),
    ];
    assert_eq!(robot.emitted(), expected);
    let view = &robot.processor.view().conditions[0];
    assert_eq!(view.assignee.as_deref(), Some("lee"));
    assert_eq!(view.silenced_until, Some(NOW + 2_000 * S));
    assert_eq!((view.acknowledged_by.clone(), view.is_stale), (None, false));
    assert_eq!(robot.processor.view().silences.len(), 1);
    robot.rows(&[(60, 70.0)]);
    assert_eq!(robot.emitted(), [(Cleared, 60, 5)]);
    assert_eq!(robot.processor.open_conditions(), [0; 3]);
    robot.act("acknowledge", &condition);
    assert_eq!(robot.outputs.dead.len(), 1, "it has ended");
    assert!(robot.outputs.dead[0].detail.contains("has ended"));
}

#[test]
fn what_is_open_on_a_silent_robot_is_old_and_its_silence_is_not() {
    let read = |json: serde_json::Value| serde_json::from_value::<RuleSpec>(json).unwrap();
    let rules = [
        hot_rule(),
        read(serde_json::json!({"id": "also", "priority": "low",
            "kind": {"combination": {"of": {"or": ["hot", "cases"]}}}})),
        read(serde_json::json!({"id": "cases", "priority": "low",
            "kind": {"usage": {"counter": "cases", "raise_above": -1.0}}})),
        read(serde_json::json!({"id": "long", "priority": "high",
            "kind": {"missing_data": {"after": "90s"}}})),
    ];
    let mut robot = Robot::new(&rules);
    let old = |robot: &Robot| -> Vec<(String, bool)> {
        let shown = robot.processor.view();
        let stored = ProcessorView::from_state("r", &robot.processor.snapshot()).unwrap();
        let old = |view: ProcessorView| -> Vec<(String, bool)> {
            let conditions = view.conditions.into_iter();
            conditions.map(|it| (it.rule_id, it.is_stale)).collect()
        };
        let (shown, stored) = (old(shown), old(stored));
        assert_eq!(shown, stored);
        shown
    };
    let of = |marked: &[(&str, bool)]| -> Vec<(String, bool)> {
        let marked = marked.iter();
        marked
            .map(|(rule, old)| ((*rule).to_owned(), *old))
            .collect()
    };
    robot.rows(&[(1, 90.0)]);
    robot.rows_at(&[(1_000_000, 90.0)], &[2]);
    let heard = [
        ("also", false),
        ("cases", false),
        ("clock_skew", false),
        ("hot", false),
    ];
    assert_eq!(old(&robot), of(&heard));
    let tick = |robot: &mut Robot, at: i64| {
        robot
            .processor
            .tick(LogTime(NOW + at * S), &mut robot.outputs);
    };
    tick(&mut robot, 10);
    assert_eq!(old(&robot), of(&heard), "it is not silent yet");
    tick(&mut robot, 63);
    let silent = [
        ("also", true),
        ("cases", true),
        ("clock_skew", true),
        ("robot_silent", false),
        ("hot", true),
    ];
    assert_eq!(old(&robot), of(&silent));
    tick(&mut robot, 93);
    let longer = [&silent[..3], &[("long", false)], &silent[3..]].concat();
    assert_eq!(old(&robot), of(&longer), "both say that nothing comes");
    robot.rows(&[(120, 90.0)]);
    assert_eq!(old(&robot), of(&heard), "it is heard again");
}

#[test]
fn an_action_that_comes_again_changes_nothing() {
    let mut robot = Robot::new(&[hot_rule()]);
    robot.rows(&[(1, 90.0)]);
    let first = appended(&action(0, "acknowledge", &[]), &[50]);
    let again = appended(
        &record(
            "alert_actions",
            1,
            NOW + 51 * S,
            &[
                ("action_id", text("action 0")),
                ("action", Value::Enum(0, "acknowledge".into())),
                ("actor", text("dana")),
            ],
        ),
        &[50],
    );
    robot.emitted();
    for batch in [&first, &again] {
        robot
            .processor
            .apply(ACTIONS, batch, &[0], &mut robot.outputs);
    }
    assert_eq!(robot.emitted().len(), 1);
    assert!(robot.outputs.dead.is_empty());
}

#[test]
fn a_silence_ends_at_its_moment_and_holds_for_what_is_raised_within() {
    use Transition::{Cleared, Raised, Silenced, Unsilenced};
    let mut robot = Robot::new(&[hot_rule()]);
    robot.act(
        "silence",
        &[("until", Value::TimestampMicros(NOW + 100 * S))],
    );
    robot.rows(&[(60, 90.0)]);
    assert_eq!(
        alerts(&robot.outputs)[0].silenced_until,
        Some(NOW + 100 * S)
    );
    assert_eq!(robot.emitted(), [(Raised, 60, 0)]);
    // In one message: the end comes before the row that is appended at it, with its own time.
    robot.rows(&[(99, 90.0), (103, 90.0), (104, 70.0)]);
    assert_eq!(robot.emitted(), [(Unsilenced, 100, 1), (Cleared, 104, 2)]);
    robot.act(
        "silence",
        &[("until", Value::TimestampMicros(NOW + 40 * S))],
    );
    robot.rows(&[(105, 90.0)]);
    assert_eq!(
        robot.emitted(),
        [(Raised, 105, 0)],
        "it was over before it was read"
    );
    robot.act("silence", &[]);
    robot.act("unsilence", &[]);
    assert_eq!(robot.emitted(), [(Silenced, 50, 1), (Unsilenced, 50, 2)]);
    robot.act("unsilence", &[]);
    assert!(robot.outputs.dead[0].detail.contains("no such silence"));
}

#[test]
fn a_silence_hides_high_priority_only_where_it_says_so() {
    let mut escalating = hot_rule();
    if let RuleKind::Threshold { escalate, .. } = &mut escalating.kind {
        escalate.push(crate::rules::Escalation {
            at: 100.0,
            priority: Priority::High,
        });
    }
    for (hides_high, silenced) in [(false, None), (true, Some(NOW + 2_000 * S))] {
        let mut robot = Robot::new(std::slice::from_ref(&escalating));
        robot.act("silence", &[("hides_high", Value::Boolean(hides_high))]);
        robot.rows(&[(60, 90.0), (61, 105.0)]);
        let emitted = alerts(&robot.outputs);
        assert_eq!(emitted[0].silenced_until, Some(NOW + 2_000 * S));
        assert_eq!(
            (emitted[1].priority, emitted[1].silenced_until),
            (Priority::High, silenced)
        );
    }
}

#[test]
fn a_robot_keeps_so_many_silences_and_says_so_of_one_more() {
    let mut robot = Robot::new(&[hot_rule()]);
    let of = |condition: usize| ("condition_id", text(&format!("c{condition}")));
    // The first one ends before the others.
    robot.act(
        "silence",
        &[of(0), ("until", Value::TimestampMicros(NOW + 55 * S))],
    );
    for condition in 1..SILENCES_MAX {
        robot.act("silence", &[of(condition)]);
    }
    robot.act("silence", &[of(7)]);
    assert!(
        robot.outputs.dead.is_empty(),
        "one takes the place of another"
    );
    robot.act("silence", &[of(100)]);
    let ids = |robot: &Robot| -> Vec<String> {
        let silences = robot.processor.view().silences.into_iter();
        silences
            .filter_map(|silence| silence.condition_id)
            .collect()
    };
    let why = &robot.outputs.dead[0].detail;
    assert!(why.contains("64 silences already: take one back"), "{why}");
    assert_eq!(ids(&robot).len(), SILENCES_MAX, "none is forgotten");
    assert!(!ids(&robot).contains(&"c100".to_owned()));
    // What has ended makes room.
    let batch = appended(&action(robot.actions, "silence", &[of(101)]), &[56]);
    robot
        .processor
        .apply(ACTIONS, &batch, &[0], &mut robot.outputs);
    assert_eq!(robot.outputs.dead.len(), 1);
    let now = ids(&robot);
    assert!(
        now.contains(&"c101".to_owned()) && !now.contains(&"c0".to_owned()),
        "{now:?}"
    );
}

#[test]
fn what_no_person_acknowledges_is_passed_on_step_by_step() {
    use Transition::{Acknowledged, Escalated, Raised, Updated};
    let step = |after, priority| Unacknowledged {
        after: Micros(after * S),
        priority,
    };
    let mut escalating = RuleSpec {
        unacknowledged: vec![step(30, None), step(90, None), step(200, None)],
        ..hot_rule()
    };
    let mut robot = Robot::new(std::slice::from_ref(&escalating));
    robot.rows(&[(1, 90.0), (20, 90.0), (40, 90.0)]);
    let emitted = alerts(&robot.outputs);
    assert_eq!(
        (emitted[1].priority, emitted[1].escalation),
        (Priority::High, 1)
    );
    assert_eq!(robot.emitted(), [(Raised, 1, 0), (Escalated, 31, 1)]);
    robot.act("acknowledge", &[]);
    robot.rows(&[(150, 90.0)]);
    assert_eq!(
        robot.emitted(),
        [(Acknowledged, 50, 2)],
        "a person answers for it"
    );
    robot.act("unacknowledge", &[]);
    robot.emitted();
    let mut outputs = Outputs::default();
    robot.processor.tick(LogTime(NOW + 300 * S), &mut outputs);
    let emitted = alerts(&outputs);
    assert_eq!(
        emitted[0].event_time,
        NOW + 240 * S,
        "90 s after row 150, at which it was taken back"
    );
    // An acknowledgement holds for the priority that it was given for.
    if let RuleKind::Threshold { escalate, .. } = &mut escalating.kind {
        escalate.push(crate::rules::Escalation {
            at: 100.0,
            priority: Priority::High,
        });
    }
    let mut robot = Robot::new(&[escalating]);
    robot.rows(&[(40, 90.0)]);
    robot.act("acknowledge", &[]);
    robot.rows(&[(60, 105.0), (89, 105.0), (90, 105.0)]);
    let emitted = alerts(&robot.outputs);
    assert_eq!(emitted[2].acknowledged_by, None);
    let expected = [
        (Raised, 40, 0),
        (Acknowledged, 50, 1),
        (Updated, 60, 2),
        (Escalated, 90, 3),
    ];
    assert_eq!(robot.emitted(), expected);
}

#[test]
fn a_latched_condition_stays_until_a_person_closes_it() {
    use Transition::{Cleared, Latched, Raised, Updated};
    let latching = RuleSpec {
        latch: true,
        ..hot_rule()
    };
    let mut robot = Robot::new(&[latching, rule("free", Priority::Low, hot(1000))]);
    robot.rows(&[(1, 90.0), (2, 70.0), (3, 90.0), (4, 70.0)]);
    let emitted = alerts(&robot.outputs);
    assert!(
        emitted
            .iter()
            .all(|alert| alert.condition_id == emitted[0].condition_id)
    );
    let expected = [
        (Raised, 1, 0),
        (Latched, 2, 1),
        (Updated, 3, 2),
        (Latched, 4, 3),
    ];
    assert_eq!(robot.emitted(), expected);
    assert_eq!(robot.processor.open_conditions(), [0, 1, 0]);
    assert!(robot.processor.view().conditions[0].is_latched);
    robot.act("close", &[]);
    assert_eq!(robot.emitted(), [(Cleared, 50, 4)]);
    // Closed before its cause is over, it ends with that.
    robot.rows(&[(60, 90.0)]);
    robot.act("close", &[]);
    robot.rows(&[(61, 70.0)]);
    let expected = [(Raised, 60, 0), (Updated, 50, 1), (Cleared, 61, 2)];
    assert_eq!(robot.emitted(), expected);
    let mut robot = Robot::new(&[hot_rule()]);
    robot.rows(&[(1, 90.0)]);
    robot.act("close", &[]);
    assert!(robot.outputs.dead[0].detail.contains("does not latch"));
}

fn flapping() -> RuleSpec {
    RuleSpec {
        flapping: Some(FlappingSpec {
            turns: 4,
            within: Micros(20 * S),
        }),
        ..hot_rule()
    }
}

#[test]
fn a_condition_that_comes_and_goes_is_told_once_until_it_is_quiet() {
    use Transition::{Cleared, Flapping, Raised, Settled};
    let mut robot = Robot::new(&[flapping()]);
    let turns: Vec<(i64, f64)> = (1..12)
        .map(|at| (at, if at % 2 == 1 { 90.0 } else { 70.0 }))
        .collect();
    robot.rows(&turns);
    let expected = [
        (Raised, 1, 0),
        (Cleared, 2, 1),
        (Raised, 3, 0),
        (Flapping, 4, 1),
    ];
    assert_eq!(robot.emitted(), expected, "raised last at 11 s");
    // The reorder bound is 5 s.
    robot.rows(&[(35, 90.0), (36, 90.0)]);
    assert_eq!(robot.emitted(), [(Settled, 31, 2)]);
    robot.rows(&[(37, 70.0)]);
    assert_eq!(
        robot.emitted(),
        [(Cleared, 37, 3)],
        "it is quiet, so that is emitted"
    );
    // Over when it is quiet.
    let turns: Vec<(i64, f64)> = (101..111)
        .map(|at| (at, if at % 2 == 1 { 90.0 } else { 70.0 }))
        .collect();
    robot.rows(&turns);
    robot.emitted();
    robot.rows(&[(134, 70.0), (135, 70.0)]);
    assert_eq!(robot.emitted(), [(Cleared, 130, 2)]);
}

#[test]
fn what_a_changed_rule_kept_open_ends() {
    use Transition::{Cleared, Settled};
    for (kept, value, expected) in [
        (
            RuleSpec {
                latch: true,
                ..hot_rule()
            },
            70.0,
            Cleared,
        ),
        (flapping(), 70.0, Cleared),
        (flapping(), 90.0, Settled),
    ] {
        let mut robot = Robot::new(&[kept]);
        robot.rows(&[(1, 90.0), (2, 70.0), (3, 90.0), (4, 70.0), (5, value)]);
        robot.emitted();
        let state = robot.processor.snapshot();
        robot.processor = Processor::restore("r", &state, with_rules(&[hot_rule()])).unwrap();
        robot.rows(&[(6, value)]);
        let emitted = robot.emitted();
        assert_eq!(
            emitted.iter().map(|(how, ..)| *how).collect::<Vec<_>>(),
            [expected]
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn actions_dues_and_flapping_are_the_same_however_rows_are_cut_and_saved(
        steps in proptest::collection::vec((0..4_i64, 76.0..92.0, 0..3_i64, proptest::option::weighted(0.2, 0..6_usize)), 1..60),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let rules = [
            RuleSpec {
                latch: true,
                unacknowledged: vec![Unacknowledged { after: Micros(7 * S), priority: None }],
                ..flapping()
            },
            rule("plain", Priority::Low, hot(1)),
            following::also(),
            following::follower("alone", serde_json::json!({"combination": {
                "of": {"and": [{"or": ["hot", "plain"]}, {"not": "also"}]}, "hold": "2s"}})),
            following::follower("quiet", serde_json::json!({"combination": {
                "of": {"and": ["plain", {"not": "hot"}]}, "hold": "1s"}})),
            following::follower("then_hot", serde_json::json!({"sequence": {
                "first": {"condition": "plain"}, "then": {"condition": "hot"},
                "within": "30s", "clear_after": "4s"}})),
        ];
        let run = |cuts: &[usize]| {
            let mut robot = Robot::new(&rules);
            let (mut time, mut append) = (0, 0);
            let mut pending: Vec<((i64, f64), i64)> = Vec::new();
            let flush = |robot: &mut Robot, pending: &mut Vec<((i64, f64), i64)>| {
                if pending.is_empty() {
                    return;
                }
                let (samples, at): (Vec<(i64, f64)>, Vec<i64>) = pending.drain(..).unzip();
                robot.rows_at(&samples, &at);
                let config = robot.processor.config.clone();
                let state = robot.processor.snapshot();
                robot.processor = Processor::restore("r", &state, config).unwrap();
            };
            for (index, (step, value, delay, act)) in steps.iter().enumerate() {
                time += step;
                append = append.max(time + delay);
                pending.push(((time, *value), append));
                if cuts.iter().any(|cut| cut % steps.len() == index) {
                    flush(&mut robot, &mut pending);
                }
                if let Some(verb) = act {
                    flush(&mut robot, &mut pending);
                    let verb = ["acknowledge", "unacknowledge", "silence", "unsilence", "close", "assign"][*verb];
                    let until = ("until", Value::TimestampMicros(NOW + (append + 9) * S));
                    let batch = action(robot.actions, verb, &[until]);
                    robot.processor.apply(ACTIONS, &appended(&batch, &[append]), &[0], &mut robot.outputs);
                    robot.actions += 1;
                }
            }
            flush(&mut robot, &mut pending);
            (alerts(&robot.outputs), robot.outputs.dead.len(), robot.processor.snapshot())
        };
        let (emitted, dead, state) = run(&[]);
        let (cut_told, cut_dead, cut_state) = run(&cuts);
        prop_assert_eq!(&emitted, &cut_told);
        prop_assert_eq!(dead, cut_dead);
        prop_assert_eq!(state, cut_state);
        // Numbers of a condition follow each other, and every id is there once.
        let mut last: std::collections::BTreeMap<&str, i32> = std::collections::BTreeMap::new();
        for alert in &emitted {
            let before = last.insert(&alert.condition_id, alert.revision);
            prop_assert_eq!(alert.revision, before.map_or(0, |before| before + 1));
        }
    }
}
