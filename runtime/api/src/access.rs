//! Who a caller is, and whether the table of routes lets it in. What is not in the table is refused.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};
use theatre_actors::ports::{Role, StoredToken};
use theatre_actors::time::LogTime;

use crate::body;
use crate::handlers::{Shared, fleet_of};
use crate::hosts;
use crate::limits::Limits;
use crate::problem::{Answer, Problem};
use crate::routes::{self, RouteSpec};
use crate::snapshot::Fleet;
use crate::tokens;

/// A token that was revoked is refused after this long at the latest, microseconds.
const REMEMBERED_US: i64 = 2_000_000;
/// Hashes that are remembered.
const REMEMBERED_MAX: usize = 4096;

/// A caller that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Id of its token, or `anonymous`.
    pub(crate) id: String,
    /// What its token is called.
    name: String,
    pub(crate) role: Role,
    /// What it is limited to.
    limits: Limits,
    /// From when on its token is refused.
    until: Option<LogTime>,
    /// The hash under which its token is stored; `None` where none is.
    hash: Option<String>,
}

impl Caller {
    /// Whether it may see and send what concerns a robot.
    pub(crate) fn may(&self, robot: &str) -> bool {
        self.limits.allow(robot)
    }

    /// Whether it is limited to robots or facilities.
    pub(crate) fn is_limited(&self) -> bool {
        self.limits.are_set()
    }

    /// What it is limited to.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether its token is refused by now: it has expired, or was revoked.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(crate) async fn has_ended(&self, state: &Shared) -> Answer<bool> {
        let now = state.parts.clock.now();
        if self.until.is_some_and(|until| until <= now) {
            return Ok(true);
        }
        let Some(hash) = &self.hash else {
            return Ok(false);
        };
        let token = stored(state, hash, now).await?;
        Ok(token.is_none_or(|token| token.revoked_at.is_some()))
    }

    /// Forgets where robots stood: a caller that waits must not keep a whole fleet in memory.
    pub(crate) fn look_away(&mut self) {
        self.limits.forget();
    }

    /// The bearer of an issuer's token. A subject may hold anything, also what keeps ids apart.
    pub(crate) fn of_issuer(subject: &str, role: Role, limits: Limits, until: LogTime) -> Self {
        let escaped = subject.replace('%', "%25").replace('/', "%2F");
        Self {
            id: format!("oidc:{escaped}"),
            name: subject.to_owned(),
            role,
            limits,
            until: Some(until),
            hash: None,
        }
    }

    /// Takes over where robots stand.
    pub(crate) fn see(&mut self, fleet: Arc<Fleet>) {
        self.limits.by(fleet);
    }

    /// Looks where robots stand now, where that decides what it may.
    pub(crate) async fn look(&mut self, state: &Shared) -> Answer<()> {
        if self.limits.need_fleet() {
            self.limits.by(fleet_of(state).await?);
        }
        Ok(())
    }

    /// Who acts, in the words of the one who made the token.
    pub(crate) fn actor(&self) -> &str {
        if self.name.trim().is_empty() {
            &self.id
        } else {
            &self.name
        }
    }

    fn of(token: &StoredToken, hash: String) -> Self {
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            role: token.role,
            limits: Limits::of_token(&token.robots),
            until: token.expires_at,
            hash: Some(hash),
        }
    }
}

/// Tokens by their hash, as they were a moment ago.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<HashMap<String, (LogTime, Option<StoredToken>)>>);

impl Remembered {
    fn get(&self, hash: &str, now: LogTime) -> Option<Option<StoredToken>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, token) = known.get(hash)?;
        (0..REMEMBERED_US)
            .contains(&(now.0 - at.0))
            .then(|| token.clone())
    }

    fn put(&self, hash: String, token: Option<StoredToken>, now: LogTime) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(hash, (now, token));
    }
}

/// Lets a request through to its handler, with its caller, or refuses it.
pub(crate) async fn check(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let pattern = request.match_pattern();
    let Some(route) = routes::find(request.method(), pattern.as_deref()) else {
        let allowed = routes::methods(pattern.as_deref());
        let problem = if allowed.is_empty() {
            Problem::missing("path", request.path())
        } else {
            Problem::not_allowed(request.method(), &allowed)
        };
        return Err(problem.into());
    };
    if let Some(needed) = route.role {
        let state = request
            .app_data::<Shared>()
            .cloned()
            .ok_or_else(|| Problem::new("internal", "the server is not set up"))?;
        let mut caller = caller(&request, &state).await?;
        if caller.role < needed {
            let detail = format!(
                "this needs the role {}, the token has {}",
                needed.as_str(),
                caller.role.as_str()
            );
            return Err(Problem::new("forbidden", detail).into());
        }
        if caller.is_limited() && !routes::is_for_limited(route) {
            return Err(Problem::new(
                "forbidden",
                "the token is limited to robots or facilities: this is about the whole deployment",
            )
            .into());
        }
        caller.look(&state).await?;
        request.extensions_mut().insert(caller);
        let body = request.take_payload();
        request.set_payload(body::paced(body, state.settings.pace));
        check_query(route, request.query_string())?;
    }
    next.call(request).await
}

/// Refuses what a route does not take: a filter that is passed over looks like an answer to it.
fn check_query(route: &RouteSpec, query: &str) -> Answer<()> {
    let given = web::Query::<Vec<(String, String)>>::from_query(query)
        .map_err(|error| Problem::bad(format!("the query: {error}")))?;
    let taken: Vec<&str> = route.query_names().collect();
    let Some((name, _)) = given
        .iter()
        .find(|(name, _)| !taken.contains(&name.as_str()))
    else {
        return Ok(());
    };
    let known = match taken.is_empty() {
        true => "nothing".to_owned(),
        false => taken.join(", "),
    };
    Err(Problem::bad(format!(
        "the query: '{name}' is not taken here; what is: {known}"
    )))
}

async fn caller(request: &ServiceRequest, state: &Shared) -> Answer<Caller> {
    let Some(secret) = bearer(request)? else {
        return state.settings.anonymous.map_or_else(
            || {
                Err(Problem::new(
                    "unauthenticated",
                    "send a token: `Authorization: Bearer theatre_...`; `theatre token create` makes one",
                ))
            },
            |role| anonymous(request, &state.settings.hosts, role),
        );
    };
    if let Some(issuer) = state.issuer.as_ref().filter(|_| !tokens::is_own(&secret)) {
        return issuer.caller(&secret).await;
    }
    let now = state.parts.clock.now();
    let hash = tokens::hash(&secret);
    let token = stored(state, &hash, now).await?;
    let refused = |why: &str| Problem::new("unauthenticated", format!("the token {why}"));
    let token = token.ok_or_else(|| refused("is not known"))?;
    if token.revoked_at.is_some() {
        return Err(refused("was revoked"));
    }
    if token.expires_at.is_some_and(|at| at <= now) {
        return Err(refused("has expired"));
    }
    Ok(Caller::of(&token, hash))
}

/// The token of a hash, as it was a moment ago; `None` where it is not known.
async fn stored(state: &Shared, hash: &str, now: LogTime) -> Answer<Option<StoredToken>> {
    if let Some(known) = state.remembered.get(hash, now) {
        return Ok(known);
    }
    let (parts, wanted) = (state.parts.clone(), hash.to_owned());
    let found = web::block(move || parts.access.token(&wanted)).await??;
    state.remembered.put(hash.to_owned(), found.clone(), now);
    Ok(found)
}

/// The caller without a token, where there may be one.
fn anonymous(request: &ServiceRequest, hosts: &[String], role: Role) -> Answer<Caller> {
    if !hosts::is_asked_by(request.uri(), request.headers(), hosts) {
        return Err(Problem::new(
            "misdirected",
            "without a token this is asked by an address, by `localhost` or by a name in `[api] hosts`, and not by the one in the header Host",
        ));
    }
    Ok(Caller {
        id: "anonymous".to_owned(),
        name: "anonymous".to_owned(),
        role,
        limits: Limits::default(),
        until: None,
        hash: None,
    })
}

/// The token that a request carries.
fn bearer(request: &ServiceRequest) -> Answer<Option<String>> {
    let Some(value) = request.headers().get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let secret = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match secret {
        Some((_, secret)) => Ok(Some(secret.trim().to_owned())),
        None => Err(Problem::new(
            "unauthenticated",
            "the header Authorization is not of the form `Bearer TOKEN`",
        )),
    }
}
