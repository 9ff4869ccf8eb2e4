//! Procedures: those that the store keeps, and one with all that is known of it.

use std::collections::{BTreeMap, HashMap};

use actix_web::web::{Json, Path, Query};
use serde::Deserialize;
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::{Error, PageFilter, StoredOutput};
use theatre_actors::processor::ProcedureView;
use theatre_schemas::records::{self, ProcedureState};

use super::outputs::given;
use super::pages::{Gathered, Kept, Wanted, now};
use super::{Known, Shared, ask, fleet_of, limited};
use crate::Parts;
use crate::access::Caller;
use crate::model::{Outcome, Page, Procedure, ProcedureLeg};
use crate::problem::{Answer, Problem};
use crate::rows;
use crate::snapshot::Fleet;

/// Outputs of a kind that one procedure has at most: there are as many legs as robots, and as many
/// phases as steps.
const OF_ONE: usize = 2_000;

/// Which procedures are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcedureQuery {
    #[serde(alias = "robot_id")]
    robot: Option<String>,
    facility: Option<String>,
    category: Option<String>,
    surgeon: Option<String>,
    status: Option<String>,
    from: Option<String>,
    until: Option<String>,
    changed_after: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn list(
    query: Query<ProcedureQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Procedure>>> {
    let query = query.into_inner();
    let fleet = fleet_of(&state).await?;
    let stands_in = |facility: &String| {
        let there = fleet.robots.iter();
        let there = there.filter(|view| view.record.facility_id.as_ref() == Some(facility));
        there.map(|view| view.robot_id.clone()).collect()
    };
    let wanted = Wanted {
        robots: query.facility.as_ref().map(stands_in),
        robot: query.robot,
        from: given("from", query.from.as_deref())?,
        until: given("until", query.until.as_deref())?,
        changed_after: given("changed_after", query.changed_after.as_deref())?,
        also: format!(
            "{:?} {:?} {:?} {:?}",
            query.facility, query.category, query.surgeon, query.status
        ),
        after: query.after,
        ..Wanted::latest("procedures", OutputKind::Procedure, limited(query.limit)?)
    };
    let (surgeon, status, category) = (query.surgeon, query.status, query.category);
    let caller = caller.into_inner();
    let page = ask(&state, move |parts| {
        let is_kept = |stored: &StoredOutput| -> Answer<bool> {
            let state = read(&stored.output)?;
            let is_of = (surgeon.is_none() || state.surgeon_id == surgeon)
                && (category.is_none() || state.category == category);
            let is_so = (status.as_ref()).is_none_or(|it| *it == state.status.replace('_', " "));
            Ok(is_of && is_so)
        };
        let is_filtered = surgeon.is_some() || status.is_some() || category.is_some();
        let kept: Option<Kept<'_>> = if is_filtered { Some(&is_kept) } else { None };
        let found = wanted.gather(parts, &caller, kept)?;
        let shown = |stored: &StoredOutput| shown(&stored.output, &fleet);
        let mut items = found
            .outputs
            .iter()
            .map(shown)
            .collect::<Answer<Vec<_>>>()?;
        add_outcomes(parts, &found, &mut items)?;
        Ok(Page {
            items,
            next: found.next.clone(),
            as_of: found.as_of,
        })
    });
    Ok(Json(page.await?))
}

/// Adds the last outcome to each procedure of a page that has ended and that its robot does not
/// remember any more. An outcome has the id of its leg.
fn add_outcomes(parts: &Parts, found: &Gathered, items: &mut [Procedure]) -> Answer<()> {
    let lacks = |shown: &Procedure| shown.outcome.is_none() && shown.ended_at.is_some();
    let of_leg = found.outputs.iter().map(|stored| &stored.output.id);
    let lacking: Vec<String> = (of_leg.zip(&*items))
        .filter(|(_, shown)| lacks(shown))
        .map(|(id, _)| id.clone())
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let kind = OutputKind::Outcome;
    let last = parts.store.last_revisions(kind, &lacking, &found.seen)?;
    let last: HashMap<&str, &OutputEvent> = (last.iter())
        .map(|stored| (&*stored.output.id, &stored.output))
        .collect();
    for (stored, shown) in found.outputs.iter().zip(items) {
        if let (true, Some(outcome)) = (lacks(shown), last.get(&*stored.output.id)) {
            shown.outcome = Some(read_outcome(outcome)?);
        }
    }
    Ok(())
}

fn read_outcome(output: &OutputEvent) -> Answer<Outcome> {
    let outcome = records::Outcome::decode(&output.payload);
    let outcome = outcome.map_err(|error| Error::Refused(error.to_string()))?;
    Ok(Outcome::from(&outcome))
}

fn read(output: &OutputEvent) -> Answer<ProcedureState> {
    let state = ProcedureState::decode(&output.payload);
    Ok(state.map_err(|error| Error::Refused(error.to_string()))?)
}

/// A case after its last step, with what its robot knows of it.
fn shown(output: &OutputEvent, fleet: &Fleet) -> Answer<Procedure> {
    let state = read(output)?;
    let robot = fleet.robot(&state.robot_id);
    // Of cases that had one number the robot remembers the last one.
    let is_it = |view: &&ProcedureView| {
        let ended = view.outcome.as_ref().map(|outcome| outcome.ended_at);
        view.procedure_id == state.procedure_id && (ended.is_none() || ended == state.ended_at)
    };
    let view = robot.and_then(|robot| robot.procedures.iter().find(is_it));
    let mut shown = Procedure::of(state, view);
    shown.facility_id = robot.and_then(|robot| robot.record.facility_id.clone());
    Ok(shown)
}

/// Outputs of a kind of one procedure, as far as the caller may see them, the latest first.
fn of_case(
    parts: &Parts,
    filter: PageFilter,
    id: &str,
    caller: &Caller,
) -> Answer<Vec<OutputEvent>> {
    let filter = PageFilter {
        subject: Some(id.to_owned()),
        ..filter
    };
    let found = parts.store.output_page(&filter)?.outputs.into_iter();
    let outputs = found.map(|stored| stored.output);
    Ok(outputs
        .filter(|output| caller.may(&output.robot_id))
        .collect())
}

/// Outcomes of a procedure by leg, the first revision first.
fn outcomes(
    parts: &Parts,
    id: &str,
    seen: &[u64],
    caller: &Caller,
) -> Answer<BTreeMap<String, Vec<Outcome>>> {
    let filter = PageFilter {
        every_revision: true,
        ..PageFilter::latest(OutputKind::Outcome, seen.to_vec(), OF_ONE)
    };
    let mut by_leg: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    for output in of_case(parts, filter, id, caller)? {
        let outcome = read_outcome(&output)?;
        by_leg.entry(output.id).or_default().push(outcome);
    }
    for of_leg in by_leg.values_mut() {
        of_leg.sort_by_key(|outcome| outcome.revision);
    }
    Ok(by_leg)
}

pub(crate) async fn one(
    id: Path<String>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<ProcedureLeg>>> {
    let (id, caller) = (id.into_inner(), caller.into_inner());
    let fleet = fleet_of(&state).await?;
    let page = ask(&state, move |parts| {
        let (as_of, seen) = (now(parts)?, parts.store.last_outputs()?);
        let latest = |kind| PageFilter::latest(kind, seen.clone(), OF_ONE);
        let mut outcomes = outcomes(parts, &id, &seen, &caller)?;
        let phases = of_case(parts, latest(OutputKind::Phase), &id, &caller)?;
        // The list has the latest first.
        let phases: Vec<&OutputEvent> = phases.iter().rev().collect();
        let phases = rows::items(OutputKind::Phase, &phases)?;
        let mut legs = Vec::new();
        for output in of_case(parts, latest(OutputKind::Procedure), &id, &caller)? {
            let mut procedure = shown(&output, &fleet)?;
            let outcome_revisions = outcomes.remove(&output.id).unwrap_or_default();
            if procedure.outcome.is_none() {
                procedure.outcome = outcome_revisions.last().cloned();
            }
            let of_leg = phases
                .iter()
                .filter(|phase| phase["leg_id"] == output.id.as_str());
            legs.push(ProcedureLeg {
                procedure,
                phases: of_leg.cloned().collect(),
                outcome_revisions,
            });
        }
        // Of an earlier build nothing but the outcome is there.
        for (leg_id, outcome_revisions) in outcomes {
            let Some(last) = outcome_revisions.last() else {
                continue;
            };
            legs.push(ProcedureLeg {
                procedure: Procedure::ended(leg_id, last),
                phases: Vec::new(),
                outcome_revisions,
            });
        }
        let robots = fleet
            .robots
            .iter()
            .filter(|view| caller.may(&view.robot_id));
        let remembered = robots.flat_map(|view| &view.procedures);
        for view in remembered.filter(|view| view.procedure_id == id) {
            let is_shown = |leg: &ProcedureLeg| leg.procedure.robot_id == view.robot_id;
            if !legs.iter().any(is_shown) {
                legs.push(ProcedureLeg {
                    procedure: Procedure::heard_of(view),
                    phases: Vec::new(),
                    outcome_revisions: Vec::new(),
                });
            }
        }
        if legs.is_empty() {
            return Err(Problem::missing("procedure", &id));
        }
        Ok(Page {
            items: legs,
            next: None,
            as_of,
        })
    });
    Ok(Json(page.await?))
}
