//! Conditions and their transitions.

use actix_web::web::{Json, Path, Query};

use super::{Known, ListQuery, Shared, ask, fleet_of, looked_at};
use crate::model::{AlertTransition, Condition, ConditionHistory, Page};
use crate::problem::{Answer, Problem};

pub(crate) async fn open(
    query: Query<ListQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Condition>>> {
    let limit = query.limit()?;
    let fleet = fleet_of(&state).await?;
    let mut items: Vec<Condition> = fleet
        .robots
        .iter()
        .filter(|view| caller.may(&view.robot_id))
        .filter(|view| {
            query
                .robot
                .as_ref()
                .is_none_or(|robot| *robot == view.robot_id)
        })
        .flat_map(|view| {
            let condition = |open| Condition::of(&view.robot_id, open);
            view.conditions.iter().map(condition)
        })
        .filter(|open| {
            query
                .priority
                .is_none_or(|priority| priority == open.priority)
        })
        .collect();
    items.sort_by(|left, right| {
        (left.priority, left.raised_at, &left.robot_id).cmp(&(
            right.priority,
            right.raised_at,
            &right.robot_id,
        ))
    });
    items.truncate(limit);
    Ok(Json(Page {
        items,
        next: None,
        as_of: fleet.as_of.into(),
    }))
}

pub(crate) async fn transitions(
    query: Query<ListQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<AlertTransition>>> {
    let (limit, robot) = (query.limit()?, query.robot.clone());
    let as_of = state.parts.clock.now();
    let read = looked_at(&caller, limit);
    let found = ask(&state, move |parts| {
        Ok(theatre_queries::alert_history(&*parts.store, robot, read)?)
    });
    let mut items: Vec<AlertTransition> = found
        .await?
        .iter()
        .filter(|alert| caller.may(&alert.robot_id))
        .map(AlertTransition::from)
        .collect();
    items.reverse();
    items.truncate(limit);
    Ok(Json(Page {
        items,
        next: None,
        as_of: as_of.into(),
    }))
}

pub(crate) async fn history(
    id: Path<String>,
    caller: Known,
    state: Shared,
) -> Answer<Json<ConditionHistory>> {
    let id = id.into_inner();
    let as_of = state.parts.clock.now();
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
        as_of: as_of.into(),
    }))
}
