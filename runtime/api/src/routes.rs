//! The table of routes: what there is, who may use it, and what it takes and gives. The server, the
//! check of access and the document of the interface are made of it.

mod actions;
mod limited;
mod outputs;
mod reports;
mod rules;
mod taken;

use actix_web::http::Method;
use actix_web::{Route, guard, web};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::Role;

use crate::model::{
    Accepted, AlertTransition, Audit, Condition, ConditionHistory, DatasetInfo, Page, Procedure,
    Robot, Series, Silence, Token,
};
use crate::{events, handlers, ingest, openapi, page};

pub(crate) use limited::is_for_limited;
use taken::{
    AFTER, COMMENT, CONDITION, EVENTS, LIMIT, PRIORITY, RECORDS, ROBOT, ROBOT_ID, SIGNAL, TOKEN,
    path, query, takes,
};
pub(crate) use taken::{Kind, Parameter, Takes};

/// What an answer holds.
#[derive(Clone, Copy)]
pub(crate) enum Gives {
    /// JSON of this schema.
    Json(fn(&mut SchemaGenerator) -> schemars::Schema),
    /// Server-sent events.
    Events,
    /// A page of outputs of a kind.
    Rows(OutputKind),
    /// Text of this media type.
    File(&'static str),
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
    pub(crate) takes: Option<Takes>,
    pub(crate) status: u16,
    pub(crate) gives: Gives,
    pub(crate) handler: fn() -> Route,
}

impl RouteSpec {
    /// What its query may name.
    pub(crate) fn query_names(&self) -> impl Iterator<Item = &'static str> {
        let of_query = self.parameters.iter().filter(|it| it.place == "query");
        of_query.map(|parameter| parameter.name)
    }

    fn answers_head(&self) -> bool {
        self.method == Method::GET && !matches!(self.gives, Gives::Events)
    }
}

/// A route that is asked, with its body or for its head only.
fn asked() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

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
    routes.extend(reports::all());
    routes.extend(outputs::all());
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
            || asked().to(handlers::live),
        ),
        get(
            "/readyz",
            None,
            "The store answers.",
            vec![],
            Gives::Other,
            || asked().to(handlers::ready),
        ),
        get("/", None, "The page.", vec![], Gives::Other, || {
            asked().to(page::index)
        }),
        get(
            "/assets/{name}",
            None,
            "Parts of the page.",
            vec![path("name", "Name of the file.")],
            Gives::Other,
            || asked().to(page::asset),
        ),
        get(
            "/api/openapi.json",
            None,
            "This document.",
            vec![],
            Gives::Json(schema::<Value>),
            || asked().to(openapi::serve),
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
            || asked().to(handlers::me),
        ),
        get(
            "/api/v1/robots",
            viewer,
            "Robots by id.",
            vec![AFTER, LIMIT, PRIORITY],
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
                query("status", Kind::Text, "Only those with this status."),
                AFTER,
                LIMIT,
            ],
            Gives::Json(schema::<Page<Procedure>>),
            || asked().to(handlers::fleet::procedures),
        ),
        get(
            "/api/v1/procedures/{procedure}",
            viewer,
            "One procedure, with a leg on each robot that it was on.",
            vec![path("procedure", "Id of the procedure.")],
            Gives::Json(schema::<Page<Procedure>>),
            || asked().to(handlers::fleet::procedure),
        ),
        get(
            "/api/v1/alerts",
            viewer,
            "Conditions that are open, the gravest first.",
            vec![ROBOT, PRIORITY, LIMIT],
            Gives::Json(schema::<Page<Condition>>),
            || asked().to(handlers::alerts::open),
        ),
        get(
            "/api/v1/alerts/transitions",
            viewer,
            "Transitions of conditions, the newest first.",
            vec![ROBOT, LIMIT],
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

fn deployment() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/datasets",
            viewer,
            "Datasets with their columns.",
            vec![],
            Gives::Json(schema::<Page<DatasetInfo>>),
            || asked().to(handlers::deployment::datasets),
        ),
        get(
            "/api/v1/pipeline",
            viewer,
            "Where partitions and files stand.",
            vec![],
            Gives::Json(schema::<Value>),
            || asked().to(handlers::deployment::pipeline),
        ),
        get(
            "/api/v1/events",
            viewer,
            "Alerts, outcomes, steps of procedures and how robots stand, as they are committed. `Last-Event-ID` goes on after that event, without a hole and without one twice. Who reads too slowly gets a last event `closed`.",
            EVENTS.to_vec(),
            Gives::Events,
            || web::get().to(events::listen),
        ),
        get(
            "/api/v1/dead-letters",
            Some(Role::Engineer),
            "Records that could not be applied, the newest first.",
            vec![LIMIT],
            Gives::Json(schema::<Page<Value>>),
            || asked().to(handlers::deployment::dead_letters),
        ),
        get(
            "/api/v1/tokens",
            Some(Role::Admin),
            "Tokens, without their secrets.",
            vec![],
            Gives::Json(schema::<Page<Token>>),
            || asked().to(handlers::admin::tokens),
        ),
        get(
            "/api/v1/audit",
            Some(Role::Admin),
            "The audit trail, the newest entry first.",
            vec![LIMIT],
            Gives::Json(schema::<Page<Audit>>),
            || asked().to(handlers::admin::audit),
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
                    Kind::OneOf(&["reject", "skip"]),
                    "`reject` (all or nothing, unless it is given) or `skip` (leave out what does not fit).",
                ),
            ],
            takes: Some(RECORDS),
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
            takes: Some(TOKEN),
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

/// The route of a request; `HEAD` is asked as `GET` is, but not of what never ends.
pub(crate) fn find(method: &Method, pattern: Option<&str>) -> Option<&'static RouteSpec> {
    let is_asked = |route: &&RouteSpec| {
        route.method == *method || (*method == Method::HEAD && route.answers_head())
    };
    table()
        .iter()
        .find(|route| Some(route.path) == pattern && is_asked(route))
}

/// The methods by which a path is asked; none where there is nothing under it.
pub(crate) fn methods(pattern: Option<&str>) -> Vec<&'static str> {
    let mut methods = Vec::new();
    for route in table() {
        if Some(route.path) == pattern {
            methods.push(route.method.as_str());
            if route.answers_head() {
                methods.push("HEAD");
            }
        }
    }
    methods
}
