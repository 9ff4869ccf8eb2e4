//! Tokens and the audit trail.

use actix_web::web::{Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use theatre_actors::ports::{AuditEntry, Role};
use theatre_actors::time::LogTime;

use super::{Known, ListQuery, Shared, ask};
use crate::body::Object;
use crate::limits;
use crate::model::{Audit, Page, Token};
use crate::problem::{Answer, Problem};
use crate::tokens::{self, NewToken};

/// Most robots of a token, and most facilities.
const ROBOTS_MAX: usize = 1000;
/// Longest name of a token, and longest id of a robot in it, bytes.
const NAME_MAX: usize = 200;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenWish {
    name: String,
    #[schemars(schema_with = "role")]
    role: Role,
    #[serde(default)]
    robots: Vec<String>,
    #[serde(default)]
    facilities: Vec<String>,
    expires_at: Option<String>,
}

fn role(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["viewer", "operator", "engineer", "admin"]})
}

impl TokenWish {
    fn checked(self, now: LogTime) -> Answer<NewToken> {
        let too_long = |text: &String| text.is_empty() || text.len() > NAME_MAX;
        let mut limits = self.robots.iter().chain(&self.facilities);
        if too_long(&self.name) || limits.any(too_long) {
            return Err(Problem::bad(format!("names have 1 to {NAME_MAX} bytes")));
        }
        if self.robots.len().max(self.facilities.len()) > ROBOTS_MAX {
            return Err(Problem::bad(format!(
                "a token is limited to {ROBOTS_MAX} robots or facilities at most"
            )));
        }
        let expires_at = match &self.expires_at {
            None => None,
            Some(text) => {
                let time: jiff::Timestamp = text.parse().map_err(|_| {
                    Problem::bad(format!(
                        "expires_at '{text}' is no time such as 2027-01-31T00:00:00Z"
                    ))
                })?;
                Some(LogTime(time.as_microsecond()))
            }
        };
        if expires_at.is_some_and(|at| at <= now) {
            return Err(Problem::bad("expires_at is in the past"));
        }
        limits::entries(self.robots.clone(), &self.facilities)
            .map_err(|error| Problem::bad(error.to_string()))?;
        Ok(NewToken {
            name: self.name,
            role: self.role,
            robots: self.robots,
            facilities: self.facilities,
            expires_at,
        })
    }
}

pub(super) fn address(request: &HttpRequest) -> Option<String> {
    request.peer_addr().map(|peer| peer.ip().to_string())
}

pub(crate) async fn tokens(state: Shared) -> Answer<Json<Page<Token>>> {
    let as_of = state.parts.clock.now();
    let found = ask(&state, |parts| Ok(parts.access.tokens()?)).await?;
    Ok(Json(Page {
        items: found.iter().map(|token| Token::of(token, None)).collect(),
        next: None,
        as_of: as_of.into(),
    }))
}

pub(crate) async fn create_token(
    wish: Json<Object<TokenWish>>,
    request: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let now = state.parts.clock.now();
    let wish = wish.into_inner().0.checked(now)?;
    let (who, from) = (caller.id.clone(), address(&request));
    let (token, secret) = ask(&state, move |parts| {
        Ok(tokens::issue(&*parts.access, wish, now, &who, from)?)
    })
    .await?;
    Ok(HttpResponse::Created().json(Token::of(&token, Some(secret))))
}

pub(crate) async fn revoke_token(
    id: Path<String>,
    request: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let id = id.into_inner();
    let entry = AuditEntry {
        at: state.parts.clock.now(),
        who: caller.id.clone(),
        from: address(&request),
        action: "token.revoke".to_owned(),
        target: id.clone(),
        before: None,
        after: None,
    };
    let wanted = id.clone();
    let revoked = ask(&state, move |parts| {
        Ok(parts.access.revoke_token(&wanted, entry.at, &entry)?)
    });
    if revoked.await? {
        return Ok(HttpResponse::NoContent().finish());
    }
    Err(Problem::missing("token in force", &id))
}

pub(crate) async fn audit(query: Query<ListQuery>, state: Shared) -> Answer<Json<Page<Audit>>> {
    let limit = query.limit()?;
    let as_of = state.parts.clock.now();
    let found = ask(&state, move |parts| Ok(parts.access.audit_trail(limit)?)).await?;
    Ok(Json(Page {
        items: found.into_iter().map(Audit::from).collect(),
        next: None,
        as_of: as_of.into(),
    }))
}
