//! Conditions and their transitions.

use actix_web::web::{Json, Query};

use super::{Known, ListQuery, Shared, ask, fleet_of};
use crate::model::{AlertTransition, Condition, Page};
use crate::problem::Answer;

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
    let found = ask(&state, move |parts| {
        Ok(theatre_queries::alert_history(&*parts.store, robot, limit)?)
    });
    let mut items: Vec<AlertTransition> = found
        .await?
        .iter()
        .filter(|alert| caller.may(&alert.robot_id))
        .map(AlertTransition::from)
        .collect();
    items.reverse();
    Ok(Json(Page {
        items,
        next: None,
        as_of: as_of.into(),
    }))
}
