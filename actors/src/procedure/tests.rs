use proptest::prelude::*;
use theatre_schemas::records::{OutcomeStatus, SuccessStatus};

use super::*;

const S: i64 = 1_000_000;

fn event(time: i64, step: ProcedureStep, phase: Option<&str>) -> ProcedureEvent {
    let metadata = ProcedureMetadata {
        category: (step == ProcedureStep::Scheduled).then(|| "urological".to_owned()),
        ..ProcedureMetadata::default()
    };
    ProcedureEvent {
        time: time * S,
        step,
        phase: phase.map(str::to_owned),
        metadata,
    }
}

fn course() -> Vec<ProcedureEvent> {
    vec![
        event(0, ProcedureStep::Scheduled, None),
        event(10, ProcedureStep::Started, None),
        event(10, ProcedureStep::PhaseStarted, Some("docking")),
        event(20, ProcedureStep::PhaseStarted, Some("dissection")),
        event(25, ProcedureStep::Paused, None),
        event(30, ProcedureStep::Resumed, None),
        event(40, ProcedureStep::PhaseStarted, Some("docking")),
        event(50, ProcedureStep::Completed, None),
    ]
}

proptest! {
    #[test]
    fn events_in_any_order_give_the_same_outcome(order in Just((0..course().len()).collect::<Vec<_>>()).prop_shuffle()) {
        let mut actor = ProcedureActor::default();
        let events = course();
        for index in order {
            actor.insert_event(&format!("e{index}"), events[index].clone());
        }
        let outcome = actor.finalize("p", "r", None).unwrap();
        prop_assert_eq!(outcome.status, OutcomeStatus::Completed);
        prop_assert_eq!(outcome.duration_s, Some(40.0));
        prop_assert_eq!(outcome.paused_s, 5.0);
        let phases: Vec<_> = outcome.phases.iter().map(|phase| (phase.name.as_str(), phase.duration_s)).collect();
        prop_assert_eq!(phases, vec![("docking", 20.0), ("dissection", 20.0)]);
        prop_assert_eq!(outcome.category.as_deref(), Some("urological"));
    }
}

#[test]
fn without_an_end_there_is_no_outcome() {
    let mut actor = ProcedureActor::default();
    actor.insert_event("a", event(1, ProcedureStep::Started, None));
    assert_eq!(actor.finalize("p", "r", None), None);
}

#[test]
fn a_later_output_corrects_and_a_repeated_one_does_not() {
    let mut actor = ProcedureActor::default();
    actor.insert_event("a", event(1, ProcedureStep::Started, None));
    actor.insert_event("b", event(9, ProcedureStep::Aborted, None));
    assert_eq!(actor.finalize("p", "r", None).unwrap().revision, 0);
    assert_eq!(
        actor.insert_event("b", event(9, ProcedureStep::Aborted, None)),
        InsertResult::Known
    );
    assert_eq!(actor.finalize("p", "r", None), None);
    let result = ClinicalResult {
        success_status: SuccessStatus::Failed,
        blood_loss_ml: None,
        complications: vec![],
        hospital_stay_days: None,
        readmission_30day: None,
        patient_satisfaction_score: None,
        recovery_score: None,
        follow_up_required: None,
    };
    actor.insert_result(99, result);
    let corrected = actor.finalize("p", "r", None).unwrap();
    assert_eq!(
        (corrected.revision, corrected.status),
        (1, OutcomeStatus::Aborted)
    );
    assert!(corrected.result.is_some());
}
