//! The keys of an issuer: fetched when they are first needed, every day, and when a token names one
//! that is not known.
//!
//! One request at a time fetches, and not again for a while, whatever tokens name; requests that need
//! what it fetches wait without a thread, so that the others are served.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::lock::{Mutex, MutexGuard};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use theatre_actors::time::{Clock, LogTime};
use theatre_config::oidc::is_secure;
use theatre_system::http;

use super::{Oidc, refused};
use crate::problem::{Answer, Problem};

/// Keys that are older are fetched again, microseconds.
const FRESH_US: i64 = 86_400_000_000;
/// Keys that are older are used no more, although the issuer does not answer: it may have taken one
/// back. Microseconds.
const KEPT_US: i64 = 2 * FRESH_US;
/// Between two fetches, microseconds.
const PAUSE_US: i64 = 60_000_000;
/// The same as long as no key could be fetched.
const FIRST_PAUSE_US: i64 = 5_000_000;
/// How long a document may take.
const WITHIN: Duration = Duration::from_secs(3);
/// Longest document, bytes.
const DOCUMENT_MAX: u64 = 1 << 20;
/// Most keys of an issuer.
const KEYS_MAX: usize = 100;

/// A key that tokens may be signed with.
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// All of them.
#[derive(Default)]
struct Known {
    keys: Vec<Key>,
    /// When they were fetched; `None`: they were not.
    at: Option<LogTime>,
}

/// The keys of an issuer.
pub(super) struct Keys {
    issuer: String,
    ca_file: Option<std::path::PathBuf>,
    clock: Arc<dyn Clock>,
    known: Arc<RwLock<Arc<Known>>>,
    /// When fetching was last begun; held meanwhile.
    begun: Mutex<Option<LogTime>>,
}

impl Known {
    fn age(&self, now: LogTime) -> Option<i64> {
        // A clock that was set back makes no key last for ever.
        self.at.map(|at| (now.0 - at.0).abs())
    }

    /// The key of a token; of those that do not name theirs only where one key alone fits.
    fn find(&self, id: Option<&str>, algorithm: Algorithm, now: LogTime) -> Option<DecodingKey> {
        if self.age(now).is_none_or(|age| age >= KEPT_US) {
            return None;
        }
        let fits = |key: &&Key| {
            let is_named = id.is_none_or(|id| key.id.as_deref() == Some(id));
            is_named && key.algorithms.contains(&algorithm)
        };
        let mut fitting = self.keys.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Some(only.decoding.clone()),
            _ => None,
        }
    }
}

impl Keys {
    pub(super) fn of(oidc: &Oidc, clock: Arc<dyn Clock>) -> Self {
        Self {
            issuer: oidc.issuer.clone(),
            ca_file: oidc.ca_file.clone(),
            clock,
            known: Arc::default(),
            begun: Mutex::default(),
        }
    }

    fn known(&self) -> Arc<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// The key that a token is signed with.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Answer<DecodingKey> {
        let now = self.clock.now();
        let known = self.known();
        if let Some(key) = known.find(id, algorithm, now) {
            let is_old = known.age(now).is_none_or(|age| age >= FRESH_US);
            // Of those whose key is there one fetches the others, and the rest goes on.
            if is_old && let Some(begun) = self.begun.try_lock() {
                self.fetch(begun).await;
                let known = self.known();
                return known.find(id, algorithm, now).ok_or_else(unknown);
            }
            return Ok(key);
        }
        let has_failed = self.fetch(self.begun.lock().await).await;
        match self.known().find(id, algorithm, self.clock.now()) {
            Some(key) => Ok(key),
            None if has_failed => Err(Problem::new(
                "unavailable",
                "the issuer of the token does not answer; try again, or use a token of Theatre",
            )
            .after(5)),
            None => Err(unknown()),
        }
    }

    /// Fetches the keys unless that was just done; returns whether it failed the last time.
    async fn fetch(&self, mut begun: MutexGuard<'_, Option<LogTime>>) -> bool {
        let now = self.clock.now();
        let pause = if self.known().at.is_some() {
            PAUSE_US
        } else {
            FIRST_PAUSE_US
        };
        let just_done = |at: LogTime| (0..pause).contains(&(now.0 - at.0));
        if !begun.is_some_and(just_done) {
            *begun = Some(now);
            let (issuer, ca_file) = (self.issuer.clone(), self.ca_file.clone());
            let known = self.known.clone();
            // It is carried out also where the request that asks for it is given up meanwhile.
            let fetched = actix_web::web::block(move || {
                let keys = match fetch(&issuer, ca_file.as_deref()) {
                    Ok(keys) => keys,
                    Err(why) => {
                        let what = "the keys of the issuer of tokens cannot be fetched";
                        tracing::warn!(issuer, %why, "{what}");
                        return;
                    }
                };
                let fetched = Known {
                    keys,
                    at: Some(now),
                };
                *known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fetched);
            });
            if let Err(error) = fetched.await {
                tracing::error!(%error, "the keys of the issuer of tokens were not fetched");
            }
        }
        self.known().at != *begun
    }
}

fn unknown() -> Problem {
    refused("is signed with a key that its issuer does not have")
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Fetches the keys of an issuer. Blocks.
fn fetch(issuer: &str, ca_file: Option<&std::path::Path>) -> Result<Vec<Key>, String> {
    let base = issuer.trim_end_matches('/');
    let url = format!("{base}/.well-known/openid-configuration");
    let found: Discovery = document(&url, ca_file)?;
    if found.issuer != issuer {
        return Err(format!(
            "the document at {url} is of the issuer '{}'",
            found.issuer
        ));
    }
    // A document from elsewhere must not point at what listens on this machine.
    let is_local = issuer.starts_with("http://");
    if !(found.jwks_uri.starts_with("https://") || is_local && is_secure(&found.jwks_uri)) {
        return Err(format!(
            "its keys are at '{}', which is not https://",
            found.jwks_uri
        ));
    }
    let set: KeySet = document(&found.jwks_uri, ca_file)?;
    let keys: Vec<Key> = set
        .keys
        .into_iter()
        .take(KEYS_MAX)
        .filter_map(key)
        .collect();
    if keys.is_empty() {
        return Err(format!(
            "there is no key for RS256, PS256, ES256 or EdDSA at {}",
            found.jwks_uri
        ));
    }
    Ok(keys)
}

fn document<T: DeserializeOwned>(
    url: &str,
    ca_file: Option<&std::path::Path>,
) -> Result<T, String> {
    let agent = http::patient_agent(url, ca_file, WITHIN).map_err(|error| error.to_string())?;
    let mut answer = agent
        .get(url)
        .header("accept", "application/json")
        .call()
        .map_err(|error| format!("{url}: {error}"))?;
    if answer.status().as_u16() != 200 {
        return Err(format!("{url} answers {}", answer.status()));
    }
    let body = answer.body_mut().with_config().limit(DOCUMENT_MAX);
    let text = body
        .read_to_string()
        .map_err(|error| format!("{url}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{url}: {error}"))
}

/// A key that is for signatures that are taken; issuers have others, too.
fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let is_for_signatures = |of: &PublicKeyUse| *of == PublicKeyUse::Signature;
    if !jwk
        .common
        .public_key_use
        .as_ref()
        .is_none_or(is_for_signatures)
    {
        return None;
    }
    let may: &[(KeyAlgorithm, Algorithm)] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            (KeyAlgorithm::RS256, Algorithm::RS256),
            (KeyAlgorithm::PS256, Algorithm::PS256),
        ],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            &[(KeyAlgorithm::ES256, Algorithm::ES256)]
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            &[(KeyAlgorithm::EdDSA, Algorithm::EdDSA)]
        }
        _ => return None,
    };
    let wanted = jwk.common.key_algorithm;
    let algorithms: Vec<Algorithm> = may
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name))
        .map(|(_, algorithm)| *algorithm)
        .collect();
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some(Key {
        id: jwk.common.key_id,
        algorithms,
        decoding,
    })
}
