//! What planted bugs do to what a process commits or publishes.

use theatre_actors::control;
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::*;
use theatre_actors::processor::Processor;
use theatre_config::{ALERT_TOPIC, INPUT_TOPICS};

use crate::acting;
use crate::simulation::Bug;

/// What the bug does: alerts are published before they are committed.
pub(super) fn publish(log: &dyn EventLog, commits: &[PartitionCommit]) -> Result<()> {
    for commit in commits {
        let alerts = commit
            .processors
            .iter()
            .flat_map(|save| &save.outputs)
            .filter(|output| output.kind == OutputKind::Alert);
        for output in alerts {
            let record = NewRecord {
                key: output.robot_id.clone().into_bytes(),
                value: output.payload.clone(),
                headers: Vec::new(),
            };
            log.append(ALERT_TOPIC, commit.partition, &[record])?;
        }
    }
    Ok(())
}

/// What the bugs do to versions.
pub(super) fn spoil_versions(bug: Option<Bug>, commits: &mut [PartitionCommit]) {
    let saves = commits.iter_mut().flat_map(|commit| &mut commit.processors);
    for save in saves {
        let is_version = |output: &OutputEvent| output.kind == OutputKind::FacilityVersion;
        match bug {
            Some(Bug::LosesVersions) => save
                .outputs
                .retain(|output| !is_version(output) || output.revision == 0),
            Some(Bug::RepeatsVersions) => {
                let again = save.outputs.iter().find(|output| is_version(output));
                let again = again.cloned().map(|output| OutputEvent {
                    revision: output.revision + 1,
                    ..output
                });
                save.outputs.extend(again);
            }
            _ => {}
        }
    }
}

/// What the bugs do to what was said to all robots, when an owner begins.
pub(super) fn spoil_what_was_said(
    bug: Option<Bug>,
    log: &dyn EventLog,
    mut found: Vec<StoredProcessor>,
) -> Result<Vec<StoredProcessor>> {
    match bug {
        Some(Bug::ForgetsWhatWasSaid) => {
            found.retain(|stored| control::partition_of(&stored.processor).is_none());
        }
        Some(Bug::ForgetsSilences) => {
            for stored in &mut found {
                silence_another_rule(&mut stored.state);
            }
        }
        Some(Bug::RulesFromElsewhere) => {
            let rules = 10;
            let end = log.range(INPUT_TOPICS[rules], 0)?.end;
            for stored in &mut found {
                if control::is_robot(&stored.processor) && !stored.processor.is_empty() {
                    let mut positions = stored.positions.clone();
                    positions.advance(rules, end);
                    let moved = Processor::moved(&stored.state, &positions);
                    stored.state = moved.map_err(|error| Error::Refused(error.to_string()))?;
                }
            }
        }
        Some(Bug::ForgetsRejections) => {
            let of_partition = |it: &&mut StoredProcessor| control::partition_of(&it.processor);
            for stored in found.iter_mut().filter(|it| of_partition(it).is_some()) {
                name_other_changes(&mut stored.state);
            }
        }
        _ => {}
    }
    Ok(found)
}

/// Has the silences of a robot that name a rule name one that is not there, so that they hide
/// nothing. The rule follows the silence's id, which ends in a number, behind the sign that there
/// is one and its length.
fn silence_another_rule(state: &mut [u8]) {
    let named = b"\x01\x09far_right";
    let follows_id = |at: &usize| {
        let before = at.checked_sub(1).and_then(|before| state.get(before));
        before.is_some_and(u8::is_ascii_digit)
    };
    let places = state.windows(named.len()).enumerate();
    let places = places.filter(|(_, bytes)| bytes == named).map(|(at, _)| at);
    let places: Vec<usize> = places.filter(follows_id).collect();
    for at in places {
        if let Some(rule) = state.get_mut(at + 2..at + named.len()) {
            rule.copy_from_slice(b"forgotten");
        }
    }
}

/// Has rejections in a state name changes that never were. The id follows the reason, each behind
/// its length.
fn name_other_changes(state: &mut [u8]) {
    let reason = acting::REASON.as_bytes();
    let places = state.windows(reason.len()).enumerate();
    let places = places.filter(|(_, bytes)| *bytes == reason);
    let ids: Vec<usize> = places.map(|(at, _)| at + reason.len() + 2).collect();
    for at in ids {
        if let Some(first @ b'c') = state.get_mut(at) {
            *first = b'x';
        }
    }
}
