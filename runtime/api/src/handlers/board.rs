//! All robots in short, for who shows a whole fleet: a column for each thing that is said of them, so
//! that ten thousand are a few hundred kilobytes.

use std::collections::HashMap;

use actix_web::web::Json;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Known, Shared, fleet_of};
use crate::model::Time;
use crate::problem::Answer;
use crate::standing::Standing;

/// Values that many robots share, each once; robots have its place.
#[derive(Debug, Default)]
struct Names {
    all: Vec<String>,
    places: HashMap<String, usize>,
}

impl Names {
    fn place(&mut self, name: Option<String>) -> Option<usize> {
        let name = name?;
        if let Some(place) = self.places.get(&name) {
            return Some(*place);
        }
        let place = self.all.len();
        self.all.push(name.clone());
        self.places.insert(name, place);
        Some(place)
    }
}

/// All robots by id: a value of each in every column that is named in the singular.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Board {
    /// Ids of robots, in order.
    robot_id: Vec<String>,
    /// Facilities, models, statuses, and rules of open conditions; the columns below have the place of
    /// one in its list.
    facilities: Vec<String>,
    models: Vec<String>,
    statuses: Vec<String>,
    rules: Vec<String>,
    /// Where it stands.
    facility: Vec<Option<usize>>,
    /// Its model.
    model: Vec<Option<usize>>,
    /// `operational`, `maintenance`, `retired` or `unknown`.
    status: Vec<Option<usize>>,
    /// The rule of its gravest open condition.
    rule: Vec<Option<usize>>,
    /// Its open conditions by their priority.
    high: Vec<u64>,
    medium: Vec<u64>,
    low: Vec<u64>,
    /// Of these: acknowledged, silenced, and old because it is silent.
    acknowledged: Vec<u64>,
    silenced: Vec<u64>,
    stale: Vec<u64>,
    /// Nothing comes from it.
    is_silent: Vec<bool>,
    /// The procedure that is under way.
    procedure_id: Vec<Option<String>>,
    /// Seconds before `as_of` at which its last record came.
    heard_before_s: Vec<Option<i64>>,
    /// When the store was read.
    as_of: Option<Time>,
}

pub(crate) async fn fleet(caller: Known, state: Shared) -> Answer<Json<Board>> {
    let fleet = fleet_of(&state).await?;
    let of_caller = fleet
        .robots
        .iter()
        .filter(|view| caller.may(&view.robot_id));
    let robots = of_caller.map(Standing::from);
    Ok(Json(board(robots, fleet.as_of.into())))
}

fn board(robots: impl Iterator<Item = Standing>, as_of: Time) -> Board {
    let mut board = Board::default();
    let [mut facilities, mut models, mut statuses, mut rules] =
        std::array::from_fn(|_| Names::default());
    for robot in robots {
        board.robot_id.push(robot.robot_id);
        board.facility.push(facilities.place(robot.facility_id));
        board.model.push(models.place(robot.robot_model));
        board.status.push(statuses.place(Some(robot.status)));
        board.rule.push(rules.place(robot.rule_id));
        board.high.push(robot.open.high);
        board.medium.push(robot.open.medium);
        board.low.push(robot.open.low);
        board.acknowledged.push(robot.acknowledged);
        board.silenced.push(robot.silenced);
        board.stale.push(robot.stale);
        board.is_silent.push(robot.is_silent);
        board.procedure_id.push(robot.procedure_id);
        let before = robot.heard_at.map(|at| (as_of.0 - at.0) / 1_000_000);
        board.heard_before_s.push(before);
    }
    Board {
        facilities: facilities.all,
        models: models.all,
        statuses: statuses.all,
        rules: rules.all,
        as_of: Some(as_of),
        ..board
    }
}

#[cfg(test)]
mod tests {
    use theatre_schemas::records::Priority;

    use super::*;
    use crate::model::OpenConditions;

    fn robot(id: &str, facility: Option<&str>, open: OpenConditions) -> Standing {
        Standing {
            robot_id: id.to_owned(),
            status: "operational".to_owned(),
            facility_id: facility.map(str::to_owned),
            robot_model: None,
            is_silent: false,
            priority: (open.high > 0).then_some(Priority::High),
            rule_id: (open.high > 0).then(|| "hot".to_owned()),
            open,
            acknowledged: 0,
            silenced: 0,
            stale: 0,
            procedure_id: None,
            last_event: None,
            clock: None,
            heard_at: Some(Time(5_000_000)),
        }
    }

    #[test]
    fn each_column_has_a_value_of_each_robot_and_names_stand_there_once() {
        let hot = OpenConditions {
            high: 2,
            ..OpenConditions::default()
        };
        let robots = [
            robot("a", Some("F"), OpenConditions::default()),
            robot("b", Some("G"), hot),
            robot("c", Some("F"), OpenConditions::default()),
            robot("d", None, OpenConditions::default()),
        ];
        let board = board(robots.into_iter(), Time(12_000_000));
        assert_eq!(board.facilities, ["F", "G"]);
        assert_eq!(board.facility, [Some(0), Some(1), Some(0), None]);
        assert_eq!(board.rule, [None, Some(0), None, None]);
        assert_eq!(board.high, [0, 2, 0, 0]);
        assert_eq!(board.heard_before_s, [Some(7); 4]);
        let shown = serde_json::to_value(&board).unwrap();
        for (name, column) in shown.as_object().unwrap() {
            let is_list = ["facilities", "models", "statuses", "rules"].contains(&name.as_str());
            if name != "as_of" && !is_list {
                assert_eq!(column.as_array().map(Vec::len), Some(4), "{name}");
            }
        }
    }
}
