//! Conditions and their transitions.

use actix_web::web::{Json, Path, Query};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{Error, Result, StoredOutput};
use theatre_actors::processor::ProcessorView;
use theatre_schemas::records::{Alert, Priority};

use super::outputs::OutputQuery;
use super::{Known, ListQuery, Shared, ask, fleet_of};
use crate::cursor;
use crate::model::{AlertTransition, Condition, ConditionHistory, Page};
use crate::problem::{Answer, Problem};

/// The place of an open condition in the list: by priority, moment, robot, and what it is of.
type Standing = (
    Priority,
    i64,
    String,
    String,
    Option<String>,
    Option<String>,
);

fn standing(condition: &Condition) -> Standing {
    let of = condition;
    (
        of.priority,
        of.raised_at.0,
        of.robot_id.clone(),
        of.rule_id.clone(),
        of.dataset.clone(),
        of.signal.clone(),
    )
}

pub(crate) async fn open(
    query: Query<ListQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Condition>>> {
    let limit = query.limit()?;
    let list = format!("alerts {:?} {:?}", query.robot, query.priority);
    let after = query.after.as_deref();
    let after: Option<Standing> = after.map(|text| cursor::open(&list, text)).transpose()?;
    let fleet = fleet_of(&state).await?;
    let is_robot = |view: &&ProcessorView| {
        let robot = query.robot.as_ref();
        robot.is_none_or(|robot| *robot == view.robot_id) && caller.may(&view.robot_id)
    };
    let conditions = fleet.robots.iter().filter(is_robot).flat_map(|view| {
        let condition = |open| Condition::of(&view.robot_id, open);
        view.conditions.iter().map(condition)
    });
    let mut items: Vec<Condition> = conditions
        .filter(|open| query.priority.is_none_or(|wanted| wanted == open.priority))
        .filter(|open| after.as_ref().is_none_or(|after| standing(open) > *after))
        .collect();
    items.sort_by_cached_key(standing);
    let next = (items.len() > limit).then(|| {
        items.truncate(limit);
        items
            .last()
            .map(|last| cursor::seal(&list, &standing(last)))
    });
    Ok(Json(Page {
        items,
        next: next.flatten(),
        as_of: fleet.as_of.into(),
    }))
}

pub(crate) async fn transitions(
    query: Query<OutputQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<AlertTransition>>> {
    let mut wanted = query
        .into_inner()
        .wanted("transitions", OutputKind::Alert)?;
    wanted.every_revision = true;
    let caller = caller.into_inner();
    let page = ask(&state, move |parts| {
        let found = wanted.gather(parts, &caller, None)?;
        let shown = |stored: &StoredOutput| -> Result<AlertTransition> {
            let alert = Alert::decode(&stored.output.payload);
            let alert = alert.map_err(|error| Error::Refused(error.to_string()))?;
            Ok(AlertTransition::from(&alert))
        };
        let items: Result<Vec<AlertTransition>> = found.outputs.iter().map(shown).collect();
        Ok(Page {
            items: items?,
            next: found.next,
            as_of: found.as_of,
        })
    });
    Ok(Json(page.await?))
}

pub(crate) async fn history(
    id: Path<String>,
    caller: Known,
    state: Shared,
) -> Answer<Json<ConditionHistory>> {
    let id = id.into_inner();
    // The robots were read before the transitions are: the answer is as old as they are.
    let fleet = fleet_of(&state).await?;
    let wanted = id.clone();
    let moved = ask(&state, move |parts| {
        Ok(theatre_queries::condition_history(&*parts.store, &wanted)?)
    });
    let transitions: Vec<AlertTransition> = (moved.await?.iter())
        .filter(|alert| caller.may(&alert.robot_id))
        .map(AlertTransition::from)
        .collect();
    if transitions.is_empty() {
        return Err(Problem::missing("condition", &id));
    }
    let seen = (fleet.robots.iter()).filter(|view| caller.may(&view.robot_id));
    let mut open = seen.flat_map(|view| {
        let conditions = view.conditions.iter();
        conditions.map(|condition| (view.robot_id.as_str(), condition))
    });
    let found = open.find(|(_, condition)| condition.condition_id.as_deref() == Some(&id));
    Ok(Json(ConditionHistory {
        condition: found.map(|(robot, condition)| Condition::of(robot, condition)),
        transitions,
        as_of: fleet.as_of.into(),
    }))
}
