//! The table of routes: what there is, who may use it, and what it takes and gives. The server, the
//! check of access and the document of the interface are made of it.

mod actions;
mod limited;
mod rules;

use actix_web::http::Method;
use actix_web::{Route, web};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;
use theatre_actors::ports::Role;

use crate::model::{
    Accepted, AlertTransition, Audit, Condition, ConditionHistory, DatasetInfo, Page, Procedure,
    Robot, Series, Silence, Token,
};
use crate::{events, handlers, ingest, openapi, page};

pub(crate) use limited::is_for_limited;

/// A parameter in the path or in the query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// `path` or `query`.
    pub(crate) place: &'static str,
    /// Type as JSON Schema calls it.
    pub(crate) kind: &'static str,
    pub(crate) doc: &'static str,
}

/// What an answer holds.
#[derive(Clone, Copy)]
pub(crate) enum Gives {
    /// JSON of this schema.
    Json(fn(&mut SchemaGenerator) -> schemars::Schema),
    /// Server-sent events.
    Events,
    /// Something for a browser or a probe.
    Other,
    /// Nothing.
    Nothing,
}

/// One route.
pub(crate) struct RouteSpec {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Who may use it; `None`: everybody.
    pub(crate) role: Option<Role>,
    pub(crate) summary: &'static str,
    pub(crate) parameters: Vec<Parameter>,
    /// What a body holds.
    pub(crate) takes: Option<&'static str>,
    pub(crate) status: u16,
    pub(crate) gives: Gives,
    pub(crate) handler: fn() -> Route,
}

const fn query(name: &'static str, kind: &'static str, doc: &'static str) -> Parameter {
    Parameter {
        name,
        place: "query",
        kind,
        doc,
    }
}

const fn path(name: &'static str, doc: &'static str) -> Parameter {
    Parameter {
        name,
        place: "path",
        kind: "string",
        doc,
    }
}

const AFTER: Parameter = query(
    "after",
    "string",
    "Where the page before ended: its `next`.",
);
const LIMIT: Parameter = query(
    "limit",
    "integer",
    "Most items, 1 to 500; 100 unless it is given.",
);
const ROBOT: Parameter = query("robot", "string", "Only of this robot.");
const ROBOT_ID: Parameter = path("robot", "Id of the robot.");
const CONDITION: Parameter = path("condition", "Id of the condition.");
const PRIORITY: Parameter = query(
    "priority",
    "string",
    "Only conditions of `high`, `medium` or `low` priority.",
);

const COMMENT: &str = "{\"comment\": ...}: what may be said, or {}.";

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<T>()
}

fn get(
    path: &'static str,
    role: Option<Role>,
    summary: &'static str,
    parameters: Vec<Parameter>,
    gives: Gives,
    handler: fn() -> Route,
) -> RouteSpec {
    RouteSpec {
        method: Method::GET,
        path,
        role,
        summary,
        parameters,
        takes: None,
        status: 200,
        gives,
        handler,
    }
}

/// All routes.
pub(crate) fn all() -> Vec<RouteSpec> {
    let mut routes = open();
    routes.extend(robots());
    routes.extend(procedures_and_alerts());
    routes.extend(actions::all());
    routes.extend(deployment());
    routes.extend(changes());
    routes.extend(rules::all());
    routes
}

/// What needs no token: it shows nothing of the deployment.
fn open() -> Vec<RouteSpec> {
    vec![
        get(
            "/livez",
            None,
            "The process answers.",
            vec![],
            Gives::Other,
            || web::get().to(handlers::live),
        ),
        get(
            "/readyz",
            None,
            "The store answers.",
            vec![],
            Gives::Other,
            || web::get().to(handlers::ready),
        ),
        get("/", None, "The page.", vec![], Gives::Other, || {
            web::get().to(page::index)
        }),
        get(
            "/assets/{name}",
            None,
            "Parts of the page.",
            vec![path("name", "Name of the file.")],
            Gives::Other,
            || web::get().to(page::asset),
        ),
        get(
            "/api/openapi.json",
            None,
            "This document.",
            vec![],
            Gives::Json(schema::<Value>),
            || web::get().to(openapi::serve),
        ),
    ]
}

fn robots() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/me",
            viewer,
            "Who the caller is.",
            vec![],
            Gives::Json(schema::<Value>),
            || web::get().to(handlers::me),
        ),
        get(
            "/api/v1/robots",
            viewer,
            "Robots by id.",
            vec![AFTER, LIMIT, PRIORITY],
            Gives::Json(schema::<Page<Robot>>),
            || web::get().to(handlers::fleet::robots),
        ),
        get(
            "/api/v1/robots/{robot}",
            viewer,
            "One robot.",
            vec![ROBOT_ID],
            Gives::Json(schema::<Robot>),
            || web::get().to(handlers::fleet::robot),
        ),
        get(
            "/api/v1/robots/{robot}/signals",
            viewer,
            "A signal over time, from the windows that the store keeps: in the finest resolution that needs no more points than asked for.",
            vec![
                ROBOT_ID,
                query(
                    "signal",
                    "string",
                    "Name of the signal, such as `joints[2].current`.",
                ),
                query(
                    "dataset",
                    "string",
                    "Its dataset; needed where several have the signal.",
                ),
                query(
                    "from",
                    "string",
                    "First moment (RFC 3339); 15 minutes before the robot's clock unless it is given.",
                ),
                query("until", "string", "The moment after the last (RFC 3339)."),
                query(
                    "points",
                    "integer",
                    "Most points, 1 to 5000; 500 unless it is given.",
                ),
            ],
            Gives::Json(schema::<Series>),
            || web::get().to(handlers::windows::series),
        ),
    ]
}

fn procedures_and_alerts() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/procedures",
            viewer,
            "Procedures that are remembered, the latest first.",
            vec![
                ROBOT,
                query("status", "string", "Only those with this status."),
                AFTER,
                LIMIT,
            ],
            Gives::Json(schema::<Page<Procedure>>),
            || web::get().to(handlers::fleet::procedures),
        ),
        get(
            "/api/v1/procedures/{procedure}",
            viewer,
            "One procedure, with a leg on each robot that it was on.",
            vec![path("procedure", "Id of the procedure.")],
            Gives::Json(schema::<Page<Procedure>>),
            || web::get().to(handlers::fleet::procedure),
        ),
        get(
            "/api/v1/alerts",
            viewer,
            "Conditions that are open, the gravest first.",
            vec![ROBOT, PRIORITY, LIMIT],
            Gives::Json(schema::<Page<Condition>>),
            || web::get().to(handlers::alerts::open),
        ),
        get(
            "/api/v1/alerts/transitions",
            viewer,
            "Transitions of conditions, the newest first.",
            vec![ROBOT, LIMIT],
            Gives::Json(schema::<Page<AlertTransition>>),
            || web::get().to(handlers::alerts::transitions),
        ),
        get(
            "/api/v1/alerts/{condition}",
            viewer,
            "One condition: how it stands, and all that became of it.",
            vec![CONDITION],
            Gives::Json(schema::<ConditionHistory>),
            || web::get().to(handlers::alerts::history),
        ),
        get(
            "/api/v1/silences",
            viewer,
            "Silences that hold, the one that ends first at the beginning.",
            vec![],
            Gives::Json(schema::<Page<Silence>>),
            || web::get().to(handlers::actions::silences),
        ),
    ]
}

fn deployment() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/datasets",
            viewer,
            "Datasets with their columns.",
            vec![],
            Gives::Json(schema::<Page<DatasetInfo>>),
            || web::get().to(handlers::deployment::datasets),
        ),
        get(
            "/api/v1/pipeline",
            viewer,
            "Where partitions and files stand.",
            vec![],
            Gives::Json(schema::<Value>),
            || web::get().to(handlers::deployment::pipeline),
        ),
        get(
            "/api/v1/events",
            viewer,
            "Alerts and outcomes as they are committed. `Last-Event-ID` goes on after that event, without a hole and without one twice.",
            vec![
                ROBOT,
                PRIORITY,
                query(
                    "last_event_id",
                    "string",
                    "The same as the header, for those who cannot set one.",
                ),
            ],
            Gives::Events,
            || web::get().to(events::listen),
        ),
        get(
            "/api/v1/dead-letters",
            Some(Role::Engineer),
            "Records that could not be applied, the newest first.",
            vec![LIMIT],
            Gives::Json(schema::<Page<Value>>),
            || web::get().to(handlers::deployment::dead_letters),
        ),
        get(
            "/api/v1/tokens",
            Some(Role::Admin),
            "Tokens, without their secrets.",
            vec![],
            Gives::Json(schema::<Page<Token>>),
            || web::get().to(handlers::admin::tokens),
        ),
        get(
            "/api/v1/audit",
            Some(Role::Admin),
            "The audit trail, the newest entry first.",
            vec![LIMIT],
            Gives::Json(schema::<Page<Audit>>),
            || web::get().to(handlers::admin::audit),
        ),
    ]
}

fn changes() -> Vec<RouteSpec> {
    vec![
        RouteSpec {
            method: Method::POST,
            path: "/api/v1/datasets/{dataset}/records",
            role: Some(Role::Operator),
            summary: "Appends records to the log: all of them, or none where one does not fit. With `Idempotency-Key` the same body again changes nothing and gets the same answer, for 24 hours.",
            parameters: vec![
                path("dataset", "Name of the dataset."),
                query(
                    "on_error",
                    "string",
                    "`reject` (all or nothing, unless it is given) or `skip` (leave out what does not fit).",
                ),
            ],
            takes: Some(
                "A JSON array or object (application/json), an object a line (application/x-ndjson), a table with a header (text/csv), or one framed Avro record (application/vnd.apache.avro); plain, gzip or zstd.",
            ),
            status: 202,
            gives: Gives::Json(schema::<Accepted>),
            handler: || web::post().to(ingest::records),
        },
        RouteSpec {
            method: Method::POST,
            path: "/api/v1/tokens",
            role: Some(Role::Admin),
            summary: "Makes a token; its secret is in this answer only.",
            parameters: vec![],
            takes: Some(
                "{\"name\": ..., \"role\": ..., \"robots\": [...], \"facilities\": [...], \"expires_at\": ...}: the last three may be left out.",
            ),
            status: 201,
            gives: Gives::Json(schema::<Token>),
            handler: || web::post().to(handlers::admin::create_token),
        },
        RouteSpec {
            method: Method::DELETE,
            path: "/api/v1/tokens/{token}",
            role: Some(Role::Admin),
            summary: "Revokes a token.",
            parameters: vec![path("token", "Id of the token.")],
            takes: None,
            status: 204,
            gives: Gives::Nothing,
            handler: || web::delete().to(handlers::admin::revoke_token),
        },
    ]
}

/// The table, made once.
fn table() -> &'static [RouteSpec] {
    static TABLE: std::sync::LazyLock<Vec<RouteSpec>> = std::sync::LazyLock::new(all);
    &TABLE
}

/// The route of a request; `HEAD` is asked as `GET` is.
pub(crate) fn find(method: &Method, pattern: Option<&str>) -> Option<&'static RouteSpec> {
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    table()
        .iter()
        .find(|route| route.method == *method && Some(route.path) == pattern)
}

/// Whether there is something under this path.
pub(crate) fn is_path(pattern: Option<&str>) -> bool {
    table().iter().any(|route| Some(route.path) == pattern)
}
