//! Instruments and components, on the reference telemetry.

use theatre_schemas::records::{ComponentUse, InstrumentUse};

use super::*;
use crate::component::{ComponentSpec, Named};
use crate::instrument::InstrumentSpec;

/// A row: event time in seconds, case, serial number, lives used, active, current of joint 2.
#[derive(Debug, Clone)]
struct Row {
    time: i64,
    case: Option<u8>,
    serial: Option<&'static str>,
    lives: i32,
    is_active: bool,
    current: f64,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            time: 0,
            case: Some(1),
            serial: Some("T-1"),
            lives: 3,
            is_active: true,
            current: 2.0,
        }
    }
}

fn entity_config() -> Arc<ProcessorConfig> {
    let mut config = Arc::unwrap_or_clone(config(None));
    let instruments = InstrumentSpec {
        dataset: "robot_telemetry".into(),
        serial: "tool_serial".into(),
        kind: Some("tool_type".into()),
        lives_used: Some("tool_use_count".into()),
        active: Some("tool_active".into()),
        lives: BTreeMap::from([("grasper".into(), 4), ("*".into(), 9)]),
    };
    let components = ComponentSpec {
        dataset: "robot_telemetry".into(),
        component: "arms[{arm}].joints[*]".into(),
        load: "joints[*].current".into(),
        arm: Some("arm_id".into()),
    };
    config.entities = EntityConfig::new(
        &[instruments],
        &[components],
        &config.windows,
        registry().datasets(),
    )
    .unwrap();
    config.procedures_max = 8;
    Arc::new(config)
}

/// A value of a schema's type with nothing in it.
fn blank(of: &serde_json::Value) -> Value {
    match of {
        serde_json::Value::Array(_) => Value::Union(0, Box::new(Value::Null)),
        serde_json::Value::String(name) => match name.as_str() {
            "double" => Value::Double(0.0),
            "int" => Value::Int(0),
            "boolean" => Value::Boolean(false),
            "long" => Value::Long(0),
            _ => text(""),
        },
        of => match of["type"].as_str().unwrap() {
            "record" => {
                let fields = of["fields"].as_array().unwrap().iter();
                let blank = |field: &serde_json::Value| {
                    (
                        field["name"].as_str().unwrap().to_owned(),
                        blank(&field["type"]),
                    )
                };
                Value::Record(fields.map(blank).collect())
            }
            "array" => Value::Array(vec![blank(&of["items"]); 6]),
            "enum" => text(of["symbols"][1].as_str().unwrap()),
            _ => Value::TimestampMicros(0),
        },
    }
}

fn rows(rows: &[Row]) -> Arc<Batch> {
    let registry = registry();
    let (_, json) = INPUT_SCHEMAS
        .iter()
        .rfind(|(name, _)| *name == "robot_telemetry")
        .unwrap();
    let schema: serde_json::Value = serde_json::from_str(json).unwrap();
    let id = theatre_schemas::registry::schema_id(json).unwrap();
    let writer = registry.lookup(id).unwrap();
    let dataset = registry.datasets().get(writer.dataset_index).clone();
    let mut builder = BatchBuilder::new(
        dataset,
        writer.dataset_index,
        Arc::new(Pseudonyms::new([0; 32])),
    );
    let encoder = RecordWriter::new(id, json).unwrap();
    for (offset, row) in rows.iter().enumerate() {
        let Value::Record(mut fields) = blank(&schema) else {
            unreachable!()
        };
        let some = |value: Option<Value>| {
            value.map_or(Value::Union(0, Box::new(Value::Null)), |of| {
                Value::Union(1, Box::new(of))
            })
        };
        for (name, value) in &mut fields {
            match name.as_str() {
                "robot_id" => *value = text("r"),
                "event_time" => *value = Value::TimestampMicros(NOW + row.time * S),
                "procedure_id" => *value = some(row.case.map(|case| text(&format!("p{case}")))),
                "sequence" => *value = some(Some(Value::Long(offset as i64))),
                "tool_serial" => *value = some(row.serial.map(text)),
                "tool_use_count" => *value = Value::Int(row.lives),
                "tool_active" => *value = Value::Boolean(row.is_active),
                "joints" => {
                    if let Value::Array(joints) = value
                        && let Value::Record(joint) = &mut joints[2]
                    {
                        let current = joint.iter_mut().find(|(name, _)| name == "current");
                        current.unwrap().1 = Value::Double(row.current);
                    }
                }
                _ => {}
            }
        }
        let message = encoder.encode(Value::Record(fields)).unwrap();
        let (_, datum) = framing::parse(&message).unwrap();
        builder
            .push(&writer.plan, datum, offset as u64, NOW + 200_000 * S)
            .unwrap();
    }
    Arc::new(builder.finish().unwrap())
}

fn instruments(outputs: &Outputs) -> Vec<InstrumentUse> {
    let uses = by_kind(outputs, OutputKind::Instrument);
    uses.iter()
        .map(|of| InstrumentUse::decode(&of.payload).unwrap())
        .collect()
}

fn components(outputs: &Outputs) -> Vec<ComponentUse> {
    let uses = by_kind(outputs, OutputKind::Component);
    uses.iter()
        .map(|of| ComponentUse::decode(&of.payload).unwrap())
        .collect()
}

#[test]
fn an_instrument_whose_lives_end_in_a_case_raises_its_condition_once() {
    let mut processor = Processor::new("r", entity_config());
    let mut outputs = Outputs::default();
    let of = |time, case, serial, lives| Row {
        time,
        case,
        serial,
        lives,
        ..Row::default()
    };
    let batch = rows(&[
        of(0, None, Some("T-1"), 3),
        of(10, Some(1), Some("T-1"), 3),
        of(20, Some(1), Some("T-1"), 4),
        of(30, Some(1), Some("T-1"), 4),
        of(40, Some(1), Some("T-2"), 1),
        of(50, Some(1), Some("T-1"), 5),
        of(60, Some(2), Some("T-1"), 5),
        of(70, None, None, 0),
        of(90, None, None, 0),
    ]);
    processor.apply(2, &step(0, 1, 5, "started", None), &[0], &mut outputs);
    processor.apply(2, &step(1, 1, 55, "completed", None), &[0], &mut outputs);
    processor.apply(0, &batch, &(0..9).collect::<Vec<_>>(), &mut outputs);
    let moves: Vec<_> = alerts(&outputs)
        .into_iter()
        .filter(|alert| alert.rule_id == crate::rules::INSTRUMENT_LIVES)
        .map(|alert| {
            (
                alert.transition,
                alert.event_time - NOW,
                alert.procedure_id,
                alert.message,
            )
        })
        .collect();
    let what = "an instrument has no life left in the middle of a case";
    assert_eq!(
        moves,
        [
            (
                Transition::Raised,
                20 * S,
                Some("p1".into()),
                format!("raised: {what}: instrument T-1")
            ),
            (
                Transition::Cleared,
                55 * S,
                Some("p1".into()),
                format!("cleared: {what} (the case has ended): instrument T-1")
            ),
        ]
    );
    let uses = instruments(&outputs);
    assert_eq!(uses.len(), 2);
    let first = &uses[0];
    assert_eq!(
        (&*first.tool_serial, first.revision, first.cases),
        ("T-1", 0, 2)
    );
    assert_eq!((first.lives_used, first.lives_left), (Some(5), Some(0)));
    assert_eq!(first.ended_in.as_deref(), Some("p1"));
    // 0 to 30 s, and 50 to 60 s when it was on the robot again.
    assert_eq!(first.attached_hours * 3_600.0, 40.0);
    assert_eq!(
        (&*uses[1].tool_serial, uses[1].lives_left),
        ("T-2", Some(3))
    );
    // The other case has used it, too; its end is a revision if something has changed.
    processor.apply(2, &step(2, 2, 65, "completed", None), &[0], &mut outputs);
    let uses = instruments(&outputs);
    assert_eq!(uses.len(), 2, "nothing has changed: {uses:?}");
    assert_eq!(processor.view().conditions.len(), 0);
}

#[test]
fn instruments_stay_bounded() {
    let mut processor = Processor::new("r", entity_config());
    let mut outputs = Outputs::default();
    let names: Vec<&'static str> = (0..200).map(|at| &*format!("T-{at}").leak()).collect();
    let all: Vec<Row> = names
        .iter()
        .enumerate()
        .map(|(at, serial)| Row {
            time: at as i64,
            serial: Some(serial),
            ..Row::default()
        })
        .collect();
    processor.apply(0, &rows(&all), &(0..200).collect::<Vec<_>>(), &mut outputs);
    processor.apply(2, &step(0, 1, 150, "completed", None), &[0], &mut outputs);
    assert_eq!(
        instruments(&outputs).len(),
        crate::instrument::INSTRUMENTS_MAX
    );
}

/// A row a second from one to another, with this current.
fn working(from: i64, to: i64, current: f64) -> Vec<Row> {
    let row = |time| Row {
        time,
        case: None,
        current,
        ..Row::default()
    };
    (from..to).map(row).collect()
}

#[test]
fn a_component_has_hours_and_load_since_its_replacement() {
    let config = entity_config();
    let mut processor = Processor::new("r", config.clone());
    let mut outputs = Outputs::default();
    let mut all = working(0, 1_201, 2.0);
    all.extend(working(1_201, 3_001, 4.0));
    // After a gap, the next day.
    all.extend(working(86_400, 86_500, 4.0));
    let batch = rows(&all);
    let before: Vec<u32> = (0..1_201).collect();
    processor.apply(0, &batch, &before, &mut outputs);
    processor = Processor::restore("r", &processor.snapshot(), config).unwrap();
    let fields = [
        ("event_id", text("x")),
        ("event_type", text("part_replaced")),
        ("component", text("arms[0].joints[2]")),
        ("code", text("actuator_assembly")),
    ];
    let event = record("robot_events", 0, NOW + 1_200 * S, &fields);
    processor.apply(1, &event, &[0], &mut outputs);
    let after: Vec<u32> = (1_201..all.len() as u32).collect();
    processor.apply(0, &batch, &after, &mut outputs);
    let of_joint: Vec<ComponentUse> = components(&outputs)
        .into_iter()
        .filter(|of| of.component == "arms[0].joints[2]")
        .collect();
    let last = |installation| {
        let of_it = of_joint.iter().filter(|of| of.installation == installation);
        of_it.max_by_key(|of| of.revision).unwrap()
    };
    let old = last(0);
    assert_eq!(old.removed_at, Some(NOW + 1_200 * S));
    assert!((old.operating_hours * 3.0 - 1.0).abs() < 0.01, "{old:?}");
    assert_eq!(
        (old.load_mean_square, old.load_peak),
        (Some(4.0), Some(2.0))
    );
    assert!((old.load * 3.0 - 4.0).abs() < 0.05, "{old:?}");
    let new = last(1);
    assert_eq!((new.removed_at, new.since), (None, NOW + 1_200 * S));
    assert_eq!(new.part.as_deref(), Some("actuator_assembly"));
    assert!((new.operating_hours - 0.5).abs() < 0.01, "{new:?}");
    assert_eq!(new.load_peak, Some(4.0));
    assert_eq!(new.load_unit.as_deref(), Some("A^2.h"));
    // The service and its report are one replacement.
    let named = Named {
        component: "arms[0].joints[2]",
        part: None,
        serial: Some("S-9"),
    };
    processor.component_replaced(named, NOW + 2_000 * S, &mut outputs);
    let last = components(&outputs).pop().unwrap();
    assert_eq!(
        (last.installation, last.serial.as_deref()),
        (1, Some("S-9"))
    );
}

/// The usual configuration with a session window, and indicators of the reference telemetry.
fn everything() -> Arc<ProcessorConfig> {
    let mut config = Arc::unwrap_or_clone(entity_config());
    let sessions = SessionConfig {
        name: "use".into(),
        dataset: Some("robot_telemetry".into()),
        active: Some("tool_active".into()),
        gap_us: 4 * S,
        longest_us: 30 * S,
    };
    let windows = config.windows.clone();
    let datasets = registry().datasets();
    config
        .entities
        .add_sessions(&[sessions], &windows, datasets)
        .unwrap();
    let motion = IndicatorSpec {
        dataset: "robot_telemetry".into(),
        position: vec!["joints[2].current".into()],
        camera: vec!["tool_use_count".into()],
        tool: Some("tool_serial".into()),
        signals: vec!["tool_active".into()],
        ..IndicatorSpec::default()
    };
    let (index, dataset) = datasets.find("robot_telemetry").unwrap();
    let columns = crate::procedure::IndicatorColumns::resolve(&motion, dataset).unwrap();
    config.indicators.insert(index, columns);
    Arc::new(config)
}

/// All of it, with the rows cut at `cuts`, saved and restored at each.
fn lived(rows_of: &[Row], cuts: &[usize]) -> (Vec<u8>, Outputs) {
    let config = everything();
    let mut processor = Processor::new("r", config.clone());
    let mut outputs = Outputs::default();
    let steps = [
        step(0, 1, 3, "started", None),
        step(1, 1, 20, "phase_started", Some("docking")),
        step(2, 1, 40, "phase_started", Some("closing")),
        step(3, 1, 60, "completed", None),
        step(4, 2, 50, "started", None),
        step(5, 2, 90, "aborted", None),
    ];
    for event in &steps {
        processor.apply(2, event, &[0], &mut outputs);
    }
    let batch = rows(rows_of);
    let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % (rows_of.len() + 1)).collect();
    bounds.extend([0, rows_of.len()]);
    bounds.sort_unstable();
    for pair in bounds.windows(2) {
        let rows: Vec<u32> = (pair[0] as u32..pair[1] as u32).collect();
        processor.apply(0, &batch, &rows, &mut outputs);
        processor = Processor::restore("r", &processor.snapshot(), config.clone()).unwrap();
    }
    (processor.snapshot(), outputs)
}

fn lives() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop_oneof![8 => 0..140_i64, 1 => 3_000..5_000_i64],
        proptest::option::of(1..3_u8),
        proptest::option::of(prop_oneof![Just("T-1"), Just("T-2")]),
        0..6_i32,
        any::<bool>(),
        -5..5_i8,
    );
    let row = row.prop_map(|(time, case, serial, lives, is_active, current)| Row {
        time,
        case,
        serial,
        lives,
        is_active,
        current: f64::from(current),
    });
    proptest::collection::vec(row, 1..70).prop_map(|mut rows| {
        // Out of order within a few seconds, and a few that are late.
        let far = rows.len().div_ceil(8);
        let (late, mut in_time) = (rows.split_off(rows.len() - far), rows);
        in_time.sort_by_key(|row| row.time / 7);
        in_time.extend(late);
        in_time
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_and_saves_change_no_byte_of_any_actor(rows in lives(), cuts in proptest::collection::vec(any::<usize>(), 0..8)) {
        let (state, outputs) = lived(&rows, &[]);
        let (cut_state, cut_outputs) = lived(&rows, &cuts);
        prop_assert_eq!(outputs, cut_outputs);
        prop_assert_eq!(state, cut_state);
    }
}
