//! Robots.

use actix_web::web::{Json, Path, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::time::LogTime;
use theatre_schemas::records::Priority;

use super::outputs::given;
use super::pages::since;
use super::{Known, Shared, fleet_of, limited};
use crate::cursor;
use crate::model::{Page, Robot, Time};
use crate::problem::{Answer, Problem};
use crate::snapshot::Saved;

/// Which robots are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RobotQuery {
    #[serde(alias = "facility_id")]
    facility: Option<String>,
    model: Option<String>,
    status: Option<String>,
    priority: Option<Priority>,
    changed_after: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// A robot as it was at a moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RobotThen {
    #[serde(flatten)]
    robot: Robot,
    /// When the store was read.
    as_of: Time,
}

/// What the platform before this one said of itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Stats {
    /// Procedures that robots remember.
    procedures: u64,
    /// Robots that remember one.
    robots: u64,
    /// Latest event time that was heard of one of them.
    latest: Option<Time>,
    /// When the store was read.
    as_of: Time,
}

pub(crate) async fn stats(caller: Known, state: Shared) -> Answer<Json<Stats>> {
    let fleet = fleet_of(&state).await?;
    let seen = fleet
        .saved()
        .filter(|saved| caller.may(&saved.view.robot_id));
    let of_robots: Vec<_> = seen
        .map(|saved| &saved.view.procedures)
        .filter(|procedures| !procedures.is_empty())
        .collect();
    let heard = of_robots.iter().flat_map(|procedures| procedures.iter());
    Ok(Json(Stats {
        procedures: heard.clone().count() as u64,
        robots: of_robots.len() as u64,
        latest: heard.map(|procedure| procedure.heard_at).max().map(Time),
        as_of: fleet.as_of.into(),
    }))
}

pub(crate) async fn robots(
    query: Query<RobotQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Robot>>> {
    let query = query.into_inner();
    let limit = limited(query.limit)?;
    let changed_after = given("changed_after", query.changed_after.as_deref())?;
    let list = format!(
        "robots {:?} {:?} {:?} {:?} {changed_after:?}",
        query.facility, query.model, query.status, query.priority
    );
    let after = query.after.as_deref();
    let after: Option<(i64, String)> = after.map(|text| cursor::open(&list, text)).transpose()?;
    let fleet = fleet_of(&state).await?;
    // What changes while pages are read comes with the next question for changes.
    let as_of = after.as_ref().map_or(fleet.as_of.0, |(first, _)| *first);
    let is = |wanted: &Option<String>, known: Option<&str>| {
        wanted.is_none() || wanted.as_deref() == known
    };
    let wanted = |saved: &Saved<'_>| {
        let view = saved.view;
        let open = |priority| view.conditions.iter().any(|open| open.priority == priority);
        let record = &view.record;
        after
            .as_ref()
            .is_none_or(|(_, after)| view.robot_id > *after)
            && caller.may(&view.robot_id)
            && query.priority.is_none_or(open)
            && is(&query.facility, record.facility_id.as_deref())
            && is(&query.model, record.robot_model.as_deref())
            && is(&query.status, Some(&record.status))
            && changed_after.is_none_or(|moment| saved.saved_at >= since(moment))
    };
    let found = fleet.saved().filter(wanted).take(limit + 1);
    let mut items: Vec<Robot> = found.map(Robot::from).collect();
    let next = (items.len() > limit).then(|| {
        items.truncate(limit);
        let last = items.last()?;
        Some(cursor::seal(&list, &(as_of, &last.robot_id)))
    });
    Ok(Json(Page {
        items,
        next: next.flatten(),
        as_of: LogTime(as_of).into(),
    }))
}

pub(crate) async fn robot(
    robot: Path<String>,
    caller: Known,
    state: Shared,
) -> Answer<Json<RobotThen>> {
    let fleet = fleet_of(&state).await?;
    let is_it = |saved: &Saved<'_>| saved.view.robot_id == *robot;
    let found = fleet.saved().filter(|_| caller.may(&robot)).find(is_it);
    let saved = found.ok_or_else(|| Problem::missing("robot", &robot))?;
    Ok(Json(RobotThen {
        robot: Robot::from(saved),
        as_of: fleet.as_of.into(),
    }))
}
