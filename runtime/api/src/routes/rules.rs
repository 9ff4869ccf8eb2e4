//! Rules: which hold, and changes of them while Theatre runs.

use actix_web::http::Method;
use actix_web::web;
use theatre_actors::ports::Role;

use super::{
    COMMENT, Gives, Kind, Parameter, RouteSpec, Takes, WHY, asked, get, path, query, schema, takes,
};
use crate::handlers;
use crate::handlers::rules::{Because, RuleWish};
use crate::model::{Change, ChangeAccepted, Page, Rule};

const RULE_WISH: Takes = takes::<RuleWish>(
    "{\"rule\": {...}, \"comment\": ...}: the rule with the keys of a rule file.",
);
const BECAUSE: Takes = takes::<Because>("{\"reason\": ...}: why, without personal data.");

pub(super) fn all() -> Vec<RouteSpec> {
    let mut routes = standing();
    routes.extend(changes());
    routes
}

fn standing() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/rules",
            viewer,
            "The rules that hold, those in the shadow and those that are disabled too (`is_enabled`), and which changes of each wait (`waiting`); with those that do not fit the configuration any more, and why (`refused`).",
            vec![],
            Gives::Json(schema::<Page<Rule>>),
            || asked().to(handlers::rules::rules),
        ),
        get(
            "/api/v1/rules/changes",
            viewer,
            "Changes of rules, the latest first, and what became of each (`fate`): it counts, is waiting, was rejected or withdrawn, or is refused since the configuration is another one.",
            vec![],
            Gives::Json(schema::<Page<Change>>),
            || asked().to(handlers::rules::changes),
        ),
    ]
}

fn changes() -> Vec<RouteSpec> {
    const RULE: Parameter = path("rule", "Id of the rule.");
    const SHADOW: Parameter = query(
        "shadow",
        Kind::Flag,
        "The rule of this id that runs in the shadow.",
    );
    let change = |method, path, summary, parameters, takes, handler| RouteSpec {
        method,
        path,
        role: Some(Role::Engineer),
        summary,
        parameters,
        takes,
        status: 202,
        gives: Gives::Json(schema::<ChangeAccepted>),
        handler,
    };
    vec![
        change(
            Method::PUT,
            "/api/v1/rules/{rule}",
            "Adds a rule, or another version of it. It counts from where each partition reads the change; with `rules_approval` once another person approves it. With `Idempotency-Key` the same request again changes nothing and gets the same answer, for 24 hours; so it is for all changes of rules.",
            vec![RULE, SHADOW],
            Some(RULE_WISH),
            || web::put().to(handlers::rules::put),
        ),
        change(
            Method::DELETE,
            "/api/v1/rules/{rule}",
            "Removes a rule; what is open under it ends with that reason.",
            vec![RULE, SHADOW, WHY],
            None,
            || web::delete().to(handlers::rules::remove),
        ),
        change(
            Method::POST,
            "/api/v1/rules/{rule}/enable",
            "Has a rule judge again.",
            vec![RULE, SHADOW],
            Some(COMMENT),
            || web::post().to(handlers::rules::enable),
        ),
        change(
            Method::POST,
            "/api/v1/rules/{rule}/disable",
            "Has a rule judge nothing; what is open under it ends.",
            vec![RULE, SHADOW],
            Some(COMMENT),
            || web::post().to(handlers::rules::disable),
        ),
        change(
            Method::POST,
            "/api/v1/rules/changes/{change}/approve",
            "Lets a change of another person count that waits for it.",
            vec![path("change", "Id of the change.")],
            Some(COMMENT),
            || web::post().to(handlers::rules::approve),
        ),
        change(
            Method::POST,
            "/api/v1/rules/changes/{change}/reject",
            "Ends the wait of a change: another person rejects it, or who made it withdraws it. It never counts then.",
            vec![path("change", "Id of the change.")],
            Some(BECAUSE),
            || web::post().to(handlers::rules::reject),
        ),
    ]
}
