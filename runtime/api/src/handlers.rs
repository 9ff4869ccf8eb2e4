//! Answers to questions: each reads the ports and says as of when.

pub(crate) mod actions;
pub(crate) mod admin;
pub(crate) mod alerts;
pub(crate) mod board;
pub(crate) mod deployment;
pub(crate) mod fleet;
pub(crate) mod letters;
pub(crate) mod outputs;
pub(crate) mod pages;
pub(crate) mod procedures;
pub(crate) mod reports;
pub(crate) mod rules;
pub(crate) mod telemetry;
pub(crate) mod windows;

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use theatre_schemas::records::Priority;

use crate::Parts;
use crate::access::Caller;
use crate::model::Me;
use crate::problem::{Answer, Problem};
use crate::server::State;
use crate::snapshot::Fleet;

pub(crate) type Shared = web::Data<State>;
pub(crate) type Known = web::ReqData<Caller>;

/// Most items of a page.
pub(crate) const LIMIT_MAX: usize = 500;
const LIMIT: usize = 100;

/// What lists take.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<usize>,
    pub(crate) robot: Option<String>,
    pub(crate) priority: Option<Priority>,
}

impl ListQuery {
    pub(crate) fn limit(&self) -> Answer<usize> {
        limited(self.limit)
    }
}

/// How many items are wanted.
pub(crate) fn limited(limit: Option<usize>) -> Answer<usize> {
    let limit = limit.unwrap_or(LIMIT);
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::bad(format!(
        "limit {limit} is not within 1 to {LIMIT_MAX}"
    )))
}

/// Asks the ports on a thread that may wait.
pub(crate) async fn ask<T: Send + 'static>(
    state: &Shared,
    question: impl FnOnce(&Parts) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let parts = state.parts.clone();
    web::block(move || question(&parts)).await?
}

/// All robots, as of a moment ago.
pub(crate) async fn fleet_of(state: &Shared) -> Answer<Arc<Fleet>> {
    let state = state.clone();
    let read = move || {
        let parts = &state.parts;
        state.snapshot.fleet(&*parts.store, &*parts.clock)
    };
    Ok(web::block(read).await??)
}

pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"live": true}))
}

pub(crate) async fn ready(state: Shared) -> HttpResponse {
    match ask(&state, |parts| Ok(parts.store.layout()?)).await {
        Ok(_) => HttpResponse::Ok().json(json!({"ready": true})),
        Err(problem) => HttpResponse::ServiceUnavailable()
            .json(json!({"ready": false, "reason": problem.detail})),
    }
}

pub(crate) async fn me(caller: Known, state: Shared) -> web::Json<Me> {
    let facilities = caller.limits().facilities().into_iter();
    let anonymous = state.settings.anonymous;
    web::Json(Me {
        id: caller.id.clone(),
        role: caller.role.as_str().to_owned(),
        is_limited: caller.is_limited(),
        facilities: facilities.map(str::to_owned).collect(),
        anonymous: anonymous.map(|role| role.as_str().to_owned()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        as_of: state.parts.clock.now().into(),
    })
}
