//! Routes of the deployment as a whole: datasets and records of them, the pipeline, dead letters,
//! tokens and the audit trail.

use actix_web::http::Method;
use actix_web::web;
use theatre_actors::ports::Role;

use super::taken::{
    AFTER, EVENTS, Kind, LIMIT, ON_ERROR, RECORDS, ROBOT, TOKEN, path, query, takes,
};
use super::{Gives, RouteSpec, asked, get, schema};
use crate::handlers::letters::{ReplayWish, Replayed};
use crate::model::{Accepted, Audit, DatasetInfo, DeadLetter, Page, Pipeline, Token};
use crate::{events, handlers, ingest};

pub(super) fn all() -> Vec<RouteSpec> {
    let mut routes = deployment();
    routes.extend(dead_letters());
    routes.extend(records());
    routes.extend(access());
    routes
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
            Gives::Json(schema::<Pipeline>),
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
    ]
}

fn dead_letters() -> Vec<RouteSpec> {
    vec![
        get(
            "/api/v1/dead-letters",
            Some(Role::Engineer),
            "Records that could not be applied, the newest first.",
            vec![
                ROBOT,
                query(
                    "reason",
                    Kind::OneOf(handlers::deployment::REASONS),
                    "Only for this reason.",
                ),
                query("topic", Kind::Text, "Only of this input topic."),
                AFTER,
                LIMIT,
            ],
            Gives::Json(schema::<Page<DeadLetter>>),
            || asked().to(handlers::deployment::dead_letters),
        ),
        RouteSpec {
            method: Method::POST,
            path: "/api/v1/dead-letters/replays",
            role: Some(Role::Engineer),
            summary: "Appends the records of dead letters again to the topics that they came from, once what was wrong is mended; with `dry_run` it is only said what would become of each. What was sent is not sent again.",
            parameters: vec![],
            takes: Some(takes::<ReplayWish>(
                "{\"letters\": [{\"partition\": 0, \"number\": 1}, ...], \"dry_run\": false}: 1 to 100 of them.",
            )),
            status: 200,
            gives: Gives::Json(schema::<Replayed>),
            handler: || web::post().to(handlers::letters::replay),
        },
    ]
}

fn records() -> Vec<RouteSpec> {
    vec![RouteSpec {
        method: Method::POST,
        path: "/api/v1/datasets/{dataset}/records",
        role: Some(Role::Operator),
        summary: "Appends records to the log: all of them, or none where one does not fit. With `Idempotency-Key` the same body again changes nothing and gets the same answer, for 24 hours.",
        parameters: vec![path("dataset", "Name of the dataset."), ON_ERROR],
        takes: Some(RECORDS),
        status: 202,
        gives: Gives::Json(schema::<Accepted>),
        handler: || web::post().to(ingest::records),
    }]
}

/// Tokens and the audit trail.
fn access() -> Vec<RouteSpec> {
    vec![
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
            vec![
                query(
                    "who",
                    Kind::Text,
                    "Only by this token or subject, or by `command line`.",
                ),
                query(
                    "action",
                    Kind::Text,
                    "Only this action, such as `token.create`, or with a dot at its end all that begin so: `token.`.",
                ),
                query("target", Kind::Text, "Only to this."),
                AFTER,
                LIMIT,
            ],
            Gives::Json(schema::<Page<Audit>>),
            || asked().to(handlers::admin::audit),
        ),
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
