//! Bearer tokens of an OpenID Connect issuer: who signed them, and what they say of their bearer.
//!
//! A token's header only says which key to look for; what a key may sign with is known from the key.
//! [`keys`] has those of the issuer, [`claims`] what a token must say.

mod claims;
mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, decode_header};
use theatre_actors::ports::Role;
use theatre_actors::time::Clock;

use crate::access::Caller;
use crate::problem::{Answer, Problem};
use keys::Keys;

/// What tokens may be signed with: no secret that the issuer shares, and never nothing.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// An issuer whose tokens are taken.
#[derive(Debug, Clone)]
pub struct Oidc {
    /// As its tokens name it, and where its discovery document is.
    pub issuer: String,
    /// For whom its tokens must be made.
    pub audience: String,
    /// The claim that has the names in `roles`.
    pub role_claim: String,
    /// What each name lets its bearer do.
    pub roles: BTreeMap<String, Role>,
    /// The claim that has the facilities that the bearer is limited to; `None`: no bearer is
    /// limited.
    pub facility_claim: Option<String>,
    /// Certificates that the issuer's is checked against; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Knows the bearers of an issuer's tokens.
pub(crate) struct Issuer {
    oidc: Oidc,
    keys: Keys,
    clock: Arc<dyn Clock>,
}

fn refused(why: &str) -> Problem {
    Problem::new("unauthenticated", format!("the token {why}"))
}

impl Issuer {
    pub(crate) fn new(oidc: Oidc, clock: Arc<dyn Clock>) -> Self {
        Self {
            keys: Keys::of(&oidc, clock.clone()),
            oidc,
            clock,
        }
    }

    /// The bearer of a token.
    pub(crate) async fn caller(&self, token: &str) -> Answer<Caller> {
        let header = decode_header(token).map_err(|_| {
            refused("is not known: it is none of Theatre's, and no JWT that is signed with RS256, PS256, ES256 or EdDSA")
        })?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused("is not signed with RS256, PS256, ES256 or EdDSA"));
        }
        if header.crit.is_some() {
            return Err(refused("has a header that must be understood and is not"));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let now = self.clock.now();
        claims::bearer(&self.oidc, token, header.alg, &key, now)
    }
}
