//! The table of routes: what there is, who may use it, and what it takes and gives. The server, the
//! check of access and the document of the interface are made of it.

mod actions;
mod aliases;
mod deployment;
mod fleet;
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

use crate::{handlers, openapi, page};

pub(crate) use limited::is_for_limited;
use taken::{COMMENT, CONDITION, WHY, path, query, takes};
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
    routes.extend(fleet::all());
    routes.extend(actions::all());
    routes.extend(deployment::all());
    routes.extend(rules::all());
    routes.extend(reports::all());
    routes.extend(outputs::all());
    routes.extend(aliases::all());
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
