//! Tokens and the audit trail.

use actix_web::web::{Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use theatre_actors::ports::{AuditFilter, Role};
use theatre_actors::time::LogTime;

use super::pages::now;
use super::{Known, Shared, ask, limited};
use crate::body::Object;
use crate::cursor;
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
    let asked = ask(&state, |parts| Ok((now(parts)?, parts.access.tokens()?)));
    let (as_of, found) = asked.await?;
    Ok(Json(Page {
        items: found.iter().map(|token| Token::of(token, None)).collect(),
        next: None,
        as_of,
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
    let (now, wanted) = (state.parts.clock.now(), id.clone());
    let (who, from) = (caller.id.clone(), address(&request));
    let revoked = ask(&state, move |parts| {
        let access = &*parts.access;
        Ok(tokens::revoke(access, &wanted, now, &who, from)?)
    });
    if revoked.await? {
        return Ok(HttpResponse::NoContent().finish());
    }
    Err(Problem::missing("token in force", &id))
}

/// Which entries are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    who: Option<String>,
    action: Option<String>,
    target: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn audit(query: Query<AuditQuery>, state: Shared) -> Answer<Json<Page<Audit>>> {
    let AuditQuery {
        who,
        action,
        target,
        after,
        limit,
    } = query.into_inner();
    let limit = limited(limit)?;
    let list = format!("audit {who:?} {action:?} {target:?}");
    let before: Option<u64> = match after {
        Some(text) => Some(cursor::open(&list, &text)?),
        None => None,
    };
    let filter = AuditFilter {
        who,
        action,
        target,
        before,
        limit: limit + 1,
    };
    let (as_of, mut found) = ask(&state, move |parts| {
        Ok((now(parts)?, parts.access.audit_page(&filter)?))
    })
    .await?;
    let next = (found.len() > limit).then(|| {
        found.truncate(limit);
        found.last().map(|(number, _)| cursor::seal(&list, number))
    });
    Ok(Json(Page {
        items: found.into_iter().map(|(_, entry)| entry.into()).collect(),
        next: next.flatten(),
        as_of,
    }))
}
