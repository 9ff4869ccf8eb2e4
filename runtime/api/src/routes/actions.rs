//! What operators do about conditions.

use actix_web::http::Method;
use actix_web::web;
use theatre_actors::ports::Role;

use super::{COMMENT, CONDITION, Gives, RouteSpec, WHY, path, schema, takes};
use crate::actions::SilenceWish;
use crate::handlers;
use crate::handlers::actions::Assignment;
use crate::model::Acted;

/// The routes.
pub(super) fn all() -> Vec<RouteSpec> {
    let act = |path, summary, parameters, takes, handler| RouteSpec {
        method: Method::POST,
        path,
        role: Some(Role::Operator),
        summary,
        parameters,
        takes: Some(takes),
        status: 202,
        gives: Gives::Json(schema::<Acted>),
        handler,
    };
    vec![
        act(
            "/api/v1/alerts/{condition}/acknowledge",
            "Says that the caller sees to an open condition. With `Idempotency-Key` the same request again is the same action and gets the same answer, for 24 hours, and another one is refused; so it is for all actions.",
            vec![CONDITION],
            COMMENT,
            || web::post().to(handlers::actions::acknowledge),
        ),
        act(
            "/api/v1/alerts/{condition}/unacknowledge",
            "Takes an acknowledgement back.",
            vec![CONDITION],
            COMMENT,
            || web::post().to(handlers::actions::unacknowledge),
        ),
        act(
            "/api/v1/alerts/{condition}/assign",
            "Gives a condition to a person, or to no one.",
            vec![CONDITION],
            takes::<Assignment>(
                "{\"assignee\": ..., \"comment\": ...}: without an assignee no one has it.",
            ),
            || web::post().to(handlers::actions::assign),
        ),
        act(
            "/api/v1/alerts/{condition}/close",
            "Closes a condition of a rule that latches: at once where its cause is over, else as soon as it is.",
            vec![CONDITION],
            COMMENT,
            || web::post().to(handlers::actions::close),
        ),
        act(
            "/api/v1/silences",
            "Silences conditions for a while. Without a robot or a condition it is for all robots, which a token that is limited may not, unless it is for all of its own facility. `hides_high` needs the role engineer.",
            vec![],
            takes::<SilenceWish>(
                "{\"robot\": ..., \"rule\": ..., \"condition\": ..., \"facility\": ..., \"model\": ..., \"until\": ..., \"for\": \"2h\", \"reason\": ..., \"hides_high\": false}: one of `until` and `for`, and the reason, are needed, and one of the first five.",
            ),
            || web::post().to(handlers::actions::silence),
        ),
        RouteSpec {
            method: Method::DELETE,
            path: "/api/v1/silences/{silence}",
            role: Some(Role::Operator),
            summary: "Takes a silence back.",
            parameters: vec![path("silence", "Id of the silence."), WHY],
            takes: None,
            status: 202,
            gives: Gives::Json(schema::<Acted>),
            handler: || web::delete().to(handlers::actions::unsilence),
        },
    ]
}
