use proptest::prelude::*;
use theatre_schemas::records::{OutcomeStatus, SuccessStatus};

use super::*;

const S: i64 = 1_000_000;

fn event(time: i64, step: Step, phase: Option<&str>) -> ProcedureEvent {
    let about = ProcedureMetadata {
        category: (step == Step::Scheduled).then(|| "urological".to_owned()),
        ..ProcedureMetadata::default()
    };
    ProcedureEvent {
        time: time * S,
        step,
        phase: phase.map(str::to_owned),
        about,
    }
}

fn course() -> Vec<ProcedureEvent> {
    vec![
        event(0, Step::Scheduled, None),
        event(10, Step::Started, None),
        event(10, Step::PhaseStarted, Some("docking")),
        event(20, Step::PhaseStarted, Some("dissection")),
        event(25, Step::Paused, None),
        event(30, Step::Resumed, None),
        event(40, Step::PhaseStarted, Some("docking")),
        event(50, Step::Completed, None),
    ]
}

proptest! {
    #[test]
    fn events_in_any_order_give_the_same_outcome(order in Just((0..course().len()).collect::<Vec<_>>()).prop_shuffle()) {
        let mut actor = ProcedureActor::default();
        let events = course();
        for index in order {
            actor.event(&format!("e{index}"), events[index].clone());
        }
        let outcome = actor.settle("p", "r").unwrap();
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
    actor.event("a", event(1, Step::Started, None));
    assert_eq!(actor.settle("p", "r"), None);
}

#[test]
fn a_later_output_corrects_and_a_repeated_one_does_not() {
    let mut actor = ProcedureActor::default();
    actor.event("a", event(1, Step::Started, None));
    actor.event("b", event(9, Step::Aborted, None));
    assert_eq!(actor.settle("p", "r").unwrap().revision, 0);
    assert_eq!(
        actor.event("b", event(9, Step::Aborted, None)),
        InsertResult::Known
    );
    assert_eq!(actor.settle("p", "r"), None);
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
    actor.result(99, result);
    let corrected = actor.settle("p", "r").unwrap();
    assert_eq!(
        (corrected.revision, corrected.status),
        (1, OutcomeStatus::Aborted)
    );
    assert!(corrected.result.is_some());
}
