//! The configuration: the same as `theatre config check`.

use theatre_operations::checkup::Judgement;

use super::Deployment;

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let judged = deployment.judged();
    if let Some(params) = &judged.params {
        note(Judgement::ok(format!(
            "good: {} partitions, {} inputs, {} rules, {} windows",
            params.partitions,
            params.topics.len(),
            params.processor.rules.rules().len(),
            params.processor.windows.specs().len()
        )));
    }
    for why in &judged.faults {
        note(fault(why));
    }
}

/// A fault, which a start would refuse.
pub(super) fn fault(why: &str) -> Judgement {
    Judgement::failed(
        why,
        "correct the configuration; `theatre config check` tries it without a server",
    )
}
