mod alerting;
mod controlled;
mod entities;
mod golden;
mod kinds;
mod life;
mod memory;
mod order;
mod phases;
mod recordings;
mod registered;
mod windowed;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use apache_avro::types::Value;
use proptest::prelude::*;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::framing;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::records::{Alert, Outcome, Priority, RecordWriter, Transition};
use theatre_schemas::registry::{INPUT_SCHEMAS, Registry};

use super::procedure_table::without_slash;
use super::*;
use crate::host::{ProcessorHost, Reply, Segment};
use crate::outputs::{OutputEvent, OutputKind};
use crate::procedure::IndicatorSpec;
use crate::questions::{Answer, AskError, Question, QuestionDesk};
use crate::rules::{Micros, RuleKind, RuleOrder, RuleSet, RuleSpec};
use crate::time::{MICROS_PER_SECOND as S, TimePolicy};
use crate::window::{AggregateSet, WindowPlan, WindowSpec};

const NOW: i64 = 10_000_000 * S;

fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);
    &REGISTRY
}

/// A rule on the motor's temperature.
fn rule(id: &str, priority: Priority, kind: RuleKind) -> RuleSpec {
    RuleSpec::new(id, priority, kind)
}

/// Raised above 85, cleared below 80.
fn hot(hold: i64) -> RuleKind {
    RuleKind::Threshold {
        signal: "motor_temperature".into(),
        raise_above: Some(85.0),
        clear_below: Some(80.0),
        raise_below: None,
        clear_above: None,
        hold: Micros(hold * S),
        clear_after: Micros(0),
        escalate: vec![],
        count: None,
    }
}

/// The usual configuration with other rules.
fn with_rules(rules: &[RuleSpec]) -> Arc<ProcessorConfig> {
    let mut config = Arc::unwrap_or_clone(config(None));
    config.rules = RuleSet::compile(rules, registry().datasets()).unwrap();
    Arc::new(config)
}

pub(super) fn plain_config() -> Arc<ProcessorConfig> {
    config(None)
}

fn config(panic_on: Option<PanicHook>) -> Arc<ProcessorConfig> {
    let registry = registry();
    let rule = rule("hot", Priority::High, hot(0));
    let rules = RuleSet::compile(&[rule], registry.datasets()).unwrap();
    let window = WindowSpec {
        name: "10s".into(),
        size_us: 10 * S,
        hop_us: 10 * S,
    };
    let windows = WindowPlan::new(vec![window], AggregateSet::Full).unwrap();
    let time = TimePolicy {
        reorder_bound_us: 5 * S,
        ..TimePolicy::default()
    };
    let motion = IndicatorSpec {
        dataset: "fleet_telemetry".into(),
        position: vec!["motor_temperature".into()],
        force: vec!["grip_force".into()],
        ..IndicatorSpec::default()
    };
    let mut config =
        ProcessorConfig::new(time, windows, rules, &[motion], registry.datasets()).unwrap();
    // Fewer than the samples name, so that some make room for others.
    config.procedures_max = 2;
    config.panic_on = panic_on;
    Arc::new(config)
}

/// (event time in seconds, sequence, motor temperature, procedure)
type Sample = (i64, i64, f64, Option<u8>);

fn telemetry(samples: &[Sample]) -> Arc<Batch> {
    telemetry_from(0, samples)
}

/// Samples, of which there are some, at the offsets from one on.
fn telemetry_from(first: u64, samples: &[Sample]) -> Arc<Batch> {
    let registry = registry();
    let writer = registry.lookup(1).unwrap();
    let encoder = RecordWriter::new(1, &writer.json).unwrap();
    let dataset = registry.datasets().get(writer.dataset_index).clone();
    let mut builder = BatchBuilder::new(
        dataset.clone(),
        writer.dataset_index,
        Arc::new(Pseudonyms::new([0; 32])),
    );
    for (offset, (time, sequence, temperature, procedure)) in samples.iter().enumerate() {
        let procedure = procedure.map_or(Value::Null, |id| Value::String(format!("p{id}")));
        let mut fields = vec![
            ("robot_id".to_owned(), Value::String("r".into())),
            ("procedure_id".to_owned(), procedure),
            (
                "event_time".to_owned(),
                Value::TimestampMicros(NOW + time * S),
            ),
            ("sequence".to_owned(), Value::Long(*sequence)),
        ];
        for signal in dataset.signals.iter() {
            fields.push((
                signal.name.clone(),
                Value::Double(if signal.name == "motor_temperature" {
                    *temperature
                } else {
                    1.0
                }),
            ));
        }
        let message = encoder.encode(Value::Record(fields)).unwrap();
        let (_, datum) = framing::parse(&message).unwrap();
        builder
            .push(&writer.plan, datum, first + offset as u64, NOW + 1_000 * S)
            .unwrap();
    }
    Arc::new(builder.finish().unwrap())
}

/// One record of a built-in schema other than telemetry; the robot is `r`, text fields are strings
/// or enum symbols.
fn record(subject: &str, offset: u64, time: i64, fields: &[(&str, Value)]) -> Arc<Batch> {
    let robot = ("robot_id", text("r"));
    let all: Vec<_> = [robot].into_iter().chain(fields.iter().cloned()).collect();
    record_of(subject, offset, (time, NOW + 1_000 * S), &all)
}

/// The same of whom the fields name, of an event time and appended at another.
fn record_of(
    subject: &str,
    offset: u64,
    (time, appended): (i64, i64),
    fields: &[(&str, Value)],
) -> Arc<Batch> {
    let registry = registry();
    let mut shipped = INPUT_SCHEMAS.iter();
    let (_, json) = shipped.rfind(|(name, _)| *name == subject).unwrap();
    let id = theatre_schemas::registry::schema_id(json).unwrap();
    let writer = registry.lookup(id).unwrap();
    let dataset = registry.datasets().get(writer.dataset_index).clone();
    let key = Arc::new(Pseudonyms::new([0; 32]));
    let mut builder = BatchBuilder::new(dataset, writer.dataset_index, key);
    let mut all = vec![("event_time".to_owned(), Value::TimestampMicros(time))];
    let fields = fields.iter();
    all.extend(fields.map(|(name, value)| ((*name).to_owned(), value.clone())));
    let encoder = RecordWriter::new(id, json).unwrap();
    let message = encoder.encode(Value::Record(all)).unwrap();
    let datum = framing::parse(&message).unwrap().1;
    builder.push(&writer.plan, datum, offset, appended).unwrap();
    Arc::new(builder.finish().unwrap())
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// A step of procedure `p<procedure>`.
fn step(offset: u64, procedure: u8, time: i64, step: &str, phase: Option<&str>) -> Arc<Batch> {
    let mut fields = vec![
        ("event_id", text(&format!("{step}{procedure}{phase:?}"))),
        ("procedure_id", text(&format!("p{procedure}"))),
        ("step", text(step)),
    ];
    fields.extend(phase.map(|phase| ("phase", text(phase))));
    record("procedure_events", offset, NOW + time * S, &fields)
}

fn ended(procedure: u8, time: i64) -> Arc<Batch> {
    step(0, procedure, time, "completed", None)
}

fn outcomes(outputs: &Outputs) -> Vec<Outcome> {
    by_kind(outputs, OutputKind::Outcome)
        .iter()
        .map(|output| Outcome::decode(&output.payload).unwrap())
        .collect()
}

fn alerts(outputs: &Outputs) -> Vec<Alert> {
    by_kind(outputs, OutputKind::Alert)
        .iter()
        .map(|output| Alert::decode(&output.payload).unwrap())
        .collect()
}

/// Applies the samples cut at `cuts`, saved and restored at each, with the procedures' ends heard
/// first.
fn run(samples: &[Sample], cuts: &[usize]) -> (Vec<u8>, Outputs) {
    run_from(Processor::new("r", config(None)), samples, cuts)
}

/// A processor whose clock-skew condition is open, so that the counting of good rows is under test
/// too.
fn skewed() -> Processor {
    let mut processor = Processor::new("r", config(None));
    processor.apply(
        1,
        &telemetry(&[(1_000_000, 1_000, 70.0, None)]),
        &[0],
        &mut Outputs::default(),
    );
    processor
}

fn run_from(processor: Processor, samples: &[Sample], cuts: &[usize]) -> (Vec<u8>, Outputs) {
    run_batch(processor, &telemetry(samples), cuts)
}

fn run_batch(mut processor: Processor, batch: &Batch, cuts: &[usize]) -> (Vec<u8>, Outputs) {
    let config = processor.config.clone();
    let mut outputs = Outputs::default();
    for procedure in 0..3 {
        let batch = ended(procedure, 20 * (i64::from(procedure) + 1));
        processor.apply(2, &batch, &[0], &mut outputs);
        processor.state.positions = Positions::zero();
    }
    let mut bounds: Vec<usize> = cuts
        .iter()
        .map(|cut| cut % (batch.len() + 1))
        .chain([0, batch.len()])
        .collect();
    bounds.sort_unstable();
    for pair in bounds.windows(2) {
        let rows: Vec<u32> = (pair[0] as u32..pair[1] as u32).collect();
        processor.apply(0, batch, &rows, &mut outputs);
        processor = Processor::restore("r", &processor.snapshot(), config.clone()).unwrap();
    }
    (processor.snapshot(), outputs)
}

fn by_kind(outputs: &Outputs, kind: OutputKind) -> Vec<OutputEvent> {
    outputs
        .events
        .iter()
        .filter(|output| output.kind == kind)
        .cloned()
        .collect()
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let time = prop_oneof![6 => 0..120_i64, 1 => -4000..0_i64, 1 => 900..3000_i64];
    let temperature = prop_oneof![4 => 70.0..95.0, 1 => Just(f64::NAN)];
    proptest::collection::vec(
        (time, 0..80_i64, temperature, proptest::option::of(0..3_u8)),
        1..90,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn cuts_and_saves_change_no_byte(samples in samples(), cuts in proptest::collection::vec(any::<usize>(), 0..10)) {
        let (state, outputs) = run_from(skewed(), &samples, &[]);
        let (cut_state, cut_effects) = run_from(skewed(), &samples, &cuts);
        prop_assert_eq!(state, cut_state);
        prop_assert_eq!(outputs, cut_effects);
    }

    #[test]
    fn every_record_is_accounted_for_once(samples in samples()) {
        let config = config(None);
        let mut processor = Processor::new("r", config);
        let mut outputs = Outputs::default();
        let rows: Vec<u32> = (0..samples.len() as u32).collect();
        let batch = telemetry(&samples);
        processor.apply(0, &batch, &rows, &mut outputs);
        // Below its position nothing is applied again.
        processor.apply(0, &batch, &rows, &mut outputs);
        prop_assert_eq!(processor.counters()[0].total(), samples.len() as u64);
        prop_assert_eq!(outputs.dead.len() as u64, processor.counters()[0].dead_total() + processor.counters()[0].late);
    }

    #[test]
    fn a_host_that_is_asked_and_measured_concludes_the_same(samples in samples()) {
        let desk = QuestionDesk::start().unwrap();
        let batch = telemetry(&samples);
        let rows: Vec<u32> = (0..samples.len() as u32).collect();
        let mut results = Vec::new();
        for mut host in [ProcessorHost::default(), ProcessorHost::asked_at(desk.address())] {
            for slot in 0..3 {
                host.insert(slot, Processor::new("r", config(None)));
            }
            let segments = vec![Segment { topic: 0, batch: batch.clone(), rows: rows.clone().into() }];
            let replies = host.deliver((0..3).map(|slot| (slot, segments.clone())).collect());
            results.push((replies, host.save(&[0, 1, 2])));
        }
        prop_assert_eq!(&results[0], &results[1]);
    }
}

/// The first row waits for those before it, until after the outcome of its case.
#[test]
fn an_alert_after_an_outcome_revises_it_at_the_same_row_wherever_messages_are_cut() {
    let samples = [
        (65, 12, 94.3, Some(1)),
        (0, 0, 70.0, None),
        (70, 1, 70.0, None),
        (75, 2, 70.0, None),
        (80, 0, 70.0, None),
    ];
    let (state, outputs) = run_from(skewed(), &samples, &[]);
    let revisions: Vec<_> = outcomes(&outputs)
        .iter()
        .map(|outcome| (outcome.revision, outcome.alerts_high))
        .collect();
    assert_eq!(revisions, [(0, 0), (0, 0), (1, 1)]);
    for cut in 1..samples.len() {
        let (cut_state, cut_outputs) = run_from(skewed(), &samples, &[cut]);
        assert_eq!(state, cut_state, "{cut}");
        assert_eq!(outputs, cut_outputs, "{cut}");
    }
}

#[test]
fn an_alert_is_raised_and_cleared_once_each() {
    let (_, outputs) = run(
        &[
            (1, 1, 90.0, None),
            (2, 2, 91.0, None),
            (3, 3, 82.0, None),
            (4, 4, 70.0, None),
        ],
        &[],
    );
    let alerts: Vec<Alert> = by_kind(&outputs, OutputKind::Alert)
        .iter()
        .map(|output| Alert::decode(&output.payload).unwrap())
        .collect();
    let moves: Vec<_> = alerts
        .iter()
        .map(|alert| (alert.transition, alert.value))
        .collect();
    assert_eq!(
        moves,
        [
            (Transition::Raised, Some(90.0)),
            (Transition::Cleared, Some(70.0))
        ]
    );
    assert_eq!(alerts[0].condition_id, alerts[1].condition_id);
    assert!(outputs.urgent);
}

#[test]
fn a_record_from_the_future_moves_no_clock_and_raises_clock_skew() {
    let (_, outputs) = run(
        &[
            (1, 1, 70.0, None),
            (3_000_000, 2, 99.0, None),
            (2, 3, 70.0, None),
        ],
        &[],
    );
    assert_eq!(outputs.dead.len(), 1);
    assert_eq!(outputs.dead[0].reason, DeadReason::Future);
    let alerts = by_kind(&outputs, OutputKind::Alert);
    assert_eq!(
        alerts
            .iter()
            .map(|output| output.subject.as_str())
            .collect::<Vec<_>>(),
        [crate::rules::CLOCK_SKEW]
    );
}

#[test]
fn a_desk_that_is_gone_takes_no_question_and_holds_up_no_row() {
    let desk = QuestionDesk::start().unwrap();
    let mut host = ProcessorHost::asked_at(desk.address());
    host.insert(0, Processor::new("r", config(None)));
    drop(desk);
    let (sender, _receiver) = std::sync::mpsc::sync_channel(1);
    let asked = host.address(0).unwrap().ask(Question::View, sender);
    assert_eq!(asked, Err(AskError::Gone));
    let segments = vec![Segment {
        topic: 0,
        batch: telemetry(&[(1, 1, 70.0, None)]),
        rows: vec![0_u32].into(),
    }];
    assert!(matches!(
        &host.deliver(vec![(0, segments)])[..],
        [(0, Reply::Applied { .. })]
    ));
    assert_eq!(host.save(&[0]).len(), 1);
}

#[test]
fn hosts_answer_alike_for_empty_slots_and_keep_no_snapshot_of_a_broken_processor() {
    let hook = PanicHook {
        robot_id: "bad".into(),
        signal: "motor_temperature".into(),
        above: 94.0,
    };
    let desk = QuestionDesk::start().unwrap();
    let segments = vec![Segment {
        topic: 0,
        batch: telemetry(&[(1, 1, 95.0, None)]),
        rows: vec![0_u32].into(),
    }];
    let mut answers = Vec::new();
    for mut host in [
        ProcessorHost::default(),
        ProcessorHost::asked_at(desk.address()),
    ] {
        host.insert(4, Processor::new("bad", config(Some(hook.clone()))));
        host.insert(1, Processor::new("r", config(None)));
        let replies = host.deliver(vec![
            (9, segments.clone()),
            (4, segments.clone()),
            (1, segments.clone()),
        ]);
        assert_eq!(
            replies.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(),
            [1, 4, 9]
        );
        answers.push((
            replies,
            host.deliver(vec![(4, segments.clone())]),
            host.save(&[9, 4, 1]),
        ));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(
        answers[0].2.len(),
        1,
        "only the whole processor has a snapshot"
    );
}

#[test]
fn a_panic_breaks_one_processor_only_until_it_is_replaced() {
    let hook = PanicHook {
        robot_id: "bad".into(),
        signal: "motor_temperature".into(),
        above: 94.0,
    };
    let mut host = ProcessorHost::default();
    host.insert(0, Processor::new("bad", config(Some(hook.clone()))));
    host.insert(1, Processor::new("r", config(Some(hook))));
    let segments = vec![Segment {
        topic: 0,
        batch: telemetry(&[(1, 1, 95.0, None)]),
        rows: vec![0_u32].into(),
    }];
    let replies = host.deliver(vec![(0, segments.clone()), (1, segments.clone())]);
    assert!(
        matches!(&replies[0], (0, Reply::Panicked { message }) if message.contains("motor_temperature"))
    );
    assert!(matches!(&replies[1], (1, Reply::Applied { .. })));
    host.insert(0, Processor::new("bad", config(None)));
    assert!(matches!(
        &host.deliver(vec![(0, segments)])[0],
        (0, Reply::Applied { .. })
    ));
}

#[test]
fn silence_is_told_once_and_ends_with_the_next_record() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    let batch = telemetry(&[(1, 1, 70.0, None), (2, 2, 70.0, None)]);
    processor.apply(0, &batch, &[0], &mut outputs);
    for seconds in [30, 61, 62, 500] {
        processor.tick(LogTime(NOW + (1_000 + seconds) * S), &mut outputs);
    }
    processor.apply(0, &batch, &[1], &mut outputs);
    let alerts: Vec<Alert> = by_kind(&outputs, OutputKind::Alert)
        .iter()
        .map(|output| Alert::decode(&output.payload).unwrap())
        .collect();
    assert_eq!(
        alerts
            .iter()
            .map(|alert| alert.transition)
            .collect::<Vec<_>>(),
        [Transition::Raised, Transition::Cleared]
    );
    assert_eq!(
        by_kind(&outputs, OutputKind::Window).len(),
        1,
        "silence closes what was open"
    );
}

#[test]
fn a_state_of_a_later_version_is_refused_with_what_to_do() {
    let error = Processor::restore("r", &[99, 0], config(None))
        .unwrap_err()
        .to_string();
    assert!(error.contains("99") && error.contains("later"), "{error}");
}

#[test]
fn outcomes_of_other_robots_and_procedures_have_other_ids_whatever_their_names() {
    let names = ["a", "b", "a/b", "b/a", "a%2Fb", "1"];
    let pairs = names.iter().flat_map(|one| {
        names.map(|other| format!("{}/{}", without_slash(one), without_slash(other)))
    });
    let ids: std::collections::BTreeSet<String> =
        pairs.clone().chain(pairs.map(|id| id + "/1")).collect();
    assert_eq!(ids.len(), 2 * names.len() * names.len());
    assert_eq!(without_slash("robot-0001"), "robot-0001");
}

#[test]
fn hosts_answer_a_question_alike_and_questions_never_crowd_out_a_delivery() {
    let hook = PanicHook {
        robot_id: "bad".into(),
        signal: "motor_temperature".into(),
        above: 94.0,
    };
    let desk = QuestionDesk::start().unwrap();
    let segments = vec![Segment {
        topic: 0,
        batch: telemetry(&[(1, 1, 95.0, Some(0)), (11, 2, 90.0, None)]),
        rows: vec![0_u32, 1].into(),
    }];
    let mut answers = Vec::new();
    for mut host in [
        ProcessorHost::default(),
        ProcessorHost::asked_at(desk.address()),
    ] {
        host.insert(0, Processor::new("r", config(Some(hook.clone()))));
        host.insert(1, Processor::new("bad", config(Some(hook.clone()))));
        host.deliver(vec![(0, segments.clone()), (1, segments.clone())]);
        let Some(Answer::View(view)) = host.ask(0, Question::View) else {
            panic!("a view was expected");
        };
        assert!(matches!(
            host.ask(1, Question::View),
            Some(Answer::Recovering)
        ));
        assert!(host.ask(2, Question::View).is_none());
        answers.push(serde_json::to_value(&view).unwrap());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0]["processor"]["conditions"][0]["rule_id"], "hot");
    let windows = answers[0]["windows"].as_array().unwrap();
    let shown: Vec<_> = windows
        .iter()
        .map(|window| (window["window"].as_str(), window["rows"].as_u64()))
        .collect();
    assert_eq!(shown, [(Some("10s"), Some(1)), (Some("10s"), Some(1))]);
    // Threads ask as fast as they can while the partition delivers and saves.
    let mut host = ProcessorHost::asked_at(desk.address());
    host.insert(0, Processor::new("r", config(None)));
    let address = host.address(0).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
                    if address.ask(Question::View, sender).is_ok() {
                        assert!(receiver.recv().is_ok());
                    }
                }
            });
        }
        for _ in 0..200 {
            let replies = host.deliver(vec![(0, segments.clone())]);
            assert!(matches!(&replies[..], [(0, Reply::Applied { .. })]));
            assert_eq!(host.save(&[0]).len(), 1);
        }
        done.store(true, std::sync::atomic::Ordering::Release);
    });
}
