//! The life of a case on one robot, as it is published after each step.

use theatre_schemas::records::ProcedureState;

use super::phases::Leg;
use super::{ProcedureActor, ProcedureEvent, ProcedureMetadata, ProcedureStep, ends, paused};
use crate::outputs::fingerprint;

/// Number of events, and fingerprint of the overlapping cases, of which a state was made last. It
/// saves making the same state again. It is neither stored nor compared: without it the same state
/// is made once more.
#[derive(Debug, Clone, Default)]
pub(super) struct Described(Option<(usize, u64)>);

impl PartialEq for Described {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl ProcedureActor {
    /// From when to when it was on the robot, event times in microseconds UTC; `None` before its
    /// start. One that has not ended was there up to its latest step.
    pub(crate) fn under_way(&self) -> Option<(i64, i64)> {
        let events = || self.events.values();
        let starts = events().filter(|event| event.step == ProcedureStep::Started);
        let started = starts.map(|event| event.time).min()?;
        let latest = events().map(|event| event.time).max();
        let ended = self.ended_at().or(latest).unwrap_or(started);
        Some((started, ended.max(started)))
    }

    /// The phase that is under way at an event time, microseconds UTC; `None` before the first one
    /// and after the end of the case.
    pub(crate) fn phase_at(&self, time: i64) -> Option<&str> {
        let turns = self.events.values().filter(|event| {
            event.time <= time && (event.step == ProcedureStep::PhaseStarted || ends(event.step))
        });
        let last = turns.max_by_key(|event| (event.time, event.step, &event.phase))?;
        last.phase
            .as_deref()
            .filter(|_| last.step == ProcedureStep::PhaseStarted)
    }

    /// Whether its state is made of what it was made of last: of its events, which only grow in
    /// number, and of the cases that were on the robot at the same time.
    pub(crate) fn is_described(&self, overlaps: &[String]) -> bool {
        self.described.0 == Some((self.events.len(), fingerprint_of(overlaps)))
    }

    /// Its state, with the next revision, when it differs from the one published last. `overlaps`:
    /// the cases that were on the robot at the same time.
    pub(crate) fn revise_state(
        &mut self,
        leg: Leg<'_>,
        overlaps: Vec<String>,
    ) -> Option<ProcedureState> {
        if self.events.len() == 0 {
            return None;
        }
        let mut state = self.state(leg, &overlaps);
        self.described = Described(Some((self.events.len(), fingerprint_of(&overlaps))));
        let content = fingerprint(&state.encode());
        state.revision = match self.state_published {
            Some((_, known)) if known == content => return None,
            Some((revision, _)) => revision + 1,
            None => 0,
        };
        self.state_published = Some((state.revision, content));
        Some(state)
    }

    fn state(&self, leg: Leg<'_>, overlaps: &[String]) -> ProcedureState {
        let events = self.ordered();
        let ended_at = self.ended_at();
        let latest = |pick: fn(&ProcedureMetadata) -> &Option<String>| {
            let mut known = events.iter().rev();
            known.find_map(|event| pick(&event.metadata).clone())
        };
        let mut remarks = remarks(&events);
        remarks.extend(overlaps.iter().map(|id| format!("overlaps:{id}")));
        let changed_at = events.last().map_or(i64::MIN, |event| event.time);
        ProcedureState {
            leg_id: leg.id.to_owned(),
            procedure_id: leg.procedure_id.to_owned(),
            robot_id: leg.robot_id.to_owned(),
            revision: 0,
            status: status(&events).to_owned(),
            phase: events.iter().rev().find_map(|event| event.phase.clone()),
            category: latest(|of| &of.category),
            procedure_type: latest(|of| &of.procedure_type),
            surgeon_id: latest(|of| &of.surgeon_id),
            patient_id: latest(|of| &of.patient_id),
            complexity: events
                .iter()
                .rev()
                .find_map(|event| event.metadata.complexity),
            scheduled_at: first(&events, ProcedureStep::Scheduled),
            started_at: first(&events, ProcedureStep::Started),
            ended_at,
            paused_s: paused(&events, ended_at.unwrap_or(changed_at)),
            steps: i32::try_from(events.len()).unwrap_or(i32::MAX),
            changed_at,
            remarks,
        }
    }
}

fn fingerprint_of(overlaps: &[String]) -> u64 {
    fingerprint(overlaps.join("\0").as_bytes())
}

fn first(events: &[&ProcedureEvent], step: ProcedureStep) -> Option<i64> {
    let event = events.iter().find(|event| event.step == step)?;
    Some(event.time)
}

/// The status in the words of the schema. An end is final, whatever comes after it.
fn status(events: &[&ProcedureEvent]) -> &'static str {
    let (mut status, mut converted) = ("heard_of", false);
    for event in events {
        converted |= event.step == ProcedureStep::Converted;
        status = match event.step {
            ProcedureStep::Scheduled if status != "heard_of" => status,
            ProcedureStep::Scheduled => "scheduled",
            ProcedureStep::Paused => "paused",
            // A phase that begins does not end a pause.
            ProcedureStep::PhaseStarted if status == "paused" => status,
            ProcedureStep::Started
            | ProcedureStep::PhaseStarted
            | ProcedureStep::Resumed
            | ProcedureStep::Converted
                if converted =>
            {
                "converted"
            }
            ProcedureStep::Started
            | ProcedureStep::PhaseStarted
            | ProcedureStep::Resumed
            | ProcedureStep::Converted => "under_way",
            ProcedureStep::Aborted => "aborted",
            ProcedureStep::Cancelled => "cancelled",
            ProcedureStep::Completed if converted => "converted",
            ProcedureStep::Completed => "completed",
        };
    }
    let end = events.iter().rev().find(|event| ends(event.step));
    match end.map(|event| event.step) {
        Some(ProcedureStep::Aborted) => "aborted",
        Some(ProcedureStep::Cancelled) => "cancelled",
        Some(_) if converted => "converted",
        Some(_) => "completed",
        None => status,
    }
}

/// What does not fit in a life.
fn remarks(events: &[&ProcedureEvent]) -> Vec<String> {
    let count =
        |of: fn(ProcedureStep) -> bool| events.iter().filter(|event| of(event.step)).count();
    let started = first(events, ProcedureStep::Started);
    let end = events.iter().find(|event| ends(event.step));
    let ended = end.map(|event| event.time);
    let mut is_paused = false;
    let mut resumed_without_pause = false;
    for event in events {
        resumed_without_pause |= event.step == ProcedureStep::Resumed && !is_paused;
        match event.step {
            ProcedureStep::Paused => is_paused = true,
            ProcedureStep::Resumed => is_paused = false,
            _ => {}
        }
    }
    let steps_after = |time: i64| {
        let mut others = events.iter().filter(|event| !ends(event.step));
        others.any(|event| event.time > time)
    };
    // A case may be called off, or aborted, before it has started.
    let needs_start = count(|step| {
        !matches!(
            step,
            ProcedureStep::Scheduled
                | ProcedureStep::Started
                | ProcedureStep::Cancelled
                | ProcedureStep::Aborted
        )
    });
    let found = [
        (
            count(|step| step == ProcedureStep::Started) > 1,
            "two_starts",
        ),
        (count(ends) > 1, "two_ends"),
        (started > ended && ended.is_some(), "ended_before_start"),
        (ended.is_some_and(steps_after), "step_after_end"),
        (resumed_without_pause, "resumed_without_pause"),
        (started.is_none() && needs_start > 0, "not_started"),
    ];
    let remarks = found.into_iter().filter(|(is_so, _)| *is_so);
    remarks.map(|(_, remark)| remark.to_owned()).collect()
}
