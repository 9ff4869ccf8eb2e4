//! Tokens: made, and known again by their hash.

use rand::RngExt;
use sha2::{Digest, Sha256};
use theatre_actors::ports::{AccessStore, AuditEntry, Result, Role, StoredToken};
use theatre_actors::time::LogTime;

use crate::limits;

/// How a secret begins, so that it is recognised where it was left lying.
const PREFIX: &str = "theatre_";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// What is wished for in a token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// The robots that it is limited to; empty: all.
    pub robots: Vec<String>,
    /// The facilities that it is limited to: it may what concerns robots that stand there. Empty:
    /// all.
    pub facilities: Vec<String>,
    /// From when on it is refused.
    pub expires_at: Option<LogTime>,
}

/// Makes a token and keeps it; returns it with its secret, which is nowhere kept.
///
/// # Errors
/// When a robot or facility can be none, or the store does not take it.
pub fn issue(
    access: &dyn AccessStore,
    wish: NewToken,
    now: LogTime,
    who: &str,
    from: Option<String>,
) -> Result<(StoredToken, String)> {
    let secret = format!(
        "{PREFIX}{}",
        hex(&rand::rng().random::<[u8; SECRET_BYTES]>())
    );
    let token = StoredToken {
        id: format!("tok_{}", hex(&rand::rng().random::<[u8; 6]>())),
        hash: hash(&secret),
        name: wish.name,
        role: wish.role,
        robots: limits::entries(wish.robots, &wish.facilities)?,
        created_at: now,
        expires_at: wish.expires_at,
        revoked_at: None,
    };
    let after = shown(&token);
    let entry = AuditEntry {
        at: now,
        who: who.to_owned(),
        from,
        action: "token.create".to_owned(),
        target: token.id.clone(),
        before: None,
        after: Some(after.to_string()),
    };
    access.add_token(&token, &entry)?;
    Ok((token, secret))
}

/// What the audit trail has of a token: nothing of its secret.
fn shown(token: &StoredToken) -> serde_json::Value {
    let time = |at: Option<LogTime>| at.map(|at| at.0);
    serde_json::json!({
        "name": token.name, "role": token.role, "robots": token.robots,
        "expires_at_us": time(token.expires_at), "revoked_at_us": time(token.revoked_at),
    })
}

/// Revokes a token; false where there is none in force of this id.
///
/// # Errors
/// When the store cannot be asked, or does not take it.
pub fn revoke(
    access: &dyn AccessStore,
    id: &str,
    now: LogTime,
    who: &str,
    from: Option<String>,
) -> Result<bool> {
    let known = access.tokens()?.into_iter().find(|token| token.id == id);
    let Some(before) = known else {
        return Ok(false);
    };
    let after = StoredToken {
        revoked_at: Some(now),
        ..before.clone()
    };
    let entry = AuditEntry {
        at: now,
        who: who.to_owned(),
        from,
        action: "token.revoke".to_owned(),
        target: id.to_owned(),
        before: Some(shown(&before).to_string()),
        after: Some(shown(&after).to_string()),
    };
    access.revoke_token(id, now, &entry)
}

/// Whether a secret is one of the deployment: an issuer makes others.
pub(crate) fn is_own(secret: &str) -> bool {
    secret.starts_with(PREFIX)
}

/// What of a secret is kept.
pub(crate) fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
