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
    }
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
    assert!(error.to_string().contains("1101"), "{error}");
}
