use proptest::prelude::*;

use super::*;

fn alert() -> Alert {
    Alert {
        alert_id: "a".into(),
        condition_id: "c".into(),
        robot_id: "r".into(),
        procedure_id: None,
        rule_id: "hot".into(),
        rule_version: 3,
        transition: Transition::Cleared,
        revision: 1,
        priority: Priority::Medium,
        event_time: 5,
        raised_at: 4,
        value: Some(1.5),
        limit: None,
        signal: Some("t".into()),
        unit: None,
        message: "m".into(),
        acknowledged_by: Some("dana".into()),
        escalation: 2,
        is_flapping: true,
        ..Alert::default()
    }
}

/// Reads a datum that one schema wrote by another one.
fn read_by(writer: &str, reader: &str, datum: &mut &[u8]) -> Value {
    let (writer, reader) = (
        Schema::parse_str(writer).unwrap(),
        Schema::parse_str(reader).unwrap(),
    );
    let resolving = GenericDatumReader::builder(&writer)
        .reader_schema(&reader)
        .build()
        .unwrap();
    resolving.read_value(datum).unwrap()
}

fn field<'a>(record: &'a Value, name: &str) -> &'a Value {
    let Value::Record(fields) = record else {
        panic!("{record:?} is no record");
    };
    &fields.iter().find(|(known, _)| known == name).unwrap().1
}

#[test]
fn consumers_of_version_1_read_every_transition_of_an_alert_and_version_2_reads_theirs() {
    let first = include_str!("../../avro/maintenance_alerts/v1.avsc");
    let second = include_str!("../../avro/maintenance_alerts/v2.avsc");
    for transition in Transition::ALL {
        let sent = Alert {
            transition,
            ..alert()
        };
        let message = sent.encode();
        let (_, mut datum) = framing::parse(&message).unwrap();
        let read = read_by(second, first, &mut datum);
        let shown = match transition {
            Transition::Raised | Transition::Cleared => transition.as_str(),
            _ => "updated",
        };
        let Value::Enum(_, symbol) = field(&read, "transition") else {
            panic!("{read:?}");
        };
        assert_eq!(symbol, shown);
        assert_eq!(field(&read, "condition_id"), &Value::String("c".into()));
        assert_eq!(Alert::decode(&message).unwrap(), sent);
    }
    let golden = include_bytes!("../../golden/maintenance_alerts/v1.bin");
    let (_, mut datum) = framing::parse(golden).unwrap();
    let read = read_by(first, second, &mut datum);
    assert_eq!(field(&read, "escalation"), &Value::Int(0));
    let ours = Alert::decode(golden).unwrap();
    assert_eq!(
        (ours.acknowledged_by, ours.escalation, ours.is_latched),
        (None, 0, false)
    );
    assert_eq!(ours.robot_id, "the robot_id");
}

#[test]
fn an_alert_comes_back_as_it_went() {
    assert_eq!(Alert::decode(&alert().encode()).unwrap(), alert());
}

#[test]
fn an_outcome_comes_back_with_and_without_result() {
    let mut outcome = Outcome {
        procedure_id: "p".into(),
        robot_id: "r".into(),
        revision: 0,
        status: OutcomeStatus::Aborted,
        category: None,
        procedure_type: Some("t".into()),
        surgeon_id: None,
        started_at: Some(1),
        ended_at: 9,
        duration_s: None,
        paused_s: 0.5,
        phases: vec![PhaseDuration {
            name: "docking".into(),
            duration_s: 2.0,
        }],
        indicators: vec![Indicator {
            name: "path_length".into(),
            value: 3.0,
            unit: "mm".into(),
        }],
        alerts_high: 1,
        alerts_medium: 0,
        alerts_low: 2,
        alert_conditions: vec!["c".into()],
        telemetry_rows: 7,
        telemetry_missing: 1,
        completeness: Some(0.875),
        result: None,
    };
    assert_eq!(Outcome::decode(&outcome.encode()).unwrap(), outcome);
    outcome.result = Some(ClinicalResult {
        success_status: SuccessStatus::Complicated,
        blood_loss_ml: Some(100),
        complications: vec![Complication {
            kind: "ileus".into(),
            severity: Severity::Moderate,
        }],
        hospital_stay_days: None,
        readmission_30day: Some(true),
        patient_satisfaction_score: Some(4),
        recovery_score: None,
        follow_up_required: None,
    });
    assert_eq!(Outcome::decode(&outcome.encode()).unwrap(), outcome);
}

#[test]
fn a_dead_letter_keeps_its_bytes() {
    let letter = DeadLetter {
        topic: "t".into(),
        partition: 2,
        offset: 3,
        append_time: 4,
        reason: "undecodable".into(),
        detail: "d".into(),
        robot_id: None,
        schema_id: Some(7),
        size: 3,
        sha256: "00".into(),
        sealed: true,
        payload: vec![0, 255, 10],
        version: "0".into(),
    };
    assert_eq!(DeadLetter::decode(&letter.encode()).unwrap(), letter);
}

#[test]
fn another_schemas_bytes_are_refused() {
    let error = Outcome::decode(&alert().encode()).unwrap_err();
    assert!(error.to_string().contains("1121"), "{error}");
}

/// The bytes of a record by way of a tree of values, as apache-avro resolves it against the schema.
fn by_values<T: Serialize>(id: u32, schema: &Schema, record: &T) -> Vec<u8> {
    let value = apache_avro::to_value(record).unwrap();
    let datum = write(schema, value.resolve(schema).unwrap()).unwrap();
    framing::frame(id, &datum)
}

proptest! {
    #[test]
    fn fields_written_one_by_one_are_those_of_the_resolved_value(
        number in any::<i64>(), small in any::<i32>(), value in proptest::option::of(any::<f64>()),
        text in ".{0,20}", maybe in proptest::option::of(".{0,8}"), count in 0..4_usize,
        transition in 0..12_usize, bytes in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let alert = Alert {
            procedure_id: maybe.clone(),
            transition: Transition::ALL[transition],
            priority: [Priority::High, Priority::Medium, Priority::Low][transition % 3],
            revision: small,
            event_time: number,
            value,
            limit: value.map(|value| -value),
            unit: maybe.clone(),
            message: text.clone(),
            ..alert()
        };
        prop_assert_eq!(alert.encode(), by_values(1121, Alert::schema().schema, &alert));
        let signal = SignalAggregates {
            name: text.clone(),
            count: number,
            sum: value.unwrap_or(1.5),
            min: -1.0,
            max: f64::INFINITY,
            mean: value,
            m2: None,
            first: value,
            last: None,
        };
        let window = WindowAggregates {
            robot_id: text.clone(),
            dataset: "d".into(),
            window: "w".into(),
            window_start: number,
            window_size_us: 1,
            revision: small,
            rows: number,
            signals: vec![signal; count],
        };
        prop_assert_eq!(
            window.encode(),
            by_values(1104, WindowAggregates::schema().schema, &window)
        );
        let letter = DeadLetter {
            topic: text.clone(),
            partition: small,
            offset: number,
            append_time: number,
            reason: text.clone(),
            detail: text,
            robot_id: maybe.clone(),
            schema_id: maybe.map(|_| number),
            size: 3,
            sha256: "00".into(),
            sealed: count == 0,
            payload: bytes,
            version: "0".into(),
        };
        prop_assert_eq!(
            letter.encode(),
            by_values(1103, DeadLetter::schema().schema, &letter)
        );
    }
}
