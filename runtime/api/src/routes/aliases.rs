//! Paths by which the platform before this one was asked. They answer as the routes that they stand
//! for: with a token, by pages, in the same forms.

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::Role;

use actix_web::http::Method;

use super::taken::{
    AFTER, Kind, LIMIT, ON_ERROR, RECORDS, ROBOT_ID, SUCCESS, Takes, path, query, takes,
};
use super::{Gives, RouteSpec, asked, get, schema};
use crate::handlers;
use crate::handlers::fleet::{RobotThen, Stats};
use crate::ingest::before::{self, Batch};
use crate::model::{Accepted, Page, Procedure, ProcedureLeg, ReportRows, Robot};

pub(super) fn all() -> Vec<RouteSpec> {
    let mut routes = lists();
    routes.extend(analytics());
    routes.extend(records());
    routes
}

fn lists() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    let live = || asked().to(handlers::live);
    let health = |path| get(path, None, "As `/livez`.", vec![], Gives::Other, live);
    vec![
        health("/health"),
        health("/api/health"),
        health("/ingest/health"),
        get(
            "/api/robots",
            viewer,
            "As `/api/v1/robots`.",
            vec![
                query(
                    "facility_id",
                    Kind::Text,
                    "Only those that stand in this facility.",
                ),
                query(
                    "status",
                    Kind::Text,
                    "Only those with this status of the registry.",
                ),
                AFTER,
                LIMIT,
            ],
            Gives::Json(schema::<Page<Robot>>),
            || asked().to(handlers::fleet::robots),
        ),
        get(
            "/api/robots/{robot}",
            viewer,
            "As `/api/v1/robots/{robot}`.",
            vec![ROBOT_ID],
            Gives::Json(schema::<RobotThen>),
            || asked().to(handlers::fleet::robot),
        ),
        get(
            "/api/procedures",
            viewer,
            "As `/api/v1/procedures`.",
            vec![
                query("robot_id", Kind::Text, "Only of this robot."),
                query("category", Kind::Text, "Only of this category."),
                query("status", Kind::Text, "Only those with this status."),
                AFTER,
                LIMIT,
            ],
            Gives::Json(schema::<Page<Procedure>>),
            || asked().to(handlers::procedures::list),
        ),
        get(
            "/api/procedures/{procedure}",
            viewer,
            "As `/api/v1/procedures/{procedure}`.",
            vec![path("procedure", "Id of the procedure.")],
            Gives::Json(schema::<Page<ProcedureLeg>>),
            || asked().to(handlers::procedures::one),
        ),
        get(
            "/api/outcomes",
            viewer,
            "As `/api/v1/outcomes`.",
            vec![SUCCESS, AFTER, LIMIT],
            Gives::Rows(OutputKind::Outcome),
            || asked().to(handlers::outputs::outcomes),
        ),
    ]
}

/// Where records are sent.
fn records() -> Vec<RouteSpec> {
    const BATCH: Takes = takes::<Batch>(
        "{\"type\": ..., \"records\": [...]}: of `type` telemetry unless it is given, procedure, outcome, maintenance or robot; plain, gzip or zstd.",
    );
    let post = |path, summary, takes, handler| RouteSpec {
        method: Method::POST,
        path,
        role: Some(Role::Operator),
        summary,
        parameters: vec![ON_ERROR],
        takes: Some(takes),
        status: 202,
        gives: Gives::Json(schema::<Accepted>),
        handler,
    };
    vec![
        post(
            "/ingest/telemetry",
            "As `/api/v1/datasets/robot_telemetry/records`.",
            RECORDS,
            || before::route(Some("robot_telemetry")),
        ),
        post(
            "/ingest/procedure",
            "As `/api/v1/datasets/procedure_events/records`.",
            RECORDS,
            || before::route(Some("procedure_events")),
        ),
        post(
            "/ingest/outcome",
            "As `/api/v1/datasets/procedure_results/records`.",
            RECORDS,
            || before::route(Some("procedure_results")),
        ),
        post(
            "/ingest/maintenance",
            "As `/api/v1/datasets/maintenance_logs/records`.",
            RECORDS,
            || before::route(Some("maintenance_logs")),
        ),
        post(
            "/ingest/robot",
            "As `/api/v1/datasets/robot_registry/records`.",
            RECORDS,
            || before::route(Some("robot_registry")),
        ),
        post(
            "/ingest/batch",
            "As `/api/v1/datasets/{dataset}/records`, of the dataset that `type` stands for.",
            BATCH,
            || before::route(None),
        ),
        get(
            "/ingest/stats",
            Some(Role::Viewer),
            "How many procedures the robots remember, and how many robots had one.",
            vec![],
            Gives::Json(schema::<Stats>),
            || asked().to(handlers::fleet::stats),
        ),
    ]
}

fn analytics() -> Vec<RouteSpec> {
    let report = |path, summary, handler| {
        let viewer = Some(Role::Viewer);
        get(
            path,
            viewer,
            summary,
            vec![],
            Gives::Json(schema::<ReportRows>),
            handler,
        )
    };
    let utilization = || asked().to(handlers::reports::robot_utilization);
    let outcomes = || asked().to(handlers::reports::outcomes_summary);
    let categories = || asked().to(handlers::reports::procedures_by_category);
    vec![
        report(
            "/api/v1/analytics/robot-utilization",
            "Robots, the busiest first: the report `robot_utilization`.",
            utilization,
        ),
        report(
            "/api/v1/analytics/outcomes-summary",
            "Outcomes by the hospital's result: the report `outcomes_summary`.",
            outcomes,
        ),
        report(
            "/api/v1/analytics/procedures-by-category",
            "Cases of the last 30 days by category: the report `procedures_by_category`.",
            categories,
        ),
        report(
            "/api/analytics/robot-utilization",
            "As `/api/v1/analytics/robot-utilization`.",
            utilization,
        ),
        report(
            "/api/analytics/outcomes-summary",
            "As `/api/v1/analytics/outcomes-summary`.",
            outcomes,
        ),
        report(
            "/api/analytics/procedures-by-category",
            "As `/api/v1/analytics/procedures-by-category`.",
            categories,
        ),
    ]
}
