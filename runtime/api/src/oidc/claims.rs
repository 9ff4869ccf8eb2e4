//! What a token says, once it is known who signed it.

use std::collections::HashSet;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Map, Value};
use theatre_actors::time::LogTime;

use super::{Oidc, refused};
use crate::access::Caller;
use crate::limits::Limits;
use crate::problem::{Answer, Problem};

/// How far the issuer's clock may be off, seconds.
const LEEWAY_S: f64 = 60.0;
/// Longest id of a bearer, bytes; OpenID Connect allows 255.
const SUBJECT_MAX: usize = 255;
/// Every facility.
const ALL: &str = "*";

type Claims = Map<String, Value>;

/// Who a token speaks for, if all that it must say is right.
pub(super) fn bearer(
    oidc: &Oidc,
    token: &str,
    algorithm: Algorithm,
    key: &DecodingKey,
    now: LogTime,
) -> Answer<Caller> {
    let mut wanted = Validation::new(algorithm);
    wanted.set_issuer(&[&oidc.issuer]);
    wanted.set_audience(&[&oidc.audience]);
    wanted.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    // By the clock of the deployment, below.
    wanted.validate_exp = false;
    let claims: Claims = decode(token, key, &wanted)
        .map_err(|error| refused(&fault(&error)))?
        .claims;
    let until = in_time(&claims, now)?;
    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if subject.is_empty() || subject.len() > SUBJECT_MAX {
        return Err(refused("does not say whose it is (sub)"));
    }
    let named = names(claim(&claims, &oidc.role_claim), true);
    let roles = named.iter().filter_map(|name| oidc.roles.get(name));
    let role = roles.max().copied().ok_or_else(|| {
        let detail = format!(
            "the token names no role of [oidc] roles in its claim '{}'",
            oidc.role_claim
        );
        Problem::new("forbidden", detail)
    })?;
    let limits = oidc
        .facility_claim
        .as_deref()
        .map_or_else(Limits::default, |name| {
            let facilities = names(claim(&claims, name), false);
            if facilities.contains(ALL) {
                return Limits::default();
            }
            Limits::of_facilities(facilities)
        });
    Ok(Caller::of_issuer(subject, role, limits, until))
}

/// From when on the token is refused.
fn in_time(claims: &Claims, now: LogTime) -> Answer<LogTime> {
    let now_s = now.0 as f64 / 1e6;
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    let expires = seconds("exp").ok_or_else(|| refused("does not say when it expires (exp)"))?;
    if expires + LEEWAY_S <= now_s {
        return Err(refused("has expired"));
    }
    let begins = match claims.get("nbf") {
        None => None,
        Some(_) => Some(seconds("nbf").ok_or_else(|| refused("has a wrong nbf"))?),
    };
    if begins.is_some_and(|begins| begins - LEEWAY_S > now_s) {
        return Err(refused("does not hold yet"));
    }
    Ok(LogTime(((expires + LEEWAY_S) * 1e6) as i64))
}

/// A claim by its name, or by a path into objects.
fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    let mut parts = name.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |found, part| found.get(part))
}

/// The names in a claim; a text may be several with blanks between them.
fn names(claim: Option<&Value>, of_words: bool) -> HashSet<String> {
    match claim {
        Some(Value::String(text)) if of_words => {
            text.split_whitespace().map(str::to_owned).collect()
        }
        Some(Value::String(text)) => HashSet::from([text.clone()]),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => HashSet::new(),
    }
}

fn fault(error: &Error) -> String {
    match error.kind() {
        ErrorKind::InvalidIssuer => "is of another issuer".to_owned(),
        ErrorKind::InvalidAudience => "is made for another audience".to_owned(),
        ErrorKind::MissingRequiredClaim(name) => format!("does not say its {name}"),
        ErrorKind::InvalidSignature => "is not signed by its issuer".to_owned(),
        ErrorKind::InvalidAlgorithm => "is signed in a way that its key is not for".to_owned(),
        _ => "cannot be read".to_owned(),
    }
}
