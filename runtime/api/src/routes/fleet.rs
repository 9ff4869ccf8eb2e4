//! Routes of robots, their procedures and their alerts.

use theatre_actors::ports::Role;

use super::taken::{
    AFTER, CHANGED_AFTER, CONDITION, FROM, Kind, LIMIT, PRIORITY, ROBOT, ROBOT_ID, SIGNAL, UNTIL,
    path, query,
};
use super::{Gives, RouteSpec, asked, get, schema};
use crate::handlers;
use crate::model::{
    AlertTransition, Condition, ConditionHistory, Me, Page, Procedure, ProcedureLeg, Robot, Series,
    Silence, TelemetryRows,
};

pub(super) fn all() -> Vec<RouteSpec> {
    let mut routes = robots();
    routes.extend(measured());
    routes.extend(procedures());
    routes.extend(alerts());
    routes
}

fn robots() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/me",
            viewer,
            "Who the caller is.",
            vec![],
            Gives::Json(schema::<Me>),
            || asked().to(handlers::me),
        ),
        get(
            "/api/v1/robots",
            viewer,
            "Robots by id.",
            vec![
                query(
                    "facility",
                    Kind::Text,
                    "Only those that stand in this facility.",
                ),
                query("model", Kind::Text, "Only those of this model."),
                query(
                    "status",
                    Kind::Text,
                    "Only those with this status of the registry.",
                ),
                PRIORITY,
                CHANGED_AFTER,
                AFTER,
                LIMIT,
            ],
            Gives::Json(schema::<Page<Robot>>),
            || asked().to(handlers::fleet::robots),
        ),
        get(
            "/api/v1/fleet",
            viewer,
            "All robots in short, in columns.",
            vec![],
            Gives::Json(schema::<handlers::board::Board>),
            || asked().to(handlers::board::fleet),
        ),
        get(
            "/api/v1/robots/{robot}",
            viewer,
            "One robot.",
            vec![ROBOT_ID],
            Gives::Json(schema::<handlers::fleet::RobotThen>),
            || asked().to(handlers::fleet::robot),
        ),
    ]
}

/// What was measured on a robot.
fn measured() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/robots/{robot}/signals",
            viewer,
            "A signal over time, from the windows that the store keeps: in the finest resolution that needs no more points than asked for.",
            vec![
                ROBOT_ID,
                SIGNAL,
                query(
                    "dataset",
                    Kind::Text,
                    "Its dataset; needed where several have the signal.",
                ),
                query(
                    "from",
                    Kind::Moment,
                    "First moment (RFC 3339); 15 minutes before the robot's clock unless it is given.",
                ),
                query(
                    "until",
                    Kind::Moment,
                    "The moment after the last (RFC 3339).",
                ),
                query(
                    "points",
                    Kind::Within(1, handlers::windows::POINTS_MAX),
                    "Most points, 1 to 5000; 500 unless it is given.",
                ),
            ],
            Gives::Json(schema::<Series>),
            || asked().to(handlers::windows::series),
        ),
        get(
            "/api/v1/robots/{robot}/telemetry",
            viewer,
            "Rows of telemetry of a short range by event time, each once, from the lake and from the log behind it; what is missing is said.",
            vec![
                ROBOT_ID,
                query(
                    "dataset",
                    Kind::Text,
                    "The dataset; needed where several have telemetry.",
                ),
                query(
                    "from",
                    Kind::Moment,
                    "First moment (RFC 3339); a minute before the robot's clock unless it is given.",
                ),
                query(
                    "to",
                    Kind::Moment,
                    "The moment after the last (RFC 3339), at most ten minutes later; a minute later unless it is given.",
                ),
                AFTER,
                query(
                    "limit",
                    Kind::Within(1, handlers::telemetry::ROWS_MAX),
                    "Most rows, 1 to 2000; 500 unless it is given.",
                ),
            ],
            Gives::Json(schema::<TelemetryRows>),
            || asked().to(handlers::telemetry::rows),
        ),
    ]
}

fn procedures() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/procedures",
            viewer,
            "Procedures of which a step was reported, those that changed last first.",
            vec![
                ROBOT,
                query(
                    "facility",
                    Kind::Text,
                    "Only on robots that stand in this facility now.",
                ),
                query("category", Kind::Text, "Only of this category."),
                query("surgeon", Kind::Text, "Only of this surgeon, by pseudonym."),
                query("status", Kind::Text, "Only those with this status."),
                FROM,
                UNTIL,
                CHANGED_AFTER,
                AFTER,
                LIMIT,
            ],
            Gives::Json(schema::<Page<Procedure>>),
            || asked().to(handlers::procedures::list),
        ),
        get(
            "/api/v1/procedures/{procedure}",
            viewer,
            "One procedure: a leg on each robot that it was on, with its phases, its outcome and all revisions of that.",
            vec![path("procedure", "Id of the procedure.")],
            Gives::Json(schema::<Page<ProcedureLeg>>),
            || asked().to(handlers::procedures::one),
        ),
    ]
}

fn alerts() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/alerts",
            viewer,
            "Conditions that are open, the gravest first.",
            vec![ROBOT, PRIORITY, AFTER, LIMIT],
            Gives::Json(schema::<Page<Condition>>),
            || asked().to(handlers::alerts::open),
        ),
        get(
            "/api/v1/alerts/transitions",
            viewer,
            "Transitions of conditions, the latest first.",
            vec![ROBOT, FROM, UNTIL, CHANGED_AFTER, AFTER, LIMIT],
            Gives::Json(schema::<Page<AlertTransition>>),
            || asked().to(handlers::alerts::transitions),
        ),
        get(
            "/api/v1/alerts/{condition}",
            viewer,
            "One condition: how it stands, and all that became of it.",
            vec![CONDITION],
            Gives::Json(schema::<ConditionHistory>),
            || asked().to(handlers::alerts::history),
        ),
        get(
            "/api/v1/silences",
            viewer,
            "Silences that hold, the one that ends first at the beginning.",
            vec![],
            Gives::Json(schema::<Page<Silence>>),
            || asked().to(handlers::actions::silences),
        ),
    ]
}
