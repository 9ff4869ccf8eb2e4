//! Robots and procedures.

use actix_web::web::{Json, Path, Query};
use schemars::JsonSchema;
use serde::Serialize;
use theatre_actors::processor::ProcessorView;

use super::{Known, ListQuery, Shared, fleet_of};
use crate::model::{Page, Procedure, Robot, Time};
use crate::problem::{Answer, Problem};

/// A robot as it was at a moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RobotThen {
    #[serde(flatten)]
    robot: Robot,
    /// When the store was read.
    as_of: Time,
}

pub(crate) async fn robots(
    query: Query<ListQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Robot>>> {
    let limit = query.limit()?;
    let fleet = fleet_of(&state).await?;
    let after = query.after.as_deref().unwrap_or_default();
    let wanted = |view: &&ProcessorView| {
        let open = |priority| view.conditions.iter().any(|open| open.priority == priority);
        view.robot_id.as_str() > after
            && caller.may(&view.robot_id)
            && query.priority.is_none_or(open)
    };
    let mut items: Vec<Robot> = fleet
        .robots
        .iter()
        .filter(wanted)
        .take(limit + 1)
        .map(Robot::from)
        .collect();
    let next = (items.len() > limit).then(|| {
        items.truncate(limit);
        items.last().map(|robot| robot.robot_id.clone())
    });
    Ok(Json(Page {
        items,
        next: next.flatten(),
        as_of: fleet.as_of.into(),
    }))
}

pub(crate) async fn robot(
    robot: Path<String>,
    caller: Known,
    state: Shared,
) -> Answer<Json<RobotThen>> {
    let fleet = fleet_of(&state).await?;
    let view = fleet.robot(&robot).filter(|_| caller.may(&robot));
    let view = view.ok_or_else(|| Problem::missing("robot", &robot))?;
    Ok(Json(RobotThen {
        robot: Robot::from(view),
        as_of: fleet.as_of.into(),
    }))
}

pub(crate) async fn procedures(
    query: Query<ListQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Procedure>>> {
    let limit = query.limit()?;
    let fleet = fleet_of(&state).await?;
    let mut found: Vec<Procedure> = fleet
        .robots
        .iter()
        .filter(|view| caller.may(&view.robot_id))
        .filter(|view| {
            query
                .robot
                .as_ref()
                .is_none_or(|robot| *robot == view.robot_id)
        })
        .flat_map(|view| view.procedures.iter())
        .filter(|procedure| {
            query
                .status
                .as_ref()
                .is_none_or(|status| *status == procedure.status)
        })
        .map(Procedure::from)
        .collect();
    // The place in a page is a time and the ids, so that pages fit together while cases go on.
    let place = |item: &Procedure| {
        format!(
            "{:020}/{}/{}",
            i64::MAX - item.heard_at.0,
            item.procedure_id,
            item.robot_id
        )
    };
    found.sort_by_cached_key(place);
    if let Some(after) = &query.after {
        found.retain(|item| place(item) > *after);
    }
    let next = (found.len() > limit).then(|| {
        found.truncate(limit);
        found.last().map(place)
    });
    Ok(Json(Page {
        items: found,
        next: next.flatten(),
        as_of: fleet.as_of.into(),
    }))
}

pub(crate) async fn procedure(
    id: Path<String>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Procedure>>> {
    let fleet = fleet_of(&state).await?;
    let legs: Vec<Procedure> = fleet
        .robots
        .iter()
        .filter(|view| caller.may(&view.robot_id))
        .flat_map(|view| view.procedures.iter())
        .filter(|procedure| procedure.procedure_id == *id)
        .map(Procedure::from)
        .collect();
    if legs.is_empty() {
        return Err(Problem::missing("procedure", &id));
    }
    Ok(Json(Page {
        items: legs,
        next: None,
        as_of: fleet.as_of.into(),
    }))
}
